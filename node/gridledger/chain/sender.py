"""Signs what is ready, keeps the bytes, and sends them until the chain shows their outcome.

Decisions come from receipts and account nonces, never from an error text.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic

import structlog
from eth_account.signers.local import LocalAccount

from gridledger.chain.anvil import BLOCK_GAS_LIMIT
from gridledger.chain.client import ChainClient
from gridledger.chain.indexer import Indexer
from gridledger.chain.keys import KeyMissing
from gridledger.chain.ports import AnyTransaction, BlockMaker, OnRefused, RelayDatabase
from gridledger.chain.signing import HIGHEST_GAS, sign_call
from gridledger.clock import Clock
from gridledger.errors import Conflict, GridLedgerError
from gridledger.relay import OutboxRow, OutboxState

__all__ = ["NeverIncluded", "NonceOvertaken", "Sender"]

_MOST_PER_BLOCK = 64
_log = structlog.get_logger(__name__)


@dataclass(kw_only=True, eq=False)
class NonceOvertaken(Conflict):
    """The transaction's nonce was used by another transaction of the same key."""

    signer: str
    nonce: int


@dataclass(kw_only=True, eq=False)
class NeverIncluded(Conflict):
    """The chain does not include the transaction although its block had room for it."""

    signer: str
    nonce: int


@dataclass(frozen=True)
class _Signed:
    row: OutboxRow
    nonce: int
    raw: bytes
    transaction_hash: str


class Sender(Generic[AnyTransaction]):
    """Moves outbox rows from ready to their outcome. One sender per process; it owns the nonces of its keys."""

    def __init__(
        self,
        *,
        client: ChainClient,
        database: RelayDatabase[AnyTransaction],
        indexer: Indexer[AnyTransaction],
        block_maker: BlockMaker,
        clock: Clock,
        keys: Mapping[str, LocalAccount],
        on_refused: OnRefused[AnyTransaction],
    ) -> None:
        self._client = client
        self._database = database
        self._indexer = indexer
        self._block_maker = block_maker
        self._clock = clock
        self._keys = keys
        self._on_refused = on_refused
        self._chain_id = client.chain_id()

    def step(self) -> bool:
        """Sign all ready rows, include all signed rows in a block and index it; returns whether anything moved."""
        signed_any = self._sign_ready()
        with self._database.read() as tx:
            waiting = tx.outbox.in_state(OutboxState.SIGNED, _MOST_PER_BLOCK)
        if not waiting:
            return signed_any
        time_s = self._next_block_time()
        self._block_maker.make_block(time_s, ["0x" + (row.raw or b"").hex() for row in waiting])
        self._indexer.catch_up()
        return self._give_up_left_out(waiting)

    def _next_block_time(self) -> int:
        with self._database.read() as tx:
            tip = tx.chain_log.tip()
        return max(self._clock.now(), tip.time_s + 1 if tip else 0)

    def _sign_ready(self) -> bool:
        with self._database.read() as tx:
            ready = tx.outbox.in_state(OutboxState.READY, _MOST_PER_BLOCK)
            highest_nonces = {signer: tx.outbox.highest_nonce(signer) for signer in {row.signer for row in ready}}
        if not ready:
            return False
        nonces = {
            signer: max(self._client.nonce(signer), 0 if highest is None else highest + 1)
            for signer, highest in highest_nonces.items()
        }
        time_s = self._next_block_time()
        signed: list[_Signed] = []
        rejected: list[tuple[OutboxRow, GridLedgerError]] = []
        for row in ready:
            error = self._client.simulate(row.signer, row.to_address, row.data, time_s)
            if error is not None:
                _log.warning("command_rejected", kind=row.kind, row=row.id, error=str(error))
                rejected.append((row, error))
                continue
            signed.append(self._sign(row, nonces[row.signer]))
            nonces[row.signer] += 1
        with self._database.write() as tx:
            for item in signed:
                tx.outbox.mark_signed(
                    item.row.id, nonce=item.nonce, raw=item.raw, transaction_hash=item.transaction_hash
                )
            for row, reason in rejected:
                tx.outbox.mark_rejected(row.id, str(reason))
                self._on_refused(tx, row, reason)
        return True

    def _sign(self, row: OutboxRow, nonce: int) -> _Signed:
        if row.signer not in self._keys:
            raise KeyMissing(name=row.signer, folder="keys")
        signed = sign_call(
            self._keys[row.signer], chain_id=self._chain_id, nonce=nonce, to_address=row.to_address, data=row.data
        )
        return _Signed(row, nonce, signed.raw, signed.transaction_hash)

    def _give_up_left_out(self, sent: tuple[OutboxRow, ...]) -> bool:
        """A sent row without outcome was overtaken, or is one the chain refuses: neither will ever be mined.

        It must not be sent for ever, nor keep the rows behind it from their turn.
        """
        with self._database.read() as tx:
            left_out = [row for row in sent if _is_signed(tx.outbox.find(row.transaction_hash or ""))]
        given_up = [(row, error) for row in left_out if (error := self._why_never(row)) is not None]
        for row, error in given_up:
            _log.error("transaction_given_up", row=row.id, signer=row.signer, nonce=row.nonce, error=error.code())
            with self._database.write() as tx:
                tx.outbox.mark_rejected(row.id, str(error))
                self._on_refused(tx, row, error)
        return len(left_out) < len(sent) or bool(given_up)

    def _why_never(self, row: OutboxRow) -> GridLedgerError | None:
        nonce = row.nonce or 0
        if self._client.nonce(row.signer) > nonce:
            return NonceOvertaken(signer=row.signer, nonce=nonce)
        gas_used = sum(outcome.gas_used for outcome in self._client.block(self._client.head_number()).outcomes)
        if gas_used + HIGHEST_GAS <= BLOCK_GAS_LIMIT:
            return NeverIncluded(signer=row.signer, nonce=nonce)
        return None


def _is_signed(row: OutboxRow | None) -> bool:
    return row is not None and row.state is OutboxState.SIGNED
