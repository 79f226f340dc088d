"""The positions that a presented chunk opens, recomputed from its call data, the registry and the rules alone.

A second telling of what EnergyTrading.clear does with orders it has accepted; nothing of it comes from the node.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import groupby

from gridledger.audit.presented import ClearingCall
from gridledger.audit.state_hash import state_hash
from gridledger.market.model import MeterFacts, MtuPrices, Policy, Position, Product, Side, Trade
from gridledger.market.pairing import derive_trades
from gridledger.market.settlement import buyer_lock_microcents, grid_fee_microcents, seller_lock_microcents
from gridledger.units import cost_microcents

__all__ = ["Opened", "open_chunk"]


@dataclass(frozen=True, kw_only=True)
class Opened:
    """What one chunk opens: positions with locks and fees, direct deals, and all trades with their prices.

    `trades` has the deals first; `prices_cents_per_mwh` is one per trade. `carried_wh` is what meters that go on in a
    later chunk have contracted so far. `state_hash` is what the contract keeps.
    """

    positions: tuple[Position, ...]
    deals: tuple[Trade, ...]
    trades: tuple[Trade, ...]
    prices_cents_per_mwh: tuple[int, ...]
    carried_wh: Mapping[int, int]
    state_hash: str

    @property
    def meter_trades(self) -> tuple[tuple[int, int, int], ...]:
        """Each trade as selling meter, buying meter and Wh, as EnergyTraded states it."""
        return tuple(
            (self.positions[trade.sell].meter, self.positions[trade.buy].meter, trade.energy_wh)
            for trade in self.trades
        )


def open_chunk(
    call: ClearingCall,
    meters: Mapping[int, MeterFacts],
    policy: Policy,
    prices: MtuPrices,
    carried_wh: Mapping[int, int],
) -> Opened:
    """Open a chunk's positions. Raises LookupError, ValueError or a market error for what no contract accepts."""
    chunk = _Chunk(call, meters, policy, prices, carried_wh)
    chunk.open_positions()
    deals, deal_prices = chunk.open_deals()
    derived = derive_trades(chunk.positions)
    for trade in (*deals, *derived):
        chunk.charge(trade)
    positions = tuple(chunk.locked(position) for position in chunk.positions)
    return Opened(
        positions=positions,
        deals=deals,
        trades=(*deals, *derived),
        prices_cents_per_mwh=(*deal_prices, *(chunk.price_of(positions[trade.sell]) for trade in derived)),
        carried_wh=chunk.carried_wh,
        state_hash=state_hash(positions, deals),
    )


class _Chunk:
    """Positions in the making."""

    def __init__(
        self,
        call: ClearingCall,
        meters: Mapping[int, MeterFacts],
        policy: Policy,
        prices: MtuPrices,
        carried_wh: Mapping[int, int],
    ) -> None:
        self._call, self._meters, self._policy, self._shortage = call, meters, policy, prices.shortage
        self.positions: list[Position] = []
        self._position_of: list[int] = []
        self.carried_wh = dict(carried_wh)

    def open_positions(self) -> None:
        """One position per meter: consecutive orders of a meter are added up."""
        orders, dealt_wh = self._call.orders, self._call.dealt_wh()
        for meter, group in groupby(range(len(orders)), key=lambda index: orders[index].meter):
            indexes = list(group)
            position = self._empty(meter, sells=orders[indexes[0]].order("").side is Side.SELL)
            for index in indexes:
                position = self._added(position, index, dealt_wh[index])
                self._position_of.append(len(self.positions))
            if position.continued:
                self.carried_wh[meter] = position.prior_wh + position.quantity_wh
            self.positions.append(position)

    def open_deals(self) -> tuple[tuple[Trade, ...], tuple[int, ...]]:
        """The direct deals and their prices, each at its offer's limit."""
        acceptances = [index for index, item in enumerate(self._call.orders) if item.is_acceptance]
        deals: list[Trade] = []
        prices: list[int] = []
        for offer, acceptance in zip(self._call.accepted_offers, acceptances, strict=True):
            sell, buy = self._position_of[offer], self._position_of[acceptance]
            price = self._call.orders[offer].order("").limit_cents_per_mwh
            energy_wh = self._call.orders[acceptance].fill_wh
            cash = cost_microcents(energy_wh, price)
            self._add(sell, deal=cash, locked=seller_lock_microcents(energy_wh, price, self._shortage))
            self._add(buy, deal=-cash, locked=buyer_lock_microcents(energy_wh, price))
            deals.append(Trade(sell=sell, buy=buy, energy_wh=energy_wh, price_cents_per_mwh=price))
            prices.append(price)
        return tuple(deals), tuple(prices)

    def charge(self, trade: Trade) -> None:
        """Charge the buyer's grid fee."""
        fee = grid_fee_microcents(
            trade.energy_wh,
            self._policy.grid_fee_cents_per_mwh,
            self._policy.low_carbon_relief_cents_per_mwh,
            low_carbon=self.positions[trade.sell].source != 0,
        )
        self._add(trade.buy, fee=fee)

    def locked(self, position: Position) -> Position:
        """A position with everything it may have to pay locked."""
        if position.sells:
            locked = seller_lock_microcents(position.auction_wh, self.price_of(position), self._shortage)
        else:
            locked = (
                buyer_lock_microcents(position.auction_wh, self._call.any_price)
                + buyer_lock_microcents(position.low_carbon_wh, self._call.low_carbon_price)
                + position.fee_microcents
            )
        return replace(position, locked_microcents=position.locked_microcents + locked)

    def price_of(self, seller: Position) -> int:
        """The auction's price for a seller's source."""
        return self._call.low_carbon_price if seller.source else self._call.any_price

    def _empty(self, number: int, *, sells: bool) -> Position:
        meter = self._meters[number]
        return Position(
            meter=number,
            owner=meter.owner,
            supplier_number=meter.supplier_number,
            source=meter.source,
            sells=sells,
            capacity_w=max(meter.import_capacity_w, meter.export_capacity_w),
            prior_wh=self.carried_wh.pop(number, 0),
            continued=number in self._call.continued_meters,
        )

    def _added(self, position: Position, index: int, dealt_wh: int) -> Position:
        """The position with one more order's energy."""
        item = self._call.orders[index]
        if item.is_acceptance:
            return replace(position, dealt_wh=position.dealt_wh + item.fill_wh)
        auction_wh = item.fill_wh - dealt_wh
        if not position.sells and item.order("").product is Product.LOW_CARBON:
            return replace(position, low_carbon_wh=position.low_carbon_wh + auction_wh)
        return replace(position, auction_wh=position.auction_wh + auction_wh, dealt_wh=position.dealt_wh + dealt_wh)

    def _add(self, index: int, *, deal: int = 0, locked: int = 0, fee: int = 0) -> None:
        position = self.positions[index]
        self.positions[index] = replace(
            position,
            deal_microcents=position.deal_microcents + deal,
            locked_microcents=position.locked_microcents + locked,
            fee_microcents=position.fee_microcents + fee,
        )
