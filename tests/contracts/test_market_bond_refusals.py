"""A claim that does not hold is refused with its exact error, and so is every posting the operator could not handle.

Prices in cents per MWh, energy in Wh, money in microcents, times in Unix seconds UTC.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
from tests.contracts.bond_world import NO_RECEIPT, BondWorld, Cleared, altered
from tests.contracts.harness import (
    BUY,
    FIRST_MTU,
    MTU_LENGTH_S,
    SELL,
    ZONE,
    Actor,
    AnySigned,
    Market,
    Meter,
    actor,
    uid_bytes,
    with_terms,
)

from gridledger.chain.codec import ContractReverted, keccak256
from gridledger.market.model import Pricing, SignedOrder
from gridledger.market.omission import Proof

DAY_S = 86_400


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A byzantine clearing at 15,000: the victim's bid of 20,000 got nothing, though listed; the buyer's got 600 Wh."""

    world: BondWorld
    victim: Meter
    buyer: Meter
    seller: Meter
    bid: SignedOrder
    bought: SignedOrder
    offer: SignedOrder
    cleared: Cleared

    @classmethod
    def of(cls, market: Market) -> "Scene":
        """Three members."""
        world = BondWorld(market)
        victim, buyer, seller = market.consumer("victim"), market.consumer("buyer"), market.producer("seller")
        bid = market.order(victim, BUY, 600, 20_000)
        bought, offer = market.order(buyer, BUY, 600, 20_000), market.order(seller, SELL, 600, 10_000)
        book: list[AnySigned] = [bid, bought, offer]
        result = altered(market.auction(book), {bought: 600, offer: 600}, lower=offer, upper=bought)
        return cls(
            world=world,
            victim=victim,
            buyer=buyer,
            seller=seller,
            bid=bid,
            bought=bought,
            offer=offer,
            cleared=world.cleared(book, result),
        )

    def refused(
        self, proof: Proof, claim: Mapping[str, Any], error: str, *arguments: object, owner: Actor | None = None
    ) -> None:
        """The challenge is refused with that error."""
        with self.world.refuses(error, *arguments):
            self.world.challenge(owner or self.victim.owner, proof, claim, stake=False)


@pytest.fixture
def scene(market: Market) -> Scene:
    return Scene.of(market)


def test_the_scene_is_provable(scene: Scene) -> None:
    claim = scene.world.claim(scene.bid, scene.cleared)
    assert scene.world.upheld(scene.victim.owner, Proof.BETTER, claim) > 0


# --- who, when, where ---------------------------------------------------------------------------------------------


def test_only_the_owner_claims_for_its_order(scene: Scene) -> None:
    claim, buyer = scene.world.claim(scene.bid, scene.cleared), scene.buyer.owner
    scene.refused(Proof.BETTER, claim, "NotTheOwner", scene.victim.owner.address, buyer.address, owner=buyer)


def test_an_order_somebody_else_signed_is_not_the_owners(scene: Scene) -> None:
    forged = scene.world.market.order(scene.victim, BUY, 600, 20_000, signer=scene.buyer.owner)
    signer, owner = scene.buyer.owner.address, scene.victim.owner.address
    claim = scene.world.claim(forged, scene.cleared)
    scene.refused(Proof.BETTER, claim, "SignerMismatch", uid_bytes(forged), signer, owner)


def test_an_unknown_meter_has_no_orders(scene: Scene) -> None:
    words = scene.world.words(scene.bid)
    words["terms"] = with_terms(words["terms"], meter=99)
    scene.refused(Proof.BETTER, scene.world.claim(scene.bid, scene.cleared, order=words), "MeterUnknown", 99)


def test_a_claim_is_for_the_meters_zone(scene: Scene) -> None:
    claim = scene.world.claim(scene.bid, scene.cleared, zone=2)
    scene.world.market.move_to(scene.world.clearing_deadline() + 1)
    scene.refused(Proof.BETTER, claim, "ZoneMismatch", scene.victim.number, ZONE, 2)


