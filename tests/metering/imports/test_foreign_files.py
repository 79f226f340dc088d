"""Foreign formats row by row: what each row becomes, and why one is refused."""

import io
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridledger.errors import GridLedgerError
from gridledger.metering.imports.formats import FORMAT_NAMES, ImportOptions, UnknownImportFormat, read_format
from gridledger.metering.imports.rows import ImportedRow
from gridledger.metering.imports.series import SOURCES
from gridledger.metering.imports.tables import RefusedRow
from gridledger.text_files import bounded_lines
from gridledger.units import parse_utc

START = parse_utc("start", "2016-08-01T08:00:00Z")
HOME = ImportOptions(meter_id="home")
TOWN = ImportOptions(meter_id="home", start=START, pv_w=4_500)
FACTORS = ImportOptions(factors={source: None if source == "pumped_storage" else 100 for source in SOURCES})  # type: ignore[misc]
OPTIONS = {"ausgrid": HOME, "citylearn": TOWN, "carbon": FACTORS}

STANDARD = "meter_id,interval_start,interval_seconds,import_wh,export_wh"
CITYLEARN = "month,hour,day_type,non_shiftable_load,dhw_demand,cooling_demand,heating_demand,solar_generation"
PRICES = "Datum von;Datum bis;Deutschland/Luxemburg [€/MWh] Originalauflösungen;Belgien [€/MWh] Originalauflösungen"
OLD_PRICES = "Datum;Uhrzeit;Deutschland/Luxemburg[€/MWh]"
MIX = (
    "Datum;Uhrzeit;Biomasse[MWh];Wasserkraft[MWh];Wind Offshore[MWh];Wind Onshore[MWh];Photovoltaik[MWh];"
    "Sonstige Erneuerbare[MWh];Kernenergie[MWh];Braunkohle[MWh];Steinkohle[MWh];Erdgas[MWh];Pumpspeicher[MWh];"
    "Sonstige Konventionelle[MWh]"
)
PRODUCT_MIX = "interval_start,load_mwh," + ",".join(f"{source}_mwh" for source in SOURCES)


def lines(text: str) -> Iterator[str]:
    """As a file open for reading hands them out."""
    return bounded_lines(io.StringIO(text, newline=None))


def read(name: str, text: str, options: ImportOptions | None = None) -> list[ImportedRow | RefusedRow]:
    given_options = OPTIONS.get(name, ImportOptions()) if options is None else options
    return list(read_format(name, "file", lines(text), given_options).rows)


def told(rows: list[ImportedRow | RefusedRow]) -> list[tuple[object, ...]]:
    """Lines and cells of what was imported; line, reason and value of what was refused."""
    return [
        (row.line_number, row.reason_code, row.value)
        if isinstance(row, RefusedRow)
        else (*row.line_numbers, *row.cells())
        for row in rows
    ]


def quarter(label: str, *first: str) -> str:
    """A row of the mix: its first values, and 1 for every other source."""
    return f"{label};" + ";".join((*first, *("1" for _ in SOURCES[len(first) :])))


def test_the_product_s_own_rows_pass_and_each_bad_one_is_named() -> None:
    rows = (
        f"{STANDARD}\n"
        "a,2024-05-01T00:00:00Z,900,100,0\n"
        "b,2024-05-01T00:00:00Z,900,7,0\n"
        "a,2024-05-01T00:00:00Z,900,100,0\n"
        "a,2024-05-01T00:15:00Z,900,-1,0\n"
        "a,2024-05-01T00:15:00Z,1800,1,0\n"
        "a,2024-05-01T00:15:00Z,900,0,3\n"
    )
    assert told(read("standard", rows)) == [
        (2, "a", "2024-05-01T00:00:00Z", "900", "100", "0"),
        (3, "b", "2024-05-01T00:00:00Z", "900", "7", "0"),
        (4, "duplicate-interval", "2024-05-01T00:00:00Z"),
        (5, "energy-negative", "-1"),
        (6, "wrong-length", "1800"),
        (7, "a", "2024-05-01T00:15:00Z", "900", "0", "3"),
    ]


