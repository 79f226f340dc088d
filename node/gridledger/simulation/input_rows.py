"""Opening an input file as lines of text: what cannot be read is a typed error. What rows may hold: `metering.imports`.

A file is UTF-8 text with or without byte order mark, plain or gzip (told by its first bytes, not by its name).
"""

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TextIO, cast

from gridledger.metering.imports.tables import (
    DuplicateColumns,
    MissingColumns,
    NoUsableRows,
    ReasonCode,
    RefusedRow,
    RowRefused,
    Table,
    UnknownColumns,
    UnreadableFile,
    bounded_lines,
    checked_name,
    read_table,
    shown,
)

__all__ = [
    "DuplicateColumns",
    "MissingColumns",
    "NoUsableRows",
    "OpenedLines",
    "ReasonCode",
    "RefusedRow",
    "RowRefused",
    "Table",
    "UnknownColumns",
    "UnreadableFile",
    "checked_name",
    "open_lines",
    "open_table",
    "shown",
]

GZIP_MAGIC = b"\x1f\x8b"
BUFFER_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class OpenedLines:
    """The lines of an open file, to be walked once; sizes in bytes as it lies on disk."""

    lines: Iterator[str]
    size_bytes: int
    raw: BinaryIO

    @property
    def position_bytes(self) -> int:
        """How much of the file has been read, for a progress bar."""
        return self.raw.tell()


@contextmanager
def open_lines(path: Path, *, encoding: str = "utf-8-sig", newline: str | None = None) -> Iterator[OpenedLines]:
    """Open a text file, plain or gzip, by default in UTF-8 with any line ends; `newline` as `open` has it.

    Raises UnreadableFile (absent, not in the encoding, broken gzip), also while the lines are walked.
    """
    try:
        with path.open("rb") as raw, _text_of(raw, encoding, newline) as text:
            yield OpenedLines(lines=bounded_lines(text), size_bytes=path.stat().st_size, raw=raw)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as problem:
        raise UnreadableFile(path=str(path), problem=str(problem)) from problem


@contextmanager
def open_table(path: Path, *, required: tuple[str, ...], optional: tuple[str, ...] | None) -> Iterator[Table]:
    """Open a comma-separated table and check its header, as `read_table` does. Raises as it and as `open_lines`."""
    with open_lines(path) as opened:
        yield read_table(str(path), opened.lines, required=required, optional=optional)


def _text_of(raw: io.BufferedReader, encoding: str, newline: str | None) -> TextIO:
    packed = raw.peek(2)[:2] == GZIP_MAGIC
    plain = cast("BinaryIO", io.BufferedReader(gzip.GzipFile(fileobj=raw), BUFFER_BYTES)) if packed else raw
    return io.TextIOWrapper(plain, encoding=encoding, errors="strict", newline=newline)
