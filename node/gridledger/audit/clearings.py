"""Checks clearings: the price and trades are those of the one optimal auction, within every signed limit."""

from collections import Counter

from gridledger.audit.evidence import Evidence
from gridledger.audit.formats import OrderRow
from gridledger.audit.history import Cleared, Market
from gridledger.audit.model import Rule, Slot, slot_name
from gridledger.market.book import auction_orders
from gridledger.market.clearing import clear
from gridledger.market.model import Side

__all__ = ["check_clearings", "check_trade_limits", "check_trades"]


def check_clearings(evidence: Evidence) -> None:
    """Recompute each auction from its sound book and compare price and trades with the chain.

    A book without a clearing is reported once its MTU has begun, unless the market was halted in between.
    """
    for slot, market in sorted(evidence.history.markets.items()):
        if market.book is None:
            continue
        if market.cleared is None:
            _check_uncleared(evidence, slot, market.book.block_number)
        elif slot in evidence.auction_books:
            _check_clearing(evidence, slot, market, market.cleared)


def _check_uncleared(evidence: Evidence, slot: Slot, book_block: int) -> None:
    begun = next((block.number for block in evidence.history.blocks if block.time_s >= slot.mtu_start), None)
    if begun is None or evidence.history.members.halted_between(slot.zone, book_block, begun):
        return
    evidence.findings.compare(Rule.CLEARING, slot_name(slot), "a clearing before the MTU began", "no clearing")


def _check_clearing(evidence: Evidence, slot: Slot, market: Market, cleared: Cleared) -> None:
    findings, prices = evidence.findings, evidence.history.rules.prices_at(slot.mtu_start)
    auction = clear(
        auction_orders(evidence.auction_books[slot]), floor_cents_per_mwh=prices.floor, cap_cents_per_mwh=prices.cap
    )
    name = slot_name(slot)
    findings.compare(Rule.CLEARING, f"{name}, price", auction.price_cents_per_mwh, cleared.price_cents_per_mwh)
    findings.compare(Rule.CLEARING, f"{name}, traded Wh", auction.traded_wh, cleared.traded_wh)
    findings.compare(Rule.CLEARING, f"{name}, number of trades", len(auction.matches), cleared.trade_count)
    matches = [(match.sell_uid, match.buy_uid, match.energy_wh) for match in auction.matches]
    for index in range(max(len(matches), len(market.trades))):
        expected = matches[index] if index < len(matches) else None
        found = market.trades[index] if index < len(market.trades) else None
        findings.compare(Rule.CLEARING, f"{name}, trade {index}", expected, found)


def check_trade_limits(evidence: Evidence) -> None:
    """No trade exceeds what its two owners signed: side, limit, quantity, time, expiry, no cancellation."""
    for slot, market in sorted(evidence.history.markets.items()):
        if market.cleared is None:
            continue
        filled_wh: Counter[str] = Counter()
        for index, (sell_uid, buy_uid, energy_wh) in enumerate(market.trades):
            for uid, side in ((sell_uid, Side.SELL), (buy_uid, Side.BUY)):
                filled_wh[uid] += energy_wh
                record = f"{slot_name(slot)}, trade {index}, {side.name.lower()} order {uid}"
                broken = _broken_terms(evidence, slot, market.cleared, evidence.orders.get(uid), side, filled_wh[uid])
                evidence.findings.compare(Rule.TRADE_LIMIT, record, "within the signed terms", broken)


def _broken_terms(
    evidence: Evidence, slot: Slot, cleared: Cleared, order: OrderRow | None, side: Side, filled_wh: int
) -> str:
    """What the trade breaks, or that it breaks nothing."""
    if order is None:
        return "not in orders.csv"
    rules, limit, price = evidence.history.rules, order.limit_cents_per_mwh, cleared.price_cents_per_mwh
    prices = rules.prices_at(slot.mtu_start)
    zone = evidence.history.members.zone_of(order.meter)
    cancelled_at = evidence.history.cancelled_at.get((order.owner, order.uid), slot.mtu_start)
    terms = (
        ("side", order.side is side),
        ("zone", zone == slot.zone),
        ("first and last MTU", order.first_mtu_start <= slot.mtu_start <= order.last_mtu_start),
        ("expiry", order.expiry >= rules.gate_closure(slot.mtu_start)),
        ("limit", limit >= price if side is Side.BUY else limit <= price),
        ("floor and cap", prices.floor <= limit <= prices.cap),
        ("quantity", 0 < filled_wh <= order.quantity_wh),
        ("cancellation", order.uid not in evidence.cancelled),
        ("cancellation on chain", cancelled_at >= rules.gate_closure(slot.mtu_start)),
    )
    broken = [name for name, kept in terms if not kept]
    return f"breaks {', '.join(broken)}" if broken else "within the signed terms"


def check_trades(evidence: Evidence) -> None:
    """Exported trades are the chain's, in their order; bought, sold and cleared energy agree."""
    markets, findings = evidence.history.markets, evidence.findings
    cleared = {slot for slot, market in markets.items() if market.cleared is not None}
    for slot in sorted(cleared | evidence.trades.keys()):
        rows, events = evidence.trades.get(slot, []), markets[slot].trades if slot in cleared else []
        name = slot_name(slot)
        if len(rows) != len(events):
            findings.compare(Rule.TRADE, f"{name}, rows of trades.csv", len(events), len(rows))
        exported = {row.position: (row.sell_uid, row.buy_uid, row.energy_wh) for row in rows}
        for index in sorted(exported.keys() | set(range(len(events)))):
            expected = events[index] if index < len(events) else None
            findings.compare(Rule.TRADE, f"{name}, trade {index}", expected, exported.get(index))
        if slot in cleared:
            _check_energy(evidence, slot, markets[slot])


def _check_energy(evidence: Evidence, slot: Slot, market: Market) -> None:
    sold = sum(max(0, opened.contracted_wh) for opened in market.opened.values())
    bought = sum(max(0, -opened.contracted_wh) for opened in market.opened.values())
    traded = sum(energy_wh for _, _, energy_wh in market.trades)
    cleared = market.cleared.traded_wh if market.cleared is not None else 0
    evidence.findings.compare(
        Rule.ENERGY, f"{slot_name(slot)}, Wh sold, bought, traded", (cleared, cleared, cleared), (sold, bought, traded)
    )
