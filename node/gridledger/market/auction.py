"""The two-product uniform-price auction of one zone and MTU: greatest welfare and, among that, the largest volume.

Bids ask for `any` or for `low_carbon` energy; offers are low-carbon or other. A low_carbon bid is served by low-carbon
offers only, any other bid by both. First everything trades in one merged book. If that fills no more low_carbon bids
than low-carbon offers, it stands, with one price. Otherwise the product binds, and some optimum fills exactly as many
of the one as of the other (on the line from any optimum to the merged result nothing is lost, and the equality is
crossed): the two products are then separate auctions, and the low_carbon price is not below the other.

In a book orders trade in price order, ties in receipt order, while bid >= offer; so only marginal orders are partly
filled. The price is the floored midpoint of the equilibrium interval, whose ends are the limits of named orders.

Everything is int64 columns: energies are at most 2**21 orders of 2**40 Wh, so sums stay within 2**61.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gridledger.errors import InvalidInput
from gridledger.market.errors import LimitOutsideBounds
from gridledger.market.model import Side
from gridledger.units import check_range, floor_midpoint

__all__ = [
    "HIGHEST_ORDER_COUNT",
    "HIGHEST_PRICE_CENTS_PER_MWH",
    "HIGHEST_QUANTITY_WH",
    "AuctionColumns",
    "AuctionOrder",
    "AuctionResult",
    "BookPrice",
    "BookTooLarge",
    "BoundsCrossed",
    "ColumnResult",
    "DuplicateOrder",
    "PositionPrice",
    "clear",
    "clear_columns",
]

Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

HIGHEST_PRICE_CENTS_PER_MWH = 10_000_000  # the lowest is its negative
HIGHEST_QUANTITY_WH = 2**40
PRICE_BITS, POSITION_BITS = 25, 21  # with one bit for the side, the sort key of an order
HIGHEST_ORDER_COUNT = 2**POSITION_BITS
PIECE_BITS, PIECES = 14, 3  # 42 bits hold a quantity; a sum of price x piece stays below 2**(24 + 14 + 21)
MAX_SHOWN_CHARACTERS = 80


@dataclass(kw_only=True, eq=False)
class BookTooLarge(InvalidInput):
    """The book has more orders than one auction takes."""

    order_count: int
    highest_order_count: int


@dataclass(kw_only=True, eq=False)
class DuplicateOrder(InvalidInput):
    """Two orders of one book have the same uid."""

    uid: str


@dataclass(kw_only=True, eq=False)
class BoundsCrossed(InvalidInput):
    """The floor lies above the cap."""

    floor_cents_per_mwh: int
    cap_cents_per_mwh: int


@dataclass(frozen=True, kw_only=True, slots=True)
class AuctionOrder:
    """What the auction needs of an order.

    `low_carbon`: of a bid, that its product is low_carbon; of an offer, that its source is. Quantity 0..2**40 Wh (none
    is no order at all), limit within +-10,000,000 cents per MWh.
    """

    uid: str
    side: Side
    low_carbon: bool
    quantity_wh: int
    limit_cents_per_mwh: int


@dataclass(frozen=True, kw_only=True)
class BookPrice:
    """Price of one book, its volume, and the uids of the orders that set the interval's ends; None is floor or cap."""

    price_cents_per_mwh: int
    lower_end_uid: str | None
    upper_end_uid: str | None
    volume_wh: int


@dataclass(frozen=True, kw_only=True)
class AuctionResult:
    """Result of an auction. If `merged`, `any` and `low_carbon` both are the price of the one book.

    `fills_wh` has the filled orders only, in receipt order; welfare is the sum of limit x fill of the bids less that
    of the offers, microcents.
    """

    merged: bool
    any: BookPrice
    low_carbon: BookPrice
    fills_wh: dict[str, int]
    welfare_microcents: int


@dataclass(frozen=True, kw_only=True, eq=False)
class AuctionColumns:
    """A book as columns of one length in receipt order: two of bool, two of int64; the words are AuctionOrder's."""

    is_sell: Flags
    low_carbon: Flags
    quantity_wh: Integers
    limit_cents_per_mwh: Integers


