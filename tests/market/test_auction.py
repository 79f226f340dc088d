"""The two-product auction: who is filled, at which price, named by whom, with one book or two.

That no allocation is better is judged in test_auction_optimality; here stand the rules one by one, and the plain twin.
"""

from collections.abc import Sequence
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.market.plain_auction import plain_clear

from gridledger.errors import GridLedgerError
from gridledger.market.auction import (
    HIGHEST_ORDER_COUNT,
    HIGHEST_PRICE_CENTS_PER_MWH,
    HIGHEST_QUANTITY_WH,
    AuctionColumns,
    AuctionOrder,
    AuctionResult,
    BookPrice,
    BookTooLarge,
    BoundsCrossed,
    DuplicateOrder,
    clear,
    clear_columns,
)
from gridledger.market.errors import LimitOutsideBounds
from gridledger.market.model import Side
from gridledger.units import OutOfRange

FLOOR, CAP = -5, 6


def buy(uid: str, quantity_wh: int, limit: int, *, low_carbon: bool = False) -> AuctionOrder:
    return AuctionOrder(
        uid=uid, side=Side.BUY, low_carbon=low_carbon, quantity_wh=quantity_wh, limit_cents_per_mwh=limit
    )


def sell(uid: str, quantity_wh: int, limit: int, *, low_carbon: bool = False) -> AuctionOrder:
    return replace(buy(uid, quantity_wh, limit, low_carbon=low_carbon), side=Side.SELL)


def green_buy(uid: str, quantity_wh: int, limit: int) -> AuctionOrder:
    return buy(uid, quantity_wh, limit, low_carbon=True)


def green_sell(uid: str, quantity_wh: int, limit: int) -> AuctionOrder:
    return sell(uid, quantity_wh, limit, low_carbon=True)


def books(most_orders: int, most_wh: int, least_wh: int = 1) -> st.SearchStrategy[list[AuctionOrder]]:
    rows = st.tuples(
        st.sampled_from((buy, sell)), st.integers(least_wh, most_wh), st.integers(FLOOR, CAP), st.booleans()
    )
    return st.lists(rows, max_size=most_orders).map(
        lambda found: [
            make(f"{index}", quantity_wh, limit, low_carbon=low_carbon)
            for index, (make, quantity_wh, limit, low_carbon) in enumerate(found)
        ]
    )


any_book = books(30, 50)


def cleared(book: Sequence[AuctionOrder]) -> AuctionResult:
    return clear(book, floor_cents_per_mwh=FLOOR, cap_cents_per_mwh=CAP)


def parts(book: Sequence[AuctionOrder], result: AuctionResult) -> list[tuple[list[AuctionOrder], BookPrice]]:
    """The orders that traded together, with their price."""
    if result.merged:
        return [(list(book), result.any)]
    return [
        ([one for one in book if not one.low_carbon], result.any),
        ([one for one in book if one.low_carbon], result.low_carbon),
    ]


def filled_wh(result: AuctionResult, orders: Sequence[AuctionOrder], side: Side) -> int:
    return sum(result.fills_wh.get(one.uid, 0) for one in orders if one.side is side)


# --- properties ---------------------------------------------------------------------------------------------------


@settings(max_examples=500, deadline=None)
@given(books(30, 50, least_wh=0))
def test_the_result_is_the_plain_twin_s(book: list[AuctionOrder]) -> None:
    assert cleared(book) == plain_clear(book, FLOOR, CAP)


@settings(max_examples=300, deadline=None)
@given(any_book)
def test_what_is_bought_is_sold_and_low_carbon_energy_is_never_sold_short(book: list[AuctionOrder]) -> None:
    result = cleared(book)
    green = [one for one in book if one.low_carbon]
    for orders, price in parts(book, result):
        bought_wh = filled_wh(result, orders, Side.BUY)
        assert bought_wh == filled_wh(result, orders, Side.SELL) == price.volume_wh
    assert filled_wh(result, green, Side.BUY) <= filled_wh(result, green, Side.SELL)
    assert result.merged or filled_wh(result, green, Side.BUY) == filled_wh(result, green, Side.SELL)


