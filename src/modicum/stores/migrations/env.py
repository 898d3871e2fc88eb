"""How Alembic reaches the database: over the connection that `database.migrate` hands it."""

from __future__ import annotations

from alembic import context

from modicum.stores.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
