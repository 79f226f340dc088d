"""The neighbours of readings, meter events and parts of MTUs as the database finds them."""

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.metering.fakes import MTU_START, FakeDirectory, FakeStore, a_reading, an_event, signed_event

from gridledger.metering.events import StoredMeterEvent
from gridledger.metering.model import PartialReading, StoredReading
from gridledger.metering.ports import Counted
from gridledger.store.database import Database

SLOTS = st.tuples(st.integers(1, 3), st.integers(0, 12))


class Undone(Exception):
    """Takes a transaction back."""


def stored(meter: int, index: int) -> StoredReading:
    reading = a_reading(meter=meter, mtu_start=MTU_START + 900 * index, counter=100 * meter + index)
    return StoredReading(reading=reading, zone=1, text="text", salt=bytes(32), received_at=1)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sets(SLOTS), st.lists(st.tuples(SLOTS, st.integers(0, 3)), max_size=8))
def test_the_database_finds_the_same_neighbours_as_a_search_by_hand(
    database: Database, kept: set[tuple[int, int]], asked: Sequence[tuple[tuple[int, int], int]]
) -> None:
    fake = FakeStore(FakeDirectory([]))
    spans = {(meter, MTU_START + 900 * index, MTU_START + 900 * (index + more)) for (meter, index), more in asked}
    readings = [stored(meter, index) for meter, index in sorted(kept)]
    fake.add_all(readings)
    keys = {(meter, first) for meter, first, _ in spans}
    try:
        with database.write() as tx:
            tx.readings.add_all(readings)
            assert tx.readings.counters_around(spans) == fake.counters_around(spans)
            assert tx.readings.find_each(keys) == fake.find_each(keys)
            raise Undone
    except Undone:
        pass


def test_events_are_found_by_moment_and_between_moments(database: Database) -> None:
    first, second = an_event(), an_event(happened_at=MTU_START + 900)
    with database.write() as tx:
        for event in (second, first, an_event(meter=2)):
            tx.meter_events.add_event(StoredMeterEvent(event=event, signature=signed_event(event), received_at=7))
    with database.read() as tx:
        found = tx.meter_events.event_at(1, MTU_START + 600)
        assert found == StoredMeterEvent(event=first, signature=signed_event(first), received_at=7)
        assert tx.meter_events.event_at(1, MTU_START + 601) is None
        assert tx.meter_events.events_between(1, 0, MTU_START + 900) == (first, second)
        assert tx.meter_events.events_between(1, MTU_START + 600, MTU_START + 899) == ()


def test_parts_are_found_by_their_mtu_and_by_their_neighbours(database: Database) -> None:
    whole = a_reading(interval_s=300)
    parts = [
        PartialReading(
            reading=replace(whole, mtu_start=MTU_START + 300 * index, counter=index),
            text=f"part {index}",
            received_at=7,
        )
        for index in range(4)
    ]
    with database.write() as tx:
        for part in reversed(parts):
            tx.reading_parts.add_part(part)
    with database.read() as tx:
        assert tx.reading_parts.parts_of(1, MTU_START, MTU_START + 900) == tuple(parts[:3])
        assert tx.reading_parts.parts_of(2, MTU_START, MTU_START + 900) == ()
        around = tx.reading_parts.part_counters_around(1, MTU_START + 300)
        assert around == (Counted(MTU_START, 0), Counted(MTU_START + 600, 2))
        assert tx.reading_parts.part_counters_around(1, MTU_START) == (None, Counted(MTU_START + 300, 1))
