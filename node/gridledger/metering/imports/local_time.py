"""Local civil times of a file's rows as moments: by the zone's rules, and in the repeated hour by the order of rows.

When clocks go back, the labels of an hour come twice. Such rows are told apart by the one step back of their labels:
before it stand those of the first pass, from it on those of the second. Without that one step nobody can tell, and the
rows are refused as ambiguous. Labels that clocks skip when they go forward are refused as non-existent.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import pairwise
from typing import Literal, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from gridledger.metering.imports.errors import UnknownTimeZone
from gridledger.metering.imports.tables import RowRefused, shown

__all__ = ["checked_year", "moments_of", "time_zone"]

FIRST_YEAR, LAST_YEAR = 1971, 9998  # a day's distance from what a moment can be, whatever the zone
MOST_HELD = 256  # the labels of an hour, twice, leave room for rows of half a minute

Row = TypeVar("Row")
Label = tuple[Row, datetime | RowRefused]


def time_zone(name: str) -> ZoneInfo:
    """The zone of a name such as Europe/Berlin. Raises UnknownTimeZone."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UnknownTimeZone(name=name[:60]) from None


def checked_year(text: str, label: datetime) -> datetime:
    """Return a label of the years 1971 to 9998. Raises RowRefused (bad-time)."""
    if not FIRST_YEAR <= label.year <= LAST_YEAR:
        raise RowRefused("bad-time", f"{shown(text)} is not a time of {FIRST_YEAR} to {LAST_YEAR}", text)
    return label


def moments_of(rows: Iterable[Label[Row]], zone: ZoneInfo) -> Iterator[tuple[Row, int | RowRefused]]:
    """Each row with the Unix seconds of its label, or why it has none; in the order of the rows.

    Rows of the repeated hour wait for the first that is not of it, up to 256 of them.
    """
    held: list[Label[Row]] = []
    for row, label in rows:
        moments = () if isinstance(label, RowRefused) else _moments(label, zone)
        waits = len(moments) == 2 or (bool(held) and isinstance(label, RowRefused))
        if not waits or len(held) >= MOST_HELD:
            yield from _told_apart(held, zone)
            held = []
        if waits:
            held.append((row, label))
        elif isinstance(label, RowRefused):
            yield row, label
        else:
            yield row, moments[0] if moments else _refused("nonexistent-local-time", label, zone)
    yield from _told_apart(held, zone)


def _told_apart(held: list[Label[Row]], zone: ZoneInfo) -> Iterator[tuple[Row, int | RowRefused]]:
    labels = [label for _, label in held if isinstance(label, datetime)]
    resolvable = sum(after <= before for before, after in pairwise(labels)) == 1
    second_pass, before = 0, None
    for row, label in held:
        if isinstance(label, RowRefused):
            yield row, label
            continue
        if before is not None and label <= before:
            second_pass = 1
        before = label
        moments = _moments(label, zone)
        yield row, moments[second_pass] if resolvable else _refused("ambiguous-local-time", label, zone)


def _moments(label: datetime, zone: ZoneInfo) -> tuple[int, ...]:
    """The moments clocks show this label at: none, one or two, ascending."""
    passes = (label.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    return tuple(
        sorted({int(one.timestamp()) for one in passes if one.astimezone(zone).replace(tzinfo=None, fold=0) == label})
    )


def _refused(
    reason: Literal["ambiguous-local-time", "nonexistent-local-time"], label: datetime, zone: ZoneInfo
) -> RowRefused:
    text = label.isoformat(sep=" ")
    how = "twice, and the order of rows does not tell which" if reason == "ambiguous-local-time" else "never"
    return RowRefused(reason, f"clocks of {zone.key} show {text} {how}", text)
