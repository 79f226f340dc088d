"""One database: its migrations are its metadata, a transaction is all or nothing, and it outlives its process."""

import sqlite3
import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError
from tests.store.builders import Chain, founding_events

from gridledger.market.model import CashAccount
from gridledger.store.database import Database, DatabaseUnusable
from gridledger.store.schema import WideInteger, cash_account, metadata, order_cancellation

ACCOUNT = "0x" + "12" * 20


class Interrupted(Exception):
    """Something went wrong inside a transaction."""


def set_fact(database: Database, value: object) -> None:
    with database.write() as tx:
        tx.directory.set_fact("mark", value)


def fact(database: Database) -> object:
    with database.read() as tx:
        return tx.directory.fact("mark")


def test_the_migrations_make_exactly_the_tables_the_node_works_with(database: Database) -> None:
    with database.read() as tx:
        context = MigrationContext.configure(tx.connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


@pytest.mark.parametrize("revision", ["0002", "0003", "9901"])
def test_a_database_of_another_generation_is_refused_by_its_revision_and_left_alone(
    tmp_path: Path, revision: str
) -> None:
    path = tmp_path / "node.sqlite"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        other.execute("INSERT INTO alembic_version VALUES (?)", (revision,))
    with pytest.raises(DatabaseUnusable, match=f"revision {revision}"):
        Database(path)
    with sqlite3.connect(path) as other:
        assert [name for (name,) in other.execute("SELECT name FROM sqlite_master")] == ["alembic_version"]


def test_the_comparison_of_migrations_and_tables_would_see_a_missing_column(database: Database) -> None:
    with database.write() as tx:
        tx.connection.exec_driver_sql("ALTER TABLE outbox DROP COLUMN gas_used")
    with database.read() as tx:
        assert compare_metadata(MigrationContext.configure(tx.connection), metadata) != []


@pytest.mark.parametrize(("pragma", "value"), [("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1)])
def test_what_is_committed_survives_a_power_cut(database: Database, pragma: str, value: object) -> None:
    """WAL with synchronous = FULL (2) syncs every commit to the disk."""
    for _ in range(3):
        with database.write() as writing, database.read() as reading:
            for tx in (writing, reading):
                assert tx.connection.exec_driver_sql(f"PRAGMA {pragma}").scalar() == value


def test_an_exception_inside_a_transaction_leaves_nothing_behind(database: Database) -> None:
    def interrupted() -> None:
        with database.write() as tx:
            tx.directory.set_fact("mark", 1)
            Chain().index(tx, *founding_events())
            raise Interrupted

    with pytest.raises(Interrupted):
        interrupted()
    assert fact(database) is None
    with database.read() as tx:
        assert (tx.chain_log.tip(), tx.directory.accounts(), tx.directory.meter_count()) == (None, {}, 0)
    set_fact(database, 2)
    assert fact(database) == 2


def test_nothing_written_inside_a_snapshot_is_kept(database: Database) -> None:
    with database.read() as tx:
        tx.directory.set_fact("mark", 1)
    assert fact(database) is None


def test_a_snapshot_does_not_see_what_is_committed_after_it_began(database: Database) -> None:
    set_fact(database, 1)
    with database.read() as before:
        assert before.directory.fact("mark") == 1
        set_fact(database, 2)
        assert before.directory.fact("mark") == 1
    assert fact(database) == 2


def test_writers_of_many_threads_wait_for_each_other_and_lose_nothing(database: Database) -> None:
    set_fact(database, 0)

    def add_ten() -> None:
        for _ in range(10):
            with database.write() as tx:
                tx.directory.set_fact("mark", tx.directory.fact("mark") + 1)

    threads = [threading.Thread(target=add_ten) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert fact(database) == 60


def test_a_reference_to_something_that_is_not_there_is_refused(database: Database) -> None:
    def cancel_nothing() -> None:
        with database.write() as tx:
            tx.connection.execute(
                insert(order_cancellation).values(
                    uid="0x" + "ab" * 32,
                    signature="0x",
                    running_number=1,
                    received_at=1,
                    receipt_block_hash="0x",
                    receipt_signature="0x",
                    receipt_digest="0x",
                )
            )

    with pytest.raises(IntegrityError, match="FOREIGN KEY"):
        cancel_nothing()


def test_a_reopened_database_knows_everything(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    first = Database(path)
    with first.write() as tx:
        Chain().index(tx, *founding_events())
        before = (
            tx.chain_log.tip(),
            tx.directory.accounts(),
            tx.directory.zones(),
            list(tx.chain_log.events("Deposited")),
        )
    first.close()
    second = Database(path)
    with second.read() as tx:
        after = (
            tx.chain_log.tip(),
            tx.directory.accounts(),
            tx.directory.zones(),
            list(tx.chain_log.events("Deposited")),
        )
    second.close()
    assert after == before
    assert before[1] != {}


def test_two_nodes_opening_a_new_database_at_once_migrate_it_once(tmp_path: Path) -> None:
    opened: list[Database] = []
    threads = [threading.Thread(target=lambda: opened.append(Database(tmp_path / "node.db"))) for _ in range(2)]
    threads[0].start()
    threads[0].join()
    threads[1].start()
    threads[1].join()
    assert len(opened) == 2
    for database in opened:
        database.close()


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    path.write_bytes(b"this is no database, whatever its name says" * 100)
    before = path.read_bytes()
    with pytest.raises(DatabaseUnusable) as refused:
        Database(path)
    assert refused.value.path == "node.db"
    assert path.read_bytes() == before


def test_a_database_of_a_later_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    Database(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(DatabaseUnusable) as refused:
        Database(path)
    assert "9999" in refused.value.reason
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("9999",)]
    connection.close()


def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnusable) as refused:
        Database(tmp_path / "nowhere" / "node.db")
    assert refused.value.path == "node.db"
    assert not (tmp_path / "nowhere").exists()


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(free=st.integers(-(2**255), 2**256 - 1), credit=st.integers(0, 2**128))
def test_money_of_any_size_comes_back_to_the_microcent(database: Database, free: int, credit: int) -> None:
    with database.write() as tx:
        before = tx.directory.account(ACCOUNT)
        tx.directory.change_free({ACCOUNT: free - before.free_microcents})
        assert tx.directory.set_credit(ACCOUNT, credit) == before.credit_microcents
    with database.read() as tx:
        assert tx.directory.account(ACCOUNT) == CashAccount(free_microcents=free, credit_microcents=credit)


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, 2**64 - 1, 2**256 - 1, -(2**255), 0])
def test_wide_integers_are_kept_as_text_never_as_a_float(database: Database, value: int) -> None:
    with database.write() as tx:
        tx.directory.set_credit(ACCOUNT, 0)
        tx.directory.change_free({ACCOUNT: value})
        stored = tx.connection.exec_driver_sql(
            "SELECT free_microcents, typeof(free_microcents) FROM cash_account"
        ).one()
        assert tuple(stored) == (str(value), "text")
        assert tx.connection.execute(select(cash_account.c.free_microcents)).scalar_one() == value


def test_no_money_column_is_a_machine_integer() -> None:
    columns = [column for table in metadata.tables.values() for column in table.columns]
    money = [column for column in columns if column.name.endswith(("_microcents", "_ugco2"))]
    assert len(money) > 5
    assert [column.name for column in money if not isinstance(column.type, WideInteger)] == []
