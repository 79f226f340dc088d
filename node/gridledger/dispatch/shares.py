"""Whole watt-hours and watts: sharing them out pro rata, and turning the one into the other."""

from collections.abc import Mapping

from gridledger.units import MTU_LENGTHS_S

__all__ = ["capped_wh", "mean_power_w", "pro_rata_shares"]

_HOUR_S = 3600


def pro_rata_shares(total: int, weights: Mapping[int, int]) -> dict[int, int]:
    """Shares of `total` by meter: floors first, then one each by the largest remainder, ties to the lower meter.

    Weights are not negative. The shares sum to the total; where all weights are 0, they are 0.
    """
    weight = sum(weights.values())
    if weight == 0:
        return dict.fromkeys(weights, 0)
    exact = {meter: divmod(total * weights[meter], weight) for meter in weights}
    shares = {meter: floor for meter, (floor, _) in exact.items()}
    by_remainder = sorted(exact, key=lambda meter: (-exact[meter][1], meter))
    for meter in by_remainder[: total - sum(shares.values())]:
        shares[meter] += 1
    return shares


def capped_wh(cap_w: int, mtu_length_s: int) -> int:
    """The energy a power makes in an MTU, Wh, rounded down: a cap stated in W never becomes more."""
    assert mtu_length_s in MTU_LENGTHS_S
    return cap_w * mtu_length_s // _HOUR_S


def mean_power_w(energy_wh: int, mtu_length_s: int) -> int:
    """Mean power of an energy over an MTU, W, exactly: every MTU length divides the hour."""
    assert mtu_length_s in MTU_LENGTHS_S
    return energy_wh * (_HOUR_S // mtu_length_s)
