"""`notifiers`: how a client may be told of changes, and the names of the broker's topics."""

from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gridledger.errors import NotFound
from gridledger.openadr.access import Access
from gridledger.openadr.context import OpenAdrContext
from gridledger.openadr.routing import route
from gridledger.openadr.scopes import BROKER_SCOPES, BUSINESS_SCOPES, READ_SCOPES, Caller
from gridledger.openadr.topics import business_topic, client_topic, operation_topics, public_topic
from gridledger.store.openadr_model import ObjectKind

__all__ = ["BrokerMissing", "notifier_routes"]

_BUSINESS_ONLY = ("events", "reports", "subscriptions", "vens", "resources")
_OF_A_VEN = ("events", "programs", "resources")

Handler = Callable[[Request, bytes], Response]


@dataclass(kw_only=True, eq=False)
class BrokerMissing(NotFound):
    """This node publishes nothing over MQTT: subscribe with a callback URL."""


def notifier_routes(node: OpenAdrContext) -> list[Route]:
    """Routes under /notifiers."""
    topics = _Topics(node)
    base = "/notifiers/mqtt/topics"
    return [
        route("/notifiers", GET=topics.notifiers),
        route(f"{base}/programs", GET=topics.programs),
        route(f"{base}/programs/{{id}}", GET=topics.program),
        route(f"{base}/programs/{{id}}/events", GET=topics.program_events),
        *(route(f"{base}/{name}", GET=topics.of_business(name)) for name in _BUSINESS_ONLY),
        route(f"{base}/vens/{{id}}", GET=topics.of_ven()),
        *(route(f"{base}/vens/{{id}}/{name}", GET=topics.of_ven(name)) for name in _OF_A_VEN),
    ]


class _Topics:
    """Handlers of the routes; the names depend on who asks."""

    def __init__(self, node: OpenAdrContext) -> None:
        self._node = node

    def notifiers(self, request: Request, _body: bytes) -> Response:
        """Webhooks always, and the broker if there is one."""
        self._node.caller(request).need(BROKER_SCOPES)
        binding = self._node.mqtt
        if binding is None:
            return JSONResponse({"WEBHOOK": True})
        told = {
            "URIS": list(binding.uris),
            "serialization": "JSON",
            "authentication": dict(binding.authentication),
        }
        return JSONResponse({"WEBHOOK": True, "MQTT": told})

    def programs(self, request: Request, _body: bytes) -> Response:
        """Of all programs; a ven's are those without targets."""
        return self._of_programs(request, ("programs",), created=True)

    def program(self, request: Request, _body: bytes) -> Response:
        """Of one program."""
        program_id = request.path_params["id"]
        return self._of_programs(request, ("programs", program_id), created=False, program_id=program_id)

    def program_events(self, request: Request, _body: bytes) -> Response:
        """Of one program's events; a ven's are those without targets."""
        program_id = request.path_params["id"]
        return self._of_programs(request, ("programs", program_id, "events"), created=True, program_id=program_id)

    def of_business(self, collection: str) -> Handler:
        """Of all objects of a kind, for business logic."""

        def topics(request: Request, _body: bytes) -> Response:
            self._caller(request, BUSINESS_SCOPES)
            return _answer(business_topic(collection), created=True)

        return topics

    def of_ven(self, collection: str | None = None) -> Handler:
        """Of one ven, or of what belongs to it or is targeted at it."""

        def topics(request: Request, _body: bytes) -> Response:
            caller = self._caller(request, READ_SCOPES[ObjectKind.VEN])
            with self._node.database.read() as tx:
                ven = Access(tx, caller).see(ObjectKind.VEN, request.path_params["id"])
            path = ("vens", ven.id) if collection is None else ("vens", ven.id, collection)
            owner = ven.client_id or caller.client_id
            return _answer(client_topic(owner, *path), created=collection is not None)

        return topics

    def _of_programs(
        self, request: Request, path: tuple[str, ...], *, created: bool, program_id: str | None = None
    ) -> Response:
        caller = self._caller(request, BROKER_SCOPES)
        if program_id is not None:
            with self._node.database.read() as tx:
                Access(tx, caller).see(ObjectKind.PROGRAM, program_id)
        base = business_topic(*path) if caller.reads_all else public_topic(*path)
        return _answer(base, created=created)

    def _caller(self, request: Request, scopes: frozenset[str]) -> Caller:
        """Raises TokenRefused, ScopeMissing, BrokerMissing."""
        caller = self._node.caller(request)
        caller.need(scopes)
        if self._node.mqtt is None:
            raise BrokerMissing
        return caller


def _answer(base: str, *, created: bool) -> Response:
    return JSONResponse({"topics": dict(operation_topics(base, created=created))})
