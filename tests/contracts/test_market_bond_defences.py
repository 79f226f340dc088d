"""Within the response window a cancellation, a deal or recorded ineligibility defeats a challenge; nothing else does.

Prices in cents per MWh, energy in Wh, money in microcents.
"""

from dataclasses import dataclass

import pytest
from tests.contracts.bond_world import BOND_EUR, FEE, NO_ORDER_WORDS, STAKE, BondWorld, Cleared
from tests.contracts.harness import BUY, EUR, FIRST_MTU, SELL, ZONE, Actor, AnySigned, Market, Receipt, uid_bytes

from gridledger.chain.codec import ContractReverted, keccak256
from gridledger.market.model import BookEntry, Ineligibility, SignedAcceptance, SignedOrder
from gridledger.market.omission import Proof


@dataclass(frozen=True, kw_only=True)
class Challenged:
    """A consumer's receipted bid that is not in the book, challenged by its owner; honest otherwise."""

    world: BondWorld
    owner: Actor
    bid: SignedOrder
    cleared: Cleared

    @classmethod
    def of(cls, market: Market) -> "Challenged":
        """A solar producer and two consumers; one of them is left out."""
        world = BondWorld(market)
        seller, buyer = market.producer("seller"), market.consumer("buyer")
        victim = market.consumer("victim")
        bid = market.order(victim, BUY, 500, 20_000)
        book: list[AnySigned] = [market.order(seller, SELL, 600, 10_000), market.order(buyer, BUY, 600, 18_000)]
        cleared = world.cleared(book)
        made = cls(world=world, owner=victim.owner, bid=bid, cleared=cleared)
        made.challenge()
        return made

    def challenge(self) -> Receipt:
        """The victim's challenge."""
        claim = self.world.claim(self.bid, self.cleared, receipt=self.world.receipt(self.bid))
        return self.world.challenge(self.owner, Proof.MISSING, claim)

    def cancelled(self, evidence: tuple[bytes, bytes, bytes]) -> Receipt:
        """Somebody answers with an owner's cancellation."""
        _, r, vs = evidence
        arguments = (self.owner.address, ZONE, FIRST_MTU, r, vs)
        return self.world.market.send(self.world.market.outsider, "MarketBond", "defeatByCancel", *arguments)

    def cancelled_up_to(self, salt: int, evidence: tuple[bytes, bytes, bytes]) -> Receipt:
        """Somebody answers with an owner's bulk cancellation."""
        _, r, vs = evidence
        arguments = (self.owner.address, ZONE, FIRST_MTU, salt, r, vs)
        return self.world.market.send(self.world.market.outsider, "MarketBond", "defeatByCancelUpTo", *arguments)

    def assert_defeated(self, receipt: Receipt, evidence: bytes) -> None:
        """The stake is the bond's, nothing is reserved, and the owner may prove something else."""
        assert receipt.one("ChallengeDefeated") == {
            "owner": self.owner.address,
            "zone": ZONE,
            "mtuStart": FIRST_MTU,
            "evidence": evidence,
        }
        assert self.world.status(self.owner) == 0
        assert self.world.bond() == (BOND_EUR * EUR + STAKE, 0)
        self.world.assert_backed()


@pytest.fixture
def challenged(market: Market) -> Challenged:
    return Challenged.of(market)


def test_an_open_challenge_reserves_what_it_may_cost(challenged: Challenged) -> None:
    assert challenged.world.bond() == (BOND_EUR * EUR, FEE + 500 * (20_000 - 14_000))
    challenged.world.assert_backed(open_challenges=1)


def test_the_owners_cancellation_defeats_a_challenge(challenged: Challenged) -> None:
    evidence = challenged.world.cancel(challenged.owner, challenged.bid)
    challenged.assert_defeated(challenged.cancelled(evidence), evidence[0])


