"""Every proof holds against a clearing that earns it, pays exactly, once, and never holds against an honest one.

Prices in cents per MWh, energy in Wh, money in microcents.
"""

from dataclasses import dataclass, replace

import pytest
from tests.contracts.bond_world import FEE, BondWorld, Cleared, altered
from tests.contracts.harness import BUY, EUR, FIRST_MTU, SELL, ZONE, AnySigned, Market, Meter, uid_bytes

from gridledger.market.model import BookEntry, Ineligibility, Pricing, Product, SignedOrder
from gridledger.market.omission import Finding, Interval, Proof, Receipted, payment_microcents


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A solar and a gas offer that serve a large and a small bid, a bid too low and an offer too dear for that.

    Honestly the four are filled whole, between 12,000 and 18,000: the price is 15,000.
    """

    world: BondWorld
    solar: SignedOrder
    gas: SignedOrder
    large: SignedOrder
    small: SignedOrder
    low_bid: SignedOrder
    dear: SignedOrder
    meters: dict[str, Meter]

    @classmethod
    def of(cls, market: Market) -> "Scene":
        """Six funded members with an order each."""
        meters = {
            "solar": market.producer("solar"),
            "gas": market.producer("gas", source=0),
            "large": market.consumer("large"),
            "small": market.consumer("small"),
            "low_bid": market.consumer("low bidder"),
            "dear": market.producer("dear seller"),
        }
        return cls(
            world=BondWorld(market),
            solar=market.order(meters["solar"], SELL, 600, 10_000),
            gas=market.order(meters["gas"], SELL, 300, 12_000),
            large=market.order(meters["large"], BUY, 500, 20_000),
            small=market.order(meters["small"], BUY, 400, 18_000),
            low_bid=market.order(meters["low_bid"], BUY, 100, 11_000),
            dear=market.order(meters["dear"], SELL, 100, 25_000),
            meters=meters,
        )

    @property
    def book(self) -> list[AnySigned]:
        """All six in receipt order."""
        return [self.solar, self.gas, self.large, self.small, self.low_bid, self.dear]


@pytest.fixture
def scene(market: Market) -> Scene:
    return Scene.of(market)


def finding(cleared: Cleared, proof: Proof, signed: AnySigned, *receipts: Receipted) -> Finding:
    """What the node's own rules say is provable."""
    return cleared.findings(*receipts)[proof, signed.uid]


def payment(found: Finding, cap: int = 100 * EUR) -> int:
    return payment_microcents(found, FEE, cap)


# --- (a) missing from the book ------------------------------------------------------------------------------------


def test_a_receipted_order_missing_from_the_book_is_paid_its_whole_quantity(scene: Scene) -> None:
    world, owner = scene.world, scene.meters["large"].owner
    receipt = world.receipt(scene.large, 9)
    cleared = world.cleared([one for one in scene.book if one is not scene.large])
    # Without the large bid 100 Wh of the solar offer are left over, so 10,000 is both ends.
    assert cleared.committed is not None
    assert cleared.committed.any_price_cents_per_mwh == 10_000
    expected = FEE + 500 * (20_000 - 10_000)
    assert world.upheld(owner, Proof.MISSING, world.claim(scene.large, cleared, receipt=receipt)) == expected


def test_an_order_listed_under_another_number_than_its_receipt_says_is_missing(scene: Scene) -> None:
    world = scene.world
    cleared = world.cleared(scene.book)
    for proof_number, expected in ((9, None), (8, FEE + 500 * 5_000)):
        claim = world.claim(scene.large, cleared, receipt=world.receipt(scene.large, proof_number))
        found = cleared.findings(Receipted(uid=scene.large.uid, running_number=proof_number))
        if expected is None:
            assert not found
            with world.refuses("OrderIsListed", uid_bytes(scene.large), 2):
                world.challenge(scene.meters["large"].owner, Proof.MISSING, claim, stake=False)
        else:
            assert payment(found[Proof.MISSING, scene.large.uid]) == expected
            assert world.upheld(scene.meters["large"].owner, Proof.MISSING, claim) == expected


def test_an_order_its_owner_posted_before_the_gate_counts_as_receipted(scene: Scene) -> None:
    world, owner = scene.world, scene.meters["large"].owner
    event = world.post(scene.large).one("OrderPosted")
    assert (event["owner"], event["orderUid"]) == (owner.address, uid_bytes(scene.large))
    assert world.market.view("MarketBond", "postedAt", uid_bytes(scene.large)) == world.market.now
    cleared = world.cleared([one for one in scene.book if one is not scene.large])
    assert world.upheld(owner, Proof.MISSING, world.claim(scene.large, cleared)) == FEE + 500 * 10_000


