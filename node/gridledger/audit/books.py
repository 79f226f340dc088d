"""Checks closed books: every receipted order is listed, in receipt order, and called ineligible only with reason."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from gridledger.audit.cancellations import Withdrawals
from gridledger.audit.eligibility import Eligibility
from gridledger.audit.evidence import Evidence
from gridledger.audit.markets import Market
from gridledger.audit.model import Rule, Slot, order_name, slot_name
from gridledger.audit.rows import AcceptanceRow, BookRow, OrderRow
from gridledger.market.book import book_hash, listed_deals, undealt_orders
from gridledger.market.pricing import reference_price, supply_and_demand

__all__ = ["check_books", "check_fills", "check_reference_prices"]

Receipted = OrderRow | AcceptanceRow


def check_books(evidence: Evidence) -> None:
    """Recompute every book from the receipts, compare it with export and chain, and keep the sound ones."""
    markets, receipted = evidence.history.markets, _receipted_by_slot(evidence)
    committed = {slot for slot, market in markets.items() if market.book is not None}
    for slot in sorted(receipted.keys() | evidence.books.keys() | committed):
        rows = evidence.books.get(slot, [])
        listed = _listed(receipted.get(slot, []), {row.uid for row in rows})
        book = markets[slot].book if slot in committed else None
        if book is None:
            _check_uncommitted(evidence, slot, listed)
            _check_foreign(evidence, slot, listed, rows)
            continue
        same_lines = _check_lines(evidence, slot, listed, rows)
        eligibility = Eligibility(evidence, slot, listed, rows, book)
        entries = eligibility.judged()
        same_hash = evidence.findings.compare(Rule.BOOK, slot_name(slot), book.book_hash, book_hash(entries))
        evidence.findings.compare(Rule.BOOK, f"{slot_name(slot)}, number of orders", book.order_count, len(listed))
        if same_lines and same_hash and not any(row.uid in evidence.unsound_orders for row in listed):
            evidence.listed_books[slot] = entries
            evidence.auction_books[slot] = eligibility.without_excluded(entries)


def check_reference_prices(evidence: Evidence) -> None:
    """The published price follows from the eligible supply and demand of the book, without direct deals."""
    for slot, book in evidence.listed_books.items():
        prices = evidence.history.rules.prices_at(slot.mtu_start)
        supply_wh, demand_wh = supply_and_demand(undealt_orders(book, listed_deals(book)), prices)
        expected = (reference_price(prices, supply_wh, demand_wh), supply_wh, demand_wh)
        published = evidence.history.markets[slot].reference
        if published is not None or (evidence.is_late(slot.mtu_start) and _could_be_published(evidence, slot)):
            record = f"{slot_name(slot)}, price, supply, demand"
            evidence.findings.compare(Rule.REFERENCE_PRICE, record, expected, published)


def _could_be_published(evidence: Evidence, slot: Slot) -> bool:
    """Whether the book came before the clearing deadline; the contract takes no price after it."""
    history, book = evidence.history, evidence.history.markets[slot].book
    deadline = history.rules.policy_at(slot.mtu_start).clearing_deadline(slot.mtu_start)
    return book is None or history.blocks[book.block_number].time_s < deadline


def check_fills(evidence: Evidence) -> None:
    """What books.csv says an order was filled with is what the clearing's call data says; without one nothing."""
    domain, meters = evidence.facts.order_domain, evidence.history.members.meters
    for slot, rows in evidence.books.items():
        market = evidence.history.markets.get(slot, Market())
        filled_wh: defaultdict[str, int] = defaultdict(int)
        for call in (chunk.call for chunk in market.chunks if chunk.call is not None):
            for item in call.orders:
                if item.meter in meters:
                    filled_wh[item.uid(domain, meters[item.meter].owner)] += item.fill_wh
        for row in rows:
            record = f"{slot_name(slot)}, {order_name(row.uid, row.running_number)}, filled Wh"
            evidence.findings.compare(Rule.FILL, record, filled_wh[row.uid], row.filled_wh)


def _receipted_by_slot(evidence: Evidence) -> Mapping[Slot, list[tuple[Receipted, bool]]]:
    """Receipted orders and acceptances of each zone and MTU whose gate has closed, in receipt order.

    Withdrawn and expired ones are left out; the flag marks those that the node may have left out.
    """
    slots: defaultdict[Slot, list[tuple[Receipted, bool]]] = defaultdict(list)
    withdrawals = Withdrawals(evidence=evidence)
    for row in evidence.receipted:
        zone = evidence.zone_of(row)
        if isinstance(row, AcceptanceRow):
            slots[Slot(zone, row.mtu_start)].append((row, False))
            continue
        for mtu_start, gate_closure in _mtus(evidence, row):
            withdrawn = withdrawals.withdrawn(row, gate_closure)
            if not withdrawn and row.expiry >= gate_closure:
                slots[Slot(zone, mtu_start)].append((row, withdrawn is None))
    return slots


def _mtus(evidence: Evidence, row: OrderRow) -> Iterator[tuple[int, int]]:
    """MTUs of an order with their gate closures, as far as gates have closed; at least its first."""
    length_s, head_s = evidence.facts.mtu_length_s, evidence.history.head.time_s
    posted = evidence.history.posted.get(row.uid)
    since = row.received_at if posted is None else min(row.received_at, posted.posted_at)
    first = max(row.first_mtu_start, since - since % length_s)
    for mtu_start in range(first, row.last_mtu_start + 1, length_s):
        gate_closure = evidence.history.rules.gate_closure(mtu_start)
        if gate_closure > head_s:
            return
        if posted is None or since < gate_closure:
            yield mtu_start, gate_closure


def _listed(receipted: Sequence[tuple[Receipted, bool]], lines: set[str]) -> list[Receipted]:
    """What must be listed: of those that may have been left out the ones that were not."""
    return [row for row, optional in receipted if not optional or row.uid in lines]


def _check_uncommitted(evidence: Evidence, slot: Slot, listed: Sequence[Receipted]) -> None:
    """A book with orders must be on chain soon after its gate."""
    due = bool(listed) and evidence.is_late(evidence.history.rules.gate_closure(slot.mtu_start))
    expected = "a committed book" if due else "no book"
    evidence.findings.compare(Rule.BOOK, slot_name(slot), expected, "no book")


def _check_foreign(evidence: Evidence, slot: Slot, listed: Sequence[Receipted], rows: Sequence[BookRow]) -> bool:
    """Every line is that of a receipted order; foreign ones are named."""
    uids = {row.uid for row in listed}
    foreign = [row for row in rows if row.uid not in uids]
    for row in foreign:
        record = f"{slot_name(slot)}, line of {order_name(row.uid, row.running_number)}"
        evidence.findings.report(Rule.BOOK, record, "no such receipt, or cancelled", "listed")
    return not foreign


def _check_lines(evidence: Evidence, slot: Slot, listed: Sequence[Receipted], rows: Sequence[BookRow]) -> bool:
    """Lines of books.csv against the receipts: missing and foreign ones by name, then numbers and places."""
    findings = evidence.findings
    lines = {row.uid: row for row in rows}
    same = findings.compare(Rule.BOOK, f"{slot_name(slot)}, lines of books.csv", len(listed), len(rows))
    same &= _check_foreign(evidence, slot, listed, rows)
    for position, order in enumerate(listed):
        line = lines.get(order.uid)
        expected = (position, order.running_number)
        found = None if line is None else (line.position, line.running_number)
        record = f"{slot_name(slot)}, line of {order_name(order.uid, order.running_number)}"
        same &= findings.compare(Rule.BOOK, record, expected, found)
    return same
