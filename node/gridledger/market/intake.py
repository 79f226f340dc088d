"""What is checked before an order is accepted. Everything the contract will refuse is refused here first, by name."""

from dataclasses import dataclass

from gridledger.market.errors import (
    AccountSuspended,
    CapacityExceeded,
    FundsExceeded,
    GateClosed,
    LimitOutsideBounds,
    MarketHalted,
    MeterNotOwned,
    NotAdmitted,
    OrderExpired,
    OrderUnsupported,
    OtherSideTaken,
    QuantityRefused,
)
from gridledger.market.model import CashAccount, MeterFacts, MtuPrices, Order, Policy, Pricing, Product, Side
from gridledger.market.settlement import worst_case_microcents
from gridledger.units import check_range, require_aligned

__all__ = ["IntakeContext", "capacity_wh", "check_order", "order_worst_case_microcents"]

UINT64_MAX = 2**64 - 1
LARGEST_QUANTITY_WH = 2**40
SECONDS_PER_HOUR = 3600


@dataclass(frozen=True, kw_only=True)
class IntakeContext:
    """All facts the checks need, read in one transaction.

    `committed_microcents` is the worst case of the owner's other open orders, `open_wh` the energy of the meter's other
    open orders for the MTU on the same side, `other_side_open` whether the owner has one on the other side of the zone.
    """

    now: int
    mtu_length_s: int
    policy: Policy
    prices: MtuPrices
    meter: MeterFacts
    admitted: bool
    suspended: bool
    halted: bool
    account: CashAccount
    committed_microcents: int
    open_wh: int
    other_side_open: bool


def check_order(order: Order, context: IntakeContext) -> None:
    """Raise the first typed error the order deserves; returning means it may be accepted."""
    _check_form(order, context.mtu_length_s)
    if not context.admitted:
        raise NotAdmitted(owner=order.owner)
    if context.suspended:
        raise AccountSuspended(owner=order.owner)
    if context.meter.owner != order.owner:
        raise MeterNotOwned(meter=order.meter, owner=order.owner)
    if context.halted:
        raise MarketHalted(zone=context.meter.zone)
    _check_gate(order, context)
    _check_limit(order, context.prices)
    _check_capacity(order, context)
    if context.other_side_open:
        raise OtherSideTaken(owner=order.owner, zone=context.meter.zone, mtu_start=order.first_mtu_start)
    _check_funds(order, context)


def capacity_wh(meter: MeterFacts, side: Side, mtu_length_s: int) -> int:
    """Energy the meter can move in one MTU, rounded down, Wh."""
    capacity_w = meter.export_capacity_w if side is Side.SELL else meter.import_capacity_w
    return capacity_w * mtu_length_s // SECONDS_PER_HOUR


def order_worst_case_microcents(order: Order, policy: Policy, prices: MtuPrices) -> int:
    """The most the order can lock, microcents."""
    return worst_case_microcents(
        order.side, order.quantity_wh, order.limit_cents_per_mwh, policy.grid_fee_cents_per_mwh, prices.shortage
    )


def _check_form(order: Order, mtu_length_s: int) -> None:
    require_aligned(order.first_mtu_start, mtu_length_s)
    require_aligned(order.last_mtu_start, mtu_length_s)
    if order.first_mtu_start != order.last_mtu_start:
        raise OrderUnsupported(field="last_mtu_start", value=str(order.last_mtu_start))
    if order.product is not Product.ANY:
        raise OrderUnsupported(field="product", value=order.product.name.lower())
    if order.pricing is not Pricing.LIMIT:
        raise OrderUnsupported(field="pricing", value=order.pricing.name.lower())
    if order.quantity_wh <= 0:
        raise QuantityRefused(quantity_wh=order.quantity_wh)
    check_range("quantity_wh", order.quantity_wh, 1, LARGEST_QUANTITY_WH)
    check_range("salt", order.salt, 0, UINT64_MAX)
    check_range("expiry", order.expiry, 0, UINT64_MAX)


def _check_gate(order: Order, context: IntakeContext) -> None:
    gate_closure = order.first_mtu_start - context.policy.gate_closure_s
    if context.now >= gate_closure:
        raise GateClosed(mtu_start=order.first_mtu_start, gate_closure=gate_closure, now=context.now)
    if order.expiry < gate_closure:
        raise OrderExpired(expiry=order.expiry, gate_closure=gate_closure)


def _check_limit(order: Order, prices: MtuPrices) -> None:
    if not prices.floor <= order.limit_cents_per_mwh <= prices.cap:
        raise LimitOutsideBounds(
            limit_cents_per_mwh=order.limit_cents_per_mwh,
            floor_cents_per_mwh=prices.floor,
            cap_cents_per_mwh=prices.cap,
        )


def _check_capacity(order: Order, context: IntakeContext) -> None:
    highest_wh = capacity_wh(context.meter, order.side, context.mtu_length_s)
    if order.quantity_wh + context.open_wh > highest_wh:
        raise CapacityExceeded(
            meter=order.meter, requested_wh=order.quantity_wh, open_wh=context.open_wh, capacity_wh=highest_wh
        )


def _check_funds(order: Order, context: IntakeContext) -> None:
    required = order_worst_case_microcents(order, context.policy, context.prices)
    available = context.account.available_microcents
    if required + context.committed_microcents > available:
        raise FundsExceeded(
            owner=order.owner,
            required_microcents=required,
            committed_microcents=context.committed_microcents,
            available_microcents=available,
        )
