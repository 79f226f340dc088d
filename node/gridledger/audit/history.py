"""The chain's own account of the market, replayed from its events block by block."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gridledger.audit.members import Members, Rules
from gridledger.audit.model import Slot
from gridledger.audit.money import Cash, TokenBook
from gridledger.audit.ports import ChainBlock, Event

__all__ = ["Anchor", "BlockFacts", "Cleared", "Committed", "History", "Market", "Opened", "Reward", "Settled", "Step"]

ADMIN_ROLE = 0  # the access manager's own
CURTAILED = 2  # IEnergyDispatching.Answer


@dataclass(frozen=True, kw_only=True)
class BlockFacts:
    """A block without its events; `earliest_s` is the least the node's clock can have shown when it was made.

    Blocks made within one second follow each other at one second each, so block times may run ahead of the clock.
    """

    number: int
    block_hash: str
    time_s: int
    earliest_s: int
    state_root: str | None
    transaction_hashes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Committed:
    """A committed book."""

    book_hash: str
    order_count: int
    block_number: int


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A position as the contract opened it; Wh and microcents."""

    meter: int
    owner: str
    contracted_wh: int
    locked_microcents: int
    fee_microcents: int


@dataclass(frozen=True, kw_only=True)
class Cleared:
    """A clearing's result; cents per MWh and Wh."""

    price_cents_per_mwh: int
    traded_wh: int
    trade_count: int
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
class Settled:
    """A settled position; Wh and microcents."""

    meter: int
    metered_wh: int
    trade_microcents: int
    imbalance_microcents: int


@dataclass(frozen=True, kw_only=True)
class Reward:
    """A granted reward; Wh and micrograms."""

    mtu_start: int
    seller: str
    buyer: str
    energy_wh: int
    seller_ugco2: int
    buyer_ugco2: int


@dataclass(kw_only=True)
class Step:
    """One settling transaction: positions settled or refunded, then the rewards that follow."""

    block_number: int
    time_s: int
    settled: list[Settled] = field(default_factory=list)
    refunded: list[tuple[int, int]] = field(default_factory=list)
    rewards: list[Reward] = field(default_factory=list)
    grid_factor_mgco2_per_kwh: int = 0
    grid_factor_published: bool = False
    open_positions: int = 0


@dataclass(kw_only=True)
class Market:
    """Everything the chain says about one zone and MTU."""

    book: Committed | None = None
    reference: tuple[int, int, int] | None = None
    trades: list[tuple[str, str, int]] = field(default_factory=list)
    opened: dict[int, Opened] = field(default_factory=dict)
    cleared: Cleared | None = None
    schedule: tuple[str, int, int] | None = None
    answer: tuple[int, str, int] | None = None
    anchors: list[Anchor] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)

    def void_at(self, time_s: int, *, proceed_without_answer: bool) -> bool | None:
        """Whether the dispatch is void at a moment; None while it may still be answered or was never scheduled."""
        if self.schedule is None:
            return None
        if self.answer is not None:
            return self.answer[0] == CURTAILED
        return None if time_s <= self.schedule[2] else not proceed_without_answer


