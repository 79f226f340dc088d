"""Hourly series for the whole market: day-ahead prices, the generation mix, the grid's carbon intensity."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TypeVar

from gridledger.metering.imports.rows import ImportedRow, TooManyIntervals
from gridledger.metering.imports.tables import RefusedRow
from gridledger.units import format_utc

__all__ = [
    "CARBON_COLUMNS",
    "HOUR_S",
    "MIX_COLUMNS",
    "PRICE_COLUMNS",
    "SOURCES",
    "CarbonRow",
    "MixRow",
    "PriceRow",
    "first_of_each_hour",
    "intensity_gco2_per_kwh_rounded_half_even",
    "plain_text",
]

HOUR_S = 3600
SOURCES = (
    "biomass",
    "hydro",
    "wind_offshore",
    "wind_onshore",
    "solar",
    "other_renewable",
    "nuclear",
    "lignite",
    "hard_coal",
    "gas",
    "pumped_storage",
    "other_conventional",
)
PRICE_COLUMNS = ("interval_start", "price_eur_per_mwh", "market")
MIX_COLUMNS = ("interval_start", "load_mwh", *(f"{source}_mwh" for source in SOURCES))
CARBON_COLUMNS = ("interval_start", "gco2_per_kwh", "zone")
MOST_HOURS = 2**21


@dataclass(frozen=True, kw_only=True, slots=True)
class PriceRow:
    """The day-ahead price of an hour, which starts at hour_start (Unix seconds); None where the file has none."""

    line_number: int
    hour_start: int
    price_eur_per_mwh: Decimal | None
    market: str

    @property
    def line_numbers(self) -> tuple[int, ...]:
        """Its one line."""
        return (self.line_number,)

    def cells(self) -> tuple[str, ...]:
        """Values of `PRICE_COLUMNS`."""
        return (format_utc(self.hour_start), plain_text(self.price_eur_per_mwh), self.market)


@dataclass(frozen=True, kw_only=True, slots=True)
class MixRow:
    """What each of `SOURCES` generated in an hour, MWh, and the grid's load; None where the file has a gap."""

    line_numbers: tuple[int, ...]
    hour_start: int
    load_mwh: Decimal | None
    generated_mwh: tuple[Decimal | None, ...]

    @property
    def line_number(self) -> int:
        """Its last line."""
        return self.line_numbers[-1]

    def cells(self) -> tuple[str, ...]:
        """Values of `MIX_COLUMNS`."""
        return (format_utc(self.hour_start), plain_text(self.load_mwh), *map(plain_text, self.generated_mwh))


@dataclass(frozen=True, kw_only=True, slots=True)
class CarbonRow:
    """The grid's carbon intensity in an hour, g CO2e per kWh; None where the mix has a gap."""

    line_number: int
    hour_start: int
    gco2_per_kwh: Decimal | None
    zone: str

    @property
    def line_numbers(self) -> tuple[int, ...]:
        """Its one line."""
        return (self.line_number,)

    def cells(self) -> tuple[str, ...]:
        """Values of `CARBON_COLUMNS`."""
        return (format_utc(self.hour_start), plain_text(self.gco2_per_kwh), self.zone)


Hourly = TypeVar("Hourly", PriceRow, MixRow, CarbonRow)


def plain_text(value: Decimal | None) -> str:
    """A number without exponent or needless zeros; nothing for a gap."""
    if value is None:
        return ""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def first_of_each_hour(path: str, rows: Iterable[Hourly | RefusedRow]) -> Iterator[ImportedRow | RefusedRow]:
    """Refuse every row but the first of an hour. Raises TooManyIntervals above 2**21 hours."""
    seen: set[int] = set()
    for row in rows:
        if isinstance(row, RefusedRow) or row.hour_start not in seen:
            if not isinstance(row, RefusedRow):
                seen.add(row.hour_start)
                if len(seen) > MOST_HOURS:
                    raise TooManyIntervals(path=path, line_number=row.line_number)
            yield row
            continue
        start = format_utc(row.hour_start)
        text = f"the hour {start} was read before"
        for line_number in row.line_numbers:
            yield RefusedRow(line_number=line_number, reason_code="duplicate-interval", text=text, value=start)


def intensity_gco2_per_kwh_rounded_half_even(
    generated_mwh: tuple[Decimal | None, ...], gco2_per_kwh: tuple[Fraction | None, ...]
) -> Decimal | None:
    """Average of the sources' factors by their generation, to 0.01 g/kWh; a source without a factor is left out.

    None where a source with a factor has a gap, or nothing was generated.
    """
    counted = [(made, factor) for made, factor in zip(generated_mwh, gco2_per_kwh, strict=True) if factor is not None]
    known = [(Fraction(made), factor) for made, factor in counted if made is not None]
    total = sum((made for made, _ in known), Fraction(0))
    if len(known) < len(counted) or total <= 0:
        return None
    mean = sum((made * factor for made, factor in known), Fraction(0)) / total
    return Decimal(round(mean * 100)).scaleb(-2)
