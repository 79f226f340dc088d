"""Who holds a role is what the access manager's events say, also in a database from before that was kept."""

from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from tests.store.builders import Chain, founding_events

from gridledger.store import migrations
from gridledger.store.database import Database

REGULATOR, MANAGER = 1, "MarketAccessManager"
FIRST, SECOND, THIRD = "0x" + "aa" * 20, "0x" + "bb" * 20, "0x" + "cc" * 20


def granted(account: str, since: int, *, new: bool = True, role: int = REGULATOR) -> tuple[str, dict[str, Any]]:
    return "RoleGranted", {"roleId": role, "account": account, "delay": 0, "since": since, "newMember": new}


def revoked(account: str) -> tuple[str, dict[str, Any]]:
    return "RoleRevoked", {"roleId": REGULATOR, "account": account}


EVENTS = (
    granted(FIRST, 100),
    granted(SECOND, 200),
    granted(THIRD, 300),
    granted(SECOND, 900, new=False),  # only its delay changes
    granted(SECOND, 1, role=2**64 - 2),
    revoked(FIRST),
    revoked(THIRD),
    granted(THIRD, 400),
)


def holders(database: Database, now: int) -> list[str]:
    with database.read() as tx:
        return [one for one in (FIRST, SECOND, THIRD) if tx.directory.holds_role(one, REGULATOR, now)]


def index(database: Database) -> None:
    with database.write() as tx:
        chain = Chain()
        chain.index(tx, *founding_events())
        chain.index(tx, *EVENTS, contract=MANAGER)


def test_members_come_go_and_begin_when_the_manager_says(database: Database) -> None:
    index(database)
    assert holders(database, 199) == []
    assert holders(database, 200) == [SECOND]
    assert holders(database, 400) == [SECOND, THIRD]


def test_a_database_from_before_learns_the_roles_from_its_indexed_events(tmp_path: Path, database: Database) -> None:
    index(database)
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    with database.write() as tx:
        config.attributes["connection"] = tx.connection
        command.downgrade(config, "0204")
    reopened = Database(tmp_path / "node.db")
    assert holders(reopened, 400) == [SECOND, THIRD]
    reopened.close()
