"""The auction: no allocation has more welfare, none of those more volume, and the price is the named midpoint.

The judge is exhaustive: every way of filling a small book in whole Wh is tried.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import product
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridledger.market.clearing import AuctionOrder, clear
from gridledger.market.model import Clearing, Match, Side

FLOOR, CAP = -5, 6
limits = st.integers(FLOOR, CAP)


def order(uid: str, side: Side, quantity_wh: int, limit: int) -> AuctionOrder:
    return AuctionOrder(uid=uid, side=side, quantity_wh=quantity_wh, limit_cents_per_mwh=limit)


def buy(uid: str, quantity_wh: int, limit: int) -> AuctionOrder:
    return order(uid, Side.BUY, quantity_wh, limit)


def sell(uid: str, quantity_wh: int, limit: int) -> AuctionOrder:
    return order(uid, Side.SELL, quantity_wh, limit)


def books(most_orders: int, most_wh: int) -> st.SearchStrategy[list[AuctionOrder]]:
    rows = st.tuples(st.sampled_from(Side), st.integers(1, most_wh), limits)
    return st.lists(rows, max_size=most_orders).map(
        lambda found: [order(f"{index}", *row) for index, row in enumerate(found)]
    )


small_books, large_books = books(5, 3), books(30, 50)


def cleared(book: Sequence[AuctionOrder]) -> Clearing:
    return clear(book, floor_cents_per_mwh=FLOOR, cap_cents_per_mwh=CAP)


def fills_of(clearing: Clearing) -> Counter[str]:
    fills: Counter[str] = Counter()
    for match in clearing.matches:
        fills[match.sell_uid] += match.energy_wh
        fills[match.buy_uid] += match.energy_wh
    return fills


def welfare_of(book: Sequence[AuctionOrder], fills: Sequence[int]) -> int:
    signs = [1 if one.side is Side.BUY else -1 for one in book]
    return sum(sign * one.limit_cents_per_mwh * fill for sign, one, fill in zip(signs, book, fills, strict=True))


def best_of(book: Sequence[AuctionOrder]) -> tuple[int, int]:
    """The greatest welfare and, among the allocations that reach it, the greatest volume."""
    best = (0, 0)
    for fills in product(*(range(one.quantity_wh + 1) for one in book)):
        bought = sum(fill for one, fill in zip(book, fills, strict=True) if one.side is Side.BUY)
        if 2 * bought == sum(fills):
            best = max(best, (welfare_of(book, fills), bought))
    return best


@settings(max_examples=300, deadline=None)
@given(small_books)
def test_no_allocation_has_more_welfare_and_none_of_the_best_more_volume(book: list[AuctionOrder]) -> None:
    clearing = cleared(book)
    fills = fills_of(clearing)
    welfare = welfare_of(book, [fills[one.uid] for one in book])
    assert (welfare, clearing.traded_wh) == best_of(book)


@settings(max_examples=300, deadline=None)
@given(large_books)
def test_no_price_trades_more_energy(book: list[AuctionOrder]) -> None:
    def tradable_wh(price: int) -> int:
        demand = sum(one.quantity_wh for one in book if one.side is Side.BUY and one.limit_cents_per_mwh >= price)
        supply = sum(one.quantity_wh for one in book if one.side is Side.SELL and one.limit_cents_per_mwh <= price)
        return min(demand, supply)

    clearing = cleared(book)
    assert clearing.traded_wh == max(tradable_wh(price) for price in range(FLOOR, CAP + 1))
    assert clearing.traded_wh == tradable_wh(clearing.price_cents_per_mwh)


@settings(max_examples=300, deadline=None)
@given(large_books)
def test_every_filled_order_s_limit_holds_and_every_strictly_better_order_is_filled(book: list[AuctionOrder]) -> None:
    clearing = cleared(book)
    fills, price = fills_of(clearing), clearing.price_cents_per_mwh
    for one in book:
        gain = one.limit_cents_per_mwh - price if one.side is Side.BUY else price - one.limit_cents_per_mwh
        assert 0 <= fills[one.uid] <= one.quantity_wh
        assert gain >= 0 or fills[one.uid] == 0
        assert gain <= 0 or fills[one.uid] == one.quantity_wh


@settings(max_examples=300, deadline=None)
@given(large_books)
def test_the_named_ends_are_the_tightest_limits_and_the_price_their_floored_midpoint(book: list[AuctionOrder]) -> None:
    clearing = cleared(book)
    fills = fills_of(clearing)
    by_uid = {one.uid: one for one in book}

    def pushes_up(one: AuctionOrder) -> bool:
        return fills[one.uid] > 0 if one.side is Side.SELL else fills[one.uid] < one.quantity_wh

    def pulls_down(one: AuctionOrder) -> bool:
        return fills[one.uid] > 0 if one.side is Side.BUY else fills[one.uid] < one.quantity_wh

    lower = max((one.limit_cents_per_mwh for one in book if pushes_up(one)), default=FLOOR)
    upper = min((one.limit_cents_per_mwh for one in book if pulls_down(one)), default=CAP)
    assert lower <= upper
    assert clearing.price_cents_per_mwh == (lower + upper) // 2
    for uid, bound, bites in (
        (clearing.lower_end_uid, lower, pushes_up),
        (clearing.upper_end_uid, upper, pulls_down),
    ):
        if uid is None:
            assert not any(bites(one) for one in book)
        else:
            assert by_uid[uid].limit_cents_per_mwh == bound
            assert bites(by_uid[uid])


@settings(max_examples=300, deadline=None)
@given(large_books)
def test_between_equal_limits_the_earlier_receipt_is_filled_first(book: list[AuctionOrder]) -> None:
    fills = fills_of(cleared(book))
    for index, later in enumerate(book):
        for earlier in book[:index]:
            same = (earlier.side, earlier.limit_cents_per_mwh) == (later.side, later.limit_cents_per_mwh)
            assert not same or fills[later.uid] == 0 or fills[earlier.uid] == earlier.quantity_wh


@settings(max_examples=200, deadline=None)
@given(large_books, st.randoms(use_true_random=False))
def test_the_same_book_gives_the_same_result_and_its_order_decides_only_ties(
    book: list[AuctionOrder], random: Random
) -> None:
    first = cleared(book)
    assert cleared(list(book)) == first
    shuffled = list(book)
    random.shuffle(shuffled)
    other = cleared(shuffled)
    assert (other.price_cents_per_mwh, other.traded_wh) == (first.price_cents_per_mwh, first.traded_wh)


@settings(max_examples=200, deadline=None)
@given(large_books, st.integers(-(10**9), 10**9))
def test_shifting_all_prices_shifts_the_result(book: list[AuctionOrder], shift: int) -> None:
    moved = [order(one.uid, one.side, one.quantity_wh, one.limit_cents_per_mwh + shift) for one in book]
    first = cleared(book)
    other = clear(moved, floor_cents_per_mwh=FLOOR + shift, cap_cents_per_mwh=CAP + shift)
    assert other.matches == first.matches
    assert other.price_cents_per_mwh == first.price_cents_per_mwh + shift
    assert (other.lower_end_uid, other.upper_end_uid) == (first.lower_end_uid, first.upper_end_uid)


@settings(max_examples=200, deadline=None)
@given(large_books)
def test_every_match_has_energy_between_an_offer_and_a_bid_and_no_pair_is_named_twice(
    book: list[AuctionOrder],
) -> None:
    clearing = cleared(book)
    sides = {one.uid: one.side for one in book}
    assert all(match.energy_wh > 0 for match in clearing.matches)
    assert all(sides[match.sell_uid] is Side.SELL for match in clearing.matches)
    assert all(sides[match.buy_uid] is Side.BUY for match in clearing.matches)
    assert len({(match.sell_uid, match.buy_uid) for match in clearing.matches}) == len(clearing.matches)
    assert len(clearing.matches) < max(1, len(book))


def test_one_pair_trades_the_smaller_quantity_at_the_midpoint_of_the_open_order_and_the_filled_one() -> None:
    clearing = clear([sell("s", 600, 10_000), buy("b", 400, 20_001)], floor_cents_per_mwh=0, cap_cents_per_mwh=30_000)
    assert clearing == Clearing(
        price_cents_per_mwh=10_000,
        lower_end_uid="s",
        upper_end_uid="s",
        matches=(Match(sell_uid="s", buy_uid="b", energy_wh=400),),
    )


def test_a_fully_matched_pair_trades_at_the_midpoint_of_both_limits() -> None:
    clearing = clear([buy("b", 5, 4), sell("s", 5, 1)], floor_cents_per_mwh=FLOOR, cap_cents_per_mwh=CAP)
    assert (clearing.price_cents_per_mwh, clearing.lower_end_uid, clearing.upper_end_uid) == (2, "s", "b")


def test_an_unfilled_order_inside_the_filled_limits_names_the_end() -> None:
    clearing = cleared([sell("s", 5, -4), buy("b", 5, 6), buy("left", 1, 0), sell("rest", 1, 3)])
    assert (clearing.lower_end_uid, clearing.upper_end_uid, clearing.price_cents_per_mwh) == ("left", "rest", 1)
    assert clearing.traded_wh == 5


def test_touching_limits_trade() -> None:
    clearing = cleared([buy("b", 3, 2), sell("s", 3, 2)])
    assert (clearing.traded_wh, clearing.price_cents_per_mwh) == (3, 2)


def test_negative_prices_clear_and_round_toward_minus_infinity() -> None:
    clearing = cleared([buy("b", 3, -1), sell("s", 3, -4)])
    assert (clearing.traded_wh, clearing.price_cents_per_mwh) == (3, -3)


def test_a_price_of_zero_is_a_price() -> None:
    clearing = cleared([buy("b", 3, 0), sell("s", 3, 0)])
    assert (clearing.traded_wh, clearing.price_cents_per_mwh) == (3, 0)


@pytest.mark.parametrize(
    ("book", "price", "ends"),
    [
        ([], 0, (None, None)),
        ([buy("b", 1, 3)], 4, ("b", None)),
        ([sell("s", 1, 3)], -1, (None, "s")),
        ([buy("b", 1, 1), sell("s", 1, 4)], 2, ("b", "s")),
        ([buy("low", 1, 1), buy("high", 1, 2)], 4, ("high", None)),
    ],
    ids=["empty", "bids only", "offers only", "limits that do not meet", "the best of several"],
)
def test_without_a_trade_the_price_still_follows_from_the_best_orders(
    book: list[AuctionOrder], price: int, ends: tuple[str | None, str | None]
) -> None:
    clearing = cleared(book)
    assert clearing.matches == ()
    assert (clearing.price_cents_per_mwh, (clearing.lower_end_uid, clearing.upper_end_uid)) == (price, ends)


def test_an_order_without_energy_changes_nothing() -> None:
    book = [sell("s", 5, 1), buy("b", 5, 4)]
    assert cleared([buy("none", 0, 6), *book, sell("nothing", 0, -5)]) == cleared(book)


def test_a_book_of_ten_thousand_orders_balances() -> None:
    random = Random(7)
    book = [
        order(f"{index}", random.choice((Side.BUY, Side.SELL)), random.randint(1, 10_000), random.randint(-5, 6))
        for index in range(10_000)
    ]
    clearing = cleared(book)
    fills = fills_of(clearing)
    assert clearing.traded_wh > 0
    assert sum(fills[one.uid] for one in book if one.side is Side.BUY) == clearing.traded_wh
    assert sum(fills[one.uid] for one in book if one.side is Side.SELL) == clearing.traded_wh
