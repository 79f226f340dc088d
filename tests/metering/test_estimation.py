"""Missing readings are estimated by the stated rule, in whole Wh, never below zero and never above the connection."""

from collections.abc import Mapping
from datetime import date, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.metering.fakes import MTU_LENGTH_S, MTU_START, Device, facts_of

from gridledger.metering.estimation import (
    MOST_DAYS,
    NEIGHBOUR_REACH_S,
    Calendar,
    DayKind,
    Energy,
    EstimationRule,
    Substitute,
    basis_starts,
    estimate,
    interpolated_rounded_down,
    missing_starts,
    similar_starts,
)

DAY_S = 86_400
FACTS = facts_of(Device(1))  # 250 Wh in and 125 Wh out in a quarter of an hour
BERLIN = Calendar(civil_time=ZoneInfo("Europe/Berlin"))
REACH = NEIGHBOUR_REACH_S // MTU_LENGTH_S


def energy(import_wh: int, export_wh: int = 0) -> Energy:
    return Energy(import_wh=import_wh, export_wh=export_wh)


def estimated(known: Mapping[int, Energy], calendar: Calendar | None = None) -> Substitute | None:
    return estimate(MTU_START, known, FACTS, mtu_length_s=MTU_LENGTH_S, calendar=calendar or Calendar())


def utc(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


def test_a_monday_is_like_the_friday_before() -> None:  # 2016-06-13 is a Monday
    known = {MTU_START - days * DAY_S: energy(10 * days, days) for days in range(1, 8)}
    found = estimated(known)
    assert found is not None
    assert (found.energy, found.rule) == (energy(30, 3), EstimationRule.SIMILAR_DAY)
    assert (found.basis_before, found.basis_after) == (MTU_START - 3 * DAY_S, None)


def test_a_holiday_is_like_a_sunday_and_not_like_the_working_days_around_it() -> None:
    known = {MTU_START - days * DAY_S: energy(days) for days in range(1, 15)}
    whit_monday = Calendar(holidays=frozenset({date(2016, 6, 13)}))
    found = estimated(known, whit_monday)
    assert found is not None
    assert found.energy == energy(1)
    friday_off = estimated(known, Calendar(holidays=frozenset({date(2016, 6, 10)})))
    assert friday_off is not None
    assert friday_off.energy == energy(4)


@pytest.mark.parametrize(
    ("day", "kind"),
    [
        (date(2016, 6, 10), DayKind.WORKING),
        (date(2016, 6, 11), DayKind.SATURDAY),
        (date(2016, 6, 12), DayKind.SUNDAY_OR_HOLIDAY),
        (date(2016, 12, 26), DayKind.SUNDAY_OR_HOLIDAY),
    ],
)
def test_days_are_of_three_kinds(day: date, kind: DayKind) -> None:
    assert Calendar(holidays=frozenset({date(2016, 12, 26)})).kind_of(day) is kind


def test_an_older_similar_day_serves_where_the_previous_one_is_missing_too() -> None:
    found = estimated({MTU_START - 7 * DAY_S: energy(70), MTU_START - 4 * DAY_S: energy(40)})
    assert found is not None
    assert found.energy == energy(40)


def test_a_day_too_long_ago_does_not_serve() -> None:
    assert estimated({MTU_START - (MOST_DAYS + 7) * DAY_S: energy(70)}) is None


def test_without_a_similar_day_the_line_between_the_nearest_neighbours_serves() -> None:
    known = {
        MTU_START - 2 * MTU_LENGTH_S: energy(10, 7),
        MTU_START - 3 * MTU_LENGTH_S: energy(99, 99),
        MTU_START + MTU_LENGTH_S: energy(20, 0),
    }
    found = estimated(known)
    assert found is not None
    assert (found.rule, found.energy) == (EstimationRule.INTERPOLATION, energy(16, 2))
    assert (found.basis_before, found.basis_after) == (MTU_START - 2 * MTU_LENGTH_S, MTU_START + MTU_LENGTH_S)


@pytest.mark.parametrize("distances", [(), (-1,), (1,), (-REACH - 1, 1), (-1, REACH + 1)])
def test_without_neighbours_on_both_sides_within_reach_there_is_no_estimate(distances: tuple[int, ...]) -> None:
    assert estimated({MTU_START + distance * MTU_LENGTH_S: energy(10) for distance in distances}) is None


def test_a_similar_day_beyond_the_connection_is_bounded_by_it() -> None:
    found = estimated({MTU_START - 3 * DAY_S: energy(900, 800)})
    assert found is not None
    assert found.energy == energy(250, 125)


def test_similar_days_keep_the_civil_time_across_a_change_of_clocks() -> None:
    monday_in_summer_time = utc("2016-03-28T08:00:00+02:00")
    assert next(similar_starts(monday_in_summer_time, BERLIN)) == utc("2016-03-25T08:00:00+01:00")
    assert next(similar_starts(monday_in_summer_time, Calendar())) == monday_in_summer_time - 3 * DAY_S


def test_a_civil_time_that_a_day_leaves_out_has_no_counterpart_on_it() -> None:
    sunday_after = utc("2016-04-03T02:30:00+02:00")
    assert next(similar_starts(sunday_after, BERLIN)) == utc("2016-03-20T02:30:00+01:00")


def test_both_passages_of_an_ambiguous_hour_are_like_the_one_of_the_sunday_before() -> None:
    first, second = utc("2016-10-30T02:30:00+02:00"), utc("2016-10-30T02:30:00+01:00")
    assert second - first == 3_600
    before = utc("2016-10-23T02:30:00+02:00")
    assert [next(similar_starts(start, BERLIN)) for start in (first, second)] == [before, before]


@given(st.integers(0, 2**40), st.integers(0, 2**40), st.data())
def test_interpolated_values_lie_between_their_neighbours(before: int, after: int, data: st.DataObject) -> None:
    length = data.draw(st.integers(1, 48))
    values = [interpolated_rounded_down(before, after, place, length) for place in range(length + 1)]
    assert (values[0], values[-1]) == (before, after)
    assert values == sorted(values, reverse=before > after)


@given(
    st.dictionaries(
        st.one_of(st.integers(-REACH - 2, REACH + 2), st.integers(1, 30).map(lambda day: -96 * day)),
        st.tuples(st.integers(0, 2**40), st.integers(0, 2**40)),
        max_size=20,
    ),
    st.sampled_from([Calendar(), BERLIN]),
)
def test_every_estimate_is_whole_and_within_the_connection(
    steps: dict[int, tuple[int, int]], calendar: Calendar
) -> None:
    known = {MTU_START + step * MTU_LENGTH_S: energy(*values) for step, values in steps.items() if step}
    found = estimated(known, calendar)
    needed = {start: one for start, one in known.items() if start in basis_starts(MTU_START, MTU_LENGTH_S, calendar)}
    assert estimated(needed, calendar) == found
    if found is not None:
        assert 0 <= found.energy.import_wh <= 250
        assert 0 <= found.energy.export_wh <= 125
        assert found.basis_before in known


def test_gaps_are_named() -> None:
    assert missing_starts({0, 900, 2_700}, 0, 4_500, 900) == (1_800, 3_600)
