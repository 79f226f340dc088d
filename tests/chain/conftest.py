"""Fixtures of the chain tests: the native anvil, and senders who sign."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from eth_account import Account

from gridledger.chain.embedded import EmbeddedChain
from gridledger.chain.toolchain import find_anvil

GENESIS_TIME_S = 1_800_000_000

Chains = Callable[..., EmbeddedChain]


class Sender:
    """An unfunded account that signs zero-fee transactions for one chain."""

    def __init__(self, number: int, chain_id: int = 31337) -> None:
        self._account = Account.from_key(number.to_bytes(32, "big"))
        self._chain_id = chain_id
        self.nonce = 0

    @property
    def address(self) -> str:
        return str(self._account.address)

    def transfer(self, nonce: int | None = None, gas: int = 21_000, data: str = "0x") -> str:
        """A signed transfer of nothing; counts the nonce up unless one is given."""
        return self._sign({"to": "0x" + "11" * 20, "gas": gas, "data": data, "value": 0}, nonce)

    def creation(self, slots: int) -> str:
        """A signed creation of an empty contract whose storage has `slots` slots, set from 1 upward."""
        loop = f"61{slots:04x}5b80805560019003806003570000"  # i = slots; do { sstore(i, i); i -= 1 } while (i)
        return self._sign({"gas": 100_000 + 23_000 * slots, "data": f"0x{loop}", "value": 0}, None)

    def _sign(self, transaction: dict[str, object], nonce: int | None) -> str:
        if nonce is None:
            nonce, self.nonce = self.nonce, self.nonce + 1
        body = {**transaction, "nonce": nonce, "gasPrice": 0, "chainId": self._chain_id}
        return "0x" + bytes(self._account.sign_transaction(body).raw_transaction).hex()


@pytest.fixture(scope="session")
def anvil() -> Path:
    """The native anvil binary."""
    return find_anvil()


@pytest.fixture
def make_chain(anvil: Path, tmp_path: Path) -> Iterator[Chains]:
    """Describe chains, by default all in one folder; stops them at the end."""
    chains: list[EmbeddedChain] = []

    def make(folder: Path = tmp_path / "chain", port: int | None = None, chain_id: int = 31337) -> EmbeddedChain:
        chain = EmbeddedChain(folder, anvil=anvil, genesis_time_s=GENESIS_TIME_S, port=port, chain_id=chain_id)
        chains.append(chain)
        return chain

    yield make
    for chain in chains:
        chain.stop()


@pytest.fixture
def make_sender() -> Callable[[int], Sender]:
    """Senders by number."""
    return Sender
