"""The contract upholds exactly the claims the node's own rules find, on random books and clearings, chunked ones too.

Each clearing passed the trading contract; most are not the honest one. Prices in cents per MWh, energy in Wh.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from random import Random
from typing import Any

from tests.contracts.bond_world import CAP, FLOOR, STAKE, BondWorld, Cleared
from tests.contracts.harness import BUY, FIRST_MTU, SELL, ZONE, AnySigned, Market, Meter

from gridledger.chain.codec import ContractReverted
from gridledger.market.auction import AuctionResult, BookPrice
from gridledger.market.model import Product, SignedAcceptance, SignedOrder
from gridledger.market.omission import Finding, Proof, payment_microcents
from gridledger.market.pairing import EnergyNotBalanced
from gridledger.units import floor_midpoint

CASES = 200
LIMITS = (10_000, 12_000, 12_000, 12_000, 15_000, 20_000)


@dataclass(frozen=True, kw_only=True)
class Members:
    """Four sellers, two of them solar, and four buyers, with money for anything."""

    sellers: Sequence[Meter]
    buyers: Sequence[Meter]

    @classmethod
    def of(cls, market: Market) -> "Members":
        """Register and fund them."""
        return cls(
            sellers=[market.producer(f"seller {number}", source=number % 2) for number in range(4)],
            buyers=[market.consumer(f"buyer {number}") for number in range(4)],
        )


def random_book(market: Market, members: Members, random: Random) -> list[AnySigned]:
    """Up to eight orders of both products and kinds, with ties, and a deal now and then."""
    book: list[AnySigned] = []
    for _ in range(random.randint(1, 8)):
        limit, wh = random.choice(LIMITS), random.randint(1, 4)
        if random.random() < 0.5:
            book.append(market.order(random.choice(members.sellers), SELL, wh, limit))
        else:
            product = random.choice(tuple(Product))
            book.append(market.order(random.choice(members.buyers), BUY, wh, limit, product=product))
    offers = [one for one in orders_of(book) if one.order.side == SELL]
    if offers and random.random() < 0.4:
        offer = random.choice(offers)
        wh = random.randint(1, offer.order.quantity_wh)
        book.append(market.acceptance(random.choice(members.buyers), offer, wh))
    return book


def orders_of(book: Sequence[AnySigned]) -> list[SignedOrder]:
    return [one for one in book if isinstance(one, SignedOrder)]


def random_result(honest: AuctionResult, book: Sequence[AnySigned], random: Random) -> AuctionResult:
    """Other fills of the same energy, other ends, sometimes another number of books; most will be refused."""
    fills = Counter(honest.fills_wh if random.random() < 0.7 else {})
    orders = orders_of(book)
    dealt = {one.acceptance.offer_uid: one.acceptance.quantity_wh for one in book if isinstance(one, SignedAcceptance)}
    for _ in range(random.randint(0, 3)):
        one, other = random.choice(orders), random.choice(orders)
        wh = random.randint(1, 3)
        if one.order.side == other.order.side:
            fills[one.uid] -= wh
        else:
            fills[one.uid] += wh
        fills[other.uid] += wh
    for one in orders:
        fills[one.uid] = max(0, min(fills[one.uid], one.order.quantity_wh - dealt.get(one.uid, 0)))
    merged = honest.merged if random.random() < 0.8 else not honest.merged
    any_price = random_price(orders, random, honest.any)
    low_carbon = any_price if merged else random_price(orders, random, honest.low_carbon)
    filled = {uid: wh for uid, wh in fills.items() if wh}
    return replace(honest, merged=merged, any=any_price, low_carbon=low_carbon, fills_wh=filled)


def random_price(orders: Sequence[SignedOrder], random: Random, honest: BookPrice) -> BookPrice:
    """The honest price, or one between any two orders, floor or cap."""
    if random.random() < 0.3:
        return honest
    limits = {one.uid: one.order.limit_cents_per_mwh for one in orders}
    lower, upper = random.choice([None, *limits]), random.choice([None, *limits])
    low = FLOOR if lower is None else limits[lower]
    high = CAP if upper is None else limits[upper]
    price = floor_midpoint(low, high)
    return replace(honest, price_cents_per_mwh=price, lower_end_uid=lower, upper_end_uid=upper)


def cleared_somehow(world: BondWorld, book: Sequence[AnySigned], random: Random) -> Cleared:
    """The first of many random results the trading contract takes; in the end the honest one."""
    closed, honest = world.close(book), world.market.auction(book)
    for _ in range(40):
        checkpoint = world.market.evm.snapshot()
        try:
            return world.clear(closed, book, random_result(honest, book, random))
        except (ContractReverted, EnergyNotBalanced):
            world.market.evm.revert(checkpoint)
    return world.clear(closed, book, honest)


def claims(book: Sequence[AnySigned]) -> Iterator[tuple[Proof, AnySigned, AnySigned | None]]:
    """Everything anybody could claim about a listed order or acceptance, with every other order."""
    offers = {one.uid: one for one in orders_of(book)}
    for one in book:
        if isinstance(one, SignedAcceptance):
            yield Proof.DEAL, one, offers[one.acceptance.offer_uid]
            continue
        yield Proof.BETTER, one, None
        yield Proof.INSIDE, one, None
        for other in orders_of(book):
            yield Proof.PAIR, one, other
            yield Proof.PASSED_OVER, one, other


def upheld(
    world: BondWorld, cleared: Cleared, owners: dict[str, Meter], book: Sequence[AnySigned]
) -> dict[tuple[Proof, str], int]:
    """What the contract would pay for each claim it takes that no deal defeats."""
    taken: dict[tuple[Proof, str], int] = {}
    words = [world.words(one) for one in book if isinstance(one, SignedAcceptance)]
    for proof, one, other in claims(book):
        owner = owners[one.uid].owner
        with world.market.undone():
            claim = world.claim(one, cleared, other=other)
            if isinstance(world.market.attempt(owner, "MarketBond", "challenge", int(proof), claim), str):
                continue
            shown = world.market.view("MarketBond", "challengeOf", owner.address, ZONE, FIRST_MTU)
            at = (owner.address, ZONE, FIRST_MTU, cleared.book, cleared.result, words)
            if isinstance(world.market.attempt(world.operator, "MarketBond", "defeatByDeals", *at), str):
                taken[proof, one.uid] = shown["amountMicrocents"]
    return taken


def expected(cleared: Cleared) -> dict[tuple[Proof, str], int]:
    """The same by the node's rules."""
    found: dict[tuple[Proof, str], Finding] = cleared.findings()
    terms = (10**8, 100 * 10**8)
    return {key: payment_microcents(one, *terms) for key, one in found.items()}


