"""From an auction to what the contract is asked to lock: one position per meter, fees with relief, ends by index."""

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.market.fakes import (
    BUYER,
    DOMAIN,
    OUTSIDER,
    POLICY,
    PRICES,
    SELLER,
    an_acceptance,
    an_order,
    meter_facts,
    signed,
    signed_acceptance,
)

from gridledger.market.auction import clear
from gridledger.market.book import auction_orders, listed_deals
from gridledger.market.locking import Proposal, propose
from gridledger.market.model import (
    Acceptance,
    BookEntry,
    Ineligibility,
    MeterFacts,
    Order,
    Position,
    Pricing,
    Product,
    Side,
    Trade,
)
from gridledger.market.order_hash import order_uid

SOLAR_METER, GREY_METER, ONE_BUYER, OTHER_BUYER = 1, 2, 3, 4
METERS: dict[int, MeterFacts] = {
    SOLAR_METER: meter_facts(SOLAR_METER, SELLER.address, source=1),
    GREY_METER: meter_facts(GREY_METER, SELLER.address, source=0),
    ONE_BUYER: meter_facts(ONE_BUYER, BUYER.address),
    OTHER_BUYER: meter_facts(OTHER_BUYER, OUTSIDER.address, source=1),
}
REFERENCE = 14_000
SHORTAGE = 32_500


def offer(meter: int, quantity_wh: int, limit: int, salt: int = 1, **changes: object) -> Order:
    order = an_order(Side.SELL, meter=meter, quantity_wh=quantity_wh, limit_cents_per_mwh=limit, salt=salt, **changes)
    return replace(order, owner=METERS[meter].owner)


def bid(meter: int, quantity_wh: int, limit: int, salt: int = 1, **changes: object) -> Order:
    order = an_order(Side.BUY, meter=meter, quantity_wh=quantity_wh, limit_cents_per_mwh=limit, salt=salt, **changes)
    return replace(order, owner=METERS[meter].owner)


def green(meter: int, quantity_wh: int, limit: int, salt: int = 1) -> Order:
    return bid(meter, quantity_wh, limit, salt, product=Product.LOW_CARBON)


def accepting(accepted: Order, meter: int, quantity_wh: int, salt: int = 1) -> Acceptance:
    return an_acceptance(
        order_uid(DOMAIN, accepted), owner=METERS[meter].owner, meter=meter, quantity_wh=quantity_wh, salt=salt
    )


def book_of(items: Sequence[Order | Acceptance], ineligible: Sequence[int] = ()) -> list[BookEntry]:
    return [
        BookEntry(
            running_number=10 + index,
            signed=signed(item) if isinstance(item, Order) else signed_acceptance(item),
            ineligible=Ineligibility.UNFUNDED if index in ineligible else None,
        )
        for index, item in enumerate(items)
    ]


def proposed(items: Sequence[Order | Acceptance], ineligible: Sequence[int] = ()) -> Proposal:
    book = book_of(items, ineligible)
    deals = listed_deals(book)
    result = clear(
        auction_orders(book, deals, METERS, REFERENCE),
        floor_cents_per_mwh=PRICES.floor,
        cap_cents_per_mwh=PRICES.cap,
    )
    return propose(result, deals, book, METERS, POLICY, PRICES)


def position(meter: int, **changes: object) -> Position:
    """A fresh position of a meter."""
    facts = METERS[meter]
    opened = Position(
        meter=meter, owner=facts.owner, supplier_number=1, source=facts.source, sells=False, capacity_w=8_000
    )
    return replace(opened, **changes)  # type: ignore[arg-type]


def test_one_pair_becomes_two_positions_locked_to_the_microcent() -> None:
    proposal = proposed([offer(SOLAR_METER, 600, 10_000), bid(ONE_BUYER, 600, 20_000)])
    assert (proposal.merged, proposal.any_price_cents_per_mwh, proposal.low_carbon_price_cents_per_mwh) == (
        True,
        15_000,
        15_000,
    )
    assert proposal.positions == (
        position(SOLAR_METER, sells=True, auction_wh=600, locked_microcents=600 * (SHORTAGE - 15_000)),
        position(ONE_BUYER, auction_wh=600, locked_microcents=600 * (15_000 + 1_000), fee_microcents=600 * 1_000),
    )
    assert (proposal.trades, proposal.deals) == ((Trade(sell=0, buy=1, energy_wh=600),), ())
    assert (proposal.trade_prices, proposal.traded_wh) == ((15_000,), 600)
    assert (proposal.any_ends, proposal.low_carbon_ends, proposal.ends) == ((0, 1), (0, 1), ())