def test_a_receipted_acceptance_missing_from_the_book_is_paid_against_the_price_of_any(scene: Scene) -> None:
    world, buyer = scene.world, scene.meters["small"]
    acceptance = world.market.acceptance(buyer, scene.solar, 250)
    receipt = world.receipt(acceptance, 12)
    cleared = world.cleared(scene.book)
    claim = world.claim(acceptance, cleared, other=scene.solar, receipt=receipt)
    assert world.upheld(buyer.owner, Proof.MISSING, claim) == FEE + 250 * (15_000 - 10_000)


# --- (f) no clearing ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("committed", [False, True])
def test_without_a_finished_clearing_every_receipted_order_is_paid_the_fixed_fee(
    scene: Scene, *, committed: bool
) -> None:
    world, owner = scene.world, scene.meters["low_bid"].owner
    receipt = world.receipt(scene.low_bid)
    closed = world.close(scene.book) if committed else Cleared()
    world.market.move_to(world.clearing_deadline() + 1)
    found = closed.findings(Receipted(uid=scene.low_bid.uid, running_number=11))
    assert ((Proof.NO_CLEARING, scene.low_bid.uid) in found) is committed
    assert world.upheld(owner, Proof.NO_CLEARING, world.claim(scene.low_bid, receipt=receipt)) == FEE


def test_an_unfinished_clearing_is_none(scene: Scene) -> None:
    world, market = scene.world, scene.world.market
    world.close(scene.book)
    clearing = market.clearing(scene.book)
    market.clear(clearing | {"last": False})
    market.move_to(world.clearing_deadline() + 1)
    claim = world.claim(scene.large, receipt=world.receipt(scene.large))
    assert world.upheld(scene.meters["large"].owner, Proof.NO_CLEARING, claim) == FEE


def test_a_receipted_acceptance_is_paid_when_nothing_was_cleared(scene: Scene) -> None:
    world, buyer = scene.world, scene.meters["small"]
    acceptance = world.market.acceptance(buyer, scene.solar, 250)
    world.market.move_to(world.clearing_deadline() + 1)
    claim = world.claim(acceptance, other=scene.solar, receipt=world.receipt(acceptance))
    assert world.upheld(buyer.owner, Proof.NO_CLEARING, claim) == FEE


def test_an_order_left_out_of_the_book_is_paid_the_fixed_fee_where_nothing_was_cleared(scene: Scene) -> None:
    world = scene.world
    closed = world.close(scene.book[:2])
    world.market.move_to(world.clearing_deadline() + 1)
    claim = world.claim(scene.large, closed, receipt=world.receipt(scene.large))
    assert world.upheld(scene.meters["large"].owner, Proof.MISSING, claim) == FEE


# --- (b) strictly better than the price ---------------------------------------------------------------------------


def test_a_bid_above_the_price_left_unfilled_is_paid_the_difference(scene: Scene) -> None:
    world = scene.world
    fills = {scene.solar: 200, scene.small: 200}
    result = altered(world.market.auction(scene.book), fills, lower=scene.solar, upper=scene.small)
    cleared = world.cleared(scene.book, result)
    found = finding(cleared, Proof.BETTER, scene.large)
    assert payment(found) == FEE + 500 * (20_000 - 14_000)
    claim = world.claim(scene.large, cleared)
    assert world.upheld(scene.meters["large"].owner, Proof.BETTER, claim) == payment(found)


def test_an_offer_below_the_price_is_paid_for_what_is_left_of_it(scene: Scene) -> None:
    world = scene.world
    fills = {scene.solar: 450, scene.gas: 250, scene.large: 500, scene.small: 200}
    result = altered(world.market.auction(scene.book), fills, lower=scene.gas, upper=scene.small)
    cleared = world.cleared(scene.book, result)
    found = finding(cleared, Proof.BETTER, scene.solar)
    assert payment(found) == FEE + 150 * (15_000 - 10_000)
    claim = world.claim(scene.solar, cleared)
    assert world.upheld(scene.meters["solar"].owner, Proof.BETTER, claim) == payment(found)


