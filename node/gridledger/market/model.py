"""Words of the market: orders, books, clearings, positions and the states they go through."""

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from gridledger.market.errors import WrongTransition

__all__ = [
    "RECORDED_REASONS",
    "Acceptance",
    "BookEntry",
    "CashAccount",
    "Ineligibility",
    "MemberFacts",
    "MeterFacts",
    "MtuPhase",
    "MtuPrices",
    "Order",
    "OrderState",
    "Policy",
    "Position",
    "Pricing",
    "Product",
    "Receipt",
    "Recording",
    "Side",
    "SignedAcceptance",
    "SignedOrder",
    "Trade",
    "advance_phase",
]


class Side(IntEnum):
    """Which side of the market an order takes; the numbers are the contract's."""

    BUY = 0
    SELL = 1


class Product(IntEnum):
    """A buyer's source preference; the numbers are the contract's."""

    ANY = 0
    LOW_CARBON = 1


class Pricing(IntEnum):
    """How an order states its price; the numbers are the contract's."""

    LIMIT = 0
    PEGGED = 1


@dataclass(frozen=True, kw_only=True)
class Order:
    """An order as its owner signs it (EIP-712 struct `Order`).

    `owner` is a checksum address, `meter` the registry's number, times are Unix seconds UTC, energy per MTU in Wh, the
    limit in cents per MWh (signed).
    """

    owner: str
    meter: int
    side: Side
    product: Product
    pricing: Pricing
    first_mtu_start: int
    last_mtu_start: int
    quantity_wh: int
    limit_cents_per_mwh: int
    expiry: int
    salt: int


@dataclass(frozen=True, kw_only=True)
class SignedOrder:
    """An order with its uid (EIP-712 digest, 0x hex) and its 65-byte signature."""

    order: Order
    uid: str
    signature: bytes


@dataclass(frozen=True, kw_only=True)
class Acceptance:
    """A buyer's binding acceptance of a posted limit offer, as its owner signs it (EIP-712 struct `Acceptance`).

    `owner` and `meter` are the buyer's, the price is the offer's limit, the energy is in Wh for one MTU.
    """

    owner: str
    meter: int
    offer_uid: str
    mtu_start: int
    quantity_wh: int
    salt: int


@dataclass(frozen=True, kw_only=True)
class SignedAcceptance:
    """An acceptance with its uid (EIP-712 digest, 0x hex) and its 65-byte signature."""

    acceptance: Acceptance
    uid: str
    signature: bytes


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """The market operator's signed promise that an order was received (EIP-712 struct `Receipt`)."""

    order_uid: str
    running_number: int
    received_at: int
    block_hash: str
    signature: str


class Ineligibility(StrEnum):
    """Why a listed order takes no part in matching. All but the last two are judged and recorded by the bond."""

    SUSPENDED = "suspended"
    OFFER = "offer not eligible"
    OTHER_SIDE = "other side taken"
    OVER_CAPACITY = "over capacity"
    UNFUNDED = "not funded"
    OUT_OF_BOUNDS = "limit outside bounds"
    CANCELLED = "cancelled on chain"

    @property
    def is_recorded(self) -> bool:
        """Whether the contract records it; the others show in the order and the policy themselves."""
        return self not in (Ineligibility.OUT_OF_BOUNDS, Ineligibility.CANCELLED)


# IMarketBond.Ineligibility, by its numbers.
RECORDED_REASONS: tuple[Ineligibility | None, ...] = (
    None,
    Ineligibility.SUSPENDED,
    Ineligibility.OFFER,
    Ineligibility.OTHER_SIDE,
    Ineligibility.OVER_CAPACITY,
    Ineligibility.UNFUNDED,
)


class Recording(StrEnum):
    """Whether the contract has been asked to record that a listed order cannot trade, and did."""

    NONE = "none"
    ASKED = "asked"
    RECORDED = "recorded"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class BookEntry:
    """One line of a closed book, in receipt order: an order or an acceptance.

    An ineligible entry is listed but takes no part in matching. `recording` says how far the contract's own record of
    that has come.
    """

    running_number: int
    signed: SignedOrder | SignedAcceptance
    ineligible: Ineligibility | None = None
    recording: Recording = Recording.NONE

    @property
    def uid(self) -> str:
        """Uid of the order or acceptance."""
        return self.signed.uid

    @property
    def owner(self) -> str:
        """Who signed it."""
        return self.order.owner if isinstance(self.signed, SignedOrder) else self.signed.acceptance.owner

    @property
    def meter(self) -> int:
        """The meter it is for."""
        return self.order.meter if isinstance(self.signed, SignedOrder) else self.signed.acceptance.meter

    @property
    def order(self) -> Order:
        """The order of an entry that is one."""
        if not isinstance(self.signed, SignedOrder):
            raise TypeError(f"{self.signed.uid} is an acceptance")
        return self.signed.order

    @property
    def is_order(self) -> bool:
        """Whether it is an order and not an acceptance."""
        return isinstance(self.signed, SignedOrder)


@dataclass(frozen=True, kw_only=True)
class MeterFacts:
    """What the market knows of a meter; `supplier_number` is the registry's number of the supplier."""

    meter: int
    owner: str
    supplier: str
    supplier_number: int
    zone: int
    import_capacity_w: int
    export_capacity_w: int
    source: int


