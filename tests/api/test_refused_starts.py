"""A node that cannot start says why in one typed error, and the folder it was given is as it was."""

import hashlib
import json
import shutil
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from eth_account.signers.local import LocalAccount
from tests.api.running import (
    BUYER,
    GENESIS_TIME_S,
    MTU_START,
    SELLER,
    ZONE,
    Onboarded,
    RunningNode,
    make_folder,
    served,
)

from gridledger.app.market_folder import create_market
from gridledger.app.node import Node, NodeFolder
from gridledger.app.server import AddressUnusable, ApiPortInUse, ServeOptions, open_listener, serve
from gridledger.chain.anvil import PortInUse
from gridledger.chain.deployment import DeploymentMismatch, DeploymentUnreadable, load_deployment, save_deployment
from gridledger.chain.embedded import EmbeddedChain
from gridledger.chain.indexer import ChainForked
from gridledger.chain.journal import FolderInUse, JournalMismatch
from gridledger.chain.keys import KeyMissing, KeyUnreadable
from gridledger.chain.market_config import ConfigUnreadable, MarketDiffers, MarketMissing
from gridledger.chain.toolchain import find_anvil
from gridledger.errors import GridLedgerError
from gridledger.market.errors import MtuUnknown
from gridledger.store.database import DatabaseUnusable

CHAIN_FILES = ("anvil.log",)


def contents(folder: NodeFolder) -> dict[str, str]:
    """Every file by its hash, but for what any start prints and the database's own shared memory."""
    return {
        str(path.relative_to(folder.path)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.path.rglob("*"))
        if path.is_file() and path.name not in CHAIN_FILES and not path.name.endswith(("-shm", "-wal", ".lock"))
    }


def refusal(folder: NodeFolder, *, chain_port: int | None = None) -> GridLedgerError:
    """What a node says that cannot start."""
    node = Node(folder, simulated=True, chain_port=chain_port)
    with pytest.raises(GridLedgerError) as refused:
        node.start()
    return refused.value


def assert_starts(folder: NodeFolder) -> None:
    """Once the cause is gone, the same folder starts."""
    node = Node(folder, simulated=True)
    node.start()
    node.close()


@pytest.fixture
def fresh(tmp_path: Path, keys: Path) -> NodeFolder:
    """A folder of a market that has never started."""
    return make_folder(tmp_path / "fresh", keys)


@pytest.fixture
def template(onboarded: Onboarded) -> NodeFolder:
    """A market with two members that was stopped in good order; never to be changed."""
    return onboarded.folder


@pytest.fixture
def stopped(template: NodeFolder, tmp_path: Path) -> NodeFolder:
    """A copy of it."""
    shutil.copytree(template.path, tmp_path / "stopped")
    return NodeFolder(tmp_path / "stopped")


