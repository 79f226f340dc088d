"""A demand response event in the day of the EVM: a day before to compare with, two participants, a late reading."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from eth_account.messages import encode_typed_data
from eth_utils.address import to_checksum_address
from tests.audit.evm_node import LENGTH_S, EvmNode
from tests.contracts.words import CHAIN_ID, MTU_LENGTH_S
from tests.dispatch.demands import a_demand, signed_demand

from gridledger.audit.demand_rows import (
    DemandEventRow,
    DemandMeasurementRow,
    DemandParticipationRow,
    DemandShiftRow,
)
from gridledger.dispatch.baseline import BaselineRule, Connection, MeasuringTerms, measure
from gridledger.dispatch.demand_response import (
    DemandDirection,
    StoredDemand,
    demand_id,
    measuring_plan,
    terms_typed_data,
)
from gridledger.dispatch.model import DispatchDomain
from gridledger.metering.estimation import Calendar
from gridledger.metering.validation import capacity_wh_rounded_up

DAY_S = 86_400
RULE = BaselineRule(working_highest=1, working_days=1, other_highest=1, other_days=1, look_back_days=3, adjustment_bp=0)


def issue(node: EvmNode, mtu_start: int, usual_wh: dict[int, int]) -> StoredDemand:
    """Ask for less in two quarter-hours; the readings of the day before are anchored."""
    for start in (mtu_start - DAY_S, mtu_start - DAY_S + LENGTH_S):
        node.read(1, start, usual_wh)
    domain = DispatchDomain(
        chain_id=CHAIN_ID, dispatching_contract=str(to_checksum_address(node.market.at["EnergyDispatching"]))
    )
    event = a_demand(first_mtu_start=mtu_start, mtu_count=2, direction=DemandDirection.REDUCE, energy_wh=100)
    today = datetime.fromtimestamp(mtu_start, UTC).date()
    unsigned = StoredDemand(
        number=1,
        event_id=demand_id(domain, event),
        event=event,
        signature=signed_demand(domain, event, node.market.grid_operator.account),
        terms=MeasuringTerms(rule=RULE, civil_time="UTC", holidays=(today - timedelta(days=2),)),
        terms_signature=b"",
        received_at=node.market.clock,
    )
    stored = replace(unsigned, terms_signature=_by_market_operator(node, domain, unsigned))
    node.rows["demand_events"].append(_event_row(stored))
    for meter in usual_wh:
        row = DemandParticipationRow(event_id=stored.event_id, meter=meter, account=node.meters[meter].owner)
        node.rows["demand_participations"].append(row)
    return stored


def measure_again(node: EvmNode, stored: StoredDemand, meter: int) -> None:
    """Measure a participant on what has been anchored by now."""
    terms = stored.terms
    plan = measuring_plan(stored.event, terms, Calendar.named(terms.civil_time, terms.holidays), MTU_LENGTH_S)
    rows = [row for row in node.rows["readings"] if row.meter == meter and row.interval_start in plan.needed_starts]
    facts = node.meters[meter]
    connection = Connection(
        import_wh=capacity_wh_rounded_up(facts.import_capacity_w, MTU_LENGTH_S),
        export_wh=capacity_wh_rounded_up(facts.export_capacity_w, MTU_LENGTH_S),
    )
    known = {row.interval_start: row.import_wh - row.export_wh for row in rows}
    measured = measure(plan, known, (), connection)
    made = node.rows["demand_measurements"]
    number = 1 + sum(row.meter == meter for row in made)
    anchors = max(row.anchor_sequence for row in rows) + 1
    key = {"event_id": stored.event_id, "meter": meter, "number": number}
    made.append(
        DemandMeasurementRow(**key, days=measured.days, adjustment_bp=measured.adjustment_bp, anchors=anchors, proofs=0)
    )
    node.rows["demand_shifts"] += [
        DemandShiftRow(
            **key,
            mtu_start=one.mtu_start,
            baseline_import_wh=one.baseline_import_wh,
            net_import_wh=one.net_import_wh,
            energy_wh=one.energy_wh,
        )
        for one in measured.mtus
    ]


def _by_market_operator(node: EvmNode, domain: DispatchDomain, stored: StoredDemand) -> bytes:
    document = encode_typed_data(full_message=terms_typed_data(domain, stored))
    return bytes(node.market.market_operator.account.sign_message(document).signature)


def _event_row(stored: StoredDemand) -> DemandEventRow:
    event, terms, rule = stored.event, stored.terms, stored.terms.rule
    return DemandEventRow(
        number=stored.number,
        event_id=stored.event_id,
        zone=event.zone,
        first_mtu_start=event.first_mtu_start,
        mtu_count=event.mtu_count,
        direction=event.direction,
        energy_wh=event.energy_wh,
        reason=event.reason,
        salt=event.salt,
        signature=stored.signature,
        working_highest=rule.working_highest,
        working_days=rule.working_days,
        other_highest=rule.other_highest,
        other_days=rule.other_days,
        look_back_days=rule.look_back_days,
        adjustment_bp=rule.adjustment_bp,
        civil_time=terms.civil_time,
        holidays=terms.holidays,
        received_at=stored.received_at,
        terms_signature=stored.terms_signature,
    )
