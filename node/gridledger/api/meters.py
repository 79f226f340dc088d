"""What the grid operator states about meters: resets, rollovers, replacements."""

from typing import Annotated, Any

from fastapi import APIRouter, Path

from gridledger.api.context import NodeContext
from gridledger.api.schemas import MeterEventIn
from gridledger.metering.events import MeterEvent
from gridledger.units import UINT32_MAX

__all__ = ["meter_routes"]

_Meter = Annotated[int, Path(ge=1, le=UINT32_MAX)]


def meter_routes(node: NodeContext) -> APIRouter:
    """Routes under /v1/meters."""
    router = APIRouter(prefix="/v1/meters", tags=["meters"])

    @router.post("/{meter}/events")
    def post_event(meter: _Meter, body: MeterEventIn) -> dict[str, Any]:
        """Keep the grid operator's signed statement of what broke a meter's count; the same again is a duplicate.

        It is an EIP-712 document in the `metering_domain` of `GET /v1/market`. Device texts that were refused before it
        came may be sent again.
        """
        event = body.to_event(meter)
        with node.database.write() as tx:
            status = node.services(tx).meter_events.accept(event, bytes.fromhex(body.signature[2:]))
        return {"status": status, **_event_out(event)}

    return router


def _event_out(event: MeterEvent) -> dict[str, Any]:
    return {
        "meter": event.meter,
        "kind": event.kind.name.lower(),
        "happened_at": event.happened_at,
        "closing_serial": event.closing_serial,
        "opening_serial": event.opening_serial,
    }