def test_average_power_becomes_energy_and_a_half_watt_hour_goes_to_the_even() -> None:
    rows = ",GC,GG\n2011-07-01 00:00:00,0.025,0.0\n2011-07-01 00:30:00,0.027,0.0\n2011-07-01 01:00:00,0.5,1.502\n"
    assert told(read("ausgrid", rows)) == [
        (2, "home", "2011-06-30T14:00:00Z", "1800", "12", "0", "12", "0"),
        (3, "home", "2011-06-30T14:30:00Z", "1800", "14", "0", "14", "0"),
        (4, "home", "2011-06-30T15:00:00Z", "1800", "0", "501", "250", "751"),
    ]


def test_local_times_that_clocks_skip_or_show_twice_are_refused_by_name() -> None:
    spring = "2011-10-02 01:30:00,1,0\n2011-10-02 02:00:00,1,0\n2011-10-02 02:30:00,1,0\n2011-10-02 03:00:00,1,0\n"
    autumn = "2011-04-03 01:30:00,1,0\n2011-04-03 02:00:00,1,0\n2011-04-03 02:30:00,1,0\n2011-04-03 03:00:00,1,0\n"
    assert [row[1:2] + row[2:3] for row in told(read("ausgrid", ",GC,GG\n" + spring + autumn))] == [
        ("home", "2011-10-01T15:30:00Z"),
        ("nonexistent-local-time", "2011-10-02 02:00:00"),
        ("nonexistent-local-time", "2011-10-02 02:30:00"),
        ("home", "2011-10-01T16:00:00Z"),
        ("home", "2011-04-02T14:30:00Z"),
        ("ambiguous-local-time", "2011-04-03 02:00:00"),
        ("ambiguous-local-time", "2011-04-03 02:30:00"),
        ("home", "2011-04-02T17:00:00Z"),
    ]


def test_an_hour_told_twice_is_told_apart_by_its_one_step_back() -> None:
    text = ",GC,GG\n" + "".join(f"2011-04-03 02:{minute}:00,1,0\n" for minute in ("00", "30", "00", "30"))
    starts = ["2011-04-02T15:00:00Z", "2011-04-02T15:30:00Z", "2011-04-02T16:00:00Z", "2011-04-02T16:30:00Z"]
    assert [row[2] for row in told(read("ausgrid", text))] == starts
    assert {row[1] for row in told(read("ausgrid", text + "2011-04-03 02:00:00,1,0\n"))} == {"ambiguous-local-time"}


@pytest.mark.parametrize(
    ("row", "reason", "value"),
    [
        ("2011-07-01T00:00:00,1,0", "bad-time", "2011-07-01T00:00:00"),
        ("2011-02-29 00:00:00,1,0", "bad-time", "2011-02-29 00:00:00"),
        ("0001-01-01 00:00:00,1,0", "bad-time", "0001-01-01 00:00:00"),
        (",1,0", "bad-time", ""),
        ("2011-07-01 00:10:00,1,0", "unaligned-start", "2011-07-01 00:10:00"),
        ("2011-07-01 00:00:00,-0.5,0", "energy-negative", "-0.5"),
        ("2011-07-01 00:00:00,,0", "bad-number", ""),
        ("2011-07-01 00:00:00,nan,0", "bad-number", "nan"),
        ("2011-07-01 00:00:00,1e999,0", "bad-number", "1e999"),
        ("2011-07-01 00:00:00,1e30,0", "energy-too-large", "1e30"),
        ("2011-07-01 00:00:00,1", "too-few-fields", ""),
        ("2011-07-01 00:00:00,1,0,0", "too-many-fields", ""),
        ('2011-07-01 00:00:00,"1,0', "broken-quotes", ""),
        ("x" * 9000, "line-too-long", "x" * 60),
    ],
)
def test_a_bad_home_row_is_refused_with_its_value(row: str, reason: str, value: str) -> None:
    good = "2011-07-01 05:00:00,1,0\n2011-07-01 06:00:00,1,0"
    before, refused, after = told(read("ausgrid", good.replace("\n", f"\n{row}\n").join([",GC,GG\n", "\n"])))
    assert (before[:2], refused, after[:2]) == ((2, "home"), (3, reason, value), (4, "home"))


