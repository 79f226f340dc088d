"""The links of a trade receipt that follow from the chain's events alone, and that anybody may see."""

from collections.abc import Sequence
from functools import cached_property

from gridledger.audit.presented import EntryKind
from gridledger.audit.trade_receipt import (
    Book,
    CapsApplied,
    Chunk,
    Closing,
    Recorded,
    Schedule,
    State,
    TradeCurtailment,
    TradeEntry,
)
from gridledger.market.curtailment import Bearer, bearer_of
from gridledger.market.settlement import buyer_lock_microcents, grid_fee_microcents, seller_lock_microcents
from gridledger.relay import ChainEvent
from gridledger.store.trade_facts import TradeRow
from gridledger.store.transaction import Transaction

__all__ = ["ReceiptEvents"]

# The kind of a closing, and the names of its energy and its money among the event's values.
_CLOSINGS = {
    EntryKind.READ: ("settled", "meteredWh", "imbalanceMicrocents"),
    EntryKind.SUBSTITUTED: ("substituted", "substituteWh", "imbalanceMicrocents"),
    EntryKind.CORRECTED: ("resettled", "meteredWh", "deltaMicrocents"),
    EntryKind.REFUNDED: ("refunded", None, "lockedMicrocents"),
}


class ReceiptEvents:
    """Events about one zone and MTU."""

    def __init__(self, tx: Transaction, zone: int, mtu_start: int) -> None:
        self._tx = tx
        self._slot = (zone, mtu_start)
        self._mtu_start = mtu_start
        self._events = tx.chain_log.events_about(zone, mtu_start)
        self._block_hashes: dict[int, str] = {}

    def recorded(self, event: ChainEvent) -> Recorded:
        """Where an event stands."""
        return self.place(event.block_number, event.log_index, event.transaction_hash)

    def place(self, block_number: int, log_index: int, transaction_hash: str) -> Recorded:
        """A place in the chain, with the hash of its block."""
        if block_number not in self._block_hashes:
            self._block_hashes[block_number] = self._tx.chain_log.block_hash(block_number)
        return Recorded(
            transaction_hash=transaction_hash,
            block_number=block_number,
            block_hash=self._block_hashes[block_number],
            log_index=log_index,
        )

    def book(self) -> Book:
        """The commitment to the book."""
        event = next(iter(self._named("BookCommitted")), None)
        if event is None:
            why = "the book's commitment is not on chain yet"
            return Book(state=State.PENDING, why=why, book_hash=None, order_count=None, recorded=None)
        return Book(
            state=State.RECORDED,
            why=None,
            book_hash=event.arguments["bookHash"],
            order_count=event.arguments["orderCount"],
            recorded=self.recorded(event),
        )

    def chunks(self) -> tuple[Chunk, ...]:
        """The clearing's transactions."""
        return tuple(
            Chunk(
                chunk=event.arguments["chunk"],
                last=event.arguments["last"],
                any_price_cents_per_mwh=event.arguments["anyPrice"],
                low_carbon_price_cents_per_mwh=event.arguments["lowCarbonPrice"],
                traded_wh=event.arguments["tradedWh"],
                recorded=self.recorded(event),
                caps=self._caps_applied(event.arguments["chunk"]),
            )
            for event in self._named("MarketCleared")
        )

    def _caps_applied(self, chunk: int) -> CapsApplied | None:
        event = self._applied.get(chunk)
        if event is None:
            return None
        return CapsApplied(
            curtailed_wh=int(event.arguments["curtailedWh"]),
            low_carbon_wh=int(event.arguments["lowCarbonWh"]),
            refunded_microcents=int(event.arguments["refundedMicrocents"]),
            compensated_microcents=int(event.arguments["compensatedMicrocents"]),
            recorded=self.recorded(event),
        )

    def trades(self, rows: Sequence[TradeRow]) -> tuple[TradeEntry, ...]:
        """Trades, each with its event: those of a chunk stand in the log in the order of their places."""
        return tuple(
            TradeEntry(
                chunk=row.chunk,
                place=row.position,
                kind=row.kind,
                seller=row.seller,
                buyer=row.buyer,
                energy_wh=row.energy_wh,
                price_cents_per_mwh=row.price_cents_per_mwh,
                recorded=self._trade_recorded(row),
                curtailment=self._trade_curtailment(row),
            )
            for row in rows
        )

    def schedule(self, *, void: str | None) -> Schedule:
        """What was handed to the grid operator; `void` says why nothing will be."""
        event = next(iter(self._named("DispatchScheduled")), None)
        if event is not None:
            return Schedule(
                state=State.RECORDED,
                why=None,
                schedule_hash=event.arguments["scheduleHash"],
                setpoints_root=event.arguments.get("setpointsRoot"),
                traded_wh=event.arguments["tradedWh"],
                answer_deadline=event.arguments["answerDeadline"],
                recorded=self.recorded(event),
            )
        return Schedule(
            state=State.VOID if void else State.PENDING,
            why=void or "the clearing's last chunk, which hands the schedule over, is not on chain yet",
            schedule_hash=None,
            setpoints_root=None,
            traded_wh=None,
            answer_deadline=None,
            recorded=None,
        )

    def answers(self) -> tuple[ChainEvent, ...]:
        """Everything the grid operator has said about the schedule, in chain order."""
        said = [event for event in self._events if event.name in ("DispatchAnswered", "DispatchCurtailed")]
        said += self._tx.chain_log.stops_over(*self._slot)
        return tuple(sorted(said, key=lambda event: (event.block_number, event.log_index)))

    def closings(self, meter: int) -> tuple[Closing, ...]:
        """What settlements did to the positions of a meter, oldest first."""
        return tuple(self._closing(event, chunk) for event, chunk in self._closed if event.arguments["meter"] == meter)

    @cached_property
    def settlement_transactions(self) -> frozenset[str]:
        """Transactions that settled positions of this zone and MTU."""
        return frozenset(event.transaction_hash for event in self._named("SettlementProgressed"))

    def proven(self, meter: int) -> ChainEvent | None:
        """The proof of what a meter's device has signed."""
        return next((event for event in self._named("ReadingProven") if event.arguments["meter"] == meter), None)

    @cached_property
    def _closed(self) -> list[tuple[ChainEvent, int]]:
        """Closed positions, each with its chunk, which the event that follows them in the log names."""
        closed: list[tuple[ChainEvent, int]] = []
        firsts = {event.transaction_hash: event for event in reversed(self._named("SettlementProgressed"))}
        for first in sorted(firsts.values(), key=lambda event: (event.block_number, event.log_index)):
            waiting: list[ChainEvent] = []
            for event in self._tx.chain_log.events_beside(first):
                if event.name in _CLOSINGS:
                    waiting.append(event)
                elif event.name == "SettlementProgressed":
                    closed += [(one, event.arguments["chunk"]) for one in waiting]
                    waiting = []
        return [(event, chunk) for event, chunk in closed if event.arguments["mtuStart"] == self._mtu_start]

    def _closing(self, event: ChainEvent, chunk: int) -> Closing:
        kind, energy, money = _CLOSINGS[EntryKind(event.name)]
        return Closing(
            kind=kind,
            chunk=chunk,
            version=event.arguments.get("version", 0),
            energy_wh=None if energy is None else event.arguments[energy],
            amount_microcents=int(event.arguments[money]),
            recorded=self.recorded(event),
        )

    def _trade_recorded(self, row: TradeRow) -> Recorded | None:
        events = self._traded.get(row.chunk, ())
        if row.position >= len(events):
            return None
        return self.recorded(events[row.position])

    def _trade_curtailment(self, row: TradeRow) -> TradeCurtailment | None:
        """What caps took off a trade, and what that gives back; locks and fees are of each Wh the same."""
        applied = self._applied.get(row.chunk)
        if applied is None or not row.curtailed_wh:
            return None
        events = [event for event in self._tx.chain_log.events_beside(applied) if event.name == "TradeCurtailed"]
        place = self._tx.trade_facts.curtailed_places(*self._slot, row.chunk).index(row.position)
        policy, shortage = self._tx.directory.policy_at(self._mtu_start), self._shortage
        lost_wh, price = row.curtailed_wh, row.price_cents_per_mwh
        fee, relief = policy.grid_fee_cents_per_mwh, policy.low_carbon_relief_cents_per_mwh
        fee_microcents = grid_fee_microcents(lost_wh, fee, relief, low_carbon=row.source != 0)
        bearer = bearer_of(policy.replacement_bearers, self._reason)
        return TradeCurtailment(
            curtailed_wh=lost_wh,
            left_wh=row.energy_wh - lost_wh,
            seller_refund_microcents=seller_lock_microcents(lost_wh, price, shortage),
            buyer_refund_microcents=buyer_lock_microcents(lost_wh, price) + fee_microcents,
            compensation_microcents=0 if bearer is Bearer.BUYER else lost_wh * max(0, shortage - price),
            borne_by=bearer.name.lower(),
            recorded=self.recorded(events[place]),
        )

    @property
    def _shortage(self) -> int:
        return self._tx.directory.prices_at(self._mtu_start).shortage

    @property
    def _reason(self) -> int:
        """The reason of the caps that were applied: the newest ones."""
        reason: int = self._named("DispatchCurtailed")[-1].arguments["reason"]
        return reason

    @cached_property
    def _applied(self) -> dict[int, ChainEvent]:
        """By chunk what says that caps were applied to it."""
        return {event.arguments["chunk"]: event for event in self._named("CapsApplied")}

    @cached_property
    def _traded(self) -> dict[int, list[ChainEvent]]:
        return {
            cleared.arguments["chunk"]: [
                event for event in self._tx.chain_log.events_beside(cleared) if event.name == "EnergyTraded"
            ]
            for cleared in self._named("MarketCleared")
        }

    def _named(self, name: str) -> list[ChainEvent]:
        return [event for event in self._events if event.name == name]