@settings(max_examples=300, deadline=None)
@given(any_book)
def test_every_filled_order_s_limit_holds_and_every_strictly_better_order_is_filled(book: list[AuctionOrder]) -> None:
    result = cleared(book)
    for orders, price in parts(book, result):
        for one in orders:
            gain = one.limit_cents_per_mwh - price.price_cents_per_mwh
            gain = gain if one.side is Side.BUY else -gain
            fill_wh = result.fills_wh.get(one.uid, 0)
            assert 0 <= fill_wh <= one.quantity_wh
            assert gain >= 0 or fill_wh == 0
            assert gain <= 0 or fill_wh == one.quantity_wh


@settings(max_examples=300, deadline=None)
@given(any_book)
def test_no_price_trades_more_energy(book: list[AuctionOrder]) -> None:
    result = cleared(book)
    for orders, price in parts(book, result):

        def tradable_wh(at: int, orders: list[AuctionOrder] = orders) -> int:
            demand = sum(o.quantity_wh for o in orders if o.side is Side.BUY and o.limit_cents_per_mwh >= at)
            supply = sum(o.quantity_wh for o in orders if o.side is Side.SELL and o.limit_cents_per_mwh <= at)
            return min(demand, supply)

        assert price.volume_wh == max(tradable_wh(at) for at in range(FLOOR, CAP + 1))
        assert price.volume_wh == tradable_wh(price.price_cents_per_mwh)


@settings(max_examples=300, deadline=None)
@given(any_book)
def test_the_named_ends_are_the_tightest_limits_and_the_price_their_floored_midpoint(book: list[AuctionOrder]) -> None:
    result = cleared(book)
    for orders, price in parts(book, result):
        by_uid = {one.uid: one for one in orders}

        def bites(one: AuctionOrder, end: Side) -> bool:
            """A filled order of the end's own side, or an order of the other side with energy left."""
            fill_wh = result.fills_wh.get(one.uid, 0)
            return fill_wh > 0 if one.side is end else fill_wh < one.quantity_wh

        lower = max((one.limit_cents_per_mwh for one in orders if bites(one, Side.SELL)), default=FLOOR)
        upper = min((one.limit_cents_per_mwh for one in orders if bites(one, Side.BUY)), default=CAP)
        assert lower <= upper
        assert price.price_cents_per_mwh == (lower + upper) // 2
        for uid, bound, end in ((price.lower_end_uid, lower, Side.SELL), (price.upper_end_uid, upper, Side.BUY)):
            if uid is None:
                assert not any(bites(one, end) for one in orders)
            else:
                assert by_uid[uid].limit_cents_per_mwh == bound
                assert bites(by_uid[uid], end)


@settings(max_examples=300, deadline=None)
@given(any_book)
def test_low_carbon_energy_is_never_cheaper(book: list[AuctionOrder]) -> None:
    result = cleared(book)
    assert result.low_carbon.price_cents_per_mwh >= result.any.price_cents_per_mwh
    assert not result.merged or result.low_carbon == result.any


@settings(max_examples=300, deadline=None)
@given(any_book)
def test_the_books_part_only_where_one_book_would_sell_low_carbon_energy_short(book: list[AuctionOrder]) -> None:
    blind = [replace(one, low_carbon=one.side is Side.SELL) for one in book]  # every offer serves every bid
    together = cleared(blind)
    assert together.merged
    green = [one for one in book if one.low_carbon]
    suffices = filled_wh(together, green, Side.BUY) <= filled_wh(together, green, Side.SELL)
    assert cleared(book).merged is suffices


@settings(max_examples=300, deadline=None)
@given(any_book)
def test_between_equal_limits_the_earlier_receipt_is_filled_first(book: list[AuctionOrder]) -> None:
    result = cleared(book)
    for orders, _ in parts(book, result):
        for index, later in enumerate(orders):
            for earlier in orders[:index]:
                same = (earlier.side, earlier.limit_cents_per_mwh) == (later.side, later.limit_cents_per_mwh)
                filled = result.fills_wh.get(earlier.uid, 0) == earlier.quantity_wh
                assert not same or later.uid not in result.fills_wh or filled


