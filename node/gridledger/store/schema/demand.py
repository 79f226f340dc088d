"""Demand response: events, who takes part, what was measured. All but the state of measuring is append-only."""

from sqlalchemy import JSON, BigInteger, Boolean, Column, Index, Integer, String, Table

from gridledger.store.schema.base import metadata

__all__ = [
    "demand_consent",
    "demand_event",
    "demand_measurement",
    "demand_participation",
    "demand_shift",
    "demand_state",
]

demand_event = Table(
    "demand_event",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("event_id", String(66), nullable=False, unique=True),
    Column("zone", BigInteger, nullable=False),
    Column("first_mtu_start", BigInteger, nullable=False),
    Column("mtu_count", Integer, nullable=False),
    Column("direction", Integer, nullable=False),
    Column("energy_wh", BigInteger, nullable=False),
    Column("reason", Integer, nullable=False),
    Column("salt", String(66), nullable=False),
    Column("signature", String(132), nullable=False),
    Column("working_highest", Integer, nullable=False),
    Column("working_days", Integer, nullable=False),
    Column("other_highest", Integer, nullable=False),
    Column("other_days", Integer, nullable=False),
    Column("look_back_days", Integer, nullable=False),
    Column("adjustment_bp", Integer, nullable=False),
    Column("civil_time", String(64), nullable=False),
    Column("holidays", JSON, nullable=False),
    Column("terms_signature", String(132), nullable=False),
    Column("ends_at", BigInteger, nullable=False, index=True),
    Column("received_at", BigInteger, nullable=False),
    Index("demand_event_by_zone", "zone", "first_mtu_start"),
)

demand_consent = Table(
    "demand_consent",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("meter", BigInteger, nullable=False),
    Column("account", String(42), nullable=False),
    Column("given", Boolean, nullable=False),
    Column("noted_at", BigInteger, nullable=False),
    Index("demand_consent_by_meter", "meter", "id"),
)

demand_participation = Table(
    "demand_participation",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("event_id", String(66), nullable=False),
    Column("meter", BigInteger),  # with the account: empty once the meter's owner is erased
    Column("account", String(42)),
    Column("joined", Boolean, nullable=False),
    Column("standing", Boolean, nullable=False),
    Column("noted_at", BigInteger, nullable=False),
    Index("demand_participation_by_event", "event_id", "meter", "id"),
    Index("demand_participation_by_meter", "meter", "id"),
)

demand_measurement = Table(
    "demand_measurement",
    metadata,
    Column("event_id", String(66), primary_key=True),
    Column("meter", BigInteger, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("days", JSON, nullable=False),
    Column("adjustment_bp", Integer, nullable=False),
    Column("anchors", BigInteger, nullable=False),
    Column("proofs", Integer, nullable=False),
    Column("measured_at", BigInteger, nullable=False),
    Index("demand_measurement_by_meter", "meter"),
)

demand_shift = Table(
    "demand_shift",
    metadata,
    Column("event_id", String(66), primary_key=True),
    Column("meter", BigInteger, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("mtu_start", BigInteger, primary_key=True),
    Column("baseline_import_wh", BigInteger),
    Column("net_import_wh", BigInteger),
    Column("energy_wh", BigInteger, nullable=False),
    Index("demand_shift_by_meter", "meter"),
)

demand_state = Table(
    "demand_state",
    metadata,
    Column("event_id", String(66), primary_key=True),
    Column("meter", BigInteger, primary_key=True),
    Column("anchors_seen", BigInteger, nullable=False),
    Column("proofs_seen", Integer, nullable=False),
)
