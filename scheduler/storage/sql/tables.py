"""The tables, as code sees them; migrations/ says how a database comes to have them.

Instants pass through one type: aware UTC in, aware UTC out, microseconds kept, naive refused.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    DateTime,
    Dialect,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    text,
)
from sqlalchemy.types import TypeDecorator

from scheduler.errors import NaiveTime
from scheduler.lifecycle import storable

SCHEMA_REVISION = "0001"
"""The Alembic revision these tables are of; a test holds it against migrations/."""


class UtcDateTime(TypeDecorator[datetime]):
    """An instant. Stored as UTC: TIMESTAMPTZ on PostgreSQL, sortable text on SQLite."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise NaiveTime("instant", value)
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Key(TypeDecorator[str]):
    """Text by which rows are found. What no database holds, NUL say, is escaped: it finds none."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else storable(value)


class Seconds(TypeDecorator[timedelta]):
    """A duration, stored as seconds."""

    impl = Float(53)
    cache_ok = True

    def process_bind_param(self, value: timedelta | None, dialect: Dialect) -> float | None:
        return None if value is None else value.total_seconds()

    def process_result_value(self, value: float | None, dialect: Dialect) -> timedelta | None:
        return None if value is None else timedelta(seconds=value)


def _json() -> Any:
    # none_as_null: a Python None is SQL NULL. JSON and not JSONB: JSONB refuses \u0000.
    return JSON(none_as_null=True)


metadata = MetaData()

jobs = Table(
    "jobs",
    metadata,
    Column("id", Key(64), primary_key=True),
    Column("name", Key(255), nullable=False),
    Column("data", _json(), nullable=False),
    Column("status", String(16), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("scheduled_at", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime),
    Column("completed_at", UtcDateTime),
    Column("queue", Key(255), nullable=False),
    Column("priority", Integer, nullable=False),
    Column("max_retries", Integer, nullable=False),
    Column("retry_count", Integer, nullable=False),
    Column("timeout", Seconds),
    Column("error", Text),
    Column("result", _json()),
    Column("repeat", _json()),
    Column("schedule_id", Key(64)),
    Column("occurrence_at", UtcDateTime),
    Column("sequence", Integer),
    Column("lease_token", Key(32)),
    Column("lease_expires_at", UtcDateTime),
    Column("worker", String(255)),
)

schedules = Table(
    "schedules",
    metadata,
    Column("id", Key(64), primary_key=True),
    Column("name", Key(255), nullable=False, unique=True),
    Column("job_name", Key(255), nullable=False),
    Column("rule", _json(), nullable=False),
    Column("timezone", String(64), nullable=False),
    Column("data", _json(), nullable=False),
    Column("queue", Key(255), nullable=False),
    Column("priority", Integer, nullable=False),
    Column("max_retries", Integer, nullable=False),
    Column("timeout", Seconds),
    Column("catch_up", String(16), nullable=False),
    Column("grace", Seconds, nullable=False),
    Column("catch_up_max", Integer, nullable=False),
    Column("module", String(255)),
    Column("status", String(16), nullable=False),
    Column("error", Text),
    Column("anchor_at", UtcDateTime, nullable=False),
    Column("cursor_at", UtcDateTime, nullable=False),
    Column("next_at", UtcDateTime),
    Column("materialised", Integer, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
)

skips = Table(
    "skips",
    metadata,
    Column("schedule_id", Key(64), primary_key=True),
    Column("first_at", UtcDateTime, primary_key=True),
    Column("last_at", UtcDateTime, nullable=False),
    Column("count", Integer, nullable=False),
    Column("reason", String(16), nullable=False),
    Column("recorded_at", UtcDateTime, nullable=False),
)

_PENDING = text("status = 'pending'")
_PROCESSING = text("status = 'processing'")
_ACTIVE = text("status = 'active'")

# What an executor asks for: the next due jobs, in order, of what is still pending.
Index(
    "jobs_pending",
    jobs.c.priority,
    jobs.c.scheduled_at,
    jobs.c.id,
    sqlite_where=_PENDING,
    postgresql_where=_PENDING,
)
# When the next pending job is due, whatever its priority.
Index("jobs_pending_at", jobs.c.scheduled_at, sqlite_where=_PENDING, postgresql_where=_PENDING)
# Leases that ran out.
Index(
    "jobs_leased",
    jobs.c.lease_expires_at,
    sqlite_where=_PROCESSING,
    postgresql_where=_PROCESSING,
)
# Every occurrence at most one job; jobs without a schedule have NULLs, which are distinct.
Index("jobs_occurrence", jobs.c.schedule_id, jobs.c.occurrence_at, unique=True)
Index(
    "schedules_due",
    schedules.c.next_at,
    sqlite_where=_ACTIVE,
    postgresql_where=_ACTIVE,
)
