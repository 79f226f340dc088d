"""Checks closed books: every receipted order is listed, in receipt order, and called ineligible only with reason."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from gridledger.audit.evidence import Evidence
from gridledger.audit.formats import BookRow, OrderRow
from gridledger.audit.history import Committed
from gridledger.audit.model import Rule, Slot, order_name, slot_name
from gridledger.market.book import book_hash, list_orders
from gridledger.market.model import BookEntry, SignedOrder
from gridledger.market.pricing import reference_price, supply_and_demand
from gridledger.market.settlement import worst_case_microcents

__all__ = ["check_books", "check_reference_prices"]


def check_books(evidence: Evidence) -> None:
    """Recompute every book from the receipts, compare it with export and chain, and keep the sound ones."""
    markets = evidence.history.markets
    committed = {slot for slot, market in markets.items() if market.book is not None}
    for slot in sorted(evidence.orders_by_slot.keys() | evidence.books.keys() | committed):
        listed = [row for row in evidence.orders_by_slot.get(slot, []) if row.uid not in evidence.cancelled]
        book = markets[slot].book if slot in committed else None
        if book is None:
            _check_uncommitted(evidence, slot, listed)
            continue
        same_lines = _check_lines(evidence, slot, listed, evidence.books.get(slot, []))
        entries = _judge(evidence, slot, listed, book)
        same_hash = evidence.findings.compare(Rule.BOOK, slot_name(slot), book.book_hash, book_hash(entries))
        evidence.findings.compare(Rule.BOOK, f"{slot_name(slot)}, number of orders", book.order_count, len(listed))
        if same_lines and same_hash and not any(row.uid in evidence.unsound_orders for row in listed):
            evidence.listed_books[slot] = entries
            evidence.auction_books[slot] = _without_excluded(evidence, slot, entries, book)


def check_reference_prices(evidence: Evidence) -> None:
    """The published price follows from the eligible supply and demand of the book."""
    for slot, book in evidence.listed_books.items():
        prices = evidence.history.rules.prices_at(slot.mtu_start)
        orders = (entry.signed.order for entry in book if entry.ineligible is None)
        supply_wh, demand_wh = supply_and_demand(orders, prices)
        expected = (reference_price(prices, supply_wh, demand_wh), supply_wh, demand_wh)
        published = evidence.history.markets[slot].reference
        if published is not None or evidence.is_late(slot.mtu_start):
            record = f"{slot_name(slot)}, price, supply, demand"
            evidence.findings.compare(Rule.REFERENCE_PRICE, record, expected, published)


def _check_uncommitted(evidence: Evidence, slot: Slot, listed: Sequence[OrderRow]) -> None:
    """A book with orders must be on chain soon after its gate."""
    due = bool(listed) and evidence.is_late(evidence.history.rules.gate_closure(slot.mtu_start))
    expected = "a committed book" if due else "no book"
    evidence.findings.compare(Rule.BOOK, slot_name(slot), expected, "no book")


def _check_lines(evidence: Evidence, slot: Slot, listed: Sequence[OrderRow], rows: Sequence[BookRow]) -> bool:
    """Lines of books.csv against the receipts: missing and foreign ones by name, then numbers and places."""
    findings = evidence.findings
    lines = {row.order_uid: row for row in rows}
    same = findings.compare(Rule.BOOK, f"{slot_name(slot)}, lines of books.csv", len(listed), len(rows))
    for uid in lines.keys() - {row.uid for row in listed}:
        same = False
        findings.report(Rule.BOOK, f"{slot_name(slot)}, line of {uid}", "no such receipt, or cancelled", "listed")
    for position, order in enumerate(listed):
        line = lines.get(order.uid)
        expected = (position, order.running_number)
        found = None if line is None else (line.position, line.running_number)
        record = f"{slot_name(slot)}, line of {order_name(order.uid, order.running_number)}"
        same &= findings.compare(Rule.BOOK, record, expected, found)
    return same


def _judge(evidence: Evidence, slot: Slot, listed: Sequence[OrderRow], book: Committed) -> tuple[BookEntry, ...]:
    """Who could trade, by the chain's state at any block between gate closure and the commitment.

    The node decides on the newest block it had indexed; several may lie in between. An order may have been excluded
    later, if the contract would not have taken it.
    """
    lines = {row.order_uid: row.ineligible for row in evidence.books.get(slot, [])}
    candidates = _moments(evidence, slot, book)
    entries: tuple[BookEntry, ...] = ()
    for number in reversed(candidates):
        entries = _entries(evidence, slot, listed, number)
        if all(_agrees(evidence, slot, entries, entry, lines, book) for entry in entries):
            break
    else:
        entries = _entries(evidence, slot, listed, candidates[-1])
    for entry in entries:
        record = f"{slot_name(slot)}, {order_name(entry.signed.uid, entry.running_number)}"
        if not _agrees(evidence, slot, entries, entry, lines, book):
            evidence.findings.report(Rule.ELIGIBILITY, record, entry.ineligible, lines[entry.signed.uid])
    evidence.findings.count(Rule.ELIGIBILITY, len(entries))
    return entries


def _agrees(
    evidence: Evidence,
    slot: Slot,
    entries: Sequence[BookEntry],
    entry: BookEntry,
    lines: Mapping[str, str | None],
    book: Committed,
) -> bool:
    """Whether the exported reason is that of the listing, or a justified exclusion after it."""
    if entry.signed.uid not in lines or lines[entry.signed.uid] == entry.ineligible:
        return True
    return _excluded(evidence, slot, entries, entry, lines[entry.signed.uid], book)


def _excluded(
    evidence: Evidence, slot: Slot, entries: Sequence[BookEntry], entry: BookEntry, reason: str | None, book: Committed
) -> bool:
    """Whether the contract would have refused a clearing because of this order, between commitment and clearing."""
    if entry.ineligible is not None:
        return False
    history, owner = evidence.history, entry.signed.order.owner
    cleared = history.markets[slot].cleared
    first, last = max(book.block_number - 1, 0), history.head.number if cleared is None else cleared.block_number - 1
    match reason:
        case "suspended":
            return history.members.suspended[owner].ever_between(first, last)
        case "cancelled on chain":
            cancelled_at = history.cancelled_at.get((owner, entry.signed.uid))
            return cancelled_at is not None and cancelled_at < history.rules.gate_closure(slot.mtu_start)
        case "not funded":
            return _worst_case(evidence, slot, entries, owner) > history.cash.lowest_available_microcents(
                owner, first, last
            )
    return False


def _worst_case(evidence: Evidence, slot: Slot, entries: Sequence[BookEntry], owner: str) -> int:
    """The most the owner's eligible orders can lock together, microcents."""
    rules = evidence.history.rules
    fee, shortage = (
        rules.policy_at(slot.mtu_start).grid_fee_cents_per_mwh,
        rules.prices_at(slot.mtu_start).shortage,
    )
    orders = [entry.signed.order for entry in entries if entry.ineligible is None and entry.signed.order.owner == owner]
    return sum(
        worst_case_microcents(order.side, order.quantity_wh, order.limit_cents_per_mwh, fee, shortage)
        for order in orders
    )