@pytest.mark.parametrize("above", [0, 1, 10**6])
def test_the_owners_bulk_cancellation_defeats_a_challenge(challenged: Challenged, above: int) -> None:
    salt = challenged.bid.order.salt + above
    evidence = challenged.world.cancel_up_to(challenged.owner, salt)
    challenged.assert_defeated(challenged.cancelled_up_to(salt, evidence), evidence[0])


def test_after_a_defeat_the_owner_can_challenge_again_with_another_stake(challenged: Challenged) -> None:
    evidence = challenged.world.cancel(challenged.owner, challenged.bid)
    challenged.cancelled(evidence)
    challenged.challenge()
    challenged.cancelled(evidence)
    assert challenged.world.bond() == (BOND_EUR * EUR + 2 * STAKE, 0)


def test_somebody_elses_cancellation_defeats_nothing(challenged: Challenged) -> None:
    world, market = challenged.world, challenged.world.market
    digest, r, vs = world.cancel(market.outsider, challenged.bid)
    error = ("SignerMismatch", digest, market.outsider.address, challenged.owner.address)
    with world.refuses(*error):
        challenged.cancelled((digest, r, vs))


def test_the_cancellation_of_another_order_defeats_nothing(challenged: Challenged) -> None:
    world, market = challenged.world, challenged.world.market
    other = market.order(market.register(challenged.owner), BUY, 1, 20_000)
    evidence = world.cancel(challenged.owner, other)
    with pytest.raises(ContractReverted) as caught:
        challenged.cancelled(evidence)
    assert caught.value.name == "SignerMismatch"


def test_a_bulk_cancellation_below_the_orders_salt_defeats_nothing(challenged: Challenged) -> None:
    salt = challenged.bid.order.salt
    with challenged.world.refuses("CancelTooLow", salt - 1, salt):
        challenged.cancelled_up_to(salt - 1, challenged.world.cancel_up_to(challenged.owner, salt - 1))


@pytest.mark.parametrize(("after_gate_s", "too_late"), [(-1, False), (0, True), (3_600, True)])
def test_a_cancellation_the_operator_itself_received_after_the_gate_defeats_nothing(
    challenged: Challenged, after_gate_s: int, *, too_late: bool
) -> None:
    """The owner has the operator's own receipt of the cancellation noted first."""
    world = challenged.world
    evidence = world.cancel(challenged.owner, challenged.bid)
    received_at = world.gate() + after_gate_s
    world.market.send(
        challenged.owner, "MarketBond", "noteCancelReceipt", evidence[0], world.receipt(evidence[0], at=received_at)
    )
    assert world.market.view("MarketBond", "cancelReceivedAt", evidence[0]) == received_at
    if not too_late:
        challenged.assert_defeated(challenged.cancelled(evidence), evidence[0])
        return
    with world.refuses("CancelTooLate", evidence[0], received_at, world.gate()):
        challenged.cancelled(evidence)


def test_the_latest_noted_receipt_of_a_cancellation_counts(challenged: Challenged) -> None:
    world = challenged.world
    evidence = world.cancel(challenged.owner, challenged.bid)
    for at in (world.gate() + 5, world.gate() - 5):
        world.market.send(
            challenged.owner, "MarketBond", "noteCancelReceipt", evidence[0], world.receipt(evidence[0], at=at)
        )
    assert world.market.view("MarketBond", "cancelReceivedAt", evidence[0]) == world.gate() + 5


def test_only_the_operators_receipt_of_a_cancellation_is_noted(challenged: Challenged) -> None:
    world, outsider = challenged.world, challenged.world.market.outsider
    digest = world.cancel(challenged.owner, challenged.bid)[0]
    with world.refuses("NotAnOperator", outsider.address):
        receipt = world.receipt(digest, signer=outsider)
        world.market.send(outsider, "MarketBond", "noteCancelReceipt", digest, receipt)


