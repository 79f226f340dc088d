"""What a byzantine market operator, relayer, supplier or member might try, one test per attack.

Tests marked as expected failures show attacks that still succeed; a repaired contract turns them into errors here, and
then the mark goes.
"""

from dataclasses import replace

from tests.contracts.harness import (
    ACKNOWLEDGED,
    BUY,
    CURTAILED,
    EUR,
    FIRST_MTU,
    PENDING,
    SELL,
    ZONE,
    Market,
    Pair,
    settle_arguments,
)


def test_an_order_listed_twice_is_not_filled_twice(market: Market) -> None:
    pair = Pair.of(market)
    seller = market.producer("accomplice")
    offer = market.order(seller, SELL, 600, 10_000)
    book = [pair.offer, offer, pair.bid, pair.bid]
    market.close_gate()
    market.commit_book(book)
    matches = [(pair.offer, pair.bid, 600), (offer, pair.bid, 600)]
    clearing = market.clearing(book, matches, lower=pair.offer, upper=pair.bid)
    (bid,) = [one for one in clearing["orders"] if one["side"] == BUY]
    clearing["orders"].remove(bid)
    clearing["orders"].sort(key=lambda one: one["meter"])
    clearing["orders"][1:1] = [bid | {"bookIndex": 2}, bid | {"bookIndex": 3}]
    places = {(one["meter"], one["bookIndex"]): place for place, one in enumerate(clearing["orders"])}
    clearing["matches"] = [
        {"sell": places[pair.seller.number, 0], "buy": places[pair.buyer.number, 2], "energyWh": 600},
        {"sell": places[seller.number, 1], "buy": places[pair.buyer.number, 3], "energyWh": 600},
    ]
    clearing["lowerEnd"], clearing["upperEnd"] = places[pair.seller.number, 0], places[pair.buyer.number, 2]
    with market.refuses("OrderPresentedTwice", pair.bid.uid):
        market.clear(clearing)


def test_a_clearing_never_comes_too_late_for_the_grid_operator_to_answer(market: Market) -> None:
    pair = Pair.of(market)
    market.close_gate()
    market.commit_book(pair.book)
    clearing = pair.clearing(market)
    market.move_to(FIRST_MTU - 179)
    with market.refuses("ClearingTooLate", FIRST_MTU, FIRST_MTU - 180, FIRST_MTU - 179):
        market.clear(clearing)
    market.move_to(FIRST_MTU - 180)
    market.clear(clearing)
    market.move_to(FIRST_MTU - 60)
    assert market.view("EnergyDispatching", "outcomeOf", ZONE, FIRST_MTU) == PENDING
    market.answer(CURTAILED)


def test_a_wholly_filled_bid_is_no_lower_end(market: Market) -> None:
    pair = Pair.of(market)
    market.close_gate()
    market.commit_book(pair.book)
    clearing = market.clearing(pair.book, [(pair.offer, pair.bid, 600)], lower=pair.bid, upper=pair.bid)
    with market.refuses("EndInvalid"):
        market.clear(clearing)


def test_a_wholly_filled_offer_is_no_upper_end(market: Market) -> None:
    pair = Pair.of(market)
    market.close_gate()
    market.commit_book(pair.book)
    clearing = market.clearing(pair.book, [(pair.offer, pair.bid, 600)], lower=pair.offer, upper=pair.offer)
    with market.refuses("EndInvalid"):
        market.clear(clearing)


def test_floor_and_cap_are_no_ends_while_energy_is_traded(market: Market) -> None:
    pair = Pair.of(market)
    market.close_gate()
    market.commit_book(pair.book)
    clearing = market.clearing(pair.book, [(pair.offer, pair.bid, 600)], lower=None, upper=pair.bid)
    assert clearing["priceCentsPerMwh"] == 14_000
    with market.refuses("LimitViolated", pair.offer.uid, 10_000, 8_000):
        market.clear(clearing)


def test_a_filled_order_is_not_presented_a_second_time_as_an_open_end(market: Market) -> None:
    pair = Pair.of(market)
    market.close_gate()
    market.commit_book(pair.book)
    clearing = market.clearing(pair.book, [(pair.offer, pair.bid, 600)], lower=pair.offer, upper=pair.bid)
    clearing["ends"] = [pair.bid.presented(1)]
    clearing["lowerEnd"], clearing["priceCentsPerMwh"] = 2, 20_000
    with market.refuses("OrderPresentedTwice", pair.bid.uid):
        market.clear(clearing)


def test_the_interval_lies_between_the_filled_offers_and_the_filled_bids(market: Market) -> None:
    pair = Pair.of(market, offer_limit=10_000, bid_limit=30_000)
    low_bid = market.order(market.consumer("low bidder"), BUY, 100, 9_000)
    book = [*pair.book, low_bid]
    market.close_gate()
    market.commit_book(book)
    clearing = market.clearing(book, [(pair.offer, pair.bid, 600)], lower=low_bid, upper=pair.bid)
    assert clearing["priceCentsPerMwh"] == 19_500
    with market.refuses("LimitViolated", pair.offer.uid, 10_000, 9_000):
        market.clear(clearing)


