"""What a clearing may hold: both products, pegged and standing orders, cancellations, no volume, negative prices.

Every accepted clearing is made by the node's rules; the harness compares state hash, locks, accounts and escrow.
Prices in cents per MWh, energy in Wh, money in microcents.
"""

import pytest
from tests.contracts.harness import (
    ACKNOWLEDGED,
    BUY,
    CLEARED,
    EUR,
    FIRST_MTU,
    MTU_LENGTH_S,
    PENDING,
    SELL,
    ZONE,
    Market,
    Pair,
    actor,
    uid_bytes,
)
from tests.contracts.scenes import MergedScene, SeparateScene
from tests.contracts.setpoints import schedule_hash

from gridledger.chain.plan import PolicyParameters
from gridledger.market.model import Pricing, Product

NEGATIVE_TARIFFS = PolicyParameters(feed_in_cents_per_mwh=-20_000, retail_cents_per_mwh=-2_000)
LOW_CARBON, PEGGED = Product.LOW_CARBON, Pricing.PEGGED
BOTH_SECONDS_OF_THE_GATE = {"the last second before the gate": -1, "gate closure": 0}


def test_a_merged_book_gives_both_products_one_price(market: Market) -> None:
    scene = MergedScene.of(market)
    scene.commit(market)
    receipt = market.clear(scene.clearing(market))
    event = receipt.one("MarketCleared")
    assert (event["anyPrice"], event["lowCarbonPrice"]) == (13_000, 13_000)
    assert (event["chunk"], event["last"], event["tradedWh"], event["positionCount"]) == (0, True, 1_150, 6)
    state = market.view("EnergyTrading", "clearingOf", ZONE, FIRST_MTU)
    assert (state["status"], state["openPositions"], state["chunkCount"]) == (CLEARED, 6, 1)
    assert state["clearedAt"] == market.now


def test_low_carbon_bids_are_served_from_low_carbon_offers_first(market: Market) -> None:
    scene = MergedScene.of(market)
    scene.commit(market)
    trades = market.clear(scene.clearing(market)).named("EnergyTraded")
    shown = [(one.arguments["sellMeter"], one.arguments["buyMeter"], one.arguments["energyWh"]) for one in trades]
    solar, gas, roof = (scene.meter(name) for name in ("solar", "gas", "roof"))
    large, green, guest = (scene.meter(name) for name in ("large", "green", "guest"))
    assert shown == [(roof, guest, 150), (solar, green, 300), (solar, large, 300), (gas, large, 400)]


def test_separate_books_have_two_prices_and_everybody_pays_its_own(market: Market) -> None:
    scene = SeparateScene.of(market)
    kept = scene.kept(market)
    state = market.view("EnergyTrading", "clearingOf", ZONE, FIRST_MTU)
    assert (state["anyPrice"], state["lowCarbonPrice"]) == (12_000, 20_000)
    assert kept.position_of(scene.meters["green"]).locked_microcents == 300 * (20_000 + 1_000)
    assert kept.position_of(scene.meters["plain"]).locked_microcents == 400 * (12_000 + 2_000)
    assert kept.position_of(scene.meters["solar"]).locked_microcents == 300 * (32_500 - 20_000)
    market.deliver()
    metered = {index: one.contracted_wh for index, one in enumerate(kept.positions)}
    market.settle(kept, metered)
    assert market.free(scene.meters["solar"].owner) == 10 * EUR + 300 * 20_000
    assert market.free(scene.meters["green"].owner) == 10 * EUR - 300 * 21_000
    assert market.free(scene.meters["gas"].owner) == 10 * EUR + 400 * 12_000
    assert market.free(scene.meters["plain"].owner) == 10 * EUR - 400 * 14_000
    assert market.escrow() == 0


def test_the_separate_clearing_made_by_hand_is_the_node_s(market: Market) -> None:
    scene = SeparateScene.of(market)
    assert scene.clearing(market) == market.clearing(scene.book, setpoints_root=bytes(32))


def test_orders_of_one_meter_add_up_to_one_position(market: Market) -> None:
    scene = MergedScene.of(market)
    kept = scene.kept(market)
    assert kept.position_of(scene.meters["large"]).auction_wh == 700
    assert len(kept.positions) == 6


