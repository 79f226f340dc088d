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
    OfferNotAcceptable,
    OfferUsedUp,
    OrderExpired,
    OrderUnsupported,
    OtherSideTaken,
    OwnOffer,
    QuantityRefused,
    RangeRefused,
    SaltCancelled,
)
from gridledger.market.model import (
    Acceptance,
    CashAccount,
    MeterFacts,
    MtuPrices,
    Order,
    Policy,
    Pricing,
    Product,
    Side,
)
from gridledger.market.packing import LARGEST_ENERGY_WH, LARGEST_TIME_S
from gridledger.market.settlement import capacity_wh, worst_case_microcents
from gridledger.units import check_range, require_aligned

__all__ = [
    "IntakeContext",
    "acceptance_worst_case_microcents",
    "check_acceptance",
    "check_order",
    "order_worst_case_microcents",
]

UINT64_MAX = 2**64 - 1
# IMarketBond.Terms.longestOrderS: the bond covers no order that reaches further ahead.
LONGEST_ORDER_S = 366 * 86_400


@dataclass(frozen=True, kw_only=True)
class IntakeContext:
    """All facts the checks need, read in one transaction.

    Prices are those of the first MTU. `committed_microcents` is the worst case of the owner's other open orders,
    `open_wh` the most the meter's other open orders take in any MTU of the range on the same side, `other_side_open`
    whether the owner has one on the other side of the zone in any of them. The owner has cancelled all its orders up to
    `cancelled_salt`, later ones included.
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
    cancelled_salt: int | None


def check_order(order: Order, context: IntakeContext) -> None:
    """Raise the first typed error the order deserves; returning means it may be accepted."""
    _check_form(order, context.mtu_length_s)
    if order.last_mtu_start > context.now + LONGEST_ORDER_S:
        raise RangeRefused(first_mtu_start=order.first_mtu_start, last_mtu_start=order.last_mtu_start)
    _check_member(order.owner, order.meter, context)
    if context.cancelled_salt is not None and order.salt <= context.cancelled_salt:
        raise SaltCancelled(owner=order.owner, salt=order.salt, cancelled_up_to=context.cancelled_salt)
    _check_gate(order, context)
    _check_limit(order.limit_cents_per_mwh, context.prices)
    _check_capacity(order.meter, order.side, order.quantity_wh, context)
    if context.other_side_open:
        raise OtherSideTaken(owner=order.owner, zone=context.meter.zone, mtu_start=order.first_mtu_start)
    required = order_worst_case_microcents(order, context.policy, context.prices)
    _check_funds(order.owner, required, order.first_mtu_start, context)


def order_worst_case_microcents(order: Order, policy: Policy, prices: MtuPrices) -> int:
    """The most the order can lock in one MTU, microcents."""
    return worst_case_microcents(
        order.side, order.quantity_wh, order.limit_cents_per_mwh, policy.grid_fee_cents_per_mwh, prices.shortage
    )


def check_acceptance(acceptance: Acceptance, offer: Order, unsold_wh: int, context: IntakeContext) -> None:
    """Raise the first typed error the acceptance deserves. `unsold_wh` is what is left of the offer in the MTU."""
    require_aligned(acceptance.mtu_start, context.mtu_length_s)
    check_range("salt", acceptance.salt, 0, LARGEST_TIME_S)
    check_range("quantity_wh", acceptance.quantity_wh, 1, LARGEST_ENERGY_WH)
    _check_member(acceptance.owner, acceptance.meter, context)
    if offer.side is not Side.SELL or offer.pricing is not Pricing.LIMIT:
        raise OfferNotAcceptable(offer_uid=acceptance.offer_uid, reason="not a limit offer")
    if not offer.first_mtu_start <= acceptance.mtu_start <= offer.last_mtu_start:
        raise OfferNotAcceptable(offer_uid=acceptance.offer_uid, reason="not for this MTU")
    if offer.owner == acceptance.owner:
        raise OwnOffer(owner=acceptance.owner)
    gate_closure = acceptance.mtu_start - context.policy.gate_closure_s
    if context.now >= gate_closure:
        raise GateClosed(mtu_start=acceptance.mtu_start, gate_closure=gate_closure, now=context.now)
    if offer.expiry < gate_closure:
        raise OrderExpired(expiry=offer.expiry, gate_closure=gate_closure)
    if acceptance.quantity_wh > unsold_wh:
        raise OfferUsedUp(offer_uid=acceptance.offer_uid, requested_wh=acceptance.quantity_wh, unsold_wh=unsold_wh)
    _check_limit(offer.limit_cents_per_mwh, context.prices)
    _check_capacity(acceptance.meter, Side.BUY, acceptance.quantity_wh, context)
    if context.other_side_open:
        raise OtherSideTaken(owner=acceptance.owner, zone=context.meter.zone, mtu_start=acceptance.mtu_start)
    required = acceptance_worst_case_microcents(acceptance, offer, context.policy)
    _check_funds(acceptance.owner, required, acceptance.mtu_start, context)


def acceptance_worst_case_microcents(acceptance: Acceptance, offer: Order, policy: Policy) -> int:
    """The most an acceptance can lock: the offer's limit and the grid fee without relief, microcents."""
    fee = policy.grid_fee_cents_per_mwh
    return worst_case_microcents(Side.BUY, acceptance.quantity_wh, offer.limit_cents_per_mwh, fee, 0)