def test_an_order_for_no_energy_sets_no_price(market: Market) -> None:
    pair = Pair.of(market)
    empty = market.order(market.consumer("shill"), BUY, 0, 19_999)
    book = [*pair.book, empty]
    market.close_gate()
    market.commit_book(book)
    clearing = market.clearing(book, [(pair.offer, pair.bid, 600)], lower=empty, upper=pair.bid)
    with market.refuses("OrderWithoutEnergy"):
        market.clear(clearing)


def test_a_cancellation_after_the_gate_does_not_undo_the_book(market: Market) -> None:
    pair = Pair.of(market)
    market.close_gate()
    market.commit_book(pair.book)
    market.send(pair.buyer.owner, "EnergyTrading", "cancel", pair.bid.uid)
    market.clear(pair.clearing(market))


def test_no_reading_beyond_the_meter_s_capacity_is_settled(market: Market) -> None:
    pair = Pair.of(market)
    kept = pair.delivered(market)
    # The consumer's meter takes 40 kW, so 10,000 Wh in a quarter of an hour.
    with market.refuses("MeteredOutOfRange", pair.buyer.number, -10_001):
        market.send(market.market_operator, "EnergyTrading", "settle", *settle_arguments(kept, [1], [-10_001]))
    with market.refuses("MeteredOutOfRange", pair.seller.number, 10_001):
        market.send(market.market_operator, "EnergyTrading", "settle", *settle_arguments(kept, [0], [10_001]))
    market.settle(kept, {0: 10_000, 1: -10_000})


def test_a_source_without_a_factor_earns_nothing_and_stops_nobody(market: Market) -> None:
    pair = Pair.of(market, source=9)
    market.settle(pair.delivered(market), {0: 600, 1: -600})
    assert market.view("LowCarbonToken", "totalSupply") == 0
    assert market.free(pair.seller.owner) == 10 * EUR + 9_000_000


def test_all_rewards_of_an_mtu_use_the_same_grid_factor(market: Market) -> None:
    pair = Pair.of(market)
    market.settle(pair.delivered(market), {0: 600, 1: -600})
    with market.refuses("GridFactorAlreadyPublished", FIRST_MTU):
        market.send(market.oracle, "CarbonLedger", "publishGridFactors", FIRST_MTU, [5_000_000], b"\1" * 32)


def test_anybody_can_release_the_locks_of_a_void_schedule(market: Market) -> None:
    pair = Pair.of(market)
    kept = pair.cleared(market)
    market.answer(CURTAILED)
    market.send(pair.buyer.owner, "EnergyTrading", "refund", *settle_arguments(kept, [0, 1], [])[:-1])
    assert market.free(pair.buyer.owner) == 10 * EUR


def test_a_book_hash_of_zero_commits_nothing(market: Market) -> None:
    market.close_gate()
    with market.refuses("BookMissing", ZONE, FIRST_MTU):
        market.send(market.market_operator, "EnergyTrading", "commitBook", ZONE, FIRST_MTU, bytes(32), 2)


def test_an_anchor_belongs_to_an_mtu(market: Market) -> None:
    market.pass_mtu()
    with market.refuses("MtuUnaligned"):
        market.anchor(FIRST_MTU - 1)


def test_no_zone_has_the_number_that_means_the_whole_market(market: Market) -> None:
    with market.refuses("ZoneUnknown", 0):
        market.send(market.regulator, "ParticipantRegistry", "registerZone", 0, market.grid_operator.address)


def test_a_policy_leaves_time_between_gate_and_answer_deadline(market: Market) -> None:
    policy = replace(market.policy, gate_closure_s=0, answer_lead_s=0)
    with market.refuses("PolicyRefused"):
        Market(policy=policy)


def test_an_operator_cannot_settle_a_position_with_a_forged_owner_or_a_void_one_as_delivered(market: Market) -> None:
    pair = Pair.of(market)
    kept = pair.cleared(market)
    market.answer(CURTAILED)
    market.pass_mtu()
    market.anchor()
    market.settle(kept, {0: 600, 1: -600}, proceeds=False)
    assert market.free(pair.seller.owner) == market.free(pair.buyer.owner) == 10 * EUR


def test_withdrawing_between_clearing_and_settlement_leaves_the_seller_paid(market: Market) -> None:
    pair = Pair.of(market)
    kept = pair.cleared(market)
    market.send(pair.buyer.owner, "EnergyTrading", "withdraw", market.free(pair.buyer.owner))
    market.answer(ACKNOWLEDGED)
    market.pass_mtu()
    market.anchor()
    market.settle(kept, {0: 600, 1: -600})
    assert market.free(pair.seller.owner) == 10 * EUR + 9_000_000


def test_two_suppliers_cannot_lend_each_other_money_that_does_not_exist(market: Market) -> None:
    first, second = market.supplier, market.other_supplier
    admit = (market.grid_operator, "ParticipantRegistry", "admitParticipants")
    market.send(*admit, [first.address], second.address)
    market.send(*admit, [second.address], first.address)
    market.deposit(first, EUR)
    market.set_credit(second, EUR, supplier=first)
    market.set_credit(first, EUR, supplier=second)
    market.set_credit(second, 2 * EUR, supplier=first)
    for supplier in (first, second):
        with market.refuses("InsufficientFunds"):
            market.send(supplier, "EnergyTrading", "withdraw", 1)
    market.assert_solvent()
