"""What the OpenADR edge works with: the node's parts, handed in by the wiring."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from starlette.requests import Request

from gridledger.clock import Clock
from gridledger.openadr.scopes import ROLE_SCOPES, Caller
from gridledger.openadr.tokens import TokenRefused, Tokens
from gridledger.store.database import Database
from gridledger.webhooks.sealing import SecretBox
from gridledger.webhooks.targets import TargetGuard

__all__ = ["MqttBinding", "OpenAdrContext"]


@dataclass(frozen=True, kw_only=True)
class MqttBinding:
    """The broker that notifications are published at, as `GET /notifiers` tells it.

    `authentication` is one of the standard's objects, such as `{"method": "ANONYMOUS"}`.
    """

    uris: tuple[str, ...]
    authentication: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class OpenAdrContext:
    """Parts of a running node as the OpenADR routes see them.

    `base_url` is where clients reach the surface, without a slash at its end; `changed` is called after each commit
    that left a notification; `mqtt` is None where no broker is configured.
    """

    database: Database
    clock: Clock
    tokens: Tokens
    guard: TargetGuard
    box: SecretBox
    base_url: str
    changed: Callable[[], None]
    mqtt: MqttBinding | None = None

    def caller(self, request: Request) -> Caller:
        """Whose bearer token the request carries; a client that was removed has none. Raises TokenRefused."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise TokenRefused
        claims = self.tokens.read(token.strip())
        with self.database.read() as tx:
            client = tx.openadr_clients.find(claims.client_id)
        if client is None:
            raise TokenRefused
        return Caller(client_id=client.client_id, role=client.role, scopes=claims.scopes & ROLE_SCOPES[client.role])
