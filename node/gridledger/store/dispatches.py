"""Schedules and dispatch events in the database; implements `dispatch.ports.ScheduleStore`."""

from typing import Any

from sqlalchemy import Connection, Row, Select, func, insert, select, update

from gridledger.dispatch.model import ANSWERING, Schedule, ScheduleState
from gridledger.store.schema import dispatch_event, dispatch_schedule, zone

__all__ = ["Dispatches"]


class Dispatches:
    """Schedules of one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def find(self, zone_number: int, mtu_start: int) -> Schedule | None:
        """The schedule of a zone and MTU."""
        row = self._row(zone_number, mtu_start)
        return None if row is None else _schedule(row)

    def answer_is_pending(self, zone_number: int, mtu_start: int) -> bool:
        """Whether an answer is already on its way to the chain."""
        row = self._row(zone_number, mtu_start)
        return row is not None and row.state == ANSWERING

    def mark_answered(self, zone_number: int, mtu_start: int) -> None:
        """Remember that an answer is on its way to the chain."""
        self._update(zone_number, mtu_start, state=ANSWERING)

    def mark_unanswered(self, zone_number: int, mtu_start: int) -> None:
        """The answer on its way was refused; another may come."""
        if self.answer_is_pending(zone_number, mtu_start):
            self._update(zone_number, mtu_start, state=ScheduleState.PENDING)

    def grid_operator_of(self, zone_number: int) -> str:
        """The account that answers for the zone."""
        query = select(zone.c.grid_operator).where(zone.c.zone == zone_number)
        return str(self._connection.execute(query).scalar_one())

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
            )
        )
        self._announce(schedule.zone, schedule.mtu_start, "scheduled", payload, created_at)

    def keep_answer(
        self, zone_number: int, mtu_start: int, state: ScheduleState, reason: int, payload: dict[str, Any], at: int
    ) -> None:
        """Keep an answer the chain has recorded and announce it."""
        self._update(zone_number, mtu_start, state=state, reason=reason)
        self._announce(zone_number, mtu_start, str(state), payload, at)

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
    )
