"""An order as it is posted: hashed, and signed by its owner. Both are checked without the node's memory."""

from dataclasses import dataclass
from typing import Self

from gridledger.market.errors import SignerNotOwner
from gridledger.market.model import Order, SignedOrder
from gridledger.market.order_hash import OrderDomain, order_uid, recover_address

__all__ = ["Submission", "require_signer"]


@dataclass(frozen=True, kw_only=True)
class Submission:
    """An order that its owner has signed, with the name its owner gave it."""

    signed: SignedOrder
    client_id: str | None

    @classmethod
    def checked(cls, domain: OrderDomain, order: Order, signature: bytes, client_id: str | None = None) -> Self:
        """Hash the order and recover its signer. Raises SignatureMalformed, SignerNotOwner."""
        uid = order_uid(domain, order)
        require_signer(domain, bytes.fromhex(uid[2:]), signature, order.owner)
        return cls(signed=SignedOrder(order=order, uid=uid, signature=signature), client_id=client_id)


def require_signer(domain: OrderDomain, digest: bytes, signature: bytes, owner: str) -> None:
    """Raise SignatureMalformed or SignerNotOwner unless the owner has signed the digest."""
    signer = recover_address(digest, signature)
    if signer != owner.lower():
        raise SignerNotOwner(owner=owner, signer=signer, chain_id=domain.chain_id, contract=domain.trading_contract)
