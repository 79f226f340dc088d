"""Resets, rollovers and replacements are the grid operator's signed facts; energy is followed across them exactly."""

import pytest
from eth_account import Account
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.metering.fakes import (
    METERING,
    MTU_START,
    NOW,
    World,
    a_reading,
    a_register_reading,
    a_world,
    an_event,
    signed_event,
)

from gridledger.errors import GridLedgerError
from gridledger.metering.errors import (
    AboveCapacity,
    CounterReplayed,
    FieldRefused,
    MeterEventDiffers,
    MeterEventInFuture,
    MeterEventMalformed,
    MeterEventTooLate,
    NotTheMetersGridOperator,
    RegisterBackwards,
    SerialChanged,
    StatementSignatureMalformed,
    UnknownMeter,
)
from gridledger.metering.events import MeterEvent, MeterEventKind, event_signer
from gridledger.metering.model import NoteName, ReadingOutcome, ReadingStatus
from gridledger.metering.registers import RegisterReading
from gridledger.metering.texts import verify_reading
from gridledger.units import OutOfRange

LENGTH_S = 900
END = MTU_START + LENGTH_S
ROLLOVER, REPLACEMENT = MeterEventKind.ROLLOVER, MeterEventKind.REPLACEMENT
STRANGER = Account.from_key((42).to_bytes(32))


def post(world: World, *registers: RegisterReading) -> list[ReadingStatus | GridLedgerError]:
    outcomes = [outcome for one in registers for outcome in told(world, one)]
    return [outcome.error or outcome.status for outcome in outcomes]


def told(world: World, registers: RegisterReading) -> tuple[ReadingOutcome, ...]:
    return world.service.accept([world.devices[registers.meter].sign_registers(registers)])


def state(world: World, event: MeterEvent) -> ReadingStatus:
    return world.event_service.accept(event, signed_event(event))


def refused(world: World, event: MeterEvent, signature: bytes | None = None) -> GridLedgerError:
    known = dict(world.events.kept)
    with pytest.raises(GridLedgerError) as error:
        world.event_service.accept(event, signed_event(event) if signature is None else signature)
    assert world.events.kept == known
    return error.value


ACROSS = {
    "a reset to zero": (
        an_event(),
        a_register_reading(taken_at=END, import_register_wh=40, export_register_wh=3, counter=1),
    ),
    "a reset to other values": (
        an_event(opening_import_wh=5_000, opening_export_wh=600),
        a_register_reading(taken_at=END, import_register_wh=5_040, export_register_wh=603, counter=8),
    ),
    "a replacement": (
        an_event(kind=REPLACEMENT, opening_serial="load 1b", opening_import_wh=9, opening_export_wh=4),
        a_register_reading(taken_at=END, import_register_wh=49, export_register_wh=7, counter=0, meter_id="load 1b"),
    ),
    "at the very end of the interval": (
        an_event(happened_at=END),
        a_register_reading(taken_at=END, import_register_wh=40, export_register_wh=3, counter=1),
    ),
}


@pytest.mark.parametrize("name", ACROSS)
def test_energy_is_what_was_counted_up_to_the_event_and_from_it(name: str) -> None:
    event, after = ACROSS[name]
    world = a_world()
    assert post(world, a_register_reading()) == [ReadingStatus.ACCEPTED]
    assert isinstance(post(world, after)[0], RegisterBackwards | SerialChanged | CounterReplayed | AboveCapacity)
    assert world.store.kept == {}
    assert state(world, event) is ReadingStatus.ACCEPTED
    assert post(world, after) == [ReadingStatus.ACCEPTED]
    kept = world.store.kept[1, MTU_START]
    assert (kept.reading.import_wh, kept.reading.export_wh) == (60 + 40, 7 + 3)
    assert verify_reading(kept.text, world.devices[1].key, events=[event]) == (kept.reading, kept.text)
    try:
        unstated = verify_reading(kept.text, world.devices[1].key)[0]
    except GridLedgerError:
        return
    assert unstated.import_wh != kept.reading.import_wh


