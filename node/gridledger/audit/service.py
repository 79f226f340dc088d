"""The audit: replays the chain from block 0, then judges every exported record. It stops at nothing."""

from collections.abc import Callable

from gridledger.audit.accounts import check_accounts, check_low_carbon_tokens, check_settlement_tokens
from gridledger.audit.books import check_books, check_reference_prices
from gridledger.audit.clearings import check_clearings, check_trade_limits, check_trades
from gridledger.audit.evidence import Evidence, ExportedRun, MarketFacts
from gridledger.audit.findings import Findings
from gridledger.audit.foundations import check_blocks, check_code, check_meters, check_roles, check_settings
from gridledger.audit.history import History
from gridledger.audit.lifecycles import check_order_states
from gridledger.audit.model import AuditReport, Rule
from gridledger.audit.orders import (
    check_cancellations,
    check_order_signature,
    check_order_terms,
    check_receipt,
    check_receipt_sequence,
)
from gridledger.audit.ports import Chain, OnProgress, StateUnavailable
from gridledger.audit.positions import check_dispatch, check_positions, recompute_locks
from gridledger.audit.readings import check_anchors, check_columns, check_reading, check_reading_intervals
from gridledger.audit.settlements import check_settlements
from gridledger.metering.model import DeviceKey

__all__ = ["audit_run", "audit_without_chain"]

_STEPS_PER_NOTE = 500


def audit_run(
    run: ExportedRun, facts: MarketFacts, chain: Chain, findings: Findings, on_progress: OnProgress
) -> AuditReport:
    """Judge an export by a chain; progress counts blocks and exported rows."""
    last = run.head.number if run.head is not None else max((row.number for row in run.blocks), default=0)
    progress = _Progress(last + 1 + len(run.orders) + len(run.readings), on_progress)
    history = _replay(chain, last, findings, progress)
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
    return findings.conclude({**_file_totals(run), **_chain_totals(history), "cash_sum_microcents": cash_sum})


def _replay(chain: Chain, last: int, findings: Findings, progress: "_Progress") -> History | None:
    """The chain's history; None, and a mismatch, where it is not that of a market."""
    history = History()
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
        for row in run.orders:
            check_order_signature(row, facts.order_domain, findings)
            check_receipt(row, facts.order_domain, facts.market_operator, findings)
    keys = {row.meter: [DeviceKey(x=row.device_key_x, y=row.device_key_y)] for row in run.meters}
    for reading in run.readings:
        check_columns(reading, keys, findings)
    return findings.conclude(_file_totals(run))


def _check_orders(evidence: Evidence, progress: "_Progress") -> None:
    domain, operator = evidence.facts.order_domain, evidence.facts.market_operator
    for row in evidence.run.orders:
        if not check_order_signature(row, domain, evidence.findings):
            evidence.unsound_orders.add(row.uid)
        check_receipt(row, domain, operator, evidence.findings)
        check_order_terms(evidence, row)
        progress.step("checking orders")
    check_receipt_sequence(evidence)
    check_cancellations(evidence)


def _check_readings(evidence: Evidence, progress: "_Progress") -> None:
    for row in evidence.run.readings:
        check_reading(row, evidence.history.members.device_keys, evidence.findings)
        progress.step("checking readings")
    check_reading_intervals(evidence)
    check_anchors(evidence)


def _check_market(evidence: Evidence) -> None:
    first: tuple[Callable[[Evidence], None], ...] = (
        check_books,
        check_reference_prices,
        check_clearings,
        check_trade_limits,
        check_trades,
        check_order_states,
    )
    for check in first:
        check(evidence)
    proposals = recompute_locks(evidence)
    check_dispatch(evidence, proposals)
    check_positions(evidence, proposals)
    check_settlements(evidence, proposals)


def _file_totals(run: ExportedRun) -> dict[str, int]:
    """Totals every report has; those that only a chain can tell are zero here."""
    return {
        "orders": len(run.orders),
        "readings": len(run.readings),
        "meters": len(run.meters),
        "blocks": 0,
        "cleared_mtus": 0,
        "trades": 0,
        "traded_wh": 0,
        "trade_value_microcents": 0,
        "positions": 0,
        "settled_positions": 0,
        "refunded_positions": 0,
        "open_positions": 0,
        "fees_microcents": 0,
        "debts_microcents": 0,
        "deposited_microcents": 0,
        "withdrawn_microcents": 0,
        "cash_sum_microcents": 0,
        "tokens_minted_ugco2": 0,
        "tokens_burned_ugco2": 0,
    }


def _chain_totals(history: History) -> dict[str, int]:
    cleared = [market for market in history.markets.values() if market.cleared is not None]
    settled = [(market, entry) for market in cleared for step in market.steps for entry in step.settled]
    refunded = sum(len(step.refunded) for market in cleared for step in market.steps)
    opened = sum(len(market.opened) for market in cleared)
    energy = [(market, sum(energy_wh for *_, energy_wh in market.trades)) for market in cleared]
    tokens = history.tokens["LowCarbonToken"]
    return {
        "blocks": len(history.blocks),
        "cleared_mtus": len(cleared),
        "trades": sum(len(market.trades) for market in cleared),
        "traded_wh": sum(traded_wh for _, traded_wh in energy),
        "trade_value_microcents": sum(
            traded_wh * market.cleared.price_cents_per_mwh for market, traded_wh in energy if market.cleared is not None
        ),
        "positions": opened,
        "settled_positions": len(settled),
        "refunded_positions": refunded,
        "open_positions": opened - len(settled) - refunded,
        "fees_microcents": sum(
            market.opened[entry.meter].fee_microcents for market, entry in settled if entry.meter in market.opened
        ),
        "debts_microcents": sum(history.cash.debts.values()),
        "deposited_microcents": history.cash.deposited_microcents,
        "withdrawn_microcents": history.cash.withdrawn_microcents,
        "tokens_minted_ugco2": tokens.minted,
        "tokens_burned_ugco2": tokens.burned,
    }


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
