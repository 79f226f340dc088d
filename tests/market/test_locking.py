"""From an auction to what the contract is asked to lock: one position per meter, fees with relief, ends by index."""

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.market.fakes import BUYER, OUTSIDER, POLICY, PRICES, SELLER, SUPPLIER, an_order, meter_facts, signed

from gridledger.market.book import auction_orders
from gridledger.market.clearing import clear
from gridledger.market.locking import IndexedMatch, Proposal, propose
from gridledger.market.model import BookEntry, MeterFacts, Order, Position, Side, Trade

SOLAR_METER, GREY_METER, ONE_BUYER, OTHER_BUYER = 1, 2, 3, 4
METERS: dict[int, MeterFacts] = {
    SOLAR_METER: meter_facts(SOLAR_METER, SELLER.address, source=1),
    GREY_METER: meter_facts(GREY_METER, SELLER.address, source=0),
    ONE_BUYER: meter_facts(ONE_BUYER, BUYER.address),
    OTHER_BUYER: meter_facts(OTHER_BUYER, OUTSIDER.address, source=1),
}


def offer(meter: int, quantity_wh: int, limit: int, salt: int = 1) -> Order:
    order = an_order(Side.SELL, meter=meter, quantity_wh=quantity_wh, limit_cents_per_mwh=limit, salt=salt)
    return replace(order, owner=METERS[meter].owner)


def bid(meter: int, quantity_wh: int, limit: int, salt: int = 1) -> Order:
    order = an_order(Side.BUY, meter=meter, quantity_wh=quantity_wh, limit_cents_per_mwh=limit, salt=salt)
    return replace(order, owner=METERS[meter].owner)


def book_of(orders: Sequence[Order], ineligible: Sequence[int] = ()) -> list[BookEntry]:
    return [
        BookEntry(running_number=10 + index, signed=signed(order), ineligible="x" if index in ineligible else None)
        for index, order in enumerate(orders)
    ]


def proposed(orders: Sequence[Order], ineligible: Sequence[int] = ()) -> Proposal:
    book = book_of(orders, ineligible)
    clearing = clear(auction_orders(book), floor_cents_per_mwh=PRICES.floor, cap_cents_per_mwh=PRICES.cap)
    return propose(clearing, book, METERS, POLICY, PRICES)


def test_one_pair_becomes_two_positions_locked_to_the_microcent() -> None:
    proposal = proposed([offer(SOLAR_METER, 600, 10_000), bid(ONE_BUYER, 600, 20_000)])
    assert proposal.price_cents_per_mwh == 15_000
    assert proposal.positions == (
        Position(
            meter=SOLAR_METER,
            source=1,
            settled=False,
            owner=SELLER.address,
            supplier=SUPPLIER,
            contracted_wh=600,
            metered_wh=0,
            locked_microcents=600 * (32_500 - 15_000),
            fee_microcents=0,
        ),
        Position(
            meter=ONE_BUYER,
            source=0,
            settled=False,
            owner=BUYER.address,
            supplier=SUPPLIER,
            contracted_wh=-600,
            metered_wh=0,
            locked_microcents=600 * (15_000 + 1_000),
            fee_microcents=600 * 1_000,
        ),
    )
    assert proposal.trades == (Trade(sell=0, buy=1, energy_wh=600),)
    assert (proposal.lower_end, proposal.upper_end, proposal.ends) == (0, 1, ())


def test_the_fee_of_a_mixed_purchase_has_relief_only_for_its_low_carbon_part() -> None:
    orders = [offer(SOLAR_METER, 100, 9_000), offer(GREY_METER, 200, 9_500), bid(ONE_BUYER, 300, 20_000)]
    proposal = proposed(orders)
    buyer = proposal.positions[-1]
    assert buyer.fee_microcents == 100 * (2_000 - 1_000) + 200 * 2_000
    assert buyer.locked_microcents == 300 * proposal.price_cents_per_mwh + buyer.fee_microcents


def test_several_orders_of_one_meter_are_one_position() -> None:
    orders = [
        bid(ONE_BUYER, 100, 20_000, salt=1),
        offer(SOLAR_METER, 300, 10_000),
        bid(ONE_BUYER, 200, 19_000, salt=2),
    ]
    proposal = proposed(orders)
    assert [one.meter for one in proposal.positions] == [SOLAR_METER, ONE_BUYER]
    assert [one.contracted_wh for one in proposal.positions] == [300, -300]
    assert proposal.trades == (Trade(sell=0, buy=1, energy_wh=100), Trade(sell=0, buy=1, energy_wh=200))
    assert [(item.entry.signed.order.meter, item.book_index) for item in proposal.orders] == [(1, 1), (3, 0), (3, 2)]
    assert proposal.matches == (IndexedMatch(sell=0, buy=1, energy_wh=100), IndexedMatch(sell=0, buy=2, energy_wh=200))


