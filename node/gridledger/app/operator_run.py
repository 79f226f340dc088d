"""`gridledger dispatch stop`, `curtail` and `show`: what the grid operator signs and reads by hand."""

from collections.abc import Mapping, Sequence
from typing import Any

import httpx
from eth_account.signers.local import LocalAccount

from gridledger.app.node_calls import node_at
from gridledger.chain.keys import Keystore
from gridledger.cli.operations import CurtailRequest, SlotRequest, StopRequest
from gridledger.dispatch.errors import NothingCurtailed, SetpointUnknown
from gridledger.dispatch.model import Curtailment, EmergencyStop
from gridledger.dispatch.setpoints import Direction, basis_wh
from gridledger.dispatch.shares import capped_wh
from gridledger.simulation.node_client import read_market, require_success
from gridledger.simulation.operator_answers import (
    ScheduledMeter,
    allocated_wh,
    committed_meters,
    curtailment_body,
    stop_body,
)
from gridledger.simulation.session import signed_in

__all__ = ["run_curtail", "run_show", "run_stop"]

_KEY = "grid_operator"
_STANDING_BEFORE = ("state", "curtailments")
_SIGNED = ("direction", "reason", "emergency", "sequence", "caps")


def run_stop(request: StopRequest) -> dict[str, Any]:
    """What the node says of the stop it has taken.

    Raises KeyMissing, KeyUnreadable, NodeUrlRefused, NodeUnreachable, NotANode, NodeFailing, RequestRefused.
    """
    key = Keystore(request.keys).load(_KEY)
    stop = EmergencyStop(
        zone=request.zone,
        first_mtu_start=request.first_mtu_start,
        mtu_count=request.mtu_count,
        reason=request.reason,
    )
    with node_at(request.url) as client:
        body = stop_body(key, read_market(client).dispatch_domain, stop)
        return _posted(client, "/v1/dispatch/stops", body)


def run_curtail(request: CurtailRequest) -> dict[str, Any]:
    """What the node says of the curtailment it has taken, and what was signed.

    Raises what `run_stop` does, SetpointsForged, and for totals SetpointUnknown, NothingCurtailed, CapCountOutOfRange.
    """
    key = Keystore(request.slot.keys).load(_KEY)
    with node_at(request.slot.url) as client:
        facts = read_market(client)
        document, meters = _schedule(client, key, request.slot)
        sequence = document["curtailments"] if request.sequence is None else request.sequence
        curtailment = Curtailment(
            zone=request.slot.zone,
            mtu_start=request.slot.mtu_start,
            schedule_hash=document["schedule_hash"],
            direction=Direction[request.direction.upper()],
            reason=request.reason,
            emergency=request.emergency,
            sequence=sequence,
            caps_wh=_caps_wh(request, meters, facts.mtu_length_s),
        )
        body = curtailment_body(key, facts.dispatch_domain, curtailment)
        answer = _posted(client, "/v1/dispatch/curtailments", body)
    told = {name: value for name, value in answer.items() if name not in _STANDING_BEFORE}
    return told | {name: body[name] for name in _SIGNED}


def run_show(request: SlotRequest) -> dict[str, Any]:
    """The node's answer on a schedule's setpoints, with its present time and the MTU's length.

    Raises what `run_stop` does, SetpointsForged.
    """
    key = Keystore(request.keys).load(_KEY)
    with node_at(request.url) as client:
        facts = read_market(client)
        document, _ = _schedule(client, key, request)
    return {**document, "now": facts.now, "mtu_length_s": facts.mtu_length_s}


def _schedule(
    client: httpx.Client, key: LocalAccount, slot: SlotRequest
) -> tuple[dict[str, Any], list[ScheduledMeter]]:
    """The node's answer on a schedule, and its meters as the schedule's hash covers them."""

    def post(path: str, body: Mapping[str, object] | None) -> Any:
        return require_success(client.post(path, json=body)).json()

    session = signed_in(post, key, "Read what is to be dispatched.")
    parameters = {"zone": slot.zone, "mtu_start": slot.mtu_start}
    answer = require_success(client.get("/v1/dispatch/setpoints", params=parameters, headers=session))
    document: dict[str, Any] = answer.json()
    meters = committed_meters(
        document, zone=slot.zone, mtu_start=slot.mtu_start, committed_hash=document["schedule_hash"]
    )
    return document, meters


def _caps_wh(request: CurtailRequest, meters: Sequence[ScheduledMeter], mtu_length_s: int) -> Mapping[int, int]:
    """The caps as they were given, or a total shared out in the order of curtailment."""
    if request.caps_wh:
        return request.caps_wh
    direction = Direction[request.direction.upper()]
    total_wh = request.total_wh
    if total_wh is None:
        total_wh = capped_wh(request.total_w or 0, mtu_length_s)
    by_meter = {one.row.meter: one for one in meters}
    for meter in request.meters:
        if meter not in by_meter:
            raise SetpointUnknown(meter=meter, zone=request.slot.zone, mtu_start=request.slot.mtu_start)
    named = [by_meter[meter] for meter in sorted(set(request.meters))]
    named = named or [one for one in meters if basis_wh(one.row, direction)]
    if not named:
        raise NothingCurtailed(basis_wh=0, cap_wh=total_wh)
    return allocated_wh(named, direction, total_wh)


def _posted(client: httpx.Client, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = require_success(client.post(path, json=body)).json()
    return answer
