"""`gridledger dispatch demand-response`: sign an event with the grid operator's key and post it to a node."""

import secrets
from typing import Any

import httpx
from eth_account.messages import encode_typed_data
from eth_account.signers.local import LocalAccount

from gridledger.app.gateway import NodeUnreachable
from gridledger.chain.keys import Keystore
from gridledger.cli.operations import DemandRequest
from gridledger.dispatch.demand_response import (
    DemandDirection,
    DemandResponse,
    demand_typed_data,
    energy_of_power,
)
from gridledger.simulation.node_client import market_facts, require_success
from gridledger.units import format_utc

__all__ = ["run_demand_response"]

_TIMEOUT_S = 30.0
_SALT_BYTES = 32


def run_demand_response(request: DemandRequest) -> dict[str, Any]:
    """What the node says of the event it has taken.

    Raises KeyMissing, KeyUnreadable, UnalignedMtu, OutOfRange, RequestRefused, NodeFailing, NodeUnreachable.
    """
    key = Keystore(request.keys).load("grid_operator")
    try:
        return _issue(request, key)
    except httpx.TransportError as error:
        raise NodeUnreachable(url=request.url, problem=type(error).__name__) from None


def _issue(request: DemandRequest, key: LocalAccount) -> dict[str, Any]:
    with httpx.Client(base_url=request.url, timeout=_TIMEOUT_S, trust_env=False) as client:
        facts = market_facts(require_success(client.get("/v1/market")).json())
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
