"""A clearing too large for one transaction, cut into chunks.

Every trade of the whole clearing goes into one chunk, so that each chunk balances by itself, low-carbon energy
included. Meters of named ends and of direct deals are whole in chunk 0, as the contract asks for; buyers of both
products are never cut; any other meter may go on in a later chunk with the last of its orders.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from gridledger.errors import Conflict
from gridledger.market.auction import AuctionResult
from gridledger.market.locking import Deal, Part, PresentedOrder, Proposal, arrange, propose
from gridledger.market.model import BookEntry, MeterFacts, MtuPrices, Policy

__all__ = ["MOST_ORDERS", "ClearingTooLarge", "propose_chunks"]

# A clearing of this many distinct orders, and caps applied to it, stay under a 2^24 gas transaction with room to spare.
MOST_ORDERS = 380


@dataclass(kw_only=True, eq=False)
class ClearingTooLarge(Conflict):
    """More orders belong into one chunk than a transaction can carry."""

    orders: int
    most_orders: int


def propose_chunks(
    result: AuctionResult,
    deals: Sequence[Deal],
    book: Sequence[BookEntry],
    meters: Mapping[int, MeterFacts],
    policy: Policy,
    prices: MtuPrices,
    most_orders: int = MOST_ORDERS,
) -> tuple[Proposal, ...]:
    """The whole clearing in as many chunks as it needs, in their order. Raises ClearingTooLarge."""
    whole = propose(result, deals, book, meters, policy, prices)
    if len(whole.orders) + len(whole.ends) <= most_orders:
        return (whole,)
    chunks = []
    for part, orders in _Cutter(whole, most_orders).parts():
        first = part.chunk == 0
        chunks.append(
            arrange(result, orders, whole.ends if first else (), deals if first else (), meters, policy, prices, part)
        )
    return tuple(chunks)


class _Cutter:
    """Gives the trades of a clearing out to chunks. Positions and trades go by their index in the whole clearing."""

    def __init__(self, whole: Proposal, most_orders: int) -> None:
        self._whole, self._most_orders = whole, most_orders
        self._left = dict(enumerate(whole.trades[len(whole.deals) :]))
        at = {position.meter: index for index, position in enumerate(whole.positions)}
        self._orders: defaultdict[int, list[PresentedOrder]] = defaultdict(list)  # with energy left
        for item in whole.orders:
            self._orders[at[item.entry.meter]].append(item)
        self._prior_wh: dict[int, int] = {}
        presented = (*whole.orders, *whole.ends)
        named = (presented[end] for end in (*whole.any_ends, *whole.low_carbon_ends) if end is not None)
        self._must = {at[item.entry.meter] for item in named if item.entry.meter in at}  # in the next chunk, whole
        self._must |= {index for index, one in enumerate(whole.positions) if one.dealt_wh}
        self._uncut = self._must | {
            index for index, one in enumerate(whole.positions) if one.auction_wh and one.low_carbon_wh
        }
        self._ends = len(whole.ends)

    def parts(self) -> Iterator[tuple[Part, tuple[PresentedOrder, ...]]]:
        """Each chunk with its orders, filled with what the chunk fills of them."""
        chunk = 0
        while self._left or self._must:
            chosen = self._chosen()
            now_wh = self._energy_wh(chosen)
            touched = self._must | now_wh.keys()
            self._left = {index: trade for index, trade in self._left.items() if index not in chosen}
            later = self._energy_wh(self._left).keys()
            part = Part(
                chunk=chunk,
                last=not self._left,
                prior_wh={self._meter(index): self._prior_wh[index] for index in touched & self._prior_wh.keys()},
                continued=frozenset(self._meter(index) for index in touched & later),
            )
            orders = [item for index in sorted(touched) for item in self._fill(index, now_wh[index], index in later)]
            yield part, tuple(orders)
            self._must, self._ends, chunk = set(), 0, chunk + 1

    def _chosen(self) -> set[int]:
        """The trades of the next chunk: as many as fit, with nothing torn that must not be."""
        target = self._most_orders
        while True:
            chosen = self._closed(self._first_trades(target))
            count = self._count(chosen)
            if count <= self._most_orders and (chosen or self._must):
                return chosen
            if target == 0:
                raise ClearingTooLarge(orders=count, most_orders=self._most_orders)
            target = target * 3 // 4

    def _first_trades(self, target: int) -> set[int]:
        """Trades of the positions that must be in, then others in their order up to a number of orders."""
        chosen = {index for index, trade in self._left.items() if {trade.sell, trade.buy} & self._must}
        touched = self._must | self._energy_wh(chosen).keys()
        count = self._count(chosen)
        for index, trade in self._left.items():
            new = {trade.sell, trade.buy} - touched
            count += sum(len(self._orders[position]) for position in new)
            if count > target:
                break
            touched |= new
            chosen.add(index)
        return chosen

    def _closed(self, chosen: set[int]) -> set[int]:
        """With all trades of positions that would be torn although they must not be."""
        while True:
            now_wh = self._energy_wh(chosen)
            later_wh = self._energy_wh(self._left.keys() - chosen)
            torn = {one for one in now_wh.keys() & later_wh.keys() if self._is_torn(one, later_wh[one])}
            torn |= later_wh.keys() & self._must
            if not torn:
                return chosen
            chosen = chosen | {index for index, trade in self._left.items() if {trade.sell, trade.buy} & torn}

    def _is_torn(self, position: int, later_wh: int) -> bool:
        """Only the last order of a meter may go on, and it must have some energy in this chunk."""
        return position in self._uncut or later_wh >= self._orders[position][-1].fill_wh

    def _count(self, chosen: set[int]) -> int:
        """Orders and ends that a chunk of these trades presents."""
        touched = self._must | self._energy_wh(chosen).keys()
        return sum(len(self._orders[position]) for position in touched) + self._ends

    def _fill(self, position: int, now_wh: int, goes_on: bool) -> tuple[PresentedOrder, ...]:  # noqa: FBT001
        """The position's orders with what this chunk fills of them; keeps what is left."""
        orders = self._orders[position]
        if not goes_on:
            self._orders[position] = []
            return tuple(orders)
        self._prior_wh[position] = self._prior_wh.get(position, 0) + now_wh
        *whole, last = orders
        last_wh = now_wh - sum(item.fill_wh for item in whole)
        self._orders[position] = [replace(last, fill_wh=last.fill_wh - last_wh)]
        return (*whole, replace(last, fill_wh=last_wh))

    def _energy_wh(self, chosen: Iterable[int]) -> Counter[int]:
        """Energy of trades by position, Wh."""
        energy_wh: Counter[int] = Counter()
        for index in chosen:
            trade = self._whole.trades[len(self._whole.deals) + index]
            energy_wh[trade.sell] += trade.energy_wh
            energy_wh[trade.buy] += trade.energy_wh
        return energy_wh

    def _meter(self, position: int) -> int:
        return self._whole.positions[position].meter
