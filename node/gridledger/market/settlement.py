"""Money and energy of locking and settling, bit for bit as the trading contract computes them. Nothing here divides.

Wh x cents/MWh = microcents. Positive cash is received by the participant.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from gridledger.market.model import Position, Side, Trade
from gridledger.units import cost_microcents

__all__ = [
    "Cash",
    "buyer_lock_microcents",
    "grid_fee_microcents",
    "imbalance_microcents",
    "position_cash",
    "reward_trades",
    "seller_lock_microcents",
    "served_wh",
    "settle_positions",
    "worst_case_microcents",
]


@dataclass(frozen=True, kw_only=True)
class Cash:
    """What settling a position moves: from the escrow (trade) and with the supplier (imbalance), microcents."""

    trade_microcents: int
    imbalance_microcents: int


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
    """The most an order can lock at any price its limit allows, fees included."""
    if side is Side.BUY:
        fee = grid_fee_microcents(quantity_wh, fee_cents_per_mwh, 0, low_carbon=False)
        return buyer_lock_microcents(quantity_wh, limit_cents_per_mwh) + fee
    return seller_lock_microcents(quantity_wh, limit_cents_per_mwh, shortage_cents_per_mwh)


def imbalance_microcents(
    metered_wh: int, contracted_wh: int, surplus_cents_per_mwh: int, shortage_cents_per_mwh: int
) -> int:
    """Cash with the supplier for metered minus contracted energy (both export-positive)."""
    imbalance_wh = metered_wh - contracted_wh
    price = surplus_cents_per_mwh if imbalance_wh >= 0 else shortage_cents_per_mwh
    return cost_microcents(imbalance_wh, price)


def position_cash(
    position: Position, price_cents_per_mwh: int, surplus_cents_per_mwh: int, shortage_cents_per_mwh: int
) -> Cash:
    """Cash of a settled position: its trade at the uniform price and its imbalance with the supplier."""
    return Cash(
        trade_microcents=cost_microcents(position.contracted_wh, price_cents_per_mwh),
        imbalance_microcents=imbalance_microcents(
            position.metered_wh, position.contracted_wh, surplus_cents_per_mwh, shortage_cents_per_mwh
        ),
    )


def settle_positions(positions: Sequence[Position], metered_wh: Mapping[int, int]) -> tuple[Position, ...]:
    """Positions after settling those indexes; `metered_wh` maps an index to export minus import, Wh."""
    return tuple(
        replace(position, settled=True, metered_wh=metered_wh[index]) if index in metered_wh else position
        for index, position in enumerate(positions)
    )


def served_wh(positions: Sequence[Position], trades: Sequence[Trade]) -> tuple[int, ...]:
    """Energy of each trade both delivered and consumed: a position's energy serves its trades in their order, Wh."""
    remaining = [_fulfilled_wh(position) for position in positions]
    served: list[int] = []
    for trade in trades:
        delivered = min(trade.energy_wh, remaining[trade.sell])
        consumed = min(trade.energy_wh, remaining[trade.buy])
        remaining[trade.sell] -= delivered
        remaining[trade.buy] -= consumed
        served.append(min(delivered, consumed))
    return tuple(served)


def reward_trades(positions: Sequence[Position], trades: Sequence[Trade]) -> tuple[Trade, ...]:
    """Trades after deciding the reward of each whose two sides are settled; only low-carbon energy earns one."""
    decided: list[Trade] = []
    for trade, energy_wh in zip(trades, served_wh(positions, trades), strict=True):
        seller, buyer = positions[trade.sell], positions[trade.buy]
        if trade.rewarded or not seller.settled or not buyer.settled:
            decided.append(trade)
        else:
            decided.append(trade.with_reward(energy_wh if seller.source else 0))
    return tuple(decided)


def _fulfilled_wh(position: Position) -> int:
    if not position.settled:
        return 0
    if position.contracted_wh > 0:
        return min(position.contracted_wh, max(0, position.metered_wh))
    return min(-position.contracted_wh, max(0, -position.metered_wh))
