"""Demand response events and participations in the database; implements `dispatch.demand_ports.DemandStore`."""

from collections.abc import Collection, Mapping, Sequence
from datetime import date
from typing import Any

from sqlalchemy import Connection, Row, Select, func, insert, select

from gridledger.dispatch.baseline import BaselineRule, MeasuringTerms
from gridledger.dispatch.demand_ports import MeterPlace
from gridledger.dispatch.demand_response import (
    Consent,
    DemandDirection,
    DemandResponse,
    Participation,
    StoredDemand,
)
from gridledger.market.notices import NoticeDetails, NoticeKind
from gridledger.store.lists import in_list, list_parameter
from gridledger.store.notices import Notices
from gridledger.store.schema import demand_consent, demand_event, demand_participation
from gridledger.store.schema import meter as meter_table
from gridledger.store.schema import zone as zone_table

__all__ = ["DemandEvents", "participants_of", "stored_demand"]

_PLACES = (
    select(meter_table.c.meter, meter_table.c.owner, meter_table.c.zone, zone_table.c.transformer_meter)
    .join(zone_table, zone_table.c.zone == meter_table.c.zone)
    .where(meter_table.c.meter.in_(in_list("meters")))
)


class DemandEvents:
    """Events of one transaction; who is told goes to `notices`."""

    def __init__(self, connection: Connection, notices: Notices) -> None:
        self._connection = connection
        self._notices = notices

    def find(self, event_id: str) -> StoredDemand | None:
        """The event with an id."""
        row = self._connection.execute(select(demand_event).where(demand_event.c.event_id == event_id)).first()
        return None if row is None else stored_demand(row)

    def after(self, number: int, zone: int | None, limit: int) -> tuple[StoredDemand, ...]:
        """Events of a zone, or of all, after a number, in the order they came."""
        query = select(demand_event).where(demand_event.c.number > number).order_by(demand_event.c.number).limit(limit)
        if zone is not None:
            query = query.where(demand_event.c.zone == zone)
        return tuple(stored_demand(row) for row in self._connection.execute(query))

    def overlapping(self, zone: int, start: int, end: int) -> str | None:
        """The id of an event of the zone in one of these MTUs; half-open, Unix seconds."""
        events = demand_event.c
        query = select(events.event_id).where(events.zone == zone, events.first_mtu_start < end, events.ends_at > start)
        return self._connection.execute(query.limit(1)).scalar()

    def count_after(self, zone: int, moment: int) -> int:
        """How many events of a zone end after a moment."""
        events = demand_event.c
        query = select(func.count()).where(events.zone == zone, events.ends_at > moment)
        return self._connection.execute(query).scalar_one()

    def next_number(self) -> int:
        """Number of the next event, from 1 without gaps."""
        return self._connection.execute(select(func.count()).select_from(demand_event)).scalar_one() + 1

    def add_event(self, stored: StoredDemand, *, end: int) -> None:
        """Keep an event and tell the owners of the zone's meters."""
        event, terms, rule = stored.event, stored.terms, stored.terms.rule
        self._connection.execute(
            insert(demand_event).values(
                number=stored.number,
                event_id=stored.event_id,
                zone=event.zone,
                first_mtu_start=event.first_mtu_start,
                mtu_count=event.mtu_count,
                direction=int(event.direction),
                energy_wh=event.energy_wh,
                reason=event.reason,
                salt="0x" + event.salt.hex(),
                signature="0x" + stored.signature.hex(),
                working_highest=rule.working_highest,
                working_days=rule.working_days,
                other_highest=rule.other_highest,
                other_days=rule.other_days,
                look_back_days=rule.look_back_days,
                adjustment_bp=rule.adjustment_bp,
                civil_time=terms.civil_time,
                holidays=[day.isoformat() for day in terms.holidays],
                terms_signature="0x" + stored.terms_signature.hex(),
                ends_at=end,
                received_at=stored.received_at,
            )
        )
        self._tell(stored.event_id, event, stored.received_at)

    def places_of(self, meters: Collection[int]) -> Mapping[int, MeterPlace]:
        """Those of these meters that are registered."""
        rows = self._connection.execute(_PLACES, {"meters": list_parameter(meters)})
        return {
            row.meter: MeterPlace(owner=row.owner, zone=row.zone, is_transformer=row.transformer_meter == row.meter)
            for row in rows
        }

    def consents_in(self, zone: int) -> Sequence[Consent]:
        """Standing consents of the zone's meters, ascending by meter."""
        in_zone = select(meter_table.c.meter).where(meter_table.c.zone == zone)
        return self._consents(_newest_consents().where(demand_consent.c.meter.in_(in_zone)))

    def consents_of(self, account: str) -> Sequence[Consent]:
        """Standing consents of an account, ascending by meter."""
        return self._consents(_newest_consents().where(demand_consent.c.account == account))

    def consent_of(self, meter: int) -> Consent | None:
        """The standing consent of a meter."""
        return next(iter(self._consents(_newest_consents().where(demand_consent.c.meter == meter))), None)

    def note_consent(self, meter: int, owner: str, *, given: bool, now: int) -> None:
        """Keep that a standing consent was given or withdrawn."""
        values = {"meter": meter, "account": owner, "given": given, "noted_at": now}
        self._connection.execute(insert(demand_consent).values(**values))

    def participation_of(self, event_id: str, meter: int) -> Participation | None:
        """How a meter takes part in an event."""
        query = participants_of(event_id).where(demand_participation.c.meter == meter)
        row = self._connection.execute(query).first()
        return None if row is None else _participation(row)

    def participations(self, event_id: str, account: str | None = None) -> tuple[Participation, ...]:
        """Who takes part in an event, or which of an account's meters do, ascending by meter."""
        query = participants_of(event_id).order_by(demand_participation.c.meter)
        if account is not None:
            query = query.where(demand_participation.c.account == account)
        return tuple(_participation(row) for row in self._connection.execute(query))

    def participations_noted_after(self, number: int, limit: int) -> tuple[tuple[int, str], ...]:
        """Notes that somebody joined or left, after a number, in the order they came: number and event id."""
        notes = demand_participation.c
        query = select(notes.id, notes.event_id).where(notes.id > number).order_by(notes.id).limit(limit)
        return tuple((row.id, row.event_id) for row in self._connection.execute(query))

    def erased_participations(self, event_id: str) -> int:
        """How many notes of participations in an event have been emptied because their owner was erased."""
        query = select(func.count()).where(
            demand_participation.c.event_id == event_id, demand_participation.c.meter.is_(None)
        )
        return self._connection.execute(query).scalar_one()

    def note_participation(
        self, event_id: str, meters: Mapping[int, str], *, joined: bool, standing: bool, now: int
    ) -> None:
        """Keep that meters (with their owners) join an event or leave it."""
        common = {"event_id": event_id, "joined": joined, "standing": standing, "noted_at": now}
        rows = [{**common, "meter": number, "account": owner} for number, owner in sorted(meters.items())]
        if rows:
            self._connection.execute(insert(demand_participation), rows)

    def _consents(self, query: Select[Any]) -> Sequence[Consent]:
        rows = self._connection.execute(query.order_by(demand_consent.c.meter))
        return [Consent(meter=row.meter, owner=row.account, given_at=row.noted_at) for row in rows]

    def _tell(self, event_id: str, event: DemandResponse, now: int) -> None:
        details = NoticeDetails(
            event_id=event_id,
            direction=event.direction.name.lower(),
            energy_wh=event.energy_wh,
            mtu_count=event.mtu_count,
            reason_code=event.reason,
        )
        transformer = select(zone_table.c.transformer_meter).where(zone_table.c.zone == event.zone).scalar_subquery()
        query = select(meter_table.c.meter, meter_table.c.owner).where(
            meter_table.c.zone == event.zone, meter_table.c.meter.is_distinct_from(transformer)
        )
        for row in self._connection.execute(query.order_by(meter_table.c.meter)):
            self._notices.add(
                NoticeKind.DEMAND,
                owner=row.owner,
                order_uid=None,
                zone=event.zone,
                mtu_start=event.first_mtu_start,
                meter=row.meter,
                created_at=now,
                details=details,
            )


