"""The signed form: what is signed comes back, the same for the same reading, and nothing else passes."""

import base64
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws
from joserfc.errors import BadSignatureError
from joserfc.jwk import ECKey
from tests.metering.fakes import Device, a_reading, payload_of, with_other_half

from gridledger.errors import GridLedgerError
from gridledger.metering.errors import DeviceKeyInvalid, FieldRefused, SeedTooShort, SignatureInvalid
from gridledger.metering.model import (
    MAX_COUNTER,
    MAX_ENERGY_WH,
    MAX_INTERVAL_S,
    MAX_MTU_START,
    DeviceKey,
    Reading,
)
from gridledger.metering.signed_reading import (
    MAX_TEXT_CHARACTERS,
    key_from_seed,
    peek_meter,
    public_key,
    sign,
    verify,
)
from gridledger.units import UINT32_MAX, OutOfRange

BASE64URL = string.ascii_letters + string.digits + "-_"
DEVICE = Device(1)
KNOWN_SIGNATURE = "MXPtdFo-bLh1UTNJYRQsSfp82-jwpFMzmZZ2oEbq4KRDbLDL4I8nC931h87JNrTVZMtoLej30HGSpYg2f5uTXQ"
NAMES = st.text(min_size=1, max_size=64).filter(lambda name: name.isprintable() and name == name.strip())
READINGS = st.builds(
    Reading,
    meter=st.integers(1, UINT32_MAX),
    meter_id=NAMES,
    mtu_start=st.integers(0, MAX_MTU_START),
    interval_s=st.integers(1, MAX_INTERVAL_S),
    import_wh=st.integers(0, MAX_ENERGY_WH),
    export_wh=st.integers(0, MAX_ENERGY_WH),
    counter=st.integers(0, MAX_COUNTER),
)


@given(READINGS)
def test_what_is_signed_comes_back(reading: Reading) -> None:
    text = DEVICE.sign(reading)
    assert verify(text, DEVICE.key) == reading
    assert peek_meter(text) == reading.meter
    assert len(text) <= MAX_TEXT_CHARACTERS


@given(READINGS)
def test_the_same_reading_is_signed_with_the_same_bytes(reading: Reading) -> None:
    assert sign(reading, key_from_seed(bytes(32))) == sign(reading, key_from_seed(bytes(32)))


def test_the_signed_bytes_never_change_between_versions() -> None:
    text = DEVICE.sign(a_reading(counter=7))
    header, payload, signature = text.split(".")
    assert base64.urlsafe_b64decode(header + "==") == b'{"alg":"ES256","typ":"gridledger-reading+jwt","kid":"1"}'
    assert base64.urlsafe_b64decode(payload + "==") == (
        b'{"meter":1,"meter_id":"load 1","interval_start":"2016-06-13T00:00:00Z","interval_seconds":900,'
        b'"import_wh":120,"export_wh":30,"counter":7}'
    )
    assert signature == KNOWN_SIGNATURE


def test_any_jose_library_verifies_our_text() -> None:
    key: dict[str, str | list[str]] = {
        "kty": "EC",
        "crv": "P-256",
        "x": unpadded(DEVICE.key.x),
        "y": unpadded(DEVICE.key.y),
    }
    text = DEVICE.sign(a_reading())
    jws.deserialize_compact(text, ECKey.import_key(key), ["ES256"])
    with pytest.raises(BadSignatureError):
        jws.deserialize_compact(text, ECKey.generate_key("P-256"), ["ES256"])


def test_a_text_signed_by_another_library_is_verified() -> None:
    assert verify(DEVICE.sign_by_chance(payload_of(a_reading())), DEVICE.key) == a_reading()


def test_a_signature_in_the_other_half_of_the_order_is_valid_too() -> None:
    text = DEVICE.sign(a_reading())
    assert with_other_half(text) != text
    assert verify(with_other_half(text), DEVICE.key) == a_reading()


