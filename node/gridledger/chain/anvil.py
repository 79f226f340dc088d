"""The native anvil process: started on a free local port, proven to be ours, ended with its owner.

Start the platform package's binary itself, never the Node wrapper: a killed wrapper leaves the real process running.
On Linux the kernel kills anvil when its owner dies in any way; elsewhere a killed owner leaves an idle process behind.
That one is never adopted: it keeps its port, and the next start takes another.
"""

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gridledger.chain.rpc import RpcClient, RpcUnreachable
from gridledger.errors import Conflict, Unavailable

__all__ = ["BLOCK_GAS_LIMIT", "HARDFORK", "AnvilProcess", "ChainStartFailed", "PortInUse", "anvil_version"]

BLOCK_GAS_LIMIT = 4 * 2**24  # four transactions of the largest size EIP-7825 allows
HARDFORK = "osaka"
HOST = "127.0.0.1"
LOG_FILE = "anvil.log"
START_TIMEOUT_S = 30.0
CALL_TIMEOUT_S = 120.0
POLL_S = 0.005
FREE_PORT_ATTEMPTS = 5
FLAGS = (
    *("--host", HOST, "-q", "--no-mining", "--order", "fifo", "--hardfork", HARDFORK, "--accounts", "0"),
    *("--gas-limit", str(BLOCK_GAS_LIMIT), "--enable-tx-gas-limit", "--base-fee", "0", "--gas-price", "0"),
    *("--disable-min-priority-fee", "--no-request-size-limit", "--prune-history"),
)
# Runs in the child before anvil: asks Linux to kill it when its owner ends, then becomes anvil.
# A fresh interpreter instead of preexec_fn, which may deadlock in a process with threads.
LAUNCHER = """
import os, sys
if sys.platform == "linux":
    import ctypes
    ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL
if os.getppid() != int(sys.argv[1]):
    sys.exit("the owner ended before the chain started")
os.execv(sys.argv[2], sys.argv[2:])
"""


@dataclass(kw_only=True, eq=False)
class PortInUse(Conflict):
    """The chain's port is taken."""

    port: int


@dataclass(kw_only=True, eq=False)
class ChainStartFailed(Unavailable):
    """The embedded chain's process did not start."""

    reason: str


class AnvilProcess:
    """One running anvil at genesis."""

    def __init__(self, binary: Path, folder: Path, *, genesis_time_s: int, chain_id: int, port: int | None) -> None:
        """Start, wait for its answer; output goes to `anvil.log` in the folder. Raises PortInUse, ChainStartFailed."""
        self._log = folder / LOG_FILE
        self._arguments = (binary, *FLAGS, "--timestamp", str(genesis_time_s), "--chain-id", str(chain_id))
        for attempt in range(FREE_PORT_ATTEMPTS):
            self._port = _reserve_port(port)
            try:
                self._start()
            except ChainStartFailed:
                # a port found free can be taken by another before anvil binds it
                if port is not None or attempt + 1 == FREE_PORT_ATTEMPTS or _port_is_free(self._port):
                    raise
            else:
                return

    @property
    def pid(self) -> int:
        """Process id."""
        return self._child.pid

    @property
    def rpc(self) -> RpcClient:
        """Client of its endpoint."""
        return self._rpc

    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._child.poll() is None

    def stop(self) -> None:
        """Kill the process: it holds nothing worth a slower end."""
        self._rpc.close()
        self._child.kill()
        self._child.wait()
        self._keeper.release()

    def _start(self) -> None:
        keeper = _Keeper([*map(str, self._arguments), "-p", str(self._port)], self._log)
        self._keeper, self._child = keeper, keeper.launch()
        self._rpc = RpcClient(f"http://{HOST}:{self._port}", CALL_TIMEOUT_S)
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if not self.alive():
                raise ChainStartFailed(reason=f"exit code {self._child.returncode}: {self._last_words()}")
            if _listens(self.pid, self._port):  # an answer alone could come from somebody else's process
                with contextlib.suppress(RpcUnreachable):
                    self._rpc.call("web3_clientVersion")
                    return
            time.sleep(POLL_S)
        raise ChainStartFailed(reason=f"port {self._port} not served within {START_TIMEOUT_S:.0f} s")

    def _last_words(self) -> str:
        return self._log.read_bytes()[-500:].decode(errors="replace").strip()


class _Keeper(threading.Thread):
    """The thread that starts the child and stays until the child has ended.

    Linux sends the parent-death signal when the starting *thread* ends, so a child of a short-lived worker thread would
    be killed with it. This one stays until it is released, or its process ends.
    """

    def __init__(self, command: Sequence[str], log: Path) -> None:
        super().__init__(name="anvil-keeper", daemon=True)
        self._command = [sys.executable, "-I", "-S", "-c", LAUNCHER, str(os.getpid()), *command]
        self._log = log
        self._launched = threading.Event()
        self._released = threading.Event()
        self._child: subprocess.Popen[bytes] | None = None
        self._failure: OSError | None = None

    def launch(self) -> subprocess.Popen[bytes]:
        self.start()
        self._launched.wait()
        if self._child is None:
            raise ChainStartFailed(reason=str(self._failure))
        return self._child

    def run(self) -> None:
        try:
            with self._log.open("wb") as log:
                self._child = subprocess.Popen(  # own session: Ctrl-C in the owner's terminal is not for the chain
                    self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
                )
        except OSError as error:
            self._failure = error
            return
        finally:
            self._launched.set()
        self._released.wait()

    def release(self) -> None:
        self._released.set()
        self.join()


def anvil_version(binary: Path) -> str:
    """Version and commit a binary tells, e.g. 1.7.1+4072e48705. Raises ChainStartFailed."""
    try:
        answer = subprocess.run([binary, "--version"], capture_output=True, check=True, timeout=START_TIMEOUT_S)
        told = dict(line.split(": ", 1) for line in answer.stdout.decode().splitlines() if ": " in line)
        return f"{told['anvil Version']}+{told['Commit SHA'][:10]}"
    except (OSError, subprocess.SubprocessError) as error:
        raise ChainStartFailed(reason=str(error)) from None
    except (KeyError, ValueError):
        raise ChainStartFailed(reason=f"{binary.name} does not tell its version") from None


def _reserve_port(port: int | None) -> int:
    """The given port if it is free, else any free one. Raises PortInUse."""
    if port is not None:
        if not _port_is_free(port):
            raise PortInUse(port=port)
        return port
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        free: int = probe.getsockname()[1]
        return free


def _port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        # closed connections of an earlier owner do not count
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _listens(pid: int, port: int) -> bool:
    """Whether this very process owns the listening socket; assumed without /proc, as a child that cannot bind exits."""
    table = Path("/proc/net/tcp")
    if not table.exists():
        return True
    wanted = f"{socket.inet_aton(HOST)[::-1].hex().upper()}:{port:04X}"
    rows = (line.split() for line in table.read_text().splitlines()[1:])
    sockets = {f"socket:[{row[9]}]" for row in rows if row[1] == wanted and row[3] == "0A"}
    return bool(sockets & _open_files(pid))


def _open_files(pid: int) -> set[str]:
    targets = set()
    with contextlib.suppress(OSError):  # the process may end, and close files, meanwhile
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                targets.add(str(entry.readlink()))
    return targets
