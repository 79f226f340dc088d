"""What takes orders back, and what brings them in by the chain; a part of `store.orders`."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, insert, select, update

from gridledger.market.model import Receipt
from gridledger.market.packing import order_from_words, order_words
from gridledger.market.ports import PostedOrder
from gridledger.store.lists import in_list, list_parameter
from gridledger.store.receipts import receipt_of, receipt_values
from gridledger.store.schema import bulk_cancellation, cancelled_salt, market_mtu, order_cancellation, posted_order

__all__ = ["Withdrawals"]

_CANCELLED_SALTS = select(cancelled_salt).where(cancelled_salt.c.owner.in_(in_list("owners")))


class Withdrawals:
    """Cancellations and posted orders of one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._last_number: int | None = None

    def cancel_receipt(self, uid: str) -> Receipt | None:
        """The receipt of an order's cancellation."""
        return self._cancellation_receipt(order_cancellation, order_cancellation.c.uid == uid)

    def cancel_up_to(self, owner: str, salt: int, signature: str, receipt: Receipt) -> None:
        """Keep a receipted bulk cancellation."""
        self._keep_cancellation(bulk_cancellation, receipt, owner=owner, salt=salt, signature=signature)
        self.cancel_salt(owner, salt)

    def cancel_up_to_receipt(self, owner: str, salt: int) -> Receipt | None:
        """The receipt of an owner's bulk cancellation up to just this salt."""
        of_owner = (bulk_cancellation.c.owner == owner, bulk_cancellation.c.salt == salt)
        return self._cancellation_receipt(bulk_cancellation, *of_owner)

    def cancel_salt(self, owner: str, salt: int) -> None:
        """Remember that no order of the owner with a salt up to this one is good any more."""
        known = self.cancelled_salts([owner]).get(owner)
        if known is None:
            self._connection.execute(insert(cancelled_salt).values(owner=owner, salt=salt))
        elif salt > known:
            self._connection.execute(update(cancelled_salt).where(cancelled_salt.c.owner == owner).values(salt=salt))

    def cancelled_salts(self, owners: Collection[str]) -> dict[str, int]:
        """The highest salt up to which an owner has cancelled all its orders, here or on chain, by owner."""
        rows = self._connection.execute(_CANCELLED_SALTS, {"owners": list_parameter(owners)})
        return {row.owner: row.salt for row in rows}

    def add_posted(self, posted: PostedOrder) -> None:
        """Keep an order that was posted on chain."""
        terms, guard = order_words(posted.order, book_index=0, fill_wh=0)
        self._connection.execute(
            insert(posted_order).values(
                uid=posted.uid,
                owner=posted.order.owner,
                terms=terms,
                guard=guard,
                signature="0x" + posted.signature.hex(),
                posted_at=posted.posted_at,
                taken=False,
            )
        )

    def posted(self) -> tuple[PostedOrder, ...]:
        """Orders posted on chain that have no receipt yet, in the order they were posted."""
        query = (
            select(posted_order)
            .where(posted_order.c.taken.is_(False))
            .order_by(posted_order.c.posted_at, posted_order.c.uid)
        )
        return tuple(
            PostedOrder(
                uid=row.uid,
                order=order_from_words(row.terms, row.guard, row.owner),
                signature=bytes.fromhex(row.signature[2:]),
                posted_at=row.posted_at,
            )
            for row in self._connection.execute(query)
        )

    def mark_taken(self, uid: str) -> None:
        """A posted order has its receipt, or needs none."""
        self._connection.execute(update(posted_order).where(posted_order.c.uid == uid).values(taken=True))

    def has_book(self, zone: int, mtu_start: int) -> bool:
        """Whether the book of a zone and MTU is closed."""
        query = select(market_mtu.c.zone).where(market_mtu.c.zone == zone, market_mtu.c.mtu_start == mtu_start)
        return self._connection.execute(query).first() is not None

    def cancellations(self) -> dict[str, tuple[str, int]]:
        """Signature and time of each cancellation by order uid."""
        rows = self._connection.execute(select(order_cancellation))
        return {row.uid: (row.signature, row.received_at) for row in rows}

    def _keep_cancellation(self, table: Table, receipt: Receipt, **values: Any) -> None:
        self._last_number = receipt.running_number
        self._connection.execute(
            insert(table).values(
                **values,
                **receipt_values(receipt),
                receipt_digest=receipt.order_uid,
            )
        )

    def _cancellation_receipt(self, table: Table, *of_cancellation: ColumnElement[bool]) -> Receipt | None:
        row = self._connection.execute(select(table).where(*of_cancellation)).first()
        return None if row is None else receipt_of(row, row.receipt_digest)
