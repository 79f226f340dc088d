"""Orders and cancellations in the database; implements `market.ports.OrderStore`."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, exists, func, insert, select, update

from gridledger.market.model import Order, OrderState, Pricing, Product, Receipt, Side, SignedOrder
from gridledger.market.ports import AcceptedOrder
from gridledger.store.schema import book_entry, market_mtu, market_order, order_cancellation

__all__ = ["Orders"]

_COMMITTED = (OrderState.OPEN, OrderState.MATCHED)

# Statements of the intake's hot path, built once.
_BY_UID = select(market_order).where(market_order.c.uid == bindparam("uid"))
_COMMITTED_OF_OWNER = select(
    market_order.c.zone,
    market_order.c.first_mtu_start,
    market_order.c.side,
    market_order.c.state,
    market_order.c.worst_case_microcents,
).where(market_order.c.owner == bindparam("owner"), market_order.c.state.in_(_COMMITTED))
_OPEN_WH = select(func.sum(market_order.c.quantity_wh)).where(
    market_order.c.meter == bindparam("meter"),
    market_order.c.first_mtu_start == bindparam("mtu_start"),
    market_order.c.side == bindparam("side"),
    market_order.c.state == OrderState.OPEN,
)
_INSERT = insert(market_order)
_CLOSE = (
    update(market_order)
    .where(market_order.c.uid == bindparam("of_uid"))
    .values(state=bindparam("to_state"), state_reason=bindparam("reason"), filled_wh=bindparam("filled"))
)
_MOVE_METER = (
    update(market_order)
    .where(
        market_order.c.meter == bindparam("of_meter"),
        market_order.c.first_mtu_start == bindparam("at_mtu_start"),
        market_order.c.state == bindparam("from_state"),
    )
    .values(state=bindparam("to_state"))
)


class Orders:
    """Accepted orders of one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._last_number: int | None = None
        self._committed: dict[str, Sequence[Any]] = {}  # by owner, as long as nothing changes

    def find(self, uid: str) -> AcceptedOrder | None:
        """The order with this uid."""
        row = self._connection.execute(_BY_UID, {"uid": uid}).first()
        return None if row is None else _accepted(row)

    def find_by_client_id(self, owner: str, client_id: str) -> AcceptedOrder | None:
        """The owner's order with this client-made id."""
        query = select(market_order).where(market_order.c.owner == owner, market_order.c.client_id == client_id)
        row = self._connection.execute(query).first()
        return None if row is None else _accepted(row)

    def next_running_number(self) -> int:
        """The number after the last receipt's, from 1 on."""
        if self._last_number is None:
            self._last_number = self._connection.execute(select(func.max(market_order.c.running_number))).scalar() or 0
        return self._last_number + 1

    def committed_microcents(self, owner: str) -> int:
        """Worst case of the owner's orders that are open, or matched and not yet locked by the contract."""
        return sum(row.worst_case_microcents for row in self._committed_of(owner))

    def open_wh(self, meter: int, mtu_start: int, side: Side) -> int:
        """Energy of the meter's open orders for the MTU on that side."""
        values = {"meter": meter, "mtu_start": mtu_start, "side": int(side)}
        return self._connection.execute(_OPEN_WH, values).scalar() or 0

    def has_open_order(self, owner: str, zone: int, mtu_start: int, side: Side) -> bool:
        """Whether the owner has an open order on that side of the zone and MTU."""
        wanted = (zone, mtu_start, int(side), OrderState.OPEN)
        return any((row.zone, row.first_mtu_start, row.side, row.state) == wanted for row in self._committed_of(owner))

    def add(self, order: AcceptedOrder) -> None:
        """Keep a newly accepted order."""
        signed, receipt = order.signed, order.receipt
        self._committed.pop(signed.order.owner, None)
        self._last_number = receipt.running_number
        self._connection.execute(
            _INSERT,
            {
                "uid": signed.uid,
                "running_number": receipt.running_number,
                "owner": signed.order.owner,
                "client_id": order.client_id,
                "meter": signed.order.meter,
                "zone": order.zone,
                "side": int(signed.order.side),
                "product": int(signed.order.product),
                "pricing": int(signed.order.pricing),
                "first_mtu_start": signed.order.first_mtu_start,
                "last_mtu_start": signed.order.last_mtu_start,
                "quantity_wh": signed.order.quantity_wh,
                "limit_cents_per_mwh": signed.order.limit_cents_per_mwh,
                "expiry": signed.order.expiry,
                "salt": signed.order.salt,
                "signature": "0x" + signed.signature.hex(),
                "worst_case_microcents": order.worst_case_microcents,
                "received_at": receipt.received_at,
                "receipt_block_hash": receipt.block_hash,
                "receipt_signature": receipt.signature,
                "state": order.state,
                "filled_wh": 0,
            },
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
        listed = exists().where(
            market_mtu.c.zone == market_order.c.zone, market_mtu.c.mtu_start == market_order.c.first_mtu_start
        )
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
        self._committed.clear()
        values = {"of_uid": uid, "to_state": state, "reason": reason, "filled": filled_wh}
        self._connection.execute(_CLOSE, values)

    def move_listed(self, zone: int, mtu_start: int, from_state: OrderState, to_state: OrderState) -> None:
        """Move all orders of a book that are in one state to another."""
        self._committed.clear()
        listed = select(book_entry.c.order_uid).where(book_entry.c.zone == zone, book_entry.c.mtu_start == mtu_start)
        self._connection.execute(
            update(market_order)
            .where(market_order.c.uid.in_(listed), market_order.c.state == from_state)
            .values(state=to_state)
        )

    def move_meter(self, meter: int, mtu_start: int, from_state: OrderState, to_state: OrderState) -> None:
        """Move a meter's orders for an MTU from one state to another."""
        self._committed.clear()
        values = {"of_meter": meter, "at_mtu_start": mtu_start, "from_state": from_state, "to_state": to_state}
        self._connection.execute(_MOVE_METER, values)

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

    def _committed_of(self, owner: str) -> Sequence[Any]:
        if owner not in self._committed:
            self._committed[owner] = self._connection.execute(_COMMITTED_OF_OWNER, {"owner": owner}).all()
        return self._committed[owner]


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
