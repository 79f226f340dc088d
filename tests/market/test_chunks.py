"""A clearing in chunks: each fits and balances, together they are the whole, and only whole orders are left behind."""

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.market.fakes import DOMAIN, POLICY, PRICES, an_acceptance, an_order, meter_facts, signed, signed_acceptance

from gridledger.market.auction import clear
from gridledger.market.book import auction_orders, listed_deals
from gridledger.market.chunks import MOST_ORDERS, ClearingTooLarge, propose_chunks
from gridledger.market.locking import Proposal, propose
from gridledger.market.model import Acceptance, BookEntry, Order, Pricing, Product, Side
from gridledger.market.order_hash import order_uid

REFERENCE = 14_000
MEMBERS = 30
METERS = {number: meter_facts(number, f"0x{number:040x}", source=number % 3 != 0) for number in range(1, MEMBERS + 1)}


def made(meter: int, side: Side, quantity_wh: int, limit: int, salt: int = 1, **changes: object) -> Order:
    """An order of the meter's owner."""
    values: dict[str, object] = {
        "owner": METERS[meter].owner,
        "meter": meter,
        "quantity_wh": quantity_wh,
        "limit_cents_per_mwh": limit,
        "salt": salt,
    }
    return an_order(side, **(values | changes))


def book_of(items: Sequence[Order | Acceptance]) -> list[BookEntry]:
    return [
        BookEntry(running_number=1 + index, signed=signed(item) if isinstance(item, Order) else signed_acceptance(item))
        for index, item in enumerate(items)
    ]


def cut(items: Sequence[Order | Acceptance], most_orders: int) -> tuple[Proposal, tuple[Proposal, ...]]:
    """The whole clearing of a book, and its chunks."""
    book = book_of(items)
    deals = listed_deals(book)
    result = clear(
        auction_orders(book, deals, METERS, REFERENCE),
        floor_cents_per_mwh=PRICES.floor,
        cap_cents_per_mwh=PRICES.cap,
    )
    given_to = (result, deals, book, METERS, POLICY, PRICES)
    return propose(*given_to), propose_chunks(*given_to, most_orders)


def fills(proposals: Sequence[Proposal]) -> Counter[str]:
    filled_wh: Counter[str] = Counter()
    for item in (item for one in proposals for item in one.orders):
        filled_wh[item.entry.uid] += item.fill_wh
    return filled_wh


def check(whole: Proposal, chunks: Sequence[Proposal], most_orders: int) -> None:
    """Everything the contract asks of the chunks of one clearing, and that they are that clearing."""
    assert fills(chunks) == fills([whole])
    assert [one.part.chunk for one in chunks] == list(range(len(chunks)))
    assert [one.part.last for one in chunks] == [False] * (len(chunks) - 1) + [True]
    contracted_wh: Counter[int] = Counter()
    open_uid: dict[int, str] = {}
    seen: set[int] = set()
    for one in chunks:
        assert 0 < len(one.orders) + len(one.ends) <= most_orders
        assert sum(position.contracted_wh for position in one.positions) == 0
        by_meter: dict[int, list[str]] = {}
        for item in one.orders:
            by_meter.setdefault(item.entry.meter, []).append(item.entry.uid)
        for position in one.positions:
            uids = by_meter[position.meter]
            assert (position.meter in seen) == (position.meter in open_uid)
            if position.meter in open_uid:
                assert uids == [open_uid.pop(position.meter)]
            assert position.prior_wh == contracted_wh[position.meter]
            assert position.quantity_wh > 0
            contracted_wh[position.meter] += position.quantity_wh
            if position.continued:
                open_uid[position.meter] = uids[-1]
            seen.add(position.meter)
        assert set(open_uid) >= one.part.continued
        if one.part.chunk:
            assert (one.ends, one.deals, one.any_ends, one.low_carbon_ends) == ((), (), (None, None), (None, None))
    assert open_uid == {}
    ends = [*whole.any_ends, *whole.low_carbon_ends]
    named = {[*whole.orders, *whole.ends][end].entry.meter for end in ends if end is not None}
    assert not named & {position.meter for one in chunks[1:] for position in one.positions}
    assert not named & chunks[0].part.continued


