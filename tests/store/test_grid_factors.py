"""The grid's emission factors are what the carbon ledger's events say, also in a database from before."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from tests.store.builders import Chain, founding_events

from gridledger.store import migrations
from gridledger.store.database import Database

FACTORS = {900: 363_500, 1_800: 0, 2_700: 5_000_000}


def index(database: Database) -> None:
    events = [
        ("GridFactorPublished", {"mtuStart": mtu_start, "factorMgco2PerKwh": factor, "sourceHash": "0x"})
        for mtu_start, factor in FACTORS.items()
    ]
    with database.write() as tx:
        chain = Chain()
        chain.index(tx, *founding_events())
        chain.index(tx, *events, contract="CarbonLedger")


def factors(database: Database, from_s: int = 0, to_s: int = 10_000) -> dict[int, int]:
    with database.read() as tx:
        return tx.directory.grid_factors(from_s, to_s)


def test_published_factors_are_found_by_their_mtu(database: Database) -> None:
    index(database)
    assert factors(database) == FACTORS
    assert factors(database, 900, 1_800) == {900: 363_500}


def test_a_database_from_before_learns_the_factors_from_its_indexed_events(tmp_path: Path, database: Database) -> None:
    index(database)
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    with database.write() as tx:
        config.attributes["connection"] = tx.connection
        command.downgrade(config, "0207")
        command.upgrade(config, "head")
    assert factors(database) == FACTORS
