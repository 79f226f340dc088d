"""Sign-In with Ethereum (EIP-4361): nonces this node has given, and what a signed message must say.

The only module that knows the package `siwe`. A nonce needs no memory: it carries its time and this process's seal;
that it was used is kept with the session it began (`store.sessions`).
"""

import hmac
import secrets
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

from eth_account import Account
from eth_account.messages import encode_defunct
from eth_keys.exceptions import BadSignature
from eth_utils.exceptions import ValidationError

from gridledger.clock import Clock
from gridledger.errors import InvalidInput, Unauthenticated

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # siwe 4.4 redefines core rules of the grammar, to the same
    from siwe import ExpiredMessage, InvalidSignature, NotYetValidMessage, SiweMessage

__all__ = ["Challenge", "PublicUrlMalformed", "SignIn", "SignInMalformed", "SignInRefused", "SignedIn"]

LONGEST_MESSAGE = 1_000  # its grammar's parser takes time that grows with the square of the length
NONCE_LIFE_S = 300
SESSION_LIFE_S = 12 * 3_600
_HEADER_END = " wants you to sign in with your Ethereum account:"
_TIME_DIGITS, _RANDOM_DIGITS, _SEAL_DIGITS = 10, 16, 32


@dataclass(kw_only=True, eq=False)
class SignInMalformed(InvalidInput):
    """The message does not have the form of EIP-4361."""


@dataclass(kw_only=True, eq=False)
class SignInRefused(Unauthenticated):
    """The signed message does not sign anybody in here."""

    field: str
    reason: str


@dataclass(kw_only=True, eq=False)
class PublicUrlMalformed(InvalidInput):
    """GRIDLEDGER_PUBLIC_URL must be an origin: http or https, host and perhaps a port, nothing more."""

    url: str


@dataclass(frozen=True, kw_only=True)
class Challenge:
    """What a member's message has to say; times in Unix seconds by the node's clock."""

    nonce: str
    domain: str
    uri: str
    chain_id: int
    issued_at: int
    expires_at: int


@dataclass(frozen=True, kw_only=True)
class SignedIn:
    """Who has signed in, with the nonce that is used up and how long it would have been good for."""

    address: str
    nonce: str
    nonce_until: int
    expires_at: int


class SignIn:
    """Checks signed messages against one origin and chain, by the node's clock."""

    def __init__(self, *, public_url: str, chain_id: int, clock: Clock) -> None:
        """`public_url` is the origin members see in their wallets. Raises PublicUrlMalformed."""
        parts = urlsplit(public_url)
        plain = not (parts.query or parts.fragment or "@" in parts.netloc) and parts.path in ("", "/")
        if parts.scheme not in ("http", "https") or not parts.netloc or not plain:
            raise PublicUrlMalformed(url=public_url)
        self._scheme, self._domain = parts.scheme, parts.netloc
        self._chain_id = chain_id
        self._clock = clock
        self._seal_key = secrets.token_bytes(32)

    def challenge(self) -> Challenge:
        """A fresh nonce and the fields to sign with it."""
        now = self._clock.now()
        unsealed = f"{now:0{_TIME_DIGITS}x}{secrets.token_hex(_RANDOM_DIGITS // 2)}"
        return Challenge(
            nonce=unsealed + self._seal(unsealed),
            domain=self._domain,
            uri=f"{self._scheme}://{self._domain}",
            chain_id=self._chain_id,
            issued_at=now,
            expires_at=now + NONCE_LIFE_S,
        )

    def signer(self, message: str, signature: str) -> str:
        """The address that the message names and that has signed it; quick, nothing else is looked at.

        Raises SignInMalformed, SignInRefused.
        """
        header, _, rest = message.partition("\n")
        if not header.endswith(_HEADER_END):
            raise SignInMalformed
        if header.removesuffix(_HEADER_END).removeprefix(f"{self._scheme}://") != self._domain:
            raise SignInRefused(field="domain", reason=f"the message must be for {self._domain}")
        try:
            address = str(Account.recover_message(encode_defunct(text=message), signature=signature))
        except (BadSignature, ValidationError, ValueError):
            address = ""
        if address != rest.partition("\n")[0]:
            raise SignInRefused(field="signature", reason="not by the account that the message names")
        return address

    def verify(self, message: str, signature: str) -> SignedIn:
        """Check a message of `signer` in full. Raises SignInMalformed, SignInRefused."""
        now = self._clock.now()
        parsed = _parsed(message)
        uri = urlsplit(parsed.uri)
        if (uri.scheme, uri.netloc) != (self._scheme, self._domain):
            raise SignInRefused(field="uri", reason=f"the URI must be of {self._scheme}://{self._domain}")
        if parsed.chain_id != self._chain_id:
            raise SignInRefused(field="chain_id", reason=f"the chain must be {self._chain_id}")
        nonce_until = self._nonce_until(parsed.nonce)
        if nonce_until is None or nonce_until < now:
            raise SignInRefused(field="nonce", reason="not given by this node, or too long ago: ask for a new one")
        if abs(_seconds(parsed.issued_at) - now) > NONCE_LIFE_S:
            raise SignInRefused(field="issued_at", reason=f"more than {NONCE_LIFE_S} s from the node's time {now}")
        try:
            parsed.verify(signature, domain=self._domain, timestamp=datetime.fromtimestamp(now, UTC))
        except ExpiredMessage:
            raise SignInRefused(field="expiration_time", reason=f"before the node's time {now}") from None
        except NotYetValidMessage:
            raise SignInRefused(field="not_before", reason=f"after the node's time {now}") from None
        except (InvalidSignature, BadSignature):
            raise SignInRefused(field="signature", reason="not by the account that the message names") from None
        expires_at = now + SESSION_LIFE_S
        if parsed.expiration_time is not None:
            expires_at = min(expires_at, int(_seconds(parsed.expiration_time)))
        return SignedIn(address=str(parsed.address), nonce=parsed.nonce, nonce_until=nonce_until, expires_at=expires_at)

    def _nonce_until(self, nonce: str) -> int | None:
        """Until when a nonce of this process is good; None for any other."""
        unsealed, seal = nonce[:-_SEAL_DIGITS], nonce[-_SEAL_DIGITS:]
        if not hmac.compare_digest(self._seal(unsealed), seal):
            return None
        return int(unsealed[:_TIME_DIGITS], 16) + NONCE_LIFE_S

    def _seal(self, unsealed: str) -> str:
        return hmac.new(self._seal_key, unsealed.encode(), "sha256").hexdigest()[:_SEAL_DIGITS]


def _parsed(message: str) -> SiweMessage:
    """The message by its grammar; what was signed must be what the fields say, to the letter."""
    try:
        parsed = SiweMessage.from_message(message)
        if parsed.prepare_message() == message:
            return parsed
    except ValueError:
        pass
    raise SignInMalformed


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
