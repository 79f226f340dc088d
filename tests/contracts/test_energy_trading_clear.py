"""A clearing is accepted only if every check of the trading contract holds; a refused one changes nothing.

Prices in cents per MWh, energy in Wh, money in microcents.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import pytest
from tests.contracts.harness import (
    BUY,
    CHAIN_ID,
    EUR,
    FIRST_MTU,
    MTU_LENGTH_S,
    NO_ORDER,
    SELL,
    ZONE,
    ClearingData,
    Market,
    Meter,
    Pair,
    Signed,
    actor,
)

CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Two offers and two bids that trade, one of each that does not.

    Filled offers end at 12,000, filled bids at 18,000; the open bid at 9,000 and the open offer at 25,000 lie outside,
    so the price is 15,000. The presented orders are in this sequence: solar, gas, large, small.
    """

    solar: Signed
    gas: Signed
    large: Signed
    small: Signed
    low_bid: Signed
    dear_offer: Signed
    meters: dict[str, Meter]

    @classmethod
    def of(cls, market: Market, zone: int = ZONE) -> "Scene":
        """Six funded members with an order each."""
        meters = {
            "solar": market.producer("solar", zone=zone),
            "gas": market.producer("gas", source=0, zone=zone),
            "large": market.consumer("large", zone=zone),
            "small": market.consumer("small", zone=zone),
            "low_bid": market.consumer("low bidder", zone=zone),
            "dear_offer": market.producer("dear seller", zone=zone),
        }
        return cls(
            solar=market.order(meters["solar"], SELL, 600, 10_000),
            gas=market.order(meters["gas"], SELL, 400, 12_000),
            large=market.order(meters["large"], BUY, 700, 20_000),
            small=market.order(meters["small"], BUY, 300, 18_000),
            low_bid=market.order(meters["low_bid"], BUY, 500, 9_000),
            dear_offer=market.order(meters["dear_offer"], SELL, 500, 25_000),
            meters=meters,
        )

    @property
    def book(self) -> list[Signed]:
        """The book in receipt order, which is not the order of the meters."""
        return [self.large, self.low_bid, self.solar, self.dear_offer, self.gas, self.small]

    def clearing(self, market: Market) -> ClearingData:
        """The right clearing."""
        matches = [(self.solar, self.large, 600), (self.gas, self.large, 100), (self.gas, self.small, 300)]
        return market.clearing(self.book, matches, lower=self.gas, upper=self.small)


Change = Callable[[ClearingData], None]


def set_order(index: int, **fields: Any) -> Change:
    """Present one order otherwise than it was signed or listed."""
    return lambda clearing: clearing["orders"][index].update(fields)


def set_match(index: int, **fields: Any) -> Change:
    """Present one match otherwise."""
    return lambda clearing: clearing["matches"][index].update(fields)


def set_top(**fields: Any) -> Change:
    """Present a field of the clearing otherwise."""
    return lambda clearing: clearing.update(fields)


def flip_first_book_byte(clearing: ClearingData) -> None:
    clearing["book"] = bytes([clearing["book"][0] ^ 1]) + clearing["book"][1:]


def cut_book(clearing: ClearingData) -> None:
    clearing["book"] = clearing["book"][:-40]


def swap_two_book_lines(clearing: ClearingData) -> None:
    book = clearing["book"]
    clearing["book"] = book[40:80] + book[:40] + book[80:]


def swap_first_two_orders(clearing: ClearingData) -> None:
    orders = clearing["orders"]
    orders[0], orders[1] = orders[1], orders[0]


def present_an_order_twice(clearing: ClearingData) -> None:
    clearing["orders"].insert(1, deepcopy(clearing["orders"][0]))


def name_three_ends(clearing: ClearingData) -> None:
    clearing["ends"] = [deepcopy(clearing["orders"][0]) for _ in range(3)]


def drop_the_last_match(clearing: ClearingData) -> None:
    clearing["matches"].pop()


def flip_signature_parity(clearing: ClearingData) -> None:
    order = clearing["orders"][0]
    order["vs"] = (int.from_bytes(order["vs"]) ^ (1 << 255)).to_bytes(32)


