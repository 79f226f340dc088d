"""What a meter would have taken from the grid without a demand response event, and so what it shifted. Pure integers.

High X of Y, as utilities measure it: of the Y newest similar days (working days, or weekends and holidays) the X with
the highest net import over the event's MTUs are averaged, MTU by MTU; for an increase the X lowest. Days on which the
meter took part in another event, and days with a missing reading, do not count. The average may be scaled by what the
meter took in the hours before the event against the same hours of those days, within bounds. The numbers are a rule's;
the default ones are those of a large programme for homes: 5 of 10 working days, 3 of 5 others (PG&E, Power Saver
Rewards), and the bounds of 20 % that independent system operators set to a multiplying adjustment (NYISO, CAISO).

Every division rounds against the participant: down for a reduction, up for an increase.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from functools import cached_property
from typing import Protocol

from gridledger.clock import days_before
from gridledger.units import BASIS_POINTS, check_range

__all__ = [
    "BaselineRule",
    "CivilCalendar",
    "ComparedDay",
    "Connection",
    "EventWindow",
    "MeasuredMtu",
    "Measurement",
    "MeasuringPlan",
    "MeasuringTerms",
    "measure",
    "rounded_against_participant",
]

MOST_LOOK_BACK_DAYS = 60
LEAD_S, LEAD_LENGTH_S = 2 * 3_600, 2 * 3_600  # so early that the event can hardly be answered to yet


class CivilCalendar(Protocol):
    """Civil time of a zone, and on which of its days people work."""

    @property
    def civil_time(self) -> tzinfo:
        """The zone's civil time."""

    def is_working(self, day: date) -> bool:
        """Whether it is neither of a weekend nor a holiday."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BaselineRule:
    """How many similar days are compared, how far back they lie, and how far the adjustment goes. Raises OutOfRange.

    `adjustment_bp` is the most by which the average is scaled up or down, basis points; 0 for no adjustment.
    """

    working_highest: int = 5
    working_days: int = 10
    other_highest: int = 3
    other_days: int = 5
    look_back_days: int = 30
    adjustment_bp: int = 2_000

    def __post_init__(self) -> None:
        check_range("look_back_days", self.look_back_days, 1, MOST_LOOK_BACK_DAYS)
        check_range("working_days", self.working_days, 1, self.look_back_days)
        check_range("working_highest", self.working_highest, 1, self.working_days)
        check_range("other_days", self.other_days, 1, self.look_back_days)
        check_range("other_highest", self.other_highest, 1, self.other_days)
        check_range("adjustment_bp", self.adjustment_bp, 0, BASIS_POINTS)

    def counts(self, *, working: bool) -> tuple[int, int]:
        """X and Y of an event that begins on a working day, or on another one."""
        return (self.working_highest, self.working_days) if working else (self.other_highest, self.other_days)


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasuringTerms:
    """What an event's participants are measured by, kept with the event: later settings do not change it.

    `civil_time` is a name of the time zone database, `holidays` those that the compared days can be, ascending.
    """

    rule: BaselineRule
    civil_time: str
    holidays: tuple[date, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class EventWindow:
    """The MTUs of an event, in Unix seconds."""

    first_mtu_start: int
    mtu_count: int
    mtu_length_s: int

    @property
    def starts(self) -> range:
        """Where its MTUs begin."""
        return range(self.first_mtu_start, self.end, self.mtu_length_s)

    @property
    def end(self) -> int:
        """First moment after it."""
        return self.first_mtu_start + self.mtu_count * self.mtu_length_s


@dataclass(frozen=True, kw_only=True, slots=True)
class Connection:
    """The most energy a meter's connection carries in one MTU, Wh."""

    import_wh: int
    export_wh: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparedDay:
    """A similar day: its MTUs of the event's civil time, those of the hours before, and the dates they are of."""

    starts: tuple[int, ...]
    lead_starts: tuple[int, ...]
    dates: frozenset[date]


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasuredMtu:
    """One MTU of one meter, Wh: import less export as expected and as metered, None where not known; the shift."""

    mtu_start: int
    baseline_import_wh: int | None
    net_import_wh: int | None
    energy_wh: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """What one meter shifted in an event.

    `days` are the first MTUs of the averaged days, the newest first, none where too few are known; `adjustment_bp` is
    the factor, 10,000 for none.
    """

    days: tuple[int, ...]
    adjustment_bp: int
    mtus: tuple[MeasuredMtu, ...]

    @property
    def energy_wh(self) -> int:
        """Shift of all MTUs."""
        return sum(one.energy_wh for one in self.mtus)

    @property
    def is_complete(self) -> bool:
        """Whether every MTU has a reading."""
        return all(one.net_import_wh is not None for one in self.mtus)


