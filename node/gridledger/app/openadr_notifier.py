"""Posts OpenADR notifications to the callbacks of subscriptions, at least once and each callback's in their order.

How far each has come is kept in the database: a node that was killed continues there, and repeats what it had posted
but not kept; a repetition has the same `webhook-id`. Waiting is measured by the machine's clock, in a replay too.
"""

import asyncio
import json
import ssl
from collections.abc import Callable
from dataclasses import dataclass

import httpx
import structlog

from gridledger.clock import Clock
from gridledger.errors import GridLedgerError
from gridledger.openadr.notifications import Reader, Wish, notification_document, wishes_of
from gridledger.store.database import Database
from gridledger.store.openadr_clients import ClientRole
from gridledger.store.openadr_deliveries import OpenAdrDelivery
from gridledger.store.openadr_model import Notification, ObjectKind, OpenAdrObject, Operation
from gridledger.store.transaction import Transaction
from gridledger.webhooks.delivery import DeliveryFailed, Message, bearer_delivery
from gridledger.webhooks.sealing import SecretBox
from gridledger.webhooks.targets import Target, TargetGuard

__all__ = ["SUBSCRIPTIONS_SEEN", "OpenAdrNotifier"]

_MOST_AT_ONCE = 16
_MOST_LOOKED_AT = 200
_NOTIFICATIONS_PER_TURN = 50
SUBSCRIPTIONS_SEEN = "openadr_subscriptions_seen"
_log = structlog.get_logger(__name__)

Key = tuple[str, int]


@dataclass(frozen=True, kw_only=True)
class _Turn:
    """What is to be posted to one callback now, and the cursor behind it; `sealed` are the subscription's tokens."""

    delivery: OpenAdrDelivery
    url: str
    sealed: bytes | None
    messages: tuple[tuple[int, str], ...]
    cursor: int


class OpenAdrNotifier:
    """Deliveries that are due, each in a task of its own; to be used in one event loop."""

    def __init__(
        self,
        *,
        database: Database,
        guard: TargetGuard,
        box: SecretBox,
        clock: Clock,
        on_kept: Callable[[OpenAdrDelivery], None] = lambda _delivery: None,
    ) -> None:
        """`on_kept` is called in threads after the outcome of each turn was kept."""
        self._database = database
        self._guard = guard
        self._box = box
        self._clock = clock
        self._on_kept = on_kept
        self._tls: ssl.SSLContext | None = None
        self._turns: dict[Key, asyncio.Task[None]] = {}

    async def step(self, on_end: Callable[[], None]) -> float | None:
        """Begin the turns that are due; each calls `on_end` after it. Returns when to look again, in seconds."""
        for key in [key for key, task in self._turns.items() if task.done()]:
            self._turns.pop(key).result()
        turns, wait_s = await asyncio.to_thread(self._plan, frozenset(self._turns))
        for turn in turns:
            self._turns[turn.delivery.key] = task = asyncio.create_task(self._deliver(turn))
            task.add_done_callback(lambda _task: on_end())
        return wait_s

    async def close(self) -> None:
        """Break off what is under way; it is repeated by the next notifier."""
        for task in self._turns.values():
            task.cancel()
        await asyncio.gather(*self._turns.values(), return_exceptions=True)

    # ---- what is due

    def _plan(self, busy: frozenset[Key]) -> tuple[list[_Turn], float | None]:
        now = self._clock.now()
        self._see_subscriptions()
        with self._database.read() as tx:
            last_id = tx.openadr.last_notification_id()
            due = tx.openadr_deliveries.due(last_id, now, busy, _MOST_LOOKED_AT)
            next_at = tx.openadr_deliveries.next_attempt_at(last_id, now)
            looked_at = _Looks(tx)
            turns = [looked_at.turn(delivery) for delivery in due]
        passed = [turn for turn in turns if not turn.messages]
        if passed:
            with self._database.write() as tx:
                for turn in passed:
                    tx.openadr_deliveries.keep(turn.delivery.reached(turn.cursor))
        chosen = [turn for turn in turns if turn.messages][: max(0, _MOST_AT_ONCE - len(busy))]
        wait_s = 0.0 if passed else None if next_at is None else float(next_at - now)
        return chosen, wait_s

    def _see_subscriptions(self) -> None:
        """A subscription is told what changes after it was made: its own notification says where that is."""
        with self._database.read() as tx:
            seen = tx.directory.fact(SUBSCRIPTIONS_SEEN) or 0
            if tx.openadr.last_notification_id() <= seen:
                return
        with self._database.write() as tx:
            news = tx.openadr.notifications_after(seen, _MOST_LOOKED_AT)
            for one in news:
                if one.kind is ObjectKind.SUBSCRIPTION and one.operation is Operation.DELETE:
                    tx.openadr_deliveries.end(one.object_id)
                elif one.kind is ObjectKind.SUBSCRIPTION:
                    tx.openadr_deliveries.begin(one.object_id, len(one.object["objectOperations"]), one.id)
            if news:
                tx.directory.set_fact(SUBSCRIPTIONS_SEEN, news[-1].id)

    # ---- one turn

    async def _deliver(self, turn: _Turn) -> None:
        """Post in order; how far it came is kept at the end."""
        reached, failure = turn.delivery.cursor, None
        try:
            token, target = await asyncio.to_thread(self._prepare, turn)
            if self._tls is None:
                self._tls = await asyncio.to_thread(httpx.create_ssl_context)
            async with bearer_delivery(target, token, self._tls) as to_client:
                for number, body in turn.messages:
                    await to_client.post(Message(id=str(number), body=body, at=self._clock.now()))
                    reached = number
            reached = turn.cursor
        except GridLedgerError as error:
            failure = error
        await asyncio.to_thread(self._keep, turn, reached, failure)

    def _prepare(self, turn: _Turn) -> tuple[str | None, Target]:
        tokens = None if turn.sealed is None else json.loads(self._box.open(turn.sealed))
        token = None if tokens is None else tokens[turn.delivery.position]
        return token, self._guard.check(turn.url)

    def _keep(self, turn: _Turn, reached: int, failure: GridLedgerError | None) -> None:
        delivery = turn.delivery
        changed = delivery if reached == delivery.cursor else delivery.reached(reached)
        if failure is not None:
            reason = str(getattr(failure, "reason", failure.title()))
            gone = isinstance(failure, DeliveryFailed) and failure.gone
            changed = changed.failed(reason, self._clock.now(), gone=gone)
            _log.warning(
                "openadr_callback_failed",
                subscription=delivery.subscription_id,
                reason=reason,
                disabled=changed.disabled_at is not None,
            )
        with self._database.write() as tx:
            tx.openadr_deliveries.keep(changed)
        self._on_kept(changed)