def test_the_window_is_open_to_its_last_second_and_no_longer(challenged: Challenged) -> None:
    world, market = challenged.world, challenged.world.market
    respond_by = market.now + world.terms["responseWindowS"]
    evidence = world.cancel(challenged.owner, challenged.bid)
    market.move_to(respond_by)
    with world.refuses("ResponseOpen", respond_by, respond_by):
        world.resolve(challenged.owner)
    with market.undone():
        challenged.cancelled(evidence)
    market.move_to(respond_by + 1)
    with world.refuses("ResponseOver", respond_by, respond_by + 1):
        challenged.cancelled(evidence)
    with world.refuses("ResponseOver", respond_by, respond_by + 1):
        challenged.cancelled_up_to(2**63, world.cancel_up_to(challenged.owner, 2**63))
    assert world.resolve(challenged.owner).one("ChallengeUpheld")["paidMicrocents"] == FEE + 500 * 6_000


# --- deals --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class DealtOffer:
    """An honest clearing with an offer inside the interval, dealt in two parts; its owner challenges all the same."""

    world: BondWorld
    owner: Actor
    offer: SignedOrder
    acceptances: tuple[SignedAcceptance, SignedAcceptance]
    cleared: Cleared

    @classmethod
    def of(cls, market: Market, proof: Proof, dealt_wh: tuple[int, int] = (100, 200)) -> "DealtOffer":
        """INSIDE: the dealt offer's owner. PASSED_OVER: an earlier offer's owner, who never got any energy."""
        world = BondWorld(market)
        seller, rival = market.producer("seller"), market.producer("rival", source=0)
        buyers = [market.consumer(f"buyer {number}") for number in range(4)]
        early = market.order(rival, SELL, 400, 15_000)
        dealer = market.producer("dealer")
        offer = market.order(dealer, SELL, 300, 15_000)
        main = [market.order(seller, SELL, 600, 10_000), market.order(buyers[0], BUY, 600, 20_000)]
        acceptances = tuple(
            market.acceptance(buyer, offer, wh) for buyer, wh in zip(buyers[1:], dealt_wh, strict=False)
        )
        book: list[AnySigned] = [*main, offer, *acceptances]
        if proof is Proof.PASSED_OVER:
            book = [early, *book]
        cleared = world.cleared(book)
        assert not cleared.findings()
        made = cls(
            world=world,
            owner=rival.owner if proof is Proof.PASSED_OVER else dealer.owner,
            offer=offer,
            acceptances=(acceptances[0], acceptances[1]),
            cleared=cleared,
        )
        claimed = early if proof is Proof.PASSED_OVER else offer
        world.challenge(made.owner, proof, world.claim(claimed, cleared, other=offer))
        return made

    def answer(self, *acceptances: AnySigned, **changes: object) -> Receipt:
        """Somebody shows the acceptances."""
        words = [self.world.words(one) for one in acceptances]
        evidence = {"book": self.cleared.book, "result": self.cleared.result} | changes
        arguments = (self.owner.address, ZONE, FIRST_MTU, *evidence.values(), words)
        return self.world.market.send(self.world.market.outsider, "MarketBond", "defeatByDeals", *arguments)


def test_deals_that_took_a_whole_offer_defeat_the_claim_that_it_lay_inside(market: Market) -> None:
    dealt = DealtOffer.of(market, Proof.INSIDE)
    receipt = dealt.answer(*dealt.acceptances)
    assert receipt.one("ChallengeDefeated")["evidence"] == uid_bytes(dealt.offer)
    assert dealt.world.bond() == (BOND_EUR * EUR + STAKE, 0)


def test_deals_that_took_all_a_later_offer_got_defeat_the_claim_that_it_passed_over_another(market: Market) -> None:
    dealt = DealtOffer.of(market, Proof.PASSED_OVER)
    dealt.answer(*dealt.acceptances)
    assert dealt.world.status(dealt.owner) == 0


@pytest.mark.parametrize("proof", [Proof.INSIDE, Proof.PASSED_OVER])
def test_a_part_of_the_deals_defeats_nothing(market: Market, proof: Proof) -> None:
    dealt = DealtOffer.of(market, proof)
    with dealt.world.refuses("DealsTooSmall", 300, 200):
        dealt.answer(dealt.acceptances[1])


