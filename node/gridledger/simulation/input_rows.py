"""Reading a CSV table line by line: an unreadable file is a typed error, a row with something wrong is refused.

A table is UTF-8 text with or without byte order mark, plain or gzip (told by its first bytes, not by its name),
comma-separated, with a header line. A quoted field may hold commas but no line break, so that one stray quote costs
one row and never swallows those after it. Blank lines are skipped.
"""

import csv
import gzip
import io
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, TextIO, cast

from gridledger.errors import InvalidInput

__all__ = [
    "DuplicateColumns",
    "MissingColumns",
    "NoUsableRows",
    "ReasonCode",
    "RefusedRow",
    "RowRefused",
    "Table",
    "UnknownColumns",
    "UnreadableFile",
    "checked_name",
    "open_table",
]

ReasonCode = Literal[
    "bad-name",
    "bad-number",
    "bad-time",
    "broken-quotes",
    "duplicate-different",
    "duplicate-identical",
    "energy-negative",
    "energy-not-integer",
    "energy-too-large",
    "number-not-exact",
    "number-out-of-range",
    "too-few-fields",
    "too-many-fields",
    "unaligned-start",
    "wrong-length",
]

GZIP_MAGIC = b"\x1f\x8b"
BUFFER_BYTES = 1 << 20
MAX_NAME_CHARACTERS = 64
MAX_QUOTED_CHARACTERS = 60


@dataclass(kw_only=True, eq=False)
class UnreadableFile(InvalidInput):
    """The input file cannot be read."""

    path: str
    problem: str


@dataclass(kw_only=True, eq=False)
class MissingColumns(InvalidInput):
    """The header of the input file lacks required columns."""

    path: str
    columns: tuple[str, ...]
    header: str


@dataclass(kw_only=True, eq=False)
class UnknownColumns(InvalidInput):
    """The header of the input file has columns with no meaning here."""

    path: str
    columns: tuple[str, ...]


@dataclass(kw_only=True, eq=False)
class DuplicateColumns(InvalidInput):
    """The header of the input file names a column twice."""

    path: str
    columns: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class RefusedRow:
    """One row that was not imported: its line in the file (the header is line 1), a stable code, a sentence."""

    line_number: int
    reason_code: ReasonCode
    text: str


@dataclass(kw_only=True, eq=False)
class NoUsableRows(InvalidInput):
    """The input file has no row that could be used."""

    path: str
    refused_count: int
    first_refused: RefusedRow | None


class RowRefused(Exception):
    """Signal inside the readers: this row is refused for this reason; `Table.for_each` makes the report of it."""

    def __init__(self, reason_code: ReasonCode, text: str) -> None:
        super().__init__(text)
        self.reason_code: ReasonCode = reason_code
        self.text = text


def shown(text: str) -> str:
    """A foreign text for a report: quoted, escaped and cut to 60 characters."""
    return repr(text if len(text) <= MAX_QUOTED_CHARACTERS else text[:MAX_QUOTED_CHARACTERS] + "...")


def checked_name(field: str, text: str) -> str:
    """Return a name of 1 to 64 printable characters without outer blanks. Raises RowRefused (bad-name)."""
    if not text or len(text) > MAX_NAME_CHARACTERS or text != text.strip() or not text.isprintable():
        raise RowRefused(
            "bad-name", f"{field} {shown(text)} is not 1 to 64 printable characters without blanks around them"
        )
    return text


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """An open table: where each column stands, and its rows, which can be walked once."""

    path: Path
    columns: dict[str, int]
    lines: Iterable[str]

    def for_each(self, take: Callable[[int, list[str]], None]) -> tuple[RefusedRow, ...]:
        """Give (line number, fields) of every row to `take`; return the rows it, or the row's own form, refused."""
        refused: list[RefusedRow] = []
        width = len(self.columns)
        for line_number, line in enumerate(self.lines, start=2):
            try:
                fields = _quoted_fields(line) if '"' in line else line.rstrip("\n").split(",")
                if len(fields) != width:
                    if line == "\n":
                        continue
                    raise _wrong_field_count(len(fields), width)
                take(line_number, fields)
            except RowRefused as refusal:
                refused.append(RefusedRow(line_number=line_number, reason_code=refusal.reason_code, text=refusal.text))
        return tuple(refused)


def _wrong_field_count(count: int, width: int) -> RowRefused:
    text = f"the row has {count} fields, the header {width}"
    return RowRefused("too-few-fields" if count < width else "too-many-fields", text)


def _quoted_fields(line: str) -> list[str]:
    try:
        return next(csv.reader([line.rstrip("\n")], strict=True))
    except csv.Error as problem:
        raise RowRefused("broken-quotes", f"the row's quotes cannot be read: {problem}") from None


@contextmanager
def open_table(path: Path, *, required: tuple[str, ...], optional: tuple[str, ...] | None) -> Iterator[Table]:
    """Open a CSV table and check its header.

    `optional` are the further columns allowed; None allows and ignores any. Column order is free.
    Raises UnreadableFile (absent, not UTF-8, broken gzip; also while rows are being read), MissingColumns,
    UnknownColumns, DuplicateColumns.
    """
    try:
        with path.open("rb") as raw, _text_of(raw) as lines:
            columns = _checked_header(path, lines.readline(), required, optional)
            yield Table(path=path, columns=columns, lines=lines)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as problem:
        raise UnreadableFile(path=str(path), problem=str(problem)) from problem


def _text_of(raw: io.BufferedReader) -> TextIO:
    packed = raw.peek(2)[:2] == GZIP_MAGIC
    plain = cast("BinaryIO", io.BufferedReader(gzip.GzipFile(fileobj=raw), BUFFER_BYTES)) if packed else raw
    return io.TextIOWrapper(plain, encoding="utf-8-sig", errors="strict", newline=None)


def _checked_header(
    path: Path, line: str, required: tuple[str, ...], optional: tuple[str, ...] | None
) -> dict[str, int]:
    try:
        names = [name.strip() for name in _quoted_fields(line)] if line.strip() else []
    except RowRefused as refusal:
        raise UnreadableFile(path=str(path), problem=refusal.text) from None
    if missing := tuple(name for name in required if name not in names):
        raise MissingColumns(path=str(path), columns=missing, header=line.strip()[:200])
    if twice := tuple(sorted({name for name in names if names.count(name) > 1})):
        raise DuplicateColumns(path=str(path), columns=twice)
    if optional is not None and (unknown := tuple(name for name in names if name not in required + optional)):
        raise UnknownColumns(path=str(path), columns=unknown)
    return {name: position for position, name in enumerate(names)}
