"""The forecast of a residual is what the meter did beyond its contract one day before, whatever became of that."""

from collections.abc import Iterator, Mapping

import pytest
from sqlalchemy import event, insert, update
from tests.market.fakes import MTU_START, SUPPLIER, ZONE
from tests.store.builders import Chain, founding_events, meter_event

from gridledger.market.model import MtuPhase
from gridledger.metering.model import Reading, StoredReading
from gridledger.store.database import Database
from gridledger.store.forecasts import DAY_S
from gridledger.store.schema import contract_position, market_mtu
from gridledger.store.schema import zone as zone_table
from gridledger.store.transaction import Transaction

OWNER = "0x" + "11" * 20
DAY_BEFORE = MTU_START - DAY_S
METERS = (11, 12, 13, 14)


@pytest.fixture
def tx(database: Database) -> Iterator[Transaction]:
    """Four more meters in the zone."""
    with database.write() as opened:
        Chain().index(opened, *founding_events(), *(meter_event(meter, OWNER) for meter in METERS))
        yield opened


def read(tx: Transaction, net_wh: Mapping[int, int], mtu_start: int = DAY_BEFORE, zone: int = ZONE) -> None:
    tx.readings.add_all(
        [
            StoredReading(
                reading=Reading(
                    meter=meter,
                    meter_id=f"meter {meter}",
                    mtu_start=mtu_start,
                    interval_s=900,
                    import_wh=max(0, -energy_wh),
                    export_wh=max(0, energy_wh),
                    counter=1,
                ),
                zone=zone,
                text="e30.e30.e30",
                salt=bytes(32),
                received_at=mtu_start + 900,
            )
            for meter, energy_wh in net_wh.items()
        ]
    )


def clear(tx: Transaction, phase: MtuPhase = MtuPhase.SETTLED, mtu_start: int = DAY_BEFORE) -> None:
    values = {"zone": ZONE, "mtu_start": mtu_start, "phase": phase, "book_hash": "0x" + "00" * 32}
    tx.connection.execute(insert(market_mtu).values(**values, order_count=2, supply_wh=0, demand_wh=0))


def contract(
    tx: Transaction, meter: int, parts_wh: tuple[int, int, int], *, sells: bool, chunk: int = 0, refunded: bool = False
) -> None:
    """A position of auction, low-carbon and dealt energy."""
    auction_wh, low_carbon_wh, dealt_wh = parts_wh
    tx.connection.execute(
        insert(contract_position).values(
            zone=ZONE,
            mtu_start=DAY_BEFORE,
            chunk=chunk,
            position=meter,
            meter=meter,
            owner=OWNER,
            supplier=SUPPLIER,
            supplier_number=1,
            source=0,
            sells=sells,
            capacity_w=8_000,
            auction_wh=auction_wh,
            low_carbon_wh=low_carbon_wh,
            dealt_wh=dealt_wh,
            fee_microcents=0,
            locked_microcents=0,
            deal_microcents=0,
            settled=False,
            metered_wh=0,
            refunded=refunded,
        )
    )


def test_the_residual_is_the_reading_beyond_all_of_the_contract(tx: Transaction) -> None:
    read(tx, {11: 900, 12: -700, 13: -40})
    clear(tx)
    contract(tx, 11, (400, 0, 100), sells=True)
    contract(tx, 11, (50, 0, 0), sells=True, chunk=1)
    contract(tx, 12, (200, 300, 25), sells=False)
    assert tx.forecasts.persisted_wh(ZONE, MTU_START) == {11: 350, 12: -175, 13: -40}


def test_meters_without_a_reading_the_day_before_have_no_forecast(tx: Transaction) -> None:
    clear(tx)
    contract(tx, 11, (400, 0, 0), sells=True)
    read(tx, {11: 5, 12: 5}, mtu_start=MTU_START)
    read(tx, {13: 5}, mtu_start=DAY_BEFORE + 900)
    assert tx.forecasts.persisted_wh(ZONE, MTU_START) == {}


def test_a_contract_that_was_taken_back_is_none(tx: Transaction) -> None:
    read(tx, {11: 900, 12: 900})
    clear(tx)
    contract(tx, 11, (400, 0, 0), sells=True, refunded=True)
    contract(tx, 12, (400, 0, 0), sells=True)
    assert tx.forecasts.persisted_wh(ZONE, MTU_START) == {11: 900, 12: 500}


@pytest.mark.parametrize("phase", [MtuPhase.MATCHED, MtuPhase.STOPPED, MtuPhase.LAPSED])
def test_what_no_clearing_locked_is_no_contract(tx: Transaction, phase: MtuPhase) -> None:
    read(tx, {11: 900})
    clear(tx, phase)
    contract(tx, 11, (400, 0, 0), sells=True)
    assert tx.forecasts.persisted_wh(ZONE, MTU_START) == {11: 900}


def test_the_transformers_meter_and_other_zones_are_left_out(tx: Transaction) -> None:
    read(tx, {11: 900, 12: -3_000})
    read(tx, {13: 900}, zone=ZONE + 1)
    tx.connection.execute(update(zone_table).values(transformer_meter=12, loss_tolerance_bp=500))
    assert tx.forecasts.persisted_wh(ZONE, MTU_START) == {11: 900}


def test_a_zone_is_one_search_by_keys_however_many_meters_it_has(tx: Transaction) -> None:
    clear(tx)
    for meter in METERS:
        contract(tx, meter, (400, 0, 0), sells=True)
    read(tx, dict.fromkeys(METERS, 500))
    statements = []
    event.listen(tx.connection, "before_cursor_execute", lambda *call: statements.append((call[2], call[3])))
    assert tx.forecasts.persisted_wh(ZONE, MTU_START) == dict.fromkeys(METERS, 100)
    ((text, values),) = statements
    plan = [step[3] for step in tx.connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values)]
    assert not [step for step in plan if step.startswith("SCAN")], plan
