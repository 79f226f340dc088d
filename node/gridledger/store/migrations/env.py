"""Alembic environment: migrations run on the connection the node hands over."""

from alembic import context

from gridledger.store.schema import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=False)
context.run_migrations()
