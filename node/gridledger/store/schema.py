"""Tables of the node's one database. Facts are append-only; projections follow from the chain's events.

Columns end in their unit. Money and 64-bit unsigned numbers are stored as decimal text, so no value is ever rounded or
wrapped by a database's integer type.
"""

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
)
from sqlalchemy.types import TypeDecorator

__all__ = ["WideInteger", "metadata"]


class WideInteger(TypeDecorator[int]):
    """An integer of up to 256 bits, stored as decimal text."""

    impl = String(80)
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Integer to text."""
        return None if value is None else str(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> int | None:  # noqa: ARG002
        """Text to integer."""
        return None if value is None else int(value)


metadata = MetaData()

# ---- the node's own facts

node_fact = Table(
    "node_fact",
    metadata,
    Column("name", String(60), primary_key=True),
    Column("value", String, nullable=False),
)

market_order = Table(
    "market_order",
    metadata,
    Column("uid", String(66), primary_key=True),
    Column("running_number", BigInteger, nullable=False, unique=True),
    Column("owner", String(42), nullable=False),
    Column("client_id", String(64)),
    Column("meter", BigInteger, nullable=False),
    Column("zone", BigInteger, nullable=False),
    Column("side", Integer, nullable=False),
    Column("product", Integer, nullable=False),
    Column("pricing", Integer, nullable=False),
    Column("first_mtu_start", BigInteger, nullable=False),
    Column("last_mtu_start", BigInteger, nullable=False),
    Column("quantity_wh", BigInteger, nullable=False),
    Column("limit_cents_per_mwh", BigInteger, nullable=False),
    Column("expiry", WideInteger, nullable=False),
    Column("salt", WideInteger, nullable=False),
    Column("signature", String(132), nullable=False),
    Column("worst_case_microcents", WideInteger, nullable=False),
    Column("received_at", BigInteger, nullable=False),
    Column("receipt_block_hash", String(66), nullable=False),
    Column("receipt_signature", String(132), nullable=False),
    Column("state", String(12), nullable=False),
    Column("state_reason", String),
    Column("next_mtu_start", BigInteger, nullable=False),
    Column("final_mtu_start", BigInteger, nullable=False),
    UniqueConstraint("owner", "client_id"),
    Index("market_order_by_mtu", "zone", "next_mtu_start", "running_number"),
    Index("market_order_by_owner", "owner", "state"),
    Index("market_order_by_state", "state", "next_mtu_start", "zone"),
    Index("market_order_by_meter", "meter", "state", "final_mtu_start"),
)

market_acceptance = Table(
    "market_acceptance",
    metadata,
    Column("uid", String(66), primary_key=True),
    Column("running_number", BigInteger, nullable=False, unique=True),
    Column("owner", String(42), nullable=False),
    Column("meter", BigInteger, nullable=False),
    Column("zone", BigInteger, nullable=False),
    Column("offer_uid", String(66), ForeignKey("market_order.uid"), nullable=False),
    Column("mtu_start", BigInteger, nullable=False),
    Column("quantity_wh", BigInteger, nullable=False),
    Column("salt", BigInteger, nullable=False),
    Column("signature", String(132), nullable=False),
    Column("worst_case_microcents", WideInteger, nullable=False),
    Column("received_at", BigInteger, nullable=False),
    Column("receipt_block_hash", String(66), nullable=False),
    Column("receipt_signature", String(132), nullable=False),
    Column("state", String(12), nullable=False),
    Column("state_reason", String),
    Index("market_acceptance_by_mtu", "zone", "mtu_start", "running_number"),
    Index("market_acceptance_by_owner", "owner", "state"),
    Index("market_acceptance_by_meter", "meter", "mtu_start"),
    Index("market_acceptance_by_offer", "offer_uid", "mtu_start"),
)

order_cancellation = Table(
    "order_cancellation",
    metadata,
    Column("uid", String(66), ForeignKey("market_order.uid"), primary_key=True),
    Column("signature", String(132), nullable=False),
    Column("running_number", BigInteger, nullable=False, unique=True),
    Column("received_at", BigInteger, nullable=False),
    Column("receipt_block_hash", String(66), nullable=False),
    Column("receipt_signature", String(132), nullable=False),
    Column("receipt_digest", String(66), nullable=False),
)

bulk_cancellation = Table(
    "bulk_cancellation",
    metadata,
    Column("owner", String(42), primary_key=True),
    Column("salt", WideInteger, primary_key=True),
    Column("signature", String(132), nullable=False),
    Column("running_number", BigInteger, nullable=False, unique=True),
    Column("received_at", BigInteger, nullable=False),
    Column("receipt_block_hash", String(66), nullable=False),
    Column("receipt_signature", String(132), nullable=False),
    Column("receipt_digest", String(66), nullable=False),
)

cancelled_salt = Table(
    "cancelled_salt",
    metadata,
    Column("owner", String(42), primary_key=True),
    Column("salt", WideInteger, nullable=False),
)

posted_order = Table(
    "posted_order",
    metadata,
    Column("uid", String(66), primary_key=True),
    Column("owner", String(42), nullable=False),
    Column("terms", WideInteger, nullable=False),
    Column("guard", WideInteger, nullable=False),
    Column("signature", String(132), nullable=False),
    Column("posted_at", BigInteger, nullable=False),
    Column("taken", Boolean, nullable=False, default=False, index=True),
)

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
)

meter_reading = Table(
    "meter_reading",
    metadata,
    Column("meter", BigInteger, primary_key=True),
    Column("mtu_start", BigInteger, primary_key=True),
    Column("zone", BigInteger, nullable=False),
    Column("meter_id", String(64), nullable=False),
    Column("interval_s", Integer, nullable=False),
    Column("import_wh", BigInteger, nullable=False),
    Column("export_wh", BigInteger, nullable=False),
    Column("counter", BigInteger, nullable=False),
    Column("text", String, nullable=False),
    Column("salt", LargeBinary(32), nullable=False),
    Column("received_at", BigInteger, nullable=False),
    Column("anchor_sequence", Integer),
    Index("meter_reading_by_mtu", "zone", "mtu_start", "anchor_sequence"),
    Index("meter_reading_by_anchor", "anchor_sequence", "mtu_start", "zone"),
)

register_reading = Table(
    "register_reading",
    metadata,
    Column("meter", BigInteger, primary_key=True),
    Column("taken_at", BigInteger, primary_key=True),
    Column("meter_id", String(64), nullable=False),
    Column("import_register_wh", BigInteger, nullable=False),
    Column("export_register_wh", BigInteger, nullable=False),
    Column("counter", BigInteger, nullable=False),
    Column("text", String, nullable=False),
    Column("received_at", BigInteger, nullable=False),
)

reading_dispute = Table(
    "reading_dispute",
    metadata,
    Column("meter", BigInteger, primary_key=True),
    Column("moment", BigInteger, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("text", String, nullable=False),
    Column("received_at", BigInteger, nullable=False),
)

reading_anchor = Table(
    "reading_anchor",
    metadata,
    Column("zone", BigInteger, primary_key=True),
    Column("mtu_start", BigInteger, primary_key=True),
    Column("sequence", Integer, primary_key=True),
    Column("reading_count", Integer, nullable=False),
    Column("anchored", Boolean, nullable=False),
)

dispatch_event = Table(
    "dispatch_event",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("zone", BigInteger, nullable=False),
    Column("mtu_start", BigInteger, nullable=False),
    Column("kind", String(12), nullable=False),
    Column("payload", JSON, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

dispatch_schedule = Table(
    "dispatch_schedule",
    metadata,
    Column("zone", BigInteger, primary_key=True),
    Column("mtu_start", BigInteger, primary_key=True),
    Column("schedule_hash", String(66), nullable=False),
    Column("traded_wh", BigInteger, nullable=False),
    Column("answer_deadline", BigInteger, nullable=False),
    Column("state", String(12), nullable=False),
    Column("reason", Integer, nullable=False, default=0),
)

notice = Table(
    "notice",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("owner", String(42), nullable=False),
    Column("kind", String(12), nullable=False),
    Column("order_uid", String(66)),
    Column("zone", BigInteger),
    Column("mtu_start", BigInteger, nullable=False),
    Column("meter", BigInteger),
    Column("details", JSON, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Index("notice_by_owner", "owner", "id"),
    sqlite_autoincrement=True,  # an id is never used again, whatever is erased
)

sign_in_session = Table(
    "sign_in_session",
    metadata,
    Column("token_sha256", String(64), primary_key=True),
    Column("owner", String(42), nullable=False, index=True),
    Column("nonce", String(64), nullable=False, unique=True),
    Column("nonce_until", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("ended", Boolean, nullable=False, default=False),
)

webhook = Table(
    "webhook",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("owner", String(42), nullable=False, unique=True),
    Column("url", String(2048), nullable=False),
    Column("sealed_secret", LargeBinary, nullable=False),
    Column("cursor", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("failing_since", BigInteger),
    Column("next_attempt_at", BigInteger, nullable=False),
    Column("disabled_at", BigInteger),
    Column("last_error", String(200)),
    sqlite_autoincrement=True,  # a delivery under way must not be taken for one of a later webhook
)

# ---- the way to the chain and back

outbox = Table(
    "outbox",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("kind", String(40), nullable=False),
    Column("signer", String(42), nullable=False),
    Column("to_address", String(42), nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("zone", BigInteger),
    Column("mtu_start", BigInteger),
    Column("nonce", BigInteger),
    Column("raw", LargeBinary),
    Column("transaction_hash", String(66), unique=True),
    Column("state", String(10), nullable=False, index=True),
    Column("error", String),
    Column("block_number", BigInteger),
    Column("gas_used", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("signer", "nonce"),
)

chain_block = Table(
    "chain_block",
    metadata,
    Column("number", BigInteger, primary_key=True),
    Column("block_hash", String(66), nullable=False),
    Column("parent_hash", String(66), nullable=False),
    Column("time_s", BigInteger, nullable=False),
)

chain_event = Table(
    "chain_event",
    metadata,
    Column("block_number", BigInteger, ForeignKey("chain_block.number"), primary_key=True),
    Column("log_index", Integer, primary_key=True),
    Column("transaction_hash", String(66), nullable=False),
    Column("contract", String(40), nullable=False),
    Column("name", String(40), nullable=False),
    Column("arguments", JSON, nullable=False),
)

# ---- projections of the chain

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

supplier = Table(
    "supplier",
    metadata,
    Column("account", String(42), primary_key=True),
    Column("number", Integer, nullable=False, unique=True),
)

zone = Table(
    "zone",
    metadata,
    Column("zone", BigInteger, primary_key=True),
    Column("grid_operator", String(42), nullable=False),
    Column("halted", Boolean, nullable=False, default=False),
)

participant = Table(
    "participant",
    metadata,
    Column("account", String(42), primary_key=True),
    Column("supplier", String(42), nullable=False),
)

suspension = Table("suspension", metadata, Column("account", String(42), primary_key=True))

meter = Table(
    "meter",
    metadata,
    Column("meter", BigInteger, primary_key=True),
    Column("owner", String(42), nullable=False, index=True),
    Column("zone", BigInteger, nullable=False, index=True),
    Column("import_capacity_w", Integer, nullable=False),
    Column("export_capacity_w", Integer, nullable=False),
    Column("source", Integer, nullable=False),
    Column("device_key_x", String(66), nullable=False),
    Column("device_key_y", String(66), nullable=False),
)

cash_account = Table(
    "cash_account",
    metadata,
    Column("account", String(42), primary_key=True),
    Column("free_microcents", WideInteger, nullable=False),
    Column("credit_microcents", WideInteger, nullable=False),
    Column("withdrawal_microcents", WideInteger, nullable=False),
    Column("withdrawal_at", BigInteger, nullable=False),
    Column("cut_microcents", WideInteger, nullable=False),
    Column("cut_at", BigInteger, nullable=False),
)

cash_debt = Table(
    "cash_debt",
    metadata,
    Column("debtor", String(42), primary_key=True),
    Column("creditor", String(42), primary_key=True),
    Column("amount_microcents", WideInteger, nullable=False),
)

policy_version = Table(
    "policy_version",
    metadata,
    Column("version", Integer, primary_key=True),
    Column("effective_mtu_start", BigInteger, nullable=False),
    Column("policy", JSON, nullable=False),
)

feed_in_price = Table(
    "feed_in_price",
    metadata,
    Column("mtu_start", BigInteger, primary_key=True),
    Column("feed_in_cents_per_mwh", BigInteger, nullable=False),
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
