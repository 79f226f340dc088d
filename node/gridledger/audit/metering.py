"""Checks what the meter ledger and the carbon ledger keep besides: proofs, templates, transformers, token debts."""

from collections import Counter
from collections.abc import Callable
from typing import ParamSpec

from gridledger.audit.evidence import Evidence
from gridledger.audit.model import Rule, Slot, meter_name, slot_name
from gridledger.audit.ports import StateUnavailable

__all__ = ["check_metering_state"]

_P = ParamSpec("_P")
RELAYER_ROLE = 4  # who anchors from the start
NOTHING = "0x" + "00" * 32


def check_metering_state(evidence: Evidence) -> None:
    """What the events say is what the contracts keep."""
    history, chain, findings = evidence.history, evidence.chain, evidence.findings
    relayers = sorted(evidence.facts.roles.get(RELAYER_ROLE, {}))
    findings.compare(Rule.ROLE, "anchorer", relayers, [history.anchorer])
    for (meter, mtu_start), proven in sorted(history.proven.items()):
        record = f"{meter_name(meter, mtu_start)}, proven"
        findings.compare(Rule.READING_PROOF, f"{record}, zone", history.members.zone_of(meter), proven.zone)
        _compare(evidence, f"{record}, Wh", proven.net_wh, chain.proven_net_wh, meter, mtu_start)
    counts = Counter(Slot(proven.zone, mtu_start) for (_, mtu_start), proven in history.proven.items())
    for slot in sorted(history.markets.keys() | counts.keys()):
        _compare(evidence, f"{slot_name(slot)}, proofs", counts[slot], chain.proven_count, *slot)
    for meter in sorted(history.members.meters):
        template = history.templates.get(meter, NOTHING)
        _compare(evidence, f"template of meter {meter}", template, chain.template, meter)
    for zone in sorted(history.members.grid_operators):
        known = history.transformer_at(zone, history.head.number)
        stated = (0, 0) if known is None else (known.meter, known.loss_tolerance_bp)
        _compare(evidence, f"transformer of zone {zone}", stated, chain.transformer, zone)
    owed: Counter[str] = Counter(history.tokens_owed)
    owed.subtract(history.tokens_collected)
    given_back = dict(history.tokens_given_back)
    findings.compare(Rule.READING_PROOF, "collected tokens", dict(history.tokens_collected), given_back)
    for holder in sorted(owed.keys() | history.tokens["LowCarbonToken"].balances.keys()):
        _compare(evidence, f"tokens owed by {holder}", owed[holder], chain.owed_ugco2, holder)


def _compare(
    evidence: Evidence, record: str, expected: object, question: Callable[_P, object], *of: _P.args, **named: _P.kwargs
) -> None:
    try:
        evidence.findings.compare(Rule.READING_PROOF, record, expected, question(*of, **named))
    except StateUnavailable as error:
        evidence.findings.report(Rule.READING_PROOF, record, expected, error)
