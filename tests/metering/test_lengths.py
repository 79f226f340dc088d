"""Meters of 5, 15, 30 and 60 minutes: what divides evenly adds up or is split, to the watt-hour."""

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.metering.fakes import MTU_START, World, a_reading, a_world

from gridledger.errors import GridLedgerError
from gridledger.metering.errors import (
    AboveCapacity,
    CounterReplayed,
    IntervalLengthRefused,
    ReadingDiffers,
    SerialChanged,
)
from gridledger.metering.lengths import shares_by_cumulative_floor, split_reading
from gridledger.metering.model import NoteName, Reading, ReadingStatus
from gridledger.metering.texts import verify_reading
from gridledger.metering.validation import capacity_wh_rounded_up
from gridledger.units import MTU_LENGTHS_S, UnalignedMtu

HOUR_S = 3_600
ACCEPTED, DUPLICATE = ReadingStatus.ACCEPTED, ReadingStatus.DUPLICATE
NEXT_DAY = MTU_START + 86_400


def sent(world: World, *readings: Reading) -> list[ReadingStatus | GridLedgerError]:
    texts = [world.devices[reading.meter].sign(reading) for reading in readings]
    return [outcome.error or outcome.status for outcome in world.service.accept(texts)]


def quarters(*, meter_id: str = "load 1", each_wh: int = 50) -> list[Reading]:
    """Four readings of fifteen minutes in the first hour."""
    return [
        a_reading(mtu_start=MTU_START + 900 * index, import_wh=each_wh + index, export_wh=index, meter_id=meter_id)
        for index in range(4)
    ]


@given(st.integers(0, 2**40), st.sampled_from([1, 2, 3, 4, 6, 12]))
def test_shares_add_up_and_differ_by_one_at_most(energy_wh: int, count: int) -> None:
    shares = shares_by_cumulative_floor(energy_wh, count)
    assert (sum(shares), len(shares)) == (energy_wh, count)
    assert max(shares) - min(shares) <= 1
    assert min(shares) >= 0