def test_one_deal_counts_once(market: Market) -> None:
    dealt = DealtOffer.of(market, Proof.INSIDE)
    again = dealt.acceptances[1]
    with dealt.world.refuses("OrdersNotAscending", uid_bytes(again)):
        dealt.answer(again, again)


def test_deals_of_another_offer_defeat_nothing(market: Market) -> None:
    dealt = DealtOffer.of(market, Proof.INSIDE)
    other = market.order(market.producer("other"), SELL, 300, 15_000)
    stranger = market.acceptance(market.consumer("stranger"), other, 300)
    with dealt.world.refuses("OfferMismatch", uid_bytes(dealt.offer), uid_bytes(other)):
        dealt.answer(stranger)
    # Words of an order say nothing about deals, though its guard may be anything.
    words = dealt.world.words(dealt.offer)
    with dealt.world.refuses("OfferMismatch", uid_bytes(dealt.offer), words["guard"].to_bytes(32)):
        dealt.answer(dealt.offer)


def test_an_acceptance_that_is_not_in_the_book_defeats_nothing(market: Market) -> None:
    dealt = DealtOffer.of(market, Proof.INSIDE)
    unlisted = market.acceptance(market.consumer("late"), dealt.offer, 300)
    with dealt.world.refuses("OrderNotListed", uid_bytes(unlisted), 5):
        dealt.answer(unlisted)


def test_deals_are_read_from_the_committed_book_and_result_only(market: Market) -> None:
    dealt = DealtOffer.of(market, Proof.INSIDE)
    shown = market.view("EnergyTrading", "clearingOf", ZONE, FIRST_MTU)
    other_book = dealt.cleared.book[::-1]
    with dealt.world.refuses("BookMismatch", shown["bookHash"], keccak256(other_book)):
        dealt.answer(*dealt.acceptances, book=other_book)
    terms = dict(dealt.cleared.result) | {"stateHashes": []}
    with dealt.world.refuses("ResultMismatch", shown["resultHash"], bytes(32)):
        dealt.answer(*dealt.acceptances, result=terms)


def test_deals_are_no_answer_to_a_claim_they_have_nothing_to_do_with(challenged: Challenged) -> None:
    world = challenged.world
    evidence = (challenged.cleared.book, challenged.cleared.result)
    arguments: tuple[object, ...] = (challenged.owner.address, ZONE, FIRST_MTU, *evidence, [])
    with world.refuses("ProofInapplicable", Proof.MISSING):
        world.market.send(world.market.outsider, "MarketBond", "defeatByDeals", *arguments)


def test_an_acceptance_is_binding_so_no_cancellation_defeats_its_claim(market: Market) -> None:
    world = BondWorld(market)
    seller, buyer = market.producer("seller"), market.consumer("buyer")
    offer = market.order(seller, SELL, 600, 10_000)
    acceptance = market.acceptance(buyer, offer, 600)
    market.move_to(world.clearing_deadline() + 1)
    claim = world.claim(acceptance, other=offer, receipt=world.receipt(acceptance))
    world.challenge(buyer.owner, Proof.NO_CLEARING, claim)
    _, r, vs = world.cancel(seller.owner, offer)
    with world.refuses("ProofInapplicable", Proof.NO_CLEARING):
        market.send(market.outsider, "MarketBond", "defeatByCancel", buyer.owner.address, ZONE, FIRST_MTU, r, vs)
    with world.refuses("ProofInapplicable", Proof.NO_CLEARING):
        arguments = (buyer.owner.address, ZONE, FIRST_MTU, 2**63, r, vs)
        market.send(market.outsider, "MarketBond", "defeatByCancelUpTo", *arguments)


# --- recorded ineligibility ---------------------------------------------------------------------------------------