@pytest.mark.parametrize("off_s", [1, MTU_LENGTH_S - 1])
def test_a_claim_is_for_an_mtu(scene: Scene, off_s: int) -> None:
    """Else a standing order would prove that nothing was cleared at noon and one second."""
    standing = scene.world.market.order(scene.victim, BUY, 1, 20_000, last_mtu_start=FIRST_MTU + DAY_S)
    scene.world.market.move_to(FIRST_MTU + DAY_S)
    claim = scene.world.claim(standing, receipt=scene.world.receipt(standing), mtuStart=FIRST_MTU + off_s)
    scene.refused(Proof.NO_CLEARING, claim, "MtuUnaligned", FIRST_MTU + off_s, MTU_LENGTH_S)


def test_nothing_is_claimed_before_the_gate(scene: Scene) -> None:
    world, later = scene.world, FIRST_MTU + MTU_LENGTH_S
    gate, now = world.gate() + MTU_LENGTH_S, world.market.now
    claim = world.claim(scene.bid, scene.cleared, mtuStart=later)
    scene.refused(Proof.NO_CLEARING, claim, "GateStillOpen", later, gate, now)


def test_nothing_is_claimed_while_the_clearing_is_still_possible(market: Market) -> None:
    world, buyer = BondWorld(market), market.consumer("buyer")
    bid = market.order(buyer, BUY, 600, 20_000)
    claim = world.claim(bid, world.close([]), receipt=world.receipt(bid))
    deadline = world.clearing_deadline()
    market.move_to(deadline)
    for proof in (Proof.MISSING, Proof.NO_CLEARING, Proof.BETTER):
        with world.refuses("ClearingStillPossible", ZONE, FIRST_MTU, deadline, deadline):
            world.challenge(buyer.owner, proof, claim, stake=False)


def test_challenges_end_with_their_period(scene: Scene) -> None:
    world, claim = scene.world, scene.world.claim(scene.bid, scene.cleared)
    deadline = FIRST_MTU + MTU_LENGTH_S + world.terms["challengePeriodS"]
    world.market.move_to(deadline + 1)
    scene.refused(Proof.BETTER, claim, "ChallengeTooLate", FIRST_MTU, deadline, deadline + 1)
    world.market.move_to(deadline)
    world.challenge(scene.victim.owner, Proof.BETTER, claim)


def test_nothing_is_defeated_or_paid_that_was_not_challenged(scene: Scene) -> None:
    world, market, victim = scene.world, scene.world.market, scene.victim.owner
    at = (victim.address, ZONE, FIRST_MTU)
    calls: dict[str, tuple[object, ...]] = {
        "resolve": at,
        "defeatByCancel": (*at, bytes(32), bytes(32)),
        "defeatByCancelUpTo": (*at, 1, bytes(32), bytes(32)),
        "defeatByDeals": (*at, scene.cleared.book, scene.cleared.result, []),
        "defeatByIneligibility": (*at, scene.cleared.book),
    }
    for function, arguments in calls.items():
        with world.refuses("ChallengeNotOpen", *at):
            market.send(market.outsider, "MarketBond", function, *arguments)


# --- orders that could not have been filled -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "error", "arguments"),
    [
        ({"first_mtu_start": FIRST_MTU + 900, "last_mtu_start": FIRST_MTU + 900}, "OrderOutsideMtu", (FIRST_MTU,)),
        ({"first_mtu_start": FIRST_MTU - 900, "last_mtu_start": FIRST_MTU - 900}, "OrderOutsideMtu", (FIRST_MTU,)),
        ({"expiry": FIRST_MTU - 301}, "OrderExpired", (FIRST_MTU - 301, FIRST_MTU - 300)),
        ({"limit_cents_per_mwh": 7_999}, "LimitOutsideBounds", (7_999, 8_000, 32_000)),
        ({"limit_cents_per_mwh": 32_001}, "LimitOutsideBounds", (32_001, 8_000, 32_000)),
    ],
)
@pytest.mark.parametrize("proof", [Proof.MISSING, Proof.BETTER, Proof.INSIDE])
def test_an_order_that_did_not_stand_at_the_gate_proves_nothing(
    scene: Scene, proof: Proof, changes: dict[str, int], error: str, arguments: tuple[object, ...]
) -> None:
    order = scene.world.market.order(scene.victim, BUY, 600, 20_000, **changes)
    claim = scene.world.claim(order, scene.cleared, receipt=scene.world.receipt(order))
    scene.refused(proof, claim, error, uid_bytes(order), *arguments)


