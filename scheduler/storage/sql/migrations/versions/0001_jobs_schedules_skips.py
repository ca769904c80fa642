"""Jobs, schedules and skips."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

PENDING = sa.text("status = 'pending'")
PROCESSING = sa.text("status = 'processing'")
ACTIVE = sa.text("status = 'active'")


def _instant(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def upgrade() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("data", sa.JSON, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        _instant("created_at"),
        _instant("scheduled_at"),
        _instant("started_at", nullable=True),
        _instant("completed_at", nullable=True),
        sa.Column("queue", sa.String(255), nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("max_retries", sa.Integer, nullable=False),
        sa.Column("retry_count", sa.Integer, nullable=False),
        sa.Column("timeout", sa.Float(53)),
        sa.Column("error", sa.Text),
        sa.Column("result", sa.JSON),
        sa.Column("repeat", sa.JSON),
        sa.Column("schedule_id", sa.String(64)),
        _instant("occurrence_at", nullable=True),
        sa.Column("sequence", sa.Integer),
        sa.Column("lease_token", sa.String(32)),
        _instant("lease_expires_at", nullable=True),
        sa.Column("worker", sa.String(255)),
    )
    _partial_index("jobs_pending", "jobs", ["priority", "scheduled_at", "id"], PENDING)
    _partial_index("jobs_pending_at", "jobs", ["scheduled_at"], PENDING)
    _partial_index("jobs_leased", "jobs", ["lease_expires_at"], PROCESSING)
    op.create_index("jobs_occurrence", "jobs", ["schedule_id", "occurrence_at"], unique=True)

    op.create_table(
        "schedules",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(255), nullable=False, unique=True),
        sa.Column("job_name", sa.String(255), nullable=False),
        sa.Column("rule", sa.JSON, nullable=False),
        sa.Column("timezone", sa.String(64), nullable=False),
        sa.Column("data", sa.JSON, nullable=False),
        sa.Column("queue", sa.String(255), nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("max_retries", sa.Integer, nullable=False),
        sa.Column("timeout", sa.Float(53)),
        sa.Column("catch_up", sa.String(16), nullable=False),
        sa.Column("grace", sa.Float(53), nullable=False),
        sa.Column("catch_up_max", sa.Integer, nullable=False),
        sa.Column("module", sa.String(255)),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("error", sa.Text),
        _instant("anchor_at"),
        _instant("cursor_at"),
        _instant("next_at", nullable=True),
        sa.Column("materialised", sa.Integer, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        _instant("created_at"),
        _instant("updated_at"),
    )
    _partial_index("schedules_due", "schedules", ["next_at"], ACTIVE)

    op.create_table(
        "skips",
        sa.Column("schedule_id", sa.String(64), primary_key=True),
        sa.Column("first_at", sa.DateTime(timezone=True), primary_key=True),
        _instant("last_at"),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("reason", sa.String(16), nullable=False),
        _instant("recorded_at"),
    )


def _partial_index(name: str, table: str, columns: list[str], where: sa.TextClause) -> None:
    op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)
