"""The node's one database: SQLite in WAL mode with full durability, one writer at a time."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.exc import DatabaseError, OperationalError

from gridledger.errors import Unavailable
from gridledger.store.transaction import Transaction

__all__ = ["Database", "DatabaseBusy", "DatabaseUnusable"]

_SCRUB_WAIT_MS = 2_000
_MIGRATIONS = Path(__file__).parent / "migrations"


@dataclass(kw_only=True, eq=False)
class DatabaseUnusable(Unavailable):
    """The node's database cannot be opened or brought to this version."""

    path: str
    reason: str


@dataclass(kw_only=True, eq=False)
class DatabaseBusy(Unavailable):
    """Somebody else has the node's database open, so deleted bytes may still be in it; try again when they are gone."""

    path: str


class Database:
    """Opens, migrates and hands out transactions. One request or task is one transaction."""

    def __init__(self, path: Path) -> None:
        """Open `path`, creating and migrating it as needed. Raises DatabaseUnusable."""
        self._path = path
        self._engine = _sqlite_engine(path)
        self._writer = threading.Lock()
        try:
            self._migrate()
        except DatabaseUnusable:
            self._engine.dispose()
            raise
        except (DatabaseError, CommandError) as error:
            self._engine.dispose()
            raise DatabaseUnusable(path=path.name, reason=str(error).splitlines()[0]) from error

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """A transaction that may write; committed on leaving, rolled back on any exception."""
        with self._writer, self._engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            try:
                transaction = Transaction(connection)
                yield transaction
                transaction.flush()
            except BaseException:
                connection.exec_driver_sql("ROLLBACK")
                raise
            connection.exec_driver_sql("COMMIT")

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """A consistent snapshot; nothing written in it is kept."""
        with self._engine.connect() as connection:
            connection.exec_driver_sql("BEGIN")
            try:
                yield Transaction(connection)
            finally:
                connection.exec_driver_sql("ROLLBACK")

    def scrub(self) -> None:
        """Rewrite the file, so that nothing that was deleted is left in it or in its log. Raises DatabaseBusy."""
        with self._writer, self._engine.connect() as connection:
            connection.exec_driver_sql(f"PRAGMA busy_timeout = {_SCRUB_WAIT_MS}")
            connection.exec_driver_sql("PRAGMA secure_delete = ON")
            try:
                connection.exec_driver_sql("VACUUM")
            except OperationalError:
                raise DatabaseBusy(path=self._path.name) from None
            busy = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()[0]
            connection.invalidate()  # its settings are of this task alone
        if busy:
            raise DatabaseBusy(path=self._path.name)

    def close(self) -> None:
        """Release all connections."""
        self._engine.dispose()

    def _migrate(self) -> None:
        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS))
        known = ScriptDirectory.from_config(config)
        with self._engine.connect() as connection:
            revision = MigrationContext.configure(connection).get_current_revision()
            if revision == known.get_current_head():
                return
            if revision is not None and revision not in {script.revision for script in known.walk_revisions()}:
                raise DatabaseUnusable(
                    path=self._path.name,
                    reason=f"its tables are of revision {revision}, made by a newer or an incompatible older version",
                )
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            connection.exec_driver_sql("COMMIT")


def _sqlite_engine(path: Path) -> Engine:
    engine = create_engine(
        f"sqlite:///{path}",
        connect_args={"check_same_thread": False, "timeout": 30},
        pool_size=16,
        max_overflow=64,
        hide_parameters=True,  # an error's text would hold the row's values, and end up in the log
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # transactions are begun explicitly
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=30000"):
            connection.execute(f"PRAGMA {pragma}")

    return engine
