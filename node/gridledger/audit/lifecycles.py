"""Checks that the exported state of every order is the one its cancellation, book, trades and settlement lead to."""

from collections import Counter

from gridledger.audit.evidence import Evidence
from gridledger.audit.formats import OrderRow
from gridledger.audit.history import Market
from gridledger.audit.model import Rule, Slot, order_name
from gridledger.market.model import OrderState

__all__ = ["check_order_states"]

_BEFORE_CLEARING = (OrderState.OPEN, OrderState.MATCHED, OrderState.UNMATCHED)


def check_order_states(evidence: Evidence) -> None:
    """State, reason and filled energy of each order."""
    for slot, rows in evidence.orders_by_slot.items():
        market = evidence.history.markets.get(slot)
        filled_wh = _filled_wh(market)
        settled, refunded = _closed_meters(market)
        reasons = {row.order_uid: row.ineligible for row in evidence.books.get(slot, [])}
        for row in rows:
            state = _state(evidence, slot, row, filled_wh[row.uid], reasons.get(row.uid))
            if state is OrderState.LOCKED and row.meter in settled:
                state = OrderState.SETTLED
            elif state is OrderState.LOCKED and row.meter in refunded:
                state = OrderState.REFUNDED
            reason = reasons.get(row.uid) if state is OrderState.INELIGIBLE else None
            filled = row.filled_wh if state is OrderState.MATCHED else filled_wh[row.uid]
            record = f"{order_name(row.uid, row.running_number)}, state, reason, filled Wh"
            found = (str(row.state), row.state_reason, row.filled_wh)
            evidence.findings.compare(Rule.ORDER_STATE, record, (str(state), reason, filled), found)


def _state(evidence: Evidence, slot: Slot, row: OrderRow, filled_wh: int, reason: str | None) -> OrderState:
    """The state before settlement; where the chain leaves several open, the exported one if it is among them."""
    market = evidence.history.markets.get(slot)
    if row.uid in evidence.cancelled:
        return OrderState.CANCELLED
    if market is None or market.book is None:
        return row.state if row.state in (OrderState.OPEN, OrderState.UNMATCHED) else OrderState.OPEN
    closed = OrderState.UNMATCHED if reason is None else OrderState.INELIGIBLE
    if market.cleared is not None:
        return OrderState.LOCKED if filled_wh and reason is None else closed
    if evidence.is_late(slot.mtu_start):
        return closed
    return row.state if row.state in (*_BEFORE_CLEARING, closed) else closed


def _filled_wh(market: Market | None) -> Counter[str]:
    filled_wh: Counter[str] = Counter()
    if market is not None and market.cleared is not None:
        for sell_uid, buy_uid, energy_wh in market.trades:
            filled_wh[sell_uid] += energy_wh
            filled_wh[buy_uid] += energy_wh
    return filled_wh


def _closed_meters(market: Market | None) -> tuple[frozenset[int], frozenset[int]]:
    if market is None:
        return frozenset(), frozenset()
    settled = frozenset(entry.meter for step in market.steps for entry in step.settled)
    return settled, frozenset(meter for step in market.steps for meter, _ in step.refunded)
