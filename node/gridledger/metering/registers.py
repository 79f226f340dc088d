"""What a meter's registers said at a moment, and the energy between two such moments. Pure.

Registers count up; the energy of an interval is the difference of its two readings, each floored to whole Wh, so that
the intervals of a day add up to the day's difference exactly. Where a stated event breaks the count, it is what was
counted up to the event and what was counted from it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from gridledger.metering.errors import (
    CounterReplayed,
    FieldRefused,
    RegisterBackwards,
    RegistersDiffer,
    SerialChanged,
)
from gridledger.metering.events import MAX_REGISTER_WH, REGISTERS, MeterEvent
from gridledger.metering.model import MAX_COUNTER, MAX_METER_ID_CHARACTERS, MAX_MTU_START, Reading
from gridledger.units import UINT32_MAX, check_range

__all__ = [
    "MAX_REGISTER_WH",
    "RegisterReading",
    "StoredRegisters",
    "check_order",
    "counters_skipped",
    "interval_reading",
    "register_energy",
]


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

    def register_wh(self, register: str) -> int:
        """What a register of `REGISTERS` shows, Wh."""
        value: int = getattr(self, f"{register}_register_wh")
        return value


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredRegisters:
    """An accepted register reading as the node keeps it: with its signed text; received_at in Unix seconds."""

    registers: RegisterReading
    text: str
    received_at: int


def check_order(
    earlier: RegisterReading | None, later: RegisterReading | None, events: Sequence[MeterEvent] = ()
) -> None:
    """Check what must hold between two register readings of one meter, and across the events between them in order.

    Where one reading is None, the events are followed from, or up to, the other. Raises SerialChanged,
    CounterReplayed (the counter must rise with time, but may begin again with a reset or a replacement),
    RegisterBackwards.
    """
    meter = next(part.meter for part in (later, earlier, *events) if part is not None)
    _check_serials(meter, earlier, later, events)
    begun_again = any(event.kind.restarts_counter for event in events)
    if earlier is not None and later is not None and later.counter <= earlier.counter and not begun_again:
        raise CounterReplayed(meter=meter, counter=later.counter, known_counter=earlier.counter)
    for register in REGISTERS:
        count_wh = 0 if earlier is None else earlier.register_wh(register)
        for event in events:
            _require_rise(meter, register, count_wh, event.closing_wh(register))
            count_wh = event.opening_wh(register)
        if later is not None:
            _require_rise(meter, register, count_wh, later.register_wh(register))


def register_energy(
    start: RegisterReading, end: RegisterReading, register: str, events: Sequence[MeterEvent] = ()
) -> int:
    """Wh that a register counted between two readings in order, across the events between them."""
    counted, opened = 0, start.register_wh(register)
    for event in events:
        counted += event.closing_wh(register) - opened
        opened = event.opening_wh(register)
    return counted + end.register_wh(register) - opened


def interval_reading(start: RegisterReading, end: RegisterReading, events: Sequence[MeterEvent] = ()) -> Reading:
    """The energy between two register readings of one meter, as the reading of that interval."""
    if start.meter != end.meter or start.taken_at >= end.taken_at:
        raise RegistersDiffer(meter=end.meter, taken_at=end.taken_at)
    return Reading(
        meter=end.meter,
        meter_id=end.meter_id,
        mtu_start=start.taken_at,
        interval_s=end.taken_at - start.taken_at,
        import_wh=register_energy(start, end, "import", events),
        export_wh=register_energy(start, end, "export", events),
        counter=end.counter,
    )


def counters_skipped(earlier: int | None, counter: int) -> int:
    """How many numbers of a device are missing between two of its counters; none where it has begun again."""
    return 0 if earlier is None else max(0, counter - earlier - 1)


def _check_serials(
    meter: int, earlier: RegisterReading | None, later: RegisterReading | None, events: Sequence[MeterEvent]
) -> None:
    stated = [(event.closing_serial, event.opening_serial) for event in events]
    before = [] if earlier is None else [(earlier.meter_id, earlier.meter_id)]
    after = [] if later is None else [(later.meter_id, later.meter_id)]
    for (_, known), (found, _) in pairwise((*before, *stated, *after)):
        if known != found:
            raise SerialChanged(meter=meter, known=known, found=found)


def _require_rise(meter: int, register: str, before_wh: int, after_wh: int) -> None:
    if after_wh < before_wh:
        raise RegisterBackwards(meter=meter, register=register, before_wh=before_wh, after_wh=after_wh)
