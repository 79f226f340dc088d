"""The product's own columns of interval readings, as `replay`, `export` and `import` have them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import NamedTuple

from gridledger.errors import InvalidInput
from gridledger.metering.imports.rows import (
    REQUIRED_COLUMNS,
    STATEMENT_COLUMNS,
    ImportedRows,
    IntervalRow,
    first_of_each_interval,
)
from gridledger.metering.imports.tables import RefusedRow, RowRefused, checked_name, read_table, shown
from gridledger.units import MTU_LENGTHS_S, NotUtc, parse_utc

__all__ = ["MAX_ENERGY_WH", "StandardParser", "StandardRow", "UnsupportedMtuLength", "read_standard"]

MAX_ENERGY_WH = 2**32
MAX_ENERGY_DIGITS = len(str(MAX_ENERGY_WH))
CACHED_DIGITS = 5
CACHED_STARTS = 2**17


@dataclass(kw_only=True, eq=False)
class UnsupportedMtuLength(InvalidInput):
    """The first reading's length is not a market time unit."""

    path: str
    line_number: int
    length_s: int
    supported_s: tuple[int, ...] = MTU_LENGTHS_S


class StandardRow(NamedTuple):
    """A checked row: its meter and that meter's number in the file, start in Unix seconds, energies in Wh, 0..2**32.

    `energies_wh` are those of `StandardParser.energy_names`, in that order.
    """

    meter_id: str
    meter: int
    start: int
    start_text: str
    energies_wh: list[int]


class StandardParser:
    """Checks rows one by one; the first with an integer `interval_seconds` sets the MTU length of all.

    A row is refused, first reason found, for: meter_id, interval_seconds, interval_start, alignment, energies (each an
    integer of 0..2**32 Wh, written in digits alone; a blank cell is none).
    """

    def __init__(self, path: str, columns: Mapping[str, int]) -> None:
        self._path = path
        self.energy_names = tuple(name for name in REQUIRED_COLUMNS[3:] + STATEMENT_COLUMNS if name in columns)
        self._pick = itemgetter(*(columns[name] for name in REQUIRED_COLUMNS[:3] + self.energy_names))
        self.mtu_length_s: int | None = None
        self.meters: dict[str, int] = {}
        self._length_text = ""
        self._starts: dict[str, int] = {}
        self._energies: dict[str, int] = {}

    def parse(self, line_number: int, fields: list[str]) -> StandardRow:
        """The row in the fields of a line. Raises RowRefused, UnsupportedMtuLength."""
        meter_id, start_text, length_text, *energy_texts = self._pick(fields)
        meter = self.meters.get(meter_id)
        if meter is None:
            checked_name("meter_id", meter_id)
        if length_text != self._length_text:
            self._check_length(line_number, length_text)
        start = self._starts.get(start_text)
        if start is None:
            start = self._parsed_start(start_text)
        energies = [self._energies.get(text, -1) for text in energy_texts]
        if -1 in energies:
            named_texts = zip(self.energy_names, energy_texts, strict=True)
            energies = [self._parsed_energy(name, text) for name, text in named_texts]
        if meter is None:
            meter = self.meters[meter_id] = len(self.meters)
        return StandardRow(meter_id=meter_id, meter=meter, start=start, start_text=start_text, energies_wh=energies)

    def _check_length(self, line_number: int, text: str) -> None:
        if not (text.isascii() and text.isdigit() and len(text) <= MAX_ENERGY_DIGITS):
            raise RowRefused("wrong-length", f"interval_seconds {shown(text)} is not a number of seconds", text)
        length_s = int(text)
        if self.mtu_length_s is None:
            if length_s not in MTU_LENGTHS_S:
                raise UnsupportedMtuLength(path=self._path, line_number=line_number, length_s=length_s)
            self.mtu_length_s, self._length_text = length_s, text
        elif length_s != self.mtu_length_s:
            problem = f"the row is {length_s} s long, the file's first {self.mtu_length_s} s"
            raise RowRefused("wrong-length", problem, text)

    def _parsed_start(self, text: str) -> int:
        try:
            start = parse_utc("interval_start", text)
        except (NotUtc, OverflowError):
            problem = f"interval_start {shown(text)} is not an ISO-8601 moment in UTC"
            raise RowRefused("bad-time", problem, text) from None
        if start <= 0 or start % (self.mtu_length_s or 1):
            problem = f"interval_start {shown(text)} is no multiple of {self.mtu_length_s} s"
            raise RowRefused("unaligned-start", problem, text)
        if len(self._starts) >= CACHED_STARTS:
            self._starts.clear()
        self._starts[text] = start
        return start

    def _parsed_energy(self, name: str, text: str) -> int:
        digits = text.removeprefix("-")
        if not (digits.isascii() and digits.isdigit()):
            problem = f"{name} {shown(text)} is not an integer number of Wh"
            raise RowRefused("energy-not-integer", problem, text)
        if text != digits:
            raise RowRefused("energy-negative", f"{name} {shown(text)} is negative", text)
        significant = digits.lstrip("0") or "0"
        if len(significant) > MAX_ENERGY_DIGITS or int(significant) > MAX_ENERGY_WH:
            raise RowRefused("energy-too-large", f"{name} {shown(text)} is above {MAX_ENERGY_WH} Wh", text)
        if len(text) <= CACHED_DIGITS:
            self._energies[text] = int(significant)
        return int(significant)


def read_standard(path: str, lines: Iterator[str]) -> ImportedRows:
    """Rows of the product's own columns, as `StandardParser` checks them; of a (meter, MTU) the first counts.

    Raises UnreadableFile, MissingColumns, UnknownColumns, DuplicateColumns; while rows are walked UnsupportedMtuLength,
    TooManyIntervals.
    """
    table = read_table(path, lines, required=REQUIRED_COLUMNS, optional=STATEMENT_COLUMNS)
    parser = StandardParser(path, table.columns)

    def rows() -> Iterator[IntervalRow | RefusedRow]:
        for line_number, fields in table.rows():
            try:
                if isinstance(fields, RowRefused):
                    raise fields
                yield _interval_row(line_number, parser, parser.parse(line_number, fields))
            except RowRefused as refusal:
                yield refusal.at(line_number)

    columns = REQUIRED_COLUMNS[:3] + parser.energy_names
    return ImportedRows(columns=columns, rows=first_of_each_interval(path, rows()))


def _interval_row(line_number: int, parser: StandardParser, row: StandardRow) -> IntervalRow:
    energies = dict(zip(parser.energy_names, row.energies_wh, strict=True))
    return IntervalRow(
        line_number=line_number,
        meter_id=row.meter_id,
        mtu_start=row.start,
        interval_s=parser.mtu_length_s or 0,
        import_wh=energies["import_wh"],
        export_wh=energies["export_wh"],
        consumption_wh=energies.get("consumption_wh"),
        generation_wh=energies.get("generation_wh"),
    )