def test_a_rollover_counts_to_the_register_s_capacity_and_the_other_register_goes_on() -> None:
    world = a_world()
    before = a_register_reading(import_register_wh=10**9 - 70, export_register_wh=500)
    event = an_event(kind=ROLLOVER, closing_import_wh=10**9, closing_export_wh=500, opening_export_wh=500)
    after = a_register_reading(taken_at=END, import_register_wh=30, export_register_wh=510, counter=8)
    assert post(world, before) == [ReadingStatus.ACCEPTED]
    state(world, event)
    assert post(world, after) == [ReadingStatus.ACCEPTED]
    assert world.store.kept[1, MTU_START].reading.net_wh == 10 - 100


def test_two_events_in_one_interval_are_followed_one_after_the_other() -> None:
    world = a_world()
    post(world, a_register_reading())
    state(world, an_event(happened_at=MTU_START + 100, closing_import_wh=1_010, closing_export_wh=501))
    state(
        world,
        an_event(
            kind=REPLACEMENT,
            happened_at=MTU_START + 200,
            closing_import_wh=20,
            closing_export_wh=0,
            opening_serial="load 1b",
        ),
    )
    after = a_register_reading(taken_at=END, import_register_wh=70, export_register_wh=9, counter=0, meter_id="load 1b")
    assert post(world, after) == [ReadingStatus.ACCEPTED]
    reading = world.store.kept[1, MTU_START].reading
    assert (reading.import_wh, reading.export_wh, reading.meter_id) == (10 + 20 + 70, 1 + 0 + 9, "load 1b")


def test_more_than_the_connection_carries_is_refused_across_an_event_too() -> None:
    world = a_world()
    post(world, a_register_reading())
    state(world, an_event(closing_import_wh=1_000 + 240))
    after = a_register_reading(taken_at=END, import_register_wh=11, export_register_wh=0, counter=1)
    (error,) = post(world, after)
    assert isinstance(error, AboveCapacity)
    assert (error.energy_wh, error.capacity_wh) == (251, 250)


def test_the_counter_may_begin_again_after_a_reset_but_not_after_a_rollover() -> None:
    world = a_world()
    post(world, a_register_reading(import_register_wh=10**6 - 10))
    state(world, an_event(kind=ROLLOVER, closing_import_wh=10**6, closing_export_wh=500, opening_export_wh=500))
    after = a_register_reading(taken_at=END, import_register_wh=5, export_register_wh=505, counter=1)
    (error,) = post(world, after)
    assert isinstance(error, CounterReplayed)


def test_interval_devices_may_begin_their_counter_again_with_an_event_only() -> None:
    world = a_world()
    first = world.devices[1].sign(a_reading(counter=700))
    again = world.devices[1].sign(a_reading(mtu_start=END, counter=0))
    assert world.service.accept([first])[0].status is ReadingStatus.ACCEPTED
    assert isinstance(world.service.accept([again])[0].error, CounterReplayed)
    state(world, an_event(happened_at=END + 60))
    (outcome,) = world.service.accept([again])
    assert (outcome.status, outcome.notes) == (ReadingStatus.ACCEPTED, ())


def test_the_same_statement_again_is_a_duplicate_and_another_of_that_moment_is_not_taken() -> None:
    world = a_world()
    assert [state(world, an_event()), state(world, an_event())] == [ReadingStatus.ACCEPTED, ReadingStatus.DUPLICATE]
    error = refused(world, an_event(opening_import_wh=1))
    assert isinstance(error, MeterEventDiffers)
    assert error.values() == {"meter": 1, "happened_at": MTU_START + 600}


def test_only_the_grid_operator_of_the_meter_s_zone_states_events() -> None:
    world, event = a_world(), an_event()
    error = refused(world, event, signed_event(event, STRANGER))
    assert isinstance(error, NotTheMetersGridOperator)
    assert error.signer == STRANGER.address
    assert isinstance(refused(world, event, signed_event(an_event(opening_import_wh=1))), NotTheMetersGridOperator)


