"""A market deployed on an embedded chain, with a real database beside it: what sender and indexer work on."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from eth_account.signers.local import LocalAccount

from gridledger.chain.client import ChainClient
from gridledger.chain.compiler import Artifacts, load_artifacts
from gridledger.chain.deployment import signed_plan
from gridledger.chain.embedded import EmbeddedChain
from gridledger.chain.indexer import Indexer
from gridledger.chain.keys import ACCOUNT_NAMES, account_from_seed
from gridledger.chain.market_config import DEFAULT_SOURCE_FACTORS
from gridledger.chain.plan import DeploymentParameters, PolicyParameters, contract_addresses
from gridledger.chain.roles import EXTERNAL_ROLES
from gridledger.chain.sender import Sender
from gridledger.chain.toolchain import find_anvil
from gridledger.clock import ManualClock
from gridledger.errors import GridLedgerError
from gridledger.relay import OutboxRow, OutboxState
from gridledger.store.database import Database
from gridledger.store.transaction import Transaction

CHAIN_ID = 31_337
GENESIS_TIME_S = 1_465_770_000
MTU_START = 1_465_776_000
ZONE = 1
HIGHEST_GAS = 2**24  # EIP-7825


@cache
def key(name: str) -> LocalAccount:
    """The key of a role; the same in every test."""
    return account_from_seed(7, name)


@cache
def artifacts() -> Artifacts:
    """The project's contracts."""
    return load_artifacts()


def parameters() -> DeploymentParameters:
    """The default market with one zone and one supplier."""
    return DeploymentParameters(
        mtu_length_s=900,
        policy=PolicyParameters(),
        accounts={role: key(role.name.lower()).address for role in EXTERNAL_ROLES},
        suppliers=(key("supplier").address,),
        zones=(ZONE,),
        source_factors=DEFAULT_SOURCE_FACTORS,
    )


@cache
def plan(chain_id: int = CHAIN_ID) -> tuple[str, ...]:
    """The whole deployment as signed transactions; signing it takes longer than mining it."""
    return signed_plan(artifacts(), parameters(), key("deployer"), chain_id)


def addresses() -> dict[str, str]:
    """Where the plan puts the contracts."""
    return contract_addresses(key("deployer").address)


class Blocks:
    """A block maker over the chain that remembers what it was given, and fails when told to."""

    def __init__(self, chain: EmbeddedChain) -> None:
        self._chain = chain
        self.given: list[tuple[str, ...]] = []
        self.before_mining: Callable[[], None] = _nothing
        self.after_mining: Callable[[], None] = _nothing

    def make_block(self, time_s: int, raw_transactions: Sequence[str]) -> None:
        self.given.append(tuple(raw_transactions))
        self.before_mining()
        head = self._chain.head()
        self._chain.mine(max(time_s, head.time_s + 1 if head else time_s), raw_transactions)
        self.after_mining()


def _nothing() -> None:
    """No failure."""


class Killed(Exception):
    """The process was killed at this point."""


def kill() -> None:
    """As a power cut: nothing after this runs."""
    raise Killed


@dataclass
class Deployed:
    """One market on one chain, the node's database, and what was refused."""

    chain: EmbeddedChain
    database: Database
    clock: ManualClock = field(default_factory=lambda: ManualClock(GENESIS_TIME_S + 100))
    refused: list[tuple[int, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.client = ChainClient(self.chain.url, artifacts(), addresses())
        self.blocks = Blocks(self.chain)

    def note_refusal(self, tx: Transaction, row: OutboxRow, error: GridLedgerError) -> None:
        """Remember it in the same transaction that records it."""
        assert tx.outbox.in_state(OutboxState.SIGNED, 1) is not None
        self.refused.append((row.id, str(error)))

    def indexer(self) -> Indexer[Transaction]:
        """A new indexer over the same database."""
        return Indexer(self.client, self.database, self.note_refusal)

    def sender(self) -> Sender[Transaction]:
        """A new sender over the same database, as after a restart."""
        return Sender(
            client=self.client,
            database=self.database,
            indexer=self.indexer(),
            block_maker=self.blocks,
            clock=self.clock,
            keys={key(name).address: key(name) for name in ACCOUNT_NAMES},
            on_refused=self.note_refusal,
        )

    def command(self, signer: str, contract: str, function: str, *arguments: object) -> int:
        """Keep a command of a role for sending; returns its number."""
        with self.database.write() as tx:
            return tx.outbox.add(
                kind=f"{contract}.{function}",
                signer=key(signer).address,
                to_address=addresses()[contract],
                data=self.client.codecs[contract].call_data(function, *arguments),
                zone=ZONE,
                mtu_start=MTU_START,
                created_at=self.clock.now(),
            )

    def post_feed_in(self, mtu_start: int = MTU_START, price: int = 5_000) -> int:
        """A command that succeeds once per MTU."""
        return self.command("oracle", "GridPolicy", "postFeedIn", mtu_start, [price])

    def row(self, number: int) -> OutboxRow:
        """The outbox row with this number."""
        with self.database.read() as tx:
            rows = [row for state in OutboxState for row in tx.outbox.in_state(state, 1_000)]
        return next(row for row in rows if row.id == number)

    def signed(self, signer: str, contract: str, data: bytes, **changes: Any) -> str:
        """A raw transaction of a role; `changes` override any field."""
        return signed_raw(signer, addresses()[contract], data, **changes)


def signed_raw(signer: str, to: str | None, data: bytes, **changes: Any) -> str:
    """A signed EIP-1559 transaction, 0x hex."""
    transaction: dict[str, Any] = {
        "chainId": CHAIN_ID,
        "nonce": 0,
        "gas": HIGHEST_GAS,
        "maxFeePerGas": 0,
        "maxPriorityFeePerGas": 0,
        "value": 0,
        "data": "0x" + data.hex(),
    }
    if to is not None:
        transaction["to"] = to
    account = changes.pop("account", None) or key(signer)
    return "0x" + bytes(account.sign_transaction(transaction | changes).raw_transaction).hex()


@contextmanager
def deployed(folder: Path, chain_id: int = CHAIN_ID) -> Iterator[Deployed]:
    """A market deployed in block 1, nothing indexed yet."""
    chain = EmbeddedChain(folder / "chain", anvil=find_anvil(), genesis_time_s=GENESIS_TIME_S, chain_id=chain_id)
    with chain:
        chain.mine(GENESIS_TIME_S + 1, plan(chain_id))
        database = Database(folder / "node.db")
        try:
            yield Deployed(chain, database)
        finally:
            database.close()