def test_the_fee_of_a_mixed_purchase_has_relief_only_for_its_low_carbon_part() -> None:
    orders = [offer(SOLAR_METER, 100, 9_000), offer(GREY_METER, 200, 9_500), bid(ONE_BUYER, 300, 20_000)]
    proposal = proposed(orders)
    buyer = proposal.positions[-1]
    assert buyer.fee_microcents == 100 * (2_000 - 1_000) + 200 * 2_000
    assert buyer.locked_microcents == 300 * proposal.any_price_cents_per_mwh + buyer.fee_microcents


def test_several_orders_of_one_meter_are_one_position() -> None:
    orders = [
        bid(ONE_BUYER, 100, 20_000, salt=1),
        offer(SOLAR_METER, 300, 10_000),
        bid(ONE_BUYER, 200, 19_000, salt=2),
    ]
    proposal = proposed(orders)
    assert [one.meter for one in proposal.positions] == [SOLAR_METER, ONE_BUYER]
    assert [one.contracted_wh for one in proposal.positions] == [300, -300]
    assert proposal.trades == (Trade(sell=0, buy=1, energy_wh=300),)
    assert [(item.entry.meter, item.book_index, item.fill_wh) for item in proposal.orders] == [
        (1, 1, 300),
        (3, 0, 100),
        (3, 2, 200),
    ]


def test_unfilled_orders_that_set_the_price_are_presented_after_the_filled_ones() -> None:
    orders = [
        offer(SOLAR_METER, 100, 9_000),
        bid(ONE_BUYER, 100, 30_000),
        bid(OTHER_BUYER, 50, 12_000),
        offer(GREY_METER, 70, 18_000),
    ]
    proposal = proposed(orders)
    assert proposal.any_price_cents_per_mwh == 15_000
    assert [item.book_index for item in proposal.orders] == [0, 1]
    assert [(item.book_index, item.fill_wh) for item in proposal.ends] == [(2, 0), (3, 0)]
    assert proposal.any_ends == (2, 3)


def test_one_order_may_set_both_ends_and_is_presented_once() -> None:
    proposal = proposed([offer(SOLAR_METER, 600, 10_000), bid(ONE_BUYER, 400, 20_000)])
    assert (proposal.any_ends, proposal.ends) == ((0, 0), ())
    assert proposal.any_price_cents_per_mwh == 10_000


def test_without_a_trade_only_the_ends_are_presented() -> None:
    proposal = proposed([bid(ONE_BUYER, 100, 9_000), offer(SOLAR_METER, 100, 12_000)])
    assert (proposal.orders, proposal.positions, proposal.trades) == ((), (), ())
    assert [item.book_index for item in proposal.ends] == [0, 1]
    assert (proposal.any_ends, proposal.any_price_cents_per_mwh, proposal.traded_wh) == ((0, 1), 10_500, 0)


def test_without_orders_floor_and_cap_set_the_price() -> None:
    proposal = proposed([])
    assert (proposal.any_ends, proposal.low_carbon_ends, proposal.ends) == ((None, None), (None, None), ())
    assert (proposal.any_price_cents_per_mwh, proposal.low_carbon_price_cents_per_mwh) == (20_000, 20_000)


def test_the_book_index_counts_ineligible_lines_too() -> None:
    orders = [bid(OTHER_BUYER, 9, 31_000), offer(SOLAR_METER, 600, 10_000), bid(ONE_BUYER, 600, 20_000)]
    proposal = proposed(orders, ineligible=[0])
    assert [item.book_index for item in proposal.orders] == [1, 2]


# ---- two products


def test_scarce_low_carbon_energy_has_its_own_price_and_pays_its_sellers_alone() -> None:
    orders = [
        offer(SOLAR_METER, 100, 9_000),
        offer(GREY_METER, 500, 9_000),
        green(ONE_BUYER, 300, 30_000),
        bid(OTHER_BUYER, 300, 20_000),
    ]
    proposal = proposed(orders)
    solar, grey, green_buyer, any_buyer = proposal.positions
    assert not proposal.merged
    assert (proposal.any_price_cents_per_mwh, proposal.low_carbon_price_cents_per_mwh) == (9_000, 30_000)
    assert (proposal.any_ends, proposal.low_carbon_ends) == ((1, 1), (2, 2))
    assert (solar.auction_wh, grey.auction_wh) == (100, 300)
    assert (green_buyer.auction_wh, green_buyer.low_carbon_wh, any_buyer.auction_wh) == (0, 100, 300)
    assert solar.locked_microcents == 100 * (SHORTAGE - 30_000)
    assert grey.locked_microcents == 300 * (SHORTAGE - 9_000)
    assert green_buyer.locked_microcents == 100 * (30_000 + 1_000)
    assert any_buyer.locked_microcents == 300 * (9_000 + 2_000)
    assert dict(zip([(one.sell, one.buy) for one in proposal.trades], proposal.trade_prices, strict=True)) == {
        (0, 2): 30_000,
        (1, 3): 9_000,
    }


