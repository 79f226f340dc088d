"""What the metering room needs from outside. Adapters implement these; tests use small fakes."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

from gridledger.metering.events import MeterEvent, StoredMeterEvent
from gridledger.metering.model import MeterFacts, PartialReading, ReadingOutcome, StoredReading
from gridledger.metering.registers import StoredRegisters

__all__ = ["Counted", "EventStore", "MeterDirectory", "PartStore", "ReadingAcceptor", "ReadingStore", "Salts"]


class Counted(NamedTuple):
    """A device's counter with the start of the interval it numbers, Unix seconds."""

    mtu_start: int
    counter: int


class MeterDirectory(Protocol):
    """What the registry says about meters."""

    def facts_of(self, meters: Collection[int]) -> Mapping[int, MeterFacts]:
        """Facts of those meters that are registered."""


class EventStore(Protocol):
    """Meter events of one transaction."""

    def event_at(self, meter: int, happened_at: int) -> StoredMeterEvent | None:
        """The accepted event of a meter and moment."""

    def events_between(self, meter: int, start: int, end: int) -> tuple[MeterEvent, ...]:
        """A meter's events after `start` and up to `end`, Unix seconds, in their order."""

    def add_event(self, stored: StoredMeterEvent) -> None:
        """Keep a newly accepted event, the first of its meter and moment."""


class PartStore(Protocol):
    """Accepted readings of parts of an MTU, of one transaction; what was added is found at once."""

    def parts_of(self, meter: int, start: int, end: int) -> tuple[PartialReading, ...]:
        """A meter's parts that begin from `start` and before `end`, Unix seconds, in their order."""

    def part_counters_around(self, meter: int, start: int) -> tuple[Counted | None, Counted | None]:
        """The counters of the nearest parts that begin before and after a moment."""

    def add_part(self, part: PartialReading) -> None:
        """Keep a newly accepted part, the first of its meter and start."""


class ReadingStore(Protocol):
    """Accepted readings of one transaction; what was added is found at once."""

    def find(self, meter: int, mtu_start: int) -> StoredReading | None:
        """The accepted reading of a meter and MTU."""

    def find_each(self, keys: Collection[tuple[int, int]]) -> Mapping[tuple[int, int], StoredReading]:
        """The accepted readings of those meters and MTUs that have one."""

    def counters_around(
        self, spans: Collection[tuple[int, int, int]]
    ) -> Mapping[tuple[int, int, int], tuple[Counted | None, Counted | None]]:
        """For each meter, first and last MTU: the nearest counters of readings before the one and after the other."""

    def add_all(self, readings: Sequence[StoredReading]) -> None:
        """Keep newly accepted readings, each the first of its meter and MTU."""

    def registers_at(self, meter: int, taken_at: int) -> StoredRegisters | None:
        """The accepted register reading of a meter and moment."""

    def registers_around(self, meter: int, taken_at: int) -> tuple[StoredRegisters | None, StoredRegisters | None]:
        """The nearest accepted register readings of a meter before and after a moment."""

    def add_registers(self, stored: StoredRegisters) -> None:
        """Keep a newly accepted register reading, the first of its meter and moment."""

    def add_dispute(self, meter: int, moment: int, text: str, received_at: int) -> None:
        """Keep a genuine text that contradicts an accepted one, once; of one meter and moment only the first few."""

    def at(self, zone: int, mtu_start: int) -> tuple[StoredReading, ...]:
        """All accepted readings of a zone and MTU, ascending by meter."""

    def erased_leaves(self, sequence: int) -> Mapping[tuple[int, int], bytes]:
        """Leaves of the readings of an anchor that have been erased, by meter and MTU."""

    def unanchored(self, zone: int, mtu_start: int) -> tuple[StoredReading, ...]:
        """Those in no anchor yet, ascending by meter."""

    def missing_count(self, zone: int, mtu_start: int) -> int:
        """How many of the zone's registered meters have no reading for the MTU."""

    def unanchored_of(self, slots: Collection[tuple[int, int]], limit: int) -> tuple[StoredReading, ...]:
        """The first of those in no anchor yet of these zones and MTUs, ascending by meter, then MTU."""

    def next_anchor_sequence(self) -> int:
        """Number of the next anchor, from 0 without gaps."""

    def mark_anchored(self, sequence: int, keys: Sequence[tuple[int, int]]) -> None:
        """Remember that the readings of these meters and MTUs went into the anchor with this number."""

    def in_anchor(self, sequence: int) -> tuple[StoredReading, ...]:
        """The readings of an anchor, ascending by meter, then MTU."""

    def anchor_is_recorded(self, sequence: int) -> bool:
        """Whether the chain has recorded the anchor with this number."""


class Salts(Protocol):
    """Where the salt of a commitment comes from."""

    def salt_for(self, meter: int, mtu_start: int) -> bytes:
        """32 bytes, asked for once per meter and MTU and kept with the reading."""


class ReadingAcceptor(Protocol):
    """Where everybody who brings signed readings hands them in, in no transaction of their own."""

    def accept(self, texts: Sequence[str]) -> tuple[ReadingOutcome, ...]:
        """Accept or refuse each text on its own, in order; what is accepted is on disk when this returns.

        Raises BatchTooLarge, and Unavailable errors, with nothing kept.
        """
