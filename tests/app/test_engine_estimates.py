"""A missing reading is estimated once, shown as what it is, and goes behind the true one when that comes."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.api.running import (
    BUY_METER,
    BUYER,
    MTU_START,
    SELL_METER,
    SELLER,
    Onboarded,
    RunningNode,
    assert_problem,
)

from gridledger.metering.substitutes import ESTIMATION_DELAY_S

LENGTH_S, DAY_S = 900, 86_400
SECOND, THIRD = MTU_START + LENGTH_S, MTU_START + 2 * LENGTH_S


@pytest.fixture
def market(tmp_path: Path, onboarded: Onboarded) -> Iterator[RunningNode]:
    with onboarded.served(tmp_path / "data") as running:
        yield running


def substitutes(market: RunningNode) -> list[tuple[object, ...]]:
    return market.memory()["substitute_reading"]


def test_a_gap_is_estimated_and_later_filled(market: RunningNode) -> None:
    market.advance(THIRD + LENGTH_S)
    for start in (MTU_START, THIRD):
        market.read({SELL_METER: 100 + start - MTU_START, BUY_METER: -7}, start)
    market.read({BUY_METER: -7}, SECOND)
    market.advance(SECOND + LENGTH_S + ESTIMATION_DELAY_S - 1)
    assert substitutes(market) == []
    market.advance(SECOND + LENGTH_S + ESTIMATION_DELAY_S)
    (row,) = substitutes(market)
    assert row[:8] == (SELL_METER, SECOND, 1, 0, 100 + LENGTH_S, "interpolation", MTU_START, THIRD)
    path, session = f"/v1/meters/{SELL_METER}/readings/{SECOND}", market.sign_in(SELLER)
    estimate = {"import_wh": 0, "export_wh": 1_000, "rule": "interpolation", "basis": [MTU_START, THIRD]}
    answer = market.http.get(path, headers=session).json()
    assert answer == {
        "meter": SELL_METER,
        "mtu_start": SECOND,
        "substitute": True,
        "reading": None,
        "estimate": estimate,
    }
    metrics = market.http.get("/metrics").text
    assert 'gridledger_substitute_readings{rule="interpolation"} 1.0' in metrics
    assert market.read({SELL_METER: 640}, SECOND)[0]["status"] == "accepted"
    answer = market.http.get(path, headers=session).json()
    assert (answer["substitute"], answer["reading"], answer["estimate"]) == (
        False,
        {"import_wh": 0, "export_wh": 640},
        estimate,
    )
    assert substitutes(market) == [row]


def test_the_same_time_of_a_similar_day_goes_before_the_neighbours(market: RunningNode) -> None:
    monday, tuesday = MTU_START, MTU_START + DAY_S
    market.advance(monday + LENGTH_S)
    market.read({SELL_METER: 900, BUY_METER: -90}, monday)
    market.advance(tuesday + 2 * LENGTH_S)
    for start in (tuesday - LENGTH_S, tuesday + LENGTH_S):
        market.read({SELL_METER: 10, BUY_METER: -1}, start)
    market.advance(tuesday + LENGTH_S + ESTIMATION_DELAY_S)
    found = {row[:2]: row[3:6] for row in substitutes(market)}
    assert found[SELL_METER, tuesday] == (0, 900, "similar-day")
    assert found[BUY_METER, tuesday] == (90, 0, "similar-day")


def test_only_the_owner_reads_a_meter(market: RunningNode) -> None:
    market.advance(SECOND)
    market.read({SELL_METER: 10, BUY_METER: -1})
    path = f"/v1/meters/{SELL_METER}/readings/{MTU_START}"
    assert_problem(market.http.get(path), 401, "session-required")
    assert_problem(market.http.get(path, headers=market.sign_in(BUYER)), 403, "meter-of-another", meter=SELL_METER)
    session = market.sign_in(SELLER)
    assert market.http.get(path, headers=session).json()["substitute"] is False
    missing = market.http.get(f"/v1/meters/{SELL_METER}/readings/{THIRD}", headers=session)
    assert_problem(missing, 404, "reading-unknown", meter=SELL_METER, mtu_start=THIRD)
    assert_problem(market.http.get(f"/v1/meters/77/readings/{THIRD}", headers=session), 403, "meter-of-another")
