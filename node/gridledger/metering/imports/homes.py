"""Homes of two open data sets, told as what they consumed and what their roofs made.

`ausgrid`: rows of local civil time with average kW over half an hour, consumption (GC) and generation (GG) metered
apart, one home a file. Source: Ausgrid solar home data, as github.com/pierre-haessig/ausgrid-solar-data has them.
`citylearn`: one row an hour without dates, hours 1 to 24, consumption in kWh, generation in W per kW of the roof.
Rows count on from a given start, in true hours. Columns of heat and cold are energy of another kind: a row in which
one is not zero is refused. Source: CityLearn challenge 2022.

Import is what consumption exceeds generation by, export the other way round; one of them is zero.
"""

import re
from collections.abc import Iterator
from datetime import datetime
from fractions import Fraction
from zoneinfo import ZoneInfo

from gridledger.metering.imports.energy import (
    energy_of_power_wh_rounded_half_even,
    parsed_number,
    wh_rounded_half_even,
)
from gridledger.metering.imports.local_time import checked_year, moments_of
from gridledger.metering.imports.rows import (
    REQUIRED_COLUMNS,
    STATEMENT_COLUMNS,
    ImportedRows,
    IntervalRow,
    first_of_each_interval,
)
from gridledger.metering.imports.tables import RefusedRow, RowRefused, Table, read_table, shown

__all__ = ["AUSGRID_INTERVAL_S", "CITYLEARN_INTERVAL_S", "read_ausgrid", "read_citylearn"]

AUSGRID_INTERVAL_S = 1800
CITYLEARN_INTERVAL_S = 3600
HOURS_PER_DAY = 24
_AUSGRID_COLUMNS = ("", "GC", "GG")
_LOCAL_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}")
_CITYLEARN_COLUMNS = ("month", "hour", "non_shiftable_load", "solar_generation")
_THERMAL_COLUMNS = ("dhw_demand", "cooling_demand", "heating_demand")
_COLUMNS = REQUIRED_COLUMNS + STATEMENT_COLUMNS

_AusgridRow = tuple[int, list[str]]


def read_ausgrid(path: str, lines: Iterator[str], *, meter_id: str, zone: ZoneInfo) -> ImportedRows:
    """Rows `,GC,GG`: the start as local time without a zone, and two average powers in kW over 1,800 s.

    Raises UnreadableFile, MissingColumns, UnknownColumns, DuplicateColumns.
    """
    table = read_table(path, lines, required=_AUSGRID_COLUMNS, optional=())
    time, *powers = (table.columns[name] for name in _AUSGRID_COLUMNS)

    def labels() -> Iterator[tuple[_AusgridRow, datetime | RowRefused]]:
        for line_number, fields in table.rows():
            if isinstance(fields, RowRefused):
                yield (line_number, []), fields
                continue
            try:
                label: datetime | RowRefused = _local_label(fields[time])
            except RowRefused as refusal:
                label = refusal
            yield (line_number, [fields[position] for position in powers]), label

    def rows() -> Iterator[IntervalRow | RefusedRow]:
        for (line_number, texts), moment in moments_of(labels(), zone):
            try:
                if isinstance(moment, RowRefused):
                    raise moment
                consumption_wh, generation_wh = (
                    energy_of_power_wh_rounded_half_even(name, text, AUSGRID_INTERVAL_S)
                    for name, text in zip(_AUSGRID_COLUMNS[1:], texts, strict=True)
                )
                yield _home_row(line_number, meter_id, moment, AUSGRID_INTERVAL_S, consumption_wh, generation_wh)
            except RowRefused as refusal:
                yield refusal.at(line_number)

    return ImportedRows(columns=_COLUMNS, rows=first_of_each_interval(path, rows()))


def read_citylearn(path: str, lines: Iterator[str], *, meter_id: str, start: int, pv_w: int) -> ImportedRows:
    """Rows an hour apart from `start` (Unix seconds) on; `pv_w` is the power of the roof, W.

    A row whose `hour` is not the one that follows from the first row's and its own place is refused as out of sequence:
    should a row be missing, all after it are refused, and none is taken for another hour.
    Raises UnreadableFile, MissingColumns, DuplicateColumns.
    """
    table = read_table(path, lines, required=_CITYLEARN_COLUMNS, optional=None)

    def rows() -> Iterator[IntervalRow | RefusedRow]:
        first_hour: int | None = None
        for place, (line_number, fields) in enumerate(table.rows()):
            try:
                if isinstance(fields, RowRefused):
                    raise fields
                hour = _hour(fields[table.columns["hour"]])
                if first_hour is None:
                    first_hour = hour - place
                _require_in_sequence(hour, first_hour + place)
                consumption_wh, generation_wh = _citylearn_energies_wh(table, fields, pv_w)
                moment = start + place * CITYLEARN_INTERVAL_S
                yield _home_row(line_number, meter_id, moment, CITYLEARN_INTERVAL_S, consumption_wh, generation_wh)
            except RowRefused as refusal:
                yield refusal.at(line_number)

    return ImportedRows(columns=_COLUMNS, rows=rows())


def _local_label(text: str) -> datetime:
    try:
        if not _LOCAL_TIME.fullmatch(text):
            raise ValueError
        label = datetime.fromisoformat(text)
    except ValueError:
        raise RowRefused("bad-time", f"{shown(text)} is not a local time such as 2011-09-25 00:30:00", text) from None
    if label.second or label.minute * 60 % AUSGRID_INTERVAL_S:
        raise RowRefused("unaligned-start", f"{shown(text)} is no multiple of {AUSGRID_INTERVAL_S} s", text)
    return checked_year(text, label)


def _hour(text: str) -> int:
    hour = int(text) if text.isascii() and text.isdigit() and len(text) <= 2 else 0
    if not 1 <= hour <= HOURS_PER_DAY:
        raise RowRefused("bad-time", f"hour {shown(text)} is not 1 to {HOURS_PER_DAY}", text)
    return hour


def _require_in_sequence(hour: int, counted: int) -> None:
    expected = (counted - 1) % HOURS_PER_DAY + 1
    if hour != expected:
        raise RowRefused("out-of-sequence", f"hour {hour} stands where {expected} follows", str(hour))


def _citylearn_energies_wh(table: Table, fields: list[str], pv_w: int) -> tuple[int, int]:
    for name in _THERMAL_COLUMNS:
        text = fields[table.columns[name]] if name in table.columns else ""
        if text and parsed_number(name, text) != 0:
            raise RowRefused("thermal-demand", f"{name} {shown(text)} is heat or cold, of unknown electricity", text)
    load, solar = (fields[table.columns[name]] for name in _CITYLEARN_COLUMNS[2:])
    consumption_wh = wh_rounded_half_even("non_shiftable_load", load, Fraction(1000))
    return consumption_wh, wh_rounded_half_even("solar_generation", solar, Fraction(pv_w, 1000))


def _home_row(
    line_number: int, meter_id: str, mtu_start: int, interval_s: int, consumption_wh: int, generation_wh: int
) -> IntervalRow:
    return IntervalRow(
        line_number=line_number,
        meter_id=meter_id,
        mtu_start=mtu_start,
        interval_s=interval_s,
        import_wh=max(0, consumption_wh - generation_wh),
        export_wh=max(0, generation_wh - consumption_wh),
        consumption_wh=consumption_wh,
        generation_wh=generation_wh,
    )
