"""The one place that turns typed errors into HTTP: RFC 9457 problem+json."""

from collections.abc import Mapping
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from gridledger.errors import GridLedgerError

__all__ = ["install_problem_handlers", "media_type_of", "plain_problem", "problem_document"]

_PROBLEM = "application/problem+json"
_OPENADR = "/openadr3/"  # mounted by the wiring; its standard wants problems as plain JSON

_STATUS = {
    "invalid": 422,
    "unauthenticated": 401,
    "forbidden": 403,
    "missing": 404,
    "conflict": 409,
    "unavailable": 503,
    "internal": 500,
}
_TYPE_PREFIX = "urn:gridledger:problem:"
_log = structlog.get_logger(__name__)


def problem_document(error: GridLedgerError) -> dict[str, Any]:
    """The problem of a typed error, its failing values as members."""
    return {
        "type": _TYPE_PREFIX + error.code(),
        "title": error.title(),
        "status": _STATUS[error.category],
        "detail": str(error),
        **{name: value for name, value in error.values().items() if name not in ("type", "title", "status", "detail")},
    }


def media_type_of(request: Request) -> str:
    """What a problem about this request is answered as."""
    return "application/json" if request.url.path.startswith(_OPENADR) else _PROBLEM


def plain_problem(
    status: int, title: str, headers: Mapping[str, str] | None = None, *, media_type: str = _PROBLEM
) -> JSONResponse:
    """The answer to an error that HTTP itself defines and the node adds nothing to."""
    document = {"type": "about:blank", "title": title, "status": status}
    return JSONResponse(document, status_code=status, media_type=media_type, headers=headers)


def install_problem_handlers(app: FastAPI) -> None:
    """Answer every error of the application as a problem."""
    app.add_exception_handler(GridLedgerError, _typed_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _unexpected_error)


def _answer(status: int, document: dict[str, Any], headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse(document, status_code=status, media_type=_PROBLEM, headers=headers)


async def _typed_error(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, GridLedgerError)
    document = problem_document(error)
    headers = {"WWW-Authenticate": "Bearer"} if error.category == "unauthenticated" else None
    return _answer(document["status"], document, headers)


async def _validation_error(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    places = [
        {"field": ".".join(str(part) for part in item["loc"]), "reason": item["msg"]} for item in error.errors()[:20]
    ]
    return _answer(
        422,
        {
            "type": _TYPE_PREFIX + "request-malformed",
            "title": "The request does not have the documented form",
            "status": 422,
            "detail": "; ".join(f"{place['field']}: {place['reason']}" for place in places),
            "errors": places,
        },
    )


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return plain_problem(error.status_code, str(error.detail), error.headers, media_type=media_type_of(request))


async def _unexpected_error(_request: Request, error: Exception) -> JSONResponse:
    _log.error("unexpected_error", exc_info=error)
    return _answer(500, {"type": _TYPE_PREFIX + "internal", "title": "The node failed unexpectedly", "status": 500})
