"""Packed words lose nothing, and nothing spills into its neighbour."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.market.fakes import an_acceptance, an_order

from gridledger.market.model import Acceptance, Order, Position, Pricing, Product, Side, Trade
from gridledger.market.packing import (
    LARGEST_ENERGY_WH,
    LARGEST_TIME_S,
    acceptance_from_words,
    acceptance_words,
    fill_of,
    is_acceptance,
    order_from_words,
    order_words,
    position_from_words,
    position_words,
    terms_meter,
    trade_from_word,
    trade_word,
)
from gridledger.units import INT64_MAX, INT64_MIN, UINT32_MAX, UINT64_MAX, OutOfRange

TIMES, ENERGIES = st.integers(0, LARGEST_TIME_S), st.integers(0, LARGEST_ENERGY_WH)
PLACES = st.integers(0, 2**16 - 1)
OWNER = "0x" + "ab" * 20
orders = st.builds(
    Order,
    owner=st.just(OWNER),
    meter=st.integers(0, UINT32_MAX),
    side=st.sampled_from(Side),
    product=st.sampled_from(Product),
    pricing=st.sampled_from(Pricing),
    first_mtu_start=TIMES,
    last_mtu_start=TIMES,
    quantity_wh=ENERGIES,
    limit_cents_per_mwh=st.integers(INT64_MIN, INT64_MAX),
    expiry=TIMES,
    salt=st.integers(0, UINT64_MAX),
)
acceptances = st.builds(
    Acceptance,
    owner=st.just(OWNER),
    meter=st.integers(0, UINT32_MAX),
    offer_uid=st.binary(min_size=32, max_size=32).map(lambda data: "0x" + data.hex()),
    mtu_start=TIMES,
    quantity_wh=ENERGIES,
    salt=TIMES,
)
positions = st.builds(
    Position,
    meter=st.integers(0, UINT32_MAX),
    owner=st.binary(min_size=20, max_size=20).map(lambda data: "0x" + data.hex()),
    supplier_number=st.integers(0, 2**16 - 1),
    source=st.integers(0, 255),
    sells=st.booleans(),
    capacity_w=st.integers(0, 2**24 - 1),
    auction_wh=st.integers(0, 2**48 - 1),
    low_carbon_wh=st.integers(0, 2**48 - 1),
    dealt_wh=st.integers(0, 2**48 - 1),
    prior_wh=st.integers(0, 2**48 - 1),
    continued=st.booleans(),
    settled=st.booleans(),
    substitute=st.booleans(),
    version=st.integers(0, 255),
    metered_wh=st.integers(-(2**47), 2**47 - 1),
    fee_microcents=st.integers(0, 2**80 - 1),
    locked_microcents=st.integers(0, 2**88 - 1),
    deal_microcents=st.integers(-(2**87), 2**87 - 1),
)


@settings(max_examples=300, deadline=None)
@given(orders, PLACES, ENERGIES)
def test_an_order_comes_back_from_its_words(order: Order, book_index: int, fill_wh: int) -> None:
    terms, guard = order_words(order, book_index=book_index, fill_wh=fill_wh)
    assert terms < 2**256
    assert guard < 2**128
    assert order_from_words(terms, guard, OWNER) == order
    assert (terms_meter(terms), is_acceptance(terms), fill_of(terms)) == (order.meter, False, (book_index, fill_wh))


@settings(max_examples=300, deadline=None)
@given(acceptances, PLACES)
def test_an_acceptance_comes_back_from_its_words_and_is_filled_whole(acceptance: Acceptance, book_index: int) -> None:
    terms, guard = acceptance_words(acceptance, book_index=book_index)
    assert acceptance_from_words(terms, guard, OWNER) == acceptance
    assert (terms_meter(terms), is_acceptance(terms)) == (acceptance.meter, True)
    assert fill_of(terms) == (book_index, acceptance.quantity_wh)


@settings(max_examples=300, deadline=None)
@given(st.lists(positions, max_size=4))
def test_positions_come_back_from_their_three_words_each(kept: list[Position]) -> None:
    words = position_words(kept)
    assert (len(words), all(0 <= word < 2**256 for word in words)) == (3 * len(kept), True)
    assert position_from_words(words) == tuple(kept)


@given(PLACES, PLACES, st.integers(0, 2**48 - 1))
def test_a_trade_comes_back_from_its_word(sell: int, buy: int, energy_wh: int) -> None:
    trade = Trade(sell=sell, buy=buy, energy_wh=energy_wh)
    assert trade_from_word(trade_word(trade)) == trade


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("meter", 2**32),
        ("first_mtu_start", 2**40),
        ("last_mtu_start", 2**40),
        ("expiry", 2**40),
        ("quantity_wh", 2**40),
        ("quantity_wh", -1),
        ("salt", 2**64),
        ("limit_cents_per_mwh", INT64_MAX + 1),
        ("limit_cents_per_mwh", INT64_MIN - 1),
    ],
)
def test_a_field_of_an_order_that_would_spill_is_refused(field: str, value: int) -> None:
    with pytest.raises(OutOfRange):
        order_words(replace(an_order(), **{field: value}), book_index=0, fill_wh=0)  # type: ignore[arg-type]


@pytest.mark.parametrize(("book_index", "fill_wh"), [(2**16, 0), (-1, 0), (0, 2**40), (0, -1)])
def test_a_place_or_fill_that_would_spill_is_refused(book_index: int, fill_wh: int) -> None:
    with pytest.raises(OutOfRange):
        order_words(an_order(), book_index=book_index, fill_wh=fill_wh)


@pytest.mark.parametrize(("field", "value"), [("salt", 2**40), ("mtu_start", 2**40), ("quantity_wh", 2**40)])
def test_a_field_of_an_acceptance_that_would_spill_is_refused(field: str, value: int) -> None:
    acceptance = replace(an_acceptance("0x" + "ab" * 32), **{field: value})  # type: ignore[arg-type]
    with pytest.raises(OutOfRange):
        acceptance_words(acceptance, book_index=0)
