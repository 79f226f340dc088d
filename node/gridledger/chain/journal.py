"""The durable journal of an embedded chain: what must be executed again to rebuild it, block by block.

A block is appended, with its time and its signed transactions in order, *before* the chain executes it; hash and state
root follow when it has been executed. So a process killed anywhere leaves at most one block, the last, without a hash.
SQLite in WAL mode with synchronous=FULL: when `append` returns, the block is on disk. One folder has one writer, by a
lock file.
A cut-off tail of whole blocks cannot be seen here: only block hashes held by others (receipts) show it.
"""

import fcntl
import json
import os
import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path

from gridledger.errors import Conflict, InvalidInput, Unavailable
from gridledger.units import INT64_MAX, check_range

__all__ = [
    "FORMAT_VERSION",
    "BlockTimeNotIncreasing",
    "ChainMeta",
    "FolderInUse",
    "Journal",
    "JournalBlock",
    "JournalCorrupt",
    "JournalMismatch",
    "JournalUnwritable",
    "MalformedTransaction",
    "read_journal",
    "read_meta",
]

FORMAT_VERSION = 1
JOURNAL_FILE = "journal.db"
LOCK_FILE = "journal.lock"
_HEX = re.compile(r"0x(?:[0-9a-fA-F]{2})+")
_SCHEMA = """
create table if not exists meta (name text primary key, value text not null) without rowid;
create table if not exists block (
  number integer primary key,
  time_s integer not null,
  raw_transactions text not null,
  block_hash text,
  state_root text,
  check ((block_hash is null) = (state_root is null))
);
"""
_INSERT = "insert into block (number, time_s, raw_transactions, block_hash, state_root) values (?, ?, ?, ?, ?)"
_SELECT = "select number, time_s, raw_transactions, block_hash, state_root from block order by number"


@dataclass(kw_only=True, eq=False)
class FolderInUse(Conflict):
    """Another process runs a chain in this folder."""

    path: str


@dataclass(kw_only=True, eq=False)
class JournalMismatch(Conflict):
    """The journal belongs to a chain with other parameters."""

    field: str
    expected: str
    found: str


@dataclass(kw_only=True, eq=False)
class JournalCorrupt(Unavailable):
    """The block journal cannot be read or contradicts itself."""

    path: str
    reason: str


@dataclass(kw_only=True, eq=False)
class JournalUnwritable(Unavailable):
    """The block journal could not be written; the block was not accepted."""

    path: str
    reason: str


@dataclass(kw_only=True, eq=False)
class BlockTimeNotIncreasing(Conflict):
    """A block must be later than the one before it."""

    time_s: int
    last_time_s: int


@dataclass(kw_only=True, eq=False)
class MalformedTransaction(InvalidInput):
    """A raw transaction is not 0x-prefixed hexadecimal bytes."""

    index: int


@dataclass(frozen=True, kw_only=True)
class ChainMeta:
    """Everything besides its blocks that decides an embedded chain's hashes."""

    chain_id: int
    genesis_time_s: int
    block_gas_limit: int
    hardfork: str
    anvil_version: str
    format_version: int = FORMAT_VERSION


@dataclass(frozen=True, kw_only=True)
class JournalBlock:
    """One block to execute; hash and root are None until it has been executed once."""

    number: int
    time_s: int
    raw_transactions: tuple[str, ...]
    block_hash: str | None
    state_root: str | None


