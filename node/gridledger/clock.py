"""Time as an argument: rooms ask a clock, tests and replays move it."""

import time
from dataclasses import dataclass
from typing import Protocol

from gridledger.errors import Conflict

__all__ = ["Clock", "ClockMovedBackwards", "ManualClock", "SystemClock"]


@dataclass(kw_only=True, eq=False)
class ClockMovedBackwards(Conflict):
    """A simulated clock never runs backwards."""

    now: int
    requested: int


class Clock(Protocol):
    """Source of the present moment."""

    def now(self) -> int:
        """Unix seconds, UTC."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> int:
        """Unix seconds, UTC."""
        return int(time.time())


class ManualClock:
    """A clock that stands still until it is moved forward."""

    def __init__(self, now: int) -> None:
        self._now = now

    def now(self) -> int:
        """Unix seconds, UTC."""
        return self._now

    def move_to(self, moment: int) -> None:
        """Move forward to `moment` (Unix seconds). Raises ClockMovedBackwards."""
        if moment < self._now:
            raise ClockMovedBackwards(now=self._now, requested=moment)
        self._now = moment
