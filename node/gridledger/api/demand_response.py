"""Demand response: the grid operator's events, owners' participation, and what was measured, for whom it concerns."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response

from gridledger.api.context import NodeContext
from gridledger.api.demand_schemas import DemandIn, ParticipationIn
from gridledger.api.schemas import Uid
from gridledger.api.sessions import Bearer, session_owner
from gridledger.chain.roles import Role
from gridledger.dispatch.demand_errors import (
    DemandReasonRequired,
    DemandResultsForbidden,
    DemandSumForbidden,
)
from gridledger.dispatch.demand_response import CLOSED_AFTER_S, MeterMeasurement, StoredDemand, demand_typed_data
from gridledger.metering.access import LONGEST_REASON, SHORTEST_REASON, check_group, why_withheld
from gridledger.store.transaction import Transaction
from gridledger.units import INT64_MAX, UINT32_MAX

__all__ = ["demand_routes"]

MOST_EVENTS = 100  # at once
_SUM_FIELDS = ("mtu_start", "energy_wh", "metered")
EventId = Annotated[Uid, Path()]
Meter = Annotated[int, Path(ge=1, le=UINT32_MAX)]


def demand_routes(node: NodeContext) -> APIRouter:
    """Routes under /v1/demand-response."""
    router = APIRouter(prefix="/v1/demand-response", tags=["demand response"])
    _add_events(router, node)
    _add_participations(router, node)
    _add_consents(router, node)
    _add_results(router, node)
    _add_sums(router, node)
    return router


def _add_events(router: APIRouter, node: NodeContext) -> None:
    @router.post("/events", status_code=201)
    def post_event(body: DemandIn, response: Response) -> dict[str, Any]:
        """Keep an event signed by the zone's grid operator, and tell the zone's owners; the same again answers 200."""
        event = body.to_event(node.mtu_length_s)
        with node.database.write() as tx:
            stored, is_new = node.services(tx).demand.issue(event, bytes.fromhex(body.signature[2:]))
        response.status_code = 201 if is_new else 200
        node.bell.ring()
        return _event_out(node, stored)

    @router.get("/events")
    def get_events(
        zone: Annotated[int | None, Query(ge=1, le=UINT32_MAX)] = None,
        after: Annotated[int, Query(ge=0, le=INT64_MAX, description="Start after this event number")] = 0,
        limit: Annotated[int, Query(ge=1, le=MOST_EVENTS)] = 50,
    ) -> dict[str, Any]:
        """Events in the order they came, each with its signature; go on from `last`."""
        with node.database.read() as tx:
            events = tx.demand.after(after, zone, limit)
        return {
            "events": [_event_out(node, stored) for stored in events],
            "last": events[-1].number if events else after,
        }

    @router.get("/events/{event_id}")
    def get_event(event_id: EventId) -> dict[str, Any]:
        """An event, and the EIP-712 document that its signature covers."""
        with node.database.read() as tx:
            stored = node.services(tx).demand.find(event_id)
        return {**_event_out(node, stored), "signed_document": _document_out(node, stored)}


def _add_participations(router: APIRouter, node: NodeContext) -> None:
    @router.post("/events/{event_id}/participations", status_code=201)
    def post_participations(event_id: EventId, body: ParticipationIn, bearer: Bearer) -> dict[str, Any]:
        """Let own meters take part, until the first MTU begins."""
        with node.database.write() as tx:
            owner = session_owner(tx, node.clock, bearer)
            node.services(tx).demand.join(owner, event_id, body.meters)
            return _participations_out(tx, event_id, owner)

    @router.get("/events/{event_id}/participations")
    def get_participations(event_id: EventId, bearer: Bearer) -> dict[str, Any]:
        """Which of the account's meters take part."""
        with node.database.read() as tx:
            owner = session_owner(tx, node.clock, bearer)
            node.services(tx).demand.find(event_id)
            return _participations_out(tx, event_id, owner)

    @router.delete("/events/{event_id}/participations/{meter}", status_code=204)
    def delete_participation(event_id: EventId, meter: Meter, bearer: Bearer) -> None:
        """Let a meter not take part after all, until the first MTU begins."""
        with node.database.write() as tx:
            node.services(tx).demand.leave(session_owner(tx, node.clock, bearer), event_id, meter)


