"""What a database of an earlier version holds is still there after the step to this one."""

from pathlib import Path

from alembic import command
from alembic.config import Config

import gridledger.store.database as store
from gridledger.market.webhooks import Feed
from gridledger.store.database import Database

OWNER = "0x" + "11" * 20


def take_back_to(path: Path, revision: str, *statements: str) -> None:
    """Make an empty database of an earlier revision (`0211-1`: the one before) and put rows into it."""
    database = Database(path)
    config = Config()
    config.set_main_option("script_location", str(store._MIGRATIONS))
    with database._engine.connect() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, revision)
        for statement in statements:
            connection.exec_driver_sql(statement)
    database.close()


def test_webhooks_that_were_set_before_there_were_feeds_are_for_notices(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    take_back_to(
        path,
        "0211-1",
        f"INSERT INTO webhook VALUES (7, '{OWNER}', 'https://example.org/', x'01', 5, 1, 2, 3, 4, NULL, 'status 500')",
    )
    database = Database(path)
    with database.read() as tx:
        kept = tx.webhooks.find(OWNER, Feed.NOTICES)
        assert tx.webhooks.find(OWNER, Feed.DISPATCH) is None
    database.close()
    assert kept is not None
    assert (kept.id, kept.url, kept.sealed_secret, kept.cursor) == (7, "https://example.org/", b"\x01", 5)
    assert (kept.failures, kept.failing_since, kept.next_attempt_at, kept.last_error) == (2, 3, 4, "status 500")
