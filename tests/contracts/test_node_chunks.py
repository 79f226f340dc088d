"""The node's own chunks of random books are accepted one by one and settle to nothing left in escrow."""

import random
from collections import Counter

import pytest
from tests.contracts.harness import FIRST_MTU, ZONE, AnySigned, Kept
from tests.contracts.test_market_rules_differential import Room, settled

from gridledger.market.book import listed_deals
from gridledger.market.chunks import ClearingTooLarge, propose_chunks
from gridledger.market.model import Product, Side

BOOKS_PER_MARKET = 12


def a_book(room: Room, source: random.Random, mtu_start: int) -> list[AnySigned]:
    """One order of most members, two of some, and sometimes an accepted offer."""
    prices = room.market.prices(mtu_start)
    green, book = source.random() / 2, list[AnySigned]()
    for meter in room.meters:
        side = source.choice([Side.BUY, Side.SELL])
        for _ in range(source.choice([1, 1, 1, 2])):
            product = Product.LOW_CARBON if side is Side.BUY and source.random() < green else Product.ANY
            limit = source.randint(prices.floor, prices.cap)
            book.append(
                room.market.order(
                    meter,
                    side,
                    source.randint(1, 6_000),
                    limit,
                    product=product,
                    first_mtu_start=mtu_start,
                    last_mtu_start=mtu_start,
                    expiry=mtu_start,
                )
            )
    source.shuffle(book)
    return [*book, *list(room.acceptances(source, book, mtu_start))[: source.choice([0, 0, 2])]]


@pytest.mark.parametrize("seed", range(3))
def test_the_chunks_of_random_books_are_cleared_and_settled(seed: int) -> None:
    source, room, seen = random.Random(700 + seed), Room(members=24), Counter[str]()
    market = room.market
    for number in range(BOOKS_PER_MARKET):
        mtu_start = FIRST_MTU + number * 8 * 86_400
        market.move_to(mtu_start - 3_600)
        signed = a_book(room, source, mtu_start)
        market.close_gate(mtu_start)
        market.commit_book(signed, mtu_start)
        result = market.auction(signed, mtu_start, market.publish_price(signed, mtu_start))
        book = market.book(signed)
        whole = market.proposal(signed, result=result, mtu_start=mtu_start)
        size = len(whole.orders) + len(whole.ends)
        facts = {entry.meter: market.facts(entry.meter) for entry in book}
        prices = market.prices(mtu_start)
        try:
            proposals = propose_chunks(
                result, listed_deals(book), book, facts, market.rules(), prices, 1 + source.randint(size // 3, size)
            )
        except ClearingTooLarge:
            continue
        chunks = []
        for proposal in proposals:
            kept = Kept.of(proposal, zone=ZONE, mtu_start=mtu_start, chunk=proposal.part.chunk)
            market.accept(market.clearing(signed, proposal, mtu_start=mtu_start), kept)
            chunks.append(kept)
        seen["several"] += len(chunks) > 1
        seen["going on"] += any(proposal.part.continued for proposal in proposals)
        if chunks[0].positions:
            market.deliver(mtu_start)
            for kept in chunks:
                settled(market, source, kept, seen)
        assert market.escrow() == 0
    assert seen["several"] >= 3
    assert seen["going on"] >= 1