def use_the_other_half_of_s(clearing: ClearingData) -> None:
    order = clearing["orders"][0]
    s = int.from_bytes(order["vs"]) & ((1 << 255) - 1)
    order["vs"] = (CURVE_ORDER - s).to_bytes(32)


BAD_CLEARINGS: dict[str, tuple[Change, str]] = {
    "a book with one bit flipped": (flip_first_book_byte, "BookMismatch"),
    "a book without its last line": (cut_book, "BookMismatch"),
    "a book with two lines swapped": (swap_two_book_lines, "BookMismatch"),
    "an empty book": (set_top(book=b""), "BookMismatch"),
    "the book of another zone": (set_top(zone=ZONE + 1), "BookMissing"),
    "the book of another MTU": (set_top(mtuStart=FIRST_MTU + MTU_LENGTH_S), "BookMissing"),
    "a price one above the midpoint": (set_top(priceCentsPerMwh=15_001), "PriceNotMidpoint"),
    "a price one below the midpoint": (set_top(priceCentsPerMwh=14_999), "PriceNotMidpoint"),
    "a lower end that was not presented": (set_top(lowerEnd=4), "EndInvalid"),
    "an upper end that was not presented": (set_top(upperEnd=NO_ORDER - 1), "EndInvalid"),
    "ends the wrong way round": (set_top(lowerEnd=3, upperEnd=1), "EndsCrossed"),
    "three named ends": (name_three_ends, "EndInvalid"),
    "orders not by meter": (swap_first_two_orders, "OrdersNotAscending"),
    "an order presented twice": (present_an_order_twice, "OrdersNotAscending"),
    "an offer filled beyond its quantity": (set_match(0, energyWh=601), "OrderOverfilled"),
    "a bid filled beyond its quantity": (set_match(2, energyWh=301, sell=0), "OrderOverfilled"),
    "a match of the largest energy": (set_match(0, energyWh=2**64 - 1), "OrderOverfilled"),
    "a match without energy": (set_match(1, energyWh=0), "MatchInvalid"),
    "a match with an offer not presented": (set_match(0, sell=4), "MatchInvalid"),
    "a match with a bid not presented": (set_match(0, buy=4), "MatchInvalid"),
    "a match of two offers": (set_match(0, buy=1), "MatchInvalid"),
    "a match of two bids": (set_match(0, sell=3), "MatchInvalid"),
    "a match the wrong way round": (set_match(0, sell=2, buy=0), "MatchInvalid"),
    "a presented order without energy": (drop_the_last_match, "OrderWithoutEnergy"),
    "a larger quantity than signed": (set_order(0, quantityWh=6_000), "SignerMismatch"),
    "another limit than signed": (set_order(0, limitCentsPerMwh=9_999), "SignerMismatch"),
    "another side than signed": (set_order(0, side=BUY), "SignerMismatch"),
    "another product than signed": (set_order(0, product=1), "SignerMismatch"),
    "another way of pricing than signed": (set_order(0, pricing=1), "SignerMismatch"),
    "another first MTU than signed": (set_order(0, firstMtuStart=0), "SignerMismatch"),
    "another last MTU than signed": (set_order(0, lastMtuStart=FIRST_MTU + 900), "SignerMismatch"),
    "another expiry than signed": (set_order(0, expiry=2**63), "SignerMismatch"),
    "another salt than signed": (set_order(0, salt=0), "SignerMismatch"),
    "another member's meter": (set_order(3, meter=5), "SignerMismatch"),
    "a meter nobody registered": (set_order(3, meter=99), "MeterUnknown"),
    "a signature of the other parity": (flip_signature_parity, "SignerMismatch"),
    "a signature in its malleable twin": (use_the_other_half_of_s, "SignerMismatch"),
    "a signature of zeros": (set_order(0, r=bytes(32), vs=bytes(32)), "ECDSAInvalidSignature"),
    "a signature in the upper half": (set_order(0, vs=b"\x7f" + bytes([255]) * 31), "ECDSAInvalidSignatureS"),
    "a place in the book that is another's": (set_order(0, bookIndex=3), "OrderNotListed"),
    "a place beyond the book": (set_order(0, bookIndex=6), "OrderNotListed"),
    "the furthest place there is": (set_order(0, bookIndex=2**32 - 1), "OrderNotListed"),
}


