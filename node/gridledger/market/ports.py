"""What the market room needs from outside. Adapters implement these; tests use small fakes."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from gridledger.market.commitments import Commitments
from gridledger.market.locking import Proposal
from gridledger.market.model import (
    BookEntry,
    CashAccount,
    Ineligibility,
    MemberFacts,
    MeterFacts,
    MtuPhase,
    MtuPrices,
    Order,
    OrderState,
    Policy,
    Position,
    Receipt,
    Recording,
    SignedAcceptance,
    SignedOrder,
    Trade,
)

__all__ = [
    "AcceptedDeal",
    "AcceptedOrder",
    "ApplyCaps",
    "Cancelled",
    "CommitBook",
    "KeptPosition",
    "Ledger",
    "LedgerCommand",
    "MarketDirectory",
    "MarketMtus",
    "MtuRecord",
    "OrderStore",
    "PostedOrder",
    "PublishPrice",
    "ReceiptSigner",
    "RecordIneligible",
    "Schedules",
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
    """One zone and MTU as far as the node has brought it.

    `chunk_count` chunks were proposed, one after the other, of which the chain has `cleared_chunks`. Nothing is tried
    before `retry_at`.
    """

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
    chunk_count: int = 0
    cleared_chunks: int = 0
    retry_at: int = 0


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
class RecordIneligible:
    """Have the bond record which listed orders cannot trade: whole owners, each with its lines of the book, ascending.

    Owners whose offers were accepted stand before the owners of the acceptances.
    """

    zone: int
    mtu_start: int
    book: tuple[BookEntry, ...]
    owners: tuple[tuple[BookEntry, ...], ...]


@dataclass(frozen=True, kw_only=True)
class SubmitClearing:
    """Propose a chunk of a clearing to the trading contract, with the root of the setpoints that follow from it all."""

    zone: int
    mtu_start: int
    book: tuple[BookEntry, ...]
    proposal: Proposal
    setpoints_root: str = "0x" + "0" * 64


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


@dataclass(frozen=True, kw_only=True)
class ApplyCaps:
    """Apply the grid operator's caps (Wh by meter) to the positions of a chunk."""

    zone: int
    mtu_start: int
    chunk: int
    positions: tuple[Position, ...]
    deals: tuple[Trade, ...]
    caps_wh: Mapping[int, int]


LedgerCommand = CommitBook | PublishPrice | RecordIneligible | SubmitClearing | SettlePositions | ApplyCaps


@dataclass(frozen=True, kw_only=True)
class KeptPosition:
    """A position the contract keeps, where it keeps it, and whether a settlement of it is under way."""

    chunk: int
    index: int
    position: Position
    refunded: bool
    pending: bool


@dataclass(frozen=True, kw_only=True)
class PostedOrder:
    """An order its owner posted on chain; it counts as receipted at the time of that block."""

    uid: str
    order: Order
    signature: bytes
    posted_at: int


@dataclass(frozen=True, kw_only=True)
class Cancelled:
    """A cancelled order with the receipt of its cancellation."""

    order: AcceptedOrder
    receipt: Receipt


class Ledger(Protocol):
    """The way to the contracts: commands are kept with the facts of the same transaction and sent until mined."""

    def submit(self, command: LedgerCommand) -> None:
        """Keep the command for sending."""


class Schedules(Protocol):
    """Where a clearing's schedule is made."""

    def commit(self, zone: int, mtu_start: int, contracted_wh: Mapping[int, int], ordered_wh: Mapping[int, int]) -> str:
        """Make and keep setpoints of net contracts and orders (Wh by meter, export positive); their root, 0x hex."""


class ReceiptSigner(Protocol):
    """Signs receipts with the market operator's key."""

    def sign(self, order_uid: str, running_number: int, received_at: int, block_hash: str) -> str:
        """EIP-712 signature over the receipt, 0x hex."""


