"""Checks exported trades against those that follow from the clearing's call data, and what caps took off them."""

from gridledger.audit.evidence import Evidence
from gridledger.audit.markets import Chunk
from gridledger.audit.model import Rule, Slot, TradeKind, chunk_name, slot_name
from gridledger.audit.rows import TradeRow

__all__ = ["check_trades"]


def check_trades(evidence: Evidence) -> None:
    """Exported trades are the chain's, in their order."""
    markets, findings = evidence.history.markets, evidence.findings
    cleared = {slot for slot, market in markets.items() if market.chunks}
    for slot in sorted(cleared | evidence.trades.keys()):
        rows, name = evidence.trades.get(slot, []), slot_name(slot)
        chunks = markets[slot].chunks if slot in cleared else []
        expected = {(row.chunk, row.position): row for chunk in chunks for row in _rows(slot, chunk)}
        if len(rows) != len(expected):
            findings.compare(Rule.TRADE, f"{name}, rows of trades.csv", len(expected), len(rows))
        exported = {(row.chunk, row.position): row for row in rows}
        for key in sorted(expected.keys() | exported.keys()):
            record = f"{chunk_name(slot, key[0])}, trade {key[1]}"
            findings.compare(Rule.TRADE, record, expected.get(key), exported.get(key))


def _rows(slot: Slot, chunk: Chunk) -> list[TradeRow]:
    if chunk.opened is None:
        return []
    opened = chunk.opened
    return [
        TradeRow(
            zone=slot.zone,
            mtu_start=slot.mtu_start,
            chunk=chunk.number,
            position=index,
            kind=TradeKind.DEAL if index < len(opened.deals) else TradeKind.AUCTION,
            sell_meter=opened.positions[trade.sell].meter,
            buy_meter=opened.positions[trade.buy].meter,
            energy_wh=trade.energy_wh,
            price_cents_per_mwh=price,
            curtailed_wh=curtailed_wh,
        )
        for index, (trade, price, curtailed_wh) in enumerate(
            zip(opened.trades, opened.prices_cents_per_mwh, chunk.curtailed_wh(), strict=True)
        )
    ]
