"""What the chain says about each zone and MTU, step by step, beside what its call data and the rules make of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from gridledger.audit.dispatches import Curtailed, Dispatch, Outcome
from gridledger.audit.opening import Opened
from gridledger.audit.presented import ClearingCall, EntryKind, SettlementCall
from gridledger.audit.presented_dispatch import CapsCall
from gridledger.market.curtailment import Shrunk
from gridledger.market.model import Position, Trade

__all__ = [
    "Anchor",
    "CapsStep",
    "CapsSums",
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

    `debts` and `expected_debts` are (debtor, creditor, microcents); open positions are those of the whole MTU. `deals`
    are the trades kept beside the positions.
    """

    block_number: int
    time_s: int
    entries: Sequence[Entry]
    before: tuple[Position, ...]
    after: tuple[Position, ...]
    deals: tuple[Trade, ...]
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


@dataclass(frozen=True, kw_only=True)
class CapsSums:
    """What caps take off a chunk, Wh, and what they move, microcents, as CapsApplied states it."""

    curtailed_wh: int
    low_carbon_wh: int
    refunded_microcents: int
    compensated_microcents: int


@dataclass(frozen=True, kw_only=True)
class CapsStep:
    """Caps applied to a chunk: what the events state, and what the rules make of the caps that hold.

    `shrunk` and `expected` are None where the rules allow no caps. `traded` is (selling meter, buying meter, Wh taken
    off); debts are (debtor, creditor, microcents); `before` and `deals` are what was kept until then.
    """

    block_number: int
    time_s: int
    curtailed: Curtailed | None
    before: tuple[Position, ...]
    deals: tuple[Trade, ...]
    shrunk: Shrunk | None
    traded: Sequence[tuple[int, int, int]]
    expected_traded: Sequence[tuple[int, int, int]]
    stated: CapsSums
    expected: CapsSums | None
    debts: Sequence[Debt]
    expected_debts: Sequence[Debt]
    call: CapsCall | None


@dataclass(kw_only=True)
class Chunk:
    """One chunk of a clearing. `call` and `opened` are None where no usable call data was found.

    `positions` and `deals` are what is kept now: after caps `deals` has every trade.
    """

    number: int
    cleared: Cleared
    call: ClearingCall | None
    opened: Opened | None
    traded: Sequence[tuple[int, int, int]]
    positions: tuple[Position, ...]
    deals: tuple[Trade, ...]
    steps: list[Step] = field(default_factory=list)
    caps: list[CapsStep] = field(default_factory=list)

    @property
    def shrunk(self) -> Shrunk | None:
        """What caps have left of it; None where none were applied."""
        return next((step.shrunk for step in self.caps if step.shrunk is not None), None)

    def curtailed_wh(self) -> tuple[int, ...]:
        """What caps took off each of its trades, Wh."""
        if self.shrunk is not None:
            return self.shrunk.curtailed_wh
        return () if self.opened is None else (0,) * len(self.opened.trades)

    def closed(self, kind: EntryKind) -> frozenset[int]:
        """Meters with an event of that kind."""
        return frozenset(entry.meter for step in self.steps for entry in step.entries if entry.kind is kind)


@dataclass(kw_only=True)
class Market:
    """Everything the chain says about one zone and MTU.

    `recorded` has the contract's own last word on listed orders, by uid: why they cannot trade, 0 if they can.
    `left_wh` is what caps have left of meters that go on in a later chunk.
    """

    book: Committed | None = None
    reference: tuple[int, int, int] | None = None
    chunks: list[Chunk] = field(default_factory=list)
    dispatch: Dispatch = field(default_factory=Dispatch)
    recorded: dict[str, int] = field(default_factory=dict)
    left_wh: dict[int, int] = field(default_factory=dict)

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

    def outcome_after(
        self, block_number: int, time_s: int, *, proceed_without_answer: bool, clearing_deadline: int
    ) -> Outcome:
        """What becomes of the positions; a clearing that was not finished in time is void."""
        if self.chunks and self.cleared is None:
            return Outcome.VOID if time_s > clearing_deadline else Outcome.OPEN
        return self.dispatch.outcome_after(block_number, time_s, proceed_without_answer=proceed_without_answer)
