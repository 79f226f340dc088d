"""Hourly prices and grid factors from a file, answered for any MTU by one stated rule.

`HourlySeries.at` takes the first line that applies; H is the UTC hour the MTU lies in:
1. The file has a value for H: that value, "file".
2. H lies between the file's first and last hour, but is blank, absent or was refused: the last value before H,
   "carried".
3. H lies outside the file: H moves to the same month, day and UTC hour of the file's first full year (29 February to
   the 28th where that year has none). A value there: "shifted_year"; none there: the last value before it, "carried".
The first full year is the first calendar year (UTC) the file spans from its first to its last hour; a file that spans
none, but twelve months all the same (a calendar year in local time, say), answers with its first twelve months.
"""

import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from gridledger.errors import InvalidInput
from gridledger.metering.imports.tables import NoUsableRows, RefusedRow, RowRefused, shown
from gridledger.simulation.input_rows import open_table
from gridledger.units import (
    INT64_MAX,
    INT64_MIN,
    UINT32_MAX,
    NotExact,
    NotUtc,
    OutOfRange,
    check_range,
    format_utc,
    parse_decimal,
    parse_utc,
)

__all__ = [
    "HourlySeries",
    "SeriesNotCovering",
    "SeriesStartsBlank",
    "SeriesValue",
    "ValueOrigin",
    "load_carbon",
    "load_prices",
]

HOUR_S = 3600
PLAIN_NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,12})?")

ValueOrigin = Literal["file", "shifted_year", "carried"]


@dataclass(kw_only=True, eq=False)
class SeriesStartsBlank(InvalidInput):
    """The first hour of the hourly file is blank, so there is no last value to carry."""

    path: str
    column: str
    hour_start: str


@dataclass(kw_only=True, eq=False)
class SeriesNotCovering(InvalidInput):
    """The hourly file neither covers this moment nor spans a full year to answer from."""

    path: str
    column: str
    moment: str
    first_hour: str
    last_hour: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SeriesValue:
    """The value that holds in one MTU, how it was found, and the start of the hour it was read from (Unix seconds)."""

    value: int
    origin: ValueOrigin
    read_from: int


@dataclass(frozen=True, kw_only=True)
class HourlySeries:
    """Hourly integers in the unit of the function that loaded them; the rule of `at` stands at the top of this module.

    `hours` are the starts of hours with a value, ascending; `blank_hours` those the file leaves blank; both in Unix
    seconds. `last_hour` is the last of either.
    """

    path: Path
    column: str
    hours: tuple[int, ...] = field(repr=False)
    blank_hours: tuple[int, ...]
    values: Mapping[int, int] = field(repr=False)
    refused: tuple[RefusedRow, ...]

    @property
    def first_hour(self) -> int:
        """Start of the first hour, Unix seconds."""
        return self.hours[0]

    @property
    def last_hour(self) -> int:
        """Start of the last hour, Unix seconds."""
        return max((self.hours[-1], *self.blank_hours[-1:]))

    def at(self, mtu_start: int) -> SeriesValue:
        """The value that holds in the MTU starting at `mtu_start` (Unix seconds). Raises SeriesNotCovering."""
        hour = mtu_start // HOUR_S * HOUR_S
        if self.first_hour <= hour <= self.last_hour:
            return self._value_of(hour, "file")
        return self._value_of(self._shifted(hour), "shifted_year")

    def _value_of(self, hour: int, origin: ValueOrigin) -> SeriesValue:
        value = self.values.get(hour)
        if value is not None:
            return SeriesValue(value=value, origin=origin, read_from=hour)
        last = self.hours[bisect_right(self.hours, hour) - 1]
        return SeriesValue(value=self.values[last], origin="carried", read_from=last)

    def _shifted(self, hour: int) -> int:
        year_start = self._full_year_start()
        if year_start is None:
            raise SeriesNotCovering(
                path=str(self.path),
                column=self.column,
                moment=format_utc(hour),
                first_hour=format_utc(self.first_hour),
                last_hour=format_utc(self.last_hour),
            )
        year = datetime.fromtimestamp(year_start, UTC).year
        shifted = _in_year(hour, year)
        return shifted if shifted >= year_start else _in_year(hour, year + 1)

    def _full_year_start(self) -> int | None:
        first_year = datetime.fromtimestamp(self.first_hour, UTC).year
        for year in (first_year, first_year + 1):
            start, end = _year_start(year), _year_start(year + 1)
            if self.first_hour <= start and end - HOUR_S <= self.last_hour:
                return start
        spans_twelve_months = _in_year(self.first_hour, first_year + 1) - HOUR_S <= self.last_hour
        return self.first_hour if spans_twelve_months else None


