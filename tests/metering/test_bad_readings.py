"""Named bad readings, each with the exact error it gets. Nothing of them is kept, and a good one beside them is."""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from tests.metering.fakes import MTU_START, NOW, Device, a_reading, a_world, payload_of

from gridledger.errors import GridLedgerError
from gridledger.metering.errors import (
    AboveCapacity,
    FieldRefused,
    FieldsRefused,
    HeaderRefused,
    IntervalLengthRefused,
    MeterMismatch,
    ReadingDiffers,
    ReadingInFuture,
    ReadingTooOld,
    ReadingUnreadable,
    SignatureInvalid,
    UnknownMeter,
)
from gridledger.metering.model import MAX_ENERGY_WH, ReadingStatus
from gridledger.metering.signed_reading import MAX_TEXT_CHARACTERS, READING_TYPE
from gridledger.units import OutOfRange, UnalignedMtu

GOOD = a_reading(meter=1)
DEVICE = Device(1)
TEXT = DEVICE.sign(GOOD)
HEADER, PAYLOAD, SIGNATURE = TEXT.split(".")
WHOLE_NUMBER = "a whole number"
MOMENT = "a moment in UTC such as 2016-06-13T00:00:00Z"
NAME = "1 to 64 printable characters without blanks around them"
NO_HEADER = ReadingUnreadable(problem="no header of at most 160 characters")
NOT_JSON_HEADER = ReadingUnreadable(problem="the header is not JSON in base64url")
NOT_JSON = ReadingUnreadable(problem="the payload is not JSON in UTF-8")
NO_OBJECT = ReadingUnreadable(problem="the payload is not a JSON object")
TWICE = ReadingUnreadable(problem="the payload names a field twice")
SEGMENTS = ReadingUnreadable(problem="not three segments of base64url")


@dataclass(frozen=True, kw_only=True)
class Bad:
    """A bad reading's name, its text, and what is said about it."""

    name: str
    text: str
    error: GridLedgerError


def bad(name: str, text: str, error: GridLedgerError) -> Bad:
    return Bad(name=name, text=text, error=error)


def field(name: str, value: object) -> str:
    """The good reading with one field of its payload replaced, properly signed."""
    return DEVICE.sign_by_chance(payload_of(GOOD) | {name: value})


def encoded(content: object) -> str:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def header(**changes: object) -> str:
    """The header as it is shown when it is refused."""
    return ascii({"alg": "ES256", "typ": READING_TYPE, "kid": "1"} | changes)[:160]


def with_header(content: object) -> str:
    return f"{encoded(content)}.{PAYLOAD}.{SIGNATURE}"


def without(name: str) -> str:
    return DEVICE.sign_by_chance({key: value for key, value in payload_of(GOOD).items() if key != name})


def out_of_range(name: str, value: int, lowest: int, highest: int) -> OutOfRange:
    return OutOfRange(field=name, value=value, lowest=lowest, highest=highest)


TWO_METERS = json.dumps(payload_of(GOOD))[:-1].encode() + b',"meter":1}'
UNSECURED = {"alg": "none", "typ": READING_TYPE, "kid": "1"}

