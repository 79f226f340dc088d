"""The living half of the OpenADR surface, in a thread of its own beside the engine.

It turns what the node has indexed into objects, and tells the changes of all objects to callbacks and to the broker.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import structlog

from gridledger.app.openadr_follower import OpenAdrFollower
from gridledger.app.openadr_notifier import SUBSCRIPTIONS_SEEN, OpenAdrNotifier
from gridledger.chain.market_config import MarketConfig
from gridledger.clock import Clock, SystemClock
from gridledger.mqtt.broker import OpenAdrBroker
from gridledger.store.database import Database
from gridledger.store.transaction import Transaction
from gridledger.webhooks.sealing import SecretBox
from gridledger.webhooks.targets import TargetGuard

__all__ = ["OpenAdrWorker", "openadr_worker"]

_LONGEST_WAIT_S = 1.0
_THREADS = 20
_END_TIMEOUT_S = 30
_PRUNE_EVERY = 100  # notifications
_PUBLISHER = "gridledger-openadr"
_BROKER_CURSOR = "openadr_mqtt_cursor"
_log = structlog.get_logger(__name__)


class OpenAdrWorker:
    """One thread with an event loop. What it was about when it ended is begun again by the next."""

    def __init__(
        self, *, database: Database, follower: OpenAdrFollower, notifier: OpenAdrNotifier, broker: OpenAdrBroker | None
    ) -> None:
        """Raises MqttTlsUnusable."""
        self._database = database
        self._follower = follower
        self._notifier = notifier
        self._broker = broker
        self._tls = None if broker is None or broker.settings.tls is None else broker.settings.tls.context()
        self._thread = threading.Thread(target=self._main, name="openadr", daemon=True)
        self._ready = threading.Event()
        self._stopping = False
        self._wake: Callable[[], None] = lambda: None
        self._problem: Callable[[], str | None] = lambda: None

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()
        self._ready.wait()

    def wake(self) -> None:
        """Look for what is new now; callable from any thread at any time."""
        self._wake()

    def close(self) -> None:
        """End the thread; a delivery under way is broken off and repeated by the next worker."""
        self._stopping = True
        self.wake()
        self._thread.join(timeout=_END_TIMEOUT_S)

    def problems(self) -> tuple[str, ...]:
        """Why nobody can be told, empty while they can."""
        if not self._thread.is_alive():
            return ("OpenADR: its thread has ended",)
        problem = self._problem()
        return () if problem is None else (f"OpenADR broker: {problem}",)

    def _main(self) -> None:
        asyncio.run(self._run())

    async def _run(self) -> None:
        loop, woken = asyncio.get_running_loop(), asyncio.Event()
        loop.set_default_executor(ThreadPoolExecutor(_THREADS, thread_name_prefix="openadr"))

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(woken.set)

        self._wake = wake
        wake_publisher, publishing = self._publishing()
        self._ready.set()
        try:
            while not self._stopping:
                woken.clear()
                await self._step(woken, wake_publisher)
        finally:
            if publishing is not None:
                publishing.cancel()
                await asyncio.gather(publishing, return_exceptions=True)
            await self._notifier.close()

    def _publishing(self) -> tuple[Callable[[], None], asyncio.Task[None] | None]:
        """The task that publishes at the broker, and how it is woken."""
        if self._broker is None:
            return (lambda: None), None
        from gridledger.app.openadr_broker import NotificationSource  # noqa: PLC0415 - it loads an MQTT client
        from gridledger.mqtt.publisher import Publisher  # noqa: PLC0415

        source = NotificationSource(
            self._database, cursor=_BROKER_CURSOR, broker_knows_clients=self._broker.knows_clients
        )
        publisher = Publisher(settings=self._broker.settings, tls=self._tls, identifier=_PUBLISHER, source=source)
        self._problem = lambda: publisher.problem
        return publisher.wake, asyncio.create_task(publisher.run())

    async def _step(self, woken: asyncio.Event, wake_publisher: Callable[[], None]) -> None:
        wait_s: float | None = None
        try:
            await asyncio.to_thread(self._follower.follow)
            wake_publisher()
            wait_s = await self._notifier.step(woken.set)
            await asyncio.to_thread(self._prune)
        except Exception as error:  # noqa: BLE001 - the worker outlives every failure and tells it
            _log.error("openadr_failed", error=f"{type(error).__name__}: {error}")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(woken.wait(), _LONGEST_WAIT_S if wait_s is None else min(_LONGEST_WAIT_S, wait_s))

    def _prune(self) -> None:
        """Forget notifications that everybody has been told."""
        with self._database.read() as tx:
            up_to = self._told_to_all(tx)
            oldest = tx.openadr.notifications_after(0, 1)
        if oldest and up_to - oldest[0].id >= _PRUNE_EVERY:
            with self._database.write() as tx:
                tx.openadr.forget_notifications(up_to)

    def _told_to_all(self, tx: Transaction) -> int:
        told = [tx.directory.fact(SUBSCRIPTIONS_SEEN) or 0]
        lowest = tx.openadr_deliveries.lowest_cursor()
        if lowest is not None:
            told.append(lowest)
        if self._broker is not None:
            told.append(tx.directory.fact(_BROKER_CURSOR) or 0)
        return min(told)


def openadr_worker(
    *,
    database: Database,
    clock: Clock,
    config: MarketConfig,
    guard: TargetGuard,
    box: SecretBox,
    broker: OpenAdrBroker | None,
    limit_wh: Callable[[int], int | None],
) -> OpenAdrWorker:
    """A node's worker: callbacks wait by the machine's clock, objects bear the node's. Raises MqttTlsUnusable.

    `limit_wh` is a zone's highest net energy in an MTU, None without one.
    """
    follower = OpenAdrFollower(
        database=database, clock=clock, mtu_length_s=config.mtu_length_s, chain_id=config.chain_id, limit_wh=limit_wh
    )
    notifier = OpenAdrNotifier(database=database, guard=guard, box=box, clock=SystemClock())
    return OpenAdrWorker(database=database, follower=follower, notifier=notifier, broker=broker)