class Journal:
    """The journal of one folder, open for writing. Not for concurrent calls; its owner serialises them."""

    def __init__(self, folder: Path, meta: ChainMeta) -> None:
        """Open or create. Raises FolderInUse, JournalCorrupt, JournalMismatch; nothing is changed then."""
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / JOURNAL_FILE
        self._lock = _lock_folder(folder)
        self._genesis_time_s = meta.genesis_time_s
        with ExitStack() as undo:
            undo.callback(os.close, self._lock)
            self._database = _open_database(self._path, meta)
            undo.callback(self._database.close)
            self._last = self._check_blocks()
            undo.pop_all()

    def append(self, *, time_s: int, raw_transactions: Sequence[str]) -> JournalBlock:
        """Write the next block durably, not yet executed.

        Raises BlockTimeNotIncreasing, MalformedTransaction, JournalUnwritable; OutOfRange for a time that is no int64.
        """
        last = self._last
        if last is not None and last.block_hash is None:
            raise JournalUnwritable(path=str(self._path), reason=f"block {last.number} has not been executed yet")
        block = JournalBlock(
            number=last.number + 1 if last else 1,
            time_s=check_range("time_s", time_s, 0, INT64_MAX),
            raw_transactions=_require_hex(raw_transactions),
            block_hash=None,
            state_root=None,
        )
        self._require_later(block)
        with self._writing():
            self._insert(block)
        return block

    def record(self, block: JournalBlock, *, block_hash: str, state_root: str) -> None:
        """Note what executing the last block came to; once only. Raises JournalUnwritable."""
        statement = "update block set block_hash = ?, state_root = ? where number = ? and block_hash is null"
        with self._writing():
            changed = self._database.execute(statement, (block_hash, state_root, block.number)).rowcount
        if changed != 1:
            raise JournalUnwritable(path=str(self._path), reason=f"block {block.number} is not awaiting its hash")
        self._last = replace(block, block_hash=block_hash, state_root=state_root)

    def import_blocks(self, blocks: Iterable[JournalBlock]) -> None:
        """Fill an empty journal with exported blocks, all or none. Raises JournalUnwritable, JournalCorrupt."""
        if self._last is not None:
            raise JournalUnwritable(path=str(self._path), reason="blocks can be imported into an empty journal only")
        with self._writing():
            for block in blocks:
                self._insert(block)
            self._last = self._check_blocks()

    def read_blocks(self) -> Iterator[JournalBlock]:
        """All blocks in order. Raises JournalCorrupt at the first that cannot be."""
        return _read_blocks(self._database, self._path)

    def last_block(self) -> JournalBlock | None:
        """The newest block, executed or not."""
        return self._last

    def close(self) -> None:
        """Close the file, then release the folder."""
        self._database.close()
        os.close(self._lock)

    def _check_blocks(self) -> JournalBlock | None:
        last: JournalBlock | None = None
        for block in self.read_blocks():
            if last is None and block.time_s <= self._genesis_time_s:
                raise JournalCorrupt(path=str(self._path), reason="block 1 is not later than the genesis")
            last = block
        return last

    def _require_later(self, block: JournalBlock) -> None:
        last_time_s = self._last.time_s if self._last else self._genesis_time_s
        if block.time_s <= last_time_s:
            raise BlockTimeNotIncreasing(time_s=block.time_s, last_time_s=last_time_s)

    def _insert(self, block: JournalBlock) -> None:
        statement = (
            "insert into block (number, time_s, raw_transactions, block_hash, state_root) values (?, ?, ?, ?, ?)"
        )
        raw = json.dumps(block.raw_transactions)
        self._database.execute(statement, (block.number, block.time_s, raw, block.block_hash, block.state_root))
        self._last = block

    @contextmanager
    def _writing(self) -> Iterator[None]:
        last = self._last
        try:
            with self._database:  # commits, or rolls back
                self._database.execute("begin immediate")
                yield
        except BaseException as error:
            self._last = last
            if isinstance(error, sqlite3.Error):
                raise JournalUnwritable(path=str(self._path), reason=str(error)) from None
            raise


def read_meta(folder: Path) -> ChainMeta | None:
    """Parameters of the chain journalled in a folder, None without one; needs no lock. Raises JournalCorrupt."""
    path = folder / JOURNAL_FILE
    if not path.exists():
        return None
    with _reading(path) as database:
        return _stored_meta(database, path)


def read_journal(folder: Path) -> Iterator[JournalBlock]:
    """Blocks journalled in a folder, for export; needs no lock, sees what is committed. Raises JournalCorrupt."""
    path = folder / JOURNAL_FILE
    with _reading(path) as database:
        yield from _read_blocks(database, path)


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    try:
        with closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
        ) as database:
            yield database
    except sqlite3.Error as error:
        raise JournalCorrupt(path=str(path), reason=str(error)) from None


