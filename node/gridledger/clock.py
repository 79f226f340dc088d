"""Time as an argument: rooms ask a clock, tests and replays move it. Civil time: the same hour of another day."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from gridledger.errors import Conflict, InvalidInput

__all__ = [
    "CivilTimeUnknown",
    "Clock",
    "ClockMovedBackwards",
    "ManualClock",
    "SystemClock",
    "civil_time_named",
    "days_before",
]

_SHOWN_CHARACTERS = 60


@dataclass(kw_only=True, eq=False)
class CivilTimeUnknown(InvalidInput):
    """The civil time must be a time zone that this machine knows, such as Europe/Berlin."""

    name: str


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


def civil_time_named(name: str) -> tzinfo:
    """The civil time of a name of the time zone database; UTC needs none. Raises CivilTimeUnknown."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise CivilTimeUnknown(name=name[:_SHOWN_CHARACTERS]) from None


def days_before(moment: int, days: int, civil_time: tzinfo) -> int | None:
    """The same civil time that many days earlier, Unix seconds; None on a day whose clocks leave that time out."""
    here = datetime.fromtimestamp(moment, civil_time)
    there = datetime.combine(here.date() - timedelta(days=days), here.timetz()).replace(fold=here.fold)
    found = int(there.timestamp())
    return found if datetime.fromtimestamp(found, civil_time).time() == here.time() else None
