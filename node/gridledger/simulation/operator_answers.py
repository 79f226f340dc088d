"""What a grid operator answers to a schedule, by its limit; and its signature. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eth_account.messages import encode_typed_data
from eth_account.signers.local import LocalAccount

from gridledger.dispatch.curtailment import MOST_CAPS, Basis, allocate_caps, emission_rank
from gridledger.dispatch.limits import firm_wh
from gridledger.dispatch.model import (
    Curtailment,
    DispatchDomain,
    EmergencyStop,
    answer_typed_data,
    curtailment_typed_data,
    stop_typed_data,
)
from gridledger.dispatch.setpoints import Direction, SetpointRow, basis_wh, schedule_hash, setpoints_root
from gridledger.dispatch.shares import capped_wh
from gridledger.errors import Conflict
from gridledger.units import format_utc

__all__ = [
    "REASON_OVERLOAD",
    "Caps",
    "ScheduledMeter",
    "SetpointsErased",
    "SetpointsForged",
    "acknowledgement_body",
    "allocated_wh",
    "committed_meters",
    "curtailment_body",
    "decide",
    "stop_body",
]

REASON_OVERLOAD = 1
WATTS_PER_KW = 1000


@dataclass(kw_only=True, eq=False)
class SetpointsForged(Conflict):
    """The node shows setpoints that the schedule's hash does not commit to."""

    zone: int
    mtu_start: int
    found: str


@dataclass(kw_only=True, eq=False)
class SetpointsErased(Conflict):
    """The node has erased setpoints of this schedule, so nobody can decide or check anything by them."""

    zone: int
    mtu_start: int
    meters: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class ScheduledMeter:
    """A meter's setpoint and where its source stands in the order of curtailment."""

    row: SetpointRow
    rank: int

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "ScheduledMeter":
        """Read one of the node's setpoints."""
        row = SetpointRow(**{name: document[name] for name in ("meter", "contracted_wh", "residual_wh")})
        return cls(row=row, rank=emission_rank(document["source"], document["factor_mgco2_per_kwh"]))


@dataclass(frozen=True, kw_only=True)
class Caps:
    """Caps of one direction, Wh by meter."""

    direction: Direction
    wh: Mapping[int, int]


def committed_meters(
    document: Mapping[str, Any], *, zone: int, mtu_start: int, committed_hash: str
) -> list[ScheduledMeter]:
    """What `GET /v1/dispatch/setpoints` answers, once known to be what the schedule's hash covers.

    The chain takes no curtailment of another hash. Raises SetpointsErased, SetpointsForged, MetersNotAscending,
    OutOfRange.
    """
    erased = tuple(one["meter"] for one in document["setpoints"] if one["salt"] is None)
    if erased:
        raise SetpointsErased(zone=zone, mtu_start=mtu_start, meters=erased)
    meters = [ScheduledMeter.of(one) for one in document["setpoints"]]
    salts = {one["meter"]: bytes.fromhex(one["salt"][2:]) for one in document["setpoints"]}
    found = schedule_hash(document["result_hash"], setpoints_root([meter.row for meter in meters], salts))
    if found != committed_hash:
        raise SetpointsForged(zone=zone, mtu_start=mtu_start, found=found)
    return meters


def decide(meters: Sequence[ScheduledMeter], mtu_length_s: int, limit_kw: int | None) -> Caps | None:
    """The caps a schedule needs, None if it keeps the limit in both directions without.

    Forecasts may be wrong: of what flows the other way only the firm part counts against the flow that is limited. All
    meters of the direction are named; what they may keep together is the limit and that firm part. Of more than one
    curtailment can name, those that come first in the order are, the largest first; the others keep what they have.
    """
    if limit_kw is None:
        return None
    limit_wh = capped_wh(limit_kw * WATTS_PER_KW, mtu_length_s)
    for direction, other in ((Direction.EXPORT, Direction.IMPORT), (Direction.IMPORT, Direction.EXPORT)):
        allowed_wh = limit_wh + firm_wh(sum(basis_wh(meter.row, other) for meter in meters))
        named = [meter for meter in meters if basis_wh(meter.row, direction)]
        if sum(basis_wh(meter.row, direction) for meter in named) > allowed_wh:
            return Caps(direction=direction, wh=allocated_wh(named, direction, allowed_wh))
    return None


def allocated_wh(meters: Sequence[ScheduledMeter], direction: Direction, total_wh: int) -> dict[int, int]:
    """Caps, Wh by meter, that leave the meters `total_wh` together, in the order of curtailment.

    Of more meters than one curtailment can name those that are curtailed last keep what they have. Raises
    CapCountOutOfRange, NothingCurtailed, OutOfRange.
    """
    bases = [
        Basis(
            meter=meter.row.meter,
            basis_wh=basis_wh(meter.row, direction),
            rank=meter.rank if direction is Direction.EXPORT else 0,
        )
        for meter in meters
    ]
    first = sorted(bases, key=lambda basis: (-basis.rank, -basis.basis_wh, basis.meter))
    left_wh = max(0, total_wh - sum(basis.basis_wh for basis in first[MOST_CAPS:]))
    named = sorted(first[:MOST_CAPS], key=lambda basis: basis.meter)
    return {basis.meter: cap_wh for basis, cap_wh in zip(named, allocate_caps(named, left_wh), strict=True)}


def acknowledgement_body(
    key: LocalAccount, domain: DispatchDomain, *, zone: int, mtu_start: int, schedule_hash: str
) -> dict[str, Any]:
    """What acknowledges a schedule at the node."""
    document = answer_typed_data(domain, zone, mtu_start, schedule_hash, 0)
    return {
        "zone": zone,
        "mtu_start": format_utc(mtu_start),
        "answer": "acknowledged",
        "reason": 0,
        "signature": _signature(key, document),
    }


def curtailment_body(key: LocalAccount, domain: DispatchDomain, curtailment: Curtailment) -> dict[str, Any]:
    """What curtails a schedule at the node."""
    return {
        "zone": curtailment.zone,
        "mtu_start": format_utc(curtailment.mtu_start),
        "schedule_hash": curtailment.schedule_hash,
        "direction": curtailment.direction.name.lower(),
        "reason": curtailment.reason,
        "emergency": curtailment.emergency,
        "sequence": curtailment.sequence,
        "caps": [{"meter": meter, "cap_wh": cap_wh} for meter, cap_wh in sorted(curtailment.caps_wh.items())],
        "signature": _signature(key, curtailment_typed_data(domain, curtailment)),
    }


def stop_body(key: LocalAccount, domain: DispatchDomain, stop: EmergencyStop) -> dict[str, Any]:
    """What stops a zone at the node."""
    return {
        "zone": stop.zone,
        "first_mtu_start": format_utc(stop.first_mtu_start),
        "mtu_count": stop.mtu_count,
        "reason": stop.reason,
        "signature": _signature(key, stop_typed_data(domain, stop)),
    }


def _signature(key: LocalAccount, document: dict[str, Any]) -> str:
    return "0x" + bytes(key.sign_message(encode_typed_data(full_message=document)).signature).hex()
