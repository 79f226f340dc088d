"""What the networks of the node's zones carry, as their grid operators have stated it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from gridledger.app.settings import NodeSettings
from gridledger.dispatch.feeder import Feeder, LimitExceeded, check, radial_flows
from gridledger.dispatch.setpoints import Direction
from gridledger.dispatch.shares import capped_wh, mean_power_w
from gridledger.grid.files import load_feeder
from gridledger.store.transaction import Transaction

__all__ = ["GridLimits"]

_TRANSFORMER = "transformer"  # of a zone of which nothing but a limit is known


@dataclass(frozen=True)
class GridLimits:
    """Limits by zone: the transformer's, W, and the whole network where the grid operator has given its files."""

    mtu_length_s: int
    limits_w: Mapping[int, int] = field(default_factory=dict)
    feeders: Mapping[int, Feeder[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for feeder in self.feeders.values():
            radial_flows(feeder, {})  # a network that cannot be summed up is refused now and not with a schedule

    @classmethod
    def load(cls, settings: NodeSettings, mtu_length_s: int) -> "GridLimits":
        """Read the files the settings name; a zone's limit in the settings stands above its file's.

        Raises FeederFileRefused, FeederTooLarge, NetworkMeshed and the refusals of a network that is none.
        """
        feeders = {zone: load_feeder(folder) for zone, folder in settings.feeder_folders.items()}
        limits = {zone: feeder.transformer.limit_w for zone, feeder in feeders.items()} | dict(settings.zone_limits_w)
        return cls(
            mtu_length_s,
            limits,
            {zone: feeder.with_transformer_limit(limits[zone]) for zone, feeder in feeders.items()},
        )

    def limit_wh(self, zone: int) -> int | None:
        """The most net energy the zone's transformer carries in an MTU, Wh, rounded down; None without a limit."""
        limit_w = self.limits_w.get(zone)
        return None if limit_w is None else capped_wh(limit_w, self.mtu_length_s)

    def exceeded(self, tx: Transaction, zone: int, setpoints_wh: Mapping[int, int]) -> tuple[LimitExceeded, ...]:
        """The limits that setpoints (Wh by meter, export positive) exceed.

        A meter the files do not name, or none of whose readings has said its name yet, counts at the transformer.
        """
        setpoints_w = {meter: mean_power_w(energy_wh, self.mtu_length_s) for meter, energy_wh in setpoints_wh.items()}
        feeder, limit_w = self.feeders.get(zone), self.limits_w.get(zone)
        if feeder is not None:
            placed = feeder.numbered(tx.dispatches.meter_numbers(zone))
            buses = dict.fromkeys(setpoints_w, feeder.transformer.lv_bus) | dict(placed.meter_buses)
            return check(replace(placed, meter_buses=buses), setpoints_w)
        flow_w = sum(setpoints_w.values())
        if limit_w is None or abs(flow_w) <= limit_w:
            return ()
        direction = Direction.EXPORT if flow_w > 0 else Direction.IMPORT
        return (LimitExceeded(element=_TRANSFORMER, limit_w=limit_w, flow_w=abs(flow_w), direction=direction),)
