"""Delivers notices to their owners' webhooks and dispatch events to the grid operators', in a thread of its own.

What is due follows from the database alone: a node that was killed continues after the last entry it has kept as
delivered, and repeats what it had not kept yet. Waiting is measured by the machine's clock, in a replay too.
"""

import asyncio
import contextlib
import json
import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx
import structlog

from gridledger.clock import Clock, SystemClock
from gridledger.errors import GridLedgerError
from gridledger.market.notices import Notice, notice_document
from gridledger.market.webhooks import Feed, Webhook, after_delivery, after_failure
from gridledger.store.database import Database
from gridledger.store.transaction import Transaction
from gridledger.units import format_utc
from gridledger.webhooks.delivery import DeliveryFailed, Message, delivery
from gridledger.webhooks.sealing import SecretBox
from gridledger.webhooks.targets import Target, TargetGuard

__all__ = ["Entry", "WebhookWorker", "dispatch_entry", "notice_entry"]

_MOST_AT_ONCE = 16
_ENTRIES_PER_TURN = 20
_LONGEST_WAIT_S = 5.0
_END_TIMEOUT_S = 30
_log = structlog.get_logger(__name__)
_Key = tuple[str, Feed]
_Turns = dict[_Key, asyncio.Task[None]]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One entry of a feed: what it is about, when it came to be (Unix seconds), and as whoever reads it sees it."""

    id: int
    type: str
    created_at: int
    document: dict[str, Any]

    def message(self, now: int) -> Message:
        """The entry as it is posted: type, timestamp and data, as Standard Webhooks recommends."""
        content = {"type": self.type, "timestamp": format_utc(self.created_at), "data": self.document}
        return Message(id=str(self.id), body=json.dumps(content, separators=(",", ":")), at=now)


def notice_entry(notice: Notice) -> Entry:
    """A notice of an owner."""
    document = notice_document(notice)
    return Entry(id=notice.id, type=f"order.{notice.kind}", created_at=notice.created_at, document=document)


def dispatch_entry(event: dict[str, Any]) -> Entry:
    """A dispatch event, the same document as in the stream."""
    return Entry(id=event["id"], type=f"dispatch.{event['kind']}", created_at=event["created_at"], document=event)


class WebhookWorker:
    """One thread with an event loop: at most one delivery per owner and feed and sixteen in all, in order of ids."""

    def __init__(
        self,
        *,
        database: Database,
        guard: TargetGuard,
        box: SecretBox,
        clock: Clock | None = None,
        on_kept: Callable[[Webhook], None] = lambda _webhook: None,
    ) -> None:
        """`on_kept` is called in the worker's threads after the outcome of each turn was kept."""
        self._database = database
        self._guard = guard
        self._box = box
        self._clock = SystemClock() if clock is None else clock
        self._thread = threading.Thread(target=self._main, name="webhooks", daemon=True)
        self._ready = threading.Event()
        self._on_kept = on_kept
        self._stopping = False
        self._tls = httpx.create_ssl_context()
        self._wake: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()
        self._ready.wait()

    def wake(self) -> None:
        """Look for new entries now; callable from any thread at any time."""
        self._wake()

    def close(self) -> None:
        """End the thread; a delivery under way is broken off and repeated by the next worker."""
        self._stopping = True
        self.wake()
        self._thread.join(timeout=_END_TIMEOUT_S)

    def _main(self) -> None:
        asyncio.run(self._run())

    async def _run(self) -> None:
        loop, woken = asyncio.get_running_loop(), asyncio.Event()
        loop.set_default_executor(ThreadPoolExecutor(_MOST_AT_ONCE + 2, thread_name_prefix="webhooks"))
        self._wake = _waker(loop, woken)
        self._ready.set()
        turns: _Turns = {}
        try:
            while not self._stopping:
                woken.clear()
                await self._step(turns, woken)
        finally:
            for task in turns.values():
                task.cancel()
            await asyncio.gather(*turns.values(), return_exceptions=True)

    async def _step(self, turns: _Turns, woken: asyncio.Event) -> None:
        """Begin the turns that are due, then wait until one ends, somebody wakes us, or the next is due."""
        wait_s = _LONGEST_WAIT_S
        try:
            for key in [key for key, task in turns.items() if task.done()]:
                turns.pop(key).result()
            due, wait_s = await asyncio.to_thread(self._due, frozenset(turns), _MOST_AT_ONCE - len(turns))
            for webhook in due:
                turns[webhook.owner, webhook.feed] = task = asyncio.create_task(self._turn(webhook))
                task.add_done_callback(lambda _task: woken.set())
        except Exception as error:  # noqa: BLE001 - the worker outlives every failure and tells it
            _log.error("webhooks_failed", error=f"{type(error).__name__}: {error}")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(woken.wait(), wait_s)

    def _due(self, busy: Collection[_Key], free: int) -> tuple[tuple[Webhook, ...], float]:
        now = self._clock.now()
        with self._database.read() as tx:
            due = tx.webhooks.due(now, free, busy)
            next_at = tx.webhooks.next_attempt_at(now)
        wait_s = _LONGEST_WAIT_S if next_at is None else min(_LONGEST_WAIT_S, next_at - now)
        return due, wait_s

    async def _turn(self, webhook: Webhook) -> None:
        """Deliver the next entries of one webhook in order; how far it came is kept at the end."""
        cursor, failure = webhook.cursor, None
        try:
            secret, target, entries = await asyncio.to_thread(self._prepare, webhook)
            async with delivery(target, secret, self._tls) as to_owner:
                for entry in entries:
                    await to_owner.post(entry.message(self._clock.now()))
                    cursor = entry.id
        except GridLedgerError as error:
            failure = error
        await asyncio.to_thread(self._keep, webhook, cursor, failure)

    def _prepare(self, webhook: Webhook) -> tuple[str, Target, Sequence[Entry]]:
        with self._database.read() as tx:
            entries = _entries(tx, webhook)
        return self._box.open(webhook.sealed_secret), self._guard.check(webhook.url), entries

    def _keep(self, webhook: Webhook, cursor: int, failure: GridLedgerError | None) -> None:
        now = self._clock.now()
        changed = webhook if cursor == webhook.cursor else after_delivery(webhook, cursor, now)
        if failure is not None:
            reason = getattr(failure, "reason", failure.title())
            gone = isinstance(failure, DeliveryFailed) and failure.gone
            changed = after_failure(changed, str(reason), now, gone=gone)
            _log.warning(
                "webhook_failed", owner=webhook.owner, feed=webhook.feed, reason=reason, state=str(changed.state)
            )
        with self._database.write() as tx:
            tx.webhooks.keep(changed)
        self._on_kept(changed)


def _entries(tx: Transaction, webhook: Webhook) -> list[Entry]:
    """The next entries that a webhook has not been delivered."""
    asked = (webhook.owner, webhook.cursor, _ENTRIES_PER_TURN)
    if webhook.feed is Feed.DISPATCH:
        return [dispatch_entry(event) for event in tx.dispatches.events_of(*asked)]
    return [notice_entry(notice) for notice in tx.notices.after(*asked)]


def _waker(loop: asyncio.AbstractEventLoop, woken: asyncio.Event) -> Callable[[], None]:
    def wake() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(woken.set)

    return wake
