"""Money and energy of locking and settling, bit for bit as the contracts compute them. Money never divides.

Wh x cents/MWh = microcents. Positive cash is received by the participant.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from gridledger.market.errors import NothingToCorrect, VersionsUsedUp
from gridledger.market.model import MeterFacts, Position, Side, Trade
from gridledger.market.pairing import derive_trades
from gridledger.units import cost_microcents

__all__ = [
    "LAST_VERSION",
    "Cash",
    "RewardedTrade",
    "buyer_lock_microcents",
    "capacity_wh",
    "fulfilled_wh",
    "grid_fee_microcents",
    "imbalance_microcents",
    "position_cash",
    "refund_positions",
    "rewarded_trades",
    "seller_lock_microcents",
    "served_wh",
    "settle_positions",
    "substitute_positions",
    "substitute_wh",
    "trade_microcents",
    "worst_case_microcents",
]


LAST_VERSION = 254
_SECONDS_PER_HOUR = 3600


@dataclass(frozen=True, kw_only=True)
class Cash:
    """What settling a position moves: from the escrow (trade) and with the supplier (imbalance), microcents."""

    trade_microcents: int
    imbalance_microcents: int


@dataclass(frozen=True, kw_only=True)
class RewardedTrade:
    """A trade between two positions by index whose low-carbon energy is rewarded, and was rewarded before, Wh."""

    sell: int
    buy: int
    energy_wh: int
    rewarded_wh: int = 0


def buyer_lock_microcents(energy_wh: int, price_cents_per_mwh: int) -> int:
    """What a buyer locks without fees: max(0, price) x energy."""
    return cost_microcents(energy_wh, max(0, price_cents_per_mwh))


def seller_lock_microcents(energy_wh: int, price_cents_per_mwh: int, shortage_cents_per_mwh: int) -> int:
    """What a seller locks: (max(0, -price) + max(0, shortage - price)) x energy."""
    per_mwh = max(0, -price_cents_per_mwh) + max(0, shortage_cents_per_mwh - price_cents_per_mwh)
    return cost_microcents(energy_wh, per_mwh)


def grid_fee_microcents(energy_wh: int, fee_cents_per_mwh: int, relief_cents_per_mwh: int, *, low_carbon: bool) -> int:
    """Grid fee the buyer pays for an energy, less the relief if its source is low-carbon."""
    return cost_microcents(energy_wh, fee_cents_per_mwh - relief_cents_per_mwh if low_carbon else fee_cents_per_mwh)


def worst_case_microcents(
    side: Side, quantity_wh: int, limit_cents_per_mwh: int, fee_cents_per_mwh: int, shortage_cents_per_mwh: int
) -> int:
    """The most an order can lock in one MTU at any price its limit allows, fees included."""
    if side is Side.BUY:
        fee = grid_fee_microcents(quantity_wh, fee_cents_per_mwh, 0, low_carbon=False)
        return buyer_lock_microcents(quantity_wh, limit_cents_per_mwh) + fee
    return seller_lock_microcents(quantity_wh, limit_cents_per_mwh, shortage_cents_per_mwh)


def capacity_wh(meter: MeterFacts, side: Side, mtu_length_s: int) -> int:
    """Energy the meter can move in one MTU, rounded down, Wh."""
    capacity_w = meter.export_capacity_w if side is Side.SELL else meter.import_capacity_w
    return capacity_w * mtu_length_s // _SECONDS_PER_HOUR


def trade_microcents(position: Position, any_price: int, low_carbon_price: int) -> int:
    """Cash of the contracted energy: a seller is paid the price of its source, a buyer pays its product."""
    if position.sells:
        price = low_carbon_price if position.source else any_price
        return position.deal_microcents + cost_microcents(position.auction_wh, price)
    bought = cost_microcents(position.auction_wh, any_price) + cost_microcents(position.low_carbon_wh, low_carbon_price)
    return position.deal_microcents - bought


def imbalance_microcents(
    position: Position, metered_wh: int, surplus_cents_per_mwh: int, shortage_cents_per_mwh: int
) -> int:
    """Cash with the supplier for metered minus contracted energy (both export-positive)."""
    beyond_wh = _share_wh(position, metered_wh) - position.quantity_wh
    imbalance_wh = beyond_wh if position.sells else -beyond_wh
    return cost_microcents(imbalance_wh, surplus_cents_per_mwh if imbalance_wh >= 0 else shortage_cents_per_mwh)


def position_cash(
    position: Position, any_price: int, low_carbon_price: int, surplus_cents_per_mwh: int, shortage_cents_per_mwh: int
) -> Cash:
    """Cash of a settled position: its trade at its prices and its imbalance with the supplier."""
    return Cash(
        trade_microcents=trade_microcents(position, any_price, low_carbon_price),
        imbalance_microcents=imbalance_microcents(
            position, position.metered_wh, surplus_cents_per_mwh, shortage_cents_per_mwh
        ),
    )


def settle_positions(positions: Sequence[Position], metered_wh: Mapping[int, int]) -> tuple[Position, ...]:
    """Positions after settling those indexes on readings (export minus import, Wh); settled ones get a new version.

    Every correction changes the position, so that none can be presented again. Raises NothingToCorrect, VersionsUsedUp.
    """
    for index, energy_wh in metered_wh.items():
        _require_correction(positions[index], energy_wh)
    return tuple(
        _settled(position, metered_wh[index], substitute=False) if index in metered_wh else position
        for index, position in enumerate(positions)
    )


def substitute_wh(position: Position) -> int:
    """The value an unread position settles on: delivered as contracted, export minus import, Wh."""
    energy_wh = position.quantity_wh + position.prior_wh
    return energy_wh if position.sells else -energy_wh


def substitute_positions(positions: Sequence[Position], indexes: Collection[int]) -> tuple[Position, ...]:
    """Positions after settling those indexes on substitute values."""
    return tuple(
        _settled(position, substitute_wh(position), substitute=True) if index in indexes else position
        for index, position in enumerate(positions)
    )


def refund_positions(positions: Sequence[Position], indexes: Collection[int]) -> tuple[Position, ...]:
    """Positions after refunding those indexes."""
    return tuple(
        _settled(position, 0, substitute=True) if index in indexes else position
        for index, position in enumerate(positions)
    )


def fulfilled_wh(position: Position) -> int:
    """Energy a read position really delivered or consumed of what it contracted, Wh."""
    if not position.read:
        return 0
    return min(position.quantity_wh, max(0, _share_wh(position, position.metered_wh)))


def served_wh(positions: Sequence[Position], trades: Sequence[Trade]) -> tuple[int, ...]:
    """Energy of each trade both delivered and consumed: a position's energy serves its trades in their order, Wh."""
    remaining = [fulfilled_wh(position) for position in positions]
    served: list[int] = []
    for trade in trades:
        delivered = min(trade.energy_wh, remaining[trade.sell])
        consumed = min(trade.energy_wh, remaining[trade.buy])
        remaining[trade.sell] -= delivered
        remaining[trade.buy] -= consumed
        served.append(min(delivered, consumed))
    return tuple(served)