class MarketDirectory(Protocol):
    """What the chain says about members and rules."""

    def meters(self, meters: Collection[int]) -> dict[int, MeterFacts]:
        """Facts of many meters; unknown ones are left out."""

    def members(self, accounts: Collection[str]) -> dict[str, MemberFacts]:
        """Facts of many accounts; those that may not trade are left out."""

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

    def find_all(self, uids: Collection[str]) -> dict[str, AcceptedOrder]:
        """Known orders by uid; unknown ones are left out."""

    def find_client_ids(self, names: Collection[tuple[str, str]]) -> dict[tuple[str, str], str]:
        """Uids of known orders by owner and client-made id; unknown ones are left out."""

    def find_deal(self, uid: str) -> AcceptedDeal | None:
        """The acceptance with this uid."""

    def next_running_number(self) -> int:
        """The number the next receipt carries."""

    def commitments(self, owners: Collection[str], first_mtu_start: int, last_mtu_start: int) -> Commitments:
        """All that these owners have promised, with what is open in any MTU of the range."""

    def dealt_wh(self, offer_uid: str, mtu_start: int) -> int:
        """Energy of an offer that was accepted for an MTU, Wh."""

    def last_dealt_mtu(self, offer_uid: str) -> int | None:
        """Last MTU for which an open offer was accepted and not listed yet."""

    def add_all(self, orders: Sequence[AcceptedOrder]) -> None:
        """Keep newly accepted orders, in receipt order."""

    def add_deal(self, deal: AcceptedDeal) -> None:
        """Keep a newly accepted acceptance."""

    def cancel(self, uid: str, signature: str, receipt: Receipt) -> None:
        """Keep a receipted cancellation and close the order."""

    def cancel_receipt(self, uid: str) -> Receipt | None:
        """The receipt of an order's cancellation; its `order_uid` is the cancellation's digest."""

    def cancel_up_to(self, owner: str, salt: int, signature: str, receipt: Receipt) -> None:
        """Keep a receipted bulk cancellation."""

    def cancel_up_to_receipt(self, owner: str, salt: int) -> Receipt | None:
        """The receipt of an owner's bulk cancellation up to just this salt."""

    def cancelled_salts(self, owners: Collection[str]) -> dict[str, int]:
        """The highest salt up to which an owner has cancelled all its orders, here or on chain, by owner."""

    def posted(self) -> tuple[PostedOrder, ...]:
        """Orders posted on chain that have no receipt yet, in the order they were posted."""

    def mark_taken(self, uid: str) -> None:
        """A posted order has its receipt, or needs none."""

    def has_book(self, zone: int, mtu_start: int) -> bool:
        """Whether the book of a zone and MTU is closed."""

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

    def set_chunks(self, zone: int, mtu_start: int, *, chunk_count: int, cleared_chunks: int) -> None:
        """How many chunks a clearing has, and how many of them the chain has."""

    def keep_positions(
        self, zone: int, mtu_start: int, proposals: Sequence[Proposal], suppliers: Mapping[int, str]
    ) -> None:
        """Keep what the contract will keep by hash if it accepts all chunks; `suppliers` by meter."""

    def forget_positions(self, zone: int, mtu_start: int, from_chunk: int = 0) -> None:
        """Drop what a refused proposal would have left with the contract, from a chunk on."""

    def mark_ineligible(self, zone: int, mtu_start: int, uids: Collection[str], reason: Ineligibility | None) -> None:
        """Mark listed orders as ineligible, or as eligible again."""

    def mark_recording(self, zone: int, mtu_start: int, uids: Collection[str], recording: Recording) -> None:
        """Remember how far the contract's record of listed orders has come."""

    def keep_fills(self, zone: int, mtu_start: int, filled_wh: Mapping[str, int]) -> None:
        """Keep what each listed order is filled with in the chunks proposed so far, Wh by uid; others with nothing."""

    def unlock_fills(self, zone: int, mtu_start: int) -> None:
        """Forget what was proposed beyond what the chain has."""

    def fills(self, zone: int, mtu_start: int) -> dict[str, int]:
        """What each listed order was filled with, Wh by uid."""

    def positions(self, zone: int, mtu_start: int) -> tuple[KeptPosition, ...]:
        """Positions as the contract keeps them, by chunk and index."""

    def deals(self, zone: int, mtu_start: int, chunk: int) -> tuple[Trade, ...]:
        """Trades between positions of a chunk as the contract keeps them: direct deals, after caps all of them."""

    def mark_settling(self, zone: int, mtu_start: int, chunk: int, indexes: Sequence[int]) -> None:
        """Remember that a settlement of these positions is under way."""
