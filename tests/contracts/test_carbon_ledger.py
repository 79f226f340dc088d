"""Emission factors are stated once; rewards are exact and split without losing a microgram."""

from dataclasses import replace

import pytest
from tests.contracts.harness import EUR, FIRST_MTU, MTU_LENGTH_S, SOLAR, Market, Pair, Receipt, actor

HIGHEST = 5_000_000
DOCUMENT = b"\1" * 32


def publish(market: Market, mtu_start: int, factors: list[int]) -> Receipt:
    """The oracle publishes grid factors."""
    return market.send(market.oracle, "CarbonLedger", "publishGridFactors", mtu_start, factors, DOCUMENT)


def reward_words(*rewards: tuple[str, str, int, int]) -> list[int]:
    """Words of the contracts' Rewards: seller, buyer, source and energy of each trade."""
    return [
        word
        for seller, buyer, source, energy_wh in rewards
        for word in (int(seller, 16) | energy_wh << 160 | source << 224, int(buyer, 16))
    ]


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
    settlement = market.impersonate("EnergySettlement")
    receipt = market.send(settlement, "CarbonLedger", "grantRewards", FIRST_MTU, reward_words(reward, reward))
    total = energy_wh * (363_000 - 41_000)
    assert receipt.one("RewardsGranted") == {
        "mtuStart": FIRST_MTU,
        "gridFactorMgco2PerKwh": 363_000,
        "energyWh": 2 * energy_wh,
        "totalUgco2": 2 * total,
    }
    assert market.codecs["CarbonLedger"].result("grantRewards", receipt.output) == (2 * total,)
    assert market.tokens(seller) == 2 * (total * share_bp // 10_000)
    assert market.tokens(seller) + market.tokens(buyer) == market.view("LowCarbonToken", "totalSupply") == 2 * total


def test_neighbouring_rewards_of_one_holder_are_minted_together(market: Market) -> None:
    first, second, third = (actor(name).address for name in ("first", "second", "third"))
    settlement = market.impersonate("EnergySettlement")
    rewards = reward_words(
        (first, second, SOLAR, 10),
        (first, third, SOLAR, 4),
        (first, third, SOLAR, 2),
        (second, first, SOLAR, 1),
    )
    receipt = market.send(settlement, "CarbonLedger", "grantRewards", FIRST_MTU, rewards)
    minted = [(event.arguments["to"], event.arguments["value"]) for event in receipt.named("Transfer")]
    half = (363_000 - 41_000) // 2
    # Only the two holders before are looked at, so the first one comes a second time.
    expected = [(first, 14), (second, 10), (third, 6), (first, 3), (second, 1)]
    assert minted == [(holder, energy * half) for holder, energy in expected]
    assert receipt.one("RewardsGranted")["energyWh"] == 17


def test_a_source_without_a_factor_and_a_grid_cleaner_than_it_earn_nothing_and_stop_nobody(market: Market) -> None:
    seller, buyer = actor("seller").address, actor("buyer").address
    publish(market, FIRST_MTU, [41_000, 40_999, 41_001])
    settlement = market.impersonate("EnergySettlement")
    rewards = reward_words((seller, buyer, 9, 1_000), (seller, buyer, SOLAR, 100))
    for place, total in enumerate([0, 0, 100]):
        receipt = market.send(settlement, "CarbonLedger", "grantRewards", FIRST_MTU + place * 900, rewards)
        event = receipt.one("RewardsGranted")
        assert (event["energyWh"], event["totalUgco2"]) == (100 if total else 0, total)
        assert len(receipt.named("Transfer")) == (2 if total else 0)
    assert market.view("LowCarbonToken", "totalSupply") == 100


def test_the_first_reward_of_an_mtu_fixes_its_grid_factor(market: Market) -> None:
    settlement = market.impersonate("EnergySettlement")
    reward = (actor("seller").address, actor("buyer").address, SOLAR, 1)
    pinned = market.send(settlement, "CarbonLedger", "grantRewards", FIRST_MTU, reward_words(reward)).one(
        "GridFactorPublished"
    )
    assert pinned == {"mtuStart": FIRST_MTU, "factorMgco2PerKwh": 363_000, "sourceHash": bytes(32)}
    with market.refuses("GridFactorAlreadyPublished", FIRST_MTU):
        publish(market, FIRST_MTU, [500_000])
    again = market.send(settlement, "CarbonLedger", "grantRewards", FIRST_MTU, reward_words(reward))
    assert not again.named("GridFactorPublished")
    assert again.one("RewardsGranted")["totalUgco2"] == 363_000 - 41_000


def test_a_published_factor_decides_the_reward_of_its_mtu_only(market: Market) -> None:
    publish(market, FIRST_MTU, [41_001])
    pair = Pair.of(market)
    market.settle(pair.delivered(market), {0: 600, 1: -600})
    assert market.view("LowCarbonToken", "totalSupply") == 600
    assert market.free(pair.seller.owner) == 10 * EUR + 9_000_000
