"""The one day of real-derived data in the repository, and the larger data sets where they are at hand."""

import csv
import gzip
import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from gridledger.errors import GridLedgerError
from gridledger.simulation.inputs import (
    SIMBENCH_DAY_METERS,
    SIMBENCH_DAY_READINGS,
    HourlySeries,
    MetersFile,
    MissingColumns,
    ReadingsFile,
    load_carbon,
    load_meters,
    load_prices,
    load_readings,
    meter_specs,
)
from gridledger.units import parse_utc

DAY_START = parse_utc("day", "2016-06-13T00:00:00Z")
DAY_END = parse_utc("day", "2016-06-14T00:00:00Z")
SOLAR_METERS = [f"rural2-{number:03d}" for number in (2, 11, 14, 16, 21, 41, 43, 45, 65, 72, 94)]

Loader = Callable[[Path], ReadingsFile | MetersFile | HourlySeries]


@pytest.fixture(scope="module")
def day() -> ReadingsFile:
    return load_readings(SIMBENCH_DAY_READINGS)


def rows_of(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_day_has_118_meters_in_96_quarter_hours_without_a_gap(day: ReadingsFile) -> None:
    assert day.refused == ()
    assert day.mtu_length_s == 900
    assert day.meter_ids == tuple(f"rural2-{number:03d}" for number in range(1, 119))
    assert day.mtu_starts == tuple(range(DAY_START, DAY_END, 900))
    assert all(len(day.at(mtu_start)) == 118 for mtu_start in day.mtu_starts)


def test_on_every_row_of_the_day_both_differences_agree_and_one_direction_is_zero(day: ReadingsFile) -> None:
    for mtu_start in day.mtu_starts:
        for row in day.at(mtu_start):
            assert row.consumption_wh is not None
            assert row.generation_wh is not None
            assert row.import_wh - row.export_wh == row.consumption_wh - row.generation_wh
            assert 0 in (row.import_wh, row.export_wh)


def test_the_day_makes_eleven_solar_meters_with_the_capacities_of_the_feeder(day: ReadingsFile) -> None:
    meters = load_meters(SIMBENCH_DAY_METERS)
    specs = {spec.meter_id: spec for spec in meter_specs(day, meters)}
    assert meters.refused == ()
    assert [meter_id for meter_id, spec in specs.items() if spec.source == "solar"] == SOLAR_METERS
    assert specs["rural2-002"].export_capacity_w == 83_300
    assert specs["rural2-002"].import_capacity_w == 7_900
    for meter_id, spec in specs.items():
        assert day.max_import_wh(meter_id) * 4 <= spec.import_capacity_w
        assert day.max_export_wh(meter_id) * 4 <= spec.export_capacity_w


def test_the_day_is_what_the_script_pins(day: ReadingsFile) -> None:
    script = Path(__file__).resolve().parents[2] / "scripts" / "cut_simbench_day.py"
    pinned = script.read_text(encoding="utf-8")
    notice = day.path.with_name("NOTICE.md")
    for content in (gzip.decompress(day.path.read_bytes()), SIMBENCH_DAY_METERS.read_bytes(), notice.read_bytes()):
        assert hashlib.sha256(content).hexdigest() in pinned


def test_the_day_lies_beside_a_notice_with_both_licences(day: ReadingsFile) -> None:
    notice = day.path.with_name("NOTICE.md").read_text(encoding="utf-8")
    for words in ("Open Database License", "ODbL", "Database Contents", "DbCL", "simbench", "What was changed"):
        assert words in notice


def test_the_packed_day_carries_neither_time_nor_name() -> None:
    header = SIMBENCH_DAY_READINGS.read_bytes()[:10]
    assert header[3:8] == bytes(5)


def test_the_day_equals_the_rows_of_the_developer_set(outside_data: Path) -> None:
    source = rows_of(outside_data / "readings_simbench_rural2_15min.csv.gz")
    assert rows_of(SIMBENCH_DAY_READINGS) == [row for row in source if row["interval_start"].startswith("2016-06-13T")]
    feeder_meters = outside_data / "feeder_simbench_rural2" / "meters.csv"
    assert SIMBENCH_DAY_METERS.read_bytes() == feeder_meters.read_bytes()


@pytest.mark.parametrize(
    ("name", "length_s", "meters", "rows"),
    [
        ("readings_fontana_60min.csv.gz", 3600, 10, 87_600),
        ("readings_simbench_rural2_15min.csv.gz", 900, 118, 237_888),
        ("readings_ausgrid12_30min.csv.gz", 1800, 1, 8_830),
    ],
)
def test_each_readings_file_loads_whole(outside_data: Path, name: str, length_s: int, meters: int, rows: int) -> None:
    readings = load_readings(outside_data / name)
    assert readings.refused == ()
    assert (readings.mtu_length_s, len(readings.meter_ids), readings.reading_count) == (length_s, meters, rows)
    assert len(meter_specs(readings, None)) == meters


def test_a_day_cut_out_of_three_weeks_by_the_period_equals_the_day(outside_data: Path, day: ReadingsFile) -> None:
    source = outside_data / "readings_simbench_rural2_15min.csv.gz"
    cut = load_readings(source, from_s=DAY_START, to_s=DAY_END)
    assert cut.mtu_starts == day.mtu_starts
    assert cut.outside_count == 237_888 - 118 * 96
    assert all(cut.at(mtu_start) == day.at(mtu_start) for mtu_start in day.mtu_starts)


def test_the_price_file_loads_whole_with_its_extremes_and_negative_hours(outside_data: Path) -> None:
    prices = load_prices(outside_data / "prices_de_lu_60min.csv.gz")
    assert (prices.refused, prices.blank_hours, len(prices.hours)) == ((), (), 17_544)
    assert (min(prices.values.values()), max(prices.values.values())) == (-25_032, 93_628)
    answer = prices.at(DAY_START + 900)
    assert (answer.origin, answer.read_from) == ("shifted_year", parse_utc("hour", "2024-06-13T00:00:00Z"))


def test_the_carbon_file_loads_with_its_six_blank_hours_carried(outside_data: Path) -> None:
    carbon = load_carbon(outside_data / "carbon_de_60min.csv.gz")
    assert carbon.refused == ()
    assert len(carbon.blank_hours) == 6
    assert {carbon.at(blank).origin for blank in carbon.blank_hours} == {"carried"}
    assert carbon.at(parse_utc("hour", "2024-01-01T00:00:00Z")).value == 160_240


def test_files_of_another_kind_are_refused_by_their_header(outside_data: Path) -> None:
    loaders: list[Loader] = [load_readings, load_prices, load_carbon]
    for name in ("generation_mix_de_60min.csv.gz", "emission_factors.csv", "feeder_simbench_rural2/lines.csv"):
        for load in loaders:
            with pytest.raises(MissingColumns):
                load(outside_data / name)


def test_every_raw_source_file_is_refused_by_a_typed_error_and_nothing_is_imported(outside_data: Path) -> None:
    loaders: list[Loader] = [load_readings, load_meters, load_prices, load_carbon]
    raw_files = sorted((outside_data / "raw").iterdir())
    assert raw_files
    for path in raw_files:
        for load in loaders:
            with pytest.raises(GridLedgerError) as caught:
                load(path)
            assert isinstance(caught.value, MissingColumns)
            assert caught.value.header


def test_rows_of_the_raw_source_under_a_right_header_are_refused_one_by_one(outside_data: Path, tmp_path: Path) -> None:
    raw = (outside_data / "raw" / "ausgrid12_localtime_kw_raw.csv").read_text(encoding="utf-8").splitlines()[1:]
    header = "meter_id,interval_start,interval_seconds,import_wh,export_wh"
    rows = [f"a,{time},1800,{power_kw},{sun_kw}" for time, power_kw, sun_kw in (line.split(",") for line in raw)]
    path = tmp_path / "raw.csv"
    path.write_text("\n".join([header, "a,2011-09-25T00:00:00Z,1800,1,0", *rows]), encoding="utf-8")
    readings = load_readings(path)
    assert readings.reading_count == 1
    assert [row.line_number for row in readings.refused] == list(range(3, 3 + len(raw)))
    assert {row.reason_code for row in readings.refused} == {"bad-time"}