def test_what_was_dealt_of_an_offer_counts_as_filled(scene: Scene) -> None:
    world, market = scene.world, scene.world.market
    acceptance = market.acceptance(scene.meters["small"], scene.solar, 600)
    cleared = world.cleared([scene.solar, scene.gas, scene.large, acceptance])
    assert not cleared.findings()
    with world.refuses("OrderIsFilled", uid_bytes(scene.solar), 600):
        world.challenge(scene.meters["solar"].owner, Proof.BETTER, world.claim(scene.solar, cleared), stake=False)


def test_no_more_than_the_cap_is_paid(market: Market) -> None:
    world = BondWorld(market)
    seller, buyer, rival = market.producer("s", eur=90), market.consumer("b", eur=90), market.consumer("r", eur=90)
    offer = market.order(seller, SELL, 9_000, 8_000)
    bid, low = market.order(buyer, BUY, 9_000, 32_000), market.order(rival, BUY, 1, 9_000)
    result = altered(market.auction([offer, bid, low]), {offer: 1, low: 1}, lower=offer, upper=low)
    cleared = world.cleared([offer, bid, low], result)
    found = finding(cleared, Proof.BETTER, bid)
    assert payment(found) == FEE + 9_000 * (32_000 - 8_500) == 311_500_000
    assert world.upheld(buyer.owner, Proof.BETTER, world.claim(bid, cleared)) == 311_500_000
    small_cap = replace(market.parameters, bond=replace(market.parameters.bond, cap_microcents=3 * EUR))
    assert payment(found, small_cap.bond.cap_microcents) == 3 * EUR


# --- (c) a pair at the price --------------------------------------------------------------------------------------


def test_a_bid_and_an_offer_left_at_the_price_are_paid_the_fixed_fee_each(market: Market) -> None:
    world = BondWorld(market)
    seller, buyer = market.producer("seller"), market.consumer("buyer")
    offer, bid = market.order(seller, SELL, 500, 15_000), market.order(buyer, BUY, 500, 15_000)
    result = altered(market.auction([offer, bid]), {}, lower=bid, upper=offer)
    cleared = world.cleared([offer, bid], result)
    assert set(cleared.findings()) == {(Proof.PAIR, offer.uid), (Proof.PAIR, bid.uid)}
    assert world.upheld(seller.owner, Proof.PAIR, world.claim(offer, cleared, other=bid)) == FEE
    assert world.upheld(buyer.owner, Proof.PAIR, world.claim(bid, cleared, other=offer)) == FEE


@pytest.mark.parametrize(
    ("bid_product", "source", "tradable"),
    [(Product.ANY, 0, True), (Product.ANY, 1, True), (Product.LOW_CARBON, 1, True), (Product.LOW_CARBON, 0, False)],
)
def test_between_two_books_at_one_price_only_low_carbon_offers_reach_every_bid(
    market: Market, bid_product: Product, source: int, *, tradable: bool
) -> None:
    world = BondWorld(market)
    seller, buyer = market.producer("seller", source=source), market.consumer("buyer")
    offer, bid = market.order(seller, SELL, 500, 15_000), market.order(buyer, BUY, 500, 15_000, product=bid_product)
    # Both books need ends at 15,000: a bid for each product below, an offer of each kind above.
    ends = [
        market.order(market.consumer("any"), BUY, 1, 15_000),
        market.order(market.consumer("low"), BUY, 1, 15_000, product=Product.LOW_CARBON),
        market.order(market.producer("gas", source=0), SELL, 1, 15_000),
        market.order(market.producer("sun"), SELL, 1, 15_000),
    ]
    book = [offer, bid, *ends]
    honest = market.auction(book)
    other = altered(honest, {}, lower=ends[0], upper=ends[2], merged=False)
    low = altered(honest, {}, lower=ends[1], upper=ends[3], merged=False)
    cleared = world.cleared(book, replace(other, low_carbon=low.any))
    claim = world.claim(bid, cleared, other=offer)
    if tradable:
        assert world.upheld(buyer.owner, Proof.PAIR, claim) == FEE
    else:
        with world.refuses("CannotTrade", uid_bytes(bid), uid_bytes(offer)):
            world.challenge(buyer.owner, Proof.PAIR, claim, stake=False)


def test_a_merged_book_leaves_no_pair_whatever_the_products(market: Market) -> None:
    """A low_carbon bid and a gas offer left at the price: the honest operator states two books."""
    world = BondWorld(market)
    buyer = market.consumer("buyer")
    bid = market.order(buyer, BUY, 500, 15_000, product=Product.LOW_CARBON)
    offer = market.order(market.producer("gas", source=0), SELL, 500, 15_000)
    honest = market.auction([offer, bid])
    assert not honest.merged
    cleared = world.cleared([offer, bid], altered(honest, {}, lower=bid, upper=offer, merged=True))
    assert world.upheld(buyer.owner, Proof.PAIR, world.claim(bid, cleared, other=offer)) == FEE


