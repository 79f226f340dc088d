"""OpenADR 3.1 objects in the database; every change leaves a notification in the same transaction.

The HTTP edge checks form and scopes; code inside the node may write here directly, with the same effect as a request.
"""

import uuid
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, exists, func, insert, or_, select, update

from gridledger.store.openadr_columns import content_columns
from gridledger.store.openadr_model import (
    Notification,
    ObjectKind,
    ObjectMissing,
    ObjectNameTaken,
    ObjectQuery,
    OpenAdrObject,
    Operation,
    ParentMissing,
    TooManyObjects,
)
from gridledger.store.schema import openadr_notification, openadr_object, openadr_target

__all__ = ["MOST_PER_CLIENT", "OpenAdr"]

MOST_PER_CLIENT = {
    ObjectKind.PROGRAM: 1_000,
    ObjectKind.EVENT: 20_000,
    ObjectKind.REPORT: 20_000,
    ObjectKind.SUBSCRIPTION: 100,
    ObjectKind.VEN: 1_000,
    ObjectKind.RESOURCE: 10_000,
}
_PARENTS = {
    ObjectKind.EVENT: (ObjectKind.PROGRAM, "programID"),
    ObjectKind.SUBSCRIPTION: (ObjectKind.PROGRAM, "programID"),
    ObjectKind.REPORT: (ObjectKind.EVENT, "eventID"),
    ObjectKind.RESOURCE: (ObjectKind.VEN, "venID"),
}
_CHILDREN = {ObjectKind.PROGRAM: (ObjectKind.EVENT, "program_id"), ObjectKind.VEN: (ObjectKind.RESOURCE, "ven_id")}


