"""A buyer accepts a posted offer before gate closure: at the offer's limit, whole or in part, beside the auction.

Prices in cents per MWh, energy in Wh, money in microcents.
"""

import pytest
from tests.contracts.harness import (
    BUY,
    EUR,
    FIRST_MTU,
    MTU_LENGTH_S,
    SELL,
    ZONE,
    AnySigned,
    Kept,
    Market,
    uid_bytes,
)
from tests.contracts.scenes import MergedScene

from gridledger.chain.plan import PolicyParameters
from gridledger.market.model import Pricing, Product

FEE, GREEN_FEE, SHORTAGE = 2_000, 1_000, 32_500


def settled_exactly(market: Market, kept: Kept) -> None:
    """Everybody delivers and consumes just what was contracted."""
    market.deliver()
    market.settle(kept, {index: one.contracted_wh for index, one in enumerate(kept.positions)})
    assert market.escrow() == 0


def test_an_offer_accepted_whole_is_paid_at_its_limit_whatever_the_auction_says(market: Market) -> None:
    seller, buyer = market.producer("seller"), market.consumer("buyer")
    offer = market.order(seller, SELL, 600, 21_000)
    book: list[AnySigned] = [offer, market.acceptance(buyer, offer, 600)]
    kept = market.clear_book(book)
    assert market.view("EnergyTrading", "clearingOf", ZONE, FIRST_MTU)["anyPrice"] == 20_000
    assert kept.position_of(seller).locked_microcents == 600 * (SHORTAGE - 21_000)
    assert kept.position_of(buyer).locked_microcents == 600 * (21_000 + GREEN_FEE)
    settled_exactly(market, kept)
    assert market.free(seller.owner) == 10 * EUR + 600 * 21_000
    assert market.free(buyer.owner) == 10 * EUR - 600 * (21_000 + GREEN_FEE)


def test_what_is_left_of_an_offer_goes_into_the_auction(market: Market) -> None:
    seller, guest, bidder = market.producer("seller"), market.consumer("guest"), market.consumer("bidder")
    offer = market.order(seller, SELL, 600, 10_000)
    book: list[AnySigned] = [offer, market.acceptance(guest, offer, 150), market.order(bidder, BUY, 600, 30_000)]
    kept = market.clear_book(book)
    position = kept.position_of(seller)
    assert (position.dealt_wh, position.auction_wh) == (150, 450)
    # 450 sold to a bid for 600: the bid stays open, so the price is its 30,000.
    assert market.view("EnergyTrading", "clearingOf", ZONE, FIRST_MTU)["anyPrice"] == 30_000
    settled_exactly(market, kept)
    assert market.free(seller.owner) == 10 * EUR + 150 * 10_000 + 450 * 30_000


def test_several_buyers_share_an_offer_and_one_buyer_accepts_several(market: Market) -> None:
    sellers = [market.producer(name) for name in ("first", "second")]
    guests = [market.consumer(name) for name in ("guest", "visitor")]
    offers = [market.order(meter, SELL, 600, limit) for meter, limit in zip(sellers, (9_000, 11_000), strict=True)]
    book: list[AnySigned] = [
        *offers,
        market.acceptance(guests[0], offers[0], 200),
        market.acceptance(guests[1], offers[0], 400),
        market.acceptance(guests[0], offers[1], 50),
    ]
    kept = market.clear_book(book)
    assert [one.energy_wh for one in kept.deals] == [200, 50, 400]
    assert kept.position_of(guests[0]).deal_microcents == -(200 * 9_000 + 50 * 11_000)
    settled_exactly(market, kept)
    assert market.free(guests[0].owner) == 10 * EUR - 200 * 10_000 - 50 * 12_000
    assert market.free(sellers[0].owner) == 10 * EUR + 600 * 9_000


def test_a_member_accepts_and_bids_with_one_meter(market: Market) -> None:
    seller, other, buyer = market.producer("seller"), market.producer("other"), market.consumer("buyer")
    offer = market.order(seller, SELL, 300, 9_000)
    book: list[AnySigned] = [
        offer,
        market.acceptance(buyer, offer, 300),
        market.order(other, SELL, 500, 10_000),
        market.order(buyer, BUY, 400, 20_000),
        market.order(buyer, BUY, 100, 19_000, product=Product.LOW_CARBON),
    ]
    kept = market.clear_book(book)
    position = kept.position_of(buyer)
    assert (position.auction_wh, position.low_carbon_wh, position.dealt_wh) == (400, 100, 300)
    settled_exactly(market, kept)


def test_the_fee_of_a_deal_depends_on_its_source(market: Market) -> None:
    green, grey = market.producer("green"), market.producer("grey", source=0)
    guests = [market.consumer(name) for name in ("guest", "visitor")]
    offers = [market.order(meter, SELL, 100, 10_000) for meter in (green, grey)]
    book: list[AnySigned] = [
        *offers,
        *(market.acceptance(one, offer, 100) for one, offer in zip(guests, offers, strict=True)),
    ]
    kept = market.clear_book(book)
    assert [kept.position_of(one).fee_microcents for one in guests] == [100 * GREEN_FEE, 100 * FEE]


def test_dealt_low_carbon_energy_is_rewarded_first(market: Market) -> None:
    scene = MergedScene.of(market)
    kept = scene.kept(market)
    market.deliver()
    market.settle(kept, {index: one.contracted_wh for index, one in enumerate(kept.positions)})
    guest, roof = scene.meters["guest"].owner, scene.meters["roof"].owner
    assert market.tokens(guest) == market.tokens(roof) == 150 * (363_000 - 41_000) // 2


