"""Virtual environments of clients nobody here wrote: made once, kept in the build folder under the names of their pins.

The two packages install a module of the same name, so each has an environment of its own.
"""

import hashlib
import json
import os
import queue
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NoReturn

import pytest

REQUIRED = "CI_REQUIRES_CLIENTS"
_FOLDER = Path(__file__).resolve().parents[3] / ".build" / "clients"
_INSTALL_TIMEOUT_S, _PROBE_TIMEOUT_S, _STEP_TIMEOUT_S = 240, 20, 60


@dataclass(frozen=True, kw_only=True)
class Foreign:
    """A client's pins, the oldest Python it runs on, its script here, and what its environment needs."""

    name: str
    pins: tuple[str, ...]
    oldest: tuple[int, int]
    script: str
    variables: tuple[tuple[str, str], ...] = ()


PYTHON_OA3_CLIENT = Foreign(
    name="python-oa3-client",
    pins=("python-oa3-client[all]==0.5.0", "openadr3==0.5.0"),
    oldest=(3, 10),
    script="oa3_ven.py",
)
ELAAD_CLIENT = Foreign(
    name="openadr3-client",
    pins=("openadr3-client[mqtt]==2.4.2",),
    oldest=(3, 12),
    script="elaad_ven.py",
    variables=(("OAUTHLIB_INSECURE_TRANSPORT", "1"),),
)


def client_python(client: Foreign) -> Path:
    """The interpreter of the client's environment, which is made if there is none.

    The test is skipped without a Python that is new enough; where the package cannot be installed it is skipped, too,
    or fails if CI_REQUIRES_CLIENTS is 1.
    """
    base = _interpreter(client.oldest)
    if base is None:
        pytest.skip(f"{client.name} needs Python {client.oldest[0]}.{client.oldest[1]} or newer, and there is none")
    version = subprocess.run([base, "-V"], capture_output=True, text=True, timeout=_PROBE_TIMEOUT_S, check=True).stdout
    digest = hashlib.sha256(json.dumps([client.pins, version]).encode()).hexdigest()[:12]
    folder = _FOLDER / f"{client.name}-{digest}"
    if not (folder / "ready").exists():
        shutil.rmtree(folder, ignore_errors=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        for command in ([base, "-m", "venv", str(folder)], [*pip, *client.pins]):
            try:
                subprocess.run(command, check=True, capture_output=True, timeout=_INSTALL_TIMEOUT_S)
            except (OSError, subprocess.SubprocessError):
                _missing(f"{client.name} could not be installed")
        (folder / "ready").touch()
    return folder / "bin" / "python"


def _missing(reason: str) -> NoReturn:
    if os.environ.get(REQUIRED) == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def _interpreter(oldest: tuple[int, int]) -> str | None:
    """A Python that is new enough: this one, one on the PATH, or one of pyenv's."""
    probe = f"import sys, ensurepip, venv; raise SystemExit(sys.version_info < {oldest})"
    for candidate in (sys.executable, "python3.12", "python3.13", *_of_pyenv()):
        try:
            done = subprocess.run([candidate, "-c", probe], capture_output=True, timeout=_PROBE_TIMEOUT_S, check=False)
        except (OSError, subprocess.SubprocessError):
            continue
        if done.returncode == 0:
            return candidate
    return None


def _of_pyenv() -> Iterator[str]:
    if shutil.which("pyenv") is None:
        return
    asked = subprocess.run(["pyenv", "root"], capture_output=True, text=True, timeout=_PROBE_TIMEOUT_S, check=False)
    versions = Path(asked.stdout.strip()) / "versions"
    yield from (str(found) for name in ("3.12", "3.13") for found in sorted(versions.glob(f"{name}*/bin/python3")))


class ForeignProcess:
    """A client's script while it runs."""

    def __init__(self, process: subprocess.Popen[str], errors: Path) -> None:
        self._process = process
        self._errors = errors
        self._said: queue.Queue[dict[str, Any] | None] = queue.Queue()
        assert process.stdout is not None
        self._thread = threading.Thread(target=self._read, args=(process.stdout,), name="foreign")
        self._thread.start()

    def step(self, name: str) -> dict[str, Any]:
        """The next thing it says, which must be this step."""
        said = self._said.get(timeout=_STEP_TIMEOUT_S)
        assert said is not None, self._errors.read_text()
        assert said["step"] == name
        return said

    def end(self) -> None:
        """Wait for its end, which must be a good one."""
        assert self._process.wait(timeout=_STEP_TIMEOUT_S) == 0, self._errors.read_text()

    def close(self) -> None:
        """End it, if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._thread.join()

    def _read(self, lines: IO[str]) -> None:
        with lines:
            for line in lines:
                self._said.put(json.loads(line))
        self._said.put(None)


@contextmanager
def running_client(client: Foreign, python: Path, folder: Path, *arguments: str) -> Iterator[ForeignProcess]:
    """The client's script, in an environment that holds nothing of ours."""
    script = Path(__file__).with_name(client.script)
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), **dict(client.variables)}
    errors = folder / f"{client.name}.log"
    with errors.open("w") as log:
        process = subprocess.Popen(
            [str(python), "-I", str(script), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment,
            cwd=folder,
            text=True,
        )
    running = ForeignProcess(process, errors)
    try:
        yield running
    finally:
        running.close()


def seconds_since(began: float, said: dict[str, Any]) -> float:
    """From a moment of this process to the arrival the client told."""
    seconds: float = said["time"] - began
    assert 0 < seconds < time.time()
    return seconds
