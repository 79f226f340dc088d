"""Whoever changes, removes, repeats or exchanges exported records is found out, and the record is named."""

import pytest
from tests.audit.fakes import MemoryFiles, RecordedChain, judge
from tests.audit.tampering import CELLS, EVERY_CELL, ROWS, Cell, change_cell, names_of

from gridledger.audit.evidence import MarketFacts
from gridledger.audit.formats import ROW_FILES
from gridledger.audit.model import AuditReport, Rule

ROW_FILE_NAMES = [name for name, rows in ROWS.items() if rows]


def _found(report: AuditReport, names: tuple[str, ...]) -> bool:
    return not report.ok and any(name in mismatch.record for mismatch in report.mismatches for name in names)


def test_an_honest_export_has_no_mismatch(files: MemoryFiles, facts: MarketFacts, chain: RecordedChain) -> None:
    report = judge(files, facts, chain)
    assert report.mismatches == ()
    assert report.ok


def test_the_run_has_the_rows_these_tests_change(files: MemoryFiles) -> None:
    assert {file.name: len(files.table(file.name)) - 1 for file in ROW_FILES} == ROWS


def test_resealing_an_honest_export_changes_nothing(
    files: MemoryFiles, facts: MarketFacts, chain: RecordedChain
) -> None:
    assert judge(files.seal(), facts, chain).ok


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_one_changed_value_is_found_and_its_record_named(
    cell: Cell, files: MemoryFiles, facts: MarketFacts, chain: RecordedChain
) -> None:
    names = names_of(files, cell.file, cell.row)
    change_cell(files, cell)
    report = judge(files.seal(), facts, chain)
    assert _found(report, names), report.mismatches


@pytest.mark.long
@pytest.mark.timeout(7_200)
def test_every_single_changed_value_is_found(files: MemoryFiles, facts: MarketFacts, chain: RecordedChain) -> None:
    missed = []
    for cell in EVERY_CELL:
        tampered = files.copy()
        change_cell(tampered, cell)
        if not _found(judge(tampered.seal(), facts, chain), names_of(files, cell.file, cell.row)):
            missed.append(str(cell))
    assert missed == []


@pytest.mark.parametrize("name", ROW_FILE_NAMES)
def test_a_changed_value_is_found_by_the_manifest_alone(
    name: str, files: MemoryFiles, facts: MarketFacts, chain: RecordedChain
) -> None:
    column = "signature" if "cancellations" in name else files.table(name)[0][0]
    change_cell(files, Cell(name, 1, column))
    report = judge(files, facts, chain)
    assert (Rule.MANIFEST, f"sha256 of {name}") in {(mismatch.rule, mismatch.record) for mismatch in report.mismatches}


@pytest.mark.parametrize("name", ROW_FILE_NAMES)
@pytest.mark.parametrize("row", [1, -1])
def test_a_removed_row_is_found(
    name: str, row: int, files: MemoryFiles, facts: MarketFacts, chain: RecordedChain
) -> None:
    rows = files.table(name)
    del rows[row]
    files.put_table(name, rows)
    assert not judge(files.seal(), facts, chain).ok


@pytest.mark.parametrize("name", ROW_FILE_NAMES)
def test_a_repeated_row_is_found(name: str, files: MemoryFiles, facts: MarketFacts, chain: RecordedChain) -> None:
    rows = files.table(name)
    files.put_table(name, [*rows, rows[1]])
    assert not judge(files.seal(), facts, chain).ok


@pytest.mark.parametrize(
    ("name", "column", "one", "other"),
    [
        ("orders.csv", "limit_cents_per_mwh", 1, 2),
        ("orders.csv", "running_number", 1, 2),
        ("orders.csv", "receipt_signature", 7, 8),
        ("acceptances.csv", "quantity_wh", 1, 2),
        ("acceptances.csv", "signature", 1, 2),
        ("cancellations.csv", "signature", 1, 2),
        ("books.csv", "running_number", 1, 2),
        ("books.csv", "uid", 3, 4),
        ("books.csv", "filled_wh", 1, 2),
        ("trades.csv", "buy_meter", 1, 2),
        ("trades.csv", "energy_wh", 2, 3),
        ("trades.csv", "price_cents_per_mwh", 9, 11),
        ("positions.csv", "fee_microcents", 2, 3),
        ("positions.csv", "metered_wh", 1, 2),
        ("positions.csv", "version", 23, 24),
        ("setpoints.csv", "meter", 40, 41),
        ("setpoints.csv", "contracted_wh", 40, 41),
        ("setpoints.csv", "residual_wh", 40, 41),
        ("setpoints.csv", "salt", 40, 41),
        ("readings.csv", "export_wh", 1, 4),
        ("readings.csv", "salt", 1, 2),
        ("readings.csv", "text", 1, 4),
        ("readings.csv", "anchor_sequence", 10, 11),
        ("meters.csv", "device_key_x", 1, 2),
    ],
)
def test_exchanged_values_of_two_rows_are_found_and_named(
    name: str, column: str, one: int, other: int, files: MemoryFiles, facts: MarketFacts, chain: RecordedChain
) -> None:
    names = (*names_of(files, name, one), *names_of(files, name, other))
    rows = files.table(name)
    index = rows[0].index(column)
    rows[one][index], rows[other][index] = rows[other][index], rows[one][index]
    files.put_table(name, rows)
    assert _found(judge(files.seal(), facts, chain), names)


