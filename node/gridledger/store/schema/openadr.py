"""The OpenADR surface: who may use it, its objects, and what is still to be told about them."""

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

__all__ = [
    "openadr_client",
    "openadr_delivery",
    "openadr_notification",
    "openadr_object",
    "openadr_origin",
    "openadr_target",
]

openadr_client = Table(
    "openadr_client",
    metadata,
    Column("client_id", String(128), primary_key=True),
    Column("role", String(8), nullable=False),
    Column("salt", LargeBinary, nullable=False),
    Column("secret_scrypt", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

openadr_object = Table(
    "openadr_object",
    metadata,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("id", String(128), nullable=False, unique=True),
    Column("kind", String(12), nullable=False),
    Column("client_id", String(128)),
    Column("unique_name", String(400)),
    Column("name", String(128)),
    Column("client_name", String(128)),
    Column("program_id", String(128)),
    Column("event_id", String(128)),
    Column("ven_id", String(128)),
    Column("subscribed", String(80)),
    Column("ends_at", BigInteger),
    Column("content", JSON, nullable=False),
    Column("sealed_tokens", LargeBinary),
    Column("created_at", BigInteger, nullable=False),
    Column("modified_at", BigInteger, nullable=False),
    UniqueConstraint("kind", "unique_name"),
    Index("openadr_object_by_client", "kind", "client_id"),
    Index("openadr_object_by_program", "kind", "program_id"),
    Index("openadr_object_by_event", "kind", "event_id"),
    Index("openadr_object_by_ven", "kind", "ven_id"),
    sqlite_autoincrement=True,  # paging goes by it, so a number is never used again
)

openadr_target = Table(
    "openadr_target",
    metadata,
    Column("object_number", ForeignKey("openadr_object.number", ondelete="CASCADE"), primary_key=True),
    Column("target", String(128), primary_key=True),
    Index("openadr_target_by_target", "target"),
)

openadr_notification = Table(
    "openadr_notification",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("kind", String(12), nullable=False),
    Column("operation", String(8), nullable=False),
    Column("object_id", String(128), nullable=False),
    Column("client_id", String(128)),
    Column("program_id", String(128)),
    Column("object", JSON, nullable=False),
    Column("targets", JSON, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    sqlite_autoincrement=True,  # receivers tell repetitions by the id
)

openadr_origin = Table(
    "openadr_origin",
    metadata,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("event_id", String(128), nullable=False, unique=True),
    Column("about", String(8), nullable=False),
    Column("zone", BigInteger, nullable=False),
    Column("mtu_start", BigInteger, nullable=False),
    Column("meter", BigInteger, nullable=False),
    Column("schedule_hash", String(66)),
    Column("transaction_hash", String(66)),
    Index("openadr_origin_by_slot", "zone", "mtu_start", "about", "meter"),
    sqlite_autoincrement=True,
)

openadr_delivery = Table(
    "openadr_delivery",
    metadata,
    Column("subscription_id", String(128), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("cursor", BigInteger, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("failing_since", BigInteger),
    Column("next_attempt_at", BigInteger, nullable=False),
    Column("disabled_at", BigInteger),
    Column("last_error", String(200)),
)