@settings(max_examples=300, deadline=None)
@given(any_book)
def test_at_most_one_order_of_each_side_of_a_book_is_partly_filled(book: list[AuctionOrder]) -> None:
    result = cleared(book)
    for orders, _ in parts(book, result):
        partly = [one.side for one in orders if 0 < result.fills_wh.get(one.uid, 0) < one.quantity_wh]
        assert len(set(partly)) == len(partly) <= 1


@settings(max_examples=200, deadline=None)
@given(any_book, st.randoms(use_true_random=False))
def test_receipt_order_decides_ties_but_neither_welfare_nor_volume(book: list[AuctionOrder], random: Random) -> None:
    first = cleared(book)
    shuffled = list(book)
    random.shuffle(shuffled)
    other = cleared(shuffled)
    assert other.welfare_microcents == first.welfare_microcents
    assert filled_wh(other, book, Side.BUY) == filled_wh(first, book, Side.BUY)


@settings(max_examples=200, deadline=None)
@given(any_book, st.integers(-HIGHEST_PRICE_CENTS_PER_MWH - FLOOR, HIGHEST_PRICE_CENTS_PER_MWH - CAP))
def test_shifting_all_prices_shifts_the_result(book: list[AuctionOrder], shift: int) -> None:
    moved = [replace(one, limit_cents_per_mwh=one.limit_cents_per_mwh + shift) for one in book]

    def shifted(price: BookPrice) -> BookPrice:
        return replace(price, price_cents_per_mwh=price.price_cents_per_mwh + shift)

    first = cleared(book)
    other = clear(moved, floor_cents_per_mwh=FLOOR + shift, cap_cents_per_mwh=CAP + shift)
    assert other == replace(first, any=shifted(first.any), low_carbon=shifted(first.low_carbon))


@settings(max_examples=200, deadline=None)
@given(any_book)
def test_fills_name_filled_orders_only_in_receipt_order(book: list[AuctionOrder]) -> None:
    fills_wh = cleared(book).fills_wh
    assert all(fill_wh > 0 for fill_wh in fills_wh.values())
    assert list(fills_wh) == [one.uid for one in book if one.uid in fills_wh]


# --- one book -----------------------------------------------------------------------------------------------------


def test_one_pair_trades_the_smaller_quantity_at_the_open_order_s_limit() -> None:
    book = [sell("s", 600, 10_000), buy("b", 400, 20_001)]
    price = BookPrice(price_cents_per_mwh=10_000, lower_end_uid="s", upper_end_uid="s", volume_wh=400)
    assert clear(book, floor_cents_per_mwh=0, cap_cents_per_mwh=30_000) == AuctionResult(
        merged=True, any=price, low_carbon=price, fills_wh={"s": 400, "b": 400}, welfare_microcents=400 * 10_001
    )


def test_a_fully_matched_pair_trades_at_the_midpoint_of_both_limits() -> None:
    price = cleared([buy("b", 5, 4), sell("s", 5, 1)]).any
    assert (price.price_cents_per_mwh, price.lower_end_uid, price.upper_end_uid) == (2, "s", "b")


def test_an_unfilled_order_inside_the_filled_limits_names_the_end() -> None:
    price = cleared([sell("s", 5, -4), buy("b", 5, 6), buy("left", 1, 0), sell("rest", 1, 3)]).any
    assert (price.lower_end_uid, price.upper_end_uid, price.price_cents_per_mwh) == ("left", "rest", 1)
    assert price.volume_wh == 5


def test_of_equal_limits_the_last_filled_order_names_the_end() -> None:
    price = cleared([sell("s1", 2, 1), sell("s2", 2, 1), buy("b", 4, 4), buy("open", 3, 1)]).any
    assert price.lower_end_uid == "s2"
    price = cleared([buy("b1", 2, 3), buy("b2", 2, 3), sell("s", 4, 0), sell("open", 3, 3)]).any
    assert price.upper_end_uid == "b2"


def test_touching_limits_trade_although_nobody_gains() -> None:
    result = cleared([buy("b", 3, 2), sell("s", 3, 2)])
    assert (result.any.volume_wh, result.any.price_cents_per_mwh, result.welfare_microcents) == (3, 2, 0)


