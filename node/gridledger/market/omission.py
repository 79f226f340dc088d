"""What can be proven against a committed clearing, as the contract MarketBond judges it.

A result the trading contract accepted, and against which nothing can be proven, has the greatest welfare of all
eligible listed orders and, among that, the largest volume; docs/adr/0012 has the argument, the tests the trial. The
contract judges one claim; here all that can be claimed is listed, one finding per order and proof.

Energy in Wh, prices in cents per MWh, money in microcents.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from gridledger.market.auction import AuctionResult
from gridledger.market.book import effective_limit
from gridledger.market.locking import Deal, dealt_energy
from gridledger.market.model import BookEntry, MeterFacts, Product, Side, SignedAcceptance
from gridledger.units import cost_microcents

__all__ = [
    "AcceptanceFacts",
    "BookFacts",
    "BookLine",
    "CommittedResult",
    "Finding",
    "Interval",
    "OrderFacts",
    "Proof",
    "Receipted",
    "book_facts",
    "committed_result",
    "findings",
    "payment_microcents",
]


class Proof(IntEnum):
    """What is proven about an order; the numbers are the contract's."""

    MISSING = 0
    NO_CLEARING = 1
    BETTER = 2
    PAIR = 3
    PASSED_OVER = 4
    INSIDE = 5
    DEAL = 6


@dataclass(frozen=True, kw_only=True)
class OrderFacts:
    """What the proofs need of an order.

    `low_carbon`: of a bid, that its product is low_carbon; of an offer, that its source is. The limit is the effective
    one, of pegged orders too. Eligible means that it stood at the gate and is not recorded as ineligible.
    """

    uid: str
    owner: str
    side: Side
    low_carbon: bool
    quantity_wh: int
    limit_cents_per_mwh: int
    eligible: bool = True


@dataclass(frozen=True, kw_only=True)
class AcceptanceFacts:
    """What the proofs need of an acceptance; it is eligible only with its offer."""

    uid: str
    owner: str
    offer_uid: str
    quantity_wh: int
    limit_cents_per_mwh: int
    eligible: bool = True


@dataclass(frozen=True, kw_only=True)
class BookLine:
    """One line of the committed book."""

    running_number: int
    uid: str


@dataclass(frozen=True, kw_only=True)
class Receipted:
    """A promise to list an order: the receipt's number, or None for an order posted on chain; before the gate."""

    uid: str
    running_number: int | None


@dataclass(frozen=True, kw_only=True)
class BookFacts:
    """The committed book (None if there is none), and what is known of orders and acceptances, listed or not."""

    lines: tuple[BookLine, ...] | None
    orders: Mapping[str, OrderFacts]
    acceptances: Mapping[str, AcceptanceFacts] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Interval:
    """The stated ends of an equilibrium interval."""

    lower: int
    upper: int


