"""Which listed orders cannot trade is found by the contract itself, by the rule the node lists orders by.

Prices in cents per MWh, energy in Wh, money in microcents.
"""

from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from tests.contracts.bond_world import NO_ORDER_WORDS, BondWorld, Cleared
from tests.contracts.harness import (
    BUY,
    EUR,
    FIRST_MTU,
    SELL,
    ZONE,
    Actor,
    AnySigned,
    Market,
    Meter,
    Receipt,
    uid_bytes,
)
from tests.contracts.words import MTU_LENGTH_S

from gridledger.chain.codec import keccak256
from gridledger.market.book import Standing, list_orders
from gridledger.market.model import CashAccount, SignedAcceptance, SignedOrder

NONE, SUSPENDED, OFFER_INELIGIBLE, OTHER_SIDE, OVER_CAPACITY, UNFUNDED = range(6)
FEE_CENTS = 2_000  # grid fee of the default policy, per MWh
SHORTAGE = 32_500


class Desk:
    """A committed book of which the operator presents orders."""

    def __init__(self, market: Market, book: Sequence[AnySigned]) -> None:
        self.world = BondWorld(market, bond_eur=0)
        self.market = market
        self.book = list(book)
        self.offers = {one.uid: one for one in book if isinstance(one, SignedOrder)}
        self.closed: Cleared = self.world.close(self.book)

    def presented(self, signed: AnySigned) -> dict[str, Any]:
        """The contract's ListedOrder."""
        offer = None
        if isinstance(signed, SignedAcceptance):
            offer = self.offers.get(signed.acceptance.offer_uid)
        return {
            "order": self.world.words(signed),
            "offer": NO_ORDER_WORDS if offer is None else self.world.words(offer),
        }

    def record(self, *owners: Sequence[AnySigned], **changes: Any) -> Receipt:
        """Present the orders of some owners."""
        groups = [[self.presented(one) for one in group] for group in owners]
        arguments = {"zone": ZONE, "mtu": FIRST_MTU, "book": self.closed.book, "owners": groups} | changes
        return self.market.send(self.world.operator, "MarketBond", "recordIneligible", *arguments.values())

    def recorded(self) -> list[bool]:
        """By place of the book."""
        places = range(len(self.book))
        return [bool(self.market.view("MarketBond", "isIneligible", ZONE, FIRST_MTU, place)) for place in places]

    def reasons(self, receipt: Receipt) -> list[tuple[int, int]]:
        """Place and reason of each change."""
        return [(event.arguments["place"], event.arguments["reason"]) for event in receipt.named("EligibilityRecorded")]


def poor(market: Market, microcents: int, name: str = "poor", **options: Any) -> Meter:
    """A consumer with just that much money."""
    meter = market.consumer(name, eur=0, **options)
    if microcents:
        market.deposit(meter.owner, microcents)
    return meter


def cash_account(market: Market, owner: Actor) -> CashAccount:
    """An account as the node knows it."""
    requested = market.view("EnergyTrading", "requestedBy", owner.address)
    return CashAccount(
        free_microcents=market.free(owner),
        credit_microcents=market.credit(owner),
        withdrawal_microcents=requested["withdrawalMicrocents"],
        withdrawal_at=requested["withdrawalAt"],
        cut_microcents=requested["cutMicrocents"],
        cut_at=requested["cutAt"],
    )


@pytest.mark.parametrize(("short_by", "recorded"), [(0, []), (1, [(1, UNFUNDED)])])
def test_orders_are_funded_together_to_the_microcent(
    market: Market, short_by: int, recorded: list[tuple[int, int]]
) -> None:
    need = 100 * (20_000 + FEE_CENTS) + 50 * (10_000 + FEE_CENTS)
    meter = poor(market, need - short_by)
    desk = Desk(market, [market.order(meter, BUY, 100, 20_000), market.order(meter, BUY, 50, 10_000)])
    assert desk.reasons(desk.record(desk.book)) == recorded


def test_an_order_that_cannot_be_funded_does_not_stop_a_later_smaller_one(market: Market) -> None:
    meter = poor(market, 100 * (10_000 + FEE_CENTS))
    orders = [market.order(meter, BUY, 101, 10_000), market.order(meter, BUY, 100, 10_000)]
    desk = Desk(market, orders)
    assert desk.reasons(desk.record(orders)) == [(0, UNFUNDED)]


@pytest.mark.parametrize("short_by", [0, 1])
def test_a_seller_must_fund_the_shortage_it_may_leave(market: Market, short_by: int) -> None:
    meter = poor(market, 100 * (SHORTAGE - 12_000) - short_by, export_w=40_000)
    offer = market.order(meter, SELL, 100, 12_000)
    desk = Desk(market, [offer])
    assert desk.reasons(desk.record([offer])) == [(0, UNFUNDED)] * short_by


