"""Alembic's entry: runs the migrations on the connection, and in the transaction, it is handed."""

from __future__ import annotations

from alembic import context

from scheduler.storage.sql.schema import VERSION_TABLE
from scheduler.storage.sql.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    transactional_ddl=True,
)
context.run_migrations()
