"""Runs a node as a process: HTTP on one port, the chain on another, the simulated clock on a private socket."""

import contextlib
import errno
import gc
import json
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog
import uvicorn

from gridledger.app.clock_socket import serve_clock
from gridledger.app.node import Node, NodeFolder
from gridledger.app.settings import NodeSettings
from gridledger.errors import Unavailable

__all__ = ["AddressUnusable", "ApiPortInUse", "ServeOptions", "open_listener", "serve"]

_COLLECT_AFTER = 50_000  # new objects; Python's own 700 looks several times at each batch of readings or orders


@dataclass(kw_only=True, eq=False)
class ApiPortInUse(Unavailable):
    """Another process listens on the API's port."""

    host: str
    port: int


@dataclass(kw_only=True, eq=False)
class AddressUnusable(Unavailable):
    """The API cannot listen on this address."""

    host: str
    port: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """How to serve: port 0 means any free one; a simulated clock only moves by the private socket."""

    folder: Path
    host: str = "127.0.0.1"
    port: int = 8000
    chain_port: int | None = None
    simulated_clock: bool = False


def serve(options: ServeOptions, announce: Callable[[str], None]) -> None:
    """Serve until interrupted. Raises the typed errors of the node's parts before the first request is taken."""
    _configure_logs()
    folder = NodeFolder(options.folder)
    with contextlib.ExitStack() as closing:
        listener = closing.enter_context(open_listener(options.host, options.port))
        host, port = listener.getsockname()[:2]
        origin = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        settings = NodeSettings.from_environment(os.environ, listens_at=origin)
        node = Node(folder, simulated=options.simulated_clock, chain_port=options.chain_port, settings=settings)
        node.start()
        closing.callback(node.close)
        gc.freeze()  # what the start has loaded stays; walking it again and again would halt the node each time
        gc.set_threshold(_COLLECT_AFTER)  # a batch makes thousands of objects that are gone with its answer
        if options.simulated_clock:
            closing.enter_context(serve_clock(folder.clock_socket, node.advance))
        announce(json.dumps({"api": f"http://{host}:{port}", "chain": node.chain_url, "now": node.now}))
        config = uvicorn.Config(
            node.application, log_level="warning", access_log=False, timeout_graceful_shutdown=5, lifespan="off"
        )
        _run_until_signalled(uvicorn.Server(config), listener)


def _run_until_signalled(server: uvicorn.Server, listener: socket.socket) -> None:
    """Run the server in a thread, so that a signal ends it and the node is closed in good order afterwards."""
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="http")

    def end(_signal: int, _frame: object) -> None:
        server.should_exit = True

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    thread.start()
    thread.join()


def open_listener(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 means any free one. Raises ApiPortInUse, AddressUnusable."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()  # now, as two sockets may be bound to one port until one of them listens
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise ApiPortInUse(host=host, port=port) from None
        raise AddressUnusable(host=host, port=port, reason=str(error)) from None
    return listener


def _configure_logs() -> None:
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
