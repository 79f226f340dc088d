"""The uniform-price double auction: maximum welfare and, among those, the largest volume.

Orders trade in price order, ties in receipt order, so only the marginal orders are partly filled. The price is the
floored midpoint of the equilibrium interval; each end of the interval is the limit of a named order.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from gridledger.market.model import Clearing, Match, Side
from gridledger.units import floor_midpoint

__all__ = ["AuctionOrder", "clear"]


@dataclass(frozen=True, kw_only=True)
class AuctionOrder:
    """What the auction needs of an order: Wh and cents per MWh."""

    uid: str
    side: Side
    quantity_wh: int
    limit_cents_per_mwh: int


def clear(orders: Sequence[AuctionOrder], *, floor_cents_per_mwh: int, cap_cents_per_mwh: int) -> Clearing:
    """Clear a book given in receipt order. All limits lie inside floor and cap; the same book gives the same result."""
    bids = sorted((order for order in orders if order.side is Side.BUY), key=lambda order: -order.limit_cents_per_mwh)
    offers = sorted((order for order in orders if order.side is Side.SELL), key=lambda order: order.limit_cents_per_mwh)
    matches, bid_left_wh, offer_left_wh = _match(bids, offers)
    filled_bids = [order for order, left_wh in zip(bids, bid_left_wh, strict=True) if left_wh < order.quantity_wh]
    filled_offers = [order for order, left_wh in zip(offers, offer_left_wh, strict=True) if left_wh < order.quantity_wh]
    open_bids = [order for order, left_wh in zip(bids, bid_left_wh, strict=True) if left_wh > 0]
    open_offers = [order for order, left_wh in zip(offers, offer_left_wh, strict=True) if left_wh > 0]
    lower = _highest([*filled_offers[-1:], *open_bids[:1]])
    upper = _lowest([*filled_bids[-1:], *open_offers[:1]])
    return Clearing(
        price_cents_per_mwh=floor_midpoint(
            lower.limit_cents_per_mwh if lower else floor_cents_per_mwh,
            upper.limit_cents_per_mwh if upper else cap_cents_per_mwh,
        ),
        lower_end_uid=lower.uid if lower else None,
        upper_end_uid=upper.uid if upper else None,
        matches=matches,
    )


def _match(
    bids: Sequence[AuctionOrder], offers: Sequence[AuctionOrder]
) -> tuple[tuple[Match, ...], list[int], list[int]]:
    """Pair the best bid with the best offer while their limits allow; returns what each order has left, Wh."""
    bid_left_wh = [order.quantity_wh for order in bids]
    offer_left_wh = [order.quantity_wh for order in offers]
    matches: list[Match] = []
    bid = offer = 0
    while bid < len(bids) and offer < len(offers):
        if bids[bid].limit_cents_per_mwh < offers[offer].limit_cents_per_mwh:
            break
        energy_wh = min(bid_left_wh[bid], offer_left_wh[offer])
        if energy_wh > 0:
            matches.append(Match(sell_uid=offers[offer].uid, buy_uid=bids[bid].uid, energy_wh=energy_wh))
        bid_left_wh[bid] -= energy_wh
        offer_left_wh[offer] -= energy_wh
        bid += bid_left_wh[bid] == 0
        offer += offer_left_wh[offer] == 0
    return tuple(matches), bid_left_wh, offer_left_wh


def _highest(candidates: Sequence[AuctionOrder]) -> AuctionOrder | None:
    return max(candidates, key=lambda order: order.limit_cents_per_mwh, default=None)


def _lowest(candidates: Sequence[AuctionOrder]) -> AuctionOrder | None:
    return min(candidates, key=lambda order: order.limit_cents_per_mwh, default=None)