def test_one_meter_can_bid_for_both_products(market: Market) -> None:
    solar, gas = market.producer("solar"), market.producer("gas", source=0)
    buyer = market.consumer("buyer")
    book = [
        market.order(solar, SELL, 200, 10_000),
        market.order(gas, SELL, 500, 12_000),
        market.order(buyer, BUY, 300, 20_000, product=LOW_CARBON),
        market.order(buyer, BUY, 400, 18_000),
    ]
    kept = market.clear_book(book)
    position = kept.position_of(buyer)
    assert (position.auction_wh, position.low_carbon_wh) == (400, 200)
    assert position.locked_microcents == 400 * (12_000 + 2_000) + 200 * (20_000 + 1_000)


# --- pegged orders ----------------------------------------------------------------------------------------------------


def test_pegged_orders_trade_at_the_reference_price(market: Market) -> None:
    seller, buyer, third = market.producer("seller"), market.consumer("buyer"), market.consumer("third")
    book = [
        market.order(seller, SELL, 600, 9_000, pricing=PEGGED),
        market.order(buyer, BUY, 400, 30_000, pricing=PEGGED),
        market.order(third, BUY, 100, 31_000),
        market.order(market.producer("plain"), SELL, 50, 9_500),
    ]
    market.clear_book(book, publish=True)
    # Supply 50, demand 100: 8,000 x 32,000 / (24,000 x 0.5 + 8,000) = 12,800.
    reference = market.view("EnergyPricing", "referencePrice", ZONE, FIRST_MTU)
    state = market.view("EnergyTrading", "clearingOf", ZONE, FIRST_MTU)
    assert reference == state["anyPrice"] == 12_800


@pytest.mark.parametrize(
    ("sell_guard", "buy_guard", "price"),
    [(15_000, 30_000, 22_500), (9_000, 14_000, 14_000)],
    ids=["a seller's guard above the reference price", "a buyer's guard below it"],
)
def test_a_guard_limits_what_a_pegged_order_accepts(
    market: Market, sell_guard: int, buy_guard: int, price: int
) -> None:
    # Without limit orders the reference price is the retail tariff of 32,000.
    seller, buyer = market.producer("seller"), market.consumer("buyer")
    side = PEGGED if sell_guard == 15_000 else Pricing.LIMIT
    other = Pricing.LIMIT if side is PEGGED else PEGGED
    book = [
        market.order(seller, SELL, 600, sell_guard, pricing=side),
        market.order(buyer, BUY, 600, buy_guard, pricing=other),
    ]
    market.close_gate()
    market.commit_book(book)
    # A reference price of 12,800 is below the seller's and below the buyer's guard of 14,000.
    market.send(market.market_operator, "EnergyPricing", "publish", ZONE, FIRST_MTU, 50, 100)
    proposal = market.proposal(book, reference_price=12_800)
    receipt = market.clear(market.clearing(book, proposal))
    expected = price if side is PEGGED else (9_000 + 12_800) // 2
    assert receipt.one("MarketCleared")["anyPrice"] == expected


def test_a_pegged_order_needs_a_published_price(market: Market) -> None:
    seller, buyer = market.producer("seller"), market.consumer("buyer")
    book = [market.order(seller, SELL, 600, 9_000, pricing=PEGGED), market.order(buyer, BUY, 600, 20_000)]
    market.close_gate()
    market.commit_book(book)
    clearing = market.clearing(book, market.proposal(book, reference_price=10_000))
    with market.refuses("PriceNotPublished", ZONE, FIRST_MTU):
        market.clear(clearing)


def test_a_pegged_order_does_not_trade_at_a_price_the_operator_makes_up(market: Market) -> None:
    seller, buyer = market.producer("seller"), market.consumer("buyer")
    book = [market.order(seller, SELL, 600, 9_000, pricing=PEGGED), market.order(buyer, BUY, 600, 20_000)]
    market.close_gate()
    market.commit_book(book)
    market.send(market.market_operator, "EnergyPricing", "publish", ZONE, FIRST_MTU, 50, 100)
    clearing = market.clearing(book, market.proposal(book, reference_price=9_000))
    with market.refuses("PriceNotMidpoint", 14_500, 12_800, 20_000):
        market.clear(clearing)


# --- standing orders --------------------------------------------------------------------------------------------------


