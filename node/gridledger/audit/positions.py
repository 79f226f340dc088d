"""Checks what the contract keeps of each clearing: positions, locks and fees by hash."""

from collections import Counter

from gridledger.audit.evidence import Evidence
from gridledger.audit.markets import CapsStep, Chunk, Step
from gridledger.audit.model import Rule, Slot, chunk_name, position_name, slot_name
from gridledger.audit.ports import StateUnavailable
from gridledger.audit.presented import EntryKind
from gridledger.audit.rows import PositionRow
from gridledger.audit.state_hash import state_hash
from gridledger.market.model import Position, Side
from gridledger.market.settlement import trade_microcents

__all__ = ["check_kept", "check_positions"]


def check_kept(evidence: Evidence) -> None:
    """The chain keeps the hash of the recomputed positions, and every settlement presented just these."""
    for slot, market in sorted(evidence.history.markets.items()):
        for chunk in market.chunks:
            if chunk.opened is None:
                continue  # named by the clearing rule
            steps: tuple[Step | CapsStep, ...] = (*chunk.caps, *chunk.steps)
            for step in steps:
                _check_presented(evidence, slot, chunk, step)
            record = f"{chunk_name(slot, chunk.number)}, kept hash"
            kept = state_hash(chunk.positions, chunk.deals)
            try:
                found = evidence.chain.state_hash(slot.zone, slot.mtu_start, chunk.number)
            except StateUnavailable as error:
                evidence.findings.report(Rule.LOCK, record, kept, error)
                continue
            evidence.findings.compare(Rule.LOCK, record, kept, found)


def _check_presented(evidence: Evidence, slot: Slot, chunk: Chunk, step: Step | CapsStep) -> None:
    """Positions with locks and fees as the call data of a settlement or of caps states them, where there is any."""
    if step.call is None:
        return
    findings, name = evidence.findings, chunk_name(slot, chunk.number)
    presented = {position.meter: position for position in step.call.positions}
    for position in step.before:
        record = f"{position_name(position.meter, slot.mtu_start, chunk.number)}, block {step.block_number}"
        findings.compare(Rule.LOCK, record, _comparable(position), _comparable(presented.get(position.meter)))
    counts = (len(step.before), list(step.deals))
    found = (len(step.call.positions), list(step.call.deals))
    findings.compare(Rule.LOCK, f"{name}, positions and deals in block {step.block_number}", counts, found)


def _comparable(position: Position | None) -> dict[str, object] | None:
    """A position's values; addresses in call data have no checksum."""
    return None if position is None else {**vars(position), "owner": position.owner.lower()}


def check_positions(evidence: Evidence) -> None:
    """Exported positions are the recomputed ones, with what the chain has settled or refunded since."""
    findings, markets = evidence.findings, evidence.history.markets
    cleared = {slot for slot, market in markets.items() if market.chunks}
    for slot in sorted(cleared | evidence.positions.keys()):
        chunks = markets[slot].chunks if slot in cleared else []
        expected = {(row.meter, row.chunk): row for chunk in chunks for row in _rows(evidence, slot, chunk)}
        rows = evidence.positions.get(slot, [])
        found = {(row.meter, row.chunk): row for row in rows}
        if len(found) != len(rows):
            findings.report(Rule.POSITION, f"{slot_name(slot)}, meters of positions.csv", "each once", "one twice")
        for key in sorted(expected.keys() | found.keys()):
            record = position_name(key[0], slot.mtu_start, key[1])
            findings.compare(Rule.POSITION, record, expected.get(key), found.get(key))


def _rows(evidence: Evidence, slot: Slot, chunk: Chunk) -> list[PositionRow]:
    refunded = chunk.closed(EntryKind.REFUNDED)
    imbalances: Counter[int] = Counter()
    for entry in (entry for step in chunk.steps for entry in step.entries if entry.expected is not None):
        if entry.kind is not EntryKind.REFUNDED and entry.expected is not None:
            imbalances[entry.meter] += entry.expected.money_microcents
    return [
        _row(
            evidence,
            slot,
            chunk,
            index,
            imbalances[position.meter] if position.settled and position.meter not in refunded else None,
        )
        for index, position in enumerate(chunk.positions)
    ]


def _row(evidence: Evidence, slot: Slot, chunk: Chunk, index: int, imbalance: int | None) -> PositionRow:
    now, prices = chunk.positions[index], chunk.cleared
    trade = None if imbalance is None else trade_microcents(now, prices.any_price, prices.low_carbon_price)
    return PositionRow(
        zone=slot.zone,
        mtu_start=slot.mtu_start,
        chunk=chunk.number,
        position=index,
        meter=now.meter,
        owner=now.owner,
        supplier=evidence.history.members.supplier_at(now.supplier_number),
        source=now.source,
        side=Side.SELL if now.sells else Side.BUY,
        auction_wh=now.auction_wh,
        low_carbon_wh=now.low_carbon_wh,
        dealt_wh=now.dealt_wh,
        prior_wh=now.prior_wh,
        continued=now.continued,
        curtailed=now.curtailed,
        locked_microcents=now.locked_microcents,
        fee_microcents=now.fee_microcents,
        deal_microcents=now.deal_microcents,
        settled=now.settled,
        refunded=now.settled and imbalance is None,
        substitute=now.substitute,
        version=now.version,
        metered_wh=now.metered_wh,
        trade_microcents=trade,
        imbalance_microcents=imbalance,
    )
