"""From an auction's result to what the trading contract is asked to lock, and what it will keep by hash."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

from gridledger.market.auction import AuctionResult, BookPrice
from gridledger.market.model import (
    BookEntry,
    MeterFacts,
    MtuPrices,
    Order,
    Policy,
    Position,
    Product,
    Side,
    SignedAcceptance,
    Trade,
)
from gridledger.market.pairing import derive_trades
from gridledger.market.settlement import buyer_lock_microcents, grid_fee_microcents, seller_lock_microcents
from gridledger.units import cost_microcents

__all__ = ["WHOLE", "Deal", "Part", "PresentedOrder", "Proposal", "arrange", "dealt_energy", "propose"]


@dataclass(frozen=True, kw_only=True)
class Deal:
    """An accepted part of an offer: uids of acceptance and offer, Wh, at the offer's limit."""

    acceptance_uid: str
    offer_uid: str
    energy_wh: int


@dataclass(frozen=True, kw_only=True)
class PresentedOrder:
    """An order or acceptance as presented: its place in the committed book and its whole fill, deals included, Wh."""

    entry: BookEntry
    book_index: int
    fill_wh: int


@dataclass(frozen=True, kw_only=True)
class Part:
    """Which chunk of a clearing: its number, and meters that come from earlier chunks (Wh so far) or go on later."""

    chunk: int = 0
    last: bool = True
    prior_wh: Mapping[int, int] = field(default_factory=dict)
    continued: frozenset[int] = frozenset()


WHOLE = Part()


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A chunk of a clearing as the contract takes it: orders with energy by (meter, book index), then unfilled ends.

    Ends are (lower, upper) indexes into orders + ends; None means floor or cap. `accepted_offers` has the index of the
    offer of each acceptance in turn. `positions` and `deals` are what the contract will keep by hash if it accepts;
    `trades` are all its trades, deals first.
    """

    part: Part
    merged: bool
    any_price_cents_per_mwh: int
    low_carbon_price_cents_per_mwh: int
    any_ends: tuple[int | None, int | None]
    low_carbon_ends: tuple[int | None, int | None]
    orders: tuple[PresentedOrder, ...]
    ends: tuple[PresentedOrder, ...]
    accepted_offers: tuple[int, ...]
    positions: tuple[Position, ...]
    deals: tuple[Trade, ...]
    trades: tuple[Trade, ...]

    @property
    def trade_prices(self) -> tuple[int, ...]:
        """Price of each trade: a deal's is the offer's limit, an auction trade's that of the seller's source."""
        dealt = tuple(self.orders[offer].entry.order.limit_cents_per_mwh for offer in self.accepted_offers)
        derived = tuple(
            self.low_carbon_price_cents_per_mwh if self.positions[trade.sell].source else self.any_price_cents_per_mwh
            for trade in self.trades[len(self.deals) :]
        )
        return (*dealt, *derived)

    @property
    def traded_wh(self) -> int:
        """Energy traded, Wh."""
        return sum(trade.energy_wh for trade in self.trades)


def dealt_energy(deals: Sequence[Deal]) -> dict[str, int]:
    """Energy of each offer that was accepted directly, Wh by uid."""
    dealt: dict[str, int] = {}
    for deal in deals:
        dealt[deal.offer_uid] = dealt.get(deal.offer_uid, 0) + deal.energy_wh
    return dealt


def propose(
    result: AuctionResult,
    deals: Sequence[Deal],
    book: Sequence[BookEntry],
    meters: Mapping[int, MeterFacts],
    policy: Policy,
    prices: MtuPrices,
) -> Proposal:
    """Arrange an auction's result and the direct deals for the contract. `meters` holds every meter of the book."""
    orders, ends = _presented(result, deals, book)
    return arrange(result, orders, ends, deals, meters, policy, prices, WHOLE)


def arrange(
    result: AuctionResult,
    orders: tuple[PresentedOrder, ...],
    ends: tuple[PresentedOrder, ...],
    deals: Sequence[Deal],
    meters: Mapping[int, MeterFacts],
    policy: Policy,
    prices: MtuPrices,
    part: Part,
) -> Proposal:
    """Open positions for presented orders, lock their money and derive their trades. Ends count in chunk 0 only."""
    at = {item.entry.uid: index for index, item in enumerate([*orders, *ends])}
    offer_of = {deal.acceptance_uid: deal.offer_uid for deal in deals}
    accepted = tuple(at[offer_of[item.entry.uid]] for item in orders if not item.entry.is_order)
    arranged = _Arranged(result, orders, accepted, meters, policy, prices, part)
    positions = arranged.locked_positions()
    any_ends: tuple[int | None, int | None] = (None, None)
    low_carbon_ends = any_ends
    if part.chunk == 0:
        any_ends = _end_indexes(result.any, at)
        low_carbon_ends = _end_indexes(result.any if result.merged else result.low_carbon, at)
    return Proposal(
        part=part,
        merged=result.merged,
        any_price_cents_per_mwh=result.any.price_cents_per_mwh,
        low_carbon_price_cents_per_mwh=result.low_carbon.price_cents_per_mwh,
        any_ends=any_ends,
        low_carbon_ends=low_carbon_ends,
        orders=orders,
        ends=ends,
        accepted_offers=accepted,
        positions=positions,
        deals=arranged.deals,
        trades=(*arranged.deals, *derive_trades(positions)),
    )


