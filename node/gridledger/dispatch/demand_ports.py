"""What demand response needs from outside."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from gridledger.dispatch.baseline import CivilCalendar, Connection, EventWindow, MeasuringTerms
from gridledger.dispatch.demand_response import (
    Consent,
    MeterMeasurement,
    Participation,
    StoredDemand,
)

__all__ = ["Calendars", "DemandStore", "DemandZones", "MeasurementStore", "MeterEvidence", "MeterPlace", "TermsSigner"]


@dataclass(frozen=True, kw_only=True, slots=True)
class MeterPlace:
    """A registered meter: whose it is, in which zone, and whether it is the zone's transformer."""

    owner: str
    zone: int
    is_transformer: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class MeterEvidence:
    """What the chain has of a meter: import less export by MTU start, Wh; proven readings go before anchored ones.

    `anchors` is one more than the newest anchor's number among these readings, 0 without any; `proofs` counts those
    that are proven. Both say which readings there were: all in earlier anchors, and as many proofs in chain order.
    """

    net_import_wh: Mapping[int, int]
    anchors: int
    proofs: int


class DemandZones(Protocol):
    """Who answers for a zone."""

    def zones(self) -> Mapping[int, str]:
        """Grid operator by zone, checksum addresses."""


class Calendars(Protocol):
    """The calendar that terms name."""

    def __call__(self, terms: MeasuringTerms) -> CivilCalendar:
        """Civil time and working days."""


class TermsSigner(Protocol):
    """The market operator's key."""

    def sign_document(self, document: dict[str, Any]) -> bytes:
        """65 bytes r, s, v over an EIP-712 document."""


class DemandStore(Protocol):
    """Events and who takes part, of one transaction; nothing that was kept is ever changed."""

    def find(self, event_id: str) -> StoredDemand | None:
        """The event with an id."""

    def overlapping(self, zone: int, start: int, end: int) -> str | None:
        """The id of an event of the zone in one of these MTUs; half-open, Unix seconds."""

    def count_after(self, zone: int, moment: int) -> int:
        """How many events of a zone end after a moment."""

    def next_number(self) -> int:
        """Number of the next event, from 1 without gaps."""

    def add_event(self, stored: StoredDemand, *, end: int) -> None:
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

    def anchor_count(self) -> int:
        """How many anchors of readings the chain has."""

    def closed_until(self) -> int:
        """Events that ended by this moment, Unix seconds, are closed: nothing more is measured of them."""

    def close_until(self, moment: int) -> None:
        """Close the events that ended by a moment."""

    def ended_between(self, after: int, until: int) -> Sequence[StoredDemand]:
        """Events that ended after one moment and by another, Unix seconds, the oldest first."""

    def unmeasured(self, event_id: str, window: EventWindow, limit: int, *, all_read: bool) -> Sequence[int]:
        """Participants without a measurement, ascending; with `all_read` those whose readings are all on chain."""

    def newly_read(self, event_id: str, anchors: int, start: int, end: int, limit: int) -> Sequence[int]:
        """Measured participants, ascending, of which the chain has since got a reading or proof of these MTUs.

        Where there is none, all of them are measured up to so many anchors.
        """

    def evidence_of(self, meters: Collection[int], starts: Collection[int]) -> Mapping[int, MeterEvidence]:
        """What the chain has of these MTUs of the meters, for each of them."""

    def connections_of(self, meters: Collection[int], mtu_length_s: int) -> Mapping[int, Connection]:
        """What the meters' connections carry in an MTU."""

    def other_windows(
        self, stored: StoredDemand, meters: Collection[int], since: int, mtu_length_s: int
    ) -> Mapping[int, Sequence[EventWindow]]:
        """By meter the earlier events it took part in that ended after a moment, Unix seconds."""

    def newest(self, event_id: str, meters: Collection[int]) -> Sequence[MeterMeasurement]:
        """The newest measurement of each of these meters that has one, ascending by meter."""

    def add_measurement(self, stored: StoredDemand, made: MeterMeasurement) -> None:
        """Keep a measurement and tell the meter's owner."""

    def note_measured(self, event_id: str, meters: Collection[int], anchors: int, start: int, end: int) -> None:
        """Remember that these meters are measured on all proofs and on so many anchors, as to these MTUs."""
