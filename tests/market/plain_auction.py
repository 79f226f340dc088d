"""The two-product auction once more, in plain loops over Python integers: the twin the fast one is compared with."""

from collections.abc import Sequence

from gridledger.market.auction import AuctionOrder, AuctionResult, BookPrice
from gridledger.market.model import Side


def plain_clear(orders: Sequence[AuctionOrder], floor: int, cap: int) -> AuctionResult:
    """What `clear` must return."""
    fills = plain_fills(orders)
    bought = sum(fills[one.uid] for one in orders if one.side is Side.BUY and one.low_carbon)
    sold = sum(fills[one.uid] for one in orders if one.side is Side.SELL and one.low_carbon)
    books = [list(orders)] * 2
    if bought > sold:
        books = [[one for one in orders if one.low_carbon is kind] for kind in (False, True)]
        fills = plain_fills(books[0]) | plain_fills(books[1])
    return AuctionResult(
        merged=bought <= sold,
        any=plain_price(books[0], fills, floor, cap),
        low_carbon=plain_price(books[1], fills, floor, cap),
        fills_wh={one.uid: fills[one.uid] for one in orders if fills[one.uid] > 0},
        welfare_microcents=plain_welfare(orders, fills),
    )


def plain_fills(orders: Sequence[AuctionOrder]) -> dict[str, int]:
    """The best bid with the best offer, again and again while they meet; what every order got, Wh."""
    bids = sorted((one for one in orders if one.side is Side.BUY), key=lambda one: -one.limit_cents_per_mwh)
    offers = sorted((one for one in orders if one.side is Side.SELL), key=lambda one: one.limit_cents_per_mwh)
    fills = {one.uid: 0 for one in orders}
    while bids and offers and bids[0].limit_cents_per_mwh >= offers[0].limit_cents_per_mwh:
        pair = (bids[0], offers[0])
        energy_wh = min(one.quantity_wh - fills[one.uid] for one in pair)
        for one, side in zip(pair, (bids, offers), strict=True):
            fills[one.uid] += energy_wh
            if fills[one.uid] == one.quantity_wh:
                side.pop(0)
    return fills


def plain_price(orders: Sequence[AuctionOrder], fills: dict[str, int], floor: int, cap: int) -> BookPrice:
    """The price of one book whose fills are known.

    Of equal limits a filled order names the end, the last one in receipt order; else the first that has energy left.
    """
    filled = [one for one in orders if fills[one.uid] > 0]
    left = [one for one in orders if fills[one.uid] < one.quantity_wh]
    lower = [one for one in reversed(filled) if one.side is Side.SELL] + [one for one in left if one.side is Side.BUY]
    upper = [one for one in reversed(filled) if one.side is Side.BUY] + [one for one in left if one.side is Side.SELL]
    lower_end = max(lower, key=lambda one: one.limit_cents_per_mwh, default=None)
    upper_end = min(upper, key=lambda one: one.limit_cents_per_mwh, default=None)
    ends = (
        lower_end.limit_cents_per_mwh if lower_end else floor,
        upper_end.limit_cents_per_mwh if upper_end else cap,
    )
    return BookPrice(
        price_cents_per_mwh=sum(ends) // 2,
        lower_end_uid=lower_end.uid if lower_end else None,
        upper_end_uid=upper_end.uid if upper_end else None,
        volume_wh=sum(fills[one.uid] for one in orders if one.side is Side.BUY),
    )


def plain_welfare(orders: Sequence[AuctionOrder], fills: dict[str, int]) -> int:
    """Limit x fill of the bids less that of the offers, microcents."""
    return sum((1 if one.side is Side.BUY else -1) * one.limit_cents_per_mwh * fills.get(one.uid, 0) for one in orders)
