"""What the metering room needs from outside. Adapters implement these; tests use small fakes."""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from gridledger.metering.model import MeterFacts, ReadingOutcome, StoredReading
from gridledger.metering.registers import StoredRegisters

__all__ = ["MeterDirectory", "ReadingIntake", "ReadingStore", "Salts"]


class MeterDirectory(Protocol):
    """What the registry says about meters."""

    def facts_of(self, meters: Collection[int]) -> Mapping[int, MeterFacts]:
        """Facts of those meters that are registered."""


class ReadingStore(Protocol):
    """Accepted readings of one transaction; what was added is found at once."""

    def find(self, meter: int, mtu_start: int) -> StoredReading | None:
        """The accepted reading of a meter and MTU."""

    def find_each(self, keys: Collection[tuple[int, int]]) -> Mapping[tuple[int, int], StoredReading]:
        """The accepted readings of those meters and MTUs that have one."""

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

    def unanchored(self, zone: int, mtu_start: int) -> tuple[StoredReading, ...]:
        """Those in no anchor yet, ascending by meter."""

    def missing_count(self, zone: int, mtu_start: int) -> int:
        """How many of the zone's registered meters have no reading for the MTU."""

    def next_anchor_sequence(self, zone: int, mtu_start: int) -> int:
        """Number of the next anchor of a zone and MTU, from 0 without gaps."""

    def mark_anchored(self, zone: int, mtu_start: int, sequence: int, meters: Sequence[int]) -> None:
        """Remember that these meters' readings went into the anchor with this number."""

    def anchor_is_recorded(self, zone: int, mtu_start: int, sequence: int) -> bool:
        """Whether the chain has recorded the anchor with this number."""


class Salts(Protocol):
    """Where the salt of a commitment comes from."""

    def salt_for(self, meter: int, mtu_start: int) -> bytes:
        """32 bytes, asked for once per meter and MTU and kept with the reading."""


class ReadingIntake(Protocol):
    """Where everybody who brings signed readings hands them in, in no transaction of their own."""

    def accept(self, texts: Sequence[str]) -> tuple[ReadingOutcome, ...]:
        """Accept or refuse each text on its own, in order; what is accepted is on disk when this returns.

        Raises BatchTooLarge, and Unavailable errors, with nothing kept.
        """
