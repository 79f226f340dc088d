"""Brings the database up to the chain: each block with its events, projections and outcomes in one transaction."""

from dataclasses import dataclass
from typing import Generic

from gridledger.chain.client import BlockContents, ChainClient, TransactionOutcome
from gridledger.chain.ports import AnyTransaction, OnRefused, RelayDatabase
from gridledger.errors import Conflict, GridLedgerError
from gridledger.relay import IndexedBlock

__all__ = ["ChainForked", "Indexer", "ReasonUnknown"]


@dataclass(kw_only=True, eq=False)
class ChainForked(Conflict):
    """The chain's history is not the one that was indexed."""

    block_number: int
    indexed_parent: str
    found_parent: str


@dataclass(kw_only=True, eq=False)
class ReasonUnknown(Conflict):
    """A transaction reverted, and running it again does not tell why."""

    transaction_hash: str


class Indexer(Generic[AnyTransaction]):
    """Reads blocks in order. Indexing is idempotent: it always starts at the block after the indexed tip."""

    def __init__(
        self, client: ChainClient, database: RelayDatabase[AnyTransaction], on_refused: OnRefused[AnyTransaction]
    ) -> None:
        self._client = client
        self._database = database
        self._on_refused = on_refused
        self._same_history = False

    def catch_up(self) -> int:
        """Index every block up to the head; returns how many. Raises ChainForked."""
        with self._database.read() as tx:
            tip = tx.chain_log.tip()
        if tip is not None and not self._same_history:
            self._require_indexed(tip)
        self._same_history = True
        number = 0 if tip is None else tip.number + 1
        head = self._client.head_number()
        count = 0
        for wanted in range(number, head + 1):
            contents = self._client.block(wanted)
            if tip is not None and contents.block.parent_hash != tip.block_hash:
                raise ChainForked(
                    block_number=wanted, indexed_parent=tip.block_hash, found_parent=contents.block.parent_hash
                )
            self._index(contents)
            tip = contents.block
            count += 1
        return count

    def _require_indexed(self, tip: IndexedBlock) -> None:
        """The chain still holds the newest indexed block; a shorter or another one is not what was indexed."""
        found = self._client.block_hash(tip.number)
        if found != tip.block_hash:
            raise ChainForked(
                block_number=tip.number + 1, indexed_parent=tip.block_hash, found_parent=found or "no such block"
            )

    def _index(self, contents: BlockContents) -> None:
        reasons = {
            outcome.transaction_hash: self._reason(outcome, contents.block.time_s) for outcome in contents.outcomes
        }
        with self._database.write() as tx:
            tx.index_block(contents.block, contents.events)
            for outcome in contents.outcomes:
                row = tx.outbox.find(outcome.transaction_hash)
                if row is None:
                    continue
                reason = reasons[outcome.transaction_hash]
                tx.outbox.mark_outcome(
                    row.id,
                    succeeded=outcome.succeeded,
                    block_number=outcome.block_number,
                    gas_used=outcome.gas_used,
                    error=None if reason is None else str(reason),
                )
                if reason is not None:
                    self._on_refused(tx, row, reason)

    def _reason(self, outcome: TransactionOutcome, time_s: int) -> GridLedgerError | None:
        """Why a transaction reverted, as far as running it again on the present state tells."""
        if outcome.succeeded:
            return None
        with self._database.read() as tx:
            row = tx.outbox.find(outcome.transaction_hash)
        if row is None:
            return ReasonUnknown(transaction_hash=outcome.transaction_hash)
        error = self._client.simulate(row.signer, row.to_address, row.data, time_s)
        return ReasonUnknown(transaction_hash=outcome.transaction_hash) if error is None else error