def _presented(
    result: AuctionResult, deals: Sequence[Deal], book: Sequence[BookEntry]
) -> tuple[tuple[PresentedOrder, ...], tuple[PresentedOrder, ...]]:
    """Orders with energy by meter and place, then the named ends without."""
    fills = dict(result.fills_wh)
    for deal in deals:
        fills[deal.acceptance_uid] = deal.energy_wh
        fills[deal.offer_uid] = fills.get(deal.offer_uid, 0) + deal.energy_wh
    named = [result.any.lower_end_uid, result.any.upper_end_uid]
    if not result.merged:
        named += [result.low_carbon.lower_end_uid, result.low_carbon.upper_end_uid]
    wanted = {uid for uid in named if uid is not None} | set(fills)
    listed = {
        entry.uid: PresentedOrder(entry=entry, book_index=index, fill_wh=fills.get(entry.uid, 0))
        for index, entry in enumerate(book)
        if entry.uid in wanted
    }
    orders = sorted((item for item in listed.values() if item.fill_wh), key=_meter_and_place)
    return tuple(orders), tuple(item for item in listed.values() if not item.fill_wh)


class _Arranged:
    """The positions that presented orders open, one per meter."""

    def __init__(
        self,
        result: AuctionResult,
        orders: Sequence[PresentedOrder],
        accepted_offers: Sequence[int],
        meters: Mapping[int, MeterFacts],
        policy: Policy,
        prices: MtuPrices,
        part: Part,
    ) -> None:
        self._part = part
        self._any_price = result.any.price_cents_per_mwh
        self._low_carbon_price = result.low_carbon.price_cents_per_mwh
        self._policy = policy
        self._shortage = prices.shortage
        self._orders = orders
        self._dealt_wh = [0] * len(orders)
        acceptances = [index for index, item in enumerate(orders) if not item.entry.is_order]
        for offer, acceptance in zip(accepted_offers, acceptances, strict=True):
            self._dealt_wh[offer] += orders[acceptance].fill_wh
        self.positions: list[Position] = []
        position_of = [0] * len(orders)
        for meter, group in groupby(range(len(orders)), key=lambda index: orders[index].entry.meter):
            indexes = list(group)
            for index in indexes:
                position_of[index] = len(self.positions)
            self.positions.append(self._opened(meters[meter], indexes))
        self.deals = tuple(
            self._deal(position_of[offer], position_of[acceptance], orders[offer].entry.order, orders[acceptance])
            for offer, acceptance in zip(accepted_offers, acceptances, strict=True)
        )

    def locked_positions(self) -> tuple[Position, ...]:
        """Positions with the fees and locks of deals and auction."""
        for trade in (*self.deals, *derive_trades(self.positions)):
            self._charge(trade)
        return tuple(self._locked(position) for position in self.positions)

    def _opened(self, meter: MeterFacts, indexes: Sequence[int]) -> Position:
        auction_wh = low_carbon_wh = dealt_wh = 0
        sells = False
        for index in indexes:
            item = self._orders[index]
            if isinstance(item.entry.signed, SignedAcceptance):
                dealt_wh += item.fill_wh
                continue
            order = item.entry.order
            sells = order.side is Side.SELL
            if not sells and order.product is Product.LOW_CARBON:
                low_carbon_wh += item.fill_wh
            else:
                auction_wh += item.fill_wh - self._dealt_wh[index]
                dealt_wh += self._dealt_wh[index]
        return Position(
            meter=meter.meter,
            owner=meter.owner,
            supplier_number=meter.supplier_number,
            source=meter.source,
            sells=sells,
            capacity_w=max(meter.import_capacity_w, meter.export_capacity_w),
            auction_wh=auction_wh,
            low_carbon_wh=low_carbon_wh,
            dealt_wh=dealt_wh,
            prior_wh=self._part.prior_wh.get(meter.meter, 0),
            continued=meter.meter in self._part.continued,
        )

    def _deal(self, sell: int, buy: int, offer: Order, acceptance: PresentedOrder) -> Trade:
        energy_wh, price = acceptance.fill_wh, offer.limit_cents_per_mwh
        cash = cost_microcents(energy_wh, price)
        self._add(sell, deal=cash, locked=seller_lock_microcents(energy_wh, price, self._shortage))
        self._add(buy, deal=-cash, locked=buyer_lock_microcents(energy_wh, price))
        return Trade(sell=sell, buy=buy, energy_wh=energy_wh, price_cents_per_mwh=price)

    def _charge(self, trade: Trade) -> None:
        fee = grid_fee_microcents(
            trade.energy_wh,
            self._policy.grid_fee_cents_per_mwh,
            self._policy.low_carbon_relief_cents_per_mwh,
            low_carbon=self.positions[trade.sell].source != 0,
        )
        self._add(trade.buy, fee=fee)

    def _add(self, index: int, *, deal: int = 0, locked: int = 0, fee: int = 0) -> None:
        position = self.positions[index]
        self.positions[index] = replace(
            position,
            deal_microcents=position.deal_microcents + deal,
            locked_microcents=position.locked_microcents + locked,
            fee_microcents=position.fee_microcents + fee,
        )

    def _locked(self, position: Position) -> Position:
        if position.sells:
            price = self._low_carbon_price if position.source else self._any_price
            locked = seller_lock_microcents(position.auction_wh, price, self._shortage)
        else:
            locked = (
                buyer_lock_microcents(position.auction_wh, self._any_price)
                + buyer_lock_microcents(position.low_carbon_wh, self._low_carbon_price)
                + position.fee_microcents
            )
        return replace(position, locked_microcents=position.locked_microcents + locked)


def _meter_and_place(item: PresentedOrder) -> tuple[int, int]:
    return item.entry.meter, item.book_index


def _end_indexes(price: BookPrice, at: Mapping[str, int]) -> tuple[int | None, int | None]:
    lower, upper = price.lower_end_uid, price.upper_end_uid
    return None if lower is None else at[lower], None if upper is None else at[upper]
