"""Checks orders, receipts and cancellations one by one: who signed what, and when the node promised to list it."""

from gridledger.audit.evidence import Evidence
from gridledger.audit.findings import Findings
from gridledger.audit.formats import CancellationRow, OrderRow
from gridledger.audit.model import Rule, order_name
from gridledger.market.errors import SignatureMalformed
from gridledger.market.order_hash import OrderDomain, cancel_digest, order_uid, recover_address
from gridledger.market.receipts import receipt_digest

__all__ = [
    "check_cancellations",
    "check_order_signature",
    "check_order_terms",
    "check_receipt",
    "check_receipt_sequence",
]


def check_order_signature(row: OrderRow, domain: OrderDomain, findings: Findings) -> bool:
    """The uid is the digest of the order's own fields, and its owner signed it."""
    record = order_name(row.uid, row.running_number)
    uid = order_uid(domain, row.order())
    uid_agrees = findings.compare(Rule.ORDER_UID, record, uid, row.uid)
    signer = _signer(bytes.fromhex(uid[2:]), row.signature)
    return findings.compare(Rule.ORDER_SIGNATURE, record, row.owner.lower(), signer) and uid_agrees


def check_receipt(row: OrderRow, domain: OrderDomain, market_operator: str, findings: Findings) -> None:
    """The market operator signed the receipt."""
    digest = receipt_digest(domain, row.uid, row.running_number, row.received_at, row.receipt_block_hash)
    signer = _signer(digest, row.receipt_signature)
    record = f"{order_name(row.uid, row.running_number)}, receipt"
    findings.compare(Rule.RECEIPT, record, market_operator.lower(), signer)


def check_order_terms(evidence: Evidence, row: OrderRow) -> None:
    """The signer owns the meter and is admitted; the order came before its gate and names a block of this chain."""
    members, findings = evidence.history.members, evidence.findings
    record = order_name(row.uid, row.running_number)
    meter = members.meters.get(row.meter)
    expected = None if meter is None else (meter.owner, meter.zone)
    findings.compare(Rule.ORDER_OWNER, f"{record}, owner and zone", expected, (row.owner, row.zone))
    findings.compare(Rule.ORDER_OWNER, f"{record}, owner admitted", True, row.owner in members.supplier_of)  # noqa: FBT003
    gate_closure = evidence.history.rules.gate_closure(row.first_mtu_start)
    if row.received_at >= gate_closure:
        findings.report(Rule.RECEIPT, f"{record}, receipt time", f"before {gate_closure}", row.received_at)
    block = evidence.block_by_hash.get(row.receipt_block_hash)
    if block is None:
        findings.report(Rule.RECEIPT, f"{record}, receipt block", "a block of this chain", row.receipt_block_hash)
    elif block.earliest_s > row.received_at:
        findings.report(Rule.RECEIPT, f"{record}, receipt time", f"{block.earliest_s} or later", row.received_at)
    findings.count(Rule.RECEIPT, 2)


def check_receipt_sequence(evidence: Evidence) -> None:
    """Running numbers count from 1 without gap or repetition, and later receipts name no earlier block."""
    findings, newest, last_number = evidence.findings, 0, 0
    rows = sorted(evidence.run.orders, key=lambda row: row.running_number)
    for row in rows:
        record = order_name(row.uid, row.running_number)
        findings.compare(Rule.RECEIPT_SEQUENCE, record, last_number + 1, row.running_number)
        last_number = row.running_number
        block = evidence.block_by_hash.get(row.receipt_block_hash)
        if block is not None and block.number < newest:
            findings.report(Rule.RECEIPT_SEQUENCE, record, f"block {newest} or later", f"block {block.number}")
        newest = max(newest, block.number if block is not None else 0)
    findings.compare(Rule.RECEIPT_SEQUENCE, "uids of orders.csv", len(rows), len(evidence.orders))


def check_cancellations(evidence: Evidence) -> None:
    """Each cancellation is of a known order, signed by its owner, after the receipt and before the gate."""
    findings = evidence.findings
    findings.compare(
        Rule.CANCELLATION, "uids of cancellations.csv", len(evidence.run.cancellations), len(evidence.cancelled)
    )
    for row in evidence.run.cancellations:
        order = evidence.orders.get(row.uid)
        if order is None:
            findings.report(Rule.CANCELLATION, f"cancellation of {row.uid}", "an order of orders.csv", None)
        else:
            _check_cancellation(evidence, row, order)


def _check_cancellation(evidence: Evidence, row: CancellationRow, order: OrderRow) -> None:
    record = f"cancellation of {order_name(row.uid, order.running_number)}"
    signer = _signer(cancel_digest(evidence.facts.order_domain, row.uid), row.signature)
    evidence.findings.compare(Rule.CANCELLATION, record, order.owner.lower(), signer)
    gate_closure = evidence.history.rules.gate_closure(order.first_mtu_start)
    if not order.received_at <= row.received_at < gate_closure:
        expected = f"{order.received_at} or later, before {gate_closure}"
        evidence.findings.report(Rule.CANCELLATION, f"{record}, time", expected, row.received_at)


def _signer(digest: bytes, signature: bytes) -> str:
    try:
        return recover_address(digest, signature)
    except SignatureMalformed as error:
        return f"nobody: {error.reason}"
