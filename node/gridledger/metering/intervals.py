"""Taking in interval readings: of one MTU, of several that share it evenly, or of a part of one."""

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from gridledger.errors import GridLedgerError
from gridledger.metering.attempts import attempt
from gridledger.metering.errors import CounterReplayed, ReadingDiffers
from gridledger.metering.keeping import ReadingKeeper, Taken
from gridledger.metering.lengths import mtus_of, require_dividing, split_reading, sum_reading
from gridledger.metering.model import (
    MeterFacts,
    NoteName,
    PartialReading,
    Reading,
    ReadingNote,
    ReadingStatus,
    StoredReading,
)
from gridledger.metering.ports import Counted, EventStore, PartStore, ReadingStore
from gridledger.metering.registers import counters_skipped
from gridledger.metering.texts import joined_parts
from gridledger.metering.validation import check_energy, check_reading, same_values
from gridledger.metering.verification import CheckedText, GenuineReading

__all__ = ["IntervalIntake"]

_Neighbours = tuple[Counted | None, Counted | None]


class IntervalIntake:
    """Accepts JWS texts of one interval each, over the metering room's ports."""

    def __init__(
        self,
        *,
        store: ReadingStore,
        parts: PartStore,
        events: EventStore,
        keeper: ReadingKeeper,
        mtu_length_s: int,
    ) -> None:
        self._store = store
        self._parts = parts
        self._events = events
        self._keeper = keeper
        self._mtu_length_s = mtu_length_s

    def accept(
        self, run: Sequence[CheckedText], facts: Mapping[int, MeterFacts], now: int
    ) -> list[Taken | GridLedgerError]:
        """Keep interval readings; earlier ones are looked up, and new ones written, all at once."""
        dividing = [attempt(self._dividing, one) if isinstance(one, GenuineReading) else one for one in run]
        batch = self._batch([one.reading for one in dividing if isinstance(one, GenuineReading)])
        results: list[Taken | GridLedgerError] = []
        for one in dividing:
            if isinstance(one, GenuineReading):
                take = self._take_part if one.reading.interval_s < self._mtu_length_s else self._take
                results.append(attempt(take, one.reading, one.text, facts[one.meter], batch, now))
            elif isinstance(one, GridLedgerError):
                results.append(one)
        self._keeper.keep(batch.added)
        return results

    def _dividing(self, genuine: GenuineReading) -> GenuineReading:
        require_dividing(genuine.reading.interval_s, self._mtu_length_s)
        return genuine

    def _batch(self, readings: Sequence[Reading]) -> "_Batch":
        spans = [(reading.meter, mtus_of(reading, self._mtu_length_s)) for reading in readings]
        keys = {(meter, mtu_start) for meter, starts in spans for mtu_start in starts}
        known = {key: stored.reading for key, stored in self._store.find_each(keys).items()}
        new = {
            (meter, starts[0], starts[-1])
            for meter, starts in spans
            if any((meter, mtu_start) not in known for mtu_start in starts)
        }
        return _Batch(known, self._store.counters_around(new))

    def _take(self, reading: Reading, text: str, facts: MeterFacts, batch: "_Batch", now: int) -> Taken:
        """Keep the reading of one MTU, or of several. Raises as `validation.check_reading`, and as `_notes`."""
        shares = split_reading(reading, self._mtu_length_s)
        earlier = [batch.known.get((share.meter, share.mtu_start)) for share in shares]
        if all(one is not None and same_values(one, share) for one, share in zip(earlier, shares, strict=True)):
            return Taken(ReadingStatus.DUPLICATE)
        check_reading(reading, facts, now=now, mtu_length_s=self._mtu_length_s)
        for share, one in zip(shares, earlier, strict=True):
            if one is not None:
                raise ReadingDiffers(meter=share.meter, mtu_start=share.mtu_start)
        notes = self._notes(reading, batch.around(reading.meter, shares[0].mtu_start, shares[-1].mtu_start))
        for share in shares:
            batch.add(self._keeper.stored(share, facts, text, now))
        if len(shares) > 1:
            notes = (*notes, ReadingNote(name=NoteName.INTERVAL_SPLIT, count=len(shares)))
        return Taken(ReadingStatus.ACCEPTED, notes)

    def _take_part(self, reading: Reading, text: str, facts: MeterFacts, batch: "_Batch", now: int) -> Taken:
        """Keep the reading of a part of an MTU, and with the last part the MTU's reading."""
        (mtu_start,) = mtus_of(reading, self._mtu_length_s)
        parts = self._parts.parts_of(reading.meter, mtu_start, mtu_start + self._mtu_length_s)
        if any(same_values(part.reading, reading) for part in parts):
            return Taken(ReadingStatus.DUPLICATE)
        check_reading(reading, facts, now=now, mtu_length_s=self._mtu_length_s)
        overlaps = any(_overlap(part.reading, reading) for part in parts)
        if overlaps or (reading.meter, mtu_start) in batch.known:
            raise ReadingDiffers(meter=reading.meter, mtu_start=mtu_start)
        notes = self._notes(reading, self._around_part(reading, batch.around(reading.meter, mtu_start, mtu_start)))
        new = PartialReading(reading=reading, text=text, received_at=now)
        ordered = sorted((*parts, new), key=lambda part: part.reading.mtu_start)
        missing_s = self._mtu_length_s - sum(part.reading.interval_s for part in ordered)
        whole = sum_reading([part.reading for part in ordered])
        if missing_s == 0:
            check_energy(facts, self._mtu_length_s, import_wh=whole.import_wh, export_wh=whole.export_wh)
            whole_text = joined_parts([part.text for part in ordered])
            batch.add(self._keeper.stored(whole, facts, whole_text, now))
        else:
            notes = (*notes, ReadingNote(name=NoteName.PARTS_MISSING, count=missing_s))
        self._parts.add_part(new)
        return Taken(ReadingStatus.ACCEPTED, notes)

    def _around_part(self, reading: Reading, whole: _Neighbours) -> _Neighbours:
        """Neighbours of a part: other parts, where those are nearer than the readings of whole MTUs."""
        before, after = self._parts.part_counters_around(reading.meter, reading.mtu_start)
        starts = [one for one in (before, whole[0]) if one is not None]
        ends = [one for one in (after, whole[1]) if one is not None]
        return max(starts, default=None), min(ends, default=None)

    def _notes(self, reading: Reading, around: _Neighbours) -> tuple[ReadingNote, ...]:
        """Whether the device's counter rises with time, and whether it skipped numbers. Raises CounterReplayed."""
        earlier, later = around
        if earlier is not None and earlier.counter >= reading.counter:
            self._require_begun_again(reading, earlier, earlier.mtu_start, reading.interval_end)
        if later is not None and later.counter <= reading.counter:
            self._require_begun_again(reading, later, reading.mtu_start, later.mtu_start + self._mtu_length_s)
        count = 0 if earlier is None else counters_skipped(earlier.counter, reading.counter)
        return (ReadingNote(name=NoteName.COUNTER_SKIPPED, count=count),) if count else ()

    def _require_begun_again(self, reading: Reading, other: Counted, start: int, end: int) -> None:
        events = self._events.events_between(reading.meter, start, end)
        if not any(event.kind.restarts_counter for event in events):
            raise CounterReplayed(meter=reading.meter, counter=reading.counter, known_counter=other.counter)


