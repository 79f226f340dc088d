"""The links of a trade receipt that are about one meter: orders, delivery, settlement, tokens."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from gridledger.api.receipt_events import ReceiptEvents
from gridledger.audit.trade_receipt import (
    AnchoredReading,
    Closing,
    Delivery,
    FilledOrder,
    Grant,
    Orders,
    ProvenReading,
    Settlement,
    Side,
    State,
    Tokens,
)
from gridledger.market.model import Acceptance, Order
from gridledger.metering.anchoring import ReadingProof
from gridledger.metering.model import StoredReading
from gridledger.store.trade_facts import FilledRow, RewardRow
from gridledger.store.transaction import Transaction

__all__ = ["Shown", "SideBuilder"]

_GRANTS = {"Transfer": "minted", "Invalidated": "invalidated", "TokensOwed": "owed"}


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What somebody may see: signed orders and readings of which meters."""

    orders_of: frozenset[int]
    readings_of: frozenset[int]


class SideBuilder:
    """Makes the sides of one receipt; `void` says why the clearing came to nothing."""

    def __init__(
        self,
        tx: Transaction,
        events: ReceiptEvents,
        *,
        zone: int,
        mtu_start: int,
        shown: Shown,
        proofs: Mapping[int, ReadingProof],
        void: str | None,
    ) -> None:
        self._tx = tx
        self._events = events
        self._slot = (zone, mtu_start)
        self._mtu_start = mtu_start
        self._shown = shown
        self._proofs = proofs
        self._void = void

    def sides(self, owners: Mapping[int, str]) -> tuple[Side, ...]:
        """One side for each meter, in the order given; `owners` by meter."""
        filled = self._tx.trade_facts.filled_of(*self._slot, owners)
        rewards = self._tx.trade_facts.rewards(self._mtu_start, frozenset(owners.values()))
        return tuple(self._side(meter, owner, filled[meter], rewards) for meter, owner in owners.items())

    def _side(self, meter: int, owner: str, filled: Sequence[FilledRow], rewards: Sequence[RewardRow]) -> Side:
        closings = self._events.closings(meter)
        settlement = self._settlement(closings)
        return Side(
            meter=meter,
            owner=owner,
            orders=_orders(filled, signed=meter in self._shown.orders_of),
            delivery=self._delivery(meter, closings),
            settlement=settlement,
            tokens=self._tokens(owner, settlement, rewards),
        )

    def _settlement(self, closings: tuple[Closing, ...]) -> Settlement:
        if any(closing.kind == "refunded" for closing in closings):
            return Settlement(state=State.VOID, why="what was locked has been given back", versions=closings)
        if closings:
            return Settlement(state=State.RECORDED, why=None, versions=closings)
        why = self._void or "settled once the dispatch proceeds and the meter's reading is anchored"
        return Settlement(state=State.PENDING, why=why, versions=())

    def _delivery(self, meter: int, closings: Sequence[Closing]) -> Delivery:
        energies = [closing.energy_wh for closing in closings if closing.energy_wh is not None]
        delivered_wh = energies[-1] if energies else None
        reading, (state, why) = None, self._delivered(closings)
        if meter in self._shown.readings_of:
            stored = self._tx.readings.find(meter, self._mtu_start)
            reading = self._reading(meter, stored)
            if state is not State.VOID:
                state, why = self._read(meter, stored, closings)
        elif state is State.RECORDED:
            why = "the reading behind it is shown to the meter's owner and the regulator"
        return Delivery(state=state, why=why, delivered_wh=delivered_wh, reading=reading, proven=self._proven(meter))

    def _delivered(self, closings: Sequence[Closing]) -> tuple[State, str | None]:
        """Where the delivery stands by the settlement alone."""
        if self._void or any(closing.kind == "refunded" for closing in closings):
            return State.VOID, self._void or "the position was refunded"
        if not closings:
            return State.PENDING, "not settled yet"
        return State.RECORDED, None

    def _read(self, meter: int, stored: StoredReading | None, closings: Sequence[Closing]) -> tuple[State, str | None]:
        """Where the delivery stands by the reading."""
        if meter in self._proofs:
            return State.RECORDED, None
        if stored is not None:
            return State.PENDING, "the reading is accepted and its anchor is not on chain yet"
        if self._tx.trade_facts.is_erased(meter, self._mtu_start):
            return State.NONE, "the reading was erased with its owner's data"
        if closings and closings[-1].kind == "substituted":
            return State.NONE, "no reading came by the policy's deadline; a substitute stands in"
        return State.PENDING, "no reading has come yet"

    def _reading(self, meter: int, stored: StoredReading | None) -> AnchoredReading | None:
        proof = self._proofs.get(meter)
        event = None if proof is None else self._tx.chain_log.anchoring(proof.sequence)
        if stored is None or proof is None or event is None:
            return None
        return AnchoredReading(
            import_wh=stored.reading.import_wh,
            export_wh=stored.reading.export_wh,
            salt="0x" + stored.salt.hex(),
            leaf="0x" + proof.leaf.hex(),
            sequence=proof.sequence,
            root="0x" + proof.root.hex(),
            path=tuple("0x" + node.hex() for node in proof.path),
            recorded=self._events.recorded(event),
        )

    def _proven(self, meter: int) -> ProvenReading | None:
        event = self._events.proven(meter)
        if event is None:
            return None
        return ProvenReading(net_wh=event.arguments["netWh"], recorded=self._events.recorded(event))

    def _tokens(self, owner: str, settlement: Settlement, rewards: Sequence[RewardRow]) -> Tokens:
        if settlement.state is not State.RECORDED:
            return Tokens(state=settlement.state, why="granted with the settlement of both sides", grants=())
        grants = tuple(self._grant(row) for row in self._own(owner, rewards))
        if not grants:
            why = "no low-carbon energy of the owner's was traded, delivered and consumed here so far"
            return Tokens(state=State.NONE, why=why, grants=())
        return Tokens(state=State.RECORDED, why=None, grants=grants)

    def _own(self, owner: str, rewards: Sequence[RewardRow]) -> Sequence[RewardRow]:
        """Rewards of the owner by settlements of this zone and MTU."""
        transactions: Collection[str] = self._events.settlement_transactions
        return [row for row in rewards if row.holder == owner and row.transaction_hash in transactions]

    def _grant(self, row: RewardRow) -> Grant:
        return Grant(
            kind=_GRANTS[row.name],
            amount_ugco2=abs(row.amount_ugco2),
            recorded=self._events.place(row.block_number, row.log_index, row.transaction_hash),
        )


def _orders(filled: Sequence[FilledRow], *, signed: bool) -> Orders:
    why = None if signed else "the signed texts are shown to the parties, the grid operator and the regulator"
    return Orders(
        state=State.RECORDED if signed else State.WITHHELD,
        why=why,
        orders=tuple(_filled_order(row, signed=signed) for row in filled),
    )


def _filled_order(row: FilledRow, *, signed: bool) -> FilledOrder:
    return FilledOrder(
        uid=row.uid,
        book_position=row.position,
        running_number=row.receipt.running_number,
        filled_wh=row.filled_wh,
        order=row.signed if signed and isinstance(row.signed, Order) else None,
        acceptance=row.signed if signed and isinstance(row.signed, Acceptance) else None,
        signature=row.signature if signed else None,
        receipt=row.receipt if signed else None,
    )
