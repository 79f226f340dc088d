"""One-shot requests of a command to a node."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

from gridledger.app.gateway import NodeUnreachable
from gridledger.errors import InvalidInput

__all__ = ["NodeUrlRefused", "node_at", "require_node_url"]

_TIMEOUT_S = 30.0


@dataclass(kw_only=True, eq=False)
class NodeUrlRefused(InvalidInput):
    """A node's address is a URL such as http://127.0.0.1:8000."""

    url: str


@contextmanager
def node_at(url: str) -> Iterator[httpx.Client]:
    """A client of the node. Raises NodeUrlRefused, NodeUnreachable."""
    require_node_url(url)
    try:
        with httpx.Client(base_url=url, timeout=_TIMEOUT_S, trust_env=False) as client:
            yield client
    except httpx.TransportError as error:
        raise NodeUnreachable(url=url, problem=type(error).__name__) from None


def require_node_url(url: str) -> None:
    """Raises NodeUrlRefused unless it is an http or https URL with a host."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        raise NodeUrlRefused(url=url) from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise NodeUrlRefused(url=url)
