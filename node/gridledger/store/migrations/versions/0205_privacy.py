"""Roles as the access manager grants them, regulators' accesses to readings, erasures."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0205"
down_revision = "0204"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema forward; roles follow from the events that have been indexed."""
    roles = op.create_table(
        "role_member",
        sa.Column("role", sa.String(length=80), nullable=False),
        sa.Column("account", sa.String(length=42), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("role", "account"),
    )
    op.create_table(
        "reading_access",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("reader", sa.String(length=42), nullable=False),
        sa.Column("meter", sa.BigInteger(), nullable=True),
        sa.Column("from_s", sa.BigInteger(), nullable=True),
        sa.Column("to_s", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.String(length=300), nullable=True),
        sa.Column("accessed_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("reading_access_by_meter", "reading_access", ["meter", "id"], unique=False)
    op.create_table(
        "tombstone",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("account", sa.String(length=42), nullable=False),
        sa.Column("erasure", sa.JSON(), nullable=False),
        sa.Column("signature", sa.String(length=132), nullable=False),
        sa.Column("applied_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("signature"),
    )
    op.create_index(op.f("ix_tombstone_account"), "tombstone", ["account"], unique=False)
    op.create_table(
        "erased_reading",
        sa.Column("meter", sa.BigInteger(), nullable=False),
        sa.Column("mtu_start", sa.BigInteger(), nullable=False),
        sa.Column("zone", sa.BigInteger(), nullable=False),
        sa.Column("anchor_sequence", sa.BigInteger(), nullable=True),
        sa.Column("leaf", sa.LargeBinary(length=32), nullable=False),
        sa.Column("tombstone", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["tombstone"], ["tombstone.id"]),
        sa.PrimaryKeyConstraint("meter", "mtu_start"),
    )
    op.create_index("erased_reading_by_anchor", "erased_reading", ["anchor_sequence"], unique=False)
    op.create_index("erased_reading_by_mtu", "erased_reading", ["zone", "mtu_start"], unique=False)
    op.create_index(op.f("ix_erased_reading_tombstone"), "erased_reading", ["tombstone"], unique=False)
    if held := _role_members():
        op.bulk_insert(roles, held)


def _role_members() -> list[dict[str, object]]:
    """Who holds which role after all indexed events."""
    query = sa.text(
        "SELECT name, arguments FROM chain_event WHERE contract = 'MarketAccessManager'"
        " AND name IN ('RoleGranted', 'RoleRevoked') ORDER BY block_number, log_index"
    )
    held: dict[tuple[int, str], int] = {}
    for name, text in op.get_bind().execute(query):
        values = json.loads(text)
        key = (values["roleId"], values["account"])
        if name == "RoleRevoked":
            held.pop(key, None)
        elif values["newMember"]:
            held[key] = values["since"]
    return [{"role": str(role), "account": account, "since": since} for (role, account), since in held.items()]


def downgrade() -> None:
    """Take the step back."""
    op.drop_table("erased_reading")
    op.drop_table("tombstone")
    op.drop_table("reading_access")
    op.drop_table("role_member")
