"""Energy a meter shifted out of a peak or into a trough, as measured: what an incentive for peak shifting rests on."""

from dataclasses import dataclass
from typing import Protocol

__all__ = ["PeakShift", "PeakShifts"]


@dataclass(frozen=True, kw_only=True, slots=True)
class PeakShift:
    """What one meter shifted in one MTU of a demand response event, Wh, more than 0, by the newest measurement.

    `number` counts the measurements of the meter and event from 1: a correction is a higher one, never an edit.
    """

    meter: int
    mtu_start: int
    energy_wh: int
    event_id: str
    number: int


class PeakShifts(Protocol):
    """Measured shifts of one transaction."""

    def peak_shifts(self, event_id: str) -> tuple[PeakShift, ...]:
        """What the meters shifted in an event, by the newest measurement of each, in (meter, MTU) order."""
