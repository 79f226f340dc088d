"""What each part of a feeder carries is what lies beyond it; whatever exceeds a limit is named."""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridledger.dispatch.errors import (
    BusUnknown,
    ElementTwice,
    MeterNotFed,
    MeterOutsideFeeder,
    NetworkMeshed,
    NetworkNotConnected,
)
from gridledger.dispatch.feeder import Bus, Feeder, LimitExceeded, Line, Transformer, check, radial_flows
from gridledger.dispatch.setpoints import Direction
from gridledger.errors import GridLedgerError

ONE = Decimal(1)
TRANSFORMER = Transformer(
    name="station",
    hv_bus=0,
    lv_bus=1,
    limit_w=100,
    rated_mva=ONE,
    hv_kv=Decimal(20),
    lv_kv=Decimal("0.4"),
    short_circuit_percent=Decimal(4),
    short_circuit_resistive_percent=ONE,
)


def bus(number: int) -> Bus:
    return Bus(
        bus=number, name=f"bus {number}", nominal_v=400, lowest_voltage_ppm=900_000, highest_voltage_ppm=1_100_000
    )


def line(from_bus: int, to_bus: int, *, limit_w: int = 50, name: str | None = None) -> Line:
    return Line(
        name=name or f"{from_bus}-{to_bus}",
        from_bus=from_bus,
        to_bus=to_bus,
        limit_w=limit_w,
        length_km=ONE,
        resistance_ohm_per_km=ONE,
        reactance_ohm_per_km=ONE,
        max_current_ka=ONE,
    )


def feeder(*lines: Line, meters: Mapping[int, int], buses: int = 5) -> Feeder[int]:
    return Feeder(
        transformer=TRANSFORMER, lines=lines, buses=tuple(bus(number) for number in range(buses)), meter_buses=meters
    )


TWO_ARMS = feeder(line(1, 2), line(3, 2), line(1, 4), meters={12: 2, 13: 3, 23: 3, 14: 4})


@st.composite
def trees(draw: st.DrawFn) -> tuple[Feeder[int], dict[int, int]]:
    """A random tree of up to a dozen buses behind the transformer, its lines in any order and direction."""
    count = draw(st.integers(2, 12))
    ends = [(draw(st.integers(1, number - 1)), number) for number in range(2, count + 1)]
    lines = [line(*(draw(st.permutations(pair))), name=f"line {pair[1]}") for pair in ends]
    meters = draw(st.dictionaries(st.integers(100, 130), st.integers(1, count), min_size=1))
    network = feeder(*draw(st.permutations(lines)), meters=meters, buses=count + 1)
    return network, {meter: draw(st.integers(-200, 200)) for meter in meters}


def path_to_the_station(network: Feeder[int], start: int) -> set[str]:
    """Names of the elements between a bus and the transformer, by trying every way without turning back."""

    def walk(here: int, passed: tuple[str, ...]) -> tuple[str, ...] | None:
        if here == network.transformer.lv_bus:
            return passed
        for each in network.lines:
            if here in (each.from_bus, each.to_bus) and each.name not in passed:
                there = each.to_bus if here == each.from_bus else each.from_bus
                if (found := walk(there, (*passed, each.name))) is not None:
                    return found
        return None

    found = walk(start, ())
    assert found is not None
    return {network.transformer.name, *found}


@given(trees())
def test_an_element_carries_the_setpoints_of_all_meters_whose_way_leads_over_it(
    case: tuple[Feeder[int], dict[int, int]],
) -> None:
    network, setpoints_w = case
    flows_w = radial_flows(network, setpoints_w)
    ways = {meter: path_to_the_station(network, network.meter_buses[meter]) for meter in setpoints_w}
    assert flows_w == {
        element: sum(setpoint_w for meter, setpoint_w in setpoints_w.items() if element in ways[meter])
        for element in network.limits_w
    }
    assert flows_w["station"] == sum(setpoints_w.values())


