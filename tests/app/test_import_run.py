"""`gridledger import`: real foreign files with exact counts, and nothing half-written whatever happens."""

import csv
import gzip
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from gridledger.app.import_run import run_import
from gridledger.cli.application import create_cli
from gridledger.cli.operations import ImportRequest, Operations
from gridledger.errors import GridLedgerError
from gridledger.simulation.inputs import data_folder, load_carbon, load_prices, load_readings

TIMEOUT_S = 60
HOME_ROWS = ",GC,GG\n2011-10-02 01:30:00,1,0\n2011-10-02 02:00:00,1,0\n2011-10-02 03:00:00,0,1\n"
STANDARD = "meter_id,interval_start,interval_seconds,import_wh,export_wh\n"
GENERATION = ("raw/smard_generation_2016_missing_and_dst_raw.csv", "smard-generation")
HOME = ("--format", "ausgrid", "--meter-id", "home")


@pytest.fixture(scope="module")
def data() -> Path:
    folder = data_folder(os.environ)
    if folder is None or not (folder / "raw").is_dir():
        pytest.skip("the outside data sets are absent; GRIDLEDGER_DATA says where they are")
    return folder


def never(*_arguments: Any) -> Any:
    raise AssertionError


def imported(source: Path, out: Path, *options: object) -> tuple[int, dict[str, Any], str]:
    """Exit status, what standard output says, what standard error says."""
    operations = Operations(**{field.name: never for field in fields(Operations)} | {"import_file": run_import})
    command = ["import", str(source), "--out", str(out), *map(str, options)]
    result = CliRunner().invoke(create_cli(operations), command)
    return result.exit_code, json.loads(result.stdout) if result.stdout else {}, result.stderr


def counts(result: dict[str, Any]) -> tuple[int, int, int, dict[str, int]]:
    return result["rows_read"], result["rows_imported"], result["rows_written"], result["refused"]


def rows_of(path: Path) -> list[dict[str, str]]:
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_sydney_home_imports_but_for_two_labels_that_clocks_skip(data: Path, tmp_path: Path) -> None:
    out, report = tmp_path / "home.csv", tmp_path / "report.jsonl"
    options = ("--format", "ausgrid", "--meter-id", "ausgrid-012", "--report", report)
    status, result, _ = imported(data / "raw" / "ausgrid12_localtime_kw_raw.csv", out, *options)
    assert (status, counts(result)) == (1, (720, 718, 718, {"nonexistent-local-time": 2}))
    refused = [json.loads(line) for line in report.read_text().splitlines()]
    assert [(row["line"], row["value"]) for row in refused] == [
        (342, "2011-10-02 02:00:00"),
        (343, "2011-10-02 02:30:00"),
    ]
    known = {row["interval_start"]: row for row in rows_of(data / "readings_ausgrid12_30min.csv.gz")}
    assert all(known[row["interval_start"]] == row for row in rows_of(out))
    assert load_readings(out).reading_count == 718


