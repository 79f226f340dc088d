"""The broker that OpenADR clients listen to, and what they are told of it. Importing this loads no MQTT client."""

from collections.abc import Mapping
from dataclasses import dataclass

from gridledger.errors import InvalidInput
from gridledger.mqtt.settings import MqttSettings

__all__ = ["BrokerAuthenticationUnknown", "OpenAdrBroker"]

_SETTINGS = "GRIDLEDGER_OPENADR_MQTT"
_AUTHENTICATION, _CLIENT_URL = f"{_SETTINGS}_AUTHENTICATION", f"{_SETTINGS}_CLIENT_URL"
ANONYMOUS, BEARER = "ANONYMOUS", "OAUTH2_BEARER_TOKEN"
_SHOWN_CHARACTERS = 60


@dataclass(kw_only=True, eq=False)
class BrokerAuthenticationUnknown(InvalidInput):
    """GRIDLEDGER_OPENADR_MQTT_AUTHENTICATION is ANONYMOUS or OAUTH2_BEARER_TOKEN."""

    text: str


@dataclass(frozen=True, kw_only=True)
class OpenAdrBroker:
    """The node publishes by `settings`; clients are sent to `client_url`.

    A broker that `knows_clients` takes their id as user name and their token as password, and lets each read only what
    is meant for it; at any other, only what everybody may know is published.
    """

    settings: MqttSettings
    client_url: str
    knows_clients: bool = False

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "OpenAdrBroker | None":
        """The broker that GRIDLEDGER_OPENADR_MQTT_URL names, None without it.

        Raises MqttUrlMalformed, MqttSettingMissing, BrokerAuthenticationUnknown.
        """
        settings = MqttSettings.from_environment(environment, _SETTINGS)
        if settings is None:
            return None
        authentication = environment.get(_AUTHENTICATION) or ANONYMOUS
        if authentication not in (ANONYMOUS, BEARER):
            raise BrokerAuthenticationUnknown(text=authentication[:_SHOWN_CHARACTERS])
        return cls(
            settings=settings,
            client_url=environment.get(_CLIENT_URL) or settings.url,
            knows_clients=authentication == BEARER,
        )

    @property
    def authentication(self) -> dict[str, str]:
        """How clients say who they are, as the standard's MQTT notifier binding puts it."""
        return {"method": BEARER, "username": "{clientID}"} if self.knows_clients else {"method": ANONYMOUS}
