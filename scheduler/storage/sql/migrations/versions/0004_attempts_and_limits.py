"""What is on record of each attempt, and how many jobs of a name or a key may run and start.

Types are those of tables.py: databases of any kind have come here. What is there already was made
by an upgrade that was cut off where the database could not undo it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context, op
from sqlalchemy.schema import SchemaItem

from scheduler.storage.sql.types import Json, LongText, ShortText, UtcDateTime

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    tables = context.config.attributes["tables"]
    for table in ("jobs", "schedules"):
        _add_column(f"{tables.prefix}{table}", sa.Column("concurrency_key", ShortText(255)))
    _create_table(
        f"{tables.prefix}attempts",
        sa.Column("job_id", ShortText(64), primary_key=True),
        sa.Column("started_at", UtcDateTime, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("ended_at", UtcDateTime, nullable=False),
        sa.Column("worker", ShortText(255)),
        sa.Column("ending", sa.String(16), nullable=False),
        sa.Column("error", LongText),
        sa.Column("traceback", LongText),
        sa.Column("log", Json, nullable=False),
    )
    _create_table(
        f"{tables.prefix}flows",
        sa.Column("name", ShortText(255), nullable=False),
        sa.Column("concurrency_key", ShortText(256), nullable=False),
        sa.Column("starts", Json, nullable=False),
        sa.Column("last_at", UtcDateTime),
        sa.PrimaryKeyConstraint("name", "concurrency_key", mssql_clustered=False),
    )


def _add_column(table: str, column: sa.Column[str]) -> None:
    schema = context.config.attributes["tables"].schema
    there = sa.inspect(op.get_bind()).get_columns(table, schema=schema)
    if column.name not in {each["name"] for each in there}:
        op.add_column(table, column, schema=schema)


def _create_table(name: str, *columns: SchemaItem) -> None:
    schema = context.config.attributes["tables"].schema
    if not sa.inspect(op.get_bind()).has_table(name, schema=schema):
        op.create_table(name, *columns, schema=schema)
