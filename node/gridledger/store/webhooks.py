"""Webhooks and how far each has been delivered to."""

from collections.abc import Collection
from dataclasses import asdict
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, exists, func, insert, or_, select, tuple_, update

from gridledger.market.webhooks import Feed, Webhook
from gridledger.store.schema import dispatch_event, notice, webhook, zone

__all__ = ["Webhooks"]


class Webhooks:
    """Webhooks of one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def put(self, owner: str, feed: Feed, *, url: str, sealed_secret: bytes, cursor: int, now: int) -> Webhook:
        """Set the owner's webhook for a feed in place of any before; deliveries begin after the entry `cursor`."""
        self.remove(owner, feed)
        values = {
            "owner": owner,
            "feed": feed,
            "url": url,
            "sealed_secret": sealed_secret,
            "cursor": cursor,
            "created_at": now,
            "failures": 0,
            "next_attempt_at": now,
        }
        self._connection.execute(insert(webhook).values(**values))
        found = self.find(owner, feed)
        assert found is not None
        return found

    def find(self, owner: str, feed: Feed) -> Webhook | None:
        """The owner's webhook for a feed."""
        row = self._connection.execute(select(webhook).where(*_of(owner, feed))).first()
        return None if row is None else _webhook(row)

    def remove(self, owner: str, feed: Feed) -> bool:
        """Forget the owner's webhook for a feed; returns whether there was one."""
        return self._connection.execute(delete(webhook).where(*_of(owner, feed))).rowcount > 0

    def due(self, now: int, limit: int, busy: Collection[tuple[str, Feed]]) -> tuple[Webhook, ...]:
        """Webhooks with something to deliver now, the longest waiting first; busy owners and feeds are left out."""
        query = (
            select(webhook)
            .where(
                _has_something(),
                webhook.c.next_attempt_at <= now,
                tuple_(webhook.c.owner, webhook.c.feed).not_in(list(busy)),
            )
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
        values = {name: value for name, value in asdict(changed).items() if name not in ("id", "owner", "feed")}
        self._connection.execute(update(webhook).where(webhook.c.id == changed.id).values(**values))


def _of(owner: str, feed: Feed) -> tuple[ColumnElement[bool], ...]:
    return webhook.c.owner == owner, webhook.c.feed == feed


def _has_something() -> ColumnElement[bool]:
    told = exists().where(notice.c.owner == webhook.c.owner, notice.c.id > webhook.c.cursor)
    dispatched = exists().where(
        zone.c.grid_operator == webhook.c.owner,
        dispatch_event.c.zone == zone.c.zone,
        dispatch_event.c.id > webhook.c.cursor,
    )
    undelivered = or_(
        and_(webhook.c.feed == Feed.NOTICES, told),
        and_(webhook.c.feed == Feed.DISPATCH, dispatched),
    )
    return webhook.c.disabled_at.is_(None) & undelivered


def _webhook(row: Row[Any]) -> Webhook:
    values = row._asdict()
    return Webhook(**{**values, "feed": Feed(row.feed)})
