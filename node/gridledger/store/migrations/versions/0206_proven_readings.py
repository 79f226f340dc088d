"""What devices have provably measured."""

import sqlalchemy as sa
from alembic import op

revision = "0206"
down_revision = "0205"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema forward."""
    op.create_table(
        "proven_reading",
        sa.Column("meter", sa.BigInteger(), nullable=False),
        sa.Column("mtu_start", sa.BigInteger(), nullable=False),
        sa.Column("zone", sa.BigInteger(), nullable=False),
        sa.Column("net_wh", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("meter", "mtu_start"),
    )


def downgrade() -> None:
    """Take the step back."""
    op.drop_table("proven_reading")
