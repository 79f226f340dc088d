"""A real HTTP server on this machine that receives webhooks."""

import queue
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["Received", "Receiver", "receiver"]


@dataclass(frozen=True)
class Received:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """What came; `statuses` are answered in turn, the last of them for ever."""

    url: str
    port: int
    statuses: list[int]
    headers: dict[str, str]
    received: "queue.Queue[Received]" = field(default_factory=queue.Queue)

    def next(self) -> Received:
        """The next request; fails if none comes."""
        return self.received.get(timeout=20)

    def take(self, count: int) -> list[Received]:
        """The next requests."""
        return [self.next() for _ in range(count)]


@contextmanager
def receiver(
    statuses: Sequence[int] = (204,),
    headers: dict[str, str] | None = None,
    tls: ssl.SSLContext | None = None,
    port: int = 0,
) -> Iterator[Receiver]:
    """Listens on a port of 127.0.0.1, any free one unless told otherwise, while the context lasts."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            taken = Received(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            told.received.put(taken)  # before the answer, after which the next one may come
            status = told.statuses.pop(0) if len(told.statuses) > 1 else told.statuses[0]
            self.send_response(status)
            for name, value in told.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", "0")
            self.end_headers()

        do_GET = do_POST  # noqa: N815 - what a followed redirect would call

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        port = server.server_address[1]
        told = Receiver(f"http://127.0.0.1:{port}/hook", port, list(statuses), headers or {})
        thread = threading.Thread(target=server.serve_forever, name="receiver")
        thread.start()
        try:
            yield told
        finally:
            server.shutdown()
            thread.join()