@dataclass(frozen=True, kw_only=True)
class PositionPrice:
    """As BookPrice; the ends are positions in the columns."""

    price_cents_per_mwh: int
    lower_end: int | None
    upper_end: int | None
    volume_wh: int


@dataclass(frozen=True, kw_only=True, eq=False)
class ColumnResult:
    """As AuctionResult; `fills_wh` is a column, with 0 where nothing was filled."""

    merged: bool
    any: PositionPrice
    low_carbon: PositionPrice
    fills_wh: Integers
    welfare_microcents: int


def clear(orders: Sequence[AuctionOrder], *, floor_cents_per_mwh: int, cap_cents_per_mwh: int) -> AuctionResult:
    """Clear a book given in receipt order; the same book gives the same result.

    Raises BookTooLarge, DuplicateOrder, OutOfRange (quantity or limit), LimitOutsideBounds, BoundsCrossed.
    """
    uids = [order.uid for order in orders]
    _check_unique(uids)
    result = clear_columns(
        _columns_of(orders), floor_cents_per_mwh=floor_cents_per_mwh, cap_cents_per_mwh=cap_cents_per_mwh
    )
    filled = np.flatnonzero(result.fills_wh)
    fills = zip(filled.tolist(), result.fills_wh[filled].tolist(), strict=True)
    return AuctionResult(
        merged=result.merged,
        any=_named(result.any, uids),
        low_carbon=_named(result.low_carbon, uids),
        fills_wh={uids[position]: fill_wh for position, fill_wh in fills},
        welfare_microcents=result.welfare_microcents,
    )


def clear_columns(columns: AuctionColumns, *, floor_cents_per_mwh: int, cap_cents_per_mwh: int) -> ColumnResult:
    """Clear a book given as columns. Raises as `clear`, but for DuplicateOrder."""
    _check_columns(columns, floor_cents_per_mwh, cap_cents_per_mwh)
    bids, offers = _sorted_sides(columns)
    books = [_book(bids, offers)]
    merged = books[0].low_carbon_suffices()
    if not merged:
        books = [_book(bids.of_kind(low_carbon=kind), offers.of_kind(low_carbon=kind)) for kind in (False, True)]
    fills_wh = np.zeros(len(columns.is_sell), np.int64)
    for book in books:
        fills_wh[book.bids.positions] = book.bid_fills_wh
        fills_wh[book.offers.positions] = book.offer_fills_wh
    prices = [book.price(floor_cents_per_mwh, cap_cents_per_mwh) for book in books]
    return ColumnResult(
        merged=merged,
        any=prices[0],
        low_carbon=prices[-1],
        fills_wh=fills_wh,
        welfare_microcents=sum(book.welfare_microcents() for book in books),
    )


@dataclass(frozen=True, kw_only=True)
class _Marginal:
    """A marginal order: its limit and its position in the columns."""

    limit: int
    position: int