def test_negative_prices_clear_and_the_midpoint_rounds_toward_minus_infinity() -> None:
    result = cleared([buy("b", 3, -1), sell("s", 3, -4)])
    assert (result.any.volume_wh, result.any.price_cents_per_mwh, result.welfare_microcents) == (3, -3, 9)


def test_a_price_of_zero_is_a_price() -> None:
    result = cleared([buy("b", 3, 0), sell("s", 3, 0)])
    assert (result.any.volume_wh, result.any.price_cents_per_mwh, result.any.upper_end_uid) == (3, 0, "b")


def test_the_earlier_of_two_equal_offers_sells_first() -> None:
    assert cleared([sell("s1", 4, 1), sell("s2", 4, 1), buy("b", 5, 3)]).fills_wh == {"s1": 4, "s2": 1, "b": 5}
    assert cleared([sell("s2", 4, 1), sell("s1", 4, 1), buy("b", 5, 3)]).fills_wh == {"s2": 4, "s1": 1, "b": 5}


def test_the_earlier_of_two_equal_bids_buys_first() -> None:
    assert cleared([buy("b1", 4, 3), buy("b2", 4, 3), sell("s", 5, 1)]).fills_wh == {"b1": 4, "b2": 1, "s": 5}


@pytest.mark.parametrize(
    ("book", "price", "ends"),
    [
        ([], 0, (None, None)),
        ([buy("b", 1, 3)], 4, ("b", None)),
        ([sell("s", 1, 3)], -1, (None, "s")),
        ([buy("b", 1, 1), sell("s", 1, 4)], 2, ("b", "s")),
        ([buy("low", 1, 1), buy("high", 1, 2)], 4, ("high", None)),
        ([green_buy("b", 1, 1), sell("s", 1, 4)], 2, ("b", "s")),
    ],
    ids=["empty", "bids only", "offers only", "limits that do not meet", "the best of several", "two products"],
)
def test_without_a_trade_the_price_still_follows_from_the_best_orders(
    book: list[AuctionOrder], price: int, ends: tuple[str | None, str | None]
) -> None:
    result = cleared(book)
    assert (result.merged, result.fills_wh, result.welfare_microcents) == (True, {}, 0)
    assert result.any == result.low_carbon
    assert result.any == BookPrice(price_cents_per_mwh=price, lower_end_uid=ends[0], upper_end_uid=ends[1], volume_wh=0)


def test_an_order_without_energy_changes_nothing() -> None:
    book = [sell("s", 5, 1), green_buy("b", 5, 4)]
    nothing = [buy("none", 0, 6), green_sell("nothing", 0, -5), sell("empty", 0, 1), green_buy("void", 0, 4)]
    for position in range(3):
        assert cleared([*book[:position], *nothing, *book[position:]]) == cleared(book)


# --- two books ----------------------------------------------------------------------------------------------------


def test_one_book_stands_while_its_low_carbon_offers_cover_the_low_carbon_bids() -> None:
    result = cleared([green_sell("g", 5, 0), sell("s", 5, 1), green_buy("gb", 5, 6), buy("b", 5, 5)])
    assert result.merged
    assert result.any == result.low_carbon
    assert result.any == BookPrice(price_cents_per_mwh=3, lower_end_uid="s", upper_end_uid="b", volume_wh=10)


def test_low_carbon_offers_serve_any_bid_too() -> None:
    result = cleared([green_sell("g", 9, 0), green_buy("gb", 2, 6), buy("b", 5, 5)])
    assert result.merged
    assert result.fills_wh == {"g": 7, "gb": 2, "b": 5}


def test_scarce_low_carbon_energy_gets_its_own_higher_price() -> None:
    result = cleared([green_sell("g", 5, 2), sell("s", 9, -4), green_buy("gb", 8, 6), buy("b", 5, 0)])
    assert not result.merged
    assert result.low_carbon == BookPrice(price_cents_per_mwh=6, lower_end_uid="gb", upper_end_uid="gb", volume_wh=5)
    assert result.any == BookPrice(price_cents_per_mwh=-4, lower_end_uid="s", upper_end_uid="s", volume_wh=5)
    assert result.fills_wh == {"g": 5, "s": 5, "gb": 5, "b": 5}
    assert result.welfare_microcents == 5 * (6 - 2) + 5 * (0 - -4)


