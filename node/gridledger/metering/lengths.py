"""Intervals of another length than the MTU: shorter ones add up to one, longer ones are split. Pure, exact integers."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from gridledger.metering.errors import IntervalLengthRefused, SerialChanged
from gridledger.metering.model import Reading
from gridledger.units import MTU_LENGTHS_S

__all__ = ["mtus_of", "require_dividing", "shares_by_cumulative_floor", "split_reading", "sum_reading"]


def require_dividing(interval_s: int, mtu_length_s: int) -> int:
    """Return an interval's length if it is the MTU's, or a usual one that divides it or that it divides.

    Raises IntervalLengthRefused.
    """
    usual = interval_s in MTU_LENGTHS_S and not (mtu_length_s % interval_s and interval_s % mtu_length_s)
    if interval_s != mtu_length_s and not usual:
        raise IntervalLengthRefused(interval_s=interval_s, mtu_length_s=mtu_length_s)
    return interval_s


def mtus_of(reading: Reading, mtu_length_s: int) -> tuple[int, ...]:
    """Starts of the MTUs that an interval of a dividing length covers or lies in."""
    first = reading.mtu_start - reading.mtu_start % mtu_length_s
    return tuple(range(first, reading.interval_end, mtu_length_s))


def shares_by_cumulative_floor(energy_wh: int, count: int) -> tuple[int, ...]:
    """As equal whole shares of an energy as there are: what is due up to each share is rounded down.

    They add up to the energy exactly; no two differ by more than 1 Wh. An energy within a connection's capacity,
    rounded up, makes shares within theirs. energy_wh >= 0, count >= 1.
    """
    due = [energy_wh * number // count for number in range(count + 1)]
    return tuple(until - before for before, until in pairwise(due))


def split_reading(reading: Reading, mtu_length_s: int) -> tuple[Reading, ...]:
    """The readings of the MTUs in a longer interval; one of an MTU's length stays as it is."""
    if reading.interval_s == mtu_length_s:
        return (reading,)
    starts = mtus_of(reading, mtu_length_s)
    imports = shares_by_cumulative_floor(reading.import_wh, len(starts))
    exports = shares_by_cumulative_floor(reading.export_wh, len(starts))
    return tuple(
        replace(reading, mtu_start=start, interval_s=mtu_length_s, import_wh=import_wh, export_wh=export_wh)
        for start, import_wh, export_wh in zip(starts, imports, exports, strict=True)
    )


def sum_reading(parts: Sequence[Reading]) -> Reading:
    """The reading of adjoining intervals of one meter, in order, with the last one's counter. Raises SerialChanged."""
    first, last = parts[0], parts[-1]
    for part in parts:
        if part.meter_id != first.meter_id:
            raise SerialChanged(meter=part.meter, known=first.meter_id, found=part.meter_id)
    return replace(
        last,
        mtu_start=first.mtu_start,
        interval_s=last.interval_end - first.mtu_start,
        import_wh=sum(part.import_wh for part in parts),
        export_wh=sum(part.export_wh for part in parts),
    )
