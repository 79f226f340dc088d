"""A replay's folder belongs to one run: the same command continues it, another is refused, nothing is overwritten."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from gridledger.app.run_folder import FolderNotEmpty, RunComplete, RunDiffers, RunFolder, RunIdentity, RunUnreadable

IDENTITY = RunIdentity(inputs_sha256="ab" * 32, from_text="2016-06-13T00:00:00Z", to_text=None, seed=7, limit_kw=None)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_new_folder_is_made_and_claimed(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "deep" / "data")
    assert folder.claim(IDENTITY) is False
    assert json.loads((tmp_path / "deep" / "data" / "run.json").read_text())["status"] == "running"


def test_an_empty_folder_is_as_good_as_none(tmp_path: Path) -> None:
    assert RunFolder(tmp_path).claim(IDENTITY) is False


def test_a_run_killed_before_its_file_was_written_is_begun_again(tmp_path: Path) -> None:
    (tmp_path / "run.json.tmp").write_text("{")
    assert RunFolder(tmp_path).claim(IDENTITY) is False
    assert list(contents(tmp_path)) == ["run.json"]


def test_the_same_run_is_continued_with_everything_it_has(tmp_path: Path) -> None:
    RunFolder(tmp_path).claim(IDENTITY)
    (tmp_path / "node.db").write_text("progress")
    before = contents(tmp_path)
    assert RunFolder(tmp_path).claim(IDENTITY) is True
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("field", "asked"),
    [
        ("inputs_sha256", "cd" * 32),
        ("from_text", None),
        ("to_text", "2016-06-14T00:00:00Z"),
        ("seed", 8),
        ("limit_kw", 40),
    ],
)
@pytest.mark.parametrize("restart_complete", [False, True])
def test_a_half_finished_folder_of_another_run_is_refused_naming_the_difference(
    tmp_path: Path, field: str, asked: object, restart_complete: bool
) -> None:
    RunFolder(tmp_path).claim(IDENTITY)
    (tmp_path / "node.db").write_text("progress")
    before = contents(tmp_path)
    with pytest.raises(RunDiffers) as refused:
        RunFolder(tmp_path).claim(replace(IDENTITY, **{field: asked}), restart_complete=restart_complete)  # type: ignore[arg-type]
    kept = getattr(IDENTITY, field)
    assert refused.value.values() == {
        "folder": str(tmp_path),
        "field": field,
        "kept": str(kept),
        "asked": str(asked),
    }
    assert contents(tmp_path) == before


def test_a_folder_with_somebody_s_files_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    for restart_complete in (False, True):
        with pytest.raises(FolderNotEmpty) as refused:
            RunFolder(tmp_path).claim(IDENTITY, restart_complete=restart_complete)
        assert refused.value.folder == str(tmp_path)
    assert contents(tmp_path) == {"thesis.txt": b"years of work"}


def test_a_finished_run_is_not_run_again_by_chance(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.claim(IDENTITY)
    folder.complete(IDENTITY)
    before = contents(tmp_path)
    for identity in (IDENTITY, replace(IDENTITY, seed=8)):
        with pytest.raises(RunComplete) as refused:
            RunFolder(tmp_path).claim(identity)
        assert refused.value.folder == str(tmp_path)
    assert contents(tmp_path) == before


def test_a_demo_starts_over_after_a_finished_run_whatever_its_inputs_were(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "data")
    folder.claim(IDENTITY)
    (tmp_path / "data" / "node.db").write_text("the last run")
    folder.complete(IDENTITY)
    assert RunFolder(tmp_path / "data").claim(replace(IDENTITY, seed=8), restart_complete=True) is False
    assert list(contents(tmp_path / "data")) == ["run.json"]
    assert json.loads((tmp_path / "data" / "run.json").read_text())["seed"] == 8


@pytest.mark.parametrize("text", ["", "{", "{}", '{"status": "paused"}', '"running"', "null", "[]"])
def test_a_damaged_run_file_is_said_and_left_alone(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(RunUnreadable) as refused:
        RunFolder(tmp_path).claim(IDENTITY)
    assert refused.value.folder == str(tmp_path)
    assert contents(tmp_path) == {"run.json": text.encode()}


def test_no_half_written_file_stays(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.claim(IDENTITY)
    folder.complete(IDENTITY)
    assert list(contents(tmp_path)) == ["run.json"]