def test_one_meter_may_buy_both_products_in_one_position() -> None:
    orders = [
        offer(SOLAR_METER, 100, 9_000),
        offer(GREY_METER, 500, 9_000),
        green(ONE_BUYER, 100, 31_000),
        bid(ONE_BUYER, 200, 20_000, salt=2),
    ]
    *_, buyer = proposed(orders).positions
    assert (buyer.auction_wh, buyer.low_carbon_wh, buyer.quantity_wh) == (200, 100, 300)


def test_low_carbon_bids_are_served_from_low_carbon_sellers_first_in_a_merged_book() -> None:
    orders = [
        offer(SOLAR_METER, 300, 9_000),
        offer(GREY_METER, 300, 9_000),
        bid(ONE_BUYER, 300, 20_000),
        green(OTHER_BUYER, 300, 20_000),
    ]
    proposal = proposed(orders)
    assert proposal.merged
    assert proposal.trades == (Trade(sell=0, buy=3, energy_wh=300), Trade(sell=1, buy=2, energy_wh=300))
    assert [one.fee_microcents for one in proposal.positions] == [0, 0, 300 * 2_000, 300 * 1_000]


def test_a_pegged_order_is_presented_with_its_guard_and_priced_at_the_reference() -> None:
    pegged = offer(SOLAR_METER, 100, 9_000, pricing=Pricing.PEGGED)
    proposal = proposed([pegged, bid(ONE_BUYER, 300, 20_000)])
    assert proposal.any_price_cents_per_mwh == 20_000
    proposal = proposed([pegged, bid(ONE_BUYER, 100, 20_000)])
    assert proposal.any_price_cents_per_mwh == (REFERENCE + 20_000) // 2
    assert proposal.orders[0].entry.order == pegged


# ---- direct deals


def test_a_deal_is_paid_at_the_offer_s_price_and_its_rest_at_the_auction_s() -> None:
    sold = offer(SOLAR_METER, 600, 10_000)
    proposal = proposed([sold, accepting(sold, ONE_BUYER, 200), bid(OTHER_BUYER, 400, 20_000)])
    assert proposal.any_price_cents_per_mwh == 15_000
    assert proposal.positions == (
        position(
            SOLAR_METER,
            sells=True,
            auction_wh=400,
            dealt_wh=200,
            locked_microcents=400 * (SHORTAGE - 15_000) + 200 * (SHORTAGE - 10_000),
            deal_microcents=200 * 10_000,
        ),
        position(
            ONE_BUYER,
            dealt_wh=200,
            locked_microcents=200 * (10_000 + 1_000),
            fee_microcents=200 * 1_000,
            deal_microcents=-200 * 10_000,
        ),
        position(OTHER_BUYER, auction_wh=400, locked_microcents=400 * (15_000 + 1_000), fee_microcents=400 * 1_000),
    )
    assert proposal.deals == (Trade(sell=0, buy=1, energy_wh=200, price_cents_per_mwh=10_000),)
    assert proposal.trades == (*proposal.deals, Trade(sell=0, buy=2, energy_wh=400))
    assert proposal.trade_prices == (10_000, 15_000)
    assert [(item.book_index, item.fill_wh) for item in proposal.orders] == [(0, 600), (1, 200), (2, 400)]
    assert proposal.accepted_offers == (0,)


def test_a_deal_alone_is_cleared_without_an_auction() -> None:
    sold = offer(GREY_METER, 600, 12_000)
    proposal = proposed([sold, accepting(sold, ONE_BUYER, 600)])
    assert (proposal.any_price_cents_per_mwh, proposal.any_ends) == (20_000, (None, None))
    assert [one.auction_wh for one in proposal.positions] == [0, 0]
    assert proposal.trade_prices == (12_000,)
    assert proposal.positions[1].fee_microcents == 600 * 2_000


def test_an_offer_dealt_in_part_may_still_set_the_price_it_does_not_trade_at() -> None:
    sold = offer(SOLAR_METER, 600, 18_000)
    proposal = proposed([sold, accepting(sold, ONE_BUYER, 200), bid(OTHER_BUYER, 400, 12_000)])
    assert (proposal.any_price_cents_per_mwh, proposal.any_ends, len(proposal.orders)) == (15_000, (2, 0), 2)
    assert [(item.book_index, item.fill_wh) for item in proposal.orders] == [(0, 200), (1, 200)]
    assert [item.book_index for item in proposal.ends] == [2]


