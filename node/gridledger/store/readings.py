"""Signed readings in the database; implements the metering room's `MeterDirectory` and `ReadingStore`."""

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, bindparam, func, insert, select, text, update
from sqlalchemy.dialects import sqlite

from gridledger.metering.balance import Transformer, ZoneBalance, zone_balance
from gridledger.metering.model import DeviceKey, MeterFacts, Reading, StoredReading
from gridledger.metering.ports import Counted
from gridledger.metering.registers import RegisterReading, StoredRegisters
from gridledger.store.lists import in_list, list_parameter, listed
from gridledger.store.schema import (
    erased_reading,
    meter_reading,
    proven_reading,
    reading_anchor,
    reading_dispute,
    register_reading,
)
from gridledger.store.schema import meter as meter_table
from gridledger.store.schema import zone as zone_table

__all__ = ["FACTS_COLUMNS", "Readings", "meter_facts"]

_MOST_DISPUTES = 10
_MARK_ANCHORED = (
    update(meter_reading)
    .where(meter_reading.c.meter == bindparam("of_meter"), meter_reading.c.mtu_start == bindparam("at_mtu_start"))
    .values(anchor_sequence=bindparam("sequence"))
)
FACTS_COLUMNS = (
    meter_table.c.meter,
    meter_table.c.zone,
    meter_table.c.import_capacity_w,
    meter_table.c.export_capacity_w,
    meter_table.c.device_key_x,
    meter_table.c.device_key_y,
)
_FACTS = select(*FACTS_COLUMNS).where(meter_table.c.meter.in_(in_list("meters")))
_KEYS = listed("keys")
_BY_KEYS = select(meter_reading).select_from(
    _KEYS.join(
        meter_reading,
        (meter_reading.c.meter == func.json_extract(_KEYS.c.value, "$[0]"))
        & (meter_reading.c.mtu_start == func.json_extract(_KEYS.c.value, "$[1]")),
    )
)
_COUNTERS_AROUND = text("""
WITH asked(meter, first, last) AS (
    SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]')
    FROM json_each(:spans))
SELECT asked.meter, asked.first, asked.last, before.mtu_start, before.counter, after.mtu_start, after.counter
FROM asked
LEFT JOIN meter_reading before ON before.meter = asked.meter AND before.mtu_start = (
    SELECT max(mtu_start) FROM meter_reading earlier
    WHERE earlier.meter = asked.meter AND earlier.mtu_start < asked.first)
LEFT JOIN meter_reading after ON after.meter = asked.meter AND after.mtu_start = (
    SELECT min(mtu_start) FROM meter_reading later
    WHERE later.meter = asked.meter AND later.mtu_start > asked.last)
""")
_SLOTS = listed("slots")
_UNANCHORED = (
    select(meter_reading)
    .select_from(
        _SLOTS.join(
            meter_reading,
            (meter_reading.c.zone == func.json_extract(_SLOTS.c.value, "$[0]"))
            & (meter_reading.c.mtu_start == func.json_extract(_SLOTS.c.value, "$[1]"))
            & meter_reading.c.anchor_sequence.is_(None),
        )
    )
    .order_by(meter_reading.c.meter, meter_reading.c.mtu_start)
    .limit(bindparam("most"))
)
_INSERT = str(insert(meter_reading).compile(dialect=sqlite.dialect()))  # once, and its rows as plain tuples


