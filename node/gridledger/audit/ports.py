"""What the audit needs from outside: the exported files and a chain. Nothing else is asked for anything."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from gridledger.errors import Unavailable

__all__ = [
    "AUDITED_FUNCTIONS",
    "Chain",
    "ChainBlock",
    "ChainCall",
    "Event",
    "ExportFiles",
    "FileUnreadable",
    "OnProgress",
    "StateUnavailable",
]


@dataclass(kw_only=True, eq=False)
class FileUnreadable(Unavailable):
    """An exported file cannot be read."""

    name: str
    reason: str


@dataclass(kw_only=True, eq=False)
class StateUnavailable(Unavailable):
    """The chain does not answer a question about its state."""

    question: str
    reason: str


# Whose call data the audit reads; nothing else of a transaction's input matters to it.
AUDITED_FUNCTIONS = frozenset(
    {
        ("EnergyTrading", "clear"),
        ("EnergySettlement", "settle"),
        ("EnergySettlement", "settleSubstitutes"),
        ("EnergySettlement", "refund"),
        ("EnergyDispatching", "answer"),
        ("EnergyDispatching", "curtail"),
        ("EnergyDispatching", "stop"),
        ("EnergyCurtailment", "applyCaps"),
    }
)


class ExportFiles(Protocol):
    """An export folder."""

    def names(self) -> frozenset[str]:
        """Names of all files in the folder."""

    def lines(self, name: str) -> Iterator[bytes]:
        """The file line by line, line ends included. Raises FileUnreadable."""


class Event(Protocol):
    """A contract's event; arguments by the contract's names, bytes as 0x hex."""

    @property
    def block_number(self) -> int:
        """Number of its block."""

    @property
    def log_index(self) -> int:
        """Its place in the block."""

    @property
    def transaction_hash(self) -> str:
        """The transaction that made it, 0x hex."""

    @property
    def contract(self) -> str:
        """Name of the contract."""

    @property
    def name(self) -> str:
        """Name of the event."""

    @property
    def arguments(self) -> Mapping[str, Any]:
        """Values by the contract's names."""


@dataclass(frozen=True, kw_only=True)
class ChainCall:
    """What a transaction that succeeded called: a function of a contract of the market, with decoded call data.

    Values are in the function's order, structs as mappings by field name, bytes as bytes.
    """

    transaction_hash: str
    contract: str
    function: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class ChainBlock:
    """A block as the endpoint states it, with the market's events and calls; time in Unix seconds.

    `calls` are the successful transactions to functions of AUDITED_FUNCTIONS. `state_root` is None where it has been
    verified by executing the block.
    """

    number: int
    block_hash: str
    parent_hash: str
    time_s: int
    state_root: str | None
    transaction_hashes: tuple[str, ...]
    calls: Sequence[ChainCall]
    events: Sequence[Event]


class Chain(Protocol):
    """A chain endpoint. State is that of the block the audit ends with; methods raise StateUnavailable."""

    def chain_id(self) -> int:
        """The chain id."""

    def mtu_length_s(self) -> int:
        """Length of a market time unit in the grid policy, seconds."""

    def blocks(self, last: int) -> Iterator[ChainBlock]:
        """Blocks 0 to `last` in order."""

    def account(self, address: str) -> tuple[int, int]:
        """Free money and credit in the trading contract, microcents."""

    def escrow_microcents(self) -> int:
        """Money locked in the trading contract, microcents."""

    def debt_microcents(self, debtor: str, creditor: str) -> int:
        """What an account owes another and could not be collected, microcents."""

    def proven_net_wh(self, meter: int, mtu_start: int) -> int | None:
        """What the meter ledger says a device has provably signed, export minus import in Wh."""

    def proven_count(self, zone: int, mtu_start: int) -> int:
        """How many readings of a zone and MTU the meter ledger has proofs of."""

    def template(self, meter: int) -> str:
        """The template of a device's texts in the meter ledger, 0x hex."""

    def transformer(self, zone: int) -> tuple[int, int]:
        """The meter at a zone's transformer and the loss tolerated (basis points) in the meter ledger."""

    def owed_ugco2(self, holder: str) -> int:
        """Tokens a correction could not take back from a holder, as the carbon ledger keeps it."""

    def state_hash(self, zone: int, mtu_start: int, chunk: int) -> str:
        """Hash of a chunk's positions and deals as the trading contract keeps them, 0x hex."""

    def token_supply(self, token: str) -> int:
        """Total supply of one of the market's tokens by contract name."""

    def token_balance(self, token: str, address: str) -> int:
        """Balance of an account in one of the market's tokens."""

    def code(self, contract: str) -> bytes:
        """Deployed code of one of the market's contracts."""


class OnProgress(Protocol):
    """Hears how far the audit is."""

    def __call__(self, done: int, total: int, text: str, /) -> None:
        """`done` of `total` records, and what is being checked."""