def test_several_acceptances_name_their_offers_in_the_order_they_are_presented() -> None:
    solar, grey = offer(SOLAR_METER, 600, 10_000), offer(GREY_METER, 600, 11_000)
    items: list[Order | Acceptance] = [
        solar,
        grey,
        accepting(grey, OTHER_BUYER, 10),
        accepting(solar, ONE_BUYER, 20),
        accepting(grey, ONE_BUYER, 30, salt=2),
    ]
    proposal = proposed(items)
    assert [(item.entry.meter, item.book_index) for item in proposal.orders] == [(1, 0), (2, 1), (3, 3), (3, 4), (4, 2)]
    assert proposal.accepted_offers == (0, 1, 1)
    assert proposal.deals == (
        Trade(sell=0, buy=2, energy_wh=20, price_cents_per_mwh=10_000),
        Trade(sell=1, buy=2, energy_wh=30, price_cents_per_mwh=11_000),
        Trade(sell=1, buy=3, energy_wh=10, price_cents_per_mwh=11_000),
    )
    assert proposal.positions[2].deal_microcents == -(20 * 10_000 + 30 * 11_000)


def test_a_meter_may_deal_and_bid_in_one_position() -> None:
    sold, grey = offer(SOLAR_METER, 200, 10_000), offer(GREY_METER, 300, 9_000)
    proposal = proposed([sold, grey, accepting(sold, ONE_BUYER, 200), bid(ONE_BUYER, 300, 20_000)])
    *_, buyer = proposal.positions
    assert (buyer.auction_wh, buyer.dealt_wh, buyer.contracted_wh) == (300, 200, -500)


# ---- any book

ROWS = st.tuples(
    st.sampled_from([SOLAR_METER, GREY_METER, ONE_BUYER, OTHER_BUYER]),
    st.integers(1, 500),
    st.integers(8_000, 32_000),
    st.sampled_from(Product),
    st.sampled_from(Pricing),
    st.integers(0, 600),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(ROWS, max_size=12))
def test_positions_trades_and_locks_agree_for_any_book(
    rows: list[tuple[int, int, int, Product, Pricing, int]],
) -> None:
    """Each limit offer may be accepted in part by one of the buyers."""
    items: list[Order | Acceptance] = []
    for salt, (meter, quantity, limit, product, pricing, dealt) in enumerate(rows):
        if meter in (SOLAR_METER, GREY_METER):
            sold = offer(meter, quantity, limit, salt, pricing=pricing)
            items.append(sold)
            if 0 < dealt <= quantity and pricing is Pricing.LIMIT:
                items.append(accepting(sold, ONE_BUYER if dealt % 2 else OTHER_BUYER, dealt, salt))
        else:
            items.append(bid(meter, quantity, limit, salt, product=product, pricing=pricing))
    proposal = proposed(items)
    prices = {False: proposal.any_price_cents_per_mwh, True: proposal.low_carbon_price_cents_per_mwh}
    presented = [(item.entry.meter, item.book_index) for item in proposal.orders]
    assert presented == sorted(set(presented))
    assert len({one.meter for one in proposal.positions}) == len(proposal.positions)
    assert sum(one.contracted_wh for one in proposal.positions) == 0
    assert sum(one.deal_microcents for one in proposal.positions) == 0
    assert len(proposal.ends) <= (2 if proposal.merged else 4)
    assert prices[True] >= prices[False]
    assert len(proposal.accepted_offers) == len(proposal.deals)
    for index, one in enumerate(proposal.positions):
        own = [trade for trade in proposal.trades if index in (trade.sell, trade.buy)]
        dealt_locks = [
            (trade.energy_wh, price)
            for trade, price in zip(proposal.deals, proposal.trade_prices, strict=False)
            if index in (trade.sell, trade.buy)
        ]
        assert one.quantity_wh == sum(trade.energy_wh for trade in own)
        assert one.dealt_wh == sum(energy_wh for energy_wh, _ in dealt_locks)
        if one.sells:
            locked = one.auction_wh * (SHORTAGE - prices[one.source != 0])
            locked += sum(energy_wh * (SHORTAGE - price) for energy_wh, price in dealt_locks)
            assert (one.locked_microcents, one.fee_microcents) == (locked, 0)
        else:
            fee = sum(trade.energy_wh * (1_000 if proposal.positions[trade.sell].source else 2_000) for trade in own)
            locked = one.auction_wh * prices[False] + one.low_carbon_wh * prices[True] + fee
            locked += sum(energy_wh * price for energy_wh, price in dealt_locks)
            assert (one.fee_microcents, one.locked_microcents) == (fee, locked)