def test_a_standing_order_is_filled_in_every_mtu_it_covers_and_in_no_other(market: Market) -> None:
    seller, buyer = market.producer("seller"), market.consumer("buyer")
    last = FIRST_MTU + 2 * MTU_LENGTH_S
    offer = market.order(seller, SELL, 600, 10_000, last_mtu_start=last, expiry=last)
    for step in range(3):
        mtu_start = FIRST_MTU + step * MTU_LENGTH_S
        bid = market.order(buyer, BUY, 600 - step, 20_000, mtu_start=mtu_start)
        kept = market.clear_book([offer, bid], mtu_start=mtu_start)
        assert kept.positions[0].auction_wh == 600 - step
    beyond = last + MTU_LENGTH_S
    bid = market.order(buyer, BUY, 600, 20_000, mtu_start=beyond)
    market.close_gate(beyond)
    market.commit_book([offer, bid], beyond)
    with market.refuses("OrderOutsideMtu", uid_bytes(offer), beyond):
        market.clear(market.clearing([offer, bid], mtu_start=beyond))


@pytest.mark.parametrize(("expiry", "accepted"), [(-301, False), (-300, True), (-299, True)])
def test_a_standing_order_that_expires_before_a_gate_is_not_filled(
    market: Market, expiry: int, *, accepted: bool
) -> None:
    seller, buyer = market.producer("seller"), market.consumer("buyer")
    offer = market.order(seller, SELL, 600, 10_000, expiry=FIRST_MTU + expiry)
    book = [offer, market.order(buyer, BUY, 600, 20_000)]
    market.close_gate()
    market.commit_book(book)
    clearing = market.clearing(book)
    if accepted:
        market.clear(clearing)
        return
    with market.refuses("OrderExpired", uid_bytes(offer), FIRST_MTU - 301, FIRST_MTU - 300):
        market.clear(clearing)


# --- cancellations ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", BOTH_SECONDS_OF_THE_GATE)
@pytest.mark.parametrize("function", ["cancel", "cancelUpTo"])
def test_a_cancellation_counts_if_it_comes_before_the_gate(market: Market, function: str, moment: str) -> None:
    pair = Pair.of(market)
    market.move_to(FIRST_MTU - 300 + BOTH_SECONDS_OF_THE_GATE[moment])
    argument = uid_bytes(pair.bid) if function == "cancel" else pair.bid.order.salt
    event = market.send(pair.buyer.owner, "EnergyTrading", function, argument).events[0]
    assert event.name == ("OrderCancelled" if function == "cancel" else "OrdersCancelled")
    market.close_gate()
    market.commit_book(pair.book)
    clearing = pair.clearing(market)
    if BOTH_SECONDS_OF_THE_GATE[moment] < 0:
        with market.refuses("OrderIsCancelled", uid_bytes(pair.bid)):
            market.clear(clearing)
    else:
        market.clear(clearing)


def test_a_standing_order_cancelled_after_one_gate_is_good_for_that_mtu_only(market: Market) -> None:
    seller, buyer = market.producer("seller"), market.consumer("buyer")
    later = FIRST_MTU + MTU_LENGTH_S
    offer = market.order(seller, SELL, 600, 10_000, last_mtu_start=later, expiry=later)
    bids = [market.order(buyer, BUY, 600, 20_000, mtu_start=start) for start in (FIRST_MTU, later)]
    market.close_gate()
    market.commit_book([offer, bids[0]])
    market.send(seller.owner, "EnergyTrading", "cancel", uid_bytes(offer))
    market.clear(market.clearing([offer, bids[0]]))
    market.close_gate(later)
    market.commit_book([offer, bids[1]], later)
    with market.refuses("OrderIsCancelled", uid_bytes(offer)):
        market.clear(market.clearing([offer, bids[1]], mtu_start=later))


def test_cancelling_again_does_not_postpone_the_cancellation(market: Market) -> None:
    pair = Pair.of(market)
    market.send(pair.buyer.owner, "EnergyTrading", "cancel", uid_bytes(pair.bid))
    market.close_gate()
    market.commit_book(pair.book)
    market.send(pair.buyer.owner, "EnergyTrading", "cancel", uid_bytes(pair.bid))
    with market.refuses("OrderIsCancelled", uid_bytes(pair.bid)):
        market.clear(pair.clearing(market))


