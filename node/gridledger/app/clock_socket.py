"""The private socket that moves a simulated clock: one JSON line in, one out. It lies in the data folder, not the API.

Request `{"advance_to": <Unix seconds>}`; answer `{"now": <Unix seconds>}` once everything due by then is done, or
`{"error": <text>}`.
"""

import json
import os
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gridledger.errors import GridLedgerError, InvalidInput, Unavailable

__all__ = ["AdvanceFailed", "advance_clock", "serve_clock"]

_LONGEST_LINE = 200
_TIMEOUT_S = 300


@dataclass(kw_only=True, eq=False)
class AdvanceFailed(Unavailable):
    """The node could not move its clock."""

    reason: str


@dataclass(kw_only=True, eq=False)
class RequestMalformed(InvalidInput):
    """The line is not a request to advance."""


def advance_clock(path: Path, moment: int) -> int:
    """Move the clock of the node behind the socket; returns its present time. Raises AdvanceFailed."""
    try:
        with socket.socket(socket.AF_UNIX) as connection, _short_path(path) as address:
            connection.settimeout(_TIMEOUT_S)
            connection.connect(address)
            connection.sendall(json.dumps({"advance_to": moment}).encode() + b"\n")
            with connection.makefile("rb") as file:
                answer = json.loads(file.readline(_LONGEST_LINE * 10) or b"{}")
    except (OSError, ValueError) as error:
        raise AdvanceFailed(reason=f"{type(error).__name__}: {error}") from None
    if "now" not in answer:
        raise AdvanceFailed(reason=str(answer.get("error", "the node ended")))
    return int(answer["now"])


@contextmanager
def serve_clock(path: Path, advance: Callable[[int], int]) -> Iterator[None]:
    """Listen on `path` while the context lasts."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(json.dumps(_answer(self.rfile.readline(_LONGEST_LINE), advance)).encode() + b"\n")

    path.unlink(missing_ok=True)
    with _short_path(path) as address, socketserver.ThreadingUnixStreamServer(address, Handler) as server:
        path.chmod(0o600)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, name="clock", daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            path.unlink(missing_ok=True)


def _answer(line: bytes, advance: Callable[[int], int]) -> dict[str, object]:
    try:
        request = json.loads(line)
        if not isinstance(request, dict) or type(request.get("advance_to")) is not int:
            raise RequestMalformed
        return {"now": advance(request["advance_to"])}
    except (GridLedgerError, ValueError) as error:
        return {"error": str(error)}


@contextmanager
def _short_path(path: Path) -> Iterator[str]:
    """A name for the socket within the 107 bytes the kernel allows, however deep the folder lies."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
