"""Opening a file as lines of text: what cannot be read is a typed error, wherever in the file it shows."""

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TextIO, cast

from gridledger.errors import InvalidInput

__all__ = ["MAX_LINE_CHARACTERS", "OpenedLines", "UnreadableFile", "bounded_lines", "open_lines"]

MAX_LINE_CHARACTERS = 8192
GZIP_MAGIC = b"\x1f\x8b"
BUFFER_BYTES = 1 << 20


@dataclass(kw_only=True, eq=False)
class UnreadableFile(InvalidInput):
    """The input file cannot be read."""

    path: str
    problem: str


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
    """Open a text file, plain or gzip (told by its first bytes), by default in UTF-8 with any line ends.

    `newline` as `open` has it; lines as `bounded_lines` gives them.
    Raises UnreadableFile (absent, not in the encoding, broken gzip), also while the lines are walked.
    """
    with _named(path):
        raw = path.open("rb")
    with raw:
        with _named(path):
            size_bytes = path.stat().st_size
            text = _text_of(raw, encoding, newline)
        yield OpenedLines(lines=_lines(path, text), size_bytes=size_bytes, raw=raw)


def bounded_lines(source: TextIO) -> Iterator[str]:
    """The lines of a file, each with its end; one above 8,192 characters is cut after the 8,193rd, without end."""
    most = MAX_LINE_CHARACTERS + 1
    while line := source.readline(most):
        yield line
        while len(line) == most and not line.endswith("\n"):
            line = source.readline(most)


def _lines(path: Path, text: TextIO) -> Iterator[str]:
    with _named(path):
        yield from bounded_lines(text)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as problem:
        raise UnreadableFile(path=str(path), problem=str(problem)) from problem


def _text_of(raw: io.BufferedReader, encoding: str, newline: str | None) -> TextIO:
    packed = raw.peek(2)[:2] == GZIP_MAGIC
    plain = cast("BinaryIO", io.BufferedReader(gzip.GzipFile(fileobj=raw), BUFFER_BYTES)) if packed else raw
    return io.TextIOWrapper(plain, encoding=encoding, errors="strict", newline=newline)
