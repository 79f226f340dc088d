"""Rows of exported files about demand response, typed."""

from datetime import date
from typing import NamedTuple

from gridledger.dispatch.baseline import BaselineRule, MeasuringTerms
from gridledger.dispatch.demand_response import DemandDirection, DemandResponse, StoredDemand

__all__ = ["DemandEventRow", "DemandMeasurementRow", "DemandParticipationRow", "DemandShiftRow"]


class DemandEventRow(NamedTuple):
    """What the grid operator asked of a zone, and how the market operator said it is measured; Unix seconds."""

    number: int
    event_id: str
    zone: int
    first_mtu_start: int
    mtu_count: int
    direction: DemandDirection
    energy_wh: int
    reason: int
    salt: bytes
    signature: bytes
    working_highest: int
    working_days: int
    other_highest: int
    other_days: int
    look_back_days: int
    adjustment_bp: int
    civil_time: str
    holidays: tuple[date, ...]
    received_at: int
    terms_signature: bytes

    def event(self) -> DemandResponse:
        """The event as it was signed. Raises OutOfRange, DemandFieldRefused."""
        return DemandResponse(
            zone=self.zone,
            first_mtu_start=self.first_mtu_start,
            mtu_count=self.mtu_count,
            direction=self.direction,
            energy_wh=self.energy_wh,
            reason=self.reason,
            salt=self.salt,
        )

    def stored(self) -> StoredDemand:
        """The event with its terms as they were signed. Raises OutOfRange, DemandFieldRefused."""
        rule = BaselineRule(
            working_highest=self.working_highest,
            working_days=self.working_days,
            other_highest=self.other_highest,
            other_days=self.other_days,
            look_back_days=self.look_back_days,
            adjustment_bp=self.adjustment_bp,
        )
        return StoredDemand(
            number=self.number,
            event_id=self.event_id,
            event=self.event(),
            signature=self.signature,
            terms=MeasuringTerms(rule=rule, civil_time=self.civil_time, holidays=self.holidays),
            terms_signature=self.terms_signature,
            received_at=self.received_at,
        )


class DemandParticipationRow(NamedTuple):
    """That a meter took part in an event, by its owner's word."""

    event_id: str
    meter: int
    account: str


class DemandMeasurementRow(NamedTuple):
    """A measurement of a meter, numbered from 1: averaged days by their first MTUs, and the evidence it rests on."""

    event_id: str
    meter: int
    number: int
    days: tuple[int, ...]
    adjustment_bp: int
    anchors: int
    proofs: int


class DemandShiftRow(NamedTuple):
    """One MTU of a measurement, Wh; the first two are empty where they are not known."""

    event_id: str
    meter: int
    number: int
    mtu_start: int
    baseline_import_wh: int | None
    net_import_wh: int | None
    energy_wh: int
