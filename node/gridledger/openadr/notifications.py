"""What a subscription is told of a change: nothing its client may not read, and of the rest what it has asked for.

Source: OpenADR 3.1.0 Definition, object privacy and targeting; `notification` in its OpenAPI document.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gridledger.store.openadr_model import Notification, ObjectKind

__all__ = ["Reader", "Wish", "notification_document", "wishes_of"]

_PUBLIC_KINDS = (ObjectKind.PROGRAM, ObjectKind.EVENT)
_METHODS = {"POST": "CREATE", "PUT": "UPDATE"}

Document = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Reader:
    """Who is told: business logic sees everything, a ven its own and what its targets, or none, are on."""

    client_id: str
    sees_all: bool
    granted: frozenset[str] = frozenset()

    def sees(self, notification: Notification) -> bool:
        """Whether the changed object may be read."""
        if self.sees_all:
            return True
        if notification.kind not in _PUBLIC_KINDS:
            return notification.client_id == self.client_id
        return not notification.targets or not self.granted.isdisjoint(notification.targets)

    def visible(self, targets: tuple[str, ...]) -> list[str]:
        """The targets that are not hidden from it."""
        return [target for target in targets if self.sees_all or target in self.granted]


@dataclass(frozen=True, kw_only=True)
class Wish:
    """One of a subscription's object operations: what is to be told, and where."""

    kinds: frozenset[str]
    operations: frozenset[str]
    callback_url: str
    program_id: str | None
    targets: frozenset[str]

    def covers(self, notification: Notification) -> bool:
        """Whether the change is one of those asked for."""
        return (
            notification.kind in self.kinds
            and notification.operation in self.operations
            and self.program_id in (None, notification.program_id)
            and self.targets.issubset(notification.targets)
        )


def wishes_of(subscription: Mapping[str, Any]) -> tuple[Wish, ...]:
    """The object operations of a subscription, in their order; the names of HTTP's methods count as operations."""
    return tuple(
        Wish(
            kinds=frozenset(part["objects"]),
            operations=frozenset(_METHODS.get(operation, operation) for operation in part["operations"]),
            callback_url=part["callbackUrl"],
            program_id=subscription.get("programID"),
            targets=frozenset(subscription.get("targets") or ()),
        )
        for part in subscription["objectOperations"]
    )


def notification_document(notification: Notification, reader: Reader | None = None) -> Document:
    """The standard's notification; without a reader for everybody who may see the object."""
    targets = list(notification.targets) if reader is None else reader.visible(notification.targets)
    changed = dict(notification.object)
    if notification.kind in _PUBLIC_KINDS and "targets" in changed:
        changed["targets"] = targets
    document: Document = {
        "objectType": str(notification.kind),
        "operation": str(notification.operation),
        "object": changed,
    }
    return document | {"targets": targets} if targets else document
