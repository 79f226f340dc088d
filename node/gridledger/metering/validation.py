"""What a genuine reading must satisfy to be settled. Pure: the present moment and the MTU length are arguments."""

from gridledger.metering.errors import AboveCapacity, IntervalLengthRefused, ReadingInFuture, ReadingTooOld
from gridledger.metering.model import MeterFacts, Reading
from gridledger.units import require_aligned

__all__ = ["GREATEST_AGE_S", "capacity_wh_rounded_up", "check_moment", "check_reading", "same_values"]

GREATEST_AGE_S = 7 * 86_400
SECONDS_PER_HOUR = 3600


def check_reading(reading: Reading, facts: MeterFacts, *, now: int, mtu_length_s: int) -> None:
    """Check one reading against its meter, the moment (Unix seconds) and the MTU length.

    Raises, first reason found: IntervalLengthRefused, UnalignedMtu, ReadingInFuture (the interval ends after now),
    ReadingTooOld (it ended more than seven days ago), AboveCapacity (import, then export).
    """
    if reading.interval_s != mtu_length_s:
        raise IntervalLengthRefused(interval_s=reading.interval_s, mtu_length_s=mtu_length_s)
    require_aligned(reading.mtu_start, mtu_length_s)
    check_moment(reading.interval_end, now=now, mtu_length_s=mtu_length_s)
    _require_capacity(reading, "import", reading.import_wh, facts.import_capacity_w)
    _require_capacity(reading, "export", reading.export_wh, facts.export_capacity_w)


def check_moment(moment: int, *, now: int, mtu_length_s: int) -> None:
    """Check when something was measured: where MTUs meet, not after now and not too long ago, all in Unix seconds.

    Raises UnalignedMtu, ReadingInFuture, ReadingTooOld.
    """
    require_aligned(moment, mtu_length_s)
    if moment > now:
        raise ReadingInFuture(interval_end=moment, now=now)
    if now - moment > GREATEST_AGE_S:
        raise ReadingTooOld(interval_end=moment, now=now, greatest_age_s=GREATEST_AGE_S)


def capacity_wh_rounded_up(capacity_w: int, interval_s: int) -> int:
    """The most energy a connection carries in an interval: W x s / 3600, rounded up to whole Wh."""
    return -(-capacity_w * interval_s // SECONDS_PER_HOUR)


def same_values(one: Reading, other: Reading) -> bool:
    """Whether two readings say the same; their texts may differ, as a device may sign the same values twice."""
    return one == other


def _require_capacity(reading: Reading, register: str, energy_wh: int, capacity_w: int) -> None:
    capacity_wh = capacity_wh_rounded_up(capacity_w, reading.interval_s)
    if energy_wh > capacity_wh:
        raise AboveCapacity(meter=reading.meter, register=register, energy_wh=energy_wh, capacity_wh=capacity_wh)
