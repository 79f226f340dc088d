"""Meter readings from a file, kept column by column and handed out per MTU."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path

from gridledger.errors import InvalidInput
from gridledger.simulation.input_rows import NoUsableRows, RefusedRow, RowRefused, checked_name, open_table, shown
from gridledger.units import MTU_LENGTHS_S, NotUtc, parse_utc

__all__ = [
    "MAX_ENERGY_WH",
    "EmptyWindow",
    "MeterExtremes",
    "MeterReading",
    "ReadingsFile",
    "UnsupportedMtuLength",
    "load_readings",
]

REQUIRED_COLUMNS = ("meter_id", "interval_start", "interval_seconds", "import_wh", "export_wh")
STATEMENT_COLUMNS = ("consumption_wh", "generation_wh")
MAX_ENERGY_WH = 2**32
MAX_ENERGY_DIGITS = len(str(MAX_ENERGY_WH))
CACHED_DIGITS = 5
METER_BITS = 32
METER_MASK = (1 << METER_BITS) - 1


@dataclass(kw_only=True, eq=False)
class UnsupportedMtuLength(InvalidInput):
    """The first reading's length is not a market time unit."""

    path: str
    line_number: int
    length_s: int
    supported_s: tuple[int, ...] = MTU_LENGTHS_S


@dataclass(kw_only=True, eq=False)
class EmptyWindow(InvalidInput):
    """The half-open period asked for holds no moment."""

    from_s: int
    to_s: int


@dataclass(frozen=True, kw_only=True, slots=True)
class MeterReading:
    """What one meter measured in one MTU; energies in Wh, 0..2**32. None where the file has no such column."""

    meter_id: str
    mtu_start: int
    import_wh: int
    export_wh: int
    consumption_wh: int | None
    generation_wh: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class MeterExtremes:
    """What one meter reached anywhere in the file, also outside the period asked for; Wh per MTU."""

    max_import_wh: int
    max_export_wh: int
    has_generation: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class SortedRows:
    """Columns of the kept rows, sorted by MTU and then by meter; `bounds` says where each MTU begins and ends."""

    meters: array[int]
    energies_wh: Mapping[str, array[int]]
    bounds: Mapping[int, tuple[int, int]]


@dataclass(frozen=True, kw_only=True)
class ReadingsFile:
    """The readings of a file within [from_s, to_s), with what was refused.

    `mtu_length_s` is that of the file's first row; `mtu_starts` (Unix seconds, ascending) are those with at least one
    reading; `meter_ids` (ascending) have at least one; `outside_count` good rows lay outside the period.
    """

    path: Path
    mtu_length_s: int
    meter_ids: tuple[str, ...]
    mtu_starts: tuple[int, ...]
    refused: tuple[RefusedRow, ...]
    reading_count: int
    outside_count: int
    extremes: Mapping[str, MeterExtremes] = field(repr=False)
    rows: SortedRows = field(repr=False)

    def at(self, mtu_start: int) -> tuple[MeterReading, ...]:
        """The readings of one MTU, ascending by meter_id; empty where the file has none."""
        begin, end = self.rows.bounds.get(mtu_start, (0, 0))
        energies = self.rows.energies_wh
        consumption, generation = energies.get("consumption_wh"), energies.get("generation_wh")
        return tuple(
            MeterReading(
                meter_id=self.meter_ids[self.rows.meters[row]],
                mtu_start=mtu_start,
                import_wh=energies["import_wh"][row],
                export_wh=energies["export_wh"][row],
                consumption_wh=None if consumption is None else consumption[row],
                generation_wh=None if generation is None else generation[row],
            )
            for row in range(begin, end)
        )

    def max_import_wh(self, meter_id: str) -> int:
        """Largest import of this meter in one MTU, over the whole file, Wh. Raises KeyError for an unknown meter."""
        return self.extremes[meter_id].max_import_wh

    def max_export_wh(self, meter_id: str) -> int:
        """Largest export of this meter in one MTU, over the whole file, Wh. Raises KeyError for an unknown meter."""
        return self.extremes[meter_id].max_export_wh

    def has_generation(self, meter_id: str) -> bool:
        """Whether any `generation_wh` of this meter, over the whole file, is above zero; False without that column."""
        return self.extremes[meter_id].has_generation


