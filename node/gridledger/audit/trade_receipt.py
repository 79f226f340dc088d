"""The receipt of trades: what one meter traded in one zone and MTU, link by link from the order to the settlement.

Every link names the transaction, the block and the place in the block's log that recorded it, so that whoever holds the
receipt checks it against any endpoint of the chain (`audit.receipt_checks`). What is missing is said, and why.
Energy in Wh, times in Unix seconds, hashes and signatures as 0x hex.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from gridledger.market.model import Acceptance, Order, Receipt

__all__ = [
    "FORMAT",
    "AnchoredReading",
    "Answer",
    "Answers",
    "Book",
    "Cap",
    "CapsApplied",
    "ChainFacts",
    "Chunk",
    "Clearing",
    "Closing",
    "Curtailment",
    "Delivery",
    "FilledOrder",
    "Grant",
    "Orders",
    "ProvenReading",
    "Recorded",
    "Schedule",
    "Settlement",
    "Side",
    "State",
    "Stop",
    "Tokens",
    "TradeCurtailment",
    "TradeEntry",
    "TradeReceipt",
    "Viewer",
]

FORMAT = "gridledger-trade-receipt/1"


class State(StrEnum):
    """Where a link stands; all but `recorded` say why.

    `pending` may still come, `void` never will, `none` was due and did not come or does not apply, `withheld` is not
    shown to whoever asked.
    """

    RECORDED = "recorded"
    PENDING = "pending"
    VOID = "void"
    NONE = "none"
    WITHHELD = "withheld"


class Viewer(StrEnum):
    """As whom somebody was given a receipt."""

    PARTY = "party"
    GRID_OPERATOR = "grid_operator"
    REGULATOR = "regulator"
    ANYBODY = "anybody"


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """Where an event stands on chain."""

    transaction_hash: str
    block_number: int
    block_hash: str
    log_index: int


@dataclass(frozen=True, kw_only=True)
class ChainFacts:
    """The chain, and the market's contracts by name."""

    chain_id: int
    genesis_hash: str
    contracts: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Book:
    """The commitment to all listed orders."""

    state: State
    why: str | None
    book_hash: str | None
    order_count: int | None
    recorded: Recorded | None


@dataclass(frozen=True, kw_only=True)
class CapsApplied:
    """What caps did to all trades of a chunk, once the MTU was over.

    `curtailed_wh` was taken off, `low_carbon_wh` of it from low-carbon sources; locks of `refunded_microcents` went
    back, and buyers were paid `compensated_microcents` for replacing it.
    """

    curtailed_wh: int
    low_carbon_wh: int
    refunded_microcents: int
    compensated_microcents: int
    recorded: Recorded


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """One transaction of the clearing; prices in cents per MWh. `caps` where caps have been applied to it."""

    chunk: int
    last: bool
    any_price_cents_per_mwh: int
    low_carbon_price_cents_per_mwh: int
    traded_wh: int
    recorded: Recorded
    caps: CapsApplied | None


@dataclass(frozen=True, kw_only=True)
class Clearing:
    """The clearing as far as it is on chain."""

    state: State
    why: str | None
    chunks: tuple[Chunk, ...]


@dataclass(frozen=True, kw_only=True)
class TradeCurtailment:
    """What caps took off a trade and what they left of it.

    The refunds are what both sides had locked for the energy taken off; the compensation is the buyer's cost of
    replacing it, which `borne_by` pays: `seller`, `grid_operator`, or the `buyer` itself (then it is 0).
    """

    curtailed_wh: int
    left_wh: int
    seller_refund_microcents: int
    buyer_refund_microcents: int
    compensation_microcents: int
    borne_by: str
    recorded: Recorded


@dataclass(frozen=True, kw_only=True)
class TradeEntry:
    """One trade: its place among the trades of its chunk, the two meters, energy and price.

    `kind` is `auction` or `deal`. Without `recorded` it is decided and not on chain yet. `energy_wh` is what was
    traded; `curtailment` is there if caps have taken some of it off.
    """

    chunk: int
    place: int
    kind: str
    seller: int
    buyer: int
    energy_wh: int
    price_cents_per_mwh: int
    recorded: Recorded | None
    curtailment: TradeCurtailment | None


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """What was handed to the grid operator; `setpoints_root` where the schedule commits to setpoints."""

    state: State
    why: str | None
    schedule_hash: str | None
    setpoints_root: str | None
    traded_wh: int | None
    answer_deadline: int | None
    recorded: Recorded | None


