"""What clients may send: the standard's request objects (OpenADR 3.1.0 YAML), read strictly from JSON."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, TypeAdapter, ValidationError

from gridledger.errors import InvalidInput
from gridledger.openadr.parts import (
    MOST_ITEMS,
    Duration,
    EventPayloadDescriptor,
    Id,
    Interval,
    IntervalPeriod,
    Name,
    OptionalTargets,
    Part,
    PayloadDescriptor,
    ReportDescriptor,
    ReportPayloadDescriptor,
    Text,
    Uri,
    ValuesMap,
    WholeNumber,
)
from gridledger.store.openadr_model import ObjectKind

__all__ = ["AdrRequestMalformed", "content_of"]

_MOST_REASONS = 20

Attributes = Annotated[list[ValuesMap] | None, Field(max_length=MOST_ITEMS)]
ObjectWord = Literal["PROGRAM", "EVENT", "REPORT", "SUBSCRIPTION", "VEN", "RESOURCE"]
# The YAML's words, and those of 3.0, which clients of 3.1 still use.
OperationWord = Literal["READ", "CREATE", "UPDATE", "DELETE", "GET", "POST", "PUT"]


@dataclass(kw_only=True, eq=False)
class AdrRequestMalformed(InvalidInput):
    """The request does not have the form that the OpenADR 3.1.0 specification describes."""

    problems: tuple[str, ...]


class ProgramDescription(Part):
    """Where a program is described."""

    url: Uri = Field(alias="URL")


class ProgramRequest(Part):
    """A program."""

    program_name: Name = Field(alias="programName")
    interval_period: IntervalPeriod | None = Field(default=None, alias="intervalPeriod")
    program_descriptions: list[ProgramDescription] | None = Field(
        default=None, alias="programDescriptions", max_length=MOST_ITEMS
    )
    payload_descriptors: list[PayloadDescriptor] | None = Field(
        default=None, alias="payloadDescriptors", max_length=MOST_ITEMS
    )
    attributes: Attributes = None
    targets: OptionalTargets = None


class EventRequest(Part):
    """An event."""

    program_id: Id = Field(alias="programID")
    event_name: Text | None = Field(default=None, alias="eventName")
    duration: Duration | None = None
    priority: Annotated[WholeNumber, Field(ge=0)] | None = None
    targets: OptionalTargets = None
    report_descriptors: list[ReportDescriptor] | None = Field(
        default=None, alias="reportDescriptors", max_length=MOST_ITEMS
    )
    payload_descriptors: list[EventPayloadDescriptor] | None = Field(
        default=None, alias="payloadDescriptors", max_length=MOST_ITEMS
    )
    interval_period: IntervalPeriod | None = Field(default=None, alias="intervalPeriod")
    intervals: list[Interval] | None = Field(default=None, max_length=MOST_ITEMS)


class ReportResource(Part):
    """What is reported of a resource."""

    resource_name: Name = Field(alias="resourceName")
    interval_period: IntervalPeriod | None = Field(default=None, alias="intervalPeriod")
    intervals: list[Interval] = Field(max_length=MOST_ITEMS)


class ReportRequest(Part):
    """A report."""

    event_id: Id = Field(alias="eventID")
    client_name: Name = Field(alias="clientName")
    report_name: Text | None = Field(default=None, alias="reportName")
    payload_descriptors: list[ReportPayloadDescriptor] | None = Field(
        default=None, alias="payloadDescriptors", max_length=MOST_ITEMS
    )
    resources: list[ReportResource] = Field(max_length=MOST_ITEMS)


class ObjectOperation(Part):
    """What a subscription calls where for."""

    objects: list[ObjectWord] = Field(max_length=MOST_ITEMS)
    operations: list[OperationWord] = Field(max_length=MOST_ITEMS)
    callback_url: Uri = Field(alias="callbackUrl")
    bearer_token: Text | None = Field(default=None, alias="bearerToken")


class SubscriptionRequest(Part):
    """A subscription."""

    client_name: Name = Field(alias="clientName")
    program_id: Id | None = Field(default=None, alias="programID")
    object_operations: list[ObjectOperation] = Field(alias="objectOperations", max_length=MOST_ITEMS)
    targets: OptionalTargets = None


class VenVenRequest(Part):
    """A ven as it describes itself."""

    object_type: Literal["VEN_VEN_REQUEST"] = Field(alias="objectType")
    ven_name: Name = Field(alias="venName")
    attributes: Attributes = None


class BlVenRequest(Part):
    """A ven as business logic provides it."""

    object_type: Literal["BL_VEN_REQUEST"] = Field(alias="objectType")
    client_id: Name = Field(alias="clientID")
    ven_name: Name = Field(alias="venName")
    targets: OptionalTargets = None
    attributes: Attributes = None


class VenResourceRequest(Part):
    """A resource as its ven describes it."""

    object_type: Literal["VEN_RESOURCE_REQUEST"] = Field(alias="objectType")
    resource_name: Name = Field(alias="resourceName")
    ven_id: Id = Field(alias="venID")
    attributes: Attributes = None


class BlResourceRequest(Part):
    """A resource as business logic provides it."""

    object_type: Literal["BL_RESOURCE_REQUEST"] = Field(alias="objectType")
    client_id: Name = Field(alias="clientID")
    resource_name: Name = Field(alias="resourceName")
    ven_id: Id = Field(alias="venID")
    targets: OptionalTargets = None
    attributes: Attributes = None


_REQUESTS: dict[ObjectKind, TypeAdapter[Any]] = {
    ObjectKind.PROGRAM: TypeAdapter(ProgramRequest),
    ObjectKind.EVENT: TypeAdapter(EventRequest),
    ObjectKind.REPORT: TypeAdapter(ReportRequest),
    ObjectKind.SUBSCRIPTION: TypeAdapter(SubscriptionRequest),
    ObjectKind.VEN: TypeAdapter(Annotated[VenVenRequest | BlVenRequest, Discriminator("object_type")]),
    ObjectKind.RESOURCE: TypeAdapter(Annotated[VenResourceRequest | BlResourceRequest, Discriminator("object_type")]),
}


def content_of(kind: ObjectKind, body: bytes) -> dict[str, Any]:
    """The content by the standard's names, without what is null or not described. Raises AdrRequestMalformed."""
    try:
        parsed = _REQUESTS[kind].validate_json(body)
    except ValidationError as error:
        raise AdrRequestMalformed(problems=_reasons(error)) from None
    content: dict[str, Any] = parsed.model_dump(mode="json", by_alias=True, exclude_none=True)
    return content


def _reasons(error: ValidationError) -> tuple[str, ...]:
    """Where and why; never what was sent, which may be a secret."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return tuple(f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in found[:_MOST_REASONS])
