"""Webhooks and how far each has been delivered to."""

from collections.abc import Collection
from dataclasses import asdict
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, exists, func, insert, select, update

from gridledger.market.webhooks import Webhook
from gridledger.store.schema import notice, webhook

__all__ = ["Webhooks"]


class Webhooks:
    """Webhooks of one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def put(self, owner: str, *, url: str, sealed_secret: bytes, cursor: int, now: int) -> Webhook:
        """Set the owner's webhook in place of any before; deliveries begin after the notice `cursor`."""
        self.remove(owner)
        values = {
            "owner": owner,
            "url": url,
            "sealed_secret": sealed_secret,
            "cursor": cursor,
            "created_at": now,
            "failures": 0,
            "next_attempt_at": now,
        }
        self._connection.execute(insert(webhook).values(**values))
        found = self.find(owner)
        assert found is not None
        return found

    def find(self, owner: str) -> Webhook | None:
        """The owner's webhook."""
        row = self._connection.execute(select(webhook).where(webhook.c.owner == owner)).first()
        return None if row is None else _webhook(row)

    def remove(self, owner: str) -> bool:
        """Forget the owner's webhook; returns whether there was one."""
        return self._connection.execute(delete(webhook).where(webhook.c.owner == owner)).rowcount > 0

    def due(self, now: int, limit: int, busy: Collection[str]) -> tuple[Webhook, ...]:
        """Webhooks with something to deliver now, the longest waiting first; busy owners are left out."""
        query = (
            select(webhook)
            .where(_has_something(), webhook.c.next_attempt_at <= now, webhook.c.owner.not_in(list(busy)))
            .order_by(webhook.c.next_attempt_at, webhook.c.id)
            .limit(limit)
        )
        return tuple(_webhook(row) for row in self._connection.execute(query))

    def next_attempt_at(self, now: int) -> int | None:
        """When the next delivery that has to wait may be tried, Unix seconds."""
        query = select(func.min(webhook.c.next_attempt_at)).where(_has_something(), webhook.c.next_attempt_at > now)
        return self._connection.execute(query).scalar()

    def keep(self, changed: Webhook) -> None:
        """Keep how a delivery went; nothing happens if the webhook was replaced or removed meanwhile."""
        values = {name: value for name, value in asdict(changed).items() if name not in ("id", "owner")}
        self._connection.execute(update(webhook).where(webhook.c.id == changed.id).values(**values))


def _has_something() -> ColumnElement[bool]:
    undelivered = exists().where(notice.c.owner == webhook.c.owner, notice.c.id > webhook.c.cursor)
    return webhook.c.disabled_at.is_(None) & undelivered


def _webhook(row: Row[Any]) -> Webhook:
    return Webhook(**row._asdict())