def load_readings(path: Path, *, from_s: int | None = None, to_s: int | None = None) -> ReadingsFile:
    """Read a readings file; keep what lies in the half-open period [from_s, to_s) (Unix seconds; None = unbounded).

    The first row with an integer `interval_seconds` sets the MTU length. A row is refused, first reason found, for:
    number of fields, quotes, meter_id, interval_seconds, interval_start, alignment, energies (each an integer of
    0..2**32 Wh, written in digits alone), a (meter, MTU) already read: the first row counts. Rows outside the period
    are checked and count for a meter's extremes, but are not kept. A blank cell is no integer.
    Raises EmptyWindow; UnreadableFile, MissingColumns, UnknownColumns, DuplicateColumns; UnsupportedMtuLength;
    NoUsableRows if no row tells the MTU length. After an error nothing is imported.
    """
    if from_s is not None and to_s is not None and from_s >= to_s:
        raise EmptyWindow(from_s=from_s, to_s=to_s)
    with open_table(path, required=REQUIRED_COLUMNS, optional=STATEMENT_COLUMNS) as table:
        collector = _Collector(path, table.columns)
        refused = table.for_each(collector.take)
    if collector.mtu_length_s is None:
        raise NoUsableRows(path=str(path), refused_count=len(refused), first_refused=refused[0] if refused else None)
    return collector.finished(collector.mtu_length_s, refused, from_s, to_s)


