"""Edges of every check, and the direction of the one rounding."""

from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.metering.fakes import MTU_LENGTH_S, MTU_START, Device, a_reading, facts_of

from gridledger.metering.errors import AboveCapacity, IntervalLengthRefused, ReadingInFuture, ReadingTooOld
from gridledger.metering.model import Reading
from gridledger.metering.validation import GREATEST_AGE_S, capacity_wh_rounded_up, check_reading, same_values
from gridledger.units import MTU_LENGTHS_S, UnalignedMtu

FACTS = facts_of(Device(1))
INTERVAL_END = MTU_START + MTU_LENGTH_S


def check(reading: Reading, now: int = INTERVAL_END, mtu_length_s: int = MTU_LENGTH_S) -> None:
    check_reading(reading, FACTS, now=now, mtu_length_s=mtu_length_s)


@given(st.integers(0, 2**24 - 1), st.sampled_from(MTU_LENGTHS_S))
def test_capacity_is_rounded_up_to_whole_wh(capacity_w: int, interval_s: int) -> None:
    assert capacity_wh_rounded_up(capacity_w, interval_s) == ceil(Fraction(capacity_w * interval_s, 3600))


def test_capacity_rounds_up_and_never_down() -> None:
    assert capacity_wh_rounded_up(1, 900) == 1
    assert capacity_wh_rounded_up(4, 900) == 1
    assert capacity_wh_rounded_up(5, 900) == 2
    assert capacity_wh_rounded_up(0, 3600) == 0


def test_a_reading_is_good_from_the_moment_its_interval_ends() -> None:
    check(a_reading(), now=INTERVAL_END)
    with pytest.raises(ReadingInFuture):
        check(a_reading(), now=INTERVAL_END - 1)


def test_a_reading_is_good_for_seven_days() -> None:
    assert GREATEST_AGE_S == 604_800
    check(a_reading(), now=INTERVAL_END + GREATEST_AGE_S)
    with pytest.raises(ReadingTooOld):
        check(a_reading(), now=INTERVAL_END + GREATEST_AGE_S + 1)


def test_a_reading_may_be_as_large_as_the_connection_and_no_larger() -> None:
    check(a_reading(import_wh=250, export_wh=125))
    with pytest.raises(AboveCapacity, match="register='import'"):
        check(a_reading(import_wh=251, export_wh=126))
    with pytest.raises(AboveCapacity, match="register='export'"):
        check(a_reading(import_wh=250, export_wh=126))


@pytest.mark.parametrize("interval_s", [1, 600, 899, 901, 1200, 2700, 7200, 86_400])
def test_an_interval_that_does_not_divide_evenly_is_refused(interval_s: int) -> None:
    with pytest.raises(IntervalLengthRefused):
        check(a_reading(interval_s=interval_s))


@pytest.mark.parametrize("mtu_start", [0, MTU_START + 1, MTU_START - 1, MTU_START + 450])
def test_an_interval_off_the_grid_is_refused(mtu_start: int) -> None:
    with pytest.raises(UnalignedMtu):
        check(a_reading(mtu_start=mtu_start), now=INTERVAL_END + 3600)


@pytest.mark.parametrize("mtu_length_s", MTU_LENGTHS_S)
def test_every_market_time_unit_can_be_metered(mtu_length_s: int) -> None:
    reading = a_reading(interval_s=mtu_length_s, import_wh=0, export_wh=0)
    check(reading, now=reading.interval_end, mtu_length_s=mtu_length_s)


@pytest.mark.parametrize("field", ["import_wh", "export_wh", "counter", "interval_s", "mtu_start", "meter"])
def test_readings_say_the_same_only_if_every_value_is_the_same(field: str) -> None:
    reading = a_reading()
    assert same_values(reading, a_reading())
    assert not same_values(reading, a_reading(**{field: getattr(reading, field) + 1}))
    assert not same_values(reading, a_reading(meter_id="another"))
