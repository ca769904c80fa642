"""On PostgreSQL, texts by which rows are found compare by code point, in any database."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context, op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TEXTS = {
    "jobs": {
        "id": 64,
        "name": 255,
        "queue": 255,
        "schedule_id": 64,
        "lease_token": 32,
        "worker": 255,
    },
    "schedules": {
        "id": 64,
        "name": 255,
        "job_name": 255,
        "queue": 255,
        "module": 255,
        "paused_by": 255,
    },
    "skips": {"schedule_id": 64},
    "notes": {"schedule_id": 64, "actor": 255},
    "declarations": {"process": 255},
}


def upgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    tables = context.config.attributes["tables"]
    for table, columns in TEXTS.items():
        for name, length in columns.items():
            op.alter_column(
                f"{tables.prefix}{table}",
                name,
                type_=sa.String(length, collation="C"),
                existing_type=sa.String(length),
                schema=tables.schema,
            )
