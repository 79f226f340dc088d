"""Checks settlements: metered energy, cash, versions, in time, once only, and nothing left behind."""

from collections import Counter

from gridledger.audit.dispatches import Outcome, Stopped
from gridledger.audit.evidence import Evidence
from gridledger.audit.markets import Anchor, Chunk, Entry, Market, Step
from gridledger.audit.model import Rule, Slot, chunk_name, position_name, slot_name
from gridledger.audit.presented import EntryKind
from gridledger.audit.rewards import check_rewards
from gridledger.market.model import Position
from gridledger.metering.balance import zone_balance

__all__ = ["check_settlements"]

_EXPECTED = {
    Outcome.OPEN: "an answer first",
    Outcome.PROCEEDS: "settlements",
    Outcome.CURTAILED: "settlements after caps",
    Outcome.VOID: "refunds",
}
KNOWN_AFTER_S = 60  # a settlement under way when the last reading was anchored is nobody's fault


def check_settlements(evidence: Evidence) -> None:
    """Compare every settling step of each clearing with the rules."""
    for slot, market in sorted(evidence.history.markets.items()):
        for chunk in market.chunks:
            settlement = _Settlement(evidence, slot, market, chunk)
            for step in chunk.steps:
                settlement.check(step)
                check_rewards(evidence, slot, chunk, step)
            settlement.check_complete()


