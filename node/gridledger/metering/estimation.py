"""What stands in for a missing reading: a stated rule over known readings of the same meter. Pure integers.

First the same time of day of the previous similar day; else a straight line between the nearest known neighbours;
else nothing. An estimate is for statements, aggregates and forecasts. It settles nothing: where a reading stays away,
the contract settles on the contracted energy (`settleSubstitutes`, which anybody may call).
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, tzinfo
from enum import Enum, StrEnum

from gridledger.clock import civil_time_named, days_before
from gridledger.metering.model import MeterFacts
from gridledger.metering.validation import capacity_wh_rounded_up

__all__ = [
    "Calendar",
    "DayKind",
    "Energy",
    "EstimationRule",
    "Substitute",
    "basis_starts",
    "estimate",
    "interpolated_rounded_down",
    "missing_starts",
    "similar_starts",
]

MOST_DAYS = 28
NEIGHBOUR_REACH_S = 2 * 3_600
_SATURDAY, _SUNDAY = 5, 6


class DayKind(Enum):
    """Days on which people use energy alike."""

    WORKING = "working"
    SATURDAY = "saturday"
    SUNDAY_OR_HOLIDAY = "sunday or holiday"


class EstimationRule(StrEnum):
    """How an estimate was made."""

    SIMILAR_DAY = "similar-day"
    INTERPOLATION = "interpolation"


@dataclass(frozen=True, kw_only=True)
class Calendar:
    """The zone's civil time, its public holidays, and how many days back a similar one is looked for."""

    civil_time: tzinfo = UTC
    holidays: frozenset[date] = field(default_factory=frozenset)
    most_days: int = MOST_DAYS

    @classmethod
    def named(cls, civil_time: str, holidays: Iterable[date]) -> "Calendar":
        """The calendar of a civil time by its name and of these holidays. Raises CivilTimeUnknown."""
        return cls(civil_time=civil_time_named(civil_time), holidays=frozenset(holidays))

    def kind_of(self, day: date) -> DayKind:
        """What kind of day it is."""
        if day.weekday() == _SUNDAY or day in self.holidays:
            return DayKind.SUNDAY_OR_HOLIDAY
        return DayKind.SATURDAY if day.weekday() == _SATURDAY else DayKind.WORKING

    def is_working(self, day: date) -> bool:
        """Whether it is neither of a weekend nor a holiday."""
        return self.kind_of(day) is DayKind.WORKING


@dataclass(frozen=True, kw_only=True, slots=True)
class Energy:
    """Import and export of one MTU, Wh."""

    import_wh: int
    export_wh: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Substitute:
    """An estimate with the rule and the MTUs it rests on: one, or the neighbours before and after."""

    meter: int
    mtu_start: int
    energy: Energy
    rule: EstimationRule
    basis_before: int
    basis_after: int | None = None


def similar_starts(mtu_start: int, calendar: Calendar) -> Iterator[int]:
    """MTUs of the same civil time of earlier days of the same kind, the newest first, in Unix seconds.

    A day whose clocks leave the civil time out has no such MTU.
    """
    today = datetime.fromtimestamp(mtu_start, calendar.civil_time).date()
    kind = calendar.kind_of(today)
    for days in range(1, calendar.most_days + 1):
        if calendar.kind_of(today - timedelta(days=days)) is not kind:
            continue
        moment = days_before(mtu_start, days, calendar.civil_time)
        if moment is not None:
            yield moment


def basis_starts(mtu_start: int, mtu_length_s: int, calendar: Calendar) -> tuple[int, ...]:
    """Every MTU that an estimate of this one may rest on."""
    reach = NEIGHBOUR_REACH_S // mtu_length_s
    near = (mtu_start + distance * mtu_length_s for distance in range(-reach, reach + 1) if distance)
    return (*similar_starts(mtu_start, calendar), *near)


def estimate(
    mtu_start: int, known: Mapping[int, Energy], facts: MeterFacts, *, mtu_length_s: int, calendar: Calendar
) -> Substitute | None:
    """What a meter's missing reading is taken to be, within its connection; None where the rules find nothing.

    `known` holds accepted readings by MTU start, never estimates; those of `basis_starts` are enough.
    """
    for start in similar_starts(mtu_start, calendar):
        if (energy := known.get(start)) is not None:
            return _substitute(facts, mtu_start, mtu_length_s, energy, EstimationRule.SIMILAR_DAY, start)
    distances = range(1, NEIGHBOUR_REACH_S // mtu_length_s + 1)
    before = next((one for step in distances if (one := mtu_start - step * mtu_length_s) in known), None)
    after = next((one for step in distances if (one := mtu_start + step * mtu_length_s) in known), None)
    if before is None or after is None:
        return None
    place, length = mtu_start - before, after - before
    energy = Energy(
        import_wh=interpolated_rounded_down(known[before].import_wh, known[after].import_wh, place, length),
        export_wh=interpolated_rounded_down(known[before].export_wh, known[after].export_wh, place, length),
    )
    return _substitute(facts, mtu_start, mtu_length_s, energy, EstimationRule.INTERPOLATION, before, after)


def interpolated_rounded_down(before_wh: int, after_wh: int, place: int, length: int) -> int:
    """The value at `place` of `length` on the straight line between two values, rounded down; 0 <= place <= length."""
    return (before_wh * (length - place) + after_wh * place) // length


def missing_starts(known: Collection[int], first: int, end: int, mtu_length_s: int) -> tuple[int, ...]:
    """Gaps: MTUs that begin from `first` and before `end` and are not known, ascending; all in Unix seconds."""
    return tuple(start for start in range(first, end, mtu_length_s) if start not in known)


def _substitute(
    facts: MeterFacts,
    mtu_start: int,
    mtu_length_s: int,
    energy: Energy,
    rule: EstimationRule,
    before: int,
    after: int | None = None,
) -> Substitute:
    bounded = Energy(
        import_wh=min(energy.import_wh, capacity_wh_rounded_up(facts.import_capacity_w, mtu_length_s)),
        export_wh=min(energy.export_wh, capacity_wh_rounded_up(facts.export_capacity_w, mtu_length_s)),
    )
    return Substitute(
        meter=facts.meter, mtu_start=mtu_start, energy=bounded, rule=rule, basis_before=before, basis_after=after
    )
