"""Checks orders, acceptances and receipts one by one: who signed what, and when the node promised to list it."""

from collections import Counter

from gridledger.audit.evidence import Evidence
from gridledger.audit.findings import Findings
from gridledger.audit.model import Rule, order_name
from gridledger.audit.rows import AcceptanceRow, BulkCancellationRow, CancellationRow, OrderRow
from gridledger.market.errors import SignatureMalformed
from gridledger.market.model import Pricing, Side
from gridledger.market.order_hash import (
    OrderDomain,
    acceptance_uid,
    cancel_digest,
    cancel_up_to_digest,
    order_uid,
    recover_address,
)
from gridledger.market.receipts import receipt_digest

__all__ = [
    "check_acceptance",
    "check_accepted_energy",
    "check_order_signature",
    "check_order_terms",
    "check_posted",
    "check_receipt",
    "check_receipt_sequence",
    "signer_of",
]

Receipted = OrderRow | AcceptanceRow | CancellationRow | BulkCancellationRow


def check_order_signature(row: OrderRow | AcceptanceRow, domain: OrderDomain, findings: Findings) -> bool:
    """The uid is the digest of the row's own fields, and its owner signed it."""
    record = order_name(row.uid, row.running_number)
    uid = order_uid(domain, row.order()) if isinstance(row, OrderRow) else acceptance_uid(domain, row.acceptance())
    uid_agrees = findings.compare(Rule.ORDER_UID, record, uid, row.uid)
    signer = signer_of(bytes.fromhex(uid[2:]), row.signature)
    return findings.compare(Rule.ORDER_SIGNATURE, record, row.owner.lower(), signer) and uid_agrees


def check_receipt(row: Receipted, domain: OrderDomain, market_operator: str, findings: Findings) -> None:
    """The market operator signed the receipt; that of a cancellation names the cancellation's digest."""
    match row:
        case CancellationRow():
            subject = "0x" + cancel_digest(domain, row.uid).hex()
        case BulkCancellationRow():
            subject = "0x" + cancel_up_to_digest(domain, row.owner, row.salt).hex()
        case _:
            subject = row.uid
    digest = receipt_digest(domain, subject, row.running_number, row.received_at, row.receipt_block_hash)
    signer = signer_of(digest, row.receipt_signature)
    findings.compare(Rule.RECEIPT, f"{receipt_name(row)}, receipt", market_operator.lower(), signer)


def receipt_name(row: Receipted) -> str:
    """What was receipted, for people."""
    match row:
        case CancellationRow():
            return f"cancellation of order {row.uid} (receipt {row.running_number})"
        case BulkCancellationRow():
            return f"cancellation of {row.owner} up to salt {row.salt} (receipt {row.running_number})"
    return order_name(row.uid, row.running_number)


def check_order_terms(evidence: Evidence, row: OrderRow | AcceptanceRow) -> None:
    """The signer owns the meter and is admitted, and it came before its first gate.

    An order posted on chain may be in force already.
    """
    members, findings = evidence.history.members, evidence.findings
    record = order_name(row.uid, row.running_number)
    meter = members.meters.get(row.meter)
    expected = None if meter is None else (meter.owner, meter.zone)
    findings.compare(Rule.ORDER_OWNER, f"{record}, owner and zone", expected, (row.owner, row.zone))
    findings.compare(Rule.ORDER_OWNER, f"{record}, owner admitted", True, row.owner in members.supplier_of)  # noqa: FBT003
    first_mtu_start = row.first_mtu_start if isinstance(row, OrderRow) else row.mtu_start
    gate_closure = evidence.history.rules.gate_closure(first_mtu_start)
    if row.received_at >= gate_closure and row.uid not in evidence.history.posted:
        findings.report(Rule.RECEIPT, f"{record}, receipt time", f"before {gate_closure}", row.received_at)
    findings.count(Rule.RECEIPT)


def check_posted(evidence: Evidence) -> None:
    """What was posted on chain before one of its gates closed is receipted."""
    history, length_s = evidence.history, evidence.facts.mtu_length_s
    for uid, posted in history.posted.items():
        first = max(posted.first_mtu_start, posted.posted_at - posted.posted_at % length_s)
        mtus = range(first, posted.last_mtu_start + 1, length_s)
        due = any(posted.posted_at < history.rules.gate_closure(mtu_start) for mtu_start in mtus)
        due = due and evidence.is_late(posted.posted_at)
        found = "in orders.csv" if uid in evidence.orders or not due else "not there"
        evidence.findings.compare(Rule.RECEIPT, f"order {uid}, posted on chain", "in orders.csv", found)


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
    """Running numbers count from 1 without gap or repetition, and name blocks of this chain, later ones no earlier."""
    findings, newest, last_number = evidence.findings, 0, 0
    cancellations: list[Receipted] = [*evidence.run.cancellations, *evidence.run.bulk_cancellations]
    for row in sorted([*evidence.receipted, *cancellations], key=lambda row: row.running_number):
        record = receipt_name(row)
        findings.compare(Rule.RECEIPT_SEQUENCE, record, last_number + 1, row.running_number)
        last_number = row.running_number
        block = evidence.block_by_hash.get(row.receipt_block_hash)
        findings.count(Rule.RECEIPT)
        if block is None:
            findings.report(Rule.RECEIPT, f"{record}, receipt block", "a block of this chain", row.receipt_block_hash)
            continue
        if block.earliest_s > row.received_at:
            findings.report(Rule.RECEIPT, f"{record}, receipt time", f"{block.earliest_s} or later", row.received_at)
        if block.number < newest:
            findings.report(Rule.RECEIPT_SEQUENCE, record, f"block {newest} or later", f"block {block.number}")
        newest = max(newest, block.number)
    found = len(evidence.orders.keys() | evidence.acceptances.keys())
    findings.compare(Rule.RECEIPT_SEQUENCE, "uids of orders and acceptances", len(evidence.receipted), found)


def signer_of(digest: bytes, signature: bytes) -> str:
    """Lower-case address that signed, or why nobody did."""
    try:
        return recover_address(digest, signature)
    except SignatureMalformed as error:
        return f"nobody: {error.reason}"