@dataclass(frozen=True)
class MeasuringPlan:
    """What an event is measured against, the same for all of its meters."""

    window: EventWindow
    rule: BaselineRule
    calendar: CivilCalendar
    increases: bool

    @cached_property
    def counts(self) -> tuple[int, int]:
        """X and Y."""
        return self.rule.counts(working=self.calendar.is_working(self._date(self.window.first_mtu_start)))

    @cached_property
    def lead_starts(self) -> tuple[int, ...]:
        """The MTUs the adjustment looks at; none without one."""
        if not self.rule.adjustment_bp:
            return ()
        end, length_s = self.window.first_mtu_start - LEAD_S, self.window.mtu_length_s
        return tuple(range(end - LEAD_LENGTH_S, end, length_s))

    @cached_property
    def days(self) -> tuple[ComparedDay, ...]:
        """All similar days within the look-back, the newest first; a day whose clocks leave an MTU out is none."""
        return tuple(self._similar_days())

    @cached_property
    def needed_starts(self) -> frozenset[int]:
        """Every MTU whose reading a measurement may rest on."""
        compared = (start for day in self.days for start in (*day.starts, *day.lead_starts))
        return frozenset((*self.window.starts, *self.lead_starts, *compared))

    def dates_of(self, windows: Iterable[EventWindow]) -> frozenset[date]:
        """Civil dates that events have MTUs on."""
        return frozenset(self._date(start) for window in windows for start in window.starts)

    def _similar_days(self) -> Iterator[ComparedDay]:
        today = self._date(self.window.first_mtu_start)
        working = self.calendar.is_working(today)
        for days in range(1, self.rule.look_back_days + 1):
            if self.calendar.is_working(today - timedelta(days=days)) is not working:
                continue
            starts, lead = (self._moved(moments, days) for moments in (self.window.starts, self.lead_starts))
            if starts is not None and lead is not None:
                dates = frozenset(self._date(start) for start in (*starts, *lead))
                yield ComparedDay(starts=starts, lead_starts=lead, dates=dates)

    def _moved(self, moments: Sequence[int], days: int) -> tuple[int, ...] | None:
        found = tuple(days_before(moment, days, self.calendar.civil_time) for moment in moments)
        return None if None in found else tuple(moment for moment in found if moment is not None)

    def _date(self, moment: int) -> date:
        return datetime.fromtimestamp(moment, self.calendar.civil_time).date()


def measure(
    plan: MeasuringPlan, net_import_wh: Mapping[int, int], others: Sequence[EventWindow], connection: Connection
) -> Measurement:
    """What a meter shifted: per MTU max(0, baseline - net import) of a reduction, the reverse of an increase; Wh.

    `net_import_wh` holds import less export by MTU start, as far as there are readings; those of `needed_starts` are
    enough. `others` are the other events the meter took part in. The baseline stays within the connection.
    """
    chosen = _chosen_days(plan, net_import_wh, plan.dates_of(others))
    if not chosen:
        rows = ((start, None, net_import_wh.get(start)) for start in plan.window.starts)
        return Measurement(days=(), adjustment_bp=BASIS_POINTS, mtus=tuple(_measured(plan, *row) for row in rows))
    factor_bp = _adjustment_bp(plan, chosen, net_import_wh, others)
    mtus = []
    for place, start in enumerate(plan.window.starts):
        total_wh = sum(net_import_wh[day.starts[place]] for day in chosen)
        baseline_wh = rounded_against_participant(total_wh, len(chosen), increases=plan.increases)
        if baseline_wh > 0:  # what is fed in is the sun's doing, and does not grow with consumption
            scaled = baseline_wh * factor_bp
            baseline_wh = rounded_against_participant(scaled, BASIS_POINTS, increases=plan.increases)
        within = max(-connection.export_wh, min(connection.import_wh, baseline_wh))
        mtus.append(_measured(plan, start, within, net_import_wh.get(start)))
    return Measurement(days=tuple(day.starts[0] for day in chosen), adjustment_bp=factor_bp, mtus=tuple(mtus))


def rounded_against_participant(numerator: int, denominator: int, *, increases: bool) -> int:
    """The quotient, rounded toward minus infinity for a reduction and toward plus infinity for an increase."""
    return -(-numerator // denominator) if increases else numerator // denominator


def _chosen_days(
    plan: MeasuringPlan, net_import_wh: Mapping[int, int], event_dates: frozenset[date]
) -> tuple[ComparedDay, ...]:
    """The X of the Y newest days that count, the newest first; none where fewer than X count."""
    highest, most = plan.counts
    counting = [
        day
        for day in plan.days
        if not day.dates & event_dates and all(start in net_import_wh for start in (*day.starts, *day.lead_starts))
    ][:most]
    if len(counting) < highest:
        return ()

    def total_wh(day: ComparedDay) -> int:
        return sum(net_import_wh[start] for start in day.starts)

    ranked = sorted(counting, key=total_wh, reverse=not plan.increases)  # stable: of equal days the newer ones
    return tuple(day for day in counting if day in ranked[:highest])


def _adjustment_bp(
    plan: MeasuringPlan, chosen: Sequence[ComparedDay], net_import_wh: Mapping[int, int], others: Sequence[EventWindow]
) -> int:
    """What the meter took before the event against the chosen days, within the rule's bounds.

    There is none where the hours before lack a reading, were another event's, or saw the meter feed in.
    """
    disturbed = {start for other in others for start in other.starts}
    if not plan.lead_starts or any(start not in net_import_wh or start in disturbed for start in plan.lead_starts):
        return BASIS_POINTS
    taken_wh = sum(net_import_wh[start] for start in plan.lead_starts)
    usual_wh = sum(net_import_wh[start] for day in chosen for start in day.lead_starts)
    if taken_wh <= 0 or usual_wh <= 0:
        return BASIS_POINTS
    scaled = taken_wh * len(chosen) * BASIS_POINTS
    ratio_bp = rounded_against_participant(scaled, usual_wh, increases=plan.increases)
    bound_bp = plan.rule.adjustment_bp
    return max(BASIS_POINTS - bound_bp, min(BASIS_POINTS + bound_bp, ratio_bp))


def _measured(plan: MeasuringPlan, start: int, baseline_wh: int | None, net_wh: int | None) -> MeasuredMtu:
    shift_wh = 0
    if baseline_wh is not None and net_wh is not None:
        shift_wh = max(0, net_wh - baseline_wh if plan.increases else baseline_wh - net_wh)
    return MeasuredMtu(mtu_start=start, baseline_import_wh=baseline_wh, net_import_wh=net_wh, energy_wh=shift_wh)