def test_the_home_without_dates_imports_whole(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "home.csv"
    options = ("--format", "citylearn", "--meter-id", "fontana-01", "--start", "2016-08-01T08:00:00Z", "--pv-kwp", "4")
    status, result, _ = imported(data / "raw" / "citylearn_building_1_first_2weeks_raw.csv", out, *options)
    assert (status, counts(result)) == (0, (336, 336, 336, {}))
    known = [row for row in rows_of(data / "readings_fontana_60min.csv.gz") if row["meter_id"] == "fontana-01"]
    assert rows_of(out) == known[:336]


def test_prices_with_both_changes_of_the_clocks_import_whole(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "prices.csv"
    options = ("--format", "smard-prices")
    status, result, _ = imported(data / "raw" / "smard_prices_2024_dst_raw.csv", out, *options)
    assert (status, counts(result)) == (0, (144, 144, 144, {}))
    prices, known = load_prices(out), load_prices(data / "prices_de_lu_60min.csv.gz")
    assert len(prices.hours) == 144
    assert max(prices.values.values()) == 93_628
    assert all(known.values[hour] == price for hour, price in prices.values.items())


def test_quarters_of_generation_become_hours_and_those_the_grid_s_carbon(data: Path, tmp_path: Path) -> None:
    mix, carbon = tmp_path / "mix.csv.gz", tmp_path / "carbon.csv"
    status, result, _ = imported(data / GENERATION[0], mix, "--format", GENERATION[1])
    assert (status, counts(result)) == (0, (10_752, 10_752, 2_688, {}))
    hours = [row["interval_start"] for row in rows_of(mix)]
    berlin = ZoneInfo("Europe/Berlin")
    days = Counter(datetime.fromisoformat(hour).astimezone(berlin).date().isoformat() for hour in hours)
    assert Counter(days.values()) == {24: 110, 23: 1, 25: 1}
    assert (days["2016-03-27"], days["2016-10-30"]) == (23, 25)
    assert len(set(hours)) == 112 * 24
    factors = ("--format", "carbon", "--factors", data / "emission_factors.csv")
    status, result, _ = imported(mix, carbon, *factors)
    assert (status, counts(result)) == (0, (2_688, 2_688, 2_688, {}))
    assert len(load_carbon(carbon).values) == 2_688 - sum("" in list(row.values())[2:] for row in rows_of(mix))


def test_the_grid_s_carbon_is_that_of_the_data_set(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "carbon.csv.gz"
    options = ("--format", "carbon", "--factors", data / "emission_factors.csv")
    status, result, _ = imported(data / "generation_mix_de_60min.csv.gz", out, *options)
    assert (status, counts(result)) == (0, (17_544, 17_544, 17_544, {}))
    known = [row["gco2_per_kwh"] for row in rows_of(data / "carbon_de_60min.csv.gz")]
    made = [row["gco2_per_kwh"] for row in rows_of(out)]
    assert [bool(one) for one in made] == [bool(one) for one in known]
    assert all(abs(float(one) - float(other)) < 0.0101 for one, other in zip(made, known, strict=True) if one)


def test_a_file_in_the_product_s_columns_comes_out_as_it_went_in(data: Path, tmp_path: Path) -> None:
    source, out = data / "readings_ausgrid12_30min.csv.gz", tmp_path / "out.csv.gz"
    status, result, _ = imported(source, out, "--format", "standard")
    assert (status, result["rows_refused"]) == (0, 0)
    assert rows_of(out) == rows_of(source)


def test_some_rows_refused_is_exit_status_one_and_both_files_are_there(tmp_path: Path) -> None:
    source, out, report = tmp_path / "in.csv", tmp_path / "out.csv", tmp_path / "report.jsonl"
    source.write_text(HOME_ROWS)
    status, result, said = imported(source, out, *HOME, "--report", report)
    assert (status, counts(result)) == (1, (3, 2, 2, {"nonexistent-local-time": 1}))
    assert "1 of 3 rows refused: 1 nonexistent-local-time" in said
    assert out.read_text() == (
        "meter_id,interval_start,interval_seconds,import_wh,export_wh,consumption_wh,generation_wh\n"
        "home,2011-10-01T15:30:00Z,1800,500,0,500,0\nhome,2011-10-01T16:00:00Z,1800,0,500,0,500\n"
    )
    assert [json.loads(line)["line"] for line in report.read_text().splitlines()] == [3]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", "out.csv", "report.jsonl"]


@pytest.mark.parametrize(
    ("content", "options", "code"),
    [
        (b"\x1f\x8bnot gzip", HOME, "unreadable-file"),
        (gzip.compress(HOME_ROWS.encode())[:-9], HOME, "unreadable-file"),
        (HOME_ROWS.encode() + b"\xff", HOME, "unreadable-file"),
        (HOME_ROWS.encode() + HOME_ROWS[7:].encode() * 999 + b"\xff", HOME, "unreadable-file"),
        (gzip.compress(HOME_ROWS.encode())[:-8] + bytes(8), HOME, "unreadable-file"),
        (gzip.compress(HOME_ROWS.encode()) + b"rubbish", HOME, "unreadable-file"),
        (HOME_ROWS.replace("GC", "GD").encode(), HOME, "missing-columns"),
        (HOME_ROWS.encode(), ("--format", "ausgrid"), "import-option-missing"),
        (HOME_ROWS.encode(), ("--format", "xml"), "unknown-import-format"),
        (HOME_ROWS.encode(), (*HOME, "--start", "soon"), "not-utc"),
        (HOME_ROWS.encode(), (*HOME, "--pv-kwp", "much"), "import-option-refused"),
        (f"{STANDARD}a,2024-05-01T00:00:00Z,60,1,0\n".encode(), ("--format", "standard"), "unsupported-mtu-length"),
    ],
)
def test_a_file_unusable_as_a_whole_is_exit_status_two_and_nothing_is_written(
    tmp_path: Path, content: bytes, options: tuple[str, ...], code: str
) -> None:
    source, out, report = tmp_path / "in.csv", tmp_path / "out.csv", tmp_path / "report.jsonl"
    source.write_bytes(content)
    out.write_text("what was there before")
    status, result, said = imported(source, out, *options, "--report", report)
    assert (status, result) == (2, {})
    assert code in said
    assert out.read_text() == "what was there before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", "out.csv"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text(HOME_ROWS)
    status, _, said = imported(source, tmp_path / "nowhere" / "out.csv", *HOME)
    assert (status, "output-unwritable" in said) == (2, True)


KILLED = """
import os, signal, sys
from pathlib import Path
from gridledger.app.import_run import run_import
from gridledger.cli.operations import ImportRequest

def on_progress(done, total, text):
    if done > total // 2:
        os.kill(os.getpid(), signal.SIGKILL)

given = dict.fromkeys(("meter_id", "time_zone", "start", "pv_kwp", "market", "interval_s", "factors"))
source, out, report = map(Path, sys.argv[1:])
run_import(ImportRequest(source=source, format="standard", out=out, report=report, **given), on_progress)
"""


def test_after_a_kill_halfway_there_is_no_result(tmp_path: Path) -> None:
    source, out, report = tmp_path / "in.csv", tmp_path / "out.csv", tmp_path / "report.jsonl"
    starts_and_imports = (("2024-05-01T00:00:00Z", "x"), ("2024-05-01T00:15:00Z", "1"))
    rows = "".join(f"m{meter},{start},900,{wh},0\n" for meter in range(20_000) for start, wh in starts_and_imports)
    source.write_text(STANDARD + rows)
    command = [sys.executable, "-c", KILLED, str(source), str(out), str(report)]
    killed = subprocess.run(command, capture_output=True, timeout=TIMEOUT_S, check=False)
    assert killed.returncode == -signal.SIGKILL
    parts = [path for path in tmp_path.iterdir() if path.suffix == ".part"]
    assert len(parts) == 2
    assert any(path.stat().st_size for path in parts)
    assert not out.exists()
    assert not report.exists()
    status, result, _ = imported(source, out, "--format", "standard", "--report", report)
    assert (status, counts(result)) == (1, (40_000, 20_000, 20_000, {"energy-not-integer": 20_000}))


@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_bytes_make_an_untyped_error_or_half_a_file(tmp_path: Path, data: st.DataObject) -> None:
    source, out = tmp_path / "in.csv", tmp_path / "out.csv"
    out.unlink(missing_ok=True)
    good = data.draw(st.sampled_from([HOME_ROWS.encode(), gzip.compress(HOME_ROWS.encode(), mtime=0)]))
    place = data.draw(st.integers(0, len(good)))
    source.write_bytes(good[:place] + data.draw(st.binary(max_size=8)) + good[place + data.draw(st.integers(0, 8)) :])
    given_options = dict.fromkeys(("time_zone", "start", "pv_kwp", "market", "interval_s", "factors", "report"))
    request = ImportRequest(source=source, format="ausgrid", out=out, meter_id="home", **given_options)
    try:
        result = run_import(request, lambda done, total, text: None)
    except GridLedgerError:
        assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]
    else:
        assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", "out.csv"]
        assert len(rows_of(out)) == result["rows_imported"]