@pytest.mark.parametrize("limit", [-19_000, -5_000])
def test_a_deal_below_zero_is_paid_by_the_seller(limit: int) -> None:
    market = Market(policy=PolicyParameters(feed_in_cents_per_mwh=-20_000, retail_cents_per_mwh=-2_000))
    seller, buyer = market.producer("seller"), market.consumer("buyer")
    offer = market.order(seller, SELL, 600, limit)
    kept = market.clear_book([offer, market.acceptance(buyer, offer, 600)])
    settled_exactly(market, kept)
    assert market.free(seller.owner) == 10 * EUR + 600 * limit
    assert market.free(buyer.owner) == 10 * EUR - 600 * limit - 600 * GREEN_FEE


def test_a_standing_offer_is_accepted_for_one_mtu(market: Market) -> None:
    seller, buyer = market.producer("seller"), market.consumer("buyer")
    later = FIRST_MTU + MTU_LENGTH_S
    offer = market.order(seller, SELL, 600, 10_000, last_mtu_start=later, expiry=later)
    acceptance = market.acceptance(buyer, offer, 200)
    kept = market.clear_book([offer, acceptance])
    assert kept.position_of(seller).dealt_wh == 200
    market.close_gate(later)
    market.commit_book([offer, acceptance], later)
    clearing = market.clearing([offer, acceptance], mtu_start=later)
    with market.refuses("OrderOutsideMtu", uid_bytes(acceptance), later):
        market.clear(clearing)


# --- acceptances that are none ----------------------------------------------------------------------------------------


def refused(market: Market, book: list[AnySigned], fills: dict[int, int], error: str, *values: object) -> None:
    """The book cleared with those fills at 20,000 is refused."""
    market.close_gate()
    market.commit_book(book)
    clearing = market.present(book, fills, price=20_000)
    with market.refuses(error, *values):
        market.clear(clearing)


def test_a_pegged_offer_cannot_be_accepted(market: Market) -> None:
    seller, buyer = market.producer("seller"), market.consumer("buyer")
    offer = market.order(seller, SELL, 600, 10_000, pricing=Pricing.PEGGED)
    acceptance = market.acceptance(buyer, offer, 600)
    refused(market, [offer, acceptance], {0: 600, 1: 600}, "AcceptanceInvalid", uid_bytes(acceptance))


def test_a_bid_cannot_be_accepted(market: Market) -> None:
    other, buyer = market.consumer("other"), market.consumer("buyer")
    bid = market.order(other, BUY, 600, 10_000)
    acceptance = market.acceptance(buyer, bid, 600)
    refused(market, [bid, acceptance], {0: 600, 1: 600}, "AcceptanceInvalid", uid_bytes(acceptance))


def test_an_acceptance_cannot_be_accepted(market: Market) -> None:
    seller, buyer, third = market.producer("seller"), market.consumer("buyer"), market.consumer("third")
    offer = market.order(seller, SELL, 600, 10_000)
    acceptance = market.acceptance(buyer, offer, 600)
    again = market.acceptance(third, acceptance, 600)
    fills = {0: 600, 1: 600, 2: 600}
    refused(market, [offer, acceptance, again], fills, "AcceptanceInvalid", uid_bytes(again))


def test_nobody_deals_with_itself(market: Market) -> None:
    seller = market.producer("member")
    buyer = market.register(seller.owner, import_w=40_000)
    offer = market.order(seller, SELL, 600, 10_000)
    acceptance = market.acceptance(buyer, offer, 600)
    refused(market, [offer, acceptance], {0: 600, 1: 600}, "SelfMatch", seller.owner.address)


def test_a_deal_needs_the_capacity_of_both_meters(market: Market) -> None:
    seller, buyer = market.producer("seller"), market.consumer("buyer", import_w=2_000)
    offer = market.order(seller, SELL, 600, 10_000)
    acceptance = market.acceptance(buyer, offer, 501)
    refused(market, [offer, acceptance], {0: 501, 1: 501}, "CapacityExceeded", buyer.number, 501, 500)


def test_an_offer_accepted_twice_over_is_refused(market: Market) -> None:
    seller, buyer, third = market.producer("seller"), market.consumer("buyer"), market.consumer("third")
    offer = market.order(seller, SELL, 600, 10_000)
    acceptances = [market.acceptance(buyer, offer, 400), market.acceptance(third, offer, 201)]
    fills = {0: 600, 1: 400, 2: 201}
    refused(market, [offer, *acceptances], fills, "OrderOverfilled", uid_bytes(offer), 600, 601)


def test_a_cancelled_offer_cannot_be_accepted_any_more(market: Market) -> None:
    seller, buyer = market.producer("seller"), market.consumer("buyer")
    offer = market.order(seller, SELL, 600, 10_000)
    acceptance = market.acceptance(buyer, offer, 600)
    market.send(seller.owner, "EnergyTrading", "cancel", uid_bytes(offer))
    refused(market, [offer, acceptance], {0: 600, 1: 600}, "OrderIsCancelled", uid_bytes(offer))


def test_an_acceptance_is_binding(market: Market) -> None:
    seller, buyer = market.producer("seller"), market.consumer("buyer")
    offer = market.order(seller, SELL, 600, 10_000)
    acceptance = market.acceptance(buyer, offer, 600)
    market.send(buyer.owner, "EnergyTrading", "cancel", uid_bytes(acceptance))
    market.send(buyer.owner, "EnergyTrading", "cancelUpTo", 2**64 - 1)
    kept = market.clear_book([offer, acceptance])
    assert kept.position_of(buyer).dealt_wh == 600
