"""Who takes part is registered once, by whom it may be, and never overwritten."""

import pytest
from tests.contracts.harness import ZONE, Market, actor, device_key

ZERO = "0x" + "00" * 20
FIELD_PRIME = 2**256 - 2**224 + 2**192 + 2**96 - 1


def registration(owner: str, zone: int = ZONE, key: tuple[bytes, bytes] | None = None) -> tuple[object, ...]:
    """A MeterRegistration."""
    return owner, zone, 2**24 - 1, 1, 255, *(key or device_key(1))


def word_of(owner: str, zone: int, import_w: int, export_w: int, source: int, supplier: int) -> int:
    """MeterWord, from the lowest bit."""
    return int(owner, 16) | zone << 160 | import_w << 184 | export_w << 208 | source << 232 | supplier << 240


def test_a_registered_meter_is_found_with_all_its_facts(market: Market) -> None:
    owner = actor("owner").address
    market.send(
        market.grid_operator, "ParticipantRegistry", "admitParticipants", [owner], market.other_supplier.address
    )
    receipt = market.send(
        market.grid_operator, "ParticipantRegistry", "registerMeters", [registration(owner), registration(owner)]
    )
    assert market.codecs["ParticipantRegistry"].result("registerMeters", receipt.output) == (1,)
    assert [event.arguments["meter"] for event in receipt.named("MeterRegistered")] == [1, 2]
    assert market.view("ParticipantRegistry", "meterOf", 2) == {
        "owner": owner,
        "supplier": market.other_supplier.address,
        "zone": ZONE,
        "importCapacityW": 2**24 - 1,
        "exportCapacityW": 1,
        "source": 255,
    }
    assert market.view("ParticipantRegistry", "deviceKey", 1) == device_key(1)
    assert market.view("ParticipantRegistry", "meterCount") == 2


def test_a_meter_s_word_has_every_fact_in_its_own_bits(market: Market) -> None:
    # Neighbouring fields differ, and each has its lowest and highest bit set somewhere: nothing may spill over.
    zone = 2**24 - 1
    market.send(market.regulator, "ParticipantRegistry", "registerZone", zone, market.outsider.address)
    owner = actor("owner").address
    market.send(
        market.grid_operator, "ParticipantRegistry", "admitParticipants", [owner], market.other_supplier.address
    )
    rows = [
        (owner, zone, 0, 2**24 - 1, 0, *device_key(1)),
        (owner, ZONE, 2**24 - 1, 0, 255, *device_key(2)),
        (owner, zone, 1, 2**23, 1, *device_key(3)),
    ]
    market.send(market.grid_operator, "ParticipantRegistry", "registerMeters", rows)
    words = market.view("ParticipantRegistry", "meterWords", [3, 1, 2])
    assert list(words) == [word_of(*rows[index][:5], 2) for index in (2, 0, 1)]
    for number, row in enumerate(rows, 1):
        seen = market.view("ParticipantRegistry", "meterOf", number)
        assert (seen["owner"], seen["zone"], seen["importCapacityW"], seen["exportCapacityW"], seen["source"]) == row[
            :5
        ]
        assert seen["supplier"] == market.other_supplier.address
    assert market.view("ParticipantRegistry", "meterWords", []) == ()


def test_suppliers_are_numbered_from_one(market: Market) -> None:
    third = actor("third supplier").address
    market.send(market.regulator, "ParticipantRegistry", "registerSupplier", third)
    numbered = [market.view("ParticipantRegistry", "supplierAt", number) for number in range(5)]
    assert numbered == [ZERO, market.supplier.address, market.other_supplier.address, third, ZERO]
    assert market.view("ParticipantRegistry", "supplierAt", 2**16 - 1) == ZERO
    # Whoever has no supplier has number 0, which is nobody's.
    assert market.view("ParticipantRegistry", "supplierOf", market.outsider.address) == ZERO


def test_a_zone_fits_the_meter_s_word_and_is_not_the_whole_market(market: Market) -> None:
    register = (market.regulator, "ParticipantRegistry", "registerZone")
    for zone in (0, 2**24, 2**32 - 1):
        with market.refuses("ZoneUnknown", zone):
            market.send(*register, zone, market.outsider.address)
    event = market.send(*register, 2**24 - 1, market.outsider.address).one("ZoneRegistered")
    assert event == {"zone": 2**24 - 1, "gridOperator": market.outsider.address}


def test_numbers_go_on_where_the_last_call_ended(market: Market) -> None:
    meters = market.register_many([actor("first"), actor("second")]) + market.register_many([actor("third")])
    assert [meter.number for meter in meters] == [1, 2, 3]


