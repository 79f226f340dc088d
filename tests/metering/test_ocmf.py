"""OCMF texts: what devices sign is read to the watt-hour, and refused by name where it is not good."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyocmf import OCMF
from tests.metering.fakes import MTU_START, Device, a_register_reading, a_world

from gridledger.errors import GridLedgerError
from gridledger.metering.errors import (
    ClockNotSynchronised,
    CounterReplayed,
    FieldRefused,
    MeterFault,
    MeterMismatch,
    ReadingUnreadable,
    RegisterBackwards,
    RegistersDiffer,
    SerialChanged,
    SignatureInvalid,
)
from gridledger.metering.model import ReadingStatus
from gridledger.metering.ocmf import peek_registry_number, verify_registers
from gridledger.metering.registers import MAX_REGISTER_WH, check_order, interval_reading
from gridledger.metering.texts import joined, peek_reading_meter, verify_reading
from gridledger.units import OutOfRange

DEVICE = Device(1)


def payload(**changes: Any) -> dict[str, Any]:
    """The payload of a good text, open to changes; `RD` entries take those of `both`, `imported`, `exported`."""
    text = DEVICE.sign_registers(a_register_reading())
    made: dict[str, Any] = json.loads(text.split("|")[1])
    for entry, name in zip(made["RD"], ("imported", "exported"), strict=True):
        entry.update(changes.get("both", {}))
        entry.update(changes.get(name, {}))
    return made | {name: value for name, value in changes.items() if name not in ("both", "imported", "exported")}


def refused(text: str, device: Device = DEVICE) -> GridLedgerError:
    with pytest.raises(GridLedgerError) as error:
        verify_registers(text, device.key)
    return error.value


def test_a_text_says_what_was_signed_and_pyocmf_agrees() -> None:
    reading = a_register_reading()
    text = DEVICE.sign_registers(reading)
    assert verify_registers(text, DEVICE.key) == (reading, text)
    assert peek_registry_number(text) == 1
    assert [str(entry.RV) for entry in OCMF.from_string(text, strict=True).payload.RD] == ["1.0", "0.5"]
    assert DEVICE.sign_registers(reading) == text


@settings(max_examples=300, deadline=None)
@given(st.integers(0, MAX_REGISTER_WH), st.integers(0, MAX_REGISTER_WH), st.integers(0, 2**53 - 1))
def test_every_register_survives_its_text_exactly(imported: int, exported: int, counter: int) -> None:
    reading = a_register_reading(import_register_wh=imported, export_register_wh=exported, counter=counter)
    assert verify_registers(DEVICE.sign_registers(reading), DEVICE.key)[0] == reading


@pytest.mark.parametrize(("value", "unit", "expected"), [(1.0009, "kWh", 1_000), (1999.9, "Wh", 1_999), (0, "kWh", 0)])
def test_finer_registers_are_floored(value: float, unit: str, expected: int) -> None:
    text = DEVICE.sign_ocmf(payload(imported={"RV": value, "RU": unit}))
    assert verify_registers(text, DEVICE.key)[0].import_register_wh == expected


def test_a_local_time_is_the_same_moment() -> None:
    text = DEVICE.sign_ocmf(payload(both={"TM": "2016-06-13T02:00:00,000+0200 S"}))
    assert verify_registers(text, DEVICE.key)[0].taken_at == MTU_START


def test_every_flipped_character_of_the_payload_is_found() -> None:
    text = DEVICE.sign_registers(a_register_reading())
    start, end = text.index("{"), text.rindex("|")
    for place in range(start, end):
        other = "1" if text[place] != "1" else "2"
        assert isinstance(refused(text[:place] + other + text[place + 1 :]), GridLedgerError), place


def test_a_flipped_digit_is_an_invalid_signature() -> None:
    text = DEVICE.sign_registers(a_register_reading())
    assert refused(text.replace('"RV":1.0', '"RV":1.1')).values() == {"meter": 1}
    assert isinstance(refused(text, Device(2)), SignatureInvalid)


def test_the_kept_text_has_one_form_whatever_the_device_wrote_around_its_signature() -> None:
    text = DEVICE.sign_registers(a_register_reading())
    head, _, signature = text.rpartition("|")
    loose = head + "|" + json.dumps(json.loads(signature))
    assert loose != text
    assert verify_registers(loose, DEVICE.key)[1] == text


BAD: dict[str, tuple[dict[str, Any], type[GridLedgerError], dict[str, object]]] = {
    "no number of the registry": ({"GS": "gateway 7"}, FieldRefused, {"field": "GS"}),
    "number zero": ({"GS": "0"}, FieldRefused, {"field": "GS"}),
    "a number too large": ({"GS": str(2**32)}, FieldRefused, {"field": "GS"}),
    "no serial": ({"MS": ""}, FieldRefused, {"field": "meter_id"}),
    "a transaction's pagination": ({"PG": "T7"}, FieldRefused, {"field": "PG"}),
    "leading zero in the pagination": ({"PG": "F07"}, ReadingUnreadable, {}),
    "a counter too large": ({"PG": f"F{2**53}"}, OutOfRange, {}),
    "another register": ({"exported": {"RI": "1-0:1.7.0"}}, FieldRefused, {"field": "RD"}),
    "twice the same register": ({"exported": {"RI": "1-0:1.8.0"}}, FieldRefused, {"field": "RD"}),
    "a value not good": ({"imported": {"ST": "E"}}, MeterFault, {"status": "E"}),
    "error flags": ({"imported": {"EF": "E"}}, MeterFault, {"error_flags": "E"}),
    "an unsynchronised clock": (
        {"both": {"TM": "2016-06-13T00:00:00,000+0000 U"}},
        ClockNotSynchronised,
        {"status": "U"},
    ),
    "an informative clock": ({"both": {"TM": "2016-06-13T00:00:00,000+0000 I"}}, ClockNotSynchronised, {"status": "I"}),
    "two moments": ({"exported": {"TM": "2016-06-13T00:15:00,000+0000 S"}}, FieldRefused, {"field": "TM"}),
    "a fraction of a second": ({"both": {"TM": "2016-06-13T00:00:00,500+0000 S"}}, FieldRefused, {"field": "TM"}),
    "a negative register": ({"imported": {"RV": -1}}, OutOfRange, {}),
    "a register too large": ({"imported": {"RV": 10**9}}, OutOfRange, {}),
    "reactive energy": ({"imported": {"RU": "kvarh"}}, GridLedgerError, {}),
}


@pytest.mark.parametrize("name", BAD)
def test_a_genuine_text_that_is_not_good_is_refused_by_name(name: str) -> None:
    changes, kind, values = BAD[name]
    error = refused(DEVICE.sign_ocmf(payload(**changes)))
    assert isinstance(error, kind)
    assert values.items() <= error.values().items()


@pytest.mark.parametrize(
    "text",
    [
        "OCMF|",
        "OCMF|{}|{}",
        "OCMF|{}",
        "OCMF|[1]|{}",
        "OCMF|{|}|{}",
        "OCMF|{}|{}|key",
        "OCMF|" + "x" * 3_000,
        "OCMF|{}\n|{}",
    ],
)
def test_what_is_no_ocmf_is_unreadable(text: str) -> None:
    assert isinstance(refused(text), ReadingUnreadable)


# ---- two moments


def test_two_texts_make_the_reading_between_them() -> None:
    start = a_register_reading()
    end = a_register_reading(taken_at=MTU_START + 900, import_register_wh=1_120, export_register_wh=530, counter=8)
    text = joined(DEVICE.sign_registers(start), DEVICE.sign_registers(end))
    reading, kept = verify_reading(text, DEVICE.key)
    assert (reading, kept) == (interval_reading(start, end), text)
    assert (reading.mtu_start, reading.interval_s, reading.import_wh, reading.export_wh) == (MTU_START, 900, 120, 30)
    assert peek_reading_meter(text) == 1


def test_texts_of_two_meters_make_no_reading() -> None:
    end = a_register_reading(meter=2, taken_at=MTU_START + 900, counter=8)
    with pytest.raises(MeterMismatch):
        verify_reading(joined(DEVICE.sign_registers(a_register_reading()), DEVICE.sign_registers(end)), DEVICE.key)


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"import_register_wh": 999}, RegisterBackwards),
        ({"export_register_wh": 499}, RegisterBackwards),
        ({"counter": 7}, CounterReplayed),
        ({"counter": 6}, CounterReplayed),
        ({"meter_id": "load 9"}, SerialChanged),
    ],
)
def test_what_cannot_follow_is_refused(changes: dict[str, object], kind: type[GridLedgerError]) -> None:
    later = replace(a_register_reading(taken_at=MTU_START + 900, counter=8), **changes)  # type: ignore[arg-type]
    with pytest.raises(kind):
        check_order(a_register_reading(), later)


def test_one_moment_twice_is_no_interval() -> None:
    with pytest.raises(RegistersDiffer):
        interval_reading(a_register_reading(), a_register_reading(counter=8))


# ---- days on which clocks change


def at_local(text: str) -> int:
    """The moment of a local time with its offset, as a device writes it."""
    signed = DEVICE.sign_ocmf(payload(both={"TM": text + " S"}))
    return verify_registers(signed, DEVICE.key)[0].taken_at


def test_the_hour_that_comes_twice_is_two_different_hours() -> None:
    first, second = at_local("2016-10-30T02:30:00,000+0200"), at_local("2016-10-30T02:30:00,000+0100")
    assert (first, second) == (1_477_787_400, 1_477_791_000)
    assert at_local("2016-10-30T00:30:00,000+0000") == first
    assert at_local("2016-10-30T01:30:00,000+0000") == second


def test_over_the_hour_that_is_left_out_time_goes_on() -> None:
    before, after = at_local("2016-03-27T01:45:00,000+0100"), at_local("2016-03-27T03:00:00,000+0200")
    assert after - before == 900
    assert at_local("2016-03-27T02:00:00,000+0100") == after


@pytest.mark.parametrize(
    ("first_day_second", "offsets", "quarters"),
    [(1_459_033_200, ((8, "+0100"), (92, "+0200")), 92), (1_477_778_400, ((12, "+0200"), (100, "+0100")), 100)],
    ids=["23 hours", "25 hours"],
)
def test_a_local_day_of_registers_makes_as_many_readings_as_it_has_quarters(
    first_day_second: int, offsets: tuple[tuple[int, str], ...], quarters: int
) -> None:
    world = a_world(now=first_day_second + 100 * 900)
    for number in range(quarters + 1):
        offset = next((text for until, text in offsets if number < until), offsets[-1][1])
        local_s = first_day_second + 900 * number + int(offset[1:3]) * 3_600
        stamp = datetime.fromtimestamp(local_s, UTC).strftime(f"%Y-%m-%dT%H:%M:%S,000{offset} S")
        text = DEVICE.sign_ocmf(payload(PG=f"F{number}", both={"TM": stamp, "RV": number / 100}))
        (outcome,) = world.service.accept([text])
        assert outcome.status is ReadingStatus.ACCEPTED, outcome
    assert [stored.reading.import_wh for stored in world.store.kept.values()] == [10] * quarters
    assert {start for _, start in world.store.kept} == {first_day_second + 900 * number for number in range(quarters)}
