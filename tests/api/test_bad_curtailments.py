"""Every bad curtailment and stop has its own problem with the failing values, and leaves no trace.

One market: 100 Wh of the next MTU wait for their answer. What is signed is signed by the grid operator unless told
otherwise; after each refusal everything the node remembers is compared, row by row.
"""

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from tests.api.running import (
    BUY_METER,
    GATE_CLOSURE_S,
    MTU_START,
    SELL_METER,
    Onboarded,
    RunningNode,
    assert_problem,
    key,
)

from gridledger.dispatch.setpoints import Direction

CURTAILMENTS_AT, STOPS_AT = "/v1/dispatch/curtailments", "/v1/dispatch/stops"
NOW = MTU_START - GATE_CLOSURE_S
LATER = MTU_START + 900
ANOTHER_HASH = "0x" + "ab" * 32

Body = Callable[[RunningNode], Any]
Case = tuple[Body, int, str, dict[str, object]]


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory, onboarded: Onboarded) -> Iterator[RunningNode]:
    """The market of the module's docstring; nothing in this module may change it."""
    with onboarded.served(tmp_path_factory.mktemp("bad") / "data") as running:
        running.pair(quantity_wh=100)
        yield running


def refused(market: RunningNode, path: str, body: Any) -> httpx.Response:
    """Post, let the node work on whatever it may have kept, and compare all it remembers."""
    before = market.memory()
    answer = market.post(path, body)
    market.work()
    assert market.memory() == before
    return answer


def signed(caps_wh: dict[int, int] | None = None, **changes: Any) -> Body:
    """A curtailment of the seller to 40 Wh but for these changes, signed as changed."""
    return lambda market: market.curtailment_body({SELL_METER: 40} if caps_wh is None else caps_wh, **changes)


def text(**fields: Any) -> Body:
    """A good curtailment with fields of the posted JSON replaced after signing."""
    return lambda market: signed()(market) | fields


def caps(*entries: Any) -> Body:
    """A good curtailment with other entries as its caps."""
    return text(caps=list(entries))


MALFORMED: dict[str, Body] = {
    "a cap in W and in Wh": caps({"meter": 1, "cap_wh": 40, "cap_w": 160}),
    "a cap in neither": caps({"meter": 1}),
    "a cap in floating Wh": caps({"meter": 1, "cap_wh": 40.0}),
    "a cap in floating W": caps({"meter": 1, "cap_w": 160.5}),
    "a cap as text": caps({"meter": 1, "cap_wh": "40"}),
    "a cap that is true": caps({"meter": 1, "cap_wh": True}),
    "a cap below 0": caps({"meter": 1, "cap_wh": -1}),
    "a cap beyond 32 bits": caps({"meter": 1, "cap_wh": 2**32}),
    "a cap of nobody": caps({"cap_wh": 40}),
    "a meter beyond 32 bits": caps({"meter": 2**32, "cap_wh": 40}),
    "a cap with a word too many": caps({"meter": 1, "cap_wh": 40, "unit": "Wh"}),
    "caps as a mapping": text(caps={"1": 40}),
    "no caps": caps(),
    "513 caps": caps(*({"meter": meter, "cap_wh": 0} for meter in range(1, 514))),
    "no direction": text(direction="none"),
    "a direction by number": text(direction=1),
    "an emergency by number": text(emergency=1),
    "an emergency as text": text(emergency="true"),
    "a reason there is none of": text(reason=16),
    "a sequence below 0": text(sequence=-1),
    "half a hash": text(schedule_hash="0x" + "ab" * 16),
    "a time without zone": text(mtu_start="2016-06-13T00:00:00"),
    "zone 0": text(zone=0),
    "64 bytes of a signature": text(signature="0x" + "11" * 64),
    "a word too many": text(note="please"),
    "a list": lambda market: [signed()(market)],
    "nothing": lambda _: {},
}

