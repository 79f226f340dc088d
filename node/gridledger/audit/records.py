"""Reads exported files into typed rows. What cannot be read becomes a mismatch that names file and line."""

import csv
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from gridledger.audit import formats
from gridledger.audit.findings import Findings
from gridledger.audit.formats import RowFile, csv_values
from gridledger.audit.kinds import BYTES32, HASH
from gridledger.audit.model import Rule
from gridledger.audit.ports import ExportFiles, FileUnreadable
from gridledger.audit.rows import BlockRow, ErasedRow, TombstoneRow
from gridledger.metering.erasure import TombstoneMalformed, erasure_from_message
from gridledger.units import UINT32_MAX

__all__ = ["Head", "Reader"]

R = TypeVar("R")
_RAW = re.compile(r"0x(?:[0-9a-f]{2})+")
_WITHOUT_HASH = frozenset({formats.MANIFEST})
_LINES_OF_JSON = frozenset({formats.BLOCKS, formats.TOMBSTONES})
_ALL_FILES = frozenset(
    {
        formats.MANIFEST,
        formats.MARKET,
        formats.DEPLOYMENT,
        *_LINES_OF_JSON,
        *(file.name for file in formats.ROW_FILES),
    }
)
_BLOCK_TYPES: Mapping[str, type] = {
    "number": int,
    "time_s": int,
    "block_hash": str,
    "state_root": str,
    "raw_transactions": list,
}


@dataclass(frozen=True, kw_only=True)
class Head:
    """The block an export ends with."""

    number: int
    block_hash: str


class Reader:
    """Reads one export; each file's hash and row count is compared with the manifest when it has been read."""

    def __init__(self, files: ExportFiles, findings: Findings) -> None:
        self._files = files
        self._findings = findings
        self._listed: Mapping[str, Any] = {}

    def manifest(self) -> Head | None:
        """Read the manifest and compare the folder with it; the export's head, None where that is unreadable."""
        names = self._files.names()
        for name in sorted(_ALL_FILES | names):
            expected = "present" if name in _ALL_FILES else "no such file"
            self._findings.compare(Rule.MANIFEST, name, expected, "present" if name in names else "missing")
        document = self.document(formats.MANIFEST)
        try:
            self._listed = dict(document["files"])
            head = Head(number=_integer(document["head"]["number"]), block_hash=str(document["head"]["block_hash"]))
            stated = (document["format"], document["format_version"])
        except (KeyError, TypeError, ValueError) as error:
            self._findings.report(Rule.FORMAT, formats.MANIFEST, "format, head and files", f"unreadable: {error!r}")
            return None
        expected_format = (formats.EXPORT_FORMAT, formats.FORMAT_VERSION)
        self._findings.compare(Rule.MANIFEST, formats.MANIFEST, expected_format, stated)
        listed = set(self._listed)
        self._findings.compare(
            Rule.MANIFEST, "files in manifest.json", sorted(_ALL_FILES - _WITHOUT_HASH), sorted(listed)
        )
        return head

    def rows(self, file: RowFile[R]) -> list[R]:
        """All readable rows of a CSV file."""
        rows: list[R] = []
        columns = list(file.columns)
        for number, line in self._lines(file.name):
            text = self._text(file.name, number, line)
            if text is None:
                continue
            if number == 1:
                self._findings.compare(Rule.FORMAT, f"{file.name} line 1", file.header.strip(), text)
                continue
            row = self._row(file, columns, number, text)
            if row is not None:
                rows.append(row)
        self._findings.count(Rule.FORMAT, len(rows))
        return rows

    def blocks(self) -> list[BlockRow]:
        """All readable lines of the block journal."""
        return self._json_lines(formats.BLOCKS, ", ".join(_BLOCK_TYPES), _block)

    def tombstones(self) -> list[TombstoneRow]:
        """All readable tombstones of erased persons."""
        return self._json_lines(formats.TOMBSTONES, "erasure, signature, readings", _tombstone)

    def _json_lines(self, name: str, expected: str, make: Callable[[object], R]) -> list[R]:
        rows: list[R] = []
        for number, line in self._lines(name):
            text = self._text(name, number, line)
            if text is None:
                continue
            try:
                rows.append(make(json.loads(text)))
            except (ValueError, TypeError, KeyError, RecursionError, TombstoneMalformed) as error:
                self._findings.report(Rule.FORMAT, f"{name} line {number}", expected, f"unreadable: {error!r}")
        self._findings.count(Rule.FORMAT, len(rows))
        return rows

    def document(self, name: str) -> dict[str, Any]:
        """A JSON document; empty where it cannot be read."""
        content = b"".join(line for _, line in self._lines(name))
        try:
            document = json.loads(content)
        except (ValueError, RecursionError) as error:
            self._findings.report(Rule.FORMAT, name, "a JSON document", f"unreadable: {error!r}")
            return {}
        if not isinstance(document, dict):
            self._findings.report(Rule.FORMAT, name, "a JSON object", type(document).__name__)
            return {}
        return document

    def _lines(self, name: str) -> Iterator[tuple[int, bytes]]:
        digest, number = hashlib.sha256(), 0
        try:
            for number, line in enumerate(self._files.lines(name), 1):
                digest.update(line)
                yield number, line
        except FileUnreadable as error:
            self._findings.report(Rule.FORMAT, name, "a readable file", error.reason)
            return
        self._compare_with_manifest(name, number, digest.hexdigest())

    def _compare_with_manifest(self, name: str, lines: int, sha256: str) -> None:
        if name in _WITHOUT_HASH or not self._listed:
            return
        rows = 1 if name in (formats.MARKET, formats.DEPLOYMENT) else lines - (name not in _LINES_OF_JSON)
        entry = self._listed.get(name)
        stated = (entry.get("rows"), entry.get("sha256")) if isinstance(entry, dict) else (None, None)
        self._findings.compare(Rule.MANIFEST, f"rows of {name}", stated[0], rows)
        self._findings.compare(Rule.MANIFEST, f"sha256 of {name}", stated[1], sha256)

    def _text(self, name: str, number: int, line: bytes) -> str | None:
        try:
            text = line.decode()
        except UnicodeDecodeError as error:
            self._findings.report(Rule.FORMAT, f"{name} line {number}", "UTF-8", f"byte {error.start} is not")
            return None
        if not text.endswith("\n"):
            self._findings.report(Rule.FORMAT, f"{name} line {number}", "a complete line", "cut off")
        return text.rstrip("\n")

    def _row(self, file: RowFile[R], columns: list[str], number: int, text: str) -> R | None:
        record = f"{file.name} line {number}"
        try:
            texts = csv_values(text)
        except (csv.Error, StopIteration) as error:
            self._findings.report(Rule.FORMAT, record, "comma-separated values", f"unreadable: {error}")
            return None
        if len(texts) != len(columns):
            self._findings.report(Rule.FORMAT, record, f"{len(columns)} values", f"{len(texts)} values")
            return None
        values: list[Any] = []
        for column, found in zip(columns, texts, strict=True):
            try:
                values.append(file.columns[column].read(found))
            except ValueError:
                self._findings.report(Rule.FORMAT, f"{record}, {column}", file.columns[column].name, found or None)
                return None
        return file.make(values)


