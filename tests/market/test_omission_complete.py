"""Nothing provable means the greatest welfare and volume; and an honest result is never provable.

Clearings here are any that pass the checks of the trading contract: of small books every possible one, of larger books
many made by disturbing the honest result or from nothing. `feasible` is those checks, written a second time.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from random import Random

import pytest

from gridledger.market.auction import AuctionOrder, AuctionResult, clear
from gridledger.market.locking import Deal
from gridledger.market.model import Side
from gridledger.market.omission import (
    AcceptanceFacts,
    BookFacts,
    BookLine,
    CommittedResult,
    Finding,
    Interval,
    OrderFacts,
    Proof,
    committed_result,
    findings,
)
from gridledger.units import floor_midpoint

FLOOR, CAP = -4, 5
BOOKS, CANDIDATES = 1_500, 24
TINY_BOOKS = 1_500


@dataclass(frozen=True)
class Case:
    """A listed book, its deals, and the auction's honest result over what is eligible and not dealt."""

    book: BookFacts
    deals: tuple[Deal, ...]
    auction_orders: tuple[AuctionOrder, ...]
    honest: AuctionResult

    @property
    def orders(self) -> Sequence[OrderFacts]:
        """All listed orders."""
        return list(self.book.orders.values())

    @property
    def dealt_wh(self) -> Counter[str]:
        """Energy of each offer that was dealt."""
        dealt: Counter[str] = Counter()
        for deal in self.deals:
            dealt[deal.offer_uid] += deal.energy_wh
        return dealt

    def committed(self, merged: bool, fills: Mapping[str, int], ends: Sequence[Interval]) -> CommittedResult:
        """A result with these auction fills and intervals; each price is the midpoint."""
        whole = Counter(fills)
        for deal in self.deals:
            whole[deal.offer_uid] += deal.energy_wh
            whole[deal.acceptance_uid] += deal.energy_wh
        prices = [floor_midpoint(one.lower, one.upper) for one in ends]
        return CommittedResult(
            merged=merged,
            any_interval=ends[0],
            low_carbon_interval=ends[-1],
            any_price_cents_per_mwh=prices[0],
            low_carbon_price_cents_per_mwh=prices[-1],
            fills_wh={uid: wh for uid, wh in whole.items() if wh},
        )

    def honest_result(self) -> CommittedResult:
        """What the honest operator commits to."""
        return committed_result(self.honest, self.deals, self.book, floor=FLOOR, cap=CAP)

    def findings(self, result: CommittedResult) -> tuple[Finding, ...]:
        """What can be proven against a result."""
        return findings(self.book, result)


def random_case(random: Random, most_orders: int, most_wh: int) -> Case:
    """A book with ties, both products and kinds, one-sided and empty ones, deals, and ineligible orders."""
    spread = random.choice((1, 2, 4))
    sides = random.choice((tuple(Side), tuple(Side), tuple(Side), (Side.BUY,), (Side.SELL,)))
    kinds = random.choice(((False, True), (False, True), (False, True), (False,), (True,)))
    orders, acceptances, deals = [], [], []
    for index in range(random.randint(0, most_orders)):
        order = OrderFacts(
            uid=f"o{index}",
            owner=f"owner {index}",
            side=random.choice(sides),
            low_carbon=random.choice(kinds),
            quantity_wh=random.randint(1, most_wh),
            limit_cents_per_mwh=random.randint(-spread, spread),
            eligible=random.random() > 0.08,
        )
        orders.append(order)
        if order.side is Side.SELL and order.eligible and random.random() < 0.15:
            energy_wh = random.randint(1, order.quantity_wh)
            deals.append(Deal(acceptance_uid=f"a{index}", offer_uid=order.uid, energy_wh=energy_wh))
            acceptances.append(
                AcceptanceFacts(
                    uid=f"a{index}",
                    owner=f"buyer {index}",
                    offer_uid=order.uid,
                    quantity_wh=energy_wh,
                    limit_cents_per_mwh=order.limit_cents_per_mwh,
                )
            )
    listed: list[OrderFacts | AcceptanceFacts] = [*orders, *acceptances]
    dealt = {deal.offer_uid: deal.energy_wh for deal in deals}
    auction = tuple(
        AuctionOrder(
            uid=one.uid,
            side=one.side,
            low_carbon=one.low_carbon,
            quantity_wh=one.quantity_wh - dealt.get(one.uid, 0),
            limit_cents_per_mwh=one.limit_cents_per_mwh,
        )
        for one in orders
        if one.eligible and one.quantity_wh > dealt.get(one.uid, 0)
    )
    return Case(
        book=BookFacts(
            lines=tuple(BookLine(running_number=number, uid=one.uid) for number, one in enumerate(listed)),
            orders={one.uid: one for one in orders},
            acceptances={one.uid: one for one in acceptances},
        ),
        deals=tuple(deals),
        auction_orders=auction,
        honest=clear(auction, floor_cents_per_mwh=FLOOR, cap_cents_per_mwh=CAP),
    )


