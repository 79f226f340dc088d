"""Projections of the registry, the accounts and the rules."""

from sqlalchemy import JSON, BigInteger, Boolean, Column, Integer, String, Table

from gridledger.store.schema.base import WideInteger, metadata

__all__ = [
    "cash_account",
    "cash_debt",
    "feed_in_price",
    "grid_factor",
    "meter",
    "participant",
    "policy_version",
    "role_member",
    "supplier",
    "suspension",
    "zone",
]

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
    Column("transformer_meter", BigInteger),
    Column("loss_tolerance_bp", Integer),
)

role_member = Table(
    "role_member",
    metadata,
    Column("role", WideInteger, primary_key=True),
    Column("account", String(42), primary_key=True),
    Column("since", BigInteger, nullable=False),
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

grid_factor = Table(
    "grid_factor",
    metadata,
    Column("mtu_start", BigInteger, primary_key=True),
    Column("factor_mgco2_per_kwh", BigInteger, nullable=False),
)
