"""Readings as their owners and others may see them, sums over zones, and the log of the regulator's accesses."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, ScalarSelect, Select, and_, exists, func, insert, or_, select

from gridledger.metering.access import MeterParties
from gridledger.store.schema import (
    erased_reading,
    meter,
    meter_reading,
    participant,
    reading_access,
    reading_anchor,
    reading_dispute,
)
from gridledger.store.schema import zone as zone_table

__all__ = ["ReadingAccess", "ReadingViews", "ShownReading", "ZoneSum"]

_OCMF_TEXTS = "OCMF|%"


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownReading:
    """A reading, whether its anchor is on chain, and whether a genuine text contradicts it.

    Energies in Wh, salt of 32 bytes, times in Unix seconds.
    """

    meter_id: str
    mtu_start: int
    import_wh: int
    export_wh: int
    counter: int
    text: str
    salt: bytes
    received_at: int
    anchored: bool
    disputed: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class ZoneSum:
    """All readings of a zone and MTU added up, Wh, and how many readings of it have been erased."""

    mtu_start: int
    import_wh: int
    export_wh: int
    meters: int
    erased: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadingAccess:
    """One access of a regulator: half-open range and moment in Unix seconds; empty about an erased person."""

    id: int
    reader: str
    meter: int | None
    from_s: int | None
    to_s: int | None
    reason: str | None
    accessed_at: int


class ReadingViews:
    """Views of one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def parties_of(self, number: int) -> MeterParties | None:
        """Owner of a registered meter, and the owner's supplier."""
        query = (
            select(meter.c.owner, participant.c.supplier)
            .outerjoin(participant, participant.c.account == meter.c.owner)
            .where(meter.c.meter == number)
        )
        row = self._connection.execute(query).first()
        return None if row is None else MeterParties(meter=number, owner=row.owner, supplier=row.supplier)

    def between(self, number: int, from_s: int, to_s: int, limit: int) -> list[ShownReading]:
        """Accepted readings of a meter with from <= MTU start < to, oldest first."""
        readings = meter_reading.c
        query = (
            select(
                readings.meter_id,
                readings.mtu_start,
                readings.import_wh,
                readings.export_wh,
                readings.counter,
                readings.text,
                readings.salt,
                readings.received_at,
                _anchored().label("anchored"),
                _disputed().label("disputed"),
            )
            .where(readings.meter == number, readings.mtu_start >= from_s, readings.mtu_start < to_s)
            .order_by(readings.mtu_start)
            .limit(limit)
        )
        return [ShownReading(**row) for row in self._connection.execute(query).mappings()]

    def group_size(self, zone: int) -> int:
        """How many meters a zone has besides its transformer's."""
        query = select(func.count()).where(meter.c.zone == zone, meter.c.meter.is_distinct_from(_transformer_of(zone)))
        return self._connection.execute(query).scalar_one()

    def zone_sums(self, zone: int, from_s: int, to_s: int, limit: int) -> list[ZoneSum]:
        """Sums of MTUs that have readings, or had some, with from <= start < to; without the transformer's meter."""
        starts = _starts(meter_reading, zone, from_s, to_s).union(_starts(erased_reading, zone, from_s, to_s))
        listed = starts.order_by("mtu_start").limit(limit).subquery()
        readings = meter_reading.c
        imported, exported = (func.coalesce(func.sum(one), 0) for one in (readings.import_wh, readings.export_wh))
        erased = (
            select(func.count())
            .select_from(erased_reading)
            .where(erased_reading.c.zone == zone, erased_reading.c.mtu_start == listed.c.mtu_start)
            .scalar_subquery()
        )
        query = (
            select(listed.c.mtu_start, imported, exported, func.count(readings.meter), erased)
            .select_from(listed)
            .outerjoin(
                meter_reading,
                and_(
                    readings.zone == zone,
                    readings.mtu_start == listed.c.mtu_start,
                    readings.meter.is_distinct_from(_transformer_of(zone)),
                ),
            )
            .group_by(listed.c.mtu_start)
            .order_by(listed.c.mtu_start)
        )
        return [
            ZoneSum(mtu_start=row[0], import_wh=row[1], export_wh=row[2], meters=row[3], erased=row[4])
            for row in self._connection.execute(query)
        ]

    def log_access(self, reader: str, number: int, *, from_s: int, to_s: int, reason: str, now: int) -> None:
        """Keep that a regulator has read a meter; nothing changes or removes it but the erasure of the owner."""
        values = {"reader": reader, "meter": number, "from_s": from_s, "to_s": to_s, "reason": reason}
        self._connection.execute(insert(reading_access).values(**values, accessed_at=now))

    def accesses(self, owner: str | None, after: int, limit: int) -> Sequence[ReadingAccess]:
        """Accesses after an id, to the meters of an owner or to all, oldest first."""
        query = select(reading_access).where(reading_access.c.id > after).order_by(reading_access.c.id).limit(limit)
        if owner is not None:
            own = select(meter.c.meter).where(meter.c.owner == owner)
            query = query.where(reading_access.c.meter.in_(own))
        return [ReadingAccess(**row) for row in self._connection.execute(query).mappings()]


def _transformer_of(zone: int) -> ScalarSelect[Any]:
    return select(zone_table.c.transformer_meter).where(zone_table.c.zone == zone).scalar_subquery()


def _starts(table: Any, zone: int, from_s: int, to_s: int) -> Select[Any]:
    columns = table.c
    return select(columns.mtu_start).where(columns.zone == zone, columns.mtu_start >= from_s, columns.mtu_start < to_s)


def _anchored() -> ColumnElement[bool]:
    """Whether the chain has the anchor of the reading."""
    anchors, readings = reading_anchor.c, meter_reading.c
    return exists().where(
        anchors.sequence == readings.anchor_sequence,
        anchors.anchored.is_(True),
    )


def _disputed() -> ColumnElement[bool]:
    """Whether a text about the interval, or registers at one of its ends, contradict what was accepted."""
    disputes, readings = reading_dispute.c, meter_reading.c
    at_end = and_(disputes.moment == readings.mtu_start + readings.interval_s, disputes.text.like(_OCMF_TEXTS))
    return exists().where(disputes.meter == readings.meter, or_(disputes.moment == readings.mtu_start, at_end))