# --- (d) passed over ----------------------------------------------------------------------------------------------


def test_an_earlier_order_passed_over_at_the_margin_is_paid(scene: Scene) -> None:
    world, market = scene.world, scene.world.market
    late = market.producer("late", source=0)
    late_offer = market.order(late, SELL, 300, 12_000)
    book = [*scene.book, late_offer]
    fills = {scene.solar: 600, late_offer: 100, scene.large: 500, scene.small: 200}
    cleared = world.cleared(book, altered(market.auction(book), fills, lower=late_offer, upper=scene.gas))
    found = finding(cleared, Proof.PASSED_OVER, scene.gas)
    assert (found.other_uid, payment(found)) == (late_offer.uid, FEE)
    claim = world.claim(scene.gas, cleared, other=late_offer)
    assert world.upheld(scene.meters["gas"].owner, Proof.PASSED_OVER, claim) == FEE


def test_in_a_merged_book_an_earlier_offer_is_passed_over_by_one_of_another_source_too(market: Market) -> None:
    world = BondWorld(market)
    gas, sun = market.producer("gas", source=0), market.producer("sun")
    early, late = market.order(gas, SELL, 300, 12_000), market.order(sun, SELL, 300, 12_000)
    bid = market.order(market.consumer("buyer"), BUY, 300, 20_000)
    honest = market.auction([early, late, bid])
    cleared = world.cleared([early, late, bid], altered(honest, {late: 300, bid: 300}, lower=late, upper=early))
    assert set(cleared.findings()) == {(Proof.PASSED_OVER, early.uid)}
    assert world.upheld(gas.owner, Proof.PASSED_OVER, world.claim(early, cleared, other=late)) == FEE


def test_in_separate_books_orders_of_the_other_book_pass_nobody_over(market: Market) -> None:
    """Honest: only solar energy serves the bid, though the gas offer is earlier and as cheap."""
    world = BondWorld(market)
    gas, sun = market.producer("gas", source=0), market.producer("sun")
    early, late = market.order(gas, SELL, 300, 12_000), market.order(sun, SELL, 300, 12_000)
    bid = market.order(market.consumer("buyer"), BUY, 300, 20_000, product=Product.LOW_CARBON)
    cleared = world.cleared([early, late, bid])
    assert cleared.committed is not None
    assert not cleared.committed.merged
    assert not cleared.findings()
    with world.refuses("NotComparable", uid_bytes(early), uid_bytes(late)):
        claim = world.claim(early, cleared, other=late)
        world.challenge(gas.owner, Proof.PASSED_OVER, claim, stake=False)
    # Its own book's interval is 8,000..12,000; the other's, 12,000..20,000, is not its own.
    with world.refuses("NotInside", uid_bytes(early), 12_000, 8_000, 12_000):
        world.challenge(gas.owner, Proof.INSIDE, world.claim(early, cleared), stake=False)


@pytest.mark.parametrize(("side", "reference", "price"), [(BUY, 32_000, 26_000), (SELL, 8_000, 9_000)])
def test_the_reference_price_carries_a_pegged_order_no_further_than_its_guard(
    market: Market, side: int, reference: int, price: int
) -> None:
    """Bids alone make the reference price the retail tariff, offers alone the feed-in tariff."""
    world = BondWorld(market)
    pegged_meter, other_meter = (
        (market.consumer("pegged"), market.consumer("other"))
        if side == BUY
        else (market.producer("pegged"), market.producer("other"))
    )
    pegged = market.order(pegged_meter, side, 100, 12_000, pricing=Pricing.PEGGED)
    other = market.order(other_meter, side, 100, 20_000 if side == BUY else 10_000)
    cleared = world.cleared([pegged, other], publish=True)
    assert market.view("EnergyPricing", "referencePrice", ZONE, FIRST_MTU) == reference
    with world.refuses("NotBetter", uid_bytes(pegged), 12_000, price):
        world.challenge(pegged_meter.owner, Proof.BETTER, world.claim(pegged, cleared), stake=False)


