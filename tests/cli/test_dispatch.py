"""`gridledger dispatch check` names every limit that uncurtailed readings exceed, and hides no missing reading."""

import importlib.util
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from gridledger.app.dispatch_check import check_dispatch
from gridledger.cli.application import create_cli
from gridledger.cli.operations import Operations
from gridledger.dispatch.errors import MeterOutsideFeeder
from gridledger.grid.errors import FeederFileRefused
from gridledger.units import format_utc

VILLAGE = Path(__file__).parents[1] / "grid" / "village"
START = 1_465_776_000
QUIET = {"mill": 0, "lane-1": 0, "lane-2": 0, "school": 0, "farm": 0}
WITH_PANDAPOWER = importlib.util.find_spec("pandapower") is not None
needs_pandapower = pytest.mark.skipif(not WITH_PANDAPOWER, reason="pandapower is absent: install gridledger[grid]")


def never(*_: object) -> Any:
    raise AssertionError("this command needs nothing else of the application")


def run(*arguments: object) -> Result:
    operations = replace(
        Operations(**{operation.name: never for operation in fields(Operations)}), check_dispatch=check_dispatch
    )
    return CliRunner().invoke(create_cli(operations), ["dispatch", "check", *map(str, arguments)])


@pytest.fixture
def readings(tmp_path: Path) -> Path:
    return tmp_path / "readings.csv"


def write(path: Path, quarter_hours: Sequence[Mapping[str, int]], *more: str) -> None:
    """Net mean powers in W, export positive, as energies of quarter-hours."""
    rows = ["meter_id,interval_start,interval_seconds,import_wh,export_wh"]
    for number, net_w in enumerate(quarter_hours):
        start = format_utc(START + 900 * number)
        rows += [
            f"{meter},{start},900,{max(0, -power_w) // 4},{max(0, power_w) // 4}" for meter, power_w in net_w.items()
        ]
    path.write_text("\n".join((*rows, *more)) + "\n")


def checked(readings: Path, *options: object) -> dict[str, Any]:
    out = readings.with_suffix(".json")
    ran = run("--feeder", VILLAGE, "--readings", readings, "--json", out, *options)
    assert ran.exit_code == 0, ran.output
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def test_each_limit_is_named_with_its_excess_mtu_by_mtu(readings: Path) -> None:
    write(readings, [QUIET, QUIET | {"lane-1": 44_000}, QUIET | {"mill": -50_000, "school": -32_000}])
    found = checked(readings)
    assert (found["mtus"], found["mtus_exceeding"]) == (3, 2)
    assert (found["mtus_exceeding_by_export"], found["mtus_exceeding_by_import"]) == (1, 1)
    assert found["limits_exceeded"] == [
        {
            "mtu_start": START + 900,
            "element": "lane-mill",
            "limit_w": 40_000,
            "flow_w": 44_000,
            "excess_w": 4_000,
            "direction": "export",
        },
        {
            "mtu_start": START + 1800,
            "element": "village",
            "limit_w": 80_000,
            "flow_w": 82_000,
            "excess_w": 2_000,
            "direction": "import",
        },
    ]


def test_the_transformers_limit_can_be_given_in_kw(readings: Path) -> None:
    write(readings, [QUIET | {"mill": 10_004}, QUIET | {"mill": 10_000}])
    assert checked(readings)["mtus_exceeding"] == 0
    found = checked(readings, "--limit-kw", 10)
    assert (found["mtus_exceeding"], found["limit_w"]) == (1, 10_000)
    assert [one["element"] for one in found["limits_exceeded"]] == ["village"]


def test_missing_readings_and_refused_rows_are_counted(readings: Path) -> None:
    write(readings, [QUIET, {"mill": 0}], "mill,yesterday,900,0,0")
    found = checked(readings)
    assert (found["readings_missing"], found["rows_refused"]) == (4, 1)


def test_meters_can_be_put_to_buses_by_another_file(readings: Path, tmp_path: Path) -> None:
    (tmp_path / "meters.csv").write_text("meter_id,bus\nboat,3\n")
    write(readings, [{"boat": 44_000}])
    found = checked(readings, "--meters", tmp_path / "meters.csv")
    assert (found["meters"], found["mtus_exceeding"]) == (1, 1)


def test_readings_of_a_meter_the_feeder_does_not_have_stop_the_check(readings: Path) -> None:
    write(readings, [QUIET | {"stranger": 0}])
    assert isinstance(run("--feeder", VILLAGE, "--readings", readings).exception, MeterOutsideFeeder)


def test_a_broken_feeder_stops_the_check(readings: Path, tmp_path: Path) -> None:
    (tmp_path / "meters.csv").write_text("meter_id,bus\nboat,sea\n")
    write(readings, [QUIET])
    ran = run("--feeder", VILLAGE, "--readings", readings, "--meters", tmp_path / "meters.csv")
    assert isinstance(ran.exception, FeederFileRefused)


@needs_pandapower
def test_a_power_flow_names_voltages_and_what_has_no_solution(readings: Path) -> None:
    write(readings, [QUIET, QUIET | {"farm": 70_000}, QUIET | {"farm": -5_000_000}])
    assert checked(readings, "--limit-kw", 9_999)["mtus_exceeding"] == 1  # the sums see the last only
    found = checked(readings, "--power-flow")
    assert found["method"] == "power flow"
    assert [(one["mtu_start"], one["bus"]) for one in found["voltages_outside"]] == [(START + 900, "farm")]
    assert found["mtus_without_solution"] == [START + 1800]
    assert found["mtus_exceeding"] == 2