@pytest.fixture
def scene(market: Market) -> Scene:
    """The scene with its book committed."""
    made = Scene.of(market)
    market.close_gate()
    market.commit_book(made.book)
    return made


def test_a_right_clearing_locks_each_side_to_the_unit_and_schedules_the_trades(market: Market, scene: Scene) -> None:
    receipt = market.clear(scene.clearing(market))
    assert receipt.one("MarketCleared") == {
        "zone": ZONE,
        "mtuStart": FIRST_MTU,
        "priceCentsPerMwh": 15_000,
        "tradedWh": 1_000,
        "tradeCount": 3,
    }
    opened = {event.arguments["meter"]: event.arguments for event in receipt.named("PositionOpened")}
    # Offers lock shortage - price = 32,500 - 15,000; bids lock price x energy + fees of 1,000 (solar) or 2,000.
    locks = {"solar": 600 * 17_500, "gas": 400 * 17_500, "large": 700 * 15_000 + 800_000, "small": 300 * 17_000}
    for name, locked in locks.items():
        assert opened[scene.meters[name].number]["lockedMicrocents"] == locked
        assert market.free(scene.meters[name].owner) == 10 * EUR - locked
    assert [opened[scene.meters[name].number]["contractedWh"] for name in locks] == [600, 400, -700, -300]
    assert [opened[scene.meters[name].number]["feeMicrocents"] for name in locks] == [0, 0, 800_000, 600_000]
    assert market.escrow() == sum(locks.values())
    traded = [(event.arguments["sellUid"], event.arguments["buyUid"]) for event in receipt.named("EnergyTraded")]
    assert traded[0] == (scene.solar.uid, scene.large.uid)
    scheduled = receipt.one("DispatchScheduled")
    assert (scheduled["tradedWh"], scheduled["answerDeadline"]) == (1_000, FIRST_MTU - 60)
    state = market.view("EnergyTrading", "clearingOf", ZONE, FIRST_MTU)
    assert state[1:] == (scheduled["scheduleHash"], 15_000, True, 4)
    market.assert_solvent()


@pytest.mark.parametrize("name", BAD_CLEARINGS)
def test_a_bad_clearing_is_refused_by_name_and_changes_nothing(market: Market, scene: Scene, name: str) -> None:
    change, error = BAD_CLEARINGS[name]
    clearing = scene.clearing(market)
    change(clearing)
    with market.refuses(error):
        market.clear(clearing)
    market.clear(scene.clearing(market))


def test_refusals_carry_the_failing_values(market: Market, scene: Scene) -> None:
    clearing = scene.clearing(market)
    set_match(0, energyWh=601)(clearing)
    with market.refuses("OrderOverfilled", scene.solar.uid, 600, 601):
        market.clear(clearing)
    clearing = scene.clearing(market) | {"priceCentsPerMwh": 15_001}
    with market.refuses("PriceNotMidpoint", 15_001, 12_000, 18_000):
        market.clear(clearing)


def test_no_price_may_leave_a_filled_bid_above_its_limit(market: Market, scene: Scene) -> None:
    matches = [(scene.solar, scene.large, 600)]
    clearing = market.clearing(scene.book, matches, lower=scene.dear_offer, upper=None)
    with market.refuses("LimitViolated"):
        market.clear(clearing)


def test_no_price_may_leave_a_filled_offer_below_its_limit(market: Market, scene: Scene) -> None:
    matches = [(scene.solar, scene.large, 600)]
    clearing = market.clearing(scene.book, matches, lower=None, upper=scene.low_bid)
    with market.refuses("LimitViolated"):
        market.clear(clearing)


def test_limits_equal_to_the_price_are_kept(market: Market) -> None:
    pair = Pair.of(market, offer_limit=14_000, bid_limit=14_000)
    assert pair.cleared(market).positions[0]["contractedWh"] == 600
    assert market.view("EnergyTrading", "clearingOf", ZONE, FIRST_MTU)[2] == 14_000


@pytest.mark.parametrize(("offer_limit", "bid_limit", "price"), [(10_000, 10_001, 10_000), (-3, 0, -2), (-4, -1, -3)])
def test_the_midpoint_floors_toward_minus_infinity(offer_limit: int, bid_limit: int, price: int) -> None:
    policy = replace(Market().policy, feed_in_cents_per_mwh=-10_000)
    market = Market(policy=policy)
    pair = Pair.of(market, offer_limit=offer_limit, bid_limit=bid_limit)
    pair.cleared(market)
    assert market.view("EnergyTrading", "clearingOf", ZONE, FIRST_MTU)[2] == price


