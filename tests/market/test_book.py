"""The closed book: every receipted order is listed, the ones that cannot trade say why, and the bytes are fixed."""

from dataclasses import replace

import pytest
from eth_utils.crypto import keccak
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.market.fakes import BUYER, EUR, OUTSIDER, POLICY, PRICES, SELLER, an_order, signed

from gridledger.market.book import auction_orders, book_bytes, book_hash, list_orders
from gridledger.market.model import BookEntry, CashAccount, Order, Side
from gridledger.market.settlement import worst_case_microcents

EMPTY_HASH = "0xc5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
NOBODY: frozenset[str] = frozenset()


def money(amount_microcents: int, credit_microcents: int = 0) -> CashAccount:
    return CashAccount(free_microcents=amount_microcents, credit_microcents=credit_microcents)


def listed(
    orders: list[Order], accounts: dict[str, CashAccount] | None = None, suspended: frozenset[str] = NOBODY
) -> tuple[BookEntry, ...]:
    rich = {member.address: money(10 * EUR) for member in (BUYER, SELLER, OUTSIDER)}
    numbered = [(number, signed(order)) for number, order in enumerate(orders, start=7)]
    return list_orders(numbered, rich | (accounts or {}), suspended, POLICY, PRICES)


def reasons(entries: tuple[BookEntry, ...]) -> list[str | None]:
    return [entry.ineligible for entry in entries]


def test_orders_are_listed_in_receipt_order_with_their_running_numbers() -> None:
    orders = [an_order(salt=salt) for salt in (3, 1, 2)]
    entries = listed(orders)
    assert [(entry.running_number, entry.signed.order) for entry in entries] == list(
        zip((7, 8, 9), orders, strict=True)
    )
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
    assert [one.uid for one in auction_orders(entries)] == [entries[1].signed.uid]


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


def test_what_is_ineligible_for_another_reason_uses_up_no_money() -> None:
    orders = [an_order(salt=1, limit_cents_per_mwh=32_001), an_order(salt=2)]
    enough = 600 * (20_000 + 2_000)
    assert reasons(listed(orders, {BUYER.address: money(enough)})) == ["limit outside bounds", None]


def test_the_auction_sees_side_quantity_and_limit_of_the_eligible_orders() -> None:
    (bid, offer) = auction_orders(listed([an_order(), an_order(Side.SELL, quantity_wh=5)]))
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
        for salt, (side, quantity, limit) in enumerate(rows)
    ]
    entries = listed(orders, {BUYER.address: money(free_microcents)})
    worst = [
        worst_case_microcents(
            one.signed.order.side, one.signed.order.quantity_wh, one.signed.order.limit_cents_per_mwh, 2_000, 32_500
        )
        for one in entries
    ]
    spent = 0
    for entry, cost in zip(entries, worst, strict=True):
        assert (entry.ineligible is None) == (spent + cost <= free_microcents)
        spent += cost if entry.ineligible is None else 0