def test_unfilled_orders_that_set_the_price_are_presented_after_the_filled_ones() -> None:
    orders = [
        offer(SOLAR_METER, 100, 9_000),
        bid(ONE_BUYER, 100, 30_000),
        bid(OTHER_BUYER, 50, 12_000),
        offer(GREY_METER, 70, 18_000),
    ]
    proposal = proposed(orders)
    assert proposal.price_cents_per_mwh == 15_000
    assert [item.book_index for item in proposal.orders] == [0, 1]
    assert [item.book_index for item in proposal.ends] == [2, 3]
    assert (proposal.lower_end, proposal.upper_end) == (2, 3)


def test_one_order_may_set_both_ends_and_is_presented_once() -> None:
    proposal = proposed([offer(SOLAR_METER, 600, 10_000), bid(ONE_BUYER, 400, 20_000)])
    assert (proposal.lower_end, proposal.upper_end, proposal.ends) == (0, 0, ())
    assert proposal.price_cents_per_mwh == 10_000


def test_without_a_trade_only_the_ends_are_presented() -> None:
    proposal = proposed([bid(ONE_BUYER, 100, 9_000), offer(SOLAR_METER, 100, 12_000)])
    assert (proposal.orders, proposal.positions, proposal.trades, proposal.matches) == ((), (), (), ())
    assert [item.book_index for item in proposal.ends] == [0, 1]
    assert (proposal.lower_end, proposal.upper_end, proposal.price_cents_per_mwh) == (0, 1, 10_500)


def test_without_orders_floor_and_cap_set_the_price() -> None:
    proposal = proposed([])
    assert (proposal.lower_end, proposal.upper_end, proposal.ends) == (None, None, ())
    assert proposal.price_cents_per_mwh == 20_000


def test_the_book_index_counts_ineligible_lines_too() -> None:
    orders = [bid(OTHER_BUYER, 9, 31_000), offer(SOLAR_METER, 600, 10_000), bid(ONE_BUYER, 600, 20_000)]
    proposal = proposed(orders, ineligible=[0])
    assert [item.book_index for item in proposal.orders] == [1, 2]


METER_ROWS = st.tuples(
    st.sampled_from([SOLAR_METER, GREY_METER, ONE_BUYER, OTHER_BUYER]), st.integers(1, 500), st.integers(8_000, 32_000)
)


@settings(max_examples=150, deadline=None)
@given(st.lists(METER_ROWS, max_size=12))
def test_positions_trades_and_locks_agree_for_any_book(rows: list[tuple[int, int, int]]) -> None:
    orders = [
        (offer if meter in (SOLAR_METER, GREY_METER) else bid)(meter, quantity, limit, salt)
        for salt, (meter, quantity, limit) in enumerate(rows)
    ]
    proposal = proposed(orders)
    price = proposal.price_cents_per_mwh
    presented = [(item.entry.signed.order.meter, item.book_index) for item in proposal.orders]
    assert presented == sorted(set(presented))
    assert len({one.meter for one in proposal.positions}) == len(proposal.positions)
    assert sum(one.contracted_wh for one in proposal.positions) == 0
    assert len(proposal.ends) <= 2
    for index, one in enumerate(proposal.positions):
        own = [trade for trade in proposal.trades if index in (trade.sell, trade.buy)]
        assert abs(one.contracted_wh) == sum(trade.energy_wh for trade in own)
        if one.contracted_wh > 0:
            assert (one.locked_microcents, one.fee_microcents) == (one.contracted_wh * (32_500 - price), 0)
        else:
            fee = sum(trade.energy_wh * (1_000 if proposal.positions[trade.sell].source else 2_000) for trade in own)
            assert one.fee_microcents == fee
            assert one.locked_microcents == -one.contracted_wh * price + fee
    everyone = [*proposal.orders, *proposal.ends]
    lower, upper = (
        bound if end is None else everyone[end].entry.signed.order.limit_cents_per_mwh
        for end, bound in ((proposal.lower_end, PRICES.floor), (proposal.upper_end, PRICES.cap))
    )
    assert price == (lower + upper) // 2
