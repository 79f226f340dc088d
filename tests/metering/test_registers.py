"""Register readings come in in any order; each interval whose two ends are known becomes one reading, once."""

from itertools import pairwise, permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.metering.fakes import MTU_START, NOW, World, a_reading, a_register_reading, a_world

from gridledger.errors import GridLedgerError
from gridledger.metering.errors import (
    AboveCapacity,
    CounterReplayed,
    ReadingDiffers,
    ReadingInFuture,
    ReadingTooOld,
    RegisterBackwards,
    RegistersDiffer,
    SerialChanged,
    SignatureInvalid,
    UnknownMeter,
)
from gridledger.metering.model import ReadingStatus
from gridledger.metering.registers import RegisterReading
from gridledger.metering.texts import verify_reading
from gridledger.units import UnalignedMtu

LENGTH_S = 900


def moments(count: int) -> list[RegisterReading]:
    """As many moments of meter 1, an MTU apart: 100 Wh imported and 10 Wh exported in each interval."""
    return [
        a_register_reading(
            taken_at=MTU_START + index * LENGTH_S,
            import_register_wh=1_000 + 100 * index,
            export_register_wh=500 + 10 * index,
            counter=7 + index,
        )
        for index in range(count)
    ]


def sent(world: World, *readings: RegisterReading) -> list[ReadingStatus | GridLedgerError]:
    """What the room answers to each of these texts, one after the other."""
    texts = [world.devices[reading.meter].sign_registers(reading) for reading in readings]
    return [outcome.error or outcome.status for text in texts for outcome in world.service.accept([text])]


def kept(world: World) -> dict[int, tuple[int, int]]:
    """Import and export by MTU start."""
    return {mtu: (one.reading.import_wh, one.reading.export_wh) for (_, mtu), one in world.store.kept.items()}


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_the_order_of_arrival_does_not_matter(order: tuple[int, ...]) -> None:
    world, readings = a_world(), moments(4)
    assert sent(world, *(readings[index] for index in order)) == [ReadingStatus.ACCEPTED] * 4
    assert kept(world) == {MTU_START + index * LENGTH_S: (100, 10) for index in range(3)}
    for stored in world.store.kept.values():
        assert verify_reading(stored.text, world.devices[1].key) == (stored.reading, stored.text)


def test_a_missing_moment_leaves_two_intervals_open_until_it_comes() -> None:
    world, (first, second, third) = a_world(), moments(3)
    sent(world, first, third)
    assert kept(world) == {}
    sent(world, second)
    assert kept(world) == {MTU_START: (100, 10), MTU_START + LENGTH_S: (100, 10)}


def test_the_same_registers_again_are_a_duplicate_and_others_are_not_taken() -> None:
    world, (first, second) = a_world(), moments(2)
    other = a_register_reading(taken_at=second.taken_at, import_register_wh=1_101, export_register_wh=510, counter=8)
    assert sent(world, first, second, second) == [
        ReadingStatus.ACCEPTED,
        ReadingStatus.ACCEPTED,
        ReadingStatus.DUPLICATE,
    ]
    (error,) = sent(world, other)
    assert isinstance(error, RegistersDiffer)
    assert world.store.disputes == {(1, second.taken_at): [world.devices[1].sign_registers(other)]}
    assert kept(world) == {MTU_START: (100, 10)}


def test_an_interval_told_as_a_whole_is_not_told_again_by_registers() -> None:
    world, (first, second) = a_world(), moments(2)
    world.service.accept([world.devices[1].sign(a_reading(import_wh=100, export_wh=10))])
    *_, error = sent(world, first, second)
    assert isinstance(error, ReadingDiffers)
    assert len(world.store.registers) == 1


BAD = {
    "unknown meter": (a_register_reading(meter=1), UnknownMeter),
    "off the grid": (a_register_reading(taken_at=MTU_START + LENGTH_S + 1, counter=8), UnalignedMtu),
    "in the future": (a_register_reading(taken_at=NOW + LENGTH_S, counter=20), ReadingInFuture),
    "too old": (a_register_reading(taken_at=MTU_START - 8 * 86_400, counter=1), ReadingTooOld),
    "import backwards": (
        a_register_reading(taken_at=MTU_START + LENGTH_S, import_register_wh=999, counter=8),
        RegisterBackwards,
    ),
    "export backwards": (
        a_register_reading(taken_at=MTU_START + LENGTH_S, export_register_wh=499, counter=8),
        RegisterBackwards,
    ),
    "earlier but more": (
        a_register_reading(taken_at=MTU_START - LENGTH_S, import_register_wh=1_001, counter=6),
        RegisterBackwards,
    ),
    "counter replayed": (a_register_reading(taken_at=MTU_START + LENGTH_S, counter=7), CounterReplayed),
    "counter from later": (a_register_reading(taken_at=MTU_START - LENGTH_S, counter=8), CounterReplayed),
    "another device": (a_register_reading(taken_at=MTU_START + LENGTH_S, counter=8, meter_id="load 9"), SerialChanged),
    "above capacity": (
        a_register_reading(taken_at=MTU_START + LENGTH_S, import_register_wh=1_251, counter=8),
        AboveCapacity,
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_register_reading_gets_its_named_error_and_is_not_kept(name: str) -> None:
    world = a_world()
    sent(world, a_register_reading())
    reading, kind = BAD[name]
    device = world.devices[1]
    text = device.sign_registers(reading)
    if name == "unknown meter":
        text = text.replace('"GS":"1"', '"GS":"77"')
    (outcome,) = world.service.accept([text])
    assert type(outcome.error) is kind
    assert len(world.store.registers) == 1
    assert world.store.kept == {}


def test_a_text_of_another_device_s_key_is_no_reading() -> None:
    world = a_world()
    text = world.devices[2].sign_registers(a_register_reading(meter=1))
    (outcome,) = world.service.accept([text])
    assert type(outcome.error) is SignatureInvalid


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 250), st.integers(0, 125)), min_size=1, max_size=4), st.randoms())
def test_intervals_add_up_to_the_registers(steps: list[tuple[int, int]], random: object) -> None:
    imported, exported, readings = 1_000, 500, [a_register_reading()]
    for index, (import_wh, export_wh) in enumerate(steps, start=1):
        imported, exported = imported + import_wh, exported + export_wh
        readings.append(
            a_register_reading(
                taken_at=MTU_START + index * LENGTH_S,
                import_register_wh=imported,
                export_register_wh=exported,
                counter=7 + index,
            )
        )
    shuffled = list(readings)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    world = a_world()
    sent(world, *shuffled)
    for earlier, later in pairwise(readings):
        expected = (
            later.import_register_wh - earlier.import_register_wh,
            later.export_register_wh - earlier.export_register_wh,
        )
        assert kept(world)[earlier.taken_at] == expected
    assert sum(import_wh for import_wh, _ in kept(world).values()) == imported - 1_000
