"""The block journal keeps what was committed, refuses what it did not write and lets one owner in."""

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gridledger.chain.journal import (
    BlockTimeNotIncreasing,
    ChainMeta,
    FolderInUse,
    Journal,
    JournalBlock,
    JournalCorrupt,
    JournalMismatch,
    JournalUnwritable,
    MalformedTransaction,
    read_journal,
    read_meta,
)
from gridledger.units import OutOfRange

META = ChainMeta(
    chain_id=31337, genesis_time_s=1_000, block_gas_limit=30_000_000, hardfork="osaka", anvil_version="1.7.1+abc"
)
HASH = "0x" + "aa" * 32
ROOT = "0x" + "bb" * 32


@contextlib.contextmanager
def opened(folder: Path, meta: ChainMeta = META) -> Iterator[Journal]:
    with contextlib.closing(Journal(folder, meta)) as journal:
        yield journal


def fill(folder: Path, count: int) -> list[JournalBlock]:
    with opened(folder) as journal:
        for number in range(1, count + 1):
            block = journal.append(time_s=1_000 + number, raw_transactions=[f"0x{number:04x}"])
            journal.record(block, block_hash=HASH, state_root=ROOT)
        return list(journal.read_blocks())


def blocks_of(folder: Path) -> list[JournalBlock]:
    with opened(folder) as journal:
        return list(journal.read_blocks())


def alter(folder: Path, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(folder / "journal.db")) as database, database:
        database.execute(statement)


def test_blocks_are_read_back_in_order_after_reopening(tmp_path: Path) -> None:
    written = fill(tmp_path, 3)
    with opened(tmp_path) as journal:
        assert list(journal.read_blocks()) == written
        assert journal.last_block() == written[-1]
    assert list(read_journal(tmp_path)) == written
    assert [block.number for block in written] == [1, 2, 3]
    assert written[1] == JournalBlock(
        number=2, time_s=1_002, raw_transactions=("0x0002",), block_hash=HASH, state_root=ROOT
    )


def test_a_block_without_its_hash_stays_without_it_after_reopening(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        block = journal.append(time_s=1_001, raw_transactions=[])
    assert list(read_journal(tmp_path)) == [block]
    assert block.block_hash is None
    assert block.state_root is None


def test_the_next_block_waits_for_the_hash_of_the_last(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        journal.append(time_s=1_001, raw_transactions=[])
        with pytest.raises(JournalUnwritable):
            journal.append(time_s=1_002, raw_transactions=[])


def test_a_recorded_hash_is_never_overwritten(tmp_path: Path) -> None:
    written = fill(tmp_path, 1)
    with opened(tmp_path) as journal, pytest.raises(JournalUnwritable):
        journal.record(written[0], block_hash=ROOT, state_root=HASH)
    assert list(read_journal(tmp_path)) == written


@pytest.mark.parametrize("time_s", [999, 1_000])
def test_the_first_block_is_later_than_the_genesis(tmp_path: Path, time_s: int) -> None:
    with opened(tmp_path) as journal, pytest.raises(BlockTimeNotIncreasing) as refused:
        journal.append(time_s=time_s, raw_transactions=[])
    assert refused.value.values() == {"time_s": time_s, "last_time_s": 1_000}


def test_a_block_is_later_than_the_one_before_it(tmp_path: Path) -> None:
    fill(tmp_path, 2)
    with opened(tmp_path) as journal, pytest.raises(BlockTimeNotIncreasing):
        journal.append(time_s=1_002, raw_transactions=[])


@pytest.mark.parametrize("raw", ["", "0x", "0x1", "12", "0xzz", "0x\ud800", "0x12\n"])
def test_what_is_not_hexadecimal_never_enters_the_journal(tmp_path: Path, raw: str) -> None:
    with opened(tmp_path) as journal, pytest.raises(MalformedTransaction) as refused:
        journal.append(time_s=1_001, raw_transactions=["0x01", raw])
    assert refused.value.index == 1
    assert list(read_journal(tmp_path)) == []


@pytest.mark.parametrize("time_s", [-1, 2**63])
def test_a_time_beyond_int64_never_enters_the_journal(tmp_path: Path, time_s: int) -> None:
    with opened(tmp_path) as journal, pytest.raises(OutOfRange):
        journal.append(time_s=time_s, raw_transactions=[])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("chain_id", 1),
        ("genesis_time_s", 999),
        ("block_gas_limit", 1),
        ("hardfork", "prague"),
        ("anvil_version", "1.7.2+def"),
        ("format_version", 2),
    ],
)
def test_a_journal_of_another_chain_is_refused_and_unchanged(tmp_path: Path, field: str, value: int | str) -> None:
    written = fill(tmp_path, 1)
    asked = replace(META, **{field: value})  # type: ignore[arg-type]
    with pytest.raises(JournalMismatch) as refused:
        Journal(tmp_path, asked)
    assert refused.value.values() == {"field": field, "expected": str(value), "found": str(getattr(META, field))}
    assert read_meta(tmp_path) == META
    assert blocks_of(tmp_path) == written


