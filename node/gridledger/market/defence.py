"""Answers to challenges of the operator's bond that the node can give by itself, from what it has kept.

A challenge of a good order cannot be answered, and is paid. What can be: the owner had cancelled the order, or the
contract has recorded that it could not trade.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from gridledger.clock import Clock
from gridledger.market.model import BookEntry
from gridledger.market.ports import MarketDirectory, MarketMtus

__all__ = [
    "Challenge",
    "Challenges",
    "DefeatByCancel",
    "DefeatByIneligibility",
    "DefenceCommand",
    "Defender",
    "SignedCancellation",
]


@dataclass(frozen=True, kw_only=True)
class Challenge:
    """An open challenge: whose order, in which MTU, and until when it can be answered, Unix seconds."""

    owner: str
    zone: int
    mtu_start: int
    order_uid: str
    respond_by: int


@dataclass(frozen=True, kw_only=True)
class SignedCancellation:
    """An owner's cancellation of an order, or (with a salt) of all up to it, and when it was received."""

    salt: int | None
    signature: bytes
    received_at: int


@dataclass(frozen=True, kw_only=True)
class DefeatByCancel:
    """Show the bond the owner's cancellation."""

    zone: int
    mtu_start: int
    owner: str
    salt: int | None
    signature: bytes


@dataclass(frozen=True, kw_only=True)
class DefeatByIneligibility:
    """Show the bond that the order is recorded as unable to trade."""

    zone: int
    mtu_start: int
    owner: str
    book: tuple[BookEntry, ...]


DefenceCommand = DefeatByCancel | DefeatByIneligibility


class Challenges(Protocol):
    """Challenges and what may answer them."""

    def unanswered(self, now: int) -> tuple[Challenge, ...]:
        """Open challenges that can still be answered and were not answered yet."""

    def mark_answered(self, challenge: Challenge) -> None:
        """Nothing more can be done about it."""

    def cancellations_of(self, order_uid: str) -> Sequence[SignedCancellation]:
        """Cancellations that cover the order, oldest first."""


class DefenceLedger(Protocol):
    """The way to the bond."""

    def submit(self, command: DefenceCommand) -> None:
        """Keep the command for sending."""


class Defender:
    """Answers challenges of one transaction."""

    def __init__(
        self,
        *,
        clock: Clock,
        directory: MarketDirectory,
        mtus: MarketMtus,
        challenges: Challenges,
        ledger: DefenceLedger,
    ) -> None:
        self._clock, self._directory, self._mtus = clock, directory, mtus
        self._challenges, self._ledger = challenges, ledger

    def answer(self) -> tuple[Challenge, ...]:
        """Answer what can be answered; returns the challenges that were looked at."""
        challenges = self._challenges.unanswered(self._clock.now())
        for challenge in challenges:
            command = self._by_cancel(challenge) or self._by_record(challenge)
            if command is not None:
                self._ledger.submit(command)
            self._challenges.mark_answered(challenge)
        return challenges

    def _by_cancel(self, challenge: Challenge) -> DefeatByCancel | None:
        gate_closure = challenge.mtu_start - self._directory.policy_at(challenge.mtu_start).gate_closure_s
        for found in self._challenges.cancellations_of(challenge.order_uid):
            if found.received_at < gate_closure:
                return DefeatByCancel(
                    zone=challenge.zone,
                    mtu_start=challenge.mtu_start,
                    owner=challenge.owner,
                    salt=found.salt,
                    signature=found.signature,
                )
        return None

    def _by_record(self, challenge: Challenge) -> DefeatByIneligibility | None:
        if self._mtus.find(challenge.zone, challenge.mtu_start) is None:
            return None
        book = self._mtus.book(challenge.zone, challenge.mtu_start)
        for entry in book:
            if entry.uid == challenge.order_uid and entry.ineligible is not None:
                return DefeatByIneligibility(
                    zone=challenge.zone, mtu_start=challenge.mtu_start, owner=challenge.owner, book=book
                )
        return None
