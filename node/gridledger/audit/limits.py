"""Checks each presented order against what its owner signed, and the named ends of the equilibrium intervals."""

from collections import Counter

from gridledger.audit.evidence import Evidence
from gridledger.audit.hashing import keccak256
from gridledger.audit.markets import Chunk, Market
from gridledger.audit.model import Rule, Slot, chunk_name, slot_name
from gridledger.audit.orders import signer_of
from gridledger.audit.presented import NO_ORDER, ClearingCall, PresentedWords
from gridledger.audit.rows import OrderRow
from gridledger.audit.state_hash import Interval
from gridledger.market.book import effective_limit
from gridledger.market.model import MeterFacts, Side
from gridledger.units import floor_midpoint

__all__ = ["check_trade_limits", "intervals_of"]

WITHIN = "within the signed terms"


def check_trade_limits(evidence: Evidence) -> None:
    """No order trades beyond what its owner signed; the ends' midpoint is the price; the list is the committed one."""
    for slot, market in sorted(evidence.history.markets.items()):
        filled_wh: Counter[str] = Counter()
        for chunk in market.chunks:
            if chunk.call is None or chunk.opened is None:
                continue  # named by the clearing rule
            uids = _check_presented(evidence, slot, market, chunk, chunk.call, filled_wh)
            _check_list(evidence, slot, market, chunk.call, uids)
            if chunk.number == 0:
                _check_midpoints(evidence, slot, market, chunk.call)


def intervals_of(evidence: Evidence, slot: Slot, market: Market, call: ClearingCall) -> tuple[Interval, Interval]:
    """Limits of the named ends, cents per MWh: of `any` and of `low_carbon`; of one book both are the same.

    Raises LookupError for an end nobody presented.
    """
    prices = evidence.history.rules.prices_at(slot.mtu_start)
    presented = call.presented

    def limit(end: int, otherwise: int) -> int:
        return otherwise if end == NO_ORDER else _limit(market, presented[end], prices.retail)

    lower, upper = call.any_ends
    any_interval = limit(lower, prices.floor), limit(upper, prices.cap)
    if call.merged:
        return any_interval, any_interval
    lower, upper = call.low_carbon_ends
    return any_interval, (limit(lower, prices.floor), limit(upper, prices.cap))


def _limit(market: Market, item: PresentedWords, without_reference: int) -> int:
    return effective_limit(item.order(""), market.reference[0] if market.reference else without_reference)


def _check_presented(
    evidence: Evidence, slot: Slot, market: Market, chunk: Chunk, call: ClearingCall, filled_wh: Counter[str]
) -> list[str]:
    """Judge each presented order; returns their uids."""
    uids: list[str] = []
    dealt_wh = [*call.dealt_wh(), *(0 for _ in call.ends)]
    for item, dealt in zip(call.presented, dealt_wh, strict=True):
        meter = evidence.history.members.meters.get(item.meter)
        owner = "0x" + "0" * 40 if meter is None else meter.owner
        uid = item.uid(evidence.facts.order_domain, owner)
        filled_wh[uid] += item.fill_wh
        broken = _broken_terms(evidence, slot, item, uid, meter, filled_wh[uid])
        if not item.is_acceptance and item.fill_wh > dealt and not _within_limit(market, chunk, item, meter):
            broken.append("limit")
        record = f"{chunk_name(slot, chunk.number)}, {evidence.line_name(uid)}"
        found = f"breaks {', '.join(broken)}" if broken else WITHIN
        evidence.findings.compare(Rule.TRADE_LIMIT, record, WITHIN, found)
        uids.append(uid)
    return uids


def _within_limit(market: Market, chunk: Chunk, item: PresentedWords, meter: MeterFacts | None) -> bool:
    """Whether the auction's price is within the order's own limit, or the reference price within its guard."""
    order = item.order("")
    low_carbon = bool(order.product if order.side is Side.BUY else meter is not None and meter.source)
    price = chunk.cleared.low_carbon_price if low_carbon else chunk.cleared.any_price
    limit = _limit(market, item, price)
    return limit >= price if order.side is Side.BUY else limit <= price


def _broken_terms(
    evidence: Evidence, slot: Slot, item: PresentedWords, uid: str, meter: MeterFacts | None, filled_wh: int
) -> list[str]:
    """What the presented order breaks, but for its limit."""
    row = evidence.orders.get(uid) or evidence.acceptances.get(uid)
    if row is None:
        return ["receipt: not in orders.csv or acceptances.csv"]
    signed = item.signature == row.signature or signer_of(bytes.fromhex(uid[2:]), item.signature) == row.owner.lower()
    terms = [("signature", signed), ("zone", meter is not None and meter.zone == slot.zone)]
    if isinstance(row, OrderRow):
        rules = evidence.history.rules
        prices, gate_closure = rules.prices_at(slot.mtu_start), rules.gate_closure(slot.mtu_start)
        cancelled = evidence.cancelled.get(uid)
        terms += [
            ("first and last MTU", row.first_mtu_start <= slot.mtu_start <= row.last_mtu_start),
            ("expiry", row.expiry >= gate_closure),
            ("floor and cap", prices.floor <= row.limit_cents_per_mwh <= prices.cap),
            ("quantity", filled_wh <= row.quantity_wh),
            ("cancellation", cancelled is None or cancelled.received_at >= gate_closure),
            (
                "cancellation on chain",
                not evidence.history.cancellations.cancelled_before(row.owner, uid, row.salt, gate_closure),
            ),
        ]
    else:
        terms += [("MTU", row.mtu_start == slot.mtu_start), ("quantity", filled_wh == row.quantity_wh)]
    return [name for name, kept in terms if not kept]


def _check_list(evidence: Evidence, slot: Slot, market: Market, call: ClearingCall, uids: list[str]) -> None:
    """The presented list, put together as the contract does it, is the committed one."""
    numbers = [call.book_numbers[place : place + 8] for place in range(0, len(call.book_numbers), 8)]
    listed: dict[int, bytes] = {
        item.book_index: bytes.fromhex(uid[2:]) for item, uid in zip(call.presented, uids, strict=True)
    }
    others = iter(call.other_uids)
    book = b"".join(number + (listed.get(place) or next(others, b"")) for place, number in enumerate(numbers))
    committed = None if market.book is None else market.book.book_hash
    record = f"{chunk_name(slot, call.chunk)}, presented list"
    evidence.findings.compare(Rule.BOOK, record, committed, "0x" + keccak256(book).hex())


def _check_midpoints(evidence: Evidence, slot: Slot, market: Market, call: ClearingCall) -> None:
    try:
        intervals = intervals_of(evidence, slot, market, call)
    except LookupError:
        evidence.findings.report(Rule.TRADE_LIMIT, f"{slot_name(slot)}, ends", "presented orders", "another index")
        return
    expected = tuple(floor_midpoint(*interval) for interval in intervals)
    record = f"{slot_name(slot)}, midpoints of the named ends"
    evidence.findings.compare(Rule.TRADE_LIMIT, record, expected, (call.any_price, call.low_carbon_price))