class _Looks:
    """What deliveries have before them, in one transaction; most have the same."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._news: dict[int, tuple[Notification, ...]] = {}
        self._readers: dict[str, Reader | None] = {}

    def turn(self, delivery: OpenAdrDelivery) -> _Turn:
        """What is to be posted; nothing for a client that was removed, or a callback that is no more."""
        if delivery.cursor not in self._news:
            self._news[delivery.cursor] = self._tx.openadr.notifications_after(delivery.cursor, _NOTIFICATIONS_PER_TURN)
        news = self._news[delivery.cursor]
        cursor = news[-1].id if news else delivery.cursor
        subscription = self._tx.openadr.find(ObjectKind.SUBSCRIPTION, delivery.subscription_id)
        wish = None if subscription is None else _wish(subscription, delivery.position)
        reader = None if subscription is None else self._reader(subscription.client_id)
        if subscription is None or wish is None or reader is None:
            return _Turn(delivery=delivery, url="", sealed=None, messages=(), cursor=cursor)
        told = [(one.id, _body(one, reader)) for one in news if wish.covers(one) and reader.sees(one)]
        return _Turn(
            delivery=delivery,
            url=wish.callback_url,
            sealed=subscription.sealed_tokens,
            messages=tuple(told),
            cursor=cursor,
        )

    def _reader(self, client_id: str | None) -> Reader | None:
        if client_id is None:
            return None
        if client_id not in self._readers:
            self._readers[client_id] = self._read(client_id)
        return self._readers[client_id]

    def _read(self, client_id: str) -> Reader | None:
        client = self._tx.openadr_clients.find(client_id)
        if client is None:
            return None
        granted = self._tx.openadr.targets_of(client_id)
        return Reader(client_id=client_id, sees_all=client.role is ClientRole.BL, granted=granted)


def _wish(subscription: OpenAdrObject, position: int) -> Wish | None:
    wishes = wishes_of(subscription.content)
    return wishes[position] if position < len(wishes) else None


def _body(notification: Notification, reader: Reader) -> str:
    return json.dumps(notification_document(notification, reader), separators=(",", ":"))