@given(st.integers(0, 2**31), st.sampled_from([(300, 3_600), (900, 1_800), (900, 3_600), (300, 900)]), st.data())
def test_shares_of_what_a_connection_carries_are_within_it(
    capacity_w: int, lengths: tuple[int, int], data: st.DataObject
) -> None:
    short_s, long_s = lengths
    energy_wh = data.draw(st.integers(0, capacity_wh_rounded_up(capacity_w, long_s)))
    assert max(shares_by_cumulative_floor(energy_wh, long_s // short_s)) <= capacity_wh_rounded_up(capacity_w, short_s)


def test_an_hour_is_split_over_its_four_quarters() -> None:
    world = a_world()
    hour = a_reading(interval_s=HOUR_S, import_wh=403, export_wh=2)
    (outcome,) = world.service.accept([world.devices[1].sign(hour)])
    assert outcome.status is ACCEPTED
    assert [(note.name, note.count) for note in outcome.notes] == [(NoteName.INTERVAL_SPLIT, 4)]
    kept = [world.store.kept[1, MTU_START + 900 * index] for index in range(4)]
    assert [(one.reading.import_wh, one.reading.export_wh) for one in kept] == [(100, 0), (101, 1), (101, 0), (101, 1)]
    assert len({one.salt for one in kept}) == 4
    for one in kept:
        signed, text = verify_reading(one.text, world.devices[1].key)
        assert (signed, text) == (hour, one.text)
        assert one.reading in split_reading(signed, 900)
    assert sent(world, hour) == [DUPLICATE]


def test_an_hour_beside_a_quarter_of_it_is_a_dispute() -> None:
    world = a_world()
    sent(world, a_reading(mtu_start=MTU_START + 900))
    (error,) = sent(world, a_reading(interval_s=HOUR_S, counter=1_100))
    assert isinstance(error, ReadingDiffers)
    assert error.mtu_start == MTU_START + 900
    assert list(world.store.kept) == [(1, MTU_START + 900)]
    assert list(world.store.disputes) == [(1, MTU_START + 900)]


def test_a_share_keeps_within_the_connection() -> None:
    world = a_world()
    assert sent(world, a_reading(interval_s=HOUR_S, import_wh=1_000, export_wh=500)) == [ACCEPTED]
    (error,) = sent(a_world(), a_reading(interval_s=HOUR_S, import_wh=1_001))
    assert isinstance(error, AboveCapacity)


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_quarters_add_up_to_the_hour_in_any_order(order: tuple[int, ...]) -> None:
    world, parts = a_world(mtu_length_s=HOUR_S), quarters()
    for number, index in enumerate(order, start=1):
        (outcome,) = world.service.accept([world.devices[1].sign(parts[index])])
        missing = [note.count for note in outcome.notes if note.name is NoteName.PARTS_MISSING]
        assert (outcome.status, missing) == (ACCEPTED, [(4 - number) * 900] if number < 4 else [])
        assert len(world.store.kept) == (number == 4)
    stored = world.store.kept[1, MTU_START]
    assert (stored.reading.import_wh, stored.reading.export_wh) == (4 * 50 + 6, 6)
    assert (stored.reading.interval_s, stored.reading.counter) == (HOUR_S, parts[3].counter)
    assert verify_reading(stored.text, world.devices[1].key) == (stored.reading, stored.text)


def test_quarters_of_one_batch_add_up_and_are_duplicates_afterwards() -> None:
    world, parts = a_world(mtu_length_s=HOUR_S), quarters()
    assert sent(world, *parts) == [ACCEPTED] * 4
    assert sent(world, *parts) == [DUPLICATE] * 4
    assert len(world.store.kept) == 1


def test_parts_of_mixed_lengths_tile_the_hour() -> None:
    world = a_world(mtu_length_s=HOUR_S)
    half = a_reading(interval_s=1_800, counter=5, import_wh=100)
    rest = [a_reading(mtu_start=MTU_START + 1_800 + 900 * index, counter=6 + index) for index in range(2)]
    assert sent(world, half, *rest) == [ACCEPTED] * 3
    assert world.store.kept[1, MTU_START].reading.import_wh == 100 + 2 * 120


def test_a_part_that_overlaps_another_is_a_dispute() -> None:
    world = a_world(mtu_length_s=HOUR_S)
    assert sent(world, quarters()[0]) == [ACCEPTED]
    (error,) = sent(world, a_reading(interval_s=1_800, counter=2_000))
    assert isinstance(error, ReadingDiffers)
    assert len(world.parts.kept) == 1


def test_a_part_of_an_hour_that_was_told_as_a_whole_is_a_dispute() -> None:
    world = a_world(mtu_length_s=HOUR_S)
    assert sent(world, a_reading(interval_s=HOUR_S)) == [ACCEPTED]
    (error,) = sent(world, quarters()[2])
    assert isinstance(error, ReadingDiffers)
    assert world.parts.kept == {}


def test_parts_of_two_devices_make_no_hour() -> None:
    world = a_world(mtu_length_s=HOUR_S)
    first, second, *_ = quarters()
    assert sent(world, first) == [ACCEPTED]
    (error,) = sent(world, quarters(meter_id="load 9")[1])
    assert isinstance(error, SerialChanged)
    assert len(world.parts.kept) == 1
    assert sent(world, second) == [ACCEPTED]


def test_the_counters_of_parts_rise() -> None:
    world = a_world(mtu_length_s=HOUR_S)
    first, second, third, _ = quarters()
    assert sent(world, first, third) == [ACCEPTED, ACCEPTED]
    for counter in (first.counter, third.counter):
        (error,) = sent(world, a_reading(mtu_start=second.mtu_start, counter=counter))
        assert isinstance(error, CounterReplayed)
        assert error.known_counter == counter


@pytest.mark.parametrize("interval_s", sorted({300, 600, 900, 1_200, 1_800, 2_700, 3_600, 7_200, 86_400}))
@pytest.mark.parametrize("mtu_length_s", MTU_LENGTHS_S)
def test_what_does_not_divide_evenly_is_refused(interval_s: int, mtu_length_s: int) -> None:
    world = a_world(now=NEXT_DAY, mtu_length_s=mtu_length_s)
    (result,) = sent(world, a_reading(interval_s=interval_s, import_wh=1, export_wh=0))
    if interval_s in MTU_LENGTHS_S:
        assert result is ACCEPTED
    else:
        assert isinstance(result, IntervalLengthRefused)
        assert (world.store.kept, world.parts.kept) == ({}, {})


@pytest.mark.parametrize("interval_s", [1_800, 3_600])
def test_a_longer_interval_begins_at_a_multiple_of_its_length(interval_s: int) -> None:
    (error,) = sent(a_world(now=NEXT_DAY), a_reading(mtu_start=MTU_START + 900, interval_s=interval_s))
    assert isinstance(error, UnalignedMtu)


# ---- counters of interval devices


def test_counters_of_intervals_rise_with_time() -> None:
    world = a_world()
    first, second, third = (a_reading(mtu_start=MTU_START + 900 * index, counter=10 + index) for index in range(3))
    assert sent(world, first, third) == [ACCEPTED, ACCEPTED]
    for counter, known in ((10, 10), (9, 10), (12, 12), (13, 12)):
        (error,) = sent(world, a_reading(mtu_start=second.mtu_start, counter=counter))
        assert isinstance(error, CounterReplayed)
        assert (error.counter, error.known_counter) == (counter, known)
    assert sent(world, second) == [ACCEPTED]


def test_a_replayed_counter_is_found_within_one_batch() -> None:
    world = a_world()
    results = sent(world, a_reading(counter=10), a_reading(mtu_start=MTU_START + 900, counter=10))
    assert results[0] is ACCEPTED
    assert isinstance(results[1], CounterReplayed)


def test_skipped_counters_are_noted_and_the_reading_counts() -> None:
    world = a_world()
    texts = [world.devices[1].sign(a_reading(mtu_start=MTU_START + 900 * i, counter=10 + 4 * i)) for i in range(2)]
    first, second = world.service.accept(texts)
    assert first.notes == ()
    assert [(note.name, note.count) for note in second.notes] == [(NoteName.COUNTER_SKIPPED, 3)]
    assert len(world.store.kept) == 2
