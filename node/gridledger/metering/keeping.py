"""What both ways of telling a reading share: the note beside an outcome, and how a reading is kept."""

from collections.abc import Sequence
from dataclasses import dataclass

from gridledger.metering.model import MeterFacts, Reading, ReadingNote, ReadingStatus, StoredReading
from gridledger.metering.ports import ReadingStore, Salts

__all__ = ["ReadingKeeper", "Taken"]


@dataclass(frozen=True, slots=True)
class Taken:
    """A text that was not refused: accepted or a duplicate, and what else is to be said of it."""

    status: ReadingStatus
    notes: tuple[ReadingNote, ...] = ()


class ReadingKeeper:
    """Keeps accepted readings, each with the salt of its commitment."""

    def __init__(self, *, store: ReadingStore, salts: Salts) -> None:
        self._store = store
        self._salts = salts

    def stored(self, reading: Reading, facts: MeterFacts, text: str, now: int) -> StoredReading:
        """The reading as it is kept, received now (Unix seconds)."""
        salt = self._salts.salt_for(reading.meter, reading.mtu_start)
        return StoredReading(reading=reading, zone=facts.zone, text=text, salt=salt, received_at=now)

    def keep(self, readings: Sequence[StoredReading]) -> None:
        """Write them, each the first of its meter and MTU."""
        self._store.add_all(readings)
