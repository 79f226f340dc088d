"""A replay's data folder: which run it belongs to, so that the same command continues it and another is refused."""

import json
import shutil
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from gridledger.errors import Conflict, Unavailable

__all__ = ["FolderNotEmpty", "RunComplete", "RunDiffers", "RunFolder", "RunIdentity", "RunUnreadable"]

_RUN_FILE = "run.json"


@dataclass(kw_only=True, eq=False)
class FolderNotEmpty(Conflict):
    """The folder holds something that is not a run; choose a new one."""

    folder: str


@dataclass(kw_only=True, eq=False)
class RunDiffers(Conflict):
    """The folder holds a half-finished run of other inputs; choose another folder or remove this one."""

    folder: str
    field: str
    kept: str
    asked: str


@dataclass(kw_only=True, eq=False)
class RunComplete(Conflict):
    """The folder holds a finished run; choose another folder or remove this one."""

    folder: str


@dataclass(kw_only=True, eq=False)
class RunUnreadable(Unavailable):
    """The folder's run file is damaged; remove the folder."""

    folder: str


class _Status(StrEnum):
    RUNNING = "running"
    COMPLETE = "complete"


@dataclass(frozen=True, kw_only=True)
class RunIdentity:
    """What makes a run: the bytes of its inputs, its window, seed and options."""

    inputs_sha256: str
    from_text: str | None
    to_text: str | None
    seed: int
    limit_kw: int | None


class RunFolder:
    """Claims a folder for one run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def claim(self, identity: RunIdentity, *, restart_complete: bool = False) -> bool:
        """Take the folder; returns whether it holds the beginning of the same run.

        With `restart_complete` a finished run of any inputs is removed first. Raises FolderNotEmpty, RunDiffers,
        RunComplete, RunUnreadable; nothing has changed then.
        """
        kept = self._read()
        if kept is None:
            if self.path.exists() and not self._is_empty():
                raise FolderNotEmpty(folder=str(self.path))
            self._begin(identity)
            return False
        status, kept_identity = kept
        if status is _Status.COMPLETE:
            if not restart_complete:
                raise RunComplete(folder=str(self.path))
            doomed = self.path.with_name(self.path.name + ".old")
            shutil.rmtree(doomed, ignore_errors=True)
            self.path.replace(doomed)  # at once, so that no interruption leaves half a run without its file
            shutil.rmtree(doomed)
            self._begin(identity)
            return False
        for field, asked in asdict(identity).items():
            if kept_identity.get(field) != asked:
                raise RunDiffers(
                    folder=str(self.path), field=field, kept=str(kept_identity.get(field)), asked=str(asked)
                )
        return True

    def complete(self, identity: RunIdentity) -> None:
        """Mark the run as finished."""
        self._write(identity, _Status.COMPLETE)

    def _is_empty(self) -> bool:
        """Whether the folder holds nothing but what a claim that was interrupted left."""
        return self.path.is_dir() and all(entry.name == _RUN_FILE + ".tmp" for entry in self.path.iterdir())

    def _begin(self, identity: RunIdentity) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        self._write(identity, _Status.RUNNING)

    def _write(self, identity: RunIdentity, status: _Status) -> None:
        temporary = self.path / (_RUN_FILE + ".tmp")
        temporary.write_text(json.dumps({"status": status, **asdict(identity)}, indent=1) + "\n")
        temporary.replace(self.path / _RUN_FILE)

    def _read(self) -> tuple[_Status, dict[str, object]] | None:
        path = self.path / _RUN_FILE
        if not path.exists():
            return None
        try:
            values = json.loads(path.read_text())
            return _Status(values.pop("status")), values
        except (ValueError, KeyError, AttributeError, TypeError):
            raise RunUnreadable(folder=str(self.path)) from None