def test_a_bulk_cancellation_spares_later_salts_and_remembers_every_step(market: Market) -> None:
    owner = actor("member")
    for step, salt in enumerate((10, 20, 2**64 - 1)):
        market.move_to(FIRST_MTU + 100 * step)
        market.send(owner, "EnergyTrading", "cancelUpTo", salt)
    uid = bytes(32)

    def cancelled(salt: int, gate: int) -> bool:
        return bool(market.view("EnergyTrading", "isCancelledAt", owner.address, uid, salt, FIRST_MTU + gate))

    assert [cancelled(salt, 0) for salt in (0, 10)] == [False, False]
    assert [cancelled(salt, 1) for salt in (0, 10, 11)] == [True, True, False]
    assert [cancelled(salt, 100) for salt in (10, 11)] == [True, False]
    assert [cancelled(salt, 101) for salt in (20, 21)] == [True, False]
    assert [cancelled(salt, 201) for salt in (21, 2**64 - 1)] == [True, True]
    with market.refuses("SaltNotAscending", 2**64 - 1, 2**64 - 1):
        market.send(owner, "EnergyTrading", "cancelUpTo", 2**64 - 1)
    with market.refuses("SaltNotAscending", 15, 2**64 - 1):
        market.send(owner, "EnergyTrading", "cancelUpTo", 15)


def test_nobody_cancels_another_one_s_order(market: Market) -> None:
    pair = Pair.of(market)
    market.send(market.outsider, "EnergyTrading", "cancel", uid_bytes(pair.bid))
    market.send(pair.seller.owner, "EnergyTrading", "cancelUpTo", 0)
    market.send(market.outsider, "EnergyTrading", "cancelUpTo", 2**64 - 1)
    assert pair.cleared(market).positions[0].auction_wh == 600


# --- prices without volume, below zero, at the bounds -----------------------------------------------------------------


def test_a_book_without_volume_still_states_its_price(market: Market) -> None:
    seller, buyer = market.producer("seller"), market.consumer("buyer")
    book = [market.order(seller, SELL, 600, 20_000), market.order(buyer, BUY, 600, 10_000)]
    kept = market.clear_book(book)
    assert kept.positions == ()
    state = market.view("EnergyTrading", "clearingOf", ZONE, FIRST_MTU)
    assert (state["anyPrice"], state["lowCarbonPrice"], state["openPositions"]) == (15_000, 15_000, 0)
    assert state["status"] == CLEARED
    assert market.view("EnergyDispatching", "outcomeOf", ZONE, FIRST_MTU) == 0


def test_separate_books_without_volume_state_both_prices(market: Market) -> None:
    gas, green = market.producer("gas", source=0), market.consumer("green")
    book = [market.order(gas, SELL, 600, 10_000), market.order(green, BUY, 600, 20_000, product=LOW_CARBON)]
    market.clear_book(book)
    state = market.view("EnergyTrading", "clearingOf", ZONE, FIRST_MTU)
    # Any: from the floor to the open offer; low-carbon: from the open bid to the cap.
    assert (state["anyPrice"], state["lowCarbonPrice"]) == (9_000, 26_000)


def test_an_empty_book_clears_at_the_middle_of_floor_and_cap(market: Market) -> None:
    market.close_gate()
    with market.refuses("BookMissing", ZONE, FIRST_MTU):
        market.send(market.market_operator, "EnergyTrading", "commitBook", ZONE, FIRST_MTU, bytes(32), 0)
    market.clear_book([])
    assert market.view("EnergyTrading", "clearingOf", ZONE, FIRST_MTU)["anyPrice"] == 20_000


@pytest.mark.parametrize(("offer", "bid", "price"), [(-19_999, -10_000, -15_000), (-15_000, -2_000, -8_500)])
def test_negative_prices_are_locked_by_the_seller(offer: int, bid: int, price: int) -> None:
    market = Market(policy=NEGATIVE_TARIFFS)
    pair = Pair.of(market, offer_limit=offer, bid_limit=bid)
    kept = pair.cleared(market)
    assert market.view("EnergyTrading", "clearingOf", ZONE, FIRST_MTU)["anyPrice"] == price
    assert kept.positions[0].locked_microcents == 600 * (-price + -1_500 - price)
    assert kept.positions[1].locked_microcents == 600 * 1_000
    market.deliver()
    market.settle(kept, {0: 600, 1: -600})
    assert market.free(pair.seller.owner) == 10 * EUR + 600 * price
    assert market.free(pair.buyer.owner) == 10 * EUR - 600 * price - 600 * 1_000


