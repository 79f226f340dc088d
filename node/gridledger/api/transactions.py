"""Relay of transactions that members and role holders have signed themselves."""

from typing import Annotated, Any

from fastapi import APIRouter, Path

from gridledger.api.context import NodeContext
from gridledger.api.schemas import RawTransactionIn, Uid
from gridledger.chain.raw_relay import SenderUnknown, TransactionUnknown
from gridledger.relay import OutboxRow

__all__ = ["transaction_routes"]


def transaction_routes(node: NodeContext) -> APIRouter:
    """Routes under /v1/transactions."""
    router = APIRouter(prefix="/v1/transactions", tags=["transactions"])

    @router.post("", status_code=202)
    def post_transaction(body: RawTransactionIn) -> dict[str, Any]:
        """Keep a signed transaction and include it in the next block; the same bytes again change nothing."""
        parsed = node.raw_relay.parse(body.raw_transaction)
        with node.database.write() as tx:
            known = tx.outbox.find(parsed.transaction_hash)
            if known is None:
                member = tx.directory.is_admitted(parsed.sender) or tx.directory.is_supplier(parsed.sender)
                if not member and parsed.sender not in node.role_accounts:
                    raise SenderUnknown(sender=parsed.sender)
                node.raw_relay.require_next_nonce(parsed, tx.outbox.highest_nonce(parsed.sender))
                tx.outbox.add_signed(
                    kind="RelayedTransaction",
                    signer=parsed.sender,
                    to_address=parsed.to_address,
                    data=parsed.data,
                    nonce=parsed.nonce,
                    raw=parsed.raw,
                    transaction_hash=parsed.transaction_hash,
                    created_at=node.clock.now(),
                )
                known = tx.outbox.find(parsed.transaction_hash)
        node.wake()
        assert known is not None
        return _transaction_out(known)

    @router.get("/{transaction_hash}")
    def get_transaction(transaction_hash: Annotated[Uid, Path()]) -> dict[str, Any]:
        """Where a transaction stands."""
        with node.database.read() as tx:
            row = tx.outbox.find(transaction_hash)
        if row is None:
            raise TransactionUnknown(transaction_hash=transaction_hash)
        return _transaction_out(row)

    return router


def _transaction_out(row: OutboxRow) -> dict[str, Any]:
    return {
        "transaction_hash": row.transaction_hash,
        "sender": row.signer,
        "kind": row.kind,
        "state": row.state,
        "block_number": row.block_number,
        "gas_used": row.gas_used,
        "error": row.error,
    }