@dataclass(frozen=True, kw_only=True)
class CommittedResult:
    """What a finished clearing committed to. If `merged`, both intervals and both prices are those of the one book.

    `fills_wh` has whole fills, direct deals included, of orders and acceptances by uid.
    """

    merged: bool
    any_interval: Interval
    low_carbon_interval: Interval
    any_price_cents_per_mwh: int
    low_carbon_price_cents_per_mwh: int
    fills_wh: Mapping[str, int]

    def price(self, *, low_carbon: bool) -> int:
        """The price of a product."""
        return self.low_carbon_price_cents_per_mwh if low_carbon else self.any_price_cents_per_mwh


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One claim that holds. `other_uid` is the second order of PAIR and PASSED_OVER, and the offer of an acceptance.

    Without a clearing there is no price.
    """

    proof: Proof
    uid: str
    owner: str
    other_uid: str | None = None
    unfilled_wh: int
    limit_cents_per_mwh: int
    price_cents_per_mwh: int | None


def payment_microcents(finding: Finding, fixed_fee_microcents: int, cap_microcents: int) -> int:
    """What the bond pays if the claim is not defeated: |limit - price| x unfilled energy and the fee, capped."""
    if finding.price_cents_per_mwh is None:
        return fixed_fee_microcents
    difference = abs(finding.limit_cents_per_mwh - finding.price_cents_per_mwh)
    return min(cap_microcents, cost_microcents(finding.unfilled_wh, difference) + fixed_fee_microcents)


def findings(
    book: BookFacts, result: CommittedResult | None, receipts: Sequence[Receipted] = (), *, halted: bool = False
) -> tuple[Finding, ...]:
    """Everything that can be proven once the clearing is finished, or (`result` is None) its deadline has passed.

    `halted`: a halt of the zone or market was recorded between gate closure and deadline; it excuses a missing
    clearing. An owner can claim one of its findings.
    """
    if result is None:
        return () if halted else tuple(_broken_promises(book, None, receipts))
    judge = _Judge(book, result)
    return (*_broken_promises(book, result, receipts), *judge.orders(), *judge.deals())


def book_facts(
    book: Sequence[BookEntry], meters: Mapping[int, MeterFacts], reference_price_cents_per_mwh: int
) -> BookFacts:
    """The facts of a listed book. `meters` holds every meter of the book."""
    orders = {entry.uid: _order_facts(entry, meters, reference_price_cents_per_mwh) for entry in book if entry.is_order}
    acceptances = (entry for entry in book if isinstance(entry.signed, SignedAcceptance))
    return BookFacts(
        lines=tuple(BookLine(running_number=entry.running_number, uid=entry.uid) for entry in book),
        orders=orders,
        acceptances={entry.uid: _acceptance_facts(entry, orders) for entry in acceptances},
    )


def committed_result(
    result: AuctionResult, deals: Sequence[Deal], book: BookFacts, *, floor: int, cap: int
) -> CommittedResult:
    """What the contract commits to when this auction is proposed; floor and cap in cents per MWh."""
    fills_wh = dict(result.fills_wh)
    for deal in deals:
        fills_wh[deal.acceptance_uid] = deal.energy_wh
        fills_wh[deal.offer_uid] = fills_wh.get(deal.offer_uid, 0) + deal.energy_wh

    def interval(lower_uid: str | None, upper_uid: str | None) -> Interval:
        return Interval(
            lower=floor if lower_uid is None else book.orders[lower_uid].limit_cents_per_mwh,
            upper=cap if upper_uid is None else book.orders[upper_uid].limit_cents_per_mwh,
        )

    return CommittedResult(
        merged=result.merged,
        any_interval=interval(result.any.lower_end_uid, result.any.upper_end_uid),
        low_carbon_interval=interval(result.low_carbon.lower_end_uid, result.low_carbon.upper_end_uid),
        any_price_cents_per_mwh=result.any.price_cents_per_mwh,
        low_carbon_price_cents_per_mwh=result.low_carbon.price_cents_per_mwh,
        fills_wh=fills_wh,
    )


def _order_facts(entry: BookEntry, meters: Mapping[int, MeterFacts], reference_price: int) -> OrderFacts:
    order = entry.order
    sells = order.side is Side.SELL
    return OrderFacts(
        uid=entry.uid,
        owner=order.owner,
        side=order.side,
        low_carbon=meters[order.meter].source != 0 if sells else order.product is Product.LOW_CARBON,
        quantity_wh=order.quantity_wh,
        limit_cents_per_mwh=effective_limit(order, reference_price),
        eligible=entry.ineligible is None,
    )


def _acceptance_facts(entry: BookEntry, orders: Mapping[str, OrderFacts]) -> AcceptanceFacts:
    assert isinstance(entry.signed, SignedAcceptance)
    acceptance = entry.signed.acceptance
    offer = orders.get(acceptance.offer_uid)
    return AcceptanceFacts(
        uid=entry.uid,
        owner=acceptance.owner,
        offer_uid=acceptance.offer_uid,
        quantity_wh=acceptance.quantity_wh,
        limit_cents_per_mwh=0 if offer is None else offer.limit_cents_per_mwh,
        eligible=entry.ineligible is None,
    )


def _broken_promises(
    book: BookFacts, result: CommittedResult | None, receipts: Sequence[Receipted]
) -> Iterator[Finding]:
    """Receipted orders that are not listed under their number; without a clearing, every receipted one."""
    numbers: dict[str, int] = {}
    for line in book.lines or ():
        numbers.setdefault(line.uid, line.running_number)
    for receipt in receipts:
        facts = book.orders.get(receipt.uid) or book.acceptances.get(receipt.uid)
        if facts is None or not facts.eligible:
            continue
        if result is None:
            yield _promise(Proof.NO_CLEARING, facts, None)
        number = numbers.get(receipt.uid)
        kept = number is not None and receipt.running_number in (None, number)
        if book.lines is not None and not kept:
            yield _promise(Proof.MISSING, facts, result)


def _promise(proof: Proof, facts: OrderFacts | AcceptanceFacts, result: CommittedResult | None) -> Finding:
    low_carbon = isinstance(facts, OrderFacts) and facts.low_carbon
    return Finding(
        proof=proof,
        uid=facts.uid,
        owner=facts.owner,
        other_uid=None if isinstance(facts, OrderFacts) else facts.offer_uid,
        unfilled_wh=facts.quantity_wh,
        limit_cents_per_mwh=facts.limit_cents_per_mwh,
        price_cents_per_mwh=None if result is None else result.price(low_carbon=low_carbon),
    )


@dataclass(frozen=True)
class _Stood:
    """A listed order with what the result gave it: all, and in the auction alone."""

    facts: OrderFacts
    running_number: int
    price: int
    fill_wh: int
    auction_fill_wh: int
    dealt_wh: int

    @property
    def unfilled_wh(self) -> int:
        """What is left of it."""
        return self.facts.quantity_wh - self.fill_wh

    @property
    def at_price(self) -> bool:
        """Whether it has energy left at its product's price."""
        return self.unfilled_wh > 0 and self.facts.limit_cents_per_mwh == self.price


