"""What a limit did to a run: generation given up, and every MTU in which the limit was exceeded all the same."""

from pathlib import Path

from tests.simulation.fake_node import FIRST_MTU, HEADER, a_spec

from gridledger.app.limit_report import limit_report
from gridledger.simulation.inputs import MeterSpec, ReadingsFile, load_readings, meter_specs
from gridledger.units import format_utc

STARTS = [format_utc(FIRST_MTU + place * 900) for place in range(5)]
METERS = (a_spec("sun", zone=1), a_spec("load", zone=1), a_spec("far", zone=2))


def write(path: Path, *nets: tuple[str, int, int, int]) -> Path:
    """Readings: meter, place of the MTU, import and export in Wh."""
    rows = [f"{meter},{STARTS[place]},900,{import_wh},{export_wh}" for meter, place, import_wh, export_wh in nets]
    path.write_text("\n".join((HEADER, *rows)) + "\n")
    return path


def readings(path: Path, *nets: tuple[str, int, int, int]) -> ReadingsFile:
    return load_readings(write(path, *nets))


THERE = (
    ("sun", 0, 0, 700),
    ("load", 0, 100, 0),
    ("sun", 1, 0, 900),
    ("load", 1, 0, 0),
    ("sun", 2, 0, 0),
    ("load", 2, 251, 0),
    ("far", 2, 0, 300),
    ("sun", 3, 0, 250),
    ("load", 4, 250, 0),
)


def test_a_run_without_a_limit_has_nothing_to_report(tmp_path: Path) -> None:
    there = readings(tmp_path / "there.csv", *THERE)
    assert limit_report(there, METERS, tmp_path / "nothing.csv", None) == {}


def test_what_exceeds_the_limit_is_named_by_zone_mtu_and_direction(tmp_path: Path) -> None:
    there = readings(tmp_path / "there.csv", *THERE)
    measured = write(tmp_path / "measured.csv", *THERE)
    assert limit_report(there, METERS, measured, 1) == {
        "generation_given_up_wh": 0,
        "export_limit_exceeded": [
            {"zone": 1, "mtu_start": STARTS[0], "net_wh": 600},
            {"zone": 1, "mtu_start": STARTS[1], "net_wh": 900},
            {"zone": 2, "mtu_start": STARTS[2], "net_wh": 300},
        ],
        "import_limit_exceeded": [{"zone": 1, "mtu_start": STARTS[2], "net_wh": -251}],
    }


def test_what_gateways_gave_up_is_counted_and_no_import_beyond_the_limit_is_hidden(tmp_path: Path) -> None:
    there = readings(tmp_path / "there.csv", *THERE)
    kept = [
        (meter, place, import_wh, {("sun", 0): 350, ("sun", 1): 250, ("far", 2): 250}.get((meter, place), export_wh))
        for meter, place, import_wh, export_wh in THERE
    ]
    assert limit_report(there, METERS, write(tmp_path / "measured.csv", *kept), 1) == {
        "generation_given_up_wh": 350 + 650 + 50,
        "export_limit_exceeded": [],
        "import_limit_exceeded": [{"zone": 1, "mtu_start": STARTS[2], "net_wh": -251}],
    }


def test_a_limit_is_a_power_whatever_the_mtu_s_length_is(tmp_path: Path) -> None:
    path = tmp_path / "hours.csv"
    path.write_text(f"{HEADER}\nsun,{STARTS[0]},3600,0,1001\n")
    hours = load_readings(path)
    meters: tuple[MeterSpec, ...] = meter_specs(hours, None)
    assert limit_report(hours, meters, path, 1)["export_limit_exceeded"] == [
        {"zone": 1, "mtu_start": STARTS[0], "net_wh": 1_001}
    ]
    assert limit_report(hours, meters, path, 2)["export_limit_exceeded"] == []