@dataclass(frozen=True, kw_only=True)
class CashAccount:
    """A member's money in the trading contract, microcents; free is below zero while credit is used.

    `withdrawal_microcents` is what it asked to have paid out, `cut_microcents` the lower credit limit its supplier
    asked for; the times of asking are Unix seconds, zero where there is nothing of the kind.
    """

    free_microcents: int
    credit_microcents: int
    withdrawal_microcents: int = 0
    withdrawal_at: int = 0
    cut_microcents: int = 0
    cut_at: int = 0

    def available_microcents(self, gate_closure: int) -> int:
        """What orders may lock for an MTU with that gate closure: what was asked for before it is taken off."""
        available = self.free_microcents + self.credit_microcents
        if self.withdrawal_at < gate_closure:
            available -= self.withdrawal_microcents
        if 0 < self.cut_at < gate_closure:
            available -= self.credit_microcents - self.cut_microcents
        return available


@dataclass(frozen=True, kw_only=True)
class MemberFacts:
    """What the market knows of somebody who may trade."""

    suspended: bool
    account: CashAccount


@dataclass(frozen=True, kw_only=True)
class MtuPrices:
    """The prices of one MTU, cents per MWh; surplus <= floor <= cap <= shortage."""

    feed_in: int
    retail: int
    floor: int
    cap: int
    surplus: int
    shortage: int


@dataclass(frozen=True, kw_only=True)
class Policy:
    """The regulator's rules as far as the market needs them; fees in cents per MWh, times in seconds."""

    gate_closure_s: int
    answer_lead_s: int
    proceed_without_answer: bool
    substitute_after_s: int
    correction_s: int
    seller_reward_share_bp: int
    default_grid_factor_mgco2_per_kwh: int
    grid_fee_cents_per_mwh: int
    low_carbon_relief_cents_per_mwh: int
    replacement_bearers: int

    def clearing_deadline(self, mtu_start: int) -> int:
        """Last moment the contract takes a clearing: halfway between gate closure and answer deadline, Unix seconds."""
        return mtu_start - (self.gate_closure_s + self.answer_lead_s) // 2


@dataclass(frozen=True, kw_only=True)
class Position:
    """One meter's contract for one chunk of a clearing, as the contract keeps it by hash.

    Energies in Wh, money in microcents. `auction_wh` is a seller's whole auction energy or a buyer's `any` part,
    `low_carbon_wh` a buyer's low-carbon part, `prior_wh` what earlier chunks contracted for the meter. `metered_wh` is
    export minus import. `deal_microcents` is the cash of direct deals, received positive. `capacity_w` is the larger of
    the meter's two. `version` counts corrections; `substitute` marks a value nobody measured. After caps were applied
    (`curtailed`) all its energy is in kept trades, counted as dealt.
    """

    meter: int
    owner: str
    supplier_number: int
    source: int
    sells: bool
    capacity_w: int
    auction_wh: int = 0
    low_carbon_wh: int = 0
    dealt_wh: int = 0
    prior_wh: int = 0
    continued: bool = False
    settled: bool = False
    substitute: bool = False
    curtailed: bool = False
    version: int = 0
    metered_wh: int = 0
    fee_microcents: int = 0
    locked_microcents: int = 0
    deal_microcents: int = 0

    @property
    def quantity_wh(self) -> int:
        """Energy this position contracts, whatever its side."""
        return self.auction_wh + self.low_carbon_wh + self.dealt_wh

    @property
    def contracted_wh(self) -> int:
        """Sold energy positive, bought energy negative."""
        return self.quantity_wh if self.sells else -self.quantity_wh

    @property
    def read(self) -> bool:
        """Whether it was settled on a real reading."""
        return self.settled and not self.substitute


@dataclass(frozen=True, kw_only=True)
class Trade:
    """Energy from one position to another by index, Wh; direct deals and derived pairs alike.

    Those that are kept, deals and what caps have left of any trade, have their price; derived pairs have the auction's.
    """

    sell: int
    buy: int
    energy_wh: int
    price_cents_per_mwh: int = 0


class OrderState(StrEnum):
    """Life of an order."""

    OPEN = "open"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    INELIGIBLE = "ineligible"
    UNMATCHED = "unmatched"
    MATCHED = "matched"
    LOCKED = "locked"
    SETTLED = "settled"
    REFUNDED = "refunded"


class MtuPhase(StrEnum):
    """Life of one zone and MTU, from gate closure to the last settled position.

    Stopped: some chunks of the clearing are locked and the others never will be; what is locked is refunded.
    """

    CLOSING = "closing"
    LISTED = "listed"
    MATCHED = "matched"
    CLEARED = "cleared"
    STOPPED = "stopped"
    SETTLED = "settled"
    LAPSED = "lapsed"


_PHASES: dict[tuple[MtuPhase, str], MtuPhase] = {
    (MtuPhase.CLOSING, "book_committed"): MtuPhase.LISTED,
    (MtuPhase.CLOSING, "deadline_passed"): MtuPhase.LAPSED,
    (MtuPhase.LISTED, "clearing_submitted"): MtuPhase.MATCHED,
    (MtuPhase.LISTED, "deadline_passed"): MtuPhase.LAPSED,
    (MtuPhase.LISTED, "clearing_refused"): MtuPhase.LAPSED,
    (MtuPhase.MATCHED, "clearing_refused"): MtuPhase.LAPSED,
    (MtuPhase.MATCHED, "member_excluded"): MtuPhase.LISTED,
    (MtuPhase.MATCHED, "clearing_stopped"): MtuPhase.STOPPED,
    (MtuPhase.STOPPED, "positions_closed"): MtuPhase.LAPSED,
    (MtuPhase.MATCHED, "market_cleared"): MtuPhase.CLEARED,
    (MtuPhase.CLEARED, "positions_closed"): MtuPhase.SETTLED,
}


def advance_phase(phase: MtuPhase, event: str) -> MtuPhase:
    """The phase after `event`. Raises WrongTransition."""
    try:
        return _PHASES[phase, event]
    except KeyError:
        raise WrongTransition(subject="mtu", state=phase, event=event) from None
