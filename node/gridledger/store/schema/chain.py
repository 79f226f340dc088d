"""The way to the chain and back, and the node's own facts."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    UniqueConstraint,
)

from gridledger.store.schema.base import metadata

__all__ = ["chain_block", "chain_event", "node_fact", "outbox"]

node_fact = Table(
    "node_fact",
    metadata,
    Column("name", String(60), primary_key=True),
    Column("value", String, nullable=False),
)

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
    Column("zone", BigInteger),  # with the MTU: what the event is about, if its arguments name both
    Column("mtu_start", BigInteger),
    Index("chain_event_by_slot", "zone", "mtu_start"),
    Index("chain_event_by_name", "name", "block_number"),
)