@pytest.mark.parametrize("in_bulk", [False, True])
@pytest.mark.parametrize(("before_gate_s", "counts"), [(1, True), (0, False)])
def test_a_cancellation_on_chain_before_the_gate_is_seen_at_once(
    market: Market, before_gate_s: int, *, counts: bool, in_bulk: bool
) -> None:
    world, victim = BondWorld(market), market.consumer("victim")
    bid = market.order(victim, BUY, 600, 20_000)
    market.move_to(world.gate() - before_gate_s)
    if in_bulk:
        market.send(victim.owner, "EnergyTrading", "cancelUpTo", bid.order.salt)
    else:
        market.send(victim.owner, "EnergyTrading", "cancel", uid_bytes(bid))
    claim = world.claim(bid, world.cleared([]), receipt=world.receipt(bid))
    if counts:
        with world.refuses("OrderIsCancelled", uid_bytes(bid)):
            world.challenge(victim.owner, Proof.MISSING, claim, stake=False)
    else:
        world.challenge(victim.owner, Proof.MISSING, claim)


# --- receipts -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("proof", [Proof.MISSING, Proof.NO_CLEARING])
def test_an_order_nobody_receipted_or_posted_was_promised_nothing(scene: Scene, proof: Proof) -> None:
    order = scene.world.market.order(scene.victim, BUY, 600, 20_000)
    claim = scene.world.claim(order, scene.cleared, receipt=NO_RECEIPT)
    scene.refused(proof, claim, "NotReceipted", uid_bytes(order))


def test_only_the_operators_receipts_count(scene: Scene) -> None:
    order, outsider = scene.world.market.order(scene.victim, BUY, 600, 20_000), scene.world.market.outsider
    claim = scene.world.claim(order, scene.cleared, receipt=scene.world.receipt(order, signer=outsider))
    scene.refused(Proof.MISSING, claim, "NotAnOperator", outsider.address)


@pytest.mark.parametrize("part", ["runningNumber", "receivedAt"])
def test_a_receipt_is_good_only_as_it_was_signed(scene: Scene, part: str) -> None:
    order = scene.world.market.order(scene.victim, BUY, 600, 20_000)
    receipt = scene.world.receipt(order)
    claim = scene.world.claim(order, scene.cleared, receipt=receipt | {part: receipt[part] - 1})
    with pytest.raises(ContractReverted) as caught:
        scene.world.challenge(scene.victim.owner, Proof.MISSING, claim, stake=False)
    assert caught.value.name == "NotAnOperator"


def test_the_receipt_of_another_order_is_none(scene: Scene) -> None:
    order = scene.world.market.order(scene.victim, BUY, 600, 20_000)
    claim = scene.world.claim(order, scene.cleared, receipt=scene.world.receipt(scene.bid))
    with pytest.raises(ContractReverted) as caught:
        scene.world.challenge(scene.victim.owner, Proof.MISSING, claim, stake=False)
    assert caught.value.name == "NotAnOperator"


@pytest.mark.parametrize("late_s", [0, 1])
def test_what_was_received_after_the_gate_was_not_promised_for_it(scene: Scene, late_s: int) -> None:
    world, order = scene.world, scene.world.market.order(scene.victim, BUY, 600, 20_000)
    at = world.gate() + late_s
    claim = world.claim(order, scene.cleared, receipt=world.receipt(order, at=at))
    scene.refused(Proof.MISSING, claim, "ReceivedAfterGate", uid_bytes(order), at, world.gate())


