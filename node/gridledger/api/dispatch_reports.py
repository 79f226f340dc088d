"""What OpenADR clients reported on dispatches, each with the dispatch on the chain it answers."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from gridledger.api.context import NodeContext
from gridledger.api.sessions import Bearer, session_owner
from gridledger.chain.roles import Role
from gridledger.errors import Forbidden
from gridledger.store.openadr_origins import About, LinkedReport
from gridledger.store.transaction import Transaction
from gridledger.units import INT64_MAX, UINT32_MAX

__all__ = ["MOST_REPORTS", "DispatchReportsForbidden", "dispatch_report_routes"]

MOST_REPORTS = 200  # at once
Moment = Annotated[int, Query(ge=0, le=UINT32_MAX)]


@dataclass(kw_only=True, eq=False)
class DispatchReportsForbidden(Forbidden):
    """Reports on dispatches are shown to the zone's grid operator and to the regulator."""

    zone: int


def dispatch_report_routes(node: NodeContext) -> APIRouter:
    """GET /v1/dispatch/reports; needs a session."""
    router = APIRouter(prefix="/v1/dispatch", tags=["dispatch"])

    @router.get("/reports")
    def get_reports(
        response: Response,
        bearer: Bearer,
        zone: Annotated[int, Query(ge=1, le=UINT32_MAX)],
        from_s: Annotated[Moment, Query(alias="from")] = 0,
        to_s: Annotated[Moment, Query(alias="to")] = UINT32_MAX,
        after: Annotated[int, Query(ge=0, le=INT64_MAX, description="Start after this id")] = 0,
        limit: Annotated[int, Query(ge=1, le=MOST_REPORTS)] = 100,
    ) -> dict[str, Any]:
        """Reports on dispatches and demand response, from <= MTU start < to (Unix seconds), in the order they came.

        For the zone's grid operator and the regulator. `transaction_hash` is that of the schedule on the chain, null
        for demand response and for a stop of what was not scheduled.
        """
        response.headers["Cache-Control"] = "no-store"
        with node.database.read() as tx:
            reader = session_owner(tx, node.clock, bearer)
            if not _may_read(node, tx, reader, zone):
                raise DispatchReportsForbidden(zone=zone)
            found = tx.openadr_origins.reports(zone, from_s, to_s, after, limit)
        return {"reports": [_report_out(one) for one in found], "last": found[-1].number if found else after}

    return router


def _may_read(node: NodeContext, tx: Transaction, account: str, zone: int) -> bool:
    return tx.directory.zones().get(zone) == account or tx.directory.holds_role(
        account, int(Role.REGULATOR), node.clock.now()
    )


def _report_out(one: LinkedReport) -> dict[str, Any]:
    return {
        "id": one.number,
        "report_id": one.report_id,
        "client_id": one.client_id,
        "client_name": one.content["clientName"],
        "reported_at": one.reported_at,
        "about": "demand" if one.origin.about is About.DEMAND else "dispatch",
        "zone": one.origin.zone,
        "mtu_start": one.origin.mtu_start,
        "meter": one.origin.meter or None,
        "schedule_hash": one.origin.schedule_hash,
        "transaction_hash": one.origin.transaction_hash,
        "event_id": one.origin.event_id,
        "resources": one.content["resources"],
    }