@pytest.mark.parametrize("short_by", [0, 1])
def test_credit_counts_as_funds(market: Market, short_by: int) -> None:
    meter = poor(market, 0)
    market.deposit(market.supplier, EUR)
    market.set_credit(meter.owner, 10 * (20_000 + FEE_CENTS) - short_by)
    bid = market.order(meter, BUY, 10, 20_000)
    desk = Desk(market, [bid])
    assert desk.reasons(desk.record([bid])) == [(0, UNFUNDED)] * short_by


def test_capacity_is_a_meters_and_counts_orders_and_acceptances(market: Market) -> None:
    small = market.consumer("small", import_w=4_000)  # 1,000 Wh
    other = market.register(small.owner, import_w=4_000)
    offer = market.order(market.producer("seller"), SELL, 5_000, 10_000)
    orders: list[AnySigned] = [
        market.order(small, BUY, 600, 20_000),
        market.order(other, BUY, 1_000, 20_000),
        market.acceptance(small, offer, 400),
        market.order(small, BUY, 1, 20_000),
        market.order(other, BUY, 1, 20_000),
    ]
    desk = Desk(market, [offer, *orders])
    assert desk.reasons(desk.record(orders)) == [(4, OVER_CAPACITY), (5, OVER_CAPACITY)]


def test_the_first_side_an_owner_takes_is_its_side(market: Market) -> None:
    buyer = market.consumer("both", eur=10)
    roof = market.register(buyer.owner, export_w=40_000, source=1)
    orders = [
        market.order(roof, SELL, 100, 10_000),
        market.order(buyer, BUY, 100, 20_000),
        market.order(roof, SELL, 100, 11_000),
    ]
    desk = Desk(market, orders)
    assert desk.reasons(desk.record(orders)) == [(1, OTHER_SIDE)]


def test_an_order_that_does_not_count_takes_no_side(market: Market) -> None:
    buyer = poor(market, 100 * (20_000 + FEE_CENTS))
    roof = market.register(buyer.owner, export_w=40_000)
    orders = [market.order(roof, SELL, 10_000, 8_000), market.order(buyer, BUY, 100, 20_000)]
    desk = Desk(market, orders)
    assert desk.reasons(desk.record(orders)) == [(0, UNFUNDED)]


def test_nothing_of_a_suspended_owner_can_trade(market: Market) -> None:
    meter = market.consumer("suspended")
    orders = [market.order(meter, BUY, 100, 20_000), market.order(meter, BUY, 100, 10_000)]
    desk = Desk(market, orders)
    market.suspend(meter.owner)
    assert desk.reasons(desk.record(orders)) == [(0, SUSPENDED), (1, SUSPENDED)]


def test_an_acceptance_falls_with_its_offer(market: Market) -> None:
    seller = poor(market, 0, export_w=40_000)
    offer = market.order(seller, SELL, 600, 10_000)
    acceptance = market.acceptance(market.consumer("buyer"), offer, 300)
    desk = Desk(market, [offer, acceptance])
    assert desk.reasons(desk.record([offer], [acceptance])) == [(0, UNFUNDED), (1, OFFER_INELIGIBLE)]


def test_the_last_record_stands_and_takes_back_what_no_longer_holds(market: Market) -> None:
    meter = poor(market, 0)
    orders = [market.order(meter, BUY, 100, 20_000), market.order(meter, BUY, 100, 10_000)]
    desk = Desk(market, orders)
    desk.record(orders)
    assert desk.recorded() == [True, True]
    market.deposit(meter.owner, 100 * (20_000 + FEE_CENTS))
    assert desk.reasons(desk.record(orders)) == [(0, NONE)]
    assert desk.recorded() == [False, True]
    assert desk.reasons(desk.record(orders)) == []


def test_whoever_was_recorded_must_be_presented_again(market: Market) -> None:
    """Else a small order could be kept out by a large one that is later kept out itself."""
    meter = poor(market, 100 * (10_000 + FEE_CENTS))
    large, small, smallest = (market.order(meter, BUY, wh, 10_000) for wh in (90, 20, 10))
    desk = Desk(market, [large, small, smallest])
    desk.record([large, small, smallest])
    assert desk.recorded() == [False, True, False]
    with desk.world.refuses("RecordIncomplete", meter.owner.address, 1, 0):
        desk.record([large, smallest])
    desk.record([small, smallest])
    assert desk.recorded() == [False, False, False]


