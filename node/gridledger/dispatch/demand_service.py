"""Demand response tasks: take the grid operator's signed events, and owners' word on taking part. They never commit."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta

from gridledger.clock import Clock, civil_time_named
from gridledger.dispatch.baseline import BaselineRule, MeasuringTerms
from gridledger.dispatch.demand_errors import (
    DemandBegun,
    DemandMetersRefused,
    DemandOverlaps,
    DemandTooFarAhead,
    DemandUnknown,
    DemandZoneUnknown,
    MeterOfAnotherOwner,
    MeterOutsideDemand,
    NotTakingPart,
    NotTheDemandOperator,
    TooManyDemands,
)
from gridledger.dispatch.demand_ports import DemandStore, DemandZones, TermsSigner
from gridledger.dispatch.demand_response import (
    DemandResponse,
    StoredDemand,
    demand_id,
    demand_signer,
    terms_typed_data,
)
from gridledger.dispatch.model import DispatchDomain

__all__ = ["FARTHEST_AHEAD_S", "MOST_COMING", "DemandService"]

FARTHEST_AHEAD_S = 7 * 86_400
MOST_COMING = 100  # events of a zone that have not ended


class DemandService:
    """Accepts events and participations."""

    def __init__(
        self,
        *,
        domain: DispatchDomain,
        zones: DemandZones,
        store: DemandStore,
        clock: Clock,
        mtu_length_s: int,
        terms: MeasuringTerms,
        signer: TermsSigner,
    ) -> None:
        """`terms` are what events are measured by from now on, with all holidays that are known."""
        self._domain = domain
        self._zones = zones
        self._store = store
        self._clock = clock
        self._mtu_length_s = mtu_length_s
        self._terms = terms
        self._signer = signer

    def issue(self, event: DemandResponse, signature: bytes) -> tuple[StoredDemand, bool]:
        """Keep an event signed by its zone's grid operator; whether it is new. The same event again changes nothing.

        Meters with a standing consent take part at once.
        Raises UnalignedMtu, OutOfRange, DemandZoneUnknown, DemandSignatureMalformed, NotTheDemandOperator, DemandBegun,
        DemandTooFarAhead, DemandOverlaps, TooManyDemands.
        """
        window, now = event.window(self._mtu_length_s), self._clock.now()
        self._require_operator(event, signature)
        event_id = demand_id(self._domain, event)
        if (known := self._store.find(event_id)) is not None:
            return known, False
        if event.first_mtu_start <= now:
            raise DemandBegun(first_mtu_start=event.first_mtu_start, now=now)
        if event.first_mtu_start > now + FARTHEST_AHEAD_S:
            raise DemandTooFarAhead(first_mtu_start=event.first_mtu_start, latest=now + FARTHEST_AHEAD_S)
        if (other := self._store.overlapping(event.zone, event.first_mtu_start, window.end)) is not None:
            raise DemandOverlaps(zone=event.zone, other_id=other)
        if self._store.count_after(event.zone, now) >= MOST_COMING:
            raise TooManyDemands(zone=event.zone, highest=MOST_COMING)
        stored = self._signed(event_id, event, signature, now)
        self._store.add_event(stored, end=window.end)
        standing = {consent.meter: consent.owner for consent in self._store.consents_in(event.zone)}
        self._store.note_participation(event_id, standing, joined=True, standing=True, now=now)
        return stored, True

    def _signed(self, event_id: str, event: DemandResponse, signature: bytes, now: int) -> StoredDemand:
        """The event with the market operator's word on how it is measured."""
        unsigned = StoredDemand(
            number=self._store.next_number(),
            event_id=event_id,
            event=event,
            signature=signature,
            terms=self._terms_of(event.first_mtu_start),
            terms_signature=b"",
            received_at=now,
        )
        document = terms_typed_data(self._domain, unsigned)
        return replace(unsigned, terms_signature=self._signer.sign_document(document))

    def find(self, event_id: str) -> StoredDemand:
        """An event. Raises DemandUnknown."""
        stored = self._store.find(event_id)
        if stored is None:
            raise DemandUnknown(event_id=event_id)
        return stored

    def join(self, owner: str, event_id: str, meters: Sequence[int]) -> StoredDemand:
        """Let meters of an owner take part, before the first MTU begins; those that do already are left as they are.

        Raises DemandUnknown, DemandBegun, DemandMetersRefused, MeterOfAnotherOwner, MeterOutsideDemand.
        """
        stored = self._coming(event_id)
        self._require_own(owner, meters, stored.event.zone)
        new = [meter for meter in meters if self._store.participation_of(event_id, meter) is None]
        self._note(event_id, dict.fromkeys(new, owner), joined=True)
        return stored

    def leave(self, owner: str, event_id: str, meter: int) -> None:
        """Let a meter not take part after all.

        Raises DemandUnknown, DemandBegun, MeterOfAnotherOwner, NotTakingPart.
        """
        stored = self._coming(event_id)
        self._require_own(owner, [meter], stored.event.zone)
        if self._store.participation_of(event_id, meter) is None:
            raise NotTakingPart(meter=meter)
        self._note(event_id, {meter: owner}, joined=False)

    def consent(self, owner: str, meter: int) -> None:
        """Let a meter take part in every event that is issued from now on.

        Raises MeterOfAnotherOwner, MeterOutsideDemand.
        """
        self._require_own(owner, [meter], None)
        if self._store.consent_of(meter) is None:
            self._store.note_consent(meter, owner, given=True, now=self._clock.now())

    def withdraw(self, owner: str, meter: int) -> None:
        """Take a standing consent back; events issued before go on. Raises MeterOfAnotherOwner, NotTakingPart."""
        self._require_own(owner, [meter], None)
        if self._store.consent_of(meter) is None:
            raise NotTakingPart(meter=meter)
        self._store.note_consent(meter, owner, given=False, now=self._clock.now())

    def _note(self, event_id: str, meters: Mapping[int, str], *, joined: bool) -> None:
        self._store.note_participation(event_id, meters, joined=joined, standing=False, now=self._clock.now())

    def _coming(self, event_id: str) -> StoredDemand:
        stored, now = self.find(event_id), self._clock.now()
        if stored.event.first_mtu_start <= now:
            raise DemandBegun(first_mtu_start=stored.event.first_mtu_start, now=now)
        return stored

    def _require_operator(self, event: DemandResponse, signature: bytes) -> None:
        operator = self._zones.zones().get(event.zone)
        if operator is None:
            raise DemandZoneUnknown(zone=event.zone)
        signer = demand_signer(self._domain, event, signature)
        if signer != operator:
            raise NotTheDemandOperator(zone=event.zone, signer=signer, grid_operator=operator)

    def _require_own(self, owner: str, meters: Sequence[int], zone: int | None) -> None:
        """That all are the owner's, of the zone if one is named, and no transformer's."""
        places = self._store.places_of(meters)
        for place, meter in enumerate(meters):
            if meter in meters[:place]:
                raise DemandMetersRefused(meter=meter)
            found = places.get(meter)
            if found is None or found.owner != owner:
                raise MeterOfAnotherOwner(meter=meter)
            if found.is_transformer or zone not in (None, found.zone):
                raise MeterOutsideDemand(meter=meter, zone=found.zone)

    def _terms_of(self, first_mtu_start: int) -> MeasuringTerms:
        """The present terms with the holidays that the event's day and the days compared with it can be."""
        terms = self._terms
        today = datetime.fromtimestamp(first_mtu_start, civil_time_named(terms.civil_time)).date()
        return MeasuringTerms(
            rule=terms.rule, civil_time=terms.civil_time, holidays=_around(terms.holidays, today, terms.rule)
        )


def _around(holidays: Sequence[date], today: date, rule: BaselineRule) -> tuple[date, ...]:
    earliest = today - timedelta(days=rule.look_back_days)
    return tuple(sorted(day for day in holidays if earliest <= day <= today))
