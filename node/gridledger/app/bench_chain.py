"""A fresh embedded chain with the market on it, for measuring gas."""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from eth_account.signers.local import LocalAccount

from gridledger.app.market_folder import create_market
from gridledger.app.node import NodeFolder
from gridledger.chain.client import ChainClient
from gridledger.chain.compiler import load_artifacts
from gridledger.chain.deployment import signed_plan
from gridledger.chain.embedded import EmbeddedChain
from gridledger.chain.keys import Keystore
from gridledger.chain.market_config import MarketConfig
from gridledger.chain.plan import contract_addresses
from gridledger.chain.signing import sign_call
from gridledger.chain.toolchain import find_anvil
from gridledger.errors import Unavailable

__all__ = ["GENESIS_S", "MTU_LENGTH_S", "SEED", "ZONE", "BenchChain", "BenchFailed", "bench_chain"]

MTU_LENGTH_S, ZONE, SEED = 900, 1, 42
GENESIS_S = 1_800_000_000
BLOCK_TRANSACTIONS = 8  # a block holds only so many transactions of this gas limit


@dataclass(kw_only=True, eq=False)
class BenchFailed(Unavailable):
    """A measured transaction did not succeed."""

    step: str


@dataclass
class BenchChain:
    """A running chain, its contracts and the market's keys."""

    chain: EmbeddedChain
    client: ChainClient
    config: MarketConfig
    keystore: Keystore
    nonces: dict[str, int] = field(default_factory=dict)

    def signed_call(self, account: LocalAccount, contract: str, function: str, arguments: tuple[object, ...]) -> str:
        """A signed contract call, 0x hex."""
        data = self.client.codecs[contract].call_data(function, *arguments)
        return self.signed(account, self.client.address(contract), data)

    def signed(self, account: LocalAccount, to_address: str | None, data: bytes) -> str:
        """A signed zero-fee transaction with the account's next nonce, 0x hex."""
        nonce = self.nonces.get(account.address, 0)
        self.nonces[account.address] = nonce + 1
        return sign_call(account, chain_id=self.config.chain_id, nonce=nonce, to_address=to_address, data=data).raw_text

    def mine(self, time_s: int, raw_transactions: Sequence[str]) -> int:
        """Mine transactions that must all succeed; their gas together."""
        left, gas_used = list(raw_transactions), 0
        while left:
            mined = self.chain.mine(time_s, left[:BLOCK_TRANSACTIONS])
            outcomes = self.client.block(mined.number).outcomes
            if mined.refused or not all(outcome.succeeded for outcome in outcomes):
                raise BenchFailed(step=f"block {mined.number}")
            gas_used += sum(outcome.gas_used for outcome in outcomes)
            left, time_s = left[BLOCK_TRANSACTIONS:], time_s + 1
        return gas_used


_Chain = TypeVar("_Chain", bound=BenchChain)


@contextlib.contextmanager
def bench_chain(kind: type[_Chain]) -> Iterator[_Chain]:
    """A fresh embedded chain with the market deployed, and what it takes to use it."""
    with tempfile.TemporaryDirectory(prefix="gridledger-") as folder:
        path = Path(folder)
        config = create_market(path, mtu_length_s=MTU_LENGTH_S, genesis_time_s=GENESIS_S, seed=SEED)
        artifacts = load_artifacts()
        keystore = Keystore(NodeFolder(path).keys)
        deployer = keystore.load("deployer")
        with EmbeddedChain(NodeFolder(path).chain, anvil=find_anvil(), genesis_time_s=GENESIS_S) as chain:
            plan = signed_plan(artifacts, config.deployment_parameters(), deployer, config.chain_id)
            chain.mine(GENESIS_S + 1, plan)
            client = ChainClient(chain.url, artifacts, contract_addresses(deployer.address))
            yield kind(chain, client, config, keystore)