def of_book(one: OrderFacts, merged: bool, low_carbon: bool) -> bool:
    return merged or one.low_carbon == low_carbon


def named_limits(case: Case, fills: Mapping[str, int], merged: bool, low_carbon: bool, lower: bool) -> list[int]:
    """Limits the contract lets be named as an end; nobody has to be eligible for that. Floor and cap always may."""
    limits = {FLOOR if lower else CAP}
    for one in case.orders:
        if not of_book(one, merged, low_carbon):
            continue
        fill_wh = fills.get(one.uid, 0)
        filled_side = (one.side is Side.SELL) == lower
        has_energy = fill_wh + case.dealt_wh[one.uid] < one.quantity_wh
        if fill_wh > 0 if filled_side else has_energy:
            limits.add(one.limit_cents_per_mwh)
    return sorted(limits)


def balanced(case: Case, fills: Mapping[str, int], merged: bool) -> bool:
    """Bought = sold, and low-carbon bids can be served."""
    sums = {(side, kind): 0 for side in Side for kind in (False, True)}
    for one in case.orders:
        sums[one.side, one.low_carbon] += fills.get(one.uid, 0)
    low_carbon_bought, low_carbon_sold = sums[Side.BUY, True], sums[Side.SELL, True]
    bought, sold = low_carbon_bought + sums[Side.BUY, False], low_carbon_sold + sums[Side.SELL, False]
    enough = low_carbon_bought <= low_carbon_sold if merged else low_carbon_bought == low_carbon_sold
    return bought == sold and enough


def feasible(case: Case, fills: Mapping[str, int], merged: bool) -> Iterator[CommittedResult]:
    """Every result with these fills that the trading contract would accept."""
    if not balanced(case, fills, merged):
        return
    intervals = [
        [
            Interval(lower=lower, upper=upper)
            for lower in named_limits(case, fills, merged, low_carbon, lower=True)
            for upper in named_limits(case, fills, merged, low_carbon, lower=False)
            if lower <= upper and within_limits(case, fills, merged, low_carbon, floor_midpoint(lower, upper))
        ]
        for low_carbon in ((False,) if merged else (False, True))
    ]
    for ends in product(*intervals):
        result = case.committed(merged, fills, ends)
        if result.low_carbon_price_cents_per_mwh >= result.any_price_cents_per_mwh:
            yield result


def within_limits(case: Case, fills: Mapping[str, int], merged: bool, low_carbon: bool, price: int) -> bool:
    return all(
        one.limit_cents_per_mwh <= price if one.side is Side.SELL else one.limit_cents_per_mwh >= price
        for one in case.orders
        if fills.get(one.uid, 0) > 0 and of_book(one, merged, low_carbon)
    )


def worth(orders: Sequence[AuctionOrder], fills: Mapping[str, int]) -> tuple[int, int]:
    """Welfare and volume of auction fills."""
    welfare = volume = 0
    for one in orders:
        fill_wh = fills.get(one.uid, 0)
        welfare += fill_wh * one.limit_cents_per_mwh * (-1 if one.side is Side.SELL else 1)
        volume += fill_wh if one.side is Side.SELL else 0
    return welfare, volume


def all_fills(orders: Sequence[AuctionOrder]) -> Iterator[dict[str, int]]:
    """Every way of filling a small book in whole Wh."""
    for energies in product(*(range(one.quantity_wh + 1) for one in orders)):
        yield {one.uid: wh for one, wh in zip(orders, energies, strict=True) if wh}


def disturbed(case: Case, random: Random) -> dict[str, int]:
    """The honest fills, or none, after a few moves of energy."""
    fills = Counter(case.honest.fills_wh if random.random() < 0.75 else {})
    room = {one.uid: one.quantity_wh for one in case.auction_orders}
    bids = [one.uid for one in case.auction_orders if one.side is Side.BUY]
    offers = [one.uid for one in case.auction_orders if one.side is Side.SELL]
    for _ in range(random.randint(0, 6)):
        wh, sign = random.randint(1, 3), random.choice((1, 1, -1))
        if random.random() < 0.5 or not (bids and offers):
            side = random.choice([one for one in (bids, offers) if one] or [[]])
            if len(side) < 2:
                continue
            gives, takes = random.sample(side, 2)
            wh = min(wh, fills[gives], room[takes] - fills[takes])
            fills[gives] -= wh
            fills[takes] += wh
            continue
        bid, offer = random.choice(bids), random.choice(offers)
        most = [room[one] - fills[one] if sign > 0 else fills[one] for one in (bid, offer)]
        for one in (bid, offer):
            fills[one] += sign * min(wh, *most)
    return {uid: wh for uid, wh in fills.items() if wh}


