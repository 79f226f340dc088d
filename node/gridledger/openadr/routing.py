"""The paths: one route for each, so that a method it does not have is answered with all of those it has."""

from collections.abc import Callable

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gridledger.store.openadr_model import ObjectKind

__all__ = ["COLLECTIONS", "route"]

COLLECTIONS = {
    "programs": ObjectKind.PROGRAM,
    "events": ObjectKind.EVENT,
    "reports": ObjectKind.REPORT,
    "subscriptions": ObjectKind.SUBSCRIPTION,
    "vens": ObjectKind.VEN,
    "resources": ObjectKind.RESOURCE,
}

Handler = Callable[[Request, bytes], Response]


def route(path: str, **handlers: Handler) -> Route:
    """A path with a handler for each method; handlers are called in threads, with the whole body."""

    async def endpoint(request: Request) -> Response:
        handler = handlers["GET" if request.method == "HEAD" else request.method]
        return await run_in_threadpool(handler, request, await request.body())

    return Route(path, endpoint, methods=list(handlers))