def _check_member(owner: str, meter: int, context: IntakeContext) -> None:
    if not context.admitted:
        raise NotAdmitted(owner=owner)
    if context.suspended:
        raise AccountSuspended(owner=owner)
    if context.meter.owner != owner:
        raise MeterNotOwned(meter=meter, owner=owner)
    if context.halted:
        raise MarketHalted(zone=context.meter.zone)


def _check_form(order: Order, mtu_length_s: int) -> None:
    require_aligned(order.first_mtu_start, mtu_length_s)
    require_aligned(order.last_mtu_start, mtu_length_s)
    if order.last_mtu_start < order.first_mtu_start:
        raise RangeRefused(first_mtu_start=order.first_mtu_start, last_mtu_start=order.last_mtu_start)
    if order.side is Side.SELL and order.product is not Product.ANY:
        raise OrderUnsupported(field="product", value=order.product.name.lower())
    if order.quantity_wh <= 0:
        raise QuantityRefused(quantity_wh=order.quantity_wh)
    check_range("quantity_wh", order.quantity_wh, 1, LARGEST_ENERGY_WH)
    check_range("salt", order.salt, 0, UINT64_MAX)
    check_range("expiry", order.expiry, 0, LARGEST_TIME_S)


def _check_gate(order: Order, context: IntakeContext) -> None:
    gate_closure = order.first_mtu_start - context.policy.gate_closure_s
    if context.now >= gate_closure:
        raise GateClosed(mtu_start=order.first_mtu_start, gate_closure=gate_closure, now=context.now)
    if order.expiry < gate_closure:
        raise OrderExpired(expiry=order.expiry, gate_closure=gate_closure)


def _check_limit(limit_cents_per_mwh: int, prices: MtuPrices) -> None:
    if not prices.floor <= limit_cents_per_mwh <= prices.cap:
        raise LimitOutsideBounds(
            limit_cents_per_mwh=limit_cents_per_mwh,
            floor_cents_per_mwh=prices.floor,
            cap_cents_per_mwh=prices.cap,
        )


def _check_capacity(meter: int, side: Side, quantity_wh: int, context: IntakeContext) -> None:
    highest_wh = capacity_wh(context.meter, side, context.mtu_length_s)
    if quantity_wh + context.open_wh > highest_wh:
        raise CapacityExceeded(meter=meter, requested_wh=quantity_wh, open_wh=context.open_wh, capacity_wh=highest_wh)


def _check_funds(owner: str, required_microcents: int, mtu_start: int, context: IntakeContext) -> None:
    """What the owner or its supplier has asked to take away counts already: the gate has not closed yet."""
    available = context.account.available_microcents(mtu_start - context.policy.gate_closure_s)
    if required_microcents + context.committed_microcents > available:
        raise FundsExceeded(
            owner=owner,
            required_microcents=required_microcents,
            committed_microcents=context.committed_microcents,
            available_microcents=available,
        )
