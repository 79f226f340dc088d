"""Checks curtailments: the order of the caps, and what applying them has taken from whom.

A grid operator may break the order in an emergency. The contract says so in its event; the audit notes it.
"""

from collections import Counter
from collections.abc import Mapping
from itertools import zip_longest

from gridledger.audit.dispatches import Curtailed, OrderCheck
from gridledger.audit.evidence import Evidence
from gridledger.audit.markets import CapsStep, Chunk
from gridledger.audit.model import Rule, Slot, chunk_name, slot_name
from gridledger.audit.rows import SetpointRow
from gridledger.dispatch.curtailment import HIGHEST_RANK, Basis, check_order, emission_rank
from gridledger.dispatch.errors import CapAboveSchedule, CurtailmentOrderBroken, NothingCurtailed
from gridledger.dispatch.setpoints import Direction, basis_wh
from gridledger.dispatch.setpoints import SetpointRow as Setpoint
from gridledger.errors import GridLedgerError

__all__ = ["check_curtailments"]

KEPT, BROKEN = "order kept", "order broken"
UNKNOWN, ERASED = "order not known", "order not known any more"
_STATED: Mapping[int, str] = {OrderCheck.KEPT: KEPT, OrderCheck.BROKEN: BROKEN}


def check_curtailments(evidence: Evidence) -> None:
    """Recompute the order of every curtailment, and what caps have taken off every chunk."""
    for slot, market in sorted(evidence.history.markets.items()):
        for curtailed in market.dispatch.curtailments:
            _check_order(evidence, slot, curtailed)
        for place, chunk in enumerate(market.chunks):
            for step in chunk.caps:
                _check_applied(evidence, slot, chunk, step)
            if chunk.caps and place and not market.chunks[place - 1].caps:
                record = f"{chunk_name(slot, chunk.number)}, caps"
                evidence.findings.report(Rule.CURTAILMENT, record, "after those of the chunk before", "before them")


def _check_order(evidence: Evidence, slot: Slot, curtailed: Curtailed) -> None:
    """An ordinary curtailment keeps the order; an emergency's event says whether it does, where that was checked."""
    record = f"{slot_name(slot)}, curtailment of block {curtailed.block_number}"
    truth = _order(evidence, slot, curtailed)
    if truth == ERASED:
        evidence.findings.note(record, "a curtailment whose order cannot be checked, for a setpoint was erased")
        evidence.findings.count(Rule.CURTAILMENT)
        return
    if curtailed.emergency:
        if truth == BROKEN:
            evidence.emergencies_out_of_order += 1
            evidence.findings.note(record, "an emergency that broke the order of curtailment")
        if truth == UNKNOWN:
            evidence.findings.note(record, "an emergency whose order cannot be checked")
        if curtailed.order_check == OrderCheck.UNCHECKED:
            evidence.findings.count(Rule.CURTAILMENT)
            return
    stated = _STATED.get(curtailed.order_check, "order not checked")
    expected = truth if curtailed.emergency else KEPT
    found = stated if truth == expected else truth
    evidence.findings.compare(Rule.CURTAILMENT, record, expected, found)


def _order(evidence: Evidence, slot: Slot, curtailed: Curtailed) -> str:
    """How the caps stand to the order, by the exported setpoints, which have been compared with their root."""
    try:
        bases = _bases(evidence, slot, curtailed)
        if bases is None:
            return ERASED
        check_order(bases, [cap_wh for _, cap_wh in curtailed.caps])
    except NothingCurtailed as error:
        return KEPT if curtailed.emergency and error.cap_wh == error.basis_wh else BROKEN
    except (CapAboveSchedule, CurtailmentOrderBroken):
        return BROKEN
    except (GridLedgerError, ValueError):
        return UNKNOWN
    return KEPT


def _bases(evidence: Evidence, slot: Slot, curtailed: Curtailed) -> list[Basis] | None:
    """What each capped meter was to do; who has no setpoint was to do nothing. Raises ValueError, OutOfRange.

    None where one was erased that the call does not reveal; what it reveals has been compared with the leaf.
    """
    direction = Direction(curtailed.direction)
    rows = {row.meter: row for row in evidence.setpoints.get(slot, [])}
    shown = () if curtailed.call is None else curtailed.call.setpoints
    bases: list[Basis] = []
    for place, (meter, _) in enumerate(curtailed.caps):
        row = rows.get(meter) or _nothing(slot, meter)
        stated = row if row.leaf is None else next(iter(shown[place : place + 1]), row)
        if stated.residual_wh is None:
            return None
        setpoint = Setpoint(meter=meter, contracted_wh=stated.contracted_wh, residual_wh=stated.residual_wh)
        rank = _rank(evidence, curtailed, meter) if direction is Direction.EXPORT else 0
        bases.append(Basis(meter=meter, basis_wh=basis_wh(setpoint, direction), rank=rank))
    return bases


def _nothing(slot: Slot, meter: int) -> SetpointRow:
    return SetpointRow(zone=slot.zone, mtu_start=slot.mtu_start, meter=meter, contracted_wh=0, residual_wh=0, salt=None)


def _rank(evidence: Evidence, curtailed: Curtailed, meter: int) -> int:
    """The emission factor the meter's source had then; who takes energy has none."""
    facts, rules = evidence.history.members.meters.get(meter), evidence.history.rules
    if facts is None:
        return HIGHEST_RANK
    return emission_rank(facts.source, rules.source_factor(facts.source, curtailed.block_number))


def _check_applied(evidence: Evidence, slot: Slot, chunk: Chunk, step: CapsStep) -> None:
    findings, name = evidence.findings, f"{chunk_name(slot, chunk.number)}, caps of block {step.block_number}"
    earliest = slot.mtu_start + evidence.facts.mtu_length_s
    moment = "after the MTU" if step.time_s >= earliest else step.time_s
    findings.compare(Rule.CURTAILMENT, f"{name}, time", "after the MTU", moment)
    outcome = "a curtailed dispatch" if _is_curtailed(evidence, slot) else "another one"
    findings.compare(Rule.CURTAILMENT, f"{name}, applied to", "a curtailed dispatch", outcome)
    findings.compare(Rule.CURTAILMENT, f"{name}, sums", step.expected, step.stated)
    for index, (expected, found) in enumerate(zip_longest(step.expected_traded, step.traded)):
        findings.compare(Rule.CURTAILMENT, f"{name}, trade {index}", expected, found)
    debts, stated = Counter(step.expected_debts), Counter(step.debts)
    findings.compare(Rule.CASH, f"{name}, debts", debts, stated)
    if step.shrunk is not None:
        left_wh, lost_wh = sum(trade.energy_wh for trade in step.shrunk.trades), sum(step.shrunk.curtailed_wh)
        traded_wh = sum(energy_wh for _, _, energy_wh in chunk.traded)
        findings.compare(Rule.ENERGY, f"{name}, Wh left + taken off = traded", traded_wh, left_wh + lost_wh)
    if step.call is not None and step.curtailed is not None:
        findings.compare(Rule.CURTAILMENT, f"{name}, call data", step.curtailed.caps, step.call.caps)


def _is_curtailed(evidence: Evidence, slot: Slot) -> bool:
    dispatch = evidence.history.markets[slot].dispatch
    return bool(dispatch.curtailments) and not dispatch.is_stopped
