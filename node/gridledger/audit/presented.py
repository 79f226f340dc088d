"""What transactions presented to the contracts, read from their call data: clearings and settlements."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from gridledger.market.model import Acceptance, Order, Position, Trade
from gridledger.market.order_hash import OrderDomain, acceptance_uid, order_uid
from gridledger.market.packing import (
    acceptance_from_words,
    fill_of,
    is_acceptance,
    order_from_words,
    position_from_words,
    terms_meter,
    trade_from_word,
)

__all__ = [
    "NO_ORDER",
    "ClearingCall",
    "EntryKind",
    "PresentedWords",
    "SettlementCall",
    "clearing_call",
    "settlement_call",
]

NO_ORDER = 2**16 - 1  # EnergyTrading.NO_ORDER: floor or cap instead of a named order


class EntryKind(StrEnum):
    """How a position was closed or corrected; the values are the names of the contract's events."""

    READ = "PositionSettled"
    SUBSTITUTED = "PositionSubstituted"
    CORRECTED = "PositionResettled"
    REFUNDED = "PositionRefunded"


class PresentedWords(NamedTuple):
    """A presented order or acceptance: two packed words and a compact signature."""

    terms: int
    guard: int
    r: bytes
    vs: bytes

    @property
    def meter(self) -> int:
        """The meter it is for."""
        return terms_meter(self.terms)

    @property
    def is_acceptance(self) -> bool:
        """Whether it is an acceptance and not an order."""
        return is_acceptance(self.terms)

    @property
    def book_index(self) -> int:
        """Its place in the committed book."""
        return fill_of(self.terms)[0]

    @property
    def fill_wh(self) -> int:
        """What this chunk fills of it, Wh."""
        return fill_of(self.terms)[1]

    def order(self, owner: str) -> Order:
        """The order its owner signed."""
        return order_from_words(self.terms, self.guard, owner)

    def acceptance(self, owner: str) -> Acceptance:
        """The acceptance its owner signed."""
        return acceptance_from_words(self.terms, self.guard, owner)

    def uid(self, domain: OrderDomain, owner: str) -> str:
        """Uid under an owner's address."""
        if self.is_acceptance:
            return acceptance_uid(domain, self.acceptance(owner))
        return order_uid(domain, self.order(owner))

    @property
    def signature(self) -> bytes:
        """The 65-byte form of its signature (EIP-2098)."""
        vs = int.from_bytes(self.vs)
        return self.r + (vs & (1 << 255) - 1).to_bytes(32) + bytes((27 + (vs >> 255),))


@dataclass(frozen=True, kw_only=True)
class ClearingCall:
    """One chunk of a clearing as it was presented; prices in cents per MWh, ends by index into `orders` + `ends`.

    The last chunk's root of the setpoints counts.
    """

    zone: int
    mtu_start: int
    chunk: int
    last: bool
    merged: bool
    any_price: int
    low_carbon_price: int
    any_ends: tuple[int, int]
    low_carbon_ends: tuple[int, int]
    book_numbers: bytes
    other_uids: tuple[bytes, ...]
    orders: tuple[PresentedWords, ...]
    ends: tuple[PresentedWords, ...]
    accepted_offers: tuple[int, ...]
    continued_meters: frozenset[int]
    setpoints_root: str

    @property
    def presented(self) -> tuple[PresentedWords, ...]:
        """Orders with energy, then the named ends without."""
        return (*self.orders, *self.ends)

    def dealt_wh(self) -> list[int]:
        """Energy of each order with energy that was accepted directly, Wh."""
        dealt = [0] * len(self.orders)
        acceptances = (item for item in self.orders if item.is_acceptance)
        for offer, item in zip(self.accepted_offers, acceptances, strict=True):
            dealt[offer] += item.fill_wh
        return dealt


@dataclass(frozen=True, kw_only=True)
class SettlementCall:
    """A settlement, substitution or refund as it was presented; `metered_wh` is empty but for settlements."""

    zone: int
    mtu_start: int
    chunk: int
    positions: tuple[Position, ...]
    deals: tuple[Trade, ...]
    indexes: tuple[int, ...]
    metered_wh: tuple[int, ...]


def clearing_call(arguments: Sequence[Any]) -> ClearingCall:
    """Read the arguments of EnergyTrading.clear."""
    values: Mapping[str, Any] = arguments[0]
    return ClearingCall(
        zone=values["zone"],
        mtu_start=values["mtuStart"],
        chunk=values["chunk"],
        last=values["last"],
        merged=values["merged"],
        any_price=values["anyPrice"],
        low_carbon_price=values["lowCarbonPrice"],
        any_ends=_ends(values["anyEnds"]),
        low_carbon_ends=_ends(values["lowCarbonEnds"]),
        book_numbers=values["bookNumbers"],
        other_uids=tuple(values["otherUids"]),
        orders=_words(values["orders"]),
        ends=_words(values["ends"]),
        accepted_offers=tuple(values["acceptedOffers"]),
        continued_meters=frozenset(values["continuedMeters"]),
        setpoints_root="0x" + values["setpointsRoot"].hex(),
    )


def settlement_call(arguments: Sequence[Any]) -> SettlementCall:
    """Read the arguments of EnergySettlement.settle, settleSubstitutes or refund."""
    zone, mtu_start, chunk, positions, deals, indexes, *metered = arguments
    return SettlementCall(
        zone=zone,
        mtu_start=mtu_start,
        chunk=chunk,
        positions=position_from_words(positions),
        deals=tuple(trade_from_word(word) for word in deals),
        indexes=tuple(indexes),
        metered_wh=tuple(metered[0]) if metered else (),
    )


def _ends(values: Mapping[str, int]) -> tuple[int, int]:
    return values["lower"], values["upper"]


def _words(orders: Sequence[Mapping[str, Any]]) -> tuple[PresentedWords, ...]:
    return tuple(PresentedWords(order["terms"], order["guard"], order["r"], order["vs"]) for order in orders)
