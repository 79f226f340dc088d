"""The task that measures demand response: once a meter's readings are on chain, and again when they are corrected.

A measurement rests on what the chain has anchored or proven by then, and says so, so anybody with the export makes it
again. What comes later makes a measurement with the next number, as long as the event is open; nothing is edited.
"""

from collections.abc import Sequence

from gridledger.clock import Clock
from gridledger.dispatch.baseline import measure
from gridledger.dispatch.demand_ports import Calendars, MeasurementStore
from gridledger.dispatch.demand_response import (
    CLOSED_AFTER_S,
    MEASURED_AFTER_S,
    MeterMeasurement,
    StoredDemand,
    measuring_plan,
)

__all__ = ["MeasurementService"]

_METERS_AT_ONCE = 50


class MeasurementService:
    """Measures events that have ended, a few meters at a time."""

    def __init__(self, *, store: MeasurementStore, clock: Clock, mtu_length_s: int, calendars: Calendars) -> None:
        self._store = store
        self._clock = clock
        self._mtu_length_s = mtu_length_s
        self._calendars = calendars

    def measure_due(self) -> bool:
        """Measure the next meters that are due; whether there were any. What is due follows from the database alone."""
        now = self._clock.now()
        ended = self._store.ended_between(self._store.closed_until(), now)
        if any(self._measure_some(stored, now) for stored in ended):
            return True
        ends = [stored.event.window(self._mtu_length_s).end for stored in ended]
        closed = [end for end in ends if end + CLOSED_AFTER_S < now]
        if closed:
            self._store.close_until(max(closed))
        return False

    def _measure_some(self, stored: StoredDemand, now: int) -> bool:
        window = stored.event.window(self._mtu_length_s)
        all_read = now < window.end + MEASURED_AFTER_S
        anchors = self._store.anchor_count()
        due = self._store.unmeasured(stored.event_id, window, _METERS_AT_ONCE, all_read=all_read)
        start, end = _span(stored, self._mtu_length_s)
        if not due:
            due = self._store.newly_read(stored.event_id, anchors, start, end, _METERS_AT_ONCE)
        if due:
            self._measure(stored, due, now)
            self._store.note_measured(stored.event_id, due, anchors, start, end)
        return len(due) > 0

    def _measure(self, stored: StoredDemand, meters: Sequence[int], now: int) -> None:
        store, length_s = self._store, self._mtu_length_s
        plan = measuring_plan(stored.event, stored.terms, self._calendars(stored.terms), length_s)
        evidence = store.evidence_of(meters, plan.needed_starts)
        connections = store.connections_of(meters, length_s)
        others = store.other_windows(stored, meters, _span(stored, length_s)[0], length_s)
        newest = {made.meter: made for made in store.newest(stored.event_id, meters)}
        for meter in meters:
            known, before = evidence[meter], newest.get(meter)
            measured = measure(plan, known.net_import_wh, others.get(meter, ()), connections[meter])
            if before is None or measured != before.measurement:
                store.add_measurement(
                    stored,
                    MeterMeasurement(
                        meter=meter,
                        number=1 if before is None else before.number + 1,
                        anchors=known.anchors,
                        proofs=known.proofs,
                        measured_at=now,
                        measurement=measured,
                    ),
                )


def _span(stored: StoredDemand, mtu_length_s: int) -> tuple[int, int]:
    """From before the earliest MTU that can matter to the event's end; civil days may be 25 hours long."""
    window = stored.event.window(mtu_length_s)
    return window.first_mtu_start - (stored.terms.rule.look_back_days + 2) * 86_400, window.end
