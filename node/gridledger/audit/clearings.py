"""Checks clearings: prices and fills are those of the one optimal auction, within every signed limit."""

from collections import Counter
from collections.abc import Mapping

from gridledger.audit.evidence import Evidence
from gridledger.audit.markets import Chunk, Market
from gridledger.audit.model import Rule, Slot, chunk_name, slot_name
from gridledger.audit.opening import Opened
from gridledger.errors import GridLedgerError
from gridledger.market.auction import AuctionResult, clear
from gridledger.market.book import auction_orders, listed_deals
from gridledger.market.locking import Deal

__all__ = ["check_clearings"]


def check_clearings(evidence: Evidence) -> None:
    """Recompute each auction from its sound book and compare prices, fills and deals with what was presented.

    A book without a complete clearing is reported once its MTU has begun, unless the market was halted in between.
    """
    for slot, market in sorted(evidence.history.markets.items()):
        for number, chunk in enumerate(market.chunks):
            _check_chunk(evidence, slot, market, chunk, number)
        if market.book is None:
            if market.chunks:
                evidence.findings.report(Rule.CLEARING, slot_name(slot), "a committed book", "none")
        elif market.cleared is None:
            _check_uncleared(evidence, slot, market.book.block_number)
        elif slot in evidence.auction_books and all(chunk.opened is not None for chunk in market.chunks):
            _check_result(evidence, slot, market)


def _check_uncleared(evidence: Evidence, slot: Slot, book_block: int) -> None:
    begun = next((block.number for block in evidence.history.blocks if block.time_s >= slot.mtu_start), None)
    if begun is None or evidence.history.members.halted_between(slot.zone, book_block, begun):
        return
    evidence.findings.compare(Rule.CLEARING, slot_name(slot), "a clearing before the MTU began", "no clearing")


def _check_chunk(evidence: Evidence, slot: Slot, market: Market, chunk: Chunk, number: int) -> None:
    """A chunk's event says what was presented; chunks follow each other at the same prices, in time."""
    findings, name, cleared = evidence.findings, chunk_name(slot, chunk.number), chunk.cleared
    first = market.chunks[0].call
    if chunk.call is None or chunk.opened is None or first is None:
        findings.report(Rule.CLEARING, f"{name}, call data", "a call of EnergyTrading.clear", None)
        return
    call = chunk.call
    expected = (number, call.last, call.any_price, call.low_carbon_price, len(chunk.opened.positions))
    found = (chunk.number, cleared.last, cleared.any_price, cleared.low_carbon_price, cleared.position_count)
    findings.compare(Rule.CLEARING, f"{name}, number, last, prices, positions", expected, found)
    of_first = (first.merged, first.any_price, first.low_carbon_price)
    of_chunk = (call.merged, call.any_price, call.low_carbon_price)
    findings.compare(Rule.CLEARING, f"{name}, one book or two, and prices, of all chunks", of_first, of_chunk)
    if cleared.last:
        nothing: tuple[int, dict[int, int]] = (len(market.chunks) - 1, {})
        going_on = (number, dict(chunk.opened.carried_wh))
        findings.compare(Rule.CLEARING, f"{name}, nothing goes on after the last chunk", nothing, going_on)
    deadline = evidence.history.rules.policy_at(slot.mtu_start).clearing_deadline(slot.mtu_start)
    moment = "in time" if cleared.time_s <= deadline else cleared.time_s
    findings.compare(Rule.CLEARING, f"{name}, cleared by {deadline}", "in time", moment)
    _check_traded(evidence, name, chunk, chunk.opened)
    _check_energy(evidence, name, chunk, chunk.opened)


def _check_traded(evidence: Evidence, name: str, chunk: Chunk, opened: Opened) -> None:
    """The EnergyTraded events are the trades that follow from the call data."""
    expected, found = opened.meter_trades, chunk.traded
    for index in range(max(len(expected), len(found))):
        trade = expected[index] if index < len(expected) else None
        event = found[index] if index < len(found) else None
        evidence.findings.compare(Rule.CLEARING, f"{name}, trade {index}", trade, event)


def _check_energy(evidence: Evidence, name: str, chunk: Chunk, opened: Opened) -> None:
    """Sold, bought and traded energy of a chunk agree."""
    sold = sum(position.quantity_wh for position in opened.positions if position.sells)
    bought = sum(position.quantity_wh for position in opened.positions if not position.sells)
    traded = sum(energy_wh for _, _, energy_wh in chunk.traded)
    cleared = chunk.cleared.traded_wh
    evidence.findings.compare(
        Rule.ENERGY, f"{name}, Wh sold, bought, traded", (cleared, cleared, cleared), (sold, bought, traded)
    )


def _check_result(evidence: Evidence, slot: Slot, market: Market) -> None:
    findings, name = evidence.findings, slot_name(slot)
    book = evidence.auction_books[slot]
    deals = listed_deals(book)
    try:
        result = _auction(evidence, slot, market, deals)
    except (GridLedgerError, LookupError) as error:
        findings.report(Rule.CLEARING, f"{name}, auction", "a book that can be cleared", error)
        return
    call = market.chunks[0].call
    assert call is not None  # its caller has seen to it
    expected = (result.merged, result.any.price_cents_per_mwh, result.low_carbon.price_cents_per_mwh)
    found = (call.merged, call.any_price, call.low_carbon_price)
    findings.compare(Rule.CLEARING, f"{name}, merged, price, low-carbon price", expected, found)
    fills: Counter[str] = Counter(result.fills_wh)
    for deal in deals:
        fills[deal.acceptance_uid] += deal.energy_wh
        fills[deal.offer_uid] += deal.energy_wh
    presented, accepted = _presented(evidence, market)
    _compare(evidence, f"{name}, fill in Wh", fills, presented)
    agreed = {deal.acceptance_uid: deal.offer_uid for deal in deals}
    _compare(evidence, f"{name}, accepted offer", agreed, accepted)


def _auction(evidence: Evidence, slot: Slot, market: Market, deals: tuple[Deal, ...]) -> AuctionResult:
    """The auction of a book at the published reference price."""
    prices = evidence.history.rules.prices_at(slot.mtu_start)
    reference = market.reference[0] if market.reference is not None else prices.retail
    orders = auction_orders(evidence.auction_books[slot], deals, evidence.history.members.meters, reference)
    return clear(orders, floor_cents_per_mwh=prices.floor, cap_cents_per_mwh=prices.cap)


def _presented(evidence: Evidence, market: Market) -> tuple[Mapping[str, int], Mapping[str, str]]:
    """Fills by uid over all chunks (Wh), and accepted offers by acceptance."""
    domain, meters = evidence.facts.order_domain, evidence.history.members.meters
    fills: Counter[str] = Counter()
    accepted: dict[str, str] = {}
    for call in (chunk.call for chunk in market.chunks if chunk.call is not None):
        uids = [item.uid(domain, meters[item.meter].owner) for item in call.orders]
        for uid, item in zip(uids, call.orders, strict=True):
            fills[uid] += item.fill_wh
        acceptances = [uid for uid, item in zip(uids, call.orders, strict=True) if item.is_acceptance]
        accepted |= zip(acceptances, (uids[offer] for offer in call.accepted_offers), strict=True)
    return fills, accepted


def _compare(evidence: Evidence, what: str, expected: Mapping[str, object], found: Mapping[str, object]) -> None:
    for uid in sorted(expected.keys() | found.keys()):
        record = f"{what}, {evidence.line_name(uid)}"
        evidence.findings.compare(Rule.CLEARING, record, expected.get(uid), found.get(uid))
