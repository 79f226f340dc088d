"""What the database looks OpenADR objects up by, taken from their content."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import isodate

__all__ = ["content_columns", "content_targets"]

_NOW = "0001-01-01"  # a start that means "now" (OpenADR 3.1 User Guide)
_NAME_FIELDS = {"PROGRAM": "programName", "VEN": "venName", "RESOURCE": "resourceName"}


def content_targets(content: Mapping[str, Any]) -> tuple[str, ...]:
    """The object's targets, each once, in its order."""
    return tuple(dict.fromkeys(content.get("targets") or ()))


def content_columns(kind: str, content: Mapping[str, Any], created_at: int) -> dict[str, Any]:
    """Columns of `openadr_object` that follow from the content; times in Unix seconds."""
    name = content.get(_NAME_FIELDS.get(kind, ""))
    ven_id = content.get("venID")
    return {
        "name": name,
        "unique_name": name if kind != "RESOURCE" else f"{ven_id}/{name}",
        "client_name": content.get("clientName"),
        "program_id": content.get("programID"),
        "event_id": content.get("eventID"),
        "ven_id": ven_id,
        "subscribed": _subscribed(content) if kind == "SUBSCRIPTION" else None,
        "ends_at": _event_end(content, created_at) if kind == "EVENT" else None,
    }


def _subscribed(content: Mapping[str, Any]) -> str:
    kinds = {kind for part in content["objectOperations"] for kind in part["objects"]}
    return "," + "".join(f"{kind}," for kind in sorted(kinds))


def _event_end(content: Mapping[str, Any], created_at: int) -> int | None:
    """When an event has transpired, Unix seconds rounded up; None if it says no end or one beyond the calendar."""
    period = content.get("intervalPeriod") or {}
    try:
        start = _start(period, created_at)
        if content.get("duration"):
            return _seconds(_after(start, (content["duration"], period.get("randomizeStart"))))
        ends = list(_interval_ends(content.get("intervals") or (), period, start, created_at))
        if not ends and period.get("duration"):
            ends.append(_after(start, (period["duration"], period.get("randomizeStart"))))
    except (OverflowError, ValueError):
        return None
    return _seconds(max(ends)) if ends else None


def _interval_ends(
    intervals: Sequence[Mapping[str, Any]], default: Mapping[str, Any], start: datetime, created_at: int
) -> Iterable[datetime]:
    """The end of each interval that says one; those without a start of their own follow upon the one before."""
    for interval in intervals:
        own = interval.get("intervalPeriod") or {}
        duration = own.get("duration") or default.get("duration")
        if own.get("start"):
            start = _start(own, created_at)
        if duration:
            end = _after(start, (duration,))
            yield _after(end, (own.get("randomizeStart") or default.get("randomizeStart"),))
            start = end


def _start(period: Mapping[str, Any], created_at: int) -> datetime:
    text = period.get("start")
    if text is None or text.startswith(_NOW):
        return datetime.fromtimestamp(created_at, UTC)
    start: datetime = isodate.parse_datetime(text.upper())
    return start if start.tzinfo else start.replace(tzinfo=UTC)


def _after(start: datetime, durations: Iterable[str | None]) -> datetime:
    """A moment and durations later; never before the moment. Raises OverflowError, ValueError."""
    end = start
    for text in filter(None, durations):
        duration = isodate.parse_duration(text, as_timedelta_if_possible=False)
        end = max(end, end + duration.totimedelta(start=end))
    return end


def _seconds(moment: datetime) -> int:
    return -((datetime.fromtimestamp(0, UTC) - moment) // timedelta(seconds=1))
