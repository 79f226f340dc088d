"""What can be wrong with a message from the broker, or with the way to it."""

from dataclasses import dataclass

from gridledger.errors import Forbidden, InvalidInput, Unavailable

__all__ = [
    "MqttSettingMissing",
    "MqttTlsUnusable",
    "MqttUrlMalformed",
    "PayloadTooLarge",
    "PayloadUnreadable",
    "ReadingsNotKept",
    "SubscriptionRefused",
    "TopicMeterMismatch",
]


@dataclass(kw_only=True, eq=False)
class MqttUrlMalformed(InvalidInput):
    """The broker's URL is mqtts://host:port, or mqtt://host:port of this machine."""

    problem: str


@dataclass(kw_only=True, eq=False)
class MqttSettingMissing(InvalidInput):
    """A broker that is reached by TLS needs this setting, too."""

    name: str


@dataclass(kw_only=True, eq=False)
class MqttTlsUnusable(Unavailable):
    """The files for TLS to the broker cannot be used."""

    setting: str
    reason: str


@dataclass(kw_only=True, eq=False)
class SubscriptionRefused(Unavailable):
    """The broker does not let the node subscribe."""

    topic: str
    reason: str


@dataclass(kw_only=True, eq=False)
class PayloadTooLarge(InvalidInput):
    """The message is too long."""

    length_bytes: int
    highest_bytes: int


@dataclass(kw_only=True, eq=False)
class PayloadUnreadable(InvalidInput):
    """The message holds no texts: one, one on each line, or a JSON array of them."""

    problem: str


@dataclass(kw_only=True, eq=False)
class TopicMeterMismatch(Forbidden):
    """The text names another meter than the topic it was published to."""

    topic_meter: int
    meter: int


@dataclass(kw_only=True, eq=False)
class ReadingsNotKept(Unavailable):
    """The node failed over this text and has not kept it; send it again later."""

    reason: str
