"""Whether signed texts are genuine: the first of two steps of accepting them.

It needs the keys of the meters and no transaction, so no writer waits while signatures are checked. Whoever keeps what
came out has to look whether the meter still has the key (`check_again`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gridledger.errors import GridLedgerError
from gridledger.metering.attempts import attempt
from gridledger.metering.errors import BatchTooLarge, UnknownMeter
from gridledger.metering.model import DeviceKey, MeterFacts, Reading
from gridledger.metering.ocmf import is_ocmf, peek_registry_number, verify_registers
from gridledger.metering.registers import RegisterReading
from gridledger.metering.signed_reading import peek_meter, verify

__all__ = [
    "MAX_BATCH_READINGS",
    "CheckedText",
    "GenuineReading",
    "GenuineRegisters",
    "check_again",
    "check_texts",
    "claimed_meter",
    "claimed_meters",
    "keys_of",
]

MAX_BATCH_READINGS = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class GenuineReading:
    """An interval's text that `device_key` signed, and what it says."""

    text: str
    device_key: DeviceKey
    reading: Reading

    @property
    def meter(self) -> int:
        """Number of the meter."""
        return self.reading.meter


@dataclass(frozen=True, kw_only=True, slots=True)
class GenuineRegisters:
    """A moment's text that `device_key` signed, what it says, and the form it is kept in."""

    text: str
    device_key: DeviceKey
    registers: RegisterReading
    kept_text: str

    @property
    def meter(self) -> int:
        """Number of the meter."""
        return self.registers.meter


CheckedText = GenuineReading | GenuineRegisters | GridLedgerError  # what the first step knows of a text


def claimed_meters(texts: Sequence[str]) -> set[int]:
    """The meters that texts claim to come from, unverified; unreadable ones claim none.

    Raises BatchTooLarge above 500 texts.
    """
    if len(texts) > MAX_BATCH_READINGS:
        raise BatchTooLarge(count=len(texts), highest=MAX_BATCH_READINGS)
    return {meter for meter in (attempt(claimed_meter, text) for text in texts) if isinstance(meter, int)}


def check_texts(texts: Sequence[str], keys: Mapping[int, DeviceKey]) -> list[CheckedText]:
    """What each text says if the key of its meter has signed it, or why it is refused; in their order."""
    return [attempt(_checked, text, keys) for text in texts]


def check_again(checked: CheckedText, keys: Mapping[int, DeviceKey]) -> CheckedText:
    """The same, unless its meter has another key by now: then the text stands or falls with that one."""
    if isinstance(checked, GridLedgerError) or keys.get(checked.meter) == checked.device_key:
        return checked
    return attempt(_checked, checked.text, keys)


def keys_of(facts: Mapping[int, MeterFacts]) -> dict[int, DeviceKey]:
    """The device keys of meters."""
    return {meter: known.device_key for meter, known in facts.items()}


def claimed_meter(text: str) -> int:
    """The meter a text claims to come from, unverified: good for finding the key and for nothing else.

    Raises ReadingUnreadable, HeaderRefused, FieldRefused.
    """
    return peek_registry_number(text) if is_ocmf(text) else peek_meter(text)


def _checked(text: str, keys: Mapping[int, DeviceKey]) -> GenuineReading | GenuineRegisters:
    meter = claimed_meter(text)
    if meter not in keys:
        raise UnknownMeter(meter=meter)
    key = keys[meter]
    if is_ocmf(text):
        registers, kept_text = verify_registers(text, key)
        return GenuineRegisters(text=text, device_key=key, registers=registers, kept_text=kept_text)
    return GenuineReading(text=text, device_key=key, reading=verify(text, key))