@dataclass(frozen=True, kw_only=True)
class Cap:
    """The highest net energy of a meter."""

    meter: int
    cap_wh: int


@dataclass(frozen=True, kw_only=True)
class Curtailment:
    """Caps of net `export` or `import`; `sequence` counts the schedule's curtailments before.

    `order_check` says how they stand to the order of curtailment: `kept`, `broken`, or `unchecked` where the setpoints
    were not presented. `caps` are those of the meters of these trades; `caps_hash` commits to all.
    """

    direction: str
    emergency: bool
    sequence: int
    order_check: str
    caps_hash: str
    caps: tuple[Cap, ...]


@dataclass(frozen=True, kw_only=True)
class Stop:
    """The MTUs of an emergency stop."""

    first_mtu_start: int
    last_mtu_start: int


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One word of the grid operator: `acknowledged`, `curtailed` or `stopped`, of which the last two say more.

    The signature has 65 bytes, None where the answer's transaction does not show it plainly.
    """

    kind: str
    reason: int
    grid_operator: str
    curtailment: Curtailment | None
    stop: Stop | None
    signature: str | None
    recorded: Recorded


@dataclass(frozen=True, kw_only=True)
class Answers:
    """All the grid operator has said about the schedule."""

    state: State
    why: str | None
    answers: tuple[Answer, ...]


@dataclass(frozen=True, kw_only=True)
class FilledOrder:
    """An order or acceptance with energy in this MTU: its place in the book, and as its owner and the operator signed.

    Either `order` or `acceptance` is there, with signature and receipt, or none of them where they are withheld.
    """

    uid: str
    book_position: int
    running_number: int
    filled_wh: int
    order: Order | None
    acceptance: Acceptance | None
    signature: str | None
    receipt: Receipt | None


@dataclass(frozen=True, kw_only=True)
class Orders:
    """The meter's filled orders."""

    state: State
    why: str | None
    orders: tuple[FilledOrder, ...]


@dataclass(frozen=True, kw_only=True)
class AnchoredReading:
    """A reading with the Merkle path from its leaf to the root that was anchored with this number."""

    import_wh: int
    export_wh: int
    salt: str
    leaf: str
    sequence: int
    root: str
    path: tuple[str, ...]
    recorded: Recorded


@dataclass(frozen=True, kw_only=True)
class ProvenReading:
    """What the meter's device has provably signed, export minus import; it counts above any reading."""

    net_wh: int
    recorded: Recorded


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """What the meter delivered: `delivered_wh` is what it was last settled on, export minus import, public on chain."""

    state: State
    why: str | None
    delivered_wh: int | None
    reading: AnchoredReading | None
    proven: ProvenReading | None


@dataclass(frozen=True, kw_only=True)
class Closing:
    """What one settlement transaction did to the meter's position of a chunk.

    `kind` is `settled`, `substituted`, `resettled` or `refunded`. The amount is the imbalance, of a correction the
    difference to the version before, of a refund what was locked.
    """

    kind: str
    chunk: int
    version: int
    energy_wh: int | None
    amount_microcents: int
    recorded: Recorded


@dataclass(frozen=True, kw_only=True)
class Settlement:
    """Every version of the settlement, oldest first."""

    state: State
    why: str | None
    versions: tuple[Closing, ...]


@dataclass(frozen=True, kw_only=True)
class Grant:
    """Low-carbon tokens a settlement moved: `minted`, `invalidated` by a correction, or `owed` since."""

    kind: str
    amount_ugco2: int
    recorded: Recorded


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """What the owner was granted by the settlements of this zone and MTU, for all of its meters there."""

    state: State
    why: str | None
    grants: tuple[Grant, ...]


@dataclass(frozen=True, kw_only=True)
class Side:
    """One meter of the trades."""

    meter: int
    owner: str
    orders: Orders
    delivery: Delivery
    settlement: Settlement
    tokens: Tokens


@dataclass(frozen=True, kw_only=True)
class TradeReceipt:
    """Trades of one meter in one zone and MTU, from `after` on; `sides` begin with that meter.

    `next` is where the trades go on, None when all are here.
    """

    format: str
    issued_at: int
    viewer: Viewer
    chain: ChainFacts
    zone: int
    mtu_start: int
    meter: int
    book: Book
    clearing: Clearing
    trades: tuple[TradeEntry, ...]
    next: int | None
    schedule: Schedule
    answers: Answers
    sides: tuple[Side, ...]
