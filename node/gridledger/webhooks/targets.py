"""Which URLs the node may post to: a member must not make it reach into the network it stands in (SSRF).

A host name is resolved here, every address it has must be public, and only the addresses found here are connected to: a
name that changes its mind afterwards changes nothing.
"""

import ipaddress
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import httpx

from gridledger.errors import InvalidInput

__all__ = ["AllowList", "Target", "TargetGuard", "WebhookAllowMalformed", "WebhookUrlRefused", "resolve_host"]

LONGEST_URL = 2048
PORTS = (443, 8443)
_MOST_ADDRESSES = 4
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?\.?|[0-9a-f:.]{2,45}")
_NAT64 = IPv6Network("64:ff9b::/96")
_NOT_PUBLIC_THOUGH_GLOBAL = (IPv6Network("64:ff9b:1::/48"), IPv6Network("5f00::/16"), IPv6Network("::/96"))

Resolve = Callable[[str, int], list[str]]


@dataclass(kw_only=True, eq=False)
class WebhookUrlRefused(InvalidInput):
    """The node does not post to this URL."""

    reason: str


@dataclass(kw_only=True, eq=False)
class WebhookAllowMalformed(InvalidInput):
    """GRIDLEDGER_WEBHOOK_ALLOW is a comma-separated list of host names, addresses and networks (CIDR)."""

    entry: str


@dataclass(frozen=True)
class AllowList:
    """Exceptions the operator makes: these hosts and networks may be called, by http too, and on any port."""

    hosts: frozenset[str] = frozenset()
    networks: tuple[IPv4Network | IPv6Network, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "AllowList":
        """Read a comma-separated list. Raises WebhookAllowMalformed."""
        hosts, networks = set[str](), list[IPv4Network | IPv6Network]()
        for entry in filter(None, (part.strip().lower() for part in text.split(","))):
            try:
                networks.append(ipaddress.ip_network(entry))
            except ValueError:
                if not _HOST.fullmatch(entry):
                    raise WebhookAllowMalformed(entry=entry) from None
                hosts.add(entry.rstrip("."))
        return cls(frozenset(hosts), tuple(networks))

    def has_address(self, address: str) -> bool:
        """Whether an address lies in an allowed network."""
        found = _address(address)
        return any(found in network for network in self.networks if network.version == found.version)


@dataclass(frozen=True, kw_only=True)
class Target:
    """A checked URL and the addresses it may be reached at."""

    url: httpx.URL
    addresses: tuple[str, ...]


def resolve_host(host: str, port: int) -> list[str]:
    """Addresses of a host by the system's resolver. Raises OSError."""
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


class TargetGuard:
    """Checks URLs, when a webhook is set and again before each delivery."""

    def __init__(self, allow: AllowList, resolve: Resolve = resolve_host) -> None:
        self._allow = allow
        self._resolve = resolve

    def check(self, text: str) -> Target:
        """The URL with its checked addresses. Raises WebhookUrlRefused."""
        url = _parsed(text)
        host = url.raw_host.decode("ascii").rstrip(".")
        port = url.port or (443 if url.scheme == "https" else 80)
        addresses = self._addresses(host, port)
        if host in self._allow.hosts or all(self._allow.has_address(address) for address in addresses):
            return Target(url=url, addresses=addresses)
        if url.scheme != "https":
            raise WebhookUrlRefused(reason="only https is called")
        if port not in PORTS:
            raise WebhookUrlRefused(reason=f"only ports {', '.join(map(str, PORTS))} are called")
        if not all(_is_public(_address(address)) or self._allow.has_address(address) for address in addresses):
            raise WebhookUrlRefused(reason=_NOT_PUBLIC)
        return Target(url=url, addresses=addresses)

    def _addresses(self, host: str, port: int) -> tuple[str, ...]:
        try:
            found = tuple(dict.fromkeys(self._resolve(host, port)))
        except (OSError, UnicodeError):
            found = ()
        if not found:
            raise WebhookUrlRefused(reason=_NOT_PUBLIC)  # the same words as for a private one: nobody probes with us
        return found[:_MOST_ADDRESSES]


_NOT_PUBLIC = "the host has no address, or one that is not public"


def _parsed(text: str) -> httpx.URL:
    if len(text) > LONGEST_URL:
        raise WebhookUrlRefused(reason=f"longer than {LONGEST_URL} characters")
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, TypeError, ValueError):
        raise WebhookUrlRefused(reason="not a URL") from None
    if url.scheme not in ("http", "https") or not _HOST.fullmatch(url.raw_host.decode("ascii")):
        raise WebhookUrlRefused(reason="not a URL of a web server")
    if url.userinfo or url.fragment:
        raise WebhookUrlRefused(reason="a user name, password or fragment has no place in it")
    return url


def _address(text: str) -> IPv4Address | IPv6Address:
    return ipaddress.ip_address(text)


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address belongs to the public network, looking through every way to write an IPv4 one in IPv6."""
    if isinstance(address, IPv6Address):
        inner = _embedded(address)
        if inner is not None:
            return _is_public(inner)
        if address.is_site_local or any(address in network for network in _NOT_PUBLIC_THOUGH_GLOBAL):
            return False
    return address.is_global and not address.is_multicast


def _embedded(address: IPv6Address) -> IPv4Address | None:
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return None