@pytest.fixture
def busy_port() -> Iterator[int]:
    """A port somebody else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield taken.getsockname()[1]


# ---- ports


def test_a_busy_api_port_is_named_and_nothing_is_begun(fresh: NodeFolder, busy_port: int) -> None:
    before, announced = contents(fresh), list[str]()
    with pytest.raises(ApiPortInUse) as refused:
        serve(ServeOptions(folder=fresh.path, port=busy_port, simulated_clock=True), announced.append)
    assert refused.value.values() == {"host": "127.0.0.1", "port": busy_port}
    assert (contents(fresh), announced) == (before, [])
    assert not fresh.chain.exists()


def test_a_port_is_taken_before_the_node_behind_it_has_started() -> None:
    """Two sockets may be bound to one port until one of them listens."""
    with open_listener("127.0.0.1", 0) as first, pytest.raises(ApiPortInUse) as refused:
        open_listener("127.0.0.1", first.getsockname()[1]).close()
    assert refused.value.host == "127.0.0.1"


def test_an_address_that_cannot_be_listened_on_is_named_and_nothing_is_begun(fresh: NodeFolder) -> None:
    before = contents(fresh)
    for host in ("203.0.113.1", "no such host.invalid"):
        with pytest.raises(AddressUnusable) as refused:
            serve(ServeOptions(folder=fresh.path, host=host, port=0, simulated_clock=True), print)
        assert refused.value.host == host
    assert contents(fresh) == before
    assert not fresh.chain.exists()


def test_a_busy_chain_port_is_named_and_nothing_is_changed(stopped: NodeFolder, busy_port: int) -> None:
    before = contents(stopped)
    error = refusal(stopped, chain_port=busy_port)
    assert (type(error), error.values()) == (PortInUse, {"port": busy_port})
    assert contents(stopped) == before
    assert_starts(stopped)


def test_a_second_node_on_the_same_folder_is_refused_while_the_first_goes_on(stopped: NodeFolder) -> None:
    with served(stopped) as running:
        error = refusal(stopped)
        assert type(error) is FolderInUse
        assert running.get("/readyz")["ready"]
        running.advance(running.node.now + 60)


# ---- folders


@pytest.mark.parametrize("exists", [False, True])
def test_a_folder_without_a_market_is_named(tmp_path: Path, exists: bool) -> None:
    path = tmp_path / "nowhere"
    if exists:
        path.mkdir()
    error = refusal(NodeFolder(path))
    assert (type(error), error.values()) == (MarketMissing, {"folder": "nowhere"})
    assert path.exists() is exists
    assert not exists or list(path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"chain_id": 1}', '{"policy": 5}'])
def test_a_damaged_market_file_is_named(fresh: NodeFolder, text: str) -> None:
    fresh.market.write_text(text)
    before = contents(fresh)
    error = refusal(fresh)
    assert type(error) is ConfigUnreadable
    assert error.values()["path"] == "market.json"
    assert contents(fresh) == before


def test_a_market_file_is_never_overwritten_by_another_market(fresh: NodeFolder) -> None:
    before = contents(fresh)
    with pytest.raises(MarketDiffers) as refused:
        create_market(fresh.path, mtu_length_s=3_600, genesis_time_s=GENESIS_TIME_S, seed=7)
    assert refused.value.values() == {"folder": "fresh", "field": "mtu_length_s"}
    assert contents(fresh) == before


def test_the_same_market_is_made_again_without_any_change(tmp_path: Path) -> None:
    first = create_market(tmp_path / "data", mtu_length_s=900, genesis_time_s=GENESIS_TIME_S, seed=7)
    before = contents(NodeFolder(tmp_path / "data"))
    assert create_market(tmp_path / "data", mtu_length_s=900, genesis_time_s=GENESIS_TIME_S, seed=7) == first
    assert contents(NodeFolder(tmp_path / "data")) == before


@pytest.mark.parametrize("name", ["deployer", "market_operator", "relayer"])
def test_a_missing_key_is_named(fresh: NodeFolder, name: str) -> None:
    (fresh.keys / f"{name}.json").unlink()
    error = refusal(fresh)
    assert (type(error), error.values()) == (KeyMissing, {"name": name, "folder": "keys"})


def test_a_key_with_another_password_is_named(fresh: NodeFolder) -> None:
    (fresh.keys / "password").write_text("another\n")
    error = refusal(fresh)
    assert (type(error), error.values()) == (KeyUnreadable, {"name": "deployer", "folder": "keys"})


def test_a_start_that_failed_halfway_is_completed_by_the_next(fresh: NodeFolder) -> None:
    relayer = fresh.keys / "relayer.json"
    kept = relayer.read_bytes()
    relayer.unlink()
    assert type(refusal(fresh)) is KeyMissing
    relayer.write_bytes(kept)
    assert_starts(fresh)


# ---- chain data of another deployment


def test_the_record_of_another_deployment_is_refused(fresh: NodeFolder, template: NodeFolder) -> None:
    """A chain that holds nothing cannot be the one the record tells of."""
    shutil.copy(template.deployment, fresh.deployment)
    before = contents(fresh)
    error = refusal(fresh)
    assert type(error) is DeploymentMismatch
    assert str(error.values()["field"]).startswith("code of ")
    assert fresh.deployment.read_bytes() == template.deployment.read_bytes()
    assert {name: value for name, value in contents(fresh).items() if name in before} == before
    fresh.deployment.unlink()
    assert_starts(fresh)


@pytest.mark.parametrize(
    ("field", "changed"),
    [
        ("contract sources", {"source_sha256": "0" * 64}),
        ("chain id", {"chain_id": 5}),
        ("genesis hash", {"genesis_hash": "0x" + "00" * 32}),
    ],
)
def test_a_record_that_differs_from_the_chain_is_refused_naming_where(
    stopped: NodeFolder, field: str, changed: dict[str, object]
) -> None:
    record = load_deployment(stopped.deployment)
    assert record is not None
    save_deployment(stopped.deployment, replace(record, **changed))  # type: ignore[arg-type]
    before = contents(stopped)
    error = refusal(stopped)
    assert type(error) is DeploymentMismatch
    assert error.values()["field"] == field
    assert contents(stopped) == before
    save_deployment(stopped.deployment, record)
    assert_starts(stopped)


def test_a_damaged_record_is_refused_and_without_it_the_folder_starts(stopped: NodeFolder) -> None:
    stopped.deployment.write_text('{"chain_id": 1}')
    before = contents(stopped)
    error = refusal(stopped)
    assert type(error) is DeploymentUnreadable
    assert error.values()["path"] == "deployment.json"
    assert contents(stopped) == before
    stopped.deployment.unlink()
    assert_starts(stopped)


def test_a_journal_of_another_genesis_is_refused(stopped: NodeFolder) -> None:
    values = json.loads(stopped.market.read_text())
    kept = stopped.market.read_bytes()
    stopped.market.write_text(json.dumps({**values, "genesis_time_s": GENESIS_TIME_S + 60}))
    before = contents(stopped)
    error = refusal(stopped)
    assert (type(error), error.values()) == (
        JournalMismatch,
        {"field": "genesis_time_s", "expected": str(GENESIS_TIME_S + 60), "found": str(GENESIS_TIME_S)},
    )
    assert contents(stopped) == before
    stopped.market.write_bytes(kept)
    assert_starts(stopped)


def test_a_journal_of_another_chain_is_refused(stopped: NodeFolder) -> None:
    values = json.loads(stopped.market.read_text())
    stopped.market.write_text(json.dumps({**values, "chain_id": 5}))
    before = contents(stopped)
    error = refusal(stopped)
    assert (type(error), error.values()["field"]) == (JournalMismatch, "chain_id")
    assert contents(stopped) == before


def test_a_chain_without_its_deployment_record_gets_it_back(stopped: NodeFolder) -> None:
    kept = stopped.deployment.read_bytes()
    stopped.deployment.unlink()
    assert_starts(stopped)
    assert stopped.deployment.read_bytes() == kept


def test_a_chain_of_another_deployer_is_refused(stopped: NodeFolder, keys: Path, tmp_path: Path) -> None:
    """Block 1 is there, but nothing of it was made by this folder's deployer."""
    foreign = make_folder(tmp_path / "foreign", keys)
    with EmbeddedChain(foreign.chain, anvil=find_anvil(), genesis_time_s=GENESIS_TIME_S) as chain:
        chain.mine(GENESIS_TIME_S + 1)
    before = contents(foreign)
    error = refusal(foreign)
    assert type(error) is DeploymentMismatch
    assert error.values()["field"] == "deployer"
    assert contents(foreign) == before


