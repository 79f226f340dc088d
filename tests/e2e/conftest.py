"""End-to-end tests run the product as its users do: commands, processes, files."""

import csv
import gzip
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from gridledger.simulation.inputs import SIMBENCH_DAY_METERS, SIMBENCH_DAY_READINGS

COMMAND_TIMEOUT_S = 400
WHOLE_RUN = ("wall_s",)
GAS = ("gas_used", "gas_per_trade")


def gridledger(*arguments: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    command = [sys.executable, "-m", "gridledger.app.main", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=check)


def without(result: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """A result without the figures that may differ."""
    return {name: value for name, value in result.items() if name not in names}


def read_result(path: Path) -> dict[str, Any]:
    """A result written by --json."""
    result: dict[str, Any] = json.loads(path.read_text())
    return result


def cut_feeder(folder: Path, meter_ids: Sequence[str], from_hour: int, to_hour: int) -> tuple[Path, Path]:
    """Readings and meters of some of the feeder's meters for some hours of its day."""
    readings, meters = folder / "readings.csv", folder / "meters.csv"
    with gzip.open(SIMBENCH_DAY_READINGS, "rt") as source, readings.open("w", newline="") as target:
        rows = csv.DictReader(source)
        writer = csv.DictWriter(target, rows.fieldnames or ())
        writer.writeheader()
        for row in rows:
            if row["meter_id"] in meter_ids and from_hour <= int(row["interval_start"][11:13]) < to_hour:
                writer.writerow(row)
    with SIMBENCH_DAY_METERS.open() as source, meters.open("w", newline="") as target:
        rows = csv.DictReader(source)
        writer = csv.DictWriter(target, rows.fieldnames or ())
        writer.writeheader()
        writer.writerows(row for row in rows if row["meter_id"] in meter_ids)
    return readings, meters


@pytest.fixture(scope="session")
def feeder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two hours around noon of eight meters, three of them with a roof of solar cells."""
    meter_ids = ["rural2-001", "rural2-002", "rural2-004", "rural2-006", "rural2-008", "rural2-010"]
    with SIMBENCH_DAY_METERS.open() as source:
        solar = [row["meter_id"] for row in csv.DictReader(source) if float(row["pv_kwp"] or 0) > 0]
    return cut_feeder(tmp_path_factory.mktemp("feeder"), sorted({*meter_ids, *solar[:3]}), 10, 12)


@pytest.fixture(scope="session")
def finished_run(feeder: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with `out.json`, `export` and `data` of an undisturbed run over the small feeder, seed 3."""
    folder = tmp_path_factory.mktemp("run")
    readings, meters = feeder
    gridledger(
        *("replay", "--readings", readings, "--meters", meters, "--seed", 3, "--data", folder / "data"),
        *("--json", folder / "out.json", "--export", folder / "export"),
    )
    return folder
