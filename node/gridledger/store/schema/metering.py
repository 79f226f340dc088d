"""Readings as they were signed, the anchors that commit them, and what stands in for missing ones."""

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, String, Table

from gridledger.store.schema.base import metadata

__all__ = [
    "meter_event",
    "meter_reading",
    "partial_reading",
    "proven_reading",
    "reading_anchor",
    "reading_dispute",
    "register_reading",
    "substitute_reading",
]

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

meter_event = Table(
    "meter_event",
    metadata,
    Column("meter", BigInteger, primary_key=True),
    Column("happened_at", BigInteger, primary_key=True),
    Column("kind", Integer, nullable=False),
    Column("closing_serial", String(64), nullable=False),
    Column("opening_serial", String(64), nullable=False),
    Column("closing_import_wh", BigInteger, nullable=False),
    Column("closing_export_wh", BigInteger, nullable=False),
    Column("opening_import_wh", BigInteger, nullable=False),
    Column("opening_export_wh", BigInteger, nullable=False),
    Column("signature", String(132), nullable=False),
    Column("received_at", BigInteger, nullable=False),
)

partial_reading = Table(
    "partial_reading",
    metadata,
    Column("meter", BigInteger, primary_key=True),
    Column("interval_start", BigInteger, primary_key=True),
    Column("meter_id", String(64), nullable=False),
    Column("interval_s", Integer, nullable=False),
    Column("import_wh", BigInteger, nullable=False),
    Column("export_wh", BigInteger, nullable=False),
    Column("counter", BigInteger, nullable=False),
    Column("text", String, nullable=False),
    Column("received_at", BigInteger, nullable=False),
)

substitute_reading = Table(
    "substitute_reading",
    metadata,
    Column("meter", BigInteger, primary_key=True),
    Column("mtu_start", BigInteger, primary_key=True),
    Column("zone", BigInteger, nullable=False),
    Column("import_wh", BigInteger, nullable=False),
    Column("export_wh", BigInteger, nullable=False),
    Column("rule", String(32), nullable=False),
    Column("basis_before", BigInteger, nullable=False),
    Column("basis_after", BigInteger),
    Column("estimated_at", BigInteger, nullable=False),
    Index("substitute_reading_by_mtu", "zone", "mtu_start"),
)
