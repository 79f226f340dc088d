"""The power flow of the extra `grid` agrees with the sums but for the losses, and knows voltages and meshes besides."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gridledger.dispatch.errors import MeterOutsideFeeder, NetworkMeshed
from gridledger.dispatch.feeder import Feeder, check, radial_flows
from gridledger.dispatch.shares import mean_power_w
from gridledger.grid.errors import PowerFlowDiverged, PowerFlowNotInstalled
from gridledger.grid.files import load_feeder
from gridledger.grid.power_flow import PowerFlow, PowerFlowResult
from gridledger.simulation.inputs import SIMBENCH_DAY_READINGS, data_folder, load_readings

VILLAGE = Path(__file__).parent / "village"
WITH_PANDAPOWER = importlib.util.find_spec("pandapower") is not None
needs_pandapower = pytest.mark.skipif(not WITH_PANDAPOWER, reason="pandapower is absent: install gridledger[grid]")


@pytest.fixture(scope="module")
def village() -> Feeder[str]:
    return load_feeder(VILLAGE)


def agreeing(feeder: Feeder[str], flow: PowerFlow[str], setpoints_w: dict[str, int]) -> PowerFlowResult:
    """Toward the transformer an element carries the sum of the setpoints beyond it less losses beyond it."""
    solved, sums_w = flow.solve(setpoints_w), radial_flows(feeder, setpoints_w)
    rounding_w = 1
    for element, sum_w in sums_w.items():
        assert -rounding_w <= sum_w - solved.flows_w[element] <= solved.losses_w + rounding_w, element
    return solved


@needs_pandapower
@pytest.mark.parametrize(
    "setpoints_w",
    [
        {},
        {"farm": 40_000},
        {"farm": -40_000},
        {"mill": 25_000, "lane-1": 12_000, "lane-2": 3_000, "school": -30_000, "farm": 9_000},
    ],
)
def test_power_flow_and_sums_agree_but_for_the_losses(village: Feeder[str], setpoints_w: dict[str, int]) -> None:
    solved = agreeing(village, PowerFlow(village), setpoints_w)
    assert (solved.losses_w > 0) == bool(setpoints_w)


@needs_pandapower
def test_losses_of_a_single_line_are_those_ohm_knows(village: Feeder[str]) -> None:
    """20 kW over 0.12 km of 0.2067 ohm/km to the mill: about 3 x (28.9 A)^2 x 0.0248 ohm, and the transformer's."""
    solved = PowerFlow(village).solve({"mill": -20_000})
    line_w = -solved.flows_w["station-mill"]
    assert line_w == 20_000
    station_w = -solved.flows_w["village"]
    assert station_w - line_w == pytest.approx(3 * 28.87**2 * 0.0248, rel=0.03)


@needs_pandapower
def test_a_limit_is_exceeded_as_the_sums_say_it_is(village: Feeder[str]) -> None:
    """Far from a limit both name the same elements; losses raise a loading by import and lower one by export."""
    flow = PowerFlow(village)
    for setpoints_w in ({"lane-1": 48_000}, {"lane-1": -42_000}, {"mill": -90_000}, {"mill": 90_000}, {"mill": 1}):
        by_sums = {(one.element, one.direction) for one in check(village, setpoints_w)}
        solved = flow.solve(setpoints_w)
        assert {(one.element, one.direction) for one in solved.limits_exceeded} == by_sums
        assert all(one.flow_w > one.limit_w for one in solved.limits_exceeded)


@needs_pandapower
def test_only_the_power_flow_sees_voltages(village: Feeder[str]) -> None:
    """70 kW at the end of 350 m of thin cable stay below every sum's limit, but lift the farm above 1.1."""
    setpoints_w = {"farm": 70_000}
    assert check(village, setpoints_w) == ()
    solved = PowerFlow(village).solve(setpoints_w)
    (outside,) = solved.voltages_outside
    assert (outside.bus, outside.lowest_ppm, outside.highest_ppm) == ("farm", 900_000, 1_100_000)
    assert outside.voltage_ppm == solved.voltages_ppm["farm"] > 1_100_000


@needs_pandapower
def test_a_meshed_network_is_solved_where_sums_refuse_it(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(VILLAGE, tmp_path / "village"))
    with (folder / "lines.csv").open("a") as file:
        file.write("lane-farm,3,5,0.05,0.2067,0.0804,0.27,100,\n")
    meshed = load_feeder(folder)
    with pytest.raises(NetworkMeshed):
        radial_flows(meshed, {"farm": 40_000})
    radial, solved = PowerFlow(load_feeder(VILLAGE)), PowerFlow(meshed).solve({"farm": 40_000})
    to_the_station_w = solved.flows_w["station-mill"] + solved.flows_w["station-school"]
    assert to_the_station_w == pytest.approx(40_000, abs=solved.losses_w)
    assert min(solved.flows_w["station-mill"], solved.flows_w["station-school"]) > 5_000  # both ways carry it
    assert 0 < solved.losses_w < radial.solve({"farm": 40_000}).losses_w


@needs_pandapower
def test_what_the_network_cannot_carry_at_all_is_said(village: Feeder[str]) -> None:
    flow = PowerFlow(village)
    with pytest.raises(PowerFlowDiverged):
        flow.solve({"farm": -5_000_000})
    assert flow.solve({"farm": -1_000}).limits_exceeded == ()  # and the next one is solved as if nothing had been
    with pytest.raises(MeterOutsideFeeder):
        flow.solve({"nobody": 1})


@needs_pandapower
def test_the_simbench_day_breaks_50_kw_in_the_same_21_quarter_hours_by_sums_and_by_power_flow() -> None:
    data = data_folder(os.environ)
    if data is None:
        pytest.skip("the outside data sets are absent; GRIDLEDGER_DATA says where they are")
    feeder = load_feeder(data / "feeder_simbench_rural2").with_transformer_limit(50_000)
    flow, day = PowerFlow(feeder), load_readings(SIMBENCH_DAY_READINGS)
    broken = 0
    for mtu_start in day.mtu_starts:
        setpoints_w = {row.meter_id: mean_power_w(row.export_wh - row.import_wh, 900) for row in day.at(mtu_start)}
        by_sums, solved = check(feeder, setpoints_w), agreeing(feeder, flow, setpoints_w)
        assert [(one.element, one.direction) for one in solved.limits_exceeded] == [
            (one.element, one.direction) for one in by_sums
        ]
        assert solved.losses_w < 600
        assert solved.voltages_outside == ()
        broken += len(by_sums)
    assert broken == 21


def test_without_pandapower_the_error_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['pandapower'] = None\n"
        "from pathlib import Path\n"
        "from gridledger.grid.files import load_feeder\n"
        "from gridledger.grid.power_flow import PowerFlow, PowerFlowNotInstalled\n"
        f"feeder = load_feeder(Path({str(VILLAGE)!r}))\n"
        "try:\n"
        "    PowerFlow(feeder)\n"
        "except PowerFlowNotInstalled as error:\n"
        "    print(error.code(), error)\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.startswith("power-flow-not-installed The power flow needs the extra `grid`")
    assert PowerFlowNotInstalled.category == "unavailable"
