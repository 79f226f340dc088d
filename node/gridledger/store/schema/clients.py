"""What clients of the interface are told: dispatch, notices, sessions, webhooks."""

from sqlalchemy import JSON, BigInteger, Boolean, Column, Index, Integer, LargeBinary, String, Table, UniqueConstraint

from gridledger.store.schema.base import metadata

__all__ = [
    "dispatch_cap",
    "dispatch_event",
    "dispatch_schedule",
    "dispatch_setpoint",
    "notice",
    "sign_in_session",
    "source_factor",
    "webhook",
    "zone_stop",
]

dispatch_event = Table(
    "dispatch_event",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("zone", BigInteger, nullable=False),
    Column("mtu_start", BigInteger, nullable=False),
    Column("kind", String(12), nullable=False),
    Column("payload", JSON, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Index("dispatch_event_by_slot", "zone", "mtu_start"),
    Index("dispatch_event_by_zone", "zone", "id"),
)

dispatch_setpoint = Table(
    "dispatch_setpoint",
    metadata,
    Column("zone", BigInteger, primary_key=True),
    Column("mtu_start", BigInteger, primary_key=True),
    Column("meter", BigInteger, primary_key=True),
    Column("contracted_wh", BigInteger, nullable=False),
    Column("residual_wh", BigInteger),
    Column("salt", String(66)),
    Column("leaf", String(66)),  # only of an erased setpoint, in place of residual and salt
)

dispatch_cap = Table(
    "dispatch_cap",
    metadata,
    Column("zone", BigInteger, primary_key=True),
    Column("mtu_start", BigInteger, primary_key=True),
    Column("meter", BigInteger, primary_key=True),
    Column("cap_wh", BigInteger, nullable=False),
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
    Column("result_hash", String(66), nullable=False),
    Column("setpoints_root", String(66), nullable=False),
    Column("curtailments", Integer, nullable=False, default=0),
    Column("direction", String(6)),
    Column("applied_chunks", Integer, nullable=False, default=0),
)

source_factor = Table(
    "source_factor",
    metadata,
    Column("source", Integer, primary_key=True),
    Column("factor_mgco2_per_kwh", BigInteger, nullable=False),
)

zone_stop = Table(
    "zone_stop",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("zone", BigInteger, nullable=False),
    Column("first_mtu_start", BigInteger, nullable=False),
    Column("last_mtu_start", BigInteger, nullable=False),
    Column("reason", Integer, nullable=False),
    Column("stopped_at", BigInteger, nullable=False),
    Index("zone_stop_by_zone", "zone", "last_mtu_start"),
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
    Column("owner", String(42), nullable=False),
    Column("feed", String(8), nullable=False),
    Column("url", String(2048), nullable=False),
    Column("sealed_secret", LargeBinary, nullable=False),
    Column("cursor", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("failing_since", BigInteger),
    Column("next_attempt_at", BigInteger, nullable=False),
    Column("disabled_at", BigInteger),
    Column("last_error", String(200)),
    UniqueConstraint("owner", "feed"),
    sqlite_autoincrement=True,  # a delivery under way must not be taken for one of a later webhook
)