@pytest.mark.parametrize("step", [1, 7, 32])
def test_changing_any_single_character_is_refused(step: int) -> None:
    text = DEVICE.sign(a_reading())
    for position, character in enumerate(text):
        other = "A" if character == "." else BASE64URL[(BASE64URL.index(character) + step) % 64]
        with pytest.raises(GridLedgerError):
            verify(text[:position] + other + text[position + 1 :], DEVICE.key)


@pytest.mark.parametrize("foreign", [".", "=", "+", "\n", " ", "\0", "é"])
def test_a_foreign_character_anywhere_is_refused(foreign: str) -> None:
    text = DEVICE.sign(a_reading())
    for position in range(len(text) + 1):
        with pytest.raises(GridLedgerError):
            verify(text[:position] + foreign + text[position:], DEVICE.key)


def test_leaving_out_any_single_character_is_refused() -> None:
    text = DEVICE.sign(a_reading())
    for position in range(len(text)):
        with pytest.raises(GridLedgerError):
            verify(text[:position] + text[position + 1 :], DEVICE.key)


@given(st.text(max_size=200) | st.text(alphabet=BASE64URL + ".", max_size=200))
def test_any_text_is_refused_by_a_typed_error(text: str) -> None:
    with pytest.raises(GridLedgerError):
        verify(text, DEVICE.key)


@given(st.binary(max_size=300))
def test_any_signed_bytes_that_are_no_reading_are_refused_by_a_typed_error(payload: bytes) -> None:
    with pytest.raises(GridLedgerError):
        verify(DEVICE.sign_by_chance(payload), DEVICE.key)


def test_the_signature_is_checked_before_the_payload_is_read() -> None:
    with pytest.raises(SignatureInvalid):
        verify(Device(1, seed=99).sign_by_chance(b"no reading at all"), DEVICE.key)


@pytest.mark.parametrize("signature", [b"", bytes(64), bytes(63), bytes(65), b"\xff" * 64])
def test_a_signature_of_no_curve_point_is_invalid(signature: bytes) -> None:
    signed, _, _ = DEVICE.sign(a_reading()).rpartition(".")
    with pytest.raises(SignatureInvalid):
        verify(f"{signed}.{unpadded(signature)}", DEVICE.key)


@pytest.mark.parametrize("key", [DeviceKey(x=bytes(32), y=bytes(32)), DeviceKey(x=b"\xff" * 32, y=DEVICE.key.y)])
def test_a_registered_key_off_the_curve_is_a_typed_error(key: DeviceKey) -> None:
    with pytest.raises(DeviceKeyInvalid):
        verify(DEVICE.sign(a_reading()), key)


def test_keys_follow_from_their_seed_and_differ_between_seeds() -> None:
    keys = {public_key(key_from_seed(number.to_bytes(16))) for number in range(50)}
    assert len(keys) == 50
    assert public_key(key_from_seed(bytes(16))) == public_key(key_from_seed(bytes(16)))
    assert {len(half) for key in keys for half in (key.x, key.y)} == {32}


def test_a_short_seed_makes_no_key() -> None:
    with pytest.raises(SeedTooShort):
        key_from_seed(bytes(15))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("meter", 0),
        ("meter", UINT32_MAX + 1),
        ("mtu_start", -1),
        ("mtu_start", MAX_MTU_START + 1),
        ("interval_s", 0),
        ("interval_s", MAX_INTERVAL_S + 1),
        ("import_wh", -1),
        ("import_wh", MAX_ENERGY_WH + 1),
        ("export_wh", -1),
        ("export_wh", MAX_ENERGY_WH + 1),
        ("counter", -1),
        ("counter", MAX_COUNTER + 1),
    ],
)
def test_no_reading_exists_outside_its_ranges(field: str, value: int) -> None:
    with pytest.raises(OutOfRange):
        a_reading(**{field: value})


@pytest.mark.parametrize("name", ["", " load", "load ", "lo\nad", "x" * 65, "\ud800", "\u202eload"])
def test_no_reading_exists_without_a_proper_meter_id(name: str) -> None:
    with pytest.raises(FieldRefused):
        a_reading(meter_id=name)


def test_net_energy_is_export_minus_import() -> None:
    assert a_reading(import_wh=120, export_wh=30).net_wh == -90


def unpadded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
