"""Words of the audit: rules, what they find, and the report."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from gridledger.units import format_utc

__all__ = [
    "AuditReport",
    "Mismatch",
    "Notice",
    "Rule",
    "Slot",
    "TradeKind",
    "chunk_name",
    "meter_name",
    "order_name",
    "position_name",
    "slot_name",
]


class Rule(StrEnum):
    """What is checked; the value is the rule's name in reports."""

    MANIFEST = "manifest"
    FORMAT = "format"
    CHAIN = "chain"
    BLOCK = "block"
    MARKET = "market"
    CODE = "code"
    ROLE = "role"
    METER = "meter"
    ORDER_UID = "order-uid"
    ORDER_SIGNATURE = "order-signature"
    ORDER_OWNER = "order-owner"
    ACCEPTANCE = "acceptance"
    RECEIPT = "receipt"
    RECEIPT_SEQUENCE = "receipt-sequence"
    CANCELLATION = "cancellation"
    BOOK = "book"
    ELIGIBILITY = "eligibility"
    REFERENCE_PRICE = "reference-price"
    CLEARING = "clearing"
    TRADE_LIMIT = "trade-limit"
    FILL = "fill"
    TRADE = "trade"
    LOCK = "lock"
    POSITION = "position"
    DISPATCH = "dispatch"
    SETPOINT = "setpoint"
    CURTAILMENT = "curtailment"
    METER_EVENT = "meter-event"
    READING_SIGNATURE = "reading-signature"
    READING_COLUMN = "reading-column"
    ANCHOR = "anchor"
    READING_PROOF = "reading-proof"
    TOMBSTONE = "tombstone"
    DEMAND_RESPONSE = "demand-response"
    SETTLEMENT = "settlement"
    COMPLETENESS = "completeness"
    ENERGY = "energy"
    CASH = "cash"
    SETTLEMENT_TOKEN = "settlement-token"  # noqa: S105 - a rule's name
    REWARD = "reward"
    LOW_CARBON_TOKEN = "low-carbon-token"  # noqa: S105 - a rule's name


class TradeKind(StrEnum):
    """How a trade came about: accepted directly, or paired from the auction's fills."""

    DEAL = "deal"
    AUCTION = "auction"


class Slot(NamedTuple):
    """One zone and MTU; the MTU by its start in Unix seconds."""

    zone: int
    mtu_start: int


@dataclass(frozen=True, kw_only=True)
class Mismatch:
    """One record that is not what the chain and the rules say; `hint` tells how to check it by hand."""

    rule: Rule
    record: str
    expected: str
    found: str
    hint: str


@dataclass(frozen=True, kw_only=True)
class Notice:
    """Something the rules allow but people should know, such as an emergency that broke the order of curtailment."""

    record: str
    text: str


@dataclass(frozen=True, kw_only=True)
class AuditReport:
    """Outcome of an audit: all mismatches, what is worth knowing, how many things each rule has checked, and totals.

    Totals end in their unit; `cash_sum_microcents` is zero when no money was made or lost.
    """

    ok: bool
    mismatches: tuple[Mismatch, ...]
    notices: tuple[Notice, ...]
    checked: Mapping[str, int]
    totals: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """The report in plain JSON types."""
        return {
            "ok": self.ok,
            "mismatches": [asdict(mismatch) for mismatch in self.mismatches],
            "notices": [asdict(notice) for notice in self.notices],
            "checked": dict(self.checked),
            "totals": dict(self.totals),
        }


def slot_name(slot: Slot) -> str:
    """A zone and MTU for people."""
    return f"zone {slot.zone}, MTU {_moment(slot.mtu_start)}"


def meter_name(meter: int, mtu_start: int) -> str:
    """A meter and MTU for people."""
    return f"meter {meter}, MTU {_moment(mtu_start)}"


def chunk_name(slot: Slot, chunk: int) -> str:
    """A chunk of a clearing for people; the first needs no number."""
    return slot_name(slot) if chunk == 0 else f"{slot_name(slot)}, chunk {chunk}"


def position_name(meter: int, mtu_start: int, chunk: int) -> str:
    """A meter's position of one chunk for people."""
    return meter_name(meter, mtu_start) if chunk == 0 else f"{meter_name(meter, mtu_start)}, chunk {chunk}"


def order_name(uid: str, running_number: int) -> str:
    """An order or acceptance for people."""
    return f"order {uid} (receipt {running_number})"


def _moment(moment: int) -> str:
    try:
        return format_utc(moment)
    except (ValueError, OverflowError, OSError):
        return str(moment)
