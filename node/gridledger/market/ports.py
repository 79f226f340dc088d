"""What the market room needs from outside. Adapters implement these; tests use small fakes."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
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
    SignedAcceptance,
    SignedOrder,
    Trade,
)

__all__ = [
    "AcceptedDeal",
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
    "SettlementKind",
    "SubmitClearing",
]


@dataclass(frozen=True, kw_only=True)
class AcceptedOrder:
    """An order with everything the node has promised and knows about it.

    `next_mtu_start` is the first MTU it has not been listed for, `final_mtu_start` the last it is for: the one it was
    signed for, or an earlier one if it was cancelled. `filled_wh` is the sum over all MTUs so far.
    """

    signed: SignedOrder
    zone: int
    client_id: str | None
    receipt: Receipt
    worst_case_microcents: int
    state: OrderState
    state_reason: str | None
    filled_wh: int
    next_mtu_start: int
    final_mtu_start: int

    @property
    def is_listed_for_good(self) -> bool:
        """Whether it has no further MTU: it stands in its last book and waits for the result."""
        return self.next_mtu_start > self.final_mtu_start


@dataclass(frozen=True, kw_only=True)
class AcceptedDeal:
    """A buyer's acceptance of an offer with everything the node has promised and knows about it."""

    signed: SignedAcceptance
    zone: int
    receipt: Receipt
    worst_case_microcents: int
    state: OrderState
    state_reason: str | None


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
    low_carbon_price_cents_per_mwh: int | None
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
    book: tuple[BookEntry, ...]
    proposal: Proposal


class SettlementKind(StrEnum):
    """Why positions are closed: their meters were read, nobody read them in time, or the dispatch is void."""

    READINGS = "readings"
    SUBSTITUTES = "substitutes"
    REFUND = "refund"


@dataclass(frozen=True, kw_only=True)
class SettlePositions:
    """Settle or refund positions by index; `metered_wh` is export minus import of each, Wh, of readings only."""

    zone: int
    mtu_start: int
    chunk: int
    kind: SettlementKind
    positions: tuple[Position, ...]
    deals: tuple[Trade, ...]
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
        """Free money and credit, and what of them has been asked back."""

    def policy_at(self, mtu_start: int) -> Policy:
        """Rules of the MTU."""

    def prices_at(self, mtu_start: int) -> MtuPrices:
        """Prices of the MTU."""

    def latest_block_hash(self) -> str:
        """Hash of the newest indexed block."""


class OrderStore(Protocol):
    """Accepted orders and acceptances; both share one sequence of running numbers."""

    def find(self, uid: str) -> AcceptedOrder | None:
        """The order with this uid."""

    def find_by_client_id(self, owner: str, client_id: str) -> AcceptedOrder | None:
        """The owner's order with this client-made id."""

    def find_deal(self, uid: str) -> AcceptedDeal | None:
        """The acceptance with this uid."""

    def next_running_number(self) -> int:
        """The number the next receipt carries."""

    def committed_microcents(self, owner: str) -> int:
        """Worst case of the owner's orders and acceptances that are not locked yet."""

    def open_wh(self, meter: int, first_mtu_start: int, last_mtu_start: int, side: Side) -> int:
        """The most energy of the meter's open orders (and acceptances) on that side in any MTU of the range, Wh."""

    def has_open_order(self, owner: str, zone: int, first_mtu_start: int, last_mtu_start: int, side: Side) -> bool:
        """Whether the owner has an open order (or acceptance) on that side of the zone in any MTU of the range."""

    def dealt_wh(self, offer_uid: str, mtu_start: int) -> int:
        """Energy of an offer that was accepted for an MTU, Wh."""

    def last_dealt_mtu(self, offer_uid: str) -> int | None:
        """Last MTU for which an open offer was accepted and not listed yet."""

    def add(self, order: AcceptedOrder) -> None:
        """Keep a newly accepted order."""

    def add_deal(self, deal: AcceptedDeal) -> None:
        """Keep a newly accepted acceptance."""

    def cancel(self, uid: str, signature: str, received_at: int) -> None:
        """Keep a cancellation and close the order."""

    def cancel_up_to(self, owner: str, salt: int, signature: str, received_at: int) -> None:
        """Keep a bulk cancellation."""

    def open_with_salt_up_to(self, owner: str, salt: int) -> tuple[AcceptedOrder, ...]:
        """The owner's open orders with a salt up to this one, in receipt order."""

    def open_orders(self, zone: int, mtu_start: int) -> tuple[AcceptedOrder, ...]:
        """Open orders whose next MTU this is, in receipt order."""

    def open_deals(self, zone: int, mtu_start: int) -> tuple[AcceptedDeal, ...]:
        """Open acceptances of a zone and MTU in receipt order."""

    def unlisted_mtus(self, latest_gate: int, gate_closure_s: int) -> tuple[tuple[int, int], ...]:
        """Zones and MTUs that are next for some open order or acceptance, whose gates are closed, without a book."""

    def pass_listed(self, uids: Sequence[str], mtu_length_s: int) -> None:
        """Standing orders that were just listed wait for their next MTU."""

    def close(self, uid: str, mtu_start: int, state: OrderState, reason: str | None) -> None:
        """Keep what became of an order in the book of its last MTU, or of an acceptance."""

    def end(self, uid: str, state: OrderState, reason: str | None = None) -> None:
        """Take an open order out of all MTUs still to come: cancelled or expired."""


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

    def keep_positions(self, zone: int, mtu_start: int, proposal: Proposal, suppliers: Mapping[int, str]) -> None:
        """Keep what the contract will keep by hash if it accepts the proposal; `suppliers` by meter."""

    def forget_positions(self, zone: int, mtu_start: int) -> None:
        """Drop what a refused proposal would have left with the contract."""

    def mark_ineligible(self, zone: int, mtu_start: int, uids: Collection[str], reason: str) -> None:
        """Mark listed orders as ineligible."""

    def keep_fills(self, zone: int, mtu_start: int, filled_wh: Mapping[str, int]) -> None:
        """Keep what each listed order was filled with, Wh by uid; all others with nothing."""

    def fills(self, zone: int, mtu_start: int) -> dict[str, int]:
        """What each listed order was filled with, Wh by uid."""

    def positions(self, zone: int, mtu_start: int) -> tuple[Position, ...]:
        """Positions as the contract keeps them."""

    def deals(self, zone: int, mtu_start: int) -> tuple[Trade, ...]:
        """Direct deals between positions as the contract keeps them."""

    def unsettled(self, zone: int, mtu_start: int) -> dict[int, int]:
        """Index to meter of positions that are neither settled nor being settled."""

    def mark_settling(self, zone: int, mtu_start: int, indexes: Sequence[int]) -> None:
        """Remember that a settlement of these positions is under way."""