REFUSED: dict[str, Case] = {
    "a time of another zone": (text(mtu_start="2016-06-13T02:00:00+02:00"), 422, "not-utc", {"field": "mtu_start"}),
    "meters descending": (
        caps({"meter": 2, "cap_wh": 0}, {"meter": 1, "cap_wh": 0}),
        422,
        "meters-not-ascending",
        {"meter": 1},
    ),
    "a meter twice": (
        caps({"meter": 1, "cap_wh": 0}, {"meter": 1, "cap_w": 0}),
        422,
        "meters-not-ascending",
        {"meter": 1},
    ),
    "changed after signing": (
        caps({"meter": 1, "cap_wh": 39}),
        403,
        "not-the-grid-operator",
        {"grid_operator": key("grid_operator").address},
    ),
    "rounded up from W": (caps({"meter": 1, "cap_w": 159}), 403, "not-the-grid-operator", {}),
    "another schedule": (signed(schedule_hash=ANOTHER_HASH), 409, "schedule-differs", {"found": ANOTHER_HASH}),
    "a sequence ahead": (signed(sequence=1), 409, "sequence-differs", {"expected": 0, "found": 1}),
    "nothing scheduled": (
        lambda market: market.curtailment_body({SELL_METER: 40}, mtu_start=LATER),
        404,
        "schedule-unknown",
        {"zone": 1, "mtu_start": LATER},
    ),
    "an unknown meter": (signed({99: 0}), 422, "meter-not-in-zone", {"meter": 99, "zone": 1}),
    "a cap above the schedule": (
        signed({SELL_METER: 101}),
        422,
        "cap-above-schedule",
        {"meter": SELL_METER, "basis_wh": 100, "cap_wh": 101},
    ),
    "exports of a buyer": (signed({BUY_METER: 1}), 422, "cap-above-schedule", {"meter": BUY_METER, "basis_wh": 0}),
    "imports of a seller": (
        signed({SELL_METER: 1}, direction=Direction.IMPORT),
        422,
        "cap-above-schedule",
        {"meter": SELL_METER, "basis_wh": 0},
    ),
    "nothing curtailed": (signed({SELL_METER: 100}), 422, "nothing-curtailed", {"basis_wh": 100, "cap_wh": 100}),
}


def stop(**changes: Any) -> Body:
    """A good stop with fields of the posted JSON replaced after signing."""
    return lambda market: market.stop_body() | changes


BAD_STOPS: dict[str, Case] = {
    "of no MTU": (stop(mtu_count=0), 422, "request-malformed", {}),
    "of 97 MTUs": (stop(mtu_count=97), 422, "request-malformed", {}),
    "of half an MTU": (stop(mtu_count=0.5), 422, "request-malformed", {}),
    "without a reason": (
        lambda market: {name: value for name, value in market.stop_body().items() if name != "reason"},
        422,
        "request-malformed",
        {},
    ),
    "with a reason there is none of": (stop(reason=16), 422, "request-malformed", {}),
    "from within an MTU": (
        lambda market: market.stop_body(MTU_START + 1),
        422,
        "stop-refused",
        {"first_mtu_start": MTU_START + 1, "mtu_count": 1, "most": 96},
    ),
    "of what has ended": (
        lambda market: market.stop_body(MTU_START - 1_800),
        409,
        "answer-too-late",
        {"answer_deadline": MTU_START - 901, "now": NOW},
    ),
    "of more than was signed": (stop(mtu_count=2), 403, "not-the-grid-operator", {}),
    "of another zone": (stop(zone=2), 403, "not-the-grid-operator", {"zone": 2, "grid_operator": "nobody"}),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_curtailment_of_another_shape_is_malformed(market: RunningNode, case: str) -> None:
    answer = refused(market, CURTAILMENTS_AT, MALFORMED[case](market))
    assert_problem(answer, 422, "request-malformed")


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_curtailment_is_refused_by_name(market: RunningNode, case: str) -> None:
    body, status, code, values = REFUSED[case]
    assert_problem(refused(market, CURTAILMENTS_AT, body(market)), status, code, **values)


@pytest.mark.parametrize("case", BAD_STOPS)
def test_a_bad_stop_is_refused_by_name(market: RunningNode, case: str) -> None:
    body, status, code, values = BAD_STOPS[case]
    assert_problem(refused(market, STOPS_AT, body(market)), status, code, **values)


def test_the_schedule_is_still_open_after_all_that(market: RunningNode) -> None:
    (schedule,) = market.get("/v1/dispatch/schedules")["schedules"]
    assert (schedule["mtu_start"], schedule["state"], schedule["curtailments"]) == (MTU_START, "pending", 0)


@pytest.mark.parametrize("cap_w", [160, 163])
def test_a_cap_in_w_is_what_it_makes_in_wh_rounded_down(
    tmp_path_factory: pytest.TempPathFactory, onboarded: Onboarded, cap_w: int
) -> None:
    with onboarded.served(tmp_path_factory.mktemp("watts") / "data") as market:
        market.pair(quantity_wh=100)
        body = market.curtailment_body({SELL_METER: 40}) | {"caps": [{"meter": SELL_METER, "cap_w": cap_w}]}
        answer = market.post(CURTAILMENTS_AT, body)
        assert answer.status_code == 202, answer.text
        again = market.post(CURTAILMENTS_AT, body)
        assert_problem(again, 409, "already-answered", state="answering")
        market.work()
        (recorded,) = market.view("EnergyDispatching", "capsOf", 1, MTU_START)
        (expected,) = market.view("EnergyDispatching", "hashCaps", [(SELL_METER, 40)])
        assert recorded["capsHash"] == expected
        assert_problem(market.post(CURTAILMENTS_AT, body), 409, "already-answered", state="curtailed")