def test_what_was_posted_at_the_gate_was_posted_too_late(market: Market) -> None:
    world, victim = BondWorld(market), market.consumer("victim")
    bid = market.order(victim, BUY, 600, 20_000)
    market.close_gate()
    world.post(bid)
    cleared = world.cleared([])
    with world.refuses("ReceivedAfterGate", uid_bytes(bid), world.gate(), world.gate()):
        world.challenge(victim.owner, Proof.MISSING, world.claim(bid, cleared), stake=False)


# --- evidence -----------------------------------------------------------------------------------------------------


def test_an_order_that_is_not_listed_has_the_proof_of_that_only(scene: Scene) -> None:
    order = scene.world.market.order(scene.victim, BUY, 600, 20_000)
    for proof in (Proof.BETTER, Proof.INSIDE, Proof.PAIR, Proof.PASSED_OVER):
        claim = scene.world.claim(order, scene.cleared, other=scene.offer)
        scene.refused(proof, claim, "OrderNotListed", uid_bytes(order), 3)


@pytest.mark.parametrize("change", [lambda book: book[:-1], lambda book: book + b"\0", lambda _: b""])
def test_the_book_is_the_committed_one(scene: Scene, change: Callable[[bytes], bytes]) -> None:
    book = change(scene.cleared.book)
    committed = scene.world.market.view("EnergyTrading", "clearingOf", ZONE, FIRST_MTU)["bookHash"]
    claim = scene.world.claim(scene.bid, scene.cleared, book=book)
    scene.refused(Proof.BETTER, claim, "BookMismatch", committed, keccak256(book))


def results() -> dict[str, Callable[[dict[str, Any]], Any]]:
    """Results that are not the committed one."""
    return {
        "separate books": lambda one: one | {"merged": not one["merged"]},
        "another interval": lambda one: one | {"any": one["any"] | {"upper": one["any"]["upper"] - 1}},
        "another low-carbon interval": lambda one: one | {"lowCarbon": {"lower": 0, "upper": 0}},
        "a fill less": lambda one: one | {"terms": [one["terms"][0][:-1]]},
        "another fill": lambda one: one | {"terms": [[one["terms"][0][0] - (1 << 200), *one["terms"][0][1:]]]},
        "another place": lambda one: one | {"terms": [[one["terms"][0][0] ^ (1 << 240), *one["terms"][0][1:]]]},
        "a chunk more": lambda one: one | {"terms": [*one["terms"], []], "stateHashes": one["stateHashes"] * 2},
        "no chunk": lambda one: one | {"terms": [], "stateHashes": []},
        "other positions": lambda one: one | {"stateHashes": [bytes(32)]},
    }


@pytest.mark.parametrize("name", results())
def test_the_result_is_the_committed_one(scene: Scene, name: str) -> None:
    result = results()[name](dict(scene.cleared.result))
    claim = scene.world.claim(scene.bid, scene.cleared, result=result)
    with pytest.raises(ContractReverted) as caught:
        scene.world.challenge(scene.victim.owner, Proof.BETTER, claim, stake=False)
    committed = scene.world.market.view("EnergyTrading", "clearingOf", ZONE, FIRST_MTU)["resultHash"]
    assert (caught.value.name, caught.value.arguments[0]) == ("ResultMismatch", committed)


@pytest.mark.parametrize("hashes", [0, 2])
def test_every_chunk_has_its_positions(scene: Scene, hashes: int) -> None:
    result = dict(scene.cleared.result) | {"stateHashes": [bytes(32)] * hashes}
    committed = scene.world.market.view("EnergyTrading", "clearingOf", ZONE, FIRST_MTU)["resultHash"]
    claim = scene.world.claim(scene.bid, scene.cleared, result=result)
    scene.refused(Proof.BETTER, claim, "ResultMismatch", committed, bytes(32))


