"""Meter events and parts of MTUs in the database; implements the metering room's `EventStore` and `PartStore`."""

from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, insert, select

from gridledger.metering.events import MeterEvent, MeterEventKind, StoredMeterEvent
from gridledger.metering.model import PartialReading, Reading
from gridledger.metering.ports import Counted
from gridledger.store.schema import meter_event, partial_reading

__all__ = ["MeterEvents", "ReadingParts"]


class MeterEvents:
    """Events of one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def event_at(self, meter: int, happened_at: int) -> StoredMeterEvent | None:
        """The accepted event of a meter and moment."""
        query = select(meter_event).where(meter_event.c.meter == meter, meter_event.c.happened_at == happened_at)
        row = self._connection.execute(query).first()
        return None if row is None else _stored(row)

    def events_between(self, meter: int, start: int, end: int) -> tuple[MeterEvent, ...]:
        """A meter's events after `start` and up to `end`, Unix seconds, in their order."""
        moment = meter_event.c.happened_at
        query = (
            select(meter_event)
            .where(meter_event.c.meter == meter, moment > start, moment <= end)
            .order_by(meter_event.c.happened_at)
        )
        return tuple(_stored(row).event for row in self._connection.execute(query))

    def add_event(self, stored: StoredMeterEvent) -> None:
        """Keep a newly accepted event, the first of its meter and moment."""
        event = stored.event
        self._connection.execute(
            insert(meter_event).values(
                meter=event.meter,
                happened_at=event.happened_at,
                kind=int(event.kind),
                closing_serial=event.closing_serial,
                opening_serial=event.opening_serial,
                closing_import_wh=event.closing_import_wh,
                closing_export_wh=event.closing_export_wh,
                opening_import_wh=event.opening_import_wh,
                opening_export_wh=event.opening_export_wh,
                signature="0x" + stored.signature.hex(),
                received_at=stored.received_at,
            )
        )


class ReadingParts:
    """Readings of parts of MTUs of one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def parts_of(self, meter: int, start: int, end: int) -> tuple[PartialReading, ...]:
        """A meter's parts that begin from `start` and before `end`, Unix seconds, in their order."""
        moment = partial_reading.c.interval_start
        query = (
            select(partial_reading)
            .where(partial_reading.c.meter == meter, moment >= start, moment < end)
            .order_by(partial_reading.c.interval_start)
        )
        return tuple(_part(row) for row in self._connection.execute(query))

    def part_counters_around(self, meter: int, start: int) -> tuple[Counted | None, Counted | None]:
        """The counters of the nearest parts that begin before and after a moment."""
        moment = partial_reading.c.interval_start
        return (
            self._nearest(meter, moment < start, moment.desc()),
            self._nearest(meter, moment > start, moment.asc()),
        )

    def add_part(self, part: PartialReading) -> None:
        """Keep a newly accepted part, the first of its meter and start."""
        reading = part.reading
        self._connection.execute(
            insert(partial_reading).values(
                meter=reading.meter,
                interval_start=reading.mtu_start,
                meter_id=reading.meter_id,
                interval_s=reading.interval_s,
                import_wh=reading.import_wh,
                export_wh=reading.export_wh,
                counter=reading.counter,
                text=part.text,
                received_at=part.received_at,
            )
        )

    def _nearest(self, meter: int, where: ColumnElement[bool], order: ColumnElement[int]) -> Counted | None:
        columns = (partial_reading.c.interval_start, partial_reading.c.counter)
        query = select(*columns).where(partial_reading.c.meter == meter, where).order_by(order).limit(1)
        row = self._connection.execute(query).first()
        return None if row is None else Counted(*row)


def _stored(row: Row[Any]) -> StoredMeterEvent:
    event = MeterEvent(
        meter=row.meter,
        kind=MeterEventKind(row.kind),
        happened_at=row.happened_at,
        closing_serial=row.closing_serial,
        opening_serial=row.opening_serial,
        closing_import_wh=row.closing_import_wh,
        closing_export_wh=row.closing_export_wh,
        opening_import_wh=row.opening_import_wh,
        opening_export_wh=row.opening_export_wh,
    )
    return StoredMeterEvent(event=event, signature=bytes.fromhex(row.signature[2:]), received_at=row.received_at)


def _part(row: Row[Any]) -> PartialReading:
    reading = Reading(
        meter=row.meter,
        meter_id=row.meter_id,
        mtu_start=row.interval_start,
        interval_s=row.interval_s,
        import_wh=row.import_wh,
        export_wh=row.export_wh,
        counter=row.counter,
    )
    return PartialReading(reading=reading, text=row.text, received_at=row.received_at)
