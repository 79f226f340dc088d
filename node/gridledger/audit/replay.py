"""Replays clearings and settlements: events say what happened, call data and rules what had to happen."""

from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from gridledger.audit.capping import Capping
from gridledger.audit.dispatch_replay import DispatchReplay
from gridledger.audit.markets import Chunk, Cleared, Debt, Entry, EntryState, Granted, Market, Step, TokenDebt
from gridledger.audit.members import Members, Rules
from gridledger.audit.model import Slot
from gridledger.audit.money import ZERO_ADDRESS, Cash, TokenBook
from gridledger.audit.opening import Opened, open_chunk
from gridledger.audit.ports import ChainCall, Event
from gridledger.audit.presented import ClearingCall, EntryKind, SettlementCall, clearing_call, settlement_call
from gridledger.audit.presented_dispatch import CapsCall
from gridledger.errors import GridLedgerError
from gridledger.market.errors import NothingToCorrect, VersionsUsedUp
from gridledger.market.model import Position
from gridledger.market.settlement import (
    imbalance_microcents,
    refund_positions,
    settle_positions,
    substitute_positions,
    trade_microcents,
)

__all__ = ["CORRECTION", "MarketReplay"]

CORRECTION = "correction"  # why CarbonLedger invalidates what a correction has shown to be unearned
_Named = tuple[EntryKind, int, int, EntryState]


@dataclass(kw_only=True)
class _Transaction:
    """Events of one transaction that wait for the event that says where they belong."""

    transaction_hash: str
    calls: tuple[ChainCall, ...] = ()
    traded: list[tuple[int, int, int]] = field(default_factory=list)
    named: list[_Named] = field(default_factory=list)
    debts: list[Debt] = field(default_factory=list)
    curtailed: list[tuple[int, int, int]] = field(default_factory=list)
    step: Step | None = None