def test_a_folder_without_a_journal_has_no_parameters(tmp_path: Path) -> None:
    assert read_meta(tmp_path) is None


def test_a_file_that_is_no_database_is_refused_and_unchanged(tmp_path: Path) -> None:
    garbage = b"not a database, though long enough to have a header " * 100
    (tmp_path / "journal.db").write_bytes(garbage)
    with pytest.raises(JournalCorrupt):
        Journal(tmp_path, META)
    with pytest.raises(JournalCorrupt):
        read_meta(tmp_path)
    assert (tmp_path / "journal.db").read_bytes() == garbage


def test_a_damaged_page_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, 200)
    path = tmp_path / "journal.db"
    content = bytearray(path.read_bytes())
    content[4096 * 3 : 4096 * 4] = bytes(4096)
    path.write_bytes(content)
    with pytest.raises(JournalCorrupt):
        Journal(tmp_path, META)


@pytest.mark.parametrize(
    "statement",
    [
        "delete from block where number = 2",
        "delete from block where number = 1",
        "update block set time_s = 1001 where number = 2",
        "update block set time_s = 1000 where number = 1",
        "update block set time_s = 'noon' where number = 2",
        "update block set raw_transactions = '[' where number = 3",
        "update block set raw_transactions = '[1]' where number = 3",
        "update block set raw_transactions = '{}' where number = 3",
        "update block set raw_transactions = '[\"0xz\"]' where number = 3",
        "update block set block_hash = null, state_root = null where number = 2",
        "delete from meta",
        "delete from meta where name = 'hardfork'",
        "update meta set value = 'many' where name = 'chain_id'",
    ],
)
def test_a_journal_that_contradicts_itself_is_refused(tmp_path: Path, statement: str) -> None:
    fill(tmp_path, 3)
    alter(tmp_path, statement)
    for _ in range(2):  # the second time too: a refused opening releases the folder
        with pytest.raises(JournalCorrupt):
            Journal(tmp_path, META)


def test_two_owners_of_one_folder_are_refused_until_the_first_has_closed(tmp_path: Path) -> None:
    with opened(tmp_path):
        with pytest.raises(FolderInUse) as refused:
            Journal(tmp_path, META)
        assert refused.value.path == str(tmp_path)
    fill(tmp_path, 1)


def test_a_refused_journal_releases_its_folder(tmp_path: Path) -> None:
    fill(tmp_path, 1)
    with pytest.raises(JournalMismatch):
        Journal(tmp_path, replace(META, chain_id=5))
    assert len(blocks_of(tmp_path)) == 1


def test_exported_blocks_are_imported_into_an_empty_journal_only(tmp_path: Path) -> None:
    written = fill(tmp_path / "source", 3)
    with opened(tmp_path / "copy") as journal:
        journal.import_blocks(iter(written))
        assert list(journal.read_blocks()) == written
        with pytest.raises(JournalUnwritable):
            journal.import_blocks(written)


def test_an_import_that_cannot_be_leaves_the_journal_empty(tmp_path: Path) -> None:
    written = fill(tmp_path / "source", 3)
    with opened(tmp_path / "copy") as journal:
        with pytest.raises(JournalCorrupt):
            journal.import_blocks([written[0], written[2]])
        with pytest.raises(JournalUnwritable):
            journal.import_blocks([written[0], written[0]])
        assert list(journal.read_blocks()) == []
        assert journal.last_block() is None
        journal.append(time_s=1_001, raw_transactions=[])


def test_the_export_can_be_read_while_the_owner_writes(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        block = journal.append(time_s=1_001, raw_transactions=["0x01"])
        assert list(read_journal(tmp_path)) == [block]
        assert read_meta(tmp_path) == META
