"""Orders, acceptances and books hash and read the same in the contract, in the node and in eth-account's encoder."""

import random
from collections.abc import Sequence
from typing import Any

import pytest
from eth_account.messages import encode_typed_data
from tests.contracts.rules import CASES, INT64, UINT64, Rules, batches, drawn

from gridledger.chain.codec import keccak256
from gridledger.market.model import Acceptance, Order, Pricing, Product, Side
from gridledger.market.order_hash import (
    OrderDomain,
    acceptance_typed_data,
    acceptance_uid,
    order_typed_data,
    order_uid,
)
from gridledger.market.packing import acceptance_words, order_words

UINT40 = (0, 2**40 - 1)
DOMAIN = OrderDomain(chain_id=31_337, trading_contract="0x5FbDB2315678afecb367f032d93F642f64180aa3")


@pytest.fixture(scope="module")
def rules() -> Rules:
    """The deployed rules."""
    return Rules()


def an_order(source: random.Random) -> tuple[Order, int, int]:
    """An order with its place in the book and its fill, every field from its whole range."""
    order = Order(
        owner=f"0x{source.getrandbits(160):040x}",
        meter=drawn(source, (0, 2**32 - 1)),
        side=source.choice(list(Side)),
        product=source.choice(list(Product)),
        pricing=source.choice(list(Pricing)),
        first_mtu_start=drawn(source, UINT40),
        last_mtu_start=drawn(source, UINT40),
        quantity_wh=drawn(source, UINT40),
        limit_cents_per_mwh=drawn(source, INT64),
        expiry=drawn(source, UINT40),
        salt=drawn(source, UINT64),
    )
    return order, drawn(source, (0, 2**16 - 1)), drawn(source, UINT40)


def an_acceptance(source: random.Random) -> tuple[Acceptance, int]:
    """An acceptance with its place in the book."""
    acceptance = Acceptance(
        owner=f"0x{source.getrandbits(160):040x}",
        meter=drawn(source, (0, 2**32 - 1)),
        offer_uid=f"0x{source.getrandbits(256):064x}",
        mtu_start=drawn(source, UINT40),
        quantity_wh=drawn(source, UINT40),
        salt=drawn(source, UINT40),
    )
    return acceptance, drawn(source, (0, 2**16 - 1))


def domain_separator() -> bytes:
    """The domain's EIP-712 hash, as eth-account encodes it."""
    order, _, _ = an_order(random.Random(0))
    return bytes(encode_typed_data(full_message=order_typed_data(DOMAIN, order)).header)


def uids(rules: Rules, words: Sequence[tuple[int, int]], owners: Sequence[str]) -> list[str]:
    """The contract's digests."""
    terms, guards = zip(*words, strict=True)
    shown = rules("orderUids", domain_separator(), list(terms), list(guards), list(owners))
    return ["0x" + one.hex() for one in shown]


def test_order_uids_are_those_of_eth_account_and_of_the_node(rules: Rules) -> None:
    source = random.Random(13)
    for batch in batches([an_order(source) for _ in range(CASES)]):
        words = [order_words(order, book_index=place, fill_wh=fill) for order, place, fill in batch]
        shown = uids(rules, words, [order.owner for order, _, _ in batch])
        assert shown == [order_uid(DOMAIN, order) for order, _, _ in batch]
        for uid, (order, _, _) in list(zip(shown, batch, strict=True))[:50]:
            assert uid == eth_account_uid(order_typed_data(DOMAIN, order))


def test_acceptance_uids_are_those_of_eth_account_and_of_the_node(rules: Rules) -> None:
    source = random.Random(14)
    for batch in batches([an_acceptance(source) for _ in range(CASES)]):
        words = [acceptance_words(acceptance, book_index=place) for acceptance, place in batch]
        shown = uids(rules, words, [acceptance.owner for acceptance, _ in batch])
        assert shown == [acceptance_uid(DOMAIN, acceptance) for acceptance, _ in batch]
        for uid, (acceptance, _) in list(zip(shown, batch, strict=True))[:50]:
            assert uid == eth_account_uid(acceptance_typed_data(DOMAIN, acceptance))


def eth_account_uid(document: dict[str, Any]) -> str:
    """Digest of an EIP-712 document by eth-account's encoder."""
    message = encode_typed_data(full_message=document)
    return "0x" + keccak256(b"\x19" + message.version + message.header + message.body).hex()


def test_place_fill_and_flags_do_not_change_a_uid_but_every_signed_field_does(rules: Rules) -> None:
    order, place, fill = an_order(random.Random(15))
    terms, guard = order_words(order, book_index=place, fill_wh=fill)
    base = uids(rules, [(terms, guard)], [order.owner])[0]
    for bit in range(256):
        (changed,) = uids(rules, [(terms ^ 1 << bit, guard)], [order.owner])
        assert (changed == base) == (bit >= 200 or 36 <= bit < 40), bit
    for bit in range(128):
        assert uids(rules, [(terms, guard ^ 1 << bit)], [order.owner])[0] != base, bit


def test_every_part_of_a_presented_order_is_read_where_the_node_wrote_it(rules: Rules) -> None:
    source = random.Random(16)
    for batch in batches([an_order(source) for _ in range(CASES)]):
        words = [order_words(order, book_index=place, fill_wh=fill) for order, place, fill in batch]
        shown = rules("partsOfOrders", *(list(column) for column in zip(*words, strict=True)))
        for (order, place, fill), parts in zip(batch, shown, strict=True):
            assert parts == (
                order.meter,
                order.side,
                order.product,
                order.pricing,
                0,
                order.first_mtu_start,
                order.last_mtu_start,
                order.expiry,
                order.quantity_wh,
                fill,
                place,
                order.limit_cents_per_mwh,
                order.salt,
            )


@pytest.mark.parametrize("lines", [0, 1, 2, 3, 7, 100])
def test_the_book_s_hash_is_that_of_its_bytes(rules: Rules, lines: int) -> None:
    source = random.Random(lines)
    numbers = [source.getrandbits(64).to_bytes(8) for _ in range(lines)]
    listed = [source.randbytes(32) for _ in range(lines)]
    expected = keccak256(b"".join(number + uid for number, uid in zip(numbers, listed, strict=True)))
    presented = source.sample(range(lines), source.randint(0, lines))
    others = [uid for place, uid in enumerate(listed) if place not in presented]
    found = rules.all("bookHash", b"".join(numbers), listed, presented, others)
    assert found == (expected, expected, True)
