"""Run by Alembic inside `core.db.migrate.upgrade`, on its connection and in its transaction."""

from __future__ import annotations

from alembic import context

from core.db.tables import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, render_as_batch=True, compare_type=True,
                  transaction_per_migration=False)
context.run_migrations()
