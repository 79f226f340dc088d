"""Schedules, setpoints, caps and stops in the database, as the chain's events make them."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from sqlalchemy import event, update
from tests.market.fakes import BUY_METER, BUYER, MTU_START, SELL_METER, SELLER, ZONE
from tests.store.builders import (
    GRID_OPERATOR,
    Chain,
    Room,
    acknowledged,
    caps_applied,
    cleared_events,
    curtailed,
    founding_events,
    kept_positions,
    meter_event,
    stopped,
)

from gridledger.dispatch.model import ScheduleState
from gridledger.dispatch.ports import CommittedSetpoint, MeterPlace
from gridledger.dispatch.setpoints import Direction, SetpointRow
from gridledger.metering.model import Reading, StoredReading
from gridledger.store.database import Database
from gridledger.store.schema import zone as zone_table
from gridledger.store.transaction import Transaction

MTU_LENGTH_S = 900
NEXT = MTU_START + MTU_LENGTH_S


class Market:
    """One cleared pair of 600 Wh at 15,000 in an open transaction."""

    def __init__(self, tx: Transaction) -> None:
        self.tx, self.chain = tx, Chain()
        self.chain.index(tx, *founding_events())
        Room(tx).match_pair(self.chain)
        self.chain.index(tx, *cleared_events(tx))

    def free(self, account: str) -> int:
        return self.tx.directory.account(account).free_microcents

    @property
    def state(self) -> tuple[ScheduleState, int, int, Direction | None, int]:
        """State, reason, curtailments, direction and applied chunks of the schedule."""
        schedule = self.tx.dispatches.find(ZONE, MTU_START)
        assert schedule is not None
        return schedule.state, schedule.reason, schedule.curtailments, schedule.direction, schedule.applied_chunks

    def kinds(self) -> list[str]:
        return [one["kind"] for one in self.tx.dispatches.events_after(0, 100)]


@pytest.fixture
def market(database: Database) -> Iterator[Market]:
    with database.write() as tx:
        yield Market(tx)


# ---- setpoints


def test_setpoints_are_kept_with_their_salts_and_replaced_by_another_matching(market: Market) -> None:
    kept = tuple(
        CommittedSetpoint(
            row=SetpointRow(meter=meter, contracted_wh=-meter, residual_wh=2 * meter), salt=bytes((meter,)) * 32
        )
        for meter in (3, 9)
    )
    dispatches = market.tx.dispatches
    dispatches.keep_setpoints(ZONE, NEXT, kept[::-1])
    assert dispatches.setpoints(ZONE, NEXT) == kept
    assert dispatches.setpoints(ZONE + 1, NEXT) == ()
    dispatches.keep_setpoints(ZONE, NEXT, kept[:1])
    assert dispatches.setpoints(ZONE, NEXT) == kept[:1]
    dispatches.keep_setpoints(ZONE, NEXT, ())
    assert dispatches.setpoints(ZONE, NEXT) == ()
    assert [one.row.meter for one in dispatches.setpoints(ZONE, MTU_START)] == [SELL_METER, BUY_METER]


def test_places_are_those_of_known_meters_with_the_factor_of_their_source(market: Market) -> None:
    market.chain.index(
        market.tx,
        meter_event(3, BUYER.address, source=2, zone=2),
        ("SourceFactorSet", {"source": 1, "factorMgco2PerKwh": 41_000, "citation": "a table"}),
    )
    assert market.tx.dispatches.places([SELL_METER, BUY_METER, 3, 99]) == {
        SELL_METER: MeterPlace(zone=ZONE, source=1, factor_mgco2_per_kwh=41_000),
        BUY_METER: MeterPlace(zone=ZONE, source=0, factor_mgco2_per_kwh=None),
        3: MeterPlace(zone=2, source=2, factor_mgco2_per_kwh=None),
    }
    assert market.tx.dispatches.places([]) == {}


# ---- answers


def test_caps_of_the_last_curtailment_hold_in_place_of_any_before(market: Market) -> None:
    market.chain.index(market.tx, curtailed({SELL_METER: 400}))
    assert market.state == (ScheduleState.CURTAILED, 1, 1, Direction.EXPORT, 0)
    assert market.tx.dispatches.caps_wh(ZONE, MTU_START) == {SELL_METER: 400}
    emergency = curtailed({BUY_METER: 2**40}, direction=2, reason=4, emergency=True, sequence=1, orderCheck=2)
    market.chain.index(market.tx, emergency)
    assert market.state == (ScheduleState.CURTAILED, 4, 2, Direction.IMPORT, 0)
    assert market.tx.dispatches.caps_wh(ZONE, MTU_START) == {BUY_METER: 2**40}
    payloads = [one["payload"] for one in market.tx.dispatches.events_after(1, 100)]
    assert [one["order_check"] for one in payloads] == ["kept", "broken"]
    assert payloads[1]["caps"] == [{"meter": BUY_METER, "cap_wh": 2**40}]
    assert payloads[1]["direction"] == "import"


def test_applied_caps_shrink_positions_and_move_money_as_the_policy_says(market: Market) -> None:
    before = [market.free(one) for one in (SELLER.address, BUYER.address, GRID_OPERATOR)]
    market.chain.index(market.tx, curtailed({SELL_METER: 400}))
    market.chain.index(market.tx, caps_applied())
    assert market.state[-1] == 1
    positions = kept_positions(market.tx)
    assert [(one.curtailed, one.auction_wh, one.dealt_wh, one.quantity_wh) for one in positions] == [
        (True, 0, 400, 400),
        (True, 0, 400, 400),
    ]
    (trade,) = market.tx.mtus.deals(ZONE, MTU_START, 0)
    assert (trade.energy_wh, trade.price_cents_per_mwh) == (400, 15_000)
    assert market.tx.mtus.curtailed_totals() == (200, 200)
    after = [market.free(one) for one in (SELLER.address, BUYER.address, GRID_OPERATOR)]
    assert [now - then for now, then in zip(after, before, strict=True)] == [
        200 * 17_500,
        200 * 16_000 + 200 * 17_500,
        -200 * 17_500,
    ]


def test_caps_that_take_nothing_tell_nobody(market: Market) -> None:
    seen = {owner: market.tx.notices.last_id(owner) for owner in (SELLER.address, BUYER.address)}
    market.chain.index(market.tx, curtailed({SELL_METER: 600}, emergency=True, orderCheck=2))
    market.chain.index(market.tx, caps_applied())
    assert {owner: market.tx.notices.last_id(owner) for owner in seen} == seen
    assert [one.quantity_wh for one in kept_positions(market.tx)] == [600, 600]


# ---- stops


def test_a_stop_holds_for_each_of_its_mtus_and_announces_itself_once(market: Market) -> None:
    market.chain.index(market.tx, stopped(MTU_START, NEXT + MTU_LENGTH_S, reason=4))
    dispatches = market.tx.dispatches
    starts = [MTU_START + place * MTU_LENGTH_S for place in range(-1, 4)]
    assert [dispatches.is_stopped(ZONE, mtu_start) for mtu_start in starts] == [False, True, True, True, False]
    assert not dispatches.is_stopped(ZONE + 1, MTU_START)
    assert market.state[:2] == (ScheduleState.STOPPED, 4)
    assert market.kinds() == ["scheduled", "stopped"]
    assert [len(dispatches.events_of_slot(ZONE, mtu_start)) for mtu_start in starts] == [0, 2, 1, 1, 0]


def test_a_schedule_of_a_stopped_mtu_is_stopped_from_the_start(database: Database) -> None:
    with database.write() as tx:
        chain = Chain()
        chain.index(tx, *founding_events(), stopped(MTU_START - MTU_LENGTH_S, MTU_START))
        Room(tx).match_pair(chain)
        chain.index(tx, *cleared_events(tx))
        assert tx.dispatches.state_counts() == {"stopped": 1}
        assert tx.dispatches.pending(0) == ()


def test_a_second_stop_leaves_the_first_one_s_reason_and_tells_nobody_again(market: Market) -> None:
    market.chain.index(market.tx, stopped(reason=4))
    told = market.tx.notices.last_id(SELLER.address)
    market.chain.index(market.tx, stopped(MTU_START, NEXT, reason=5))
    assert market.state[:2] == (ScheduleState.STOPPED, 4)
    assert market.tx.notices.last_id(SELLER.address) == told
    assert market.tx.dispatches.is_stopped(ZONE, NEXT)


# ---- answers on their way


@pytest.mark.parametrize("kind", ["RelayCurtailment", "RelayStop", "RelayAnswer", "SubmitClearing"])
def test_an_emergency_on_its_way_is_an_answer_on_its_way(market: Market, kind: str) -> None:
    for mtu_start in (NEXT, MTU_START):
        market.tx.outbox.add(
            kind=kind,
            signer=GRID_OPERATOR,
            to_address=GRID_OPERATOR,
            data=b"",
            zone=ZONE,
            mtu_start=mtu_start,
            created_at=1,
        )
        emergency = kind in ("RelayCurtailment", "RelayStop")
        assert market.tx.dispatches.answer_is_pending(ZONE, MTU_START) is (emergency and mtu_start == MTU_START)


def test_nothing_answers_what_was_not_scheduled(market: Market) -> None:
    market.tx.dispatches.mark_unanswered(ZONE, NEXT)
    assert market.tx.dispatches.find(ZONE, NEXT) is None
    assert not market.tx.dispatches.answer_is_pending(ZONE, NEXT)
    market.chain.index(market.tx, acknowledged())
    assert market.state[0] is ScheduleState.ACKNOWLEDGED


# ---- what limits follow from


def test_a_zone_s_state_has_its_own_meters_but_for_its_transformer_s(market: Market) -> None:
    market.chain.index(
        market.tx,
        meter_event(3, BUYER.address),
        meter_event(4, BUYER.address),
        meter_event(5, BUYER.address, zone=2),
    )
    market.tx.connection.execute(update(zone_table).values(transformer_meter=4, loss_tolerance_bp=0))
    market.chain.index(market.tx, curtailed({SELL_METER: 400}))
    state = market.tx.dispatches.zone_state(ZONE, MTU_START, 500, MTU_LENGTH_S)
    assert state.capacities_w == {SELL_METER: 8_000, BUY_METER: 8_000, 3: 8_000}
    assert state.setpoints_wh == {SELL_METER: 600, BUY_METER: -600}
    assert (state.caps_wh, state.limit_wh, state.stopped) == ({SELL_METER: 400}, 500, False)
    assert state.schedule == market.tx.dispatches.find(ZONE, MTU_START)


def read(tx: Transaction, names: Mapping[int, str], mtu_start: int) -> None:
    tx.readings.add_all(
        [
            StoredReading(
                reading=Reading(
                    meter=meter,
                    meter_id=name,
                    mtu_start=mtu_start,
                    interval_s=900,
                    import_wh=0,
                    export_wh=0,
                    counter=1,
                ),
                zone=ZONE,
                text="e30.e30.e30",
                salt=bytes(32),
                received_at=mtu_start + 900,
            )
            for meter, name in names.items()
        ]
    )


def test_meters_are_known_by_the_names_in_their_newest_readings(market: Market) -> None:
    market.chain.index(market.tx, meter_event(3, BUYER.address), meter_event(4, BUYER.address, zone=2))
    read(market.tx, {SELL_METER: "roof", BUY_METER: "house", 4: "elsewhere"}, MTU_START)
    read(market.tx, {SELL_METER: "new roof"}, NEXT)
    statements: list[tuple[str, Any]] = []
    event.listen(market.tx.connection, "before_cursor_execute", lambda *call: statements.append((call[2], call[3])))
    assert market.tx.dispatches.meter_numbers(ZONE) == {"new roof": SELL_METER, "house": BUY_METER}
    ((text, values),) = statements
    plan = [step[3] for step in market.tx.connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values)]
    assert not [step for step in plan if step.startswith("SCAN meter_reading")], plan
