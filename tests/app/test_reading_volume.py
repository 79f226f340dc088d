"""A node's memory does not grow with its readings. 100,000 meters for a day: GRIDLEDGER_PROFILE=volume, some hours."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "measure_readings.py"
MOST_MIB = 2048
FULL_TIMEOUT_S = 8 * 3600


def measured(meters: int, mtus: int, timeout_s: int) -> dict[str, Any]:
    command = [sys.executable, str(SCRIPT), str(meters), str(mtus)]
    done = subprocess.run(command, capture_output=True, timeout=timeout_s, check=True, text=True)
    sys.stdout.write(done.stdout)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def assert_all_kept(result: dict[str, Any], readings: int) -> None:
    assert result["outcomes"] == {"accepted": readings}
    assert result["kept"] == readings
    assert result["memory_mib"] < MOST_MIB


def test_readings_of_600_meters_are_all_kept() -> None:
    assert_all_kept(measured(600, 2, 300), 1_200)


@pytest.mark.long
@pytest.mark.timeout(FULL_TIMEOUT_S)
@pytest.mark.skipif(os.environ.get("GRIDLEDGER_PROFILE") != "volume", reason="takes hours: GRIDLEDGER_PROFILE=volume")
def test_readings_of_100_000_meters_for_a_day_stay_under_two_gibibytes() -> None:
    assert_all_kept(measured(100_000, 96, FULL_TIMEOUT_S), 9_600_000)