@contextmanager
def hold_folder(folder: Path) -> Iterator[None]:
    """Keep every node from running a chain in a folder. Raises FolderInUse where one does."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as closing_lock:
        closing_lock.callback(os.close, _lock_folder(folder))
        yield


def _lock_folder(folder: Path) -> int:
    descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise FolderInUse(path=str(folder)) from None
    return descriptor


def _open_database(path: Path, meta: ChainMeta) -> sqlite3.Connection:
    try:
        # one owner at a time, but not always from the same thread
        database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise JournalCorrupt(path=str(path), reason=str(error)) from None
    with ExitStack() as undo:
        undo.callback(database.close)
        try:
            database.execute("pragma journal_mode = wal")
            database.execute("pragma synchronous = full")
            damage = database.execute("pragma quick_check").fetchone()[0]
            if damage != "ok":
                raise JournalCorrupt(path=str(path), reason=damage)
            _settle_meta(database, path, meta)
        except sqlite3.Error as error:
            raise JournalCorrupt(path=str(path), reason=str(error)) from None
        undo.pop_all()
    return database


def _settle_meta(database: sqlite3.Connection, path: Path, meta: ChainMeta) -> None:
    with database:
        database.execute("begin immediate")
        for statement in _SCHEMA.split(";"):
            database.execute(statement)
        if not database.execute("select exists (select * from meta) or exists (select * from block)").fetchone()[0]:
            rows = [(field.name, str(getattr(meta, field.name))) for field in fields(meta)]
            database.executemany("insert into meta (name, value) values (?, ?)", rows)
    stored = _stored_meta(database, path)
    for field in reversed(fields(meta)):  # the format first: other fields may mean something else in another format
        expected, found = getattr(meta, field.name), getattr(stored, field.name)
        if expected != found:
            raise JournalMismatch(field=field.name, expected=str(expected), found=str(found))


def _stored_meta(database: sqlite3.Connection, path: Path) -> ChainMeta:
    stored: dict[str, str] = dict(database.execute("select name, value from meta"))
    try:
        return ChainMeta(
            chain_id=int(stored["chain_id"]),
            genesis_time_s=int(stored["genesis_time_s"]),
            block_gas_limit=int(stored["block_gas_limit"]),
            hardfork=stored["hardfork"],
            anvil_version=stored["anvil_version"],
            format_version=int(stored["format_version"]),
        )
    except (KeyError, ValueError) as error:
        raise JournalCorrupt(path=str(path), reason=f"parameter missing or malformed: {error}") from None


def _read_blocks(database: sqlite3.Connection, path: Path) -> Iterator[JournalBlock]:
    last: JournalBlock | None = None
    try:
        for number, time_s, raw, block_hash, state_root in database.execute(_SELECT):
            block = JournalBlock(
                number=number,
                time_s=time_s,
                raw_transactions=_parse_transactions(raw),
                block_hash=block_hash,
                state_root=state_root,
            )
            _require_follows(path, last, block)
            last = block
            yield block
    except (sqlite3.Error, ValueError, TypeError) as error:
        raise JournalCorrupt(path=str(path), reason=f"after block {last.number if last else 0}: {error}") from None
    except MalformedTransaction as error:
        raise JournalCorrupt(path=str(path), reason=f"after block {last.number if last else 0}: {error}") from None


def _require_follows(path: Path, last: JournalBlock | None, block: JournalBlock) -> None:
    expected = last.number + 1 if last else 1
    if block.number != expected:
        raise JournalCorrupt(path=str(path), reason=f"block {expected} is missing")
    if last and last.block_hash is None:
        raise JournalCorrupt(path=str(path), reason=f"block {last.number} has no hash but is not the last")
    if last and block.time_s <= last.time_s:
        raise JournalCorrupt(path=str(path), reason=f"block {block.number} is not later than block {last.number}")


def _parse_transactions(text: str) -> tuple[str, ...]:
    stored: object = json.loads(text)
    if not isinstance(stored, list):
        raise TypeError("transactions are not a list")
    return _require_hex(stored)


def _require_hex(raw_transactions: Sequence[str]) -> tuple[str, ...]:
    for index, raw in enumerate(raw_transactions):
        if not _HEX.fullmatch(raw):
            raise MalformedTransaction(index=index)
    return tuple(raw_transactions)
