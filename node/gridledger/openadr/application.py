"""The OpenADR 3.1.0 surface as an application of its own, to be mounted at BASE_PATH."""

from starlette.applications import Starlette
from starlette.routing import Route

from gridledger.openadr.auth import AuthRoutes
from gridledger.openadr.context import OpenAdrContext
from gridledger.openadr.notifiers import notifier_routes
from gridledger.openadr.objects import ObjectRoutes
from gridledger.openadr.problems import HANDLERS
from gridledger.openadr.routing import COLLECTIONS, route

__all__ = ["BASE_PATH", "create_openadr_application"]

BASE_PATH = "/openadr3/3.1.0"


def create_openadr_application(node: OpenAdrContext) -> Starlette:
    """The surface over the node's parts."""
    auth = AuthRoutes(node)
    routes = [route("/auth/server", GET=auth.server), route("/auth/token", POST=auth.token)]
    for collection in COLLECTIONS:
        routes += _object_routes(node, collection)
    app = Starlette(routes=[*routes, *notifier_routes(node)], exception_handlers=dict(HANDLERS))
    app.router.redirect_slashes = False  # an id left empty is no search
    return app


def _object_routes(node: OpenAdrContext, collection: str) -> list[Route]:
    objects = ObjectRoutes(node, collection)
    return [
        route(f"/{collection}", GET=objects.search, POST=objects.create),
        route(f"/{collection}/{{id}}", GET=objects.read, PUT=objects.replace, DELETE=objects.delete),
    ]