def test_a_pegged_order_is_judged_at_the_reference_price_within_its_guard(scene: Scene) -> None:
    world, market = scene.world, scene.world.market
    pegged = market.order(scene.meters["low_bid"], BUY, 400, 31_000, pricing=Pricing.PEGGED)
    book = [scene.solar, pegged, scene.large]
    fills = {scene.solar: 500, scene.large: 500}
    honest = market.auction(book, reference_price=8_000)
    cleared = world.cleared(book, altered(honest, fills, lower=scene.solar, upper=scene.large), publish=True)
    reference = market.view("EnergyPricing", "referencePrice", ZONE, FIRST_MTU)
    price = market.view("EnergyTrading", "clearingOf", ZONE, FIRST_MTU)["anyPrice"]
    claim = world.claim(pegged, cleared)
    owner = scene.meters["low_bid"].owner
    assert (price, reference) == (15_000, 8_000)
    with world.refuses("NotBetter", uid_bytes(pegged), reference, price):
        world.challenge(owner, Proof.BETTER, claim, stake=False)


def test_without_a_published_reference_price_a_pegged_order_counts_at_its_guard(scene: Scene) -> None:
    world, market = scene.world, scene.world.market
    pegged = market.order(scene.meters["low_bid"], BUY, 400, 31_000, pricing=Pricing.PEGGED)
    book: list[AnySigned | BookEntry] = [scene.solar, pegged, scene.large]
    honest = market.auction([scene.solar, scene.large])
    cleared = world.cleared(book, honest)
    claim = world.claim(pegged, cleared)
    # 100 Wh of the solar offer are left over: 10,000.
    expected = FEE + 400 * (31_000 - 10_000)
    assert world.upheld(scene.meters["low_bid"].owner, Proof.BETTER, claim) == expected


@pytest.mark.parametrize(("after_the_clearing", "counts"), [(-1, True), (0, False), (1, False)])
def test_a_reference_price_counts_only_if_it_was_published_before_the_clearing(
    scene: Scene, after_the_clearing: int, counts: bool
) -> None:
    world, market = scene.world, scene.world.market
    pegged = market.order(scene.meters["low_bid"], BUY, 400, 31_000, pricing=Pricing.PEGGED)
    book: list[AnySigned | BookEntry] = [scene.solar, pegged, scene.large]
    closed, cleared_at = world.close(book), market.now + 10
    market.move_to(cleared_at)
    cleared = world.clear(closed, book, market.auction([scene.solar, scene.large]))
    market.move_to(cleared_at + after_the_clearing)
    assert market.publish_price(book) == 8_000
    market.move_to(cleared_at + 2)
    owner, claim = scene.meters["low_bid"].owner, world.claim(pegged, cleared)
    if counts:
        with world.refuses("NotBetter", uid_bytes(pegged), 8_000, 10_000):
            world.challenge(owner, Proof.BETTER, claim, stake=False)
    else:
        assert world.upheld(owner, Proof.BETTER, claim) == FEE + 400 * (31_000 - 10_000)


# --- (e) inside the stated interval -------------------------------------------------------------------------------


def test_an_order_inside_the_stated_interval_is_paid(market: Market) -> None:
    world = BondWorld(market)
    seller, buyer, low = market.producer("seller"), market.consumer("buyer"), market.consumer("low")
    offer, bid = market.order(seller, SELL, 600, 10_000), market.order(buyer, BUY, 600, 20_000)
    low_bid = market.order(low, BUY, 200, 11_000)
    book = [offer, bid, low_bid]
    honest = market.auction(book)
    assert honest.any.price_cents_per_mwh == 15_500
    cleared = world.cleared(book, altered(honest, lower=offer, upper=bid))
    found = finding(cleared, Proof.INSIDE, low_bid)
    assert payment(found) == FEE + 200 * (15_000 - 11_000)
    assert world.upheld(low.owner, Proof.INSIDE, world.claim(low_bid, cleared)) == payment(found)


def test_a_filled_order_inside_the_stated_interval_is_paid_the_fixed_fee(scene: Scene) -> None:
    """Floor and cap may be named by anybody; here a filled bid shows that they are not the ends."""
    world = scene.world
    fills = {scene.solar: 500, scene.large: 500}
    cleared = world.cleared(scene.book, altered(world.market.auction(scene.book), fills))
    assert cleared.committed is not None
    assert cleared.committed.any_interval == Interval(lower=8_000, upper=32_000)
    found = finding(cleared, Proof.INSIDE, scene.large)
    assert payment(found) == FEE
    claim = world.claim(scene.large, cleared)
    assert world.upheld(scene.meters["large"].owner, Proof.INSIDE, claim) == FEE