BAD_READINGS = [
    # not a text of the right form
    bad("nothing", "", NO_HEADER),
    bad("no dots", "reading", NO_HEADER),
    bad("two segments", f"{HEADER}.{PAYLOAD}", SEGMENTS),
    bad("four segments", f"{TEXT}.{SIGNATURE}", SEGMENTS),
    bad("a line break at the end", TEXT + "\n", SignatureInvalid(meter=1)),
    bad("padding in the payload", f"{HEADER}.{PAYLOAD}=.{SIGNATURE}", SEGMENTS),
    bad("a letter outside ASCII", TEXT + "é", ReadingUnreadable(problem="characters outside ASCII")),
    bad("a lone surrogate", TEXT + "\ud800", ReadingUnreadable(problem="characters outside ASCII")),
    bad("too long", TEXT.ljust(MAX_TEXT_CHARACTERS + 1, "A"), ReadingUnreadable(problem="longer than 1024 characters")),
    bad("a header too long", f"{'A' * 161}.{PAYLOAD}.{SIGNATURE}", NO_HEADER),
    bad("a header that is not base64", f"!{HEADER}.{PAYLOAD}.{SIGNATURE}", NOT_JSON_HEADER),
    bad("a header that is not JSON", f"{encoded(b'alg')}.{PAYLOAD}.{SIGNATURE}", NOT_JSON_HEADER),
    bad("a header that is a list", with_header(["alg"]), ReadingUnreadable(problem="the header is not a JSON object")),
    bad(
        "a header that is a text", with_header("alg b64"), ReadingUnreadable(problem="the header is not a JSON object")
    ),
    bad("a header nested deeply", with_header(b"[" * 119), NOT_JSON_HEADER),
    # another header
    bad("unsecured", f"{encoded(UNSECURED)}.{PAYLOAD}.", HeaderRefused(header=header(alg="none"))),
    bad(
        "signed with a shared secret",
        with_header(UNSECURED | {"alg": "HS256"}),
        HeaderRefused(header=header(alg="HS256")),
    ),
    bad("another type", DEVICE.sign_by_chance(payload_of(GOOD), typ="JWT"), HeaderRefused(header=header(typ="JWT"))),
    bad(
        "no type", with_header({"alg": "ES256", "kid": "1"}), HeaderRefused(header=ascii({"alg": "ES256", "kid": "1"}))
    ),
    bad(
        "its own key with it",
        with_header(UNSECURED | {"alg": "ES256", "jwk": {}}),
        HeaderRefused(header=header(jwk={})),
    ),
    bad(
        "a critical extension",
        with_header(UNSECURED | {"alg": "ES256", "crit": ["b64"]}),
        HeaderRefused(header=header(crit=["b64"])),
    ),
    bad(
        "a detached payload",
        with_header(UNSECURED | {"alg": "ES256", "b64": False}),
        HeaderRefused(header=header(b64=False)),
    ),
    bad(
        "a meter number that is a number",
        with_header(UNSECURED | {"alg": "ES256", "kid": 1}),
        HeaderRefused(header=header(kid=1)),
    ),
    bad(
        "a meter number with a zero before",
        DEVICE.sign_by_chance(payload_of(GOOD), kid="01"),
        HeaderRefused(header=header(kid="01")),
    ),
    bad(
        "a meter number with a sign",
        DEVICE.sign_by_chance(payload_of(GOOD), kid="+1"),
        HeaderRefused(header=header(kid="+1")),
    ),
    bad("meter zero", DEVICE.sign_by_chance(payload_of(GOOD), kid="0"), HeaderRefused(header=header(kid="0"))),
    bad(
        "a meter above 32 bits",
        DEVICE.sign_by_chance(payload_of(GOOD), kid="4294967296"),
        HeaderRefused(header=header(kid="4294967296")),
    ),
    # another signer
    bad("an unknown meter", Device(9).sign(a_reading(meter=9)), UnknownMeter(meter=9)),
    bad("signed by another meter's key", Device(1, seed=2).sign(GOOD), SignatureInvalid(meter=1)),
    bad(
        "another meter's reading under its name",
        Device(2).sign_by_chance(payload_of(GOOD), kid="1"),
        SignatureInvalid(meter=1),
    ),
    bad(
        "another meter inside than outside",
        DEVICE.sign_by_chance(payload_of(a_reading(meter=2))),
        MeterMismatch(signing_meter=1, meter=2),
    ),
    bad("no signature", f"{HEADER}.{PAYLOAD}.", SignatureInvalid(meter=1)),
    bad("half a signature", f"{HEADER}.{PAYLOAD}.{SIGNATURE[:43]}", SignatureInvalid(meter=1)),
    bad("a signature of zeros", f"{HEADER}.{PAYLOAD}.{encoded(bytes(64))}", SignatureInvalid(meter=1)),
    bad(
        "the signature of another reading",
        f"{HEADER}.{PAYLOAD}.{DEVICE.sign(a_reading(counter=8)).rpartition('.')[2]}",
        SignatureInvalid(meter=1),
    ),
    # another payload, properly signed
    bad("an empty payload", DEVICE.sign_by_chance(b""), NOT_JSON),
    bad("a payload that is not JSON", DEVICE.sign_by_chance(b"import 120 Wh"), NOT_JSON),
    bad("a payload in UTF-16", DEVICE.sign_by_chance(json.dumps(payload_of(GOOD)).encode("utf-16")), NOT_JSON),
    bad(
        "a payload with a byte order mark",
        DEVICE.sign_by_chance(b"\xef\xbb\xbf" + json.dumps(payload_of(GOOD)).encode()),
        NOT_JSON,
    ),
    bad("two payloads in one", DEVICE.sign_by_chance(json.dumps(payload_of(GOOD)).encode() * 2), NOT_JSON),
    bad("a payload nested deeply", DEVICE.sign_by_chance(b"[" * 600), NOT_JSON),
    bad("a payload that is a list", DEVICE.sign_by_chance(b"[1]"), NO_OBJECT),
    bad("a payload that is nothing", DEVICE.sign_by_chance(b"null"), NO_OBJECT),
    bad("a field twice", DEVICE.sign_by_chance(TWO_METERS), TWICE),
    bad("an empty object", DEVICE.sign_by_chance(b"{}"), FieldsRefused(missing=tuple(payload_of(GOOD)), unknown=())),
    bad("no counter", without("counter"), FieldsRefused(missing=("counter",), unknown=())),
    bad("an unknown field", field("price", 1), FieldsRefused(missing=(), unknown=("'price'",))),
    bad("an unknown field of a lone surrogate", field("\ud800", 1), FieldsRefused(missing=(), unknown=("'\\ud800'",))),
    bad("a misspelt field", field("Import_wh", 1), FieldsRefused(missing=(), unknown=("'Import_wh'",))),
    # a field of another kind
    bad("energy with a fraction", field("import_wh", 120.5), FieldRefused(field="import_wh", expected=WHOLE_NUMBER)),
    bad(
        "whole energy written as a fraction",
        field("import_wh", 120.0),
        FieldRefused(field="import_wh", expected=WHOLE_NUMBER),
    ),
    bad("energy as a text", field("export_wh", "30"), FieldRefused(field="export_wh", expected=WHOLE_NUMBER)),
    bad("energy that is true", field("export_wh", True), FieldRefused(field="export_wh", expected=WHOLE_NUMBER)),
    bad(
        "energy that is missing a value",
        field("import_wh", None),
        FieldRefused(field="import_wh", expected=WHOLE_NUMBER),
    ),
    bad(
        "energy that is not a number",
        field("import_wh", float("nan")),
        FieldRefused(field="import_wh", expected=WHOLE_NUMBER),
    ),
    bad("energy without end", field("import_wh", float("inf")), FieldRefused(field="import_wh", expected=WHOLE_NUMBER)),
    bad(
        "energy that is an object",
        field("import_wh", {"wh": 1}),
        FieldRefused(field="import_wh", expected=WHOLE_NUMBER),
    ),
    bad("a meter as a text", field("meter", "1"), FieldRefused(field="meter", expected=WHOLE_NUMBER)),
    bad("a counter with a fraction", field("counter", 7.0), FieldRefused(field="counter", expected=WHOLE_NUMBER)),
    bad("a meter name that is a number", field("meter_id", 1), FieldRefused(field="meter_id", expected="a text")),
    bad("an empty meter name", field("meter_id", ""), FieldRefused(field="meter_id", expected=NAME)),
    bad(
        "a meter name of control characters",
        field("meter_id", "a\u0000b"),
        FieldRefused(field="meter_id", expected=NAME),
    ),
    bad("a meter name too long", field("meter_id", "m" * 65), FieldRefused(field="meter_id", expected=NAME)),
    bad(
        "time as a number", field("interval_start", MTU_START), FieldRefused(field="interval_start", expected="a text")
    ),
    bad(
        "a time without a zone",
        field("interval_start", "2016-06-13T00:00:00"),
        FieldRefused(field="interval_start", expected=MOMENT),
    ),
    bad(
        "a time elsewhere",
        field("interval_start", "2016-06-13T02:00:00+02:00"),
        FieldRefused(field="interval_start", expected=MOMENT),
    ),
    bad(
        "the right time written otherwise",
        field("interval_start", "2016-06-13T00:00:00+00:00"),
        FieldRefused(field="interval_start", expected=MOMENT),
    ),
    bad(
        "a time with milliseconds",
        field("interval_start", "2016-06-13T00:00:00.000Z"),
        FieldRefused(field="interval_start", expected=MOMENT),
    ),
    bad(
        "a day that does not exist",
        field("interval_start", "2016-06-31T00:00:00Z"),
        FieldRefused(field="interval_start", expected=MOMENT),
    ),
    bad(
        "a time before 1970",
        field("interval_start", "1969-12-31T23:45:00Z"),
        FieldRefused(field="interval_start", expected=MOMENT),
    ),
    # a value out of range
    bad("negative import", field("import_wh", -1), out_of_range("import_wh", -1, 0, MAX_ENERGY_WH)),
    bad("negative export", field("export_wh", -1), out_of_range("export_wh", -1, 0, MAX_ENERGY_WH)),
    bad(
        "energy beyond every meter",
        field("import_wh", 2**40 + 1),
        out_of_range("import_wh", 2**40 + 1, 0, MAX_ENERGY_WH),
    ),
    bad("a negative counter", field("counter", -1), out_of_range("counter", -1, 0, 2**53 - 1)),
    bad("a counter too large", field("counter", 2**53), out_of_range("counter", 2**53, 0, 2**53 - 1)),
    bad("an interval of nothing", field("interval_seconds", 0), out_of_range("interval_s", 0, 1, 86_400)),
    bad("meter zero inside", field("meter", 0), out_of_range("meter", 0, 1, 2**32 - 1)),
    # a good form, not to be settled
    bad(
        "a length that does not divide",
        field("interval_seconds", 1200),
        IntervalLengthRefused(interval_s=1200, mtu_length_s=900),
    ),
    bad(
        "off the grid",
        field("interval_start", "2016-06-13T00:00:01Z"),
        UnalignedMtu(mtu_start=MTU_START + 1, mtu_length_s=900),
    ),
    bad(
        "at the beginning of time",
        field("interval_start", "1970-01-01T00:00:00Z"),
        UnalignedMtu(mtu_start=0, mtu_length_s=900),
    ),
    bad(
        "an interval still running",
        field("interval_start", "2016-06-13T01:00:00Z"),
        ReadingInFuture(interval_end=NOW + 900, now=NOW),
    ),
    bad(
        "the last moment of time",
        field("interval_start", "9999-12-31T23:45:00Z"),
        ReadingInFuture(interval_end=253_402_300_800, now=NOW),
    ),
    bad(
        "too old",
        field("interval_start", "2016-06-06T00:30:00Z"),
        ReadingTooOld(interval_end=NOW - 604_800 - 900, now=NOW, greatest_age_s=604_800),
    ),
    bad(
        "more import than the connection carries",
        field("import_wh", 251),
        AboveCapacity(meter=1, register="import", energy_wh=251, capacity_wh=250),
    ),
    bad(
        "more export than the connection carries",
        field("export_wh", 126),
        AboveCapacity(meter=1, register="export", energy_wh=126, capacity_wh=125),
    ),
]