def _add_consents(router: APIRouter, node: NodeContext) -> None:
    @router.get("/consents")
    def get_consents(bearer: Bearer) -> dict[str, Any]:
        """The account's meters that take part in every event of their zone."""
        with node.database.read() as tx:
            consents = tx.demand.consents_of(session_owner(tx, node.clock, bearer))
        return {"consents": [{"meter": one.meter, "given_at": one.given_at} for one in consents]}

    @router.put("/consents/{meter}", status_code=204)
    def put_consent(meter: Meter, bearer: Bearer) -> None:
        """Let a meter take part in every event that is issued from now on."""
        with node.database.write() as tx:
            node.services(tx).demand.consent(session_owner(tx, node.clock, bearer), meter)

    @router.delete("/consents/{meter}", status_code=204)
    def delete_consent(meter: Meter, bearer: Bearer) -> None:
        """Take the consent back; events that were issued before go on."""
        with node.database.write() as tx:
            node.services(tx).demand.withdraw(session_owner(tx, node.clock, bearer), meter)


def _add_results(router: APIRouter, node: NodeContext) -> None:
    @router.get("/events/{event_id}/results")
    def get_results(
        event_id: EventId,
        response: Response,
        bearer: Bearer,
        after: Annotated[int, Query(ge=0, le=UINT32_MAX, description="Start after this meter")] = 0,
        limit: Annotated[int, Query(ge=1, le=MOST_EVENTS)] = 50,
        reason: Annotated[str | None, Query(max_length=LONGEST_REASON)] = None,
    ) -> dict[str, Any]:
        """The newest measurement of each own meter; of all for the regulator, who states a `reason`, which is logged.

        Measurements show readings, so they are told to nobody else.
        """
        response.headers["Cache-Control"] = "no-store"
        with node.database.read() as tx:
            reader = session_owner(tx, node.clock, bearer)
            stored = node.services(tx).demand.find(event_id)
            own = {one.meter for one in tx.demand.participations(event_id, reader)}
            regulates = not own and tx.directory.holds_role(reader, int(Role.REGULATOR), node.clock.now())
            if regulates:
                found = tx.demand_measurements.newest_of_all(event_id, after, limit)
            elif own:
                found = tx.demand_measurements.newest(event_id, sorted(one for one in own if one > after)[:limit])
            else:
                raise DemandResultsForbidden(event_id=event_id)
        if regulates:
            _log_access(node, reader, stored, found, reason)
        return {
            "event_id": event_id,
            "results": [_measurement_out(one) for one in found],
            "next": found[-1].meter if len(found) == limit else None,
        }


def _add_sums(router: APIRouter, node: NodeContext) -> None:
    @router.get("/events/{event_id}/sums")
    def get_sums(event_id: EventId, response: Response, bearer: Bearer) -> dict[str, Any]:
        """What all participants shifted together, per MTU, for the zone's grid operator.

        Withheld while a measurement may still join, where a participant has been erased, and of groups that are too
        small.
        """
        response.headers["Cache-Control"] = "no-store"
        with node.database.read() as tx:
            reader = session_owner(tx, node.clock, bearer)
            stored = node.services(tx).demand.find(event_id)
            if tx.directory.zones().get(stored.event.zone) != reader:
                raise DemandSumForbidden(zone=stored.event.zone)
            registered = tx.reading_views.group_size(stored.event.zone)
            check_group(stored.event.zone, registered, smallest=node.smallest_group)
            return _sums_out(node, tx, stored)