def test_orders_at_floor_and_cap_trade_in_the_middle(market: Market) -> None:
    pair = Pair.of(market, offer_limit=8_000, bid_limit=32_000)
    pair.cleared(market)
    assert market.view("EnergyTrading", "clearingOf", ZONE, FIRST_MTU)["anyPrice"] == 20_000


# --- books, halts, dispatch -------------------------------------------------------------------------------------------


def test_a_book_is_committed_once_after_the_gate(market: Market) -> None:
    pair = Pair.of(market)
    market.move_to(FIRST_MTU - 301)
    with market.refuses("GateStillOpen", FIRST_MTU, FIRST_MTU - 300, FIRST_MTU - 301):
        market.commit_book(pair.book)
    market.close_gate()
    event = market.commit_book(pair.book).one("BookCommitted")
    assert (event["zone"], event["mtuStart"], event["orderCount"]) == (ZONE, FIRST_MTU, 2)
    with market.refuses("BookAlreadyCommitted", ZONE, FIRST_MTU):
        market.commit_book(pair.book[:1])
    with market.refuses("MtuUnaligned", FIRST_MTU + 1, MTU_LENGTH_S):
        market.commit_book(pair.book, FIRST_MTU + 1)


def test_the_clearing_hands_its_schedule_to_dispatch(market: Market) -> None:
    pair = Pair.of(market)
    market.close_gate()
    market.commit_book(pair.book)
    clearing = pair.clearing(market)
    event = market.clear(clearing).one("DispatchScheduled")
    result, root = market.view("EnergyTrading", "clearingOf", ZONE, FIRST_MTU)["resultHash"], clearing["setpointsRoot"]
    assert (event["resultHash"], event["setpointsRoot"], event["tradedWh"]) == (result, root, 600)
    assert event["scheduleHash"] == schedule_hash(result, root)
    assert market.view("EnergyDispatching", "outcomeOf", ZONE, FIRST_MTU) == PENDING
    market.answer(ACKNOWLEDGED)


def test_another_fill_gives_another_result_hash(market: Market) -> None:
    scene = MergedScene.of(market)
    scene.commit(market)
    hashes = set()
    for less_wh in (0, 1):
        with market.undone():
            market.clear(scene.clearing(market, fills=scene.fills(large=500 - less_wh, solar=600 - less_wh)))
            hashes.add(market.view("EnergyTrading", "clearingOf", ZONE, FIRST_MTU)["resultHash"])
    assert len(hashes) == 2


def test_after_a_halt_ends_the_clearing_is_accepted(market: Market) -> None:
    pair = Pair.of(market)
    market.close_gate()
    market.commit_book(pair.book)
    for zone in (0, ZONE):
        market.send(market.regulator, "GridPolicy", "setHalted", zone, True)
        with market.refuses("ZoneHalted", ZONE):
            market.clear(pair.clearing(market))
        market.send(market.regulator, "GridPolicy", "setHalted", zone, False)
    market.clear(pair.clearing(market))


def test_a_readmitted_member_trades_again(market: Market) -> None:
    pair = Pair.of(market)
    market.suspend(pair.buyer.owner)
    market.suspend(pair.buyer.owner, suspended=False)
    assert pair.cleared(market).positions[1].auction_wh == 600


def test_credit_stands_behind_a_lock(market: Market) -> None:
    pair = Pair.of(market, eur=0)
    market.deposit(market.supplier, EUR)
    for meter in (pair.seller, pair.buyer):
        market.set_credit(meter.owner, 20_000_000)
    pair.cleared(market)
    assert market.free(pair.buyer.owner) == -600 * 16_000
    assert market.free(pair.seller.owner) == -600 * 17_500


def test_a_hundred_and_fifty_members_clear_at_once(market: Market) -> None:
    sellers = market.register_many([actor(f"seller {number}") for number in range(75)], 4_000, 40_000, 1)
    buyers = market.register_many([actor(f"buyer {number}") for number in range(75)])
    for meter in (*sellers, *buyers):
        market.deposit(meter.owner, EUR)
    book = [market.order(meter, SELL, 300 + 7 * number, 9_000 + 97 * number) for number, meter in enumerate(sellers)]
    book += [market.order(meter, BUY, 900 - 5 * number, 31_000 - 89 * number) for number, meter in enumerate(buyers)]
    kept = market.clear_book(book)
    assert len(kept.positions) > 100
