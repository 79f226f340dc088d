"""Meter devices: their readings verify under their own key only, and follow from the seed."""

import pytest
from tests.simulation.fake_node import FIRST_MTU, MTU_LENGTH_S, SEED, a_spec

from gridledger.metering.errors import SignatureInvalid
from gridledger.metering.signed_reading import verify
from gridledger.simulation.community import HIGHEST_CAPACITY_W, CapacityTooLarge, form_community
from gridledger.simulation.devices import MeterDevice
from gridledger.simulation.inputs import MeterReading


def measured(mtu_start: int) -> MeterReading:
    return MeterReading(
        meter_id="b", mtu_start=mtu_start, import_wh=120, export_wh=3, consumption_wh=None, generation_wh=None
    )


def devices(seed: int = SEED) -> list[MeterDevice]:
    community = form_community([a_spec("b"), a_spec("a")], seed)
    return [MeterDevice(meter, MTU_LENGTH_S) for meter in community.meters]


def test_a_reading_carries_the_meters_number_its_interval_and_its_energies() -> None:
    device = devices()[1]
    reading = verify(device.sign(measured(FIRST_MTU)), device.public_key)
    assert (reading.meter, reading.meter_id, reading.interval_s) == (2, "b", MTU_LENGTH_S)
    assert (reading.mtu_start, reading.import_wh, reading.export_wh) == (FIRST_MTU, 120, 3)


def test_the_counter_rises_by_one_from_mtu_to_mtu() -> None:
    device = devices()[1]
    first, second = (
        verify(device.sign(measured(FIRST_MTU + offset)), device.public_key) for offset in (0, MTU_LENGTH_S)
    )
    assert second.counter == first.counter + 1


def test_each_device_has_its_own_key() -> None:
    first, second = devices()
    with pytest.raises(SignatureInvalid):
        verify(second.sign(measured(FIRST_MTU)), first.public_key)


def test_the_same_seed_gives_the_same_text_and_another_seed_another_key() -> None:
    assert devices()[1].sign(measured(FIRST_MTU)) == devices()[1].sign(measured(FIRST_MTU))
    assert devices()[1].public_key != devices(SEED + 1)[1].public_key


def test_meters_are_numbered_by_name_whatever_order_they_come_in() -> None:
    specs = [a_spec("c", owner="x"), a_spec("a", owner="y"), a_spec("b", owner="x")]
    community = form_community(specs, SEED)
    assert [(meter.number, meter.spec.meter_id) for meter in community.meters] == [(1, "a"), (2, "b"), (3, "c")]
    assert [(member.owner, [meter.number for meter in member.meters]) for member in community.members] == [
        ("x", [2, 3]),
        ("y", [1]),
    ]
    assert form_community(reversed(specs), SEED) == community


def test_a_connection_the_registry_cannot_hold_is_named() -> None:
    form_community([a_spec("m", export_capacity_w=HIGHEST_CAPACITY_W)], SEED)
    with pytest.raises(CapacityTooLarge) as caught:
        form_community([a_spec("m", export_capacity_w=HIGHEST_CAPACITY_W + 1)], SEED)
    assert (caught.value.meter_id, caught.value.capacity_w) == ("m", HIGHEST_CAPACITY_W + 1)
