"""Measured demand response in the database; implements `dispatch.demand_ports.MeasurementStore`."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection as DatabaseConnection
from sqlalchemy import Select, bindparam, func, insert, select, text, update

from gridledger.carbon.peak_shift import PeakShift
from gridledger.dispatch.baseline import Connection, EventWindow, MeasuredMtu, Measurement
from gridledger.dispatch.demand_ports import MeterEvidence
from gridledger.dispatch.demand_response import MeterMeasurement, StoredDemand
from gridledger.market.notices import NoticeDetails, NoticeKind
from gridledger.metering.validation import capacity_wh_rounded_up
from gridledger.store.demand_response import participants_of, stored_demand
from gridledger.store.directory import Directory
from gridledger.store.lists import in_list, list_parameter
from gridledger.store.notices import Notices
from gridledger.store.schema import (
    demand_event,
    demand_measurement,
    demand_shift,
    demand_state,
    meter_reading,
    proven_reading,
    reading_anchor,
)
from gridledger.store.schema import meter as meter_table

__all__ = ["DemandMeasurements"]

_CLOSED_FACT = "demand_closed_until"
_readings, _shifts, _states = meter_reading.c, demand_shift.c, demand_state.c
_ANCHORED = (
    select(_readings.meter, _readings.mtu_start, _readings.import_wh - _readings.export_wh, _readings.anchor_sequence)
    .join(reading_anchor, reading_anchor.c.sequence == _readings.anchor_sequence)
    .where(
        _readings.meter.in_(in_list("meters")),
        _readings.mtu_start.in_(in_list("mtu_starts")),
        reading_anchor.c.anchored.is_(True),
    )
)
_PROVEN = select(proven_reading.c.meter, proven_reading.c.mtu_start, -proven_reading.c.net_wh).where(
    proven_reading.c.meter.in_(in_list("meters")), proven_reading.c.mtu_start.in_(in_list("mtu_starts"))
)
# SQLite takes the tables of a CROSS JOIN in their order: the few new anchors name the readings, each is looked up once.
_NEWLY_ANCHORED = text("""
SELECT DISTINCT reading.meter FROM meter_reading reading
CROSS JOIN demand_state state ON state.event_id = :event_id AND state.meter = reading.meter
WHERE reading.anchor_sequence >= :seen AND reading.anchor_sequence < :anchors AND state.anchors_seen < :anchors
    AND reading.mtu_start >= :start AND reading.mtu_start < :end
