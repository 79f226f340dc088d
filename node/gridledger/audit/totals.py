"""Totals of an audited run; names end in their unit."""

from gridledger.audit.evidence import ExportedRun
from gridledger.audit.history import History
from gridledger.audit.markets import Chunk
from gridledger.audit.presented import EntryKind
from gridledger.units import cost_microcents

__all__ = ["chain_totals", "file_totals"]


def file_totals(run: ExportedRun) -> dict[str, int]:
    """Totals every report has; those that only a chain can tell are zero here."""
    return {
        "orders": len(run.orders),
        "acceptances": len(run.acceptances),
        "readings": len(run.readings),
        "tombstones": len(run.tombstones),
        "erased_readings": sum(len(row.readings) for row in run.tombstones),
        "setpoints": len(run.setpoints),
        "unverifiable_settlements": 0,
        "unverifiable_setpoints": 0,
        "meters": len(run.meters),
        "blocks": 0,
        "cleared_mtus": 0,
        "curtailed_mtus": 0,
        "stopped_mtus": 0,
        "emergencies_out_of_order": 0,
        "trades": 0,
        "deals": 0,
        "traded_wh": 0,
        "curtailed_wh": 0,
        "curtailed_low_carbon_wh": 0,
        "compensated_microcents": 0,
        "trade_value_microcents": 0,
        "positions": 0,
        "settled_positions": 0,
        "refunded_positions": 0,
        "open_positions": 0,
        "substituted_positions": 0,
        "corrections": 0,
        "fees_microcents": 0,
        "debts_microcents": 0,
        "deposited_microcents": 0,
        "withdrawn_microcents": 0,
        "cash_sum_microcents": 0,
        "tokens_minted_ugco2": 0,
        "tokens_burned_ugco2": 0,
    }


def chain_totals(history: History) -> dict[str, int]:
    """Totals of what the chain has cleared, settled, paid and minted; substituted are those still on a substitute.

    Energy and value of trades are those of the clearings, before caps.
    """
    markets = history.markets.values()
    chunks = [chunk for market in markets for chunk in market.chunks]
    opened = [chunk.opened for chunk in chunks if chunk.opened is not None]
    positions = [position for chunk in chunks for position in chunk.positions]
    refunded = sum(len(chunk.closed(EntryKind.REFUNDED)) for chunk in chunks)
    entries = [entry for chunk in chunks for step in chunk.steps for entry in step.entries]
    closed = sum(position.settled for position in positions)
    tokens = history.tokens["LowCarbonToken"]
    sums = [step.expected for chunk in chunks for step in chunk.caps if step.expected is not None]
    stopped = sum(market.dispatch.is_stopped for market in markets)
    return {
        "blocks": len(history.blocks),
        "cleared_mtus": sum(market.cleared is not None for market in markets),
        "curtailed_mtus": sum(bool(one.dispatch.curtailments) and not one.dispatch.is_stopped for one in markets),
        "stopped_mtus": stopped,
        "trades": sum(len(chunk.traded) for chunk in chunks),
        "deals": sum(len(one.deals) for one in opened),
        "traded_wh": sum(energy_wh for chunk in chunks for _, _, energy_wh in chunk.traded),
        "curtailed_wh": sum(one.curtailed_wh for one in sums),
        "curtailed_low_carbon_wh": sum(one.low_carbon_wh for one in sums),
        "compensated_microcents": sum(one.compensated_microcents for one in sums),
        "trade_value_microcents": sum(
            cost_microcents(trade.energy_wh, price)
            for one in opened
            for trade, price in zip(one.trades, one.prices_cents_per_mwh, strict=True)
        ),
        "positions": len(positions),
        "settled_positions": closed - refunded,
        "refunded_positions": refunded,
        "open_positions": len(positions) - closed,
        "substituted_positions": sum(position.settled and position.substitute for position in positions) - refunded,
        "corrections": sum(entry.kind is EntryKind.CORRECTED for entry in entries),
        "fees_microcents": sum(_fees_microcents(chunk) for chunk in chunks),
        "debts_microcents": sum(history.cash.debts.values()),
        "deposited_microcents": history.cash.deposited_microcents,
        "withdrawn_microcents": history.cash.withdrawn_microcents,
        "tokens_minted_ugco2": tokens.minted,
        "tokens_burned_ugco2": tokens.burned,
    }


def _fees_microcents(chunk: Chunk) -> int:
    refunded = chunk.closed(EntryKind.REFUNDED)
    return sum(
        position.fee_microcents for position in chunk.positions if position.settled and position.meter not in refunded
    )