def test_a_lost_chain_under_a_kept_database_is_refused(stopped: NodeFolder) -> None:
    shutil.rmtree(stopped.chain)
    before = contents(stopped)
    error = refusal(stopped)
    assert type(error) is DeploymentMismatch
    assert {name: value for name, value in contents(stopped).items() if name in before} == before


def test_a_longer_chain_than_the_database_knows_of_another_history_is_refused(
    stopped: NodeFolder, onboarded: Onboarded, tmp_path: Path
) -> None:
    other = NodeFolder(tmp_path / "other")
    with onboarded.served(other.path) as running:
        for _ in range(3):
            running.fund(SELLER, 1)
            running.work()
    shutil.rmtree(stopped.chain)
    shutil.copytree(other.chain, stopped.chain)
    stopped_tip = _tip(stopped)
    assert stopped_tip < _tip(other)
    _forge_tip(stopped)
    assert type(refusal(stopped)) is ChainForked


@pytest.mark.parametrize("blocks", [0, 1, 2])
def test_a_database_that_has_seen_another_chain_is_refused(onboarded: Onboarded, tmp_path: Path, blocks: int) -> None:
    """The chain is as long as what was indexed, or shorter: an old copy of the journal, or another history."""
    indexed, other = NodeFolder(tmp_path / "indexed"), NodeFolder(tmp_path / "other")
    _fund(onboarded, indexed, SELLER, 2)
    _fund(onboarded, other, BUYER, blocks)
    shutil.rmtree(indexed.chain)
    shutil.copytree(other.chain, indexed.chain)
    assert type(refusal(indexed)) is ChainForked


