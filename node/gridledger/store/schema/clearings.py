"""Books and clearings: what was listed, locked, traded and settled."""

from sqlalchemy import BigInteger, Boolean, Column, Integer, String, Table

from gridledger.store.schema.base import WideInteger, metadata

__all__ = ["bond_challenge", "book_entry", "carbon_reward", "contract_position", "contract_trade", "market_mtu"]

book_entry = Table(
    "book_entry",
    metadata,
    Column("zone", BigInteger, primary_key=True),
    Column("mtu_start", BigInteger, primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("running_number", BigInteger, nullable=False),
    Column("order_uid", String(66), nullable=False, index=True),
    Column("ineligible", String),
    Column("recording", String(8), nullable=False, default="none"),
    Column("filled_wh", BigInteger, nullable=False, default=0),
    Column("locked_wh", BigInteger, nullable=False, default=0),
)

market_mtu = Table(
    "market_mtu",
    metadata,
    Column("zone", BigInteger, primary_key=True),
    Column("mtu_start", BigInteger, primary_key=True),
    Column("phase", String(10), nullable=False, index=True),
    Column("book_hash", String(66), nullable=False),
    Column("order_count", Integer, nullable=False),
    Column("supply_wh", WideInteger, nullable=False),
    Column("demand_wh", WideInteger, nullable=False),
    Column("reference_price_cents_per_mwh", BigInteger),
    Column("price_cents_per_mwh", BigInteger),
    Column("low_carbon_price_cents_per_mwh", BigInteger),
    Column("traded_wh", BigInteger),
    Column("failure", String),
    Column("chunk_count", Integer, nullable=False, default=0),
    Column("cleared_chunks", Integer, nullable=False, default=0),
    Column("retry_at", BigInteger, nullable=False, default=0),
    Column("to_correct", Boolean, nullable=False, default=False, index=True),
)

contract_position = Table(
    "contract_position",
    metadata,
    Column("zone", BigInteger, primary_key=True),
    Column("mtu_start", BigInteger, primary_key=True),
    Column("chunk", Integer, primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("meter", BigInteger, nullable=False),
    Column("owner", String(42), nullable=False),
    Column("supplier", String(42), nullable=False),
    Column("supplier_number", Integer, nullable=False),
    Column("source", Integer, nullable=False),
    Column("sells", Boolean, nullable=False),
    Column("capacity_w", Integer, nullable=False),
    Column("auction_wh", BigInteger, nullable=False),
    Column("low_carbon_wh", BigInteger, nullable=False),
    Column("dealt_wh", BigInteger, nullable=False),
    Column("prior_wh", BigInteger, nullable=False, default=0),
    Column("continued", Boolean, nullable=False, default=False),
    Column("curtailed", Boolean, nullable=False, default=False),
    Column("fee_microcents", WideInteger, nullable=False),
    Column("locked_microcents", WideInteger, nullable=False),
    Column("deal_microcents", WideInteger, nullable=False),
    Column("settled", Boolean, nullable=False),
    Column("substitute", Boolean, nullable=False, default=False),
    Column("version", Integer, nullable=False, default=0),
    Column("metered_wh", BigInteger, nullable=False),
    Column("settlement_pending", Boolean, nullable=False, default=False),
    Column("trade_microcents", WideInteger),
    Column("imbalance_microcents", WideInteger),
    Column("refunded", Boolean, nullable=False, default=False),
)

contract_trade = Table(
    "contract_trade",
    metadata,
    Column("zone", BigInteger, primary_key=True),
    Column("mtu_start", BigInteger, primary_key=True),
    Column("chunk", Integer, primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("kind", String(8), nullable=False),
    Column("sell_position", Integer, nullable=False),
    Column("buy_position", Integer, nullable=False),
    Column("energy_wh", BigInteger, nullable=False),
    Column("price_cents_per_mwh", BigInteger, nullable=False),
    Column("curtailed_wh", BigInteger, nullable=False, default=0),
    Column("is_kept", Boolean, nullable=False, default=False),
)

bond_challenge = Table(
    "bond_challenge",
    metadata,
    Column("owner", String(42), primary_key=True),
    Column("zone", BigInteger, primary_key=True),
    Column("mtu_start", BigInteger, primary_key=True),
    Column("order_uid", String(66), nullable=False),
    Column("proof", Integer, nullable=False),
    Column("amount_microcents", WideInteger, nullable=False),
    Column("respond_by", BigInteger, nullable=False),
    Column("answered", Boolean, nullable=False, default=False),
)

carbon_reward = Table(
    "carbon_reward",
    metadata,
    Column("block_number", BigInteger, primary_key=True),
    Column("log_index", Integer, primary_key=True),
    Column("mtu_start", BigInteger, nullable=False, index=True),
    Column("holder", String(42), nullable=False, index=True),
    Column("amount_ugco2", WideInteger, nullable=False),
)
