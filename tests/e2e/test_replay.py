"""A replay settles everything it clears, conserves cash, repeats itself, and survives a kill."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from tests.e2e.conftest import COMMAND_TIMEOUT_S, GAS, WHOLE_RUN, gridledger, read_result, without

from gridledger.chain.journal import JournalCorrupt, read_journal

PROMISED = {
    "meters",
    "mtus",
    "orders",
    "trades",
    "traded_wh",
    "cleared_mtus",
    "settled_mtus",
    "dispatch_acknowledged",
    "dispatch_curtailed",
    "tokens_minted_ugco2",
    "gas_used",
    "gas_per_trade",
    "audit_ok",
    "wall_s",
    "cash_sum_microcents",
}


def test_a_run_settles_every_cleared_mtu_and_every_cent_has_two_ends(finished_run: Path) -> None:
    result = read_result(finished_run / "out.json")
    assert set(result) >= PROMISED
    assert result["audit_ok"] is True
    assert result["cash_sum_microcents"] == 0
    assert result["settled_mtus"] == result["cleared_mtus"] > 0
    assert result["trades"] > 0
    assert result["tokens_minted_ugco2"] > 0
    assert result["failed_transactions"] == 0


def test_the_same_seed_gives_the_same_result(feeder: tuple[Path, Path], finished_run: Path, tmp_path: Path) -> None:
    readings, meters = feeder
    gridledger("replay", "--readings", readings, "--meters", meters, "--seed", 3, "--json", tmp_path / "out.json")
    again = read_result(tmp_path / "out.json")
    assert without(again, *WHOLE_RUN) == without(read_result(finished_run / "out.json"), *WHOLE_RUN)


def test_another_seed_gives_another_result(feeder: tuple[Path, Path], finished_run: Path, tmp_path: Path) -> None:
    readings, meters = feeder
    gridledger("replay", "--readings", readings, "--meters", meters, "--seed", 4, "--json", tmp_path / "out.json")
    assert read_result(tmp_path / "out.json")["traded_wh"] != read_result(finished_run / "out.json")["traded_wh"]


def test_a_node_killed_in_the_middle_continues_to_the_same_result(
    feeder: tuple[Path, Path], finished_run: Path, tmp_path: Path
) -> None:
    readings, meters = feeder
    command = [sys.executable, "-m", "gridledger.app.main", "replay", "--readings", str(readings)]
    command += ["--meters", str(meters), "--seed", "3", "--data", str(tmp_path / "data")]
    with subprocess.Popen([*command, "--json", str(tmp_path / "out.json")], stderr=subprocess.PIPE, text=True) as run:
        for number in (14, 24, 33):
            _kill_node_at_block(run, tmp_path / "data", number)
        _, errors = run.communicate(timeout=COMMAND_TIMEOUT_S)
    assert run.returncode == 0, errors
    disturbed, undisturbed = read_result(tmp_path / "out.json"), read_result(finished_run / "out.json")
    assert without(disturbed, *WHOLE_RUN, *GAS) == without(undisturbed, *WHOLE_RUN, *GAS)


def test_a_limit_is_kept_by_caps_and_gateways_whatever_happens_to_the_node(
    feeder: tuple[Path, Path], tmp_path: Path
) -> None:
    readings, meters = feeder
    command = [sys.executable, "-m", "gridledger.app.main", "replay", "--readings", str(readings)]
    command += ["--meters", str(meters), "--seed", "3", "--limit-kw", "3", "--data", str(tmp_path / "data")]
    with subprocess.Popen([*command, "--json", str(tmp_path / "out.json")], stderr=subprocess.PIPE, text=True) as run:
        for number in (20, 30):
            _kill_node_at_block(run, tmp_path / "data", number)
        _, errors = run.communicate(timeout=COMMAND_TIMEOUT_S)
    assert run.returncode == 0, errors
    result = read_result(tmp_path / "out.json")
    assert (result["export_limit_exceeded"], result["cash_sum_microcents"], result["audit_ok"]) == ([], 0, True)
    assert result["dispatch_curtailed"] + result["dispatch_acknowledged"] == result["cleared_mtus"]
    assert result["settled_mtus"] == result["cleared_mtus"] > 0
    assert result["dispatch_curtailed"] > 0
    assert 0 < result["curtailed_wh"] == result["curtailed_low_carbon_wh"]  # there are no other sources
    assert result["generation_given_up_wh"] > result["curtailed_wh"]


def test_a_run_interrupted_by_ctrl_c_continues_with_the_same_command(
    feeder: tuple[Path, Path], finished_run: Path, tmp_path: Path
) -> None:
    readings, meters = feeder
    arguments = ["replay", "--readings", readings, "--meters", meters, "--seed", 3, "--data", tmp_path / "data"]
    command = [sys.executable, "-m", "gridledger.app.main", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as run:
        node = _node_of(run.pid)
        _wait_for_block(tmp_path / "data", 20)
        os.kill(run.pid, signal.SIGINT)
        run.communicate(timeout=60)
    assert run.returncode != 0
    psutil.wait_procs([node], timeout=30)
    assert not node.is_running()
    gridledger(*arguments, "--json", tmp_path / "out.json")
    continued, undisturbed = read_result(tmp_path / "out.json"), read_result(finished_run / "out.json")
    assert without(continued, *WHOLE_RUN, *GAS) == without(undisturbed, *WHOLE_RUN, *GAS)


def test_a_folder_of_another_run_is_refused_and_left_alone(feeder: tuple[Path, Path], tmp_path: Path) -> None:
    readings, meters = feeder
    data = tmp_path / "data"
    data.mkdir()
    (data / "something").write_text("else")
    refused = gridledger("replay", "--readings", readings, "--meters", meters, "--data", data, check=False)
    assert refused.returncode == 1
    assert "folder-not-empty" in refused.stderr
    assert [path.name for path in data.iterdir()] == ["something"]


def test_a_finished_run_is_not_overwritten(feeder: tuple[Path, Path], finished_run: Path) -> None:
    readings, meters = feeder
    before = sorted(path.name for path in (finished_run / "data").iterdir())
    arguments = ("replay", "--readings", readings, "--meters", meters, "--seed", 3, "--data", finished_run / "data")
    refused = gridledger(*arguments, check=False)
    assert refused.returncode == 1
    assert "run-complete" in refused.stderr
    assert sorted(path.name for path in (finished_run / "data").iterdir()) == before


@pytest.mark.parametrize("column", ["import_wh", "quantity_wh", "energy_wh"])
def test_one_flipped_digit_in_the_export_is_named_by_the_audit(finished_run: Path, tmp_path: Path, column: str) -> None:
    name = {"import_wh": "readings.csv", "quantity_wh": "orders.csv", "energy_wh": "trades.csv"}[column]
    export = tmp_path / "export"
    export.mkdir()
    for source in (finished_run / "export").iterdir():
        (export / source.name).write_bytes(source.read_bytes())
    assert gridledger("audit", "--export", export, "--json", tmp_path / "good.json").returncode == 0
    lines = (export / name).read_text().splitlines()
    header, row = lines[0].split(","), lines[-1].split(",")
    place = header.index(column)
    row[place] = row[place][:-1] + str((int(row[place][-1]) + 1) % 10)
    lines[-1] = ",".join(row)
    (export / name).write_text("\n".join(lines) + "\n")
    refused = gridledger("audit", "--export", export, "--json", tmp_path / "bad.json", check=False)
    assert refused.returncode == 1
    report = read_result(tmp_path / "bad.json")
    assert report["ok"] is False
    place_names = {
        "readings.csv": ("meter {}", "meter"),
        "orders.csv": ("{}", "uid"),
        "trades.csv": ("trade {}", "position"),
    }
    text, naming_column = place_names[name]
    named = text.format(row[header.index(naming_column)])
    assert any(named in mismatch["record"] for mismatch in report["mismatches"]), report["mismatches"]


def _node_of(pid: int) -> psutil.Process:
    """The node process that a replay has started, waiting for it within bounds."""
    found: list[psutil.Process] = []

    def look() -> bool:
        found[:] = [child for child in psutil.Process(pid).children() if _serves(child)]
        return bool(found)

    _wait_until(look)
    return found[0]


def _serves(process: psutil.Process) -> bool:
    try:
        return "serve" in process.cmdline()
    except psutil.NoSuchProcess:  # it ended between being listed and being asked
        return False


def _kill_node_at_block(run: "subprocess.Popen[str]", data: Path, number: int) -> None:
    """Kill the node once its chain has that many blocks; the run must still be going on."""
    _wait_for_block(data, number)
    node = _node_of(run.pid)
    node.kill()
    psutil.wait_procs([node], timeout=30)
    assert run.poll() is None


def _wait_for_block(data: Path, number: int) -> None:
    _wait_until(lambda: (data / "chain" / "journal.db").exists() and _block_count(data) >= number)


def _block_count(data: Path) -> int:
    try:
        return sum(1 for _ in read_journal(data / "chain"))
    except JournalCorrupt:  # being created at this very moment
        return 0


def _wait_until(happened: Callable[[], bool]) -> None:
    """Poll within bounds."""
    deadline, pause = time.monotonic() + 90, threading.Event()
    while not happened():
        assert time.monotonic() < deadline, "it did not happen in time"
        pause.wait(0.02)