def test_hours_without_dates_count_on_from_the_start() -> None:
    rows = f"{CITYLEARN}\n7,24,7,2.2758,0.0,,0.0,0.0\n8,1,1,0.8,0,0,0,1000.1\n"
    assert told(read("citylearn", rows)) == [
        (2, "home", "2016-08-01T08:00:00Z", "3600", "2276", "0", "2276", "0"),
        (3, "home", "2016-08-01T09:00:00Z", "3600", "0", "3700", "800", "4500"),
    ]


def test_after_a_missing_hour_no_row_is_taken_for_another() -> None:
    rows = f"{CITYLEARN}\n8,1,1,1,0,0,0,0\n8,3,1,1,0,0,0,0\n8,4,1,1,0,0,0,0\n8,4,1,1,0,0,0,0\n8,25,1,1,0,0,0,0\n"
    assert [row[:3] for row in told(read("citylearn", rows))] == [
        (2, "home", "2016-08-01T08:00:00Z"),
        (3, "out-of-sequence", "3"),
        (4, "out-of-sequence", "4"),
        (5, "home", "2016-08-01T11:00:00Z"),
        (6, "bad-time", "25"),
    ]


def test_heat_is_no_electricity() -> None:
    assert told(read("citylearn", f"{CITYLEARN}\n8,1,1,1,0,2.5,0,0\n")) == [(2, "thermal-demand", "2.5")]


def test_german_prices_of_both_changes_of_the_clocks_become_hours_in_utc() -> None:
    rows = (
        f"{PRICES}\n31.03.2024 01:00;30.03.2024 02:00;1.231,5;0\n31.03.2024 03:00;31.03.2024 04:00;-250,32;0\n"
        "27.10.2024 02:00;27.10.2024 03:00;-;0\n27.10.2024 02:00;27.10.2024 03:00;0,00;0\n"
        "27.10.2024 03:00;27.10.2024 04:00;7;0\n"
    )
    assert told(read("smard-prices", rows)) == [
        (2, "2024-03-31T00:00:00Z", "1231.5", "DE-LU"),
        (3, "2024-03-31T01:00:00Z", "-250.32", "DE-LU"),
        (4, "2024-10-27T00:00:00Z", "", "DE-LU"),
        (5, "2024-10-27T01:00:00Z", "0", "DE-LU"),
        (6, "2024-10-27T02:00:00Z", "7", "DE-LU"),
    ]


@pytest.mark.parametrize(
    ("row", "reason", "value"),
    [
        ("12.12.2024 00:00;12.12.2024 00:15;1;0", "wrong-length", "12.12.2024 00:15"),
        ("12.12.2024 00:30;12.12.2024 01:30;1;0", "unaligned-start", "12.12.2024 00:30"),
        ("2024-12-12 00:00;12.12.2024 01:00;1;0", "bad-time", "2024-12-12 00:00"),
        ("32.12.2024 00:00;12.12.2024 01:00;1;0", "bad-time", "32.12.2024 00:00"),
        ("31.03.2024 02:00;31.03.2024 03:00;1;0", "nonexistent-local-time", "2024-03-31 02:00:00"),
        ("12.12.2024 00:00;12.12.2024 01:00;1.23,5;0", "bad-number", "1.23,5"),
        ("12.12.2024 00:00;12.12.2024 01:00;1,231.5;0", "bad-number", "1,231.5"),
        ("12.12.2024 00:00;12.12.2024 01:00;;0", "bad-number", ""),
        ("12.12.2024 00:00;12.12.2024 01:00;1", "too-few-fields", ""),
        ("27.10.2024 02:00;27.10.2024 03:00;1;0", "ambiguous-local-time", "2024-10-27 02:00:00"),
    ],
)
def test_a_bad_price_row_is_refused_with_its_value(row: str, reason: str, value: str) -> None:
    good = "01.05.2024 00:00;01.05.2024 01:00;1;0"
    (before, refused, again) = told(read("smard-prices", f"{PRICES}\n{good}\n{row}\n{good}\n"))
    assert before == (2, "2024-04-30T22:00:00Z", "1", "DE-LU")
    assert refused == (3, reason, value)
    assert again == (4, "duplicate-interval", "2024-04-30T22:00:00Z")


