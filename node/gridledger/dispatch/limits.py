"""How far each meter of a zone may export or import in an MTU: what its gateway has to keep, and why."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from gridledger.dispatch.envelopes import envelopes
from gridledger.dispatch.model import Schedule, ScheduleState
from gridledger.dispatch.setpoints import Direction
from gridledger.units import BASIS_POINTS

__all__ = ["FIRM_SHARE_BP", "LimitBasis", "MeterLimit", "ZoneState", "firm_wh", "meter_limits"]

FIRM_SHARE_BP = 3_000  # of forecast flows in one direction that are taken as certain when the other one is limited


class LimitBasis(StrEnum):
    """Why a meter is limited."""

    STOP = "stop"
    CAP = "cap"
    ENVELOPE = "envelope"


@dataclass(frozen=True, kw_only=True)
class MeterLimit:
    """The most net energy of a meter in an MTU, Wh; None: not limited in that direction."""

    basis: LimitBasis
    export_wh: int | None
    import_wh: int | None


@dataclass(frozen=True, kw_only=True)
class ZoneState:
    """What is known of a zone and MTU; by meter: setpoints (Wh, export positive), export capacities (W), caps (Wh).

    `limit_wh` is the zone's highest net export, None without one.
    """

    schedule: Schedule | None
    stopped: bool
    setpoints_wh: Mapping[int, int]
    capacities_w: Mapping[int, int]
    caps_wh: Mapping[int, int]
    limit_wh: int | None
    mtu_length_s: int


def firm_wh(energy_wh: int) -> int:
    """The part of a forecast energy that is taken as certain, Wh, rounded down."""
    return energy_wh * FIRM_SHARE_BP // BASIS_POINTS


def meter_limits(state: ZoneState) -> dict[int, MeterLimit]:
    """The limits of the zone's meters; meters without any are left out.

    A stop limits everybody to nothing. Caps are as the grid operator set them. Apart from those, and where the zone has
    a limit, exporting meters keep within envelopes; of a zone whose export is capped those without a cap keep to their
    setpoints, for the caps share out all there is.
    """
    if state.stopped:
        meters = state.setpoints_wh.keys() | state.capacities_w.keys()
        return {meter: MeterLimit(basis=LimitBasis.STOP, export_wh=0, import_wh=0) for meter in sorted(meters)}
    limits = {
        meter: MeterLimit(basis=LimitBasis.ENVELOPE, export_wh=export_wh, import_wh=None)
        for meter, export_wh in _exports_wh(state).items()
    }
    if state.schedule is None or state.schedule.state is not ScheduleState.CURTAILED:
        return limits
    for meter, cap_wh in state.caps_wh.items():
        limits[meter] = _capped(state.schedule.direction, cap_wh, limits.get(meter))
    return limits


def _exports_wh(state: ZoneState) -> Mapping[int, int]:
    if state.limit_wh is None:
        return {}
    schedule = state.schedule
    if schedule is not None and schedule.state is ScheduleState.CURTAILED and schedule.direction is Direction.EXPORT:
        meters = state.setpoints_wh.keys() | {meter for meter, power_w in state.capacities_w.items() if power_w > 0}
        return {meter: max(0, state.setpoints_wh.get(meter, 0)) for meter in sorted(meters)}
    imports_wh = sum(-setpoint_wh for setpoint_wh in state.setpoints_wh.values() if setpoint_wh < 0)
    return envelopes(
        setpoints_wh=state.setpoints_wh,
        capacities_w=state.capacities_w,
        limit_wh=state.limit_wh,
        mtu_length_s=state.mtu_length_s,
        firm_import_wh=firm_wh(imports_wh),
    ).exports_wh


def _capped(direction: Direction | None, cap_wh: int, envelope: MeterLimit | None) -> MeterLimit:
    if direction is Direction.EXPORT:
        return MeterLimit(basis=LimitBasis.CAP, export_wh=cap_wh, import_wh=None)
    export_wh = None if envelope is None else envelope.export_wh
    return MeterLimit(basis=LimitBasis.CAP, export_wh=export_wh, import_wh=cap_wh)
