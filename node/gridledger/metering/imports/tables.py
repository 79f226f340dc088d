"""A CSV table line by line: an unusable header is a typed error, a row with something wrong is refused.

Lines are text, the first of them the header. A quoted field may hold delimiters but no line break, so that one stray
quote costs one row and never swallows those after it. Blank lines are skipped.
"""

import csv
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from gridledger.errors import InvalidInput
from gridledger.text_files import MAX_LINE_CHARACTERS, UnreadableFile

__all__ = [
    "DuplicateColumns",
    "MissingColumns",
    "NoUsableRows",
    "ReasonCode",
    "RefusedRow",
    "RowRefused",
    "Table",
    "UnknownColumns",
    "checked_name",
    "read_table",
    "shown",
]

ReasonCode = Literal[
    "ambiguous-local-time",
    "bad-name",
    "bad-number",
    "bad-time",
    "broken-quotes",
    "duplicate-different",
    "duplicate-identical",
    "duplicate-interval",
    "energy-negative",
    "energy-not-integer",
    "energy-too-large",
    "incomplete-hour",
    "line-too-long",
    "no-device",
    "nonexistent-local-time",
    "number-not-exact",
    "number-out-of-range",
    "out-of-sequence",
    "thermal-demand",
    "too-few-fields",
    "too-many-fields",
    "unaligned-start",
    "wrong-length",
]

MAX_NAME_CHARACTERS = 64
MAX_QUOTED_CHARACTERS = 60
MAX_HEADER_SHOWN_CHARACTERS = 200


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
    """One row that was not imported: its line in the file (the header is line 1), a stable code, a sentence.

    `value` is the offending text, cut to 60 characters; empty where the whole row is meant.
    """

    line_number: int
    reason_code: ReasonCode
    text: str
    value: str = ""


@dataclass(kw_only=True, eq=False)
class NoUsableRows(InvalidInput):
    """The input file has no row that could be used."""

    path: str
    refused_count: int
    first_refused: RefusedRow | None


class RowRefused(Exception):
    """Signal inside the readers: this row is refused for this reason."""

    def __init__(self, reason_code: ReasonCode, text: str, value: str = "") -> None:
        super().__init__(text)
        self.reason_code: ReasonCode = reason_code
        self.text = text
        self.value = value[:MAX_QUOTED_CHARACTERS]

    def at(self, line_number: int) -> RefusedRow:
        """The report of it."""
        return RefusedRow(line_number=line_number, reason_code=self.reason_code, text=self.text, value=self.value)


def shown(text: str) -> str:
    """A foreign text for a report: quoted, escaped and cut to 60 characters."""
    return repr(text if len(text) <= MAX_QUOTED_CHARACTERS else text[:MAX_QUOTED_CHARACTERS] + "...")


def checked_name(field: str, text: str) -> str:
    """Return a name of 1 to 64 printable characters without outer blanks. Raises RowRefused (bad-name)."""
    if not text or len(text) > MAX_NAME_CHARACTERS or text != text.strip() or not text.isprintable():
        problem = f"{field} {shown(text)} is not 1 to 64 printable characters without blanks around them"
        raise RowRefused("bad-name", problem, text)
    return text


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """An open table: where each column stands, and its rows, which can be walked once. `path` is for messages."""

    path: str
    columns: dict[str, int]
    lines: Iterable[str]
    delimiter: str = ","

    def rows(self) -> Iterator[tuple[int, list[str] | RowRefused]]:
        """(line number, fields) of every row, or why the row's own form is refused."""
        for line_number, line in enumerate(self.lines, start=2):
            try:
                fields = self._fields(line)
            except RowRefused as refusal:
                yield line_number, refusal
            else:
                if fields is not None:
                    yield line_number, fields

    def for_each(self, take: Callable[[int, list[str]], None]) -> tuple[RefusedRow, ...]:
        """Give (line number, fields) of every row to `take`; return the rows it, or the row's own form, refused."""
        refused: list[RefusedRow] = []
        for line_number, fields in self.rows():
            try:
                if isinstance(fields, RowRefused):
                    raise fields
                take(line_number, fields)
            except RowRefused as refusal:
                refused.append(refusal.at(line_number))
        return tuple(refused)

    def _fields(self, line: str) -> list[str] | None:
        if len(line) > MAX_LINE_CHARACTERS and not line.endswith("\n"):
            problem = f"the line has more than {MAX_LINE_CHARACTERS} characters"
            raise RowRefused("line-too-long", problem, line)
        fields = _quoted_fields(line, self.delimiter) if '"' in line else line.rstrip("\n").split(self.delimiter)
        if len(fields) == len(self.columns):
            return fields
        if line == "\n":
            return None
        raise _wrong_field_count(len(fields), len(self.columns))


def read_table(
    path: str,
    lines: Iterator[str],
    *,
    required: tuple[str, ...],
    optional: tuple[str, ...] | None,
    delimiter: str = ",",
) -> Table:
    """A table over lines, whose first is the header.

    `optional` are the further columns allowed; None allows and ignores any. Column order is free.
    Raises UnreadableFile, MissingColumns, UnknownColumns, DuplicateColumns.
    """
    header = next(lines, "")
    if len(header) > MAX_LINE_CHARACTERS:
        raise UnreadableFile(path=path, problem=f"its header has more than {MAX_LINE_CHARACTERS} characters")
    try:
        names = [name.strip() for name in _quoted_fields(header, delimiter)] if header.strip() else []
    except RowRefused as refusal:
        raise UnreadableFile(path=path, problem=refusal.text) from None
    if missing := tuple(name for name in required if name not in names):
        raise MissingColumns(path=path, columns=missing, header=header.strip()[:MAX_HEADER_SHOWN_CHARACTERS])
    if twice := tuple(sorted({name for name in names if names.count(name) > 1})):
        raise DuplicateColumns(path=path, columns=twice)
    if optional is not None and (unknown := tuple(name for name in names if name not in required + optional)):
        raise UnknownColumns(path=path, columns=unknown)
    columns = {name: position for position, name in enumerate(names)}
    return Table(path=path, columns=columns, lines=lines, delimiter=delimiter)


def _wrong_field_count(count: int, width: int) -> RowRefused:
    text = f"the row has {count} fields, the header {width}"
    return RowRefused("too-few-fields" if count < width else "too-many-fields", text)


def _quoted_fields(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line.rstrip("\n")], strict=True, delimiter=delimiter))
    except csv.Error as problem:
        raise RowRefused("broken-quotes", f"the row's quotes cannot be read: {problem}") from None
