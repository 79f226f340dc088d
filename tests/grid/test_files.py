"""A feeder is read from the grid operator's files, whole or not at all."""

import os
import shutil
from decimal import Decimal
from pathlib import Path

import pytest

from gridledger.dispatch.errors import MeterNotFed, NetworkNotConnected
from gridledger.dispatch.feeder import LimitExceeded, check
from gridledger.dispatch.setpoints import Direction
from gridledger.dispatch.shares import mean_power_w
from gridledger.errors import GridLedgerError
from gridledger.grid.errors import FeederFileRefused, FeederTooLarge
from gridledger.grid.files import MOST_BUSES, load_feeder
from gridledger.metering.imports.tables import DuplicateColumns, MissingColumns, NoUsableRows
from gridledger.simulation.inputs import data_folder, load_readings
from gridledger.text_files import UnreadableFile

VILLAGE = Path(__file__).parent / "village"


@pytest.fixture(scope="module")
def outside_data() -> Path:
    folder = data_folder(os.environ)
    if folder is None:
        pytest.skip("the outside data sets are absent; GRIDLEDGER_DATA says where they are")
    return folder


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A village whose files may be spoilt."""
    return Path(shutil.copytree(VILLAGE, tmp_path / "village"))


def replace_in(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def test_limits_are_apparent_powers_at_the_loading_allowed() -> None:
    """100 kVA at 80 %; the root of 3 x 400 V x 270 A; 40 kVA as stated; 187 kVA at 50 %; 400 V x 142 A."""
    village = load_feeder(VILLAGE)
    assert village.limits_w == {
        "village": 80_000,
        "station-mill": 187_061,
        "lane-mill": 40_000,
        "station-school": 93_500,
        "school-farm": 98_380,
    }
    assert village.meter_buses == {"mill": 2, "lane-1": 3, "lane-2": 3, "school": 4, "farm": 5}
    assert (village.buses[5].nominal_v, village.buses[5].lowest_voltage_ppm) == (400, 900_000)
    assert village.transformer.short_circuit_percent == Decimal("4.0")


def test_the_villages_limits_are_found_where_they_are_exceeded() -> None:
    village = load_feeder(VILLAGE)
    exceeded = check(village, {"lane-1": 30_000, "lane-2": 10_001, "farm": -20_000})
    assert [(one.element, one.flow_w, one.direction) for one in exceeded] == [("lane-mill", 40_001, Direction.EXPORT)]
    exceeded = check(village, dict.fromkeys(("mill", "school", "farm"), -26_667))
    assert [(one.element, one.flow_w, one.direction) for one in exceeded] == [("village", 80_001, Direction.IMPORT)]


@pytest.mark.parametrize(
    ("file", "old", "new", "line_number", "column", "problem"),
    [
        ("lines.csv", "0.12,0.2067", "0.12;0.2067", 2, "", "the row has 8 fields, the header 9"),
        ("lines.csv", "lane-mill,3", '"lane-mill,3', 3, "", "the row's quotes cannot be read: unexpected end of data"),
        ("lines.csv", "school-farm,4,5", "school-farm,4,six", 5, "to_bus", "'six' is not a bus's number"),
        ("lines.csv", "school-farm,4,5", "school-farm,4,-5", 5, "to_bus", "'-5' is not a bus's number"),
        ("lines.csv", "school-farm,4,5", "school-farm,4,6", 5, "to_bus", "buses.csv has no bus 6"),
        ("lines.csv", "school-farm", "lane-mill", 5, "name", "'lane-mill' was read before"),
        ("lines.csv", "0.142", "0", 5, "max_i_ka", "'0' is not above 0, at most 1000"),
        ("lines.csv", "0.142", "1e3", 5, "max_i_ka", "'1e3' is not a plain number"),
        ("lines.csv", "0.142", "nan", 5, "max_i_ka", "'nan' is not a plain number"),
        ("lines.csv", "0.2,100,40", "0.2,100,-40", 3, "limit_kva", "'-40' is not a plain number"),
        ("lines.csv", "0.27,50", "0.27,201", 4, "max_loading_percent", "'201' is not above 0, at most 200"),
        ("lines.csv", "0.35", "", 5, "length_km", "'' is not a plain number"),
        ("buses.csv", "4,school", "05,school", 7, "bus", "'5' was read before"),
        ("buses.csv", "5,farm", "4,farm", 7, "bus", "'4' was read before"),
        ("buses.csv", "5,farm,0.4,0.9,1.1", "5,farm,0.4,1.1,0.9", 7, "max_vm_pu", None),
        ("buses.csv", "5,farm,0.4", "5,farm,0", 7, "vn_kv", "'0' is not above 0, at most 1000"),
        ("buses.csv", "5,farm", "5, farm", 7, "name", None),
        ("transformer.csv", "village,0,1", "village,1,1", 2, "lv_bus", None),
        ("transformer.csv", "village,0,1", "village,0,9", 2, "lv_bus", "buses.csv has no bus 9"),
        ("transformer.csv", "4.0,1.2", "1.2,4.0", 2, "vkr_percent", None),
        ("meters.csv", "farm,5", "farm,9", 6, "bus", "buses.csv has no bus 9"),
        ("meters.csv", "farm,5", "lane-1,5", 6, "meter_id", "'lane-1' was read before"),
        ("meters.csv", "farm,5", ",5", 6, "meter_id", None),
    ],
)
def test_a_row_that_cannot_be_read_refuses_the_network_by_file_row_and_column(
    copy: Path, file: str, old: str, new: str, line_number: int, column: str, problem: str | None
) -> None:
    replace_in(copy / file, old, new)
    with pytest.raises(FeederFileRefused) as refused:
        load_feeder(copy)
    assert (refused.value.path, refused.value.line_number, refused.value.column) == (
        str(copy / file),
        line_number,
        column,
    )
    assert problem is None or refused.value.problem == problem


@pytest.mark.parametrize(
    ("file", "old", "new", "refused"),
    [
        ("lines.csv", "school-farm,4,5", "school-farm,4,1", NetworkNotConnected),
        ("meters.csv", "farm,5", "farm,0", MeterNotFed),
        ("lines.csv", "length_km", "length_m", MissingColumns),
        ("lines.csv", "limit_kva", "name", DuplicateColumns),
        ("transformer.csv", "village,0,1,0.1,20.0,0.4,4.0,1.2,80\n", "", NoUsableRows),
        ("transformer.csv", "1.2,80\n", "1.2,80\nsecond,0,1,0.1,20.0,0.4,4.0,1.2,80\n", FeederTooLarge),
        ("meters.csv", "meter_id,bus\n", "", MissingColumns),
    ],
)
def test_files_that_make_no_network_are_refused(
    copy: Path, file: str, old: str, new: str, refused: type[GridLedgerError]
) -> None:
    replace_in(copy / file, old, new)
    with pytest.raises(refused):
        load_feeder(copy)


@pytest.mark.parametrize("file", ["transformer.csv", "lines.csv", "buses.csv", "meters.csv"])
def test_each_of_the_four_files_is_needed(copy: Path, file: str) -> None:
    (copy / file).unlink()
    with pytest.raises(UnreadableFile) as refused:
        load_feeder(copy)
    assert refused.value.path == str(copy / file)


def test_a_file_longer_than_any_feeder_is_not_read_to_its_end(copy: Path) -> None:
    with (copy / "buses.csv").open("a") as file:
        file.writelines(f"{number},more,0.4,0.9,1.1\n" for number in range(6, MOST_BUSES + 6))
    with pytest.raises(FeederTooLarge) as refused:
        load_feeder(copy)
    assert refused.value.highest == MOST_BUSES


def test_the_simbench_feeder_breaks_50_kw_uncontrolled_in_245_quarter_hours(outside_data: Path) -> None:
    """154 by import and 91 by export, of 2,016; its 250 kVA and its lines it never breaks."""
    feeder = load_feeder(outside_data / "feeder_simbench_rural2")
    readings = load_readings(outside_data / "readings_simbench_rural2_15min.csv.gz")
    limited = feeder.with_transformer_limit(50_000)
    broken: list[LimitExceeded] = []
    for mtu_start in readings.mtu_starts:
        setpoints_w = {row.meter_id: mean_power_w(row.export_wh - row.import_wh, 900) for row in readings.at(mtu_start)}
        assert check(feeder, setpoints_w) == ()
        broken += check(limited, setpoints_w)
    assert len(readings.mtu_starts) == 2_016
    assert {one.element for one in broken} == {feeder.transformer.name}
    assert len(broken) == 245
    assert sum(one.direction is Direction.IMPORT for one in broken) == 154
