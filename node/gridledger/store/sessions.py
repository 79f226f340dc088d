"""Sessions of signed-in accounts. Only the hash of a token is kept, and with it the nonce that made it, used up."""

from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, or_, select, update

from gridledger.errors import Conflict, Unauthenticated
from gridledger.store.schema import sign_in_session

__all__ = ["NonceUsed", "SessionOpening", "Sessions", "TooManySessions"]

MOST_PER_OWNER = 32


@dataclass(kw_only=True, eq=False)
class NonceUsed(Unauthenticated):
    """The nonce was used before: ask for a new one and sign again."""


@dataclass(kw_only=True, eq=False)
class TooManySessions(Conflict):
    """The account has as many sessions as it may have: end one, and wait until its nonce has expired."""

    owner: str
    most: int


@dataclass(frozen=True, kw_only=True)
class SessionOpening:
    """A session about to begin; times in Unix seconds by the node's clock."""

    token_sha256: str
    owner: str
    nonce: str
    nonce_until: int
    expires_at: int


class Sessions:
    """Sessions of one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, opening: SessionOpening, now: int) -> None:
        """Begin a session and forget those that are past. Raises NonceUsed, TooManySessions.

        An ended session is kept until its nonce has expired, so that the nonce cannot be used again.
        """
        table = sign_in_session.c
        past = or_(table.expires_at <= now, table.ended.is_(True)) & (table.nonce_until < now)
        self._connection.execute(delete(sign_in_session).where(past))
        used = select(table.nonce).where(table.nonce == opening.nonce)
        if self._connection.execute(used).first() is not None:
            raise NonceUsed
        count = select(func.count()).select_from(sign_in_session).where(table.owner == opening.owner)
        if self._connection.execute(count).scalar_one() >= MOST_PER_OWNER:
            raise TooManySessions(owner=opening.owner, most=MOST_PER_OWNER)
        self._connection.execute(
            insert(sign_in_session).values(
                token_sha256=opening.token_sha256,
                owner=opening.owner,
                nonce=opening.nonce,
                nonce_until=opening.nonce_until,
                created_at=now,
                expires_at=opening.expires_at,
                ended=False,
            )
        )

    def owner_of(self, token_sha256: str, now: int) -> str | None:
        """The account of a session that has neither ended nor expired."""
        table = sign_in_session.c
        query = select(table.owner).where(
            table.token_sha256 == token_sha256, table.ended.is_(False), table.expires_at > now
        )
        return self._connection.execute(query).scalar()

    def end(self, token_sha256: str) -> None:
        """End a session."""
        table = sign_in_session.c
        self._connection.execute(update(sign_in_session).where(table.token_sha256 == token_sha256).values(ended=True))