def test_a_negative_price_is_locked_by_the_seller_and_costs_the_buyer_only_fees(market: Market) -> None:
    market.send(market.oracle, "GridPolicy", "postFeedIn", FIRST_MTU, [-30_000])
    pair = Pair.of(market, offer_limit=-20_000, bid_limit=-10_000)
    kept = pair.cleared(market)
    # Retail -6,000, shortage -5,500: the seller locks 15,000 + (-5,500 + 15,000) per unit.
    assert [one["lockedMicrocents"] for one in kept.positions] == [600 * (15_000 + 9_500), 600 * 1_000]
    market.assert_solvent()


def test_at_price_zero_only_shortage_and_fees_are_locked(market: Market) -> None:
    market.send(market.oracle, "GridPolicy", "postFeedIn", FIRST_MTU, [-5_000])
    pair = Pair.of(market, offer_limit=-4_000, bid_limit=4_000)
    assert [one["lockedMicrocents"] for one in pair.cleared(market).positions] == [600 * 19_500, 600_000]


def test_fees_are_relieved_by_the_seller_s_source_per_match(market: Market, scene: Scene) -> None:
    receipt = market.clear(scene.clearing(market))
    fees = {event.arguments["meter"]: event.arguments["feeMicrocents"] for event in receipt.named("PositionOpened")}
    assert fees[scene.meters["large"].number] == 600 * 1_000 + 100 * 2_000
    assert fees[scene.meters["small"].number] == 300 * 2_000


def test_two_orders_of_a_meter_become_one_position(market: Market) -> None:
    seller, buyer = market.producer("producer"), market.consumer("consumer")
    offers = [market.order(seller, SELL, 300, 10_000), market.order(seller, SELL, 200, 11_000)]
    bid = market.order(buyer, BUY, 500, 20_000)
    kept = market.clear_book([*offers, bid], [(offers[0], bid, 300), (offers[1], bid, 200)], lower=offers[1], upper=bid)
    assert [one["contractedWh"] for one in kept.positions] == [500, -500]
    assert [(one["sell"], one["buy"], one["energyWh"]) for one in kept.trades] == [(0, 1, 300), (0, 1, 200)]


def test_a_book_without_orders_is_cleared_without_volume(market: Market) -> None:
    kept = market.clear_book([], [])
    assert kept.positions == []
    assert market.view("EnergyTrading", "clearingOf", ZONE, FIRST_MTU)[2:] == (20_000, True, 0)
    assert market.view("EnergyDispatching", "scheduleHashOf", ZONE, FIRST_MTU) == bytes(32)


def test_orders_that_cannot_meet_are_named_as_the_ends_of_an_empty_clearing(market: Market) -> None:
    seller, buyer = market.producer("producer"), market.consumer("consumer")
    offer, bid = market.order(seller, SELL, 300, 19_000), market.order(buyer, BUY, 300, 11_000)
    market.clear_book([offer, bid], [], lower=bid, upper=offer)
    assert market.view("EnergyTrading", "clearingOf", ZONE, FIRST_MTU)[2] == 15_000


def test_a_zone_and_mtu_are_cleared_once(market: Market, scene: Scene) -> None:
    market.clear(scene.clearing(market))
    with market.refuses("AlreadyCleared", ZONE, FIRST_MTU):
        market.clear(scene.clearing(market))


def test_a_clearing_comes_before_its_mtu_or_not_at_all(market: Market, scene: Scene) -> None:
    market.move_to(FIRST_MTU)
    with market.refuses("ClearingTooLate"):
        market.clear(scene.clearing(market))


def test_nothing_is_cleared_without_a_committed_book(market: Market) -> None:
    scene = Scene.of(market)
    market.close_gate()
    with market.refuses("BookMissing", ZONE, FIRST_MTU):
        market.clear(scene.clearing(market))


