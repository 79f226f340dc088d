"""The formats that can be imported, by name, and what each must be told besides."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from fractions import Fraction

from gridledger.errors import InvalidInput
from gridledger.metering.imports.carbon import read_carbon
from gridledger.metering.imports.errors import ImportOptionMissing, ImportOptionRefused
from gridledger.metering.imports.homes import read_ausgrid, read_citylearn
from gridledger.metering.imports.local_time import time_zone
from gridledger.metering.imports.rows import ImportedRows
from gridledger.metering.imports.smard import DEFAULT_MARKET, read_smard_generation, read_smard_prices
from gridledger.metering.imports.standard import read_standard
from gridledger.metering.imports.tables import RowRefused, checked_name

__all__ = ["FORMAT_NAMES", "ImportOptions", "UnknownImportFormat", "read_format"]

AUSGRID_ZONE, SMARD_ZONE = "Australia/Sydney", "Europe/Berlin"
SMARD_INTERVAL_S = 900
MOST_PV_W = 10**9


@dataclass(kw_only=True, eq=False)
class UnknownImportFormat(InvalidInput):
    """There is no format of this name."""

    format: str
    known: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """What a file does not say of itself: start in Unix seconds, pv_w the power of a roof, factors in g CO2e/kWh."""

    meter_id: str | None = None
    time_zone: str | None = None
    start: int | None = None
    pv_w: int | None = None
    market: str | None = None
    interval_s: int | None = None
    factors: Mapping[str, Fraction | None] | None = None


Reader = Callable[[str, Iterator[str], ImportOptions], ImportedRows]


def _standard(path: str, lines: Iterator[str], _options: ImportOptions) -> ImportedRows:
    return read_standard(path, lines)


def _ausgrid(path: str, lines: Iterator[str], options: ImportOptions) -> ImportedRows:
    zone = time_zone(options.time_zone or AUSGRID_ZONE)
    return read_ausgrid(path, lines, meter_id=_meter_id("ausgrid", options), zone=zone)


def _citylearn(path: str, lines: Iterator[str], options: ImportOptions) -> ImportedRows:
    start, pv_w = options.start, options.pv_w
    if start is None:
        raise ImportOptionMissing(format="citylearn", option="start")
    if pv_w is None:
        raise ImportOptionMissing(format="citylearn", option="pv-kwp")
    if start <= 0 or start % 3600:
        raise ImportOptionRefused(option="start", value=str(start), expected="the start of an hour after 1970")
    if not 0 <= pv_w <= MOST_PV_W:
        raise ImportOptionRefused(option="pv-kwp", value=str(pv_w), expected=f"0 to {MOST_PV_W // 1000} kW")
    return read_citylearn(path, lines, meter_id=_meter_id("citylearn", options), start=start, pv_w=pv_w)


def _smard_prices(path: str, lines: Iterator[str], options: ImportOptions) -> ImportedRows:
    zone = time_zone(options.time_zone or SMARD_ZONE)
    return read_smard_prices(path, lines, zone=zone, market=options.market or DEFAULT_MARKET)


def _smard_generation(path: str, lines: Iterator[str], options: ImportOptions) -> ImportedRows:
    zone = time_zone(options.time_zone or SMARD_ZONE)
    return read_smard_generation(path, lines, zone=zone, interval_s=options.interval_s or SMARD_INTERVAL_S)


def _carbon(path: str, lines: Iterator[str], options: ImportOptions) -> ImportedRows:
    if options.factors is None:
        raise ImportOptionMissing(format="carbon", option="factors")
    return read_carbon(path, lines, factors=options.factors)


_FORMATS: Mapping[str, tuple[Reader, frozenset[str]]] = {
    "standard": (_standard, frozenset()),
    "ausgrid": (_ausgrid, frozenset({"meter_id", "time_zone"})),
    "citylearn": (_citylearn, frozenset({"meter_id", "start", "pv_w"})),
    "smard-prices": (_smard_prices, frozenset({"time_zone", "market"})),
    "smard-generation": (_smard_generation, frozenset({"time_zone", "interval_s"})),
    "carbon": (_carbon, frozenset({"factors"})),
}
FORMAT_NAMES = tuple(_FORMATS)


def read_format(name: str, path: str, lines: Iterator[str], options: ImportOptions) -> ImportedRows:
    """The rows of a file in a named format; `path` is for messages. Memory hardly grows with the file.

    Raises UnknownImportFormat, ImportOptionMissing, ImportOptionRefused, UnknownTimeZone, and the errors of a file that
    is unusable as a whole, as the format's reader names them, also while rows are walked.
    """
    if name not in _FORMATS:
        raise UnknownImportFormat(format=name[:60], known=FORMAT_NAMES)
    reader, used = _FORMATS[name]
    for option in fields(options):
        value = getattr(options, option.name)
        if value is not None and option.name not in used:
            shown = "given" if option.name == "factors" else str(value)[:60]
            raise ImportOptionRefused(option=option.name, value=shown, expected=f"nothing with {name}")
    return reader(path, lines, options)


def _meter_id(name: str, options: ImportOptions) -> str:
    if options.meter_id is None:
        raise ImportOptionMissing(format=name, option="meter-id")
    try:
        return checked_name("meter_id", options.meter_id)
    except RowRefused as refusal:
        raise ImportOptionRefused(option="meter-id", value=refusal.value, expected=refusal.text) from None
