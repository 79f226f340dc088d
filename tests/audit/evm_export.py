"""What a node in miniature exports: rows by file, and the files themselves."""

import json
from collections import Counter
from dataclasses import asdict
from typing import Any

from eth_utils.address import to_checksum_address
from tests.audit.evm_node import EvmNode, Kept
from tests.audit.fakes import MemoryFiles
from tests.audit.recorded_evm import DEPLOYMENT_BLOCK
from tests.contracts.evm import compiled
from tests.contracts.words import CHAIN_ID

from gridledger.audit import formats
from gridledger.audit.formats import ROW_FILES, csv_line
from gridledger.audit.model import Slot, TradeKind
from gridledger.audit.rows import BookRow, PositionRow, TradeRow
from gridledger.chain.codec import keccak256
from gridledger.chain.deployment import Deployment
from gridledger.chain.market_config import MarketConfig
from gridledger.chain.plan import CONTRACTS
from gridledger.market.model import Side
from gridledger.market.settlement import imbalance_microcents, trade_microcents

__all__ = ["export"]


def export(node: EvmNode) -> MemoryFiles:
    """The export of a node, as files in memory."""
    files = MemoryFiles({})
    rows = _rows(node)
    for file in ROW_FILES:
        table = [
            [kind.write(getattr(row, column)) for column, kind in file.columns.items()]
            for row in rows.get(file.name, [])
        ]
        files.content[file.name] = "".join(csv_line(line) for line in [list(file.columns), *table]).encode()
    lines = (json.dumps(row._asdict(), separators=(",", ":")) + "\n" for row in node.market.journal)
    files.content[formats.BLOCKS] = "".join(lines).encode()
    files.content[formats.TOMBSTONES] = b""
    files.put_document(formats.MARKET, asdict(_market(node)))
    files.put_document(formats.DEPLOYMENT, asdict(_deployment(node)))
    head = node.market.journal[-1]
    names = sorted(files.content)
    files.put_document(
        formats.MANIFEST,
        {
            "format": formats.EXPORT_FORMAT,
            "format_version": formats.FORMAT_VERSION,
            "head": {"number": head.number, "block_hash": head.block_hash},
            "files": {name: {"rows": 1, "sha256": ""} for name in names},
        },
    )
    return files.seal()


def _market(node: EvmNode) -> MarketConfig:
    market = node.market
    accounts = {role.name.lower(): str(holder.account.address) for role, holder in market.holders.items()}
    suppliers = tuple(str(one.account.address) for one in (market.supplier, market.other_supplier))
    return MarketConfig(
        chain_id=CHAIN_ID,
        genesis_time_s=market.made[0].time_s,
        mtu_length_s=market.mtu_length_s,
        policy=market.policy,
        zones=market.parameters.zones,
        suppliers=suppliers,
        accounts={**accounts, "deployer": str(market.deployer.account.address), "supplier": suppliers[0]},
        source_factors=market.parameters.source_factors,
    )


def _deployment(node: EvmNode) -> Deployment:
    market, artifacts = node.market, compiled()
    return Deployment(
        chain_id=CHAIN_ID,
        genesis_hash=market.made[0].block_hash,
        block_number=DEPLOYMENT_BLOCK,
        deployer=str(market.deployer.account.address),
        addresses={name: str(to_checksum_address(market.at[name])) for name in CONTRACTS},
        code_hashes={name: "0x" + keccak256(node.chain.code(name)).hex() for name in CONTRACTS},
        compiler_version=artifacts.compiler_version,
        compiler_settings=artifacts.settings,
        source_sha256=artifacts.input_sha256,
    )


def _rows(node: EvmNode) -> dict[str, list[Any]]:
    """Rows by file."""
    slots = sorted(node.kept)
    return {
        **{f"{name}.csv": rows for name, rows in node.rows.items()},
        "books.csv": [row for slot in sorted(node.books) for row in _book_rows(node, slot)],
        "trades.csv": [row for slot in slots for row in _trade_rows(node, slot)],
        "positions.csv": [row for slot in slots for row in _position_rows(node, slot)],
        "setpoints.csv": [row for slot in sorted(node.setpoints) for row in node.setpoints[slot]],
    }


def _book_rows(node: EvmNode, slot: Slot) -> list[BookRow]:
    fills = node.fills.get(slot, Counter())
    return [
        BookRow(
            *slot,
            position=place,
            running_number=entry.running_number,
            uid=entry.uid,
            ineligible=entry.ineligible,
            filled_wh=fills[entry.uid],
        )
        for place, entry in enumerate(node.books[slot])
    ]


def _trade_rows(node: EvmNode, slot: Slot) -> list[TradeRow]:
    return [
        TradeRow(
            *slot,
            chunk=chunk,
            position=place,
            kind=TradeKind.DEAL if place < kept.deal_count else TradeKind.AUCTION,
            sell_meter=kept.positions[trade.sell].meter,
            buy_meter=kept.positions[trade.buy].meter,
            energy_wh=trade.energy_wh,
            price_cents_per_mwh=kept.trade_prices[place],
            curtailed_wh=kept.curtailed_wh[place] if kept.curtailed_wh else 0,
        )
        for chunk, kept in enumerate(node.kept[slot])
        for place, trade in enumerate(kept.trades)
    ]


def _position_rows(node: EvmNode, slot: Slot) -> list[PositionRow]:
    return [
        _position_row(node, slot, chunk, kept, place)
        for chunk, kept in enumerate(node.kept[slot])
        for place in range(len(kept.positions))
    ]


def _position_row(node: EvmNode, slot: Slot, chunk: int, kept: Kept, place: int) -> PositionRow:
    position, prices = kept.positions[place], node.prices(slot.mtu_start)
    paid = position.settled and place not in kept.refunded
    trade = trade_microcents(position, kept.any_price, kept.low_carbon_price)
    imbalance = imbalance_microcents(position, position.metered_wh, prices.surplus, prices.shortage)
    left_out = {"supplier_number", "capacity_w", "sells"}
    return PositionRow(
        **{name: value for name, value in vars(position).items() if name not in left_out},
        zone=slot.zone,
        mtu_start=slot.mtu_start,
        chunk=chunk,
        position=place,
        supplier=node.meters[position.meter].supplier,
        side=Side.SELL if position.sells else Side.BUY,
        refunded=place in kept.refunded,
        trade_microcents=trade if paid else None,
        imbalance_microcents=imbalance if paid else None,
    )
