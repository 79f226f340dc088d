"""The market operator's signed receipt of an order (EIP-712 struct `Receipt`)."""

from typing import Any

from gridledger.market.order_hash import OrderDomain, typed_data, typed_digest

__all__ = ["receipt_digest", "receipt_typed_data"]

_FIELDS = (
    ("orderUid", "bytes32"),
    ("runningNumber", "uint64"),
    ("receivedAt", "uint64"),
    ("blockHash", "bytes32"),
)


def receipt_digest(
    domain: OrderDomain, order_uid: str, running_number: int, received_at: int, block_hash: str
) -> bytes:
    """EIP-712 digest of a receipt; packed, because one is signed for every order."""
    values = (
        bytes.fromhex(order_uid[2:]),
        running_number.to_bytes(32),
        received_at.to_bytes(32),
        bytes.fromhex(block_hash[2:]),
    )
    return typed_digest(domain, "Receipt", _FIELDS, b"".join(values))


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
