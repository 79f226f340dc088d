"""Notices in the database; implements `market.notices.Notices`, with one function per kind the chain's events tell.

A notice is written with the change it tells. Ids ascend with the commits, because there is one writer at a time, and
are never used again.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, insert, select

from gridledger.market.model import Product
from gridledger.market.notices import Notice, NoticeDetails, NoticeKind
from gridledger.store.schema import book_entry, contract_position, market_acceptance, market_order, notice

__all__ = ["Notices"]

_INSERT = insert(notice)
_AFTER = (
    select(notice)
    .where(notice.c.owner == bindparam("of_owner"), notice.c.id > bindparam("after_id"))
    .order_by(notice.c.id)
    .limit(bindparam("at_most"))
)
# The orders and acceptances of a clearing with the position each became part of.
_FILLED = (
    select(
        book_entry.c.order_uid.label("uid"),
        contract_position.c.owner,
        contract_position.c.meter,
        contract_position.c.sells,
        contract_position.c.source,
        book_entry.c.filled_wh,
        market_order.c.product,
        contract_position.c.locked_microcents,
        contract_position.c.fee_microcents,
    )
    .outerjoin(market_order, market_order.c.uid == book_entry.c.order_uid)
    .outerjoin(market_acceptance, market_acceptance.c.uid == book_entry.c.order_uid)
    .join(
        contract_position,
        (contract_position.c.zone == book_entry.c.zone)
        & (contract_position.c.mtu_start == book_entry.c.mtu_start)
        & (contract_position.c.meter == func.coalesce(market_order.c.meter, market_acceptance.c.meter)),
    )
    .where(
        book_entry.c.zone == bindparam("of_zone"),
        book_entry.c.mtu_start == bindparam("of_mtu_start"),
        book_entry.c.filled_wh > 0,
    )
    .order_by(book_entry.c.position)
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

    def tell_locked(
        self, zone: int, mtu_start: int, any_price: int, low_carbon_price: int, transaction_hash: str, at: int
    ) -> None:
        """The contract has accepted the clearing: what its orders need is locked. Deals have their own price."""
        for row in self._clearing(zone, mtu_start).orders:
            low_carbon = row.source != 0 if row.sells else row.product == Product.LOW_CARBON
            details = NoticeDetails(
                energy_wh=row.filled_wh,
                price_cents_per_mwh=None if row.product is None else low_carbon_price if low_carbon else any_price,
                locked_microcents=row.locked_microcents,
                fee_microcents=row.fee_microcents,
                transaction_hash=transaction_hash,
            )
            self._tell_order(NoticeKind.LOCKED, row, zone, mtu_start, details, at)

    def tell_curtailed(self, zone: int, mtu_start: int, reason_code: int, transaction_hash: str, at: int) -> None:
        """The grid operator has stopped the zone: nothing of the schedule is delivered."""
        for row in self._clearing(zone, mtu_start).orders:
            details = NoticeDetails(energy_wh=row.filled_wh, reason_code=reason_code, transaction_hash=transaction_hash)
            self._tell_order(NoticeKind.CURTAILED, row, zone, mtu_start, details, at)

    def tell_shrunk(self, zone: int, mtu_start: int, position: Row[Any], details: NoticeDetails, at: int) -> None:
        """The grid operator's caps have taken energy from a position; `details` has how much, and what was refunded."""
        self._tell_position(NoticeKind.CURTAILED, zone, mtu_start, position, details, at)

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
        self, mtu_start: int, zones: Sequence[int], holder: str, amount_ugco2: int, transaction_hash: str, at: int
    ) -> None:
        """Tokens were minted to a holder for what was traded, delivered and consumed in an MTU.

        The mint names no order: the holder's one is told where just one was filled.
        """
        orders = [
            (zone, row) for zone in zones for row in self._clearing(zone, mtu_start).orders if row.owner == holder
        ]
        zone, order = orders[0] if len(orders) == 1 else (None, None)
        self.add(
            NoticeKind.REWARDED,
            owner=holder,
            order_uid=None if order is None else order.uid,
            zone=zone,
            mtu_start=mtu_start,
            meter=None if order is None else order.meter,
            created_at=at,
            details=NoticeDetails(reward_ugco2=amount_ugco2, transaction_hash=transaction_hash),
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
        self, kind: NoticeKind, row: "_Filled", zone: int, mtu_start: int, details: NoticeDetails, at: int
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
            rows: Sequence[Any] = self._connection.execute(_FILLED, values).all()
            self._clearings[key] = _Clearing.of(rows)
        return self._clearings[key]


@dataclass(frozen=True)
class _Filled:
    """A filled order, and what its meter's positions have locked in all chunks."""

    uid: str
    owner: str
    meter: int
    sells: bool
    source: int
    filled_wh: int
    product: int | None
    locked_microcents: int
    fee_microcents: int


@dataclass(frozen=True)
class _Clearing:
    """Filled orders of one clearing in receipt order, and by meter."""

    orders: Sequence[_Filled]
    of_meter: Mapping[int, list[_Filled]]

    @classmethod
    def of(cls, rows: Sequence[Row[Any]]) -> "_Clearing":
        """From one row for each order and position."""
        orders: dict[str, _Filled] = {}
        for one in (_Filled(**row._asdict()) for row in rows):
            known = orders.get(one.uid)
            orders[one.uid] = (
                one
                if known is None
                else replace(
                    known,
                    locked_microcents=known.locked_microcents + one.locked_microcents,
                    fee_microcents=known.fee_microcents + one.fee_microcents,
                )
            )
        of_meter = defaultdict(list)
        for order in orders.values():
            of_meter[order.meter].append(order)
        return cls(tuple(orders.values()), of_meter)


def _notice(row: Row[Any]) -> Notice:
    values = row._asdict()
    return Notice(**{**values, "kind": NoticeKind(row.kind), "details": NoticeDetails(**row.details)})
