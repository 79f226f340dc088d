"""The low-carbon reward, bit for bit as the carbon ledger computes it. Wh x mg/kWh = ug exactly."""

from dataclasses import dataclass

from gridledger.units import avoided_ugco2, share_rounded_down

__all__ = ["Reward", "split_reward"]


@dataclass(frozen=True, kw_only=True)
class Reward:
    """Tokens for one trade's energy, ug CO2e avoided."""

    seller_ugco2: int
    buyer_ugco2: int


def split_reward(
    energy_wh: int, grid_mgco2_per_kwh: int, source_mgco2_per_kwh: int, seller_share_basis_points: int
) -> Reward:
    """Reward of energy traded, delivered and consumed: the seller's share is rounded down, the buyer gets the rest."""
    total = avoided_ugco2(energy_wh, grid_mgco2_per_kwh, source_mgco2_per_kwh)
    seller = share_rounded_down(total, seller_share_basis_points)
    return Reward(seller_ugco2=seller, buyer_ugco2=total - seller)