def _sums_out(node: NodeContext, tx: Transaction, stored: StoredDemand) -> dict[str, Any]:
    event_id = stored.event_id
    participants = len(tx.demand.participations(event_id))
    sums = tx.demand_measurements.sums(event_id)
    closed = node.clock.now() > stored.event.window(node.mtu_length_s).end + CLOSED_AFTER_S
    complete = len(sums) == stored.event.mtu_count and all(metered == participants for _, _, metered in sums)
    withheld = why_withheld(
        meters=tx.demand_measurements.measured_count(event_id),
        smallest=node.smallest_group,
        final=closed or complete,
        erased=tx.demand.erased_participations(event_id) > 0,
    )
    return {
        "event_id": event_id,
        "wanted_wh": stored.event.energy_wh,
        "participants": participants,
        "withheld": withheld,
        "sums": [] if withheld else [dict(zip(_SUM_FIELDS, one, strict=True)) for one in sums],
    }


def _log_access(
    node: NodeContext, reader: str, stored: StoredDemand, found: tuple[MeterMeasurement, ...], reason: str | None
) -> None:
    """A regulator's look at measurements is one at readings. Raises DemandReasonRequired."""
    if reason is None or not SHORTEST_REASON <= len(reason.strip()) <= LONGEST_REASON or not reason.isprintable():
        raise DemandReasonRequired(shortest=SHORTEST_REASON, longest=LONGEST_REASON)
    window, now = stored.event.window(node.mtu_length_s), node.clock.now()
    with node.database.write() as tx:
        for one in found:
            tx.reading_views.log_access(
                reader, one.meter, from_s=window.first_mtu_start, to_s=window.end, reason=reason.strip(), now=now
            )


def _event_out(node: NodeContext, stored: StoredDemand) -> dict[str, Any]:
    event, rule = stored.event, stored.terms.rule
    return {
        "id": stored.event_id,
        "number": stored.number,
        "zone": event.zone,
        "first_mtu_start": event.first_mtu_start,
        "mtu_count": event.mtu_count,
        "mtu_length_s": node.mtu_length_s,
        "direction": event.direction.name.lower(),
        "energy_wh": event.energy_wh,
        "reason": event.reason,
        "salt": "0x" + event.salt.hex(),
        "signature": "0x" + stored.signature.hex(),
        "received_at": stored.received_at,
        "terms_signature": "0x" + stored.terms_signature.hex(),
        "baseline": {
            "working_days": {"highest": rule.working_highest, "of": rule.working_days},
            "other_days": {"highest": rule.other_highest, "of": rule.other_days},
            "look_back_days": rule.look_back_days,
            "adjustment_bp": rule.adjustment_bp,
            "civil_time": stored.terms.civil_time,
            "holidays": [day.isoformat() for day in stored.terms.holidays],
        },
    }


def _document_out(node: NodeContext, stored: StoredDemand) -> dict[str, Any]:
    document = demand_typed_data(node.dispatch_domain, stored.event)
    return {**document, "message": {**document["message"], "salt": "0x" + stored.event.salt.hex()}}


def _participations_out(tx: Transaction, event_id: str, owner: str) -> dict[str, Any]:
    return {
        "event_id": event_id,
        "participations": [
            {"meter": one.meter, "standing": one.standing, "joined_at": one.joined_at}
            for one in tx.demand.participations(event_id, owner)
        ],
    }


def _measurement_out(one: MeterMeasurement) -> dict[str, Any]:
    measured = one.measurement
    return {
        "meter": one.meter,
        "number": one.number,
        "anchors": one.anchors,
        "proofs": one.proofs,
        "measured_at": one.measured_at,
        "baseline_days": list(measured.days),
        "adjustment_bp": measured.adjustment_bp,
        "energy_wh": measured.energy_wh,
        "mtus": [
            {
                "mtu_start": mtu.mtu_start,
                "baseline_import_wh": mtu.baseline_import_wh,
                "net_import_wh": mtu.net_import_wh,
                "energy_wh": mtu.energy_wh,
            }
            for mtu in measured.mtus
        ],
    }
