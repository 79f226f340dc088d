"""Cutting a clearing into two chunks, each of which balances, so that some meters go on in the second one."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

from tests.contracts.setpoints import Setpoints
from tests.contracts.words import CLEARING_FIELDS, ClearingData, Kept

from gridledger.chain.commands import clearing_tuple
from gridledger.market.auction import AuctionResult
from gridledger.market.locking import Deal, Proposal, propose
from gridledger.market.model import BookEntry, MeterFacts, MtuPrices, Policy, Position

__all__ = ["Auctioned", "Part", "in_one", "in_two"]


@dataclass(frozen=True, kw_only=True)
class Auctioned:
    """A cleared book and everything a proposal is made of."""

    zone: int
    mtu_start: int
    result: AuctionResult
    deals: tuple[Deal, ...]
    book: tuple[BookEntry, ...]
    meters: Mapping[int, MeterFacts]
    policy: Policy
    prices: MtuPrices

    def proposed(self, result: AuctionResult, deals: Sequence[Deal]) -> Proposal:
        """The node's proposal for these fills."""
        return propose(result, deals, self.book, self.meters, self.policy, self.prices)


@dataclass(frozen=True, kw_only=True)
class Part:
    """One chunk as it is presented, and what the contract keeps of it."""

    clearing: ClearingData
    kept: Kept
    proposal: Proposal
    setpoints: Setpoints


def in_one(auctioned: Auctioned) -> Part:
    """The whole clearing in one transaction."""
    return _part(auctioned, auctioned.proposed(auctioned.result, auctioned.deals), chunk=0, last=True)


def in_two(auctioned: Auctioned, rng: Random) -> tuple[Part, Part]:
    """The clearing in two transactions, cut at a random trade."""
    whole = auctioned.proposed(auctioned.result, auctioned.deals)
    first_wh, going_on = _first_fills(whole, rng)
    rest_wh = {item.entry.uid: item.fill_wh - first_wh[item.entry.uid] for item in whole.orders}
    first = _with_fills(auctioned, auctioned.result, first_wh)
    rest = _with_fills(auctioned, _without_ends(auctioned.result), rest_wh)
    prior = {one.meter: one.quantity_wh for one in first.positions if one.meter in going_on}
    first = replace(first, positions=tuple(replace(one, continued=one.meter in going_on) for one in first.positions))
    rest = replace(
        rest,
        positions=tuple(replace(one, prior_wh=prior.get(one.meter, 0)) for one in rest.positions),
    )
    meters = sorted(going_on)
    positions = (*first.positions, *rest.positions)
    return (
        _part(auctioned, first, chunk=0, last=False, continued=meters),
        _part(auctioned, rest, chunk=1, last=True, positions=positions),
    )


def _first_fills(whole: Proposal, rng: Random) -> tuple[Counter[str], set[int]]:
    """Fill of each order in the first chunk by uid, and the meters that go on.

    Meters of named ends, of direct deals, and buyers of both products are never cut: an end's energy must be known in
    the first chunk, and the orders of a meter are filled in the order of the book. A meter that goes on does so with
    the last of its orders only.
    """
    ends = _end_positions(whole)
    uncut = ends | {
        index for index, one in enumerate(whole.positions) if one.dealt_wh or (one.auction_wh and one.low_carbon_wh)
    }
    at = {one.meter: index for index, one in enumerate(whole.positions)}
    last_wh = {at[item.entry.meter]: item.fill_wh for item in whole.orders}
    share = rng.random()
    chosen = {index for index in range(len(whole.trades)) if rng.random() < share}
    while True:
        left_wh = _energy(whole, chosen)
        later_wh = _energy(whole, set(range(len(whole.trades))) - chosen)
        both = left_wh.keys() & later_wh.keys()
        torn = (both & uncut) | (later_wh.keys() & ends) | {one for one in both if later_wh[one] >= last_wh[one]}
        if not torn:
            break
        chosen |= {index for index in range(len(whole.trades)) if torn & set(_sides(whole, index))}
    fills: Counter[str] = Counter()
    for item in whole.orders:
        position = at[item.entry.meter]
        fills[item.entry.uid] = min(item.fill_wh, left_wh[position])
        left_wh[position] -= fills[item.entry.uid]
    return fills, {whole.positions[index].meter for index in both}


def _energy(whole: Proposal, trades: Collection[int]) -> Counter[int]:
    """Energy of some trades by position, Wh."""
    energy_wh: Counter[int] = Counter()
    for index in trades:
        for position in _sides(whole, index):
            energy_wh[position] += whole.trades[index].energy_wh
    return energy_wh


def _sides(whole: Proposal, trade: int) -> tuple[int, int]:
    return whole.trades[trade].sell, whole.trades[trade].buy


def _end_positions(whole: Proposal) -> set[int]:
    presented = [*whole.orders, *whole.ends]
    named = {index for index in (*whole.any_ends, *whole.low_carbon_ends) if index is not None}
    meters = {presented[index].entry.meter for index in named}
    return {index for index, one in enumerate(whole.positions) if one.meter in meters}


def _without_ends(result: AuctionResult) -> AuctionResult:
    any_price, low_carbon = (
        replace(book, lower_end_uid=None, upper_end_uid=None) for book in (result.any, result.low_carbon)
    )
    return replace(result, any=any_price, low_carbon=low_carbon)


def _with_fills(auctioned: Auctioned, result: AuctionResult, fills_wh: Mapping[str, int]) -> Proposal:
    deals = [deal for deal in auctioned.deals if fills_wh[deal.acceptance_uid]]
    dealt: Counter[str] = Counter()
    for deal in deals:
        dealt[deal.offer_uid] += deal.energy_wh
        dealt[deal.acceptance_uid] += deal.energy_wh
    auction_wh = {uid: fill - dealt[uid] for uid, fill in fills_wh.items() if fill > dealt[uid]}
    return auctioned.proposed(replace(result, fills_wh=auction_wh), deals)


def _part(
    auctioned: Auctioned,
    proposal: Proposal,
    *,
    chunk: int,
    last: bool,
    continued: Sequence[int] = (),
    positions: Sequence[Position] = (),
) -> Part:
    """A chunk; its setpoints are of the proposal's positions, or of all chunks where those are given."""
    zone, mtu_start = auctioned.zone, auctioned.mtu_start
    persisted_wh = {meter: (7_919 * meter + mtu_start // 900) % 301 - 100 for meter in auctioned.meters}
    setpoints = Setpoints.of(positions or proposal.positions, persisted_wh)
    values = clearing_tuple(zone, mtu_start, auctioned.book, proposal, setpoints.root)
    clearing: ClearingData = dict(zip(CLEARING_FIELDS, values, strict=True))
    clearing |= {"chunk": chunk, "last": last, "continuedMeters": list(continued)}
    kept = Kept(zone=zone, mtu_start=mtu_start, chunk=chunk, positions=proposal.positions, deals=proposal.deals)
    return Part(clearing=clearing, kept=kept, proposal=proposal, setpoints=setpoints)