def rewarded_trades(
    before: Sequence[Position], after: Sequence[Position], deals: Sequence[Trade]
) -> tuple[RewardedTrade, ...]:
    """Low-carbon trades, both sides read, that a settlement makes worth another reward than they were worth before."""
    trades = (*deals, *derive_trades(after))
    rewarded: list[RewardedTrade] = []
    served = zip(trades, served_wh(before, trades), served_wh(after, trades), strict=True)
    for trade, served_before_wh, energy_wh in served:
        if not after[trade.sell].source or not all(after[index].read for index in (trade.sell, trade.buy)):
            continue
        both_read = all(before[index].read for index in (trade.sell, trade.buy))
        rewarded_wh = served_before_wh if both_read else 0
        if energy_wh != rewarded_wh:
            rewarded.append(RewardedTrade(sell=trade.sell, buy=trade.buy, energy_wh=energy_wh, rewarded_wh=rewarded_wh))
    return tuple(rewarded)


def _require_correction(position: Position, metered_wh: int) -> None:
    if position.read and position.metered_wh == metered_wh:
        raise NothingToCorrect(meter=position.meter, metered_wh=metered_wh)
    if position.settled and position.version == LAST_VERSION:
        raise VersionsUsedUp(meter=position.meter, version=position.version)


def _settled(position: Position, metered_wh: int, *, substitute: bool) -> Position:
    version = position.version + position.settled
    return replace(position, settled=True, substitute=substitute, metered_wh=metered_wh, version=version)


def _share_wh(position: Position, metered_wh: int) -> int:
    """What of a meter's energy, in the direction of its contract, belongs to this position; see SettlementRules."""
    energy_wh = metered_wh if position.sells else -metered_wh
    if not position.continued:
        return energy_wh - min(max(energy_wh, 0), position.prior_wh)
    return min(max(energy_wh - position.prior_wh, 0), position.quantity_wh)
