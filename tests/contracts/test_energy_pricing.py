"""The reference price follows supply and demand between the tariffs, inside floor and cap, once per zone and MTU."""

import pytest
from tests.contracts.harness import FIRST_MTU, MTU_LENGTH_S, ZONE, Market, Receipt

from gridledger.chain.plan import PolicyParameters


def publish(market: Market, supply_wh: int, demand_wh: int, mtu_start: int = FIRST_MTU) -> Receipt:
    """Publish after the gate."""
    return market.send(market.market_operator, "EnergyPricing", "publish", ZONE, mtu_start, supply_wh, demand_wh)


@pytest.mark.parametrize(
    ("supply_wh", "demand_wh", "price"),
    [
        (0, 0, 32_000),
        (0, 1_000, 32_000),
        (1, 0, 8_000),
        (1_000, 1_000, 8_000),
        (2**64 - 1, 1, 8_000),
        # 8,000 x 32,000 / (24,000 x 0.5 + 8,000) = 12,800
        (500, 1_000, 12_800),
        # 256,000,000 x 3 / (24,000 + 24,000) = 16,000
        (1, 3, 16_000),
        # 256,000,000 x 7 / (24,000 x 2 + 56,000) = 17,230.7...
        (2, 7, 17_230),
        (2**64 - 2, 2**64 - 1, 8_000),
    ],
)
def test_the_price_falls_from_retail_to_feed_in_as_supply_grows(
    market: Market, supply_wh: int, demand_wh: int, price: int
) -> None:
    market.close_gate()
    event = publish(market, supply_wh, demand_wh).one("ReferencePricePublished")
    assert (event["priceCentsPerMwh"], event["supplyWh"], event["demandWh"]) == (price, supply_wh, demand_wh)
    assert market.view("EnergyPricing", "referencePrice", ZONE, FIRST_MTU) == price


@pytest.mark.parametrize(("supply_wh", "price"), [(0, 23_000), (1, 14_999), (2, 6_999), (3, -1_000)])
def test_with_a_negative_feed_in_tariff_the_price_is_a_straight_line(
    market: Market, supply_wh: int, price: int
) -> None:
    market.send(market.oracle, "GridPolicy", "postFeedIn", FIRST_MTU, [-1_000])
    market.close_gate()
    expected = {0: 23_000, 1: (23_000 * 3 - 24_000) // 3, 2: (23_000 * 3 - 48_000) // 3, 3: -1_000}[supply_wh]
    publish(market, supply_wh, 3)
    assert market.view("EnergyPricing", "referencePrice", ZONE, FIRST_MTU) == expected
    assert abs(expected - price) <= 1


@pytest.mark.parametrize(("supply_wh", "price"), [(0, 30_000), (1_000, 9_000), (500, 12_800)])
def test_floor_and_cap_bound_the_price(supply_wh: int, price: int) -> None:
    market = Market(policy=PolicyParameters(floor_offset_cents_per_mwh=1_000, cap_offset_cents_per_mwh=-2_000))
    market.close_gate()
    publish(market, supply_wh, 1_000)
    assert market.view("EnergyPricing", "referencePrice", ZONE, FIRST_MTU) == price


def test_a_price_is_published_once_after_the_gate_of_an_aligned_mtu(market: Market) -> None:
    with market.refuses("PriceNotPublished", ZONE, FIRST_MTU):
        market.view("EnergyPricing", "referencePrice", ZONE, FIRST_MTU)
    with market.refuses("GateStillOpen"):
        publish(market, 1, 1)
    market.close_gate()
    with market.refuses("MtuUnaligned", FIRST_MTU + 1, MTU_LENGTH_S):
        publish(market, 1, 1, FIRST_MTU + 1)
    assert market.view("EnergyPricing", "publishedAt", ZONE, FIRST_MTU) == 0
    publish(market, 1, 1)
    assert market.view("EnergyPricing", "publishedAt", ZONE, FIRST_MTU) == market.now
    with market.refuses("PriceAlreadyPublished", ZONE, FIRST_MTU):
        publish(market, 0, 1)
    assert market.view("EnergyPricing", "referencePrice", ZONE, FIRST_MTU) == 8_000


def test_no_price_is_published_after_the_clearing_deadline(market: Market) -> None:
    deadline = market.rules().clearing_deadline(FIRST_MTU)
    market.move_to(deadline + 1)
    with market.refuses("PriceTooLate", FIRST_MTU, deadline, deadline + 1):
        publish(market, 1, 1)
    market.move_to(deadline)
    publish(market, 1, 1)
