"""Hourly prices and grid factors: exact units, refused rows, and where each value comes from."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridledger.simulation.inputs import (
    HourlySeries,
    ReasonCode,
    SeriesNotCovering,
    SeriesStartsBlank,
    SeriesValue,
    load_carbon,
    load_prices,
)
from gridledger.units import format_utc, parse_utc


def written(folder: Path, content: str | bytes, name: str = "input.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def hour(text: str) -> int:
    return parse_utc("hour", f"{text}:00:00Z")


def prices_of(tmp_path: Path, rows: dict[str, str]) -> HourlySeries:
    lines = [f"{start}:00:00Z,{price},X" for start, price in rows.items()]
    return load_prices(written(tmp_path, "\n".join(["interval_start,price_eur_per_mwh,market", *lines])))


def hours_of(first: str, last: str, but: tuple[str, ...] = ()) -> dict[str, str]:
    """Each hour's price is its running number in EUR/MWh; those in `but` are absent."""
    starts = range(hour(first), hour(last) + 3600, 3600)
    priced = {format_utc(start)[:13]: str(number) for number, start in enumerate(starts)}
    return {start: price for start, price in priced.items() if start not in but}


@pytest.mark.parametrize(
    ("text", "price"), [("0.1", 10), ("-250.32", -25032), ("936.28", 93628), ("0", 0), ("-0.0", 0), ("5.100000", 510)]
)
def test_euros_become_cents_exactly(tmp_path: Path, text: str, price: int) -> None:
    start = hour("2024-01-01T00")
    assert prices_of(tmp_path, {"2024-01-01T00": text}).at(start) == SeriesValue(
        value=price, origin="file", read_from=start
    )


def test_grams_become_milligrams_exactly(tmp_path: Path) -> None:
    series = load_carbon(written(tmp_path, "interval_start,gco2_per_kwh,zone\n2024-01-01T00:00:00Z,160.24,DE\n"))
    assert series.at(hour("2024-01-01T00")).value == 160240


@pytest.mark.parametrize("offset_s", [0, 300, 900, 1800, 2700, 3300])
def test_an_hourly_value_holds_for_every_mtu_inside(tmp_path: Path, offset_s: int) -> None:
    series = prices_of(tmp_path, {"2024-01-01T00": "1", "2024-01-01T01": "2"})
    assert series.at(hour("2024-01-01T00") + offset_s).value == 100


SERIES_BAD_ROWS: list[tuple[str, str, ReasonCode]] = [
    ("a third decimal", "2024-01-01T01:00:00Z,1.001", "number-not-exact"),
    ("an exponent", "2024-01-01T01:00:00Z,1e3", "bad-number"),
    ("not a number", "2024-01-01T01:00:00Z,nan", "bad-number"),
    ("infinity", "2024-01-01T01:00:00Z,-inf", "bad-number"),
    ("a dash for missing", "2024-01-01T01:00:00Z,-", "bad-number"),
    ("more digits than can be exact", f"2024-01-01T01:00:00Z,{'1' * 18}.{'0' * 17}1", "bad-number"),
    ("a German number", "2024-01-01T01:00:00Z,1,5", "too-many-fields"),
    ("half past", "2024-01-01T01:30:00Z,1", "unaligned-start"),
    ("local time", "2024-01-01 01:00,1", "bad-time"),
    ("the same hour and price", "2024-01-01T00:00:00Z,7.00", "duplicate-identical"),
    ("the same hour at another price", "2024-01-01T00:00:00Z,8", "duplicate-different"),
]


@pytest.mark.parametrize(("row", "code"), [bad[1:] for bad in SERIES_BAD_ROWS], ids=[bad[0] for bad in SERIES_BAD_ROWS])
def test_a_bad_price_row_is_refused(tmp_path: Path, row: str, code: ReasonCode) -> None:
    text = f"interval_start,price_eur_per_mwh\n2024-01-01T00:00:00Z,7\n{row}\n"
    series = load_prices(written(tmp_path, text))
    assert [(refused.line_number, refused.reason_code) for refused in series.refused] == [(3, code)]
    assert series.hours == (hour("2024-01-01T00"),)


def test_a_negative_grid_factor_is_refused(tmp_path: Path) -> None:
    text = "interval_start,gco2_per_kwh\n2024-01-01T00:00:00Z,1\n2024-01-01T01:00:00Z,-1\n"
    series = load_carbon(written(tmp_path, text))
    assert [refused.reason_code for refused in series.refused] == ["number-out-of-range"]


