"""What sender and indexer need of the store and of a block maker."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

from gridledger.errors import GridLedgerError
from gridledger.relay import ChainEvent, IndexedBlock, OutboxRow, OutboxState

__all__ = [
    "AnyTransaction",
    "BlockMaker",
    "ChainLogStore",
    "OnRefused",
    "OutboxStore",
    "RelayDatabase",
    "RelayTransaction",
]


class OutboxStore(Protocol):
    """Outbox rows of one transaction."""

    def in_state(self, state: OutboxState, limit: int) -> tuple[OutboxRow, ...]:
        """Rows in a state in the order they were added."""

    def find(self, transaction_hash: str) -> OutboxRow | None:
        """The row with this transaction hash."""

    def highest_nonce(self, signer: str) -> int | None:
        """The highest nonce of any signed row of an account."""

    def mark_signed(self, row_id: int, *, nonce: int, raw: bytes, transaction_hash: str) -> None:
        """Keep the signed bytes before they leave the process."""

    def mark_rejected(self, row_id: int, error: str) -> None:
        """The command cannot be carried out; no nonce was used."""

    def mark_outcome(
        self, row_id: int, *, succeeded: bool, block_number: int, gas_used: int, error: str | None
    ) -> None:
        """Keep what the chain's receipt says."""


class ChainLogStore(Protocol):
    """Indexed blocks."""

    def tip(self) -> IndexedBlock | None:
        """The newest indexed block."""


class RelayTransaction(Protocol):
    """One database transaction as the relay sees it."""

    @property
    def outbox(self) -> OutboxStore:
        """Outbox rows."""

    @property
    def chain_log(self) -> ChainLogStore:
        """Indexed blocks."""

    def index_block(self, block: IndexedBlock, events: tuple[ChainEvent, ...]) -> None:
        """Keep a block with its events and bring the projections up to it."""


AnyTransaction = TypeVar("AnyTransaction", bound=RelayTransaction)
HandedOut_co = TypeVar("HandedOut_co", bound=RelayTransaction, covariant=True)
OnRefused = Callable[[AnyTransaction, OutboxRow, GridLedgerError], None]


class RelayDatabase(Protocol[HandedOut_co]):
    """Hands out transactions."""

    def read(self) -> AbstractContextManager[HandedOut_co]:
        """A snapshot."""

    def write(self) -> AbstractContextManager[HandedOut_co]:
        """A transaction that is committed on leaving."""


class BlockMaker(Protocol):
    """Makes the next block out of raw transactions."""

    def make_block(self, time_s: int, raw_transactions: Sequence[str]) -> None:
        """Include the transactions, in order, in a block at least at `time_s`."""
