"""The check of setpoints by an alternating-current power flow: losses, voltages and meshed networks included.

It needs pandapower, which the extra `grid` installs. Setpoints have a power factor of 1, the high-voltage bus is held
at its nominal voltage, lines have no capacitance and the transformer no iron losses, for the files state none.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Generic

from gridledger.dispatch.feeder import Feeder, LimitExceeded, Line, MeterT
from gridledger.dispatch.setpoints import Direction
from gridledger.grid.errors import PowerFlowDiverged, PowerFlowNotInstalled

__all__ = ["PowerFlow", "PowerFlowResult", "VoltageOutside"]

_MILLION = 10**6
_ROOT_OF_THREE = 3**0.5


@dataclass(frozen=True, kw_only=True)
class VoltageOutside:
    """A bus whose voltage lies outside its bounds, all in millionths of its nominal voltage."""

    bus: str
    voltage_ppm: int
    lowest_ppm: int
    highest_ppm: int


@dataclass(frozen=True, kw_only=True)
class PowerFlowResult:
    """A solved power flow, rounded to whole watts and millionths of the nominal voltage.

    `flows_w` is active power, toward the transformer positive, as it enters the element: for the transformer at its
    low-voltage side, for a line at the end that is farther from it. `loadings_w` are the currents as apparent powers at
    nominal voltage, which is what limits bound. `losses_w` are those of the whole network.
    """

    flows_w: Mapping[str, int]
    loadings_w: Mapping[str, int]
    voltages_ppm: Mapping[str, int]
    losses_w: int
    limits_exceeded: tuple[LimitExceeded, ...]
    voltages_outside: tuple[VoltageOutside, ...]


class PowerFlow(Generic[MeterT]):
    """Power flows over one feeder, radial or meshed. Raises PowerFlowNotInstalled."""

    def __init__(self, feeder: Feeder[MeterT]) -> None:
        try:
            self._pandapower = import_module("pandapower")
        except ImportError as problem:
            raise PowerFlowNotInstalled(problem=str(problem)) from problem
        self._feeder: Feeder[MeterT] = feeder
        self._net: Any = self._pandapower.create_empty_network()
        self._places = {bus.bus: place for place, bus in enumerate(feeder.buses)}
        self._add_elements()

    def solve(self, setpoints_w: Mapping[MeterT, int]) -> PowerFlowResult:
        """The power flow of setpoints, W, export positive; a meter without one counts as 0.

        Raises MeterOutsideFeeder, PowerFlowDiverged.
        """
        injections_w = self._feeder.injections_w(setpoints_w)
        self._net.sgen["p_mw"] = [injections_w[bus.bus] / _MILLION for bus in self._feeder.buses]
        try:
            self._pandapower.runpp(self._net, numba=False)
        except self._pandapower.LoadflowNotConverged as problem:
            raise PowerFlowDiverged(problem=str(problem)) from problem
        flows_w, loadings_w, voltages_ppm = self._flows_w(), self._loadings_w(), self._voltages_ppm()
        losses_mw = self._net.res_line.pl_mw.sum() + self._net.res_trafo.pl_mw.sum()
        return PowerFlowResult(
            flows_w=flows_w,
            loadings_w=loadings_w,
            voltages_ppm=voltages_ppm,
            losses_w=round(losses_mw * _MILLION),
            limits_exceeded=self._exceeded(flows_w, loadings_w),
            voltages_outside=self._outside(voltages_ppm),
        )

    def _add_elements(self) -> None:
        create, places = self._pandapower, self._places
        for bus in self._feeder.buses:
            create.create_bus(self._net, vn_kv=bus.nominal_v / 1000, index=places[bus.bus])
        for bus in self._feeder.buses:
            create.create_sgen(self._net, places[bus.bus], p_mw=0.0)
        transformer = self._feeder.transformer
        create.create_ext_grid(self._net, places[transformer.hv_bus])
        create.create_transformer_from_parameters(
            self._net,
            places[transformer.hv_bus],
            places[transformer.lv_bus],
            sn_mva=float(transformer.rated_mva),
            vn_hv_kv=float(transformer.hv_kv),
            vn_lv_kv=float(transformer.lv_kv),
            vk_percent=float(transformer.short_circuit_percent),
            vkr_percent=float(transformer.short_circuit_resistive_percent),
            pfe_kw=0.0,
            i0_percent=0.0,
        )
        for line in self._feeder.lines:
            create.create_line_from_parameters(
                self._net,
                places[line.from_bus],
                places[line.to_bus],
                length_km=float(line.length_km),
                r_ohm_per_km=float(line.resistance_ohm_per_km),
                x_ohm_per_km=float(line.reactance_ohm_per_km),
                c_nf_per_km=0.0,
                max_i_ka=float(line.max_current_ka),
            )

    def _flows_w(self) -> dict[str, int]:
        reached = {self._feeder.transformer.hv_bus: -1, self._feeder.transformer.lv_bus: 0}
        reached |= {step.bus: place for place, step in enumerate(self._feeder.tree, start=1)}
        results = self._net.res_line
        lines = zip(self._feeder.lines, results.p_from_mw, results.p_to_mw, strict=True)
        flows_mw = {self._feeder.transformer.name: self._net.res_trafo.p_lv_mw.iloc[0]} | {
            line.name: from_mw if reached[line.from_bus] > reached[line.to_bus] else to_mw
            for line, from_mw, to_mw in lines
        }
        return {element: round(flow_mw * _MILLION) for element, flow_mw in flows_mw.items()}

    def _loadings_w(self) -> dict[str, int]:
        transformer = self._feeder.transformer
        share = self._net.res_trafo.loading_percent.iloc[0] / 100
        loadings_w = {transformer.name: round(share * float(transformer.rated_mva) * _MILLION)}
        for line, current_ka in zip(self._feeder.lines, self._net.res_line.i_ka, strict=True):
            loadings_w[line.name] = round(_ROOT_OF_THREE * self._nominal_v(line) * current_ka * 1000)
        return loadings_w

    def _nominal_v(self, line: Line) -> int:
        return self._feeder.buses[self._places[line.from_bus]].nominal_v

    def _voltages_ppm(self) -> dict[str, int]:
        per_unit = self._net.res_bus.vm_pu
        return {
            bus.name: round(voltage_pu * _MILLION) for bus, voltage_pu in zip(self._feeder.buses, per_unit, strict=True)
        }

    def _exceeded(self, flows_w: Mapping[str, int], loadings_w: Mapping[str, int]) -> tuple[LimitExceeded, ...]:
        return tuple(
            LimitExceeded(
                element=element,
                limit_w=limit_w,
                flow_w=loadings_w[element],
                direction=Direction.EXPORT if flows_w[element] > 0 else Direction.IMPORT,
            )
            for element, limit_w in self._feeder.limits_w.items()
            if loadings_w[element] > limit_w
        )

    def _outside(self, voltages_ppm: Mapping[str, int]) -> tuple[VoltageOutside, ...]:
        return tuple(
            VoltageOutside(
                bus=bus.name,
                voltage_ppm=voltages_ppm[bus.name],
                lowest_ppm=bus.lowest_voltage_ppm,
                highest_ppm=bus.highest_voltage_ppm,
            )
            for bus in self._feeder.buses
            if not bus.lowest_voltage_ppm <= voltages_ppm[bus.name] <= bus.highest_voltage_ppm
        )
