"""Checks demand response: who asked for what, who took part, and what each measured from the exported readings.

A measurement names the block it rests on: the readings anchored and proven by then make it again, to the Wh.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from gridledger.audit.demand_rows import DemandEventRow, DemandMeasurementRow, DemandShiftRow
from gridledger.audit.evidence import GRACE_S, Evidence
from gridledger.audit.findings import Findings
from gridledger.audit.model import Rule
from gridledger.dispatch.baseline import Connection, EventWindow, MeasuredMtu, Measurement, MeasuringPlan, measure
from gridledger.dispatch.demand_response import (
    CLOSED_AFTER_S,
    MEASURED_AFTER_S,
    demand_id,
    demand_signer,
    measuring_plan,
)
from gridledger.dispatch.model import DispatchDomain
from gridledger.errors import GridLedgerError
from gridledger.metering.estimation import Calendar
from gridledger.metering.validation import capacity_wh_rounded_up

__all__ = ["check_demand_response", "check_demand_signature"]

_MeterEvent = tuple[str, int]


@dataclass(frozen=True)
class _Demand:
    """A sound event with its plan, and the meters that took part when it began."""

    row: DemandEventRow
    plan: MeasuringPlan
    meters: dict[int, bool]

    @property
    def window(self) -> EventWindow:
        return self.plan.window

    def participants(self) -> list[int]:
        return sorted(meter for meter, joined in self.meters.items() if joined)


def check_demand_response(evidence: Evidence) -> None:
    """Events are signed and apart, participations of the owners and in time, measurements what the readings give."""
    demands = _sound_events(evidence)
    _check_participations(evidence, demands)
    _Measurements(evidence, demands).check()


def check_demand_signature(row: DemandEventRow, domain: DispatchDomain, grid_operator: str, findings: Findings) -> bool:
    """Whether the zone's grid operator signed the event, and its id is what was signed."""
    record = _event_name(row)
    try:
        event = row.event()
        signed = (demand_id(domain, event), demand_signer(domain, event, row.signature))
    except GridLedgerError as error:
        findings.report(Rule.DEMAND_RESPONSE, record, "a signed event", error)
        return False
    expected = (row.event_id, grid_operator)
    return findings.compare(Rule.DEMAND_RESPONSE, f"{record}, digest and signer", expected, signed)


def _sound_events(evidence: Evidence) -> dict[str, _Demand]:
    """Events by id; what is wrong with the others is reported."""
    rows, findings, facts = evidence.run.demand_events, evidence.findings, evidence.facts
    numbers = list(range(1, len(rows) + 1))
    findings.compare(Rule.DEMAND_RESPONSE, "numbers of events", numbers, [row.number for row in rows])
    sound: dict[str, _Demand] = {}
    for row in rows:
        operator = evidence.history.members.grid_operators.get(row.zone, "")
        if not check_demand_signature(row, facts.dispatch_domain, operator, findings):
            continue
        try:
            terms = row.terms()
            calendar = Calendar.named(terms.civil_time, terms.holidays)
            plan = measuring_plan(row.event(), terms, calendar, facts.mtu_length_s)
        except GridLedgerError as error:
            findings.report(Rule.DEMAND_RESPONSE, _event_name(row), "an event that can be measured", error)
            continue
        if not row.received_at < row.first_mtu_start:
            findings.report(Rule.DEMAND_RESPONSE, _event_name(row), "issued before it began", row.received_at)
        for other in sound.values():
            apart = other.window.end <= plan.window.first_mtu_start or plan.window.end <= other.window.first_mtu_start
            if row.zone == other.row.zone and not apart:
                findings.report(Rule.DEMAND_RESPONSE, _event_name(row), "MTUs of its own", _event_name(other.row))
        sound[row.event_id] = _Demand(row, plan, {})
    return sound


def _check_participations(evidence: Evidence, demands: Mapping[str, _Demand]) -> None:
    """Each note is of the meter's owner and the event's zone, between issue and beginning, and changes something."""
    members, findings = evidence.history.members, evidence.findings
    for row in evidence.run.demand_participations:
        demand, facts = demands.get(row.event_id), members.meters.get(row.meter)
        record = f"participation of meter {row.meter} in event {row.event_id}"
        if demand is None or facts is None:
            findings.report(Rule.DEMAND_RESPONSE, record, "of a known meter and event", "none")
            continue
        expected = (facts.owner, facts.zone, not demand.meters.get(row.meter, False))
        found = (row.account, demand.row.zone, row.joined)
        findings.compare(Rule.DEMAND_RESPONSE, f"{record}, owner, zone and change", expected, found)
        in_time = demand.row.received_at <= row.noted_at < demand.row.first_mtu_start
        issued = row.noted_at == demand.row.received_at or not row.standing
        if not (in_time and issued):
            findings.report(Rule.DEMAND_RESPONSE, record, "noted from issue until it began", row.noted_at)
        demand.meters[row.meter] = row.joined