ORDER BY reading.meter LIMIT :most
""")
_PROOFS = (
    select(func.count())
    .where(
        proven_reading.c.meter == _states.meter,
        proven_reading.c.mtu_start >= bindparam("from_start"),
        proven_reading.c.mtu_start < bindparam("to_start"),
    )
    .correlate(demand_state)
    .scalar_subquery()
)


class DemandMeasurements:
    """Measurements of one transaction; who is told goes to `notices`."""

    def __init__(self, connection: DatabaseConnection, notices: Notices, directory: Directory) -> None:
        self._connection = connection
        self._notices = notices
        self._directory = directory

    def anchor_count(self) -> int:
        """How many anchors of readings the chain has."""
        query = select(func.count()).where(reading_anchor.c.anchored.is_(True))
        return self._connection.execute(query).scalar_one()

    def closed_until(self) -> int:
        """Events that ended by this moment, Unix seconds, are closed: nothing more is measured of them."""
        return int(self._directory.fact(_CLOSED_FACT) or 0)

    def close_until(self, moment: int) -> None:
        """Close the events that ended by a moment."""
        self._directory.set_fact(_CLOSED_FACT, moment)

    def ended_between(self, after: int, until: int) -> Sequence[StoredDemand]:
        """Events that ended after one moment and by another, Unix seconds, the oldest first."""
        query = (
            select(demand_event)
            .where(demand_event.c.ends_at > after, demand_event.c.ends_at <= until)
            .order_by(demand_event.c.ends_at, demand_event.c.number)
        )
        return [stored_demand(row) for row in self._connection.execute(query)]

    def unmeasured(self, event_id: str, window: EventWindow, limit: int, *, all_read: bool) -> Sequence[int]:
        """Participants without a measurement, ascending; with `all_read` those whose readings are all on chain."""
        measured = select(_states.meter).where(_states.event_id == event_id)
        takes_part = participants_of(event_id).subquery()
        query = select(takes_part.c.meter).where(takes_part.c.meter.not_in(measured))
        if all_read:
            on_chain = (
                select(func.count())
                .select_from(meter_reading)
                .join(reading_anchor, reading_anchor.c.sequence == _readings.anchor_sequence)
                .where(
                    _readings.meter == takes_part.c.meter,
                    _readings.mtu_start >= window.first_mtu_start,
                    _readings.mtu_start < window.end,
                    reading_anchor.c.anchored.is_(True),
                )
                .correlate(takes_part)
                .scalar_subquery()
            )
            query = query.where(on_chain == window.mtu_count)
        return self._connection.execute(query.order_by(takes_part.c.meter).limit(limit)).scalars().all()

    def newly_read(self, event_id: str, anchors: int, start: int, end: int, limit: int) -> Sequence[int]:
        """Measured participants, ascending, of which the chain has since got a reading or proof of these MTUs.

        Where there is none, all of them are measured up to so many anchors.
        """
        of_event = _states.event_id == event_id
        seen = self._connection.execute(select(func.min(_states.anchors_seen)).where(of_event)).scalar()
        if seen is None:
            return []
        proven = select(_states.meter).where(of_event, _states.proofs_seen != _PROOFS).limit(limit)
        values: dict[str, object] = {"event_id": event_id, "seen": seen, "anchors": anchors, "most": limit}
        meters = set(self._connection.execute(proven, {"from_start": start, "to_start": end}).scalars())
        if seen < anchors:
            meters.update(self._connection.execute(_NEWLY_ANCHORED, values | {"start": start, "end": end}).scalars())
            if not meters:
                self._connection.execute(update(demand_state).where(of_event).values(anchors_seen=anchors))
        return sorted(meters)[:limit]

    def evidence_of(self, meters: Collection[int], starts: Collection[int]) -> Mapping[int, MeterEvidence]:
        """What the chain has of these MTUs of the meters, for each of them."""
        values = {"meters": list_parameter(meters), "mtu_starts": list_parameter(starts)}
        known: defaultdict[int, dict[int, int]] = defaultdict(dict)
        anchors, proofs = Counter[int](), Counter[int]()
        for meter, mtu_start, net_wh, sequence in self._connection.execute(_ANCHORED, values):
            known[meter][mtu_start] = net_wh
            anchors[meter] = max(anchors[meter], sequence + 1)
        for meter, mtu_start, net_wh in self._connection.execute(_PROVEN, values):
            known[meter][mtu_start] = net_wh
            proofs[meter] += 1
        return {
            meter: MeterEvidence(net_import_wh=known[meter], anchors=anchors[meter], proofs=proofs[meter])
            for meter in meters
        }

    def connections_of(self, meters: Collection[int], mtu_length_s: int) -> Mapping[int, Connection]:
        """What the meters' connections carry in an MTU."""
        query = select(meter_table).where(meter_table.c.meter.in_(in_list("meters")))
        return {
            row.meter: Connection(
                import_wh=capacity_wh_rounded_up(row.import_capacity_w, mtu_length_s),
                export_wh=capacity_wh_rounded_up(row.export_capacity_w, mtu_length_s),
            )
            for row in self._connection.execute(query, {"meters": list_parameter(meters)})
        }

    def other_windows(
        self, stored: StoredDemand, meters: Collection[int], since: int, mtu_length_s: int
    ) -> Mapping[int, Sequence[EventWindow]]:
        """By meter the earlier events it took part in that ended after a moment, Unix seconds."""
        events, wanted = demand_event.c, set(meters)
        query = select(demand_event).where(
            events.zone == stored.event.zone,
            events.first_mtu_start < stored.event.first_mtu_start,
            events.ends_at > since,
        )
        windows: defaultdict[int, list[EventWindow]] = defaultdict(list)
        for row in self._connection.execute(query.order_by(events.first_mtu_start)).all():
            window = stored_demand(row).event.window(mtu_length_s)
            for note in self._connection.execute(participants_of(row.event_id)):
                if note.meter in wanted:
                    windows[note.meter].append(window)
        return windows

    def newest(self, event_id: str, meters: Collection[int]) -> tuple[MeterMeasurement, ...]:
        """The newest measurement of each of these meters that has one, ascending by meter."""
        return self._measurements(event_id, demand_measurement.c.meter.in_(in_list("meters")), meters)

    def newest_of_all(self, event_id: str, after: int, limit: int) -> tuple[MeterMeasurement, ...]:
        """The newest measurements of an event's meters after a number, ascending by meter."""
        measured = select(_states.meter).where(_states.event_id == event_id, _states.meter > after)
        numbers = self._connection.execute(measured.order_by(_states.meter).limit(limit)).scalars().all()
        return self.newest(event_id, numbers)

    def add_measurement(self, stored: StoredDemand, made: MeterMeasurement) -> None:
        """Keep a measurement and tell the meter's owner."""
        key, measurement = {"event_id": stored.event_id, "meter": made.meter, "number": made.number}, made.measurement
        self._connection.execute(
            insert(demand_measurement).values(
                **key,
                days=list(measurement.days),
                adjustment_bp=measurement.adjustment_bp,
                anchors=made.anchors,
                proofs=made.proofs,
                measured_at=made.measured_at,
            )
        )
        rows = [
            {
                **key,
                "mtu_start": one.mtu_start,
                "baseline_import_wh": one.baseline_import_wh,
                "net_import_wh": one.net_import_wh,
                "energy_wh": one.energy_wh,
            }
            for one in measurement.mtus
        ]
        self._connection.execute(insert(demand_shift), rows)
        self._tell(stored, made)

    def note_measured(self, event_id: str, meters: Collection[int], anchors: int, start: int, end: int) -> None:
        """Remember that these meters are measured on all proofs and on so many anchors, as to these MTUs."""
        known = set(self._connection.execute(select(_states.meter).where(_states.event_id == event_id)).scalars())
        new = [
            {"event_id": event_id, "meter": number, "anchors_seen": 0, "proofs_seen": 0}
            for number in meters
            if number not in known
        ]
        if new:
            self._connection.execute(insert(demand_state), new)
        self._connection.execute(
            update(demand_state)
            .where(_states.event_id == event_id, _states.meter.in_(in_list("meters")))
            .values(anchors_seen=anchors, proofs_seen=_PROOFS),
            {"meters": list_parameter(meters), "from_start": start, "to_start": end},
        )

    def measured_count(self, event_id: str) -> int:
        """How many meters of an event have been measured."""
        return self._connection.execute(select(func.count()).where(_states.event_id == event_id)).scalar_one()

    def sums(self, event_id: str) -> tuple[tuple[int, int, int], ...]:
        """Per MTU: its start, the shift of all newest measurements in Wh, and how many of them have a reading."""
        query = (
            select(_shifts.mtu_start, func.sum(_shifts.energy_wh), func.count(_shifts.net_import_wh))
            .where(_shifts.event_id == event_id, _is_newest())
            .group_by(_shifts.mtu_start)
            .order_by(_shifts.mtu_start)
        )
        return tuple((row[0], row[1], row[2]) for row in self._connection.execute(query))

    def peak_shifts(self, event_id: str) -> tuple[PeakShift, ...]:
        """What the meters shifted in an event, by the newest measurement of each, in (meter, MTU) order."""
        query = (
            select(_shifts.meter, _shifts.mtu_start, _shifts.energy_wh, _shifts.event_id, _shifts.number)
            .where(_shifts.event_id == event_id, _shifts.energy_wh > 0, _is_newest())
            .order_by(_shifts.meter, _shifts.mtu_start)
        )
        return tuple(PeakShift(**row) for row in self._connection.execute(query).mappings())

    def _measurements(self, event_id: str, where: Any, meters: Collection[int]) -> tuple[MeterMeasurement, ...]:
        made = demand_measurement.c
        later = demand_measurement.alias()
        newest = select(func.max(later.c.number)).where(later.c.event_id == made.event_id, later.c.meter == made.meter)
        query = select(demand_measurement).where(
            made.event_id == event_id, where, made.number == newest.correlate(demand_measurement).scalar_subquery()
        )
        values = {"meters": list_parameter(meters)}
        mtus: defaultdict[int, list[MeasuredMtu]] = defaultdict(list)
        for row in self._connection.execute(_newest_shifts(event_id), values):
            mtus[row.meter].append(
                MeasuredMtu(
                    mtu_start=row.mtu_start,
                    baseline_import_wh=row.baseline_import_wh,
                    net_import_wh=row.net_import_wh,
                    energy_wh=row.energy_wh,
                )
            )
        rows = self._connection.execute(query.order_by(made.meter), values).all()
        return tuple(
            MeterMeasurement(
                meter=row.meter,
                number=row.number,
                anchors=row.anchors,
                proofs=row.proofs,
                measured_at=row.measured_at,
                measurement=Measurement(
                    days=tuple(row.days), adjustment_bp=row.adjustment_bp, mtus=tuple(mtus[row.meter])
                ),
            )
            for row in rows
        )

    def _tell(self, stored: StoredDemand, made: MeterMeasurement) -> None:
        query = select(meter_table.c.owner).where(meter_table.c.meter == made.meter)
        self._notices.add(
            NoticeKind.MEASURED,
            owner=self._connection.execute(query).scalar_one(),
            order_uid=None,
            zone=stored.event.zone,
            mtu_start=stored.event.first_mtu_start,
            meter=made.meter,
            created_at=made.measured_at,
            details=NoticeDetails(
                event_id=stored.event_id,
                direction=stored.event.direction.name.lower(),
                energy_wh=made.measurement.energy_wh,
                mtu_count=stored.event.mtu_count,
                sequence=made.number,
            ),
        )


def _is_newest() -> Any:
    later = demand_measurement.alias()
    newest = select(func.max(later.c.number)).where(
        later.c.event_id == _shifts.event_id, later.c.meter == _shifts.meter
    )
    return _shifts.number == newest.correlate(demand_shift).scalar_subquery()


def _newest_shifts(event_id: str) -> Select[Any]:
    return (
        select(demand_shift)
        .where(_shifts.event_id == event_id, _shifts.meter.in_(in_list("meters")), _is_newest())
        .order_by(_shifts.meter, _shifts.mtu_start)
    )
