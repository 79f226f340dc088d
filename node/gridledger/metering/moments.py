"""Taking in register readings: each may stand between two others, and with one an MTU away it makes a reading."""

from collections.abc import Sequence

from gridledger.metering.errors import ReadingDiffers, RegistersDiffer
from gridledger.metering.events import MeterEvent, events_within
from gridledger.metering.keeping import ReadingKeeper, Taken
from gridledger.metering.model import MAX_MTU_START, MeterFacts, NoteName, Reading, ReadingNote, ReadingStatus
from gridledger.metering.ports import EventStore, ReadingStore
from gridledger.metering.registers import (
    StoredRegisters,
    check_order,
    counters_skipped,
    interval_reading,
    register_energy,
)
from gridledger.metering.texts import joined
from gridledger.metering.validation import check_energy, check_moment, check_reading
from gridledger.metering.verification import GenuineRegisters

__all__ = ["MomentIntake"]

_Pair = tuple[StoredRegisters, StoredRegisters]


class MomentIntake:
    """Accepts OCMF texts of one moment each, over the metering room's ports."""

    def __init__(
        self,
        *,
        store: ReadingStore,
        events: EventStore,
        keeper: ReadingKeeper,
        mtu_length_s: int,
    ) -> None:
        self._store = store
        self._events = events
        self._keeper = keeper
        self._mtu_length_s = mtu_length_s

    def accept(self, genuine: GenuineRegisters, facts: MeterFacts, now: int) -> Taken:
        """Keep a register reading, and the readings of the intervals whose other end is known.

        Raises RegistersDiffer, ReadingDiffers and the errors of `validation.check_reading` and `registers.check_order`.
        """
        registers, meter = genuine.registers, genuine.meter
        check_moment(registers.taken_at, now=now, mtu_length_s=self._mtu_length_s)
        if (known := self._store.registers_at(meter, registers.taken_at)) is not None:
            if known.registers != registers:
                raise RegistersDiffer(meter=meter, taken_at=registers.taken_at)
            return Taken(ReadingStatus.DUPLICATE)
        stored = StoredRegisters(registers=registers, text=genuine.kept_text, received_at=now)
        before, after = self._store.registers_around(meter, registers.taken_at)
        events = self._events_between(stored, before, after)
        pairs = [(one, other) for one, other in ((before, stored), (stored, after)) if one and other]
        for pair in pairs:
            _check_pair(pair, events, facts)
        readings = [
            self._made(pair, events, facts, now)
            for pair in pairs
            if pair[1].registers.taken_at - pair[0].registers.taken_at == self._mtu_length_s
        ]
        self._store.add_registers(stored)
        self._keeper.keep([self._keeper.stored(reading, facts, pair_text, now) for reading, pair_text in readings])
        return Taken(ReadingStatus.ACCEPTED, _skipped(before, stored, events))

    def _events_between(
        self, stored: StoredRegisters, before: StoredRegisters | None, after: StoredRegisters | None
    ) -> tuple[MeterEvent, ...]:
        start = 0 if before is None else before.registers.taken_at
        end = MAX_MTU_START if after is None else after.registers.taken_at
        events = self._events.events_between(stored.registers.meter, start, end)
        taken_at = stored.registers.taken_at
        if before is None:
            check_order(None, stored.registers, events_within(events, 0, taken_at))
        if after is None:
            check_order(stored.registers, None, events_within(events, taken_at, MAX_MTU_START))
        return events

    def _made(self, pair: _Pair, events: Sequence[MeterEvent], facts: MeterFacts, now: int) -> tuple[Reading, str]:
        """The reading between two moments an MTU apart, and its text."""
        start, end = (stored.registers for stored in pair)
        reading = interval_reading(start, end, events_within(events, start.taken_at, end.taken_at))
        check_reading(reading, facts, now=now, mtu_length_s=self._mtu_length_s)
        if self._store.find(reading.meter, reading.mtu_start) is not None:
            raise ReadingDiffers(meter=reading.meter, mtu_start=reading.mtu_start)
        return reading, joined(pair[0].text, pair[1].text)


def _check_pair(pair: _Pair, events: Sequence[MeterEvent], facts: MeterFacts) -> None:
    """Order, and no more energy than the connection carries, however far apart the moments are."""
    start, end = (stored.registers for stored in pair)
    between = events_within(events, start.taken_at, end.taken_at)
    check_order(start, end, between)
    import_wh, export_wh = (register_energy(start, end, register, between) for register in ("import", "export"))
    check_energy(facts, end.taken_at - start.taken_at, import_wh=import_wh, export_wh=export_wh)


def _skipped(
    before: StoredRegisters | None, stored: StoredRegisters, events: Sequence[MeterEvent]
) -> tuple[ReadingNote, ...]:
    if before is None:
        return ()
    between = events_within(events, before.registers.taken_at, stored.registers.taken_at)
    begun_again = any(event.kind.restarts_counter for event in between)
    count = 0 if begun_again else counters_skipped(before.registers.counter, stored.registers.counter)
    return (ReadingNote(name=NoteName.COUNTER_SKIPPED, count=count),) if count else ()
