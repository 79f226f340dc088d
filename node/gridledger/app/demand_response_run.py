"""`gridledger dispatch demand-response`: sign an event with the grid operator's key and post it to a node."""

import secrets
from typing import Any

from eth_account.messages import encode_typed_data

from gridledger.app.node_calls import node_at
from gridledger.chain.keys import Keystore
from gridledger.cli.operations import DemandRequest
from gridledger.dispatch.demand_response import (
    DemandDirection,
    DemandResponse,
    demand_typed_data,
    energy_of_power,
)
from gridledger.simulation.node_client import read_market, require_success
from gridledger.units import format_utc

__all__ = ["run_demand_response"]

_SALT_BYTES = 32


def run_demand_response(request: DemandRequest) -> dict[str, Any]:
    """What the node says of the event it has taken.

    Raises KeyMissing, KeyUnreadable, UnalignedMtu, OutOfRange, NodeUrlRefused, NodeUnreachable, NotANode, NodeFailing,
    RequestRefused.
    """
    key = Keystore(request.keys).load("grid_operator")
    with node_at(request.url) as client:
        facts = read_market(client)
        event = _event(request, facts.mtu_length_s)
        event.window(facts.mtu_length_s)
        document = encode_typed_data(full_message=demand_typed_data(facts.dispatch_domain, event))
        body: dict[str, Any] = {
            "zone": event.zone,
            "first_mtu_start": format_utc(event.first_mtu_start),
            "mtu_count": event.mtu_count,
            "direction": event.direction.name.lower(),
            "energy_wh": event.energy_wh,
            "reason": event.reason,
            "salt": "0x" + event.salt.hex(),
            "signature": "0x" + bytes(key.sign_message(document).signature).hex(),
        }
        answer: dict[str, Any] = require_success(client.post("/v1/demand-response/events", json=body)).json()
        return answer


def _event(request: DemandRequest, mtu_length_s: int) -> DemandResponse:
    energy_wh = request.energy_wh
    if energy_wh is None:
        energy_wh = energy_of_power(request.power_w or 0, mtu_length_s)
    return DemandResponse(
        zone=request.zone,
        first_mtu_start=request.first_mtu_start,
        mtu_count=request.mtu_count,
        direction=DemandDirection.INCREASE if request.increases else DemandDirection.REDUCE,
        energy_wh=energy_wh,
        reason=request.reason,
        salt=secrets.token_bytes(_SALT_BYTES),
    )
