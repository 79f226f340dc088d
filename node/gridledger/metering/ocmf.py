"""Register readings as OCMF 1.4 texts: `OCMF|{payload}|{signature}`, ECDSA over P-256 and SHA-256.

A text holds one moment: the import register (OBIS 1-0:1.8.0) and the export register (1-0:2.8.0), a pagination `F<n>`
(a fiscal reading outside a charging transaction), the device's serial (`MS`) and, in `GS`, the meter's number in the
registry. Texts are read and their signatures checked by pyocmf; here is only what this market asks beyond the format.
Source: OCMF 1.4, S.A.F.E. e.V.
"""

import json
import re
from datetime import UTC, datetime
from decimal import ROUND_FLOOR, Decimal
from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicNumbers,
)
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pyocmf import OCMF
from pyocmf.core.reading import Reading as OcmfReading
from pyocmf.exceptions import PyOCMFError

from gridledger.metering.errors import (
    ClockNotSynchronised,
    DeviceKeyInvalid,
    FieldRefused,
    MeterFault,
    ReadingUnreadable,
    SignatureInvalid,
)
from gridledger.metering.model import DeviceKey
from gridledger.metering.registers import RegisterReading
from gridledger.units import UINT32_MAX

__all__ = [
    "EXPORT_OBIS",
    "IMPORT_OBIS",
    "MAX_OCMF_CHARACTERS",
    "is_ocmf",
    "ocmf_moment",
    "peek_registry_number",
    "sign_registers",
    "signature_of",
    "verify_registers",
]

IMPORT_OBIS, EXPORT_OBIS = "1-0:1.8.0", "1-0:2.8.0"
MAX_OCMF_CHARACTERS = 2048
MAX_SHOWN_CHARACTERS = 120
_ALGORITHM = "ECDSA-secp256r1-SHA256"
_WH_PER_UNIT = {"kWh": 1000, "Wh": 1}
_PAGINATION = re.compile(r"F(0|[1-9][0-9]{0,15})")
_REGISTRY_NUMBER = re.compile(r"[1-9][0-9]{0,9}")
_PLAIN_NUMBER = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,12})?")
_DETERMINISTIC = ECDSA(SHA256(), deterministic_signing=True)
_COMPACT_JSON = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)


def is_ocmf(text: str) -> bool:
    """Whether a text claims to be OCMF."""
    return text.startswith("OCMF|")


def ocmf_moment(taken_at: int) -> str:
    """Unix seconds as OCMF writes them, with a synchronised clock: 2016-06-13T00:15:00,000+0000 S."""
    return datetime.fromtimestamp(taken_at, UTC).strftime("%Y-%m-%dT%H:%M:%S,000+0000 S")


def sign_registers(reading: RegisterReading, private_key: EllipticCurvePrivateKey) -> str:
    """The OCMF text of a register reading; the same reading and key give the same text (RFC 6979)."""
    moment = ocmf_moment(reading.taken_at)
    registers = ((IMPORT_OBIS, reading.import_register_wh), (EXPORT_OBIS, reading.export_register_wh))
    payload = {
        "FV": "1.4",
        "GI": "gridledger meter",
        "GS": str(reading.meter),
        "GV": "1",
        "PG": f"F{reading.counter}",
        "MV": "gridledger",
        "MM": "two-register meter",
        "MS": reading.meter_id,
        "MF": "1",
        "IS": False,
        "IT": "NONE",
        "RD": [
            {"TM": moment, "RV": _kwh(energy_wh), "RI": obis, "RU": "kWh", "RT": "AC", "EF": "", "ST": "G"}
            for obis, energy_wh in registers
        ],
    }
    text = _COMPACT_JSON.encode(payload)
    return _assembled(text, private_key.sign(text.encode(), _DETERMINISTIC))


def peek_registry_number(text: str) -> int:
    """The meter a text claims to come from, unverified: good for finding the key and for nothing else.

    Raises ReadingUnreadable, FieldRefused.
    """
    number = _parsed(text).payload.GS or ""
    if not _REGISTRY_NUMBER.fullmatch(number) or int(number) > UINT32_MAX:
        raise FieldRefused(field="GS", expected="the meter's number in the registry")
    return int(number)


def verify_registers(text: str, key: DeviceKey) -> tuple[RegisterReading, str]:
    """The registers in an OCMF text signed by `key`, and the text in the one form it is kept in.

    Raises ReadingUnreadable, SignatureInvalid, FieldRefused, MeterFault (the device flags its own value),
    ClockNotSynchronised, OutOfRange; DeviceKeyInvalid.
    """
    meter = peek_registry_number(text)
    ocmf = _parsed(text)
    if _text(ocmf.signature.SA) != _ALGORITHM:
        raise FieldRefused(field="SA", expected=_ALGORITHM)
    try:
        genuine = ocmf.verify_signature(_public_key(key))
    except PyOCMFError:
        genuine = False
    if not genuine:
        raise SignatureInvalid(meter=meter)
    payload = text.split("|", 2)[1]
    return _registers(ocmf, meter), _assembled(payload, bytes.fromhex(ocmf.signature.SD))


