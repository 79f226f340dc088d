"""The standard's objects over HTTP: search, read, create, replace, delete; one way for all six kinds."""

import json
import re
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gridledger.errors import Conflict, Forbidden
from gridledger.openadr.access import Access
from gridledger.openadr.context import OpenAdrContext
from gridledger.openadr.queries import query_of
from gridledger.openadr.requests import AdrRequestMalformed, content_of
from gridledger.openadr.routing import COLLECTIONS
from gridledger.openadr.scopes import READ_SCOPES, WRITE_SCOPES, Caller
from gridledger.store.openadr_model import ObjectKind, OpenAdrObject
from gridledger.webhooks.sealing import SealBroken

__all__ = ["CallbackTokenRefused", "ObjectRoutes", "TooManyCallbacks"]

MOST_CALLBACKS = 20
_HEADER_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")


@dataclass(kw_only=True, eq=False)
class CallbackTokenRefused(Forbidden):
    """The callback's bearer token cannot be sent in a header: only printable ASCII can."""


@dataclass(kw_only=True, eq=False)
class TooManyCallbacks(Conflict):
    """The subscription calls more places than one may: make several subscriptions."""

    most: int


class ObjectRoutes:
    """Handlers of one kind of object."""

    def __init__(self, node: OpenAdrContext, collection: str) -> None:
        self._node = node
        self._collection = collection
        self._kind = COLLECTIONS[collection]

    def search(self, request: Request, _body: bytes) -> Response:
        """`GET /{collection}`."""
        caller = self._reader(request)
        query = query_of(self._kind, request.query_params, self._node.clock.now())
        with self._node.database.read() as tx:
            found = Access(tx, caller).list(query)
        return JSONResponse([self._shown(one, caller) for one in found])

    def read(self, request: Request, _body: bytes) -> Response:
        """`GET /{collection}/{id}`."""
        caller = self._reader(request)
        with self._node.database.read() as tx:
            found = Access(tx, caller).see(self._kind, request.path_params["id"])
        return JSONResponse(self._shown(found, caller))

    def create(self, request: Request, body: bytes) -> Response:
        """`POST /{collection}`."""
        caller, content, sealed = self._received(request, body)
        with self._node.database.write() as tx:
            written = Access(tx, caller).written(self._kind, content, None)
            made = tx.openadr.add(
                self._kind,
                written.content,
                now=self._node.clock.now(),
                client_id=written.client_id,
                sealed_tokens=sealed,
            )
        self._node.changed()
        location = f"{self._node.base_url}/{self._collection}/{made.id}"
        return JSONResponse(self._shown(made, caller), status_code=201, headers={"Location": location})

    def replace(self, request: Request, body: bytes) -> Response:
        """`PUT /{collection}/{id}`."""
        caller, content, sealed = self._received(request, body)
        with self._node.database.write() as tx:
            access = Access(tx, caller)
            before = access.changeable(self._kind, request.path_params["id"], deleting=False)
            written = access.written(self._kind, content, before)
            changed = tx.openadr.replace(
                self._kind, before.id, written.content, now=self._node.clock.now(), sealed_tokens=sealed
            )
        self._node.changed()
        return JSONResponse(self._shown(changed, caller))

    def delete(self, request: Request, _body: bytes) -> Response:
        """`DELETE /{collection}/{id}`: answers what was deleted."""
        caller = self._writer(request)
        with self._node.database.write() as tx:
            found = Access(tx, caller).changeable(self._kind, request.path_params["id"], deleting=True)
            removed = tx.openadr.remove(self._kind, found.id, now=self._node.clock.now())
        self._node.changed()
        return JSONResponse(self._shown(removed, caller))

    # ---- steps

    def _reader(self, request: Request) -> Caller:
        caller = self._node.caller(request)
        caller.need(READ_SCOPES[self._kind])
        return caller

    def _writer(self, request: Request) -> Caller:
        caller = self._node.caller(request)
        caller.need(WRITE_SCOPES[self._kind])
        return caller

    def _received(self, request: Request, body: bytes) -> tuple[Caller, dict[str, Any], bytes | None]:
        """Who sends what, with a subscription's tokens taken out of it and sealed."""
        caller = self._writer(request)
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise AdrRequestMalformed(problems=("the body must be application/json",))
        content = content_of(self._kind, body)
        sealed = self._checked_callbacks(content) if self._kind == ObjectKind.SUBSCRIPTION else None
        return caller, content, sealed

    def _checked_callbacks(self, content: dict[str, Any]) -> bytes | None:
        """Raises TooManyCallbacks, WebhookUrlRefused, CallbackTokenRefused."""
        parts = content["objectOperations"]
        if len(parts) > MOST_CALLBACKS:
            raise TooManyCallbacks(most=MOST_CALLBACKS)
        tokens = [part.pop("bearerToken", None) for part in parts]
        for part, token in zip(parts, tokens, strict=True):
            if token is not None and not _HEADER_VALUE.fullmatch(token):
                raise CallbackTokenRefused
            self._node.guard.check(part["callbackUrl"])
        return self._node.box.seal(json.dumps(tokens)) if any(token is not None for token in tokens) else None

    def _shown(self, found: OpenAdrObject, caller: Caller) -> dict[str, Any]:
        """The object's representation; a subscription's tokens are told to nobody but the client that sent them."""
        document = found.document()
        if found.sealed_tokens is None or found.client_id != caller.client_id:
            return document
        try:
            tokens = json.loads(self._node.box.open(found.sealed_tokens))
        except SealBroken:
            return document
        parts = zip(document["objectOperations"], tokens, strict=True)
        document["objectOperations"] = [
            part if token is None else {**part, "bearerToken": token} for part, token in parts
        ]
        return document