@pytest.mark.parametrize(("after_the_gate", "recorded"), [(-1, [(0, UNFUNDED)]), (0, []), (1, [])])
def test_a_withdrawal_counts_if_it_was_requested_before_the_gate(
    market: Market, after_the_gate: int, recorded: list[tuple[int, int]]
) -> None:
    meter = poor(market, 100 * (20_000 + FEE_CENTS))
    bid = market.order(meter, BUY, 100, 20_000)
    market.move_to(FIRST_MTU - market.policy.gate_closure_s + after_the_gate)
    market.request_withdrawal(meter.owner, 1)
    desk = Desk(market, [bid])
    assert desk.reasons(desk.record([bid])) == recorded


@pytest.mark.parametrize(("after_the_gate", "recorded"), [(-1, [(0, UNFUNDED)]), (0, []), (1, [])])
def test_a_credit_cut_counts_if_it_was_requested_before_the_gate(
    market: Market, after_the_gate: int, recorded: list[tuple[int, int]]
) -> None:
    meter = poor(market, 0)
    market.deposit(market.supplier, EUR)
    market.set_credit(meter.owner, 100 * (20_000 + FEE_CENTS))
    bid = market.order(meter, BUY, 100, 20_000)
    market.move_to(FIRST_MTU - market.policy.gate_closure_s + after_the_gate)
    market.set_credit(meter.owner, 100 * (20_000 + FEE_CENTS) - 1)
    desk = Desk(market, [bid])
    assert desk.reasons(desk.record([bid])) == recorded


def test_places_beyond_the_first_word_are_kept_apart(market: Market) -> None:
    meter = poor(market, 300 * 10 * (10_000 + FEE_CENTS))
    orders = [market.order(meter, BUY, 10, 10_000) for _ in range(300)]
    large = market.order(meter, BUY, 1_000, 10_000)
    desk = Desk(market, [*orders[:258], large, *orders[258:]])
    assert desk.reasons(desk.record([orders[1], orders[2], *orders[10:90], large])) == []
    market.withdraw(meter.owner, 300 * 10 * (10_000 + FEE_CENTS) - 1)
    desk.record([orders[2], large])
    assert [place for place, recorded in enumerate(desk.recorded()) if recorded] == [2, 258]


# --- refusals -----------------------------------------------------------------------------------------------------


@pytest.fixture
def desk(market: Market) -> Desk:
    """Two bids of one unfunded owner and one of another."""
    one, other = poor(market, 0), poor(market, 0, "other")
    return Desk(
        market,
        [
            market.order(one, BUY, 100, 20_000),
            market.order(one, BUY, 50, 20_000),
            market.order(other, BUY, 100, 20_000),
        ],
    )


def test_orders_of_two_owners_are_not_mixed(desk: Desk) -> None:
    first, other = desk.book[0], desk.book[2]
    assert isinstance(first, SignedOrder)
    with desk.world.refuses("OwnersMixed", uid_bytes(other), first.order.owner):
        desk.record([first, other])


def test_orders_are_presented_in_the_order_of_the_book_and_once(desk: Desk) -> None:
    with desk.world.refuses("OrdersNotAscending", uid_bytes(desk.book[0])):
        desk.record([desk.book[1], desk.book[0]])
    with desk.world.refuses("OrdersNotAscending", uid_bytes(desk.book[0])):
        desk.record([desk.book[0], desk.book[0]])


def test_only_listed_and_signed_orders_are_recorded(desk: Desk) -> None:
    market = desk.market
    meter = market.consumer("third")
    unlisted = market.order(meter, BUY, 100, 20_000)
    with desk.world.refuses("OrderNotListed", uid_bytes(unlisted), 3):
        desk.record([unlisted])
    forged = market.order(meter, BUY, 100, 20_000, signer=market.market_operator)
    error = ("SignerMismatch", uid_bytes(forged), market.market_operator.address, meter.owner.address)
    with desk.world.refuses(*error):
        desk.record([forged])


def test_an_order_that_does_not_stand_is_not_recorded_for_it_proves_nothing_anyway(market: Market) -> None:
    meter = poor(market, 0)
    expired = market.order(meter, BUY, 100, 20_000, expiry=FIRST_MTU - 301)
    desk = Desk(market, [expired])
    with desk.world.refuses("OrderExpired", uid_bytes(expired), FIRST_MTU - 301, FIRST_MTU - 300):
        desk.record([expired])


