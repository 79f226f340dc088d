"""The grid operator's files of one feeder: `transformer.csv`, `lines.csv`, `buses.csv`, `meters.csv` in a folder.

Columns are named as pandapower names them; their order is free and further ones are ignored. A limit is the element's
apparent power at its `max_loading_percent`, in W at power factor 1, rounded down: of the transformer `sn_mva`, of a
line `limit_kva`, or where that is missing the square root of 3 times its first bus's `vn_kv` times `max_i_ka`.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from pathlib import Path
from typing import NoReturn, TypeVar

from gridledger.dispatch.feeder import Bus, Feeder, Line, Transformer
from gridledger.grid.errors import FeederFileRefused, FeederTooLarge
from gridledger.metering.imports.tables import NoUsableRows, RowRefused, Table, checked_name, read_table, shown
from gridledger.text_files import open_lines

__all__ = ["MOST_BUSES", "MOST_LINES", "MOST_METERS", "load_feeder"]

MOST_BUSES, MOST_LINES, MOST_METERS = 10_000, 20_000, 100_000
_PLAIN_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,18})?")
_BUS_NUMBER = re.compile(r"[0-9]{1,9}")
_Key = TypeVar("_Key", int, str)
_Value = TypeVar("_Value")
_ROOT_OF_THREE = Decimal(3).sqrt()
_MILLION = 10**6
_TRANSFORMER_COLUMNS = (
    "name",
    "hv_bus",
    "lv_bus",
    "sn_mva",
    "vn_hv_kv",
    "vn_lv_kv",
    "vk_percent",
    "vkr_percent",
    "max_loading_percent",
)
_LINE_COLUMNS = (
    "name",
    "from_bus",
    "to_bus",
    "length_km",
    "r_ohm_per_km",
    "x_ohm_per_km",
    "max_i_ka",
    "max_loading_percent",
)
_BUS_COLUMNS = ("bus", "name", "vn_kv", "min_vm_pu", "max_vm_pu")
_METER_COLUMNS = ("meter_id", "bus")


def load_feeder(folder: Path, meters: Path | None = None) -> Feeder[str]:
    """The feeder whose files lie in a folder, plain or gzip, its meters by `meter_id`; `meters` replaces `meters.csv`.

    Raises FeederFileRefused for the first row that cannot be read: number of fields, quotes, a name that is not 1 to 64
    printable characters, a number that is no plain decimal or out of its range, a bus that `buses.csv` does not have, a
    name or bus that was read before. FeederTooLarge, NoUsableRows without a row, UnreadableFile, MissingColumns,
    DuplicateColumns; ElementTwice, NetworkNotConnected, MeterNotFed.
    """
    buses = _rows(folder / "buses.csv", _BUS_COLUMNS, MOST_BUSES, _bus)
    transformers = _rows(folder / "transformer.csv", _TRANSFORMER_COLUMNS, 1, lambda row: _transformer(row, buses))
    lines = _rows(folder / "lines.csv", _LINE_COLUMNS, MOST_LINES, lambda row: _line(row, buses))
    meter_buses = _rows(meters or folder / "meters.csv", _METER_COLUMNS, MOST_METERS, lambda row: _meter(row, buses))
    (transformer,) = transformers.values()
    return Feeder(
        transformer=transformer,
        lines=tuple(lines.values()),
        buses=tuple(buses.values()),
        meter_buses=meter_buses,
    )


@dataclass(frozen=True, kw_only=True)
class _Row:
    """One row's cells by column, and where it stands."""

    path: str
    line_number: int
    cells: Mapping[str, str]

    def refuse(self, column: str, problem: str) -> NoReturn:
        """Raise FeederFileRefused at this row."""
        raise FeederFileRefused(path=self.path, line_number=self.line_number, column=column, problem=problem)

    def name(self, column: str) -> str:
        """A printable name."""
        try:
            return checked_name(column, self.cells[column])
        except RowRefused as refusal:
            self.refuse(column, refusal.text)

    def bus(self, column: str) -> int:
        """A bus's number."""
        text = self.cells[column]
        if not _BUS_NUMBER.fullmatch(text):
            self.refuse(column, f"{shown(text)} is not a bus's number")
        return int(text)

    def known_bus(self, column: str, buses: Mapping[int, Bus]) -> int:
        """The number of a bus of the network."""
        bus = self.bus(column)
        if bus not in buses:
            self.refuse(column, f"buses.csv has no bus {bus}")
        return bus

    def number(self, column: str, *, highest: int, above: int | None = None) -> Decimal:
        """A plain decimal number from 0, or from above a bound, to the highest."""
        text = self.cells[column]
        if not _PLAIN_NUMBER.fullmatch(text):
            self.refuse(column, f"{shown(text)} is not a plain number")
        number = Decimal(text)
        if number > highest or (above is not None and number <= above):
            bounds = f"0 to {highest}" if above is None else f"above {above}, at most {highest}"
            self.refuse(column, f"{shown(text)} is not {bounds}")
        return number


