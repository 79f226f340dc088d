"""An export shows one moment of a run, all of it or nothing, and none of its secrets."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
from tests.audit.fakes import MemoryFiles

from gridledger.app.export import ExportSummary, ExportUnreadable, NothingToExport, TargetNotEmpty, export_run
from gridledger.app.node import Node, NodeFolder
from gridledger.audit.formats import BLOCKS, DEPLOYMENT, MANIFEST, MARKET, ROW_FILES, TOMBSTONES
from gridledger.chain.journal import JournalCorrupt


def silent(done: int, total: int, text: str) -> None:
    """Progress nobody watches."""


def test_the_summary_counts_what_the_files_hold(summary: ExportSummary, exported: MemoryFiles) -> None:
    manifest = exported.document(MANIFEST)
    assert summary.rows == {name: entry["rows"] for name, entry in manifest["files"].items()}
    assert (summary.head_block, summary.head_hash) == (manifest["head"]["number"], manifest["head"]["block_hash"])
    assert json.loads(json.dumps(asdict(summary))) == asdict(summary)
    assert summary.rows["orders.csv"] == 31


def test_an_export_holds_exactly_the_named_files(exported: MemoryFiles) -> None:
    assert exported.names() == {file.name for file in ROW_FILES} | {BLOCKS, DEPLOYMENT, MANIFEST, MARKET, TOMBSTONES}


def test_two_exports_of_one_run_are_the_same_bytes(played: Path, exported: MemoryFiles, tmp_path: Path) -> None:
    export_run(played, tmp_path / "export", silent)
    assert MemoryFiles.of(tmp_path / "export").content == exported.content


def test_a_running_node_can_be_exported(played: Path, exported: MemoryFiles, tmp_path: Path) -> None:
    shutil.copytree(played, tmp_path / "data")
    node = Node(NodeFolder(tmp_path / "data"), simulated=True)
    node.start()
    try:
        export_run(tmp_path / "data", tmp_path / "export", silent)
    finally:
        node.close()
    assert MemoryFiles.of(tmp_path / "export").content == exported.content


def test_an_export_changes_nothing_in_the_data_folder(played: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in played.rglob("*") if path.is_file()}
    export_run(played, tmp_path / "export", silent)
    after = {path: path.read_bytes() for path in played.rglob("*") if path.is_file()}
    assert {path: content for path, content in after.items() if path in before} == before
    assert {path.suffix for path in after.keys() - before.keys()} <= {".db-shm", ".db-wal"}


def test_no_key_and_no_seed_leaves_the_data_folder(exported: MemoryFiles, played: Path) -> None:
    assert exported.document(MARKET)["seed"] is None
    password = (played / "keys" / "password").read_bytes().strip()
    assert not any(password in content for content in exported.content.values())


def test_only_its_owner_can_read_an_export(export: Path) -> None:
    assert export.stat().st_mode & 0o077 == 0


def test_an_empty_folder_is_filled(played: Path, tmp_path: Path) -> None:
    (tmp_path / "export").mkdir()
    export_run(played, tmp_path / "export", silent)
    assert (tmp_path / "export" / MANIFEST).exists()


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_exists_is_never_overwritten(kind: str, played: Path, tmp_path: Path) -> None:
    target = tmp_path / "export"
    if kind == "file":
        target.write_text("mine")
    else:
        target.mkdir()
        (target / "mine").write_text("mine")
    with pytest.raises(TargetNotEmpty):
        export_run(played, target, silent)
    assert (target if kind == "file" else target / "mine").read_text() == "mine"


@pytest.mark.parametrize("missing", ["market.json", "deployment.json", "node.db"])
def test_a_folder_without_a_market_is_refused(missing: str, played: Path, tmp_path: Path) -> None:
    shutil.copytree(played, tmp_path / "data")
    (tmp_path / "data" / missing).unlink()
    with pytest.raises(NothingToExport) as refused:
        export_run(tmp_path / "data", tmp_path / "export", silent)
    assert refused.value.missing == missing


@pytest.mark.parametrize(
    ("path", "error"),
    [("node.db", ExportUnreadable), ("chain/journal.db", JournalCorrupt)],
    ids=["database", "journal"],
)
def test_a_failed_export_leaves_nothing_behind(path: str, error: type[Exception], played: Path, tmp_path: Path) -> None:
    shutil.copytree(played, tmp_path / "data")
    (tmp_path / "data" / path).write_bytes(b"not a database" * 100)
    (tmp_path / "targets").mkdir()
    with pytest.raises(error):
        export_run(tmp_path / "data", tmp_path / "targets" / "export", silent)
    assert list((tmp_path / "targets").iterdir()) == []


def test_progress_ends_with_all_rows_written(played: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    export_run(played, tmp_path / "export", lambda done, total, _: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1] > 0
