"""What a meter's registers said at a moment, and the energy between two such moments. Pure.

Registers count up without end; the energy of an interval is the difference of its two readings, each floored to whole
Wh, so that the intervals of a day add up to the day's difference exactly.
"""

from dataclasses import dataclass

from gridledger.metering.errors import (
    CounterReplayed,
    FieldRefused,
    RegisterBackwards,
    RegistersDiffer,
    SerialChanged,
)
from gridledger.metering.model import MAX_COUNTER, MAX_METER_ID_CHARACTERS, MAX_MTU_START, Reading
from gridledger.units import UINT32_MAX, check_range

__all__ = ["MAX_REGISTER_WH", "RegisterReading", "StoredRegisters", "check_order", "interval_reading"]

MAX_REGISTER_WH = 10**12 - 1  # 12 digits, as the largest registers show


@dataclass(frozen=True, kw_only=True, slots=True)
class RegisterReading:
    """Both registers of a meter at `taken_at` (Unix seconds), floored to Wh. Raises OutOfRange, FieldRefused.

    meter 1..2**32-1 (the registry's number); meter_id the device's serial, 1..64 printable characters; counter the
    device's pagination, 0..2**53-1.
    """

    meter: int
    meter_id: str
    taken_at: int
    import_register_wh: int
    export_register_wh: int
    counter: int

    def __post_init__(self) -> None:
        check_range("meter", self.meter, 1, UINT32_MAX)
        check_range("taken_at", self.taken_at, 0, MAX_MTU_START)
        check_range("import_register_wh", self.import_register_wh, 0, MAX_REGISTER_WH)
        check_range("export_register_wh", self.export_register_wh, 0, MAX_REGISTER_WH)
        check_range("counter", self.counter, 0, MAX_COUNTER)
        name = self.meter_id
        if not 0 < len(name) <= MAX_METER_ID_CHARACTERS or name != name.strip() or not name.isprintable():
            raise FieldRefused(field="meter_id", expected="1 to 64 printable characters without blanks around them")


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredRegisters:
    """An accepted register reading as the node keeps it: with its signed text; received_at in Unix seconds."""

    registers: RegisterReading
    text: str
    received_at: int


def check_order(earlier: RegisterReading, later: RegisterReading) -> None:
    """Check what must hold between two register readings of one meter, whichever of them has just come.

    Raises SerialChanged, CounterReplayed (the counter must rise with time), RegisterBackwards.
    """
    if earlier.meter_id != later.meter_id:
        raise SerialChanged(meter=later.meter, known=earlier.meter_id, found=later.meter_id)
    if later.counter <= earlier.counter:
        raise CounterReplayed(meter=later.meter, counter=later.counter, known_counter=earlier.counter)
    for register in ("import", "export"):
        before: int = getattr(earlier, f"{register}_register_wh")
        after: int = getattr(later, f"{register}_register_wh")
        if after < before:
            raise RegisterBackwards(meter=later.meter, register=register, before_wh=before, after_wh=after)


def interval_reading(start: RegisterReading, end: RegisterReading) -> Reading:
    """The energy between two register readings of one meter, as the reading of that interval."""
    if start.meter != end.meter or start.taken_at >= end.taken_at:
        raise RegistersDiffer(meter=end.meter, taken_at=end.taken_at)
    return Reading(
        meter=end.meter,
        meter_id=end.meter_id,
        mtu_start=start.taken_at,
        interval_s=end.taken_at - start.taken_at,
        import_wh=end.import_register_wh - start.import_register_wh,
        export_wh=end.export_register_wh - start.export_register_wh,
        counter=end.counter,
    )