@given(trees())
def test_just_the_flows_above_their_limits_are_named(case: tuple[Feeder[int], dict[int, int]]) -> None:
    network, setpoints_w = case
    exceeded = {one.element: one for one in check(network, setpoints_w)}
    for element, flow_w in radial_flows(network, setpoints_w).items():
        limit_w = 100 if element == "station" else 50
        assert (element in exceeded) == (abs(flow_w) > limit_w)
        if element in exceeded:
            direction = Direction.EXPORT if flow_w > 0 else Direction.IMPORT
            assert exceeded[element] == LimitExceeded(
                element=element, limit_w=limit_w, flow_w=abs(flow_w), direction=direction
            )


def test_a_flow_at_its_limit_is_within_it_in_both_directions() -> None:
    assert check(TWO_ARMS, {12: 50, 14: 50}) == ()
    assert check(TWO_ARMS, {12: -50, 14: -50}) == ()
    assert [one.element for one in check(TWO_ARMS, {12: 0, 13: 51})] == ["1-2", "3-2"]
    assert check(TWO_ARMS, {14: -51}) == (
        LimitExceeded(element="1-4", limit_w=50, flow_w=51, direction=Direction.IMPORT),
    )


def test_a_line_can_be_overloaded_while_the_transformer_is_not() -> None:
    """Export on one arm serves import on the other: only the sum of a part tells."""
    assert [one.element for one in check(TWO_ARMS, {13: 60, 23: 30, 14: -90})] == ["1-2", "3-2", "1-4"]


def test_the_transformers_limit_can_be_set() -> None:
    assert check(TWO_ARMS, {12: 40, 14: 40}) == ()
    (exceeded,) = check(TWO_ARMS.with_transformer_limit(79), {12: 40, 14: 40})
    assert exceeded == LimitExceeded(element="station", limit_w=79, flow_w=80, direction=Direction.EXPORT)


def test_meters_can_be_called_by_their_numbers() -> None:
    named = Feeder(
        transformer=TRANSFORMER,
        lines=TWO_ARMS.lines,
        buses=TWO_ARMS.buses,
        meter_buses={"mill": 2, "lane": 3, "stranger": 4},
    )
    assert named.numbered({"mill": 12, "lane": 13, "elsewhere": 99}).meter_buses == {12: 2, 13: 3}


@pytest.mark.parametrize("extra", [line(3, 4), line(1, 2, name="second"), line(4, 4), line(4, 0)])
def test_a_mesh_is_refused_by_the_line_that_closes_it(extra: Line) -> None:
    meshed = replace(TWO_ARMS, lines=(*TWO_ARMS.lines, extra))
    with pytest.raises(NetworkMeshed) as refused:
        check(meshed, {12: 1})
    assert refused.value.element == extra.name


def test_setpoints_of_meters_the_feeder_does_not_have_are_refused() -> None:
    with pytest.raises(MeterOutsideFeeder) as refused:
        radial_flows(TWO_ARMS, {12: 1, 99: 0})
    assert refused.value.meter == "99"


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"lines": TWO_ARMS.lines[:2]}, NetworkNotConnected(bus=4)),
        ({"lines": (*TWO_ARMS.lines[:2], line(0, 4))}, NetworkNotConnected(bus=4)),
        ({"lines": (*TWO_ARMS.lines, line(4, 9))}, BusUnknown(element="4-9", bus=9)),
        ({"transformer": replace(TRANSFORMER, hv_bus=9)}, BusUnknown(element="station", bus=9)),
        ({"lines": (*TWO_ARMS.lines, line(1, 2))}, ElementTwice(element="1-2")),
        ({"transformer": replace(TRANSFORMER, name="1-4")}, ElementTwice(element="1-4")),
        ({"buses": (*TWO_ARMS.buses, bus(3))}, ElementTwice(element="3")),
        ({"meter_buses": {12: 0}}, MeterNotFed(meter="12", bus=0)),
        ({"meter_buses": {12: 77}}, MeterNotFed(meter="12", bus=77)),
    ],
)
def test_what_is_no_network_behind_one_transformer_is_refused(
    changes: Mapping[str, Any], refused: GridLedgerError
) -> None:
    with pytest.raises(type(refused)) as caught:
        replace(TWO_ARMS, **changes)
    assert caught.value.values() == refused.values()
