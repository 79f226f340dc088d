"""Building blocks of the standard's objects (OpenADR 3.1.0 YAML), strict: a number in quotes is no number.

Two liberties, both with what the standard's own clients send: null where the YAML only lets a field be left out means
the same, and a whole number may be written with a fraction of zero. What the YAML does not describe is ignored. The
YAML sets few upper limits; those on lists are the node's.
"""

import re
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field

__all__ = [
    "DateTime",
    "Duration",
    "EventPayloadDescriptor",
    "Id",
    "Interval",
    "IntervalPeriod",
    "Name",
    "OptionalTargets",
    "Part",
    "PayloadDescriptor",
    "ReportDescriptor",
    "ReportPayloadDescriptor",
    "Uri",
    "ValuesMap",
    "WholeNumber",
]

LARGEST_INT32 = 2**31 - 1
MOST_ITEMS = 10_000
MOST_TARGETS = 1_000
LONGEST_TEXT = 4_096
_NOW = ("0001-01-01", "0001-01-01T00:00:00")
_RFC3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d+)?([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)"
)
_DURATION = re.compile(
    r"(-?)P(?=\d|T\d)(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)([DW]))?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?", re.ASCII
)
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:(?:[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})*")


def _check_date_time(text: str) -> str:
    """RFC 3339, or one of the words for "now". Raises ValueError."""
    if text not in _NOW:
        if not _RFC3339.fullmatch(text):
            raise ValueError("not an RFC 3339 date and time")
        datetime.fromisoformat(f"{text[:10]}T{text[11:17]}00Z")
    return text


def _check_duration(text: str) -> str:
    if not _DURATION.fullmatch(text):
        raise ValueError("not an ISO 8601 duration")
    return text


def _check_uri(text: str) -> str:
    if not _URI.fullmatch(text):
        raise ValueError("not a URI")
    return text


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


Name = Annotated[str, Field(min_length=1, max_length=128)]
Text = Annotated[str, Field(max_length=LONGEST_TEXT)]
Id = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[a-zA-Z0-9_-]*$")]
DateTime = Annotated[str, Field(max_length=128), AfterValidator(_check_date_time)]
Duration = Annotated[str, Field(max_length=128), AfterValidator(_check_duration)]
Uri = Annotated[str, Field(min_length=2, max_length=8_000), AfterValidator(_check_uri)]
WholeNumber = Annotated[int, BeforeValidator(_whole)]
Int32 = Annotated[WholeNumber, Field(ge=-LARGEST_INT32 - 1, le=LARGEST_INT32)]
OptionalTargets = Annotated[list[Name] | None, Field(max_length=MOST_TARGETS)]


class Part(BaseModel):
    """Base of all objects and parts; fields have the standard's names as aliases."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False, frozen=True)


class Point(Part):
    """A pair of numbers."""

    x: float
    y: float


class ValuesMap(Part):
    """Values of a type, most often one."""

    type: Name
    values: list[bool | int | float | Text | Point] = Field(max_length=MOST_ITEMS)


class IntervalPeriod(Part):
    """When something begins and how long it lasts."""

    start: DateTime | None = None
    duration: Duration | None = None
    randomize_start: Duration | None = Field(default=None, alias="randomizeStart")


class Interval(Part):
    """Values of a span of time."""

    id: Int32
    interval_period: IntervalPeriod | None = Field(default=None, alias="intervalPeriod")
    payloads: list[ValuesMap] = Field(max_length=MOST_ITEMS)


class EventPayloadDescriptor(Part):
    """How an event's values are to be read."""

    object_type: Literal["EVENT_PAYLOAD_DESCRIPTOR"] = Field(alias="objectType")
    payload_type: Name = Field(alias="payloadType")
    units: Name | None = None
    currency: Text | None = None


class ReportPayloadDescriptor(Part):
    """How a report's values are to be read."""

    object_type: Literal["REPORT_PAYLOAD_DESCRIPTOR"] = Field(alias="objectType")
    payload_type: Name = Field(alias="payloadType")
    reading_type: Name | None = Field(default=None, alias="readingType")
    units: Name | None = None
    accuracy: float | None = None
    confidence: Annotated[WholeNumber, Field(ge=0, le=100)] | None = None


PayloadDescriptor = Annotated[EventPayloadDescriptor | ReportPayloadDescriptor, Discriminator("object_type")]


class ReportDescriptor(Part):
    """A report that is asked for."""

    payload_type: Name = Field(alias="payloadType")
    reading_type: Name | None = Field(default=None, alias="readingType")
    units: Name | None = None
    targets: OptionalTargets = None
    aggregate: bool | None = None
    start_interval: Int32 | None = Field(default=None, alias="startInterval")
    num_intervals: Int32 | None = Field(default=None, alias="numIntervals")
    historical: bool | None = None
    frequency: Int32 | None = None
    repeat: Int32 | None = None
    report_intervals: Literal["INTERVALS", "SUB_INTERVALS", "OPEN_INTERVALS"] | None = Field(
        default=None, alias="reportIntervals"
    )