class _Settlement:
    """The settlement of one chunk."""

    def __init__(self, evidence: Evidence, slot: Slot, market: Market, chunk: Chunk) -> None:
        self._evidence, self._slot, self._market, self._chunk = evidence, slot, market, chunk
        self._findings = evidence.findings
        self._policy = evidence.history.rules.policy_at(slot.mtu_start)
        self._name = chunk_name(slot, chunk.number)

    def check(self, step: Step) -> None:
        self._check_outcome(step)
        self._check_moment(step)
        for entry in step.entries:
            record = f"{self._record(entry.meter)}, {entry.kind} in block {step.block_number}"
            self._findings.compare(Rule.SETTLEMENT, record, entry.expected, entry.stated)
            if entry.kind in (EntryKind.READ, EntryKind.CORRECTED):
                self._check_metered(step, entry)
        self._check_balance(step)
        self._check_call(step)
        expected, found = step.expected_open_positions, step.open_positions
        record = f"{slot_name(self._slot)}, open positions after block {step.block_number}"
        self._findings.compare(Rule.SETTLEMENT, record, expected, found)
        debts, stated = Counter(step.expected_debts), Counter(step.debts)
        self._findings.compare(Rule.CASH, f"{self._name}, debts in block {step.block_number}", debts, stated)

    def _outcome(self, block_number: int, time_s: int) -> Outcome:
        return self._market.outcome_after(
            block_number,
            time_s,
            proceed_without_answer=self._policy.proceed_without_answer,
            clearing_deadline=self._policy.clearing_deadline(self._slot.mtu_start),
        )

    def _check_outcome(self, step: Step) -> None:
        """Positions are settled where the dispatch proceeds, after their caps where there are any, or refunded."""
        expected = _EXPECTED[self._outcome(step.block_number, step.time_s)]
        refunds = {entry.kind is EntryKind.REFUNDED for entry in step.entries}
        found = {False: "settlements", True: "refunds"}[refunds.pop()] if len(refunds) == 1 else "nothing, or both"
        if any(position.curtailed for position in step.before):
            found += " after caps"
        self._findings.compare(Rule.SETTLEMENT, f"{self._name}, block {step.block_number}", expected, found)

    def _check_moment(self, step: Step) -> None:
        """Only after the MTU: readings until corrections end, substitutes from their time."""
        mtu_end = self._slot.mtu_start + self._evidence.facts.mtu_length_s
        kinds = {entry.kind for entry in step.entries}
        latest = mtu_end + self._policy.correction_s
        earliest = mtu_end + (self._policy.substitute_after_s if EntryKind.SUBSTITUTED in kinds else 0)
        too_late = bool(kinds & {EntryKind.READ, EntryKind.CORRECTED}) and step.time_s > latest
        too_early = kinds != {EntryKind.REFUNDED} and step.time_s < earliest
        found = step.time_s if too_late or too_early else "in time"
        record = f"{self._name}, time of block {step.block_number}"
        self._findings.compare(Rule.SETTLEMENT, record, "in time", found)

    def _check_metered(self, step: Step, entry: Entry) -> None:
        """The energy is that of an anchored reading, or what the device has provably signed."""
        record = self._record(entry.meter)
        proven = self._evidence.history.proven.get((entry.meter, self._slot.mtu_start))
        if proven is not None and proven.block_number <= step.block_number:
            found = entry.stated.metered_wh
            self._findings.compare(Rule.SETTLEMENT, f"{record}, proven Wh", proven.net_wh, found)
            return
        reading = self._evidence.readings.get((entry.meter, self._slot.mtu_start))
        if reading is None and (gone := self._evidence.erased.get((entry.meter, self._slot.mtu_start))) is not None:
            self._evidence.unverifiable_settlements += 1
            self._check_anchored(step, record, gone.anchor_sequence)
            return
        if reading is None:
            self._findings.report(Rule.SETTLEMENT, record, "a reading in readings.csv", None)
            return
        net_wh = reading.export_wh - reading.import_wh
        self._findings.compare(Rule.SETTLEMENT, f"{record}, metered Wh", net_wh, entry.stated.metered_wh)
        self._check_anchored(step, record, reading.anchor_sequence)

    def _check_anchored(self, step: Step, record: str, sequence: int | None) -> None:
        anchor = self._anchor(sequence)
        state = "anchored" if anchor is not None and anchor.block_number <= step.block_number else "not anchored"
        self._findings.compare(Rule.SETTLEMENT, f"{record}, reading before settlement", "anchored", state)

    def _check_balance(self, step: Step) -> None:
        """Nothing is settled on readings where those of the whole zone were known to miss its transformer's."""
        history, zone = self._evidence.history, self._slot.zone
        transformer = history.transformer_at(zone, step.block_number - 1)
        if transformer is None or not {entry.kind for entry in step.entries} & {EntryKind.READ, EntryKind.CORRECTED}:
            return
        net_wh: dict[int, int] = {}
        meters = [number for number, facts in history.members.meters.items() if facts.zone == zone]
        for meter in meters:
            reading = self._evidence.readings.get((meter, self._slot.mtu_start))
            proven = history.proven.get((meter, self._slot.mtu_start))
            anchor = self._anchor(None if reading is None else reading.anchor_sequence)
            if proven is not None:
                net_wh[meter] = proven.net_wh
            elif reading is not None and anchor is not None and anchor.time_s + KNOWN_AFTER_S <= step.time_s:
                net_wh[meter] = reading.export_wh - reading.import_wh
        balance = zone_balance(transformer, meters, net_wh)
        record = f"{slot_name(self._slot)}, meters against transformer in block {step.block_number}"
        found = balance is None or balance.is_plausible
        self._findings.compare(Rule.SETTLEMENT, record, "within tolerance", "within tolerance" if found else balance)

    def _anchor(self, sequence: int | None) -> Anchor | None:
        anchors = self._evidence.history.anchors
        return anchors[sequence] if sequence is not None and sequence < len(anchors) else None

    def _check_call(self, step: Step) -> None:
        """What was called is what happened; a call by another contract leaves no call data of its own."""
        if step.call is None:
            return
        meters = [step.before[index].meter if index < len(step.before) else None for index in step.call.indexes]
        expected = [(entry.meter, entry.stated.metered_wh) for entry in step.entries]
        stated = step.call.metered_wh or tuple(metered_wh for _, metered_wh in expected)
        found = list(zip(meters, stated, strict=False))
        record = f"{self._name}, call data in block {step.block_number}"
        self._findings.compare(Rule.SETTLEMENT, record, expected, found)

    def check_complete(self) -> None:
        """Nothing that could have been settled or refunded is left open, or left on a substitute."""
        head = self._evidence.history.head
        outcome = self._outcome(head.number, head.time_s)
        if outcome is Outcome.CURTAILED:
            self._check_capped()
        for position in self._chunk.positions:
            overdue = self._is_overdue(position, outcome)
            found = "still open" if overdue else "closed or not due"
            self._findings.compare(Rule.COMPLETENESS, self._record(position.meter), "closed or not due", found)

    def _check_capped(self) -> None:
        """Caps are applied by the time the first position could be settled."""
        late = any(self._is_overdue(position, Outcome.CURTAILED) for position in self._chunk.positions)
        found = "not applied" if late and self._chunk.shrunk is None else "applied or not due"
        self._findings.compare(Rule.COMPLETENESS, f"{self._name}, caps", "applied or not due", found)

    def _is_overdue(self, position: Position, outcome: Outcome) -> bool:
        due_at = self._due_at(position, outcome)
        return due_at is not None and self._evidence.is_late(due_at)

    def _due_at(self, position: Position, outcome: Outcome) -> int | None:
        """When the position could first have been closed, or read after a substitute; None where that is not yet."""
        is_void = outcome is Outcome.VOID
        if position.read or (is_void and position.settled) or outcome is Outcome.OPEN:
            return None
        if is_void:
            stops = (one.time_s for one in self._market.dispatch.answers if isinstance(one, Stopped))
            return max((self._slot.mtu_start, *stops))
        mtu_end = self._slot.mtu_start + self._evidence.facts.mtu_length_s
        key = (position.meter, self._slot.mtu_start)
        reading = self._evidence.readings.get(key) or self._evidence.erased.get(key)
        anchor = self._anchor(None if reading is None else reading.anchor_sequence)
        if anchor is not None and anchor.time_s <= mtu_end + self._policy.correction_s:
            return anchor.time_s
        return None if position.settled else mtu_end + self._policy.substitute_after_s

    def _record(self, meter: int) -> str:
        return position_name(meter, self._slot.mtu_start, self._chunk.number)
