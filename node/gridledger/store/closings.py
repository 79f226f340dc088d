"""What closing a position changes in the node's projections: settled, corrected or refunded. A part of projections."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from gridledger.market.model import OrderState
from gridledger.market.notices import NoticeDetails
from gridledger.market.settlement import trade_microcents
from gridledger.relay import ChainEvent
from gridledger.store.positions import SettledValues, position_of

if TYPE_CHECKING:
    from gridledger.store.transaction import Transaction

__all__ = ["Place", "change_free", "close_position"]


class Place(NamedTuple):
    """A chunk of a clearing."""

    zone: int
    mtu_start: int
    chunk: int


def close_position(tx: "Transaction", event: ChainEvent, place: Place, time: int) -> None:
    """Apply one event of a settled, substituted, corrected or refunded position of a chunk."""
    _CLOSINGS[event.name](tx, event, place, time)


def change_free(tx: "Transaction", account: str, amount_microcents: int) -> None:
    """Change an account's free money with the block that is being indexed."""
    tx.free_changes[account] += amount_microcents


def _position_settled(tx: "Transaction", event: ChainEvent, place: Place, time: int) -> None:
    _settle_first(tx, event, place, event.arguments["meteredWh"], time, substitute=False)


def _position_substituted(tx: "Transaction", event: ChainEvent, place: Place, time: int) -> None:
    _settle_first(tx, event, place, event.arguments["substituteWh"], time, substitute=True)


def _settle_first(
    tx: "Transaction", event: ChainEvent, place: Place, metered_wh: int, time: int, *, substitute: bool
) -> None:
    arguments = event.arguments
    row = tx.mtus.opened_positions(*place)[arguments["meter"]]
    record = tx.mtus.record(place.zone, place.mtu_start)
    assert record.price_cents_per_mwh is not None  # it was cleared
    assert record.low_carbon_price_cents_per_mwh is not None
    trade = trade_microcents(position_of(row), record.price_cents_per_mwh, record.low_carbon_price_cents_per_mwh)
    imbalance, fee = arguments["imbalanceMicrocents"], row.fee_microcents
    values = SettledValues(
        substitute=substitute, version=0, metered_wh=metered_wh, trade_microcents=trade, imbalance_microcents=imbalance
    )
    tx.mtus.keep_settled(row, values)
    change_free(tx, row.owner, row.locked_microcents + trade - fee + imbalance)
    change_free(tx, tx.directory.grid_operator_of(place.zone), fee)
    change_free(tx, row.supplier, -imbalance)
    _move_orders(tx, place, row.meter, OrderState.SETTLED)
    details = NoticeDetails(
        metered_wh=metered_wh,
        trade_microcents=trade,
        fee_microcents=fee,
        imbalance_microcents=imbalance,
        reason="substitute value" if substitute else None,
        transaction_hash=event.transaction_hash,
    )
    tx.notices.tell_settled(place.zone, place.mtu_start, row, details, time)


def _position_resettled(tx: "Transaction", event: ChainEvent, place: Place, time: int) -> None:
    arguments = event.arguments
    row, delta = tx.mtus.settled_position(*place, arguments["meter"]), arguments["deltaMicrocents"]
    values = SettledValues(
        substitute=False,
        version=arguments["version"],
        metered_wh=arguments["meteredWh"],
        trade_microcents=row.trade_microcents,
        imbalance_microcents=row.imbalance_microcents + delta,
    )
    tx.mtus.keep_settled(row, values)
    change_free(tx, row.owner, delta)
    change_free(tx, row.supplier, -delta)
    details = NoticeDetails(
        sequence=arguments["version"],
        metered_wh=arguments["meteredWh"],
        imbalance_microcents=delta,
        transaction_hash=event.transaction_hash,
    )
    tx.notices.tell_resettled(place.zone, place.mtu_start, row, details, time)


def _position_refunded(tx: "Transaction", event: ChainEvent, place: Place, time: int) -> None:
    arguments = event.arguments
    row = tx.mtus.opened_positions(*place)[arguments["meter"]]
    tx.mtus.keep_refunded(row)
    change_free(tx, row.owner, arguments["lockedMicrocents"])
    _move_orders(tx, place, row.meter, OrderState.REFUNDED)
    details = NoticeDetails(refunded_microcents=arguments["lockedMicrocents"], transaction_hash=event.transaction_hash)
    tx.notices.tell_refunded(place.zone, place.mtu_start, row, details, time)


def _move_orders(tx: "Transaction", place: Place, meter_number: int, state: OrderState) -> None:
    """The meter's orders are through once all its positions are closed, in whatever chunks; also of a stopped MTU."""
    if not tx.mtus.has_open_position(place.zone, place.mtu_start, meter_number):
        for before in (OrderState.LOCKED, OrderState.MATCHED):
            tx.orders.move_meter(meter_number, place.mtu_start, before, state)


_CLOSINGS: dict[str, Callable[["Transaction", ChainEvent, Place, int], None]] = {
    "PositionSettled": _position_settled,
    "PositionRefunded": _position_refunded,
    "PositionSubstituted": _position_substituted,
    "PositionResettled": _position_resettled,
}