@pytest.mark.parametrize("halted_zone", [ZONE, 0])
def test_nothing_is_cleared_while_the_zone_or_the_market_is_halted(
    market: Market, scene: Scene, halted_zone: int
) -> None:
    market.send(market.regulator, "GridPolicy", "setHalted", halted_zone, True)
    with market.refuses("ZoneHalted", ZONE):
        market.clear(scene.clearing(market))
    market.send(market.regulator, "GridPolicy", "setHalted", halted_zone, False)
    market.clear(scene.clearing(market))


def test_another_zone_s_halt_stops_nobody_here(market: Market, scene: Scene) -> None:
    market.send(market.regulator, "GridPolicy", "setHalted", ZONE + 1, True)
    market.clear(scene.clearing(market))


def test_a_suspended_member_s_order_is_not_filled(market: Market, scene: Scene) -> None:
    member = scene.meters["gas"].owner
    market.send(market.regulator, "GridPolicy", "setSuspended", member.address, True)
    with market.refuses("AccountSuspended", member.address):
        market.clear(scene.clearing(market))


def test_a_suspended_member_s_order_sets_no_price(market: Market, scene: Scene) -> None:
    member = scene.meters["low_bid"].owner
    market.send(market.regulator, "GridPolicy", "setSuspended", member.address, True)
    matches = [(scene.solar, scene.large, 600)]
    with market.refuses("AccountSuspended", member.address):
        market.clear(market.clearing(scene.book, matches, lower=scene.low_bid, upper=scene.large))


@pytest.mark.parametrize("side", [SELL, BUY])
def test_a_member_without_money_locks_nothing(market: Market, side: int) -> None:
    pair = Pair.of(market)
    poor = pair.seller if side == SELL else pair.buyer
    market.send(poor.owner, "EnergyTrading", "withdraw", 10 * EUR)
    required = 600 * 17_500 if side == SELL else 600 * 16_000
    market.close_gate()
    market.commit_book(pair.book)
    with market.refuses("InsufficientFunds", poor.owner.address, required, 0):
        market.clear(pair.clearing(market))


def test_the_last_microcent_of_free_money_and_credit_can_be_locked(market: Market) -> None:
    pair = Pair.of(market)
    market.deposit(market.supplier, EUR)
    required = 600 * 16_000
    market.send(pair.buyer.owner, "EnergyTrading", "withdraw", 10 * EUR - 600)
    market.set_credit(pair.buyer.owner, required - 601)
    market.close_gate()
    market.commit_book(pair.book)
    with market.refuses("InsufficientFunds", pair.buyer.owner.address, required, required - 1):
        market.clear(pair.clearing(market))
    market.set_credit(pair.buyer.owner, required - 600)
    market.clear(pair.clearing(market))
    assert market.free(pair.buyer.owner) == -(required - 600)
    market.assert_solvent()


@pytest.mark.parametrize("side", [SELL, BUY])
def test_capacity_bounds_the_orders_of_a_meter_together(market: Market, side: int) -> None:
    small = {"import_w": 2_000, "export_w": 2_000}
    seller = market.producer("producer", **(small if side == SELL else {}))
    buyer = market.consumer("consumer", **(small if side == BUY else {}))
    limited = seller if side == SELL else buyer
    for quantity, fits in ((250, True), (251, False)):
        with market.undone():
            offers = [market.order(seller, SELL, quantity, 10_000), market.order(seller, SELL, 250, 10_000)]
            bids = [market.order(buyer, BUY, quantity, 20_000), market.order(buyer, BUY, 250, 20_000)]
            matches = [(offers[0], bids[0], quantity), (offers[1], bids[1], 250)]
            book = [*offers, *bids]
            market.close_gate()
            market.commit_book(book)
            clearing = market.clearing(book, matches, lower=offers[0], upper=bids[0])
            if fits:
                market.clear(clearing)
            else:
                with market.refuses("CapacityExceeded", limited.number, 501, 500):
                    market.clear(clearing)


def test_a_meter_never_buys_and_sells_in_one_clearing(market: Market) -> None:
    both, seller, buyer = market.producer("both"), market.producer("producer"), market.consumer("consumer")
    offers = [market.order(both, SELL, 100, 10_000), market.order(seller, SELL, 100, 10_000)]
    bids = [market.order(both, BUY, 100, 20_000), market.order(buyer, BUY, 100, 20_000)]
    market.close_gate()
    market.commit_book([*offers, *bids])
    matches = [(offers[0], bids[1], 100), (offers[1], bids[0], 100)]
    with market.refuses("SidesMixed", both.number):
        market.clear(market.clearing([*offers, *bids], matches, lower=offers[0], upper=bids[0]))


