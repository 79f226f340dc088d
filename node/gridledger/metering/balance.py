"""Whether a zone's meters agree with the meter at its transformer. Pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

__all__ = ["Transformer", "ZoneBalance", "zone_balance"]

BASIS_POINTS = 10_000


@dataclass(frozen=True, kw_only=True)
class Transformer:
    """The meter at a zone's transformer, import being what comes from upstream, and the loss tolerated."""

    zone: int
    meter: int
    loss_tolerance_bp: int


@dataclass(frozen=True, kw_only=True)
class ZoneBalance:
    """What the transformer let into a zone and what its meters took, net, of one MTU, Wh."""

    supplied_wh: int
    taken_wh: int
    tolerance_wh: int

    @property
    def is_plausible(self) -> bool:
        """Whether both agree but for the tolerated loss."""
        return abs(self.supplied_wh - self.taken_wh) <= self.tolerance_wh


def zone_balance(transformer: Transformer, meters: Collection[int], net_wh: Mapping[int, int]) -> ZoneBalance | None:
    """The balance of one MTU; None until all of the zone's `meters`, the transformer's among them, are read.

    net_wh: export minus import by meter. Tolerated are basis points of all net energy of the meters, rounded up, and
    1 Wh for each, as registers are floored.
    """
    if any(meter not in net_wh for meter in (transformer.meter, *meters)):
        return None
    own = [net_wh[meter] for meter in meters if meter != transformer.meter]
    passed_wh = sum(abs(energy_wh) for energy_wh in own)
    return ZoneBalance(
        supplied_wh=-net_wh[transformer.meter],
        taken_wh=-sum(own),
        tolerance_wh=-(-passed_wh * transformer.loss_tolerance_bp // BASIS_POINTS) + len(own) + 1,
    )
