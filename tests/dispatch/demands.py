"""Demand response events, signed, as tests ask for them."""

from typing import Any

from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_account.signers.local import LocalAccount

from gridledger.dispatch.demand_response import DemandDirection, DemandResponse, demand_typed_data
from gridledger.dispatch.model import DispatchDomain
from gridledger.units import format_utc

MONDAY = 1_465_776_000  # 2016-06-13T00:00:00Z
DAY_S, HOUR_S, LENGTH_S = 86_400, 3_600, 900
SALT = bytes(31) + b"\x07"


def a_demand(**changes: Any) -> DemandResponse:
    """Four quarter-hours on the Friday evening, 2,000 Wh less in each."""
    values: dict[str, Any] = {
        "zone": 1,
        "first_mtu_start": MONDAY + 4 * DAY_S + 18 * HOUR_S,
        "mtu_count": 4,
        "direction": DemandDirection.REDUCE,
        "energy_wh": 2_000,
        "reason": 1,
        "salt": SALT,
    }
    return DemandResponse(**(values | changes))


def signed_demand(domain: DispatchDomain, event: DemandResponse, signer: LocalAccount) -> bytes:
    """65 bytes r, s, v."""
    document = encode_typed_data(full_message=demand_typed_data(domain, event))
    return bytes(Account.sign_message(document, signer.key).signature)


def demand_body(domain: DispatchDomain, event: DemandResponse, signer: LocalAccount) -> dict[str, Any]:
    """The event as it is posted."""
    return {
        "zone": event.zone,
        "first_mtu_start": format_utc(event.first_mtu_start),
        "mtu_count": event.mtu_count,
        "direction": event.direction.name.lower(),
        "energy_wh": event.energy_wh,
        "reason": event.reason,
        "salt": "0x" + event.salt.hex(),
        "signature": "0x" + signed_demand(domain, event, signer).hex(),
    }
