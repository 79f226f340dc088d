"""Runs the node's session at the broker in a thread of its own."""

import asyncio
import contextlib
import threading

from prometheus_client import CollectorRegistry

from gridledger.mqtt.inbox import Inbox, ReadingTaker
from gridledger.mqtt.settings import MqttSettings
from gridledger.mqtt.subscriber import ReadingSubscriber

__all__ = ["MqttWorker"]

_END_TIMEOUT_S = 30


class MqttWorker:
    """One thread with an event loop. What it was about when it ended comes again from the broker."""

    def __init__(self, *, settings: MqttSettings, readings: ReadingTaker, registry: CollectorRegistry) -> None:
        """Raises MqttTlsUnusable."""
        tls = None if settings.tls is None else settings.tls.context()
        self._subscriber = ReadingSubscriber(settings=settings, tls=tls, inbox=Inbox(readings), registry=registry)
        self._thread = threading.Thread(target=self._main, name="mqtt", daemon=True)
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the thread; it connects by itself, now or later."""
        self._thread.start()
        self._ready.wait()

    def close(self) -> None:
        """Leave the broker and end the thread."""
        if self._loop is not None and self._task is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(timeout=_END_TIMEOUT_S)

    def problems(self) -> tuple[str, ...]:
        """Why no readings can come, empty while they can."""
        problem = self._subscriber.problem if self._thread.is_alive() else "its thread has ended"
        return () if problem is None else (f"MQTT broker: {problem}",)

    def _main(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            asyncio.run(self._run())

    async def _run(self) -> None:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        self._ready.set()
        await self._subscriber.run()
