"""Which seller's energy serves which buyer, bit for bit as the contract derives it.

At one price any pairing is worth the same. Positions stand by meter; low-carbon buyers are served from low-carbon
sellers first, then all others from what is left, each seller used up before the next.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from gridledger.errors import Conflict
from gridledger.market.model import Position, Trade

__all__ = ["EnergyNotBalanced", "SelfMatch", "derive_trades"]


@dataclass(kw_only=True, eq=False)
class EnergyNotBalanced(Conflict):
    """Bought and sold energy differ, or low-carbon bids cannot be served from low-carbon offers."""

    unserved_wh: int
    unsold_wh: int


@dataclass(kw_only=True, eq=False)
class SelfMatch(Conflict):
    """An owner would trade with itself."""

    owner: str


def derive_trades(positions: Sequence[Position]) -> tuple[Trade, ...]:
    """The auction's trades between positions by index. Raises EnergyNotBalanced, SelfMatch."""
    left_wh = [position.auction_wh if position.sells else 0 for position in positions]
    trades: list[Trade] = []
    for low_carbon in (True, False):
        seller = 0
        for buyer, position in enumerate(positions):
            if position.sells:
                continue
            wanted_wh = position.low_carbon_wh if low_carbon else position.auction_wh
            while wanted_wh > 0:
                while seller < len(positions) and (
                    left_wh[seller] == 0 or (low_carbon and positions[seller].source == 0)
                ):
                    seller += 1
                if seller == len(positions):
                    raise EnergyNotBalanced(unserved_wh=wanted_wh, unsold_wh=0)
                if positions[seller].owner == position.owner:
                    raise SelfMatch(owner=position.owner)
                energy_wh = min(wanted_wh, left_wh[seller])
                left_wh[seller] -= energy_wh
                wanted_wh -= energy_wh
                trades.append(Trade(sell=seller, buy=buyer, energy_wh=energy_wh))
    if any(left_wh):
        raise EnergyNotBalanced(unserved_wh=0, unsold_wh=sum(left_wh))
    return tuple(trades)
