"""Which dispatch, demand response or tariff the node's own OpenADR events tell of, and the reports that answer them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, delete, exists, insert, select, update

from gridledger.store.openadr_model import ObjectKind
from gridledger.store.schema import chain_event, meter, openadr_object, openadr_origin, openadr_target

__all__ = ["About", "EventOrigin", "LinkedReport", "OpenAdrOrigins"]

_TARIFF_EVENTS = ("FeedInPosted", "GridFactorPublished", "PolicyScheduled")
_METER_TARGET, _MOST_DIGITS = "meter-", 10


class About(StrEnum):
    """What an event of the node tells; a stop is told to all gateways by an event of its own."""

    ZONE = "zone"
    OPERATOR = "operator"
    METER = "meter"
    TARIFF = "tariff"
    STOP = "stop"
    GATEWAYS = "gateways"
    DEMAND = "demand"


@dataclass(frozen=True, kw_only=True)
class EventOrigin:
    """What an event was made of; `meter` is 0 where it is not of one meter, hashes are 0x hex."""

    event_id: str
    about: About
    zone: int
    mtu_start: int
    meter: int = 0
    schedule_hash: str | None = None
    transaction_hash: str | None = None

    def of(self, event_id: str) -> "EventOrigin":
        """The same of another event."""
        return replace(self, event_id=event_id)


@dataclass(frozen=True, kw_only=True)
class LinkedReport:
    """A client's report on a dispatch or demand response; `number` ascends, `content` is the standard's form."""

    number: int
    report_id: str
    client_id: str | None
    reported_at: int
    content: Mapping[str, Any]
    origin: EventOrigin


class OpenAdrOrigins:
    """Origins of one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def find(self, about: About, zone: int, mtu_start: int, meter_number: int = 0) -> EventOrigin | None:
        """The newest event that tells this."""
        table = openadr_origin.c
        query = (
            select(openadr_origin)
            .where(table.zone == zone, table.mtu_start == mtu_start)
            .where(table.about == about, table.meter == meter_number)
            .order_by(table.number.desc())
            .limit(1)
        )
        row = self._connection.execute(query).first()
        return None if row is None else _origin(row._asdict())

    def of_event(self, event_id: str) -> EventOrigin | None:
        """What an event tells of; None if it is not the node's own."""
        row = self._connection.execute(select(openadr_origin).where(openadr_origin.c.event_id == event_id)).first()
        return None if row is None else _origin(row._asdict())

    def meters_told(self, about: About, zone: int, mtu_start: int) -> tuple[int, ...]:
        """Meters that an event tells this of their own, ascending."""
        table = openadr_origin.c
        query = (
            select(table.meter)
            .distinct()
            .where(table.zone == zone, table.mtu_start == mtu_start, table.about == about, table.meter != 0)
        )
        return tuple(self._connection.execute(query.order_by(table.meter)).scalars())

    def keep(self, origin: EventOrigin) -> None:
        """Keep what an event tells of, in place of what was known of it."""
        values = asdict(origin)
        of_event = openadr_origin.c.event_id == origin.event_id
        if self._connection.execute(update(openadr_origin).where(of_event).values(**values)).rowcount == 0:
            self._connection.execute(insert(openadr_origin).values(**values))

    def reports(self, zone: int, from_s: int, to_s: int, after: int, limit: int) -> tuple[LinkedReport, ...]:
        """Reports on a zone's dispatches and demand response, from <= MTU start < to, after a number, oldest first."""
        report, origin = openadr_object.c, openadr_origin.c
        query = (
            select(openadr_origin, report.number.label("report_number"), report.id, report.client_id)
            .add_columns(report.modified_at, report.content)
            .join(openadr_object, report.event_id == origin.event_id)
            .where(report.kind == ObjectKind.REPORT, report.number > after, origin.about != About.TARIFF)
            .where(origin.zone == zone, origin.mtu_start >= from_s, origin.mtu_start < to_s)
            .order_by(report.number)
            .limit(limit)
        )
        return tuple(
            LinkedReport(
                number=row.report_number,
                report_id=row.id,
                client_id=row.client_id,
                reported_at=row.modified_at,
                content=row.content,
                origin=_origin(row._asdict()),
            )
            for row in self._connection.execute(query)
        )

    def forget(self, before: int) -> int:
        """Drop what events of MTUs before a moment told, unless a report answers one; returns how many."""
        answered = exists().where(
            openadr_object.c.kind == ObjectKind.REPORT, openadr_object.c.event_id == openadr_origin.c.event_id
        )
        gone = delete(openadr_origin).where(openadr_origin.c.mtu_start < before, ~answered)
        return self._connection.execute(gone).rowcount

    def gateway_meters(self, zone: int) -> tuple[int, ...]:
        """Meters of a zone that some ven or resource is granted the target of, ascending."""
        holders = (ObjectKind.VEN, ObjectKind.RESOURCE)
        query = (
            select(openadr_target.c.target)
            .distinct()
            .join(openadr_object, openadr_object.c.number == openadr_target.c.object_number)
            .where(openadr_object.c.kind.in_(holders), openadr_target.c.target.startswith(_METER_TARGET))
        )
        granted = {number for target in self._connection.execute(query).scalars() if (number := _meter_of(target))}
        of_zone = select(meter.c.meter).where(meter.c.zone == zone, meter.c.meter.in_(sorted(granted)))
        return tuple(sorted(self._connection.execute(of_zone).scalars()))

    def tariffs_changed_after(self, block_number: int) -> bool:
        """Whether a block after this one has changed tariffs or grid factors."""
        query = select(chain_event.c.block_number).where(
            chain_event.c.block_number > block_number, chain_event.c.name.in_(_TARIFF_EVENTS)
        )
        return self._connection.execute(query.limit(1)).first() is not None


def _origin(values: Mapping[str, Any]) -> EventOrigin:
    return EventOrigin(
        event_id=values["event_id"],
        about=About(values["about"]),
        zone=values["zone"],
        mtu_start=values["mtu_start"],
        meter=values["meter"],
        schedule_hash=values["schedule_hash"],
        transaction_hash=values["transaction_hash"],
    )


def _meter_of(target: str) -> int:
    """The meter that a target is of, 0 if it is of none."""
    digits = target.removeprefix(_METER_TARGET)
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= _MOST_DIGITS else 0
