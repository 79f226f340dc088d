"""Shapes of requests about demand response."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from gridledger.api.schemas import Signature, Uid, UtcText
from gridledger.dispatch.demand_errors import DemandAmountUnclear
from gridledger.dispatch.demand_response import (
    LARGEST_DEMAND_WH,
    LARGEST_REASON,
    DemandDirection,
    DemandResponse,
    energy_of_power,
)
from gridledger.units import UINT32_MAX, parse_utc

__all__ = ["DemandIn", "ParticipationIn"]

MOST_METERS = 500  # at once


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DemandIn(_Strict):
    """A signed event (EIP-712 struct `DemandResponse`); a power counts as its energy per MTU, rounded down."""

    zone: Annotated[int, Field(ge=1, le=UINT32_MAX, strict=True)]
    first_mtu_start: UtcText
    mtu_count: Annotated[int, Field(ge=1, le=UINT32_MAX, strict=True)]
    direction: Literal["reduce", "increase"]
    energy_wh: Annotated[int, Field(ge=1, le=LARGEST_DEMAND_WH, strict=True)] | None = None
    power_w: Annotated[int, Field(ge=1, le=LARGEST_DEMAND_WH, strict=True)] | None = None
    reason: Annotated[int, Field(ge=0, le=LARGEST_REASON, strict=True)] = 0
    salt: Uid
    signature: Signature

    def to_event(self, mtu_length_s: int) -> DemandResponse:
        """The event in integers. Raises NotUtc, OutOfRange, DemandAmountUnclear."""
        if (self.energy_wh is None) == (self.power_w is None):
            raise DemandAmountUnclear
        energy_wh = self.energy_wh
        if self.power_w is not None:
            energy_wh = energy_of_power(self.power_w, mtu_length_s)
        assert energy_wh is not None
        return DemandResponse(
            zone=self.zone,
            first_mtu_start=parse_utc("first_mtu_start", self.first_mtu_start),
            mtu_count=self.mtu_count,
            direction=DemandDirection[self.direction.upper()],
            energy_wh=energy_wh,
            reason=self.reason,
            salt=bytes.fromhex(self.salt[2:]),
        )


class ParticipationIn(_Strict):
    """Meters of the signed-in account that take part."""

    meters: Annotated[
        list[Annotated[int, Field(ge=1, le=UINT32_MAX, strict=True)]], Field(min_length=1, max_length=MOST_METERS)
    ]