def test_nobody_trades_with_himself_through_two_meters(market: Market) -> None:
    seller = market.producer("owner of two")
    buyer = market.register(seller.owner)
    offer, bid = market.order(seller, SELL, 100, 10_000), market.order(buyer, BUY, 100, 20_000)
    market.close_gate()
    market.commit_book([offer, bid])
    with market.refuses("SelfMatch", seller.owner.address):
        market.clear(market.clearing([offer, bid], [(offer, bid, 100)], lower=offer, upper=bid))


BAD_ORDERS: dict[str, tuple[dict[str, Any], str]] = {
    "of a product not traded yet": ({"product": 1}, "OrderUnsupported"),
    "pegged": ({"pricing": 1}, "OrderUnsupported"),
    "for later MTUs": ({"firstMtuStart": FIRST_MTU + 900, "lastMtuStart": FIRST_MTU + 900}, "OrderOutsideMtu"),
    "for earlier MTUs": ({"firstMtuStart": 0, "lastMtuStart": FIRST_MTU - 900}, "OrderOutsideMtu"),
    "until a second before the MTU": ({"firstMtuStart": 0, "lastMtuStart": FIRST_MTU - 1}, "OrderOutsideMtu"),
    "from a second into the MTU": ({"firstMtuStart": FIRST_MTU + 1}, "OrderOutsideMtu"),
    "expired a second before the gate": ({"expiry": FIRST_MTU - 301}, "OrderExpired"),
    "above the cap": ({"limitCentsPerMwh": 32_001}, "LimitOutsideBounds"),
    "below the floor": ({"limitCentsPerMwh": 7_999}, "LimitOutsideBounds"),
    "with the highest limit there is": ({"limitCentsPerMwh": 2**63 - 1}, "LimitOutsideBounds"),
    "with the lowest limit there is": ({"limitCentsPerMwh": -(2**63)}, "LimitOutsideBounds"),
    "signed by somebody else": ({"signer": actor("thief")}, "SignerMismatch"),
    "signed for another chain": ({"domain": {"chainId": CHAIN_ID + 1}}, "SignerMismatch"),
    "signed for another contract": ({"domain": {"verifyingContract": "0x" + "11" * 20}}, "SignerMismatch"),
    "signed for another version": ({"domain": {"version": "2"}}, "SignerMismatch"),
    "signed under another name": ({"domain": {"name": "gridledger-dispatch"}}, "SignerMismatch"),
}


@pytest.mark.parametrize("side", [SELL, BUY])
@pytest.mark.parametrize("name", BAD_ORDERS)
def test_an_order_that_may_not_be_filled_is_refused(market: Market, name: str, side: int) -> None:
    changes, error = BAD_ORDERS[name]
    pair = Pair.of(market)
    if side == SELL:
        bad = replace(pair, offer=market.order(pair.seller, SELL, 600, 10_000, **changes))
    else:
        bad = replace(pair, bid=market.order(pair.buyer, BUY, 600, 20_000, **changes))
    market.close_gate()
    market.commit_book(bad.book)
    with market.refuses(error):
        market.clear(bad.clearing(market))


@pytest.mark.parametrize("name", BAD_ORDERS)
def test_an_order_that_may_not_be_filled_may_not_set_the_price_either(market: Market, name: str) -> None:
    changes, error = BAD_ORDERS[name]
    pair = Pair.of(market)
    end = market.order(market.consumer("end"), BUY, 600, 12_000, **changes)
    market.close_gate()
    market.commit_book([*pair.book, end])
    matches = [(pair.offer, pair.bid, 600)]
    with market.refuses(error):
        market.clear(market.clearing([*pair.book, end], matches, lower=end, upper=pair.bid))


def test_an_order_that_expires_at_the_gate_is_still_good(market: Market) -> None:
    pair = Pair.of(market)
    offer = market.order(pair.seller, SELL, 600, 10_000, expiry=FIRST_MTU - 300)
    replace(pair, offer=offer).cleared(market)


