"""The closed book: which receipted orders are listed, which of them may trade, and the bytes that are committed.

Bytes per line: 8 bytes running number, 32 bytes uid, ascending; the commitment is their keccak-256.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import sha3

from gridledger.market.auction import AuctionOrder
from gridledger.market.locking import Deal, dealt_energy
from gridledger.market.model import (
    BookEntry,
    CashAccount,
    Ineligibility,
    MeterFacts,
    MtuPrices,
    Order,
    Policy,
    Pricing,
    Product,
    Side,
    SignedAcceptance,
    SignedOrder,
)
from gridledger.market.settlement import capacity_wh, worst_case_microcents

__all__ = [
    "Standing",
    "auction_orders",
    "book_bytes",
    "book_hash",
    "effective_limit",
    "list_orders",
    "listed_deals",
    "ordered_net_wh",
    "undealt_orders",
]


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What decides whether a receipted order may trade in one MTU, and what those before it have taken.

    `gate_closure` in Unix seconds. A meter that `meters` does not hold has no capacity. All orders of an owner that
    count are on one side, within the capacity of their meter, and funded together.
    """

    gate_closure: int
    accounts: Mapping[str, CashAccount]
    suspended: frozenset[str]
    policy: Policy
    prices: MtuPrices
    meters: Mapping[int, MeterFacts]
    mtu_length_s: int
    spent_microcents: dict[str, int] = field(default_factory=dict)
    side_of: dict[str, Side] = field(default_factory=dict)
    taken_wh: dict[int, int] = field(default_factory=dict)

    def weigh(
        self, owner: str, meter: int, side: Side, quantity_wh: int, worst_microcents: int
    ) -> Ineligibility | None:
        """Count an order, or say why it does not count."""
        if owner in self.suspended:
            return Ineligibility.SUSPENDED
        if self.side_of.get(owner, side) is not side:
            return Ineligibility.OTHER_SIDE
        facts, taken_wh = self.meters.get(meter), self.taken_wh.get(meter, 0) + quantity_wh
        if facts is None or taken_wh > capacity_wh(facts, side, self.mtu_length_s):
            return Ineligibility.OVER_CAPACITY
        if not self.afford(owner, worst_microcents):
            return Ineligibility.UNFUNDED
        self.side_of[owner], self.taken_wh[meter] = side, taken_wh
        return None

    def afford(self, owner: str, microcents: int) -> bool:
        """Whether the owner can fund this worst case besides those before; if so it counts from now on."""
        spent = self.spent_microcents.get(owner, 0) + microcents
        if spent > self.accounts[owner].available_microcents(self.gate_closure):
            return False
        self.spent_microcents[owner] = spent
        return True


def book_bytes(book: Sequence[BookEntry]) -> bytes:
    """The list as the contract puts it together."""
    return b"".join(entry.running_number.to_bytes(8) + bytes.fromhex(entry.uid[2:]) for entry in book)


def book_hash(book: Sequence[BookEntry]) -> str:
    """The commitment, 0x and 64 hex digits."""
    return "0x" + str(sha3.keccak_256(book_bytes(book)).hexdigest())


def list_orders(
    receipted: Sequence[tuple[int, SignedOrder | SignedAcceptance]], standing: Standing
) -> tuple[BookEntry, ...]:
    """List receipted orders and acceptances (running number, order) in receipt order; say which cannot trade and why.

    An order that does not count is listed as ineligible and never stops the others: its limit has come to lie outside
    floor and cap, its owner is suspended, an order of the owner that counts is on the other side, those of its meter
    that count exceed the capacity with it, or the owner cannot fund the worst case of all that count with it. An
    acceptance stands and falls with its offer, which was receipted before it. This is the rule of IMarketBond.
    """
    offers: dict[str, BookEntry] = {}
    entries: list[BookEntry] = []
    for running_number, signed in receipted:
        if isinstance(signed, SignedOrder):
            reason = _order_reason(signed.order, standing)
        else:
            reason = _acceptance_reason(signed, offers, standing)
        entry = BookEntry(running_number=running_number, signed=signed, ineligible=reason)
        if isinstance(signed, SignedOrder):
            offers[signed.uid] = entry
        entries.append(entry)
    return tuple(entries)


