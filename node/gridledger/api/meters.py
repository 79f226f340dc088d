"""Meters: what the grid operator states about them, and what they measured, for their owners."""

from typing import Annotated, Any

from fastapi import APIRouter, Path

from gridledger.api.context import NodeContext
from gridledger.api.schemas import MeterEventIn
from gridledger.api.sessions import Bearer, session_owner
from gridledger.metering.errors import MeterOfAnother, ReadingUnknown
from gridledger.metering.estimation import Energy, Substitute
from gridledger.metering.events import MeterEvent
from gridledger.metering.model import Reading
from gridledger.units import UINT32_MAX

__all__ = ["meter_routes"]

_MtuStart = Annotated[int, Path(ge=1, le=UINT32_MAX)]
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

    @router.get("/{meter}/readings/{mtu_start}")
    def get_reading(meter: _Meter, mtu_start: _MtuStart, bearer: Bearer) -> dict[str, Any]:
        """The energy of an MTU, for the meter's owner: the true reading, else the estimate that stands in for it.

        An estimate (`substitute`) says its rule and the MTUs it rests on; it serves statements and forecasts and
        settles nothing. It stays beside the true reading once that has come.
        """
        with node.database.read() as tx:
            owner = session_owner(tx, node.clock, bearer)
            row = tx.directory.meter_row(meter)
            if row is None or row.owner != owner:
                raise MeterOfAnother(meter=meter)
            stored, estimated = tx.readings.find(meter, mtu_start), tx.substitutes.find(meter, mtu_start)
        if stored is None and estimated is None:
            raise ReadingUnknown(meter=meter, mtu_start=mtu_start)
        return {
            "meter": meter,
            "mtu_start": mtu_start,
            "substitute": stored is None,
            "reading": None if stored is None else _energy_out(stored.reading),
            "estimate": None if estimated is None else _estimate_out(estimated),
        }

    return router


def _energy_out(energy: Reading | Energy) -> dict[str, Any]:
    return {"import_wh": energy.import_wh, "export_wh": energy.export_wh}


def _estimate_out(estimated: Substitute) -> dict[str, Any]:
    basis = (estimated.basis_before, estimated.basis_after)
    return {
        **_energy_out(estimated.energy),
        "rule": estimated.rule,
        "basis": [start for start in basis if start is not None],
    }


def _event_out(event: MeterEvent) -> dict[str, Any]:
    return {
        "meter": event.meter,
        "kind": event.kind.name.lower(),
        "happened_at": event.happened_at,
        "closing_serial": event.closing_serial,
        "opening_serial": event.opening_serial,
    }
