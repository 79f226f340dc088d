"""What a batch of readings asks the database: found by the tables' own keys, however many are asked for."""

from typing import Any

from sqlalchemy import event
from tests.store.builders import Chain, meter_event

from gridledger.metering.model import Reading, StoredReading
from gridledger.store.database import Database
from gridledger.store.transaction import Transaction
from gridledger.units import UINT32_MAX

OWNER = "0x" + "11" * 20
STARTS = (1_465_776_000, 1_465_776_900)
METERS = (1, 2, UINT32_MAX)


def stored(meter: int, mtu_start: int) -> StoredReading:
    reading = Reading(
        meter=meter, meter_id="Zähler «1»", mtu_start=mtu_start, interval_s=900, import_wh=2**40, export_wh=0, counter=1
    )
    return StoredReading(reading=reading, zone=1, text="e30.e30.e30", salt=b"\x00" * 32, received_at=mtu_start + 900)


def asked(tx: Transaction) -> list[tuple[str, Any]]:
    """Statements of the transaction from now on."""
    statements: list[tuple[str, Any]] = []
    event.listen(tx.connection, "before_cursor_execute", lambda *call: statements.append((call[2], call[3])))
    return statements


def test_only_the_readings_of_pairs_that_were_asked_for_are_found(database: Database) -> None:
    kept = [stored(1, STARTS[0]), stored(2, STARTS[1]), stored(UINT32_MAX, STARTS[0])]
    with database.write() as tx:
        tx.readings.add_all(kept)
        tx.readings.add_all([])
    with database.read() as tx:
        everything = [(meter, start) for meter in METERS for start in STARTS]
        assert tx.readings.find_each(everything) == {(one.reading.meter, one.reading.mtu_start): one for one in kept}
        assert tx.readings.find_each([(1, STARTS[1]), (2, STARTS[0])]) == {}
        assert tx.readings.find_each([]) == {}
        assert tx.readings.find(2, STARTS[1]) == kept[1]


def test_meters_and_earlier_readings_of_any_number_are_one_search_each(database: Database) -> None:
    with database.write() as tx:
        Chain().index(tx, *(meter_event(meter, OWNER) for meter in METERS))
        statements = asked(tx)
        assert set(tx.readings.facts_of({*METERS, 3})) == set(METERS)
        tx.readings.facts_of(range(1, 501))
        tx.readings.find_each([(meter, start) for meter in METERS for start in STARTS])
        tx.readings.find_each([(meter, start) for meter in range(1, 501) for start in STARTS])
        assert len(statements) == 4
        assert len({text for text, _ in statements}) == 2
        plans = [
            row[3]
            for text, values in list(statements)
            for row in tx.connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values)
        ]
    tables = [step for step in plans if " meter" in step]
    assert len(tables) == 4
    assert all(step.startswith("SEARCH") for step in tables), plans


def test_estimates_of_more_meters_than_a_statement_has_variables(database: Database) -> None:
    with database.read() as tx:
        assert tx.substitutes.energies(range(1, 40_001), [0, 900]) == {}
