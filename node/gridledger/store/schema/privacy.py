"""Who has looked at readings by office, and what has been erased."""

from sqlalchemy import JSON, BigInteger, Column, ForeignKey, Index, Integer, LargeBinary, String, Table

from gridledger.store.schema.base import metadata

__all__ = ["erased_reading", "reading_access", "tombstone"]

reading_access = Table(
    "reading_access",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("reader", String(42), nullable=False),
    Column("meter", BigInteger),  # with the two times and the reason: empty once the meter's owner is erased
    Column("from_s", BigInteger),
    Column("to_s", BigInteger),
    Column("reason", String(300)),
    Column("accessed_at", BigInteger, nullable=False),
    Index("reading_access_by_meter", "meter", "id"),
    sqlite_autoincrement=True,  # an id is never used again, whatever is erased
)

tombstone = Table(
    "tombstone",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("account", String(42), nullable=False, index=True),
    Column("erasure", JSON, nullable=False),
    Column("signature", String(132), nullable=False, unique=True),
    Column("applied_at", BigInteger, nullable=False),
)

erased_reading = Table(
    "erased_reading",
    metadata,
    Column("meter", BigInteger, primary_key=True),
    Column("mtu_start", BigInteger, primary_key=True),
    Column("zone", BigInteger, nullable=False),
    Column("anchor_sequence", BigInteger),
    Column("leaf", LargeBinary(32), nullable=False),
    Column("tombstone", Integer, ForeignKey("tombstone.id"), nullable=False, index=True),
    Index("erased_reading_by_anchor", "anchor_sequence"),
    Index("erased_reading_by_mtu", "zone", "mtu_start"),
)
