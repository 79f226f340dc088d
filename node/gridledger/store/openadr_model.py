"""OpenADR objects, queries and notifications as the store hands them out; contents are the standard's JSON."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from gridledger.errors import Conflict, NotFound
from gridledger.store.openadr_columns import content_targets
from gridledger.units import format_utc

__all__ = [
    "Notification",
    "ObjectKind",
    "ObjectMissing",
    "ObjectNameTaken",
    "ObjectQuery",
    "OpenAdrObject",
    "Operation",
    "ParentMissing",
    "TooManyObjects",
]


class ObjectKind(StrEnum):
    """The standard's `objectTypes`."""

    PROGRAM = "PROGRAM"
    EVENT = "EVENT"
    REPORT = "REPORT"
    SUBSCRIPTION = "SUBSCRIPTION"
    VEN = "VEN"
    RESOURCE = "RESOURCE"


_HIDING = (ObjectKind.PROGRAM, ObjectKind.EVENT)


class Operation(StrEnum):
    """What was done to an object."""

    CREATE = "CREATE"
    UPDATE = "UPDATE"
    DELETE = "DELETE"


@dataclass(kw_only=True, eq=False)
class ObjectMissing(NotFound):
    """There is no such object, or not for this client."""

    kind: str
    object_id: str


@dataclass(kw_only=True, eq=False)
class ParentMissing(Conflict):
    """The object refers to one that does not exist."""

    kind: str
    object_id: str


@dataclass(kw_only=True, eq=False)
class ObjectNameTaken(Conflict):
    """Another object of this kind has this name."""

    kind: str
    name: str


@dataclass(kw_only=True, eq=False)
class TooManyObjects(Conflict):
    """The client has as many objects of this kind as it may have: delete one first."""

    kind: str
    most: int


@dataclass(frozen=True, kw_only=True)
class OpenAdrObject:
    """An object: `content` is the request's representation without metadata, and never holds a bearer token.

    `client_id` is who made it, or whom a ven or resource belongs to; None for the node itself. `sealed_tokens` are a
    subscription's bearer tokens, sealed by `webhooks.sealing`: a JSON list in the order of its objectOperations, null
    where there is none. Times in Unix seconds by the node's clock.
    """

    id: str
    kind: ObjectKind
    client_id: str | None
    content: Mapping[str, Any]
    created_at: int
    modified_at: int
    sealed_tokens: bytes | None = None

    @property
    def targets(self) -> tuple[str, ...]:
        """The object's targets, each once."""
        return content_targets(self.content)

    def document(self, granted: Collection[str] | None = None) -> dict[str, Any]:
        """The standard's representation of the object, with its metadata; `granted` as in `narrowed`."""
        if granted is not None:
            return self.narrowed(granted).document()
        public = self.kind in _HIDING or self.client_id is None
        return {
            **self.content,
            **({} if public else {"clientID": self.client_id}),
            "id": self.id,
            "createdDateTime": format_utc(self.created_at),
            "modificationDateTime": format_utc(self.modified_at),
            "objectType": str(self.kind),
        }

    def narrowed(self, granted: Collection[str]) -> "OpenAdrObject":
        """The object as a ven may see it: of a program's or event's targets only those granted (target hiding)."""
        if self.kind not in _HIDING or "targets" not in self.content:
            return self
        return replace(
            self, content={**self.content, "targets": [target for target in self.targets if target in granted]}
        )


@dataclass(frozen=True, kw_only=True)
class Notification:
    """A change to tell; `object` is the standard's representation. Ids ascend with the commits, none is used again.

    `client_id` is the object's, `program_id` that of a program or of the program it belongs to.
    """

    id: int
    kind: ObjectKind
    operation: Operation
    object_id: str
    client_id: str | None
    program_id: str | None
    object: Mapping[str, Any]
    targets: tuple[str, ...]
    created_at: int


@dataclass(frozen=True, kw_only=True)
class ObjectQuery:
    """Which objects of a kind are asked for; every condition that is given must hold.

    `granted` are the reader's targets: only objects without targets or with one of these are found; None means all.
    `targets`: only objects with all of these. `active_at`: only events that have not ended by then, Unix seconds.
    """

    kind: ObjectKind
    object_id: str | None = None
    client_id: str | None = None
    granted: frozenset[str] | None = None
    targets: tuple[str, ...] = ()
    name: str | None = None
    client_name: str | None = None
    program_id: str | None = None
    event_id: str | None = None
    ven_id: str | None = None
    subscribed: tuple[ObjectKind, ...] = ()
    active_at: int | None = None
    skip: int = 0
    limit: int = 50