def _block(values: object) -> BlockRow:
    if not isinstance(values, dict) or values.keys() != _BLOCK_TYPES.keys():
        raise ValueError("not the fields of a block")
    for field, kind in _BLOCK_TYPES.items():
        if type(values[field]) is not kind:
            raise ValueError(field)
    raw = values["raw_transactions"]
    if not all(isinstance(entry, str) and _RAW.fullmatch(entry) for entry in raw):
        raise ValueError("raw_transactions")
    for field in ("block_hash", "state_root"):
        HASH.read(values[field])
    return BlockRow(**{**values, "raw_transactions": tuple(raw)})


def _tombstone(values: object) -> TombstoneRow:
    if not isinstance(values, dict) or values.keys() != {"erasure", "signature", "readings"}:
        raise ValueError("not the fields of a tombstone")
    return TombstoneRow(
        erasure=erasure_from_message(values["erasure"]),
        signature=str(values["signature"]),
        readings=tuple(_erased(*entry) for entry in values["readings"]),
    )


def _erased(meter: object, interval_start: object, sequence: object, leaf: str) -> ErasedRow:
    return ErasedRow(
        meter=_uint32(meter),
        interval_start=_uint32(interval_start),
        anchor_sequence=None if sequence is None else _uint32(sequence),
        leaf=BYTES32.read(leaf),
    )


def _uint32(value: object) -> int:
    if not 0 <= _integer(value) <= UINT32_MAX:
        raise ValueError(value)
    return _integer(value)


def _integer(value: object) -> int:
    if type(value) is not int:
        raise ValueError(value)
    return value
