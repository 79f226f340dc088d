"""What the node's own OpenADR events tell of, how far subscriptions have been told, and the grid's emission factors."""

import sqlalchemy as sa
from alembic import op

revision = "0208"
down_revision = "0207"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema forward."""
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "openadr_origin",
        sa.Column("number", number, autoincrement=True, nullable=False),
        sa.Column("event_id", sa.String(length=128), nullable=False),
        sa.Column("about", sa.String(length=8), nullable=False),
        sa.Column("zone", sa.BigInteger(), nullable=False),
        sa.Column("mtu_start", sa.BigInteger(), nullable=False),
        sa.Column("meter", sa.BigInteger(), nullable=False),
        sa.Column("schedule_hash", sa.String(length=66), nullable=True),
        sa.Column("transaction_hash", sa.String(length=66), nullable=True),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("event_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("openadr_origin_by_slot", "openadr_origin", ["zone", "mtu_start", "about", "meter"])
    op.create_table(
        "openadr_delivery",
        sa.Column("subscription_id", sa.String(length=128), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("cursor", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("failing_since", sa.BigInteger(), nullable=True),
        sa.Column("next_attempt_at", sa.BigInteger(), nullable=False),
        sa.Column("disabled_at", sa.BigInteger(), nullable=True),
        sa.Column("last_error", sa.String(length=200), nullable=True),
        sa.PrimaryKeyConstraint("subscription_id", "position"),
    )
    op.create_index("dispatch_event_by_slot", "dispatch_event", ["zone", "mtu_start"])
    factors = op.create_table(
        "grid_factor",
        sa.Column("mtu_start", sa.BigInteger(), nullable=False),
        sa.Column("factor_mgco2_per_kwh", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("mtu_start"),
    )
    events = sa.table("chain_event", sa.column("name", sa.String), sa.column("arguments", sa.JSON))
    published = sa.select(events.c.arguments).where(events.c.name == "GridFactorPublished")
    known = [
        {"mtu_start": arguments["mtuStart"], "factor_mgco2_per_kwh": arguments["factorMgco2PerKwh"]}
        for arguments in op.get_bind().execute(published).scalars()
    ]
    if known:
        op.bulk_insert(factors, known)


def downgrade() -> None:
    """Take the step back."""
    op.drop_table("grid_factor")
    op.drop_index("dispatch_event_by_slot", "dispatch_event")
    op.drop_table("openadr_delivery")
    op.drop_table("openadr_origin")
