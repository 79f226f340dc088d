"""The columns of a receipt, to and from a row (`schema.base.receipt_columns`)."""

from typing import Any

from sqlalchemy import Row

from gridledger.market.model import Receipt

__all__ = ["receipt_of", "receipt_values"]


def receipt_of(row: Row[Any], digest: str) -> Receipt:
    """The receipt in a row, for the uid or digest it signs."""
    return Receipt(
        order_uid=digest,
        running_number=row.running_number,
        received_at=row.received_at,
        block_hash=row.receipt_block_hash,
        signature=row.receipt_signature,
    )


def receipt_values(receipt: Receipt) -> dict[str, Any]:
    """The columns that keep a receipt."""
    return {
        "running_number": receipt.running_number,
        "received_at": receipt.received_at,
        "receipt_block_hash": receipt.block_hash,
        "receipt_signature": receipt.signature,
    }