def signature_of(text: str) -> bytes:
    """The signature in a text, DER, unverified. Raises ReadingUnreadable."""
    return bytes.fromhex(_parsed(text).signature.SD)


def _registers(ocmf: OCMF, meter: int) -> RegisterReading:
    readings = {str(entry.RI): entry for entry in ocmf.payload.RD}
    if len(ocmf.payload.RD) != 2 or readings.keys() != {IMPORT_OBIS, EXPORT_OBIS}:
        raise FieldRefused(field="RD", expected=f"one value of {IMPORT_OBIS} and one of {EXPORT_OBIS}")
    one, other = readings[IMPORT_OBIS], readings[EXPORT_OBIS]
    for entry in (one, other):
        if _text(entry.ST) != "G" or entry.EF:
            raise MeterFault(meter=meter, status=_text(entry.ST), error_flags=_text(entry.EF))
        if _text(entry.TM.status) != "S":
            raise ClockNotSynchronised(meter=meter, status=_text(entry.TM.status))
    if one.TM.timestamp.tzinfo is None or other.TM.timestamp.tzinfo is None:
        raise FieldRefused(field="TM", expected="a time with its offset from UTC")
    if one.TM != other.TM or one.TM.timestamp.microsecond:
        raise FieldRefused(field="TM", expected="the same whole second for both registers")
    if (pagination := _PAGINATION.fullmatch(ocmf.payload.PG or "")) is None:
        raise FieldRefused(field="PG", expected="F and a number")
    return RegisterReading(
        meter=meter,
        meter_id=ocmf.payload.MS or "",
        taken_at=int(one.TM.timestamp.timestamp()),
        import_register_wh=_floored_wh(one),
        export_register_wh=_floored_wh(other),
        counter=int(pagination[1]),
    )


def _text(value: object) -> str:
    """An entry of pyocmf's enumerations, or what it reads as a plain text, fit to be shown."""
    return _shown(str(getattr(value, "value", value or "")))


def _shown(text: str) -> str:
    """The beginning of a text in ASCII: a device's text may hold half a character, which no answer can carry."""
    return text[:MAX_SHOWN_CHARACTERS].encode("ascii", "backslashreplace").decode()


def _floored_wh(entry: OcmfReading) -> int:
    value, unit = entry.RV, _text(entry.RU)
    if value is None or unit not in _WH_PER_UNIT:
        raise FieldRefused(field="RV", expected="a value in kWh or Wh")
    return int((Decimal(value) * _WH_PER_UNIT[unit]).to_integral_value(ROUND_FLOOR))


def _kwh(energy_wh: int) -> float:
    """Exact as a text: a register has 12 digits at most, and a float's shortest text keeps 15."""
    return energy_wh / 1000


def _assembled(payload: str, signature: bytes) -> str:
    """The text in one form: compact signature section, DER without spare bytes, lower-case hex."""
    canonical = encode_dss_signature(*decode_dss_signature(signature)).hex()
    return f"OCMF|{payload}|" + _COMPACT_JSON.encode({"SA": _ALGORITHM, "SD": canonical})


@lru_cache(maxsize=256)
def _parsed(text: str) -> OCMF:
    if len(text) > MAX_OCMF_CHARACTERS:
        raise ReadingUnreadable(problem=f"longer than {MAX_OCMF_CHARACTERS} characters")
    if "\n" in text or text.count("|") != 2:
        raise ReadingUnreadable(problem="not three sections on one line")
    try:
        text.encode()
        _require_plain(text.split("|")[1])
        return OCMF.from_string(text, strict=True)
    except (PyOCMFError, ValueError, RecursionError) as error:
        raise ReadingUnreadable(problem=f"not OCMF 1.4: {_shown(str(error))}") from None


def _require_plain(payload: str) -> None:
    """Refuse what two readers of JSON may read differently. Raises ReadingUnreadable, ValueError.

    A field named twice, of which one reader takes the first and another the last; numbers but in plain digits; and
    registers that are texts, in which Python's decimals allow for blanks, underscores and digits of any script.
    """
    document = json.loads(
        payload,
        object_pairs_hook=_single_fields,
        parse_int=_plain_number,
        parse_float=_plain_number,
        parse_constant=_plain_number,
    )
    entries = document.get("RD") if isinstance(document, dict) else None
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and isinstance(entry.get("RV"), str):
            raise ReadingUnreadable(problem="a register that is a text")


def _single_fields(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ReadingUnreadable(problem="a field twice")
    return fields


def _plain_number(text: str) -> float:
    if not _PLAIN_NUMBER.fullmatch(text):
        raise ReadingUnreadable(problem="a number not in plain digits")
    return float(text)


@lru_cache(maxsize=2**14)
def _public_key(key: DeviceKey) -> str:
    """The key as pyocmf wants it: DER in hex."""
    numbers = EllipticCurvePublicNumbers(int.from_bytes(key.x), int.from_bytes(key.y), SECP256R1())
    try:
        return numbers.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo).hex()
    except ValueError:
        raise DeviceKeyInvalid(x="0x" + key.x.hex(), y="0x" + key.y.hex()) from None
