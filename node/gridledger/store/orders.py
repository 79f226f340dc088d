"""Orders and cancellations in the database; implements `market.ports.OrderStore`."""

from typing import Any

from sqlalchemy import Connection, Row, Select, func, insert, select, update

from gridledger.market.model import Order, OrderState, Pricing, Product, Receipt, Side, SignedOrder
from gridledger.market.ports import AcceptedOrder
from gridledger.store.schema import book_entry, market_order, order_cancellation

__all__ = ["Orders"]

_COMMITTED = (OrderState.OPEN, OrderState.MATCHED)


class Orders:
    """Accepted orders of one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def find(self, uid: str) -> AcceptedOrder | None:
        """The order with this uid."""
        return self._one(select(market_order).where(market_order.c.uid == uid))

    def find_by_client_id(self, owner: str, client_id: str) -> AcceptedOrder | None:
        """The owner's order with this client-made id."""
        query = select(market_order).where(market_order.c.owner == owner, market_order.c.client_id == client_id)
        return self._one(query)

    def next_running_number(self) -> int:
        """The number after the last receipt's, from 1 on."""
        last = self._connection.execute(select(func.max(market_order.c.running_number))).scalar()
        return (last or 0) + 1

    def committed_microcents(self, owner: str) -> int:
        """Worst case of the owner's orders that are open, or matched and not yet locked by the contract."""
        query = select(market_order.c.worst_case_microcents).where(
            market_order.c.owner == owner, market_order.c.state.in_(_COMMITTED)
        )
        return sum(self._connection.execute(query).scalars())

    def open_wh(self, meter: int, mtu_start: int, side: Side) -> int:
        """Energy of the meter's open orders for the MTU on that side."""
        query = select(func.sum(market_order.c.quantity_wh)).where(
            market_order.c.meter == meter,
            market_order.c.first_mtu_start == mtu_start,
            market_order.c.side == int(side),
            market_order.c.state == OrderState.OPEN,
        )
        return self._connection.execute(query).scalar() or 0

    def has_open_order(self, owner: str, zone: int, mtu_start: int, side: Side) -> bool:
        """Whether the owner has an open order on that side of the zone and MTU."""
        query = select(market_order.c.uid).where(
            market_order.c.owner == owner,
            market_order.c.state == OrderState.OPEN,
            market_order.c.zone == zone,
            market_order.c.first_mtu_start == mtu_start,
            market_order.c.side == int(side),
        )
        return self._connection.execute(query.limit(1)).first() is not None

    def add(self, order: AcceptedOrder) -> None:
        """Keep a newly accepted order."""
        signed, receipt = order.signed, order.receipt
        self._connection.execute(
            insert(market_order).values(
                uid=signed.uid,
                running_number=receipt.running_number,
                owner=signed.order.owner,
                client_id=order.client_id,
                meter=signed.order.meter,
                zone=order.zone,
                side=int(signed.order.side),
                product=int(signed.order.product),
                pricing=int(signed.order.pricing),
                first_mtu_start=signed.order.first_mtu_start,
                last_mtu_start=signed.order.last_mtu_start,
                quantity_wh=signed.order.quantity_wh,
                limit_cents_per_mwh=signed.order.limit_cents_per_mwh,
                expiry=signed.order.expiry,
                salt=signed.order.salt,
                signature="0x" + signed.signature.hex(),
                worst_case_microcents=order.worst_case_microcents,
                received_at=receipt.received_at,
                receipt_block_hash=receipt.block_hash,
                receipt_signature=receipt.signature,
                state=order.state,
                filled_wh=0,
            )
        )

    def cancel(self, uid: str, signature: str, received_at: int) -> None:
        """Keep a cancellation and close the order."""
        self._connection.execute(
            insert(order_cancellation).values(uid=uid, signature=signature, received_at=received_at)
        )
        self.close(uid, OrderState.CANCELLED, None, 0)

    def open_orders(self, zone: int, mtu_start: int) -> tuple[AcceptedOrder, ...]:
        """Open orders of a zone and MTU in receipt order."""
        query = (
            select(market_order)
            .where(
                market_order.c.zone == zone,
                market_order.c.first_mtu_start == mtu_start,
                market_order.c.state == OrderState.OPEN,
            )
            .order_by(market_order.c.running_number)
        )
        return tuple(_accepted(row) for row in self._connection.execute(query))

    def unlisted_mtus(self, latest_gate: int, gate_closure_s: int) -> tuple[tuple[int, int], ...]:
        """Zones and MTUs with open orders, gates closed at `latest_gate`, and no book yet."""
        listed = select(book_entry.c.order_uid).where(book_entry.c.order_uid == market_order.c.uid).exists()
        query = (
            select(market_order.c.zone, market_order.c.first_mtu_start)
            .where(
                market_order.c.state == OrderState.OPEN,
                market_order.c.first_mtu_start <= latest_gate + gate_closure_s,
                ~listed,
            )
            .distinct()
            .order_by(market_order.c.first_mtu_start, market_order.c.zone)
        )
        return tuple((row.zone, row.first_mtu_start) for row in self._connection.execute(query))

    def close(self, uid: str, state: OrderState, reason: str | None, filled_wh: int) -> None:
        """Move an order out of the open state."""
        self._connection.execute(
            update(market_order)
            .where(market_order.c.uid == uid)
            .values(state=state, state_reason=reason, filled_wh=filled_wh)
        )

    def move_listed(self, zone: int, mtu_start: int, from_state: OrderState, to_state: OrderState) -> None:
        """Move all orders of a book that are in one state to another."""
        listed = select(book_entry.c.order_uid).where(book_entry.c.zone == zone, book_entry.c.mtu_start == mtu_start)
        self._connection.execute(
            update(market_order)
            .where(market_order.c.uid.in_(listed), market_order.c.state == from_state)
            .values(state=to_state)
        )

    def move_meter(self, meter: int, mtu_start: int, from_state: OrderState, to_state: OrderState) -> None:
        """Move a meter's orders for an MTU from one state to another."""
        self._connection.execute(
            update(market_order)
            .where(
                market_order.c.meter == meter,
                market_order.c.first_mtu_start == mtu_start,
                market_order.c.state == from_state,
            )
            .values(state=to_state)
        )

    def count(self) -> int:
        """How many orders were accepted."""
        return self._connection.execute(select(func.count()).select_from(market_order)).scalar_one()

    def all_rows(self) -> tuple[AcceptedOrder, ...]:
        """Every accepted order in receipt order."""
        query = select(market_order).order_by(market_order.c.running_number)
        return tuple(_accepted(row) for row in self._connection.execute(query))

    def cancellations(self) -> dict[str, tuple[str, int]]:
        """Signature and time of each cancellation by order uid."""
        rows = self._connection.execute(select(order_cancellation))
        return {row.uid: (row.signature, row.received_at) for row in rows}

    def _one(self, query: Select[Any]) -> AcceptedOrder | None:
        row = self._connection.execute(query).first()
        return None if row is None else _accepted(row)


def _accepted(row: Row[Any]) -> AcceptedOrder:
    return AcceptedOrder(
        signed=signed_order(row),
        zone=row.zone,
        client_id=row.client_id,
        receipt=Receipt(
            order_uid=row.uid,
            running_number=row.running_number,
            received_at=row.received_at,
            block_hash=row.receipt_block_hash,
            signature=row.receipt_signature,
        ),
        worst_case_microcents=row.worst_case_microcents,
        state=OrderState(row.state),
        state_reason=row.state_reason,
        filled_wh=row.filled_wh,
    )


def signed_order(row: Row[Any]) -> SignedOrder:
    """The signed order of a `market_order` row."""
    order = Order(
        owner=row.owner,
        meter=row.meter,
        side=Side(row.side),
        product=Product(row.product),
        pricing=Pricing(row.pricing),
        first_mtu_start=row.first_mtu_start,
        last_mtu_start=row.last_mtu_start,
        quantity_wh=row.quantity_wh,
        limit_cents_per_mwh=row.limit_cents_per_mwh,
        expiry=row.expiry,
        salt=row.salt,
    )
    return SignedOrder(order=order, uid=row.uid, signature=bytes.fromhex(row.signature[2:]))
