"""Alembic's entry: runs the migrations on the connection, and in the transaction, it is handed."""

from __future__ import annotations

from alembic import context

given = context.config.attributes
context.configure(
    connection=given["connection"],
    target_metadata=given["tables"].metadata,
    version_table=given["tables"].version.name,
    version_table_schema=given["tables"].schema,
    transactional_ddl=True,
)
context.run_migrations()
