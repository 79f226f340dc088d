"""The market operator's signed receipt of an order (EIP-712 struct `Receipt`)."""

from typing import Any

from gridledger.market.order_hash import OrderDomain, typed_data

__all__ = ["receipt_typed_data"]

_FIELDS = (
    ("orderUid", "bytes32"),
    ("runningNumber", "uint64"),
    ("receivedAt", "uint64"),
    ("blockHash", "bytes32"),
)


def receipt_typed_data(
    domain: OrderDomain, order_uid: str, running_number: int, received_at: int, block_hash: str
) -> dict[str, Any]:
    """The document the market operator signs; the time is Unix seconds, the block the newest it had indexed."""
    message = {
        "orderUid": order_uid,
        "runningNumber": running_number,
        "receivedAt": received_at,
        "blockHash": block_hash,
    }
    return typed_data(domain, "Receipt", _FIELDS, message)