class _Collector:
    """Takes checked rows. A row's key is its start and its meter's number; keys stand in the order of the rows."""

    def __init__(self, path: Path, columns: Mapping[str, int]) -> None:
        self._path = path
        self._energy_names = tuple(name for name in REQUIRED_COLUMNS[3:] + STATEMENT_COLUMNS if name in columns)
        self._pick = itemgetter(*(columns[name] for name in REQUIRED_COLUMNS[:3] + self._energy_names))
        self.mtu_length_s: int | None = None
        self._length_text = ""
        self._meters: dict[str, int] = {}
        self._starts: dict[str, int] = {}
        self._energies: dict[str, int] = {}
        self._row_of: dict[int, int] = {}
        self._cells: array[int] = array("q")

    def take(self, line_number: int, fields: list[str]) -> None:
        """Check and keep one row. Raises RowRefused, UnsupportedMtuLength."""
        meter_id, start_text, length_text, *energy_texts = self._pick(fields)
        meter = self._meters.get(meter_id)
        if meter is None:
            checked_name("meter_id", meter_id)
        if length_text != self._length_text:
            self._check_length(line_number, length_text)
        start = self._starts.get(start_text)
        if start is None:
            start = self._starts[start_text] = self._parsed_start(start_text)
        energies = [self._energies.get(text, -1) for text in energy_texts]
        if -1 in energies:
            named_texts = zip(self._energy_names, energy_texts, strict=True)
            energies = [self._parsed_energy(name, text) for name, text in named_texts]
        if meter is None:
            meter = self._meters[meter_id] = len(self._meters)
        key = start << METER_BITS | meter
        if key in self._row_of:
            raise self._duplicate(meter_id, start_text, key, energies)
        self._row_of[key] = len(self._row_of)
        self._cells.extend(energies)

    def _check_length(self, line_number: int, text: str) -> None:
        if not (text.isascii() and text.isdigit() and len(text) <= MAX_ENERGY_DIGITS):
            raise RowRefused("wrong-length", f"interval_seconds {shown(text)} is not a number of seconds")
        length_s = int(text)
        if self.mtu_length_s is None:
            if length_s not in MTU_LENGTHS_S:
                raise UnsupportedMtuLength(path=str(self._path), line_number=line_number, length_s=length_s)
            self.mtu_length_s, self._length_text = length_s, text
        elif length_s != self.mtu_length_s:
            raise RowRefused("wrong-length", f"the row is {length_s} s long, the file's first {self.mtu_length_s} s")

    def _parsed_start(self, text: str) -> int:
        try:
            start = parse_utc("interval_start", text)
        except NotUtc:
            raise RowRefused("bad-time", f"interval_start {shown(text)} is not an ISO-8601 moment in UTC") from None
        if start <= 0 or start % (self.mtu_length_s or 1):
            raise RowRefused("unaligned-start", f"interval_start {shown(text)} is no multiple of {self.mtu_length_s} s")
        return start

    def _parsed_energy(self, name: str, text: str) -> int:
        digits = text.removeprefix("-")
        if not (digits.isascii() and digits.isdigit()):
            raise RowRefused("energy-not-integer", f"{name} {shown(text)} is not an integer number of Wh")
        if text != digits:
            raise RowRefused("energy-negative", f"{name} {shown(text)} is negative")
        significant = digits.lstrip("0") or "0"
        if len(significant) > MAX_ENERGY_DIGITS or int(significant) > MAX_ENERGY_WH:
            raise RowRefused("energy-too-large", f"{name} {shown(text)} is above {MAX_ENERGY_WH} Wh")
        if len(text) <= CACHED_DIGITS:
            self._energies[text] = int(significant)
        return int(significant)

    def _duplicate(self, meter_id: str, start_text: str, key: int, energies: list[int]) -> RowRefused:
        width = len(self._energy_names)
        first = self._row_of[key] * width
        if self._cells[first : first + width].tolist() == energies:
            return RowRefused("duplicate-identical", f"{meter_id} at {start_text} was read before with the same values")
        return RowRefused("duplicate-different", f"{meter_id} at {start_text} was read before with other values")

    def finished(
        self, mtu_length_s: int, refused: tuple[RefusedRow, ...], from_s: int | None, to_s: int | None
    ) -> ReadingsFile:
        """Sort what lies in the period by MTU and meter."""
        lowest = 0 if from_s is None else max(0, from_s) << METER_BITS
        highest = None if to_s is None else max(0, to_s) << METER_BITS
        keys = [key for key in self._row_of if lowest <= key and (highest is None or key < highest)]
        present = {key & METER_MASK for key in keys}
        names = list(self._meters)
        by_name = sorted(present, key=names.__getitem__)
        ranks = {meter: rank for rank, meter in enumerate(by_name)}
        ordered = sorted(keys, key=lambda key: key & ~METER_MASK | ranks[key & METER_MASK])
        rows = self._sorted_rows(ordered, ranks)
        return ReadingsFile(
            path=self._path,
            mtu_length_s=mtu_length_s,
            meter_ids=tuple(names[meter] for meter in by_name),
            mtu_starts=tuple(rows.bounds),
            refused=refused,
            reading_count=len(keys),
            outside_count=len(self._row_of) - len(keys),
            extremes={names[meter]: extremes for meter, extremes in self._extremes() if meter in present},
            rows=rows,
        )

    def _sorted_rows(self, ordered: list[int], ranks: Mapping[int, int]) -> SortedRows:
        positions = [self._row_of[key] for key in ordered]
        bounds: dict[int, tuple[int, int]] = {}
        begin = 0
        for end, key in enumerate(ordered, start=1):
            if end == len(ordered) or ordered[end] >> METER_BITS != key >> METER_BITS:
                bounds[key >> METER_BITS] = (begin, end)
                begin = end
        columns = self._columns()
        return SortedRows(
            meters=array("q", (ranks[key & METER_MASK] for key in ordered)),
            energies_wh={name: array("q", map(column.__getitem__, positions)) for name, column in columns.items()},
            bounds=bounds,
        )

    def _columns(self) -> dict[str, array[int]]:
        width = len(self._energy_names)
        return {name: self._cells[position::width] for position, name in enumerate(self._energy_names)}

    def _extremes(self) -> Iterator[tuple[int, MeterExtremes]]:
        imports, exports, generations = ([0] * len(self._meters) for _ in range(3))
        columns = self._columns()
        no_energy = array("q", bytes(8 * len(self._row_of)))
        for name, maxima in (("import_wh", imports), ("export_wh", exports), ("generation_wh", generations)):
            for key, energy_wh in zip(self._row_of, columns.get(name, no_energy), strict=True):
                maxima[key & METER_MASK] = max(maxima[key & METER_MASK], energy_wh)
        for meter, (most_in, most_out, most_made) in enumerate(zip(imports, exports, generations, strict=True)):
            yield (
                meter,
                MeterExtremes(max_import_wh=most_in, max_export_wh=most_out, has_generation=most_made > 0),
            )
