"""Readings as they were signed, and the anchors that commit them."""

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, String, Table

from gridledger.store.schema.base import metadata

__all__ = ["meter_reading", "proven_reading", "reading_anchor", "reading_dispute", "register_reading"]

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
    Column("anchor_sequence", BigInteger),
    Index("meter_reading_by_mtu", "zone", "mtu_start", "anchor_sequence"),
    Index("meter_reading_by_anchor", "anchor_sequence", "meter", "mtu_start"),
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
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("reading_count", Integer, nullable=False),
    Column("anchored", Boolean, nullable=False),
)

proven_reading = Table(
    "proven_reading",
    metadata,
    Column("meter", BigInteger, primary_key=True),
    Column("mtu_start", BigInteger, primary_key=True),
    Column("zone", BigInteger, nullable=False),
    Column("net_wh", BigInteger, nullable=False),
)