def test_an_acceptance_is_weighed_with_its_listed_offer(market: Market) -> None:
    offer = market.order(market.producer("seller"), SELL, 600, 10_000)
    acceptance = market.acceptance(market.consumer("buyer"), offer, 300)
    desk = Desk(market, [acceptance])
    with desk.world.refuses("MeterUnknown", 0):
        desk.record([acceptance])
    desk.offers[offer.uid] = offer
    with desk.world.refuses("OrderNotListed", uid_bytes(offer), 1):
        desk.record([acceptance])


def test_the_record_is_made_between_book_and_clearing(market: Market) -> None:
    meter = poor(market, 0)
    bid = market.order(meter, BUY, 100, 20_000)
    world = BondWorld(market, bond_eur=0)
    groups = [[{"order": world.words(bid), "offer": NO_ORDER_WORDS}]]

    def record(book: bytes) -> Receipt:
        return market.send(world.operator, "MarketBond", "recordIneligible", ZONE, FIRST_MTU, book, groups)

    with world.refuses("GateStillOpen", FIRST_MTU, world.gate(), market.now):
        record(b"")
    market.close_gate()
    with world.refuses("BookMissing", ZONE, FIRST_MTU):
        record(b"")
    closed = world.close([bid])
    with world.refuses("BookMismatch", keccak256(closed.book), keccak256(closed.book[1:])):
        record(closed.book[1:])
    deadline = world.clearing_deadline()
    with market.undone():
        market.move_to(deadline + 1)
        with world.refuses("ClearingTimeOver", FIRST_MTU, deadline, deadline + 1):
            record(closed.book)
    with market.undone():
        market.move_to(deadline)
        record(closed.book)
    for last in (False, True):
        with market.undone():
            market.clear(market.clearing([bid], market.proposal([bid], result=market.auction([]))) | {"last": last})
            with world.refuses("ClearingBegun", ZONE, FIRST_MTU):
                record(closed.book)


# --- the node's rule ----------------------------------------------------------------------------------------------


def test_the_contract_finds_exactly_the_orders_the_node_lists_as_ineligible(market: Market) -> None:
    random = Random(5)
    meters = [poor(market, 0, f"buyer {number}") for number in range(3)]
    meters += [poor(market, 0, f"seller {number}", export_w=40_000) for number in range(3)]
    found = 0
    for _ in range(60):
        with market.undone():
            found += compare(market, random, meters)
    assert found > 60


def compare(market: Market, random: Random, meters: Sequence[Meter]) -> int:
    """One random book; returns how many orders cannot trade."""
    book: list[AnySigned] = []
    for _ in range(random.randint(1, 12)):
        meter = random.choice(meters)
        offers = [one for one in book if isinstance(one, SignedOrder) and one.order.side == SELL]
        if meter in meters[:3] and offers and random.random() < 0.4:
            book.append(market.acceptance(meter, random.choice(offers), random.randint(1, 50)))
        else:
            side = BUY if meter in meters[:3] else SELL
            book.append(market.order(meter, side, random.randint(1, 100), random.randint(8_000, 32_000)))
    market.deposit(market.supplier, EUR)
    for meter in random.sample(meters, 4):
        market.deposit(meter.owner, random.randint(1, 5_000_000))
        market.set_credit(meter.owner, random.randint(1, 1_000_000))
    for meter in random.sample(meters, 3):
        market.move_to(FIRST_MTU - market.policy.gate_closure_s - random.choice([0, 1]))
        market.request_withdrawal(meter.owner, random.randint(0, market.free(meter.owner)))
        if market.credit(meter.owner):
            market.set_credit(meter.owner, random.randint(0, market.credit(meter.owner)))
    desk = Desk(market, book)
    suspended = [one.owner for one in meters if random.random() < 0.15]
    for owner in suspended:
        market.suspend(owner)
    standing = Standing(
        gate_closure=FIRST_MTU - market.policy.gate_closure_s,
        accounts={one.owner.address: cash_account(market, one.owner) for one in meters},
        suspended=frozenset(owner.address for owner in suspended),
        policy=market.rules(),
        prices=market.prices(),
        meters={one.number: market.facts(one.number) for one in meters},
        mtu_length_s=MTU_LENGTH_S,
    )
    listed = list_orders(list(enumerate(book)), standing)
    # Sellers first, so that an acceptance knows whether its offer stands.
    groups = [[one for one in book if owner_of(one) == meter.owner.address] for meter in (*meters[3:], *meters[:3])]
    desk.record(*(group for group in groups if group))
    assert desk.recorded() == [entry.ineligible is not None for entry in listed]
    return sum(desk.recorded())


def owner_of(signed: AnySigned) -> str:
    return signed.acceptance.owner if isinstance(signed, SignedAcceptance) else signed.order.owner