def test_without_a_book_or_a_clearing_only_that_is_provable(market: Market) -> None:
    world, buyer = BondWorld(market), market.consumer("buyer")
    bid = market.order(buyer, BUY, 600, 20_000)
    market.move_to(world.clearing_deadline() + 1)
    claim = world.claim(bid, receipt=world.receipt(bid))
    for proof in (Proof.MISSING, Proof.BETTER):
        with world.refuses("BookMissing", ZONE, FIRST_MTU):
            world.challenge(buyer.owner, proof, claim, stake=False)


def test_a_book_alone_has_no_result(market: Market) -> None:
    world, buyer = BondWorld(market), market.consumer("buyer")
    bid = market.order(buyer, BUY, 600, 20_000)
    closed = world.close([bid])
    market.move_to(world.clearing_deadline() + 1)
    with world.refuses("NotCleared", ZONE, FIRST_MTU):
        world.challenge(buyer.owner, Proof.BETTER, world.claim(bid, closed), stake=False)


# --- the second order ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class AtPrice:
    """Unfilled at 15,000: two bids and an offer of one owner each, and an offer of the first bid's owner."""

    world: BondWorld
    owners: tuple[Actor, ...]
    orders: tuple[SignedOrder, ...]
    cleared: Cleared

    @classmethod
    def of(cls, market: Market) -> "AtPrice":
        """Bid, bid, offer, own offer."""
        world = BondWorld(market)
        first, second, seller = market.consumer("first"), market.consumer("second"), market.producer("seller")
        own = market.register(first.owner, export_w=40_000)
        orders = (
            market.order(first, BUY, 100, 15_000),
            market.order(second, BUY, 100, 15_000),
            market.order(seller, SELL, 100, 15_000),
            market.order(own, SELL, 100, 15_000),
        )
        result = altered(market.auction(orders), {}, lower=orders[0], upper=orders[2])
        return cls(
            world=world,
            owners=(first.owner, second.owner, seller.owner, first.owner),
            orders=orders,
            cleared=world.cleared(orders, result),
        )

    def pair(self, one: int, other: AnySigned, *, stake: bool = False) -> None:
        """Order number `one` claims that it could have traded with another."""
        claim = self.world.claim(self.orders[one], self.cleared, other=other)
        self.world.challenge(self.owners[one], Proof.PAIR, claim, stake=stake)


@pytest.mark.parametrize(("one", "other"), [(0, 1), (2, 3), (0, 0), (0, 3), (3, 0)])
def test_orders_of_one_side_or_one_owner_are_no_pair(market: Market, one: int, other: int) -> None:
    scene = AtPrice.of(market)
    orders = scene.orders
    with scene.world.refuses("CannotTrade", uid_bytes(orders[one]), uid_bytes(orders[other])):
        scene.pair(one, orders[other])


def test_the_second_order_of_a_pair_must_have_stood_too(market: Market) -> None:
    scene = AtPrice.of(market)
    seller = market.producer("other seller")
    unlisted = market.order(seller, SELL, 100, 15_000)
    with scene.world.refuses("OrderNotListed", uid_bytes(unlisted), 4):
        scene.pair(0, unlisted)
    expired = market.order(seller, SELL, 100, 15_000, expiry=FIRST_MTU - 301)
    with scene.world.refuses("OrderExpired", uid_bytes(expired), FIRST_MTU - 301, FIRST_MTU - 300):
        scene.pair(0, expired)
    forged = replace(scene.orders[2], signature=scene.orders[1].signature)
    with pytest.raises(ContractReverted) as caught:
        scene.pair(0, forged)
    assert caught.value.name == "SignerMismatch"
    acceptance = market.acceptance(market.consumer("third"), scene.orders[2], 100)
    with scene.world.refuses("ProofInapplicable", Proof.PAIR):
        scene.pair(0, acceptance)
    market.suspend(scene.owners[2])
    with scene.world.refuses("AccountSuspended", scene.owners[2].address):
        scene.pair(0, scene.orders[2])


