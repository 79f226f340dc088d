"""Words of the market: orders, books, clearings, positions and the states they go through."""

from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum

from gridledger.market.errors import WrongTransition

__all__ = [
    "BookEntry",
    "CashAccount",
    "Clearing",
    "Match",
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
    "Side",
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
class Receipt:
    """The market operator's signed promise that an order was received (EIP-712 struct `Receipt`)."""

    order_uid: str
    running_number: int
    received_at: int
    block_hash: str
    signature: str


@dataclass(frozen=True, kw_only=True)
class BookEntry:
    """One line of a closed book, in receipt order. An ineligible entry is listed but takes no part in matching."""

    running_number: int
    signed: SignedOrder
    ineligible: str | None = None


@dataclass(frozen=True, kw_only=True)
class MeterFacts:
    """What the market knows of a meter."""

    meter: int
    owner: str
    supplier: str
    zone: int
    import_capacity_w: int
    export_capacity_w: int
    source: int


@dataclass(frozen=True, kw_only=True)
class CashAccount:
    """A member's money in the trading contract, microcents; free is below zero while credit is used."""

    free_microcents: int
    credit_microcents: int

    @property
    def available_microcents(self) -> int:
        """What an order may still lock."""
        return self.free_microcents + self.credit_microcents


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
    seller_reward_share_bp: int
    default_grid_factor_mgco2_per_kwh: int
    grid_fee_cents_per_mwh: int
    low_carbon_relief_cents_per_mwh: int

    def clearing_deadline(self, mtu_start: int) -> int:
        """Last moment the contract takes a clearing: halfway between gate closure and answer deadline, Unix seconds."""
        return mtu_start - (self.gate_closure_s + self.answer_lead_s) // 2


@dataclass(frozen=True, kw_only=True)
class Match:
    """Energy from one offer to one bid, Wh."""

    sell_uid: str
    buy_uid: str
    energy_wh: int


@dataclass(frozen=True, kw_only=True)
class Clearing:
    """Result of an auction. An end is the uid of the order that sets it, or None for floor and cap."""

    price_cents_per_mwh: int
    lower_end_uid: str | None
    upper_end_uid: str | None
    matches: tuple[Match, ...]

    @property
    def traded_wh(self) -> int:
        """Energy traded, Wh."""
        return sum(match.energy_wh for match in self.matches)


@dataclass(frozen=True, kw_only=True)
class Position:
    """One meter's contract for one MTU as the contract keeps it by hash; sold energy is positive, Wh, microcents."""

    meter: int
    source: int
    settled: bool
    owner: str
    supplier: str
    contracted_wh: int
    metered_wh: int
    locked_microcents: int
    fee_microcents: int


@dataclass(frozen=True, kw_only=True)
class Trade:
    """One trade between two positions by index, as the contract keeps it by hash; energies in Wh."""

    sell: int
    buy: int
    energy_wh: int
    rewarded_wh: int = 0
    rewarded: bool = False

    def with_reward(self, rewarded_wh: int) -> "Trade":
        """The trade after its reward was decided."""
        return replace(self, rewarded=True, rewarded_wh=rewarded_wh)


class OrderState(StrEnum):
    """Life of an order."""

    OPEN = "open"
    CANCELLED = "cancelled"
    INELIGIBLE = "ineligible"
    UNMATCHED = "unmatched"
    MATCHED = "matched"
    LOCKED = "locked"
    SETTLED = "settled"
    REFUNDED = "refunded"


class MtuPhase(StrEnum):
    """Life of one zone and MTU, from gate closure to the last settled position."""

    CLOSING = "closing"
    LISTED = "listed"
    MATCHED = "matched"
    CLEARED = "cleared"
    SETTLED = "settled"
    LAPSED = "lapsed"


_PHASES: dict[tuple[MtuPhase, str], MtuPhase] = {
    (MtuPhase.CLOSING, "book_committed"): MtuPhase.LISTED,
    (MtuPhase.CLOSING, "deadline_passed"): MtuPhase.LAPSED,
    (MtuPhase.LISTED, "clearing_submitted"): MtuPhase.MATCHED,
    (MtuPhase.LISTED, "deadline_passed"): MtuPhase.LAPSED,
    (MtuPhase.MATCHED, "clearing_refused"): MtuPhase.LAPSED,
    (MtuPhase.MATCHED, "member_excluded"): MtuPhase.LISTED,
    (MtuPhase.MATCHED, "market_cleared"): MtuPhase.CLEARED,
    (MtuPhase.CLEARED, "positions_closed"): MtuPhase.SETTLED,
}


def advance_phase(phase: MtuPhase, event: str) -> MtuPhase:
    """The phase after `event`. Raises WrongTransition."""
    try:
        return _PHASES[phase, event]
    except KeyError:
        raise WrongTransition(subject="mtu", state=phase, event=event) from None
