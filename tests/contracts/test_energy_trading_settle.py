"""Settlement pays every unit once: trade, fee, imbalance, debt and reward, in parts if need be, or refunds exactly.

Prices in cents per MWh, energy in Wh, money in microcents, carbon in micrograms.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
from tests.contracts.harness import (
    ACKNOWLEDGED,
    BUY,
    CURTAILED,
    EUR,
    FIRST_MTU,
    PROCEEDS,
    SELL,
    SOLAR,
    VOID,
    ZONE,
    Kept,
    Market,
    Pair,
    settle_arguments,
)

from gridledger.chain.plan import PolicyParameters

START = 10 * EUR
AVOIDED_PER_WH = 363_000 - 41_000


def send_settle(market: Market, kept: Kept, indexes: list[int], metered_wh: list[int]) -> None:
    """Settle without keeping the books."""
    market.send(market.market_operator, "EnergyTrading", "settle", *settle_arguments(kept, indexes, metered_wh))


def test_a_whole_mtu_from_offer_to_token_moves_exactly_the_hand_computed_amounts(market: Market) -> None:
    market.deposit(market.supplier, START)
    pair = Pair.of(market)
    market.close_gate()
    market.commit_book(pair.book)
    published = market.send(market.market_operator, "EnergyPricing", "publish", ZONE, FIRST_MTU, 600, 600)
    assert published.one("ReferencePricePublished")["priceCentsPerMwh"] == 8_000
    clearing = pair.clearing(market)
    kept = market.kept_after(clearing, market.clear(clearing))
    assert (market.free(pair.seller.owner), market.free(pair.buyer.owner)) == (START - 10_500_000, START - 9_600_000)
    market.answer(ACKNOWLEDGED)
    assert market.view("EnergyDispatching", "outcomeOf", ZONE, FIRST_MTU) == PROCEEDS
    market.pass_mtu()
    market.anchor()
    # Delivered 700 of 600 Wh: 100 at the surplus price 7,500. Consumed 650 of 600 Wh: 50 at the shortage price 32,500.
    kept, receipt = market.settle(kept, {0: 700, 1: -650})
    assert market.free(pair.seller.owner) == START + 9_000_000 + 750_000
    assert market.free(pair.buyer.owner) == START - 9_000_000 - 600_000 - 1_625_000
    assert market.free(market.supplier) == START - 750_000 + 1_625_000
    assert market.free(market.grid_operator) == 600_000
    assert market.escrow() == 0
    settled = [event.arguments for event in receipt.named("PositionSettled")]
    assert [(one["tradeMicrocents"], one["imbalanceMicrocents"]) for one in settled] == [
        (9_000_000, 750_000),
        (-9_000_000, -1_625_000),
    ]
    assert receipt.one("SettlementProgressed")["openPositions"] == 0
    reward = receipt.one("RewardGranted")
    assert (reward["energyWh"], reward["sellerUgco2"], reward["buyerUgco2"]) == (600, 96_600_000, 96_600_000)
    assert market.tokens(pair.seller.owner) == market.tokens(pair.buyer.owner) == 600 * AVOIDED_PER_WH // 2
    assert kept.trades[0]["rewardedWh"] == 600
    assert market.held() == 3 * START
    market.assert_solvent()


@pytest.mark.parametrize(
    ("metered", "served"),
    [
        ((600, -600), 600),
        ((500, -600), 500),
        ((600, -450), 450),
        ((300, -200), 200),
        ((0, -600), 0),
        ((600, 0), 0),
        ((-100, -600), 0),
        ((600, 100), 0),
        ((900, -900), 600),
    ],
)
def test_tokens_reward_only_energy_both_delivered_and_consumed(
    market: Market, metered: tuple[int, int], served: int
) -> None:
    pair = Pair.of(market)
    kept, _ = market.settle(pair.delivered(market), dict(enumerate(metered)))
    assert kept.trades[0] | {"rewardedWh": served, "rewarded": True} == kept.trades[0]
    assert market.tokens(pair.seller.owner) + market.tokens(pair.buyer.owner) == served * AVOIDED_PER_WH
    assert market.view("LowCarbonToken", "totalSupply") == served * AVOIDED_PER_WH
    state_hash = market.view("EnergyTrading", "clearingOf", ZONE, FIRST_MTU)[1]
    with market.refuses("PositionAlreadySettled"):
        send_settle(market, kept, [0], [0])
    send_settle(market, kept, [], [])
    assert market.view("EnergyTrading", "clearingOf", ZONE, FIRST_MTU)[1] == state_hash


def test_energy_from_a_meter_without_generation_earns_no_token(market: Market) -> None:
    pair = Pair.of(market, source=0)
    kept, receipt = market.settle(pair.delivered(market), {0: 600, 1: -600})
    assert not receipt.named("RewardGranted")
    assert kept.trades[0]["rewarded"]
    assert market.view("LowCarbonToken", "totalSupply") == 0
    assert market.free(market.grid_operator) == 600 * 2_000


def test_no_token_where_the_grid_is_cleaner_than_the_source(market: Market) -> None:
    market.send(market.oracle, "CarbonLedger", "publishGridFactors", FIRST_MTU, [41_000], b"\1" * 32)
    _, receipt = market.settle(Pair.of(market).delivered(market), {0: 600, 1: -600})
    assert not receipt.named("RewardGranted")
    assert market.view("LowCarbonToken", "totalSupply") == 0


def test_the_seller_s_share_of_the_reward_is_rounded_down_and_the_buyer_gets_the_rest() -> None:
    market = Market(policy=PolicyParameters(seller_reward_share_bp=3_333))
    market.send(market.oracle, "CarbonLedger", "publishGridFactors", FIRST_MTU, [41_007], b"\1" * 32)
    pair = Pair.of(market)
    market.settle(pair.delivered(market), {0: 599, 1: -600})
    assert market.tokens(pair.seller.owner) == 599 * 7 * 3_333 // 10_000
    assert market.tokens(pair.buyer.owner) == 599 * 7 - 599 * 7 * 3_333 // 10_000


def test_a_negative_price_pays_the_buyer_out_of_the_seller_s_lock(market: Market) -> None:
    market.send(market.oracle, "GridPolicy", "postFeedIn", FIRST_MTU, [-30_000])
    pair = Pair.of(market, offer_limit=-20_000, bid_limit=-10_000)
    kept = pair.delivered(market)
    market.settle(kept, {0: 600, 1: -600})
    assert market.free(pair.seller.owner) == START - 600 * 15_000
    assert market.free(pair.buyer.owner) == START + 600 * 15_000 - 600 * 1_000
    assert market.escrow() == 0
    market.assert_solvent()


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("feed_in", [None, -30_000])
def test_late_positions_settle_later_with_the_same_result_and_reward_waits_for_both(
    market: Market, order: tuple[int, int], feed_in: int | None
) -> None:
    limits = (10_000, 20_000)
    if feed_in is not None:
        market.send(market.oracle, "GridPolicy", "postFeedIn", FIRST_MTU, [feed_in])
        limits = (-20_000, -10_000)
    market.deposit(market.supplier, START)
    pair = Pair.of(market, offer_limit=limits[0], bid_limit=limits[1])
    kept = pair.delivered(market)
    metered = {0: 550, 1: -620}
    with market.undone():
        market.settle(kept, metered)
        together = market.fingerprint()[0], market.fingerprint()[2:]
    first, second = order
    kept, receipt = market.settle(kept, {first: metered[first]})
    assert receipt.one("SettlementProgressed")["openPositions"] == 1
    assert not receipt.named("RewardGranted")
    assert market.view("LowCarbonToken", "totalSupply") == 0
    market.assert_solvent()
    kept, receipt = market.settle(kept, {second: metered[second]})
    assert receipt.one("RewardGranted")["energyWh"] == 550
    assert (market.fingerprint()[0], market.fingerprint()[2:]) == together


def test_a_dead_meter_delays_only_its_own_position_and_trades(market: Market) -> None:
    sellers = [market.producer("first"), market.producer("second")]
    buyer = market.consumer("consumer")
    offers = [market.order(one, SELL, 300, 10_000) for one in sellers]
    bid = market.order(buyer, BUY, 600, 20_000)
    kept = market.clear_book([*offers, bid], [(offers[0], bid, 300), (offers[1], bid, 300)], lower=offers[1], upper=bid)
    market.answer(ACKNOWLEDGED)
    market.pass_mtu()
    market.anchor()
    kept, receipt = market.settle(kept, {1: 300, 2: -450})
    # Consumed energy serves the trades in their order: 300 to the dead meter's trade, 150 to the other.
    assert [event.arguments["energyWh"] for event in receipt.named("RewardGranted")] == [150]
    assert [one["rewarded"] for one in kept.trades] == [False, True]
    kept, receipt = market.settle(kept, {0: 200})
    assert [event.arguments["energyWh"] for event in receipt.named("RewardGranted")] == [200]
    assert market.view("LowCarbonToken", "totalSupply") == 350 * AVOIDED_PER_WH
    market.assert_solvent()


def test_an_imbalance_beyond_funds_and_credit_becomes_a_debt_to_the_supplier(market: Market) -> None:
    market.deposit(market.supplier, START)
    pair = Pair.of(market)
    kept = pair.delivered(market)
    market.set_credit(pair.buyer.owner, 700_000)
    market.send(pair.buyer.owner, "EnergyTrading", "withdraw", market.free(pair.buyer.owner) - 300_000)
    _, receipt = market.settle(kept, {0: 600, 1: -700})
    assert market.free(pair.buyer.owner) == -700_000
    assert market.debt(pair.buyer.owner, market.supplier) == 100 * 32_500 - 1_000_000
    assert receipt.one("DebtRecorded")["amountMicrocents"] == 2_250_000
    market.assert_solvent()


def test_a_supplier_out_of_money_owes_the_surplus(market: Market) -> None:
    pair = Pair.of(market)
    market.settle(pair.delivered(market), {0: 800, 1: -600})
    assert market.debt(market.supplier, pair.seller.owner) == 200 * 7_500
    assert market.free(pair.seller.owner) == START + 9_000_000
    assert market.free(market.supplier) == 0
    market.assert_solvent()


def test_each_position_settles_with_its_own_supplier(market: Market) -> None:
    seller = market.producer("producer", supplier=market.other_supplier)
    buyer = market.consumer("consumer")
    offer, bid = market.order(seller, SELL, 600, 10_000), market.order(buyer, BUY, 600, 20_000)
    pair = Pair(seller=seller, buyer=buyer, offer=offer, bid=bid)
    market.settle(pair.delivered(market), {0: 590, 1: -610})
    assert market.free(market.other_supplier) == 10 * 32_500
    assert market.free(market.supplier) == 10 * 32_500


def test_a_seller_who_delivers_nothing_can_always_pay_from_what_it_locked(market: Market) -> None:
    pair = Pair.of(market)
    kept = pair.delivered(market)
    market.send(pair.seller.owner, "EnergyTrading", "withdraw", market.free(pair.seller.owner))
    market.settle(kept, {0: 0, 1: -600})
    assert market.debt(pair.seller.owner, market.supplier) == 0
    assert market.free(pair.seller.owner) == 0
    assert market.free(market.supplier) == 600 * 32_500


@pytest.mark.parametrize("parts", [[(0, 1)], [(0,), (1,)], [(1,), (0,)]])
def test_a_curtailed_schedule_refunds_every_lock_exactly(market: Market, parts: list[tuple[int, ...]]) -> None:
    pair = Pair.of(market)
    kept = pair.cleared(market)
    market.answer(CURTAILED, reason=7)
    for part in parts:
        kept, receipt = market.settle(kept, dict.fromkeys(part, 12_345), proceeds=False)
        refunded = [event.arguments["lockedMicrocents"] for event in receipt.named("PositionRefunded")]
        assert refunded == [(10_500_000, 9_600_000)[index] for index in part]
        assert not receipt.named("PositionSettled")
    assert market.free(pair.seller.owner) == market.free(pair.buyer.owner) == START
    assert market.escrow() == market.free(market.grid_operator) == market.view("LowCarbonToken", "totalSupply") == 0
    with market.refuses("PositionAlreadySettled"):
        send_settle(market, kept, [0], [600])


@pytest.mark.parametrize("proceeds", [True, False])
def test_without_an_answer_the_regulator_s_default_decides_after_the_deadline(proceeds: bool) -> None:
    market = Market(policy=PolicyParameters(proceed_without_answer=proceeds))
    pair = Pair.of(market)
    kept = pair.cleared(market)
    market.move_to(FIRST_MTU - 60)
    with market.refuses("DispatchUnanswered", ZONE, FIRST_MTU):
        send_settle(market, kept, [0], [600])
    market.move_to(FIRST_MTU - 59)
    assert market.view("EnergyDispatching", "outcomeOf", ZONE, FIRST_MTU) == (PROCEEDS if proceeds else VOID)
    if proceeds:
        with market.refuses("ReadingsNotAnchored", ZONE, FIRST_MTU):
            send_settle(market, kept, [0], [600])
        market.pass_mtu()
        market.anchor()
    market.settle(kept, {0: 600, 1: -600}, proceeds=proceeds)
    assert market.free(pair.seller.owner) == START + (9_000_000 if proceeds else 0)


def test_a_halt_or_suspension_after_the_clearing_does_not_hold_back_money(market: Market) -> None:
    pair = Pair.of(market)
    kept = pair.delivered(market)
    market.send(market.regulator, "GridPolicy", "setHalted", 0, True)
    market.send(market.regulator, "GridPolicy", "setSuspended", pair.seller.owner.address, True)
    market.settle(kept, {0: 600, 1: -600})
    market.send(pair.seller.owner, "EnergyTrading", "withdraw", market.free(pair.seller.owner))
    assert market.view("SettlementToken", "balanceOf", pair.seller.owner.address) == START + 9_000_000


def test_a_cancellation_after_the_clearing_changes_nothing(market: Market) -> None:
    pair = Pair.of(market)
    kept = pair.delivered(market)
    market.send(pair.buyer.owner, "EnergyTrading", "cancel", pair.bid.uid)
    market.settle(kept, {0: 600, 1: -600})
    assert market.free(pair.seller.owner) == START + 9_000_000


def test_an_mtu_cleared_without_volume_can_be_reported_as_settled(market: Market) -> None:
    kept = market.clear_book([], [])
    _, receipt = market.settle(kept, {}, proceeds=False)
    assert receipt.one("SettlementProgressed")["openPositions"] == 0


Forgery = Callable[[Kept], None]


def set_position(index: int, **fields: Any) -> Forgery:
    """Present a position otherwise than it was kept."""
    return lambda kept: kept.positions[index].update(fields)


def set_trade(**fields: Any) -> Forgery:
    """Present the trade otherwise than it was kept."""
    return lambda kept: kept.trades[0].update(fields)


def drop_a_position(kept: Kept) -> None:
    kept.positions.pop()


def repeat_the_trade(kept: Kept) -> None:
    kept.trades.append(deepcopy(kept.trades[0]))


def swap_positions(kept: Kept) -> None:
    kept.positions.reverse()


def forget_the_trades(kept: Kept) -> None:
    kept.trades.clear()


FORGERIES: dict[str, Forgery] = {
    "another owner": set_position(0, owner="0x" + "11" * 20),
    "another supplier": set_position(1, supplier="0x" + "11" * 20),
    "another source": set_position(1, source=SOLAR),
    "another meter": set_position(1, meter=1),
    "a larger lock": set_position(0, lockedMicrocents=10_500_001),
    "a smaller fee": set_position(1, feeMicrocents=0),
    "more energy": set_position(0, contractedWh=601),
    "the other direction": set_position(1, contractedWh=600),
    "a reading already there": set_position(1, meteredWh=-600),
    "a position already settled": set_position(1, settled=True),
    "a larger trade": set_trade(energyWh=601),
    "a trade already rewarded": set_trade(rewarded=True),
    "a trade with a reward": set_trade(rewardedWh=600),
    "a trade of others": set_trade(sell=1),
    "a position missing": drop_a_position,
    "a trade too many": repeat_the_trade,
    "positions in another order": swap_positions,
    "no trades": forget_the_trades,
}


@pytest.mark.parametrize("name", FORGERIES)
def test_positions_and_trades_are_those_that_were_kept(market: Market, name: str) -> None:
    kept = Pair.of(market).delivered(market)
    forged = deepcopy(kept)
    FORGERIES[name](forged)
    with market.refuses("StateMismatch"):
        send_settle(market, forged, [0, 1], [600, -600])
    market.settle(kept, {0: 600, 1: -600})


BAD_SETTLEMENTS: dict[str, tuple[list[int], list[int], str]] = {
    "a reading too few": ([0, 1], [600], "ListsDiffer"),
    "a reading too many": ([0], [600, -600], "ListsDiffer"),
    "a position nobody has": ([2], [600], "PositionUnknown"),
    "the last index there is": ([2**16 - 1], [600], "PositionUnknown"),
    "a position twice": ([0, 0], [600, 600], "PositionAlreadySettled"),
    "a reading out of all range": ([0], [2**40 + 1], "MeteredOutOfRange"),
    "a reading below all range": ([1], [-(2**40) - 1], "MeteredOutOfRange"),
    "the lowest reading there is": ([1], [-(2**63)], "MeteredOutOfRange"),
}


@pytest.mark.parametrize("name", BAD_SETTLEMENTS)
def test_a_bad_settlement_is_refused_by_name_and_changes_nothing(market: Market, name: str) -> None:
    indexes, metered, error = BAD_SETTLEMENTS[name]
    kept = Pair.of(market).delivered(market)
    with market.refuses(error):
        send_settle(market, kept, indexes, metered)
    market.settle(kept, {0: 600, 1: -600})


def test_nothing_is_settled_before_the_dispatch_is_answered(market: Market) -> None:
    kept = Pair.of(market).cleared(market)
    with market.refuses("DispatchUnanswered", ZONE, FIRST_MTU):
        send_settle(market, kept, [0], [600])


def test_nothing_is_settled_before_readings_are_anchored(market: Market) -> None:
    kept = Pair.of(market).cleared(market)
    market.answer(ACKNOWLEDGED)
    market.pass_mtu()
    with market.refuses("ReadingsNotAnchored", ZONE, FIRST_MTU):
        send_settle(market, kept, [0], [600])


def test_nothing_is_settled_that_was_not_cleared(market: Market) -> None:
    kept = Pair.of(market).delivered(market)
    later = replace(kept, mtu_start=FIRST_MTU + 900)
    with market.refuses("NotCleared", ZONE, FIRST_MTU + 900):
        send_settle(market, later, [0], [600])


def test_two_mtus_settle_apart_from_each_other(market: Market) -> None:
    first = Pair.of(market)
    second = replace(
        first,
        mtu_start=FIRST_MTU + 900,
        offer=market.order(first.seller, SELL, 500, 10_000, mtu_start=FIRST_MTU + 900),
        bid=market.order(first.buyer, BUY, 500, 20_000, mtu_start=FIRST_MTU + 900),
    )
    kept_first, kept_second = first.cleared(market), second.cleared(market)
    market.move_to(FIRST_MTU + 1_800)
    market.anchor()
    market.anchor(FIRST_MTU + 900)
    with market.refuses("StateMismatch"):
        send_settle(market, replace(kept_first, mtu_start=FIRST_MTU + 900), [0], [600])
    market.settle(kept_second, {0: 500, 1: -500})
    assert market.escrow() == 10_500_000 + 9_600_000
    market.settle(kept_first, {0: 600, 1: -600})
    assert market.escrow() == 0