@dataclass(frozen=True, kw_only=True)
class Margin:
    """Three gas offers at 12,000: the first and the third got nothing, the second 300 Wh."""

    world: BondWorld
    owners: tuple[Actor, ...]
    orders: tuple[SignedOrder, ...]
    cleared: Cleared

    @classmethod
    def of(cls, market: Market) -> "Margin":
        """Offer, offer, offer, bid."""
        world = BondWorld(market)
        sellers = [market.producer(f"seller {number}", source=0) for number in range(3)]
        buyer = market.consumer("buyer")
        offers = [market.order(one, SELL, 600, 12_000) for one in sellers]
        bid = market.order(buyer, BUY, 300, 20_000)
        orders = (*offers, bid)
        result = altered(market.auction(orders), {offers[1]: 300, bid: 300}, lower=offers[1], upper=offers[0])
        return cls(
            world=world,
            owners=(*(one.owner for one in sellers), buyer.owner),
            orders=orders,
            cleared=world.cleared(orders, result),
        )

    def passed_over(self, one: int, other: AnySigned, *, stake: bool = False) -> None:
        """Order number `one` claims to have been passed over."""
        claim = self.world.claim(self.orders[one], self.cleared, other=other)
        self.world.challenge(self.owners[one], Proof.PASSED_OVER, claim, stake=stake)


def test_only_an_earlier_order_is_passed_over(market: Market) -> None:
    scene = Margin.of(market)
    first, second, third = (uid_bytes(one) for one in scene.orders[:3])
    with scene.world.refuses("NotComparable", first, third):
        scene.passed_over(0, scene.orders[2])
    with scene.world.refuses("NotEarlier", third, 9, 8):
        scene.passed_over(2, scene.orders[1])
    with scene.world.refuses("NotEarlier", second, 8, 8):
        scene.passed_over(1, scene.orders[1])
    with scene.world.refuses("NotComparable", first, uid_bytes(scene.orders[3])):
        scene.passed_over(0, scene.orders[3])
    acceptance = market.acceptance(market.consumer("other"), scene.orders[1], 100)
    with scene.world.refuses("ProofInapplicable", Proof.PASSED_OVER):
        scene.passed_over(0, acceptance)
    scene.passed_over(0, scene.orders[1], stake=True)


# --- acceptances --------------------------------------------------------------------------------------------------


def test_proofs_about_orders_are_not_about_acceptances_nor_the_other_way(scene: Scene) -> None:
    acceptance = scene.world.market.acceptance(scene.victim, scene.offer, 100)
    for proof in (Proof.BETTER, Proof.PAIR, Proof.PASSED_OVER, Proof.INSIDE):
        claim = scene.world.claim(acceptance, scene.cleared, other=scene.offer)
        scene.refused(proof, claim, "ProofInapplicable", proof)
    claim = scene.world.claim(scene.bid, scene.cleared, other=scene.offer)
    scene.refused(Proof.DEAL, claim, "ProofInapplicable", Proof.DEAL)


def test_an_acceptance_names_its_offer(scene: Scene) -> None:
    market, world = scene.world.market, scene.world
    acceptance = market.acceptance(scene.victim, scene.offer, 100)
    other = market.order(scene.seller, SELL, 600, 9_000)
    claim = world.claim(acceptance, scene.cleared, other=other)
    scene.refused(Proof.DEAL, claim, "OfferMismatch", uid_bytes(scene.offer), uid_bytes(other))


@pytest.mark.parametrize("kind", ["bid", "pegged", "own", "acceptance"])
def test_only_a_limit_offer_of_somebody_else_can_be_accepted(scene: Scene, kind: str) -> None:
    market, world = scene.world.market, scene.world
    made: dict[str, Callable[[], AnySigned]] = {
        "bid": lambda: scene.bought,
        "pegged": lambda: market.order(scene.seller, SELL, 600, 9_000, pricing=Pricing.PEGGED),
        "own": lambda: market.order(market.register(scene.victim.owner, export_w=40_000), SELL, 600, 9_000),
        "acceptance": lambda: market.acceptance(scene.buyer, scene.offer, 10),
    }
    accepted = made[kind]()
    acceptance = market.acceptance(scene.victim, accepted, 100)
    claim = world.claim(acceptance, scene.cleared, other=accepted, receipt=world.receipt(acceptance))
    scene.refused(Proof.MISSING, claim, "AcceptanceInvalid", uid_bytes(acceptance))


