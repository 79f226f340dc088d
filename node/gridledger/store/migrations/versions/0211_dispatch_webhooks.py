"""A grid operator's webhook for dispatch events, beside an account's webhook for its notices."""

import sqlalchemy as sa
from alembic import op

revision = "0211"
down_revision = "0209"
branch_labels = None
depends_on = None

_KEPT = (
    "id, owner, url, sealed_secret, cursor, created_at, failures, failing_since, next_attempt_at, disabled_at, "
    "last_error"
)


def upgrade() -> None:
    """Bring the schema forward; an account has one webhook for each feed."""
    op.rename_table("webhook", "webhook_before")
    _create_webhook(sa.Column("feed", sa.String(length=8), nullable=False), sa.UniqueConstraint("owner", "feed"))
    op.execute(f"INSERT INTO webhook ({_KEPT}, feed) SELECT {_KEPT}, 'notices' FROM webhook_before")  # noqa: S608
    op.drop_table("webhook_before")
    op.create_index("dispatch_event_by_zone", "dispatch_event", ["zone", "id"], unique=False)


def downgrade() -> None:
    """Take the step back; webhooks for dispatch events are forgotten."""
    op.drop_index("dispatch_event_by_zone", table_name="dispatch_event")
    op.rename_table("webhook", "webhook_after")
    _create_webhook(sa.UniqueConstraint("owner"))
    op.execute(f"INSERT INTO webhook ({_KEPT}) SELECT {_KEPT} FROM webhook_after WHERE feed = 'notices'")  # noqa: S608
    op.drop_table("webhook_after")


def _create_webhook(*more: sa.schema.SchemaItem) -> None:
    op.create_table(
        "webhook",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("owner", sa.String(length=42), nullable=False),
        sa.Column("url", sa.String(length=2048), nullable=False),
        sa.Column("sealed_secret", sa.LargeBinary(), nullable=False),
        sa.Column("cursor", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("failing_since", sa.BigInteger(), nullable=True),
        sa.Column("next_attempt_at", sa.BigInteger(), nullable=False),
        sa.Column("disabled_at", sa.BigInteger(), nullable=True),
        sa.Column("last_error", sa.String(length=200), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        *more,
        sqlite_autoincrement=True,
    )