class Readings:
    """Readings of one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def facts_of(self, meters: Collection[int]) -> Mapping[int, MeterFacts]:
        """Facts of those meters that are registered."""
        if not meters:
            return {}
        rows = self._connection.execute(_FACTS, {"meters": list_parameter(meters)}).all()
        return {row[0]: meter_facts(*row) for row in rows}

    def find(self, meter: int, mtu_start: int) -> StoredReading | None:
        """The accepted reading of a meter and MTU."""
        return self.find_each([(meter, mtu_start)]).get((meter, mtu_start))

    def find_each(self, keys: Collection[tuple[int, int]]) -> Mapping[tuple[int, int], StoredReading]:
        """The accepted readings of those meters and MTUs that have one."""
        if not keys:
            return {}
        rows = self._connection.execute(_BY_KEYS, {"keys": list_parameter(keys)}).all()
        return {(row.meter, row.mtu_start): _stored(row) for row in rows}

    def counters_around(
        self, spans: Collection[tuple[int, int, int]]
    ) -> Mapping[tuple[int, int, int], tuple[Counted | None, Counted | None]]:
        """For each meter, first and last MTU: the nearest counters of readings before the one and after the other."""
        if not spans:
            return {}
        rows = self._connection.execute(_COUNTERS_AROUND, {"spans": list_parameter(spans)}).all()
        return {(row[0], row[1], row[2]): (_counted(row[3], row[4]), _counted(row[5], row[6])) for row in rows}

    def add_all(self, readings: Sequence[StoredReading]) -> None:
        """Keep newly accepted readings, each the first of its meter and MTU."""
        if readings:
            self._connection.exec_driver_sql(_INSERT, [_row(stored) for stored in readings])

    def registers_at(self, meter: int, taken_at: int) -> StoredRegisters | None:
        """The accepted register reading of a meter and moment."""
        return self._registers(register_reading.c.meter == meter, register_reading.c.taken_at == taken_at)

    def registers_around(self, meter: int, taken_at: int) -> tuple[StoredRegisters | None, StoredRegisters | None]:
        """The nearest accepted register readings of a meter before and after a moment."""
        of_meter, moment = register_reading.c.meter == meter, register_reading.c.taken_at
        return (
            self._registers(of_meter, moment < taken_at, order=moment.desc()),
            self._registers(of_meter, moment > taken_at, order=moment),
        )

    def add_registers(self, stored: StoredRegisters) -> None:
        """Keep a newly accepted register reading, the first of its meter and moment."""
        registers = stored.registers
        self._connection.execute(
            insert(register_reading).values(
                meter=registers.meter,
                taken_at=registers.taken_at,
                meter_id=registers.meter_id,
                import_register_wh=registers.import_register_wh,
                export_register_wh=registers.export_register_wh,
                counter=registers.counter,
                text=stored.text,
                received_at=stored.received_at,
            )
        )

    def add_dispute(self, meter: int, moment: int, text: str, received_at: int) -> None:
        """Keep a genuine text that contradicts an accepted one, once; of one meter and moment only the first few."""
        of_moment = (reading_dispute.c.meter == meter, reading_dispute.c.moment == moment)
        known = set(self._connection.execute(select(reading_dispute.c.text).where(*of_moment)).scalars())
        if text in known or len(known) >= _MOST_DISPUTES:
            return
        values = {"meter": meter, "moment": moment, "number": len(known), "text": text, "received_at": received_at}
        self._connection.execute(insert(reading_dispute).values(**values))

    def disputes(self, meter: int, moment: int) -> tuple[str, ...]:
        """Texts that contradict the accepted one of a meter and moment, in the order they came."""
        query = (
            select(reading_dispute.c.text)
            .where(reading_dispute.c.meter == meter, reading_dispute.c.moment == moment)
            .order_by(reading_dispute.c.number)
        )
        return tuple(self._connection.execute(query).scalars())

    def _registers(
        self, *where: ColumnElement[bool], order: ColumnElement[int] | None = None
    ) -> StoredRegisters | None:
        query = select(register_reading).where(*where).order_by(order).limit(1)
        row = self._connection.execute(query).first()
        if row is None:
            return None
        registers = RegisterReading(
            meter=row.meter,
            meter_id=row.meter_id,
            taken_at=row.taken_at,
            import_register_wh=row.import_register_wh,
            export_register_wh=row.export_register_wh,
            counter=row.counter,
        )
        return StoredRegisters(registers=registers, text=row.text, received_at=row.received_at)

    def at(self, zone: int, mtu_start: int) -> tuple[StoredReading, ...]:
        """All accepted readings of a zone and MTU, ascending by meter."""
        query = (
            select(meter_reading)
            .where(meter_reading.c.zone == zone, meter_reading.c.mtu_start == mtu_start)
            .order_by(meter_reading.c.meter)
        )
        return tuple(_stored(row) for row in self._connection.execute(query))

    def erased_leaves(self, sequence: int) -> dict[tuple[int, int], bytes]:
        """Leaves of the readings of an anchor that have been erased, by meter and MTU."""
        gone = erased_reading.c
        query = select(gone.meter, gone.mtu_start, gone.leaf).where(gone.anchor_sequence == sequence)
        return {(row.meter, row.mtu_start): row.leaf for row in self._connection.execute(query)}

    def unanchored(self, zone: int, mtu_start: int) -> tuple[StoredReading, ...]:
        """Those in no anchor yet, ascending by meter."""
        return tuple(stored for stored in self.at(zone, mtu_start) if stored.anchor_sequence is None)

    def unanchored_mtus(self) -> tuple[tuple[int, int], ...]:
        """Zones and MTUs with readings in no anchor yet, oldest first."""
        query = (
            select(meter_reading.c.zone, meter_reading.c.mtu_start)
            .where(meter_reading.c.anchor_sequence.is_(None))
            .distinct()
            .order_by(meter_reading.c.mtu_start, meter_reading.c.zone)
        )
        return tuple((row.zone, row.mtu_start) for row in self._connection.execute(query))

    def missing_count(self, zone: int, mtu_start: int) -> int:
        """How many of the zone's registered meters have no reading for the MTU."""
        meters = select(func.count()).select_from(meter_table).where(meter_table.c.zone == zone)
        readings = (
            select(func.count())
            .select_from(meter_reading)
            .where(meter_reading.c.zone == zone, meter_reading.c.mtu_start == mtu_start)
        )
        return self._connection.execute(meters).scalar_one() - self._connection.execute(readings).scalar_one()

    def unanchored_of(self, slots: Collection[tuple[int, int]], limit: int) -> tuple[StoredReading, ...]:
        """The first of those in no anchor yet of these zones and MTUs, ascending by meter, then MTU."""
        rows = self._connection.execute(_UNANCHORED, {"slots": list_parameter(slots), "most": limit})
        return tuple(_stored(row) for row in rows)

    def next_anchor_sequence(self) -> int:
        """Number of the next anchor, from 0 without gaps."""
        return self._connection.execute(select(func.count()).select_from(reading_anchor)).scalar_one()

    def mark_anchored(self, sequence: int, keys: Sequence[tuple[int, int]]) -> None:
        """Remember that the readings of these meters and MTUs went into the anchor with this number."""
        self._connection.execute(
            _MARK_ANCHORED,
            [{"of_meter": meter, "at_mtu_start": mtu_start, "sequence": sequence} for meter, mtu_start in keys],
        )
        values = {"sequence": sequence, "reading_count": len(keys), "anchored": False}
        self._connection.execute(insert(reading_anchor).values(**values))

    def in_anchor(self, sequence: int) -> tuple[StoredReading, ...]:
        """The readings of an anchor, ascending by meter, then MTU."""
        query = (
            select(meter_reading)
            .where(meter_reading.c.anchor_sequence == sequence)
            .order_by(meter_reading.c.meter, meter_reading.c.mtu_start)
        )
        return tuple(_stored(row) for row in self._connection.execute(query))

    def anchored_slots(self, sequence: int) -> tuple[tuple[int, int], ...]:
        """Zones and MTUs that have readings in an anchor."""
        query = select(meter_reading.c.zone, meter_reading.c.mtu_start).where(
            meter_reading.c.anchor_sequence == sequence
        )
        return tuple((row.zone, row.mtu_start) for row in self._connection.execute(query.distinct()))

    def confirm_anchor(self, sequence: int) -> None:
        """The chain has recorded the anchor."""
        self._connection.execute(
            update(reading_anchor).where(reading_anchor.c.sequence == sequence).values(anchored=True)
        )

    def anchor_is_recorded(self, sequence: int) -> bool:
        """Whether the chain has recorded the anchor with this number."""
        query = select(reading_anchor.c.anchored).where(reading_anchor.c.sequence == sequence)
        return bool(self._connection.execute(query).scalar())

    def add_proven(self, meter: int, mtu_start: int, zone: int, net_wh: int) -> None:
        """Keep what a device has provably measured, export minus import in Wh, as the chain says."""
        values = {"meter": meter, "mtu_start": mtu_start, "zone": zone, "net_wh": net_wh}
        self._connection.execute(insert(proven_reading).values(**values))

    def anchored_net_wh(self, zone: int, mtu_start: int) -> dict[int, int]:
        """Meter to export minus import of all readings whose anchor the chain has recorded, Wh; proven ones first."""
        anchored = (
            select(meter_reading.c.meter, meter_reading.c.export_wh - meter_reading.c.import_wh)
            .join(reading_anchor, reading_anchor.c.sequence == meter_reading.c.anchor_sequence)
            .where(
                meter_reading.c.zone == zone,
                meter_reading.c.mtu_start == mtu_start,
                reading_anchor.c.anchored.is_(True),
            )
        )
        proven = select(proven_reading.c.meter, proven_reading.c.net_wh).where(
            proven_reading.c.zone == zone, proven_reading.c.mtu_start == mtu_start
        )
        rows = (*self._connection.execute(anchored), *self._connection.execute(proven))
        return {row[0]: row[1] for row in rows}

    def balance_of(self, zone: int, net_wh: Mapping[int, int]) -> ZoneBalance | None:
        """How net energies of a zone and MTU agree with its transformer's; None without one, or with a meter unread."""
        row = self._connection.execute(select(zone_table).where(zone_table.c.zone == zone)).one()
        if row.transformer_meter is None:
            return None
        meters = self._connection.execute(select(meter_table.c.meter).where(meter_table.c.zone == zone)).scalars()
        transformer = Transformer(zone=zone, meter=row.transformer_meter, loss_tolerance_bp=row.loss_tolerance_bp)
        return zone_balance(transformer, tuple(meters), net_wh)

    def count(self) -> int:
        """How many readings were accepted."""
        return self._connection.execute(select(func.count()).select_from(meter_reading)).scalar_one()

    def all_rows(self) -> Sequence[StoredReading]:
        """Every accepted reading by MTU and meter."""
        query = select(meter_reading).order_by(meter_reading.c.mtu_start, meter_reading.c.meter)
        return [_stored(row) for row in self._connection.execute(query)]


