"""SQLStorage: the interface in SQL.

Every verb is one transaction: those of jobs are written here, those of schedules in
schedules.py. Acquisition is one UPDATE over the first due rows, locked with SKIP LOCKED where
the database has row locks, and repeats the state predicate outside, so that a row is never
taken twice even where the lock is ignored. Batches that must know which rows they still hold
lock those first, then write them in one go.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Select,
    bindparam,
    delete,
    exists,
    func,
    insert,
    literal_column,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.exc import (
    DBAPIError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    ProgrammingError,
    StatementError,
)

from scheduler import clock, lifecycle
from scheduler.errors import (
    DuplicateJob,
    SchemaMismatch,
    StorageError,
    StorageUnavailable,
    UnknownJobId,
)
from scheduler.expansion import Expansion
from scheduler.model import (
    Declaration,
    Job,
    JobStatus,
    Note,
    Schedule,
    Settlement,
    Skip,
)
from scheduler.storage.base import DEFAULT_TTL, JobStorage, holds, new_token, or_clock
from scheduler.storage.sql import dialects, schedules, schema
from scheduler.storage.sql.rows import job_row, only, row_job
from scheduler.storage.sql.tables import jobs, metadata

# Literals, not parameters: a partial index serves only a predicate the planner can read.
_PENDING = jobs.c.status == literal_column("'pending'")
_PROCESSING = jobs.c.status == literal_column("'processing'")
_ACQUISITION_ORDER = (jobs.c.priority, jobs.c.scheduled_at, jobs.c.id)


class SQLStorage(JobStorage):
    """Jobs and schedules in the database behind an SQLAlchemy URL, SQLite or PostgreSQL.

    Nothing is connected until the first verb. Raises InvalidOption if the URL cannot be read
    or its driver is not installed.
    """

    def __init__(self, url: str) -> None:
        self._url = dialects.read_url(url)

    @cached_property
    def _engine(self) -> Engine:
        return dialects.connect(self._url)

    @cached_property
    def _reader(self) -> Engine:
        return dialects.reading(self._engine)

    @property
    def url(self) -> str:
        """The URL with its password hidden."""
        return self._url.render_as_string(hide_password=True)

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with self._translated(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with self._translated(), self._reader.connect() as connection:
            yield connection

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Database errors as ours: which store, what it said, and without the password."""
        try:
            yield
        except IntegrityError:
            raise
        except (ProgrammingError, OperationalError, InterfaceError) as error:
            if dialects.lacks_tables(error):
                raise SchemaMismatch(
                    f"database {self.url}: {_first_line(error)}; run: scheduler db upgrade"
                ) from error
            raise StorageUnavailable(f"database {self.url}: {_first_line(error)}") from error
        except StatementError as error:
            if not isinstance(error, DBAPIError):
                # Refused before it was sent, by a column's type: the reason itself says more.
                raise (error.orig or error) from None
            raise StorageError(f"database {self.url}: {_first_line(error)}") from error

    # --- jobs: one at a time ---------------------------------------------------------------

    def save_job(self, job: Job) -> None:
        self.save_jobs([job])

    def save_jobs(self, jobs_: Sequence[Job]) -> None:
        if not jobs_:
            return
        try:
            with self._writing() as connection:
                connection.execute(insert(jobs), [job_row(job) for job in jobs_])
        except IntegrityError as error:
            ids = ", ".join(job.id for job in jobs_[:3]) + (", …" if len(jobs_) > 3 else "")
            raise DuplicateJob(
                f"job {ids}: its id or its occurrence has a row already ({_first_line(error)})"
            ) from error

    def get_job(self, job_id: str) -> Job | None:
        found = self._select_jobs(select(jobs).where(jobs.c.id == job_id))
        return found[0] if found else None

    def update_job(self, job: Job) -> None:
        with self._writing() as connection:
            written = connection.execute(
                update(jobs).where(jobs.c.id == job.id).values(job_row(job))
            )
            if written.rowcount == 0:
                raise UnknownJobId(job.id)

    def complete_job(self, job_id: str, result: Any = None) -> None:
        self._move(job_id, lambda job: lifecycle.complete(job, result, now=clock.now()))

    def fail_job(self, job_id: str, error: str) -> None:
        self._move(job_id, lambda job: lifecycle.fail(job, error, now=clock.now()))

    def _move(self, job_id: str, move: Callable[[Job], Job]) -> None:
        with self._writing() as connection:
            row = connection.execute(
                select(jobs).where(jobs.c.id == job_id).with_for_update()
            ).mappings().one_or_none()  # fmt: skip
            if row is None:
                raise UnknownJobId(job_id)
            moved = move(row_job(row))
            connection.execute(update(jobs).where(jobs.c.id == job_id).values(job_row(moved)))

    # --- jobs: reading ---------------------------------------------------------------------

    def get_jobs_by_status(self, status: JobStatus) -> list[Job]:
        return self._select_jobs(
            select(jobs).where(jobs.c.status == status.value).order_by(*_ACQUISITION_ORDER)
        )

    def get_jobs_by_priority(self, priority: int) -> list[Job]:
        return self._select_jobs(
            select(jobs)
            .where(_PENDING, jobs.c.priority == priority)
            .order_by(jobs.c.scheduled_at, jobs.c.id)
        )

    def get_scheduled_jobs(self, start: datetime, end: datetime | None = None) -> list[Job]:
        query = select(jobs).where(_PENDING, jobs.c.scheduled_at >= start)
        if end is not None:
            query = query.where(jobs.c.scheduled_at < end)
        return self._select_jobs(query.order_by(jobs.c.scheduled_at, jobs.c.id))

    def list_jobs(
        self,
        *,
        status: JobStatus | None = None,
        name: str | None = None,
        schedule_id: str | None = None,
        limit: int = 100,
        before_id: str | None = None,
    ) -> list[Job]:
        query = select(jobs).order_by(jobs.c.id.desc()).limit(limit)
        if status is not None:
            query = query.where(jobs.c.status == status.value)
        if name is not None:
            query = query.where(jobs.c.name == name)
        if schedule_id is not None:
            query = query.where(jobs.c.schedule_id == schedule_id)
        if before_id is not None:
            query = query.where(jobs.c.id < before_id)
        return self._select_jobs(query)

    def count_jobs(self) -> dict[JobStatus, int]:
        query = select(jobs.c.status, func.count()).group_by(jobs.c.status)
        with self._reading() as connection:
            counted = {JobStatus(status): count for status, count in connection.execute(query)}
        return {status: counted.get(status, 0) for status in JobStatus}

    def next_job_at(
        self, *, handler_names: Collection[str] | None = None, queue: str | None = None
    ) -> datetime | None:
        query = (
            select(jobs.c.scheduled_at)
            .where(_PENDING, *_matching(handler_names, queue), _UNBLOCKED)
            .order_by(jobs.c.scheduled_at)
            .limit(1)
        )
        with self._reading() as connection:
            return connection.scalar(query)

    def _select_jobs(self, query: Select[Any]) -> list[Job]:
        with self._reading() as connection:
            return [row_job(row) for row in connection.execute(query).mappings()]

    # --- jobs: acquisition and settlement --------------------------------------------------

    def acquire_next_job(
        self,
        ttl: timedelta = DEFAULT_TTL,
        *,
        handler_names: Collection[str] | None = None,
        queue: str | None = None,
        worker: str = "",
        now: datetime | None = None,
    ) -> Job | None:
        acquired = self.acquire_next_jobs(
            1, handler_names=handler_names, queue=queue, ttl=ttl, worker=worker, now=now
        )
        return acquired[0] if acquired else None

    def acquire_next_jobs(
        self,
        n: int,
        *,
        handler_names: Collection[str] | None = None,
        queue: str | None = None,
        ttl: timedelta = DEFAULT_TTL,
        worker: str = "",
        now: datetime | None = None,
    ) -> list[Job]:
        at = or_clock(now)
        due = (
            select(jobs.c.id)
            .where(
                _PENDING,
                jobs.c.scheduled_at <= at,
                *_matching(handler_names, queue),
                _UNBLOCKED,
            )
            .order_by(*_ACQUISITION_ORDER)
            .limit(n)
            .with_for_update(skip_locked=True)
            .cte("due")
        )
        lease = (
            update(jobs)
            .where(jobs.c.id.in_(select(due.c.id)), _PENDING)
            .values(
                status=JobStatus.PROCESSING.value,
                started_at=at,
                completed_at=None,
                lease_token=new_token(),
                lease_expires_at=at + ttl,
                worker=worker,
            )
            .returning(*jobs.c)
        )
        with self._writing() as connection:
            acquired = [row_job(row) for row in connection.execute(lease).mappings()]
        # RETURNING promises no order.
        return sorted(acquired, key=lambda job: (job.priority, job.scheduled_at, job.id))

    def settle_jobs(self, settlements: Sequence[Settlement]) -> list[bool]:
        if not settlements:
            return []
        with self._writing() as connection:
            stored = self._lock_leased(connection, [each.job.id for each in settlements])
            held = [
                settlement.job.id in stored and holds(stored[settlement.job.id], settlement)
                for settlement in settlements
            ]
            rows = [
                {
                    "held_id": each.job.id,
                    "held_token": each.token,
                    **only(job_row(each.job), _SETTLED),
                }
                for each, is_held in zip(settlements, held, strict=True)
                if is_held
            ]
            if rows:
                connection.execute(_SETTLE, rows)
        return held

    def renew_leases(self, tokens: Mapping[str, str], *, expires_at: datetime) -> set[str]:
        if not tokens:
            return set()
        renew = (
            update(jobs)
            .where(_PROCESSING, tuple_(jobs.c.id, jobs.c.lease_token).in_(tokens.items()))
            .values(lease_expires_at=expires_at)
            .returning(jobs.c.id)
        )
        with self._writing() as connection:
            return set(connection.scalars(renew))

    def get_expired_jobs(self, now: datetime, *, limit: int = 100) -> list[Job]:
        return self._select_jobs(
            select(jobs)
            .where(_PROCESSING, jobs.c.lease_expires_at <= now)
            .order_by(jobs.c.lease_expires_at, jobs.c.id)
            .limit(limit)
        )

    @staticmethod
    def _lock_leased(connection: Connection, ids: Collection[str]) -> dict[str, Job]:
        query = select(jobs).where(_PROCESSING, jobs.c.id.in_(ids)).order_by(jobs.c.id)
        rows = connection.execute(query.with_for_update()).mappings()
        return {row["id"]: row_job(row) for row in rows}

    # --- schedules -------------------------------------------------------------------------

    def save_schedule(self, schedule: Schedule) -> None:
        with self._writing() as connection:
            schedules.save_schedule(connection, schedule)

    def get_schedule(self, name: str) -> Schedule | None:
        with self._reading() as connection:
            return schedules.get_schedule(connection, name)

    def list_schedules(self) -> list[Schedule]:
        with self._reading() as connection:
            return schedules.list_schedules(connection)

    def delete_schedule(self, name: str) -> bool:
        with self._writing() as connection:
            return schedules.delete_schedule(connection, name)

    def due_schedules(self, now: datetime, *, limit: int = 1000) -> list[Schedule]:
        with self._reading() as connection:
            return schedules.due_schedules(connection, now, limit=limit)

    def next_schedule_at(self) -> datetime | None:
        with self._reading() as connection:
            return schedules.next_schedule_at(connection)

    def record_expansions(self, expansions: Sequence[Expansion]) -> list[bool]:
        if not expansions:
            return []
        with self._writing() as connection:
            return schedules.record_expansions(connection, expansions)

    def list_skips(
        self, schedule_id: str, start: datetime | None = None, end: datetime | None = None
    ) -> list[Skip]:
        with self._reading() as connection:
            return schedules.list_skips(connection, schedule_id, start, end)

    def list_notes(self, schedule_id: str) -> list[Note]:
        with self._reading() as connection:
            return schedules.list_notes(connection, schedule_id)

    def get_occurrences(self, schedule_id: str, start: datetime, end: datetime) -> list[Job]:
        with self._reading() as connection:
            return schedules.get_occurrences(connection, schedule_id, start, end)

    def get_unfinished_jobs(self, schedule_ids: Collection[str]) -> list[Job]:
        if not schedule_ids:
            return []
        with self._reading() as connection:
            return schedules.get_unfinished_jobs(connection, schedule_ids)

    def save_declaration(self, declaration: Declaration) -> None:
        with self._writing() as connection:
            schedules.save_declaration(connection, declaration)

    def renew_declaration(self, process: str, *, seen_at: datetime) -> bool:
        with self._writing() as connection:
            return schedules.renew_declaration(connection, process, seen_at)

    def list_declarations(self, *, seen_since: datetime) -> list[Declaration]:
        with self._writing() as connection:
            return schedules.list_declarations(connection, seen_since)

    # --- the store itself ------------------------------------------------------------------

    def clear(self) -> None:
        with self._writing() as connection:
            for table in metadata.tables.values():
                connection.execute(delete(table))

    def prepare(self) -> None:
        """Create or upgrade the tables where the database is embedded; elsewhere check them."""
        if self._url.get_backend_name() == "sqlite":
            self.upgrade()
        else:
            self.check()

    def check(self) -> None:
        with self._reading() as connection:
            schema.check(connection)

    def upgrade(self) -> None:
        """Bring the tables to this version. Raises SchemaMismatch if they are newer."""
        with self._translated():
            schema.upgrade(self._engine)

    def current_revision(self) -> str | None:
        """The revision of the tables in the database; None if it has none."""
        with self._reading() as connection:
            return schema.current_revision(connection)

    def close(self) -> None:
        self._engine.dispose()


