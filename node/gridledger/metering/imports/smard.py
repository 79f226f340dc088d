"""Market data as SMARD (Bundesnetzagentur) hands them out: day-ahead prices and actual generation.

Semicolons, German numbers (`1.231,5`), `-` for a gap, local time in one of two layouts: `Datum;Uhrzeit` or
`Datum von;Datum bis`. The repeated hour of autumn is told by the order of rows (`local_time`). In the second layout
only the clock time of the end is looked at: the source writes a wrong day there when clocks go forward.
"""

import re
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from gridledger.metering.imports.errors import ImportOptionRefused
from gridledger.metering.imports.local_time import checked_year, moments_of
from gridledger.metering.imports.rows import ImportedRows
from gridledger.metering.imports.series import (
    HOUR_S,
    MIX_COLUMNS,
    PRICE_COLUMNS,
    SOURCES,
    MixRow,
    PriceRow,
    first_of_each_hour,
)
from gridledger.metering.imports.tables import MissingColumns, RefusedRow, RowRefused, Table, read_table, shown
from gridledger.units import format_utc

__all__ = ["DEFAULT_MARKET", "read_smard_generation", "read_smard_prices"]

DEFAULT_MARKET = "Deutschland/Luxemburg"
_MARKET_NAMES = {DEFAULT_MARKET: "DE-LU"}
_GAP = "-"
MOST_HELD = 256
_PRICE = re.compile(r"(.+?) ?\[€/MWh\].*")
_ENERGY = re.compile(r"(.+?) ?\[MWh\].*")
_GERMAN_NUMBER = re.compile(r"-?([0-9]{1,3}(\.[0-9]{3}){1,4}|[0-9]{1,15})(,[0-9]{1,12})?")
_LABEL = re.compile(r"([0-9]{2})\.([0-9]{2})\.([0-9]{4}) ([0-9]{2}):([0-9]{2})")
_SOURCE_NAMES = {
    "Biomasse": "biomass",
    "Wasserkraft": "hydro",
    "Wind Offshore": "wind_offshore",
    "Wind Onshore": "wind_onshore",
    "Photovoltaik": "solar",
    "Sonstige Erneuerbare": "other_renewable",
    "Kernenergie": "nuclear",
    "Braunkohle": "lignite",
    "Steinkohle": "hard_coal",
    "Erdgas": "gas",
    "Pumpspeicher": "pumped_storage",
    "Sonstige Konventionelle": "other_conventional",
}

_Row = tuple[int, list[str]]
_Values = tuple[int, int, tuple[Decimal | None, ...]]  # line, moment, one value a column


def read_smard_prices(path: str, lines: Iterator[str], *, zone: ZoneInfo, market: str = DEFAULT_MARKET) -> ImportedRows:
    """Hourly prices of one market's column, EUR/MWh. Raises UnreadableFile, MissingColumns, DuplicateColumns."""
    table = _opened(path, lines)
    column = _columns_by_name(table, _PRICE).get(market)
    if column is None:
        raise MissingColumns(path=path, columns=(f"{market} [€/MWh]",), header=";".join(table.columns)[:200])

    def rows() -> Iterator[PriceRow | RefusedRow]:
        for one in _values(table, zone, (column,), HOUR_S):
            if isinstance(one, RefusedRow):
                yield one
            else:
                line_number, moment, (price,) = one
                name = _MARKET_NAMES.get(market, market)
                yield PriceRow(line_number=line_number, hour_start=moment, price_eur_per_mwh=price, market=name)

    return ImportedRows(columns=PRICE_COLUMNS, rows=first_of_each_hour(path, rows()))