def test_the_older_layout_and_another_market_are_read_too() -> None:
    assert told(read("smard-prices", f"{OLD_PRICES}\n01.05.2016;00:00;3,1\n"))[0][2] == "3.1"
    belgian = read(
        "smard-prices", f"{PRICES}\n01.05.2024 00:00;01.05.2024 01:00;1;2\n", ImportOptions(market="Belgien")
    )
    assert told(belgian) == [(2, "2024-04-30T22:00:00Z", "2", "Belgien")]


def test_quarters_are_summed_to_hours_and_a_gap_stays_one() -> None:
    rows = [
        quarter(f"22.02.2016;00:{minute}", "1.182,25", gap)
        for minute, gap in zip(("00", "15", "30", "45"), "1-11", strict=True)
    ]
    assert told(read("smard-generation", "\n".join([MIX, *rows]))) == [
        (2, 3, 4, 5, "2016-02-21T23:00:00Z", "", "4729", "", *["4"] * 10)
    ]


def test_the_repeated_hour_of_quarters_makes_two_hours_and_the_skipped_one_none() -> None:
    quarters = ("00", "15", "30", "45")
    autumn = [quarter(f"30.10.2016;0{hour}:{minute}") for hour in (2, 2) for minute in quarters]
    spring = [quarter(f"27.03.2016;0{hour}:{minute}") for hour in (1, 3) for minute in quarters]
    rows = told(read("smard-generation", "\n".join([MIX, *autumn, *spring])))
    starts = ["2016-10-30T00:00:00Z", "2016-10-30T01:00:00Z", "2016-03-27T00:00:00Z", "2016-03-27T01:00:00Z"]
    assert [row[4] for row in rows] == starts


def test_an_hour_with_a_row_missing_refused_or_twice_is_named_row_by_row() -> None:
    rows = [
        quarter("22.02.2016;00:00"),
        quarter("22.02.2016;00:15", "x"),
        quarter("22.02.2016;00:30"),
        quarter("22.02.2016;00:45"),
        quarter("22.02.2016;01:00"),
        *(quarter(f"22.02.2016;02:{minute}") for minute in ("00", "15", "15", "30", "45")),
        *(quarter(f"22.02.2016;02:{minute}") for minute in ("00", "15", "30", "45")),
    ]
    assert [row[:2] for row in told(read("smard-generation", "\n".join([MIX, *rows])))] == [
        (2, "incomplete-hour"),
        (3, "bad-number"),
        (4, "incomplete-hour"),
        (5, "incomplete-hour"),
        (6, "incomplete-hour"),
        (9, "duplicate-interval"),
        (7, 8),
        *((line, "duplicate-interval") for line in (12, 13, 14, 15)),
    ]


def test_carbon_is_the_average_of_the_sources_that_count() -> None:
    row = "2024-01-01T00:00:00Z,," + ",".join("30" if source == "pumped_storage" else "2" for source in SOURCES)
    gap = row.replace("T00", "T01").replace(",2", ",", 1)
    assert told(read("carbon", f"{PRODUCT_MIX}\n{row}\n{gap}\n{row}\n")) == [
        (2, "2024-01-01T00:00:00Z", "100", "DE"),
        (3, "2024-01-01T01:00:00Z", "", "DE"),
        (4, "duplicate-interval", "2024-01-01T00:00:00Z"),
    ]


