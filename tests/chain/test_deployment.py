"""The record of a deployment: what was deployed where, and that it is still the same chain and code."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.chain.deployed import (
    CHAIN_ID,
    GENESIS_TIME_S,
    Deployed,
    addresses,
    artifacts,
    deployed,
    key,
    parameters,
    plan,
)

from gridledger.chain.client import ChainClient
from gridledger.chain.deployment import (
    Deployment,
    DeploymentFailed,
    DeploymentMismatch,
    DeploymentUnreadable,
    load_deployment,
    record_deployment,
    save_deployment,
    signed_plan,
    verify_deployment,
)
from gridledger.chain.embedded import EmbeddedChain
from gridledger.chain.plan import CONTRACTS, deployment_steps
from gridledger.chain.toolchain import find_anvil

DEPLOYER = key("deployer").address


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """A deployed market."""
    with deployed(tmp_path_factory.mktemp("deployment")) as running:
        yield running


@pytest.fixture(scope="module")
def record(market: Deployed) -> Deployment:
    """Its record."""
    return record_deployment(market.client, artifacts(), DEPLOYER, 1)


def test_the_record_names_chain_block_addresses_code_and_compiler(market: Deployed, record: Deployment) -> None:
    assert (record.chain_id, record.genesis_hash) == (CHAIN_ID, market.chain.genesis_hash)
    assert (record.block_number, record.deployer) == (1, DEPLOYER)
    assert record.addresses == addresses()
    assert list(record.code_hashes) == list(CONTRACTS)
    assert len(set(record.code_hashes.values())) == len(CONTRACTS)
    assert record.compiler_version == artifacts().compiler_version
    assert record.source_sha256 == artifacts().input_sha256


def test_the_same_market_is_recognized(market: Deployed, record: Deployment) -> None:
    verify_deployment(market.client, artifacts(), record)


@pytest.mark.parametrize(
    ("field", "changed"),
    [
        ("contract sources", {"source_sha256": "0" * 64}),
        ("chain id", {"chain_id": CHAIN_ID + 1}),
        ("genesis hash", {"genesis_hash": "0x" + "00" * 32}),
    ],
)
def test_another_source_chain_or_genesis_is_named(
    market: Deployed, record: Deployment, field: str, changed: dict[str, object]
) -> None:
    other = replace(record, **changed)  # type: ignore[arg-type]
    with pytest.raises(DeploymentMismatch) as refused:
        verify_deployment(market.client, artifacts(), other)
    assert refused.value.field == field
    assert refused.value.expected == str(next(iter(changed.values())))
    assert refused.value.found != refused.value.expected


@pytest.mark.parametrize("contract", CONTRACTS)
def test_other_code_at_any_address_is_named(market: Deployed, record: Deployment, contract: str) -> None:
    other = replace(record, code_hashes={**record.code_hashes, contract: "0x" + "00" * 32})
    with pytest.raises(DeploymentMismatch) as refused:
        verify_deployment(market.client, artifacts(), other)
    assert (refused.value.field, refused.value.found) == (f"code of {contract}", record.code_hashes[contract])


def test_a_contract_that_was_not_created_is_named_in_plan_order(tmp_path: Path) -> None:
    with EmbeddedChain(tmp_path / "chain", anvil=find_anvil(), genesis_time_s=GENESIS_TIME_S) as chain:
        client = ChainClient(chain.url, artifacts(), addresses())
        with pytest.raises(DeploymentFailed) as refused:
            record_deployment(client, artifacts(), DEPLOYER, 1)
        assert refused.value.step == "create MarketAccessManager"
        chain.mine(GENESIS_TIME_S + 1, plan()[:3])
        with pytest.raises(DeploymentFailed) as refused:
            record_deployment(client, artifacts(), DEPLOYER, 1)
        assert refused.value.step == "create GridPolicy"


def test_the_signed_plan_has_one_transaction_per_step_and_is_the_same_every_time() -> None:
    again = signed_plan(artifacts(), parameters(), key("deployer"), CHAIN_ID)
    assert again == plan()
    assert len(plan()) == len(deployment_steps(artifacts(), parameters(), DEPLOYER))
    assert set(signed_plan(artifacts(), parameters(), key("deployer"), 5)).isdisjoint(plan())


def test_a_saved_record_comes_back_and_no_half_file_stays(record: Deployment, tmp_path: Path) -> None:
    path = tmp_path / "deployment.json"
    assert load_deployment(path) is None
    save_deployment(path, record)
    assert load_deployment(path) == record
    assert [entry.name for entry in tmp_path.iterdir()] == ["deployment.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", "5", "{}", '{"chain_id": 1}', '{"colour": "green"}'])
def test_a_damaged_record_is_named_and_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "deployment.json"
    path.write_text(text)
    with pytest.raises(DeploymentUnreadable) as refused:
        load_deployment(path)
    assert refused.value.path == "deployment.json"
    assert path.read_text() == text


def test_saving_again_replaces_the_record(record: Deployment, tmp_path: Path) -> None:
    path = tmp_path / "deployment.json"
    save_deployment(path, record)
    save_deployment(path, replace(record, block_number=9))
    loaded = load_deployment(path)
    assert loaded is not None
    assert loaded.block_number == 9
