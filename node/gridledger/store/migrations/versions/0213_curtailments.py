"""Setpoints, caps and stops; what caps leave of positions and trades."""

import sqlalchemy as sa
from alembic import op

revision = "0213"
down_revision = "0212"
branch_labels = None
depends_on = None

_NO_HASH = "0x" + "0" * 64


def upgrade() -> None:
    """Bring the schema forward."""
    op.create_table(
        "dispatch_setpoint",
        sa.Column("zone", sa.BigInteger(), nullable=False),
        sa.Column("mtu_start", sa.BigInteger(), nullable=False),
        sa.Column("meter", sa.BigInteger(), nullable=False),
        sa.Column("contracted_wh", sa.BigInteger(), nullable=False),
        sa.Column("residual_wh", sa.BigInteger()),
        sa.Column("salt", sa.String(66)),
        sa.Column("leaf", sa.String(66)),
        sa.PrimaryKeyConstraint("zone", "mtu_start", "meter"),
    )
    op.create_table(
        "dispatch_cap",
        sa.Column("zone", sa.BigInteger(), nullable=False),
        sa.Column("mtu_start", sa.BigInteger(), nullable=False),
        sa.Column("meter", sa.BigInteger(), nullable=False),
        sa.Column("cap_wh", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("zone", "mtu_start", "meter"),
    )
    op.create_table(
        "source_factor",
        sa.Column("source", sa.Integer(), nullable=False),
        sa.Column("factor_mgco2_per_kwh", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("source"),
    )
    op.create_table(
        "zone_stop",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("zone", sa.BigInteger(), nullable=False),
        sa.Column("first_mtu_start", sa.BigInteger(), nullable=False),
        sa.Column("last_mtu_start", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Integer(), nullable=False),
        sa.Column("stopped_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("zone_stop_by_zone", "zone_stop", ["zone", "last_mtu_start"])
    with op.batch_alter_table("dispatch_schedule") as table:
        table.add_column(sa.Column("result_hash", sa.String(66), nullable=False, server_default=_NO_HASH))
        table.add_column(sa.Column("setpoints_root", sa.String(66), nullable=False, server_default=_NO_HASH))
        table.add_column(sa.Column("curtailments", sa.Integer(), nullable=False, server_default="0"))
        table.add_column(sa.Column("direction", sa.String(6)))
        table.add_column(sa.Column("applied_chunks", sa.Integer(), nullable=False, server_default="0"))
    with op.batch_alter_table("contract_position") as table:
        table.add_column(sa.Column("curtailed", sa.Boolean(), nullable=False, server_default=sa.false()))
    with op.batch_alter_table("contract_trade") as table:
        table.add_column(sa.Column("curtailed_wh", sa.BigInteger(), nullable=False, server_default="0"))
        table.add_column(sa.Column("is_kept", sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade() -> None:
    """Take the step back."""
    with op.batch_alter_table("contract_trade") as table:
        table.drop_column("is_kept")
        table.drop_column("curtailed_wh")
    with op.batch_alter_table("contract_position") as table:
        table.drop_column("curtailed")
    with op.batch_alter_table("dispatch_schedule") as table:
        for name in ("applied_chunks", "direction", "curtailments", "setpoints_root", "result_hash"):
            table.drop_column(name)
    op.drop_table("zone_stop")
    op.drop_table("source_factor")
    op.drop_table("dispatch_cap")
    op.drop_table("dispatch_setpoint")
