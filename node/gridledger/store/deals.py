"""Acceptances of posted offers; a part of `store.orders`."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, insert, select, update

from gridledger.market.model import Acceptance, OrderState, SignedAcceptance
from gridledger.market.ports import AcceptedDeal
from gridledger.store.receipts import receipt_of, receipt_values
from gridledger.store.schema import market_acceptance

__all__ = ["Deals", "signed_acceptance"]

_CLOSE_DEAL = (
    update(market_acceptance)
    .where(market_acceptance.c.uid == bindparam("of_uid"))
    .values(state=bindparam("to_state"), state_reason=bindparam("reason"))
)
_MOVE_METER_DEALS = (
    update(market_acceptance)
    .where(
        market_acceptance.c.meter == bindparam("of_meter"),
        market_acceptance.c.mtu_start == bindparam("at_mtu_start"),
        market_acceptance.c.state == bindparam("from_state"),
    )
    .values(state=bindparam("to_state"))
)


class Deals:
    """Acceptances of one transaction."""

    _connection: Connection
    _last_number: int | None

    def find_deal(self, uid: str) -> AcceptedDeal | None:
        """The acceptance with this uid."""
        row = self._connection.execute(select(market_acceptance).where(market_acceptance.c.uid == uid)).first()
        return None if row is None else _deal(row)

    def dealt_wh(self, offer_uid: str, mtu_start: int) -> int:
        """Energy of an offer that was accepted for an MTU."""
        query = select(func.coalesce(func.sum(market_acceptance.c.quantity_wh), 0)).where(
            market_acceptance.c.offer_uid == offer_uid, market_acceptance.c.mtu_start == mtu_start
        )
        return int(self._connection.execute(query).scalar_one())

    def last_dealt_mtu(self, offer_uid: str) -> int | None:
        """Last MTU for which an open offer was accepted and not listed yet."""
        query = select(func.max(market_acceptance.c.mtu_start)).where(
            market_acceptance.c.offer_uid == offer_uid, market_acceptance.c.state == OrderState.OPEN
        )
        return self._connection.execute(query).scalar()

    def add_deal(self, deal: AcceptedDeal) -> None:
        """Keep a newly accepted acceptance."""
        acceptance, receipt = deal.signed.acceptance, deal.receipt
        self._last_number = receipt.running_number
        self._connection.execute(
            insert(market_acceptance).values(
                uid=deal.signed.uid,
                owner=acceptance.owner,
                meter=acceptance.meter,
                zone=deal.zone,
                offer_uid=acceptance.offer_uid,
                mtu_start=acceptance.mtu_start,
                quantity_wh=acceptance.quantity_wh,
                salt=acceptance.salt,
                signature="0x" + deal.signed.signature.hex(),
                worst_case_microcents=deal.worst_case_microcents,
                **receipt_values(receipt),
                state=deal.state,
            )
        )

    def open_deals(self, zone: int, mtu_start: int) -> tuple[AcceptedDeal, ...]:
        """Open acceptances of a zone and MTU in receipt order."""
        query = (
            select(market_acceptance)
            .where(
                market_acceptance.c.zone == zone,
                market_acceptance.c.mtu_start == mtu_start,
                market_acceptance.c.state == OrderState.OPEN,
            )
            .order_by(market_acceptance.c.running_number)
        )
        return tuple(_deal(row) for row in self._connection.execute(query))

    def _close_deal(self, values: Mapping[str, Any]) -> None:
        self._connection.execute(_CLOSE_DEAL, values)

    def _move_meter_deals(self, values: Mapping[str, Any]) -> None:
        self._connection.execute(_MOVE_METER_DEALS, values)


def _deal(row: Row[Any]) -> AcceptedDeal:
    return AcceptedDeal(
        signed=signed_acceptance(row),
        zone=row.zone,
        receipt=receipt_of(row, row.uid),
        worst_case_microcents=row.worst_case_microcents,
        state=OrderState(row.state),
        state_reason=row.state_reason,
    )


def signed_acceptance(row: Row[Any]) -> SignedAcceptance:
    """The signed acceptance of a `market_acceptance` row."""
    acceptance = Acceptance(
        owner=row.owner,
        meter=row.meter,
        offer_uid=row.offer_uid,
        mtu_start=row.mtu_start,
        quantity_wh=row.quantity_wh,
        salt=row.salt,
    )
    return SignedAcceptance(acceptance=acceptance, uid=row.uid, signature=bytes.fromhex(row.signature[2:]))