@pytest.mark.parametrize("form", ["blank", "absent", "refused"])
def test_an_hour_without_value_inside_the_file_carries_the_last_value_and_says_so(tmp_path: Path, form: str) -> None:
    rows = {"2024-01-01T00": "1", "2024-01-01T01": "2", "2024-01-01T02": "", "2024-01-01T03": "", "2024-01-01T04": "5"}
    for start in ("2024-01-01T02", "2024-01-01T03"):
        if form == "absent":
            del rows[start]
        elif form == "refused":
            rows[start] = "?"
    series = prices_of(tmp_path, rows)
    last = hour("2024-01-01T01")
    for mtu_start in (hour("2024-01-01T02"), hour("2024-01-01T03") + 2700):
        assert series.at(mtu_start) == SeriesValue(value=200, origin="carried", read_from=last)
    assert series.at(hour("2024-01-01T04")).origin == "file"
    assert len(series.blank_hours) == (2 if form == "blank" else 0)


def test_a_blank_last_hour_still_belongs_to_the_file(tmp_path: Path) -> None:
    series = prices_of(tmp_path, {"2024-01-01T00": "1", "2024-01-01T01": ""})
    assert series.at(hour("2024-01-01T01")).origin == "carried"


def test_rows_in_any_order_carry_by_time_and_not_by_line(tmp_path: Path) -> None:
    series = prices_of(tmp_path, {"2024-01-01T02": "3", "2024-01-01T01": "", "2024-01-01T00": "1"})
    assert series.at(hour("2024-01-01T01")).value == 100


def test_a_blank_first_hour_is_a_typed_error(tmp_path: Path) -> None:
    with pytest.raises(SeriesStartsBlank) as caught:
        prices_of(tmp_path, {"2024-01-01T01": "1", "2024-01-01T00": ""})
    assert caught.value.hour_start == "2024-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("moment", "answered_from"),
    [
        ("2016-06-13T10", "2023-06-13T10"),
        ("2016-02-29T05", "2023-02-28T05"),
        ("2030-12-31T23", "2023-12-31T23"),
        ("2022-12-31T22", "2023-12-31T22"),
        ("2025-01-01T01", "2023-01-01T01"),
    ],
)
def test_outside_the_file_its_first_full_year_answers(tmp_path: Path, moment: str, answered_from: str) -> None:
    series = prices_of(tmp_path, hours_of("2022-12-31T23", "2024-12-31T23"))
    answer = series.at(hour(moment) + 900)
    assert (answer.origin, format_utc(answer.read_from)) == ("shifted_year", f"{answered_from}:00:00Z")


def test_the_twenty_ninth_of_february_stays_where_the_full_year_has_one(tmp_path: Path) -> None:
    series = prices_of(tmp_path, hours_of("2024-01-01T00", "2024-12-31T23"))
    assert format_utc(series.at(hour("2016-02-29T05")).read_from) == "2024-02-29T05:00:00Z"


def test_a_hole_in_the_full_year_is_carried_and_no_longer_called_shifted(tmp_path: Path) -> None:
    series = prices_of(tmp_path, hours_of("2023-01-01T00", "2023-12-31T23", but=("2023-06-13T10",)))
    answer = series.at(hour("2016-06-13T10"))
    assert (answer.origin, format_utc(answer.read_from)) == ("carried", "2023-06-13T09:00:00Z")


@pytest.mark.parametrize(
    ("moment", "answered_from"), [("2016-12-31T23", "2022-12-31T23"), ("2016-01-01T00", "2023-01-01T00")]
)
def test_twelve_months_that_are_no_calendar_year_answer_too(tmp_path: Path, moment: str, answered_from: str) -> None:
    series = prices_of(tmp_path, hours_of("2022-12-31T23", "2023-12-31T22"))
    assert format_utc(series.at(hour(moment)).read_from) == f"{answered_from}:00:00Z"


def test_a_file_shorter_than_a_year_answers_for_its_own_period_only(tmp_path: Path) -> None:
    series = prices_of(tmp_path, hours_of("2023-01-01T00", "2023-12-31T22"))
    assert series.at(hour("2023-12-31T22")).origin == "file"
    with pytest.raises(SeriesNotCovering) as caught:
        series.at(hour("2024-01-01T00"))
    assert caught.value.last_hour == "2023-12-31T22:00:00Z"


def price_text(price_cents: int) -> str:
    return f"{'-' if price_cents < 0 else ''}{abs(price_cents) // 100}.{abs(price_cents) % 100:02d}"


@settings(max_examples=60, deadline=None)
@given(
    first=st.integers(-100_000, 100_000),
    later=st.lists(st.one_of(st.none(), st.integers(-100_000, 100_000)), max_size=30),
)
def test_inside_the_file_every_hour_has_its_own_or_the_last_price(
    tmp_path_factory: pytest.TempPathFactory, first: int, later: list[int | None]
) -> None:
    start_s = hour("2024-03-30T20")
    prices = {start_s + 3600 * number: price for number, price in enumerate([first, *later])}
    rows = {format_utc(at)[:13]: "" if price is None else price_text(price) for at, price in prices.items()}
    series = prices_of(tmp_path_factory.mktemp("prices"), rows)
    expected = first
    for at, price in prices.items():
        expected = expected if price is None else price
        answer = series.at(at)
        assert (answer.value, answer.origin) == (expected, "carried" if price is None else "file")