def _year_start(year: int) -> int:
    return int(datetime(year, 1, 1, tzinfo=UTC).timestamp())


def _in_year(hour: int, year: int) -> int:
    moment = datetime.fromtimestamp(hour, UTC)
    try:
        moved = moment.replace(year=year)
    except ValueError:
        moved = moment.replace(year=year, day=28)
    return int(moved.timestamp())


def load_prices(path: Path) -> HourlySeries:
    """Read `interval_start, price_eur_per_mwh` (others ignored) as cents/MWh: 1 EUR/MWh = 100 cents/MWh, int64, signed.

    A row is refused for: number of fields, quotes, unreadable time, a start off the hour, a price that is no plain
    decimal number or no whole number of cents/MWh, an hour already read: the first row counts. A blank price is kept
    as blank. Raises UnreadableFile, MissingColumns, DuplicateColumns, NoUsableRows, SeriesStartsBlank.
    """
    return _load_series(path, "price_eur_per_mwh", 2, INT64_MIN, INT64_MAX)


def load_carbon(path: Path) -> HourlySeries:
    """Read `interval_start, gco2_per_kwh` (others ignored) as mg CO2/kWh, 0..2**32-1; otherwise as `load_prices`."""
    return _load_series(path, "gco2_per_kwh", 3, 0, UINT32_MAX)


def _load_series(path: Path, column: str, decimals: int, lowest: int, highest: int) -> HourlySeries:
    values: dict[int, int | None] = {}
    with open_table(path, required=("interval_start", column), optional=None) as table:
        start_position, value_position = table.columns["interval_start"], table.columns[column]

        def take(_line_number: int, fields: list[str]) -> None:
            hour = _parsed_hour(fields[start_position])
            value = _parsed_value(column, fields[value_position], decimals, lowest, highest)
            if hour in values:
                same = values[hour] == value
                raise RowRefused(
                    "duplicate-identical" if same else "duplicate-different",
                    f"{fields[start_position]} was read before with {'the same' if same else 'another'} {column}",
                )
            values[hour] = value

        refused = table.for_each(take)
    return _series(path, column, values, refused)


def _series(path: Path, column: str, values: Mapping[int, int | None], refused: tuple[RefusedRow, ...]) -> HourlySeries:
    if not values:
        raise NoUsableRows(path=str(path), refused_count=len(refused), first_refused=refused[0] if refused else None)
    first = min(values)
    if values[first] is None:
        raise SeriesStartsBlank(path=str(path), column=column, hour_start=format_utc(first))
    known = {hour: value for hour, value in values.items() if value is not None}
    return HourlySeries(
        path=path,
        column=column,
        hours=tuple(sorted(known)),
        blank_hours=tuple(sorted(hour for hour, value in values.items() if value is None)),
        values=known,
        refused=refused,
    )


def _parsed_hour(text: str) -> int:
    try:
        hour = parse_utc("interval_start", text)
    except NotUtc:
        raise RowRefused("bad-time", f"interval_start {shown(text)} is not an ISO-8601 moment in UTC") from None
    if hour % HOUR_S:
        raise RowRefused("unaligned-start", f"interval_start {shown(text)} is not the start of an hour")
    return hour


def _parsed_value(column: str, text: str, decimals: int, lowest: int, highest: int) -> int | None:
    if not text.strip():
        return None
    if not PLAIN_NUMBER.fullmatch(text):
        raise RowRefused("bad-number", f"{column} {shown(text)} is not a plain decimal number")
    try:
        return check_range(column, parse_decimal(column, text, decimals), lowest, highest)
    except NotExact:
        raise RowRefused("number-not-exact", f"{column} {shown(text)} has more than {decimals} decimals") from None
    except OutOfRange:
        raise RowRefused("number-out-of-range", f"{column} {shown(text)} is out of range") from None
