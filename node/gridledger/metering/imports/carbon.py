"""The grid's carbon intensity from the product's own file of the generation mix and one of emission factors."""

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from fractions import Fraction

from gridledger.metering.imports.errors import EmissionFactorsRefused
from gridledger.metering.imports.rows import ImportedRows
from gridledger.metering.imports.series import (
    CARBON_COLUMNS,
    HOUR_S,
    MIX_COLUMNS,
    SOURCES,
    CarbonRow,
    first_of_each_hour,
    intensity_gco2_per_kwh_rounded_half_even,
)
from gridledger.metering.imports.tables import RefusedRow, RowRefused, read_table, shown
from gridledger.units import NotUtc, parse_utc

__all__ = ["CARBON_ZONE", "read_carbon", "read_factors"]

CARBON_ZONE = "DE"
_FACTOR_COLUMNS = ("source", "gco2e_per_kwh")
_FACTOR = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?")
_MWH = re.compile(r"[0-9]{1,12}(\.[0-9]{1,12})?")


def read_factors(path: str, lines: Iterator[str]) -> Mapping[str, Fraction | None]:
    """G CO2e per kWh by source; None for one that does not count. Raises EmissionFactorsRefused, as `read_table`."""
    table = read_table(path, lines, required=_FACTOR_COLUMNS, optional=None)
    factors: dict[str, Fraction | None] = {}

    def take(_line_number: int, fields: list[str]) -> None:
        source, text = (fields[table.columns[name]] for name in _FACTOR_COLUMNS)
        if source in factors or source not in SOURCES:
            raise RowRefused("bad-name", f"{shown(source)} is no source, or named twice", source)
        if text and not _FACTOR.fullmatch(text):
            raise RowRefused("bad-number", f"{shown(text)} is no number of g/kWh", text)
        factors[source] = Fraction(text) if text else None

    if refused := table.for_each(take):
        raise EmissionFactorsRefused(path=path, problem=f"line {refused[0].line_number}: {refused[0].text}")
    if missing := [source for source in SOURCES if source not in factors]:
        raise EmissionFactorsRefused(path=path, problem=f"no row of {', '.join(missing)}")
    return factors


def read_carbon(path: str, lines: Iterator[str], *, factors: Mapping[str, Fraction | None]) -> ImportedRows:
    """One row per hour of the mix: the average of the factors, rounded to 0.01 g/kWh, blank where the mix has a gap.

    Raises UnreadableFile, MissingColumns, DuplicateColumns.
    """
    table = read_table(path, lines, required=(MIX_COLUMNS[0], *MIX_COLUMNS[2:]), optional=None)
    start, *sources = (table.columns[name] for name in (MIX_COLUMNS[0], *MIX_COLUMNS[2:]))
    ordered = tuple(factors[source] for source in SOURCES)

    def rows() -> Iterator[CarbonRow | RefusedRow]:
        for line_number, fields in table.rows():
            try:
                if isinstance(fields, RowRefused):
                    raise fields
                mix = tuple(_energy_mwh(fields[position]) for position in sources)
                yield CarbonRow(
                    line_number=line_number,
                    hour_start=_hour_start(fields[start]),
                    gco2_per_kwh=intensity_gco2_per_kwh_rounded_half_even(mix, ordered),
                    zone=CARBON_ZONE,
                )
            except RowRefused as refusal:
                yield refusal.at(line_number)

    return ImportedRows(columns=CARBON_COLUMNS, rows=first_of_each_hour(path, rows()))


def _energy_mwh(text: str) -> Decimal | None:
    if not text:
        return None
    if not _MWH.fullmatch(text):
        raise RowRefused("bad-number", f"{shown(text)} is no number of MWh", text)
    return Decimal(text)


def _hour_start(text: str) -> int:
    try:
        moment = parse_utc("interval_start", text)
    except (NotUtc, OverflowError):
        raise RowRefused("bad-time", f"interval_start {shown(text)} is not an ISO-8601 moment in UTC", text) from None
    if moment <= 0 or moment % HOUR_S:
        raise RowRefused("unaligned-start", f"interval_start {shown(text)} is not the start of an hour", text)
    return moment