def listed_deals(book: Sequence[BookEntry]) -> tuple[Deal, ...]:
    """The direct deals of a book whose offer and acceptance are both eligible, in receipt order."""
    eligible = {entry.uid for entry in book if entry.ineligible is None}
    return tuple(
        Deal(
            acceptance_uid=entry.uid,
            offer_uid=entry.signed.acceptance.offer_uid,
            energy_wh=entry.signed.acceptance.quantity_wh,
        )
        for entry in book
        if isinstance(entry.signed, SignedAcceptance)
        and entry.ineligible is None
        and entry.signed.acceptance.offer_uid in eligible
    )


def auction_orders(
    book: Sequence[BookEntry],
    deals: Sequence[Deal],
    meters: Mapping[int, MeterFacts],
    reference_price_cents_per_mwh: int,
) -> tuple[AuctionOrder, ...]:
    """The eligible orders of a book in receipt order, without what was dealt directly."""
    dealt = dealt_energy(deals)
    return tuple(
        AuctionOrder(
            uid=entry.uid,
            side=entry.order.side,
            low_carbon=_low_carbon(entry.order, meters),
            quantity_wh=entry.order.quantity_wh - dealt.get(entry.uid, 0),
            limit_cents_per_mwh=effective_limit(entry.order, reference_price_cents_per_mwh),
        )
        for entry in _eligible_orders(book)
        if entry.order.quantity_wh > dealt.get(entry.uid, 0)
    )


def undealt_orders(book: Sequence[BookEntry], deals: Sequence[Deal]) -> Iterator[tuple[Order, int]]:
    """The eligible orders of a book, each with its energy that was not dealt directly, Wh."""
    dealt = dealt_energy(deals)
    return ((entry.order, entry.order.quantity_wh - dealt.get(entry.uid, 0)) for entry in _eligible_orders(book))


def ordered_net_wh(book: Sequence[BookEntry]) -> dict[int, int]:
    """What the eligible orders of a book ask for, dealt or not: net Wh by meter, offers positive."""
    ordered_wh: Counter[int] = Counter()
    for entry in _eligible_orders(book):
        sign = 1 if entry.order.side is Side.SELL else -1
        ordered_wh[entry.meter] += sign * entry.order.quantity_wh
    return dict(ordered_wh)


def effective_limit(order: Order, reference_price_cents_per_mwh: int) -> int:
    """The limit an order trades at: its own, or the reference price within its guard; cents per MWh."""
    if order.pricing is Pricing.LIMIT:
        return order.limit_cents_per_mwh
    if order.side is Side.SELL:
        return max(order.limit_cents_per_mwh, reference_price_cents_per_mwh)
    return min(order.limit_cents_per_mwh, reference_price_cents_per_mwh)


def _eligible_orders(book: Sequence[BookEntry]) -> Iterator[BookEntry]:
    return (entry for entry in book if entry.is_order and entry.ineligible is None)


def _low_carbon(order: Order, meters: Mapping[int, MeterFacts]) -> bool:
    if order.side is Side.SELL:
        return meters[order.meter].source != 0
    return order.product is Product.LOW_CARBON


def _order_reason(order: Order, standing: Standing) -> Ineligibility | None:
    prices = standing.prices
    if not prices.floor <= order.limit_cents_per_mwh <= prices.cap:
        return Ineligibility.OUT_OF_BOUNDS
    fee = standing.policy.grid_fee_cents_per_mwh
    worst = worst_case_microcents(order.side, order.quantity_wh, order.limit_cents_per_mwh, fee, prices.shortage)
    return standing.weigh(order.owner, order.meter, order.side, order.quantity_wh, worst)


def _acceptance_reason(
    signed: SignedAcceptance, offers: Mapping[str, BookEntry], standing: Standing
) -> Ineligibility | None:
    acceptance = signed.acceptance
    offer = offers.get(acceptance.offer_uid)
    if offer is None or offer.ineligible is not None:
        return Ineligibility.OFFER
    fee = standing.policy.grid_fee_cents_per_mwh
    limit = offer.order.limit_cents_per_mwh
    worst = worst_case_microcents(Side.BUY, acceptance.quantity_wh, limit, fee, standing.prices.shortage)
    return standing.weigh(acceptance.owner, acceptance.meter, Side.BUY, acceptance.quantity_wh, worst)