def test_a_low_carbon_bid_without_a_low_carbon_offer_stays_unfilled() -> None:
    result = cleared([sell("s", 5, -4), green_buy("gb", 5, 6), buy("b", 2, 1)])
    assert not result.merged
    assert result.fills_wh == {"s": 2, "b": 2}
    assert result.low_carbon == BookPrice(price_cents_per_mwh=6, lower_end_uid="gb", upper_end_uid=None, volume_wh=0)


def test_both_books_may_have_no_volume_after_parting() -> None:
    result = cleared([sell("s", 5, -4), green_buy("gb", 5, 6)])
    assert (result.merged, result.fills_wh, result.welfare_microcents) == (False, {}, 0)
    assert (result.any.lower_end_uid, result.any.upper_end_uid) == (None, "s")
    assert (result.low_carbon.lower_end_uid, result.low_carbon.upper_end_uid) == ("gb", None)


def test_parted_books_name_ends_among_their_own_orders() -> None:
    book = [green_sell("g", 5, 2), sell("s", 5, -4), green_buy("gb", 6, 6), buy("b", 5, 0), buy("b2", 5, -1)]
    result = cleared(book)
    assert not result.merged
    kinds = {one.uid: one.low_carbon for one in book}
    assert [kinds[uid] for uid in (result.any.lower_end_uid, result.any.upper_end_uid) if uid] == [False, False]
    assert result.any.lower_end_uid == "b2"
    assert [kinds[uid] for uid in (result.low_carbon.lower_end_uid, result.low_carbon.upper_end_uid) if uid] == [
        True,
        True,
    ]


# --- size and bounds ----------------------------------------------------------------------------------------------


def columns(is_sell: list[bool], quantity_wh: list[int], limit: list[int]) -> AuctionColumns:
    return AuctionColumns(
        is_sell=np.array(is_sell, np.bool_),
        low_carbon=np.zeros(len(is_sell), np.bool_),
        quantity_wh=np.array(quantity_wh, np.int64),
        limit_cents_per_mwh=np.array(limit, np.int64),
    )


def test_welfare_is_exact_where_one_product_of_price_and_energy_exceeds_63_bits() -> None:
    random = Random(3)
    price = HIGHEST_PRICE_CENTS_PER_MWH
    book = [
        make(f"{index}", HIGHEST_QUANTITY_WH - random.randint(0, 10**9), sign * (price - random.randint(0, 99)))
        for index, (make, sign) in enumerate([(buy, 1), (sell, -1)] * 150)
    ]
    result = clear(book, floor_cents_per_mwh=-price, cap_cents_per_mwh=price)
    assert result == plain_clear(book, -price, price)
    assert result.welfare_microcents > 2**71


def test_the_largest_book_of_the_largest_orders_overflows_nowhere() -> None:
    half, price = HIGHEST_ORDER_COUNT // 2, HIGHEST_PRICE_CENTS_PER_MWH
    book = columns([False] * half + [True] * half, [HIGHEST_QUANTITY_WH] * (2 * half), [price] * half + [-price] * half)
    result = clear_columns(book, floor_cents_per_mwh=-price, cap_cents_per_mwh=price)
    assert result.any.volume_wh == half * HIGHEST_QUANTITY_WH
    assert result.any.price_cents_per_mwh == 0
    assert (result.any.lower_end, result.any.upper_end) == (2 * half - 1, half - 1)
    assert (result.fills_wh == HIGHEST_QUANTITY_WH).all()
    assert result.welfare_microcents == half * HIGHEST_QUANTITY_WH * 2 * price


def test_a_book_with_one_order_too_many_is_refused() -> None:
    count = HIGHEST_ORDER_COUNT + 1
    with pytest.raises(BookTooLarge) as refusal:
        clear_columns(
            columns([False] * count, [1] * count, [0] * count), floor_cents_per_mwh=FLOOR, cap_cents_per_mwh=CAP
        )
    assert refusal.value.values() == {"order_count": count, "highest_order_count": HIGHEST_ORDER_COUNT}


