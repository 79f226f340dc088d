"""What the market room needs from outside. Adapters implement these; tests use small fakes."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from gridledger.market.locking import Proposal
from gridledger.market.model import (
    BookEntry,
    CashAccount,
    MeterFacts,
    MtuPhase,
    MtuPrices,
    OrderState,
    Policy,
    Position,
    Receipt,
    Side,
    SignedOrder,
    Trade,
)

__all__ = [
    "AcceptedOrder",
    "CommitBook",
    "Ledger",
    "LedgerCommand",
    "MarketDirectory",
    "MarketMtus",
    "MtuRecord",
    "OrderStore",
    "PublishPrice",
    "ReceiptSigner",
    "SettlePositions",
    "SubmitClearing",
]


@dataclass(frozen=True, kw_only=True)
class AcceptedOrder:
    """An order with everything the node has promised and knows about it."""

    signed: SignedOrder
    zone: int
    client_id: str | None
    receipt: Receipt
    worst_case_microcents: int
    state: OrderState
    state_reason: str | None
    filled_wh: int


@dataclass(frozen=True, kw_only=True)
class MtuRecord:
    """One zone and MTU as far as the node has brought it."""

    zone: int
    mtu_start: int
    phase: MtuPhase
    book_hash: str
    order_count: int
    supply_wh: int
    demand_wh: int
    reference_price_cents_per_mwh: int | None
    price_cents_per_mwh: int | None
    traded_wh: int | None
    failure: str | None


@dataclass(frozen=True, kw_only=True)
class CommitBook:
    """Commit a closed book on chain."""

    zone: int
    mtu_start: int
    book_hash: str
    order_count: int


@dataclass(frozen=True, kw_only=True)
class PublishPrice:
    """Publish the zone's reference price on chain."""

    zone: int
    mtu_start: int
    supply_wh: int
    demand_wh: int


@dataclass(frozen=True, kw_only=True)
class SubmitClearing:
    """Propose a clearing to the trading contract."""

    zone: int
    mtu_start: int
    book: bytes
    proposal: Proposal


@dataclass(frozen=True, kw_only=True)
class SettlePositions:
    """Settle positions by index; `metered_wh` is export minus import of each, Wh."""

    zone: int
    mtu_start: int
    positions: tuple[Position, ...]
    trades: tuple[Trade, ...]
    indexes: tuple[int, ...]
    metered_wh: tuple[int, ...]


LedgerCommand = CommitBook | PublishPrice | SubmitClearing | SettlePositions


class Ledger(Protocol):
    """The way to the contracts: commands are kept with the facts of the same transaction and sent until mined."""

    def submit(self, command: LedgerCommand) -> None:
        """Keep the command for sending."""


class ReceiptSigner(Protocol):
    """Signs receipts with the market operator's key."""

    def sign(self, order_uid: str, running_number: int, received_at: int, block_hash: str) -> str:
        """EIP-712 signature over the receipt, 0x hex."""


class MarketDirectory(Protocol):
    """What the chain says about members and rules."""

    def meter(self, meter: int) -> MeterFacts | None:
        """Facts of a registered meter."""

    def meters(self, meters: Sequence[int]) -> dict[int, MeterFacts]:
        """Facts of many meters; unknown ones are left out."""

    def is_admitted(self, account: str) -> bool:
        """Whether the account may trade."""

    def is_suspended(self, account: str) -> bool:
        """Whether the regulator has suspended the account."""

    def is_halted(self, zone: int) -> bool:
        """Whether the zone or the whole market is halted."""

    def account(self, account: str) -> CashAccount:
        """Free money and credit."""

    def policy_at(self, mtu_start: int) -> Policy:
        """Rules of the MTU."""

    def prices_at(self, mtu_start: int) -> MtuPrices:
        """Prices of the MTU."""

    def latest_block_hash(self) -> str:
        """Hash of the newest indexed block."""


class OrderStore(Protocol):
    """Accepted orders and their cancellations."""

    def find(self, uid: str) -> AcceptedOrder | None:
        """The order with this uid."""

    def find_by_client_id(self, owner: str, client_id: str) -> AcceptedOrder | None:
        """The owner's order with this client-made id."""

    def next_running_number(self) -> int:
        """The number after the last receipt's, from 1 on."""

    def committed_microcents(self, owner: str) -> int:
        """Worst case of the owner's orders that are open, or matched and not yet locked by the contract."""

    def open_wh(self, meter: int, mtu_start: int, side: Side) -> int:
        """Energy of the meter's open orders for the MTU on that side."""

    def has_open_order(self, owner: str, zone: int, mtu_start: int, side: Side) -> bool:
        """Whether the owner has an open order on that side of the zone and MTU."""

    def add(self, order: AcceptedOrder) -> None:
        """Keep a newly accepted order."""

    def cancel(self, uid: str, signature: str, received_at: int) -> None:
        """Keep a cancellation and close the order."""

    def open_orders(self, zone: int, mtu_start: int) -> tuple[AcceptedOrder, ...]:
        """Open orders of a zone and MTU in receipt order."""

    def unlisted_mtus(self, latest_gate: int, gate_closure_s: int) -> tuple[tuple[int, int], ...]:
        """Zones and MTUs with receipted orders, gates closed at `latest_gate`, and no book yet."""

    def close(self, uid: str, state: OrderState, reason: str | None, filled_wh: int) -> None:
        """Move an order out of the open state."""


class MarketMtus(Protocol):
    """Books, clearings and positions by zone and MTU."""

    def find(self, zone: int, mtu_start: int) -> MtuRecord | None:
        """The record of a zone and MTU."""

    def in_phase(self, phase: MtuPhase) -> tuple[MtuRecord, ...]:
        """All records in a phase, oldest first."""

    def add_book(self, record: MtuRecord, book: Sequence[BookEntry]) -> None:
        """Keep a closed book."""

    def book(self, zone: int, mtu_start: int) -> tuple[BookEntry, ...]:
        """The closed book in receipt order."""

    def move(self, zone: int, mtu_start: int, event: str, failure: str | None = None) -> None:
        """Advance the phase by an event."""

    def keep_positions(self, zone: int, mtu_start: int, proposal: Proposal) -> None:
        """Keep what the contract will keep by hash if it accepts the proposal."""

    def forget_positions(self, zone: int, mtu_start: int) -> None:
        """Drop what a refused proposal would have left with the contract."""

    def mark_ineligible(self, zone: int, mtu_start: int, uids: Collection[str], reason: str) -> None:
        """Mark listed orders as ineligible."""

    def positions(self, zone: int, mtu_start: int) -> tuple[Position, ...]:
        """Positions as the contract keeps them."""

    def trades(self, zone: int, mtu_start: int) -> tuple[Trade, ...]:
        """Trades as the contract keeps them."""

    def unsettled(self, zone: int, mtu_start: int) -> dict[int, int]:
        """Index to meter of positions that are neither settled nor being settled."""

    def mark_settling(self, zone: int, mtu_start: int, indexes: Sequence[int]) -> None:
        """Remember that a settlement of these positions is under way."""
