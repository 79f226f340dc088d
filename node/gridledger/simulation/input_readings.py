"""Meter readings from a file, kept column by column and handed out per MTU."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gridledger.errors import InvalidInput
from gridledger.metering.imports.rows import REQUIRED_COLUMNS, STATEMENT_COLUMNS
from gridledger.metering.imports.standard import MAX_ENERGY_WH, StandardParser, StandardRow, UnsupportedMtuLength
from gridledger.metering.imports.tables import NoUsableRows, RefusedRow, RowRefused
from gridledger.simulation.input_rows import open_table

__all__ = [
    "MAX_ENERGY_WH",
    "EmptyWindow",
    "MeterExtremes",
    "MeterReading",
    "ReadingsFile",
    "UnsupportedMtuLength",
    "load_readings",
]

METER_BITS = 32
METER_MASK = (1 << METER_BITS) - 1


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
        self._parser = StandardParser(str(path), columns)
        self._energy_names = self._parser.energy_names
        self._row_of: dict[int, int] = {}
        self._cells: array[int] = array("q")

    @property
    def mtu_length_s(self) -> int | None:
        """What the first row that tells a length says, s."""
        return self._parser.mtu_length_s

    def take(self, line_number: int, fields: list[str]) -> None:
        """Check and keep one row. Raises RowRefused, UnsupportedMtuLength."""
        row = self._parser.parse(line_number, fields)
        key = row.start << METER_BITS | row.meter
        if key in self._row_of:
            raise self._duplicate(row, key)
        self._row_of[key] = len(self._row_of)
        self._cells.extend(row.energies_wh)

    def _duplicate(self, row: StandardRow, key: int) -> RowRefused:
        width = len(self._energy_names)
        first = self._row_of[key] * width
        before = f"{row.meter_id} at {row.start_text} was read before"
        if self._cells[first : first + width].tolist() == row.energies_wh:
            return RowRefused("duplicate-identical", f"{before} with the same values", row.start_text)
        return RowRefused("duplicate-different", f"{before} with other values", row.start_text)

    def finished(
        self, mtu_length_s: int, refused: tuple[RefusedRow, ...], from_s: int | None, to_s: int | None
    ) -> ReadingsFile:
        """Sort what lies in the period by MTU and meter."""
        lowest = 0 if from_s is None else max(0, from_s) << METER_BITS
        highest = None if to_s is None else max(0, to_s) << METER_BITS
        keys = [key for key in self._row_of if lowest <= key and (highest is None or key < highest)]
        present = {key & METER_MASK for key in keys}
        names = list(self._parser.meters)
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
        imports, exports, generations = ([0] * len(self._parser.meters) for _ in range(3))
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
