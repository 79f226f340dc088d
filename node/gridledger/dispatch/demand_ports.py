"""What demand response needs from outside."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from gridledger.dispatch.baseline import CivilCalendar, Connection, EventWindow, Measurement
from gridledger.dispatch.demand_response import (
    Consent,
    DemandResponse,
    MeasuringTerms,
    Participation,
    StoredDemand,
)

__all__ = ["Calendars", "DemandStore", "DemandZones", "EvidenceMark", "MeasurementStore", "MeterPlace"]


@dataclass(frozen=True, kw_only=True, slots=True)
class MeterPlace:
    """A registered meter: whose it is, in which zone, and whether it is the zone's transformer."""

    owner: str
    zone: int
    is_transformer: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class EvidenceMark:
    """How far the chain is known: the newest indexed block, and how many anchors of readings it has by then."""

    block_number: int
    anchors: int


class DemandZones(Protocol):
    """Who answers for a zone."""

    def zones(self) -> Mapping[int, str]:
        """Grid operator by zone, checksum addresses."""


class Calendars(Protocol):
    """The calendar that terms name."""

    def __call__(self, terms: MeasuringTerms) -> CivilCalendar:
        """Civil time and working days."""


class DemandStore(Protocol):
    """Events and who takes part, of one transaction; nothing that was kept is ever changed."""

    def find(self, event_id: str) -> StoredDemand | None:
        """The event with an id."""

    def overlapping(self, zone: int, start: int, end: int) -> str | None:
        """The id of an event of the zone in one of these MTUs; half-open, Unix seconds."""

    def count_after(self, zone: int, moment: int) -> int:
        """How many events of a zone end after a moment."""

    def add_event(
        self, event_id: str, event: DemandResponse, signature: bytes, terms: MeasuringTerms, *, end: int, now: int
    ) -> StoredDemand:
        """Keep an event and tell the owners of the zone's meters."""

    def places_of(self, meters: Collection[int]) -> Mapping[int, MeterPlace]:
        """Those of these meters that are registered."""

    def consents_in(self, zone: int) -> Sequence[Consent]:
        """Standing consents of the zone's meters, ascending by meter."""

    def consent_of(self, meter: int) -> Consent | None:
        """The standing consent of a meter."""

    def note_consent(self, meter: int, owner: str, *, given: bool, now: int) -> None:
        """Keep that a standing consent was given or withdrawn."""

    def participation_of(self, event_id: str, meter: int) -> Participation | None:
        """How a meter takes part in an event."""

    def note_participation(
        self, event_id: str, meters: Mapping[int, str], *, joined: bool, standing: bool, now: int
    ) -> None:
        """Keep that meters (with their owners) join an event or leave it."""


class MeasurementStore(Protocol):
    """Readings on chain and measurements, of one transaction."""

    def mark(self) -> EvidenceMark:
        """How far the chain is known."""

    def closed_until(self) -> int:
        """Events that ended by this moment, Unix seconds, are closed: nothing more is measured of them."""

    def close_until(self, moment: int) -> None:
        """Close the events that ended by a moment."""

    def ended_between(self, after: int, until: int) -> Sequence[StoredDemand]:
        """Events that ended after one moment and by another, Unix seconds, the oldest first."""

    def unmeasured(self, event_id: str, window: EventWindow, limit: int, *, all_read: bool) -> Sequence[int]:
        """Participants without a measurement, ascending; with `all_read` those whose readings are all on chain."""

    def newly_read(self, event_id: str, mark: EvidenceMark, start: int, end: int, limit: int) -> Sequence[int]:
        """Measured participants, ascending, of which the chain has since got a reading or proof of these MTUs.

        Where there is none, all of them are measured up to the mark.
        """

    def net_import_wh(self, meters: Collection[int], starts: Collection[int]) -> Mapping[int, Mapping[int, int]]:
        """Import less export by meter and MTU start of readings on chain, proven ones first; Wh."""

    def connections_of(self, meters: Collection[int], mtu_length_s: int) -> Mapping[int, Connection]:
        """What the meters' connections carry in an MTU."""

    def other_windows(
        self, stored: StoredDemand, meters: Collection[int], since: int, mtu_length_s: int
    ) -> Mapping[int, Sequence[EventWindow]]:
        """By meter the earlier events it took part in that ended after a moment, Unix seconds."""

    def newest_of(self, event_id: str, meters: Collection[int]) -> Mapping[int, tuple[int, Measurement]]:
        """The newest measurement of each of these meters that has one, with its number."""

    def add_measurement(
        self, stored: StoredDemand, meter: int, number: int, measurement: Measurement, *, block_number: int, now: int
    ) -> None:
        """Keep a measurement under its number, from 1 for each meter and event, and tell the owner."""

    def note_measured(self, event_id: str, meters: Collection[int], mark: EvidenceMark, start: int, end: int) -> None:
        """Remember that these meters are measured on all readings and proofs of these MTUs up to the mark."""