@pytest.mark.parametrize(
    ("name", "text", "options", "error"),
    [
        ("ausgrid", ",GC,GG\n", ImportOptions(), "ImportOptionMissing"),
        ("ausgrid", ",GC,GG\n", ImportOptions(meter_id=" "), "ImportOptionRefused"),
        ("ausgrid", ",GC,GG\n", ImportOptions(meter_id="a", market="b"), "ImportOptionRefused"),
        ("ausgrid", ",GC,GG\n", ImportOptions(meter_id="a", time_zone="Atlantis"), "UnknownTimeZone"),
        ("ausgrid", ",GC,GG\n", ImportOptions(meter_id="a", time_zone="../etc/passwd"), "UnknownTimeZone"),
        ("ausgrid", ",GC\n", HOME, "MissingColumns"),
        ("ausgrid", ",GC,GG,CL\n", HOME, "UnknownColumns"),
        ("ausgrid", "", HOME, "MissingColumns"),
        ("citylearn", CITYLEARN, ImportOptions(meter_id="a", pv_w=1), "ImportOptionMissing"),
        ("citylearn", CITYLEARN, ImportOptions(meter_id="a", start=START), "ImportOptionMissing"),
        ("citylearn", CITYLEARN, ImportOptions(meter_id="a", start=START + 1, pv_w=1), "ImportOptionRefused"),
        ("citylearn", CITYLEARN, ImportOptions(meter_id="a", start=START, pv_w=-1), "ImportOptionRefused"),
        ("smard-prices", MIX, ImportOptions(), "MissingColumns"),
        ("smard-prices", PRICES, ImportOptions(market="Mond"), "MissingColumns"),
        ("smard-prices", "Datum;Preis\n", ImportOptions(), "MissingColumns"),
        ("smard-prices", f"{PRICES};Datum von\n", ImportOptions(), "DuplicateColumns"),
        ("smard-generation", MIX.replace("Erdgas", "Gas"), ImportOptions(), "MissingColumns"),
        ("smard-generation", MIX, ImportOptions(interval_s=300), "ImportOptionRefused"),
        ("carbon", PRODUCT_MIX, ImportOptions(), "ImportOptionMissing"),
        ("standard", f"{STANDARD},colour\n", ImportOptions(), "UnknownColumns"),
        ("standard", "x" * 9000, ImportOptions(), "UnreadableFile"),
        ("standard", f"{STANDARD}\na,2024-05-01T00:00:00Z,60,1,0\n", ImportOptions(), "UnsupportedMtuLength"),
        ("edifact", "", ImportOptions(), "UnknownImportFormat"),
    ],
)
def test_a_file_unusable_as_a_whole_is_a_typed_error(name: str, text: str, options: ImportOptions, error: str) -> None:
    with pytest.raises(GridLedgerError) as raised:
        read(name, text, options)
    assert type(raised.value).__name__ == error


HEADERS = {
    "standard": STANDARD,
    "ausgrid": ",GC,GG",
    "citylearn": CITYLEARN,
    "smard-prices": PRICES,
    "smard-generation": MIX,
    "carbon": PRODUCT_MIX,
}
CELLS = st.text(max_size=12) | st.sampled_from(
    """|-|0|1|24|900|-1|1e99|1.231,5|0.43200000000000005|nan|a|"|2024-05-01T00:00:00Z|9999-12-31T23:45:00Z
    |0001-01-01T00:00:00Z|2011-10-02 02:00:00|2011-04-03 02:30:00|27.10.2024 02:00|31.03.2024 02:00|27.10.2024 03:00
    |30.10.2016|02:00|02:15|\N{ARABIC-INDIC DIGIT THREE}|LONG""".replace("\n    ", "")
    .replace("LONG", "9" * 9000)
    .split("|")
)


@given(data=st.data(), name=st.sampled_from(FORMAT_NAMES))
@settings(max_examples=150, deadline=None)
def test_whatever_the_rows_hold_each_is_imported_or_refused_by_name(data: st.DataObject, name: str) -> None:
    header = HEADERS[name]
    separator = ";" if name.startswith("smard") else ","
    width = header.count(separator) + 1
    rows = data.draw(st.lists(st.lists(CELLS, min_size=width, max_size=width), max_size=12))
    text = "\n".join([header, *(separator.join(row) for row in rows)])
    count = sum(line != "\n" for line in list(lines(text))[1:])
    try:
        answered = read(name, text)
    except GridLedgerError:
        return
    numbers = [
        number
        for row in answered
        for number in ((row.line_number,) if isinstance(row, RefusedRow) else row.line_numbers)
    ]
    assert len(numbers) == len(set(numbers)) == count


@given(st.sampled_from([*FORMAT_NAMES, "edifact"]), st.text(max_size=300))
@settings(max_examples=300, deadline=None)
def test_no_text_makes_an_untyped_error(name: str, text: str) -> None:
    try:
        read(name, text)
    except (GridLedgerError, UnknownImportFormat):
        return
