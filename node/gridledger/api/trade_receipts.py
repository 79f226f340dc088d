"""Receipts of trades: from the order to the settlement, each link with its transaction and its proof."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response

from gridledger.api.context import NodeContext
from gridledger.api.receipt_answers import receipt_answers
from gridledger.api.receipt_events import ReceiptEvents
from gridledger.api.receipt_forms import receipt_document
from gridledger.api.receipt_sides import Shown, SideBuilder
from gridledger.api.schemas import Uid
from gridledger.api.sessions import Bearer, session_owner
from gridledger.audit.trade_receipt import (
    FORMAT,
    Answer,
    Answers,
    ChainFacts,
    Chunk,
    Clearing,
    Schedule,
    State,
    TradeReceipt,
    Viewer,
)
from gridledger.chain.roles import Role
from gridledger.errors import InvalidInput, NotFound
from gridledger.market.model import MtuPhase
from gridledger.metering.access import LONGEST_REASON, check_reason
from gridledger.store.trade_facts import TradeRow
from gridledger.store.transaction import Transaction
from gridledger.units import UINT32_MAX, require_aligned

__all__ = ["MOST_TRADES", "TradeNotNamed", "TradeUnknown", "trade_receipt_routes"]

MOST_TRADES = 100  # at once
_UNFINISHED = "the clearing was never finished; what was locked is given back"


@dataclass(kw_only=True, eq=False)
class TradeNotNamed(InvalidInput):
    """A receipt is asked for by `meter` or by `order`, one of them."""


@dataclass(kw_only=True, eq=False)
class TradeUnknown(NotFound):
    """Nothing was traded there by this meter or order, or no further trades after these."""

    zone: int
    mtu_start: int


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """Which trades somebody asks about, and why if that is the regulator."""

    zone: int
    mtu_start: int
    meter: int
    rows: Sequence[TradeRow]
    next: int | None
    reason: str | None

    @property
    def owners(self) -> Mapping[int, str]:
        """Owners by meter, the asked meter first."""
        pairs = [(row.seller, row.seller_account) for row in self.rows]
        pairs += [(row.buyer, row.buyer_account) for row in self.rows]
        return dict(sorted(pairs, key=lambda pair: (pair[0] != self.meter, pair[0])))


def trade_receipt_routes(node: NodeContext) -> APIRouter:
    """The route under /v1/proofs/trades."""
    router = APIRouter(prefix="/v1/proofs/trades", tags=["proofs"])

    @router.get("/{zone}/{mtu_start}")
    def get_trade_receipt(
        response: Response,
        bearer: Bearer,
        zone: Annotated[int, Path(ge=1, le=UINT32_MAX)],
        mtu_start: Annotated[int, Path(ge=1, le=UINT32_MAX)],
        meter: Annotated[int | None, Query(ge=1, le=UINT32_MAX)] = None,
        order: Annotated[Uid | None, Query(description="Instead of the meter: one of its filled orders")] = None,
        after: Annotated[int, Query(ge=0, le=UINT32_MAX, description="Leave out so many trades")] = 0,
        limit: Annotated[int, Query(ge=1, le=MOST_TRADES)] = 50,
        reason: Annotated[str | None, Query(max_length=LONGEST_REASON)] = None,
    ) -> dict[str, Any]:
        """What a meter traded in a zone and MTU: orders, book, clearing, schedule, answers, delivery, settlement.

        Without a session: what is on chain. A party to the trades sees its own reading with salt and Merkle path and
        both sides' signed orders and receipts; the zone's grid operator the latter; the regulator, who states a
        `reason`, everything, which is logged as any access to readings. `gridledger receipt verify` checks it.
        """
        response.headers["Cache-Control"] = "no-store"
        require_aligned(mtu_start, node.mtu_length_s)
        receipts = _Receipts(node)
        with node.database.read() as tx:
            account = None if bearer is None else session_owner(tx, node.clock, bearer)
            asked = _asked(tx, zone, mtu_start, meter=meter, order=order, after=after, limit=limit, reason=reason)
            viewer = receipts.viewer(tx, asked, account)
            receipt = receipts.make(tx, asked, viewer, account)
        if viewer is Viewer.REGULATOR:
            assert account is not None
            receipts.log(asked, account)
        return receipt_document(receipts.with_signatures(receipt))

    return router


def _asked(
    tx: Transaction,
    zone: int,
    mtu_start: int,
    *,
    meter: int | None,
    order: str | None,
    after: int,
    limit: int,
    reason: str | None,
) -> _Asked:
    """Raises TradeNotNamed, TradeUnknown."""
    if (meter is None) == (order is None):
        raise TradeNotNamed
    number = meter if order is None else tx.trade_facts.meter_of(zone, mtu_start, order)
    rows = () if number is None else tx.trade_facts.trades_of(zone, mtu_start, number, after, limit + 1)
    if number is None or not rows:
        raise TradeUnknown(zone=zone, mtu_start=mtu_start)
    following = after + limit if len(rows) > limit else None
    return _Asked(zone=zone, mtu_start=mtu_start, meter=number, rows=rows[:limit], next=following, reason=reason)


class _Receipts:
    """Makes receipts as far as somebody may see them."""

    def __init__(self, node: NodeContext) -> None:
        self._node = node

    def viewer(self, tx: Transaction, asked: _Asked, account: str | None) -> Viewer:
        """As whom an account sees these trades. Raises ReasonRequired."""
        if account is None:
            return Viewer.ANYBODY
        if account in asked.owners.values():
            return Viewer.PARTY
        if tx.directory.zones().get(asked.zone) == account:
            return Viewer.GRID_OPERATOR
        if tx.directory.holds_role(account, int(Role.REGULATOR), self._node.clock.now()):
            check_reason(asked.reason)
            return Viewer.REGULATOR
        return Viewer.ANYBODY

    def log(self, asked: _Asked, reader: str) -> None:
        """Keep that the regulator has been shown readings of these meters."""
        assert asked.reason is not None
        span = {"from_s": asked.mtu_start, "to_s": asked.mtu_start + self._node.mtu_length_s}
        now = self._node.clock.now()
        with self._node.database.write() as tx:
            for meter in asked.owners:
                tx.reading_views.log_access(reader, meter, **span, reason=asked.reason.strip(), now=now)

    def make(self, tx: Transaction, asked: _Asked, viewer: Viewer, account: str | None) -> TradeReceipt:
        """The receipt without the grid operator's signatures."""
        zone, mtu_start = asked.zone, asked.mtu_start
        events, shown = ReceiptEvents(tx, zone, mtu_start), _shown(asked, viewer, account)
        clearing = _clearing(tx, zone, mtu_start, events.chunks())
        void = clearing.why if clearing.state is State.VOID else None
        schedule = events.schedule(void=void)
        sides = SideBuilder(
            tx,
            events,
            zone=zone,
            mtu_start=mtu_start,
            shown=shown,
            proofs=self._node.services(tx).anchoring.proofs(shown.readings_of, mtu_start),
            void=void,
        )
        return TradeReceipt(
            format=FORMAT,
            issued_at=self._node.clock.now(),
            viewer=viewer,
            chain=self._chain(),
            zone=zone,
            mtu_start=mtu_start,
            meter=asked.meter,
            book=events.book(),
            clearing=clearing,
            trades=events.trades(asked.rows),
            next=asked.next,
            schedule=schedule,
            answers=self._answers(tx, mtu_start, schedule, receipt_answers(events, asked.owners)),
            sides=sides.sides(asked.owners),
        )

    def with_signatures(self, receipt: TradeReceipt) -> TradeReceipt:
        """The receipt with the grid operator's signatures, which the chain is asked for."""
        signed = tuple(
            replace(answer, signature=self._node.answer_signatures.find(answer.recorded.transaction_hash))
            for answer in receipt.answers.answers
        )
        return replace(receipt, answers=replace(receipt.answers, answers=signed))

    def _answers(self, tx: Transaction, mtu_start: int, schedule: Schedule, answers: tuple[Answer, ...]) -> Answers:
        if answers:
            return Answers(state=State.RECORDED, why=None, answers=answers)
        if schedule.answer_deadline is None:
            return Answers(state=schedule.state, why="nothing has been scheduled", answers=())
        if self._node.clock.now() <= schedule.answer_deadline:
            return Answers(state=State.PENDING, why=f"due by {schedule.answer_deadline}", answers=())
        default = "proceeds" if tx.directory.policy_at(mtu_start).proceed_without_answer else "is void"
        why = f"none came by {schedule.answer_deadline}; by the policy the dispatch {default}"
        return Answers(state=State.NONE, why=why, answers=())

    def _chain(self) -> ChainFacts:
        facts = self._node.market_facts
        return ChainFacts(chain_id=facts["chain_id"], genesis_hash=facts["genesis_hash"], contracts=facts["contracts"])


def _shown(asked: _Asked, viewer: Viewer, account: str | None) -> Shown:
    """A party sees the readings of its own meters, and the orders of those it traded with."""
    everything = frozenset(asked.owners)
    if viewer is Viewer.REGULATOR:
        return Shown(orders_of=everything, readings_of=everything)
    if viewer is Viewer.GRID_OPERATOR:
        return Shown(orders_of=everything, readings_of=frozenset())
    own = frozenset(meter for meter, owner in asked.owners.items() if owner == account)
    traded = [{row.seller, row.buyer} for row in asked.rows if own & {row.seller, row.buyer}]
    return Shown(orders_of=own.union(*traded), readings_of=own)


def _clearing(tx: Transaction, zone: int, mtu_start: int, chunks: tuple[Chunk, ...]) -> Clearing:
    if chunks and chunks[-1].last:
        return Clearing(state=State.RECORDED, why=None, chunks=chunks)
    record = tx.mtus.find(zone, mtu_start)
    if record is not None and record.phase in (MtuPhase.LAPSED, MtuPhase.STOPPED):
        return Clearing(state=State.VOID, why=record.failure or _UNFINISHED, chunks=chunks)
    return Clearing(state=State.PENDING, why="not all of the clearing is on chain yet", chunks=chunks)
