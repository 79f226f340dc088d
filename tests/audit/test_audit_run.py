"""The whole audit, from a folder and nothing else, or by a chain's endpoint."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.audit.fakes import MemoryFiles
from tests.audit.tampering import Cell, change_cell

from gridledger.app.audit_run import EndpointChain, audit
from gridledger.audit.evidence import MarketFacts
from gridledger.audit.formats import BLOCKS, DEPLOYMENT, MANIFEST, MARKET
from gridledger.audit.model import AuditReport, Rule
from gridledger.audit.ports import StateUnavailable
from gridledger.chain.compiler import load_artifacts
from gridledger.chain.rpc import RpcUnreachable


def silent(done: int, total: int, text: str) -> None:
    """Progress nobody watches."""


def rules_of(report: AuditReport) -> set[Rule]:
    """Rules with a mismatch."""
    return {mismatch.rule for mismatch in report.mismatches}


def test_an_honest_run_is_rebuilt_from_its_blocks_and_found_right(export: Path) -> None:
    report = audit(export, None, silent)
    assert report.mismatches == ()
    assert report.ok
    assert report.totals == {
        "orders": 31,
        "acceptances": 2,
        "readings": 53,
        "tombstones": 0,
        "erased_readings": 0,
        "setpoints": report.totals["setpoints"],
        "unverifiable_settlements": 0,
        "unverifiable_setpoints": 0,
        "meters": 6,
        "blocks": report.totals["blocks"],
        "cleared_mtus": 10,
        "curtailed_mtus": 1,
        "stopped_mtus": 1,
        "emergencies_out_of_order": 0,
        "trades": 14,
        "deals": 2,
        "traded_wh": 2_540,
        "curtailed_wh": 290,
        "curtailed_low_carbon_wh": 70,
        "compensated_microcents": 6_710_000,
        "trade_value_microcents": 30_734_760,
        "positions": 22,
        "settled_positions": 20,
        "refunded_positions": 2,
        "open_positions": 0,
        "substituted_positions": 1,
        "corrections": 0,
        "fees_microcents": 2_230_000,
        "debts_microcents": 514_620_000,
        "deposited_microcents": report.totals["deposited_microcents"],
        "withdrawn_microcents": report.totals["withdrawn_microcents"],
        "cash_sum_microcents": 0,
        "tokens_minted_ugco2": 537_446_000,
        "tokens_burned_ugco2": 1_000,
    }


def test_an_endpoint_gives_the_same_report_as_the_rebuilt_chain(export: Path, chain_url: str) -> None:
    by_endpoint, rebuilt = audit(export, chain_url, silent), audit(export, None, silent)
    assert by_endpoint.totals == rebuilt.totals
    assert by_endpoint.mismatches == rebuilt.mismatches == ()


def test_the_report_is_plain_json(export: Path, chain_url: str) -> None:
    report = json.loads(json.dumps(audit(export, chain_url, silent).to_json()))
    assert report["ok"] is True
    assert report["mismatches"] == []
    assert set(report["checked"]) == set(Rule)


def test_progress_only_grows_and_ends_with_everything_done(export: Path, chain_url: str) -> None:
    seen: list[tuple[int, int]] = []
    audit(export, chain_url, lambda done, total, _: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1] > 0


def _raw_digit(block: dict[str, Any]) -> None:
    raw = block["raw_transactions"][0]
    block["raw_transactions"][0] = raw[:-1] + ("0" if raw[-1] != "0" else "1")


def _time(block: dict[str, Any]) -> None:
    block["time_s"] += 1


def _hash(block: dict[str, Any]) -> None:
    block["block_hash"] = "0x" + "1" * 64


def _root(block: dict[str, Any]) -> None:
    block["state_root"] = "0x" + "1" * 64


def _number(block: dict[str, Any]) -> None:
    block["number"] += 1


def _no_hex(block: dict[str, Any]) -> None:
    block["raw_transactions"][0] = "bytes"


@pytest.mark.parametrize("change", [_raw_digit, _time, _hash, _root, _number, _no_hex])
def test_a_changed_block_makes_the_rebuilt_chain_another_one(
    change: Callable[[dict[str, Any]], None], exported: MemoryFiles, tmp_path: Path
) -> None:
    lines = exported.content[BLOCKS].splitlines(keepends=True)
    block = json.loads(lines[10])
    change(block)
    lines[10] = json.dumps(block).encode() + b"\n"
    exported.content[BLOCKS] = b"".join(lines)
    report = audit(exported.seal().write_to(tmp_path / "export"), None, silent)
    assert rules_of(report) <= {Rule.CHAIN, Rule.FORMAT}
    assert Rule.CHAIN in rules_of(report)
    assert report.checked[Rule.ORDER_SIGNATURE] == 33  # and of two acceptances


def test_the_diverging_block_is_named(exported: MemoryFiles, tmp_path: Path) -> None:
    lines = exported.content[BLOCKS].splitlines(keepends=True)
    block = json.loads(lines[10])
    _raw_digit(block)
    lines[10] = json.dumps(block).encode() + b"\n"
    exported.content[BLOCKS] = b"".join(lines)
    report = audit(exported.seal().write_to(tmp_path / "export"), None, silent)
    assert [mismatch.record for mismatch in report.mismatches] == [f"block 11 of {BLOCKS}"]


def test_a_cut_off_chain_with_a_mended_head_misses_what_the_files_still_hold(
    exported: MemoryFiles, tmp_path: Path
) -> None:
    lines = exported.content[BLOCKS].splitlines(keepends=True)[:-12]
    exported.content[BLOCKS] = b"".join(lines)
    last = json.loads(lines[-1])
    manifest = exported.document(MANIFEST)
    manifest["head"] = {"number": last["number"], "block_hash": last["block_hash"]}
    exported.put_document(MANIFEST, manifest)
    report = audit(exported.seal().write_to(tmp_path / "export"), None, silent)
    assert {Rule.POSITION, Rule.FILL} <= rules_of(report)


def test_a_chain_shorter_than_the_manifest_says_is_found(exported: MemoryFiles, tmp_path: Path) -> None:
    exported.content[BLOCKS] = b"".join(exported.content[BLOCKS].splitlines(keepends=True)[:-1])
    report = audit(exported.seal().write_to(tmp_path / "export"), None, silent)
    assert Rule.CHAIN in rules_of(report)


def test_a_changed_record_is_named_by_the_whole_audit(exported: MemoryFiles, tmp_path: Path) -> None:
    change_cell(exported, Cell("readings.csv", 7, "import_wh"))
    report = audit(exported.seal().write_to(tmp_path / "export"), None, silent)
    assert not report.ok
    named = [mismatch for mismatch in report.mismatches if mismatch.rule is Rule.READING_COLUMN]
    assert [(mismatch.record, mismatch.expected, mismatch.found) for mismatch in named] == [
        ("meter 2, MTU 2016-06-13T00:15:00Z, import_wh", "90", "91")
    ]


@pytest.mark.parametrize("name", [MARKET, DEPLOYMENT, MANIFEST, BLOCKS, "orders.csv"])
@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"{}", b"null\n", b"\xff\xff", b'{"a":' * 3_000],
    ids=["nothing", "half", "list", "object", "null", "bytes", "deep"],
)
def test_damaged_files_are_mismatches_and_never_exceptions(
    name: str, content: bytes, exported: MemoryFiles, tmp_path: Path
) -> None:
    exported.content[name] = content
    report = audit(exported.write_to(tmp_path / "export"), None, silent)
    assert any(name in mismatch.record for mismatch in report.mismatches)


def test_a_missing_folder_is_a_list_of_missing_files(tmp_path: Path) -> None:
    report = audit(tmp_path / "nowhere", None, silent)
    assert {f"{MANIFEST}", "orders.csv", BLOCKS} <= {mismatch.record for mismatch in report.mismatches}


def test_a_folder_in_place_of_a_file_is_a_mismatch(exported: MemoryFiles, tmp_path: Path) -> None:
    del exported.content["trades.csv"]
    folder = exported.write_to(tmp_path / "export")
    (folder / "trades.csv").mkdir()
    assert Rule.FORMAT in rules_of(audit(folder, None, silent))


def _leaves(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(document, dict) and document:
        return [leaf for key, value in document.items() for leaf in _leaves(value, (*path, key))]
    if isinstance(document, list) and document:
        return [leaf for index, value in enumerate(document) for leaf in _leaves(value, (*path, index))]
    return [path]


def _changed(value: Any) -> Any:
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case str() if value.startswith("0x"):
            return value[:-1] + ("1" if value[-1] != "1" else "2")
        case str():
            return value + "?"
    return 7


@pytest.mark.parametrize("name", [MARKET, DEPLOYMENT])
def test_every_value_of_the_market_files_is_held_against_the_chain(
    name: str, exported: MemoryFiles, chain_url: str, tmp_path: Path
) -> None:
    missed = []
    for number, path in enumerate(_leaves(exported.document(name))):
        tampered, document = exported.copy(), exported.document(name)
        parent = document
        for step in path[:-1]:
            parent = parent[step]
        parent[path[-1]] = _changed(parent[path[-1]])
        tampered.put_document(name, document)
        if audit(tampered.seal().write_to(tmp_path / str(number)), chain_url, silent).ok:
            missed.append(path)
    assert missed == []


def test_an_endpoint_that_does_not_answer_is_a_typed_error(export: Path) -> None:
    with pytest.raises(RpcUnreachable):
        audit(export, "http://127.0.0.1:9", silent)


def test_state_an_endpoint_no_longer_has_is_a_typed_error(chain_url: str, exported_facts: MarketFacts) -> None:
    endpoint = EndpointChain(chain_url, load_artifacts(), exported_facts.addresses, with_state_roots=False)
    with pytest.raises(StateUnavailable):
        endpoint.up_to(endpoint.head_number() - 30).escrow_microcents()
    endpoint.close()