def _fund(onboarded: Onboarded, folder: NodeFolder, account: LocalAccount, blocks: int) -> None:
    """Let the market go on for some blocks."""
    with onboarded.served(folder.path) as running:
        for _ in range(blocks):
            running.fund(account, 1)
            running.work()


def _tip(folder: NodeFolder) -> int:
    rows = RunningNode.memory_of(folder)["chain_block"]
    return max(int(str(row[0])) for row in rows)


def _forge_tip(folder: NodeFolder) -> None:
    """Pretend another last block was indexed, as if its chain had gone another way."""
    RunningNode.execute(folder, "UPDATE chain_block SET block_hash = '0x' || substr(block_hash, 4) || '0'")


# ---- databases


def test_a_database_that_is_none_is_named(stopped: NodeFolder) -> None:
    for suffix in ("-wal", "-shm"):
        Path(f"{stopped.database}{suffix}").unlink(missing_ok=True)
    stopped.database.write_bytes(b"not a database at all" * 500)
    before = contents(stopped)
    error = refusal(stopped)
    assert type(error) is DatabaseUnusable
    assert error.values()["path"] == "node.db"
    assert contents(stopped) == before


def test_a_lost_database_is_indexed_again_from_the_chain(stopped: NodeFolder) -> None:
    """Members and money come back from the events; only what never was on chain is gone."""
    before = RunningNode.memory_of(stopped)
    for suffix in ("", "-wal", "-shm"):
        Path(f"{stopped.database}{suffix}").unlink(missing_ok=True)
    assert_starts(stopped)
    after = RunningNode.memory_of(stopped)
    for table in ("chain_block", "chain_event", "participant", "meter", "zone", "supplier", "cash_account"):
        assert after[table] == before[table]
        assert after[table]


def test_a_database_older_than_the_books_on_its_chain_is_refused(onboarded: Onboarded, tmp_path: Path) -> None:
    """Restored from before the gate, it lacks the orders that the chain tells of."""
    folder = NodeFolder(tmp_path / "data")
    with onboarded.served(folder.path) as running:
        running.pair()
    for suffix in ("", "-wal", "-shm"):
        Path(f"{folder.database}{suffix}").unlink(missing_ok=True)
    shutil.copy(onboarded.folder.database, folder.database)
    error = refusal(folder)
    assert (type(error), error.values()) == (MtuUnknown, {"zone": ZONE, "mtu_start": MTU_START})
