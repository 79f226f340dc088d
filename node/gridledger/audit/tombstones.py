"""Checks tombstones: who signed them, and that they speak of what is gone and of nothing else.

What a sound tombstone names may be missing from the export; it is counted as no longer verifiable.
"""

from gridledger.audit.evidence import Evidence
from gridledger.audit.model import Rule, meter_name
from gridledger.audit.rows import TombstoneRow
from gridledger.metering.erasure import ErasedLeaf, ErasureDomain, TombstoneMalformed, erasure_signer, leaves_hash

__all__ = ["REGULATOR_ROLE", "check_tombstones"]

REGULATOR_ROLE = 1  # of the access manager


def check_tombstones(evidence: Evidence) -> None:
    """Keep what sound tombstones leave in `evidence`; report the others, and what is there twice."""
    named = 0
    for row in evidence.run.tombstones:
        if not _is_sound(evidence, row):
            continue
        for meter in row.erasure.meters:
            evidence.erased_until[meter] = max(evidence.erased_until.get(meter, 0), row.erasure.erased_at)
        for reading in row.readings:
            key = (reading.meter, reading.interval_start)
            if key in evidence.readings:
                evidence.findings.report(Rule.TOMBSTONE, meter_name(*key), "erased", "still there")
            evidence.erased[key] = reading
            named += 1
    evidence.findings.compare(Rule.TOMBSTONE, "erased readings, each named once", len(evidence.erased), named)


def _is_sound(evidence: Evidence, row: TombstoneRow) -> bool:
    """Whether the regulator signed exactly this list of leaves, all of meters of the erased account."""
    erasure, findings = row.erasure, evidence.findings
    record = f"tombstone of {erasure.account} at {erasure.erased_at}"
    owned = {meter for meter, facts in evidence.history.members.meters.items() if facts.owner == erasure.account}
    starts = [reading.interval_start for reading in row.readings]
    last_end = max(starts, default=0) + evidence.facts.mtu_length_s
    leaves = [ErasedLeaf(reading.meter, reading.interval_start, reading.leaf) for reading in row.readings]
    counted = (len(leaves), len(leaves), min(starts, default=0), max(starts, default=0))
    signed = (erasure.leaf_count, dict(erasure.rows)["readings"], erasure.first_mtu_start, erasure.last_mtu_start)
    foreign = sorted({*erasure.meters, *(entry.meter for entry in leaves)} - (owned & {*erasure.meters}))
    checks: tuple[tuple[str, object, object], ...] = (
        ("signature", "by the regulator of that moment", _signer(evidence, row)),
        ("leaves", "0x" + erasure.leaves_hash.hex(), "0x" + leaves_hash(leaves).hex()),
        ("leaves, readings, first and last MTU", signed, counted),
        ("meters of other accounts", [], foreign),
        ("moment", "after its readings", "after its readings" if erasure.erased_at >= last_end else "before"),
    )
    agree = [findings.compare(Rule.TOMBSTONE, f"{record}, {name}", expected, found) for name, expected, found in checks]
    return all(agree)


def _signer(evidence: Evidence, row: TombstoneRow) -> str:
    facts = evidence.facts
    domain = ErasureDomain(chain_id=facts.chain_id, access_manager=facts.addresses["MarketAccessManager"])
    try:
        signer = erasure_signer(domain, row.erasure, row.signature)
    except TombstoneMalformed as error:
        return str(error)
    if evidence.history.held_role(REGULATOR_ROLE, signer, row.erasure.erased_at):
        return "by the regulator of that moment"
    return f"by {signer}"