def record(world: BondWorld, closed: Cleared, *owners: list[AnySigned]) -> Receipt:
    """The operator presents owners' listed orders."""
    groups = [[{"order": world.words(one), "offer": NO_ORDER_WORDS} for one in group] for group in owners]
    return world.market.send(world.operator, "MarketBond", "recordIneligible", ZONE, FIRST_MTU, closed.book, groups)


def test_a_recorded_ineligibility_defeats_the_claim_that_nothing_was_cleared(market: Market) -> None:
    world = BondWorld(market)
    poor = market.consumer("poor", eur=0)
    bid = market.order(poor, BUY, 500, 20_000)
    closed = world.close([bid])
    record(world, closed, [bid])
    market.move_to(world.clearing_deadline() + 1)
    receipt = world.receipt(bid)
    world.challenge(poor.owner, Proof.NO_CLEARING, world.claim(bid, receipt=receipt))
    arguments = (poor.owner.address, ZONE, FIRST_MTU, closed.book)
    answer = market.send(market.outsider, "MarketBond", "defeatByIneligibility", *arguments)
    assert answer.one("ChallengeDefeated")["evidence"] == uid_bytes(bid)
    assert world.bond() == (BOND_EUR * EUR + STAKE, 0)


def test_an_order_that_is_not_recorded_is_not_defeated_as_ineligible(market: Market) -> None:
    world = BondWorld(market)
    buyer, other = market.consumer("buyer"), market.consumer("other", eur=0)
    bid, poor_bid = market.order(buyer, BUY, 500, 20_000), market.order(other, BUY, 500, 20_000)
    closed = world.close([bid, poor_bid])
    record(world, closed, [poor_bid])
    market.move_to(world.clearing_deadline() + 1)
    world.challenge(buyer.owner, Proof.NO_CLEARING, world.claim(bid, receipt=world.receipt(bid)))
    arguments = (buyer.owner.address, ZONE, FIRST_MTU, closed.book)
    with world.refuses("OrderNotRecorded", uid_bytes(bid)):
        market.send(market.outsider, "MarketBond", "defeatByIneligibility", *arguments)


def test_an_order_recorded_as_ineligible_proves_nothing_about_the_clearing(market: Market) -> None:
    world = BondWorld(market)
    seller, poor = market.producer("seller"), market.consumer("poor", eur=0)
    buyer = market.consumer("buyer")
    book: list[AnySigned] = [market.order(seller, SELL, 600, 10_000), market.order(buyer, BUY, 300, 18_000)]
    bid = market.order(poor, BUY, 300, 20_000)
    closed = world.close([*book, bid])
    record(world, closed, [bid])
    listed = [*book, BookEntry(running_number=0, signed=bid, ineligible=Ineligibility.UNFUNDED)]
    cleared = world.clear(closed, listed, market.auction(book))
    for proof in (Proof.BETTER, Proof.INSIDE):
        with world.refuses("OrderIsIneligible", uid_bytes(bid), 2):
            world.challenge(poor.owner, proof, world.claim(bid, cleared), stake=False)


def test_an_acceptance_of_an_offer_recorded_as_ineligible_proves_nothing(market: Market) -> None:
    world = BondWorld(market)
    poor, buyer = market.producer("poor", eur=0), market.consumer("buyer")
    offer = market.order(poor, SELL, 600, 10_000)
    acceptance = market.acceptance(buyer, offer, 300)
    closed = world.close([offer, acceptance])
    record(world, closed, [offer])
    listed = [BookEntry(running_number=0, signed=one, ineligible=Ineligibility.UNFUNDED) for one in (offer, acceptance)]
    cleared = world.clear(closed, listed)
    with world.refuses("OrderIsIneligible", uid_bytes(offer), 0):
        world.challenge(buyer.owner, Proof.DEAL, world.claim(acceptance, cleared, other=offer), stake=False)