class History:
    """State rebuilt from events. `odd` lists events that no honest contract emits in that state."""

    def __init__(self) -> None:
        self.members, self.rules, self.cash = Members(), Rules(), Cash()
        self.tokens = {"SettlementToken": TokenBook(), "LowCarbonToken": TokenBook()}
        self.markets: defaultdict[Slot, Market] = defaultdict(Market)
        self.blocks: list[BlockFacts] = []
        self.role_members: defaultdict[int, dict[str, int]] = defaultdict(dict)
        self.function_roles: dict[tuple[str, str], int] = {}
        self.cancelled_at: dict[tuple[str, str], int] = {}
        self.first_admin: tuple[str, int] | None = None
        self.access_changes: list[str] = []
        self.authorities: dict[str, str] = {}
        self.odd: list[tuple[str, str]] = []
        self._step: tuple[str, Step] = ("", Step(block_number=0, time_s=0))

    @property
    def head(self) -> BlockFacts:
        """The newest block."""
        return self.blocks[-1]

    def add(self, block: ChainBlock) -> None:
        """Replay one block."""
        previous = self.blocks[-1] if self.blocks else None
        follows = previous is not None and block.time_s == previous.time_s + 1
        self.blocks.append(
            BlockFacts(
                number=block.number,
                block_hash=block.block_hash,
                time_s=block.time_s,
                earliest_s=previous.earliest_s if previous is not None and follows else block.time_s,
                state_root=block.state_root,
                transaction_hashes=block.transaction_hashes,
            )
        )
        for event in block.events:
            self._apply(event, block.time_s)

    def _apply(self, event: Event, time_s: int) -> None:
        if event.name == "AuthorityUpdated":
            self.authorities[event.contract] = event.arguments["authority"]
            return
        match event.contract:
            case "ParticipantRegistry":
                self.members.apply(event)
            case "GridPolicy":
                self.members.apply(event)
                self.rules.apply(event)
            case "CarbonLedger":
                self.rules.apply(event)
                self._carbon(event, time_s)
            case "SettlementToken" | "LowCarbonToken":
                self.tokens[event.contract].apply(event)
            case "MarketAccessManager":
                self._role(event)
            case "EnergyTrading":
                self.cash.apply(event)
                self._trading(event, time_s)
            case _:
                self._market_event(event, time_s)

    def _role(self, event: Event) -> None:
        values = event.arguments
        match event.name:
            case "RoleGranted":
                self.role_members[values["roleId"]][values["account"]] = values["delay"]
                if self.first_admin is None and values["roleId"] == ADMIN_ROLE:
                    self.first_admin = (values["account"], event.block_number)
            case "RoleRevoked":
                self.role_members[values["roleId"]].pop(values["account"], None)
            case "TargetFunctionRoleUpdated":
                self.function_roles[values["target"], values["selector"]] = values["roleId"]
            case _:
                self.access_changes.append(f"{event.name} in block {event.block_number}")

    def _carbon(self, event: Event, time_s: int) -> None:
        if event.name == "RewardGranted":
            values = event.arguments
            self._step_of(event, time_s).rewards.append(
                Reward(
                    mtu_start=values["mtuStart"],
                    seller=values["seller"],
                    buyer=values["buyer"],
                    energy_wh=values["energyWh"],
                    seller_ugco2=values["sellerUgco2"],
                    buyer_ugco2=values["buyerUgco2"],
                )
            )

    def _market_event(self, event: Event, time_s: int) -> None:
        values = event.arguments
        match event.name:
            case "ReferencePricePublished":
                self._market(values).reference = (
                    values["priceCentsPerMwh"],
                    values["supplyWh"],
                    values["demandWh"],
                )
            case "DispatchScheduled":
                self._market(values).schedule = (values["scheduleHash"], values["tradedWh"], values["answerDeadline"])
            case "DispatchAnswered":
                self._market(values).answer = (values["answer"], values["gridOperator"], time_s)
            case "ReadingsAnchored":
                self._market(values).anchors.append(
                    Anchor(
                        sequence=values["sequence"],
                        root=values["root"],
                        reading_count=values["readingCount"],
                        block_number=event.block_number,
                        time_s=time_s,
                    )
                )

    def _trading(self, event: Event, time_s: int) -> None:
        values = event.arguments
        match event.name:
            case "BookCommitted":
                self._market(values).book = Committed(
                    book_hash=values["bookHash"], order_count=values["orderCount"], block_number=event.block_number
                )
            case "EnergyTraded":
                self._market(values).trades.append((values["sellUid"], values["buyUid"], values["energyWh"]))
            case "OrderCancelled":
                self.cancelled_at.setdefault((values["owner"], values["orderUid"]), time_s)
            case "PositionOpened":
                self._open(values)
            case "MarketCleared":
                self._market(values).cleared = Cleared(
                    price_cents_per_mwh=values["priceCentsPerMwh"],
                    traded_wh=values["tradedWh"],
                    trade_count=values["tradeCount"],
                    block_number=event.block_number,
                    time_s=time_s,
                )
            case "PositionSettled":
                self._settle(event, time_s)
            case "PositionRefunded":
                self._refund(event, time_s)
            case "SettlementProgressed":
                step = self._step_of(event, time_s)
                step.open_positions = values["openPositions"]
                step.grid_factor_published = values["mtuStart"] in self.rules.grid_factors
                step.grid_factor_mgco2_per_kwh = self.rules.grid_factor(values["mtuStart"])
                self._market(values).steps.append(step)

    def _open(self, values: Mapping[str, Any]) -> None:
        opened = Opened(
            meter=values["meter"],
            owner=values["owner"],
            contracted_wh=values["contractedWh"],
            locked_microcents=values["lockedMicrocents"],
            fee_microcents=values["feeMicrocents"],
        )
        self._market(values).opened[opened.meter] = opened
        self.cash.lock(opened.owner, opened.locked_microcents)

    def _settle(self, event: Event, time_s: int) -> None:
        values = event.arguments
        settled = Settled(
            meter=values["meter"],
            metered_wh=values["meteredWh"],
            trade_microcents=values["tradeMicrocents"],
            imbalance_microcents=values["imbalanceMicrocents"],
        )
        self._step_of(event, time_s).settled.append(settled)
        position = self._opened(event)
        if position is None:
            return
        fee = position.fee_microcents
        # out of the escrow come the lock and the trade's cash; the fee's part of it goes to the grid operator
        self.cash.lock(position.owner, -(position.locked_microcents + settled.trade_microcents))
        self.cash.change(position.owner, settled.imbalance_microcents - fee)
        self.cash.change(self.members.grid_operators.get(values["zone"], ""), fee)
        self.cash.change(self.members.supplier_of.get(position.owner, ""), -settled.imbalance_microcents)

    def _refund(self, event: Event, time_s: int) -> None:
        values = event.arguments
        self._step_of(event, time_s).refunded.append((values["meter"], values["lockedMicrocents"]))
        position = self._opened(event)
        if position is not None:
            self.cash.lock(position.owner, -values["lockedMicrocents"])

    def _opened(self, event: Event) -> Opened | None:
        meter = event.arguments["meter"]
        opened = self._market(event.arguments).opened.get(meter)
        if opened is None:
            self.odd.append((f"{event.name} in block {event.block_number}", f"meter {meter} has no open position"))
        return opened

    def _step_of(self, event: Event, time_s: int) -> Step:
        """The settling transaction an event belongs to."""
        if self._step[0] != event.transaction_hash:
            self._step = (event.transaction_hash, Step(block_number=event.block_number, time_s=time_s))
        return self._step[1]

    def _market(self, values: Mapping[str, Any]) -> Market:
        return self.markets[Slot(values["zone"], values["mtuStart"])]
