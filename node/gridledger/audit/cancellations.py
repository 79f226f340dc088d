"""Checks signed cancellations, and says which of them took an order out of which MTU's book."""

from collections import defaultdict
from dataclasses import dataclass, field

from gridledger.audit.evidence import Evidence
from gridledger.audit.model import Rule, order_name
from gridledger.audit.orders import signer_of
from gridledger.audit.rows import BulkCancellationRow, CancellationRow, OrderRow
from gridledger.market.order_hash import cancel_digest, cancel_up_to_digest

__all__ = ["Withdrawals", "check_cancellations"]

CLOSING_S = 60  # an order whose gate has closed this little ago may still be on its way into a book


def check_cancellations(evidence: Evidence) -> None:
    """Each cancellation is signed by the owner of a known order, after its receipt and before its last gate."""
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
    seen: set[tuple[str, int]] = set()
    for bulk in evidence.run.bulk_cancellations:
        record = f"cancellation of {bulk.owner} up to salt {bulk.salt}"
        signer = signer_of(cancel_up_to_digest(evidence.facts.order_domain, bulk.owner, bulk.salt), bulk.signature)
        findings.compare(Rule.CANCELLATION, record, bulk.owner.lower(), signer)
        admitted = bulk.owner in evidence.history.members.supplier_of
        findings.compare(Rule.CANCELLATION, f"{record}, owner admitted", True, admitted)  # noqa: FBT003
        if (bulk.owner, bulk.salt) in seen:
            findings.report(Rule.CANCELLATION, record, "one row", "another one")
        seen.add((bulk.owner, bulk.salt))


def _check_cancellation(evidence: Evidence, row: CancellationRow, order: OrderRow) -> None:
    record = f"cancellation of {order_name(row.uid, order.running_number)}"
    signer = signer_of(cancel_digest(evidence.facts.order_domain, row.uid), row.signature)
    evidence.findings.compare(Rule.CANCELLATION, record, order.owner.lower(), signer)
    gate_closure = evidence.history.rules.gate_closure(order.last_mtu_start)
    if not order.received_at <= row.received_at < gate_closure:
        expected = f"{order.received_at} or later, before {gate_closure}"
        evidence.findings.report(Rule.CANCELLATION, f"{record}, time", expected, row.received_at)


@dataclass(kw_only=True)
class Withdrawals:
    """When orders were withdrawn, by signature sent to the node or on chain."""

    evidence: Evidence
    _bulk: defaultdict[str, list[BulkCancellationRow]] = field(init=False)
    _dealt: defaultdict[str, list[tuple[int, int]]] = field(init=False)

    def __post_init__(self) -> None:
        self._bulk, self._dealt = defaultdict(list), defaultdict(list)
        for bulk in self.evidence.run.bulk_cancellations:
            self._bulk[bulk.owner].append(bulk)
        for row in self.evidence.run.acceptances:
            self._dealt[row.offer_uid].append((row.received_at, self._gate(row.mtu_start)))

    def withdrawn(self, order: OrderRow, gate_closure: int) -> bool | None:
        """Whether the order was withdrawn before a gate closure; None where the node may have seen it either way."""
        cancelled = self.evidence.cancelled.get(order.uid)
        if cancelled is not None and cancelled.received_at < gate_closure:
            return True
        answers = {
            self._withdrawn_by(order, bulk) for bulk in self._bulk[order.owner] if bulk.received_at < gate_closure
        }
        if True in answers:
            return True
        on_chain = self.evidence.history.cancellations.cancelled_before(
            order.owner, order.uid, order.salt, gate_closure
        )
        return None if on_chain or None in answers else False

    def _withdrawn_by(self, order: OrderRow, bulk: BulkCancellationRow) -> bool | None:
        """What one bulk cancellation did to an order; offers that were accepted for an MTU still to come stay.

        Within its second, or while a gate was just closing, the node may have seen things in either order.
        """
        moment = bulk.received_at
        if order.salt > bulk.salt or order.received_at > moment:
            return False
        spared = [received_at for received_at, gate in self._dealt[order.uid] if received_at <= moment < gate]
        if any(received_at < moment for received_at in spared):
            return False
        if spared or order.received_at == moment or self._gate_just_closed(order, moment):
            return None
        return True

    def _gate_just_closed(self, order: OrderRow, moment: int) -> bool:
        """Whether a gate of one of the order's MTUs had closed shortly before."""
        length_s = self.evidence.facts.mtu_length_s
        gate_closure_s = order.first_mtu_start - self._gate(order.first_mtu_start)
        since = (moment + gate_closure_s) % length_s
        mtu_start = moment + gate_closure_s - since
        return since <= CLOSING_S and order.first_mtu_start <= mtu_start <= order.last_mtu_start

    def _gate(self, mtu_start: int) -> int:
        return self.evidence.history.rules.gate_closure(mtu_start)
