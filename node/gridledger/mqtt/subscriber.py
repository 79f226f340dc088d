"""The node at the broker: one persistent session, each message acknowledged after its readings are kept.

The session (QoS 1, seven days) outlives the connection: the broker holds what comes while the node is away, and sends
again what was not acknowledged. It sends at most 32 messages that are not acknowledged; no queue grows longer.
Source: OASIS MQTT 5.0.
"""

import asyncio
import json
import ssl
from collections.abc import Awaitable, Sequence
from typing import Self

import structlog
from aiomqtt import Client, Message, MqttCodeError, MqttError, ProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions
from prometheus_client import CollectorRegistry, Counter, Gauge
from tenacity import AsyncRetrying, RetryCallState, wait_exponential, wait_random

from gridledger.metering.topics import NODE_NAME, READINGS_OF_ALL, outcomes_topic
from gridledger.metering.validation import GREATEST_AGE_S
from gridledger.mqtt.errors import SubscriptionRefused
from gridledger.mqtt.inbox import Answer, Arrival, Inbox
from gridledger.mqtt.payload import MAX_PAYLOAD_BYTES
from gridledger.mqtt.settings import MqttSettings

__all__ = ["ReadingSubscriber"]

_MOST_UNACKNOWLEDGED = 32
_MOST_WAITING_AT_QOS_0 = 256
_LARGEST_PACKET_BYTES = 2 * MAX_PAYLOAD_BYTES
_MAX_CORRELATION_BYTES = 64
_KEEPALIVE_S = 15
_STABLE_S = 30.0
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 30.0
_log = structlog.get_logger(__name__)


class ReadingSubscriber:
    """Takes readings from the broker and publishes what became of them, until it is cancelled."""

    def __init__(
        self, *, settings: MqttSettings, tls: ssl.SSLContext | None, inbox: Inbox, registry: CollectorRegistry
    ) -> None:
        self._settings = settings
        self._tls = tls
        self._inbox = inbox
        self._connected = Gauge("gridledger_mqtt_connected", "1 while the broker is connected", registry=registry)
        self._messages = Counter(
            "gridledger_mqtt_messages_total",
            "Messages from the broker: answered text by text, or refused as a whole",
            ["result"],
            registry=registry,
        )
        self.problem: str | None = "not connected yet"

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
            _log.warning("mqtt_disconnected", reason=_reason(error))

    async def _session(self) -> None:
        async with self._client() as client:
            await _subscribe(client)
            self.problem = None
            self._connected.set(1)
            _log.info("mqtt_connected")
            try:
                while True:
                    await self._turn(client)
            except BaseException as error:
                self.problem = _reason(error)
                raise
            finally:
                self._connected.set(0)

    async def _turn(self, client: "_AcknowledgingClient") -> None:
        """Keep what waits, say what became of it, acknowledge it: in this order, so that a crash loses nothing."""
        messages = await client.waiting()
        arrivals = [Arrival(topic=str(message.topic), payload=message.payload) for message in messages]
        answers = await asyncio.to_thread(self._inbox.take, arrivals)
        for answer in answers:
            self._messages.labels("refused" if answer.refused else "answered").inc()
        await asyncio.gather(*_outcomes(client, messages, answers))
        for message in messages:
            client.acknowledge(message)

    def _client(self) -> "_AcknowledgingClient":
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = GREATEST_AGE_S
        properties.ReceiveMaximum = _MOST_UNACKNOWLEDGED
        properties.MaximumPacketSize = _LARGEST_PACKET_BYTES
        return _AcknowledgingClient(
            self._settings.host,
            self._settings.port,
            identifier=NODE_NAME,
            protocol=ProtocolVersion.V5,
            clean_start=False,
            properties=properties,
            tls_context=self._tls,
            keepalive=_KEEPALIVE_S,
            queue_type=_Waiting,
        )

    def _tell(self, attempt: RetryCallState) -> None:
        error = attempt.outcome.exception() if attempt.outcome else None
        self.problem = _reason(error)
        _log.warning("mqtt_not_connected", reason=self.problem)


class _Waiting(asyncio.Queue[Message]):
    """Messages of QoS 1 are bounded by what the broker may send; those of QoS 0, which may get lost, only here."""

    def put_nowait(self, item: Message) -> None:
        if item.qos == 0 and self.qsize() >= _MOST_WAITING_AT_QOS_0:
            raise asyncio.QueueFull
        super().put_nowait(item)


class _AcknowledgingClient(Client):
    """aiomqtt acknowledges a message when it arrives; this one when it is told to."""

    async def __aenter__(self) -> Self:
        self._client.manual_ack_set(on=True)
        self.pending_calls_threshold = _MOST_UNACKNOWLEDGED + 1
        await super().__aenter__()
        return self

    async def waiting(self) -> list[Message]:
        """The next message, and those that have arrived behind it."""
        messages = [await anext(self.messages)]
        while len(self.messages) and len(messages) < _MOST_UNACKNOWLEDGED:
            messages.append(await anext(self.messages))
        return messages

    def acknowledge(self, message: Message) -> None:
        """Tell the broker to forget the message. Raises MqttCodeError."""
        code = self._client.ack(message.mid, message.qos)
        if code:
            raise MqttCodeError(code)


async def _subscribe(client: Client) -> None:
    """Also where the session remembers the subscription: it may be a new one. Raises SubscriptionRefused."""
    options = SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB)
    for code in await client.subscribe(READINGS_OF_ALL, options=options):
        if isinstance(code, ReasonCode) and code.is_failure:
            raise SubscriptionRefused(topic=READINGS_OF_ALL, reason=str(code))


def _outcomes(client: Client, messages: Sequence[Message], answers: Sequence[Answer]) -> list[Awaitable[None]]:
    return [
        client.publish(
            outcomes_topic(answer.meter),
            json.dumps(answer.document, separators=(",", ":")),
            qos=1,
            properties=_properties(message, answer),
        )
        for message, answer in zip(messages, answers, strict=True)
        if answer.meter is not None
    ]


def _properties(message: Message, answer: Answer) -> Properties:
    """The media type, and what a sender gave to know its message by."""
    properties = Properties(PacketTypes.PUBLISH)
    properties.ContentType = "application/problem+json" if answer.refused else "application/json"
    correlation = getattr(message.properties, "CorrelationData", b"")
    if 0 < len(correlation) <= _MAX_CORRELATION_BYTES:
        properties.CorrelationData = correlation
    return properties


def _reason(error: BaseException | None) -> str:
    """Errors of the connection speak for themselves; others might repeat what a meter has sent."""
    said = isinstance(error, MqttError | SubscriptionRefused | ssl.SSLError)
    return f"{type(error).__name__}: {error}" if said else type(error).__name__
