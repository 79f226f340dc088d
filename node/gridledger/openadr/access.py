"""What a client may see and change (OpenADR 3.1.0 Definition, "Object Privacy").

Business logic sees everything. A ven sees programs and events that have no targets or one that was granted to it, and
vens, resources, reports and subscriptions of its own. What a client may not see does not exist for it.

One step beyond the Definition, as clients in use expect it: a ven that asks for no targets asks for all of its own.
"""

from dataclasses import dataclass, replace
from typing import Any

from gridledger.errors import Conflict, Forbidden
from gridledger.openadr.scopes import Caller
from gridledger.store.openadr_clients import ClientRole
from gridledger.store.openadr_model import (
    ObjectKind,
    ObjectMissing,
    ObjectQuery,
    OpenAdrObject,
    ParentMissing,
)
from gridledger.store.transaction import Transaction

__all__ = ["Access", "BusinessLogicOnly", "ClientMismatch", "NodeOwned", "NotTheOwner", "Written"]

_PUBLIC = (ObjectKind.PROGRAM, ObjectKind.EVENT)


@dataclass(kw_only=True, eq=False)
class BusinessLogicOnly(Forbidden):
    """Only business logic may say whose a ven or resource is, and grant targets."""


@dataclass(kw_only=True, eq=False)
class NodeOwned(Forbidden):
    """The node itself keeps this object, after the chain; clients read it only."""

    object_id: str


@dataclass(kw_only=True, eq=False)
class NotTheOwner(Forbidden):
    """Only the client that made this object may change it."""

    object_id: str


@dataclass(kw_only=True, eq=False)
class ClientMismatch(Conflict):
    """A ven stays with its client, and its resources with it."""

    client_id: str


@dataclass(frozen=True)
class Written:
    """What is written: the content without metadata, and whose it is."""

    content: dict[str, Any]
    client_id: str


class Access:
    """One caller's view of one transaction."""

    def __init__(self, tx: Transaction, caller: Caller) -> None:
        self._tx = tx
        self._caller = caller

    def list(self, query: ObjectQuery) -> tuple[OpenAdrObject, ...]:
        """The objects that meet the query, as the caller may see them."""
        objects, client_id = self._tx.openadr, self._caller.client_id
        if self._caller.reads_all:
            return objects.list(query)
        if query.kind not in _PUBLIC:
            return objects.list(replace(query, client_id=client_id))
        granted = objects.targets_of(client_id)
        asked = granted.intersection(query.targets) if query.targets else granted
        if query.targets and not asked:
            return ()
        visible = replace(query, granted=asked, targets=tuple(sorted(asked)) if query.targets else ())
        return tuple(found.narrowed(asked) for found in objects.list(visible))

    def see(self, kind: ObjectKind, object_id: str) -> OpenAdrObject:
        """One object as the caller may see it. Raises ObjectMissing."""
        found = self.list(ObjectQuery(kind=kind, object_id=object_id, limit=1))
        if not found:
            raise ObjectMissing(kind=str(kind), object_id=object_id)
        return found[0]

    def changeable(self, kind: ObjectKind, object_id: str, *, deleting: bool) -> OpenAdrObject:
        """One object that the caller may replace or delete. Raises ObjectMissing, NodeOwned, NotTheOwner."""
        found = self.see(kind, object_id)
        if found.client_id is None:
            raise NodeOwned(object_id=object_id)
        personal = kind in (ObjectKind.REPORT, ObjectKind.SUBSCRIPTION)
        may_tidy = deleting and self._caller.role == ClientRole.BL
        if personal and found.client_id != self._caller.client_id and not may_tidy:
            raise NotTheOwner(object_id=object_id)
        return found

    def written(self, kind: ObjectKind, content: dict[str, Any], before: OpenAdrObject | None) -> Written:
        """What a request for a new object, or for one in place of `before`, writes.

        Raises ParentMissing, BusinessLogicOnly, ClientMismatch.
        """
        if kind == ObjectKind.REPORT:
            self._parent(ObjectKind.EVENT, content["eventID"])
        elif kind == ObjectKind.SUBSCRIPTION and "programID" in content:
            self._parent(ObjectKind.PROGRAM, content["programID"])
        elif kind in (ObjectKind.VEN, ObjectKind.RESOURCE):
            return self._written_ven(kind, content, before)
        owner = self._caller.client_id if before is None else before.client_id
        assert owner is not None
        return Written(content, owner)

    def _parent(self, kind: ObjectKind, object_id: str) -> OpenAdrObject:
        """What an object belongs to. Raises ParentMissing."""
        try:
            return self.see(kind, object_id)
        except ObjectMissing:
            raise ParentMissing(kind=str(kind), object_id=object_id) from None

    def _written_ven(self, kind: ObjectKind, content: dict[str, Any], before: OpenAdrObject | None) -> Written:
        by_business = content.pop("objectType").startswith("BL_")
        named = content.pop("clientID", None)
        if by_business and self._caller.role != ClientRole.BL:
            raise BusinessLogicOnly
        owner = self._owner(kind, content, before)
        if named is not None:
            if owner is not None and named != owner:
                raise ClientMismatch(client_id=named)
            owner = named
        if not by_business and before is not None and "targets" in before.content:
            content["targets"] = before.content["targets"]  # granted by business logic, not by the ven
        return Written(content, owner or self._caller.client_id)

    def _owner(self, kind: ObjectKind, content: dict[str, Any], before: OpenAdrObject | None) -> str | None:
        """Whose the ven or resource must be, None if that is free. Raises ParentMissing, ClientMismatch."""
        if kind == ObjectKind.VEN:
            return None if before is None else before.client_id
        ven = self._parent(ObjectKind.VEN, content["venID"])
        if before is not None and before.client_id != ven.client_id:
            raise ClientMismatch(client_id=str(ven.client_id))
        return ven.client_id
