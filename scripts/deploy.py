"""`ape run deploy`: executes the node's own deployment plan, with the node's own compilation, on ape's network.

Every role is held by an account of ape's test mnemonic: for development networks only. The record of the deployment
goes to `.build/deployment-<chain id>.json`.
"""

import json
from pathlib import Path

from ape import accounts, networks

from gridledger.chain.codec import keccak256
from gridledger.chain.compiler import load_artifacts
from gridledger.chain.market_config import DEFAULT_SOURCE_FACTORS
from gridledger.chain.plan import (
    CONTRACTS,
    DeploymentParameters,
    PolicyParameters,
    contract_addresses,
    deployment_steps,
)
from gridledger.chain.roles import EXTERNAL_ROLES

BUILD_FOLDER = Path(__file__).parents[1] / ".build"
CREATION_GAS, CALL_GAS = 12_000_000, 1_000_000


def main() -> None:
    """Deploy all contracts and grant all roles."""
    deployer, *others = (accounts.test_accounts[index] for index in range(len(EXTERNAL_ROLES) + 2))
    supplier, *role_holders = others
    parameters = DeploymentParameters(
        mtu_length_s=900,
        policy=PolicyParameters(),
        accounts={role: holder.address for role, holder in zip(EXTERNAL_ROLES, role_holders, strict=True)},
        suppliers=(supplier.address,),
        zones=(1,),
        source_factors=DEFAULT_SOURCE_FACTORS,
    )
    artifacts, first_nonce = load_artifacts(), deployer.nonce
    provider = networks.provider
    last_receipt = None
    for step in deployment_steps(artifacts, parameters, deployer.address, first_nonce):
        receiver = {} if step.to is None else {"receiver": step.to}
        gas = CREATION_GAS if step.to is None else CALL_GAS
        transaction = provider.network.ecosystem.create_transaction(data=step.data, gas=gas, **receiver)
        last_receipt = deployer.call(transaction)
        print(f"{step.title}: {last_receipt.txn_hash}")
    addresses = contract_addresses(deployer.address, first_nonce)
    record = {
        "chain_id": provider.chain_id,
        "block_number": None if last_receipt is None else last_receipt.block_number,
        "deployer": deployer.address,
        "addresses": addresses,
        "code_hashes": {name: "0x" + keccak256(bytes(provider.get_code(addresses[name]))).hex() for name in CONTRACTS},
        "compiler_version": artifacts.compiler_version,
        "compiler_settings": dict(artifacts.settings),
        "source_sha256": artifacts.input_sha256,
    }
    BUILD_FOLDER.mkdir(exist_ok=True)
    path = BUILD_FOLDER / f"deployment-{provider.chain_id}.json"
    path.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
    print(f"{len(CONTRACTS)} contracts deployed, record in {path}")
