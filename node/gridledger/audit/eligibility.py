"""Judges who could trade in one book, by the chain's state between gate closure and clearing."""

from collections.abc import Sequence
from dataclasses import replace

from gridledger.audit.evidence import Evidence
from gridledger.audit.markets import Committed
from gridledger.audit.model import Rule, Slot, order_name, slot_name
from gridledger.audit.rows import AcceptanceRow, BookRow, OrderRow
from gridledger.market.book import Standing, list_orders
from gridledger.market.model import RECORDED_REASONS, BookEntry, Ineligibility, Side, SignedAcceptance
from gridledger.market.settlement import worst_case_microcents

__all__ = ["Eligibility"]

Entries = tuple[BookEntry, ...]


class Eligibility:
    """One book's orders and acceptances, and what the export says of each."""

    def __init__(
        self,
        evidence: Evidence,
        slot: Slot,
        listed: Sequence[OrderRow | AcceptanceRow],
        rows: Sequence[BookRow],
        book: Committed,
    ) -> None:
        self._evidence, self._history, self._slot, self._listed, self._book = (
            evidence,
            evidence.history,
            slot,
            listed,
            book,
        )
        self._exported = {row.uid: row.ineligible for row in rows}
        self._policy = self._history.rules.policy_at(slot.mtu_start)
        self._prices = self._history.rules.prices_at(slot.mtu_start)

    def judged(self) -> Entries:
        """The book by the chain's state at a block between gate closure and commitment.

        The node decides on the newest block it had indexed; several may lie in between. An order may have been
        excluded later, if the contract would not have taken it.
        """
        candidates = self._moments()
        entries: Entries = ()
        for number in candidates:
            entries = self._entries(number)
            if all(self._agrees(entries, entry) for entry in entries):
                break
        else:
            entries = self._entries(candidates[0])
        for entry in entries:
            record = f"{slot_name(self._slot)}, {order_name(entry.uid, entry.running_number)}"
            if not self._agrees(entries, entry):
                self._evidence.findings.report(Rule.ELIGIBILITY, record, entry.ineligible, self._exported[entry.uid])
        self._evidence.findings.count(Rule.ELIGIBILITY, len(entries))
        return entries

    def without_excluded(self, entries: Entries) -> Entries:
        """The book as it went into the auction: what was justly excluded after the commitment does not trade."""
        return tuple(
            replace(entry, ineligible=_reason(self._exported[entry.uid]))
            if entry.uid in self._exported and self._agrees(entries, entry)
            else entry
            for entry in entries
        )

    def _agrees(self, entries: Entries, entry: BookEntry) -> bool:
        """Whether the exported reason is that of the listing, the contract's own, or a justified exclusion after it."""
        if entry.uid not in self._exported or self._exported[entry.uid] == entry.ineligible:
            return True
        recorded = self._history.markets[self._slot].recorded.get(entry.uid)
        if recorded is not None:
            return RECORDED_REASONS[recorded] == self._exported[entry.uid]
        return self._excluded(entries, entry, self._exported[entry.uid])

    def _excluded(self, entries: Entries, entry: BookEntry, reason: str | None) -> bool:
        """Whether the contract would have refused a clearing because of this order, before it was cleared."""
        if entry.ineligible is not None:
            return False
        history, cleared = self._history, self._history.markets[self._slot].cleared
        first = max(self._book.block_number - 1, 0)
        last = history.head.number if cleared is None else cleared.block_number - 1
        match reason:
            case Ineligibility.SUSPENDED:
                return history.members.suspended[entry.owner].ever_between(first, last)
            case Ineligibility.CANCELLED:
                gate_closure = history.rules.gate_closure(self._slot.mtu_start)
                return entry.is_order and history.cancellations.cancelled_before(
                    entry.owner, entry.uid, entry.order.salt, gate_closure
                )
            case Ineligibility.UNFUNDED:
                gate_closure = history.rules.gate_closure(self._slot.mtu_start)
                lowest = history.cash.lowest_available_microcents(entry.owner, first, last, gate_closure)
                return self._worst_case(entries, entry.owner) > lowest
            case Ineligibility.OFFER:
                signed = entry.signed
                return isinstance(signed, SignedAcceptance) and bool(self._exported.get(signed.acceptance.offer_uid))
        return False

    def _worst_case(self, entries: Entries, owner: str) -> int:
        """The most the owner's eligible orders and acceptances can lock together, microcents."""
        fee = self._policy.grid_fee_cents_per_mwh
        limits = {entry.uid: entry.order.limit_cents_per_mwh for entry in entries if entry.is_order}
        worst = 0
        for entry in entries:
            if entry.ineligible is not None or entry.owner != owner:
                continue
            if isinstance(entry.signed, SignedAcceptance):
                side, quantity_wh = Side.BUY, entry.signed.acceptance.quantity_wh
                limit = limits.get(entry.signed.acceptance.offer_uid, 0)
            else:
                side, quantity_wh, limit = entry.order.side, entry.order.quantity_wh, limits[entry.uid]
            worst += worst_case_microcents(side, quantity_wh, limit, fee, self._prices.shortage)
        return worst

    def _moments(self) -> list[int]:
        """Blocks from the last before the commitment back to the last before the gate; then those up to the clearing.

        Whoever was listed as ineligible without a reason for the contract to record it is eligible again until then.
        """
        gate_closure = self._history.rules.gate_closure(self._slot.mtu_start)
        committed = max(self._book.block_number - 1, 0)
        first = committed
        while first > 0 and self._history.blocks[first].time_s >= gate_closure:
            first -= 1
        cleared = self._history.markets[self._slot].cleared
        last = committed if cleared is None else cleared.block_number - 1
        return [*range(committed, first - 1, -1), *range(committed + 1, last + 1)]

    def _entries(self, number: int) -> Entries:
        owners = {row.owner for row in self._listed}
        standing = Standing(
            gate_closure=self._history.rules.gate_closure(self._slot.mtu_start),
            accounts={owner: self._history.cash.account_at(owner, number) for owner in owners},
            suspended=frozenset(owner for owner in owners if self._history.members.suspended[owner].at(number)),
            policy=self._policy,
            prices=self._prices,
            meters=self._history.members.meters,
            mtu_length_s=self._evidence.facts.mtu_length_s,
        )
        return list_orders([(row.running_number, row.signed()) for row in self._listed], standing)


def _reason(exported: str | None) -> Ineligibility | None:
    return None if exported is None else Ineligibility(exported)
