"""Transactions that members and role holders sign themselves, and their way through the node's public API.

EIP-1559, without fees. Nonces count from 0 on a fresh chain, signatures are deterministic (RFC 6979), so a run that is
continued makes the very same bytes again and the node knows them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from eth_account.signers.local import LocalAccount

from gridledger.chain.codec import ContractCodec
from gridledger.chain.compiler import Artifacts
from gridledger.chain.signing import HIGHEST_GAS, sign_call
from gridledger.errors import Conflict, Unavailable
from gridledger.simulation.node_client import NodeClient, TransactionStatus

__all__ = [
    "HIGHEST_GAS",
    "ContractCaller",
    "ContractCalls",
    "SignedTransaction",
    "TransactionFailed",
    "TransactionsStuck",
    "include",
]

MOST_ROUNDS = 50
POSTS_PER_ROUND = 500


@dataclass(kw_only=True, eq=False)
class TransactionFailed(Conflict):
    """A transaction of the run was reverted or never included."""

    transaction: str
    transaction_hash: str
    state: str
    reason: str


@dataclass(kw_only=True, eq=False)
class TransactionsStuck(Unavailable):
    """The node keeps transactions without including them."""

    transactions: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class SignedTransaction:
    """A signed transaction; raw bytes and hash as 0x hex."""

    title: str
    raw: str
    transaction_hash: str


class ContractCalls:
    """Encodes calls to the contracts of one deployment."""

    def __init__(self, artifacts: Artifacts, addresses: Mapping[str, str]) -> None:
        self.addresses = addresses
        self._codec = cache(lambda name: ContractCodec(artifacts.contract(name)))

    def data(self, contract: str, function: str, *arguments: object) -> bytes:
        """Call data."""
        return self._codec(contract).call_data(function, *arguments)


class ContractCaller:
    """Signs one account's calls with ascending nonces."""

    def __init__(self, account: LocalAccount, calls: ContractCalls, chain_id: int, first_nonce: int = 0) -> None:
        self._account = account
        self._calls = calls
        self._chain_id = chain_id
        self._nonce = first_nonce

    def call(self, gas: int, contract: str, function: str, *arguments: object) -> SignedTransaction:
        """Sign the account's next transaction; at most 2**24 gas."""
        signed = sign_call(
            self._account,
            chain_id=self._chain_id,
            nonce=self._nonce,
            to_address=self._calls.addresses[contract],
            data=self._calls.data(contract, function, *arguments),
            gas=gas,
        )
        title = f"{contract}.{function} by {self._account.address}, nonce {self._nonce}"
        self._nonce += 1
        return SignedTransaction(title=title, raw=signed.raw_text, transaction_hash=signed.transaction_hash)


def include(node: NodeClient, transactions: Sequence[SignedTransaction], moment: int) -> None:
    """Post transactions in order and wait, the clock not beyond `moment`, until the chain shows all their outcomes.

    Raises RequestRefused, TransactionFailed, TransactionsStuck. Repeating it is safe.
    """
    for begin in range(0, len(transactions), POSTS_PER_ROUND):
        open_ones = [
            transaction
            for transaction in transactions[begin : begin + POSTS_PER_ROUND]
            if not _has_succeeded(transaction, node.post_transaction(transaction.raw))
        ]
        for _ in range(MOST_ROUNDS):
            if not open_ones:
                break
            node.advance(moment)
            open_ones = [
                transaction
                for transaction in open_ones
                if not _has_succeeded(transaction, node.transaction(transaction.transaction_hash))
            ]
        if open_ones:
            raise TransactionsStuck(transactions=tuple(transaction.title for transaction in open_ones[:10]))


def _has_succeeded(transaction: SignedTransaction, status: TransactionStatus | None) -> bool:
    """Whether the chain shows its success; False while the outcome is open. Raises TransactionFailed."""
    if status is None or status.state in {"reverted", "rejected"}:
        raise TransactionFailed(
            transaction=transaction.title,
            transaction_hash=transaction.transaction_hash,
            state="unknown" if status is None else status.state,
            reason=(status.error if status is not None else None) or "",
        )
    return status.state == "mined"