class _Judge:
    """All proofs against one finished clearing of a listed book."""

    def __init__(self, book: BookFacts, result: CommittedResult) -> None:
        self._book, self._result = book, result
        dealt_wh = dealt_energy(
            [
                Deal(acceptance_uid=one.uid, offer_uid=one.offer_uid, energy_wh=result.fills_wh[one.uid])
                for one in book.acceptances.values()
                if result.fills_wh.get(one.uid, 0) > 0
            ]
        )
        self._stood = [self._placed(line, dealt_wh) for line in book.lines or () if line.uid in book.orders]
        self._at_price = [one for one in self._stood if one.facts.eligible and one.at_price]
        self._last_filled: dict[tuple[object, ...], _Stood] = {}
        for one in self._stood:
            rank = self._rank(one)
            last = self._last_filled.get(rank)
            if one.auction_fill_wh > 0 and (last is None or one.running_number > last.running_number):
                self._last_filled[rank] = one

    def orders(self) -> Iterator[Finding]:
        """What can be proven about each eligible listed order."""
        for one in self._stood:
            if not one.facts.eligible:
                continue
            if self._is_inside(one):
                yield self._finding(Proof.INSIDE, one)
            if one.unfilled_wh <= 0:
                continue
            if self._is_better(one):
                yield self._finding(Proof.BETTER, one)
            if (partner := self._partner(one)) is not None:
                yield self._finding(Proof.PAIR, one, partner)
            later = self._last_filled.get(self._rank(one))
            if later is not None and later.running_number > one.running_number:
                yield self._finding(Proof.PASSED_OVER, one, later)

    def deals(self) -> Iterator[Finding]:
        """Listed acceptances that were not locked though their offer was eligible, or left out of the book."""
        listed = {line.uid for line in self._book.lines or ()}
        for one in self._book.acceptances.values():
            offer = self._book.orders.get(one.offer_uid)
            stands = one.eligible and one.uid in listed and offer is not None and offer.eligible
            if stands and self._result.fills_wh.get(one.uid, 0) == 0:
                yield _promise(Proof.DEAL, one, self._result)

    def _placed(self, line: BookLine, dealt_wh: Mapping[str, int]) -> _Stood:
        facts = self._book.orders[line.uid]
        fill_wh, dealt = self._result.fills_wh.get(line.uid, 0), dealt_wh.get(line.uid, 0)
        return _Stood(
            facts=facts,
            running_number=line.running_number,
            price=self._result.price(low_carbon=facts.low_carbon),
            fill_wh=fill_wh,
            auction_fill_wh=fill_wh - dealt,
            dealt_wh=dealt,
        )

    def _rank(self, one: _Stood) -> tuple[object, ...]:
        """Orders of one rank are filled in receipt order: same side, same book, same limit."""
        low_carbon = False if self._result.merged else one.facts.low_carbon
        return one.facts.side, low_carbon, one.facts.limit_cents_per_mwh

    def _is_inside(self, one: _Stood) -> bool:
        """An order of the auction, filled or not, would itself be an end of the interval."""
        low_carbon = one.facts.low_carbon and not self._result.merged
        stated = self._result.low_carbon_interval if low_carbon else self._result.any_interval
        in_auction = one.facts.quantity_wh > one.dealt_wh
        return in_auction and stated.lower < one.facts.limit_cents_per_mwh < stated.upper

    @staticmethod
    def _is_better(one: _Stood) -> bool:
        limit = one.facts.limit_cents_per_mwh
        return limit < one.price if one.facts.side is Side.SELL else limit > one.price

    def _partner(self, one: _Stood) -> _Stood | None:
        """Another order left at the price with which it could have traded."""
        if not one.at_price:
            return None
        return next((other for other in self._at_price if self._could_trade(one, other)), None)

    def _could_trade(self, one: _Stood, other: _Stood) -> bool:
        if one.facts.side is other.facts.side or one.facts.owner == other.facts.owner:
            return False
        # An honest merged book leaves no pair at the price, whatever the products: where a low_carbon bid cannot be
        # served by another source's offer, the books must be separate.
        if self._result.merged or one.facts.low_carbon == other.facts.low_carbon:
            return True
        # Between separate books only low-carbon energy can go over, and at one price only.
        offer = one if one.facts.side is Side.SELL else other
        return offer.facts.low_carbon and one.price == other.price

    @staticmethod
    def _finding(proof: Proof, one: _Stood, other: _Stood | None = None) -> Finding:
        return Finding(
            proof=proof,
            uid=one.facts.uid,
            owner=one.facts.owner,
            other_uid=None if other is None else other.facts.uid,
            unfilled_wh=one.unfilled_wh,
            limit_cents_per_mwh=one.facts.limit_cents_per_mwh,
            price_cents_per_mwh=one.price,
        )