class OpenAdr:
    """OpenADR objects and notifications of one transaction; whoever opened it commits."""

    def __init__(self, connection: Connection, most_per_client: Mapping[ObjectKind, int] = MOST_PER_CLIENT) -> None:
        self._connection = connection
        self._most_per_client = most_per_client

    # ---- what is read

    def find(self, kind: ObjectKind, object_id: str) -> OpenAdrObject | None:
        """The object with this id."""
        query = select(openadr_object).where(openadr_object.c.kind == kind, openadr_object.c.id == object_id)
        row = self._connection.execute(query).first()
        return None if row is None else _object(row)

    def find_by_name(self, kind: ObjectKind, name: str, ven_id: str | None = None) -> OpenAdrObject | None:
        """The program or ven with this name, or the ven's resource."""
        unique = name if ven_id is None else f"{ven_id}/{name}"
        query = select(openadr_object).where(openadr_object.c.kind == kind, openadr_object.c.unique_name == unique)
        row = self._connection.execute(query).first()
        return None if row is None else _object(row)

    def list(self, query: ObjectQuery) -> tuple[OpenAdrObject, ...]:
        """Objects that meet the query, in the order they were made."""
        chosen = select(openadr_object).where(*_conditions(query)).order_by(openadr_object.c.number)
        return tuple(_object(row) for row in self._connection.execute(chosen.offset(query.skip).limit(query.limit)))

    def targets_of(self, client_id: str) -> frozenset[str]:
        """The targets granted to a client: those of its vens and of their resources."""
        table = openadr_object.c
        vens = select(table.id).where(table.kind == ObjectKind.VEN, table.client_id == client_id)
        own = select(table.number).where(
            or_(table.id.in_(vens), (table.kind == ObjectKind.RESOURCE) & table.ven_id.in_(vens))
        )
        query = select(openadr_target.c.target).where(openadr_target.c.object_number.in_(own))
        return frozenset(self._connection.execute(query).scalars())

    def vens_with(self, targets: Collection[str]) -> tuple[tuple[str, str], ...]:
        """Client and id of each ven that one of these targets was granted to, by itself or by a resource of it."""
        table = openadr_object.c
        carriers = exists().where(openadr_target.c.object_number == table.number, openadr_target.c.target.in_(targets))
        by_resource = select(table.ven_id).where(table.kind == ObjectKind.RESOURCE, carriers)
        query = (
            select(table.client_id, table.id)
            .where(table.kind == ObjectKind.VEN, table.client_id.is_not(None), or_(carriers, table.id.in_(by_resource)))
            .order_by(table.number)
        )
        return tuple((row.client_id, row.id) for row in self._connection.execute(query))

    # ---- what changes

    def add(
        self,
        kind: ObjectKind,
        content: Mapping[str, Any],
        *,
        now: int,
        client_id: str | None = None,
        sealed_tokens: bytes | None = None,
    ) -> OpenAdrObject:
        """Keep a new object; `now` in Unix seconds. Raises ParentMissing, ObjectNameTaken, TooManyObjects."""
        self._check_room(kind, client_id)
        added = OpenAdrObject(
            id=str(uuid.uuid4()),
            kind=kind,
            client_id=client_id,
            content=dict(content),
            created_at=now,
            modified_at=now,
            sealed_tokens=sealed_tokens,
        )
        columns = self._columns(added)
        values = {"id": added.id, "kind": kind, "created_at": now, **columns}
        key = self._connection.execute(insert(openadr_object).values(**values)).inserted_primary_key
        assert key is not None
        self._keep_targets(key[0], added)
        self._notify(Operation.CREATE, added, columns["program_id"], now)
        return added

    def replace(
        self,
        kind: ObjectKind,
        object_id: str,
        content: Mapping[str, Any],
        *,
        now: int,
        client_id: str | None = None,
        sealed_tokens: bytes | None = None,
    ) -> OpenAdrObject:
        """Put a new content in place of an object's; without `client_id` it stays whose it is.

        Raises ObjectMissing, ParentMissing, ObjectNameTaken.
        """
        before, number, _ = self._existing(kind, object_id)
        owner = before.client_id if client_id is None else client_id
        after = replace(before, content=dict(content), client_id=owner, modified_at=now, sealed_tokens=sealed_tokens)
        columns = self._columns(after)
        self._connection.execute(update(openadr_object).where(openadr_object.c.number == number).values(**columns))
        self._connection.execute(delete(openadr_target).where(openadr_target.c.object_number == number))
        self._keep_targets(number, after)
        self._notify(Operation.UPDATE, after, columns["program_id"], now)
        return after

    def remove(self, kind: ObjectKind, object_id: str, *, now: int) -> OpenAdrObject:
        """Delete an object, and with it a program's events or a ven's resources. Raises ObjectMissing.

        Reports and subscriptions stay: they are their clients' own.
        """
        removed, number, program_id = self._existing(kind, object_id)
        if kind in _CHILDREN:
            child, column = _CHILDREN[kind]
            query = select(openadr_object.c.id).where(
                openadr_object.c.kind == child, openadr_object.c[column] == object_id
            )
            for child_id in self._connection.execute(query).scalars().all():
                self.remove(child, child_id, now=now)
        self._connection.execute(delete(openadr_object).where(openadr_object.c.number == number))
        self._notify(Operation.DELETE, removed, program_id, now)
        return removed

    def forget_ended(self, client_id: str | None, before: int, limit: int = 500) -> int:
        """Drop a client's events (None: the node's own) that ended before a moment, untold; returns how many."""
        table = openadr_object.c
        chosen = (
            select(table.number)
            .where(table.kind == ObjectKind.EVENT, table.client_id.is_not_distinct_from(client_id))
            .where(table.ends_at < before)
            .limit(limit)
        )
        return self._connection.execute(delete(openadr_object).where(table.number.in_(chosen))).rowcount

    # ---- what is to be told

    def notifications_after(self, notification_id: int, limit: int) -> tuple[Notification, ...]:
        """Notifications after an id, oldest first."""
        table = openadr_notification.c
        query = select(openadr_notification).where(table.id > notification_id).order_by(table.id).limit(limit)
        return tuple(_notification(row) for row in self._connection.execute(query))

    def last_notification_id(self) -> int:
        """Id of the newest notification, 0 if there is none."""
        return self._connection.execute(select(func.max(openadr_notification.c.id))).scalar() or 0

    def forget_notifications(self, up_to: int) -> int:
        """Delete notifications that everybody was told, up to and including an id; returns how many."""
        chosen = delete(openadr_notification).where(openadr_notification.c.id <= up_to)
        return self._connection.execute(chosen).rowcount

    # ---- steps

    def _existing(self, kind: ObjectKind, object_id: str) -> tuple[OpenAdrObject, int, str | None]:
        """The object, its number and its program. Raises ObjectMissing."""
        query = select(openadr_object).where(openadr_object.c.kind == kind, openadr_object.c.id == object_id)
        row = self._connection.execute(query).first()
        if row is None:
            raise ObjectMissing(kind=str(kind), object_id=object_id)
        return _object(row), row.number, row.program_id

    def _check_room(self, kind: ObjectKind, client_id: str | None) -> None:
        if client_id is None:
            return
        table = openadr_object.c
        count = select(func.count()).select_from(openadr_object)
        found = self._connection.execute(count.where(table.kind == kind, table.client_id == client_id)).scalar_one()
        if found >= self._most_per_client[kind]:
            raise TooManyObjects(kind=str(kind), most=self._most_per_client[kind])

    def _columns(self, kept: OpenAdrObject) -> dict[str, Any]:
        """What is written of an object. Raises ParentMissing, ObjectNameTaken."""
        columns = content_columns(kept.kind, kept.content, kept.created_at)
        if kept.kind in _PARENTS:
            kind, field = _PARENTS[kept.kind]
            self._check_parent(kind, kept.content.get(field), columns)
        unique = columns["unique_name"]
        if unique is not None:
            table = openadr_object.c
            same = select(table.id).where(table.kind == kept.kind, table.unique_name == unique, table.id != kept.id)
            if self._connection.execute(same).first() is not None:
                raise ObjectNameTaken(kind=str(kept.kind), name=columns["name"])
        return {
            **columns,
            "client_id": kept.client_id,
            "content": dict(kept.content),
            "sealed_tokens": kept.sealed_tokens,
            "modified_at": kept.modified_at,
        }

    def _check_parent(self, kind: ObjectKind, parent_id: str | None, columns: dict[str, Any]) -> None:
        """A report belongs to its event's program. Raises ParentMissing."""
        if parent_id is None:
            return
        table = openadr_object.c
        found = self._connection.execute(
            select(table.program_id).where(table.kind == kind, table.id == parent_id)
        ).first()
        if found is None:
            raise ParentMissing(kind=str(kind), object_id=parent_id)
        if kind == ObjectKind.EVENT:
            columns["program_id"] = found.program_id

    def _keep_targets(self, number: int, kept: OpenAdrObject) -> None:
        rows = [{"object_number": number, "target": target} for target in kept.targets]
        if rows:
            self._connection.execute(insert(openadr_target), rows)

    def _notify(self, operation: Operation, changed: OpenAdrObject, program_id: str | None, now: int) -> None:
        self._connection.execute(
            insert(openadr_notification).values(
                kind=changed.kind,
                operation=operation,
                object_id=changed.id,
                client_id=changed.client_id,
                program_id=changed.id if changed.kind == ObjectKind.PROGRAM else program_id,
                object=changed.document(),
                targets=list(changed.targets),
                created_at=now,
            )
        )


