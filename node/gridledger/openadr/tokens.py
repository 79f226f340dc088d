"""Access tokens: JWTs (RFC 7519, RFC 9068's claims) that this node signs and reads; nothing of them is stored.

Their times are the machine's, in a replay too, as clients reckon with `expires_in`.
"""

from dataclasses import dataclass
from pathlib import Path

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from gridledger.clock import Clock
from gridledger.errors import Unauthenticated
from gridledger.webhooks.sealing import key_in

__all__ = ["TOKEN_LIFE_S", "TokenClaims", "TokenRefused", "Tokens"]

TOKEN_LIFE_S = 3_600
LONGEST_TOKEN = 4_096
_ALGORITHM = "HS256"
_SKEW_S = 60


@dataclass(kw_only=True, eq=False)
class TokenRefused(Unauthenticated):
    """The request needs a token of this node that has not expired: `POST auth/token` gives one."""


@dataclass(frozen=True)
class TokenClaims:
    """Whom a token was given to and what it is good for."""

    client_id: str
    scopes: frozenset[str]


class Tokens:
    """Signs and reads tokens with the key in a file; the file is made when it is first needed."""

    def __init__(self, *, key_file: Path, issuer: str, clock: Clock) -> None:
        self._key_file = key_file
        self._issuer = issuer
        self._clock = clock

    def issue(self, client_id: str, scopes: frozenset[str]) -> str:
        """A token for a client, good for TOKEN_LIFE_S."""
        now = self._clock.now()
        claims = {
            "iss": self._issuer,
            "aud": self._issuer,
            "sub": client_id,
            "client_id": client_id,
            "scope": " ".join(sorted(scopes)),
            "iat": now,
            "exp": now + TOKEN_LIFE_S,
        }
        return jwt.encode({"alg": _ALGORITHM, "typ": "at+jwt"}, claims, self._key(), algorithms=[_ALGORITHM])

    def read(self, token: str) -> TokenClaims:
        """What a token says, if this node signed it and it has not expired. Raises TokenRefused."""
        if len(token) > LONGEST_TOKEN:
            raise TokenRefused
        now = self._clock.now()
        registry = jwt.JWTClaimsRegistry(
            now=now,
            leeway=0,
            iss={"essential": True, "value": self._issuer},
            aud={"essential": True, "value": self._issuer},
            sub={"essential": True},
            exp={"essential": True},
        )
        try:
            decoded = jwt.decode(token, self._key(), algorithms=[_ALGORITHM])
            registry.validate(decoded.claims)
            client_id, scope, issued_at = decoded.claims["sub"], decoded.claims["scope"], decoded.claims["iat"]
        except (JoseError, ValueError, KeyError):
            raise TokenRefused from None
        if issued_at > now + _SKEW_S:
            raise TokenRefused
        return TokenClaims(client_id, frozenset(scope.split()))

    def _key(self) -> OctKey:
        return OctKey.import_key(key_in(self._key_file))