def participants_of(event_id: str) -> Select[Any]:
    """Notes of the meters that take part in an event: the newest of each meter, where it joined."""
    notes = demand_participation.c
    newest = select(func.max(notes.id)).where(notes.event_id == event_id).group_by(notes.meter)
    return select(demand_participation).where(notes.id.in_(newest), notes.joined.is_(True), notes.meter.is_not(None))


def _newest_consents() -> Select[Any]:
    notes = demand_consent.c
    newest = select(func.max(notes.id)).group_by(notes.meter)
    return select(demand_consent).where(notes.id.in_(newest), notes.given.is_(True))


def stored_demand(row: Row[Any]) -> StoredDemand:
    """The event of a row."""
    rule = BaselineRule(
        working_highest=row.working_highest,
        working_days=row.working_days,
        other_highest=row.other_highest,
        other_days=row.other_days,
        look_back_days=row.look_back_days,
        adjustment_bp=row.adjustment_bp,
    )
    holidays = tuple(date.fromisoformat(day) for day in row.holidays)
    return StoredDemand(
        number=row.number,
        event_id=row.event_id,
        event=DemandResponse(
            zone=row.zone,
            first_mtu_start=row.first_mtu_start,
            mtu_count=row.mtu_count,
            direction=DemandDirection(row.direction),
            energy_wh=row.energy_wh,
            reason=row.reason,
            salt=bytes.fromhex(row.salt[2:]),
        ),
        signature=bytes.fromhex(row.signature[2:]),
        terms=MeasuringTerms(rule=rule, civil_time=row.civil_time, holidays=holidays),
        terms_signature=bytes.fromhex(row.terms_signature[2:]),
        received_at=row.received_at,
    )


def _participation(row: Row[Any]) -> Participation:
    return Participation(meter=row.meter, owner=row.account, standing=row.standing, joined_at=row.noted_at)