def assert_complete(case: Case, result: CommittedResult, fills: Mapping[str, int]) -> bool:
    """Returns whether something was provable.

    If not, and the operator did not state one book as two or two as one, the fills are even the honest ones, and so are
    the prices, unless an ineligible order was named as an end; see the ADR.
    """
    found = case.findings(result)
    if not found:
        assert worth(case.auction_orders, fills) == worth(case.auction_orders, case.honest.fills_wh), (case, result)
        assert fills == case.honest.fills_wh or result.merged != case.honest.merged, (case, result)
        if result.merged == case.honest.merged and all(one.eligible for one in case.orders):
            honest = case.honest_result()
            assert result.any_price_cents_per_mwh == honest.any_price_cents_per_mwh, (case, result)
            assert result.low_carbon_price_cents_per_mwh == honest.low_carbon_price_cents_per_mwh, (case, result)
    return bool(found)


@cache
def tried() -> Counter[str]:
    """Runs the random books once: what came of all clearings that were tried."""
    random, count = Random(7), Counter[str]()
    for _ in range(BOOKS):
        case = random_case(random, 9, 6)
        count["books"] += 1
        for _ in range(CANDIDATES):
            fills, merged = disturbed(case, random), random.random() < 0.5
            results = list(feasible(case, fills, merged))
            for result in random.sample(results, min(len(results), 6)):
                provable = assert_complete(case, result, fills)
                count["provable" if provable else "not provable"] += 1
                best = worth(case.auction_orders, fills) == worth(case.auction_orders, case.honest.fills_wh)
                count["best but provable"] += provable and best
                for finding in case.findings(result):
                    count[finding.proof.name] += 1
    return count


def test_over_a_thousand_random_books_every_clearing_is_the_best_or_provable() -> None:
    count = tried()
    assert count["books"] >= 1_000
    assert count["provable"] > 5_000
    assert count["not provable"] > 1_000


@pytest.mark.parametrize("proof", [Proof.BETTER, Proof.PAIR, Proof.PASSED_OVER, Proof.INSIDE])
def test_every_proof_against_fills_and_prices_was_needed_in_the_trial(proof: Proof) -> None:
    assert tried()[proof.name] > 100


def test_of_tiny_books_every_clearing_there_is_is_the_best_or_provable() -> None:
    random, provable, other = Random(11), 0, 0
    for _ in range(TINY_BOOKS):
        case = random_case(random, 6, 2)
        for fills in all_fills(case.auction_orders):
            for merged in (False, True):
                for result in feasible(case, fills, merged):
                    if assert_complete(case, result, fills):
                        provable += 1
                    else:
                        other += 1
    assert provable > 10_000
    assert other > TINY_BOOKS


def test_nothing_is_ever_provable_against_the_honest_result() -> None:
    random = Random(13)
    for number in range(5_000):
        case = random_case(random, random.choice((3, 9, 30)), random.choice((2, 6, 50)))
        result = case.honest_result()
        assert case.findings(result) == (), number
        accepted = feasible(case, case.honest.fills_wh, case.honest.merged)
        assert result in list(accepted), number


def without(*proofs: Proof) -> Counter[str]:
    """Clearings that only the left-out proofs could tell from the best ones."""
    random, missed = Random(17), Counter[str]()
    for _ in range(600):
        case = random_case(random, 8, 4)
        for _ in range(12):
            fills, merged = disturbed(case, random), random.random() < 0.5
            results = list(feasible(case, fills, merged))
            for result in random.sample(results, min(len(results), 4)):
                found = [one for one in case.findings(result) if one.proof not in proofs]
                best = worth(case.auction_orders, fills) == worth(case.auction_orders, case.honest.fills_wh)
                missed["not best"] += not found and not best
    return missed


@pytest.mark.parametrize("proof", [Proof.BETTER, Proof.PAIR])
def test_without_this_proof_worse_clearings_would_pass(proof: Proof) -> None:
    assert without(proof)["not best"] > 0


def test_a_low_carbon_offer_and_another_bid_left_at_one_price_of_two_books_are_a_pair() -> None:
    """Equal prices: low-carbon energy may go over to bids for any, but nothing can go the other way."""
    bid, offer = (
        OrderFacts(uid=uid, owner=uid, side=side, low_carbon=side is Side.SELL, quantity_wh=1, limit_cents_per_mwh=0)
        for uid, side in (("bid", Side.BUY), ("offer", Side.SELL))
    )
    lines = (BookLine(running_number=0, uid="bid"), BookLine(running_number=1, uid="offer"))
    ends = Interval(lower=0, upper=0)
    result = CommittedResult(
        merged=False,
        any_interval=ends,
        low_carbon_interval=ends,
        any_price_cents_per_mwh=0,
        low_carbon_price_cents_per_mwh=0,
        fills_wh={},
    )
    book = BookFacts(lines=lines, orders={"bid": bid, "offer": offer})
    assert [one.proof for one in findings(book, result)] == [Proof.PAIR, Proof.PAIR]
    swapped = {"bid": replace(bid, low_carbon=True), "offer": replace(offer, low_carbon=False)}
    assert findings(replace(book, orders=swapped), result) == ()
