"""Readings files: what is read, what is refused row by row, what is a file error; places and identity."""

import gzip
import hashlib
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridledger.errors import GridLedgerError
from gridledger.simulation.inputs import (
    MAX_ENERGY_WH,
    DuplicateColumns,
    EmptyWindow,
    MeterReading,
    MissingColumns,
    NoUsableRows,
    ReadingsFile,
    ReasonCode,
    UnknownColumns,
    UnreadableFile,
    UnsupportedMtuLength,
    data_folder,
    file_sha256,
    inputs_fingerprint,
    load_carbon,
    load_meters,
    load_prices,
    load_readings,
)
from gridledger.units import format_utc, parse_utc

HEADER = "meter_id,interval_start,interval_seconds,import_wh,export_wh"
FULL_HEADER = HEADER + ",consumption_wh,generation_wh"
GOOD_ROWS = "m1,2024-05-01T00:00:00Z,900,100,0\nm2,2024-05-01T00:00:00Z,900,0,50\n"
GOOD = f"{HEADER}\n{GOOD_ROWS}"
MIDNIGHT = parse_utc("start", "2024-05-01T00:00:00Z")


def written(folder: Path, content: str | bytes, name: str = "input.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def reading(meter_id: str, mtu_start: int, import_wh: int, export_wh: int) -> MeterReading:
    return MeterReading(
        meter_id=meter_id,
        mtu_start=mtu_start,
        import_wh=import_wh,
        export_wh=export_wh,
        consumption_wh=None,
        generation_wh=None,
    )


GOOD_READINGS = (reading("m1", MIDNIGHT, 100, 0), reading("m2", MIDNIGHT, 0, 50))


def assert_only_the_good_rows(readings: ReadingsFile) -> None:
    assert readings.meter_ids == ("m1", "m2")
    assert readings.mtu_starts == (MIDNIGHT,)
    assert readings.at(MIDNIGHT) == GOOD_READINGS


@pytest.mark.parametrize(
    ("form", "content"),
    [
        ("plain", GOOD.encode()),
        ("byte order mark", b"\xef\xbb\xbf" + GOOD.encode()),
        ("gzip", gzip.compress(GOOD.encode(), mtime=0)),
        ("gzip with byte order mark", gzip.compress(b"\xef\xbb\xbf" + GOOD.encode(), mtime=0)),
        ("gzip in two members", gzip.compress(GOOD[:70].encode()) + gzip.compress(GOOD[70:].encode())),
        ("carriage returns", GOOD.replace("\n", "\r\n").encode()),
        ("no final line break", GOOD.removesuffix("\n").encode()),
        ("blank lines", GOOD.replace("\n", "\n\n").encode()),
        ("quoted fields", GOOD.replace("m1", '"m1"').replace("meter_id", '"meter_id"').encode()),
    ],
)
def test_every_allowed_form_of_a_file_gives_the_same_readings(tmp_path: Path, form: str, content: bytes) -> None:
    readings = load_readings(written(tmp_path, content))
    assert readings.refused == (), form
    assert_only_the_good_rows(readings)


def test_columns_may_stand_in_any_order(tmp_path: Path) -> None:
    header = "export_wh,interval_seconds,generation_wh,meter_id,import_wh,interval_start"
    readings = load_readings(written(tmp_path, f"{header}\n5,900,7,m1,3,2024-05-01T00:00:00Z\n"))
    assert readings.at(MIDNIGHT) == (
        MeterReading(meter_id="m1", mtu_start=MIDNIGHT, import_wh=3, export_wh=5, consumption_wh=None, generation_wh=7),
    )
    assert readings.has_generation("m1")


def test_readings_come_sorted_by_mtu_and_meter_whatever_the_order_of_rows(tmp_path: Path) -> None:
    rows = [
        f"m{meter},{format_utc(MIDNIGHT + 900 * mtu)},900,{meter * 10 + mtu},0" for meter in (9, 2, 5) for mtu in (3, 1)
    ]
    readings = load_readings(written(tmp_path, "\n".join([HEADER, *rows])))
    assert readings.meter_ids == ("m2", "m5", "m9")
    assert readings.mtu_starts == (MIDNIGHT + 900, MIDNIGHT + 2700)
    assert [row.import_wh for start in readings.mtu_starts for row in readings.at(start)] == [21, 51, 91, 23, 53, 93]


def test_an_mtu_absent_from_the_file_has_no_readings(tmp_path: Path) -> None:
    assert load_readings(written(tmp_path, GOOD)).at(MIDNIGHT + 900) == ()


@pytest.mark.parametrize("length_s", [300, 900, 1800, 3600])
def test_the_first_row_sets_the_mtu_length(tmp_path: Path, length_s: int) -> None:
    readings = load_readings(written(tmp_path, f"{HEADER}\nm1,2024-05-01T00:00:00Z,{length_s},1,0\n"))
    assert readings.mtu_length_s == length_s


def test_a_first_row_too_broken_to_tell_its_length_leaves_that_to_the_next(tmp_path: Path) -> None:
    readings = load_readings(written(tmp_path, f"{HEADER}\nm1,2024-05-01\nm1,2024-05-01T00:00:00Z,1800,1,0\n"))
    assert readings.mtu_length_s == 1800
    assert [row.line_number for row in readings.refused] == [2]


def test_the_period_is_half_open_and_rows_outside_are_counted(tmp_path: Path) -> None:
    rows = "".join(f"m1,{format_utc(MIDNIGHT + 900 * mtu)},900,{mtu},0\n" for mtu in range(4))
    readings = load_readings(written(tmp_path, f"{HEADER}\n{rows}"), from_s=MIDNIGHT + 900, to_s=MIDNIGHT + 2700)
    assert readings.mtu_starts == (MIDNIGHT + 900, MIDNIGHT + 1800)
    assert (readings.reading_count, readings.outside_count) == (2, 2)


def test_a_meter_with_readings_only_outside_the_period_is_left_out(tmp_path: Path) -> None:
    text = GOOD + "late,2024-05-01T01:00:00Z,900,1,0\n"
    assert load_readings(written(tmp_path, text), to_s=MIDNIGHT + 900).meter_ids == ("m1", "m2")


def test_a_meters_extremes_count_rows_outside_the_period(tmp_path: Path) -> None:
    text = f"{FULL_HEADER}\nm1,2024-05-01T00:00:00Z,900,1,0,1,0\nm1,2024-05-01T12:00:00Z,900,0,800,0,800\n"
    readings = load_readings(written(tmp_path, text), to_s=MIDNIGHT + 900)
    assert (readings.max_import_wh("m1"), readings.max_export_wh("m1"), readings.has_generation("m1")) == (1, 800, True)


def test_energy_may_be_exactly_the_largest_number(tmp_path: Path) -> None:
    readings = load_readings(written(tmp_path, f"{HEADER}\nm1,2024-05-01T00:00:00Z,900,{MAX_ENERGY_WH},0\n"))
    assert readings.at(MIDNIGHT) == (reading("m1", MIDNIGHT, MAX_ENERGY_WH, 0),)


BAD_ROWS: list[tuple[str, str, ReasonCode, str]] = [
    ("too few fields", "m3,2024-05-01T00:00:00Z,900,1", "too-few-fields", "the row has 4 fields, the header 5"),
    ("only blanks", "   ", "too-few-fields", "the row has 1 fields, the header 5"),
    ("semicolons", "m3;2024-05-01T00:00:00Z;900;1;0", "too-few-fields", "the row has 1 fields, the header 5"),
    ("too many fields", "m3,2024-05-01T00:00:00Z,900,1,0,0", "too-many-fields", "the row has 6 fields, the header 5"),
    ("a trailing comma", "m3,2024-05-01T00:00:00Z,900,1,0,", "too-many-fields", "the row has 6 fields, the header 5"),
    (
        "a decimal comma",
        "m3,2024-05-01T00:00:00Z,900,1,5,0",
        "too-many-fields",
        "the row has 6 fields, the header 5",
    ),
    (
        "an open quote",
        '"m3,2024-05-01T00:00:00Z,900,1,0',
        "broken-quotes",
        "the row's quotes cannot be read: unexpected end of data",
    ),
    (
        "text after a quote",
        '"m3"x,2024-05-01T00:00:00Z,900,1,0',
        "broken-quotes",
        "the row's quotes cannot be read: ',' expected after '\"'",
    ),
    (
        "no meter",
        ",2024-05-01T00:00:00Z,900,1,0",
        "bad-name",
        "meter_id '' is not 1 to 64 printable characters without blanks around them",
    ),
    (
        "a blank after the meter",
        "m3 ,2024-05-01T00:00:00Z,900,1,0",
        "bad-name",
        "meter_id 'm3 ' is not 1 to 64 printable characters without blanks around them",
    ),
    (
        "a NUL in the meter",
        "m\x003,2024-05-01T00:00:00Z,900,1,0",
        "bad-name",
        "meter_id 'm\\x003' is not 1 to 64 printable characters without blanks around them",
    ),
    (
        "a meter of 65 characters",
        "m" * 65 + ",2024-05-01T00:00:00Z,900,1,0",
        "bad-name",
        f"meter_id '{'m' * 60}...' is not 1 to 64 printable characters without blanks around them",
    ),
    (
        "local time",
        "m3,2024-05-01 00:00:00,900,1,0",
        "bad-time",
        "interval_start '2024-05-01 00:00:00' is not an ISO-8601 moment in UTC",
    ),
    (
        "another offset",
        "m3,2024-05-01T02:00:00+02:00,900,1,0",
        "bad-time",
        "interval_start '2024-05-01T02:00:00+02:00' is not an ISO-8601 moment in UTC",
    ),
    (
        "a German date",
        "m3,01.05.2024 00:00,900,1,0",
        "bad-time",
        "interval_start '01.05.2024 00:00' is not an ISO-8601 moment in UTC",
    ),
    (
        "an impossible day",
        "m3,2023-02-29T00:00:00Z,900,1,0",
        "bad-time",
        "interval_start '2023-02-29T00:00:00Z' is not an ISO-8601 moment in UTC",
    ),
    (
        "a fraction of a second",
        "m3,2024-05-01T00:00:00.5Z,900,1,0",
        "bad-time",
        "interval_start '2024-05-01T00:00:00.5Z' is not an ISO-8601 moment in UTC",
    ),
    ("no time", "m3,,900,1,0", "bad-time", "interval_start '' is not an ISO-8601 moment in UTC"),
    (
        "a start between two MTUs",
        "m3,2024-05-01T00:05:00Z,900,1,0",
        "unaligned-start",
        "interval_start '2024-05-01T00:05:00Z' is no multiple of 900 s",
    ),
    (
        "a start before 1970",
        "m3,1969-12-31T00:00:00Z,900,1,0",
        "unaligned-start",
        "interval_start '1969-12-31T00:00:00Z' is no multiple of 900 s",
    ),
    (
        "another length",
        "m3,2024-05-01T00:00:00Z,1800,1,0",
        "wrong-length",
        "the row is 1800 s long, the file's first 900 s",
    ),
    ("no length", "m3,2024-05-01T00:00:00Z,,1,0", "wrong-length", "interval_seconds '' is not a number of seconds"),
    (
        "a length in words",
        "m3,2024-05-01T00:00:00Z,PT15M,1,0",
        "wrong-length",
        "interval_seconds 'PT15M' is not a number of seconds",
    ),
    (
        "a negative length",
        "m3,2024-05-01T00:00:00Z,-900,1,0",
        "wrong-length",
        "interval_seconds '-900' is not a number of seconds",
    ),
    ("a negative import", "m3,2024-05-01T00:00:00Z,900,-1,0", "energy-negative", "import_wh '-1' is negative"),
    ("a negative export", "m3,2024-05-01T00:00:00Z,900,0,-7", "energy-negative", "export_wh '-7' is negative"),
    (
        "an import with a fraction",
        "m3,2024-05-01T00:00:00Z,900,1.5,0",
        "energy-not-integer",
        "import_wh '1.5' is not an integer number of Wh",
    ),
    (
        "an export in powers of ten",
        "m3,2024-05-01T00:00:00Z,900,0,1e3",
        "energy-not-integer",
        "export_wh '1e3' is not an integer number of Wh",
    ),
    (
        "no import",
        "m3,2024-05-01T00:00:00Z,900,,0",
        "energy-not-integer",
        "import_wh '' is not an integer number of Wh",
    ),
    (
        "not a number",
        "m3,2024-05-01T00:00:00Z,900,NaN,0",
        "energy-not-integer",
        "import_wh 'NaN' is not an integer number of Wh",
    ),
    (
        "a blank before the number",
        "m3,2024-05-01T00:00:00Z,900, 1,0",
        "energy-not-integer",
        "import_wh ' 1' is not an integer number of Wh",
    ),
    (
        "an underscore in the number",
        "m3,2024-05-01T00:00:00Z,900,1_000,0",
        "energy-not-integer",
        "import_wh '1_000' is not an integer number of Wh",
    ),
    (
        "digits of another script",
        "m3,2024-05-01T00:00:00Z,900,٣,0",
        "energy-not-integer",
        "import_wh '٣' is not an integer number of Wh",
    ),
    (
        "an import one above the largest",
        "m3,2024-05-01T00:00:00Z,900,4294967297,0",
        "energy-too-large",
        "import_wh '4294967297' is above 4294967296 Wh",
    ),
    (
        "an export of 5000 digits",
        f"m3,2024-05-01T00:00:00Z,900,0,{'9' * 5000}",
        "energy-too-large",
        f"export_wh '{'9' * 60}...' is above 4294967296 Wh",
    ),
    (
        "the same row again",
        "m1,2024-05-01T00:00:00Z,900,100,0",
        "duplicate-identical",
        "m1 at 2024-05-01T00:00:00Z was read before with the same values",
    ),
    (
        "the same row with its time written otherwise",
        "m1,2024-05-01T00:00:00+00:00,900,0100,0",
        "duplicate-identical",
        "m1 at 2024-05-01T00:00:00+00:00 was read before with the same values",
    ),
    (
        "other values for the same meter and MTU",
        "m1,2024-05-01T00:00:00Z,900,101,0",
        "duplicate-different",
        "m1 at 2024-05-01T00:00:00Z was read before with other values",
    ),
]


@pytest.mark.parametrize(
    ("row", "reason_code", "text"), [bad[1:] for bad in BAD_ROWS], ids=[bad[0] for bad in BAD_ROWS]
)
def test_a_bad_row_is_refused_with_its_line_and_reason_and_changes_nothing_else(
    tmp_path: Path, row: str, reason_code: ReasonCode, text: str
) -> None:
    readings = load_readings(written(tmp_path, f"{GOOD}{row}\n"))
    assert [(row.line_number, row.reason_code, row.text) for row in readings.refused] == [(4, reason_code, text)]
    assert_only_the_good_rows(readings)
    assert readings.max_import_wh("m1") == 100


def test_a_bad_row_in_the_middle_does_not_swallow_the_rows_after_it(tmp_path: Path) -> None:
    first, second = GOOD_ROWS.splitlines()
    readings = load_readings(written(tmp_path, f'{HEADER}\n{first}\n"open\n\n{second}\n'))
    assert [(row.line_number, row.reason_code) for row in readings.refused] == [(3, "broken-quotes")]
    assert_only_the_good_rows(readings)


def test_generation_of_the_same_reading_told_differently_is_a_different_duplicate(tmp_path: Path) -> None:
    rows = "m1,2024-05-01T00:00:00Z,900,0,0,4,4\nm1,2024-05-01T00:00:00Z,900,0,0,5,5\n"
    readings = load_readings(written(tmp_path, f"{FULL_HEADER}\n{rows}"))
    assert [row.reason_code for row in readings.refused] == ["duplicate-different"]
    assert readings.at(MIDNIGHT)[0].generation_wh == 4


@pytest.mark.parametrize(
    ("content", "error"),
    [
        pytest.param(b"", MissingColumns, id="an empty file"),
        pytest.param(GOOD.replace("import_wh", "import_kwh").encode(), MissingColumns, id="a required column absent"),
        pytest.param(GOOD.replace(",", ";").encode(), MissingColumns, id="semicolons throughout"),
        pytest.param(GOOD_ROWS.encode(), MissingColumns, id="no header"),
        pytest.param(f"{HEADER},quality\n".encode(), UnknownColumns, id="an unknown column"),
        pytest.param(f"{HEADER},import_wh\n".encode(), DuplicateColumns, id="a column twice"),
        pytest.param(f"{HEADER}\n".encode(), NoUsableRows, id="no rows"),
        pytest.param(f"{HEADER}\nx\ny\n".encode(), NoUsableRows, id="no row that tells the length"),
        pytest.param(f"{HEADER}\nm1,2024-05-01T00:00:00Z,60,1,0\n".encode(), UnsupportedMtuLength, id="minutes"),
        pytest.param(f"{HEADER}\nm1,2024-05-01T00:00:00Z,86400,1,0\n".encode(), UnsupportedMtuLength, id="days"),
        pytest.param(GOOD.encode("utf-16"), UnreadableFile, id="another encoding"),
        pytest.param(GOOD.replace("m2", "mä").encode("latin-1"), UnreadableFile, id="a byte that is not UTF-8"),
        pytest.param(gzip.compress(GOOD.encode())[:-9], UnreadableFile, id="a gzip file cut short"),
        pytest.param(gzip.compress(GOOD.encode())[:-8] + bytes(8), UnreadableFile, id="a gzip file with a wrong sum"),
        pytest.param(b"\x1f\x8bnot gzip", UnreadableFile, id="a file that only begins like gzip"),
        pytest.param(b'"meter_id,interval_start\n', UnreadableFile, id="a header with an open quote"),
    ],
)
def test_a_file_that_cannot_be_understood_is_a_typed_error(
    tmp_path: Path, content: bytes, error: type[GridLedgerError]
) -> None:
    with pytest.raises(error) as caught:
        load_readings(written(tmp_path, content))
    assert caught.value.values()["path"] == str(tmp_path / "input.csv")
    assert caught.value.category == "invalid"


def test_an_absent_file_and_a_folder_are_typed_errors(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.csv", tmp_path):
        with pytest.raises(UnreadableFile):
            load_readings(path)


def test_missing_columns_are_named_together_with_the_header_found(tmp_path: Path) -> None:
    with pytest.raises(MissingColumns) as caught:
        load_readings(written(tmp_path, "meter_id,interval_start,kwh\n"))
    assert caught.value.columns == ("interval_seconds", "import_wh", "export_wh")
    assert caught.value.header == "meter_id,interval_start,kwh"


def test_an_unusable_file_says_how_many_rows_were_refused_and_shows_the_first(tmp_path: Path) -> None:
    with pytest.raises(NoUsableRows) as caught:
        load_readings(written(tmp_path, f"{HEADER}\nx\ny\n"))
    assert caught.value.refused_count == 2
    assert caught.value.first_refused is not None
    assert caught.value.first_refused.line_number == 2


@pytest.mark.parametrize("to_s", [MIDNIGHT, MIDNIGHT - 900])
def test_a_period_without_a_moment_is_a_typed_error(tmp_path: Path, to_s: int) -> None:
    with pytest.raises(EmptyWindow):
        load_readings(written(tmp_path, GOOD), from_s=MIDNIGHT, to_s=to_s)


ENERGY = st.integers(0, MAX_ENERGY_WH)
READINGS = st.dictionaries(
    st.tuples(st.sampled_from(["a", "b", "c-1", "ä"]), st.integers(1, 40)), st.tuples(ENERGY, ENERGY), min_size=1
)


@settings(max_examples=100, deadline=None)
@given(readings=READINGS, random=st.randoms(use_true_random=False))
def test_whatever_is_written_is_read_back_in_any_order_of_rows(
    tmp_path_factory: pytest.TempPathFactory, readings: dict[tuple[str, int], tuple[int, int]], random: Random
) -> None:
    rows = [f"{m},{format_utc(n * 3600)},3600,{i},{e}" for (m, n), (i, e) in readings.items()]
    random.shuffle(rows)
    loaded = load_readings(written(tmp_path_factory.mktemp("rows"), "\n".join([HEADER, *rows])))
    found = {(row.meter_id, start // 3600): row for start in loaded.mtu_starts for row in loaded.at(start)}
    assert {key: (row.import_wh, row.export_wh) for key, row in found.items()} == readings
    for meter_id in loaded.meter_ids:
        of_meter = [energies for (name, _), energies in readings.items() if name == meter_id]
        assert loaded.max_import_wh(meter_id) == max(energies[0] for energies in of_meter)
        assert loaded.max_export_wh(meter_id) == max(energies[1] for energies in of_meter)


@settings(max_examples=200, deadline=None)
@given(line=st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=60))
def test_no_text_in_a_row_does_more_than_being_refused(tmp_path_factory: pytest.TempPathFactory, line: str) -> None:
    readings = load_readings(written(tmp_path_factory.mktemp("text"), f"{GOOD}{line}\n"))
    assert len(readings.refused) == (1 if line else 0)
    assert_only_the_good_rows(readings)


@settings(max_examples=200, deadline=None)
@given(content=st.binary(max_size=200), packed=st.booleans())
def test_no_bytes_in_a_file_raise_anything_but_a_typed_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, packed: bool
) -> None:
    path = written(tmp_path_factory.mktemp("bytes"), gzip.compress(content) if packed else content)
    for load in (load_readings, load_meters, load_prices, load_carbon):
        with pytest.raises(GridLedgerError):
            load(path)


def test_the_data_folder_is_the_one_named_else_the_one_beside_the_checkout(tmp_path: Path) -> None:
    checkout, named, beside = tmp_path / "checkout", tmp_path / "named", tmp_path / "shared" / "data"
    for folder in (checkout, named, beside):
        folder.mkdir(parents=True)
    assert data_folder({"GRIDLEDGER_DATA": str(named)}, checkout) == named
    assert data_folder({"GRIDLEDGER_DATA": ""}, checkout) == beside
    assert data_folder({}, checkout) == beside
    beside.rmdir()
    assert data_folder({}, checkout) is None
    assert data_folder({"GRIDLEDGER_DATA": str(tmp_path / "absent")}, checkout) is None


def test_the_fingerprint_depends_on_bytes_and_roles_and_on_nothing_else(tmp_path: Path) -> None:
    one, same, other = written(tmp_path, "a", "1"), written(tmp_path, "a", "2"), written(tmp_path, "b", "3")
    assert inputs_fingerprint({"readings": one, "meters": None}) == inputs_fingerprint(
        {"meters": None, "readings": same}
    )
    runs: list[dict[str, Path | None]] = [
        {"readings": one, "meters": None},
        {"readings": other, "meters": None},
        {"prices": one, "meters": None},
        {"readings": one, "meters": other},
    ]
    assert len({inputs_fingerprint(files) for files in runs}) == 4


def test_the_fingerprint_can_be_recomputed_by_hand(tmp_path: Path) -> None:
    path = written(tmp_path, "a")
    digest = hashlib.sha256(b"a").hexdigest()
    assert file_sha256(path) == digest
    expected = hashlib.sha256(f"meters -\nreadings {digest}\n".encode()).hexdigest()
    assert inputs_fingerprint({"readings": path, "meters": None}) == expected


def test_an_absent_file_has_no_fingerprint(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile):
        inputs_fingerprint({"readings": tmp_path / "absent.csv"})