# Not only by `serial`: what precedes a job may be of a revision that let its jobs overlap.
_earlier = jobs.alias("earlier")
_UNBLOCKED = or_(
    ~jobs.c.serial,
    ~exists().where(
        _earlier.c.status.in_([literal_column("'pending'"), literal_column("'processing'")]),
        _earlier.c.schedule_id == jobs.c.schedule_id,
        _earlier.c.occurrence_at < jobs.c.occurrence_at,
        _earlier.c.sequence.is_not(None),
    ),
)


def _matching(
    handler_names: Collection[str] | None, queue: str | None
) -> Iterator[ColumnElement[bool]]:
    if handler_names is not None:
        yield jobs.c.name.in_(handler_names)
    if queue is not None:
        yield jobs.c.queue == queue


# Executed with many rows: the keys of a row beyond the bound ones are what is SET.
_SETTLED = (
    "status",
    "scheduled_at",
    "started_at",
    "completed_at",
    "retry_count",
    "error",
    "result",
    "lease_token",
    "lease_expires_at",
)
_SETTLE = update(jobs).where(
    jobs.c.id == bindparam("held_id"), jobs.c.lease_token == bindparam("held_token"), _PROCESSING
)


def _first_line(error: DBAPIError) -> str:
    lines = str(error.orig).strip().splitlines()
    return lines[0].strip() if lines else type(error.orig).__name__