def test_ten_thousand_random_orders_clear_as_the_plain_twin_clears_them() -> None:
    random = Random(7)
    book = [
        random.choice((buy, sell))(
            f"{index}", random.randint(1, 10_000), random.randint(-500, 600), low_carbon=random.random() < 0.5
        )
        for index in range(10_000)
    ]
    for one_more in ([], [green_buy("more", 10**8, 600)]):  # the second cannot be served from one book
        result = clear([*book, *one_more], floor_cents_per_mwh=-500, cap_cents_per_mwh=600)
        assert result == plain_clear([*book, *one_more], -500, 600)
        assert result.any.volume_wh > 10**6
        assert result.merged is not bool(one_more)


@pytest.mark.parametrize(
    ("book", "error", "values"),
    [
        ([buy("b", -1, 0)], OutOfRange, {"field": "quantity_wh", "value": -1}),
        ([buy("b", HIGHEST_QUANTITY_WH + 1, 0)], OutOfRange, {"value": HIGHEST_QUANTITY_WH + 1}),
        ([sell("s", 10**30, 0)], OutOfRange, {"field": "quantity_wh", "value": 10**30}),
        ([sell("s", 1, -(10**30))], OutOfRange, {"field": "limit_cents_per_mwh", "value": -(10**30)}),
        ([sell("s", 1, 10_000_001)], OutOfRange, {"field": "limit_cents_per_mwh", "value": 10_000_001}),
        ([buy("b", 1, CAP + 1)], LimitOutsideBounds, {"limit_cents_per_mwh": CAP + 1, "cap_cents_per_mwh": CAP}),
        ([sell("s", 1, FLOOR - 1)], LimitOutsideBounds, {"limit_cents_per_mwh": FLOOR - 1}),
        ([buy("same", 1, 0), sell("other", 1, 0), sell("same", 2, 1)], DuplicateOrder, {"uid": "same"}),
    ],
)
def test_a_book_with_a_wrong_order_is_refused_with_the_failing_values(
    book: list[AuctionOrder], error: type[GridLedgerError], values: dict[str, object]
) -> None:
    with pytest.raises(error) as refusal:
        cleared([sell("first", 5, 0), *book])
    assert refusal.value.values().items() >= values.items()


@pytest.mark.parametrize(("quantity_wh", "limit"), [(-1, 0), (2**41, 0), (1, 10_000_001), (1, -(2**62))])
def test_columns_outside_their_range_are_refused(quantity_wh: int, limit: int) -> None:
    with pytest.raises(OutOfRange):
        clear_columns(columns([True], [quantity_wh], [limit]), floor_cents_per_mwh=-(2**62), cap_cents_per_mwh=2**62)


def test_columns_of_another_type_or_length_are_a_programming_error() -> None:
    book = columns([True, False], [1, 1], [0, 0])
    for wrong in (
        replace(book, quantity_wh=np.array([1.5, 1.0])),
        replace(book, limit_cents_per_mwh=np.array([0])),
        replace(book, low_carbon=np.array([1, 0])),
    ):
        with pytest.raises(AssertionError):
            clear_columns(wrong, floor_cents_per_mwh=FLOOR, cap_cents_per_mwh=CAP)


def test_a_floor_above_the_cap_is_refused() -> None:
    with pytest.raises(BoundsCrossed):
        clear([], floor_cents_per_mwh=1, cap_cents_per_mwh=0)


def test_the_book_s_columns_are_not_changed_and_give_the_same_result_again() -> None:
    random = np.random.default_rng(5)
    book = AuctionColumns(
        is_sell=random.random(1_000) < 0.5,
        low_carbon=random.random(1_000) < 0.5,
        quantity_wh=random.integers(0, 50, 1_000, dtype=np.int64),
        limit_cents_per_mwh=random.integers(FLOOR, CAP + 1, 1_000, dtype=np.int64),
    )
    for column in (book.is_sell, book.low_carbon, book.quantity_wh, book.limit_cents_per_mwh):
        column.setflags(write=False)
    first = clear_columns(book, floor_cents_per_mwh=FLOOR, cap_cents_per_mwh=CAP)
    again = clear_columns(book, floor_cents_per_mwh=FLOOR, cap_cents_per_mwh=CAP)
    assert first.fills_wh.any()
    assert (first.fills_wh == again.fills_wh).all()
    assert (first.any, first.low_carbon) == (again.any, again.low_carbon)
