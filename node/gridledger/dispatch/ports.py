"""What the dispatch room needs from outside."""

from dataclasses import dataclass
from typing import Protocol

from gridledger.dispatch.model import Answer, Schedule

__all__ = ["DispatchLedger", "RelayAnswer", "ScheduleStore", "SetpointSalts"]


@dataclass(frozen=True, kw_only=True)
class RelayAnswer:
    """Relay an answer the grid operator has signed; the signature is 65 bytes r, s, v."""

    zone: int
    mtu_start: int
    answer: Answer
    reason: int
    signature: bytes


class DispatchLedger(Protocol):
    """The way to the dispatching contract."""

    def submit(self, command: RelayAnswer) -> None:
        """Keep the command for sending."""


class ScheduleStore(Protocol):
    """Schedules as the chain records them."""

    def find(self, zone: int, mtu_start: int) -> Schedule | None:
        """The schedule of a zone and MTU."""

    def answer_is_pending(self, zone: int, mtu_start: int) -> bool:
        """Whether an answer is already on its way to the chain."""

    def mark_answered(self, zone: int, mtu_start: int) -> None:
        """Remember that an answer is on its way to the chain."""

    def grid_operator_of(self, zone: int) -> str:
        """The account that answers for the zone."""


class SetpointSalts(Protocol):
    """Where the salts of setpoints come from."""

    def salt_for(self, zone: int, mtu_start: int, meter: int) -> bytes:
        """32 bytes; zone and meter uint32, `mtu_start` in Unix seconds."""
