"""The signed form of a reading: a JWS in compact serialization, ES256, under the device's own P-256 key.

Header: `{"alg":"ES256","typ":"gridledger-reading+jwt","kid":"<meter number>"}`, nothing else. Payload, exactly these:
`{"meter":17,"meter_id":"load 17","interval_start":"2016-06-13T00:00:00Z","interval_seconds":900,"import_wh":120,
"export_wh":0,"counter":1}`. The type is explicit (RFC 8725, section 3.11), so that no other document a device signs can
pass for a reading. Devices of ours sign deterministically (RFC 6979): the same reading gives the same bytes. Other
signatures over the same values are as valid. Source: RFC 7515, RFC 7518 section 3.4.
"""

import json
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicNumbers,
    derive_private_key,
)
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwa import ESAlgorithm
from joserfc.jwk import ECKey
from joserfc.registry import Header
from joserfc.util import json_b64decode

from gridledger.metering.errors import (
    DeviceKeyInvalid,
    FieldRefused,
    FieldsRefused,
    HeaderRefused,
    MeterMismatch,
    ReadingUnreadable,
    SeedTooShort,
    SignatureInvalid,
)
from gridledger.metering.model import DeviceKey, Reading
from gridledger.units import UINT32_MAX, NotUtc, format_utc, parse_utc

__all__ = [
    "MAX_TEXT_CHARACTERS",
    "READING_TYPE",
    "key_from_seed",
    "peek_meter",
    "public_key",
    "sign",
    "verify",
]

READING_TYPE = "gridledger-reading+jwt"
MAX_TEXT_CHARACTERS = 1024
MAX_HEADER_CHARACTERS = 160
MAX_SHOWN_CHARACTERS = 40
SHORTEST_SEED_BYTES = 16
COORDINATE_BYTES = 32
FIELDS = ("meter", "meter_id", "interval_start", "interval_seconds", "import_wh", "export_wh", "counter")
_FIELD_SET = frozenset(FIELDS)
_ALGORITHM = "ES256"
_KEY_INFO = b"gridledger device key"
_KEY_MATERIAL_BYTES = 48  # 128 bits more than the order: FIPS 186-5, A.2.1
_CURVE = SECP256R1()
_DETERMINISTIC = ECDSA(SHA256(), deterministic_signing=True)
_PAIRS_OF_JSON = json.JSONDecoder(object_pairs_hook=tuple)
_COMPACT_JSON = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)


class _DeterministicEs256(ESAlgorithm):
    """ES256 whose signatures follow from key and message alone (RFC 6979)."""

    def __init__(self) -> None:
        super().__init__(_ALGORITHM, "P-256", 256, recommended=True)

    def sign(self, msg: bytes, key: ECKey) -> bytes:
        """Signature r, s of 64 bytes."""
        r, s = decode_dss_signature(key.get_op_key("sign").sign(msg, _DETERMINISTIC))
        return r.to_bytes(COORDINATE_BYTES) + s.to_bytes(COORDINATE_BYTES)

    def verify(self, msg: bytes, sig: bytes, key: ECKey) -> bool:
        """Whether 64 bytes r, s sign the message; as joserfc's own, with hash and length known beforehand."""
        if len(sig) != 2 * COORDINATE_BYTES:
            return False
        r, s = int.from_bytes(sig[:COORDINATE_BYTES]), int.from_bytes(sig[COORDINATE_BYTES:])
        try:
            key.public_key.verify(encode_dss_signature(r, s), msg, _DETERMINISTIC)
        except InvalidSignature:
            return False
        return True


class _ReadingRegistry(jws.JWSRegistry):
    """A registry of our own, beside joserfc's shared one: one algorithm, one form of header, short segments."""

    max_header_length = MAX_HEADER_CHARACTERS
    max_payload_length = MAX_TEXT_CHARACTERS

    def __init__(self) -> None:
        super().__init__(algorithms=(_ALGORITHM,))
        self.algorithms = {_ALGORITHM: _DeterministicEs256()}

    def check_header(self, header: Header) -> None:
        """Stricter than joserfc's check of each field: the whole header is known. Raises HeaderRefused."""
        kid = header.get("kid")
        meter = int(kid) if isinstance(kid, str) and kid.isascii() and kid.isdigit() else 0
        if not 0 < meter <= UINT32_MAX or header != _header_of(meter):
            raise HeaderRefused(header=ascii(header)[:MAX_HEADER_CHARACTERS])


_REGISTRY = _ReadingRegistry()


def sign(reading: Reading, private_key: EllipticCurvePrivateKey) -> str:
    """JWS compact text of a reading under a P-256 key; the same reading and key give the same text."""
    payload = {
        "meter": reading.meter,
        "meter_id": reading.meter_id,
        "interval_start": format_utc(reading.mtu_start),
        "interval_seconds": reading.interval_s,
        "import_wh": reading.import_wh,
        "export_wh": reading.export_wh,
        "counter": reading.counter,
    }
    header = _header_of(reading.meter)
    return jws.serialize_compact(header, _COMPACT_JSON.encode(payload), ECKey.import_key(private_key), None, _REGISTRY)