# --- deals --------------------------------------------------------------------------------------------------------


def test_a_listed_acceptance_that_was_not_locked_is_paid(scene: Scene) -> None:
    world, buyer = scene.world, scene.meters["small"]
    acceptance = world.market.acceptance(buyer, scene.solar, 250)
    left_out = BookEntry(running_number=0, signed=acceptance, ineligible=Ineligibility.UNFUNDED)
    cleared = world.cleared([scene.solar, scene.gas, scene.large, left_out])
    assert cleared.committed is not None
    price = cleared.committed.any_price_cents_per_mwh
    claim = world.claim(acceptance, cleared, other=scene.solar)
    assert world.upheld(buyer.owner, Proof.DEAL, claim) == FEE + 250 * abs(price - 10_000)


def test_a_deal_is_owed_also_where_its_offer_was_left_out_of_the_book(scene: Scene) -> None:
    world, buyer = scene.world, scene.meters["small"]
    acceptance = world.market.acceptance(buyer, scene.solar, 250)
    left_out = BookEntry(running_number=0, signed=acceptance, ineligible=Ineligibility.UNFUNDED)
    cleared = world.cleared([scene.gas, scene.large, left_out])
    claim = world.claim(acceptance, cleared, other=scene.solar)
    # 200 Wh of the large bid are left over: 20,000.
    assert world.upheld(buyer.owner, Proof.DEAL, claim) == FEE + 250 * (20_000 - 10_000)


def test_a_locked_deal_is_none(scene: Scene) -> None:
    world, buyer = scene.world, scene.meters["small"]
    acceptance = world.market.acceptance(buyer, scene.solar, 250)
    cleared = world.cleared([scene.solar, scene.gas, scene.large, acceptance])
    claim = world.claim(acceptance, cleared, other=scene.solar)
    with world.refuses("OrderIsFilled", uid_bytes(acceptance), 250):
        world.challenge(buyer.owner, Proof.DEAL, claim, stake=False)


# --- honest -------------------------------------------------------------------------------------------------------


def test_nothing_holds_against_an_honest_clearing(scene: Scene) -> None:
    world, market = scene.world, scene.world.market
    cleared = world.cleared(scene.book)
    assert not cleared.findings(*(Receipted(uid=one.uid, running_number=7 + i) for i, one in enumerate(scene.book)))
    uid = {one.uid: uid_bytes(one) for one in scene.book}
    owners = {one.uid: meter.owner for one, meter in zip(scene.book, scene.meters.values(), strict=True)}
    fills = {scene.solar.uid: 600, scene.gas.uid: 300, scene.large.uid: 500, scene.small.uid: 400}
    for place, one in enumerate(scene.book):
        assert isinstance(one, SignedOrder)
        limit, fill = one.order.limit_cents_per_mwh, fills.get(one.uid, 0)
        filled = (uid[one.uid], fill) if fill == one.order.quantity_wh else None
        refusals: dict[Proof, tuple[object, ...]] = {
            Proof.MISSING: ("OrderIsListed", uid[one.uid], place),
            Proof.NO_CLEARING: ("ClearingFinished", ZONE, FIRST_MTU),
            Proof.BETTER: ("OrderIsFilled", *filled) if filled else ("NotBetter", uid[one.uid], limit, 15_000),
            Proof.INSIDE: ("NotInside", uid[one.uid], limit, 12_000, 18_000),
        }
        for proof, (error, *arguments) in refusals.items():
            receipt = world.receipt(one, 7 + place)
            with world.refuses(str(error), *arguments):
                world.challenge(owners[one.uid], proof, world.claim(one, cleared, receipt=receipt), stake=False)
    low_bidder = owners[scene.low_bid.uid]
    with world.refuses("OrderIsFilled", uid[scene.gas.uid], 300):
        world.challenge(low_bidder, Proof.PAIR, world.claim(scene.low_bid, cleared, other=scene.gas), stake=False)
    with world.refuses("NotAtPrice", uid[scene.low_bid.uid], 11_000, 15_000):
        world.challenge(low_bidder, Proof.PAIR, world.claim(scene.low_bid, cleared, other=scene.dear), stake=False)
    with world.refuses("NotComparable", uid[scene.low_bid.uid], uid[scene.small.uid]):
        claim = world.claim(scene.low_bid, cleared, other=scene.small)
        world.challenge(low_bidder, Proof.PASSED_OVER, claim, stake=False)
    assert market.view("MarketBond", "bond") == (1_000 * EUR, 0)