class MarketReplay:
    """Clearings and settlements by zone and MTU. `odd` collects what no honest contract does in that state."""

    def __init__(
        self,
        members: Members,
        rules: Rules,
        cash: Cash,
        tokens: TokenBook,
        mtu_length_s: int,
        odd: list[tuple[str, str]],
    ) -> None:
        self.markets: defaultdict[Slot, Market] = defaultdict(Market)
        self._members, self._rules, self._cash, self._tokens, self._odd = members, rules, cash, tokens, odd
        self._transaction = _Transaction(transaction_hash="")
        self._calls: dict[str, tuple[ChainCall, ...]] = {}
        self.dispatches = DispatchReplay(self.markets, mtu_length_s, odd)
        self._capping = Capping(members, rules, cash)

    def begin(self, calls: Sequence[ChainCall]) -> None:
        """Start a block with these calls."""
        self.dispatches.begin(calls)
        by_hash: defaultdict[str, list[ChainCall]] = defaultdict(list)
        for call in calls:
            by_hash[call.transaction_hash].append(call)
        self._calls = {transaction_hash: tuple(found) for transaction_hash, found in by_hash.items()}

    def finish(self) -> None:
        """End a block: nothing may be left that belongs nowhere."""
        self._end_transaction()
        self.dispatches.finish()

    def _end_transaction(self) -> None:
        left = self._transaction
        if left.traded or left.named or left.debts or left.curtailed:
            counts = f"{len(left.traded)} trades, {len(left.named)} positions, {len(left.debts)} debts"
            what = f"{counts}, {len(left.curtailed)} curtailed trades of no MTU"
            self._odd.append((f"transaction {left.transaction_hash}", what))
        self._transaction = _Transaction(transaction_hash="")

    def apply(self, event: Event, time_s: int) -> None:
        """Apply one event of trading, settlement, dispatch, carbon or low-carbon token; others change nothing."""
        transaction, values = self._of(event), event.arguments
        match event.name:
            case "EnergyTraded":
                transaction.traded.append((values["sellMeter"], values["buyMeter"], values["energyWh"]))
            case "MarketCleared":
                self._clear(event, time_s)
            case "DebtRecorded":
                transaction.debts.append((values["debtor"], values["creditor"], values["amountMicrocents"]))
            case EntryKind.READ | EntryKind.SUBSTITUTED | EntryKind.CORRECTED | EntryKind.REFUNDED:
                transaction.named.append(_named(event))
            case "SettlementProgressed":
                self._settle(event, time_s)
            case "TradeCurtailed":
                transaction.curtailed.append((values["sellMeter"], values["buyMeter"], values["energyWh"]))
            case "CapsApplied":
                self._apply_caps(event, time_s)
            case _ if _is_reward(event):
                if transaction.step is None:
                    self._odd.append((f"{event.name} in block {event.block_number}", "rewards without a settlement"))
                else:
                    self._reward(event, transaction.step)
            case _:
                self.dispatches.apply(event, time_s)

    def _of(self, event: Event) -> _Transaction:
        if self._transaction.transaction_hash != event.transaction_hash:
            self._end_transaction()
            calls = self._calls.get(event.transaction_hash, ())
            self._transaction = _Transaction(transaction_hash=event.transaction_hash, calls=calls)
        return self._transaction

    def _clear(self, event: Event, time_s: int) -> None:
        values, transaction = event.arguments, self._transaction
        slot, number = Slot(values["zone"], values["mtuStart"]), values["chunk"]
        market = self.markets[slot]
        call = self._clearing_of(transaction, slot, number)
        opened = None if call is None else self._open(call, slot, market, event)
        positions = () if opened is None else opened.positions
        for position in positions:
            self._cash.lock(position.owner, position.locked_microcents)
        cleared = Cleared(
            last=values["last"],
            any_price=values["anyPrice"],
            low_carbon_price=values["lowCarbonPrice"],
            traded_wh=values["tradedWh"],
            position_count=values["positionCount"],
            block_number=event.block_number,
            time_s=time_s,
        )
        traded, transaction.traded = transaction.traded, []
        market.chunks.append(
            Chunk(
                number=number,
                cleared=cleared,
                call=call,
                opened=opened,
                traded=traded,
                positions=positions,
                deals=() if opened is None else opened.deals,
            )
        )

    def _clearing_of(self, transaction: _Transaction, slot: Slot, chunk: int) -> ClearingCall | None:
        for call in transaction.calls:
            if call.function == "clear":
                found = clearing_call(call.arguments)
                if (found.zone, found.mtu_start, found.chunk) == (*slot, chunk):
                    return found
        return None

    def _open(self, call: ClearingCall, slot: Slot, market: Market, event: Event) -> Opened | None:
        try:
            return open_chunk(
                call,
                self._members.meters,
                self._rules.policy_at(slot.mtu_start),
                self._rules.prices_at(slot.mtu_start),
                market.carried_wh(),
            )
        except (GridLedgerError, LookupError, ValueError) as error:
            self._odd.append((f"call data of {event.name} in block {event.block_number}", f"{error!r}"))
            return None

    def _settle(self, event: Event, time_s: int) -> None:
        values, transaction = event.arguments, self._transaction
        slot = Slot(values["zone"], values["mtuStart"])
        market = self.markets[slot]
        named, transaction.named = transaction.named, []
        debts, transaction.debts = transaction.debts, []
        chunk = self._chunk_of(event, market)
        if chunk is None:
            return
        before = chunk.positions
        settling = _Settling(chunk, self._members, self._rules, slot)
        entries = [settling.close(*one) for one in named]
        chunk.positions = tuple(settling.positions)
        transaction.step = Step(
            block_number=event.block_number,
            time_s=time_s,
            entries=entries,
            before=before,
            after=chunk.positions,
            deals=chunk.deals,
            corrects=settling.corrects,
            debts=debts,
            expected_debts=self._pay(settling, slot),
            open_positions=values["openPositions"],
            expected_open_positions=market.open_positions,
            call=self._settlement_of(transaction, slot, chunk.number),
        )
        chunk.steps.append(transaction.step)

    def _apply_caps(self, event: Event, time_s: int) -> None:
        values, transaction = event.arguments, self._transaction
        slot = Slot(values["zone"], values["mtuStart"])
        market = self.markets[slot]
        stated = (transaction.curtailed, transaction.debts)
        transaction.curtailed, transaction.debts = [], []
        call = self.dispatches.call_of(event, CapsCall, *slot, values["chunk"])
        if (chunk := self._chunk_of(event, market)) is not None:
            self._capping.apply(event, time_s, market, chunk, stated, call)

    def _chunk_of(self, event: Event, market: Market) -> Chunk | None:
        """The chunk an event is about; None, and noted as odd, where there is no such."""
        number = event.arguments["chunk"]
        chunk = next((chunk for chunk in market.chunks if chunk.number == number), None)
        if chunk is None or chunk.opened is None:
            self._odd.append((f"{event.name} in block {event.block_number}", f"chunk {number} of no clearing"))
            return None
        return chunk

    def _pay(self, settling: "_Settling", slot: Slot) -> list[Debt]:
        """Carry out the payments as the trading contract does; returns the debts that are left."""
        debts: list[Debt] = []
        for payment in settling.payments:
            self._cash.lock(payment.owner, -payment.released_microcents)
            imbalance = payment.imbalance_microcents
            payer, payee = payment.owner, payment.supplier
            if imbalance > 0:
                payer, payee = payee, payer
            if imbalance and (debt := self._cash.collect(payer, payee, abs(imbalance))):
                debts.append((payer, payee, debt))
        self._cash.lock(self._members.grid_operators.get(slot.zone, ""), -settling.fees_microcents)
        return debts

    @staticmethod
    def _settlement_of(transaction: _Transaction, slot: Slot, chunk: int) -> SettlementCall | None:
        for call in transaction.calls:
            if call.contract == "EnergySettlement":
                found = settlement_call(call.arguments)
                if (found.zone, found.mtu_start, found.chunk) == (*slot, chunk):
                    return found
        return None

    def _reward(self, event: Event, step: Step) -> None:
        values = event.arguments
        match event.name:
            case "Transfer":
                step.minted.append((values["to"], values["value"]))
            case "Invalidated":
                step.taken_back.append((values["holder"], values["amountUgco2"]))
            case "TokensOwed":
                balance = self._tokens.balances[values["holder"]]
                debt = TokenDebt(
                    mtu_start=values["mtuStart"],
                    holder=values["holder"],
                    amount_ugco2=values["amountUgco2"],
                    balance_ugco2=balance,
                )
                step.owed.append(debt)
            case _:
                factor = values["gridFactorMgco2PerKwh"]
                step.granted.append(
                    Granted(
                        mtu_start=values["mtuStart"],
                        grid_factor_mgco2_per_kwh=factor,
                        energy_wh=values["energyWh"],
                        total_ugco2=values["totalUgco2"],
                        factor_known=self._rules.grid_factors.get(values["mtuStart"]) == factor,
                        corrects=event.name == "RewardsCorrected",
                    )
                )


