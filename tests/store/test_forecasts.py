"""The forecast of a meter is its accepted reading of one day before."""

from collections.abc import Iterator, Mapping

import pytest
from sqlalchemy import event, update
from tests.market.fakes import MTU_START, ZONE
from tests.store.builders import Chain, founding_events, meter_event

from gridledger.metering.model import Reading, StoredReading
from gridledger.store.database import Database
from gridledger.store.forecasts import DAY_S
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


def test_the_forecast_is_the_net_reading_of_the_day_before(tx: Transaction) -> None:
    read(tx, {11: 900, 12: -700, 13: 0})
    assert tx.forecasts.persisted_wh(ZONE, MTU_START) == {11: 900, 12: -700, 13: 0}


def test_meters_without_a_reading_the_day_before_have_no_forecast(tx: Transaction) -> None:
    read(tx, {11: 5, 12: 5}, mtu_start=MTU_START)
    read(tx, {13: 5}, mtu_start=DAY_BEFORE + 900)
    assert tx.forecasts.persisted_wh(ZONE, MTU_START) == {}


def test_the_transformers_meter_and_other_zones_are_left_out(tx: Transaction) -> None:
    read(tx, {11: 900, 12: -3_000})
    read(tx, {13: 900}, zone=ZONE + 1)
    tx.connection.execute(update(zone_table).values(transformer_meter=12, loss_tolerance_bp=500))
    assert tx.forecasts.persisted_wh(ZONE, MTU_START) == {11: 900}


def test_a_zone_is_one_search_by_keys_however_many_meters_it_has(tx: Transaction) -> None:
    read(tx, dict.fromkeys(METERS, 500))
    statements = []
    event.listen(tx.connection, "before_cursor_execute", lambda *call: statements.append((call[2], call[3])))
    assert tx.forecasts.persisted_wh(ZONE, MTU_START) == dict.fromkeys(METERS, 500)
    ((text, values),) = statements
    plan = [step[3] for step in tx.connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values)]
    assert not [step for step in plan if step.startswith("SCAN")], plan
