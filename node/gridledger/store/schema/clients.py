"""What clients of the interface are told: dispatch, notices, sessions, webhooks."""

from sqlalchemy import JSON, BigInteger, Boolean, Column, Index, Integer, LargeBinary, String, Table, UniqueConstraint

from gridledger.store.schema.base import metadata

__all__ = ["dispatch_event", "dispatch_schedule", "notice", "sign_in_session", "webhook"]

dispatch_event = Table(
    "dispatch_event",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("zone", BigInteger, nullable=False),
    Column("mtu_start", BigInteger, nullable=False),
    Column("kind", String(12), nullable=False),
    Column("payload", JSON, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Index("dispatch_event_by_zone", "zone", "id"),
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
