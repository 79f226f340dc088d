"""What the node's pure rules propose, the contract accepts; what they expect to be kept and paid, it keeps and pays.

Whole random MTUs: two products, pegged orders, deals, several orders per meter, members of two suppliers, readings that
are anything, corrections, substitutes, refunds. The harness compares state hash, every account, debts and escrow.
"""

import random
from collections import Counter
from collections.abc import Iterator

import pytest
from tests.contracts.harness import (
    ACKNOWLEDGED,
    EUR,
    MTU_LENGTH_S,
    SOLAR,
    ZONE,
    AnySigned,
    Kept,
    Market,
    Meter,
    actor,
)
from tests.contracts.words import FIRST_MTU

from gridledger.chain.plan import PolicyParameters
from gridledger.market.auction import AuctionResult
from gridledger.market.locking import Proposal
from gridledger.market.model import Position, Pricing, Product, Side, SignedOrder
from gridledger.market.pairing import SelfMatch
from gridledger.market.settlement import rewarded_trades

BOOKS = 150
BOOKS_PER_MARKET = 25
MEMBERS = 10
CAPACITY_W = 160_000
AVOIDED_PER_WH = 363_000 - 41_000


class Room:
    """A market with members of two suppliers; every third has no low-carbon source."""

    def __init__(self, members: int = MEMBERS, policy: PolicyParameters | None = None) -> None:
        self.market = Market(policy=policy)
        suppliers = (self.market.supplier, self.market.other_supplier)
        self.meters = [self._meter(number) for number in range(members)]
        for supplier in suppliers:
            self.market.deposit(supplier, 1_000 * EUR)

    def _meter(self, number: int) -> Meter:
        owner = actor(f"member {number}")
        supplier = self.market.other_supplier if number % 4 == 3 else self.market.supplier
        source = SOLAR if number % 3 else 0
        meter = self.market.register(owner, import_w=CAPACITY_W, export_w=CAPACITY_W, source=source, supplier=supplier)
        self.market.deposit(owner, 1_000 * EUR)
        return meter

    def book(self, source: random.Random, mtu_start: int) -> list[AnySigned]:
        """Up to three orders of each member, all on one side, many with equal limits, some pegged; then acceptances."""
        prices = self.market.prices(mtu_start)
        step = (prices.cap - prices.floor) // source.choice([3, 10, 1_000])
        green = source.random()
        entries: list[AnySigned] = []
        for meter in source.sample(self.meters, source.randint(0, len(self.meters))):
            side = source.choice([Side.BUY, Side.SELL])
            for _ in range(source.randint(1, 3)):
                limit = prices.floor + source.randrange((prices.cap - prices.floor) // step + 1) * step
                low_carbon = side is Side.BUY and source.random() < green
                entries.append(
                    self.market.order(
                        meter,
                        side,
                        source.randint(1, 6_000),
                        limit,
                        product=Product.LOW_CARBON if low_carbon else Product.ANY,
                        pricing=Pricing.PEGGED if source.random() < 0.2 else Pricing.LIMIT,
                        first_mtu_start=mtu_start - source.choice([0, 0, 3]) * MTU_LENGTH_S,
                        last_mtu_start=mtu_start + source.choice([0, 0, 5]) * MTU_LENGTH_S,
                        expiry=mtu_start + source.choice([0, 7, -300]),
                    )
                )
        source.shuffle(entries)
        return [*entries, *self.acceptances(source, entries, mtu_start)]

    def acceptances(self, source: random.Random, entries: list[AnySigned], mtu_start: int) -> Iterator[AnySigned]:
        """Parts of some limit offers, accepted by members who do not sell."""
        orders = [one for one in entries if isinstance(one, SignedOrder)]
        offers = [one for one in orders if one.order.side is Side.SELL and one.order.pricing is Pricing.LIMIT]
        selling = {one.order.meter for one in orders if one.order.side is Side.SELL}
        buyers = [meter for meter in self.meters if meter.number not in selling]
        for offer in source.sample(offers, min(len(offers), source.choice([0, 0, 1, 3]))):
            left = offer.order.quantity_wh
            for meter in source.sample(buyers, min(len(buyers), 2)):
                wh = source.randint(1, left)
                left -= wh
                yield self.market.acceptance(meter, offer, wh, mtu_start=mtu_start)
                if not left:
                    return


def metered(source: random.Random, position: Position) -> int:
    """Mostly about the contract, sometimes anything the connection carries; never what was read before."""
    value = source.randint(-40_000, 40_000) if source.random() < 0.3 else None
    if value is None:
        value = max(-40_000, min(40_000, position.contracted_wh + source.randint(-500, 500)))
    return value ^ 1 if position.read and value == position.metered_wh else value


def settled(market: Market, source: random.Random, kept: Kept, seen: Counter[str]) -> None:
    """Settle in several steps, some positions on substitutes, some corrected; tokens are those of the node's rules."""
    everybody = list(range(len(kept.positions)))
    source.shuffle(everybody)
    waiting = everybody[: source.choice([0, 1, 2])]
    while unread := [index for index in everybody if not kept.positions[index].settled and index not in waiting]:
        some = unread[: source.randint(1, len(unread))]
        corrected = [index for index in everybody if kept.positions[index].settled and source.random() < 0.4]
        kept = read(market, source, kept, [*some, *corrected])
        seen["corrected"] += len(corrected)
    if not waiting:
        return
    market.move_to(kept.mtu_start + MTU_LENGTH_S + market.policy.substitute_after_s)
    kept, _ = market.substitute(kept, waiting)
    seen["substituted"] += len(waiting)
    read(market, source, kept, waiting[:1])


def read(market: Market, source: random.Random, kept: Kept, indexes: list[int]) -> Kept:
    """Settle or correct those positions and compare the tokens minted."""
    tokens = {one.owner: market.view("LowCarbonToken", "balanceOf", one.owner) for one in kept.positions}
    positions = kept.positions
    kept, _ = market.settle(kept, {index: metered(source, kept.positions[index]) for index in indexes})
    for trade in rewarded_trades(positions, kept.positions, kept.deals):
        due, paid = trade.energy_wh * AVOIDED_PER_WH, trade.rewarded_wh * AVOIDED_PER_WH
        tokens[kept.positions[trade.sell].owner] += due // 2 - paid // 2
        tokens[kept.positions[trade.buy].owner] += (due - due // 2) - (paid - paid // 2)
    assert tokens == {owner: market.view("LowCarbonToken", "balanceOf", owner) for owner in tokens}
    return kept


def proposed(market: Market, book: list[AnySigned], mtu_start: int) -> tuple[Proposal, AuctionResult] | None:
    """Publish the price and propose as the node does; None where an owner would trade with itself."""
    reference = market.publish_price(book, mtu_start)
    result = market.auction(book, mtu_start, reference)
    try:
        return market.proposal(book, result=result, mtu_start=mtu_start), result
    except SelfMatch:
        return None


@pytest.mark.parametrize("seed", range(BOOKS // BOOKS_PER_MARKET))
def test_what_the_rules_propose_is_cleared_and_settled_as_they_say(seed: int) -> None:
    source, room, seen = random.Random(100 + seed), Room(), Counter[str]()
    market = room.market
    for number in range(BOOKS_PER_MARKET):
        # Far enough apart that the substitutes of one MTU come before the gate of the next.
        mtu_start = FIRST_MTU + number * 8 * 86_400
        market.move_to(mtu_start - 3_600)
        book = room.book(source, mtu_start)
        market.close_gate(mtu_start)
        market.commit_book(book, mtu_start)
        made = proposed(market, book, mtu_start)
        if made is None:
            continue
        proposal, result = made
        kept = Kept.of(proposal, zone=ZONE, mtu_start=mtu_start)
        receipt = market.accept(market.clearing(book, proposal, mtu_start=mtu_start), kept)
        traded = [tuple(one.arguments.values()) for one in receipt.named("EnergyTraded")]
        meters = [one.meter for one in kept.positions]
        assert traded == [(meters[one.sell], meters[one.buy], one.energy_wh) for one in proposal.trades]
        seen["separate" if not result.merged else "merged"] += 1
        seen["deals"] += len(kept.deals)
        seen["traded"] += bool(kept.positions)
        if not kept.positions:
            continue
        if source.random() < 0.15:
            market.stop(mtu_start)
            market.refund(kept, range(len(kept.positions)))
            seen["refunded"] += 1
            continue
        market.deliver(mtu_start)
        settled(market, source, kept, seen)
        assert market.escrow() == 0
    assert {name for name in ("merged", "separate", "deals", "corrected", "substituted") if not seen[name]} == set()
    assert seen["traded"] > BOOKS_PER_MARKET // 2


def test_an_answer_is_needed_to_compare_anything() -> None:
    """The comparison itself notices a position that is paid otherwise than the rules say."""
    room = Room()
    market = room.market
    seller, buyer = room.meters[1], room.meters[2]
    book = [market.order(seller, Side.SELL, 600, 10_000), market.order(buyer, Side.BUY, 600, 20_000)]
    kept = market.clear_book(book)
    market.answer(ACKNOWLEDGED)
    market.pass_mtu()
    market.anchor()
    wrong = market.accounts()
    wrong.free[seller.owner.address] += 1
    assert wrong.differences(market.accounts(), {}) != []
    market.settle(kept, {0: 600, 1: -600})
    with pytest.raises(AssertionError):
        market._checked(kept, market.accounts(), {})
