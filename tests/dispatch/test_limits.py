"""How far meters may go: stops before caps, caps before envelopes, and all of them together within the zone's limit."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.dispatch.room import SCHEDULE

from gridledger.dispatch.limits import LimitBasis, MeterLimit, ZoneState, firm_wh, meter_limits
from gridledger.dispatch.model import ScheduleState
from gridledger.dispatch.setpoints import Direction

SUN_A, SUN_B, LOAD, IDLE = 1, 2, 3, 4
ACKNOWLEDGED = replace(SCHEDULE, state=ScheduleState.ACKNOWLEDGED)
STATE = ZoneState(
    schedule=ACKNOWLEDGED,
    stopped=False,
    setpoints_wh={SUN_A: 300, SUN_B: 100, LOAD: -400},
    capacities_w={SUN_A: 4_000, SUN_B: 2_000, LOAD: 0, IDLE: 2_000},
    caps_wh={},
    limit_wh=1_000,
    mtu_length_s=900,
)


def curtailed(direction: Direction, caps_wh: Mapping[int, int], **changes: Any) -> ZoneState:
    """The zone with caps in force."""
    schedule = replace(SCHEDULE, state=ScheduleState.CURTAILED, direction=direction)
    return replace(STATE, schedule=schedule, caps_wh=caps_wh, **changes)


def envelope(export_wh: int) -> MeterLimit:
    return MeterLimit(basis=LimitBasis.ENVELOPE, export_wh=export_wh, import_wh=None)


def cap(export_wh: int | None, import_wh: int | None) -> MeterLimit:
    return MeterLimit(basis=LimitBasis.CAP, export_wh=export_wh, import_wh=import_wh)


NOTHING = MeterLimit(basis=LimitBasis.STOP, export_wh=0, import_wh=0)


@pytest.mark.parametrize("state", [*ScheduleState, None])
def test_a_stop_leaves_nobody_anything_in_either_direction(state: ScheduleState | None) -> None:
    schedule = None if state is None else replace(SCHEDULE, state=state, direction=Direction.EXPORT)
    stopped = replace(STATE, schedule=schedule, stopped=True, caps_wh={SUN_A: 50})
    assert meter_limits(stopped) == dict.fromkeys((SUN_A, SUN_B, LOAD, IDLE), NOTHING)
    assert meter_limits(replace(stopped, limit_wh=None)) == meter_limits(stopped)


def test_without_a_limit_of_the_zone_nobody_is_limited_but_by_caps() -> None:
    assert meter_limits(replace(STATE, limit_wh=None)) == {}
    assert meter_limits(replace(STATE, limit_wh=None, schedule=None)) == {}
    assert meter_limits(curtailed(Direction.EXPORT, {SUN_A: 50}, limit_wh=None)) == {SUN_A: cap(50, None)}
    assert meter_limits(curtailed(Direction.IMPORT, {LOAD: 50}, limit_wh=None)) == {LOAD: cap(None, 50)}


@pytest.mark.parametrize("state", [ScheduleState.PENDING, ScheduleState.ACKNOWLEDGED])
def test_exporting_meters_share_out_what_the_limit_and_the_firm_imports_leave(state: ScheduleState) -> None:
    """1,000 Wh and 120 of firm imports, less 400 scheduled: 720 Wh by capacity 4 : 2 : 2."""
    assert meter_limits(replace(STATE, schedule=replace(SCHEDULE, state=state))) == {
        SUN_A: envelope(300 + 360),
        SUN_B: envelope(100 + 180),
        IDLE: envelope(180),
    }


def test_without_a_schedule_the_whole_limit_is_shared_out_by_capacity() -> None:
    assert meter_limits(replace(STATE, schedule=None, setpoints_wh={})) == {
        SUN_A: envelope(500),
        SUN_B: envelope(250),
        IDLE: envelope(250),
    }


def test_where_exports_are_capped_all_others_keep_to_their_setpoints() -> None:
    assert meter_limits(curtailed(Direction.EXPORT, {SUN_A: 150})) == {
        SUN_A: cap(150, None),
        SUN_B: envelope(100),
        LOAD: envelope(0),
        IDLE: envelope(0),
    }


def test_where_imports_are_capped_exports_keep_their_envelopes() -> None:
    assert meter_limits(curtailed(Direction.IMPORT, {LOAD: 300, SUN_A: 0})) == {
        SUN_A: cap(660, 0),
        SUN_B: envelope(280),
        LOAD: cap(None, 300),
        IDLE: envelope(180),
    }


def test_an_emergency_s_cap_of_a_meter_without_setpoint_and_capacity_holds() -> None:
    assert meter_limits(curtailed(Direction.EXPORT, {99: 10}))[99] == cap(10, None)


def test_caps_of_a_curtailment_somebody_has_overruled_do_not_hold() -> None:
    """A schedule that is not curtailed has no caps, whatever is kept of an earlier life."""
    assert SUN_A in meter_limits(replace(STATE, caps_wh={SUN_A: 1}))
    assert meter_limits(replace(STATE, caps_wh={SUN_A: 1}))[SUN_A].basis is LimitBasis.ENVELOPE


@pytest.mark.parametrize(("energy_wh", "firm"), [(0, 0), (3, 0), (4, 1), (400, 120), (403, 120)])
def test_three_tenths_of_a_forecast_are_firm_rounded_down(energy_wh: int, firm: int) -> None:
    assert firm_wh(energy_wh) == firm


METERS = st.integers(1, 20)


@given(
    st.dictionaries(METERS, st.integers(-5_000, 5_000)),
    st.dictionaries(METERS, st.integers(0, 30_000)),
    st.integers(0, 20_000),
)
def test_all_envelopes_together_keep_the_limit_wherever_the_setpoints_do(
    setpoints_wh: dict[int, int], capacities_w: dict[int, int], limit_wh: int
) -> None:
    limits = meter_limits(
        replace(STATE, setpoints_wh=setpoints_wh, capacities_w=capacities_w, limit_wh=limit_wh, schedule=ACKNOWLEDGED)
    )
    firm = firm_wh(sum(-one for one in setpoints_wh.values() if one < 0))
    scheduled_wh = sum(one for one in setpoints_wh.values() if one > 0)
    exports_wh = {meter: one.export_wh or 0 for meter, one in limits.items()}
    assert sum(exports_wh.values()) <= max(limit_wh + firm, scheduled_wh)
    for meter, export_wh in exports_wh.items():
        assert export_wh >= max(0, setpoints_wh.get(meter, 0))
        assert export_wh <= max(setpoints_wh.get(meter, 0), capacities_w.get(meter, 0) * 900 // 3_600)


@given(
    st.dictionaries(METERS, st.integers(1, 5_000), min_size=1),
    st.dictionaries(METERS, st.integers(0, 30_000)),
    st.integers(0, 20_000),
    st.data(),
)
def test_caps_and_setpoints_together_are_no_more_than_the_curtailed_schedule(
    exports_wh: dict[int, int], capacities_w: dict[int, int], limit_wh: int, data: st.DataObject
) -> None:
    caps_wh = {meter: data.draw(st.integers(0, export_wh)) for meter, export_wh in exports_wh.items()}
    limits = meter_limits(
        curtailed(Direction.EXPORT, caps_wh, setpoints_wh=exports_wh, capacities_w=capacities_w, limit_wh=limit_wh)
    )
    assert sum(one.export_wh or 0 for one in limits.values()) == sum(caps_wh.values())
