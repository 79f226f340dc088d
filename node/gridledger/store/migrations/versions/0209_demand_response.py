"""Demand response: events, consents, participations and what was measured."""

import sqlalchemy as sa
from alembic import op

revision = "0209"
down_revision = "0208"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema forward."""
    key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "demand_event",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("event_id", sa.String(length=66), nullable=False),
        sa.Column("zone", sa.BigInteger(), nullable=False),
        sa.Column("first_mtu_start", sa.BigInteger(), nullable=False),
        sa.Column("mtu_count", sa.Integer(), nullable=False),
        sa.Column("direction", sa.Integer(), nullable=False),
        sa.Column("energy_wh", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Integer(), nullable=False),
        sa.Column("salt", sa.String(length=66), nullable=False),
        sa.Column("signature", sa.String(length=132), nullable=False),
        sa.Column("working_highest", sa.Integer(), nullable=False),
        sa.Column("working_days", sa.Integer(), nullable=False),
        sa.Column("other_highest", sa.Integer(), nullable=False),
        sa.Column("other_days", sa.Integer(), nullable=False),
        sa.Column("look_back_days", sa.Integer(), nullable=False),
        sa.Column("adjustment_bp", sa.Integer(), nullable=False),
        sa.Column("civil_time", sa.String(length=64), nullable=False),
        sa.Column("holidays", sa.JSON(), nullable=False),
        sa.Column("terms_signature", sa.String(length=132), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("event_id"),
    )
    op.create_index("demand_event_by_zone", "demand_event", ["zone", "first_mtu_start"])
    op.create_index("ix_demand_event_ends_at", "demand_event", ["ends_at"])
    op.create_table(
        "demand_consent",
        sa.Column("id", key, autoincrement=True, nullable=False),
        sa.Column("meter", sa.BigInteger(), nullable=False),
        sa.Column("account", sa.String(length=42), nullable=False),
        sa.Column("given", sa.Boolean(), nullable=False),
        sa.Column("noted_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("demand_consent_by_meter", "demand_consent", ["meter", "id"])
    op.create_table(
        "demand_participation",
        sa.Column("id", key, autoincrement=True, nullable=False),
        sa.Column("event_id", sa.String(length=66), nullable=False),
        sa.Column("meter", sa.BigInteger(), nullable=True),
        sa.Column("account", sa.String(length=42), nullable=True),
        sa.Column("joined", sa.Boolean(), nullable=False),
        sa.Column("standing", sa.Boolean(), nullable=False),
        sa.Column("noted_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("demand_participation_by_event", "demand_participation", ["event_id", "meter", "id"])
    op.create_index("demand_participation_by_meter", "demand_participation", ["meter", "id"])
    op.create_table(
        "demand_measurement",
        sa.Column("event_id", sa.String(length=66), nullable=False),
        sa.Column("meter", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("days", sa.JSON(), nullable=False),
        sa.Column("adjustment_bp", sa.Integer(), nullable=False),
        sa.Column("anchors", sa.BigInteger(), nullable=False),
        sa.Column("proofs", sa.Integer(), nullable=False),
        sa.Column("measured_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", "meter", "number"),
    )
    op.create_index("demand_measurement_by_meter", "demand_measurement", ["meter"])
    op.create_table(
        "demand_shift",
        sa.Column("event_id", sa.String(length=66), nullable=False),
        sa.Column("meter", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("mtu_start", sa.BigInteger(), nullable=False),
        sa.Column("baseline_import_wh", sa.BigInteger(), nullable=True),
        sa.Column("net_import_wh", sa.BigInteger(), nullable=True),
        sa.Column("energy_wh", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", "meter", "number", "mtu_start"),
    )
    op.create_index("demand_shift_by_meter", "demand_shift", ["meter"])
    op.create_table(
        "demand_state",
        sa.Column("event_id", sa.String(length=66), nullable=False),
        sa.Column("meter", sa.BigInteger(), nullable=False),
        sa.Column("anchors_seen", sa.BigInteger(), nullable=False),
        sa.Column("proofs_seen", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", "meter"),
    )


def downgrade() -> None:
    """Take the step back."""
    for table in (
        "demand_state",
        "demand_shift",
        "demand_measurement",
        "demand_participation",
        "demand_consent",
        "demand_event",
    ):
        op.drop_table(table)
