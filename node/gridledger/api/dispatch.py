"""Dispatch for the grid operator: a resumable event stream, open schedules, and the way back for signed answers."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from sse_starlette import EventSourceResponse

from gridledger.api.context import NodeContext
from gridledger.api.dispatch_schemas import AnswerIn, CurtailmentIn, StopIn
from gridledger.api.streams import EventStreams
from gridledger.dispatch.model import Schedule
from gridledger.units import INT64_MAX, parse_utc

__all__ = ["MOST_STREAMS", "dispatch_routes"]

MOST_STREAMS = 256  # at once; nobody signs in to read what is to be dispatched
_EVENTS_PER_READ = 200


def dispatch_routes(node: NodeContext) -> APIRouter:
    """Routes under /v1/dispatch."""
    router = APIRouter(prefix="/v1/dispatch", tags=["dispatch"])

    def read_events(after: int) -> list[dict[str, Any]]:
        with node.database.read() as tx:
            return tx.dispatches.events_after(after, _EVENTS_PER_READ)

    streams = EventStreams(node.bell, highest=MOST_STREAMS, highest_of_reader=MOST_STREAMS)

    @router.get("/events", response_class=EventSourceResponse)
    async def get_events(
        last_event_id: Annotated[int | None, Header(ge=0, le=INT64_MAX)] = None,
        after: Annotated[int, Query(ge=0, le=INT64_MAX, description="Start after this event id")] = 0,
    ) -> EventSourceResponse:
        """Schedules and answers as server-sent events; `Last-Event-ID` resumes without a gap."""
        return streams.open("anybody", after if last_event_id is None else last_event_id, read_events)

    @router.get("/schedules")
    def get_pending() -> dict[str, Any]:
        """Schedules still open for an answer."""
        with node.database.read() as tx:
            return {"schedules": [_schedule_out(schedule) for schedule in tx.dispatches.pending(node.clock.now())]}

    @router.post("/answers", status_code=202)
    def post_answer(body: AnswerIn) -> dict[str, Any]:
        """Relay the grid operator's signed acknowledgement to the chain."""
        with node.database.write() as tx:
            schedule = node.services(tx).dispatch.acknowledge(
                body.zone, parse_utc("mtu_start", body.mtu_start), body.reason, bytes.fromhex(body.signature[2:])
            )
        node.wake()
        return {**_schedule_out(schedule), "answer": body.answer, "relayed": True}

    @router.post("/curtailments", status_code=202)
    def post_curtailment(body: CurtailmentIn) -> dict[str, Any]:
        """Relay the grid operator's signed caps to the chain; the contract checks the order of curtailment."""
        curtailment = body.to_curtailment(node.mtu_length_s)
        with node.database.write() as tx:
            schedule = node.services(tx).dispatch.curtail(curtailment, bytes.fromhex(body.signature[2:]))
        node.wake()
        return {**_schedule_out(schedule), "answer": "curtailed", "relayed": True}

    @router.post("/stops", status_code=202)
    def post_stop(body: StopIn) -> dict[str, Any]:
        """Relay the grid operator's signed emergency stop of a zone to the chain."""
        stop = body.to_stop()
        with node.database.write() as tx:
            node.services(tx).dispatch.stop(stop, bytes.fromhex(body.signature[2:]))
        node.wake()
        return {
            "zone": stop.zone,
            "first_mtu_start": stop.first_mtu_start,
            "mtu_count": stop.mtu_count,
            "reason": stop.reason,
            "relayed": True,
        }

    return router


def _schedule_out(schedule: Schedule) -> dict[str, Any]:
    return {
        "zone": schedule.zone,
        "mtu_start": schedule.mtu_start,
        "schedule_hash": schedule.schedule_hash,
        "traded_wh": schedule.traded_wh,
        "answer_deadline": schedule.answer_deadline,
        "state": schedule.state,
        "reason": schedule.reason,
        "result_hash": schedule.result_hash,
        "setpoints_root": schedule.setpoints_root,
        "curtailments": schedule.curtailments,
    }