@pytest.mark.parametrize("case", BAD_READINGS, ids=lambda case: case.name)
def test_a_bad_reading_gets_its_named_error_and_is_not_kept(case: Bad) -> None:
    world = a_world()
    beside = world.devices[2].sign(a_reading(meter=2))
    refused, accepted = world.service.accept([case.text, beside])
    assert refused.status is ReadingStatus.REFUSED
    assert type(refused.error) is type(case.error)
    assert refused.error is not None
    assert refused.error.values() == case.error.values()
    assert accepted.status is ReadingStatus.ACCEPTED
    assert list(world.store.kept) == [(2, MTU_START)]


DIFFERENT: list[tuple[str, Callable[[], str]]] = [
    ("more import", lambda: field("import_wh", 121)),
    ("less export", lambda: field("export_wh", 29)),
    ("another counter", lambda: field("counter", 8)),
    ("another name", lambda: field("meter_id", "load one")),
]


@pytest.mark.parametrize("text", [entry[1] for entry in DIFFERENT], ids=[entry[0] for entry in DIFFERENT])
def test_a_second_different_reading_of_the_mtu_is_a_dispute_and_the_first_stands(text: Callable[[], str]) -> None:
    world, other = a_world(), text()
    first, second = world.service.accept([TEXT, other])
    assert first.status is ReadingStatus.ACCEPTED
    assert second.status is ReadingStatus.DISPUTED
    assert world.store.disputes == {(1, MTU_START): [other]}
    assert isinstance(second.error, ReadingDiffers)
    assert second.error.values() == {"meter": 1, "mtu_start": MTU_START}
    kept = world.store.find(1, MTU_START)
    assert kept is not None
    assert kept.text == TEXT


def test_every_bad_reading_has_a_name_of_its_own() -> None:
    assert len({case.name for case in BAD_READINGS}) == len(BAD_READINGS) >= 80
