"""Register readings, and texts that contradict accepted ones."""

import sqlalchemy as sa
from alembic import op

revision = "0203"
down_revision = "0202"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema forward."""
    op.create_table(
        "register_reading",
        sa.Column("meter", sa.BigInteger(), nullable=False),
        sa.Column("taken_at", sa.BigInteger(), nullable=False),
        sa.Column("meter_id", sa.String(length=64), nullable=False),
        sa.Column("import_register_wh", sa.BigInteger(), nullable=False),
        sa.Column("export_register_wh", sa.BigInteger(), nullable=False),
        sa.Column("counter", sa.BigInteger(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("meter", "taken_at"),
    )
    op.create_table(
        "reading_dispute",
        sa.Column("meter", sa.BigInteger(), nullable=False),
        sa.Column("moment", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("meter", "moment", "number"),
    )


def downgrade() -> None:
    """Take the step back."""
    op.drop_table("reading_dispute")
    op.drop_table("register_reading")
