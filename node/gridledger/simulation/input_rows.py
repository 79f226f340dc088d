"""Opening an input file as a table. What its rows may hold: `metering.imports`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gridledger.metering.imports.tables import Table, read_table
from gridledger.text_files import open_lines

__all__ = ["open_table"]


@contextmanager
def open_table(path: Path, *, required: tuple[str, ...], optional: tuple[str, ...] | None) -> Iterator[Table]:
    """Open a comma-separated table, plain or gzip, and check its header. Raises as `read_table` and `open_lines`."""
    with open_lines(path) as opened:
        yield read_table(str(path), opened.lines, required=required, optional=optional)
