"""The OpenADR clients in a node's data folder."""

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gridledger.app.erase import NoMarketHere
from gridledger.app.node_folder import NodeFolder
from gridledger.clock import SystemClock
from gridledger.errors import InvalidInput
from gridledger.openadr.scopes import ROLE_SCOPES
from gridledger.store.database import Database
from gridledger.store.openadr_clients import AdrClient, ClientRole, SecretHash
from gridledger.units import format_utc

__all__ = [
    "AdrClientIdMalformed",
    "AdrRoleUnknown",
    "add_openadr_client",
    "list_openadr_clients",
    "remove_openadr_client",
]

_CLIENT_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")  # also a user name and a level of a topic at a broker
_SECRET_BYTES = 32


@dataclass(kw_only=True, eq=False)
class AdrClientIdMalformed(InvalidInput):
    """An OpenADR client's id is of 1 to 128 letters, digits, dots, hyphens and underscores."""

    client_id: str


@dataclass(kw_only=True, eq=False)
class AdrRoleUnknown(InvalidInput):
    """An OpenADR client is `bl` (business logic) or `ven`."""

    role: str


def add_openadr_client(data: Path, client_id: str, role: str) -> dict[str, Any]:
    """Make a client in a node's data folder, whether it runs or not; the secret is told once.

    Raises AdrClientIdMalformed, AdrRoleUnknown, NoMarketHere, AdrClientExists, TooManyAdrClients.
    """
    if not _CLIENT_ID.fullmatch(client_id):
        raise AdrClientIdMalformed(client_id=client_id[:200])
    if role not in set(ClientRole):
        raise AdrRoleUnknown(role=role)
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    client = AdrClient(
        client_id=client_id, role=ClientRole(role), secret=SecretHash.of(secret), created_at=SystemClock().now()
    )
    with _database(data) as database, database.write() as tx:
        tx.openadr_clients.add(client)
    scopes = " ".join(sorted(ROLE_SCOPES[client.role]))
    return {"client_id": client_id, "client_secret": secret, "role": role, "scope": scopes}


def list_openadr_clients(data: Path) -> dict[str, Any]:
    """The clients of a node, without anything of their secrets. Raises NoMarketHere."""
    with _database(data) as database, database.read() as tx:
        found = tx.openadr_clients.all()
    return {
        "clients": [
            {"client_id": client_id, "role": str(role), "created_at": format_utc(created_at)}
            for client_id, role, created_at in found
        ]
    }


def remove_openadr_client(data: Path, client_id: str) -> dict[str, Any]:
    """Forget a client: its tokens are worth nothing at once. Raises NoMarketHere, AdrClientUnknown."""
    with _database(data) as database, database.write() as tx:
        tx.openadr_clients.remove(client_id)
    return {"removed": client_id}


@contextmanager
def _database(data: Path) -> Iterator[Database]:
    folder = NodeFolder(data)
    if not folder.market.exists():
        raise NoMarketHere(folder=str(data), missing=folder.market.name)
    database = Database(folder.database)
    try:
        yield database
    finally:
        database.close()
