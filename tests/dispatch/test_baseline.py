"""The baseline of demand response against a second, slower way to say the same thing, and its rules one by one."""

import math
import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta, tzinfo
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.dispatch.demands import DAY_S, HOUR_S, LENGTH_S, MONDAY

from gridledger.dispatch.baseline import (
    BaselineRule,
    Connection,
    EventWindow,
    MeasuringPlan,
    measure,
    rounded_against_participant,
)
from gridledger.metering.estimation import Calendar
from gridledger.units import OutOfRange

EXAMPLES = 5_000 if os.environ.get("GRIDLEDGER_PROFILE") == "long" else 250
BERLIN = ZoneInfo("Europe/Berlin")
WIDE = Connection(import_wh=10**6, export_wh=10**6)
FRIDAY = MONDAY + 4 * DAY_S
EVENING = EventWindow(first_mtu_start=FRIDAY + 18 * HOUR_S, mtu_count=2, mtu_length_s=LENGTH_S)
PLAIN = BaselineRule(
    working_highest=2, working_days=3, other_highest=1, other_days=2, look_back_days=14, adjustment_bp=0
)


@dataclass(frozen=True)
class Oracle:
    """The rule as a person with a calendar on the wall and a pocket calculator would apply it."""

    window: EventWindow
    rule: BaselineRule
    zone: tzinfo
    holidays: frozenset[date]
    increases: bool
    known: dict[int, int]
    others: Sequence[EventWindow]
    limits: Connection

    def moments(self, window: EventWindow) -> list[int]:
        return [window.first_mtu_start + i * window.mtu_length_s for i in range(window.mtu_count)]

    def local(self, moment: int) -> datetime:
        return datetime.fromtimestamp(moment, self.zone)

    def off(self, day: date) -> bool:
        return day.isoweekday() in (6, 7) or day in self.holidays

    def back(self, moment: int, days: int) -> int | None:
        """Look through the hours around for the one whose clock shows the same."""
        here = self.local(moment)
        wanted = here.replace(tzinfo=None) - timedelta(days=days)
        around = [moment - days * DAY_S + step * 1800 for step in range(-4, 5)]
        shown = [one for one in around if self.local(one).replace(tzinfo=None, fold=0) == wanted.replace(fold=0)]
        return None if not shown else shown[-1] if here.fold else shown[0]

    def lead(self) -> list[int]:
        if self.rule.adjustment_bp == 0:
            return []
        first, length_s = self.window.first_mtu_start, self.window.mtu_length_s
        return [first - 4 * HOUR_S + i * length_s for i in range(2 * HOUR_S // length_s)]

    def days(self) -> list[tuple[list[int], list[int]]]:
        today = self.local(self.window.first_mtu_start).date()
        taken = {self.local(moment).date() for other in self.others for moment in self.moments(other)}
        most = self.rule.other_days if self.off(today) else self.rule.working_days
        found: list[tuple[list[int], list[int]]] = []
        for days in range(1, self.rule.look_back_days + 1):
            if self.off(today - timedelta(days)) != self.off(today) or len(found) == most:
                continue
            event, lead = (
                [self.back(moment, days) for moment in moments] for moments in (self.moments(self.window), self.lead())
            )
            whole = [moment for moment in (*event, *lead) if moment in self.known]
            if len(whole) == len(event) + len(lead) and not {self.local(one).date() for one in whole} & taken:
                found.append((whole[: len(event)], whole[len(event) :]))
        return found

    def answer(self) -> tuple[tuple[int, ...], int, list[tuple[int | None, int | None, int]]]:
        off = self.off(self.local(self.window.first_mtu_start).date())
        wanted = self.rule.other_highest if off else self.rule.working_highest
        days = self.days()
        metered = [self.known.get(moment) for moment in self.moments(self.window)]
        if len(days) < wanted:
            return (), 10_000, [(None, one, 0) for one in metered]
        sign = -1 if self.increases else 1
        ranks = sorted(range(len(days)), key=lambda i: (-sign * sum(self.known[one] for one in days[i][0]), i))
        chosen = [days[i] for i in sorted(ranks[:wanted])]
        round_off = math.ceil if self.increases else math.floor
        factor = self.factor(chosen, round_off)
        rows: list[tuple[int | None, int | None, int]] = []
        for place, net in enumerate(metered):
            base = round_off(Fraction(sum(self.known[day[0][place]] for day in chosen), wanted))
            if base > 0:
                base = round_off(Fraction(base * factor, 10_000))
            base = min(max(base, -self.limits.export_wh), self.limits.import_wh)
            rows.append((base, net, 0 if net is None else max(0, sign * (base - net))))
        return tuple(day[0][0] for day in chosen), factor, rows

    def factor(self, chosen: Sequence[tuple[list[int], list[int]]], round_off: Callable[[Fraction], int]) -> int:
        lead = self.lead()
        busy = {moment for other in self.others for moment in self.moments(other)}
        if not lead or set(lead) - self.known.keys() or set(lead) & busy:
            return 10_000
        now = sum(self.known[one] for one in lead)
        usual = Fraction(sum(self.known[one] for day in chosen for one in day[1]), len(chosen))
        if now <= 0 or usual <= 0:
            return 10_000
        bound = self.rule.adjustment_bp
        return min(10_000 + bound, max(10_000 - bound, round_off(now / usual * 10_000)))


RULES = st.builds(
    lambda look_back, wy, wx, oy, ox, bp: BaselineRule(
        look_back_days=look_back,
        working_days=min(wy, look_back),
        working_highest=min(wx, wy, look_back),
        other_days=min(oy, look_back),
        other_highest=min(ox, oy, look_back),
        adjustment_bp=bp,
    ),
    st.integers(1, 10),
    st.integers(1, 6),
    st.integers(1, 6),
    st.integers(1, 3),
    st.integers(1, 3),
    st.sampled_from([0, 500, 2_000, 10_000]),
)
DAYS = st.sampled_from([date(2016, 3, 24), date(2016, 6, 10), date(2016, 10, 27)])


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    rule=RULES,
    day=DAYS,
    later=st.integers(0, 8),
    quarter=st.integers(0, 95),
    count=st.integers(1, 24),
    length_s=st.sampled_from([900, 1_800, 3_600]),
    zone=st.sampled_from([UTC, BERLIN]),
    increases=st.booleans(),
    holidays=st.frozensets(st.integers(0, 12), max_size=3),
    others=st.lists(st.tuples(st.integers(1, 9 * 24), st.integers(1, 8)), max_size=3),
    seed=st.integers(0, 2**32),
    gaps=st.sampled_from([0.0, 0.002, 0.05]),
    low=st.sampled_from([-3_000, -20, 0]),
)
def test_the_rule_agrees_with_a_person_with_a_calendar(
    rule: BaselineRule, day: date, later: int, quarter: int, count: int, length_s: int, zone: tzinfo, increases: bool,
    holidays: frozenset[int], others: list[tuple[int, int]], seed: int, gaps: float, low: int,
) -> None:  # fmt: skip
    midnight = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
    first = midnight + later * DAY_S + quarter * 900 // length_s * length_s
    draw = random.Random(seed)
    known = {
        moment: draw.randint(low, 3_000)
        for moment in range(first - 13 * DAY_S, first + count * length_s, length_s)
        if draw.random() >= gaps
    }
    window = EventWindow(first_mtu_start=first, mtu_count=count, mtu_length_s=length_s)
    windows = [
        EventWindow(first_mtu_start=first - hours * HOUR_S, mtu_count=number, mtu_length_s=length_s)
        for hours, number in others
    ]
    free = frozenset(day - timedelta(days=4) + timedelta(days=one) for one in holidays)
    calendar = Calendar(civil_time=zone, holidays=free)
    limits = Connection(import_wh=draw.choice((900, 10**6)), export_wh=draw.choice((10, 10**6)))
    plan = MeasuringPlan(window, rule, calendar, increases)
    found = measure(plan, known, windows, limits)
    expected = Oracle(window, rule, zone, free, increases, known, windows, limits).answer()
    rows = [(one.baseline_import_wh, one.net_import_wh, one.energy_wh) for one in found.mtus]
    assert (found.days, found.adjustment_bp, rows) == expected
    needed = {start: known[start] for start in plan.needed_starts if start in known}
    assert measure(plan, needed, windows, limits) == found


def usual(per_day: dict[int, int], window: EventWindow = EVENING) -> dict[int, int]:
    """Net import of each MTU of the event's time, by days before the event; 0 is the event itself."""
    return {start - days * DAY_S: wh for days, wh in per_day.items() for start in window.starts}


def plan(window: EventWindow = EVENING, rule: BaselineRule = PLAIN, **changes: Any) -> MeasuringPlan:
    values: dict[str, Any] = {"calendar": Calendar(), "increases": False}
    return MeasuringPlan(window, rule, **(values | changes))


def test_the_highest_of_the_newest_working_days_are_averaged() -> None:
    known = usual({0: 100, 1: 300, 2: 500, 3: 400, 4: 9_000})
    found = measure(plan(), known, (), WIDE)
    assert found.days == (EVENING.first_mtu_start - 2 * DAY_S, EVENING.first_mtu_start - 3 * DAY_S)
    assert [one.baseline_import_wh for one in found.mtus] == [450, 450]
    assert found.energy_wh == 2 * 350


def test_an_increase_is_measured_against_the_lowest_days() -> None:
    found = measure(plan(increases=True), usual({0: 700, 1: 300, 2: 500, 3: 401, 4: 1}), (), WIDE)
    assert [one.baseline_import_wh for one in found.mtus] == [351, 351]  # 350.5, rounded up
    assert found.energy_wh == 2 * 349


def test_weekends_and_holidays_are_compared_with_each_other() -> None:
    saturday = replace(EVENING, first_mtu_start=FRIDAY + DAY_S + 18 * HOUR_S)
    known = usual({0: 0, 1: 9_000, 6: 200, 7: 100, 3: 600}, saturday)
    assert measure(plan(saturday), known, (), WIDE).days == (saturday.first_mtu_start - 6 * DAY_S,)
    wednesday_off = Calendar(holidays=frozenset({date(2016, 6, 15)}))
    found = measure(plan(saturday, calendar=wednesday_off), known, (), WIDE)
    assert found.days == (saturday.first_mtu_start - 3 * DAY_S,)


def test_days_of_other_events_and_days_with_a_gap_do_not_count() -> None:
    known = usual({0: 100, 1: 300, 2: 500, 3: 400, 4: 9_000})
    other = EventWindow(first_mtu_start=FRIDAY - 2 * DAY_S, mtu_count=1, mtu_length_s=LENGTH_S)  # early on Wednesday
    assert [one.baseline_import_wh for one in measure(plan(), known, [other], WIDE).mtus] == [4_700, 4_700]
    del known[EVENING.first_mtu_start - DAY_S + LENGTH_S]
    first = EVENING.first_mtu_start
    assert measure(plan(), known, (), WIDE).days == (first - 2 * DAY_S, first - 4 * DAY_S)


def test_too_few_days_make_no_baseline_and_nothing_is_measured() -> None:
    found = measure(plan(), usual({0: -5_000, 1: 300}), (), WIDE)
    assert (found.days, found.energy_wh, found.is_complete) == ((), 0, True)
    assert {one.baseline_import_wh for one in found.mtus} == {None}


def test_days_beyond_the_look_back_do_not_count() -> None:
    known = usual({0: 0, 10: 300, 11: 400})
    assert measure(plan(rule=replace(PLAIN, look_back_days=10)), known, (), WIDE).days == ()
    assert len(measure(plan(rule=replace(PLAIN, look_back_days=11)), known, (), WIDE).days) == 2


def test_of_equal_days_the_newer_ones_are_taken() -> None:
    first = EVENING.first_mtu_start
    known = usual({0: 0, 1: 300, 2: 300, 3: 300})
    for increases in (False, True):
        assert measure(plan(increases=increases), known, (), WIDE).days == (first - DAY_S, first - 2 * DAY_S)


@pytest.mark.parametrize(("before_wh", "factor_bp"), [(110, 11_000), (200, 12_000), (10, 8_000), (0, 10_000)])
def test_the_hours_before_scale_the_average_within_bounds(before_wh: int, factor_bp: int) -> None:
    adjusted = plan(rule=replace(PLAIN, adjustment_bp=2_000))
    known = usual({0: 300, 1: 400, 2: 400})
    known |= {start - days * DAY_S: 100 for start in adjusted.lead_starts for days in (1, 2)}
    known |= dict.fromkeys(adjusted.lead_starts, before_wh)
    found = measure(adjusted, known, (), WIDE)
    assert (found.adjustment_bp, found.mtus[0].baseline_import_wh) == (factor_bp, 400 * factor_bp // 10_000)
    assert adjusted.lead_starts == tuple(range(FRIDAY + 14 * HOUR_S, FRIDAY + 16 * HOUR_S, LENGTH_S))
    event_before = EventWindow(first_mtu_start=adjusted.lead_starts[-1], mtu_count=1, mtu_length_s=LENGTH_S)
    assert measure(adjusted, known, [event_before], WIDE).adjustment_bp == 10_000
    del known[adjusted.lead_starts[0]]
    assert measure(adjusted, known, (), WIDE).adjustment_bp == 10_000


def test_feeding_in_is_not_scaled_and_the_baseline_stays_within_the_connection() -> None:
    adjusted = plan(rule=replace(PLAIN, adjustment_bp=2_000))
    known = usual({0: -900, 1: -400, 2: -400})
    known |= {start - days * DAY_S: 100 for start in adjusted.lead_starts for days in (1, 2)}
    known |= dict.fromkeys(adjusted.lead_starts, 110)
    found = measure(adjusted, known, (), WIDE)
    assert (found.adjustment_bp, found.mtus[0].baseline_import_wh, found.energy_wh) == (11_000, -400, 1_000)
    small = Connection(import_wh=50, export_wh=60)
    assert measure(adjusted, known, (), small).mtus[0].baseline_import_wh == -60
    assert measure(plan(), usual({0: 0, 1: 400, 2: 400}), (), small).mtus[0].baseline_import_wh == 50


def test_a_missing_reading_of_the_event_measures_nothing_in_its_mtu() -> None:
    known = usual({0: 100, 1: 300, 2: 300})
    del known[EVENING.first_mtu_start]
    found = measure(plan(), known, (), WIDE)
    assert [(one.net_import_wh, one.energy_wh) for one in found.mtus] == [(None, 0), (100, 200)]
    assert not found.is_complete


def test_a_day_whose_clocks_leave_the_time_out_does_not_count() -> None:
    monday = int(datetime(2016, 3, 28, 2, tzinfo=BERLIN).timestamp())  # Easter Monday, 2 o'clock: Sunday has none
    window = EventWindow(first_mtu_start=monday, mtu_count=1, mtu_length_s=3_600)
    berlin = Calendar(civil_time=BERLIN, holidays=frozenset({date(2016, 3, 28)}))
    (day,) = (one for one in plan(window, replace(PLAIN, look_back_days=6), calendar=berlin).days)
    assert day.dates == {date(2016, 3, 26)}
    assert day.starts == (int(datetime(2016, 3, 26, 2, tzinfo=BERLIN).timestamp()),)


def test_quotients_are_rounded_against_the_participant() -> None:
    assert [rounded_against_participant(number, 2, increases=False) for number in (3, -3)] == [1, -2]
    assert [rounded_against_participant(number, 2, increases=True) for number in (3, -3)] == [2, -1]


@pytest.mark.parametrize(
    "changes",
    [
        {"look_back_days": 0},
        {"look_back_days": 61},
        {"working_days": 0, "working_highest": 0},
        {"working_highest": 11},
        {"working_days": 31},
        {"other_highest": 6},
        {"other_highest": 0},
        {"other_days": 31},
        {"adjustment_bp": -1},
        {"adjustment_bp": 10_001},
    ],
    ids=str,
)
def test_a_rule_that_cannot_be_is_refused(changes: dict[str, int]) -> None:
    with pytest.raises(OutOfRange):
        BaselineRule(**changes)
