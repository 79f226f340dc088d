"""A deployed market: where its contracts are, what code they run, and that it is still the same one."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from eth_account.signers.local import LocalAccount

from gridledger.chain.client import ChainClient
from gridledger.chain.compiler import Artifacts
from gridledger.chain.plan import CONTRACTS, DeploymentParameters, contract_addresses, deployment_steps
from gridledger.chain.signing import sign_call
from gridledger.errors import Conflict, Unavailable

__all__ = [
    "Deployment",
    "DeploymentFailed",
    "DeploymentMismatch",
    "DeploymentUnreadable",
    "load_deployment",
    "record_deployment",
    "save_deployment",
    "signed_plan",
    "verify_deployment",
]

CREATION_GAS = 12_000_000
CALL_GAS = 1_000_000


@dataclass(kw_only=True, eq=False)
class DeploymentFailed(Unavailable):
    """A step of the deployment plan did not succeed."""

    step: str


@dataclass(kw_only=True, eq=False)
class DeploymentMismatch(Conflict):
    """The chain does not hold the deployment this folder belongs to."""

    field: str
    expected: str
    found: str


@dataclass(kw_only=True, eq=False)
class DeploymentUnreadable(Unavailable):
    """The record of the deployment is damaged; without the file it is made again from the chain."""

    path: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """Record of a deployment; hashes are keccak-256 of the deployed code."""

    chain_id: int
    genesis_hash: str
    block_number: int
    deployer: str
    addresses: Mapping[str, str]
    code_hashes: Mapping[str, str]
    compiler_version: str
    compiler_settings: Mapping[str, Any]
    source_sha256: str


def signed_plan(
    artifacts: Artifacts, parameters: DeploymentParameters, deployer: LocalAccount, chain_id: int
) -> tuple[str, ...]:
    """The whole plan as signed transactions, 0x hex, in order, from the deployer's nonce 0."""
    return tuple(
        sign_call(
            deployer,
            chain_id=chain_id,
            nonce=nonce,
            to_address=step.to,
            data=step.data,
            gas=CREATION_GAS if step.to is None else CALL_GAS,
        ).raw_text
        for nonce, step in enumerate(deployment_steps(artifacts, parameters, deployer.address))
    )


def record_deployment(client: ChainClient, artifacts: Artifacts, deployer: str, block_number: int) -> Deployment:
    """Read back what was deployed. Raises DeploymentFailed if a contract is missing."""
    addresses = contract_addresses(deployer)
    empty = client.code_hash(deployer)
    code_hashes = {name: client.code_hash(addresses[name]) for name in CONTRACTS}
    for name, code_hash in code_hashes.items():
        if code_hash == empty:
            raise DeploymentFailed(step=f"create {name}")
    return Deployment(
        chain_id=client.chain_id(),
        genesis_hash=client.genesis_hash(),
        block_number=block_number,
        deployer=deployer,
        addresses=addresses,
        code_hashes=code_hashes,
        compiler_version=artifacts.compiler_version,
        compiler_settings=artifacts.settings,
        source_sha256=artifacts.input_sha256,
    )


def verify_deployment(client: ChainClient, artifacts: Artifacts, deployment: Deployment) -> None:
    """Check contract sources, chain id, genesis and every code hash. Raises DeploymentMismatch."""
    _require_same("contract sources", deployment.source_sha256, artifacts.input_sha256)
    _require_same("chain id", str(deployment.chain_id), str(client.chain_id()))
    _require_same("genesis hash", deployment.genesis_hash, client.genesis_hash())
    for name, code_hash in deployment.code_hashes.items():
        _require_same(f"code of {name}", code_hash, client.code_hash(deployment.addresses[name]))


def save_deployment(path: Path, deployment: Deployment) -> None:
    """Write the record; a crash leaves no half file."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(asdict(deployment), indent=1, sort_keys=True) + "\n")
    temporary.replace(path)


def load_deployment(path: Path) -> Deployment | None:
    """The record, or None where there is none. Raises DeploymentUnreadable."""
    if not path.exists():
        return None
    try:
        return Deployment(**json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise DeploymentUnreadable(path=path.name, reason=str(error)) from None


def _require_same(field: str, expected: str, found: str) -> None:
    if expected != found:
        raise DeploymentMismatch(field=field, expected=expected, found=found)
