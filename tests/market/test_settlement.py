"""Money of locking and settling: nothing divides, the lock covers everything the escrow pays, sums are zero."""

from collections import defaultdict
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.market.fakes import SUPPLIER

from gridledger.market.model import Position, Side, Trade
from gridledger.market.settlement import (
    buyer_lock_microcents,
    grid_fee_microcents,
    imbalance_microcents,
    position_cash,
    reward_trades,
    seller_lock_microcents,
    served_wh,
    settle_positions,
    worst_case_microcents,
)

prices = st.integers(-(2**24), 2**24)
energies = st.integers(0, 2**24)
offsets = st.integers(0, 2**20)


def position(contracted_wh: int, metered_wh: int = 0, *, settled: bool = False, **changes: int) -> Position:
    return Position(
        meter=changes.get("meter", 1),
        source=changes.get("source", 1),
        settled=settled,
        owner="0x" + "aa" * 20,
        supplier=SUPPLIER,
        contracted_wh=contracted_wh,
        metered_wh=metered_wh,
        locked_microcents=changes.get("locked", 0),
        fee_microcents=changes.get("fee", 0),
    )


@pytest.mark.parametrize(("price", "expected"), [(15_000, 9_000_000), (0, 0), (-15_000, 0)])
def test_a_buyer_locks_the_price_and_never_less_than_nothing(price: int, expected: int) -> None:
    assert buyer_lock_microcents(600, price) == expected


@pytest.mark.parametrize(
    ("price", "shortage", "expected"),
    [
        (15_000, 32_500, 600 * 17_500),
        (32_500, 32_500, 0),
        (40_000, 32_500, 0),
        (-5_000, 32_500, 600 * (5_000 + 37_500)),
        (-5_000, -6_000, 600 * 5_000),
        (0, 0, 0),
    ],
)
def test_a_seller_locks_a_negative_price_and_the_way_up_to_the_shortage_price(
    price: int, shortage: int, expected: int
) -> None:
    assert seller_lock_microcents(600, price, shortage) == expected


def test_low_carbon_energy_pays_the_fee_less_its_relief() -> None:
    assert grid_fee_microcents(600, 2_000, 1_500, low_carbon=True) == 600 * 500
    assert grid_fee_microcents(600, 2_000, 1_500, low_carbon=False) == 600 * 2_000


@settings(deadline=None)
@given(energies, prices, prices, offsets, offsets)
def test_no_price_an_order_s_limit_allows_locks_more_than_its_worst_case(
    energy_wh: int, limit: int, price: int, fee: int, above_cap: int
) -> None:
    shortage = max(limit, price) + above_cap
    bid = worst_case_microcents(Side.BUY, energy_wh, limit, fee, shortage)
    offer = worst_case_microcents(Side.SELL, energy_wh, limit, fee, shortage)
    if price <= limit:
        assert buyer_lock_microcents(energy_wh, price) + energy_wh * fee <= bid
    if price >= limit:
        assert seller_lock_microcents(energy_wh, price, shortage) <= offer


@settings(deadline=None)
@given(energies, prices, offsets, st.integers(0, 2**12))
def test_the_lock_covers_every_payment_out_of_the_escrow(
    energy_wh: int, price: int, above: int, fee_per_mwh: int
) -> None:
    """What is released after trade and fee is never negative, whatever the price."""
    fee = energy_wh * fee_per_mwh
    buyer_released = buyer_lock_microcents(energy_wh, price) + fee - energy_wh * price - fee
    seller_released = seller_lock_microcents(energy_wh, price, price + above) + energy_wh * price
    assert buyer_released >= 0
    assert seller_released >= 0


@settings(deadline=None)
@given(energies, prices, offsets)
def test_a_seller_who_delivers_nothing_pays_its_shortage_out_of_its_own_lock(
    energy_wh: int, price: int, above: int
) -> None:
    shortage = price + above
    cash = position_cash(position(energy_wh), price, price - above, shortage)
    lock = seller_lock_microcents(energy_wh, price, shortage)
    assert lock + cash.trade_microcents + cash.imbalance_microcents >= 0


@pytest.mark.parametrize(
    ("metered", "contracted", "expected"),
    [
        (600, 600, 0),
        (700, 600, 100 * 7_500),
        (500, 600, -100 * 32_500),
        (-700, -600, -100 * 32_500),
        (-500, -600, 100 * 7_500),
        (50, -600, 650 * 7_500),
        (-50, 600, -650 * 32_500),
    ],
)
def test_a_surplus_is_sold_at_the_surplus_price_and_a_shortage_bought_at_the_shortage_price(
    metered: int, contracted: int, expected: int
) -> None:
    assert imbalance_microcents(metered, contracted, 7_500, 32_500) == expected


@settings(deadline=None)
@given(st.integers(-(2**24), 2**24), st.integers(-(2**24), 2**24), prices, offsets)
def test_a_wider_spread_of_imbalance_prices_never_pays_a_participant(
    metered: int, contracted: int, surplus: int, spread: int
) -> None:
    narrow = imbalance_microcents(metered, contracted, surplus, surplus)
    assert imbalance_microcents(metered, contracted, surplus, surplus + spread) <= narrow


