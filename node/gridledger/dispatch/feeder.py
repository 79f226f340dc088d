"""A zone's network behind its transformer, what each part may carry, and which limits setpoints would exceed.

The radial check adds up setpoints along the tree, without losses, voltages or reactive power: limits are apparent
powers and a power factor of 1 is assumed. The power flow of the extra `grid` knows losses, voltages and meshes.
"""

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cached_property
from typing import Generic, NamedTuple, TypeVar

from gridledger.dispatch.errors import (
    BusUnknown,
    ElementTwice,
    MeterNotFed,
    MeterOutsideFeeder,
    NetworkMeshed,
    NetworkNotConnected,
)
from gridledger.dispatch.setpoints import Direction

__all__ = ["Bus", "Feeder", "LimitExceeded", "Line", "Step", "Transformer", "check", "radial_flows"]

MeterT = TypeVar("MeterT", int, str)


@dataclass(frozen=True, kw_only=True)
class Bus:
    """A node of the network; voltages in V, and their bounds in millionths of the nominal one."""

    bus: int
    name: str
    nominal_v: int
    lowest_voltage_ppm: int
    highest_voltage_ppm: int


@dataclass(frozen=True, kw_only=True)
class Transformer:
    """Where the feeder begins. `limit_w` is its apparent power at the highest loading allowed, W at power factor 1.

    The other values are as their names say and as a power flow needs them.
    """

    name: str
    hv_bus: int
    lv_bus: int
    limit_w: int
    rated_mva: Decimal
    hv_kv: Decimal
    lv_kv: Decimal
    short_circuit_percent: Decimal
    short_circuit_resistive_percent: Decimal


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line between two buses. `limit_w` is its apparent power at the highest loading allowed, W at power factor 1."""

    name: str
    from_bus: int
    to_bus: int
    limit_w: int
    length_km: Decimal
    resistance_ohm_per_km: Decimal
    reactance_ohm_per_km: Decimal
    max_current_ka: Decimal


@dataclass(frozen=True, kw_only=True)
class LimitExceeded:
    """A limit that setpoints exceed, W, both positive; the direction is seen from the meters."""

    element: str
    limit_w: int
    flow_w: int
    direction: Direction


class Step(NamedTuple):
    """A bus of the tree, the bus it is fed from and the line between them."""

    bus: int
    feeder_bus: int
    line: str


@dataclass(frozen=True, kw_only=True)
class Feeder(Generic[MeterT]):
    """One transformer, its lines and buses, and the bus of each meter, named or numbered.

    Every bus but the transformer's high-voltage one is fed over lines; every meter is at such a bus.
    Raises ElementTwice, BusUnknown, NetworkNotConnected, MeterNotFed.
    """

    transformer: Transformer
    lines: tuple[Line, ...]
    buses: tuple[Bus, ...]
    meter_buses: Mapping[MeterT, int]

    def __post_init__(self) -> None:
        _require_once(str(bus.bus) for bus in self.buses)
        _require_once([self.transformer.name, *(line.name for line in self.lines)])
        known = {bus.bus for bus in self.buses}
        ends = [(self.transformer.name, self.transformer.hv_bus), (self.transformer.name, self.transformer.lv_bus)]
        ends += [(line.name, bus) for line in self.lines for bus in (line.from_bus, line.to_bus)]
        for element, bus in ends:
            if bus not in known:
                raise BusUnknown(element=element, bus=bus)
        fed = {self.transformer.lv_bus, *(step.bus for step in self.tree)}
        if apart := known - fed - {self.transformer.hv_bus}:
            raise NetworkNotConnected(bus=min(apart))
        for meter, bus in self.meter_buses.items():
            if bus not in fed:
                raise MeterNotFed(meter=str(meter), bus=bus)

    def with_transformer_limit(self, limit_w: int) -> "Feeder[MeterT]":
        """The same network with another limit of its transformer, W."""
        return replace(self, transformer=replace(self.transformer, limit_w=limit_w))

    def numbered(self: "Feeder[str]", numbers: Mapping[str, int]) -> "Feeder[int]":
        """The same network with meters by their number in the market; those without one are left out."""
        buses = {numbers[meter]: bus for meter, bus in self.meter_buses.items() if meter in numbers}
        return Feeder(transformer=self.transformer, lines=self.lines, buses=self.buses, meter_buses=buses)

    @property
    def limits_w(self) -> Mapping[str, int]:
        """What each element may carry, W, the transformer first."""
        return {self.transformer.name: self.transformer.limit_w} | {line.name: line.limit_w for line in self.lines}

    def injections_w(self, setpoints_w: Mapping[MeterT, int]) -> defaultdict[int, int]:
        """Setpoints summed by bus, W, export positive; 0 at every other bus. Raises MeterOutsideFeeder."""
        injections_w: defaultdict[int, int] = defaultdict(int)
        for meter, setpoint_w in setpoints_w.items():
            if meter not in self.meter_buses:
                raise MeterOutsideFeeder(meter=str(meter))
            injections_w[self.meter_buses[meter]] += setpoint_w
        return injections_w

    @cached_property
    def tree(self) -> tuple[Step, ...]:
        """The buses fed over lines in the order in which a walk from the transformer reaches them, each once."""
        neighbours: defaultdict[int, list[tuple[int, str]]] = defaultdict(list)
        for line in self.lines:
            neighbours[line.from_bus].append((line.to_bus, line.name))
            neighbours[line.to_bus].append((line.from_bus, line.name))
        steps: list[Step] = []
        reached = {self.transformer.lv_bus, self.transformer.hv_bus}
        waiting = deque([self.transformer.lv_bus])
        while waiting:
            here = waiting.popleft()
            for there, line_name in neighbours[here]:
                if there not in reached:
                    reached.add(there)
                    steps.append(Step(there, here, line_name))
                    waiting.append(there)
        return tuple(steps)


def radial_flows(feeder: Feeder[MeterT], setpoints_w: Mapping[MeterT, int]) -> dict[str, int]:
    """What each element carries without losses, W by name, the transformer first; toward the transformer positive.

    Setpoints are export positive; a meter without one counts as 0. Raises NetworkMeshed, MeterOutsideFeeder.
    """
    _require_tree(feeder)
    sums_w = feeder.injections_w(setpoints_w)
    flows_w = dict.fromkeys(feeder.limits_w, 0)
    for step in reversed(feeder.tree):
        flows_w[step.line] = sums_w[step.bus]
        sums_w[step.feeder_bus] += sums_w[step.bus]
    flows_w[feeder.transformer.name] = sums_w[feeder.transformer.lv_bus]
    return flows_w


def check(feeder: Feeder[MeterT], setpoints_w: Mapping[MeterT, int]) -> tuple[LimitExceeded, ...]:
    """The limits that setpoints exceed by their sums, the transformer first. Raises as `radial_flows`."""
    limits_w = feeder.limits_w
    return tuple(
        LimitExceeded(
            element=element,
            limit_w=limits_w[element],
            flow_w=abs(flow_w),
            direction=Direction.EXPORT if flow_w > 0 else Direction.IMPORT,
        )
        for element, flow_w in radial_flows(feeder, setpoints_w).items()
        if abs(flow_w) > limits_w[element]
    )


def _require_tree(feeder: Feeder[MeterT]) -> None:
    in_tree = {step.line for step in feeder.tree}
    for line in feeder.lines:
        if line.name not in in_tree:
            raise NetworkMeshed(element=line.name)


def _require_once(names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ElementTwice(element=name)
        seen.add(name)
