"""Random clearings, in one chunk or several, shrink to random caps as the node's rule says, and settle from there.

Merged and separate products, direct deals at their own prices, negative tariffs, caps of export and of import, every
bearer. The harness compares kept hash, every account, debts, escrow and events; here the refund is reckoned once more
from nothing but the trades that became smaller.
"""

import random
from collections import Counter
from collections.abc import Sequence

import pytest
from tests.contracts.curtailing import EXPORT, IMPORT, Curtailer, applied
from tests.contracts.harness import EUR, FIRST_MTU, MTU_LENGTH_S, ZONE, Kept, Market
from tests.contracts.test_market_rules_differential import Room, settled
from tests.contracts.test_node_chunks import a_book

from gridledger.chain.plan import PolicyParameters
from gridledger.dispatch.setpoints import Direction
from gridledger.market.book import listed_deals
from gridledger.market.chunks import ClearingTooLarge, propose_chunks
from gridledger.market.curtailment import Shrunk
from gridledger.market.pairing import SelfMatch

BOOKS_PER_MARKET = 30
MEMBERS = 16
BUYER, SELLER, OPERATOR = range(3)
POLICIES = {
    "fixed tariffs": PolicyParameters(replacement_bearers=0b10_01_00),
    "negative tariffs": PolicyParameters(
        feed_in_cents_per_mwh=-20_000, retail_cents_per_mwh=-2_000, replacement_bearers=0b10_01_00
    ),
    "tariffs around zero": PolicyParameters(
        feed_in_cents_per_mwh=-6_000, retail_cents_per_mwh=9_000, replacement_bearers=0b10_01_00
    ),
}


def cleared(room: Room, source: random.Random, mtu_start: int) -> list[Kept]:
    """A random book, cleared in as many chunks as a random size asks for; nothing where it cannot be."""
    market = room.market
    market.move_to(mtu_start - 3_600)
    signed = room.book(source, mtu_start) if source.random() < 0.4 else a_book(room, source, mtu_start)
    market.close_gate(mtu_start)
    market.commit_book(signed, mtu_start)
    result = market.auction(signed, mtu_start, market.publish_price(signed, mtu_start))
    book, prices = market.book(signed), market.prices(mtu_start)
    facts = {entry.meter: market.facts(entry.meter) for entry in book}
    try:
        size = len(market.proposal(signed, result=result, mtu_start=mtu_start).orders)
        most = source.choice([10_000, *[2 + source.randint(size // 3, size // 2 + 1)] * 3])
        try:
            proposals = propose_chunks(result, listed_deals(book), book, facts, market.rules(), prices, most)
        except ClearingTooLarge:
            proposals = propose_chunks(result, listed_deals(book), book, facts, market.rules(), prices)
    except SelfMatch:
        return []
    chunks = []
    for proposal in proposals:
        kept = Kept.of(proposal, zone=ZONE, mtu_start=mtu_start, chunk=proposal.part.chunk)
        market.accept(market.clearing(signed, proposal, mtu_start=mtu_start), kept)
        chunks.append(kept)
    return chunks if chunks[0].positions else []


def some_caps(source: random.Random, chunks: Sequence[Kept], direction: Direction) -> dict[int, int]:
    """Caps of some meters, whether they trade in that direction or not; many of the one that goes on."""
    totals = Counter[int]()
    for kept in chunks:
        for one in kept.positions:
            totals[one.meter] += one.quantity_wh if one.sells == (direction is EXPORT) else 0
    named = source.sample(sorted(totals), source.randint(1, len(totals)))
    going_on = {one.meter for kept in chunks for one in kept.positions if one.continued}
    chosen = {*named, *going_on} if source.random() < 0.7 else set(named)
    return {meter: source.choice([0, 10**6, source.randint(0, totals[meter] + 10)]) for meter in sorted(chosen)}


def refund_of(market: Market, kept: Kept, after: Kept, shrunk: Shrunk) -> int:
    """What buyers and sellers had locked for the curtailed energy, trade by trade."""
    policy, shortage, sum_microcents = market.policy, market.prices(kept.mtu_start).shortage, 0
    for trade, wh in zip(after.deals, shrunk.curtailed_wh, strict=True):
        price = trade.price_cents_per_mwh
        fee = policy.grid_fee_cents_per_mwh
        if kept.positions[trade.sell].source:
            fee -= policy.low_carbon_relief_cents_per_mwh
        sum_microcents += wh * (max(price, 0) + fee + max(-price, 0) + max(shortage - price, 0))
    return sum_microcents


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("seed", range(2))
def test_random_clearings_shrink_to_random_caps_and_settle(policy: str, seed: int) -> None:
    source, seen = random.Random(f"{policy} {seed}"), Counter[str]()
    room = Room(members=MEMBERS, policy=POLICIES[policy])
    market = room.market
    for number in range(BOOKS_PER_MARKET):
        mtu_start = FIRST_MTU + number * 8 * 86_400
        chunks = cleared(room, source, mtu_start)
        if not chunks:
            continue
        if source.random() < 0.2:
            market.deposit(market.grid_operator, EUR // 100)
        direction = source.choice([EXPORT, IMPORT])
        caps, bearer = some_caps(source, chunks, direction), source.choice([BUYER, SELLER, OPERATOR])
        curtailer = Curtailer.of(market, chunks, room.meters)
        curtailer.curtail(caps, emergency=True, direction=int(direction), reason=bearer)
        market.pass_mtu(mtu_start)
        after: list[Kept] = []
        for kept in chunks:
            escrow = market.escrow()
            made, shrunk, _ = applied(market, kept, caps, direction=direction, reason=bearer, before=after)
            assert escrow - market.escrow() == refund_of(market, kept, made, shrunk)
            after.append(made)
            _note(seen, kept, made, shrunk)
        _assert_within(caps, after, direction)
        market.anchor()
        for made in after:
            settled(market, source, made, seen)
        assert market.escrow() == 0
        seen[direction.name] += 1
        seen[f"borne by {bearer}"] += 1
        market.move_to(mtu_start + MTU_LENGTH_S)
    wanted = {"several chunks", "going on and shrunk", "deals", "shrunk", "whole", "EXPORT", "IMPORT", "corrected"}
    assert {name for name in wanted | {f"borne by {one}" for one in range(3)} if not seen[name]} == set()


def _note(seen: Counter[str], kept: Kept, after: Kept, shrunk: Shrunk) -> None:
    seen["several chunks"] += kept.chunk
    seen["deals"] += bool(kept.deals)
    seen["shrunk"] += any(shrunk.curtailed_wh)
    seen["whole"] += not all(shrunk.curtailed_wh)
    smaller = zip(kept.positions, after.positions, strict=True)
    seen["going on and shrunk"] += any(one.continued and one.quantity_wh > left.quantity_wh for one, left in smaller)


def _assert_within(caps: dict[int, int], chunks: Sequence[Kept], direction: Direction) -> None:
    """Over all chunks nobody contracts more than its cap in the direction."""
    left = Counter[int]()
    for kept in chunks:
        for one in kept.positions:
            left[one.meter] += one.quantity_wh if one.sells == (direction is EXPORT) else 0
    assert all(left[meter] <= cap_wh for meter, cap_wh in caps.items())
