"""The market's tasks after the gate, over fakes: close the gate, match, exclude, settle."""

from dataclasses import replace

import pytest
from tests.market.fakes import (
    BUYER,
    EUR,
    GATE,
    MTU_LENGTH_S,
    MTU_START,
    NEIGHBOUR,
    NEIGHBOUR_METER,
    POLICY,
    PRICES,
    SELLER,
    ZONE,
    World,
    a_world,
    an_order,
)

from gridledger.market.book import book_hash
from gridledger.market.errors import WrongTransition
from gridledger.market.model import (
    CashAccount,
    Ineligibility,
    MtuPhase,
    Order,
    OrderState,
    Pricing,
    Product,
    Side,
    Trade,
)
from gridledger.market.ports import CommitBook, PublishPrice, SettlementKind, SettlePositions, SubmitClearing
from gridledger.market.pricing import reference_price

NEXT, LAST = MTU_START + 900, MTU_START + 1_800
MTU_END = MTU_START + MTU_LENGTH_S


def states(world: World) -> list[tuple[OrderState, str | None]]:
    return [(one.state, one.state_reason) for one in world.orders.kept.values()]


def fills(world: World, mtu_start: int = MTU_START) -> list[int]:
    """What each accepted order was filled with in a book, in receipt order; orders without energy have none."""
    return [world.fills(mtu_start).get(uid, 0) for uid in world.orders.kept]


def matched(*orders: Order) -> World:
    """A world in which these orders, or one pair, went through gate and matching."""
    world = a_world()
    for order in orders or (an_order(Side.SELL), an_order()):
        world.accept(order)
    world.matched()
    return world


def neighbour(side: Side = Side.BUY, **changes: object) -> Order:
    """An order of the neighbour."""
    values: dict[str, object] = {"owner": NEIGHBOUR.address, "meter": NEIGHBOUR_METER}
    return an_order(side, **(values | changes))


def submitted(world: World) -> SubmitClearing:
    """The last command, which proposes a clearing."""
    command = world.ledger.submitted[-1]
    assert isinstance(command, SubmitClearing)
    return command


# ---- close the gate


def test_closing_the_gate_commits_the_open_orders_and_publishes_supply_and_demand() -> None:
    world = a_world()
    world.accept(an_order(Side.SELL, quantity_wh=500))
    cancelled = world.accept(an_order(quantity_wh=100, salt=7)).signed.uid
    world.desk.cancel(cancelled, BUYER.sign_cancel(cancelled))
    world.accept(an_order(quantity_wh=600))
    record = world.listed()
    book = world.mtus.books[ZONE, MTU_START]
    assert [entry.running_number for entry in book] == [1, 4]  # the cancellation is receipt 3
    assert (record.order_count, record.book_hash) == (2, book_hash(book))
    assert (record.supply_wh, record.demand_wh) == (500, 600)
    assert world.ledger.submitted == [
        CommitBook(zone=ZONE, mtu_start=MTU_START, book_hash=record.book_hash, order_count=2),
        PublishPrice(zone=ZONE, mtu_start=MTU_START, supply_wh=500, demand_wh=600),
    ]


def test_ineligible_orders_are_committed_and_count_for_no_supply() -> None:
    world = a_world()
    world.accept(an_order(Side.SELL))
    world.accept(an_order())
    world.directory.suspended.add(SELLER.address)
    record = world.listed()
    assert (record.order_count, record.supply_wh, record.demand_wh) == (2, 0, 600)


