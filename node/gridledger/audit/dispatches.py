"""What the chain says about each dispatch: the schedule, what the grid operator made of it, and what holds when."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

from gridledger.audit.presented_dispatch import AnswerCall, CurtailCall, StopCall

__all__ = ["Acknowledged", "Answered", "Curtailed", "Dispatch", "OrderCheck", "Outcome", "Scheduled", "Stopped"]


class Outcome(StrEnum):
    """What becomes of contracted energy: still open, settled, settled after caps, or refunded."""

    OPEN = "open"
    PROCEEDS = "proceeds"
    CURTAILED = "curtailed"
    VOID = "void"


class OrderCheck(IntEnum):
    """How caps stand to the order of curtailment, by the contract's numbers."""

    UNCHECKED = 0
    KEPT = 1
    BROKEN = 2


@dataclass(frozen=True, kw_only=True)
class Scheduled:
    """A schedule as DispatchScheduled states it; Wh, Unix seconds."""

    schedule_hash: str
    result_hash: str
    setpoints_root: str
    traded_wh: int
    answer_deadline: int
    block_number: int


@dataclass(frozen=True, kw_only=True)
class Answered:
    """What every answer of a grid operator states, and when it was recorded."""

    grid_operator: str
    reason: int
    block_number: int
    time_s: int


@dataclass(frozen=True, kw_only=True)
class Acknowledged(Answered):
    """DispatchAnswered; `answer` is the contract's number."""

    answer: int
    call: AnswerCall | None


@dataclass(frozen=True, kw_only=True)
class Curtailed(Answered):
    """DispatchCurtailed; caps as (meter, Wh). `order_check` is the contract's number."""

    direction: int
    emergency: bool
    sequence: int
    order_check: int
    caps: tuple[tuple[int, int], ...]
    call: CurtailCall | None

    @property
    def caps_wh(self) -> Mapping[int, int]:
        """The caps by meter."""
        return dict(self.caps)


@dataclass(frozen=True, kw_only=True)
class Stopped(Answered):
    """ZoneStopped, for every MTU from the first to the last."""

    zone: int
    first_mtu_start: int
    last_mtu_start: int
    call: StopCall | None


@dataclass(kw_only=True)
class Dispatch:
    """One zone and MTU: its schedule and all answers in their order."""

    schedule: Scheduled | None = None
    answers: list[Answered] = field(default_factory=list)

    @property
    def curtailments(self) -> Sequence[Curtailed]:
        """All curtailments in their order; the last one's caps hold."""
        return [one for one in self.answers if isinstance(one, Curtailed)]

    @property
    def is_stopped(self) -> bool:
        """Whether the operator has stopped the MTU."""
        return any(isinstance(one, Stopped) for one in self.answers)

    def outcome_after(self, block_number: int, time_s: int, *, proceed_without_answer: bool) -> Outcome:
        """What holds after a block: a stop before caps, caps before an acknowledgement, else the policy's default."""
        if self.schedule is None or self.schedule.block_number > block_number:
            return Outcome.OPEN
        given = [one for one in self.answers if one.block_number <= block_number]
        if any(isinstance(one, Stopped) for one in given):
            return Outcome.VOID
        if any(isinstance(one, Curtailed) for one in given):
            return Outcome.CURTAILED
        if given:
            return Outcome.PROCEEDS
        if time_s <= self.schedule.answer_deadline:
            return Outcome.OPEN
        return Outcome.PROCEEDS if proceed_without_answer else Outcome.VOID
