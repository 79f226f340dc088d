"""Notices in the database; implements `market.notices.Notices`, with one function per kind the chain's events tell.

A notice is written with the change it tells. Ids ascend with the commits, because there is one writer at a time, and
are never used again.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, insert, select

from gridledger.market.model import OrderState
from gridledger.market.notices import Notice, NoticeDetails, NoticeKind
from gridledger.store.schema import book_entry, contract_position, contract_trade, market_order, notice

__all__ = ["Notices"]

_TRADED = (OrderState.MATCHED, OrderState.LOCKED, OrderState.SETTLED, OrderState.REFUNDED)
_INSERT = insert(notice)
_AFTER = (
    select(notice)
    .where(notice.c.owner == bindparam("of_owner"), notice.c.id > bindparam("after_id"))
    .order_by(notice.c.id)
    .limit(bindparam("at_most"))
)
# The orders of a clearing with the position each became part of.
_FILLED = (
    select(
        market_order.c.uid,
        market_order.c.owner,
        market_order.c.meter,
        market_order.c.filled_wh,
        contract_position.c.locked_microcents,
        contract_position.c.fee_microcents,
    )
    .join(book_entry, book_entry.c.order_uid == market_order.c.uid)
    .outerjoin(
        contract_position,
        (contract_position.c.zone == book_entry.c.zone)
        & (contract_position.c.mtu_start == book_entry.c.mtu_start)
        & (contract_position.c.meter == market_order.c.meter),
    )
    .where(
        book_entry.c.zone == bindparam("of_zone"),
        book_entry.c.mtu_start == bindparam("of_mtu_start"),
        market_order.c.state.in_(_TRADED),
        market_order.c.filled_wh > 0,
    )
    .order_by(book_entry.c.position)
)
_TRADES = select(contract_trade.c.sell_uid, contract_trade.c.buy_uid).where(
    contract_trade.c.zone == bindparam("of_zone"), contract_trade.c.mtu_start == bindparam("of_mtu_start")
)


class Notices:
    """Notices of one transaction; they are written together when it ends, or before they are read in it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._pending: list[dict[str, Any]] = []
        self._clearings: dict[tuple[int, int], _Clearing] = {}

    def add(
        self,
        kind: NoticeKind,
        *,
        owner: str,
        order_uid: str | None,
        zone: int | None,
        mtu_start: int,
        meter: int | None,
        created_at: int,
        details: NoticeDetails,
    ) -> None:
        """Keep a notice for its owner."""
        self._pending.append(
            {
                "owner": owner,
                "kind": kind,
                "order_uid": order_uid,
                "zone": zone,
                "mtu_start": mtu_start,
                "meter": meter,
                "details": details.given(),
                "created_at": created_at,
            }
        )

    def flush(self) -> None:
        """Write what was added; whoever opened the transaction does it before committing."""
        if self._pending:
            rows, self._pending = self._pending, []
            self._connection.execute(_INSERT, rows)

    # ---- what owners read

    def after(self, owner: str, notice_id: int, limit: int) -> tuple[Notice, ...]:
        """The owner's notices after an id, oldest first."""
        self.flush()
        values = {"of_owner": owner, "after_id": notice_id, "at_most": limit}
        return tuple(_notice(row) for row in self._connection.execute(_AFTER, values))

    def last_id(self, owner: str) -> int:
        """Id of the owner's newest notice, 0 if there is none."""
        self.flush()
        return self._connection.execute(select(func.max(notice.c.id)).where(notice.c.owner == owner)).scalar() or 0

    # ---- one function per kind that the chain's events tell; `at` is the block's time

    def tell_locked(self, zone: int, mtu_start: int, price_cents_per_mwh: int, transaction_hash: str, at: int) -> None:
        """The contract has accepted the clearing: money and energy of its orders are locked."""
        for row in self._clearing(zone, mtu_start).orders:
            details = NoticeDetails(
                energy_wh=row.filled_wh,
                price_cents_per_mwh=price_cents_per_mwh,
                locked_microcents=row.locked_microcents,
                fee_microcents=row.fee_microcents,
                transaction_hash=transaction_hash,
            )
            self._tell_order(NoticeKind.LOCKED, row, zone, mtu_start, details, at)

    def tell_curtailed(self, zone: int, mtu_start: int, reason_code: int, transaction_hash: str, at: int) -> None:
        """The grid operator has curtailed the schedule."""
        for row in self._clearing(zone, mtu_start).orders:
            details = NoticeDetails(energy_wh=row.filled_wh, reason_code=reason_code, transaction_hash=transaction_hash)
            self._tell_order(NoticeKind.CURTAILED, row, zone, mtu_start, details, at)

    def tell_settled(self, zone: int, mtu_start: int, position: Row[Any], details: NoticeDetails, at: int) -> None:
        """The contract has settled a position."""
        self._tell_position(NoticeKind.SETTLED, zone, mtu_start, position, details, at)

    def tell_resettled(self, zone: int, mtu_start: int, position: Row[Any], details: NoticeDetails, at: int) -> None:
        """The contract has settled a position anew; `details` has the running number and the differences."""
        self._tell_position(NoticeKind.RESETTLED, zone, mtu_start, position, details, at)

    def tell_refunded(self, zone: int, mtu_start: int, position: Row[Any], details: NoticeDetails, at: int) -> None:
        """The contract has given back what a position had locked."""
        self._tell_position(NoticeKind.REFUNDED, zone, mtu_start, position, details, at)

    def tell_challenged(self, zone: int, mtu_start: int, reason: str, transaction_hash: str, at: int) -> None:
        """Somebody has proved something against the clearing on chain."""
        details = NoticeDetails(reason=reason, transaction_hash=transaction_hash)
        for row in self._clearing(zone, mtu_start).orders:
            self._tell_order(NoticeKind.CHALLENGED, row, zone, mtu_start, details, at)

    def tell_rewarded(
        self,
        mtu_start: int,
        zones: Sequence[int],
        *,
        seller: str,
        buyer: str,
        energy_wh: int,
        seller_ugco2: int,
        buyer_ugco2: int,
        transaction_hash: str,
        at: int,
    ) -> None:
        """Tokens were granted for a trade: seller and buyer are each told their own share.

        The event names no zone and no order: both are told where the two accounts have just one trade with each other.
        """
        between = {zone: self._clearing(zone, mtu_start).pairs.get((seller, buyer), []) for zone in zones}
        places = [(zone, *pair) for zone, pairs in between.items() for pair in pairs]
        zone, sell, buy = places[0] if len(places) == 1 else (None, None, None)
        for owner, order, share_ugco2 in ((seller, sell, seller_ugco2), (buyer, buy, buyer_ugco2)):
            self.add(
                NoticeKind.REWARDED,
                owner=owner,
                order_uid=None if order is None else order.uid,
                zone=zone,
                mtu_start=mtu_start,
                meter=None if order is None else order.meter,
                created_at=at,
                details=NoticeDetails(energy_wh=energy_wh, reward_ugco2=share_ugco2, transaction_hash=transaction_hash),
            )

    def forget_clearings(self) -> None:
        """Read orders and trades anew when next asked: another block is about to be indexed."""
        self._clearings.clear()

    def _tell_position(
        self, kind: NoticeKind, zone: int, mtu_start: int, position: Row[Any], details: NoticeDetails, at: int
    ) -> None:
        """A notice for each order of the position, with the order's own energy; without orders, one for the meter."""
        orders = self._clearing(zone, mtu_start).of_meter.get(position.meter, [])
        if not orders:
            self.add(
                kind,
                owner=position.owner,
                order_uid=None,
                zone=zone,
                mtu_start=mtu_start,
                meter=position.meter,
                created_at=at,
                details=details,
            )
        for row in orders:
            self._tell_order(kind, row, zone, mtu_start, replace(details, energy_wh=row.filled_wh), at)

    def _tell_order(
        self, kind: NoticeKind, row: Row[Any], zone: int, mtu_start: int, details: NoticeDetails, at: int
    ) -> None:
        self.add(
            kind,
            owner=row.owner,
            order_uid=row.uid,
            zone=zone,
            mtu_start=mtu_start,
            meter=row.meter,
            created_at=at,
            details=details,
        )

    def _clearing(self, zone: int, mtu_start: int) -> "_Clearing":
        key = (zone, mtu_start)
        if key not in self._clearings:
            values = {"of_zone": zone, "of_mtu_start": mtu_start}
            orders: Sequence[Any] = self._connection.execute(_FILLED, values).all()
            trades: Sequence[Any] = self._connection.execute(_TRADES, values).all()
            self._clearings[key] = _Clearing.of(orders, trades)
        return self._clearings[key]


@dataclass(frozen=True)
class _Clearing:
    """Filled orders of one clearing in receipt order, by meter, and by seller and buyer of each trade."""

    orders: Sequence[Row[Any]]
    of_meter: Mapping[int, list[Row[Any]]]
    pairs: Mapping[tuple[str, str], list[tuple[Row[Any], Row[Any]]]]

    @classmethod
    def of(cls, orders: Sequence[Row[Any]], trades: Sequence[Row[Any]]) -> "_Clearing":
        by_uid = {row.uid: row for row in orders}
        of_meter, pairs = defaultdict(list), defaultdict(list)
        for row in orders:
            of_meter[row.meter].append(row)
        for trade in trades:
            if trade.sell_uid in by_uid and trade.buy_uid in by_uid:
                sell, buy = by_uid[trade.sell_uid], by_uid[trade.buy_uid]
                pairs[sell.owner, buy.owner].append((sell, buy))
        return cls(orders, of_meter, pairs)


def _notice(row: Row[Any]) -> Notice:
    values = row._asdict()
    return Notice(**{**values, "kind": NoticeKind(row.kind), "details": NoticeDetails(**row.details)})
