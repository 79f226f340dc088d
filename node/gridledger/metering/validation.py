"""What a genuine reading must satisfy to be settled. Pure: the present moment and the MTU length are arguments."""

from gridledger.metering.errors import AboveCapacity, ReadingInFuture, ReadingTooOld
from gridledger.metering.lengths import require_dividing
from gridledger.metering.model import MeterFacts, Reading
from gridledger.units import require_aligned

__all__ = ["GREATEST_AGE_S", "capacity_wh_rounded_up", "check_energy", "check_moment", "check_reading", "same_values"]

GREATEST_AGE_S = 7 * 86_400
SECONDS_PER_HOUR = 3600


def check_reading(reading: Reading, facts: MeterFacts, *, now: int, mtu_length_s: int) -> None:
    """Check one reading of an MTU, or of a longer or shorter interval that divides evenly, against its meter.

    It begins at a multiple of its own length. `now` in Unix seconds. Raises, first reason found:
    IntervalLengthRefused, UnalignedMtu, ReadingInFuture (the interval ends after now), ReadingTooOld (it ended more
    than seven days ago), AboveCapacity (import, then export).
    """
    length_s = require_dividing(reading.interval_s, mtu_length_s)
    require_aligned(reading.mtu_start, length_s)
    check_moment(reading.interval_end, now=now, mtu_length_s=length_s)
    check_energy(facts, length_s, import_wh=reading.import_wh, export_wh=reading.export_wh)


def check_energy(facts: MeterFacts, duration_s: int, *, import_wh: int, export_wh: int) -> None:
    """Check energies of a stretch of time against the meter's connection. Raises AboveCapacity."""
    for register, energy_wh, capacity_w in (
        ("import", import_wh, facts.import_capacity_w),
        ("export", export_wh, facts.export_capacity_w),
    ):
        capacity_wh = capacity_wh_rounded_up(capacity_w, duration_s)
        if energy_wh > capacity_wh:
            raise AboveCapacity(meter=facts.meter, register=register, energy_wh=energy_wh, capacity_wh=capacity_wh)


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
