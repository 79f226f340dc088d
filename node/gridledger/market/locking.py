"""From an auction's result to what the trading contract is asked to lock, and what it will keep by hash."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from gridledger.market.model import BookEntry, Clearing, MeterFacts, MtuPrices, Policy, Position, Side, Trade
from gridledger.market.settlement import buyer_lock_microcents, grid_fee_microcents, seller_lock_microcents

__all__ = ["IndexedMatch", "ListedOrder", "Proposal", "propose"]


@dataclass(frozen=True, kw_only=True)
class ListedOrder:
    """An order presented to the contract with its index in the committed book."""

    entry: BookEntry
    book_index: int


@dataclass(frozen=True, kw_only=True)
class IndexedMatch:
    """Energy between two presented orders by index, Wh."""

    sell: int
    buy: int
    energy_wh: int


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A clearing as the contract takes it: orders with energy by (meter, book index), then unfilled named ends.

    `lower_end` and `upper_end` index into orders + ends; None means floor or cap. `positions` and `trades` are what the
    contract will keep by hash if it accepts.
    """

    price_cents_per_mwh: int
    lower_end: int | None
    upper_end: int | None
    orders: tuple[ListedOrder, ...]
    ends: tuple[ListedOrder, ...]
    matches: tuple[IndexedMatch, ...]
    positions: tuple[Position, ...]
    trades: tuple[Trade, ...]


def propose(
    clearing: Clearing,
    book: Sequence[BookEntry],
    meters: Mapping[int, MeterFacts],
    policy: Policy,
    prices: MtuPrices,
) -> Proposal:
    """Arrange an auction's result for the contract. `meters` holds every meter of the book."""
    listed = {entry.signed.uid: ListedOrder(entry=entry, book_index=index) for index, entry in enumerate(book)}
    filled = {uid for match in clearing.matches for uid in (match.sell_uid, match.buy_uid)}
    orders = sorted((listed[uid] for uid in filled), key=_meter_and_index)
    named = [uid for uid in (clearing.lower_end_uid, clearing.upper_end_uid) if uid is not None]
    ends = [listed[uid] for uid in dict.fromkeys(named) if uid not in filled]
    at = {item.entry.signed.uid: index for index, item in enumerate([*orders, *ends])}
    matches = tuple(
        IndexedMatch(sell=at[match.sell_uid], buy=at[match.buy_uid], energy_wh=match.energy_wh)
        for match in clearing.matches
    )
    positions, position_of = _positions(clearing.price_cents_per_mwh, orders, matches, meters, policy, prices)
    return Proposal(
        price_cents_per_mwh=clearing.price_cents_per_mwh,
        lower_end=None if clearing.lower_end_uid is None else at[clearing.lower_end_uid],
        upper_end=None if clearing.upper_end_uid is None else at[clearing.upper_end_uid],
        orders=tuple(orders),
        ends=tuple(ends),
        matches=matches,
        positions=positions,
        trades=tuple(
            Trade(sell=position_of[match.sell], buy=position_of[match.buy], energy_wh=match.energy_wh)
            for match in matches
        ),
    )


def _meter_and_index(item: ListedOrder) -> tuple[int, int]:
    return item.entry.signed.order.meter, item.book_index


def _positions(
    price_cents_per_mwh: int,
    orders: Sequence[ListedOrder],
    matches: Sequence[IndexedMatch],
    meters: Mapping[int, MeterFacts],
    policy: Policy,
    prices: MtuPrices,
) -> tuple[tuple[Position, ...], list[int]]:
    """One position per meter, and for each order the index of its position."""
    energy_wh, fee_microcents = [0] * len(orders), [0] * len(orders)
    for match in matches:
        energy_wh[match.sell] += match.energy_wh
        energy_wh[match.buy] += match.energy_wh
        fee_microcents[match.buy] += grid_fee_microcents(
            match.energy_wh,
            policy.grid_fee_cents_per_mwh,
            policy.low_carbon_relief_cents_per_mwh,
            low_carbon=meters[orders[match.sell].entry.signed.order.meter].source != 0,
        )
    positions: list[Position] = []
    position_of: list[int] = []
    for meter, group in groupby(range(len(orders)), key=lambda index: orders[index].entry.signed.order.meter):
        indexes = list(group)
        side = orders[indexes[0]].entry.signed.order.side
        total_wh = sum(energy_wh[index] for index in indexes)
        fee = sum(fee_microcents[index] for index in indexes)
        positions.append(_position(meters[meter], side, total_wh, fee, price_cents_per_mwh, prices.shortage))
        position_of.extend([len(positions) - 1] * len(indexes))
    return tuple(positions), position_of


def _position(
    meter: MeterFacts, side: Side, energy_wh: int, fee_microcents: int, price: int, shortage: int
) -> Position:
    sells = side is Side.SELL
    locked = (
        seller_lock_microcents(energy_wh, price, shortage)
        if sells
        else buyer_lock_microcents(energy_wh, price) + fee_microcents
    )
    return Position(
        meter=meter.meter,
        source=meter.source,
        settled=False,
        owner=meter.owner,
        supplier=meter.supplier,
        contracted_wh=energy_wh if sells else -energy_wh,
        metered_wh=0,
        locked_microcents=locked,
        fee_microcents=fee_microcents,
    )
