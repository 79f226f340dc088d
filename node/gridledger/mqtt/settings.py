"""Which broker the node talks to, and as whom. Importing this loads no MQTT client."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from gridledger.mqtt.errors import MqttSettingMissing, MqttTlsUnusable, MqttUrlMalformed

__all__ = ["MqttSettings", "TlsFiles"]

_OF_METERS = "GRIDLEDGER_MQTT"
_URL, _CA, _CERTIFICATE, _KEY = "_URL", "_CA", "_CERTIFICATE", "_KEY"
_PORTS = {"mqtt": 1883, "mqtts": 8883}


@dataclass(frozen=True, kw_only=True)
class TlsFiles:
    """PEM files: who signs the broker's certificate, the node's certificate, its private key.

    `settings` is how the names of the settings they come from begin.
    """

    ca: Path
    certificate: Path
    key: Path
    settings: str = _OF_METERS

    def context(self) -> ssl.SSLContext:
        """TLS 1.2 or newer; the broker's certificate is checked for its host name. Raises MqttTlsUnusable."""
        try:
            context = ssl.create_default_context(cafile=self.ca)
        except (OSError, ValueError) as error:
            raise MqttTlsUnusable(setting=self.settings + _CA, reason=_reason(error)) from None
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(self.certificate, self.key, password=_no_password)
        except (OSError, ValueError) as error:
            names = f"{self.settings}{_CERTIFICATE}, {self.settings}{_KEY}"
            raise MqttTlsUnusable(setting=names, reason=_reason(error)) from None
        return context


@dataclass(frozen=True, kw_only=True)
class MqttSettings:
    """A broker; without `tls` it is one of this machine."""

    host: str
    port: int
    tls: TlsFiles | None

    @property
    def url(self) -> str:
        """Where it is, as a URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtt' if self.tls is None else 'mqtts'}://{host}:{self.port}"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], settings: str = _OF_METERS) -> "MqttSettings | None":
        """The broker that GRIDLEDGER_MQTT_URL names, None without it. Raises MqttUrlMalformed, MqttSettingMissing.

        `settings` is how the names of the settings begin: that one's is GRIDLEDGER_MQTT.
        """
        url = environment.get(settings + _URL, "")
        if not url:
            return None
        scheme, host, port = _parts(url)
        if scheme == "mqtt":
            if not _is_loopback(host):
                raise MqttUrlMalformed(problem="without TLS only this machine is called")
            return cls(host=host, port=port, tls=None)
        paths = {name: environment.get(settings + name, "") for name in (_CA, _CERTIFICATE, _KEY)}
        for name, path in paths.items():
            if not path:
                raise MqttSettingMissing(name=settings + name)
        tls = TlsFiles(
            ca=Path(paths[_CA]), certificate=Path(paths[_CERTIFICATE]), key=Path(paths[_KEY]), settings=settings
        )
        return cls(host=host, port=port, tls=tls)


def _parts(url: str) -> tuple[str, str, int]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise MqttUrlMalformed(problem="not a URL with a port from 1 to 65535") from None
    if parts.scheme not in _PORTS or not parts.hostname:
        raise MqttUrlMalformed(problem="not mqtts:// or mqtt:// and a host")
    if parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc or port == 0:
        raise MqttUrlMalformed(problem="more than a host and a port")
    return parts.scheme, parts.hostname, port or _PORTS[parts.scheme]


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _no_password() -> bytes:
    """An encrypted key is refused; without this the start would wait for somebody to type a password."""
    return b""


def _reason(error: Exception) -> str:
    """OpenSSL's or the system's words, without the path."""
    return str(getattr(error, "reason", None) or getattr(error, "strerror", None) or error)
