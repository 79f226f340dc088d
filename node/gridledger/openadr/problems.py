"""Errors as the standard wants them: `problem` objects, in application/json."""

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gridledger.errors import GridLedgerError
from gridledger.webhooks.targets import WebhookUrlRefused

__all__ = ["HANDLERS", "problem_of"]

_STATUS = {
    "invalid": 400,
    "unauthenticated": 401,
    "forbidden": 403,
    "missing": 404,
    "conflict": 409,
    "unavailable": 503,
    "internal": 500,
}
_TYPE_PREFIX = "urn:gridledger:problem:"
_log = structlog.get_logger(__name__)


def problem_of(status: int, detail: str, *, kind: str | None = None, **more: Any) -> dict[str, Any]:
    """The standard's problem; `kind` is the stable name of a typed error."""
    return {
        "type": "about:blank" if kind is None else _TYPE_PREFIX + kind,
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        **more,
    }


def _answer(status: int, document: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse(dict(document), status_code=status, headers=headers)


async def _typed_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, GridLedgerError)
    # A URL of the right form that the node's operator lets nobody call is refused, not malformed.
    status = 403 if isinstance(error, WebhookUrlRefused) else _STATUS[error.category]
    headers = {"WWW-Authenticate": 'Bearer error="invalid_token"'} if status == 401 else None
    return _answer(status, problem_of(status, str(error), kind=error.code()), headers)


async def _http_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _answer(error.status_code, problem_of(error.status_code, str(error.detail)), error.headers)


async def _unexpected_error(_request: Request, error: Exception) -> Response:
    _log.error("unexpected_error", exc_info=error)
    return _answer(500, problem_of(500, "The node failed unexpectedly", kind="internal"))


HANDLERS: Mapping[Any, Callable[[Request, Exception], Awaitable[Response]]] = {
    GridLedgerError: _typed_error,
    HTTPException: _http_error,
    Exception: _unexpected_error,
}