def verify(text: str, key: DeviceKey) -> Reading:
    """The reading in a JWS compact text signed by `key`.

    The signature is checked before the payload is looked at. Raises ReadingUnreadable, HeaderRefused, SignatureInvalid,
    FieldsRefused, FieldRefused, OutOfRange, MeterMismatch (another meter inside than in the header); DeviceKeyInvalid.
    """
    signing_meter = peek_meter(text)
    try:
        extracted = jws.extract_compact(text.encode(), registry=_REGISTRY)
        genuine = jws.validate_compact(extracted, _imported(key), registry=_REGISTRY)
    except (JoseError, ValueError):
        raise ReadingUnreadable(problem="not three segments of base64url") from None
    if not genuine:
        raise SignatureInvalid(meter=signing_meter)
    reading = _reading(_fields(extracted.payload))
    if reading.meter != signing_meter:
        raise MeterMismatch(signing_meter=signing_meter, meter=reading.meter)
    return reading


def peek_meter(text: str) -> int:
    """The meter a text claims to come from, unverified: good for finding the key and for nothing else.

    Raises ReadingUnreadable, HeaderRefused.
    """
    if len(text) > MAX_TEXT_CHARACTERS:
        raise ReadingUnreadable(problem=f"longer than {MAX_TEXT_CHARACTERS} characters")
    if not text.isascii():
        raise ReadingUnreadable(problem="characters outside ASCII")
    header, separator, _ = text.partition(".")
    if not separator or len(header) > MAX_HEADER_CHARACTERS:
        raise ReadingUnreadable(problem=f"no header of at most {MAX_HEADER_CHARACTERS} characters")
    return _meter_of(header)


def key_from_seed(seed: bytes) -> EllipticCurvePrivateKey:
    """A device's P-256 key that follows from a secret seed of at least 16 bytes (RFC 5869, FIPS 186-5 A.2.1).

    Raises SeedTooShort.
    """
    if len(seed) < SHORTEST_SEED_BYTES:
        raise SeedTooShort(length=len(seed), shortest=SHORTEST_SEED_BYTES)
    material = HKDF(algorithm=SHA256(), length=_KEY_MATERIAL_BYTES, salt=None, info=_KEY_INFO).derive(seed)
    return derive_private_key(int.from_bytes(material) % (_CURVE.group_order - 1) + 1, _CURVE)


def public_key(private_key: EllipticCurvePrivateKey) -> DeviceKey:
    """The public half of a P-256 key, as the registry keeps it."""
    numbers = private_key.public_key().public_numbers()
    return DeviceKey(x=numbers.x.to_bytes(COORDINATE_BYTES), y=numbers.y.to_bytes(COORDINATE_BYTES))


def _header_of(meter: int) -> dict[str, str]:
    return {"alg": _ALGORITHM, "typ": READING_TYPE, "kid": str(meter)}


@lru_cache(maxsize=2**14)
def _meter_of(header_segment: str) -> int:
    """Meter of an encoded header; a device's header is always the same, so it is decoded once."""
    try:
        header = json_b64decode(header_segment.encode())
    except (ValueError, RecursionError):
        raise ReadingUnreadable(problem="the header is not JSON in base64url") from None
    if not isinstance(header, dict):
        raise ReadingUnreadable(problem="the header is not a JSON object")
    _REGISTRY.check_header(header)
    return int(header["kid"])


@lru_cache(maxsize=2**14)
def _imported(key: DeviceKey) -> ECKey:
    """The key as joserfc wants it, about 3 kB and 9 microseconds each."""
    numbers = EllipticCurvePublicNumbers(int.from_bytes(key.x), int.from_bytes(key.y), _CURVE)
    try:
        return ECKey.import_key(numbers.public_key())
    except ValueError:
        raise DeviceKeyInvalid(x="0x" + key.x.hex(), y="0x" + key.y.hex()) from None


def _fields(payload: bytes) -> dict[str, object]:
    try:
        pairs = _PAIRS_OF_JSON.decode(payload.decode())
    except (ValueError, RecursionError):
        raise ReadingUnreadable(problem="the payload is not JSON in UTF-8") from None
    if not isinstance(pairs, tuple):
        raise ReadingUnreadable(problem="the payload is not a JSON object")
    fields: dict[str, object] = dict(pairs)
    if len(pairs) != len(fields):
        raise ReadingUnreadable(problem="the payload names a field twice")
    if fields.keys() != _FIELD_SET:
        missing = tuple(name for name in FIELDS if name not in fields)
        unknown = tuple(ascii(name)[:MAX_SHOWN_CHARACTERS] for name in sorted(fields.keys() - _FIELD_SET))
        raise FieldsRefused(missing=missing, unknown=unknown)
    return fields


def _reading(fields: dict[str, object]) -> Reading:
    return Reading(
        meter=_integer(fields, "meter"),
        meter_id=_text(fields, "meter_id"),
        mtu_start=_moment(_text(fields, "interval_start")),
        interval_s=_integer(fields, "interval_seconds"),
        import_wh=_integer(fields, "import_wh"),
        export_wh=_integer(fields, "export_wh"),
        counter=_integer(fields, "counter"),
    )


def _integer(fields: dict[str, object], name: str) -> int:
    value = fields[name]
    if type(value) is not int:  # a bool is an int to isinstance
        raise FieldRefused(field=name, expected="a whole number")
    return value


def _text(fields: dict[str, object], name: str) -> str:
    value = fields[name]
    if not isinstance(value, str):
        raise FieldRefused(field=name, expected="a text")
    return value


@lru_cache(maxsize=2**12)
def _moment(text: str) -> int:
    """Unix seconds of the one text that says this moment; readings of one MTU share it."""
    try:
        moment = parse_utc("interval_start", text)
    except (NotUtc, OverflowError):
        moment = -1
    if moment < 0 or format_utc(moment) != text:
        raise FieldRefused(field="interval_start", expected="a moment in UTC such as 2016-06-13T00:00:00Z")
    return moment