def test_the_contract_takes_the_claims_the_node_finds_and_no_others(market: Market) -> None:
    random, members, world = Random(3), Members.of(market), BondWorld(market)
    for one in (*members.sellers, *members.buyers):
        world.fund(one.owner, STAKE)
    count: Counter[str] = Counter()
    for number in range(CASES):
        with market.undone():
            book = random_book(market, members, random)
            cleared = cleared_somehow(world, book, random)
            by_number = {one.number: one for one in (*members.sellers, *members.buyers)}
            owners = {one.uid: by_number[meter_of(one)] for one in book}
            taken = upheld(world, cleared, owners, book)
            assert taken == expected(cleared), number
            count.update(proof.name for proof, _ in taken)
            count["nothing"] += not taken
    assert all(count[proof.name] >= 3 for proof in (Proof.BETTER, Proof.PASSED_OVER, Proof.INSIDE, Proof.PAIR)), count
    assert count["nothing"] >= 5


def meter_of(signed: AnySigned) -> int:
    return signed.acceptance.meter if isinstance(signed, SignedAcceptance) else signed.order.meter


def test_fills_are_added_up_over_all_chunks(market: Market) -> None:
    """A bid filled half in each chunk is filled; judged by one chunk alone it would not be."""
    world = BondWorld(market)
    seller, buyer = market.producer("seller"), market.consumer("buyer")
    offer, bid = market.order(seller, SELL, 600, 10_000), market.order(buyer, BUY, 600, 20_000)
    ends = [
        market.order(market.consumer("low"), BUY, 10, 12_000),
        market.order(market.producer("dear"), SELL, 10, 18_000),
    ]
    book = [offer, bid, *ends]
    closed = world.close(book)
    honest = market.auction(book)
    half = replace(honest, fills_wh={offer.uid: 300, bid.uid: 300})
    meters = sorted(one.number for one in (seller, buyer))
    parts = [
        market.clearing(book, market.proposal(book, result=half)) | {"last": False, "continuedMeters": meters},
        market.clearing(book, market.proposal(book, result=half)) | {"chunk": 1},
    ]
    for part in parts:
        market.clear(part)
    result: dict[str, Any] = {
        "merged": True,
        "any": {"lower": 12_000, "upper": 18_000},
        "lowCarbon": {"lower": 12_000, "upper": 18_000},
        "terms": [[one["terms"] for one in part["orders"]] for part in parts],
        "stateHashes": [market.view("EnergyTrading", "stateHashOf", ZONE, FIRST_MTU, chunk) for chunk in (0, 1)],
    }
    cleared = replace(closed, result=result)
    with world.refuses("OrderIsFilled", bytes.fromhex(bid.uid[2:]), 600):
        world.challenge(buyer.owner, Proof.BETTER, world.claim(bid, cleared), stake=False)
    for part, other in pairwise([*result["terms"], result["terms"][0]]):
        assert part == other  # the same terms twice: only their sum tells
    short = result | {"terms": result["terms"][:1], "stateHashes": result["stateHashes"][:1]}
    claim = world.claim(bid, replace(cleared, result=short))
    assert market.attempt(buyer.owner, "MarketBond", "challenge", int(Proof.BETTER), claim) == "ResultMismatch"
