"""Clients of the OpenADR surface: who they are, what they may do, and the hash of their secret (scrypt)."""

import hashlib
import hmac
import os
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection, delete, func, insert, select

from gridledger.errors import Conflict, NotFound
from gridledger.store.schema import openadr_client

__all__ = [
    "AdrClient",
    "AdrClientExists",
    "AdrClientUnknown",
    "AdrClients",
    "ClientRole",
    "SecretHash",
    "TooManyAdrClients",
]

MOST_CLIENTS = 10_000
_SALT_BYTES = 16
_COST, _BLOCK_SIZE, _PARALLEL = 2**14, 8, 1  # 16 MiB and some tens of milliseconds


class ClientRole(StrEnum):
    """`bl`: business logic, the grid operator's systems, reads everything; `ven`: a participant's end node."""

    BL = "bl"
    VEN = "ven"


@dataclass(kw_only=True, eq=False)
class AdrClientExists(Conflict):
    """There is already an OpenADR client with this id."""

    client_id: str


@dataclass(kw_only=True, eq=False)
class AdrClientUnknown(NotFound):
    """There is no OpenADR client with this id."""

    client_id: str


@dataclass(kw_only=True, eq=False)
class TooManyAdrClients(Conflict):
    """The node has as many OpenADR clients as it may have."""

    most: int


@dataclass(frozen=True)
class SecretHash:
    """What is kept of a secret."""

    salt: bytes
    scrypt: bytes

    @classmethod
    def of(cls, secret: str) -> "SecretHash":
        """Hash a new secret; takes some tens of milliseconds."""
        salt = os.urandom(_SALT_BYTES)
        return cls(salt, _hashed(secret, salt))

    def matches(self, secret: str) -> bool:
        """Whether this is the secret; the time it takes does not tell how much of it is right."""
        return hmac.compare_digest(_hashed(secret, self.salt), self.scrypt)


@dataclass(frozen=True, kw_only=True)
class AdrClient:
    """A client; `created_at` in Unix seconds."""

    client_id: str
    role: ClientRole
    secret: SecretHash
    created_at: int


class AdrClients:
    """Clients of one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, client: AdrClient) -> None:
        """Keep a new client. Raises AdrClientExists, TooManyAdrClients."""
        if self.find(client.client_id) is not None:
            raise AdrClientExists(client_id=client.client_id)
        count = select(func.count()).select_from(openadr_client)
        if self._connection.execute(count).scalar_one() >= MOST_CLIENTS:
            raise TooManyAdrClients(most=MOST_CLIENTS)
        self._connection.execute(
            insert(openadr_client).values(
                client_id=client.client_id,
                role=client.role,
                salt=client.secret.salt,
                secret_scrypt=client.secret.scrypt,
                created_at=client.created_at,
            )
        )

    def find(self, client_id: str) -> AdrClient | None:
        """The client with this id."""
        found = self._connection.execute(select(openadr_client).where(openadr_client.c.client_id == client_id)).first()
        if found is None:
            return None
        secret = SecretHash(found.salt, found.secret_scrypt)
        return AdrClient(client_id=client_id, role=ClientRole(found.role), secret=secret, created_at=found.created_at)

    def all(self) -> tuple[tuple[str, ClientRole, int], ...]:
        """Id, role and time of making (Unix seconds) of every client, by id."""
        table = openadr_client.c
        query = select(table.client_id, table.role, table.created_at).order_by(table.client_id)
        return tuple((row.client_id, ClientRole(row.role), row.created_at) for row in self._connection.execute(query))

    def remove(self, client_id: str) -> None:
        """Forget a client; its objects stay, and nobody gets a token for them any more. Raises AdrClientUnknown."""
        removed = self._connection.execute(delete(openadr_client).where(openadr_client.c.client_id == client_id))
        if removed.rowcount == 0:
            raise AdrClientUnknown(client_id=client_id)


def _hashed(secret: str, salt: bytes) -> bytes:
    return hashlib.scrypt(secret.encode(), salt=salt, n=_COST, r=_BLOCK_SIZE, p=_PARALLEL)
