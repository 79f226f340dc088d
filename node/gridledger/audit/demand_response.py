"""Checks demand response: who asked for what, who took part, and what each measured, from the exported readings.

A measurement names its evidence: the readings in earlier anchors than one, and so many proofs in the chain's order.
With those it is made again, to the Wh.
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
    StoredDemand,
    demand_id,
    demand_signer,
    measuring_plan,
    terms_signer,
)
from gridledger.dispatch.model import DispatchDomain
from gridledger.errors import GridLedgerError
from gridledger.metering.estimation import Calendar
from gridledger.metering.validation import capacity_wh_rounded_up

__all__ = ["check_demand_response", "sound_demand"]


@dataclass(frozen=True)
class _Demand:
    """A sound event with its plan, and the meters that took part."""

    stored: StoredDemand
    plan: MeasuringPlan
    meters: set[int]

    @property
    def window(self) -> EventWindow:
        return self.plan.window


def check_demand_response(evidence: Evidence) -> None:
    """Events are signed and apart, participants are of their zone, and measurements are what the readings give."""
    demands = _sound_events(evidence)
    _check_participations(evidence, demands)
    _Measurements(evidence, demands).check()


def sound_demand(
    row: DemandEventRow, domain: DispatchDomain, grid_operator: str, market_operator: str, findings: Findings
) -> StoredDemand | None:
    """The event if its zone's grid operator signed it, and the market operator how it is measured."""
    record = _event_name(row)
    try:
        stored = row.stored()
        found = (
            demand_id(domain, stored.event),
            demand_signer(domain, stored.event, row.signature),
            terms_signer(domain, stored),
        )
    except GridLedgerError as error:
        findings.report(Rule.DEMAND_RESPONSE, record, "a signed event", error)
        return None
    expected = (row.event_id, grid_operator, market_operator)
    agree = findings.compare(Rule.DEMAND_RESPONSE, f"{record}, digest and signers", expected, found)
    return stored if agree else None


def _sound_events(evidence: Evidence) -> dict[str, _Demand]:
    """Events by id; what is wrong with the others is reported."""
    rows, findings, facts = evidence.run.demand_events, evidence.findings, evidence.facts
    numbers = list(range(1, len(rows) + 1))
    findings.compare(Rule.DEMAND_RESPONSE, "numbers of events", numbers, [row.number for row in rows])
    sound: dict[str, _Demand] = {}
    for row in rows:
        operator = evidence.history.members.grid_operators.get(row.zone, "")
        stored = sound_demand(row, facts.dispatch_domain, operator, facts.market_operator, findings)
        if stored is None:
            continue
        try:
            calendar = Calendar.named(stored.terms.civil_time, stored.terms.holidays)
            plan = measuring_plan(stored.event, stored.terms, calendar, facts.mtu_length_s)
        except GridLedgerError as error:
            findings.report(Rule.DEMAND_RESPONSE, _event_name(row), "an event that can be measured", error)
            continue
        in_time = "issued before it began" if row.received_at < row.first_mtu_start else "issued later"
        findings.compare(Rule.DEMAND_RESPONSE, _event_name(row), "issued before it began", in_time)
        _check_apart(row, plan.window, sound, findings)
        sound[row.event_id] = _Demand(stored, plan, set())
    return sound


def _check_apart(row: DemandEventRow, window: EventWindow, others: Mapping[str, _Demand], findings: Findings) -> None:
    for other in others.values():
        apart = other.window.end <= window.first_mtu_start or window.end <= other.window.first_mtu_start
        if row.zone == other.stored.event.zone and not apart:
            findings.report(Rule.DEMAND_RESPONSE, _event_name(row), "MTUs of its own", other.stored.event_id)


def _check_participations(evidence: Evidence, demands: Mapping[str, _Demand]) -> None:
    """Each participation is once, of the meter's owner and of the event's zone."""
    members, findings = evidence.history.members, evidence.findings
    for row in evidence.run.demand_participations:
        demand, facts = demands.get(row.event_id), members.meters.get(row.meter)
        record = f"participation of meter {row.meter} in event {row.event_id}"
        if demand is None or facts is None or row.meter in demand.meters:
            findings.report(Rule.DEMAND_RESPONSE, record, "of a sound event and a registered meter, once", "none")
            continue
        expected, found = (facts.owner, facts.zone), (row.account, demand.stored.event.zone)
        findings.compare(Rule.DEMAND_RESPONSE, f"{record}, owner and zone", expected, found)
        demand.meters.add(row.meter)


@dataclass(frozen=True)
class _Known:
    """What there was of a meter: import less export by MTU start, and how to name the evidence."""

    net_import_wh: Mapping[int, int]
    anchors: int
    proofs: int


