"""What the chain says about each zone and MTU, step by step, beside what its call data and the rules make of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from gridledger.audit.opening import Opened
from gridledger.audit.presented import ClearingCall, EntryKind, SettlementCall
from gridledger.market.model import Position

__all__ = [
    "Anchor",
    "Chunk",
    "Cleared",
    "Committed",
    "Debt",
    "Entry",
    "EntryState",
    "Granted",
    "Market",
    "Posted",
    "Proven",
    "Step",
    "TokenDebt",
]

CURTAILED = 2  # IEnergyDispatching.Answer
Debt = tuple[str, str, int]


@dataclass(frozen=True, kw_only=True)
class Committed:
    """A committed book."""

    book_hash: str
    order_count: int
    block_number: int


@dataclass(frozen=True, kw_only=True)
class Posted:
    """An order posted on chain; times in Unix seconds."""

    posted_at: int
    first_mtu_start: int
    last_mtu_start: int


@dataclass(frozen=True, kw_only=True)
class Cleared:
    """One chunk's result as MarketCleared states it; cents per MWh and Wh."""

    last: bool
    any_price: int
    low_carbon_price: int
    traded_wh: int
    position_count: int
    block_number: int
    time_s: int


@dataclass(frozen=True, kw_only=True)
class Anchor:
    """An anchored batch of readings."""

    sequence: int
    root: str
    reading_count: int
    block_number: int
    time_s: int


@dataclass(frozen=True, kw_only=True)
class Proven:
    """What a device has provably signed, export minus import in Wh, and since which block the contract knows."""

    zone: int
    net_wh: int
    block_number: int


@dataclass(frozen=True, kw_only=True)
class EntryState:
    """What settling makes of a position: version, metered energy (Wh, export-positive) and money, microcents.

    The money is the imbalance of a first settlement, the difference of a correction, the released lock of a refund.
    """

    version: int
    metered_wh: int
    money_microcents: int


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One position's event in a settling transaction; `expected` is None where the rules allow no such event."""

    kind: EntryKind
    meter: int
    stated: EntryState
    expected: EntryState | None


@dataclass(frozen=True, kw_only=True)
class Granted:
    """One settlement's rewards as RewardsGranted or RewardsCorrected states them; the latter `corrects`.

    `factor_known`: the grid factor is fixed by then.
    """

    mtu_start: int
    grid_factor_mgco2_per_kwh: int
    energy_wh: int
    total_ugco2: int
    factor_known: bool
    corrects: bool = False


@dataclass(frozen=True, kw_only=True)
class TokenDebt:
    """Tokens a correction of an MTU could not take back, and what the holder had left at that moment, ug."""

    mtu_start: int
    holder: str
    amount_ugco2: int
    balance_ugco2: int


@dataclass(kw_only=True)
class Step:
    """One settling call on a chunk: its entries, debts and rewards, and the positions before and after it.

    It `corrects` where it replaces a reading by another one.

    `debts` and `expected_debts` are (debtor, creditor, microcents); open positions are those of the whole MTU.
    """

    block_number: int
    time_s: int
    entries: Sequence[Entry]
    before: tuple[Position, ...]
    after: tuple[Position, ...]
    corrects: bool
    debts: Sequence[Debt]
    expected_debts: Sequence[Debt]
    open_positions: int
    expected_open_positions: int
    call: SettlementCall | None
    granted: list[Granted] = field(default_factory=list)
    minted: list[tuple[str, int]] = field(default_factory=list)
    taken_back: list[tuple[str, int]] = field(default_factory=list)
    owed: list[TokenDebt] = field(default_factory=list)


@dataclass(kw_only=True)
class Chunk:
    """One chunk of a clearing. `call` and `opened` are None where no usable call data was found."""

    number: int
    cleared: Cleared
    call: ClearingCall | None
    opened: Opened | None
    traded: Sequence[tuple[int, int, int]]
    positions: tuple[Position, ...]
    steps: list[Step] = field(default_factory=list)

    def closed(self, kind: EntryKind) -> frozenset[int]:
        """Meters with an event of that kind."""
        return frozenset(entry.meter for step in self.steps for entry in step.entries if entry.kind is kind)


@dataclass(kw_only=True)
class Market:
    """Everything the chain says about one zone and MTU.

    `recorded` has the contract's own last word on listed orders, by uid: why they cannot trade, 0 if they can.
    """

    book: Committed | None = None
    reference: tuple[int, int, int] | None = None
    chunks: list[Chunk] = field(default_factory=list)
    schedule: tuple[str, int, int] | None = None
    answer: tuple[int, str, int] | None = None
    recorded: dict[str, int] = field(default_factory=dict)

    @property
    def cleared(self) -> Cleared | None:
        """The last chunk's result; None where the clearing is not complete."""
        return self.chunks[-1].cleared if self.chunks and self.chunks[-1].cleared.last else None

    @property
    def open_positions(self) -> int:
        """Positions neither settled nor refunded."""
        return sum(not position.settled for chunk in self.chunks for position in chunk.positions)

    def carried_wh(self) -> dict[int, int]:
        """What meters that go on in the next chunk have contracted so far, Wh."""
        opened = self.chunks[-1].opened if self.chunks else None
        return {} if opened is None else dict(opened.carried_wh)

    def void_at(self, time_s: int, *, proceed_without_answer: bool, clearing_deadline: int) -> bool | None:
        """Whether positions are refunded at a moment; None while it is still open, or nothing was cleared.

        A clearing that was not finished in time is void; a schedule as its answer says, or without one the policy.
        """
        if self.chunks and self.cleared is None:
            return True if time_s > clearing_deadline else None
        if self.schedule is None:
            return None
        if self.answer is not None:
            return self.answer[0] == CURTAILED
        return None if time_s <= self.schedule[2] else not proceed_without_answer
