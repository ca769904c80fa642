"""The jobs' half of the interface in SQL: saving, reading, settlement; see also acquisition.py.

Each method is one verb, on a connection whose transaction SQLStorage opens and ends. Batches that
must know which rows they still hold lock those first, then write them in one go. What an attempt
leaves on record is written with its job.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import (
    Connection,
    Select,
    bindparam,
    func,
    insert,
    literal_column,
    select,
    update,
)

from scheduler import faults
from scheduler.errors import UnknownJobId
from scheduler.lifecycle import storable
from scheduler.model import Attempt, Job, JobStatus, Lease, Settlement
from scheduler.storage.base import proves
from scheduler.storage.sql.dialects import Database
from scheduler.storage.sql.dialects.on_conflict import OnConflict
from scheduler.storage.sql.driven import SETTLED, DrivenJobs, missed_too
from scheduler.storage.sql.driver import Within
from scheduler.storage.sql.parts import parts
from scheduler.storage.sql.rows import (
    JOB_COLUMNS,
    attempt_row,
    job_row,
    only,
    row_attempt,
    row_job,
    row_jobs,
)
from scheduler.storage.sql.tables import Tables
from scheduler.storage.sql.wanted import UNFINISHED


class JobVerbs:
    """The verbs of jobs, on the tables of one database."""

    def __init__(self, database: Database, tables: Tables) -> None:
        self._database = database
        self._jobs = jobs = tables.jobs
        self._attempts = tables.attempts
        # Literals, not parameters: a partial index serves only a predicate the planner can read.
        self._pending = jobs.c.status == literal_column("'pending'")
        self._processing = jobs.c.status == literal_column("'processing'")
        self.unfinished = jobs.c.status.in_(UNFINISHED)
        self._order = (jobs.c.priority, jobs.c.scheduled_at, jobs.c.id)
        self._columns = [jobs.c[name] for name in JOB_COLUMNS]
        # Executed with many rows: the keys of a row beyond the bound ones are what is SET.
        self._settle = update(jobs).where(
            jobs.c.id == bindparam("held_id"),
            jobs.c.lease_token == bindparam("held_token"),
            self._processing,
        )
        self.driven: DrivenJobs | None = None
        if isinstance(database, OnConflict):
            self.driven = DrivenJobs(database, jobs)

    # --- writing ---------------------------------------------------------------------------

    def save(self, connection: Connection, jobs: Sequence[Job]) -> None:
        # A connection of the caller's own may have another driver, or ours as asyncio has it: what
        # they take is not the same.
        dialect = connection.dialect
        is_ours = dialect.driver == self._database.url.get_driver_name() and not dialect.is_async
        if self.driven is not None and is_ours:
            self.driven.load(Within(connection), jobs)
        else:
            connection.execute(insert(self._jobs), [job_row(job) for job in jobs])
        self._database.announce(connection)
        faults.point("sql.save.written")

    def update(self, connection: Connection, job: Job) -> None:
        write = update(self._jobs).where(self._jobs.c.id == job.id).values(job_row(job))
        if connection.execute(write).rowcount == 0:
            raise UnknownJobId(job.id)

    def move(self, connection: Connection, job_id: str, move: Callable[[Job], Job]) -> Job:
        query = select(*self._columns).where(self._jobs.c.id == job_id)
        locked = self._database.locked(query, self._jobs)
        row = connection.execute(locked).mappings().one_or_none()
        if row is None:
            raise UnknownJobId(job_id)
        moved = move(row_job(row))
        self.update(connection, moved)
        if moved.status is JobStatus.PENDING:
            self._database.announce(connection)
        return moved

    # --- reading ---------------------------------------------------------------------------

    def get(self, connection: Connection, job_id: str) -> Job | None:
        found = self._select(connection, select(*self._columns).where(self._jobs.c.id == job_id))
        return found[0] if found else None

    def with_status(self, connection: Connection, status: JobStatus) -> list[Job]:
        query = select(*self._columns).where(self._jobs.c.status == status.value)
        return self._select(connection, query.order_by(*self._order))

    def with_priority(self, connection: Connection, priority: int) -> list[Job]:
        query = select(*self._columns).where(self._pending, self._jobs.c.priority == priority)
        return self._select(connection, query.order_by(*self._order))

    def scheduled(self, connection: Connection, start: datetime, end: datetime | None) -> list[Job]:
        at = self._jobs.c.scheduled_at
        query = select(*self._columns).where(self._pending, at >= start)
        if end is not None:
            query = query.where(at < end)
        return self._select(connection, query.order_by(at, self._jobs.c.id))

    def newest(
        self,
        connection: Connection,
        *,
        status: JobStatus | None,
        name: str | None,
        schedule_id: str | None,
        limit: int,
        before_id: str | None,
    ) -> list[Job]:
        jobs = self._jobs
        query = select(*self._columns).order_by(jobs.c.id.desc()).limit(max(0, limit))
        if status is not None:
            query = query.where(jobs.c.status == status.value)
        if name is not None:
            query = query.where(jobs.c.name == name)
        if schedule_id is not None:
            query = query.where(jobs.c.schedule_id == schedule_id)
        if before_id is not None:
            query = query.where(jobs.c.id < before_id)
        return self._select(connection, query)

    def count(self, connection: Connection) -> dict[JobStatus, int]:
        query = select(self._jobs.c.status, func.count()).group_by(self._jobs.c.status)
        counted = {JobStatus(status): count for status, count in connection.execute(query)}
        return {status: counted.get(status, 0) for status in JobStatus}

    def occurrences(
        self, connection: Connection, schedule_id: str, start: datetime, end: datetime
    ) -> list[Job]:
        at = self._jobs.c.occurrence_at
        of_schedule = self._jobs.c.schedule_id == schedule_id
        query = select(*self._columns).where(of_schedule, at >= start, at < end)
        return self._select(connection, query.order_by(at, self._jobs.c.id))

    def unfinished_of(self, connection: Connection, schedule_ids: Collection[str]) -> list[Job]:
        jobs = self._jobs
        order = (jobs.c.schedule_id, jobs.c.occurrence_at, jobs.c.id)
        unfinished = select(*self._columns).where(self.unfinished).order_by(*order)
        return [
            job
            for part in parts(schedule_ids)
            for job in self._select(connection, unfinished.where(jobs.c.schedule_id.in_(part)))
        ]

    def expired(self, connection: Connection, now: datetime, limit: int) -> list[Job]:
        until = self._jobs.c.lease_expires_at
        query = select(*self._columns).where(self._processing, until <= now)
        return self._select(connection, query.order_by(until, self._jobs.c.id).limit(max(0, limit)))

    def attempts(self, connection: Connection, job_ids: Collection[str]) -> list[Attempt]:
        attempts = self._attempts
        order = (attempts.c.job_id, attempts.c.started_at, attempts.c.number)
        query = select(attempts).order_by(*order)
        return [
            row_attempt(row)
            for part in parts(set(job_ids))
            for row in connection.execute(query.where(attempts.c.job_id.in_(part))).mappings()
        ]

    @staticmethod
    def _select(connection: Connection, query: Select[Any]) -> list[Job]:
        return row_jobs(connection.execute(query))

    # --- settlement ------------------------------------------------------------------------

    def settle(self, connection: Connection, settlements: Sequence[Settlement]) -> list[bool]:
        # A rescue passes over what is being written at this moment: its holder lives, or the
        # database will end the holder's transaction. Nobody waits for a machine that stands still.
        rescued = [each.expired_by is not None for each in settlements]
        are_twins = len({each.job.id for each in settlements}) < len(settlements)
        if self.driven is not None and not any(rescued) and not are_twins:
            held = self.driven.settle(Within(connection), settlements)
            held = missed_too(held, settlements, partial(self._settle_locked, connection))
        else:
            held = self._settle_locked(connection, settlements, skip=all(rescued))
        kept = [each for each, is_held in zip(settlements, held, strict=True) if is_held]
        attempts = [attempt_row(each.attempt) for each in kept if each.attempt is not None]
        if attempts:
            self._database.insert_or_replace(connection, self._attempts, attempts)
        if any(each.job.status is JobStatus.PENDING for each in kept):
            self._database.announce(connection)  # given back, it may start elsewhere at once
        faults.point("sql.settle.written")
        return held

    def _settle_locked(
        self, connection: Connection, settlements: Sequence[Settlement], *, skip: bool = False
    ) -> list[bool]:
        """The same in two steps, where a database needs them: lock the rows, then write those."""
        ids = [each.job.id for each in settlements]
        leases = self._lock_leases(connection, ids, skip=skip)
        held = [proves(each, leases.get(storable(each.job.id))) for each in settlements]
        rows = [
            {
                "held_id": each.job.id,
                "held_token": each.token,
                **only(job_row(each.job), (*SETTLED, "lease_token", "lease_expires_at")),
            }
            for each, is_held in zip(settlements, held, strict=True)
            if is_held
        ]
        if rows:
            connection.execute(self._settle, rows)
        return held

    def held(self, connection: Connection, tokens: Mapping[str, str]) -> set[str]:
        jobs = self._jobs
        leased = select(jobs.c.id, jobs.c.lease_token)
        return {
            row.id
            for part in parts(tokens)
            for row in connection.execute(leased.where(jobs.c.id.in_(part)))
            if row.lease_token is not None and row.lease_token == tokens.get(row.id)
        }

    def renew(
        self, connection: Connection, tokens: Mapping[str, str], expires_at: datetime
    ) -> set[str]:
        given = {storable(job_id): token for job_id, token in tokens.items()}
        leases = self._lock_leases(connection, given)
        held = {job_id for job_id, lease in leases.items() if lease.token == given[job_id]}
        renew = update(self._jobs).values(lease_expires_at=expires_at)
        for part in parts(held):
            connection.execute(renew.where(self._jobs.c.id.in_(part)))
        return held

    def _lock_leases(
        self, connection: Connection, ids: Collection[str], *, skip: bool = False
    ) -> dict[str, Lease]:
        """The leases of those of these jobs that are processing, by id; their rows are locked."""
        jobs = self._jobs
        columns = (jobs.c.id, jobs.c.lease_token, jobs.c.lease_expires_at)
        leased = select(*columns).where(self._processing).order_by(jobs.c.id)
        locked = self._database.locked(leased, jobs, skip=skip)
        return {
            row.id: Lease(row.lease_token, row.lease_expires_at)
            for part in parts(ids)
            for row in connection.execute(locked.where(jobs.c.id.in_(part)))
        }
