"""The signed texts a reading rests on: a JWS of its interval, or two OCMF texts, of its start and of its end.

A JWS may tell a longer interval, which `lengths` splits, and several JWS the parts of one. OCMF texts are kept in hex,
which the format allows for: so they hold nothing that a file would have to escape.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeVar

from gridledger.metering.errors import MeterMismatch, ReadingUnreadable, SignatureInvalid
from gridledger.metering.events import MeterEvent, events_within
from gridledger.metering.lengths import sum_reading
from gridledger.metering.model import DeviceKey, Reading
from gridledger.metering.ocmf import is_ocmf, peek_registry_number, verify_registers
from gridledger.metering.registers import check_order, interval_reading
from gridledger.metering.signed_reading import peek_meter, verify

__all__ = ["MOST_PARTS", "is_pair", "joined", "joined_parts", "peek_reading_meter", "verify_reading"]

_SEPARATOR, _PLUS = ":", "+"  # neither is a character of base64url
MOST_PARTS = 12  # of five minutes in an hour
_T = TypeVar("_T")


def joined(start_text: str, end_text: str) -> str:
    """What is kept of a reading that two register readings make."""
    return start_text.encode().hex() + _SEPARATOR + end_text.encode().hex()


def joined_parts(texts: Sequence[str]) -> str:
    """What is kept of a reading that several JWS of adjoining intervals make."""
    return _PLUS.join(texts)


def is_pair(text: str) -> bool:
    """Whether a kept text is two OCMF texts."""
    return _SEPARATOR in text


def peek_reading_meter(text: str) -> int:
    """The meter a kept text claims to come from, unverified. Raises ReadingUnreadable, HeaderRefused, FieldRefused."""
    return peek_registry_number(_parts(text)[0]) if is_pair(text) else peek_meter(text.partition(_PLUS)[0])


def verify_reading(text: str, *keys: DeviceKey, events: Sequence[MeterEvent] = ()) -> tuple[Reading, str]:
    """The reading in a kept text and the text in its one form; `events` are those of its meter.

    Each of its texts is signed by one of the meter's `keys`, as two texts may stand on both sides of a new key.
    Raises MeterMismatch and the errors of `signed_reading.verify`, `ocmf.verify_registers`, `registers.check_order`,
    `lengths.sum_reading`.
    """
    if not is_pair(text):
        return _sum([_under_any(verify, part, keys) for part in text.split(_PLUS, MOST_PARTS)]), text
    start_text, end_text = _parts(text)
    start, kept_start = _under_any(verify_registers, start_text, keys)
    end, kept_end = _under_any(verify_registers, end_text, keys)
    if start.meter != end.meter:
        raise MeterMismatch(signing_meter=start.meter, meter=end.meter)
    between = events_within(events, start.taken_at, end.taken_at)
    check_order(start, end, between)
    return interval_reading(start, end, between), joined(kept_start, kept_end)


def _sum(parts: Sequence[Reading]) -> Reading:
    for earlier, later in pairwise(parts):
        if earlier.meter != later.meter:
            raise MeterMismatch(signing_meter=earlier.meter, meter=later.meter)
        if earlier.interval_end != later.mtu_start:
            raise ReadingUnreadable(problem="parts that do not adjoin")
    return sum_reading(parts)


def _under_any(verified: Callable[[str, DeviceKey], _T], text: str, keys: Sequence[DeviceKey]) -> _T:
    refused = SignatureInvalid(meter=peek_registry_number(text) if is_ocmf(text) else peek_meter(text))
    for key in keys:
        try:
            return verified(text, key)
        except SignatureInvalid as error:
            refused = error
    raise refused


def _parts(text: str) -> tuple[str, str]:
    start, _, end = text.partition(_SEPARATOR)
    try:
        return bytes.fromhex(start).decode(), bytes.fromhex(end).decode()
    except ValueError:
        raise ReadingUnreadable(problem="not two texts in hex") from None
