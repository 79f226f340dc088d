"""The closed book: every receipted order is listed, the ones that cannot trade say why, and the bytes are fixed."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from eth_utils.crypto import keccak
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.market.fakes import (
    BUY_METER,
    BUYER,
    DOMAIN,
    EUR,
    MTU_START,
    OUTSIDER,
    POLICY,
    PRICES,
    SELL_METER,
    SELLER,
    an_acceptance,
    an_order,
    meter_facts,
    signed,
    signed_acceptance,
)

from gridledger.market.auction import AuctionOrder
from gridledger.market.book import (
    Standing,
    auction_orders,
    book_bytes,
    book_hash,
    effective_limit,
    list_orders,
    listed_deals,
    undealt_orders,
)
from gridledger.market.locking import Deal
from gridledger.market.model import (
    Acceptance,
    BookEntry,
    CashAccount,
    Ineligibility,
    Order,
    Pricing,
    Product,
    Side,
    SignedOrder,
)
from gridledger.market.order_hash import acceptance_uid, order_uid
from gridledger.market.settlement import worst_case_microcents

GATE_CLOSURE = MTU_START - POLICY.gate_closure_s
EMPTY_HASH = "0xc5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
NOBODY: frozenset[str] = frozenset()
REFERENCE = 14_000
WIDE = {"import_capacity_w": 4_000_000, "export_capacity_w": 4_000_000}
METERS = {
    SELL_METER: meter_facts(SELL_METER, SELLER.address, source=1, **WIDE),
    BUY_METER: meter_facts(BUY_METER, BUYER.address, source=1, **WIDE),
    3: meter_facts(3, OUTSIDER.address, **WIDE),
    4: meter_facts(4, OUTSIDER.address),
}


def money(amount_microcents: int, credit_microcents: int = 0) -> CashAccount:
    return CashAccount(free_microcents=amount_microcents, credit_microcents=credit_microcents)


def listed(
    items: Sequence[Order | Acceptance],
    accounts: dict[str, CashAccount] | None = None,
    suspended: frozenset[str] = NOBODY,
) -> tuple[BookEntry, ...]:
    rich = {member.address: money(10 * EUR) for member in (BUYER, SELLER, OUTSIDER)}
    numbered = [
        (number, signed(item) if isinstance(item, Order) else signed_acceptance(item))
        for number, item in enumerate(items, start=7)
    ]
    standing = Standing(
        gate_closure=GATE_CLOSURE,
        accounts=rich | (accounts or {}),
        suspended=suspended,
        policy=POLICY,
        prices=PRICES,
        meters=METERS,
        mtu_length_s=900,
    )
    return list_orders(numbered, standing)


def offered(entries: tuple[BookEntry, ...]) -> tuple[AuctionOrder, ...]:
    """What the auction sees at a reference price of 14,000 cents per MWh."""
    return auction_orders(entries, listed_deals(entries), METERS, REFERENCE)


def accepting(offer: Order, **changes: object) -> Acceptance:
    return an_acceptance(order_uid(DOMAIN, offer), **changes)


def reasons(entries: tuple[BookEntry, ...]) -> list[str | None]:
    return [entry.ineligible for entry in entries]


def test_orders_are_listed_in_receipt_order_with_their_running_numbers() -> None:
    orders = [an_order(salt=salt) for salt in (3, 1, 2)]
    entries = listed(orders)
    assert [(entry.running_number, entry.order) for entry in entries] == list(zip((7, 8, 9), orders, strict=True))
    assert reasons(entries) == [None, None, None]


def test_the_bytes_are_running_number_and_uid_of_each_line_and_the_hash_is_theirs() -> None:
    entries = listed([an_order(salt=1), an_order(salt=2)])
    uids = [bytes.fromhex(entry.signed.uid[2:]) for entry in entries]
    expected = (7).to_bytes(8) + uids[0] + (8).to_bytes(8) + uids[1]
    assert book_bytes(entries) == expected
    assert book_hash(entries) == "0x" + keccak(expected).hex()


def test_an_empty_book_has_a_hash_too() -> None:
    assert (book_bytes([]), book_hash([])) == (b"", EMPTY_HASH)


def test_ineligible_orders_stay_in_the_committed_bytes_and_out_of_the_auction() -> None:
    orders = [an_order(salt=1), an_order(Side.SELL)]
    entries = listed(orders, suspended=frozenset({BUYER.address}))
    assert book_bytes(entries) == book_bytes(listed(orders))
    assert [one.uid for one in offered(entries)] == [entries[1].signed.uid]


def test_a_suspended_owner_s_orders_are_listed_as_such() -> None:
    entries = listed([an_order(), an_order(Side.SELL)], suspended=frozenset({SELLER.address}))
    assert reasons(entries) == [None, "suspended"]


@pytest.mark.parametrize(
    ("limit", "reason"),
    [(7_999, "limit outside bounds"), (8_000, None), (32_000, None), (32_001, "limit outside bounds")],
)
def test_a_limit_beyond_floor_or_cap_is_ineligible_and_the_bounds_themselves_are_not(
    limit: int, reason: str | None
) -> None:
    assert reasons(listed([an_order(limit_cents_per_mwh=limit)])) == [reason]


def test_the_last_microcent_decides_whether_an_order_is_funded() -> None:
    order = an_order(quantity_wh=600, limit_cents_per_mwh=20_000)
    worst = 600 * (20_000 + 2_000)
    assert reasons(listed([order], {BUYER.address: money(worst)})) == [None]
    assert reasons(listed([order], {BUYER.address: money(worst - 1)})) == ["not funded"]


def test_credit_counts_and_used_credit_does_not() -> None:
    order = an_order(quantity_wh=600, limit_cents_per_mwh=20_000)
    worst = 600 * (20_000 + 2_000)
    assert reasons(listed([order], {BUYER.address: money(-EUR, EUR + worst)})) == [None]
    assert reasons(listed([order], {BUYER.address: money(-EUR, EUR + worst - 1)})) == ["not funded"]


def test_an_order_that_cannot_be_funded_never_stops_a_smaller_one_after_it() -> None:
    orders = [an_order(salt=1), an_order(salt=2, quantity_wh=900), an_order(salt=3, quantity_wh=300)]
    enough = (600 + 300) * (20_000 + 2_000)
    assert reasons(listed(orders, {BUYER.address: money(enough)})) == [None, "not funded", None]


def test_one_owner_s_lack_of_money_is_no_other_s() -> None:
    orders = [an_order(), an_order(Side.SELL), an_order(owner=OUTSIDER.address, meter=3)]
    assert reasons(listed(orders, {BUYER.address: money(0)})) == ["not funded", None, None]


def test_an_owner_s_first_order_that_counts_decides_its_side() -> None:
    sides = (Side.SELL, Side.BUY, Side.SELL)
    orders = [an_order(side, owner=OUTSIDER.address, meter=3, salt=salt) for salt, side in enumerate(sides)]
    assert reasons(listed(orders)) == [None, Ineligibility.OTHER_SIDE, None]
    poor = {OUTSIDER.address: money(600 * 22_499)}
    assert reasons(listed(orders, poor)) == [Ineligibility.UNFUNDED, None, Ineligibility.OTHER_SIDE]


def test_orders_of_a_meter_beyond_its_capacity_do_not_count_to_the_watt_hour() -> None:
    quantities = (400, 601, 600, 1)
    orders = [
        an_order(owner=OUTSIDER.address, meter=4, salt=salt, quantity_wh=quantity)
        for salt, quantity in enumerate(quantities)
    ]
    over = Ineligibility.OVER_CAPACITY
    assert reasons(listed(orders)) == [None, over, None, over]


def test_a_limit_outside_the_bounds_comes_first_for_the_contract_records_no_such_order() -> None:
    orders = [an_order(limit_cents_per_mwh=32_001)]
    assert reasons(listed(orders, suspended=frozenset({BUYER.address}))) == [Ineligibility.OUT_OF_BOUNDS]


def test_what_is_ineligible_for_another_reason_uses_up_no_money() -> None:
    orders = [an_order(salt=1, limit_cents_per_mwh=32_001), an_order(salt=2)]
    enough = 600 * (20_000 + 2_000)
    assert reasons(listed(orders, {BUYER.address: money(enough)})) == ["limit outside bounds", None]


def test_the_auction_sees_side_quantity_and_limit_of_the_eligible_orders() -> None:
    (bid, offer) = offered(listed([an_order(), an_order(Side.SELL, quantity_wh=5)]))
    assert (bid.side, bid.quantity_wh, bid.limit_cents_per_mwh) == (Side.BUY, 600, 20_000)
    assert (offer.side, offer.quantity_wh, offer.limit_cents_per_mwh) == (Side.SELL, 5, 10_000)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(Side), st.integers(1, 2_000), st.integers(8_000, 32_000)), max_size=8),
    st.integers(0, EUR),
)
def test_the_worst_case_of_all_eligible_orders_of_an_owner_is_always_covered(
    rows: list[tuple[Side, int, int]], free_microcents: int
) -> None:
    orders = [
        replace(an_order(side, salt=salt), owner=BUYER.address, quantity_wh=quantity, limit_cents_per_mwh=limit)
        for salt, (_, quantity, limit) in enumerate(rows)
        for side in [rows[0][0]]
    ]
    entries = listed(orders, {BUYER.address: money(free_microcents)})
    worst = [
        worst_case_microcents(one.order.side, one.order.quantity_wh, one.order.limit_cents_per_mwh, 2_000, 32_500)
        for one in entries
    ]
    spent = 0
    for entry, cost in zip(entries, worst, strict=True):
        assert (entry.ineligible is None) == (spent + cost <= free_microcents)
        spent += cost if entry.ineligible is None else 0


# ---- products and pegged orders


def test_a_bid_is_low_carbon_by_its_product_and_an_offer_by_its_meter_s_source() -> None:
    orders = [
        an_order(product=Product.LOW_CARBON),
        an_order(salt=2),
        an_order(Side.SELL),
        an_order(Side.SELL, owner=OUTSIDER.address, meter=3),
    ]
    assert [one.low_carbon for one in offered(listed(orders))] == [True, False, True, False]


@pytest.mark.parametrize(
    ("side", "guard", "reference", "expected"),
    [
        (Side.SELL, 10_000, 14_000, 14_000),
        (Side.SELL, 14_000, 14_000, 14_000),
        (Side.SELL, 14_001, 14_000, 14_001),
        (Side.SELL, -20_000, -10_000, -10_000),
        (Side.BUY, 20_000, 14_000, 14_000),
        (Side.BUY, 14_000, 14_000, 14_000),
        (Side.BUY, 13_999, 14_000, 13_999),
        (Side.BUY, -10_000, -20_000, -20_000),
    ],
)
def test_a_pegged_order_trades_at_the_reference_price_and_never_beyond_its_guard(
    side: Side, guard: int, reference: int, expected: int
) -> None:
    order = an_order(side, pricing=Pricing.PEGGED, limit_cents_per_mwh=guard)
    assert effective_limit(order, reference) == expected


@given(st.sampled_from(Side), st.integers(-(2**24), 2**24), st.integers(-(2**24), 2**24))
def test_a_limit_order_trades_at_its_own_limit_whatever_the_reference_price(
    side: Side, limit: int, reference: int
) -> None:
    assert effective_limit(an_order(side, limit_cents_per_mwh=limit), reference) == limit


def test_the_auction_sees_pegged_orders_at_the_reference_price() -> None:
    orders = [an_order(pricing=Pricing.PEGGED), an_order(Side.SELL, pricing=Pricing.PEGGED, limit_cents_per_mwh=15_000)]
    assert [one.limit_cents_per_mwh for one in offered(listed(orders))] == [REFERENCE, 15_000]


def test_a_pegged_order_s_guard_must_lie_inside_floor_and_cap_too() -> None:
    orders = [an_order(pricing=Pricing.PEGGED, limit_cents_per_mwh=limit) for limit in (32_000, 32_001)]
    assert reasons(listed(orders)) == [None, "limit outside bounds"]


# ---- direct deals


def test_a_part_that_was_accepted_directly_leaves_the_rest_to_the_auction() -> None:
    offer = an_order(Side.SELL, quantity_wh=600)
    entries = listed([offer, accepting(offer, quantity_wh=200)])
    assert reasons(entries) == [None, None]
    assert listed_deals(entries) == (Deal(acceptance_uid=entries[1].uid, offer_uid=entries[0].uid, energy_wh=200),)
    assert [(one.uid, one.quantity_wh) for one in offered(entries)] == [(entries[0].uid, 400)]
    assert list(undealt_orders(entries, listed_deals(entries))) == [(offer, 400)]


def test_an_offer_accepted_whole_by_several_is_not_in_the_auction() -> None:
    offer = an_order(Side.SELL, quantity_wh=600)
    second = accepting(offer, quantity_wh=400, owner=OUTSIDER.address, meter=3)
    entries = listed([offer, accepting(offer, quantity_wh=200), second])
    assert [deal.energy_wh for deal in listed_deals(entries)] == [200, 400]
    assert offered(entries) == ()
    assert list(undealt_orders(entries, listed_deals(entries))) == [(offer, 0)]


def test_an_acceptance_is_a_line_of_the_book_like_an_order() -> None:
    offer = an_order(Side.SELL)
    acceptance = accepting(offer)
    entries = listed([offer, acceptance])
    assert (entries[1].owner, entries[1].meter, entries[1].is_order) == (BUYER.address, BUY_METER, False)
    uid = bytes.fromhex(acceptance_uid(DOMAIN, acceptance)[2:])
    assert book_bytes(entries)[40:] == (8).to_bytes(8) + uid
    with pytest.raises(TypeError):
        _ = entries[1].order


@pytest.mark.parametrize(
    ("limit", "suspended", "reason"),
    [(7_999, NOBODY, "limit outside bounds"), (10_000, frozenset({SELLER.address}), "suspended")],
)
def test_a_deal_falls_with_its_ineligible_offer(limit: int, suspended: frozenset[str], reason: str) -> None:
    offer = an_order(Side.SELL, limit_cents_per_mwh=limit)
    entries = listed([offer, accepting(offer), an_order(salt=5)], suspended=suspended)
    assert reasons(entries) == [reason, "offer not eligible", None]
    assert listed_deals(entries) == ()


def test_a_deal_whose_offer_is_not_in_the_book_is_listed_and_trades_nothing() -> None:
    entries = listed([accepting(an_order(Side.SELL))])
    assert (reasons(entries), listed_deals(entries), offered(entries)) == (["offer not eligible"], (), ())


def test_an_ineligible_acceptance_leaves_its_offer_whole() -> None:
    offer = an_order(Side.SELL)
    entries = listed([offer, accepting(offer)], suspended=frozenset({BUYER.address}))
    assert reasons(entries) == [None, "suspended"]
    assert [one.quantity_wh for one in offered(entries)] == [600]


def test_the_last_microcent_decides_whether_an_acceptance_is_funded() -> None:
    offer = an_order(Side.SELL, limit_cents_per_mwh=10_000)
    worst = 200 * (10_000 + 2_000)
    assert reasons(listed([offer, accepting(offer)], {BUYER.address: money(worst)})) == [None, None]
    assert reasons(listed([offer, accepting(offer)], {BUYER.address: money(worst - 1)})) == [None, "not funded"]


def test_acceptances_and_bids_of_an_owner_share_its_money_in_receipt_order() -> None:
    offer, bid = an_order(Side.SELL), an_order(quantity_wh=100, limit_cents_per_mwh=10_000)
    worst = 200 * 12_000 + 100 * 12_000
    assert reasons(listed([offer, accepting(offer), bid], {BUYER.address: money(worst - 1)}))[1:] == [
        None,
        "not funded",
    ]
    assert reasons(listed([offer, bid, accepting(offer)], {BUYER.address: money(worst - 1)}))[1:] == [
        None,
        "not funded",
    ]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 300), st.integers(0, EUR // 100)), max_size=6), st.integers(600, 2_000))
def test_dealt_and_undealt_energy_of_an_offer_are_its_quantity(rows: list[tuple[int, int]], quantity_wh: int) -> None:
    offer = an_order(Side.SELL, quantity_wh=quantity_wh)
    taken: list[Order | Acceptance] = [offer]
    left = quantity_wh
    for salt, (wanted, _) in enumerate(rows):
        if wanted <= left:
            taken.append(accepting(offer, quantity_wh=wanted, salt=salt))
            left -= wanted
    funds = rows[0][1] if rows else 0
    entries = listed(taken, {BUYER.address: money(funds)})
    dealt = sum(deal.energy_wh for deal in listed_deals(entries))
    (seen,) = undealt_orders(entries, listed_deals(entries))
    assert seen == (offer, quantity_wh - dealt)
    assert isinstance(entries[0].signed, SignedOrder)
    assert sum(one.quantity_wh for one in offered(entries)) == quantity_wh - dealt