def test_an_order_left_out_of_the_book_cannot_be_filled(market: Market, scene: Scene) -> None:
    late = market.order(scene.meters["solar"], SELL, 600, 9_500)
    clearing = market.clearing([*scene.book, late], [(late, scene.large, 600)], lower=late, upper=scene.large)
    clearing["book"] = market.book(scene.book)
    with market.refuses("OrderNotListed", late.uid, 6):
        market.clear(clearing)


def test_an_order_of_another_zone_s_meter_is_refused() -> None:
    market = Market(zones=(1, 2))
    pair = Pair.of(market)
    stranger = market.consumer("stranger", zone=2)
    bid = market.order(stranger, BUY, 600, 20_000)
    strange = replace(pair, buyer=stranger, bid=bid)
    market.close_gate()
    market.commit_book(strange.book)
    with market.refuses("ZoneMismatch", stranger.number, 2, 1):
        market.clear(strange.clearing(market))


def test_a_cancelled_order_is_not_filled_and_only_its_owner_can_cancel(market: Market) -> None:
    pair = Pair.of(market)
    market.send(market.outsider, "EnergyTrading", "cancel", pair.bid.uid)
    assert not market.view("EnergyTrading", "isCancelled", pair.buyer.owner.address, pair.bid.uid)
    with market.undone():
        pair.cleared(market)
    receipt = market.send(pair.buyer.owner, "EnergyTrading", "cancel", pair.bid.uid)
    assert receipt.one("OrderCancelled") == {"owner": pair.buyer.owner.address, "orderUid": pair.bid.uid}
    assert market.view("EnergyTrading", "isCancelled", pair.buyer.owner.address, pair.bid.uid)
    market.close_gate()
    market.commit_book(pair.book)
    with market.refuses("OrderIsCancelled", pair.bid.uid):
        market.clear(pair.clearing(market))


def test_the_contract_computes_the_uid_that_wallets_sign(market: Market) -> None:
    pair = Pair.of(market, offer_limit=-5)
    for one, owner in ((pair.offer, pair.seller.owner), (pair.bid, pair.buyer.owner)):
        assert market.view("EnergyTrading", "orderUid", one.presented(0), owner.address) == one.uid


def test_a_standing_order_is_filled_once_in_each_of_its_mtus_and_not_beyond(market: Market) -> None:
    pair = Pair.of(market)
    last = FIRST_MTU + 900
    standing = replace(
        pair,
        offer=market.order(pair.seller, SELL, 600, 10_000, lastMtuStart=last, expiry=last),
        bid=market.order(pair.buyer, BUY, 600, 20_000, lastMtuStart=last, expiry=last),
    )
    matches = [(standing.offer, standing.bid, 600)]
    for mtu_start in (FIRST_MTU, last):
        market.clear_book(standing.book, matches, lower=standing.offer, upper=standing.bid, mtu_start=mtu_start)
    assert market.free(pair.seller.owner) == 10 * EUR - 2 * 600 * 17_500
    market.close_gate(last + 900)
    market.commit_book(standing.book, last + 900)
    clearing = market.clearing(standing.book, matches, lower=standing.offer, upper=standing.bid, mtu_start=last + 900)
    with market.refuses("OrderOutsideMtu", standing.offer.uid, last + 900):
        market.clear(clearing)


def test_a_book_is_committed_once_after_its_gate_for_an_aligned_mtu(market: Market) -> None:
    pair = Pair.of(market)
    market.move_to(FIRST_MTU - 301)
    with market.refuses("GateStillOpen", FIRST_MTU, FIRST_MTU - 300, FIRST_MTU - 301):
        market.commit_book(pair.book)
    market.close_gate()
    for unaligned in (FIRST_MTU + 1, 0, (2**32 // 900 + 1) * 900):
        with market.refuses("MtuUnaligned", unaligned, MTU_LENGTH_S):
            market.send(market.market_operator, "EnergyTrading", "commitBook", ZONE, unaligned, b"\1" * 32, 0)
    committed = market.commit_book(pair.book).one("BookCommitted")
    assert committed["orderCount"] == 2
    with market.refuses("BookAlreadyCommitted", ZONE, FIRST_MTU):
        market.commit_book([])
