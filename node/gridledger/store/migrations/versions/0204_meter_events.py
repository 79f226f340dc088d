"""Meter events, parts of MTUs, and estimates that stand in for missing readings."""

import sqlalchemy as sa
from alembic import op

revision = "0204"
down_revision = "0203"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema forward."""
    op.create_table(
        "meter_event",
        sa.Column("meter", sa.BigInteger(), nullable=False),
        sa.Column("happened_at", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Integer(), nullable=False),
        sa.Column("closing_serial", sa.String(length=64), nullable=False),
        sa.Column("opening_serial", sa.String(length=64), nullable=False),
        sa.Column("closing_import_wh", sa.BigInteger(), nullable=False),
        sa.Column("closing_export_wh", sa.BigInteger(), nullable=False),
        sa.Column("opening_import_wh", sa.BigInteger(), nullable=False),
        sa.Column("opening_export_wh", sa.BigInteger(), nullable=False),
        sa.Column("signature", sa.String(length=132), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("meter", "happened_at"),
    )
    op.create_table(
        "partial_reading",
        sa.Column("meter", sa.BigInteger(), nullable=False),
        sa.Column("interval_start", sa.BigInteger(), nullable=False),
        sa.Column("meter_id", sa.String(length=64), nullable=False),
        sa.Column("interval_s", sa.Integer(), nullable=False),
        sa.Column("import_wh", sa.BigInteger(), nullable=False),
        sa.Column("export_wh", sa.BigInteger(), nullable=False),
        sa.Column("counter", sa.BigInteger(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("meter", "interval_start"),
    )
    op.create_table(
        "substitute_reading",
        sa.Column("meter", sa.BigInteger(), nullable=False),
        sa.Column("mtu_start", sa.BigInteger(), nullable=False),
        sa.Column("zone", sa.BigInteger(), nullable=False),
        sa.Column("import_wh", sa.BigInteger(), nullable=False),
        sa.Column("export_wh", sa.BigInteger(), nullable=False),
        sa.Column("rule", sa.String(length=32), nullable=False),
        sa.Column("basis_before", sa.BigInteger(), nullable=False),
        sa.Column("basis_after", sa.BigInteger(), nullable=True),
        sa.Column("estimated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("meter", "mtu_start"),
    )
    op.create_index("substitute_reading_by_mtu", "substitute_reading", ["zone", "mtu_start"])


def downgrade() -> None:
    """Take the step back."""
    op.drop_table("substitute_reading")
    op.drop_table("partial_reading")
    op.drop_table("meter_event")
