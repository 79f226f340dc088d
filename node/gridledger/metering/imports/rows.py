"""What readers of files hand out: typed rows in the product's words, and how those stand in the product's columns."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from gridledger.errors import InvalidInput
from gridledger.metering.imports.tables import RefusedRow
from gridledger.units import format_utc

__all__ = [
    "REQUIRED_COLUMNS",
    "STATEMENT_COLUMNS",
    "ImportedRow",
    "ImportedRows",
    "IntervalRow",
    "TooManyIntervals",
    "first_of_each_interval",
]

REQUIRED_COLUMNS = ("meter_id", "interval_start", "interval_seconds", "import_wh", "export_wh")
STATEMENT_COLUMNS = ("consumption_wh", "generation_wh")
PAGE_INTERVALS = 1024
MOST_PAGES = 2**21  # about 250 bytes each
METER_BITS = 32
_start_text = lru_cache(maxsize=4096)(format_utc)  # readings of one MTU share it


@dataclass(kw_only=True, eq=False)
class TooManyIntervals(InvalidInput):
    """The file has more meters, or a longer time, than duplicates can be told in."""

    path: str
    line_number: int


class ImportedRow(Protocol):
    """A row in the product's columns."""

    @property
    def line_numbers(self) -> tuple[int, ...]:
        """Lines of the file it stands for, ascending."""

    def cells(self) -> tuple[str, ...]:
        """Its values as texts, in the order of the columns."""


@dataclass(frozen=True, kw_only=True)
class ImportedRows:
    """The product's columns, and in the order of the file a row or a refusal for each of its rows; walked once."""

    columns: tuple[str, ...]
    rows: Iterator[ImportedRow | RefusedRow]


@dataclass(frozen=True, kw_only=True, slots=True)
class IntervalRow:
    """What a meter measured in one interval: mtu_start in Unix seconds, interval_s in seconds, energies in Wh.

    None where the file does not tell consumption or generation.
    """

    line_number: int
    meter_id: str
    mtu_start: int
    interval_s: int
    import_wh: int
    export_wh: int
    consumption_wh: int | None = None
    generation_wh: int | None = None

    @property
    def line_numbers(self) -> tuple[int, ...]:
        """Its one line."""
        return (self.line_number,)

    def cells(self) -> tuple[str, ...]:
        """Values of the required columns, then of those of the statement columns that the file tells."""
        energies = (self.import_wh, self.export_wh, self.consumption_wh, self.generation_wh)
        told = (str(energy_wh) for energy_wh in energies if energy_wh is not None)
        return (self.meter_id, _start_text(self.mtu_start), str(self.interval_s), *told)


def first_of_each_interval(path: str, rows: Iterable[IntervalRow | RefusedRow]) -> Iterator[IntervalRow | RefusedRow]:
    """Refuse every row but the first of a (meter, start). Raises TooManyIntervals.

    What was seen is kept as bits, 1,024 intervals of a meter together, so that memory hardly grows with the rows.
    """
    meters: dict[str, int] = {}
    pages: dict[int, int] = {}
    for row in rows:
        if isinstance(row, RefusedRow):
            yield row
            continue
        meter = meters.setdefault(row.meter_id, len(meters))
        page, place = divmod(row.mtu_start // row.interval_s, PAGE_INTERVALS)
        key = page << METER_BITS | meter
        seen = pages.get(key, 0)
        if seen >> place & 1:
            yield _seen_before(row)
            continue
        pages[key] = seen | 1 << place
        if len(pages) > MOST_PAGES:
            raise TooManyIntervals(path=path, line_number=row.line_number)
        yield row


def _seen_before(row: IntervalRow) -> RefusedRow:
    start = format_utc(row.mtu_start)
    text = f"{row.meter_id} at {start} was read before"
    return RefusedRow(line_number=row.line_number, reason_code="duplicate-interval", text=text, value=start)