class _Measurements:
    """All measurements of an export, and the readings they rest on."""

    def __init__(self, evidence: Evidence, demands: Mapping[str, _Demand]) -> None:
        self._evidence = evidence
        self._demands = demands
        self._shifts: defaultdict[tuple[str, int, int], list[DemandShiftRow]] = defaultdict(list)
        for shift in evidence.run.demand_shifts:
            self._shifts[shift.event_id, shift.meter, shift.number].append(shift)
        self._made: defaultdict[_MeterEvent, list[DemandMeasurementRow]] = defaultdict(list)
        for row in evidence.run.demand_measurements:
            self._made[row.event_id, row.meter].append(row)

    def check(self) -> None:
        """Every measurement is that of a participant and what its readings give; none is missing."""
        findings = self._evidence.findings
        known = {(row.event_id, row.meter, row.number) for row in self._evidence.run.demand_measurements}
        for key in sorted(self._shifts.keys() - known):
            findings.report(Rule.DEMAND_RESPONSE, _record(*key), "a measurement", "MTUs of none")
        for event_id, meter in sorted(self._made):
            demand = self._demands.get(event_id)
            if demand is None or not demand.meters.get(meter, False):
                findings.report(Rule.DEMAND_RESPONSE, _record(event_id, meter, 1), "of a participant", "of another")
                continue
            self._check_numbered(demand, meter, self._made[event_id, meter])
        for demand in self._demands.values():
            self._check_complete(demand)

    def _check_numbered(self, demand: _Demand, meter: int, rows: Sequence[DemandMeasurementRow]) -> None:
        findings, blocks = self._evidence.findings, self._evidence.history.blocks
        numbers, stated = [row.number for row in rows], [row.block_number for row in rows]
        record = f"measurements of meter {meter} in event {demand.row.event_id}"
        findings.compare(Rule.DEMAND_RESPONSE, f"{record}, numbers", list(range(1, len(rows) + 1)), numbers)
        findings.compare(Rule.DEMAND_RESPONSE, f"{record}, blocks ascending", sorted(set(stated)), stated)
        for row in rows:
            record = _record(row.event_id, meter, row.number)
            if not row.block_number < len(blocks):
                findings.report(Rule.DEMAND_RESPONSE, record, "on a block of the chain", row.block_number)
                continue
            in_time = demand.window.end <= row.measured_at and blocks[row.block_number].earliest_s <= row.measured_at
            if not in_time:
                findings.report(Rule.DEMAND_RESPONSE, record, "made after its event and block", row.measured_at)
            found = _stated(row, self._shifts[row.event_id, meter, row.number])
            expected = self._measured(demand, meter, row.block_number)
            findings.compare(Rule.DEMAND_RESPONSE, record, expected, found)

    def _check_complete(self, demand: _Demand) -> None:
        """Participants have a measurement once it is due, and the newest knows what the chain knew when it closed."""
        evidence, end = self._evidence, demand.window.end
        latest = min(evidence.history.head.time_s, end + CLOSED_AFTER_S) - GRACE_S
        last = max((block.number for block in evidence.history.blocks if block.time_s <= latest), default=0)
        for meter in demand.participants():
            rows = self._made.get((demand.row.event_id, meter), [])
            if not rows:
                if evidence.is_late(end + MEASURED_AFTER_S):
                    record = _record(demand.row.event_id, meter, 1)
                    evidence.findings.report(Rule.DEMAND_RESPONSE, record, "a measurement", None)
                continue
            if rows[-1].block_number < last:
                found = _stated(rows[-1], self._shifts[demand.row.event_id, meter, rows[-1].number])
                record = f"{_record(demand.row.event_id, meter, rows[-1].number)}, the newest"
                evidence.findings.compare(Rule.DEMAND_RESPONSE, record, self._measured(demand, meter, last), found)

    def _measured(self, demand: _Demand, meter: int, block_number: int) -> Measurement:
        """The measurement again, on what the chain had by a block."""
        facts, length_s = self._evidence.history.members.meters[meter], self._evidence.facts.mtu_length_s
        earlier = [
            other.window
            for other in self._demands.values()
            if other.meters.get(meter, False) and other.window.first_mtu_start < demand.window.first_mtu_start
        ]
        known: dict[int, int] = {}
        for start in demand.plan.needed_starts:
            net_wh = self._net_import_wh(meter, start, block_number)
            if net_wh is not None:
                known[start] = net_wh
        connection = Connection(
            import_wh=capacity_wh_rounded_up(facts.import_capacity_w, length_s),
            export_wh=capacity_wh_rounded_up(facts.export_capacity_w, length_s),
        )
        return measure(demand.plan, known, earlier, connection)

    def _net_import_wh(self, meter: int, start: int, block_number: int) -> int | None:
        proven = self._evidence.history.proven.get((meter, start))
        if proven is not None and proven.block_number <= block_number:
            return -proven.net_wh
        row = self._evidence.readings.get((meter, start))
        if row is None or row.anchor_sequence is None:
            return None
        anchored_in = self._anchor_blocks.get(row.anchor_sequence)
        return None if anchored_in is None or anchored_in > block_number else row.import_wh - row.export_wh

    @cached_property
    def _anchor_blocks(self) -> dict[int, int]:
        return {anchor.sequence: anchor.block_number for anchor in self._evidence.history.anchors}


def _stated(row: DemandMeasurementRow, shifts: Sequence[DemandShiftRow]) -> Measurement:
    """What the rows of a measurement say."""
    mtus = (
        MeasuredMtu(
            mtu_start=shift.mtu_start,
            baseline_import_wh=shift.baseline_import_wh,
            net_import_wh=shift.net_import_wh,
            energy_wh=shift.energy_wh,
        )
        for shift in shifts
    )
    return Measurement(days=row.days, adjustment_bp=row.adjustment_bp, mtus=tuple(mtus))


def _event_name(row: DemandEventRow) -> str:
    return f"event {row.event_id} of zone {row.zone}"


def _record(event_id: str, meter: int, number: int) -> str:
    return f"measurement {number} of meter {meter} in event {event_id}"