def test_cash_of_a_position_is_its_trade_and_its_imbalance() -> None:
    sold = position_cash(position(600, 500), 15_000, 7_500, 32_500)
    assert (sold.trade_microcents, sold.imbalance_microcents) == (600 * 15_000, -100 * 32_500)
    bought = position_cash(position(-600, -650), 15_000, 7_500, 32_500)
    assert (bought.trade_microcents, bought.imbalance_microcents) == (-600 * 15_000, -50 * 32_500)


# ---- whole clearings


@st.composite
def clearings(draw: st.DrawFn) -> tuple[list[Position], list[Trade]]:
    """Sellers first, then buyers, some settled; the contracted energy follows from the trades."""
    sellers, buyers = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    pairs = st.tuples(st.integers(0, sellers - 1), st.integers(sellers, sellers + buyers - 1), st.integers(1, 1_000))
    trades = [Trade(sell=sell, buy=buy, energy_wh=wh) for sell, buy, wh in draw(st.lists(pairs, max_size=6))]
    contracted: dict[int, int] = defaultdict(int)
    for trade in trades:
        contracted[trade.sell] += trade.energy_wh
        contracted[trade.buy] -= trade.energy_wh
    positions = [
        position(
            contracted[index],
            draw(st.integers(-3_000, 3_000)),
            settled=draw(st.booleans()),
            meter=index + 1,
            source=draw(st.integers(0, 1)),
        )
        for index in range(sellers + buyers)
    ]
    return positions, trades


@settings(max_examples=200, deadline=None)
@given(clearings(), prices)
def test_the_trade_cash_of_all_positions_sums_to_zero(
    clearing: tuple[Sequence[Position], Sequence[Trade]], price: int
) -> None:
    positions, _ = clearing
    assert sum(position_cash(one, price, price, price).trade_microcents for one in positions) == 0


@settings(max_examples=300, deadline=None)
@given(clearings())
def test_served_energy_exceeds_neither_the_trade_nor_what_either_side_fulfilled(
    clearing: tuple[Sequence[Position], Sequence[Trade]],
) -> None:
    positions, trades = clearing
    served = served_wh(positions, trades)
    assert all(0 <= wh <= trade.energy_wh for wh, trade in zip(served, trades, strict=True))
    for index, one in enumerate(positions):
        total = sum(wh for wh, trade in zip(served, trades, strict=True) if index in (trade.sell, trade.buy))
        moved = max(0, one.metered_wh if one.contracted_wh > 0 else -one.metered_wh)
        assert total <= min(abs(one.contracted_wh), moved if one.settled else 0)


def test_fulfilled_energy_serves_a_position_s_trades_in_their_order() -> None:
    positions = [
        position(900, 500, settled=True),
        position(-600, -600, settled=True),
        position(-300, -300, settled=True),
    ]
    trades = [Trade(sell=0, buy=1, energy_wh=600), Trade(sell=0, buy=2, energy_wh=300)]
    assert served_wh(positions, trades) == (500, 0)


def test_what_the_buyer_did_not_consume_is_not_served_and_not_passed_on() -> None:
    positions = [
        position(900, 900, settled=True),
        position(-600, -200, settled=True),
        position(-300, -300, settled=True),
    ]
    trades = [Trade(sell=0, buy=1, energy_wh=600), Trade(sell=0, buy=2, energy_wh=300)]
    assert served_wh(positions, trades) == (200, 300)


def test_energy_against_the_contract_s_direction_serves_nobody() -> None:
    positions = [position(600, -600, settled=True), position(-600, 600, settled=True)]
    assert served_wh(positions, [Trade(sell=0, buy=1, energy_wh=600)]) == (0,)


def test_settling_some_positions_leaves_the_others_untouched() -> None:
    positions = [position(600), position(-600)]
    after = settle_positions(positions, {1: -580})
    assert (after[0], after[1].settled, after[1].metered_wh) == (positions[0], True, -580)
    assert positions[1].settled is False


def test_a_reward_is_decided_once_both_sides_are_settled_and_never_again() -> None:
    trades = [Trade(sell=0, buy=1, energy_wh=600)]
    half = [position(600, 550, settled=True), position(-600)]
    assert reward_trades(half, trades) == tuple(trades)
    whole = [half[0], position(-600, -580, settled=True)]
    decided = reward_trades(whole, trades)
    assert decided == (Trade(sell=0, buy=1, energy_wh=600, rewarded_wh=550, rewarded=True),)
    assert reward_trades([position(600, 600, settled=True), whole[1]], decided) == decided


def test_energy_without_a_low_carbon_source_is_decided_with_nothing() -> None:
    positions = [position(600, 600, settled=True, source=0), position(-600, -600, settled=True)]
    (decided,) = reward_trades(positions, [Trade(sell=0, buy=1, energy_wh=600)])
    assert (decided.rewarded, decided.rewarded_wh) == (True, 0)
