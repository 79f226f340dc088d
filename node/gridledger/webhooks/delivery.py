"""Posts to members' servers: to a checked address, without redirects, within a few seconds.

Notices are signed as Standard Webhooks say; OpenADR notifications carry the bearer token their receiver has given.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx
from standardwebhooks import Webhook as Signer

from gridledger import __version__
from gridledger.errors import Unavailable
from gridledger.webhooks.targets import Target

__all__ = ["Delivery", "DeliveryFailed", "Message", "bearer_delivery", "delivery"]

DEADLINE_S = 10.0
_CONNECT_TIMEOUT_S = 3.0
_GONE = 410


@dataclass(kw_only=True, eq=False)
class DeliveryFailed(Unavailable):
    """The receiver did not take the notice; `gone` means that it says it never will."""

    reason: str
    gone: bool = False


@dataclass(frozen=True, kw_only=True)
class Message:
    """What is posted: the receiver tells repetitions by `id`; `at` is the time of this attempt, Unix seconds."""

    id: str
    body: str
    at: int


_Credentials = Callable[[Message], Mapping[str, str]]


class Delivery:
    """Posts to one target over one connection, as long as it lasts."""

    def __init__(self, client: httpx.AsyncClient, target: Target, credentials: _Credentials, deadline_s: float) -> None:
        self._client = client
        self._target = target
        self._credentials = credentials
        self._deadline_s = deadline_s

    async def post(self, message: Message) -> None:
        """Post a message; any 2xx answer means that it was taken. Raises DeliveryFailed."""
        headers = {
            "host": self._target.url.netloc.decode("ascii"),
            "content-type": "application/json",
            "user-agent": f"gridledger/{__version__}",
            "webhook-id": message.id,
            **self._credentials(message),
        }
        try:
            async with asyncio.timeout(self._deadline_s):
                status = await self._status(headers, message.body.encode())
        except TimeoutError:
            raise DeliveryFailed(reason=f"no answer within {self._deadline_s:g} s") from None
        except httpx.HTTPError as error:
            raise DeliveryFailed(reason=type(error).__name__) from None
        if not 200 <= status < 300:
            raise DeliveryFailed(reason=f"status {status}", gone=status == _GONE)

    async def _status(self, headers: Mapping[str, str], body: bytes) -> int:
        """The answer's status from the first address that can be connected to; its body is not read."""
        *others, last = self._target.addresses
        for address in others:
            try:
                return await self._post_to(address, headers, body)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue
        return await self._post_to(last, headers, body)

    async def _post_to(self, address: str, headers: Mapping[str, str], body: bytes) -> int:
        url = self._target.url
        # The certificate is checked for the name in the URL, the connection goes to the address that was checked.
        extensions = {"sni_hostname": url.raw_host.decode("ascii").rstrip(".")}
        pinned = url.copy_with(host=address)
        async with self._client.stream("POST", pinned, content=body, headers=headers, extensions=extensions) as answer:
            return answer.status_code


@asynccontextmanager
async def delivery(
    target: Target, secret: str, tls: ssl.SSLContext, *, deadline_s: float = DEADLINE_S
) -> AsyncIterator[Delivery]:
    """A signed delivery with a client of its own: a connection made for one name is never used for another."""
    async with _client(tls, deadline_s) as client:
        yield Delivery(client, target, _signatures(Signer(secret)), deadline_s)


@asynccontextmanager
async def bearer_delivery(
    target: Target, token: str | None, tls: ssl.SSLContext, *, deadline_s: float = DEADLINE_S
) -> AsyncIterator[Delivery]:
    """A delivery with a bearer token, if its receiver wants one, and with a client of its own."""
    credentials = {} if token is None else {"authorization": f"Bearer {token}"}
    async with _client(tls, deadline_s) as client:
        yield Delivery(client, target, lambda _message: credentials, deadline_s)


def _client(tls: ssl.SSLContext, deadline_s: float) -> httpx.AsyncClient:
    timeout = httpx.Timeout(deadline_s, connect=_CONNECT_TIMEOUT_S)
    return httpx.AsyncClient(verify=tls, trust_env=False, follow_redirects=False, timeout=timeout)


def _signatures(signer: Signer) -> _Credentials:
    def sign(message: Message) -> Mapping[str, str]:
        moment = datetime.fromtimestamp(message.at, UTC)
        return {
            "webhook-timestamp": str(message.at),
            "webhook-signature": signer.sign(msg_id=message.id, timestamp=moment, data=message.body),
        }

    return sign