def _is_reward(event: Event) -> bool:
    """Whether an event belongs to the rewards of a settlement: granted, corrected, minted, taken back or owed."""
    match event.name:
        case "RewardsGranted" | "RewardsCorrected" | "TokensOwed":
            return True
        case "Invalidated":
            return bool(event.arguments["reason"] == CORRECTION)
        case "Transfer":
            return event.contract == "LowCarbonToken" and bool(event.arguments["from"] == ZERO_ADDRESS)
        case _:
            return False


@dataclass(frozen=True, kw_only=True)
class _Payment:
    """Money of one position: out of the escrow to its owner, and with its supplier (positive: to the owner)."""

    owner: str
    supplier: str
    released_microcents: int
    imbalance_microcents: int


class _Settling:
    """One settling call in the making."""

    def __init__(self, chunk: Chunk, members: Members, rules: Rules, slot: Slot) -> None:
        self.positions = list(chunk.positions)
        self.payments: list[_Payment] = []
        self.fees_microcents = 0
        self.corrects = False
        self._cleared, self._members, self._mtu_start = chunk.cleared, members, slot.mtu_start
        self._prices = rules.prices_at(slot.mtu_start)
        self._index_of = {position.meter: index for index, position in enumerate(chunk.positions)}

    def close(self, kind: EntryKind, mtu_start: int, meter: int, stated: EntryState) -> Entry:
        """Settle, correct or refund one position as its event says, if the rules allow that at all."""
        index = self._index_of.get(meter) if mtu_start == self._mtu_start else None
        expected = None
        if index is not None and self.positions[index].settled == (kind is EntryKind.CORRECTED):
            with suppress(NothingToCorrect, VersionsUsedUp):
                expected = self._closed(kind, index, stated.metered_wh)
        return Entry(kind=kind, meter=meter, stated=stated, expected=expected)

    def _closed(self, kind: EntryKind, index: int, metered_wh: int) -> EntryState:
        before = self.positions[index]
        if kind is EntryKind.REFUNDED:
            (after,), money = refund_positions([before], {0}), before.locked_microcents
            self._pay(before, money, 0)
        elif kind is EntryKind.CORRECTED:
            self.corrects |= before.read
            (after,) = settle_positions([before], {0: metered_wh})
            money = self._imbalance(after) - self._imbalance(before)
            self._pay(before, 0, money)
        else:
            if kind is EntryKind.SUBSTITUTED:
                (after,) = substitute_positions([before], {0})
            else:
                (after,) = settle_positions([before], {0: metered_wh})
            trade = trade_microcents(before, self._cleared.any_price, self._cleared.low_carbon_price)
            money = self._imbalance(after)
            self._pay(before, before.locked_microcents + trade - before.fee_microcents, money)
            self.fees_microcents += before.fee_microcents
        self.positions[index] = after
        return EntryState(version=after.version, metered_wh=after.metered_wh, money_microcents=money)

    def _imbalance(self, position: Position) -> int:
        return imbalance_microcents(position, position.metered_wh, self._prices.surplus, self._prices.shortage)

    def _pay(self, position: Position, released: int, imbalance: int) -> None:
        self.payments.append(
            _Payment(
                owner=position.owner,
                supplier=self._members.supplier_at(position.supplier_number),
                released_microcents=released,
                imbalance_microcents=imbalance,
            )
        )


def _named(event: Event) -> _Named:
    values: Any = event.arguments
    kind, metered_wh, version = EntryKind(event.name), 0, 0
    if kind is EntryKind.REFUNDED:
        money = values["lockedMicrocents"]
    elif kind is EntryKind.CORRECTED:
        version, metered_wh, money = values["version"], values["meteredWh"], values["deltaMicrocents"]
    else:
        metered_wh = values["meteredWh" if kind is EntryKind.READ else "substituteWh"]
        money = values["imbalanceMicrocents"]
    state = EntryState(version=version, metered_wh=metered_wh, money_microcents=money)
    return kind, values["mtuStart"], values["meter"], state
