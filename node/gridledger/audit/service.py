"""The audit: replays the chain from block 0, then judges every exported record. It stops at nothing."""

from collections.abc import Callable

from gridledger.audit.accounts import check_accounts, check_low_carbon_tokens, check_settlement_tokens
from gridledger.audit.books import check_books, check_fills, check_reference_prices
from gridledger.audit.cancellations import check_cancellations
from gridledger.audit.clearings import check_clearings
from gridledger.audit.curtailments import check_curtailments
from gridledger.audit.demand_response import check_demand_response, sound_demand
from gridledger.audit.dispatching import check_dispatch
from gridledger.audit.evidence import Evidence, ExportedRun, MarketFacts
from gridledger.audit.findings import Findings
from gridledger.audit.foundations import check_blocks, check_code, check_meters, check_roles, check_settings
from gridledger.audit.history import History
from gridledger.audit.limits import check_trade_limits
from gridledger.audit.metering import check_metering_state
from gridledger.audit.model import AuditReport, Rule
from gridledger.audit.orders import (
    check_acceptance,
    check_accepted_energy,
    check_order_signature,
    check_order_terms,
    check_posted,
    check_receipt,
    check_receipt_sequence,
)
from gridledger.audit.ports import Chain, OnProgress, StateUnavailable
from gridledger.audit.positions import check_kept, check_positions
from gridledger.audit.readings import (
    MeterHistory,
    check_anchors,
    check_columns,
    check_reading,
    check_reading_intervals,
    stated_events,
)
from gridledger.audit.rows import AcceptanceRow, OrderRow
from gridledger.audit.setpoints import check_setpoints
from gridledger.audit.settlements import check_settlements
from gridledger.audit.tombstones import check_tombstones
from gridledger.audit.totals import chain_totals, file_totals
from gridledger.audit.trades import check_trades
from gridledger.metering.model import DeviceKey

__all__ = ["audit_run", "audit_without_chain"]

_STEPS_PER_NOTE = 500


def audit_run(
    run: ExportedRun, facts: MarketFacts, chain: Chain, findings: Findings, on_progress: OnProgress
) -> AuditReport:
    """Judge an export by a chain; progress counts blocks and exported rows."""
    last = run.head.number if run.head is not None else max((row.number for row in run.blocks), default=0)
    total = last + 1 + len(run.orders) + len(run.acceptances) + len(run.readings)
    progress = _Progress(total, on_progress)
    history = _replay(chain, last, facts.mtu_length_s, findings, progress)
    if history is None:
        return audit_without_chain(run, facts, findings)
    evidence = Evidence(
        run=run,
        facts=facts,
        chain=chain,
        history=history,
        findings=findings,
        listed_books={},
        auction_books={},
        unsound_orders=set(),
        erased={},
        erased_until={},
    )
    for check in (check_settings, check_code, check_roles, check_blocks, check_meters):
        check(evidence)
    _check_orders(evidence, progress)
    _check_readings(evidence, progress)
    _check_market(evidence)
    cash_sum = check_accounts(evidence)
    check_settlement_tokens(evidence)
    check_low_carbon_tokens(evidence)
    progress.finish("done")
    totals = {**file_totals(run), **chain_totals(history), "cash_sum_microcents": cash_sum}
    unverifiable = {
        "unverifiable_settlements": evidence.unverifiable_settlements,
        "unverifiable_setpoints": evidence.unverifiable_setpoints,
        "emergencies_out_of_order": evidence.emergencies_out_of_order,
    }
    return findings.conclude({**totals, **unverifiable})


def _replay(chain: Chain, last: int, mtu_length_s: int, findings: Findings, progress: "_Progress") -> History | None:
    """The chain's history; None, and a mismatch, where it is not that of a market."""
    history = History(mtu_length_s)
    number = 0
    try:
        for block in chain.blocks(last):
            number = block.number
            history.add(block)
            progress.step("replaying blocks")
    except (StateUnavailable, LookupError, ValueError, TypeError) as error:
        record = f"events of block {number} or the next"
        findings.report(Rule.CHAIN, record, "events of the market's contracts that fit the state before them", error)
        return None
    if history.blocks and history.rules.versions:
        return history
    findings.report(Rule.CHAIN, "the chain", "the market's contracts at the recorded addresses", "none of their events")
    return None


