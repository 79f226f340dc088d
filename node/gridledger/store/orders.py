"""Orders and cancellations in the database; implements `market.ports.OrderStore`."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import (
    Row,
    bindparam,
    exists,
    false,
    func,
    insert,
    select,
    union_all,
    update,
)

from gridledger.market.commitments import Commitments, OpenSpan
from gridledger.market.model import (
    Order,
    OrderState,
    Pricing,
    Product,
    Receipt,
    Side,
    SignedOrder,
)
from gridledger.market.ports import AcceptedOrder
from gridledger.store.deals import Deals
from gridledger.store.lists import in_list, list_parameter, listed
from gridledger.store.receipts import receipt_of, receipt_values
from gridledger.store.schema import (
    book_entry,
    bulk_cancellation,
    market_acceptance,
    market_mtu,
    market_order,
    order_cancellation,
)
from gridledger.store.withdrawals import Withdrawals

__all__ = ["Orders"]

_FINAL = (OrderState.CANCELLED, OrderState.EXPIRED)

# Statements of the intake's hot path, built once.
_FILLED = (
    select(func.coalesce(func.sum(book_entry.c.filled_wh), 0))
    .where(book_entry.c.order_uid == market_order.c.uid)
    .scalar_subquery()
)
_BY_UIDS = select(market_order, _FILLED.label("filled_wh")).where(market_order.c.uid.in_(in_list("uids")))
_NAMES = listed("names")
_BY_NAMES = (
    select(market_order.c.owner, market_order.c.client_id, market_order.c.uid)
    .select_from(_NAMES)
    .join(
        market_order,
        (market_order.c.owner == func.json_extract(_NAMES.c.value, "$[0]"))
        & (market_order.c.client_id == func.json_extract(_NAMES.c.value, "$[1]")),
    )
)
_COMMITTED = union_all(
    *(
        select(table.c.owner, table.c.worst_case_microcents).where(
            table.c.owner.in_(in_list("owners")), table.c.state.in_((OrderState.OPEN, OrderState.MATCHED))
        )
        for table in (market_order, market_acceptance)
    )
)
_OPEN_SPANS = union_all(
    select(
        market_order.c.owner,
        market_order.c.meter,
        market_order.c.zone,
        market_order.c.side == int(Side.SELL),
        market_order.c.next_mtu_start,
        market_order.c.final_mtu_start,
        market_order.c.quantity_wh,
    ).where(
        market_order.c.owner.in_(in_list("owners")),
        market_order.c.state == OrderState.OPEN,
        market_order.c.next_mtu_start + 0 <= bindparam("last"),  # the sum hides the index of everybody's open orders
        market_order.c.final_mtu_start >= bindparam("first"),
    ),
    select(
        market_acceptance.c.owner,
        market_acceptance.c.meter,
        market_acceptance.c.zone,
        false(),
        market_acceptance.c.mtu_start,
        market_acceptance.c.mtu_start,
        market_acceptance.c.quantity_wh,
    ).where(
        market_acceptance.c.owner.in_(in_list("owners")),
        market_acceptance.c.state == OrderState.OPEN,
        market_acceptance.c.mtu_start.between(bindparam("first"), bindparam("last")),
    ),
)
_LAST_NUMBERS = union_all(
    *(
        select(func.max(table.c.running_number))
        for table in (market_order, market_acceptance, order_cancellation, bulk_cancellation)
    )
)
_INSERT = insert(market_order)
_CLOSE = (
    update(market_order)
    .where(
        market_order.c.uid == bindparam("of_uid"),
        market_order.c.final_mtu_start == bindparam("at_mtu_start"),
        market_order.c.state.not_in(_FINAL),
    )
    .values(state=bindparam("to_state"), state_reason=bindparam("reason"))
)
_END = (
    update(market_order)
    .where(market_order.c.uid == bindparam("of_uid"))
    .values(state=bindparam("to_state"), state_reason=bindparam("reason"))
)
_PASS_LISTED = (
    update(market_order)
    .where(market_order.c.uid == bindparam("of_uid"))
    .values(next_mtu_start=market_order.c.next_mtu_start + bindparam("mtu_length_s"))
)
_MOVE_METER = (
    update(market_order)
    .where(
        market_order.c.meter == bindparam("of_meter"),
        market_order.c.final_mtu_start == bindparam("at_mtu_start"),
        market_order.c.state == bindparam("from_state"),
    )
    .values(state=bindparam("to_state"))
)


class Orders(Withdrawals, Deals):
    """Accepted orders of one transaction."""

    def find(self, uid: str) -> AcceptedOrder | None:
        """The order with this uid."""
        return self.find_all((uid,)).get(uid)

    def find_all(self, uids: Collection[str]) -> dict[str, AcceptedOrder]:
        """Known orders by uid; unknown ones are left out."""
        return {row.uid: _accepted(row) for row in self._connection.execute(_BY_UIDS, {"uids": list_parameter(uids)})}

    def find_client_ids(self, names: Collection[tuple[str, str]]) -> dict[tuple[str, str], str]:
        """Uids of known orders by owner and client-made id; unknown ones are left out."""
        if not names:
            return {}
        rows = self._connection.execute(_BY_NAMES, {"names": list_parameter(names)})
        return {(row.owner, row.client_id): row.uid for row in rows}

    def next_running_number(self) -> int:
        """The number after the last receipt's, from 1 on."""
        if self._last_number is None:
            self._last_number = max(number or 0 for number in self._connection.execute(_LAST_NUMBERS).scalars())
        return self._last_number + 1

    def cancel(self, uid: str, signature: str, receipt: Receipt) -> None:
        """Keep a receipted cancellation and close the order."""
        self._keep_cancellation(order_cancellation, receipt, uid=uid, signature=signature)
        self.end(uid, OrderState.CANCELLED)

    def commitments(self, owners: Collection[str], first_mtu_start: int, last_mtu_start: int) -> Commitments:
        """All that these owners have promised, with what is open in any MTU of the range."""
        values = {"owners": list_parameter(owners), "first": first_mtu_start, "last": last_mtu_start}
        spans = self._connection.execute(_OPEN_SPANS, values).all()
        return Commitments(self._committed(owners), map(OpenSpan._make, spans))

    def committed_microcents(self, owner: str) -> int:
        """Worst case of the owner's orders that are open, or matched and not yet locked by the contract."""
        return self._committed((owner,))[owner]

    def add_all(self, orders: Sequence[AcceptedOrder]) -> None:
        """Keep newly accepted orders, in receipt order."""
        if orders:
            self._connection.execute(_INSERT, [_values(order) for order in orders])
            self._last_number = orders[-1].receipt.running_number

    def open_with_salt_up_to(self, owner: str, salt: int) -> tuple[AcceptedOrder, ...]:
        """The owner's open orders with a salt up to this one, in receipt order."""
        query = (
            select(market_order)
            .where(market_order.c.owner == owner, market_order.c.state == OrderState.OPEN)
            .order_by(market_order.c.running_number)
        )
        # Salts are kept as decimal text, which the database cannot compare by value.
        return tuple(_accepted(row) for row in self._connection.execute(query) if row.salt <= salt)

    def open_orders(self, zone: int, mtu_start: int) -> tuple[AcceptedOrder, ...]:
        """Open orders whose next MTU this is, in receipt order."""
        query = (
            select(market_order)
            .where(
                market_order.c.zone == zone,
                market_order.c.next_mtu_start == mtu_start,
                market_order.c.final_mtu_start >= mtu_start,
                market_order.c.state == OrderState.OPEN,
            )
            .order_by(market_order.c.running_number)
        )
        return tuple(_accepted(row) for row in self._connection.execute(query))

    def posted_offers(self, zone: int, mtu_start: int, limit: int) -> tuple[tuple[AcceptedOrder, int], ...]:
        """Open limit offers that cover a zone and MTU, cheapest first, each with its energy not dealt yet, Wh."""
        query = (
            select(market_order)
            .where(
                market_order.c.zone == zone,
                market_order.c.next_mtu_start <= mtu_start,
                market_order.c.final_mtu_start >= mtu_start,
                market_order.c.state == OrderState.OPEN,
                market_order.c.side == int(Side.SELL),
                market_order.c.pricing == int(Pricing.LIMIT),
            )
            .order_by(market_order.c.limit_cents_per_mwh, market_order.c.running_number)
            .limit(limit)
        )
        offers = [_accepted(row) for row in self._connection.execute(query)]
        unsold = [
            (offer, offer.signed.order.quantity_wh - self.dealt_wh(offer.signed.uid, mtu_start)) for offer in offers
        ]
        return tuple((offer, unsold_wh) for offer, unsold_wh in unsold if unsold_wh > 0)

    def unlisted_mtus(self, latest_gate: int, gate_closure_s: int) -> tuple[tuple[int, int], ...]:
        """Zones and MTUs that are next for some open order or acceptance, whose gates are closed, without a book."""
        found: set[tuple[int, int]] = set()
        for table, column, last in (
            (market_order, market_order.c.next_mtu_start, market_order.c.final_mtu_start),
            (market_acceptance, market_acceptance.c.mtu_start, market_acceptance.c.mtu_start),
        ):
            listed = exists().where(market_mtu.c.zone == table.c.zone, market_mtu.c.mtu_start == column)
            query = select(table.c.zone, column).where(
                table.c.state == OrderState.OPEN, column <= latest_gate + gate_closure_s, column <= last, ~listed
            )
            found.update((zone, mtu_start) for zone, mtu_start in self._connection.execute(query.distinct()))
        return tuple(sorted(found, key=lambda place: (place[1], place[0])))

    def pass_listed(self, uids: Sequence[str], mtu_length_s: int) -> None:
        """Orders that were just listed wait for their next MTU, or, after their last, for the result."""
        if uids:
            self._connection.execute(_PASS_LISTED, [{"of_uid": uid, "mtu_length_s": mtu_length_s} for uid in uids])

    def close(self, uid: str, mtu_start: int, state: OrderState, reason: str | None) -> None:
        """Keep what became of an order in the book of its last MTU, or of an acceptance."""
        values = {"of_uid": uid, "to_state": state, "reason": reason}
        if self._connection.execute(_CLOSE, {**values, "at_mtu_start": mtu_start}).rowcount == 0:
            self._close_deal(values)

    def end(self, uid: str, state: OrderState, reason: str | None = None) -> None:
        """Take an open order out of all MTUs still to come: cancelled or expired."""
        self._connection.execute(_END, {"of_uid": uid, "to_state": state, "reason": reason})

    def end_after_next(self, uid: str) -> None:
        """An order cancelled just after a gate closed is still listed for that MTU, and for none later."""
        self._connection.execute(
            update(market_order).where(market_order.c.uid == uid).values(final_mtu_start=market_order.c.next_mtu_start)
        )

    def move_listed(self, zone: int, mtu_start: int, from_state: OrderState, to_state: OrderState) -> None:
        """Move all orders of a book that are in one state to another."""
        listed = select(book_entry.c.order_uid).where(book_entry.c.zone == zone, book_entry.c.mtu_start == mtu_start)
        for table in (market_order, market_acceptance):
            of_table = (table.c.uid.in_(listed), table.c.state == from_state)
            last = (market_order.c.final_mtu_start == mtu_start,) if table is market_order else ()
            self._connection.execute(update(table).where(*of_table, *last).values(state=to_state))

    def move_meter(self, meter: int, mtu_start: int, from_state: OrderState, to_state: OrderState) -> None:
        """Move a meter's orders for an MTU from one state to another."""
        values = {"of_meter": meter, "at_mtu_start": mtu_start, "from_state": from_state, "to_state": to_state}
        self._connection.execute(_MOVE_METER, values)
        self._move_meter_deals(values)

    def count(self) -> int:
        """How many orders were accepted."""
        return self._connection.execute(select(func.count()).select_from(market_order)).scalar_one()

    def all_rows(self) -> tuple[AcceptedOrder, ...]:
        """Every accepted order in receipt order."""
        query = select(market_order, _FILLED.label("filled_wh")).order_by(market_order.c.running_number)
        return tuple(_accepted(row) for row in self._connection.execute(query))

    def fills(self, uid: str) -> tuple[tuple[int, int, str | None], ...]:
        """MTU, fill (Wh) and ineligibility of an order in each book that lists it, oldest first."""
        query = (
            select(book_entry.c.mtu_start, book_entry.c.filled_wh, book_entry.c.ineligible)
            .where(book_entry.c.order_uid == uid)
            .order_by(book_entry.c.mtu_start)
        )
        return tuple((row.mtu_start, row.filled_wh, row.ineligible) for row in self._connection.execute(query))

    def _committed(self, owners: Collection[str]) -> dict[str, int]:
        committed = dict.fromkeys(owners, 0)
        for owner, microcents in self._connection.execute(_COMMITTED, {"owners": list_parameter(owners)}).all():
            committed[owner] += microcents
        return committed


