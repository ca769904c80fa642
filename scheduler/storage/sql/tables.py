"""The tables, as code sees them; migrations/ says how a database comes to have them.

Instants pass through one type: aware UTC in, aware UTC out, microseconds kept, naive refused.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
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

SCHEMA_REVISION = "0002"
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
    Column("origin", String(16), nullable=False),
    Column("previous_occurrence_at", UtcDateTime),
    Column("missed_before", Integer, nullable=False),
    Column("serial", Boolean, nullable=False),
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
    Column("catch_up_window", Seconds),
    Column("catch_up_max", Integer, nullable=False),
    Column("overlap", String(16), nullable=False),
    Column("jitter", Seconds, nullable=False),
    Column("module", String(255)),
    Column("declared", String(64)),
    Column("status", String(16), nullable=False),
    Column("error", Text),
    Column("paused_at", UtcDateTime),
    Column("paused_by", String(255)),
    Column("anchor_at", UtcDateTime, nullable=False),
    Column("rule_since", UtcDateTime, nullable=False),
    Column("cursor_at", UtcDateTime, nullable=False),
    Column("next_at", UtcDateTime),
    Column("materialised", Integer, nullable=False),
    Column("last_occurrence_at", UtcDateTime),
    Column("open_skip", _json()),
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
    Column("backfilled", Integer, nullable=False),
)

notes = Table(
    "notes",
    metadata,
    Column("schedule_id", Key(64), primary_key=True),
    Column("revision", Integer, primary_key=True, autoincrement=False),
    Column("at", UtcDateTime, nullable=False),
    Column("action", String(16), nullable=False),
    Column("actor", String(255)),
    Column("detail", _json(), nullable=False),
)

declarations = Table(
    "declarations",
    metadata,
    Column("process", Key(255), primary_key=True),
    Column("code", String(64), nullable=False),
    Column("since_at", UtcDateTime, nullable=False),
    Column("seen_at", UtcDateTime, nullable=False),
    Column("schedules", _json(), nullable=False),
)

_PENDING = text("status = 'pending'")
_PROCESSING = text("status = 'processing'")
_UNFINISHED = text("status IN ('pending', 'processing')")
_LIVE = text("status IN ('active', 'paused')")
_NOT_RUN_NOW = text("origin <> 'run_now'")

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
# Every occurrence at most one job; jobs without a schedule have NULLs, which are distinct. What
# was run by hand is outside the series, though its instant may be an occurrence of it.
Index(
    "jobs_occurrence",
    jobs.c.schedule_id,
    jobs.c.occurrence_at,
    unique=True,
    sqlite_where=_NOT_RUN_NOW,
    postgresql_where=_NOT_RUN_NOW,
)
# What of a schedule is unfinished: for overlap, and for the jobs that wait for an earlier one.
Index(
    "jobs_unfinished",
    jobs.c.schedule_id,
    jobs.c.occurrence_at,
    sqlite_where=_UNFINISHED,
    postgresql_where=_UNFINISHED,
)
Index(
    "schedules_due",
    schedules.c.next_at,
    sqlite_where=_LIVE,
    postgresql_where=_LIVE,
)
