"""The node as a publisher: what is to be said is said in its order, and kept as said once the broker has taken it.

Messages go out at QoS 1, a few at a time. A node that ends before it has kept that they were taken says them again.
Source: OASIS MQTT 5.0.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog
from aiomqtt import Client, MqttError, ProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from tenacity import AsyncRetrying, RetryCallState, wait_exponential, wait_random

from gridledger.mqtt.settings import MqttSettings

__all__ = ["MessageSource", "Outgoing", "Publisher"]

_KEEPALIVE_S = 15
_LONGEST_PAUSE_S = 5.0
_STABLE_S = 30.0
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 30.0
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Outgoing:
    """One JSON message; a repetition has the same id, which goes along as the user property `notification-id`."""

    id: int
    topic: str
    payload: bytes


class MessageSource(Protocol):
    """What is to be said; called in threads."""

    def waiting(self) -> tuple[Sequence[Outgoing], int | None]:
        """The next messages, few enough for one turn, and the cursor behind them; None when nothing waits."""

    def keep(self, cursor: int) -> None:
        """Everything up to the cursor was taken by the broker."""


class Publisher:
    """Publishes what a source has, until it is cancelled."""

    def __init__(
        self, *, settings: MqttSettings, tls: ssl.SSLContext | None, identifier: str, source: MessageSource
    ) -> None:
        self._settings = settings
        self._tls = tls
        self._identifier = identifier
        self._source = source
        self._woken = asyncio.Event()
        self.problem: str | None = "not connected yet"

    def wake(self) -> None:
        """Look for messages now; to be called in the event loop."""
        self._woken.set()

    async def run(self) -> None:
        """Stay connected; ends by cancellation only. Waits double from half a second to half a minute."""
        while True:
            wait = wait_exponential(multiplier=_FIRST_WAIT_S, max=_LONGEST_WAIT_S) + wait_random(0, _FIRST_WAIT_S)
            await AsyncRetrying(wait=wait, before_sleep=self._tell)(self._stay)

    async def _stay(self) -> None:
        """One connection; one that has lasted is followed by the next without a wait."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            await self._session()
        except Exception as error:
            if loop.time() - began < _STABLE_S:
                raise
            _log.warning("mqtt_publisher_disconnected", reason=_reason(error))

    async def _session(self) -> None:
        async with self._client() as client:
            self.problem = None
            _log.info("mqtt_publisher_connected")
            watch = asyncio.create_task(_watch(client))
            try:
                while not watch.done():
                    await self._turn(client, watch)
                await watch
            except BaseException as error:
                self.problem = _reason(error)
                raise
            finally:
                watch.cancel()
                await asyncio.gather(watch, return_exceptions=True)

    async def _turn(self, client: Client, watch: asyncio.Task[None]) -> None:
        """Say what waits and keep that it was said; if nothing waits, pause until somebody wakes us."""
        self._woken.clear()
        messages, cursor = await asyncio.to_thread(self._source.waiting)
        for message in messages:
            await client.publish(message.topic, message.payload, qos=1, properties=_properties(message))
        if cursor is not None:
            await asyncio.to_thread(self._source.keep, cursor)
            return
        woken = asyncio.create_task(self._woken.wait())
        try:
            await asyncio.wait({woken, watch}, timeout=_LONGEST_PAUSE_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            woken.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await woken

    def _client(self) -> Client:
        return Client(
            self._settings.host,
            self._settings.port,
            identifier=self._identifier,
            protocol=ProtocolVersion.V5,
            clean_start=True,
            tls_context=self._tls,
            keepalive=_KEEPALIVE_S,
        )

    def _tell(self, attempt: RetryCallState) -> None:
        error = attempt.outcome.exception() if attempt.outcome else None
        self.problem = _reason(error)
        _log.warning("mqtt_publisher_not_connected", reason=self.problem)


def _properties(message: Outgoing) -> Properties:
    properties = Properties(PacketTypes.PUBLISH)
    properties.ContentType = "application/json"
    properties.UserProperty = ("notification-id", str(message.id))
    return properties


async def _watch(client: Client) -> None:
    """Ends, with the reason, when the broker is gone; nothing is subscribed to."""
    async for _ in client.messages:
        pass


def _reason(error: BaseException | None) -> str:
    said = isinstance(error, MqttError | ssl.SSLError)
    return f"{type(error).__name__}: {error}" if said else type(error).__name__
