"""Orders, acceptances and what takes them back: facts the node has given receipts for."""

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, String, Table, UniqueConstraint

from gridledger.store.schema.base import WideInteger, metadata, receipt_columns

__all__ = [
    "bulk_cancellation",
    "cancelled_salt",
    "market_acceptance",
    "market_order",
    "order_cancellation",
    "posted_order",
]

market_order = Table(
    "market_order",
    metadata,
    Column("uid", String(66), primary_key=True),
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
    *receipt_columns(),
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
    Column("owner", String(42), nullable=False),
    Column("meter", BigInteger, nullable=False),
    Column("zone", BigInteger, nullable=False),
    Column("offer_uid", String(66), ForeignKey("market_order.uid"), nullable=False),
    Column("mtu_start", BigInteger, nullable=False),
    Column("quantity_wh", BigInteger, nullable=False),
    Column("salt", BigInteger, nullable=False),
    Column("signature", String(132), nullable=False),
    Column("worst_case_microcents", WideInteger, nullable=False),
    *receipt_columns(),
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
    *receipt_columns(),
    Column("receipt_digest", String(66), nullable=False),
)

bulk_cancellation = Table(
    "bulk_cancellation",
    metadata,
    Column("owner", String(42), primary_key=True),
    Column("salt", WideInteger, primary_key=True),
    Column("signature", String(132), nullable=False),
    *receipt_columns(),
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