def test_money_spent_after_the_order_makes_it_ineligible_at_the_gate() -> None:
    world = a_world()
    world.accept(an_order(Side.SELL))
    world.accept(an_order())
    world.directory.money[BUYER.address] = CashAccount(free_microcents=EUR // 1_000, credit_microcents=0)
    world.listed()
    world.match(MTU_START)
    assert states(world) == [(OrderState.UNMATCHED, None), (OrderState.INELIGIBLE, "not funded")]


def test_an_order_that_expires_before_the_gate_is_in_no_book() -> None:
    """Only another gate than the one at intake can be later than an expiry that was good then."""
    world = a_world()
    world.accept(an_order(expiry=GATE))
    world.directory.policy = replace(POLICY, gate_closure_s=POLICY.gate_closure_s - 1)
    record = world.listed()
    assert (record.order_count, states(world)) == (0, [(OrderState.EXPIRED, None)])


def test_pegged_orders_are_listed_and_count_for_neither_supply_nor_demand() -> None:
    world = a_world()
    world.accept(an_order(Side.SELL, pricing=Pricing.PEGGED))
    world.accept(an_order(quantity_wh=100))
    record = world.listed()
    assert (record.order_count, record.supply_wh, record.demand_wh) == (2, 0, 100)


def test_dealt_energy_counts_for_no_supply_and_deals_stand_in_the_book() -> None:
    world = a_world()
    offer = world.accept(an_order(Side.SELL))
    deal = world.deal(offer.signed.uid)
    world.accept(neighbour())
    record = world.listed()
    book = world.mtus.books[ZONE, MTU_START]
    assert [(entry.running_number, entry.is_order) for entry in book] == [(1, True), (2, False), (3, True)]
    assert book[1].uid == deal.signed.uid
    assert (record.order_count, record.book_hash) == (3, book_hash(book))
    assert (record.supply_wh, record.demand_wh) == (400, 600)


# ---- match


def test_matching_submits_the_clearing_and_moves_every_order() -> None:
    world = matched(
        an_order(Side.SELL, quantity_wh=400), an_order(), an_order(salt=2, limit_cents_per_mwh=9_000, quantity_wh=5)
    )
    command = world.ledger.submitted[-1]
    assert isinstance(command, SubmitClearing)
    assert command.book == world.mtus.books[ZONE, MTU_START]
    assert command.proposal == world.mtus.proposals[ZONE, MTU_START][0]
    assert command.proposal.any_price_cents_per_mwh == 20_000
    assert states(world) == [(OrderState.MATCHED, None), (OrderState.MATCHED, None), (OrderState.UNMATCHED, None)]
    assert fills(world) == [400, 400, 0]
    assert world.mtus.records[ZONE, MTU_START].phase is MtuPhase.MATCHED


def test_a_book_without_a_match_is_cleared_with_zero_volume() -> None:
    world = matched(an_order())
    command = world.ledger.submitted[-1]
    assert isinstance(command, SubmitClearing)
    assert (command.proposal.trades, command.proposal.positions) == ((), ())
    assert states(world) == [(OrderState.UNMATCHED, None)]
    assert world.mtus.records[ZONE, MTU_START].phase is MtuPhase.MATCHED


def test_matching_in_the_last_second_of_the_operator_s_half_still_clears() -> None:
    world = a_world()
    world.accept(an_order())
    world.listed()
    world.clock.move_to(MTU_START - (POLICY.gate_closure_s + POLICY.answer_lead_s) // 2)
    world.match(MTU_START)
    assert world.mtus.records[ZONE, MTU_START].phase is MtuPhase.MATCHED


def test_an_mtu_not_cleared_by_its_deadline_lapses_and_trades_nothing() -> None:
    world = a_world()
    world.accept(an_order(Side.SELL))
    world.accept(an_order())
    world.listed()
    before = len(world.ledger.submitted)
    world.clock.move_to(MTU_START - (POLICY.gate_closure_s + POLICY.answer_lead_s) // 2 + 1)
    world.match(MTU_START)
    record = world.mtus.records[ZONE, MTU_START]
    assert (record.phase, record.failure) == (MtuPhase.LAPSED, "the clearing's deadline passed")
    assert states(world) == [(OrderState.UNMATCHED, None)] * 2
    assert fills(world) == [0, 0]
    assert len(world.ledger.submitted) == before


@pytest.mark.parametrize(("late_s", "published"), [(0, True), (1, False)])
def test_no_reference_price_is_published_after_the_clearing_deadline(late_s: int, published: bool) -> None:
    world = a_world()
    world.accept(an_order(Side.SELL))
    world.clock.move_to(POLICY.clearing_deadline(MTU_START) + late_s)
    world.market.close_gate(ZONE, MTU_START)
    assert [type(command) for command in world.ledger.submitted] == [CommitBook, *([PublishPrice] * published)]


def test_two_products_have_two_prices_where_low_carbon_energy_is_scarce() -> None:
    """The neighbour offers 500 Wh of other energy; the seller 100 Wh of solar, for which the buyer pays its limit."""
    world = a_world()
    world.accept(an_order(Side.SELL, quantity_wh=100, limit_cents_per_mwh=9_000))
    world.accept(neighbour(Side.SELL, quantity_wh=500, limit_cents_per_mwh=9_000))
    world.accept(an_order(product=Product.LOW_CARBON, quantity_wh=300, limit_cents_per_mwh=30_000))
    world.accept(an_order(quantity_wh=200, limit_cents_per_mwh=20_000, salt=2))
    proposal = world.matched()
    assert (proposal.merged, proposal.any_price_cents_per_mwh, proposal.low_carbon_price_cents_per_mwh) == (
        False,
        9_000,
        30_000,
    )
    assert fills(world) == [100, 200, 100, 200]


def test_a_pegged_order_trades_at_the_published_reference_price() -> None:
    """Supply 400, demand 700: the neighbour's bid and the seller's offer set the ratio, the pegged bid follows it."""
    world = a_world()
    world.accept(an_order(Side.SELL, quantity_wh=400))
    world.accept(neighbour(quantity_wh=700, limit_cents_per_mwh=11_000))
    world.accept(an_order(pricing=Pricing.PEGGED, quantity_wh=400, limit_cents_per_mwh=32_000))
    proposal = world.matched()
    reference = reference_price(PRICES, 400, 700)
    assert 11_000 < reference < 32_000
    assert fills(world) == [400, 0, 400]
    assert proposal.any_price_cents_per_mwh == (11_000 + reference) // 2


def test_a_pegged_offer_is_not_sold_below_its_guard() -> None:
    world = a_world()
    world.accept(an_order(Side.SELL, pricing=Pricing.PEGGED, limit_cents_per_mwh=20_001))
    world.accept(an_order())
    assert world.matched().trades == ()


# ---- direct deals


def test_a_part_deal_is_traded_at_the_offer_s_price_and_the_rest_in_the_auction() -> None:
    world = a_world()
    offer = world.accept(an_order(Side.SELL))
    deal = world.deal(offer.signed.uid, quantity_wh=200)
    bid = world.accept(neighbour())
    proposal = world.matched()
    assert proposal.trades == (
        Trade(sell=0, buy=1, energy_wh=200, price_cents_per_mwh=10_000),
        Trade(sell=0, buy=2, energy_wh=400),
    )
    assert proposal.trade_prices == (10_000, 20_000)
    assert world.fills() == {offer.signed.uid: 600, deal.signed.uid: 200, bid.signed.uid: 400}
    assert world.desk.deal(deal.signed.uid).state is OrderState.MATCHED


def test_an_offer_accepted_whole_leaves_nothing_to_the_auction() -> None:
    world = a_world()
    offer = world.accept(an_order(Side.SELL))
    deal = world.deal(offer.signed.uid, quantity_wh=600)
    bid = world.accept(neighbour(limit_cents_per_mwh=32_000))
    assert world.matched().trades == (Trade(sell=0, buy=1, energy_wh=600, price_cents_per_mwh=10_000),)
    assert world.fills() == {offer.signed.uid: 600, deal.signed.uid: 600}
    assert world.desk.order(bid.signed.uid).state is OrderState.UNMATCHED


def test_a_deal_dies_with_its_ineligible_offer_and_says_so() -> None:
    world = a_world()
    deal = world.deal(world.accept(an_order(Side.SELL)).signed.uid)
    world.directory.suspended.add(SELLER.address)
    assert world.matched().trades == ()
    told = world.desk.deal(deal.signed.uid)
    assert (told.state, told.state_reason) == (OrderState.INELIGIBLE, "offer not eligible")


def test_a_deal_whose_offer_was_cancelled_on_chain_is_still_listed_and_told() -> None:
    world = a_world()
    offer = world.accept(an_order(Side.SELL))
    deal = world.deal(offer.signed.uid)
    world.orders.end(offer.signed.uid, OrderState.CANCELLED, "on chain")
    world.matched()
    assert [entry.uid for entry in world.mtus.books[ZONE, MTU_START]] == [deal.signed.uid]
    assert world.desk.deal(deal.signed.uid).state_reason == "offer not eligible"


def test_a_buyer_who_cannot_pay_leaves_the_whole_offer_to_the_auction() -> None:
    world = a_world()
    offer = world.accept(an_order(Side.SELL))
    deal = world.deal(offer.signed.uid)
    bid = world.accept(neighbour())
    world.directory.money[BUYER.address] = CashAccount(free_microcents=200 * 12_000 - 1, credit_microcents=0)
    world.matched()
    assert world.fills() == {offer.signed.uid: 600, bid.signed.uid: 600}
    assert world.desk.deal(deal.signed.uid).state_reason == "not funded"


# ---- standing orders


def test_a_standing_order_is_listed_in_each_of_its_mtus_and_filled_anew() -> None:
    world = a_world()
    uid = world.accept(an_order(last_mtu_start=LAST, expiry=LAST)).signed.uid
    for mtu_start, quantity_wh in ((MTU_START, 200), (NEXT, 600), (LAST, 50)):
        offer = an_order(Side.SELL, first_mtu_start=mtu_start, last_mtu_start=mtu_start, expiry=mtu_start)
        world.accept(replace(offer, quantity_wh=quantity_wh))
        assert world.desk.order(uid).state is OrderState.OPEN
        world.matched(mtu_start)
        assert world.fills(mtu_start)[uid] == quantity_wh
    assert world.desk.order(uid).state is OrderState.MATCHED


def test_a_standing_order_s_last_mtu_decides_its_state() -> None:
    world = a_world()
    uid = world.accept(an_order(last_mtu_start=NEXT, expiry=NEXT)).signed.uid
    world.accept(an_order(Side.SELL))
    world.matched(MTU_START)
    world.matched(NEXT)
    assert (world.fills(MTU_START)[uid], world.fills(NEXT)) == (600, {})
    assert world.desk.order(uid).state is OrderState.UNMATCHED


def test_a_late_result_of_an_earlier_mtu_does_not_close_a_standing_order() -> None:
    """Two gates close before the first MTU is matched."""
    world = a_world(now=MTU_START - 10_000)
    world.accept(an_order(Side.SELL))
    uid = world.accept(an_order(last_mtu_start=NEXT, expiry=NEXT)).signed.uid
    world.directory.policy = replace(POLICY, gate_closure_s=2_700)
    world.clock.move_to(NEXT - 2_700)
    for mtu_start in (MTU_START, NEXT):
        world.market.close_gate(ZONE, mtu_start)
        world.mtus.move(ZONE, mtu_start, "book_committed")
    world.match(MTU_START)
    assert (world.fills(MTU_START)[uid], world.desk.order(uid).state) == (600, OrderState.OPEN)
    world.match(NEXT)
    assert world.desk.order(uid).state is OrderState.UNMATCHED


def test_an_order_in_its_last_book_is_in_no_later_one_however_long_the_match_takes() -> None:
    world = a_world()
    world.accept(an_order())
    world.listed(MTU_START)
    assert world.orders.unlisted_mtus(LAST, 0) == ()
    assert world.listed(NEXT).order_count == 0


def test_a_standing_order_expires_at_the_first_gate_after_its_expiry() -> None:
    world = a_world()
    uid = world.accept(an_order(last_mtu_start=LAST, expiry=GATE + 900)).signed.uid
    assert world.listed(MTU_START).order_count == 1
    assert world.listed(NEXT).order_count == 1
    assert world.listed(LAST).order_count == 0
    assert world.desk.order(uid).state is OrderState.EXPIRED


def test_a_standing_order_ineligible_in_one_mtu_stays_for_the_next() -> None:
    world = a_world()
    uid = world.accept(an_order(last_mtu_start=NEXT, expiry=NEXT)).signed.uid
    world.directory.suspended.add(BUYER.address)
    world.matched(MTU_START)
    assert world.mtus.books[ZONE, MTU_START][0].ineligible == "suspended"
    assert world.desk.order(uid).state is OrderState.OPEN
    world.directory.suspended.clear()
    world.matched(NEXT)
    assert world.mtus.books[ZONE, NEXT][0].ineligible is None


# ---- exclude


def test_an_excluded_order_becomes_ineligible_and_the_rest_is_matched_again() -> None:
    world = a_world()
    world.accept(an_order(Side.SELL))
    excluded = world.accept(an_order())
    world.matched()
    assert fills(world) == [600, 600]
    world.market.exclude(ZONE, MTU_START, [excluded.signed.uid], Ineligibility.UNFUNDED)
    assert world.mtus.records[ZONE, MTU_START].phase is MtuPhase.LISTED
    world.match(MTU_START)
    assert world.mtus.records[ZONE, MTU_START].phase is MtuPhase.MATCHED
    assert states(world) == [(OrderState.UNMATCHED, None), (OrderState.INELIGIBLE, "not funded")]
    assert fills(world) == [0, 0]
    assert submitted(world).proposal.trades == ()


def test_after_an_exclusion_the_next_best_is_filled_and_every_fill_is_the_new_one() -> None:
    world = a_world()
    offer = world.accept(an_order(Side.SELL)).signed.uid
    best = world.accept(an_order(limit_cents_per_mwh=25_000, quantity_wh=500)).signed.uid
    second = world.accept(neighbour(quantity_wh=300)).signed.uid
    world.matched()
    assert world.fills() == {offer: 600, best: 500, second: 100}
    world.market.exclude(ZONE, MTU_START, [best], Ineligibility.UNFUNDED)
    world.match(MTU_START)
    assert world.fills() == {offer: 300, second: 300}
    assert submitted(world).proposal == world.mtus.proposals[ZONE, MTU_START][0]


def test_an_excluded_standing_order_stays_for_later_mtus() -> None:
    world = a_world()
    uid = world.accept(an_order(last_mtu_start=NEXT, expiry=NEXT)).signed.uid
    world.accept(an_order(Side.SELL, last_mtu_start=NEXT, expiry=NEXT))
    world.matched(MTU_START)
    world.market.exclude(ZONE, MTU_START, [uid], Ineligibility.UNFUNDED)
    world.match(MTU_START)
    assert (world.fills(MTU_START), world.desk.order(uid).state) == ({}, OrderState.OPEN)
    world.matched(NEXT)
    assert world.fills(NEXT)[uid] == 600
    assert world.desk.order(uid).state is OrderState.MATCHED


def test_excluding_an_offer_ends_its_deals_and_says_why() -> None:
    world = a_world()
    offer = world.accept(an_order(Side.SELL)).signed.uid
    deal = world.deal(offer).signed.uid
    world.matched()
    world.market.exclude(ZONE, MTU_START, [offer], Ineligibility.SUSPENDED)
    world.match(MTU_START)
    assert (world.fills(), submitted(world).proposal.trades) == ({}, ())
    told = world.desk.deal(deal)
    assert (told.state, told.state_reason) == (OrderState.INELIGIBLE, "offer not eligible")


def test_excluding_a_buyer_s_deal_gives_its_energy_back_to_the_auction() -> None:
    world = a_world()
    offer = world.accept(an_order(Side.SELL)).signed.uid
    deal = world.deal(offer).signed.uid
    bid = world.accept(neighbour()).signed.uid
    world.matched()
    assert world.fills() == {offer: 600, deal: 200, bid: 400}
    published = world.mtus.records[ZONE, MTU_START].supply_wh
    world.market.exclude(ZONE, MTU_START, [deal], Ineligibility.UNFUNDED)
    world.match(MTU_START)
    assert world.fills() == {offer: 600, bid: 600}
    assert world.mtus.records[ZONE, MTU_START].supply_wh == published == 400


def test_a_clearing_refused_for_good_leaves_no_fill_and_no_position() -> None:
    world = matched()
    world.market.lapse(ZONE, MTU_START, "clearing_refused", "ZoneHalted(1)", "ZoneHalted")
    record = world.mtus.records[ZONE, MTU_START]
    assert (record.phase, record.failure) == (MtuPhase.LAPSED, "ZoneHalted(1)")
    assert (states(world), fills(world)) == ([(OrderState.UNMATCHED, None)] * 2, [0, 0])
    assert world.mtus.positions(ZONE, MTU_START) == ()


def test_an_mtu_is_matched_once() -> None:
    world = matched()
    with pytest.raises(WrongTransition):
        world.match(MTU_START)


# ---- settle


def cleared() -> World:
    """A pair that the contract has locked."""
    world = matched()
    world.mtus.move(ZONE, MTU_START, "market_cleared")
    return world


def settlement(world: World) -> SettlePositions:
    """The last command, which settles."""
    command = world.ledger.submitted[-1]
    assert isinstance(command, SettlePositions)
    return command


def test_only_positions_whose_meters_are_read_are_settled_and_each_once() -> None:
    world = cleared()
    assert world.market.settle(ZONE, MTU_START, {2: -580, 77: 5})
    command = settlement(world)
    assert (command.kind, command.chunk) == (SettlementKind.READINGS, 0)
    assert (command.indexes, command.metered_wh) == ((1,), (-580,))
    assert command.positions == world.mtus.proposals[ZONE, MTU_START][0].positions
    assert command.deals == world.mtus.proposals[ZONE, MTU_START][0].deals
    assert not world.market.settle(ZONE, MTU_START, {2: -580})
    assert world.market.settle(ZONE, MTU_START, {1: 600, 2: -580})
    last = settlement(world)
    assert (last.indexes, last.metered_wh) == ((0,), (600,))


def test_without_any_reading_nothing_is_settled() -> None:
    world = cleared()
    before = list(world.ledger.submitted)
    assert not world.market.settle(ZONE, MTU_START, {})
    assert (world.ledger.submitted, world.mtus.settling) == (before, set())


def test_a_dead_meter_s_position_is_settled_on_a_substitute_from_the_deadline_s_second_on() -> None:
    world = cleared()
    world.market.settle(ZONE, MTU_START, {1: 600})
    deadline = MTU_END + POLICY.substitute_after_s
    world.clock.move_to(deadline - 1)
    assert not world.market.substitute(ZONE, MTU_START, ())
    world.clock.move_to(deadline)
    assert world.market.substitute(ZONE, MTU_START, ())
    command = settlement(world)
    assert (command.kind, command.indexes, command.metered_wh) == (SettlementKind.SUBSTITUTES, (1,), ())
    assert not world.market.substitute(ZONE, MTU_START, ())


def test_after_the_corrections_deadline_readings_settle_nothing_and_substitutes_do() -> None:
    world = cleared()
    deadline = MTU_END + POLICY.correction_s
    world.clock.move_to(deadline)
    assert world.market.settle(ZONE, MTU_START, {1: 600})
    world.clock.move_to(deadline + 1)
    assert not world.market.settle(ZONE, MTU_START, {2: -600})
    assert world.market.substitute(ZONE, MTU_START, ())
    assert settlement(world).indexes == (1,)


def test_a_void_dispatch_refunds_every_position_without_readings() -> None:
    world = cleared()
    assert world.market.refund(ZONE, MTU_START)
    command = settlement(world)
    assert (command.kind, command.indexes, command.metered_wh) == (SettlementKind.REFUND, (0, 1), ())
    assert not world.market.refund(ZONE, MTU_START)
