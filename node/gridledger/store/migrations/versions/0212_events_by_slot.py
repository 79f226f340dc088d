"""Events by the zone and MTU they are about, and by name."""

import sqlalchemy as sa
from alembic import op

revision = "0212"
down_revision = "0211"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema forward; which zone and MTU an event is about follows from its arguments."""
    op.add_column("chain_event", sa.Column("zone", sa.BigInteger(), nullable=True))
    op.add_column("chain_event", sa.Column("mtu_start", sa.BigInteger(), nullable=True))
    op.execute(
        "UPDATE chain_event SET zone = json_extract(arguments, '$.zone'),"
        " mtu_start = json_extract(arguments, '$.mtuStart')"
        " WHERE json_extract(arguments, '$.zone') IS NOT NULL AND json_extract(arguments, '$.mtuStart') IS NOT NULL"
    )
    op.create_index("chain_event_by_slot", "chain_event", ["zone", "mtu_start"], unique=False)
    op.create_index("chain_event_by_name", "chain_event", ["name", "block_number"], unique=False)


def downgrade() -> None:
    """Take the step back."""
    op.drop_index("chain_event_by_name", table_name="chain_event")
    op.drop_index("chain_event_by_slot", table_name="chain_event")
    op.drop_column("chain_event", "mtu_start")
    op.drop_column("chain_event", "zone")
