"""What a byzantine market operator, relayer, supplier or member might try, one test per attack.

Whatever is accepted moves nothing outside the limits, quantities and terms that were signed. Scene and pair: prices in
cents per MWh, energy in Wh.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from tests.contracts.harness import (
    BUY,
    CHAIN_ID,
    EUR,
    FIRST_MTU,
    MTU_LENGTH_S,
    PENDING,
    SELL,
    ZONE,
    AnySigned,
    Kept,
    Market,
    Pair,
    policy_tuple,
    settle_arguments,
    uid_bytes,
)
from tests.contracts.scenes import MergedScene

from gridledger.chain.codec import keccak256
from gridledger.market.book import book_bytes
from gridledger.market.order_hash import recover_address

LATER = FIRST_MTU + MTU_LENGTH_S


def commit(market: Market, book: Sequence[AnySigned], mtu_start: int = FIRST_MTU) -> None:
    """Close the gate and commit the book."""
    market.close_gate(mtu_start)
    market.commit_book(book, mtu_start)


# --- orders in more places than one -----------------------------------------------------------------------------------


def test_an_order_listed_twice_is_not_filled_twice(market: Market) -> None:
    pair = Pair.of(market)
    offer = market.order(market.producer("accomplice"), SELL, 600, 10_000)
    book = [pair.offer, offer, pair.bid, pair.bid]
    commit(market, book)
    clearing = market.present(book, {0: 600, 1: 600, 2: 600, 3: 600}, price=15_000, ends=(0, 2))
    with market.refuses("OrderPresentedTwice", uid_bytes(pair.bid)):
        market.clear(clearing)


def test_an_order_listed_twice_around_another_one_is_not_filled_twice(market: Market) -> None:
    pair = Pair.of(market)
    offer = market.order(market.producer("accomplice"), SELL, 900, 10_000)
    between = market.order(pair.buyer, BUY, 300, 20_000)
    book = [pair.offer, offer, pair.bid, between, pair.bid]
    commit(market, book)
    clearing = market.present(book, {0: 600, 1: 900, 2: 600, 3: 300, 4: 600}, price=15_000, ends=(0, 2))
    with market.refuses("OrderPresentedTwice", uid_bytes(pair.bid)):
        market.clear(clearing)


def test_an_acceptance_listed_twice_is_not_dealt_twice(market: Market) -> None:
    seller, buyer = market.producer("seller"), market.consumer("buyer")
    offer = market.order(seller, SELL, 600, 10_000)
    acceptance = market.acceptance(buyer, offer, 300)
    book: list[AnySigned] = [offer, acceptance, acceptance]
    commit(market, book)
    with market.refuses("OrderPresentedTwice", uid_bytes(acceptance)):
        market.clear(market.present(book, {0: 600, 1: 300, 2: 300}, price=20_000))


def test_a_filled_order_s_second_line_is_no_open_end(market: Market) -> None:
    pair = Pair.of(market)
    book = [*pair.book, pair.bid]
    commit(market, book)
    # As an open bid at 20,000 the second line would lift the price from 15,000 to 20,000.
    clearing = market.present(book, {0: 600, 1: 600}, price=20_000, ends=(2, 1))
    with market.refuses("OrderPresentedTwice", uid_bytes(pair.bid)):
        market.clear(clearing)


def test_an_mtu_is_cleared_once(market: Market) -> None:
    pair = Pair.of(market)
    pair.cleared(market)
    with market.refuses("AlreadyCleared", ZONE, FIRST_MTU):
        market.clear(pair.clearing(market))
    with market.refuses("BookAlreadyCommitted", ZONE, FIRST_MTU):
        market.commit_book(pair.book)


def test_an_mtu_without_volume_is_cleared_once_too(market: Market) -> None:
    pair = Pair.of(market, offer_limit=20_000, bid_limit=10_000)
    pair.cleared(market)
    with market.refuses("AlreadyCleared", ZONE, FIRST_MTU):
        market.clear(pair.clearing(market))


# --- orders where they do not belong ----------------------------------------------------------------------------------


def test_another_book_than_the_committed_one_is_not_cleared(market: Market) -> None:
    pair = Pair.of(market)
    better = market.order(market.producer("better"), SELL, 600, 9_000)
    commit(market, [*pair.book, better])
    hidden = market.book(pair.book)
    committed = keccak256(book_bytes(market.book([*pair.book, better])))
    with market.refuses("BookMismatch", committed, keccak256(book_bytes(hidden))):
        market.clear(pair.clearing(market))


def test_an_order_of_another_zone_is_not_filled() -> None:
    market = Market(zones=(ZONE, ZONE + 1))
    pair = Pair.of(market)
    stranger = market.producer("stranger", zone=ZONE + 1)
    foreign = market.order(stranger, SELL, 600, 10_000)
    book = [foreign, pair.bid]
    commit(market, book)
    with market.refuses("ZoneMismatch", stranger.number, ZONE + 1, ZONE):
        market.clear(market.clearing(book))


def test_an_order_cleared_in_its_zone_is_not_cleared_in_the_next_one() -> None:
    market = Market(zones=(ZONE, ZONE + 1))
    pair = Pair.of(market)
    pair.cleared(market)
    market.commit_book(pair.book, FIRST_MTU, ZONE + 1)
    with market.refuses("ZoneMismatch", pair.seller.number, ZONE, ZONE + 1):
        market.clear(market.clearing(pair.book, zone=ZONE + 1))


@pytest.mark.parametrize("domain", [{"chain_id": CHAIN_ID + 1}, {"trading_contract": "0x" + "11" * 20}])
def test_an_order_for_another_chain_or_contract_is_not_filled(market: Market, domain: dict[str, object]) -> None:
    pair = Pair.of(market)
    foreign = market.order(pair.buyer, BUY, 600, 20_000, domain=domain)
    here = market.order(pair.buyer, BUY, 600, 20_000, salt=foreign.order.salt)
    digest = uid_bytes(here)
    moved = replace(foreign, uid=here.uid)
    book = [pair.offer, moved]
    commit(market, book)
    signer = recover_address(digest, foreign.signature)
    assert signer != pair.buyer.owner.address
    with market.refuses("SignerMismatch", digest, signer, pair.buyer.owner.address):
        market.clear(market.clearing(book))


def test_an_order_of_yesterday_is_not_filled_today(market: Market) -> None:
    pair = Pair.of(market)
    today = [pair.offer, market.order(pair.buyer, BUY, 600, 20_000, mtu_start=LATER)]
    commit(market, today, LATER)
    with market.refuses("OrderOutsideMtu", uid_bytes(pair.offer), LATER):
        market.clear(market.clearing(today, mtu_start=LATER))


def test_an_order_for_tomorrow_is_not_filled_today(market: Market) -> None:
    pair = Pair.of(market)
    tomorrow = market.order(pair.buyer, BUY, 600, 20_000, mtu_start=LATER)
    book = [pair.offer, tomorrow]
    commit(market, book)
    with market.refuses("OrderOutsideMtu", uid_bytes(tomorrow), FIRST_MTU):
        market.clear(market.clearing(book))


@pytest.mark.parametrize(("side", "limit"), [(SELL, 7_999), (SELL, -(2**63)), (BUY, 32_001), (BUY, 2**63 - 1)])
def test_a_limit_outside_floor_and_cap_is_not_filled(market: Market, side: int, limit: int) -> None:
    pair = Pair.of(market)
    odd = market.order(pair.seller if side == SELL else pair.buyer, side, 600, limit)
    book = [odd, pair.bid] if side == SELL else [pair.offer, odd]
    commit(market, book)
    with market.refuses("LimitOutsideBounds", uid_bytes(odd), limit, 8_000, 32_000):
        market.clear(market.present(book, {0: 600, 1: 600}, price=20_000))


# --- forged consent ---------------------------------------------------------------------------------------------------


def test_an_order_signed_by_the_operator_for_somebody_else_is_refused(market: Market) -> None:
    pair = Pair.of(market)
    forged = market.order(pair.buyer, BUY, 600, 32_000, signer=market.market_operator)
    book = [pair.offer, forged]
    commit(market, book)
    with market.refuses("SignerMismatch", uid_bytes(forged), market.market_operator.address, pair.buyer.owner.address):
        market.clear(market.clearing(book))


def test_an_acceptance_signed_by_the_seller_for_the_buyer_is_refused(market: Market) -> None:
    pair = Pair.of(market)
    forged = market.acceptance(pair.buyer, pair.offer, 600, signer=pair.seller.owner)
    book: list[AnySigned] = [pair.offer, forged]
    commit(market, book)
    with market.refuses("SignerMismatch", uid_bytes(forged), pair.seller.owner.address, pair.buyer.owner.address):
        market.clear(market.clearing(book))


def test_an_acceptance_is_not_moved_to_a_dearer_offer(market: Market) -> None:
    pair = Pair.of(market)
    dear = market.order(market.producer("dear"), SELL, 600, 31_000)
    acceptance = market.acceptance(pair.buyer, pair.offer, 600)
    book: list[AnySigned] = [pair.offer, dear, acceptance]
    commit(market, book)
    clearing = market.present(book, {1: 600, 2: 600}, price=20_000)
    clearing["acceptedOffers"] = [1]
    with market.refuses("AcceptanceInvalid", uid_bytes(acceptance)):
        market.clear(clearing)


def test_an_accepted_offer_is_not_overfilled_by_several_acceptances(market: Market) -> None:
    pair = Pair.of(market)
    other = market.consumer("other")
    book: list[AnySigned] = [
        pair.offer,
        market.acceptance(pair.buyer, pair.offer, 600),
        market.acceptance(other, pair.offer, 600),
    ]
    commit(market, book)
    with market.refuses("OrderOverfilled", uid_bytes(pair.offer), 600, 1_200):
        market.clear(market.present(book, {0: 600, 1: 600, 2: 600}, price=20_000))


def test_dealt_energy_is_not_sold_a_second_time_in_the_auction(market: Market) -> None:
    pair = Pair.of(market)
    guest = market.consumer("guest")
    book: list[AnySigned] = [*pair.book, market.acceptance(guest, pair.offer, 400)]
    commit(market, book)
    with market.refuses("OrderOverfilled", uid_bytes(pair.offer), 600, 1_000):
        market.clear(market.present(book, {0: 1_000, 1: 600, 2: 400}, price=15_000, ends=(0, 1)))
    # 600 in all, of which the auction bought 600 as well: the energy is not there.
    with market.refuses("EnergyNotBalanced", 400, 0):
        market.clear(market.present(book, {0: 600, 1: 600, 2: 400}, price=15_000, ends=(0, 1)))


# --- energy and prices ------------------------------------------------------------------------------------------------


def test_fills_are_not_moved_to_a_worse_offer_or_bid(market: Market) -> None:
    scene = MergedScene.of(market)
    scene.commit(market)
    with market.refuses("LimitViolated", scene.uid("roof"), 14_000, 13_000):
        market.clear(scene.clearing(market, fills=scene.fills(solar=599, roof=151)))
    with market.refuses("LimitViolated", scene.uid("low"), 9_000, 13_000):
        market.clear(scene.clearing(market, fills=scene.fills(green=299, low=1)))


def test_an_owner_does_not_trade_with_itself_through_two_meters(market: Market) -> None:
    seller = market.producer("member")
    buyer = market.register(seller.owner, import_w=40_000)
    book = [market.order(seller, SELL, 600, 10_000), market.order(buyer, BUY, 600, 20_000)]
    commit(market, book)
    with market.refuses("SelfMatch", seller.owner.address):
        market.clear(market.present(book, {0: 600, 1: 600}, price=15_000, ends=(0, 1)))


def test_a_meter_does_not_sell_and_buy_at_once(market: Market) -> None:
    both, other = market.producer("both", import_w=40_000), market.consumer("other")
    book = [
        market.order(both, SELL, 600, 10_000),
        market.order(both, BUY, 100, 20_000),
        market.order(other, BUY, 500, 20_000),
    ]
    commit(market, book)
    with market.refuses("SidesMixed", both.number):
        market.clear(market.present(book, {0: 600, 1: 100, 2: 500}, price=15_000, ends=(0, 2)))


@pytest.mark.parametrize(("side", "orders"), [(SELL, 1), (SELL, 3), (BUY, 1), (BUY, 3)])
def test_no_meter_trades_beyond_its_capacity(market: Market, side: int, orders: int) -> None:
    seller = market.producer("seller", export_w=2_400 if side == SELL else 40_000)
    buyer = market.consumer("buyer", import_w=2_400 if side == BUY else 40_000)
    # 2,400 W is 600 Wh in a quarter of an hour.
    parts = [601] if orders == 1 else [200, 200, 201]
    offers = parts if side == SELL else [601]
    bids = parts if side == BUY else [601]
    book = [market.order(seller, SELL, wh, 10_000) for wh in offers]
    book += [market.order(buyer, BUY, wh, 20_000) for wh in bids]
    commit(market, book)
    fills = dict(enumerate([*offers, *bids]))
    with market.refuses("CapacityExceeded", (seller if side == SELL else buyer).number, 601, 600):
        market.clear(market.present(book, fills, price=15_000, ends=(0, len(offers))))


def test_orders_too_large_for_their_words_do_not_run_over(market: Market) -> None:
    seller, buyer = market.producer("seller"), market.consumer("buyer")
    # 256 fills of 2^40 are 2^48: the packed energy would read zero again.
    huge = [market.order(seller, SELL, 2**40 - 1, 10_000) for _ in range(257)]
    book = [*huge, market.order(buyer, BUY, 600, 20_000)]
    commit(market, book)
    fills = dict.fromkeys(range(257), 2**40 - 1) | {257: 600}
    roomy = market.present(book, fills, price=15_000, ends=(0, 257))
    market.gas_limit = 2**26
    with market.refuses("CapacityExceeded", seller.number, 257 * (2**40 - 1), 10_000):
        market.clear(roomy)


def test_an_order_for_no_energy_sets_no_price(market: Market) -> None:
    pair = Pair.of(market)
    empty = market.order(market.consumer("shill"), BUY, 0, 19_999)
    book = [*pair.book, empty]
    commit(market, book)
    with market.refuses("EndInvalid", 2):
        market.clear(market.present(book, {0: 600, 1: 600}, price=19_999, ends=(2, 1)))


def test_ends_that_are_not_the_tightest_move_the_price_only_within_the_limits(market: Market) -> None:
    pair = Pair.of(market, offer_limit=10_000, bid_limit=30_000)
    low_bid = market.order(market.consumer("low bidder"), BUY, 100, 9_000)
    book = [*pair.book, low_bid]
    commit(market, book)
    # The right ends are 10,000 and 30,000. Who names others leaves the proof in the book.
    wide, kept = market.chunk(book, {0: 600, 1: 600}, number=0, last=True, price=19_500, ends=(2, 1))
    market.accept(wide, kept)


# --- time and policy --------------------------------------------------------------------------------------------------


def test_a_clearing_never_comes_too_late_for_the_grid_operator_to_answer(market: Market) -> None:
    pair = Pair.of(market)
    commit(market, pair.book)
    clearing = pair.clearing(market)
    market.move_to(FIRST_MTU - 179)
    with market.refuses("ClearingTooLate", FIRST_MTU, FIRST_MTU - 180, FIRST_MTU - 179):
        market.clear(clearing)
    market.move_to(FIRST_MTU - 180)
    market.clear(clearing)
    market.move_to(FIRST_MTU - 60)
    assert market.view("EnergyDispatching", "outcomeOf", ZONE, FIRST_MTU) == PENDING
    market.stop()


def test_a_clearing_by_a_stale_policy_is_refused_or_changes_nothing() -> None:
    market = Market(policy_delay_s=0)
    start = FIRST_MTU + 4 * 86_400
    new = {"cap_offset_cents_per_mwh": -13_000, "grid_fee_cents_per_mwh": 5_000}
    market.send(market.regulator, "GridPolicy", "schedulePolicy", policy_tuple(market.policy, **new), start)
    pair = Pair.of(market, bid_limit=19_001, mtu_start=start)
    market.close_gate(start)
    market.commit_book(pair.book, start)
    with market.refuses("LimitOutsideBounds", uid_bytes(pair.bid), 19_001, 8_000, 19_000):
        market.clear(market.present(pair.book, {0: 600, 1: 600}, price=14_500, ends=(0, 1), mtu_start=start))


def test_the_fees_of_a_clearing_are_those_of_its_own_policy() -> None:
    market = Market(policy_delay_s=0)
    start = FIRST_MTU + 4 * 86_400
    new: dict[str, Any] = {"grid_fee_cents_per_mwh": 5_000, "low_carbon_relief_cents_per_mwh": 0}
    market.send(market.regulator, "GridPolicy", "schedulePolicy", policy_tuple(market.policy, **new), start)
    pair = Pair.of(market, mtu_start=start)
    market.close_gate(start)
    market.commit_book(pair.book, start)
    stale = Kept.of(market.proposal(pair.book, mtu_start=start), zone=ZONE, mtu_start=start)
    market.clear(pair.clearing(market))
    market.policy = replace(market.policy, **new)
    right = Kept.of(market.proposal(pair.book, mtu_start=start), zone=ZONE, mtu_start=start)
    assert right.positions[1].fee_microcents == 600 * 5_000
    market.deliver(start)
    with market.refuses("StateMismatch", right.state_hash(), stale.state_hash()):
        market.send(market.market_operator, "EnergySettlement", "settle", *settle_arguments(stale, [1], [-600]))
    market.settle(right, {0: 600, 1: -600})


def test_a_cancellation_after_the_gate_does_not_undo_the_book(market: Market) -> None:
    pair = Pair.of(market)
    commit(market, pair.book)
    market.send(pair.buyer.owner, "EnergyTrading", "cancel", uid_bytes(pair.bid))
    market.send(pair.seller.owner, "EnergyTrading", "cancelUpTo", 2**64 - 1)
    market.clear(pair.clearing(market))


def test_a_halt_in_between_stops_the_clearing_but_not_the_cancellation(market: Market) -> None:
    pair = Pair.of(market)
    market.send(market.regulator, "GridPolicy", "setHalted", 0, True)
    market.send(pair.buyer.owner, "EnergyTrading", "cancel", uid_bytes(pair.bid))
    market.send(market.regulator, "GridPolicy", "setHalted", 0, False)
    commit(market, pair.book)
    with market.refuses("OrderIsCancelled", uid_bytes(pair.bid)):
        market.clear(pair.clearing(market))


# --- settlement -------------------------------------------------------------------------------------------------------


def test_somebody_else_s_positions_are_not_settled_under_this_mtu(market: Market) -> None:
    pair = Pair.of(market)
    mine = pair.delivered(market)
    theirs_pair = Pair(
        seller=pair.seller,
        buyer=pair.buyer,
        offer=market.order(pair.seller, SELL, 50, 10_000, mtu_start=FIRST_MTU + 4 * MTU_LENGTH_S),
        bid=market.order(pair.buyer, BUY, 50, 20_000, mtu_start=FIRST_MTU + 4 * MTU_LENGTH_S),
        mtu_start=FIRST_MTU + 4 * MTU_LENGTH_S,
    )
    theirs = theirs_pair.cleared(market)
    swapped = replace(theirs, mtu_start=FIRST_MTU)
    with market.refuses("StateMismatch", mine.state_hash(), theirs.state_hash()):
        market.send(market.market_operator, "EnergySettlement", "settle", *settle_arguments(swapped, [0], [50]))


def test_a_correction_starts_from_the_last_version_and_no_other(market: Market) -> None:
    pair = Pair.of(market)
    market.deposit(market.supplier, EUR)
    first, _ = market.settle(pair.delivered(market), {0: 600, 1: -600})
    second, _ = market.settle(first, {0: 500})
    for stale in (first, replace(second, positions=(replace(second.positions[0], version=0), second.positions[1]))):
        with market.refuses("StateMismatch", second.state_hash(), stale.state_hash()):
            market.send(market.market_operator, "EnergySettlement", "settle", *settle_arguments(stale, [0], [600]))


def test_a_position_named_twice_in_one_settlement_is_paid_once(market: Market) -> None:
    pair = Pair.of(market)
    market.deposit(market.supplier, EUR)
    kept = pair.delivered(market)
    with market.undone():
        market.settle(kept, {0: 500})
        once = market.free(pair.seller.owner)
    market.send(market.market_operator, "EnergySettlement", "settle", *settle_arguments(kept, [0, 0], [600, 500]))
    assert market.free(pair.seller.owner) == once
    twice = kept.settled({0: 600}).settled({0: 500})
    assert market.view("EnergyTrading", "stateHashOf", ZONE, FIRST_MTU, 0) == twice.state_hash()
    assert market.view("EnergyTrading", "clearingOf", ZONE, FIRST_MTU)["openPositions"] == 1
    market.assert_solvent()


def test_withdrawing_between_clearing_and_settlement_leaves_the_seller_paid(market: Market) -> None:
    pair = Pair.of(market)
    kept = pair.cleared(market)
    market.withdraw(pair.buyer.owner, market.free(pair.buyer.owner))
    market.deliver()
    market.settle(kept, {0: 600, 1: -600})
    assert market.free(pair.seller.owner) == 10 * EUR + 9_000_000


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
            market.request_withdrawal(supplier, 1)
    market.assert_solvent()


def test_a_policy_leaves_time_between_gate_and_answer_deadline(market: Market) -> None:
    policy = replace(market.policy, gate_closure_s=0, answer_lead_s=0)
    with market.refuses("PolicyRefused"):
        Market(policy=policy)
