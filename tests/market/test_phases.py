"""The life of a zone and MTU is a table; every step that is not in it raises."""

from itertools import product

import pytest

from gridledger.market.errors import WrongTransition
from gridledger.market.model import MtuPhase, advance_phase

STEPS = {
    (MtuPhase.CLOSING, "book_committed"): MtuPhase.LISTED,
    (MtuPhase.CLOSING, "deadline_passed"): MtuPhase.LAPSED,
    (MtuPhase.LISTED, "clearing_submitted"): MtuPhase.MATCHED,
    (MtuPhase.LISTED, "deadline_passed"): MtuPhase.LAPSED,
    (MtuPhase.LISTED, "clearing_refused"): MtuPhase.LAPSED,
    (MtuPhase.MATCHED, "clearing_refused"): MtuPhase.LAPSED,
    (MtuPhase.MATCHED, "member_excluded"): MtuPhase.LISTED,
    (MtuPhase.MATCHED, "clearing_stopped"): MtuPhase.STOPPED,
    (MtuPhase.STOPPED, "positions_closed"): MtuPhase.LAPSED,
    (MtuPhase.MATCHED, "market_cleared"): MtuPhase.CLEARED,
    (MtuPhase.CLEARED, "positions_closed"): MtuPhase.SETTLED,
}
EVENTS = (*sorted({event for _, event in STEPS}), "unheard_of")


@pytest.mark.parametrize(("phase", "event"), product(MtuPhase, EVENTS))
def test_a_phase_follows_the_table_and_nothing_else(phase: MtuPhase, event: str) -> None:
    if (phase, event) in STEPS:
        assert advance_phase(phase, event) is STEPS[phase, event]
    else:
        with pytest.raises(WrongTransition) as refused:
            advance_phase(phase, event)
        assert refused.value.values() == {"subject": "mtu", "state": phase, "event": event}


@pytest.mark.parametrize("phase", [MtuPhase.SETTLED, MtuPhase.LAPSED])
def test_an_ended_mtu_never_moves_again(phase: MtuPhase) -> None:
    assert [event for event in EVENTS if (phase, event) in STEPS] == []


def test_every_phase_but_the_first_is_reached() -> None:
    assert set(STEPS.values()) == set(MtuPhase) - {MtuPhase.CLOSING}
