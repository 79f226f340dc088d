"""The HTTP application: routes, errors, health and metrics."""

import time
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from gridledger import __version__
from gridledger.api.context import NodeContext
from gridledger.api.deals import deal_routes
from gridledger.api.demand_response import demand_routes
from gridledger.api.dispatch import dispatch_routes
from gridledger.api.dispatch_limits import dispatch_limit_routes
from gridledger.api.dispatch_reports import dispatch_report_routes
from gridledger.api.market import market_routes
from gridledger.api.meters import meter_routes
from gridledger.api.notices import notice_routes
from gridledger.api.orders import order_routes
from gridledger.api.problems import install_problem_handlers, media_type_of, plain_problem
from gridledger.api.reading_access import reading_access_routes
from gridledger.api.readings import reading_routes
from gridledger.api.sessions import session_routes
from gridledger.api.trade_receipts import trade_receipt_routes
from gridledger.api.transactions import transaction_routes
from gridledger.api.webhooks import webhook_routes

__all__ = ["create_application"]

_LARGEST_BODY_BYTES = 2 * 1024 * 1024


def create_application(node: NodeContext) -> FastAPI:
    """The node's HTTP API over its parts."""
    app = FastAPI(
        title="gridledger",
        version=__version__,
        description="Energy-trading and carbon-ledger node. Energy in Wh, prices in cents per MWh, money in microcents "
        "(10^-8 EUR), carbon in micrograms CO2e, times in Unix seconds UTC. Errors are problem+json (RFC 9457).",
    )
    install_problem_handlers(app)
    for routes in (
        dispatch_limit_routes,
        order_routes,
        deal_routes,
        market_routes,
        dispatch_routes,
        transaction_routes,
    ):
        app.include_router(routes(node))
    for routes in (session_routes, notice_routes, webhook_routes, reading_routes, reading_access_routes):
        app.include_router(routes(node))
    for routes in (meter_routes, dispatch_report_routes, trade_receipt_routes, demand_routes):
        app.include_router(routes(node))
    _install_operations(app, node, node.registry)
    return app


def _install_operations(app: FastAPI, node: NodeContext, registry: CollectorRegistry) -> None:
    requests = Counter(
        "gridledger_http_requests_total",
        "Requests by route and status",
        ["method", "route", "status"],
        registry=registry,
    )
    durations = Histogram("gridledger_http_request_seconds", "Time to answer", ["route"], registry=registry)
    gauges = {
        name: Gauge(f"gridledger_{name}", text, registry=registry)
        for name, text in (
            ("orders", "Orders accepted"),
            ("readings", "Readings accepted"),
            ("block_number", "Newest indexed block"),
            ("open_transactions", "Transactions without an outcome"),
            ("ready", "1 if the node is ready"),
        )
    }
    substitutes = Gauge(
        "gridledger_substitute_readings", "Missing readings that were estimated, by rule", ["rule"], registry=registry
    )

    @app.middleware("http")
    async def measure(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        if (refusal := _refusal(request)) is not None:
            return refusal
        started = time.perf_counter()
        response = await call_next(request)
        path = getattr(request.scope.get("route"), "path", None)
        route = "unmatched" if path is None else request.scope.get("root_path", "") + path
        requests.labels(request.method, route, response.status_code).inc()
        durations.labels(route).observe(time.perf_counter() - started)
        return response

    @app.get("/healthz", tags=["operations"])
    def get_health() -> dict[str, str]:
        """The process answers."""
        return {"status": "alive"}

    @app.get("/readyz", tags=["operations"])
    def get_ready(response: Response) -> dict[str, Any]:
        """Whether the node does its work: 503 and the reasons if not."""
        reasons = node.health()
        response.status_code = 503 if reasons else 200
        return {"ready": not reasons, "reasons": list(reasons)}

    @app.get("/metrics", tags=["operations"])
    def get_metrics() -> Response:
        """Prometheus metrics."""
        with node.database.read() as tx:
            tip = tx.chain_log.tip()
            gauges["orders"].set(tx.orders.count())
            gauges["readings"].set(tx.readings.count())
            for rule, count in tx.substitutes.counts().items():
                substitutes.labels(rule).set(count)
            gauges["block_number"].set(-1 if tip is None else tip.number)
            gauges["open_transactions"].set(tx.outbox.open_count())
        gauges["ready"].set(not node.health())
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


def _refusal(request: Request) -> Response | None:
    """The answer to a body whose length is not told or too large."""
    media_type = media_type_of(request)
    if "transfer-encoding" in request.headers:
        return plain_problem(411, "Length Required", media_type=media_type)
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > _LARGEST_BODY_BYTES:
        return plain_problem(413, "Content Too Large", media_type=media_type)
    return None
