"""Bad texts of meters with a history: the named outcome, a dispute where it is one, and nothing else kept."""

import pytest
from tests.metering.bad_texts import BAD_TEXTS, HISTORY, BadText, as_expected
from tests.metering.fakes import World, a_reading, a_world

from gridledger.metering.errors import ReadingDiffers, RegistersDiffer
from gridledger.metering.model import ReadingStatus


def a_world_with_a_history() -> World:
    world = a_world()
    assert [outcome.status for outcome in world.service.accept(HISTORY)] == [ReadingStatus.ACCEPTED] * len(HISTORY)
    return world


@pytest.mark.parametrize("case", BAD_TEXTS, ids=lambda case: case.name)
def test_a_bad_text_gets_its_named_outcome_and_changes_nothing(case: BadText) -> None:
    world = a_world_with_a_history()
    before = (dict(world.store.kept), dict(world.store.registers), dict(world.parts.kept))
    outcome, beside = world.service.accept([case.text, world.devices[4].sign(a_reading(meter=4))])
    assert outcome.error is not None, outcome
    assert as_expected(outcome.error, case.error), outcome.error
    assert outcome.status is case.status
    assert beside.status is ReadingStatus.ACCEPTED
    kept = {key: stored for key, stored in world.store.kept.items() if key[0] != 4}
    assert (kept, world.store.registers, world.parts.kept) == before
    expected = {}
    if isinstance(case.error, ReadingDiffers | RegistersDiffer):
        expected = {(case.error.meter, case.error.moment): [case.text]}
    assert world.store.disputes == expected


def test_every_bad_text_has_a_name_of_its_own() -> None:
    assert len({case.name for case in BAD_TEXTS}) == len(BAD_TEXTS) >= 80
