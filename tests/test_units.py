"""Exact conversions at the edge, and every rounding direction, by example and by property."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridledger.units import (
    BASIS_POINTS,
    INT64_MAX,
    INT64_MIN,
    NotExact,
    NotUtc,
    OutOfRange,
    UnalignedMtu,
    avoided_ugco2,
    check_range,
    cost_microcents,
    eur_text,
    floor_midpoint,
    format_utc,
    kg_text,
    kwh_text,
    parse_decimal,
    parse_utc,
    require_aligned,
    share_rounded_down,
)

INT64 = st.integers(INT64_MIN, INT64_MAX)
INT127 = st.integers(-(2**127), 2**127 - 1)


@pytest.mark.parametrize(
    ("text", "decimals", "expected"),
    [
        ("12.345", 3, 12_345),
        ("-0.001", 3, -1),
        ("0", 3, 0),
        ("-0", 3, 0),
        ("7", 0, 7),
        ("0.1", 1, 1),
        ("1.500", 1, 15),
        ("2e3", 0, 2_000),
        ("123456789012345678.123456789", 9, 123_456_789_012_345_678_123_456_789),
    ],
)
def test_a_decimal_text_becomes_the_exact_integer(text: str, decimals: int, expected: int) -> None:
    assert parse_decimal("price", text, decimals) == expected


@pytest.mark.parametrize("text", ["12.3456", "0.0001", "1e-4", "NaN", "Infinity", "-Infinity", "", "abc", "1,5", "--1"])
def test_a_text_that_is_not_an_exact_number_of_units_is_refused_and_never_rounded(text: str) -> None:
    with pytest.raises(NotExact) as refused:
        parse_decimal("price", text, 3)
    assert (refused.value.field, refused.value.text) == ("price", text)


def test_a_text_of_forty_characters_is_read_and_a_longer_one_is_refused_and_shown_shortened() -> None:
    assert parse_decimal("price", "1." + "0" * 38, 3) == 1_000
    with pytest.raises(NotExact) as refused:
        parse_decimal("price", "1." + "0" * 39, 3)
    assert refused.value.text == "1." + "0" * 38


@pytest.mark.parametrize(("text", "decimals"), [("1e999999", 3), ("1e5000", 0), ("-1e5000", 0), ("0e999999", 0)])
def test_an_exponent_beyond_every_range_is_refused_without_being_written_out(text: str, decimals: int) -> None:
    with pytest.raises(NotExact) as refused:
        parse_decimal("price", text, decimals)
    assert refused.value.text == text


@given(INT127, st.integers(0, 9))
def test_writing_an_integer_as_a_decimal_and_reading_it_back_changes_nothing(value: int, decimals: int) -> None:
    text = format(Decimal(value).scaleb(-decimals), "f") if abs(value) < 10**27 else str(value)
    scale = decimals if abs(value) < 10**27 else 0
    if len(text) <= 40:
        assert parse_decimal("price", text, scale) == value


@pytest.mark.parametrize("value", [-(2**127), 2**127 - 1])
def test_the_ends_of_the_widest_integer_are_read(value: int) -> None:
    assert parse_decimal("money", str(value), 0) == value


@pytest.mark.parametrize("value", [-(2**127) - 1, 2**127, 10**39])
def test_beyond_the_ends_of_the_widest_integer_the_range_is_named(value: int) -> None:
    with pytest.raises(OutOfRange) as refused:
        parse_decimal("money", str(value), 0)
    assert refused.value.values() == {
        "field": "money",
        "value": value,
        "lowest": -(2**127),
        "highest": 2**127 - 1,
    }


@given(INT64, INT64, INT64)
def test_a_range_holds_its_ends_and_nothing_beyond(value: int, one: int, other: int) -> None:
    lowest, highest = sorted((one, other))
    if lowest <= value <= highest:
        assert check_range("x", value, lowest, highest) == value
    else:
        with pytest.raises(OutOfRange):
            check_range("x", value, lowest, highest)


@given(st.integers(0, 2**40), INT64)
def test_wh_times_cents_per_mwh_is_microcents_without_a_remainder(energy_wh: int, price: int) -> None:
    in_cents = Fraction(energy_wh, 1_000_000) * price
    assert cost_microcents(energy_wh, price) == in_cents * 1_000_000


@given(st.integers(0, 2**40), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_wh_times_mg_per_kwh_is_micrograms_and_never_negative(energy_wh: int, grid: int, source: int) -> None:
    in_grams = Fraction(energy_wh, 1_000) * (grid - source) / 1_000
    assert avoided_ugco2(energy_wh, grid, source) == max(0, in_grams * 1_000_000)


@pytest.mark.parametrize(
    ("lower", "upper", "expected"),
    [(1, 2, 1), (-2, -1, -2), (-1, 0, -1), (3, 3, 3), (-3, 2, -1), (INT64_MIN, 1, -(2**62))],
)
def test_the_midpoint_is_rounded_toward_minus_infinity(lower: int, upper: int, expected: int) -> None:
    assert floor_midpoint(lower, upper) == expected


@given(INT64, INT64)
def test_the_midpoint_lies_between_its_ends_at_most_half_a_unit_below_the_middle(one: int, other: int) -> None:
    lower, upper = sorted((one, other))
    middle = floor_midpoint(lower, upper)
    assert lower <= middle <= upper
    assert Fraction(lower + upper, 2) - middle in (0, Fraction(1, 2))


@pytest.mark.parametrize(
    ("amount", "share", "expected"), [(9_999, 5_000, 4_999), (-1, 1, -1), (7, 10_000, 7), (7, 0, 0), (1, 9_999, 0)]
)
def test_a_share_is_rounded_toward_minus_infinity(amount: int, share: int, expected: int) -> None:
    assert share_rounded_down(amount, share) == expected


@given(INT127, st.integers(0, BASIS_POINTS))
def test_a_share_and_the_rest_make_the_whole_and_the_share_never_rounds_up(amount: int, share: int) -> None:
    part = share_rounded_down(amount, share)
    assert 0 <= Fraction(amount * share, BASIS_POINTS) - part < 1


@pytest.mark.parametrize("length", [300, 900, 1800, 3600])
@given(count=st.integers(1, 10**6), beside=st.integers(1, 299))
def test_only_positive_multiples_of_the_mtu_length_are_aligned(length: int, count: int, beside: int) -> None:
    assert require_aligned(count * length, length) == count * length
    with pytest.raises(UnalignedMtu) as refused:
        require_aligned(count * length + beside, length)
    assert refused.value.values() == {"mtu_start": count * length + beside, "mtu_length_s": length}


@pytest.mark.parametrize(("mtu_start", "length"), [(300, 900), (600, 900), (900, 1800), (1800, 3600)])
def test_a_multiple_of_a_shorter_mtu_is_not_one_of_a_longer(mtu_start: int, length: int) -> None:
    with pytest.raises(UnalignedMtu):
        require_aligned(mtu_start, length)


@pytest.mark.parametrize("mtu_start", [0, -900])
def test_the_epoch_and_what_lies_before_it_are_no_mtu(mtu_start: int) -> None:
    with pytest.raises(UnalignedMtu):
        require_aligned(mtu_start, 900)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2016-06-13T00:00:00Z", 1_465_776_000),
        ("2016-06-13T00:00:00+00:00", 1_465_776_000),
        ("1969-12-31T23:59:59Z", -1),
    ],
)
def test_a_moment_in_utc_becomes_unix_seconds(text: str, moment: int) -> None:
    assert parse_utc("start", text) == moment


@pytest.mark.parametrize(
    "text",
    [
        "2016-06-13T00:00:00",
        "2016-06-13T02:00:00+02:00",
        "2016-06-13T00:00:00.5Z",
        "2016-06-13",
        "2016-02-30T00:00:00Z",
        "yesterday",
        "",
    ],
)
def test_another_zone_a_local_time_or_a_part_of_a_second_is_refused(text: str) -> None:
    with pytest.raises(NotUtc) as refused:
        parse_utc("start", text)
    assert refused.value.values() == {"field": "start", "text": text}


@given(st.integers(0, 253_402_300_799))
def test_writing_a_moment_and_reading_it_back_changes_nothing(moment: int) -> None:
    assert parse_utc("start", format_utc(moment)) == moment
    assert datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=moment) == datetime.fromisoformat(format_utc(moment))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (eur_text(1_234_567_890_123), "12,345.68 EUR"),
        (eur_text(-50_000_000), "-0.50 EUR"),
        (kwh_text(1_234_500), "1,234.5 kWh"),
        (kg_text(12_345_678_901), "12.3 kg CO2e"),
    ],
)
def test_texts_for_people_carry_their_unit(text: str, expected: str) -> None:
    assert text == expected
