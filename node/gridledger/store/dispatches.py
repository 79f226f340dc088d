"""Schedules and dispatch events in the database; implements `dispatch.ports.ScheduleStore`."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, Delete, Row, Select, Table, delete, func, insert, select, update

from gridledger.dispatch.limits import ZoneState
from gridledger.dispatch.model import ANSWERING, MOST_STOPPED_MTUS, Schedule, ScheduleState
from gridledger.dispatch.ports import CommittedSetpoint, ErasedSetpoint, MeterPlace
from gridledger.dispatch.setpoints import Direction, SetpointRow
from gridledger.store.directory import Directory
from gridledger.store.forecasts import Forecasts
from gridledger.store.lists import in_list, list_parameter
from gridledger.store.outbox import Outbox
from gridledger.store.schema import (
    dispatch_cap,
    dispatch_event,
    dispatch_schedule,
    dispatch_setpoint,
    meter,
    meter_reading,
    source_factor,
    zone,
    zone_stop,
)

__all__ = ["Dispatches"]

_EMERGENCIES = ("RelayCurtailment", "RelayStop")
_LONGEST_MTU_S = 3_600
Statement = TypeVar("Statement", Select[Any], Delete)


class Dispatches:
    """Schedules of one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._outbox = Outbox(connection)

    def find(self, zone_number: int, mtu_start: int) -> Schedule | None:
        """The schedule of a zone and MTU."""
        row = self._row(zone_number, mtu_start)
        return None if row is None else _schedule(row)

    def answer_is_pending(self, zone_number: int, mtu_start: int) -> bool:
        """Whether an answer of any kind is already on its way to the chain."""
        row = self._row(zone_number, mtu_start)
        if row is None:
            return False
        relayed = any(self._outbox.has_open(kind, zone_number, mtu_start) for kind in _EMERGENCIES)
        return row.state == ANSWERING or relayed

    def mark_answered(self, zone_number: int, mtu_start: int) -> None:
        """Remember that an answer is on its way to the chain."""
        self._update(zone_number, mtu_start, state=ANSWERING)

    def mark_unanswered(self, zone_number: int, mtu_start: int) -> None:
        """The answer on its way was refused; another may come."""
        row = self._row(zone_number, mtu_start)
        if row is not None and row.state == ANSWERING:
            self._update(zone_number, mtu_start, state=ScheduleState.PENDING)

    def grid_operator_of(self, zone_number: int) -> str | None:
        """The account that answers for the zone; None for an unknown one."""
        return self._connection.execute(select(zone.c.grid_operator).where(zone.c.zone == zone_number)).scalar()

    def proceeds_unanswered(self, mtu_start: int) -> bool:
        """Whether a schedule of the MTU proceeds if nobody answers it, or is void."""
        return Directory(self._connection).policy_at(mtu_start).proceed_without_answer

    def is_stopped(self, zone_number: int, mtu_start: int) -> bool:
        """Whether the zone is stopped for the MTU."""
        query = select(zone_stop.c.reason).where(
            zone_stop.c.zone == zone_number,
            zone_stop.c.first_mtu_start <= mtu_start,
            zone_stop.c.last_mtu_start >= mtu_start,
        )
        return self._connection.execute(query.limit(1)).first() is not None

    def places(self, meters: Collection[int]) -> Mapping[int, MeterPlace]:
        """Where meters are; unknown ones are left out."""
        query = (
            select(meter.c.meter, meter.c.zone, meter.c.source, source_factor.c.factor_mgco2_per_kwh)
            .outerjoin(source_factor, source_factor.c.source == meter.c.source)
            .where(meter.c.meter.in_(in_list("numbers")))
        )
        return {
            row.meter: MeterPlace(zone=row.zone, source=row.source, factor_mgco2_per_kwh=row.factor_mgco2_per_kwh)
            for row in self._connection.execute(query, {"numbers": list_parameter(meters)})
        }

    def persisted_wh(self, zone_number: int, mtu_start: int) -> Mapping[int, int]:
        """Meter to what it did one day before, net Wh, export positive."""
        return Forecasts(self._connection).persisted_wh(zone_number, mtu_start)

    def keep_setpoints(self, zone_number: int, mtu_start: int, setpoints: Sequence[CommittedSetpoint]) -> None:
        """Keep the setpoints of a zone and MTU in place of any before."""
        key = {"zone": zone_number, "mtu_start": mtu_start}
        self._connection.execute(_of(delete(dispatch_setpoint), dispatch_setpoint, **key))
        rows = [{**key, **vars(one.row), "salt": "0x" + one.salt.hex()} for one in setpoints]
        if rows:
            self._connection.execute(insert(dispatch_setpoint), rows)

    def setpoints(self, zone_number: int, mtu_start: int) -> tuple[CommittedSetpoint, ...]:
        """The setpoints the clearing committed to, ascending by meter, without those that were erased."""
        query = _of(select(dispatch_setpoint), dispatch_setpoint, zone=zone_number, mtu_start=mtu_start)
        query = query.where(dispatch_setpoint.c.leaf.is_(None))
        return tuple(
            CommittedSetpoint(
                row=SetpointRow(meter=row.meter, contracted_wh=row.contracted_wh, residual_wh=row.residual_wh),
                salt=bytes.fromhex(row.salt[2:]),
            )
            for row in self._connection.execute(query.order_by(dispatch_setpoint.c.meter))
        )

    def erased_setpoints(self, zone_number: int, mtu_start: int) -> tuple[ErasedSetpoint, ...]:
        """What is left of the others, ascending by meter."""
        query = _of(select(dispatch_setpoint), dispatch_setpoint, zone=zone_number, mtu_start=mtu_start)
        query = query.where(dispatch_setpoint.c.leaf.is_not(None))
        return tuple(
            ErasedSetpoint(meter=row.meter, contracted_wh=row.contracted_wh, leaf=bytes.fromhex(row.leaf[2:]))
            for row in self._connection.execute(query.order_by(dispatch_setpoint.c.meter))
        )

    def caps_wh(self, zone_number: int, mtu_start: int) -> dict[int, int]:
        """The caps that hold, Wh by meter."""
        query = _of(select(dispatch_cap), dispatch_cap, zone=zone_number, mtu_start=mtu_start)
        return {row.meter: row.cap_wh for row in self._connection.execute(query.order_by(dispatch_cap.c.meter))}

    def add(self, schedule: Schedule, payload: dict[str, Any], created_at: int) -> None:
        """Keep a schedule and announce it."""
        self._connection.execute(
            insert(dispatch_schedule).values(
                zone=schedule.zone,
                mtu_start=schedule.mtu_start,
                schedule_hash=schedule.schedule_hash,
                traded_wh=schedule.traded_wh,
                answer_deadline=schedule.answer_deadline,
                state=schedule.state,
                reason=schedule.reason,
                result_hash=schedule.result_hash,
                setpoints_root=schedule.setpoints_root,
            )
        )
        self._announce(schedule.zone, schedule.mtu_start, "scheduled", payload, created_at)

    def keep_answer(
        self, zone_number: int, mtu_start: int, state: ScheduleState, reason: int, payload: dict[str, Any], at: int
    ) -> None:
        """Keep an answer the chain has recorded and announce it."""
        self._update(zone_number, mtu_start, state=state, reason=reason)
        self._announce(zone_number, mtu_start, str(state), payload, at)

    def zone_state(self, zone_number: int, mtu_start: int, limit_wh: int | None, mtu_length_s: int) -> ZoneState:
        """All that limits of a zone's meters follow from."""
        query = select(meter.c.meter, meter.c.export_capacity_w).where(meter.c.zone == zone_number)
        transformer = select(zone.c.transformer_meter).where(zone.c.zone == zone_number).scalar_subquery()
        capacities = self._connection.execute(query.where(meter.c.meter.is_distinct_from(transformer)))
        return ZoneState(
            schedule=self.find(zone_number, mtu_start),
            stopped=self.is_stopped(zone_number, mtu_start),
            setpoints_wh={one.row.meter: one.row.setpoint_wh for one in self.setpoints(zone_number, mtu_start)},
            capacities_w={row.meter: row.export_capacity_w for row in capacities},
            caps_wh=self.caps_wh(zone_number, mtu_start),
            limit_wh=limit_wh,
            mtu_length_s=mtu_length_s,
        )

    def meter_numbers(self, zone_number: int) -> dict[str, int]:
        """Numbers of the zone's meters by the names their devices have given in their newest signed readings."""
        newest = (
            select(meter_reading.c.meter_id)
            .where(meter_reading.c.meter == meter.c.meter)
            .order_by(meter_reading.c.mtu_start.desc())
            .limit(1)
            .scalar_subquery()
        )
        query = select(newest.label("name"), meter.c.meter).where(meter.c.zone == zone_number)
        return {row.name: row.meter for row in self._connection.execute(query) if row.name is not None}

    def keep_caps(
        self,
        zone_number: int,
        mtu_start: int,
        direction: Direction,
        reason: int,
        caps_wh: Mapping[int, int],
        payload: dict[str, Any],
        at: int,
    ) -> None:
        """Keep a curtailment the chain has recorded, in place of any before, and announce it."""
        key = {"zone": zone_number, "mtu_start": mtu_start}
        self._connection.execute(_of(delete(dispatch_cap), dispatch_cap, **key))
        rows = [{**key, "meter": number, "cap_wh": cap_wh} for number, cap_wh in caps_wh.items()]
        self._connection.execute(insert(dispatch_cap), rows)
        self._update(
            zone_number,
            mtu_start,
            state=ScheduleState.CURTAILED,
            reason=reason,
            direction=direction.name.lower(),
            curtailments=dispatch_schedule.c.curtailments + 1,
        )
        self._announce(zone_number, mtu_start, "curtailed", payload, at)

    def keep_stop(
        self, zone_number: int, first: int, last: int, reason: int, payload: dict[str, Any], at: int
    ) -> tuple[int, ...]:
        """Keep that a zone is stopped from one MTU to another, scheduled yet or not, and announce it.

        Returns the MTUs whose schedules it stops.
        """
        self._connection.execute(
            insert(zone_stop).values(
                zone=zone_number, first_mtu_start=first, last_mtu_start=last, reason=reason, stopped_at=at
            )
        )
        query = select(dispatch_schedule.c.mtu_start).where(
            dispatch_schedule.c.zone == zone_number,
            dispatch_schedule.c.mtu_start.between(first, last),
            dispatch_schedule.c.state != ScheduleState.STOPPED,
        )
        stopped = tuple(self._connection.execute(query.order_by(dispatch_schedule.c.mtu_start)).scalars())
        for mtu_start in stopped:
            self._update(zone_number, mtu_start, state=ScheduleState.STOPPED, reason=reason)
        self._announce(zone_number, first, "stopped", payload, at)
        return stopped

    def count_applied(self, zone_number: int, mtu_start: int) -> None:
        """The caps were applied to one more chunk."""
        self._update(zone_number, mtu_start, applied_chunks=dispatch_schedule.c.applied_chunks + 1)

    def pending(self, now: int) -> tuple[Schedule, ...]:
        """Schedules without an answer whose deadline has not passed, oldest first."""
        query = (
            select(dispatch_schedule)
            .where(
                dispatch_schedule.c.state == ScheduleState.PENDING,
                dispatch_schedule.c.answer_deadline >= now,
            )
            .order_by(dispatch_schedule.c.mtu_start, dispatch_schedule.c.zone)
        )
        return tuple(_schedule(row) for row in self._connection.execute(query))

    def state_counts(self) -> dict[str, int]:
        """How many schedules are in each state."""
        query = select(dispatch_schedule.c.state, func.count()).group_by(dispatch_schedule.c.state)
        return {row[0]: row[1] for row in self._connection.execute(query)}

    def events_after(self, event_id: int, limit: int) -> list[dict[str, Any]]:
        """Announcements after an id, oldest first."""
        query = select(dispatch_event).where(dispatch_event.c.id > event_id).order_by(dispatch_event.c.id).limit(limit)
        return [row._asdict() for row in self._connection.execute(query)]

    def events_of_slot(self, zone_number: int, mtu_start: int) -> list[dict[str, Any]]:
        """Announcements about one zone and MTU, oldest first; stops that began earlier and last until then too."""
        events = dispatch_event.c
        lasting = events.payload["last_mtu_start"].as_integer() >= mtu_start
        of_slot = (events.mtu_start == mtu_start) | ((events.kind == "stopped") & lasting)
        query = select(dispatch_event).where(events.zone == zone_number, events.mtu_start <= mtu_start, of_slot)
        earliest = events.mtu_start > mtu_start - MOST_STOPPED_MTUS * _LONGEST_MTU_S
        return [row._asdict() for row in self._connection.execute(query.where(earliest).order_by(events.id))]

    def scheduled_between(self, zone_number: int, first: int, last: int) -> tuple[int, ...]:
        """MTUs of a zone from one to another that have a schedule, ascending."""
        schedules = dispatch_schedule.c
        query = select(schedules.mtu_start).where(
            schedules.zone == zone_number, schedules.mtu_start.between(first, last)
        )
        return tuple(self._connection.execute(query.order_by(schedules.mtu_start)).scalars())

    def events_of(self, grid_operator: str, after: int, limit: int) -> list[dict[str, Any]]:
        """Announcements of a grid operator's zones after an id, oldest first."""
        query = _events_of(dispatch_event, grid_operator).where(dispatch_event.c.id > after)
        rows = self._connection.execute(query.order_by(dispatch_event.c.id).limit(limit))
        return [row._asdict() for row in rows]

    def last_event_id(self, grid_operator: str) -> int:
        """Id of the newest announcement of a grid operator's zones, 0 without one."""
        return self._connection.execute(_events_of(func.max(dispatch_event.c.id), grid_operator)).scalar() or 0

    def _announce(self, zone_number: int, mtu_start: int, kind: str, payload: dict[str, Any], at: int) -> None:
        self._connection.execute(
            insert(dispatch_event).values(
                zone=zone_number, mtu_start=mtu_start, kind=kind, payload=payload, created_at=at
            )
        )

    def _row(self, zone_number: int, mtu_start: int) -> Row[Any] | None:
        query = select(dispatch_schedule).where(
            dispatch_schedule.c.zone == zone_number, dispatch_schedule.c.mtu_start == mtu_start
        )
        return self._connection.execute(query).first()

    def _update(self, zone_number: int, mtu_start: int, **values: Any) -> None:
        self._connection.execute(
            update(dispatch_schedule)
            .where(dispatch_schedule.c.zone == zone_number, dispatch_schedule.c.mtu_start == mtu_start)
            .values(**values)
        )


def _events_of(what: Any, grid_operator: str) -> Select[Any]:
    return select(what).join(zone, zone.c.zone == dispatch_event.c.zone).where(zone.c.grid_operator == grid_operator)


def _schedule(row: Row[Any]) -> Schedule:
    state = ScheduleState.PENDING if row.state == ANSWERING else ScheduleState(row.state)
    return Schedule(
        zone=row.zone,
        mtu_start=row.mtu_start,
        schedule_hash=row.schedule_hash,
        traded_wh=row.traded_wh,
        answer_deadline=row.answer_deadline,
        state=state,
        reason=row.reason,
        result_hash=row.result_hash,
        setpoints_root=row.setpoints_root,
        curtailments=row.curtailments,
        direction=None if row.direction is None else Direction[row.direction.upper()],
        applied_chunks=row.applied_chunks,
    )


def _of(statement: Statement, table: Table, **key: int) -> Statement:
    return statement.where(*(table.c[name] == value for name, value in key.items()))
