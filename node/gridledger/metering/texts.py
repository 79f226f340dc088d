"""The signed texts a reading rests on: one JWS for its interval, or two OCMF texts, of its start and of its end.

OCMF texts are kept in hex, which the format allows for: so they hold nothing that a file would have to escape.
"""

from gridledger.metering.errors import MeterMismatch, ReadingUnreadable
from gridledger.metering.model import DeviceKey, Reading
from gridledger.metering.ocmf import peek_registry_number, verify_registers
from gridledger.metering.registers import check_order, interval_reading
from gridledger.metering.signed_reading import peek_meter, verify

__all__ = ["is_pair", "joined", "peek_reading_meter", "verify_reading"]

_SEPARATOR = ":"


def joined(start_text: str, end_text: str) -> str:
    """What is kept of a reading that two register readings make."""
    return start_text.encode().hex() + _SEPARATOR + end_text.encode().hex()


def is_pair(text: str) -> bool:
    """Whether a kept text is two OCMF texts."""
    return _SEPARATOR in text


def peek_reading_meter(text: str) -> int:
    """The meter a kept text claims to come from, unverified. Raises ReadingUnreadable, HeaderRefused, FieldRefused."""
    return peek_registry_number(_parts(text)[0]) if is_pair(text) else peek_meter(text)


def verify_reading(text: str, key: DeviceKey) -> tuple[Reading, str]:
    """The reading in a kept text signed by `key`, and the text in its one form.

    Raises MeterMismatch and the errors of `signed_reading.verify`, `ocmf.verify_registers`, `registers.check_order`.
    """
    if not is_pair(text):
        return verify(text, key), text
    start_text, end_text = _parts(text)
    start, kept_start = verify_registers(start_text, key)
    end, kept_end = verify_registers(end_text, key)
    if start.meter != end.meter:
        raise MeterMismatch(signing_meter=start.meter, meter=end.meter)
    check_order(start, end)
    return interval_reading(start, end), joined(kept_start, kept_end)


def _parts(text: str) -> tuple[str, str]:
    start, _, end = text.partition(_SEPARATOR)
    try:
        return bytes.fromhex(start).decode(), bytes.fromhex(end).decode()
    except ValueError:
        raise ReadingUnreadable(problem="not two texts in hex") from None
