"""Emission factors are stated once; rewards are exact and split without losing a microgram."""

from dataclasses import replace

import pytest
from tests.contracts.harness import EUR, FIRST_MTU, MTU_LENGTH_S, SOLAR, Market, Pair, Receipt

HIGHEST = 5_000_000
DOCUMENT = b"\1" * 32


def publish(market: Market, mtu_start: int, factors: list[int]) -> Receipt:
    """The oracle publishes grid factors."""
    return market.send(market.oracle, "CarbonLedger", "publishGridFactors", mtu_start, factors, DOCUMENT)


def test_grid_factors_are_published_once_per_mtu_and_default_to_the_policy(market: Market) -> None:
    publish(market, FIRST_MTU, [100_000, 0])
    factors = [market.view("CarbonLedger", "gridFactorAt", FIRST_MTU + step * 900) for step in range(3)]
    assert factors == [100_000, 0, 363_000]
    with market.refuses("GridFactorAlreadyPublished", FIRST_MTU + 900):
        publish(market, FIRST_MTU + 900, [1])
    with market.refuses("GridFactorAlreadyPublished", FIRST_MTU):
        publish(market, FIRST_MTU - 900, [1, 1])
    with market.refuses("MtuUnaligned", FIRST_MTU + 1, MTU_LENGTH_S):
        publish(market, FIRST_MTU + 1, [1])
    with market.refuses("FactorOutOfBounds", HIGHEST + 1):
        publish(market, FIRST_MTU + 1_800, [1, HIGHEST + 1])
    publish(market, FIRST_MTU + 1_800, [HIGHEST])


def test_a_source_factor_is_set_once_with_its_citation(market: Market) -> None:
    set_factor = (market.regulator, "CarbonLedger", "setSourceFactor")
    event = market.send(*set_factor, 2, 11_000, "IPCC 2014, annex III").one("SourceFactorSet")
    assert event["citation"] == "IPCC 2014, annex III"
    assert market.view("CarbonLedger", "sourceFactorOf", 2) == 11_000
    with market.refuses("SourceFactorAlreadySet", 2):
        market.send(*set_factor, 2, 12_000, "another")
    with market.refuses("SourceUnknown", 0):
        market.send(*set_factor, 0, 0, "no source")
    with market.refuses("FactorOutOfBounds", HIGHEST + 1):
        market.send(*set_factor, 3, HIGHEST + 1, "too high")
    with market.refuses("SourceUnknown", 3):
        market.view("CarbonLedger", "sourceFactorOf", 3)


@pytest.mark.parametrize(("energy_wh", "share_bp"), [(1, 0), (1, 10_000), (7, 3_333), (2**40, 5_001)])
def test_a_reward_is_split_without_losing_a_microgram(energy_wh: int, share_bp: int) -> None:
    market = Market(policy=replace(Market().policy, seller_reward_share_bp=share_bp))
    pair = Pair.of(market)
    seller, buyer = pair.seller.owner, pair.buyer.owner
    reward = (seller.address, buyer.address, SOLAR, energy_wh)
    trading = market.impersonate("EnergyTrading")
    receipt = market.send(trading, "CarbonLedger", "grantRewards", FIRST_MTU, [reward, reward])
    total = energy_wh * (363_000 - 41_000)
    assert market.codecs["CarbonLedger"].result("grantRewards", receipt.output) == (2 * total,)
    assert market.tokens(seller) == 2 * (total * share_bp // 10_000)
    assert market.tokens(seller) + market.tokens(buyer) == market.view("LowCarbonToken", "totalSupply") == 2 * total


def test_a_published_factor_decides_the_reward_of_its_mtu_only(market: Market) -> None:
    publish(market, FIRST_MTU, [41_001])
    pair = Pair.of(market)
    market.settle(pair.delivered(market), {0: 600, 1: -600})
    assert market.view("LowCarbonToken", "totalSupply") == 600
    assert market.free(pair.seller.owner) == 10 * EUR + 9_000_000