@pytest.mark.parametrize("name", [*ROW_FILE_NAMES, "blocks.jsonl"])
def test_a_cut_off_tail_is_found(name: str, files: MemoryFiles, facts: MarketFacts, chain: RecordedChain) -> None:
    files.content[name] = files.content[name][:-10]
    report = judge(files.seal(), facts, chain)
    assert _found(report, (f"{name} line",))


@pytest.mark.parametrize("name", [*ROW_FILE_NAMES, "blocks.jsonl", "manifest.json"])
def test_a_missing_file_is_found(name: str, files: MemoryFiles, facts: MarketFacts, chain: RecordedChain) -> None:
    del files.content[name]
    report = judge(files, facts, chain)
    assert _found(report, (name,))


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("orders.csv", b"\xff\xfe\n"),
        ("orders.csv", b"1,2,3\n"),
        ("readings.csv", b'"1,2,3\n'),
        ("blocks.jsonl", b"{}\n"),
        ("blocks.jsonl", b"[[[[\n"),
        ("blocks.jsonl", b'{"number":"1","time_s":1,"block_hash":"","state_root":"","raw_transactions":[]}\n'),
    ],
)
def test_an_unreadable_line_is_named_and_the_rest_is_still_checked(
    name: str, line: bytes, files: MemoryFiles, facts: MarketFacts, chain: RecordedChain
) -> None:
    number = len(files.content[name].splitlines()) + 1
    files.content[name] += line
    report = judge(files.seal(), facts, chain)
    assert f"{name} line {number}" in {mismatch.record for mismatch in report.mismatches}
    assert report.checked["settlement"] > 0


@pytest.mark.parametrize("value", ["+5", " 5", "05", "5.0", "1e3", "-0", "", "9" * 60, "\u0665", "1_000"])
def test_a_number_has_one_spelling(value: str, files: MemoryFiles, facts: MarketFacts, chain: RecordedChain) -> None:
    rows = files.table("trades.csv")
    rows[1][rows[0].index("energy_wh")] = value
    files.put_table("trades.csv", rows)
    assert "trades.csv line 2, energy_wh" in {
        mismatch.record for mismatch in judge(files.seal(), facts, chain).mismatches
    }


def test_spare_bits_of_a_signed_text_cannot_be_used_to_make_it_another_text(
    files: MemoryFiles, facts: MarketFacts, chain: RecordedChain
) -> None:
    rows, names = files.table("readings.csv"), names_of(files, "readings.csv", 1)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    text = rows[1][-1]
    rows[1][-1] = text[:-1] + alphabet[alphabet.index(text[-1]) ^ 1]
    files.put_table("readings.csv", rows)
    assert _found(judge(files.seal(), facts, chain), names)


def test_columns_in_another_order_are_refused(files: MemoryFiles, facts: MarketFacts, chain: RecordedChain) -> None:
    files.put_table("trades.csv", [[*row[1::-1], *row[2:]] for row in files.table("trades.csv")])
    records = {mismatch.record for mismatch in judge(files.seal(), facts, chain).mismatches}
    assert "trades.csv line 1" in records


def test_a_foreign_file_is_found(files: MemoryFiles, facts: MarketFacts, chain: RecordedChain) -> None:
    files.content["notes.txt"] = b"nothing to see\n"
    assert _found(judge(files, facts, chain), ("notes.txt",))


def test_removing_an_order_and_its_book_line_together_is_found(
    files: MemoryFiles, facts: MarketFacts, chain: RecordedChain
) -> None:
    orders, books = files.table("orders.csv"), files.table("books.csv")
    uid = orders[-1][1]
    files.put_table("orders.csv", orders[:-1])
    files.put_table("books.csv", [row for row in books if uid not in row])
    assert _found(judge(files.seal(), facts, chain), (uid,))