def test_a_signature_has_one_form() -> None:
    world, event = a_world(), an_event()
    good = signed_event(event)
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    other_half = good[:32] + (order - int.from_bytes(good[32:64])).to_bytes(32) + bytes((55 - good[64],))
    for signature in (b"", good[:64], good + b"\0", good[:64] + b"\0", other_half, bytes(64) + b"\x1b"):
        assert isinstance(refused(world, event, signature), StatementSignatureMalformed)
    assert (
        event_signer(METERING, event, good)
        == refused(world, event, signed_event(event, STRANGER)).values()["grid_operator"]
    )


def test_an_event_fits_the_readings_around_it() -> None:
    world = a_world()
    post(world, a_register_reading())
    assert isinstance(refused(world, an_event(closing_import_wh=999)), RegisterBackwards)
    assert isinstance(refused(world, an_event(closing_serial="load 9", opening_serial="load 9")), SerialChanged)
    assert isinstance(refused(world, an_event(meter=77)), UnknownMeter)
    assert isinstance(refused(world, an_event(happened_at=NOW + 1)), MeterEventInFuture)
    state(world, an_event())
    before = an_event(happened_at=MTU_START + 500, opening_import_wh=2_000, closing_import_wh=1_000)
    assert isinstance(refused(world, before), RegisterBackwards)  # the next event closes at less


def test_an_event_that_comes_after_the_reading_across_it_is_too_late() -> None:
    world = a_world()
    post(world, a_register_reading(), a_register_reading(taken_at=END, import_register_wh=1_100, counter=8))
    error = refused(world, an_event(opening_import_wh=1_060, opening_export_wh=1))
    assert isinstance(error, MeterEventTooLate)
    assert error.read_until == END


MALFORMED: dict[str, tuple[dict[str, object], type[GridLedgerError]]] = {
    "a reset of another device": ({"opening_serial": "load 9"}, MeterEventMalformed),
    "a reset that changes nothing": ({"opening_import_wh": 1_060, "opening_export_wh": 507}, MeterEventMalformed),
    "a replacement by the same device": ({"kind": REPLACEMENT}, MeterEventMalformed),
    "a rollover below the capacity": ({"kind": ROLLOVER}, MeterEventMalformed),
    "a rollover that opens above zero": (
        {"kind": ROLLOVER, "closing_import_wh": 10**9, "opening_import_wh": 1, "opening_export_wh": 507},
        MeterEventMalformed,
    ),
    "a register too large": ({"closing_import_wh": 10**12 + 1}, OutOfRange),
    "a register that opens at its capacity": ({"opening_import_wh": 10**12}, OutOfRange),
    "a negative register": ({"opening_export_wh": -1}, OutOfRange),
    "no serial": ({"closing_serial": ""}, FieldRefused),
    "a serial of control characters": ({"opening_serial": "a\0"}, FieldRefused),
    "meter zero": ({"meter": 0}, OutOfRange),
    "the beginning of time": ({"happened_at": 0}, OutOfRange),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_an_impossible_event_cannot_exist(name: str) -> None:
    changes, kind = MALFORMED[name]
    with pytest.raises(kind):
        an_event(**changes)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**9), st.integers(0, 120), st.integers(0, 120), st.integers(0, 10**9), st.integers(1, LENGTH_S))
def test_no_event_makes_or_loses_energy(before: int, up_to: int, after: int, opening: int, moment: int) -> None:
    world = a_world()
    closing = before + up_to
    event = an_event(
        happened_at=MTU_START + moment,
        closing_import_wh=closing,
        opening_import_wh=opening,
        closing_export_wh=500,
        opening_export_wh=499,
    )
    end = a_register_reading(taken_at=END, import_register_wh=opening + after, export_register_wh=499, counter=8)
    post(world, a_register_reading(import_register_wh=before))
    state(world, event)
    assert post(world, end) == [ReadingStatus.ACCEPTED]
    assert world.store.kept[1, MTU_START].reading.import_wh == up_to + after


def test_a_skipped_counter_is_accepted_and_told() -> None:
    world = a_world()
    post(world, a_register_reading())
    (outcome,) = told(world, a_register_reading(taken_at=END, counter=10))
    assert outcome.status is ReadingStatus.ACCEPTED
    assert [(note.name, note.count) for note in outcome.notes] == [(NoteName.COUNTER_SKIPPED, 2)]