def _counted(mtu_start: int | None, counter: int | None) -> Counted | None:
    return None if mtu_start is None or counter is None else Counted(mtu_start, counter)


@lru_cache(maxsize=2**14)
def meter_facts(meter: int, zone: int, import_capacity_w: int, export_capacity_w: int, x: str, y: str) -> MeterFacts:
    """A registered meter as its row of FACTS_COLUMNS tells; the same meters send all day."""
    return MeterFacts(
        meter=meter,
        zone=zone,
        import_capacity_w=import_capacity_w,
        export_capacity_w=export_capacity_w,
        device_key=DeviceKey(x=bytes.fromhex(x[2:]), y=bytes.fromhex(y[2:])),
    )


def _row(stored: StoredReading) -> tuple[Any, ...]:
    """In the order of the table's columns."""
    reading = stored.reading
    return (
        reading.meter,
        reading.mtu_start,
        stored.zone,
        reading.meter_id,
        reading.interval_s,
        reading.import_wh,
        reading.export_wh,
        reading.counter,
        stored.text,
        stored.salt,
        stored.received_at,
        stored.anchor_sequence,
    )


def _stored(row: Row[Any]) -> StoredReading:
    return StoredReading(
        reading=Reading(
            meter=row.meter,
            meter_id=row.meter_id,
            mtu_start=row.mtu_start,
            interval_s=row.interval_s,
            import_wh=row.import_wh,
            export_wh=row.export_wh,
            counter=row.counter,
        ),
        zone=row.zone,
        text=row.text,
        salt=row.salt,
        received_at=row.received_at,
        anchor_sequence=row.anchor_sequence,
    )