@dataclass(frozen=True, kw_only=True, eq=False)
class _Side:
    """The bids or the offers of a book, best first, ties in receipt order.

    `costs` ascend: the limits of offers, the negated limits of bids. `energy_wh` has one more entry than there are
    orders: what the orders before each one offer together, and at last all of them.
    """

    sign: int
    positions: Integers
    costs: Integers
    low_carbon: Flags
    energy_wh: Integers

    def of_kind(self, *, low_carbon: bool) -> "_Side":
        """Only the orders that are low-carbon, or only the others."""
        kept = np.flatnonzero(self.low_carbon == low_carbon)
        return _Side(
            sign=self.sign,
            positions=self.positions[kept],
            costs=self.costs[kept],
            low_carbon=self.low_carbon[kept],
            energy_wh=_running_total(np.diff(self.energy_wh)[kept]),
        )

    def fills_wh(self, volume_wh: int) -> Integers:
        """What each order gets of a volume, Wh."""
        return np.diff(np.minimum(self.energy_wh, volume_wh))

    def last_filled(self, volume_wh: int) -> _Marginal | None:
        """The last order that gets any of a volume."""
        return self._order(int(np.searchsorted(self.energy_wh, volume_wh, side="left")) - 1)

    def first_open(self, volume_wh: int) -> _Marginal | None:
        """The best order that has energy left after a volume."""
        return self._order(int(np.searchsorted(self.energy_wh, volume_wh, side="right")) - 1)

    def _order(self, index: int) -> _Marginal | None:
        if not 0 <= index < len(self.positions):
            return None
        return _Marginal(limit=self.sign * int(self.costs[index]), position=int(self.positions[index]))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Book:
    """Both sides of one auction after trading."""

    bids: _Side
    offers: _Side
    volume_wh: int
    bid_fills_wh: Integers
    offer_fills_wh: Integers

    def low_carbon_suffices(self) -> bool:
        """Whether the filled low_carbon bids are at most the filled low-carbon offers."""
        bought_wh = np.dot(self.bid_fills_wh, self.bids.low_carbon)
        return bool(bought_wh <= np.dot(self.offer_fills_wh, self.offers.low_carbon))

    def welfare_microcents(self) -> int:
        """What the bids are worth to their owners less what the offers cost theirs; a bid's cost is negative."""
        bid_cost_microcents = _cost_microcents(self.bids.costs, self.bid_fills_wh)
        return -bid_cost_microcents - _cost_microcents(self.offers.costs, self.offer_fills_wh)

    def price(self, floor_cents_per_mwh: int, cap_cents_per_mwh: int) -> PositionPrice:
        """The midpoint of the tightest limits; where two are equal the filled order names the end."""
        sold, bought = self.offers.last_filled(self.volume_wh), self.bids.last_filled(self.volume_wh)
        unsold, unbought = self.offers.first_open(self.volume_wh), self.bids.first_open(self.volume_wh)
        lower = max((end for end in (sold, unbought) if end), key=lambda end: end.limit, default=None)
        upper = min((end for end in (bought, unsold) if end), key=lambda end: end.limit, default=None)
        return PositionPrice(
            price_cents_per_mwh=floor_midpoint(
                lower.limit if lower else floor_cents_per_mwh, upper.limit if upper else cap_cents_per_mwh
            ),
            lower_end=lower.position if lower else None,
            upper_end=upper.position if upper else None,
            volume_wh=self.volume_wh,
        )


def _sorted_sides(columns: AuctionColumns) -> tuple[_Side, _Side]:
    """Bids and offers, sorted as one column of packed integers: side, cost, position. numpy sorts those fastest."""
    bid_count = len(columns.is_sell) - int(np.count_nonzero(columns.is_sell))
    costs = np.where(columns.is_sell, columns.limit_cents_per_mwh, -columns.limit_cents_per_mwh)
    ranks = (columns.is_sell.astype(np.int64) << PRICE_BITS) + (costs + HIGHEST_PRICE_CENTS_PER_MWH)
    keys = (ranks << POSITION_BITS) + np.arange(len(ranks))
    keys.sort()
    positions = keys & (2**POSITION_BITS - 1)
    costs = (keys >> POSITION_BITS & (2**PRICE_BITS - 1)) - HIGHEST_PRICE_CENTS_PER_MWH
    low_carbon, quantity_wh = columns.low_carbon[positions], columns.quantity_wh[positions]

    def side(sign: int, orders: slice) -> _Side:
        return _Side(
            sign=sign,
            positions=positions[orders],
            costs=costs[orders],
            low_carbon=low_carbon[orders],
            energy_wh=_running_total(quantity_wh[orders]),
        )

    return side(-1, slice(bid_count)), side(1, slice(bid_count, None))


def _running_total(quantity_wh: Integers) -> Integers:
    total_wh = np.zeros(len(quantity_wh) + 1, np.int64)
    np.cumsum(quantity_wh, out=total_wh[1:])
    return total_wh


def _book(bids: _Side, offers: _Side) -> _Book:
    """Trade the largest volume whose last Wh is still bid at or above its offer.

    Going up the offers, supply grows and the demand at the offer's limit shrinks; the lesser of both is largest at
    the first offer where supply reaches demand, or just before it.
    """

    def demand_wh(offer: int) -> int:
        return int(bids.energy_wh[np.searchsorted(bids.costs, -offers.costs[offer], side="right")])

    def excess_wh(offer: int) -> int:
        return int(offers.energy_wh[offer + 1]) - demand_wh(offer)

    count = len(offers.positions)
    first = bisect_left(range(count), 0, key=excess_wh)
    volume_wh = max(int(offers.energy_wh[first]), demand_wh(first) if first < count else 0)
    return _Book(
        bids=bids,
        offers=offers,
        volume_wh=volume_wh,
        bid_fills_wh=bids.fills_wh(volume_wh),
        offer_fills_wh=offers.fills_wh(volume_wh),
    )