def _without_excluded(
    evidence: Evidence, slot: Slot, entries: Sequence[BookEntry], book: Committed
) -> tuple[BookEntry, ...]:
    """The book as it went into the auction: what was justly excluded after the commitment does not trade."""
    lines = {row.order_uid: row.ineligible for row in evidence.books.get(slot, [])}
    return tuple(
        replace(entry, ineligible=lines[entry.signed.uid])
        if _excluded(evidence, slot, entries, entry, lines[entry.signed.uid], book)
        else entry
        for entry in entries
    )


def _moments(evidence: Evidence, slot: Slot, book: Committed) -> list[int]:
    """Blocks from the last before the gate to the last before the commitment."""
    gate_closure = evidence.history.rules.gate_closure(slot.mtu_start)
    last = max(book.block_number - 1, 0)
    first = last
    while first > 0 and evidence.history.blocks[first].time_s >= gate_closure:
        first -= 1
    return list(range(first, last + 1))


def _entries(evidence: Evidence, slot: Slot, listed: Sequence[OrderRow], number: int) -> tuple[BookEntry, ...]:
    history = evidence.history
    owners = {row.owner for row in listed}
    return list_orders(
        [(row.running_number, SignedOrder(order=row.order(), uid=row.uid, signature=row.signature)) for row in listed],
        {owner: history.cash.available_at(owner, number) for owner in owners},
        frozenset(owner for owner in owners if history.members.suspended[owner].at(number)),
        history.rules.policy_at(slot.mtu_start),
        history.rules.prices_at(slot.mtu_start),
    )