def test_an_acceptance_is_for_its_mtu_and_falls_with_its_offer(scene: Scene) -> None:
    market, world = scene.world.market, scene.world
    later = market.acceptance(scene.victim, scene.offer, 100, mtu_start=FIRST_MTU + MTU_LENGTH_S)
    claim = world.claim(later, scene.cleared, other=scene.offer, receipt=world.receipt(later))
    scene.refused(Proof.MISSING, claim, "OrderOutsideMtu", uid_bytes(later), FIRST_MTU)
    expired = market.order(scene.seller, SELL, 600, 9_000, expiry=FIRST_MTU - 301)
    acceptance = market.acceptance(scene.victim, expired, 100)
    claim = world.claim(acceptance, scene.cleared, other=expired, receipt=world.receipt(acceptance))
    scene.refused(Proof.MISSING, claim, "OrderExpired", uid_bytes(expired), FIRST_MTU - 301, FIRST_MTU - 300)


# --- posting ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"quantity_wh": 0},
        {"first_mtu_start": FIRST_MTU, "last_mtu_start": FIRST_MTU - 900},
        {"first_mtu_start": FIRST_MTU - 7_200, "last_mtu_start": FIRST_MTU - 3_600},
        {"last_mtu_start": FIRST_MTU - 3_600 + 366 * DAY_S + 1},
    ],
)
def test_an_order_that_cannot_be_listed_is_not_posted(market: Market, changes: dict[str, int]) -> None:
    world, buyer = BondWorld(market), market.consumer("buyer")
    order = market.order(buyer, BUY, **{"quantity_wh": 600, "limit": 20_000} | changes)
    with world.refuses("OrderNotPostable", uid_bytes(order)):
        world.post(order)


def test_an_acceptance_is_not_posted(market: Market) -> None:
    """What is left of an offer is known from receipts only."""
    world, buyer = BondWorld(market), market.consumer("buyer")
    acceptance = market.acceptance(buyer, market.order(market.producer("seller"), SELL, 600, 10_000), 100)
    with world.refuses("OrderNotPostable", uid_bytes(acceptance)):
        world.post(acceptance)


def test_an_order_is_posted_once_and_by_its_owners_signature(market: Market) -> None:
    world, buyer = BondWorld(market), market.consumer("buyer")
    order = market.order(buyer, BUY, 600, 20_000)
    forged = market.order(buyer, BUY, 600, 20_000, signer=market.outsider)
    with world.refuses("SignerMismatch", uid_bytes(forged), market.outsider.address, buyer.owner.address):
        world.post(forged)
    world.post(order)
    posted_at = market.now
    market.move_to(posted_at + 60)
    with world.refuses("OrderAlreadyPosted", uid_bytes(order), posted_at):
        world.post(order)


def test_a_member_cannot_flood_the_book_with_posted_orders(market: Market) -> None:
    world, buyer = BondWorld(market), market.consumer("buyer")
    orders = [
        market.order(buyer, BUY, 1, 20_000, mtu_start=FIRST_MTU + MTU_LENGTH_S * (number % 2)) for number in range(10)
    ]
    for order in orders[:8]:
        world.post(order)
    with world.refuses("TooManyPosted", buyer.owner.address):
        world.post(orders[9])
    # Four of them were for the first MTU; from its start on their places are free.
    market.move_to(FIRST_MTU - 1)
    with world.refuses("TooManyPosted", buyer.owner.address):
        world.post(orders[9])
    market.move_to(FIRST_MTU)
    world.post(orders[9])
    assert market.view("MarketBond", "postedAt", uid_bytes(orders[9])) == FIRST_MTU


def test_everybody_has_eight_places_of_their_own(market: Market) -> None:
    world = BondWorld(market)
    for name in ("one", "other"):
        meter = market.consumer(name)
        for _ in range(8):
            world.post(market.order(meter, BUY, 1, 20_000), caller=actor("relay"))