def _conditions(query: ObjectQuery) -> tuple[ColumnElement[bool], ...]:
    table = openadr_object.c
    equal = {
        table.id: query.object_id,
        table.client_id: query.client_id,
        table.name: query.name,
        table.client_name: query.client_name,
        table.program_id: query.program_id,
        table.event_id: query.event_id,
        table.ven_id: query.ven_id,
    }
    conditions = [table.kind == query.kind, *(column == value for column, value in equal.items() if value is not None)]
    own = openadr_target.c.object_number == table.number
    if query.granted is not None:
        shared = exists().where(own, openadr_target.c.target.in_(query.granted))
        conditions.append(or_(~exists().where(own), shared))
    conditions += [exists().where(own, openadr_target.c.target == target) for target in query.targets]
    if query.subscribed:
        conditions.append(or_(*(table.subscribed.contains(f",{kind},") for kind in query.subscribed)))
    if query.active_at is not None:
        conditions.append(or_(table.ends_at.is_(None), table.ends_at > query.active_at))
    return tuple(conditions)


def _object(row: Row[Any]) -> OpenAdrObject:
    return OpenAdrObject(
        id=row.id,
        kind=ObjectKind(row.kind),
        client_id=row.client_id,
        content=row.content,
        created_at=row.created_at,
        modified_at=row.modified_at,
        sealed_tokens=row.sealed_tokens,
    )


def _notification(row: Row[Any]) -> Notification:
    values = row._asdict()
    return Notification(
        **values
        | {
            "kind": ObjectKind(row.kind),
            "operation": Operation(row.operation),
            "targets": tuple(row.targets),
        }
    )