# --- halt and suspension ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zone", [0, ZONE])
def test_a_halt_recorded_before_the_deadline_excuses_a_missing_clearing(market: Market, zone: int) -> None:
    world = BondWorld(market)
    buyer = market.consumer("buyer")
    bid = market.order(buyer, BUY, 500, 20_000)
    receipt = world.receipt(bid)
    closed = world.close([])
    market.send(market.regulator, "GridPolicy", "setHalted", zone, True)
    assert market.send(market.outsider, "MarketBond", "recordHalt", ZONE, FIRST_MTU).one("HaltRecorded")
    assert market.view("MarketBond", "isHaltRecorded", ZONE, FIRST_MTU)
    market.send(market.regulator, "GridPolicy", "setHalted", zone, False)
    market.move_to(world.clearing_deadline() + 1)
    for proof in (Proof.NO_CLEARING, Proof.MISSING):
        with world.refuses("MarketWasHalted", ZONE, FIRST_MTU):
            world.challenge(buyer.owner, proof, world.claim(bid, closed, receipt=receipt), stake=False)


def test_a_halt_excuses_nothing_once_the_market_was_cleared(market: Market) -> None:
    world = BondWorld(market)
    buyer = market.consumer("buyer")
    bid = market.order(buyer, BUY, 500, 20_000)
    closed = world.close([])
    market.send(market.regulator, "GridPolicy", "setHalted", ZONE, True)
    market.send(market.outsider, "MarketBond", "recordHalt", ZONE, FIRST_MTU)
    market.send(market.regulator, "GridPolicy", "setHalted", ZONE, False)
    cleared = world.clear(closed, [])
    claim = world.claim(bid, cleared, receipt=world.receipt(bid))
    assert world.upheld(buyer.owner, Proof.MISSING, claim) == FEE


def test_a_halt_is_recorded_only_while_it_lasts_and_between_gate_and_deadline(market: Market) -> None:
    world = BondWorld(market)

    def record_halt() -> Receipt:
        return market.send(market.outsider, "MarketBond", "recordHalt", ZONE, FIRST_MTU)

    market.close_gate()
    with world.refuses("ZoneNotHalted", ZONE):
        record_halt()
    market.send(market.regulator, "GridPolicy", "setHalted", ZONE, True)
    deadline = world.clearing_deadline()
    with market.undone():
        market.move_to(world.gate() - 1)
        with world.refuses("GateStillOpen", FIRST_MTU, world.gate(), world.gate() - 1):
            record_halt()
    with market.undone():
        market.move_to(deadline)
        record_halt()
    market.move_to(deadline + 1)
    with world.refuses("ClearingTimeOver", FIRST_MTU, deadline, deadline + 1):
        record_halt()


@pytest.mark.parametrize(("after_clearing_s", "counts"), [(0, True), (1, False)])
def test_a_suspension_counts_if_it_was_in_force_at_the_clearing(
    market: Market, after_clearing_s: int, *, counts: bool
) -> None:
    world = BondWorld(market)
    victim = market.consumer("victim")
    bid = market.order(victim, BUY, 500, 20_000)
    receipt = world.receipt(bid)
    cleared = world.cleared([])
    market.move_to(market.now + after_clearing_s)
    market.suspend(victim.owner)
    market.move_to(market.now + 60)
    claim = world.claim(bid, cleared, receipt=receipt)
    if counts:
        with world.refuses("AccountSuspended", victim.owner.address):
            world.challenge(victim.owner, Proof.MISSING, claim, stake=False)
    else:
        assert world.upheld(victim.owner, Proof.MISSING, claim) == FEE


def test_a_suspended_sellers_deal_is_not_owed(market: Market) -> None:
    world = BondWorld(market)
    seller, buyer = market.producer("seller"), market.consumer("buyer")
    offer = market.order(seller, SELL, 600, 10_000)
    acceptance = market.acceptance(buyer, offer, 600)
    receipt = world.receipt(acceptance)
    market.suspend(seller.owner)
    market.move_to(world.clearing_deadline() + 1)
    with world.refuses("AccountSuspended", seller.owner.address):
        claim = world.claim(acceptance, other=offer, receipt=receipt)
        world.challenge(buyer.owner, Proof.NO_CLEARING, claim, stake=False)
