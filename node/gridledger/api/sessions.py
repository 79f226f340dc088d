"""Sessions: a nonce, a signed EIP-4361 message for it, and the bearer token it begins."""

import hashlib
import secrets
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Response, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from gridledger.api.context import NodeContext
from gridledger.api.schemas import SignInIn
from gridledger.chain.roles import Role
from gridledger.clock import Clock
from gridledger.errors import Unauthenticated
from gridledger.market.errors import NotAdmitted
from gridledger.store.sessions import SessionOpening
from gridledger.store.transaction import Transaction
from gridledger.units import format_utc

__all__ = ["Bearer", "SessionRequired", "session_owner", "session_routes"]

_TOKEN_BYTES = 32
_scheme = HTTPBearer(auto_error=False, description="The token of `POST /v1/sessions`")
Bearer = Annotated[HTTPAuthorizationCredentials | None, Security(_scheme)]


@dataclass(kw_only=True, eq=False)
class SessionRequired(Unauthenticated):
    """This needs a session: sign in first, or again if the session has ended or expired."""


def session_owner(tx: Transaction, clock: Clock, bearer: HTTPAuthorizationCredentials | None) -> str:
    """The account whose session a request carries. Raises SessionRequired."""
    owner = None if bearer is None else tx.sessions.owner_of(_hashed(bearer.credentials), clock.now())
    if owner is None:
        raise SessionRequired
    return owner


def session_routes(node: NodeContext) -> APIRouter:
    """Routes under /v1/sessions."""
    router = APIRouter(prefix="/v1/sessions", tags=["sessions"])

    @router.post("/nonce")
    def post_nonce(response: Response) -> dict[str, Any]:
        """A nonce and what the message must say: domain, URI, chain id, and the node's time to be issued at."""
        response.headers["Cache-Control"] = "no-store"
        challenge = node.sign_in.challenge()
        return {
            "nonce": challenge.nonce,
            "domain": challenge.domain,
            "uri": challenge.uri,
            "version": "1",
            "chain_id": challenge.chain_id,
            "issued_at": format_utc(challenge.issued_at),
            "expires_at": format_utc(challenge.expires_at),
        }

    @router.post("", status_code=201)
    def post_session(body: SignInIn, response: Response) -> dict[str, Any]:
        """Begin a session for a member, supplier or role holder; the token is told once and kept as a hash."""
        response.headers["Cache-Control"] = "no-store"
        address = node.sign_in.signer(body.message, body.signature)
        with node.database.read() as tx:
            directory, regulator = tx.directory, int(Role.REGULATOR)
            member = directory.is_admitted(address) or directory.is_supplier(address)
            official = directory.is_grid_operator(address) or directory.holds_role(address, regulator, node.clock.now())
        if not member and not official and address not in node.role_accounts:
            raise NotAdmitted(owner=address)
        signed_in = node.sign_in.verify(body.message, body.signature)
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        opening = SessionOpening(
            token_sha256=_hashed(token),
            owner=signed_in.address,
            nonce=signed_in.nonce,
            nonce_until=signed_in.nonce_until,
            expires_at=signed_in.expires_at,
        )
        with node.database.write() as tx:
            tx.sessions.add(opening, node.clock.now())
        return {
            "token": token,
            "token_type": "Bearer",
            "address": signed_in.address,
            "expires_at": format_utc(signed_in.expires_at),
        }

    @router.delete("", status_code=204)
    def delete_session(bearer: Bearer) -> None:
        """End the session; its token is worth nothing from here on."""
        with node.database.write() as tx:
            session_owner(tx, node.clock, bearer)
            assert bearer is not None
            tx.sessions.end(_hashed(bearer.credentials))

    return router


def _hashed(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
