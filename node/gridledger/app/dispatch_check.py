"""`gridledger dispatch check`: which limits of a feeder readings exceed when nobody is curtailed."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from gridledger.cli.operations import DispatchCheckRequest
from gridledger.cli.output import OnProgress
from gridledger.dispatch.feeder import Feeder, LimitExceeded, check
from gridledger.dispatch.setpoints import Direction
from gridledger.dispatch.shares import mean_power_w
from gridledger.grid.errors import PowerFlowDiverged
from gridledger.grid.files import load_feeder
from gridledger.grid.power_flow import PowerFlow, VoltageOutside
from gridledger.simulation.inputs import load_readings

__all__ = ["check_dispatch"]

_WATTS_PER_KW = 1000
_Found = tuple[tuple[LimitExceeded, ...], tuple[VoltageOutside, ...]]
_Check = Callable[[Mapping[str, int]], _Found]


@dataclass
class _Tally:
    """What was found so far; `mtus_exceeding` counts those with an exceeded limit or voltage or without a solution."""

    mtus_exceeding: int = 0
    mtus_exceeding_by_import: int = 0
    mtus_exceeding_by_export: int = 0
    readings_missing: int = 0
    limits_exceeded: list[dict[str, Any]] = field(default_factory=list)
    voltages_outside: list[dict[str, Any]] = field(default_factory=list)
    mtus_without_solution: list[int] = field(default_factory=list)


def check_dispatch(request: DispatchCheckRequest, on_progress: OnProgress) -> dict[str, Any]:
    """Net readings as setpoints against the feeder's limits, MTU by MTU; a meter without a reading counts as 0.

    Raises what `load_feeder`, `load_readings` and the check raise.
    """
    feeder = load_feeder(request.feeder, request.meters)
    if request.limit_kw is not None:
        feeder = feeder.with_transformer_limit(request.limit_kw * _WATTS_PER_KW)
    find = _finder(feeder, power_flow=request.power_flow)
    readings = load_readings(request.readings)
    tally = _Tally()
    for done, mtu_start in enumerate(readings.mtu_starts, start=1):
        net_w = {
            row.meter_id: mean_power_w(row.export_wh - row.import_wh, readings.mtu_length_s)
            for row in readings.at(mtu_start)
        }
        tally.readings_missing += len(feeder.meter_buses.keys() - net_w.keys())
        _count(tally, mtu_start, net_w, find)
        on_progress(done, len(readings.mtu_starts), "")
    return {
        "transformer": feeder.transformer.name,
        "limit_w": feeder.transformer.limit_w,
        "method": "power flow" if request.power_flow else "radial sums",
        "meters": len(feeder.meter_buses),
        "mtu_length_s": readings.mtu_length_s,
        "mtus": len(readings.mtu_starts),
        "rows_refused": len(readings.refused),
        **asdict(tally),
    }


def _finder(feeder: Feeder[str], *, power_flow: bool) -> _Check:
    if not power_flow:
        return lambda net_w: (check(feeder, net_w), ())
    flow = PowerFlow(feeder)

    def solve(net_w: Mapping[str, int]) -> _Found:
        solved = flow.solve(net_w)
        return solved.limits_exceeded, solved.voltages_outside

    return solve


def _count(tally: _Tally, mtu_start: int, net_w: Mapping[str, int], find: _Check) -> None:
    try:
        limits, voltages = find(net_w)
    except PowerFlowDiverged:
        tally.mtus_without_solution.append(mtu_start)
        tally.mtus_exceeding += 1
        return
    tally.mtus_exceeding += bool(limits or voltages)
    tally.mtus_exceeding_by_import += any(one.direction is Direction.IMPORT for one in limits)
    tally.mtus_exceeding_by_export += any(one.direction is Direction.EXPORT for one in limits)
    tally.limits_exceeded += [
        {
            "mtu_start": mtu_start,
            "element": one.element,
            "limit_w": one.limit_w,
            "flow_w": one.flow_w,
            "excess_w": one.flow_w - one.limit_w,
            "direction": one.direction.name.lower(),
        }
        for one in limits
    ]
    tally.voltages_outside += [{"mtu_start": mtu_start, **asdict(one)} for one in voltages]
