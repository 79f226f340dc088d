"""Shapes of what a grid operator signs and sends; each becomes the word of the dispatch room it stands for."""

from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from gridledger.api.schemas import Signature, Strict, UtcText
from gridledger.dispatch.curtailment import MOST_CAPS
from gridledger.dispatch.errors import MetersNotAscending
from gridledger.dispatch.model import (
    LARGEST_REASON,
    MOST_STOPPED_MTUS,
    Curtailment,
    EmergencyStop,
)
from gridledger.dispatch.setpoints import Direction
from gridledger.dispatch.shares import capped_wh
from gridledger.units import UINT32_MAX, parse_utc

__all__ = ["AnswerIn", "CapIn", "CurtailmentIn", "StopIn"]

Number = Annotated[int, Field(ge=0, le=UINT32_MAX, strict=True)]
ZoneNumber = Annotated[int, Field(ge=1, le=UINT32_MAX, strict=True)]
ReasonCode = Annotated[int, Field(ge=0, le=LARGEST_REASON, strict=True)]
Hash32 = Annotated[str, StringConstraints(pattern=r"^0x[0-9a-fA-F]{64}$")]


class AnswerIn(Strict):
    """The grid operator's signed acknowledgement of a schedule (EIP-712 struct `DispatchAnswer`)."""

    zone: ZoneNumber
    mtu_start: UtcText
    answer: Literal["acknowledged"]
    reason: ReasonCode = 0
    signature: Signature


class CapIn(Strict):
    """Highest net energy of a meter in the MTU, in Wh or as mean power in W, which is rounded down to Wh."""

    meter: Number
    cap_wh: Number | None = None
    cap_w: Number | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.cap_wh is None) == (self.cap_w is None):
            raise ValueError("either cap_wh or cap_w")
        return self

    def to_wh(self, mtu_length_s: int) -> int:
        """The cap in Wh."""
        return capped_wh(self.cap_w or 0, mtu_length_s) if self.cap_wh is None else self.cap_wh


class CurtailmentIn(Strict):
    """The grid operator's signed caps of named meters, ascending (EIP-712 struct `Curtailment`, in Wh)."""

    zone: ZoneNumber
    mtu_start: UtcText
    schedule_hash: Hash32
    direction: Literal["export", "import"]
    reason: ReasonCode = 0
    emergency: Annotated[bool, Field(strict=True)] = False
    sequence: Number = 0
    caps: Annotated[list[CapIn], Field(min_length=1, max_length=MOST_CAPS)]
    signature: Signature

    def to_curtailment(self, mtu_length_s: int) -> Curtailment:
        """The curtailment in integers. Raises NotUtc, MetersNotAscending."""
        for before, cap in pairwise(self.caps):
            if cap.meter <= before.meter:
                raise MetersNotAscending(meter=cap.meter)
        return Curtailment(
            zone=self.zone,
            mtu_start=parse_utc("mtu_start", self.mtu_start),
            schedule_hash=self.schedule_hash.lower(),
            direction=Direction[self.direction.upper()],
            reason=self.reason,
            emergency=self.emergency,
            sequence=self.sequence,
            caps_wh={cap.meter: cap.to_wh(mtu_length_s) for cap in self.caps},
        )


class StopIn(Strict):
    """The grid operator's signed emergency stop of a zone for consecutive MTUs (EIP-712 struct `EmergencyStop`)."""

    zone: ZoneNumber
    first_mtu_start: UtcText
    mtu_count: Annotated[int, Field(ge=1, le=MOST_STOPPED_MTUS, strict=True)]
    reason: ReasonCode
    signature: Signature

    def to_stop(self) -> EmergencyStop:
        """The stop in integers. Raises NotUtc."""
        return EmergencyStop(
            zone=self.zone,
            first_mtu_start=parse_utc("first_mtu_start", self.first_mtu_start),
            mtu_count=self.mtu_count,
            reason=self.reason,
        )