@pytest.mark.parametrize("number", [0, 2, 2**32 - 1])
def test_unknown_meters_are_named(market: Market, number: int) -> None:
    market.register(actor("owner"))
    with market.refuses("MeterUnknown", number):
        market.view("ParticipantRegistry", "meterWords", [1, number])
    with market.refuses("MeterUnknown", number):
        market.view("ParticipantRegistry", "meterOf", number)
    with market.refuses("MeterUnknown", number):
        market.view("ParticipantRegistry", "deviceKey", number)
    with market.refuses("MeterUnknown", number):
        market.send(market.grid_operator, "ParticipantRegistry", "replaceDeviceKey", number, *device_key(2))


def test_a_meter_needs_an_admitted_owner_a_known_zone_and_a_key_on_the_curve(market: Market) -> None:
    owner = market.register(actor("owner")).owner.address
    x, y = device_key(1)
    off_curve = (x, (int.from_bytes(y) ^ 1).to_bytes(32))
    beyond_field = ((int.from_bytes(x) + FIELD_PRIME) % 2**256).to_bytes(32)
    bad: list[tuple[tuple[object, ...], str, tuple[object, ...]]] = [
        (registration(market.outsider.address), "ParticipantUnknown", (market.outsider.address,)),
        (registration(ZERO), "ParticipantUnknown", (ZERO,)),
        (registration(owner, zone=2), "ZoneUnknown", (2,)),
        (registration(owner, key=off_curve), "DeviceKeyInvalid", off_curve),
        (registration(owner, key=(bytes(32), bytes(32))), "DeviceKeyInvalid", (bytes(32), bytes(32))),
        (registration(owner, key=(beyond_field, y)), "DeviceKeyInvalid", (beyond_field, y)),
    ]
    for row, error, values in bad:
        with market.refuses(error, *values):
            market.send(market.grid_operator, "ParticipantRegistry", "registerMeters", [registration(owner), row])
    assert market.view("ParticipantRegistry", "meterCount") == 1


def test_a_device_key_is_replaced_but_not_by_garbage(market: Market) -> None:
    number = market.register(actor("owner")).number
    receipt = market.send(market.grid_operator, "ParticipantRegistry", "replaceDeviceKey", number, *device_key(77))
    assert receipt.one("DeviceKeyReplaced")["deviceKeyX"] == device_key(77)[0]
    assert market.view("ParticipantRegistry", "deviceKey", number) == device_key(77)
    with market.refuses("DeviceKeyInvalid"):
        market.send(market.grid_operator, "ParticipantRegistry", "replaceDeviceKey", number, b"\1" * 32, b"\2" * 32)


def test_participants_are_admitted_once_to_a_known_supplier(market: Market) -> None:
    member = market.register(actor("member")).owner.address
    admit = (market.grid_operator, "ParticipantRegistry", "admitParticipants")
    with market.refuses("ParticipantAlreadyAdmitted", member):
        market.send(*admit, [market.outsider.address, member], market.other_supplier.address)
    assert market.view("ParticipantRegistry", "supplierOf", market.outsider.address) == ZERO
    with market.refuses("SupplierUnknown", market.outsider.address):
        market.send(*admit, [market.outsider.address], market.outsider.address)
    with market.refuses("AccountIsZero"):
        market.send(*admit, [ZERO], market.supplier.address)


def test_zones_and_suppliers_are_registered_once(market: Market) -> None:
    with market.refuses("ZoneAlreadyRegistered", ZONE):
        market.send(market.regulator, "ParticipantRegistry", "registerZone", ZONE, market.outsider.address)
    with market.refuses("AccountIsZero"):
        market.send(market.regulator, "ParticipantRegistry", "registerZone", 2, ZERO)
    with market.refuses("ZoneUnknown", 2):
        market.view("ParticipantRegistry", "gridOperatorOf", 2)
    market.send(market.regulator, "ParticipantRegistry", "registerZone", 2, market.outsider.address)
    assert market.view("ParticipantRegistry", "gridOperatorOf", 2) == market.outsider.address
    assert market.view("ParticipantRegistry", "isSupplier", market.supplier.address)
    with market.refuses("SupplierAlreadyRegistered", market.supplier.address):
        market.send(market.regulator, "ParticipantRegistry", "registerSupplier", market.supplier.address)
    with market.refuses("AccountIsZero"):
        market.send(market.regulator, "ParticipantRegistry", "registerSupplier", ZERO)
    assert not market.view("ParticipantRegistry", "isSupplier", market.outsider.address)
