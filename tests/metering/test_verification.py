"""A text is checked under the key of one moment and kept only under the key of the moment it is kept."""

from dataclasses import replace

import pytest
from tests.metering.fakes import (
    MTU_LENGTH_S,
    MTU_START,
    Device,
    World,
    a_reading,
    a_register_reading,
    a_world,
)

from gridledger.errors import GridLedgerError
from gridledger.metering.errors import BatchTooLarge, SignatureInvalid, UnknownMeter
from gridledger.metering.model import DeviceKey, ReadingStatus
from gridledger.metering.verification import (
    MAX_BATCH_READINGS,
    GenuineReading,
    GenuineRegisters,
    check_again,
    check_texts,
    claimed_meters,
)

OLD_DEVICE = Device(1, seed=77)  # the one meter 1 had before
UNREADABLE = "no reading at all"


def keys(world: World) -> dict[int, DeviceKey]:
    return {meter: device.key for meter, device in world.devices.items()}


def texts_of(device: Device) -> dict[str, str]:
    return {
        "interval": device.sign(a_reading()),
        "moment": device.sign_registers(a_register_reading(taken_at=MTU_START + MTU_LENGTH_S)),
    }


def test_what_is_checked_says_what_was_signed_in_order() -> None:
    world = a_world()
    texts = [*texts_of(world.devices[1]).values(), UNREADABLE, OLD_DEVICE.sign(a_reading())]
    interval, moment, unreadable, forged = check_texts(texts, keys(world))
    assert isinstance(interval, GenuineReading)
    assert (interval.reading, interval.text, interval.device_key) == (a_reading(), texts[0], world.devices[1].key)
    assert isinstance(moment, GenuineRegisters)
    assert moment.registers == a_register_reading(taken_at=MTU_START + MTU_LENGTH_S)
    assert isinstance(unreadable, GridLedgerError)
    assert unreadable.code() == "reading-unreadable"
    assert isinstance(forged, SignatureInvalid)


def test_meters_are_claimed_by_every_text_that_can_be_read() -> None:
    texts = [Device(3).sign(a_reading(meter=3)), Device(5).sign_registers(a_register_reading(meter=5)), UNREADABLE]
    assert claimed_meters(texts) == {3, 5}
    assert claimed_meters([]) == set()
    with pytest.raises(BatchTooLarge):
        claimed_meters([UNREADABLE] * (MAX_BATCH_READINGS + 1))


@pytest.mark.parametrize("form", ["interval", "moment"])
def test_a_key_replaced_between_the_steps_refuses_what_the_old_one_signed(form: str) -> None:
    world = a_world()
    old = check_texts([texts_of(OLD_DEVICE)[form]], {1: OLD_DEVICE.key})
    assert not isinstance(old[0], GridLedgerError)  # it was genuine then
    (outcome,) = world.service.keep(old)
    assert outcome.status is ReadingStatus.REFUSED
    assert isinstance(outcome.error, SignatureInvalid)
    assert (world.store.kept, world.store.registers, world.store.disputes) == ({}, {}, {})


def test_an_old_key_opens_no_dispute_about_what_the_new_one_signed() -> None:
    world = a_world()
    assert world.service.accept([world.devices[1].sign(a_reading(import_wh=1))])[0].error is None
    (outcome,) = world.service.keep(check_texts([texts_of(OLD_DEVICE)["interval"]], {1: OLD_DEVICE.key}))
    assert outcome.status is ReadingStatus.REFUSED
    assert world.store.disputes == {}


def test_a_meter_gone_between_the_steps_is_unknown() -> None:
    world = a_world()
    stranger = Device(9)
    (outcome,) = world.service.keep(check_texts([stranger.sign(a_reading(meter=9))], {9: stranger.key}))
    assert isinstance(outcome.error, UnknownMeter)


def test_what_the_present_key_signed_stands_whatever_key_it_is_said_to_be_checked_with() -> None:
    world = a_world()
    (checked,) = check_texts([texts_of(world.devices[1])["interval"]], keys(world))
    assert isinstance(checked, GenuineReading)
    assert check_again(checked, keys(world)) is checked
    assert check_again(replace(checked, device_key=OLD_DEVICE.key), keys(world)) == checked


def test_a_replaced_key_touches_only_its_own_meter_and_no_order() -> None:
    world = a_world()
    earlier = keys(world) | {1: OLD_DEVICE.key}
    texts = [
        world.devices[2].sign(a_reading(meter=2)),
        texts_of(OLD_DEVICE)["interval"],
        UNREADABLE,
        texts_of(OLD_DEVICE)["moment"],
        world.devices[3].sign(a_reading(meter=3)),
    ]
    outcomes = world.service.keep(check_texts(texts, earlier))
    codes = [outcome.error.code() if outcome.error else str(outcome.status) for outcome in outcomes]
    assert codes == ["accepted", "signature-invalid", "reading-unreadable", "signature-invalid", "accepted"]
    assert [outcome.index for outcome in outcomes] == [0, 1, 2, 3, 4]
    assert set(world.store.kept) == {(2, MTU_START), (3, MTU_START)}