class _Measurements:
    """All measurements of an export, and the readings they rest on."""

    def __init__(self, evidence: Evidence, demands: Mapping[str, _Demand]) -> None:
        self._evidence = evidence
        self._findings = evidence.findings
        self._demands = demands
        self._shifts: defaultdict[tuple[str, int, int], list[DemandShiftRow]] = defaultdict(list)
        for shift in evidence.run.demand_shifts:
            self._shifts[shift.event_id, shift.meter, shift.number].append(shift)
        self._made: defaultdict[tuple[str, int], list[DemandMeasurementRow]] = defaultdict(list)
        for row in evidence.run.demand_measurements:
            self._made[row.event_id, row.meter].append(row)

    def check(self) -> None:
        """Every measurement is that of a participant and what its readings give; none is missing."""
        known = {(row.event_id, row.meter, row.number) for row in self._evidence.run.demand_measurements}
        for key in sorted(self._shifts.keys() - known):
            self._findings.report(Rule.DEMAND_RESPONSE, _record(*key), "a measurement", "MTUs of none")
        for (event_id, meter), rows in sorted(self._made.items()):
            demand = self._demands.get(event_id)
            if demand is None or meter not in demand.meters:
                record = _record(event_id, meter, rows[0].number)
                self._findings.report(Rule.DEMAND_RESPONSE, record, "of a participant", "of none")
                continue
            self._check_numbered(demand, meter, rows)
        for demand in self._demands.values():
            for meter in sorted(demand.meters):
                self._check_newest(demand, meter, self._made.get((demand.stored.event_id, meter), []))

    def _check_numbered(self, demand: _Demand, meter: int, rows: Sequence[DemandMeasurementRow]) -> None:
        """Numbers count from 1, evidence only grows, and each says what it gives."""
        numbers = [row.number for row in rows]
        record = f"measurements of meter {meter} in event {demand.stored.event_id}, numbers"
        self._findings.compare(Rule.DEMAND_RESPONSE, record, list(range(1, len(rows) + 1)), numbers)
        before = (-1, -1)
        for row in rows:
            record, stated = _record(row.event_id, meter, row.number), (row.anchors, row.proofs)
            if stated == before or stated != (max(before[0], row.anchors), max(before[1], row.proofs)):
                self._findings.report(Rule.DEMAND_RESPONSE, record, f"more evidence than {before}", stated)
            before = stated
            known = self._known(demand, meter, row.anchors, row.proofs)
            found = self._stated(row)
            self._findings.compare(Rule.DEMAND_RESPONSE, f"{record}, evidence", (known.anchors, known.proofs), stated)
            self._findings.compare(Rule.DEMAND_RESPONSE, record, self._measured(demand, meter, known), found)

    def _check_newest(self, demand: _Demand, meter: int, rows: Sequence[DemandMeasurementRow]) -> None:
        """A participant has a measurement once it is due, and the newest knows what the chain knew when it closed."""
        evidence, end = self._evidence, demand.window.end
        record = _record(demand.stored.event_id, meter, max(1, len(rows)))
        if not rows:
            if evidence.is_late(end + MEASURED_AFTER_S):
                self._findings.report(Rule.DEMAND_RESPONSE, record, "a measurement", None)
            return
        latest = min(evidence.history.head.time_s, end + CLOSED_AFTER_S) - GRACE_S
        last = max((block.number for block in evidence.history.blocks if block.time_s <= latest), default=0)
        anchors = [anchor.sequence + 1 for anchor in evidence.history.anchors if anchor.block_number <= last]
        proofs = [
            start
            for (of_meter, start), one in evidence.history.proven.items()
            if of_meter == meter and start in demand.plan.needed_starts and one.block_number <= last
        ]
        known = self._known(demand, meter, max(anchors, default=0), len(proofs))
        if known.anchors > rows[-1].anchors or known.proofs > rows[-1].proofs:
            expected = self._measured(demand, meter, known)
            self._findings.compare(Rule.DEMAND_RESPONSE, f"{record}, the newest", expected, self._stated(rows[-1]))

    def _measured(self, demand: _Demand, meter: int, known: _Known) -> Measurement:
        """The measurement again."""
        facts, length_s = self._evidence.history.members.meters[meter], self._evidence.facts.mtu_length_s
        earlier = [
            other.window
            for other in self._demands.values()
            if meter in other.meters and other.window.first_mtu_start < demand.window.first_mtu_start
        ]
        connection = Connection(
            import_wh=capacity_wh_rounded_up(facts.import_capacity_w, length_s),
            export_wh=capacity_wh_rounded_up(facts.export_capacity_w, length_s),
        )
        return measure(demand.plan, known.net_import_wh, earlier, connection)

    def _known(self, demand: _Demand, meter: int, anchors: int, proofs: int) -> _Known:
        """What there was of a meter in that many anchors, and by that many of all its proofs in chain order."""
        known: dict[int, int] = {}
        newest = 0
        for start in demand.plan.needed_starts:
            row = self._evidence.readings.get((meter, start))
            if row is not None and row.anchor_sequence is not None and row.anchor_sequence < anchors:
                known[start] = row.import_wh - row.export_wh
                newest = max(newest, row.anchor_sequence + 1)
        proven = [one for one in self._proven.get(meter, []) if one[0] in demand.plan.needed_starts][:proofs]
        return _Known({**known, **dict(proven)}, newest, len(proven))

    @cached_property
    def _proven(self) -> dict[int, list[tuple[int, int]]]:
        """MTU start and import less export of each meter's proofs, in chain order."""
        found: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
        for (meter, start), one in self._evidence.history.proven.items():
            found[meter].append((start, -one.net_wh))
        return found

    def _stated(self, row: DemandMeasurementRow) -> Measurement:
        """What the rows of a measurement say."""
        mtus = (
            MeasuredMtu(
                mtu_start=shift.mtu_start,
                baseline_import_wh=shift.baseline_import_wh,
                net_import_wh=shift.net_import_wh,
                energy_wh=shift.energy_wh,
            )
            for shift in self._shifts[row.event_id, row.meter, row.number]
        )
        return Measurement(days=row.days, adjustment_bp=row.adjustment_bp, mtus=tuple(mtus))


def _event_name(row: DemandEventRow) -> str:
    return f"event {row.event_id} of zone {row.zone}"


def _record(event_id: str, meter: int, number: int) -> str:
    return f"measurement {number} of meter {meter} in event {event_id}"
