"""The reference price follows supply and demand between the tariffs, whatever their sign, and stays inside bounds."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.market.fakes import PRICES, an_order

from gridledger.market.model import MtuPrices, Order, Pricing, Side
from gridledger.market.pricing import reference_price, supply_and_demand

TARIFFS = MtuPrices(feed_in=100, retail=300, floor=-(2**62), cap=2**62, surplus=0, shortage=0)


def undealt(orders: list[Order]) -> list[tuple[Order, int]]:
    """Orders of which nothing was accepted directly."""
    return [(order, order.quantity_wh) for order in orders]


energies = st.integers(0, 2**40)
tariffs = st.tuples(st.integers(-(2**24), 2**24), st.integers(0, 2**24)).map(
    lambda row: replace(TARIFFS, feed_in=row[0], retail=row[0] + row[1])
)


@settings(max_examples=300, deadline=None)
@given(tariffs, energies, energies)
def test_the_price_lies_between_feed_in_and_retail(prices: MtuPrices, supply: int, demand: int) -> None:
    assert prices.feed_in <= reference_price(prices, supply, demand) <= prices.retail


@settings(max_examples=300, deadline=None)
@given(tariffs, energies, energies, energies)
def test_more_supply_never_raises_the_price_and_more_demand_never_lowers_it(
    prices: MtuPrices, supply: int, demand: int, more: int
) -> None:
    price = reference_price(prices, supply, demand)
    assert reference_price(prices, supply + more, demand) <= price
    assert reference_price(prices, supply, demand + more) >= price


@settings(max_examples=200, deadline=None)
@given(
    st.integers(-(2**24), 2**24),
    st.integers(-(2**24), 2**24),
    st.integers(-(2**24), 2**24),
    st.integers(0, 2**24),
    energies,
    energies,
)
def test_floor_and_cap_hold_for_any_tariffs_even_crossed_ones(
    feed_in: int, retail: int, floor: int, width: int, supply: int, demand: int
) -> None:
    prices = replace(TARIFFS, feed_in=feed_in, retail=retail, floor=floor, cap=floor + width)
    assert floor <= reference_price(prices, supply, demand) <= floor + width


@pytest.mark.parametrize(
    ("supply", "demand", "expected"),
    [
        (0, 0, 300),
        (0, 5, 300),
        (5, 0, 100),
        (5, 5, 100),
        (6, 5, 100),
        (1, 2, 150),  # 100 x 300 x 2 / (200 x 1 + 100 x 2)
        (1, 3, 180),  # 100 x 300 x 3 / (200 x 1 + 100 x 3)
        (2, 3, 128),  # 90000 / 700 = 128.57, rounded down
    ],
)
def test_the_supply_demand_ratio_sets_the_price_between_positive_tariffs(
    supply: int, demand: int, expected: int
) -> None:
    assert reference_price(TARIFFS, supply, demand) == expected


@pytest.mark.parametrize(
    ("feed_in", "retail", "expected"),
    [(0, 300, 150), (-100, 300, 100), (-300, -100, -200), (-3, 0, -2), (-100, -100, -100), (0, 0, 0)],
)
def test_with_a_zero_or_negative_feed_in_tariff_the_price_is_linear_and_rounds_down(
    feed_in: int, retail: int, expected: int
) -> None:
    assert reference_price(replace(TARIFFS, feed_in=feed_in, retail=retail), 1, 2) == expected


def test_the_price_is_clamped_into_floor_and_cap() -> None:
    assert reference_price(replace(TARIFFS, floor=120, cap=250), 5, 5) == 120
    assert reference_price(replace(TARIFFS, floor=120, cap=250), 0, 5) == 250


def test_supply_counts_offers_up_to_retail_and_demand_bids_from_feed_in() -> None:
    orders = [
        an_order(Side.SELL, quantity_wh=1, limit_cents_per_mwh=32_000),
        an_order(Side.SELL, quantity_wh=10, limit_cents_per_mwh=32_001),
        an_order(Side.SELL, quantity_wh=100, limit_cents_per_mwh=-1),
        an_order(Side.BUY, quantity_wh=1_000, limit_cents_per_mwh=8_000),
        an_order(Side.BUY, quantity_wh=10_000, limit_cents_per_mwh=7_999),
        an_order(Side.BUY, quantity_wh=100_000, limit_cents_per_mwh=40_000),
    ]
    assert supply_and_demand(undealt(orders), PRICES) == (101, 101_000)


def test_pegged_orders_count_for_neither_supply_nor_demand() -> None:
    orders = [
        an_order(Side.SELL, quantity_wh=1, pricing=Pricing.PEGGED),
        an_order(Side.SELL, quantity_wh=10),
        an_order(Side.BUY, quantity_wh=100, pricing=Pricing.PEGGED),
        an_order(Side.BUY, quantity_wh=1_000),
    ]
    assert supply_and_demand(undealt(orders), PRICES) == (10, 1_000)


def test_energy_already_dealt_counts_for_neither() -> None:
    orders = [(an_order(Side.SELL, quantity_wh=600), 150), (an_order(quantity_wh=600), 600)]
    assert supply_and_demand(orders, PRICES) == (150, 600)


def test_without_orders_there_is_neither_supply_nor_demand() -> None:
    assert supply_and_demand([], PRICES) == (0, 0)