def _cost_microcents(costs: Integers, fills_wh: Integers) -> int:
    """Sum of cost x fill, exactly: one product can exceed 63 bits, so the fills are multiplied in pieces."""
    pieces = [(fills_wh >> (PIECE_BITS * number)) & (2**PIECE_BITS - 1) for number in range(PIECES)]
    return sum(int(np.dot(costs, piece)) << (PIECE_BITS * number) for number, piece in enumerate(pieces))


def _named(price: PositionPrice, uids: Sequence[str]) -> BookPrice:
    return BookPrice(
        price_cents_per_mwh=price.price_cents_per_mwh,
        lower_end_uid=None if price.lower_end is None else uids[price.lower_end],
        upper_end_uid=None if price.upper_end is None else uids[price.upper_end],
        volume_wh=price.volume_wh,
    )


def _columns_of(orders: Sequence[AuctionOrder]) -> AuctionColumns:
    count = len(orders)
    quantities = [order.quantity_wh for order in orders]
    limits = [order.limit_cents_per_mwh for order in orders]
    return AuctionColumns(
        is_sell=np.fromiter((order.side is Side.SELL for order in orders), np.bool_, count),
        low_carbon=np.fromiter((order.low_carbon for order in orders), np.bool_, count),
        quantity_wh=_int64("quantity_wh", quantities, 0, HIGHEST_QUANTITY_WH),
        limit_cents_per_mwh=_int64(
            "limit_cents_per_mwh", limits, -HIGHEST_PRICE_CENTS_PER_MWH, HIGHEST_PRICE_CENTS_PER_MWH
        ),
    )


def _int64(field: str, values: Sequence[int], lowest: int, highest: int) -> Integers:
    """The values as a column, checked before they could overflow it. Raises OutOfRange."""
    if values:
        check_range(field, min(values), lowest, highest)
        check_range(field, max(values), lowest, highest)
    return np.array(values, np.int64)


def _check_columns(columns: AuctionColumns, floor_cents_per_mwh: int, cap_cents_per_mwh: int) -> None:
    flags, numbers = (columns.is_sell, columns.low_carbon), (columns.quantity_wh, columns.limit_cents_per_mwh)
    assert all(column.shape == (len(columns.is_sell),) for column in (*flags, *numbers)), "columns of one length"
    assert all(column.dtype == np.bool_ for column in flags), "flags are bool"
    assert all(column.dtype == np.int64 for column in numbers), "numbers are int64"
    if len(columns.is_sell) > HIGHEST_ORDER_COUNT:
        raise BookTooLarge(order_count=len(columns.is_sell), highest_order_count=HIGHEST_ORDER_COUNT)
    if floor_cents_per_mwh > cap_cents_per_mwh:
        raise BoundsCrossed(floor_cents_per_mwh=floor_cents_per_mwh, cap_cents_per_mwh=cap_cents_per_mwh)
    if not len(columns.is_sell):
        return
    for quantity_wh in (columns.quantity_wh.min(), columns.quantity_wh.max()):
        check_range("quantity_wh", int(quantity_wh), 0, HIGHEST_QUANTITY_WH)
    for limit in (int(columns.limit_cents_per_mwh.min()), int(columns.limit_cents_per_mwh.max())):
        check_range("limit_cents_per_mwh", limit, -HIGHEST_PRICE_CENTS_PER_MWH, HIGHEST_PRICE_CENTS_PER_MWH)
        if not floor_cents_per_mwh <= limit <= cap_cents_per_mwh:
            raise LimitOutsideBounds(
                limit_cents_per_mwh=limit,
                floor_cents_per_mwh=floor_cents_per_mwh,
                cap_cents_per_mwh=cap_cents_per_mwh,
            )


def _check_unique(uids: Sequence[str]) -> None:
    if len(set(uids)) < len(uids):
        twice = next(uid for uid, count in Counter(uids).items() if count > 1)
        raise DuplicateOrder(uid=twice[:MAX_SHOWN_CHARACTERS])
