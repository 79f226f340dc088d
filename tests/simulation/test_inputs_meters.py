"""Meters files, and what a meter is registered as."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridledger.simulation.inputs import (
    MAX_ENERGY_WH,
    MeterNotInFile,
    MeterSpec,
    OwnerWithTwoSuppliers,
    ReasonCode,
    load_meters,
    load_readings,
    meter_specs,
    power_rounded_up_to_kw,
)

HEADER = "meter_id,interval_start,interval_seconds,import_wh,export_wh"
FULL_HEADER = HEADER + ",consumption_wh,generation_wh"
GOOD_ROWS = "m1,2024-05-01T00:00:00Z,900,100,0\nm2,2024-05-01T00:00:00Z,900,0,50\n"
GOOD = f"{HEADER}\n{GOOD_ROWS}"


ENERGY = st.integers(0, MAX_ENERGY_WH)


def written(folder: Path, content: str | bytes, name: str = "input.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


METER_BAD_ROWS: list[tuple[str, str, ReasonCode]] = [
    ("no name", ",1,o,s,1,1", "bad-name"),
    ("an owner with blanks around", "m3,1, o,s,1,1", "bad-name"),
    ("zone zero", "m3,0,o,s,1,1", "number-out-of-range"),
    ("a zone above 32 bits", "m3,4294967296,o,s,1,1", "number-out-of-range"),
    ("a negative zone", "m3,-1,o,s,1,1", "bad-number"),
    ("a zone by name", "m3,north,o,s,1,1", "bad-number"),
    ("negative photovoltaics", "m3,1,o,s,-1,1", "bad-number"),
    ("infinite photovoltaics", "m3,1,o,s,Infinity,1", "bad-number"),
    ("a load that is not a number", "m3,1,o,s,1,NaN", "bad-number"),
    ("a load in powers of ten", "m3,1,o,s,1,1e1", "bad-number"),
    ("a load above a gigawatt", "m3,1,o,s,1,1000000.001", "number-out-of-range"),
    ("too few fields", "m3,1,o", "too-few-fields"),
    ("the same meter again", "m1,1,ann,s,1,1", "duplicate-identical"),
    ("the same meter told differently", "m1,2,ann,s,1,1", "duplicate-different"),
]


@pytest.mark.parametrize(("row", "code"), [bad[1:] for bad in METER_BAD_ROWS], ids=[bad[0] for bad in METER_BAD_ROWS])
def test_a_bad_meter_row_is_refused(tmp_path: Path, row: str, code: ReasonCode) -> None:
    text = f"meter_id,zone,owner,supplier,pv_kwp,load_max_kw\nm1,1,ann,s,1,1\n{row}\n"
    meters = load_meters(written(tmp_path, text))
    assert [(refused.line_number, refused.reason_code) for refused in meters.refused] == [(3, code)]
    assert list(meters.meters) == ["m1"]


def test_other_columns_of_a_meters_file_are_ignored(tmp_path: Path) -> None:
    meters = load_meters(written(tmp_path, "bus,meter_id,colour\n16,m2,red\n17,m1,blue\n"))
    assert list(meters.meters) == ["m1", "m2"]
    assert meters.meters["m1"].pv_w is None


def specs_of(tmp_path: Path, readings: str, meters: str | None) -> tuple[MeterSpec, ...]:
    loaded = load_readings(written(tmp_path, readings, "readings.csv"))
    return meter_specs(loaded, None if meters is None else load_meters(written(tmp_path, meters, "meters.csv")))


def test_without_a_meters_file_the_readings_and_the_defaults_tell_everything(tmp_path: Path) -> None:
    rows = "m1,2024-05-01T00:00:00Z,900,251,0,251,0\nm2,2024-05-01T00:00:00Z,900,0,250,0,250\n"
    assert specs_of(tmp_path, f"{FULL_HEADER}\n{rows}", None) == (
        MeterSpec(
            meter_id="m1",
            zone=1,
            owner="owner-of-m1",
            supplier="supplier-1",
            source="none",
            import_capacity_w=2000,
            export_capacity_w=0,
        ),
        MeterSpec(
            meter_id="m2",
            zone=1,
            owner="owner-of-m2",
            supplier="supplier-1",
            source="solar",
            import_capacity_w=0,
            export_capacity_w=1000,
        ),
    )


@pytest.mark.parametrize(
    ("pv_kwp", "source", "export_capacity_w"),
    [("83.3", "solar", 83300), ("0", "none", 1000), ("0.1", "solar", 1000), ("", "none", 1000), ("0.2", "solar", 200)],
)
def test_photovoltaics_decide_source_and_export_unless_the_readings_exceed_them(
    tmp_path: Path, pv_kwp: str, source: str, export_capacity_w: int
) -> None:
    meters = f"meter_id,pv_kwp\nm1,1\nm2,{pv_kwp}\n"
    spec = specs_of(tmp_path, GOOD, meters)[1]
    assert (spec.source, spec.export_capacity_w) == (source, export_capacity_w)


@pytest.mark.parametrize(
    ("load_max_kw", "import_capacity_w"), [("0.4", 400), ("0.3999", 400), ("0.399", 1000), ("", 1000), ("12", 12000)]
)
def test_the_load_decides_import_unless_the_readings_exceed_it(
    tmp_path: Path, load_max_kw: str, import_capacity_w: int
) -> None:
    meters = f"meter_id,load_max_kw\nm1,{load_max_kw}\nm2,1\n"
    assert specs_of(tmp_path, GOOD, meters)[0].import_capacity_w == import_capacity_w


def test_a_blank_photovoltaic_cell_lets_the_generation_decide(tmp_path: Path) -> None:
    readings = f"{FULL_HEADER}\nm1,2024-05-01T00:00:00Z,900,0,5,0,5\n"
    assert specs_of(tmp_path, readings, "meter_id,pv_kwp\nm1,\n")[0].source == "solar"
    assert specs_of(tmp_path, readings, "meter_id,pv_kwp\nm1,0\n")[0].source == "none"


def test_zone_owner_and_supplier_are_taken_from_the_meters_file(tmp_path: Path) -> None:
    meters = "meter_id,zone,owner,supplier\nm1,7,ann,north\nm2,8,ann,north\nunread,1,x,y\n"
    specs = specs_of(tmp_path, GOOD, meters)
    assert [(spec.meter_id, spec.zone, spec.owner, spec.supplier) for spec in specs] == [
        ("m1", 7, "ann", "north"),
        ("m2", 8, "ann", "north"),
    ]


def test_meters_with_readings_but_absent_from_the_meters_file_are_listed(tmp_path: Path) -> None:
    with pytest.raises(MeterNotInFile) as caught:
        specs_of(tmp_path, GOOD, "meter_id\nm9\n")
    assert caught.value.meter_ids == ("m1", "m2")


def test_an_owner_with_two_suppliers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OwnerWithTwoSuppliers) as caught:
        specs_of(tmp_path, GOOD, "meter_id,owner,supplier\nm1,ann,north\nm2,ann,south\n")
    assert caught.value.suppliers == ("north", "south")


@given(energy_wh=ENERGY, mtu_length_s=st.sampled_from([300, 900, 1800, 3600]))
def test_power_is_rounded_up_to_the_smallest_whole_kilowatt_that_suffices(energy_wh: int, mtu_length_s: int) -> None:
    power_w = power_rounded_up_to_kw(energy_wh, mtu_length_s)
    assert power_w % 1000 == 0
    assert (power_w - 1000) * mtu_length_s < energy_wh * 3600 <= power_w * mtu_length_s