def audit_without_chain(run: ExportedRun, facts: MarketFacts | None, findings: Findings) -> AuditReport:
    """Judge what can be judged of an export whose chain cannot be had: signatures, and texts against columns."""
    if facts is not None:
        rows: list[OrderRow | AcceptanceRow] = [*run.orders, *run.acceptances]
        for row in rows:
            check_order_signature(row, facts.order_domain, findings)
            check_receipt(row, facts.order_domain, facts.market_operator, findings)
        for event in run.demand_events:
            operator = facts.grid_operators.get(event.zone, "")
            sound_demand(event, facts.dispatch_domain, operator, facts.market_operator, findings)
    operators = {} if facts is None else {row.meter: facts.grid_operators.get(row.zone, "") for row in run.meters}
    known = MeterHistory(
        device_keys={row.meter: [DeviceKey(x=row.device_key_x, y=row.device_key_y)] for row in run.meters},
        events=stated_events(run.meter_events, None if facts is None else facts.metering_domain, operators, findings),
        mtu_length_s=None if facts is None else facts.mtu_length_s,
    )
    for reading in run.readings:
        check_columns(reading, known, findings)
    return findings.conclude(file_totals(run))


def _check_orders(evidence: Evidence, progress: "_Progress") -> None:
    domain, operator = evidence.facts.order_domain, evidence.facts.market_operator
    for row in evidence.receipted:
        if not check_order_signature(row, domain, evidence.findings):
            evidence.unsound_orders.add(row.uid)
        check_receipt(row, domain, operator, evidence.findings)
        check_order_terms(evidence, row)
        progress.step("checking orders")
    for acceptance in evidence.run.acceptances:
        check_acceptance(evidence, acceptance)
    for cancellation in evidence.run.cancellations:
        check_receipt(cancellation, domain, operator, evidence.findings)
    for bulk in evidence.run.bulk_cancellations:
        check_receipt(bulk, domain, operator, evidence.findings)
    check_accepted_energy(evidence)
    check_receipt_sequence(evidence)
    check_posted(evidence)
    check_cancellations(evidence)


def _check_readings(evidence: Evidence, progress: "_Progress") -> None:
    members, facts = evidence.history.members, evidence.facts
    operators = {meter: members.grid_operators.get(one.zone, "") for meter, one in members.meters.items()}
    known = MeterHistory(
        device_keys=members.device_keys,
        events=stated_events(evidence.run.meter_events, facts.metering_domain, operators, evidence.findings),
        mtu_length_s=facts.mtu_length_s,
    )
    for row in evidence.run.readings:
        check_reading(row, known, evidence.findings)
        progress.step("checking readings")
    check_reading_intervals(evidence)
    check_tombstones(evidence)
    check_anchors(evidence)
    check_metering_state(evidence)
    check_demand_response(evidence)


def _check_market(evidence: Evidence) -> None:
    checks: tuple[Callable[[Evidence], None], ...] = (
        check_books,
        check_reference_prices,
        check_clearings,
        check_trade_limits,
        check_fills,
        check_trades,
        check_kept,
        check_dispatch,
        check_setpoints,
        check_curtailments,
        check_positions,
        check_settlements,
    )
    for check in checks:
        check(evidence)


class _Progress:
    """Counts for the progress display, telling it every 500 steps."""

    def __init__(self, total: int, on_progress: OnProgress) -> None:
        self._done, self._total, self._on_progress = 0, total, on_progress

    def step(self, text: str) -> None:
        self._done += 1
        if self._done % _STEPS_PER_NOTE == 0:
            self._on_progress(self._done, self._total, text)

    def finish(self, text: str) -> None:
        self._on_progress(self._total, self._total, text)