def _values(accepted: AcceptedOrder) -> dict[str, Any]:
    order = accepted.signed.order
    return {
        "uid": accepted.signed.uid,
        "owner": order.owner,
        "client_id": accepted.client_id,
        "meter": order.meter,
        "zone": accepted.zone,
        "side": int(order.side),
        "product": int(order.product),
        "pricing": int(order.pricing),
        "first_mtu_start": order.first_mtu_start,
        "last_mtu_start": order.last_mtu_start,
        "quantity_wh": order.quantity_wh,
        "limit_cents_per_mwh": order.limit_cents_per_mwh,
        "expiry": order.expiry,
        "salt": order.salt,
        "signature": "0x" + accepted.signed.signature.hex(),
        "worst_case_microcents": accepted.worst_case_microcents,
        **receipt_values(accepted.receipt),
        "state": accepted.state,
        "next_mtu_start": accepted.next_mtu_start,
        "final_mtu_start": accepted.final_mtu_start,
    }


def _accepted(row: Row[Any]) -> AcceptedOrder:
    return AcceptedOrder(
        signed=signed_order(row),
        zone=row.zone,
        client_id=row.client_id,
        receipt=receipt_of(row, row.uid),
        worst_case_microcents=row.worst_case_microcents,
        state=OrderState(row.state),
        state_reason=row.state_reason,
        filled_wh=getattr(row, "filled_wh", 0),
        next_mtu_start=row.next_mtu_start,
        final_mtu_start=row.final_mtu_start,
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
