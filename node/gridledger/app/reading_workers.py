"""Processes that check readings' signatures beside the node's own, in which one thread at a time runs Python.

Threads would not do: handing the interpreter over twice a signature costs more than checking two at once gains.
"""

import os
import queue
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection

import structlog

from gridledger.app.reading_worker import unpacked
from gridledger.errors import Unavailable
from gridledger.metering.model import DeviceKey
from gridledger.metering.verification import CheckedText, check_texts

__all__ = ["ReadingCheckFailed", "ReadingWorkers"]

_WORTH_SENDING = 10  # texts; fewer are checked sooner than sent
_MOST_WORKERS = 4  # by then the node's own process is the slower one
_LONGEST_CHECK_S = 30
_PROGRAM = (sys.executable, "-m", "gridledger.app.reading_worker")
_log = structlog.get_logger(__name__)


@dataclass(kw_only=True, eq=False)
class ReadingCheckFailed(Unavailable):
    """The processes that check these readings died of it twice; none of them is kept."""

    count: int


class ReadingWorkers:
    """Checks texts in processes of its own, started when they are first needed."""

    def __init__(
        self, count: int | None = None, program: Sequence[str] = _PROGRAM, longest_check_s: float = _LONGEST_CHECK_S
    ) -> None:
        """`count` of processes; by default one per processor, four at most, and none where there is one processor.

        `program` is what they run, with the descriptor of their socket as last argument; one that needs longer than
        `longest_check_s` for a batch counts as dead.
        """
        processors = os.cpu_count() or 1
        self._count = (min(processors, _MOST_WORKERS) if processors > 1 else 0) if count is None else count
        self._places = [_Place(program, longest_check_s) for _ in range(self._count)]
        self._free: queue.LifoQueue[_Place] = queue.LifoQueue()
        for place in self._places:
            self._free.put(place)

    @property
    def pids(self) -> tuple[int, ...]:
        """Ids of the processes that have been started and not found dead."""
        return tuple(pid for place in self._places if (pid := place.pid) is not None)

    def check_texts(self, texts: Sequence[str], keys: Mapping[int, DeviceKey]) -> list[CheckedText]:
        """As the metering room's `check_texts`, where it is worth it in the next process that is free.

        Raises ReadingCheckFailed.
        """
        if not self._count or len(texts) < _WORTH_SENDING:
            return check_texts(texts, keys)
        place = self._free.get()
        try:
            return place.check_texts(texts, keys)
        finally:
            self._free.put(place)

    def close(self) -> None:
        """End all processes, each when its batch is checked; ask for nothing afterwards."""
        for _ in range(self._count):
            self._free.get().close()


class _Place:
    """Where one process works; when it dies another takes over, once a batch."""

    def __init__(self, program: Sequence[str], longest_check_s: float) -> None:
        self._program = program
        self._longest_check_s = longest_check_s
        self._worker: _Worker | None = None

    @property
    def pid(self) -> int | None:
        worker = self._worker
        return None if worker is None else worker.pid

    def check_texts(self, texts: Sequence[str], keys: Mapping[int, DeviceKey]) -> list[CheckedText]:
        for _ in range(2):
            try:
                self._worker = self._worker or _Worker(self._program)
            except OSError as error:
                _log.warning("reading_worker_not_started", error=type(error).__name__)
                return check_texts(texts, keys)
            try:
                return self._worker.check_texts(texts, keys, self._longest_check_s)
            except (EOFError, OSError) as error:
                _log.warning("reading_worker_died", error=type(error).__name__)
                self.close()
        raise ReadingCheckFailed(count=len(texts))

    def close(self) -> None:
        if self._worker is not None:
            self._worker.end()
            self._worker = None


class _Worker:
    """One process and the socket to it. Raises OSError when it cannot be started."""

    def __init__(self, program: Sequence[str]) -> None:
        own, others = socket.socketpair()
        with own, others:
            self._process = subprocess.Popen(
                [*program, str(others.fileno())],
                pass_fds=(others.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,  # a terminal's interrupt is for the node, which finishes what it has begun
            )
            self._connection = Connection(own.detach())

    @property
    def pid(self) -> int:
        return self._process.pid

    def check_texts(
        self, texts: Sequence[str], keys: Mapping[int, DeviceKey], longest_check_s: float
    ) -> list[CheckedText]:
        """The same, there. Raises EOFError, OSError when the process dies or takes too long."""
        self._connection.send((texts, {meter: (key.x, key.y) for meter, key in keys.items()}))
        if not self._connection.poll(longest_check_s):
            raise TimeoutError
        return unpacked(self._connection.recv(), texts, keys)

    def end(self) -> None:
        """Kill it: it has nothing to lose."""
        self._connection.close()
        self._process.kill()
        self._process.wait()
