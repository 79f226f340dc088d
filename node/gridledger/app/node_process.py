"""A node as a child process: started, found again after it was killed, its simulated clock moved."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from gridledger.app.clock_socket import AdvanceFailed, advance_clock
from gridledger.app.node import NodeFolder
from gridledger.errors import Unavailable

__all__ = ["NodeEnded", "NodeProcess"]

_STOP_TIMEOUT_S = 30
_LIVE_ONLY = "GRIDLEDGER_MQTT_"  # a replay must not take the readings that a broker holds for the running market


@dataclass(kw_only=True, eq=False)
class NodeEnded(Unavailable):
    """The node process ended before it was ready."""

    exit_code: int | None
    message: str


class NodeProcess:
    """Owns one node process with a simulated clock; the process ends when its owner does."""

    def __init__(self, folder: Path, environment: Mapping[str, str] = os.environ) -> None:
        """The node gets this environment without what concerns a broker."""
        self._environment = {name: value for name, value in environment.items() if not name.startswith(_LIVE_ONLY)}
        self._folder = NodeFolder(folder)
        self._process: subprocess.Popen[str] | None = None
        self._port = 0
        self.base_url = ""
        self.chain_url = ""

    def __enter__(self) -> Self:
        self.ensure_running()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def ensure_running(self) -> None:
        """Start the node unless it runs. Raises NodeEnded with what it said."""
        if self._process is not None and self._process.poll() is None:
            return
        self.stop()
        command = [sys.executable, "-m", "gridledger.app.main", "serve", "--data", str(self._folder.path)]
        command += ["--port", str(self._port), "--simulated-clock", "--until-stdin-closes"]
        with self._folder.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
                env=self._environment,
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.startswith("{"):
            code = self._process.wait(_STOP_TIMEOUT_S)
            raise NodeEnded(exit_code=code, message=line.strip() or _last_line(self._folder.log))
        announced = json.loads(line)
        self.base_url, self.chain_url = announced["api"], announced["chain"]
        self._port = int(self.base_url.rpartition(":")[2])

    def advance(self, moment: int) -> int:
        """Move the node's clock to a Unix second and let it do what is due; returns its present time.

        A node that died on the way is started again and asked again. Raises AdvanceFailed, NodeEnded.
        """
        try:
            return advance_clock(self._folder.clock_socket, moment)
        except AdvanceFailed:
            if self._process is not None and self._process.poll() is None and self._answers():
                raise
        self.ensure_running()
        return advance_clock(self._folder.clock_socket, moment)

    @property
    def pid(self) -> int | None:
        """Process id of the node."""
        return None if self._process is None else self._process.pid

    def stop(self) -> None:
        """End the process in good order; killed if it does not."""
        if self._process is None:
            return
        process, self._process = self._process, None
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _answers(self) -> bool:
        """Whether the process, after a moment to die of a kill under way, still runs."""
        assert self._process is not None
        try:
            self._process.wait(1)
        except subprocess.TimeoutExpired:
            return True
        return False


def _last_line(path: Path) -> str:
    lines = path.read_text(errors="replace").splitlines() if path.exists() else []
    return lines[-1] if lines else ""
