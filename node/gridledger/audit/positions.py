"""Checks what the contract keeps of each clearing: locked money, positions, and the schedule handed to dispatch."""

from dataclasses import replace

from gridledger.audit.evidence import Evidence
from gridledger.audit.formats import PositionRow
from gridledger.audit.history import Market, Opened, Settled
from gridledger.audit.model import Rule, Slot, meter_name, slot_name
from gridledger.audit.state_hash import state_hash
from gridledger.market.locking import Proposal, propose
from gridledger.market.model import BookEntry, Clearing, Match, Position, SignedOrder

__all__ = ["check_dispatch", "check_positions", "recompute_locks"]


def recompute_locks(evidence: Evidence) -> dict[Slot, Proposal]:
    """Positions, locks and fees that follow from the chain's own trades and price and the signed orders."""
    proposals: dict[Slot, Proposal] = {}
    for slot, market in sorted(evidence.history.markets.items()):
        if market.cleared is None:
            continue
        proposal = _proposal(evidence, slot, market, market.cleared.price_cents_per_mwh)
        if proposal is None:
            evidence.findings.report(Rule.LOCK, slot_name(slot), "orders of all trades in orders.csv", "some missing")
            continue
        proposals[slot] = proposal
        _check_locks(evidence, slot, market, proposal)
    return proposals


def _proposal(evidence: Evidence, slot: Slot, market: Market, price_cents_per_mwh: int) -> Proposal | None:
    uids = dict.fromkeys(uid for sell_uid, buy_uid, _ in market.trades for uid in (sell_uid, buy_uid))
    orders = [evidence.orders[uid] for uid in uids if uid in evidence.orders]
    meters = evidence.history.members.meters
    if len(orders) < len(uids) or any(order.meter not in meters for order in orders):
        return None
    orders.sort(key=lambda order: order.running_number)
    book = [
        BookEntry(
            running_number=order.running_number,
            signed=SignedOrder(order=order.order(), uid=order.uid, signature=order.signature),
        )
        for order in orders
    ]
    clearing = Clearing(
        price_cents_per_mwh=price_cents_per_mwh,
        lower_end_uid=None,
        upper_end_uid=None,
        matches=tuple(
            Match(sell_uid=sell_uid, buy_uid=buy_uid, energy_wh=energy_wh)
            for sell_uid, buy_uid, energy_wh in market.trades
        ),
    )
    rules = evidence.history.rules
    return propose(clearing, book, meters, rules.policy_at(slot.mtu_start), rules.prices_at(slot.mtu_start))


def _check_locks(evidence: Evidence, slot: Slot, market: Market, proposal: Proposal) -> None:
    expected = {position.meter: _opened(position) for position in proposal.positions}
    for meter in sorted(expected.keys() | market.opened.keys()):
        record = meter_name(meter, slot.mtu_start)
        evidence.findings.compare(Rule.LOCK, record, expected.get(meter), market.opened.get(meter))


def _opened(position: Position) -> Opened:
    return Opened(
        meter=position.meter,
        owner=position.owner,
        contracted_wh=position.contracted_wh,
        locked_microcents=position.locked_microcents,
        fee_microcents=position.fee_microcents,
    )


def check_dispatch(evidence: Evidence, proposals: dict[Slot, Proposal]) -> None:
    """The schedule is the hash of the recomputed positions and trades; only the zone's grid operator has answered."""
    for slot, market in sorted(evidence.history.markets.items()):
        proposal = proposals.get(slot)
        if proposal is None and market.cleared is not None:
            continue  # named by the lock rule
        record = f"{slot_name(slot)}, schedule hash, Wh, deadline"
        evidence.findings.compare(Rule.DISPATCH, record, _schedule(evidence, slot, proposal), market.schedule)
        if market.answer is not None:
            _check_answer(evidence, slot, market, market.answer)


def _schedule(evidence: Evidence, slot: Slot, proposal: Proposal | None) -> tuple[str, int, int] | None:
    """What must be scheduled: nothing without trades."""
    if proposal is None or not proposal.trades:
        return None
    traded_wh = sum(trade.energy_wh for trade in proposal.trades)
    return state_hash(proposal.positions, proposal.trades), traded_wh, _deadline(evidence, slot)


def _check_answer(evidence: Evidence, slot: Slot, market: Market, answer: tuple[int, str, int]) -> None:
    findings, name, deadline = evidence.findings, slot_name(slot), _deadline(evidence, slot)
    _, signer, answered_at = answer
    operator = evidence.history.members.grid_operators.get(slot.zone)
    findings.compare(Rule.DISPATCH, f"{name}, answer signed by", operator, signer)
    scheduled = "a schedule" if market.schedule is not None else "no schedule"
    findings.compare(Rule.DISPATCH, f"{name}, answer to", "a schedule", scheduled)
    moment = "in time" if answered_at <= deadline else answered_at
    findings.compare(Rule.DISPATCH, f"{name}, answered by {deadline}", "in time", moment)


def _deadline(evidence: Evidence, slot: Slot) -> int:
    return slot.mtu_start - evidence.history.rules.policy_at(slot.mtu_start).answer_lead_s


def check_positions(evidence: Evidence, proposals: dict[Slot, Proposal]) -> None:
    """Exported positions are the recomputed ones, with what the chain has settled or refunded since."""
    findings, markets = evidence.findings, evidence.history.markets
    for slot in sorted(proposals.keys() | evidence.positions.keys()):
        expected = _rows(slot, proposals[slot], markets[slot]) if slot in proposals else {}
        rows = evidence.positions.get(slot, [])
        found = {row.meter: row for row in rows}
        if len(found) != len(rows):
            findings.report(Rule.POSITION, f"{slot_name(slot)}, meters of positions.csv", "each once", "one twice")
        for meter in sorted(expected.keys() | found.keys()):
            record = meter_name(meter, slot.mtu_start)
            findings.compare(Rule.POSITION, record, expected.get(meter), found.get(meter))


def _rows(slot: Slot, proposal: Proposal, market: Market) -> dict[int, PositionRow]:
    settled = {entry.meter: entry for step in market.steps for entry in step.settled}
    refunded = {meter for step in market.steps for meter, _ in step.refunded}
    return {
        position.meter: _row(slot, index, position, settled.get(position.meter), refunded=position.meter in refunded)
        for index, position in enumerate(proposal.positions)
    }


def _row(slot: Slot, index: int, position: Position, settled: Settled | None, *, refunded: bool) -> PositionRow:
    now = replace(position, settled=refunded or settled is not None, metered_wh=settled.metered_wh if settled else 0)
    return PositionRow(
        zone=slot.zone,
        mtu_start=slot.mtu_start,
        position=index,
        meter=now.meter,
        source=now.source,
        owner=now.owner,
        supplier=now.supplier,
        contracted_wh=now.contracted_wh,
        locked_microcents=now.locked_microcents,
        fee_microcents=now.fee_microcents,
        settled=now.settled,
        refunded=refunded,
        metered_wh=now.metered_wh,
        trade_microcents=settled.trade_microcents if settled else None,
        imbalance_microcents=settled.imbalance_microcents if settled else None,
    )
