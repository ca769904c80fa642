"""The tables, as code sees them: one set of them for each database, prefix and schema.

A database that has none yet gets them from here; migrations/ bring older ones up to them. Where
a database has no partial indexes (MySQL), the status leads the index instead.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Computed,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    text,
)

from scheduler.storage.sql.types import Json, LongText, Seconds, ShortText, UtcDateTime

SCHEMA_REVISION = "0004"
"""The Alembic revision these tables are of; a test holds it against migrations/."""

VERSION_TABLE = "scheduler_schema"

_PARTIAL = ("sqlite", "postgresql", "mssql")
"""Databases that index a part of a table."""


@cache
def tables_of(dialect: str, *, prefix: str = "", schema: str | None = None) -> Tables:
    """The tables for SQLAlchemy's `dialect`, each name led by `prefix`, in `schema`.

    The same object for the same arguments, so that what is compiled for it is compiled once.
    """
    return Tables(dialect, prefix, schema)


class Tables:
    """jobs, attempts, flows, schedules and what belongs to them, version, and the indexes."""

    def __init__(self, dialect: str, prefix: str, schema: str | None) -> None:
        self._dialect = dialect
        self.prefix = prefix
        self.schema = schema
        self.metadata = MetaData(schema=schema)
        self.jobs = self._table(
            "jobs",
            Column("id", ShortText(64), primary_key=True),
            Column("name", ShortText(255), nullable=False),
            Column("data", Json, nullable=False),
            Column("status", String(16), nullable=False),
            Column("created_at", UtcDateTime, nullable=False),
            Column("scheduled_at", UtcDateTime, nullable=False),
            Column("started_at", UtcDateTime),
            Column("completed_at", UtcDateTime),
            Column("queue", ShortText(255), nullable=False),
            Column("priority", Integer, nullable=False),
            Column("max_retries", Integer, nullable=False),
            Column("retry_count", Integer, nullable=False),
            Column("timeout", Seconds),
            Column("error", LongText),
            Column("result", Json),
            Column("repeat", Json),
            Column("schedule_id", ShortText(64)),
            Column("occurrence_at", UtcDateTime),
            Column("sequence", Integer),
            Column("origin", String(16), nullable=False),
            Column("previous_occurrence_at", UtcDateTime),
            Column("missed_before", Integer, nullable=False),
            Column("serial", Boolean, nullable=False),
            Column("concurrency_key", ShortText(255)),
            Column("lease_token", ShortText(32)),
            Column("lease_expires_at", UtcDateTime),
            Column("worker", ShortText(255)),
        )
        self.schedules = self._table(
            "schedules",
            Column("id", ShortText(64), primary_key=True),
            Column("name", ShortText(255), nullable=False, unique=True),
            Column("job_name", ShortText(255), nullable=False),
            Column("rule", Json, nullable=False),
            Column("timezone", String(64), nullable=False),
            Column("data", Json, nullable=False),
            Column("queue", ShortText(255), nullable=False),
            Column("priority", Integer, nullable=False),
            Column("max_retries", Integer, nullable=False),
            Column("timeout", Seconds),
            Column("catch_up", String(16), nullable=False),
            Column("grace", Seconds, nullable=False),
            Column("catch_up_window", Seconds),
            Column("catch_up_max", Integer, nullable=False),
            Column("overlap", String(16), nullable=False),
            Column("jitter", Seconds, nullable=False),
            Column("concurrency_key", ShortText(255)),
            Column("module", ShortText(255)),
            Column("declared", String(64)),
            Column("status", String(16), nullable=False),
            Column("error", LongText),
            Column("paused_at", UtcDateTime),
            Column("paused_by", ShortText(255)),
            Column("anchor_at", UtcDateTime, nullable=False),
            Column("rule_since", UtcDateTime, nullable=False),
            Column("cursor_at", UtcDateTime, nullable=False),
            Column("next_at", UtcDateTime),
            Column("materialised", Integer, nullable=False),
            Column("last_occurrence_at", UtcDateTime),
            Column("open_skip", Json),
            Column("revision", Integer, nullable=False),
            Column("created_at", UtcDateTime, nullable=False),
            Column("updated_at", UtcDateTime, nullable=False),
        )
        self.skips = self._table(
            "skips",
            Column("schedule_id", ShortText(64), primary_key=True),
            Column("first_at", UtcDateTime, primary_key=True),
            Column("last_at", UtcDateTime, nullable=False),
            Column("count", Integer, nullable=False),
            Column("reason", String(16), nullable=False),
            Column("recorded_at", UtcDateTime, nullable=False),
            Column("backfilled", Integer, nullable=False),
        )
        self.notes = self._table(
            "notes",
            Column("schedule_id", ShortText(64), primary_key=True),
            Column("revision", Integer, primary_key=True, autoincrement=False),
            Column("at", UtcDateTime, nullable=False),
            Column("action", String(16), nullable=False),
            Column("actor", ShortText(255)),
            Column("detail", Json, nullable=False),
        )
        self.declarations = self._table(
            "declarations",
            Column("process", ShortText(255), primary_key=True),
            Column("code", String(64), nullable=False),
            Column("since_at", UtcDateTime, nullable=False),
            Column("seen_at", UtcDateTime, nullable=False),
            Column("schedules", Json, nullable=False),
        )
        self.attempts = self._table(
            "attempts",
            Column("job_id", ShortText(64), primary_key=True),
            Column("started_at", UtcDateTime, primary_key=True),
            Column("number", Integer, primary_key=True, autoincrement=False),
            Column("ended_at", UtcDateTime, nullable=False),
            Column("worker", ShortText(255)),
            Column("ending", String(16), nullable=False),
            Column("error", LongText),
            Column("traceback", LongText),
            Column("log", Json, nullable=False),
        )
        # A row for each that has a limit: who holds it alone says what of it may start.
        self.flows = self._table(
            "flows",
            Column("name", ShortText(255), primary_key=True),
            # '' for none; a key has a colon before it, and may be empty.
            Column("concurrency_key", ShortText(256), primary_key=True),
            Column("starts", Json, nullable=False),
            Column("last_at", UtcDateTime),  # the last of them
        )
        # SQL Server takes 900 bytes in the clustered index that a primary key else is, and 1,700
        # in one that is not: there a name and a key have 850 units of UTF-16 together.
        for table in (self.declarations, self.flows):
            table.primary_key.dialect_kwargs["mssql_clustered"] = False
        # Alembic's own, made here where the tables are.
        self.version = self._table(
            VERSION_TABLE, Column("version_num", String(32), primary_key=True)
        )
        self._index_jobs()
        self._index("schedules_due", self.schedules, "next_at", where="status", among=_LIVE)

    def _index_jobs(self) -> None:
        # What an executor asks for: the next due jobs, in order, of what is still pending.
        order = ("priority", "scheduled_at", "id")
        self._index("jobs_pending", self.jobs, *order, where="status", among=_PENDING)
        # When the next pending job is due, whatever its priority.
        self._index("jobs_pending_at", self.jobs, "scheduled_at", where="status", among=_PENDING)
        # Leases that ran out.
        leased = ("lease_expires_at",)
        self._index("jobs_leased", self.jobs, *leased, where="status", among=_PROCESSING)
        # What of a schedule is unfinished: for overlap, and for the jobs that wait for another.
        place = ("schedule_id", "occurrence_at")
        self._index("jobs_unfinished", self.jobs, *place, where="status", among=_UNFINISHED)
        self._index_occurrences()

    def _index_occurrences(self) -> None:
        """Every occurrence at most one job.

        Jobs without a schedule have NULLs, which are distinct. What was run by hand is outside
        the series, though its instant may be an occurrence of it.
        """
        jobs, name = self.jobs, f"{self.prefix}jobs_occurrence"
        if self._dialect not in _PARTIAL:
            taken = Computed("CASE WHEN origin <> 'run_now' THEN occurrence_at END")
            jobs.append_column(Column("taken_at", UtcDateTime, taken))
            Index(name, jobs.c.schedule_id, jobs.c.taken_at, unique=True)
            return
        where = "origin <> 'run_now'"
        if self._dialect == "mssql":  # whose unique indexes take NULLs for equal
            where += " AND schedule_id IS NOT NULL AND occurrence_at IS NOT NULL"
        partial: Any = {f"{self._dialect}_where": text(where)}
        Index(name, jobs.c.schedule_id, jobs.c.occurrence_at, unique=True, **partial)

    def _table(self, name: str, *columns: Column[Any]) -> Table:
        return Table(f"{self.prefix}{name}", self.metadata, *columns)

    def _index(
        self, name: str, table: Table, *columns: str, where: str, among: tuple[str, ...]
    ) -> None:
        """An index of the rows whose column `where` is one of `among`, ordered by `columns`."""
        named = f"{self.prefix}{name}"
        indexed = [table.c[column] for column in columns]
        if self._dialect not in _PARTIAL:
            Index(named, table.c[where], *indexed)
            return
        values = ", ".join(f"'{value}'" for value in among)
        condition = f"{where} = {values}" if len(among) == 1 else f"{where} IN ({values})"
        partial: Any = {f"{self._dialect}_where": text(condition)}
        Index(named, *indexed, **partial)


_PENDING = ("pending",)
_PROCESSING = ("processing",)
_UNFINISHED = ("pending", "processing")
_LIVE = ("active", "paused")
