"""What a grid operator's caps leave of contracted energy, bit for bit as the contract EnergyCurtailment computes it.

The committed pairs stay as they are: a trade shrinks where one of its sides goes beyond a cap, at its own price. What
was locked for the rest goes back, and the policy says who bears what the buyer pays more for replacing it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

from gridledger.market.model import Position, Trade
from gridledger.market.pairing import derive_trades
from gridledger.market.settlement import buyer_lock_microcents, grid_fee_microcents, seller_lock_microcents
from gridledger.units import cost_microcents

__all__ = ["Bearer", "Caps", "CurtailmentTerms", "Shrunk", "apply_caps", "bearer_of"]


class Bearer(IntEnum):
    """Who pays the shortage price minus the trade's price for energy a curtailment takes from a buyer."""

    BUYER = 0
    SELLER = 1
    GRID_OPERATOR = 2


@dataclass(frozen=True, kw_only=True)
class Caps:
    """Highest net energy of named meters in an MTU, Wh by meter, of export or of import."""

    exports: bool
    wh: Mapping[int, int]


@dataclass(frozen=True, kw_only=True)
class CurtailmentTerms:
    """What trades cost in the MTU, cents per MWh, and who bears replacement."""

    any_price: int
    low_carbon_price: int
    shortage: int
    fee: int
    relief: int
    bearer: Bearer


@dataclass(frozen=True, kw_only=True)
class Shrunk:
    """A chunk after its caps; lists by position, but for the trades.

    `trades` stand for themselves from now on, deals first, those with nothing left too; `curtailed_wh` is what each
    lost. `released_microcents` goes from the escrow to each owner; `compensated_microcents` is what the grid operator
    pays each buyer on top, or owes it.
    """

    positions: tuple[Position, ...]
    trades: tuple[Trade, ...]
    curtailed_wh: tuple[int, ...]
    released_microcents: tuple[int, ...]
    compensated_microcents: tuple[int, ...]


def bearer_of(replacement_bearers: int, reason: int) -> Bearer:
    """Who bears replacement for a reason code of 0 to 15: two bits each, the lowest first."""
    return Bearer(replacement_bearers >> 2 * reason & 3)


def apply_caps(
    positions: Sequence[Position],
    deals: Sequence[Trade],
    caps: Caps,
    terms: CurtailmentTerms,
    left_wh: Mapping[int, int] | None = None,
) -> Shrunk:
    """Shrink a chunk to its caps; `left_wh` is what caps left of meters that go on, over the chunks before, by meter.

    Raises EnergyNotBalanced, SelfMatch for positions that are none of a clearing's.
    """
    trades = (*deals, *(_priced(positions, trade, terms) for trade in derive_trades(positions)))
    prior_wh = [(left_wh or {}).get(one.meter, 0) if one.prior_wh else 0 for one in positions]
    allowed_wh = [_allowed_wh(one, prior, caps) for one, prior in zip(positions, prior_wh, strict=True)]
    made = [_emptied(one, prior) for one, prior in zip(positions, prior_wh, strict=True)]
    kept: list[Trade] = []
    curtailed_wh: list[int] = []
    costs = [0] * len(positions)
    for trade in trades:
        sold_wh, bought_wh = (min(trade.energy_wh, allowed_wh[index]) for index in (trade.sell, trade.buy))
        allowed_wh[trade.sell] -= sold_wh
        allowed_wh[trade.buy] -= bought_wh
        left = replace(trade, energy_wh=min(sold_wh, bought_wh))
        kept.append(left)
        curtailed_wh.append(trade.energy_wh - left.energy_wh)
        made[trade.sell], made[trade.buy] = _booked(made[trade.sell], made[trade.buy], left, terms)
        cost = cost_microcents(curtailed_wh[-1], max(0, terms.shortage - trade.price_cents_per_mwh))
        costs[trade.buy] += cost
        if terms.bearer is Bearer.SELLER:
            costs[trade.sell] -= cost
    released = [
        before.locked_microcents - after.locked_microcents for before, after in zip(positions, made, strict=True)
    ]
    if terms.bearer is Bearer.SELLER:
        released = [money + cost for money, cost in zip(released, costs, strict=True)]
    by_operator = terms.bearer is Bearer.GRID_OPERATOR
    return Shrunk(
        positions=tuple(made),
        trades=tuple(kept),
        curtailed_wh=tuple(curtailed_wh),
        released_microcents=tuple(released),
        compensated_microcents=tuple(costs) if by_operator else (0,) * len(positions),
    )


def _priced(positions: Sequence[Position], trade: Trade, terms: CurtailmentTerms) -> Trade:
    """A pair of the auction with its price: where the products' prices differ, low-carbon serves low-carbon only."""
    price = terms.low_carbon_price if positions[trade.sell].source else terms.any_price
    return replace(trade, price_cents_per_mwh=price)


def _allowed_wh(position: Position, prior_wh: int, caps: Caps) -> int:
    cap_wh = caps.wh.get(position.meter)
    if cap_wh is None or position.sells != caps.exports:
        return position.quantity_wh
    return min(position.quantity_wh, cap_wh - min(cap_wh, prior_wh))


def _emptied(position: Position, prior_wh: int) -> Position:
    return replace(
        position,
        curtailed=True,
        auction_wh=0,
        low_carbon_wh=0,
        dealt_wh=0,
        prior_wh=prior_wh,
        metered_wh=0,
        fee_microcents=0,
        locked_microcents=0,
        deal_microcents=0,
    )


def _booked(sell: Position, buy: Position, trade: Trade, terms: CurtailmentTerms) -> tuple[Position, Position]:
    """Both positions with what is left of their trade."""
    energy_wh, price = trade.energy_wh, trade.price_cents_per_mwh
    cash = cost_microcents(energy_wh, price)
    fee = grid_fee_microcents(energy_wh, terms.fee, terms.relief, low_carbon=sell.source != 0)
    return (
        replace(
            sell,
            dealt_wh=sell.dealt_wh + energy_wh,
            deal_microcents=sell.deal_microcents + cash,
            locked_microcents=sell.locked_microcents + seller_lock_microcents(energy_wh, price, terms.shortage),
        ),
        replace(
            buy,
            dealt_wh=buy.dealt_wh + energy_wh,
            deal_microcents=buy.deal_microcents - cash,
            fee_microcents=buy.fee_microcents + fee,
            locked_microcents=buy.locked_microcents + buyer_lock_microcents(energy_wh, price) + fee,
        ),
    )