def read_smard_generation(path: str, lines: Iterator[str], *, zone: ZoneInfo, interval_s: int) -> ImportedRows:
    """Generation by source, summed to hours of rows `interval_s` apart (900 or 3600 s); the load is not in these files.

    A gap in one row is a gap of its hour; an hour in which a row is missing or refused is refused as incomplete.
    Raises ImportOptionRefused, UnreadableFile, MissingColumns, DuplicateColumns.
    """
    if interval_s not in {900, HOUR_S}:
        raise ImportOptionRefused(option="interval", value=str(interval_s), expected="900 or 3600 s")
    table = _opened(path, lines)
    by_name = _columns_by_name(table, _ENERGY)
    if missing := tuple(f"{name} [MWh]" for name in _SOURCE_NAMES if name not in by_name):
        raise MissingColumns(path=path, columns=missing, header=";".join(table.columns)[:200])
    source_of = {source: by_name[name] for name, source in _SOURCE_NAMES.items()}
    columns = tuple(source_of[source] for source in SOURCES)
    hours = _hours(_values(table, zone, columns, interval_s), HOUR_S // interval_s)
    return ImportedRows(columns=MIX_COLUMNS, rows=first_of_each_hour(path, hours))


def _opened(path: str, lines: Iterator[str]) -> Table:
    table = read_table(path, lines, required=(), optional=None, delimiter=";")
    if not ({"Datum", "Uhrzeit"} <= table.columns.keys() or {"Datum von", "Datum bis"} <= table.columns.keys()):
        header = ";".join(table.columns)[:200]
        raise MissingColumns(path=path, columns=("Datum von", "Datum bis"), header=header)
    return table


def _columns_by_name(table: Table, pattern: re.Pattern[str]) -> dict[str, int]:
    """Position by name without unit; of a name in two resolutions the first."""
    found: dict[str, int] = {}
    for header, position in table.columns.items():
        if match := pattern.fullmatch(header):
            found.setdefault(match[1], position)
    return found


def _values(table: Table, zone: ZoneInfo, columns: tuple[int, ...], interval_s: int) -> Iterator[_Values | RefusedRow]:
    def labels() -> Iterator[tuple[_Row, datetime | RowRefused]]:
        for line_number, fields in table.rows():
            if isinstance(fields, RowRefused):
                yield (line_number, []), fields
                continue
            try:
                label: datetime | RowRefused = _start_label(table, fields, interval_s)
            except RowRefused as refusal:
                label = refusal
            yield (line_number, fields), label

    for (line_number, fields), moment in moments_of(labels(), zone):
        try:
            if isinstance(moment, RowRefused):
                raise moment
            yield line_number, moment, tuple(_german_number(fields[column]) for column in columns)
        except RowRefused as refusal:
            yield refusal.at(line_number)


def _start_label(table: Table, fields: list[str], interval_s: int) -> datetime:
    columns = table.columns
    if "Datum von" in columns:
        text = fields[columns["Datum von"]]
        label = _label(text)
        end_text = fields[columns["Datum bis"]]
        end = _label(end_text)
        clock_s = ((end.hour - label.hour) * 60 + end.minute - label.minute) * 60 % 86_400
        if clock_s not in {interval_s, interval_s + HOUR_S}:  # the latter when clocks go forward
            raise RowRefused("wrong-length", f"{shown(text)} to {shown(end_text)} is not {interval_s} s", end_text)
    else:
        text = f"{fields[columns['Datum']]} {fields[columns['Uhrzeit']]}"
        label = _label(text)
    if label.minute * 60 % interval_s:
        raise RowRefused("unaligned-start", f"{shown(text)} is no multiple of {interval_s} s", text)
    return label


def _label(text: str) -> datetime:
    match = _LABEL.fullmatch(text)
    try:
        if match is None:
            raise ValueError
        day, month, year, hour, minute = map(int, match.groups())
        label = datetime(year, month, day, hour, minute)  # noqa: DTZ001 - a local time; its zone comes later
    except ValueError:
        raise RowRefused("bad-time", f"{shown(text)} is not a local time such as 30.03.2024 00:00", text) from None
    return checked_year(text, label)


def _german_number(text: str) -> Decimal | None:
    if text == _GAP:
        return None
    if not _GERMAN_NUMBER.fullmatch(text):
        raise RowRefused("bad-number", f"{shown(text)} is not a German number", text)
    return Decimal(text.replace(".", "").replace(",", "."))


def _hours(values: Iterator[_Values | RefusedRow], rows_per_hour: int) -> Iterator[MixRow | RefusedRow]:
    """Sums of the rows of an hour that stand together, in the order of the file."""
    hour: dict[int, _Values] = {}
    refused: list[RefusedRow] = []
    for one in values:
        if isinstance(one, RefusedRow):
            refused.append(one)
        else:
            if hour and next(iter(hour)) // HOUR_S != one[1] // HOUR_S:
                yield from _in_order(refused, _sum_or_refusals(hour, rows_per_hour))
                hour, refused = {}, []
            if one[1] in hour:
                refused.append(_twice(one))
            else:
                hour[one[1]] = one
        if not hour or len(refused) >= MOST_HELD:
            yield from refused
            refused = []
    yield from _in_order(refused, _sum_or_refusals(hour, rows_per_hour))


def _sum_or_refusals(hour: dict[int, _Values], rows_per_hour: int) -> list[MixRow | RefusedRow]:
    if len(hour) < rows_per_hour:
        return [_incomplete(line_number, moment) for line_number, moment, _ in hour.values()]
    columns = zip(*(values for _, _, values in hour.values()), strict=True)
    return [
        MixRow(
            line_numbers=tuple(line_number for line_number, _, _ in hour.values()),
            hour_start=min(hour) // HOUR_S * HOUR_S,
            load_mwh=None,
            generated_mwh=tuple(_sum_without_gap(column) for column in columns),
        )
    ]


def _sum_without_gap(values: tuple[Decimal | None, ...]) -> Decimal | None:
    known = [value for value in values if value is not None]
    return sum(known, Decimal(0)) if len(known) == len(values) else None


def _in_order(refused: list[RefusedRow], hour: list[MixRow | RefusedRow]) -> list[MixRow | RefusedRow]:
    return sorted([*refused, *hour], key=lambda one: one.line_number)


def _twice(one: _Values) -> RefusedRow:
    start = format_utc(one[1])
    text = f"the row of {start} was read before"
    return RefusedRow(line_number=one[0], reason_code="duplicate-interval", text=text, value=start)


def _incomplete(line_number: int, moment: int) -> RefusedRow:
    start = format_utc(moment)
    text = f"another row of the hour of {start} is missing or refused"
    return RefusedRow(line_number=line_number, reason_code="incomplete-hour", text=text, value=start)
