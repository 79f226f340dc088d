"""Checks orders, acceptances and receipts one by one: who signed what, and when the node promised to list it."""

from collections import Counter

from gridledger.audit.evidence import Evidence
from gridledger.audit.findings import Findings
from gridledger.audit.model import Rule, order_name
from gridledger.audit.rows import AcceptanceRow, OrderRow
from gridledger.market.errors import SignatureMalformed
from gridledger.market.model import Pricing, Side
from gridledger.market.order_hash import OrderDomain, acceptance_uid, order_uid, recover_address
from gridledger.market.receipts import receipt_digest

__all__ = [
    "check_acceptance",
    "check_accepted_energy",
    "check_order_signature",
    "check_order_terms",
    "check_receipt",
    "check_receipt_sequence",
    "signer_of",
]


def check_order_signature(row: OrderRow | AcceptanceRow, domain: OrderDomain, findings: Findings) -> bool:
    """The uid is the digest of the row's own fields, and its owner signed it."""
    record = order_name(row.uid, row.running_number)
    uid = order_uid(domain, row.order()) if isinstance(row, OrderRow) else acceptance_uid(domain, row.acceptance())
    uid_agrees = findings.compare(Rule.ORDER_UID, record, uid, row.uid)
    signer = signer_of(bytes.fromhex(uid[2:]), row.signature)
    return findings.compare(Rule.ORDER_SIGNATURE, record, row.owner.lower(), signer) and uid_agrees


def check_receipt(row: OrderRow | AcceptanceRow, domain: OrderDomain, market_operator: str, findings: Findings) -> None:
    """The market operator signed the receipt."""
    digest = receipt_digest(domain, row.uid, row.running_number, row.received_at, row.receipt_block_hash)
    signer = signer_of(digest, row.receipt_signature)
    record = f"{order_name(row.uid, row.running_number)}, receipt"
    findings.compare(Rule.RECEIPT, record, market_operator.lower(), signer)


def check_order_terms(evidence: Evidence, row: OrderRow | AcceptanceRow) -> None:
    """The signer owns the meter and is admitted; it came before its first gate and names a block of this chain."""
    members, findings = evidence.history.members, evidence.findings
    record = order_name(row.uid, row.running_number)
    meter = members.meters.get(row.meter)
    expected = None if meter is None else (meter.owner, meter.zone)
    findings.compare(Rule.ORDER_OWNER, f"{record}, owner and zone", expected, (row.owner, row.zone))
    findings.compare(Rule.ORDER_OWNER, f"{record}, owner admitted", True, row.owner in members.supplier_of)  # noqa: FBT003
    first_mtu_start = row.first_mtu_start if isinstance(row, OrderRow) else row.mtu_start
    gate_closure = evidence.history.rules.gate_closure(first_mtu_start)
    if row.received_at >= gate_closure:
        findings.report(Rule.RECEIPT, f"{record}, receipt time", f"before {gate_closure}", row.received_at)
    block = evidence.block_by_hash.get(row.receipt_block_hash)
    if block is None:
        findings.report(Rule.RECEIPT, f"{record}, receipt block", "a block of this chain", row.receipt_block_hash)
    elif block.earliest_s > row.received_at:
        findings.report(Rule.RECEIPT, f"{record}, receipt time", f"{block.earliest_s} or later", row.received_at)
    findings.count(Rule.RECEIPT, 2)


def check_acceptance(evidence: Evidence, row: AcceptanceRow) -> None:
    """The accepted offer was receipted before, sells at a limit in the same zone and MTU, and is somebody else's."""
    record = f"{order_name(row.uid, row.running_number)}, accepted offer"
    offer = evidence.orders.get(row.offer_uid)
    if offer is None:
        evidence.findings.report(Rule.ACCEPTANCE, record, "an order of orders.csv", row.offer_uid)
        return
    terms = (
        ("side", offer.side is Side.SELL),
        ("pricing", offer.pricing is Pricing.LIMIT),
        ("MTU", offer.first_mtu_start <= row.mtu_start <= offer.last_mtu_start),
        ("zone", evidence.zone_of(offer) == evidence.zone_of(row)),
        ("receipt", offer.running_number < row.running_number),
        ("owner", offer.owner != row.owner),
    )
    broken = ", ".join(name for name, kept in terms if not kept)
    found = f"does not fit: {broken}" if broken else "fits"
    evidence.findings.compare(Rule.ACCEPTANCE, record, "fits", found)


def check_accepted_energy(evidence: Evidence) -> None:
    """Of no offer was more accepted than it offers in an MTU."""
    accepted_wh: Counter[tuple[str, int]] = Counter()
    for row in sorted(evidence.run.acceptances, key=lambda row: row.running_number):
        offer = evidence.orders.get(row.offer_uid)
        if offer is None:
            continue
        accepted_wh[row.offer_uid, row.mtu_start] += row.quantity_wh
        total_wh = accepted_wh[row.offer_uid, row.mtu_start]
        record = f"{order_name(row.uid, row.running_number)}, accepted energy of {row.offer_uid}"
        found = "within" if total_wh <= offer.quantity_wh else f"{total_wh} Wh"
        evidence.findings.compare(Rule.ACCEPTANCE, f"{record}, {offer.quantity_wh} Wh", "within", found)


def check_receipt_sequence(evidence: Evidence) -> None:
    """Running numbers count from 1 without gap or repetition, and later receipts name no earlier block."""
    findings, newest, last_number = evidence.findings, 0, 0
    for row in evidence.receipted:
        record = order_name(row.uid, row.running_number)
        findings.compare(Rule.RECEIPT_SEQUENCE, record, last_number + 1, row.running_number)
        last_number = row.running_number
        block = evidence.block_by_hash.get(row.receipt_block_hash)
        if block is not None and block.number < newest:
            findings.report(Rule.RECEIPT_SEQUENCE, record, f"block {newest} or later", f"block {block.number}")
        newest = max(newest, block.number if block is not None else 0)
    found = len(evidence.orders.keys() | evidence.acceptances.keys())
    findings.compare(Rule.RECEIPT_SEQUENCE, "uids of orders and acceptances", len(evidence.receipted), found)


def signer_of(digest: bytes, signature: bytes) -> str:
    """Lower-case address that signed, or why nobody did."""
    try:
        return recover_address(digest, signature)
    except SignatureMalformed as error:
        return f"nobody: {error.reason}"