def _rows(
    path: Path, required: tuple[str, ...], most: int, parse: Callable[[_Row], tuple[_Key, _Value]]
) -> dict[_Key, _Value]:
    values: dict[_Key, _Value] = {}
    with open_lines(path) as opened:
        table = read_table(str(path), opened.lines, required=required, optional=None)
        for row in _cells(table):
            key, value = parse(row)
            if key in values:
                row.refuse(required[0], f"{shown(str(key))} was read before")
            if len(values) == most:
                raise FeederTooLarge(path=str(path), highest=most)
            values[key] = value
    if not values:
        raise NoUsableRows(path=str(path), refused_count=0, first_refused=None)
    return values


def _cells(table: Table) -> Iterator[_Row]:
    for line_number, fields in table.rows():
        if isinstance(fields, RowRefused):
            raise FeederFileRefused(path=table.path, line_number=line_number, column="", problem=fields.text)
        cells = {name: fields[position] for name, position in table.columns.items()}
        yield _Row(path=table.path, line_number=line_number, cells=cells)


def _bus(row: _Row) -> tuple[int, Bus]:
    lowest, highest = row.number("min_vm_pu", highest=2), row.number("max_vm_pu", highest=2)
    if lowest >= highest:
        row.refuse("max_vm_pu", "the highest voltage is not above the lowest")
    bus = Bus(
        bus=row.bus("bus"),
        name=row.name("name"),
        nominal_v=_floor(row.number("vn_kv", above=0, highest=1000) * 1000),
        lowest_voltage_ppm=_floor(lowest * _MILLION),
        highest_voltage_ppm=_floor(highest * _MILLION),
    )
    return bus.bus, bus


def _transformer(row: _Row, buses: Mapping[int, Bus]) -> tuple[str, Transformer]:
    rated_mva = row.number("sn_mva", above=0, highest=10_000)
    hv_bus, lv_bus = row.known_bus("hv_bus", buses), row.known_bus("lv_bus", buses)
    if hv_bus == lv_bus:
        row.refuse("lv_bus", "the transformer has the same bus on both sides")
    short_circuit = row.number("vk_percent", above=0, highest=100)
    resistive = row.number("vkr_percent", highest=100)
    if resistive > short_circuit:
        row.refuse("vkr_percent", "the resistive part is above the whole short-circuit voltage")
    transformer = Transformer(
        name=row.name("name"),
        hv_bus=hv_bus,
        lv_bus=lv_bus,
        limit_w=_floor(rated_mva * _MILLION * _loading(row)),
        rated_mva=rated_mva,
        hv_kv=row.number("vn_hv_kv", above=0, highest=1000),
        lv_kv=row.number("vn_lv_kv", above=0, highest=1000),
        short_circuit_percent=short_circuit,
        short_circuit_resistive_percent=resistive,
    )
    return transformer.name, transformer


def _line(row: _Row, buses: Mapping[int, Bus]) -> tuple[str, Line]:
    from_bus, to_bus = row.known_bus("from_bus", buses), row.known_bus("to_bus", buses)
    max_current_ka = row.number("max_i_ka", above=0, highest=1000)
    if row.cells.get("limit_kva", ""):
        limit_va = row.number("limit_kva", above=0, highest=_MILLION) * 1000
    else:
        limit_va = _ROOT_OF_THREE * buses[from_bus].nominal_v * max_current_ka * 1000
    line = Line(
        name=row.name("name"),
        from_bus=from_bus,
        to_bus=to_bus,
        limit_w=_floor(limit_va * _loading(row)),
        length_km=row.number("length_km", above=0, highest=1000),
        resistance_ohm_per_km=row.number("r_ohm_per_km", highest=1000),
        reactance_ohm_per_km=row.number("x_ohm_per_km", highest=1000),
        max_current_ka=max_current_ka,
    )
    return line.name, line


def _meter(row: _Row, buses: Mapping[int, Bus]) -> tuple[str, int]:
    return row.name("meter_id"), row.known_bus("bus", buses)


def _loading(row: _Row) -> Decimal:
    return row.number("max_loading_percent", above=0, highest=200) / 100


def _floor(number: Decimal) -> int:
    return int(number.to_integral_value(ROUND_FLOOR))