class _Batch:
    """What is known around the readings of a batch, those accepted before in the same batch included."""

    def __init__(
        self,
        known: Mapping[tuple[int, int], Reading],
        counters: Mapping[tuple[int, int, int], _Neighbours],
    ) -> None:
        self.known = dict(known)
        self.added: list[StoredReading] = []
        self._counters = counters
        self._counted: defaultdict[int, list[Counted]] = defaultdict(list)

    def add(self, stored: StoredReading) -> None:
        """Accept one more."""
        reading = stored.reading
        self.added.append(stored)
        self.known[reading.meter, reading.mtu_start] = reading
        insort(self._counted[reading.meter], Counted(reading.mtu_start, reading.counter))

    def around(self, meter: int, first_mtu: int, last_mtu: int) -> _Neighbours:
        """The nearest counters before an MTU and after another."""
        before, after = self._counters.get((meter, first_mtu, last_mtu), (None, None))
        own = self._counted.get(meter)
        if not own:
            return before, after
        below = own[: bisect_left(own, Counted(first_mtu, 0))][-1:]
        above = own[bisect_left(own, Counted(last_mtu + 1, 0)) :][:1]
        return max((*_present(before), *below), default=None), min((*_present(after), *above), default=None)


def _present(counted: Counted | None) -> Collection[Counted]:
    return () if counted is None else (counted,)


def _overlap(one: Reading, other: Reading) -> bool:
    return one.mtu_start < other.interval_end and other.mtu_start < one.interval_end