def pairs(count: int, quantity_wh: int = 600) -> list[Order]:
    """Sellers and buyers of one order each."""
    offers = [made(number, Side.SELL, quantity_wh, 9_000 + number) for number in range(1, count + 1)]
    bids = [made(number, Side.BUY, quantity_wh, 25_000 - number) for number in range(count + 1, 2 * count + 1)]
    return [*offers, *bids]


def test_a_clearing_that_fits_is_one_chunk() -> None:
    whole, chunks = cut(pairs(10), MOST_ORDERS)
    assert chunks == (whole,)
    assert len(cut(pairs(10), 20)[1]) == 1


def test_one_order_too_many_makes_two_chunks() -> None:
    whole, chunks = cut(pairs(10), 19)
    assert len(chunks) == 2
    check(whole, chunks, 19)


def test_a_large_seller_goes_on_from_chunk_to_chunk() -> None:
    buyers = [made(number, Side.BUY, 100, 20_000 + number) for number in range(3, 24)]
    whole, chunks = cut([made(1, Side.SELL, 2_000, 9_000), made(2, Side.SELL, 100, 10_000), *buyers], 6)
    assert [one.part.continued for one in chunks[:-1]] == [frozenset({1})] * (len(chunks) - 1)
    assert len(chunks) == 5
    check(whole, chunks, 6)


def test_the_seller_at_the_margin_stays_whole_and_may_be_too_large() -> None:
    buyers = [made(number, Side.BUY, 100, 20_000 + number) for number in range(2, 22)]
    with pytest.raises(ClearingTooLarge) as refused:
        cut([made(1, Side.SELL, 3_000, 9_000), *buyers], 6)
    assert refused.value.values() == {"orders": 21, "most_orders": 6}


def test_what_belongs_together_and_does_not_fit_is_refused_by_name() -> None:
    sold = [made(1, Side.SELL, 100, 10_000 + salt, salt) for salt in range(12)]
    bids = [made(2, Side.BUY, 100, 20_000 + salt, salt) for salt in range(12)]
    with pytest.raises(ClearingTooLarge) as refused:
        cut([*sold, *bids], 10)
    assert refused.value.most_orders == 10
    assert refused.value.orders > 10


ROWS = st.tuples(
    st.integers(1, MEMBERS),
    st.integers(1, 900),
    st.integers(8_000, 32_000),
    st.sampled_from(Product),
    st.sampled_from(Pricing),
    st.integers(0, 3_000),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(ROWS, min_size=20, max_size=70), st.integers(12, 30))
def test_chunks_of_any_book_are_that_book_s_clearing(
    rows: list[tuple[int, int, int, Product, Pricing, int]], most_orders: int
) -> None:
    """Meters of even number sell. A large last figure means that no part of an offer was accepted directly."""
    items: list[Order | Acceptance] = []
    for salt, (meter, quantity, limit, product, pricing, dealt) in enumerate(rows):
        if meter % 2 == 0:
            sold = made(meter, Side.SELL, quantity, limit, salt, pricing=pricing)
            items.append(sold)
            if 0 < dealt <= quantity and pricing is Pricing.LIMIT:
                buyer = meter - 1
                items.append(
                    an_acceptance(
                        order_uid(DOMAIN, sold), owner=METERS[buyer].owner, meter=buyer, quantity_wh=dealt, salt=salt
                    )
                )
        else:
            items.append(made(meter, Side.BUY, quantity, limit, salt, product=product, pricing=pricing))
    try:
        whole, chunks = cut(items, most_orders)
    except ClearingTooLarge:
        return
    if len(chunks) > 1:
        check(whole, chunks, most_orders)
