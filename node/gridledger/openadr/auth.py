"""`auth/server` and `auth/token`: OAuth 2.0 client credentials (RFC 6749, section 4.4)."""

import binascii
import threading
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import parse_qsl, unquote_plus

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gridledger.openadr.context import OpenAdrContext
from gridledger.openadr.problems import problem_of
from gridledger.openadr.scopes import ROLE_SCOPES
from gridledger.openadr.tokens import TOKEN_LIFE_S
from gridledger.store.openadr_clients import AdrClient, SecretHash

__all__ = ["AuthRoutes"]

LONGEST_FORM_BYTES = 32_768
_MOST_FIELDS = 20
_MOST_HASHES_AT_ONCE = 2  # each takes 16 MiB and a core for some tens of milliseconds
_KNOWN_SCOPES = frozenset().union(*ROLE_SCOPES.values())
_NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}


@dataclass
class _Refusal(Exception):
    """An error of RFC 6749, section 5.2."""

    error: str
    description: str
    status: int = 400
    headers: ClassVar[Mapping[str, str]] = {"WWW-Authenticate": 'Basic realm="openadr"'}

    def response(self) -> Response:
        """The RFC's members beside the standard's `problem`."""
        document = problem_of(self.status, self.description, error=self.error, error_description=self.description)
        headers = {**_NO_STORE, **(self.headers if self.status == 401 else {})}
        return JSONResponse(document, status_code=self.status, headers=headers)


class AuthRoutes:
    """Hands out tokens."""

    def __init__(self, node: OpenAdrContext) -> None:
        self._node = node
        self._hashing = threading.BoundedSemaphore(_MOST_HASHES_AT_ONCE)
        self._nobody = SecretHash.of("")  # an unknown client takes as long as a wrong secret

    def server(self, _request: Request, _body: bytes) -> Response:
        """Where tokens are given."""
        return JSONResponse({"tokenURL": f"{self._node.base_url}/auth/token"})

    def token(self, request: Request, body: bytes) -> Response:
        """A token for id and secret, in the form or by HTTP Basic."""
        try:
            form = _form(request, body)
            client = self._client(*_credentials(request, form))
            granted = _granted(client, form.get("scope"))
        except _Refusal as refusal:
            return refusal.response()
        answer: dict[str, Any] = {
            "access_token": self._node.tokens.issue(client.client_id, granted),
            "token_type": "Bearer",
            "expires_in": TOKEN_LIFE_S,
            "scope": " ".join(sorted(granted)),
        }
        return JSONResponse(answer, headers=_NO_STORE)

    def _client(self, client_id: str, secret: str) -> AdrClient:
        with self._node.database.read() as tx:
            client = tx.openadr_clients.find(client_id)
        with self._hashing:
            matches = (self._nobody if client is None else client.secret).matches(secret)
        if client is None or not matches:
            raise _Refusal("invalid_client", "There is no client with this id and secret", 401)
        return client


def _form(request: Request, body: bytes) -> dict[str, str]:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise _Refusal("invalid_request", "The request must be a form, application/x-www-form-urlencoded")
    if len(body) > LONGEST_FORM_BYTES:
        raise _Refusal("invalid_request", f"The form is longer than {LONGEST_FORM_BYTES} bytes")
    try:
        fields = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict")
    except ValueError:
        raise _Refusal("invalid_request", "The form cannot be read") from None
    form = dict(fields)
    if len(form) != len(fields):
        raise _Refusal("invalid_request", "A field is repeated")
    if not form.get("grant_type"):
        raise _Refusal("invalid_request", "grant_type is missing")
    if form["grant_type"] != "client_credentials":
        raise _Refusal("unsupported_grant_type", "The grant must be client_credentials")
    return form


def _credentials(request: Request, form: Mapping[str, str]) -> tuple[str, str]:
    """Id and secret from HTTP Basic (RFC 6749, section 2.3.1) or the form, never both."""
    in_form = "client_secret" in form
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        if in_form:
            raise _Refusal("invalid_request", "The client must show its secret once, in the form or by HTTP Basic")
        try:
            client_id, separator, secret = b64decode(encoded.strip(), validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            separator = client_id = secret = ""
        if not separator:
            raise _Refusal("invalid_client", "HTTP Basic must carry id and secret", 401)
        if form.get("client_id", unquote_plus(client_id)) != unquote_plus(client_id):
            raise _Refusal("invalid_request", "The form names another client than HTTP Basic")
        return unquote_plus(client_id), unquote_plus(secret)
    if not form.get("client_id") or not in_form:
        raise _Refusal("invalid_request", "client_id or client_secret is missing")
    return form["client_id"], form["client_secret"]


def _granted(client: AdrClient, asked: str | None) -> frozenset[str]:
    """What is granted: what the role has, of what is asked; the answer says which (RFC 6749, section 3.3)."""
    may = ROLE_SCOPES[client.role]
    scopes = frozenset((asked or "").split())
    if not scopes:
        return may
    if not scopes <= _KNOWN_SCOPES or scopes.isdisjoint(may):
        raise _Refusal("invalid_scope", "These scopes are unknown, or not this client's")
    return scopes & may
