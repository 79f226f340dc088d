"""Clients, objects and notifications of the OpenADR surface."""

import sqlalchemy as sa
from alembic import op

revision = "0207"
down_revision = "0206"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema forward."""
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "openadr_client",
        sa.Column("client_id", sa.String(length=128), nullable=False),
        sa.Column("role", sa.String(length=8), nullable=False),
        sa.Column("salt", sa.LargeBinary(), nullable=False),
        sa.Column("secret_scrypt", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("client_id"),
    )
    op.create_table(
        "openadr_object",
        sa.Column("number", number, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("kind", sa.String(length=12), nullable=False),
        sa.Column("client_id", sa.String(length=128), nullable=True),
        sa.Column("unique_name", sa.String(length=400), nullable=True),
        sa.Column("name", sa.String(length=128), nullable=True),
        sa.Column("client_name", sa.String(length=128), nullable=True),
        sa.Column("program_id", sa.String(length=128), nullable=True),
        sa.Column("event_id", sa.String(length=128), nullable=True),
        sa.Column("ven_id", sa.String(length=128), nullable=True),
        sa.Column("subscribed", sa.String(length=80), nullable=True),
        sa.Column("ends_at", sa.BigInteger(), nullable=True),
        sa.Column("content", sa.JSON(), nullable=False),
        sa.Column("sealed_tokens", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("modified_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("id"),
        sa.UniqueConstraint("kind", "unique_name"),
        sqlite_autoincrement=True,
    )
    for name, column in (("client", "client_id"), ("program", "program_id"), ("event", "event_id"), ("ven", "ven_id")):
        op.create_index(f"openadr_object_by_{name}", "openadr_object", ["kind", column], unique=False)
    op.create_table(
        "openadr_target",
        sa.Column("object_number", number, nullable=False),
        sa.Column("target", sa.String(length=128), nullable=False),
        sa.ForeignKeyConstraint(["object_number"], ["openadr_object.number"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("object_number", "target"),
    )
    op.create_index("openadr_target_by_target", "openadr_target", ["target"], unique=False)
    op.create_table(
        "openadr_notification",
        sa.Column("id", number, autoincrement=True, nullable=False),
        sa.Column("kind", sa.String(length=12), nullable=False),
        sa.Column("operation", sa.String(length=8), nullable=False),
        sa.Column("object_id", sa.String(length=128), nullable=False),
        sa.Column("client_id", sa.String(length=128), nullable=True),
        sa.Column("program_id", sa.String(length=128), nullable=True),
        sa.Column("object", sa.JSON(), nullable=False),
        sa.Column("targets", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )


def downgrade() -> None:
    """Take the step back."""
    for table in ("openadr_notification", "openadr_target", "openadr_object", "openadr_client"):
        op.drop_table(table)
