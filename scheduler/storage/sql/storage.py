"""SQLStorage: the interface in SQL.

Every verb is one transaction, opened and ended here; what it does is in jobs.py and schedules.py,
and what a database does in its own way in dialects/. A transaction that the database undid for
the sake of another is done again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime, timedelta
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet

from sqlalchemy import URL, Connection, Engine, delete, literal_column, select
from sqlalchemy.exc import (
    DBAPIError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    StatementError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

from scheduler import clock, faults, lifecycle
from scheduler.errors import (
    DuplicateJob,
    InvalidOption,
    SchemaMismatch,
    StaleSchedule,
    StorageError,
    StorageUnavailable,
)
from scheduler.expansion import Expansion
from scheduler.flow import Limit
from scheduler.model import (
    Attempt,
    Declaration,
    Job,
    JobStatus,
    Lease,
    Note,
    Schedule,
    Settlement,
    Skip,
)
from scheduler.retention import Pruned
from scheduler.storage.base import DEFAULT_TTL, check_ended, check_new, new_token, or_clock
from scheduler.storage.batches import BatchStorage
from scheduler.storage.sql import dialects, schema
from scheduler.storage.sql.acquisition import Acquisition
from scheduler.storage.sql.driven import missed_too
from scheduler.storage.sql.driver import Hand
from scheduler.storage.sql.jobs import JobVerbs
from scheduler.storage.sql.parts import slices
from scheduler.storage.sql.pruning import Pruning
from scheduler.storage.sql.restoring import Restorer
from scheduler.storage.sql.schedules import ScheduleVerbs
from scheduler.storage.sql.tables import tables_of
from scheduler.storage.sql.types import UtcDateTime
from scheduler.storage.sql.wanted import Wanted

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

T = TypeVar("T")

_PAUSES = (0.005, 0.02, 0.08, 0.3, 1.0)
"""Seconds before a transaction that was undone for another is tried again."""


_EACH = "AUTOCOMMIT"

_ENGINES: WeakSet[Engine] = WeakSet()


def _let_go() -> None:
    """In a forked child: leave the connections to the parent, who still talks through them."""
    for engine in _ENGINES:
        engine.dispose(close=False)


os.register_at_fork(after_in_child=_let_go)


class _Undone(StorageUnavailable):
    """The database undid the transaction for the sake of another."""


class SQLStorage(BatchStorage):
    """Jobs and schedules in the database behind an SQLAlchemy URL.

    The URL may say `?schema=…` and `?table_prefix=…`, where the tables are; for PostgreSQL also
    `?notify=off`, to announce no jobs, and `?pooler=on`, where a pooler such as PgBouncer lends
    out connections by the transaction: nothing is then prepared or listened to. Nothing is
    connected until the first verb. Raises InvalidOption if the URL cannot be read or its driver
    is not installed.
    """

    def __init__(self, url: str) -> None:
        self._database = dialects.database_of(url)
        options = self._database.options
        self._tables = tables_of(
            self._database.name, prefix=options.table_prefix, schema=options.schema
        )
        self._jobs = JobVerbs(self._database, self._tables)
        self._acquisition = Acquisition(self._database, self._tables)
        self._pruning = Pruning(self._database, self._tables)
        self._schedules = ScheduleVerbs(self._database, self._tables)
        self._restorer = Restorer(self._tables)

    @cached_property
    def _engine(self) -> Engine:
        engine = dialects.connect(self._database)
        _ENGINES.add(engine)
        return engine

    @cached_property
    def _reader(self) -> Engine:
        return self._database.reading(self._engine)

    @cached_property
    def _lending(self) -> Engine:
        engine = self._database.lending(self._engine)
        _ENGINES.add(engine)
        return engine

    @property
    def url(self) -> str:
        """The URL with its passwords hidden."""
        return dialects.shown(self._database.url)

    def _write(self, work: Callable[[Connection], T]) -> T:
        """What `work` returns, in a transaction of its own that is committed."""

        def once() -> T:
            with self._translated(), self._engine.begin() as connection:
                return work(connection)

        return self._persist(once)

    @staticmethod
    def _persist(once: Callable[[], T]) -> T:
        """What `once` returns; it is done again where it was undone for the sake of another."""
        for pause in _PAUSES:
            try:
                return once()
            except _Undone:
                time.sleep(pause)
        return once()

    def _alone(self, work: Callable[[Hand], T]) -> T:
        """What `work` returns, which is one statement that is a transaction of its own."""

        def once() -> T:
            with self._translated(), self._database.alone(self._engine) as hand:
                return work(hand)

        return self._persist(once)

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with self._translated(), self._reader.connect() as connection:
            yield connection

    @contextmanager
    def _translated(self, *, where: str = "", is_upgrade: bool = False) -> Iterator[None]:
        """Database errors as ours: which store, what it said, and without the password."""
        try:
            yield
        except IntegrityError:
            raise
        except DBAPIError as error:
            raise self._as_ours(error, where or self.url, is_upgrade=is_upgrade) from error
        except PoolTimeout as error:
            raise StorageUnavailable(f"database {self.url}: {error}") from error
        except StatementError as error:
            # Refused before it was sent, by a column's type: the reason itself says more.
            raise (error.orig or error) from None

    def _as_ours(self, error: DBAPIError, where: str, *, is_upgrade: bool) -> StorageError:
        said = f"database {where}: {_first_line(error)}"
        if self._database.is_conflict(error):
            return _Undone(said)
        if self._database.lacks_tables(error) and not is_upgrade:
            return SchemaMismatch(f"{said}; run: scheduler db upgrade")
        if isinstance(error, OperationalError | InterfaceError):
            return StorageUnavailable(said)
        return StorageError(said)

    # --- jobs: one at a time ---------------------------------------------------------------

    def save_jobs(self, jobs: Sequence[Job]) -> None:
        if jobs:
            with _refusing_twins(_ids(jobs)):
                driven = self._jobs.driven
                if driven is not None and len(jobs) == 1:
                    self._alone(lambda hand: driven.save_one(hand, jobs[0]))
                else:
                    self._write(lambda connection: self._jobs.save(connection, jobs))
                faults.point("sql.save.committed")

    def save_jobs_in(self, connection: Connection | Session, jobs: Sequence[Job]) -> None:
        given = self._shared(connection)
        if jobs:
            where = dialects.shown(given.engine.url)
            with (
                _refusing_twins(_ids(jobs)),
                self._translated(where=where),
                self._database.whole(given),
            ):
                self._jobs.save(given, jobs)

    def _shared(self, connection: object) -> Connection:
        """The caller's `connection`, which is one, in a transaction, and to this database."""
        from sqlalchemy.orm import Session

        if isinstance(connection, Session):
            connection = connection.connection()
        if not isinstance(connection, Connection):
            reason = "is not an SQLAlchemy connection or session"
            raise InvalidOption("connection", type(connection).__name__, reason)
        ours, theirs = self._database, connection.engine.url
        if connection.dialect.name not in (ours.name, _alias(ours.name)):
            kind = connection.dialect.name
            raise InvalidOption("connection", kind, f"is not of this store's {ours.name}")
        if _database_name(theirs) != _database_name(ours.url):
            reason = f"is not of this store's database {ours.url.database}"
            raise InvalidOption("connection", theirs.database or "", reason)
        level = connection.get_execution_options().get("isolation_level")
        if (level or getattr(connection.dialect, "_on_connect_isolation_level", None)) == _EACH:
            reason = "commits each statement by itself, and shares no transaction"
            raise InvalidOption("connection", _EACH, reason)
        return connection

    def get_job(self, job_id: str) -> Job | None:
        with self._reading() as connection:
            return self._jobs.get(connection, job_id)

    def update_job(self, job: Job) -> None:
        with _refusing_twins([job.id]):
            self._write(lambda connection: self._jobs.update(connection, job))

    def complete_job(self, job_id: str, result: Any = None) -> None:
        now = clock.now()
        self.move_job(job_id, lambda job: lifecycle.complete(job, result, now=now))

    def fail_job(self, job_id: str, error: str) -> None:
        now = clock.now()
        self.move_job(job_id, lambda job: lifecycle.fail(job, error, now=now))

    def move_job(self, job_id: str, move: Callable[[Job], Job]) -> Job:
        with _refusing_twins([job_id]):
            return self._write(lambda connection: self._jobs.move(connection, job_id, move))

    # --- jobs: reading ---------------------------------------------------------------------

    def get_jobs_by_status(self, status: JobStatus) -> list[Job]:
        with self._reading() as connection:
            return self._jobs.with_status(connection, status)

    def get_jobs_by_priority(self, priority: int) -> list[Job]:
        with self._reading() as connection:
            return self._jobs.with_priority(connection, priority)

    def get_scheduled_jobs(self, start: datetime, end: datetime | None = None) -> list[Job]:
        with self._reading() as connection:
            return self._jobs.scheduled(connection, start, end)

    def list_jobs(
        self,
        *,
        status: JobStatus | None = None,
        name: str | None = None,
        schedule_id: str | None = None,
        limit: int = 100,
        before_id: str | None = None,
    ) -> list[Job]:
        with self._reading() as connection:
            return self._jobs.newest(
                connection,
                status=status,
                name=name,
                schedule_id=schedule_id,
                limit=limit,
                before_id=before_id,
            )

    def count_jobs(self) -> dict[JobStatus, int]:
        with self._reading() as connection:
            return self._jobs.count(connection)

    def next_job_at(
        self,
        *,
        handler_names: Collection[str] | None = None,
        queue: str | None = None,
        after: datetime | None = None,
    ) -> datetime | None:
        with self._reading() as connection:
            return self._acquisition.next_at(connection, handler_names, queue, after)

    def list_attempts(self, job_ids: Collection[str]) -> list[Attempt]:
        if not job_ids:
            return []
        with self._reading() as connection:
            return self._jobs.attempts(connection, job_ids)

    def get_occurrences(self, schedule_id: str, start: datetime, end: datetime) -> list[Job]:
        with self._reading() as connection:
            return self._jobs.occurrences(connection, schedule_id, start, end)

    def get_unfinished_jobs(self, schedule_ids: Collection[str]) -> list[Job]:
        if not schedule_ids:
            return []
        with self._reading() as connection:
            # Mostly none has any: asked for all at once, before the rows of some are read.
            busy = self._schedules.busy(connection, schedule_ids)
            return self._jobs.unfinished_of(connection, busy) if busy else []

    # --- jobs: acquisition and settlement --------------------------------------------------

    def acquire_next_jobs(
        self,
        n: int,
        *,
        handler_names: Collection[str] | None = None,
        queue: str | None = None,
        ttl: timedelta = DEFAULT_TTL,
        worker: str = "",
        now: datetime | None = None,
        limits: Mapping[str, Limit] | None = None,
        aged_before: datetime | None = None,
    ) -> list[Job]:
        _, acquired = self.settle_and_acquire(
            (),
            n,
            handler_names=handler_names,
            queue=queue,
            ttl=ttl,
            worker=worker,
            now=now,
            limits=limits,
            aged_before=aged_before,
        )
        return acquired

    @property
    def exchanges_at_once(self) -> bool:
        return self._database.embedded

    def settle_and_acquire(
        self,
        settlements: Sequence[Settlement],
        n: int,
        *,
        handler_names: Collection[str] | None = None,
        queue: str | None = None,
        ttl: timedelta = DEFAULT_TTL,
        worker: str = "",
        now: datetime | None = None,
        limits: Mapping[str, Limit] | None = None,
        aged_before: datetime | None = None,
    ) -> tuple[list[bool], list[Job]]:
        at = or_clock(now)
        wanted = Wanted(
            n=n,
            now=at,
            handler_names=handler_names,
            queue=queue,
            worker=worker,
            lease=Lease(new_token(), at + ttl),
            limits=limits or {},
            aged_before=aged_before,
        )
        if n <= 0:
            return self.settle_jobs(settlements), []
        leasing = self._acquisition.leasing
        if not settlements and leasing is not None and leasing.is_one_statement(wanted):
            acquired = self._alone(lambda hand: leasing.take(hand, wanted))
            faults.point("sql.acquire.committed")
            return [], acquired
        if not settlements and not self._may_be_due(at):
            return [], []
        written = self._write(
            lambda connection: self._settle_and_acquire(connection, settlements, wanted)
        )
        if settlements:
            faults.point("sql.settle.committed")
        faults.point("sql.acquire.committed")
        return written

    def _may_be_due(self, now: datetime) -> bool:
        """Whether a job may be due; where one who writes locks all, that is looked at before."""
        leasing = self._acquisition.leasing
        if not self._database.embedded or leasing is None:
            return True
        return self._alone(lambda hand: leasing.is_due(hand, now))

    def _settle_and_acquire(
        self, connection: Connection, settlements: Sequence[Settlement], wanted: Wanted
    ) -> tuple[list[bool], list[Job]]:
        held = self._jobs.settle(connection, settlements) if settlements else []
        acquired = self._acquisition.acquire(connection, wanted)
        faults.point("sql.acquire.written")
        return held, acquired

    def settle_jobs(self, settlements: Sequence[Settlement]) -> list[bool]:
        if not settlements:
            return []
        driven = self._jobs.driven
        if driven is not None and _are_plain(settlements):
            held = self._alone(lambda hand: driven.settle(hand, settlements))
            written = missed_too(held, settlements, self._settle_all)
        else:
            written = self._settle_all(settlements)
        faults.point("sql.settle.committed")
        return written

    def _settle_all(self, settlements: Sequence[Settlement]) -> list[bool]:
        return self._write(lambda connection: self._jobs.settle(connection, settlements))

    def settle_jobs_in(
        self, connection: Connection, settlements: Sequence[Settlement]
    ) -> list[bool]:
        given = self._shared(connection)
        if not settlements:
            return []
        with self._translated():
            return self._jobs.settle(given, settlements)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        # What goes wrong in the block is its own; only what is done here is told as ours.
        with ExitStack() as stack:
            with self._translated():
                connection = stack.enter_context(self._lending.connect())
                connection.begin()
            yield connection
            with self._translated():
                connection.commit()

    def renew_leases(self, tokens: Mapping[str, str], *, expires_at: datetime) -> set[str]:
        if not tokens:
            return set()
        return self._write(lambda connection: self._jobs.renew(connection, tokens, expires_at))

    def held_leases(self, tokens: Mapping[str, str]) -> set[str]:
        if not tokens:
            return set()
        with self._reading() as connection:
            return self._jobs.held(connection, tokens)

    def get_expired_jobs(self, now: datetime, *, limit: int = 100) -> list[Job]:
        with self._reading() as connection:
            return self._jobs.expired(connection, now, limit)

    def prune_jobs(
        self,
        ended_before: Mapping[JobStatus, datetime],
        *,
        limit: int = 1000,
        after_id: str | None = None,
        before_id: str | None = None,
        dry_run: bool = False,
    ) -> Pruned:
        check_ended(ended_before)
        with self._reading() as connection:
            step = self._pruning.look(connection, ended_before, limit, after_id, before_id)
        removed = step.going
        if removed and not dry_run:
            removed = self._write(
                lambda connection: self._pruning.remove(
                    connection, ended_before, after_id, step.last_id
                )
            )
        last_id = step.last_id if step.looked_at == limit else None
        return Pruned(step.looked_at, removed, last_id, lost=step.going - removed)

    def listen(self, wake: Callable[[], None]) -> Callable[[], None] | None:
        return self._database.listen(wake)

    # --- schedules -------------------------------------------------------------------------

    def save_schedule(self, schedule: Schedule) -> None:
        try:
            self._write(lambda connection: self._schedules.save(connection, schedule))
        except IntegrityError as error:
            raise StaleSchedule(
                f"schedule {schedule.name!r}: written by another meanwhile ({_first_line(error)})"
            ) from error

    def save_schedules(self, schedules: Sequence[Schedule], *, notes: Sequence[Note] = ()) -> None:
        if not schedules:
            return
        check_new(schedules)
        try:
            self._write(lambda connection: self._schedules.add(connection, schedules, notes))
        except IntegrityError as error:
            raise StaleSchedule(
                f"{len(schedules)} schedules: a name is taken ({_first_line(error)})"
            ) from error

    def get_schedule(self, name: str) -> Schedule | None:
        with self._reading() as connection:
            return self._schedules.get(connection, name)

    def list_schedules(self) -> list[Schedule]:
        with self._reading() as connection:
            return self._schedules.all(connection)

    def get_schedules(self, names: Collection[str], *, declared: bool = False) -> list[Schedule]:
        with self._reading() as connection:
            return self._schedules.named(connection, names, declared=declared)

    def delete_schedule(self, name: str) -> bool:
        return self._write(lambda connection: self._schedules.delete(connection, name))

    def due_schedules(self, now: datetime, *, limit: int = 1000) -> list[Schedule]:
        with self._reading() as connection:
            return self._schedules.due(connection, now, limit=limit)

    def next_schedule_at(self) -> datetime | None:
        with self._reading() as connection:
            return self._schedules.next_at(connection)

    def next_instants(
        self, *, handler_names: Collection[str] | None = None, queue: str | None = None
    ) -> tuple[datetime | None, datetime | None]:
        leasing = self._acquisition.leasing
        if leasing is None:
            return super().next_instants(handler_names=handler_names, queue=queue)
        next_schedule = self._schedules.next
        return self._alone(
            lambda hand: leasing.next_instants(hand, handler_names, queue, next_schedule)
        )

    def record_expansions(
        self, expansions: Sequence[Expansion], *, wait: bool = True
    ) -> list[bool]:
        if not expansions:
            return []
        written = self._write(
            lambda connection: self._schedules.record(connection, expansions, wait=wait)
        )
        faults.point("sql.record.committed")
        return written

    def list_skips(
        self,
        schedule_id: str,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        limit: int | None = None,
    ) -> list[Skip]:
        with self._reading() as connection:
            return self._schedules.skips(connection, schedule_id, start, end, limit)

    def list_notes(self, schedule_id: str) -> list[Note]:
        with self._reading() as connection:
            return self._schedules.notes(connection, schedule_id)

    def save_declaration(self, declaration: Declaration) -> None:
        self._write(lambda connection: self._schedules.save_declaration(connection, declaration))

    def renew_declaration(self, process: str, *, seen_at: datetime) -> bool:
        return self._write(
            lambda connection: self._schedules.renew_declaration(connection, process, seen_at)
        )

    def list_declarations(self, *, seen_since: datetime) -> list[Declaration]:
        return self._write(lambda connection: self._schedules.declarations(connection, seen_since))

    # --- moving house ----------------------------------------------------------------------

    def restore(
        self,
        *,
        jobs: Sequence[Job] = (),
        schedules: Sequence[Schedule] = (),
        skips: Sequence[Skip] = (),
        notes: Sequence[Note] = (),
        attempts: Sequence[Attempt] = (),
    ) -> int:
        def write(connection: Connection, *, closely: bool = False) -> int:
            self._database.plan_afresh(connection)
            restore = self._restorer
            return (
                sum(restore.jobs(connection, part, closely=closely) for part in slices(jobs))
                + sum(restore.schedules(connection, part) for part in slices(schedules))
                + sum(restore.skips(connection, part) for part in slices(skips))
                + sum(restore.notes(connection, part) for part in slices(notes))
                + sum(restore.attempts(connection, part) for part in slices(attempts))
            )

        with suppress(IntegrityError):
            return self._write(write)
        # Another was first with one of the keys. Whether it is the same, a closer look says.
        try:
            return self._write(partial(write, closely=True))
        except IntegrityError as error:
            raise StorageError(f"database {self.url}: {_first_line(error)}") from error

    # --- the store itself ------------------------------------------------------------------

    def clear(self) -> None:
        tables = self._tables

        def empty(connection: Connection) -> None:
            for table in tables.metadata.tables.values():
                if table is not tables.version:
                    connection.execute(delete(table))

        self._write(empty)

    def prepare(self) -> None:
        """Create or upgrade the tables where the database is embedded; elsewhere check them."""
        if self._database.embedded:
            self.upgrade()
        else:
            self.check()

    def check(self) -> None:
        with self._reading() as connection:
            schema.check(connection, self._tables)

    def upgrade(self) -> None:
        """Bring the tables to this version. Raises SchemaMismatch if they are newer."""
        with self._translated(is_upgrade=True):
            schema.upgrade(self._engine, self._database, self._tables)

    def current_revision(self) -> str | None:
        """The revision of the tables in the database; None if it has none."""
        with self._reading() as connection:
            return schema.current_revision(connection, self._tables)

    def read_clock(self) -> datetime | None:
        if self._database.clock is None:
            return None
        with self._reading() as connection:
            return connection.scalar(select(literal_column(self._database.clock, UtcDateTime)))

    def close(self) -> None:
        for name in ("_lending", "_engine"):
            if name in self.__dict__:
                self.__dict__[name].dispose()


@contextmanager
def _refusing_twins(ids: Sequence[str]) -> Iterator[None]:
    try:
        yield
    except IntegrityError as error:
        shown = ", ".join(ids[:3]) + (", …" if len(ids) > 3 else "")
        raise DuplicateJob(
            f"job {shown}: its id or its occurrence has a row already ({_first_line(error)})"
        ) from error


def _are_plain(settlements: Sequence[Settlement]) -> bool:
    """Whether each is one row, of a job of its own, and nobody else is told of it."""
    return len({each.job.id for each in settlements}) == len(settlements) and all(
        each.attempt is None
        and each.expired_by is None
        and each.job.status is not JobStatus.PENDING
        for each in settlements
    )


def _ids(jobs: Sequence[Job]) -> list[str]:
    return [job.id for job in jobs]


def _database_name(url: URL) -> str | None:
    """What tells one database from another at a server; of a file, where it is."""
    is_file = url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:")
    return os.path.realpath(url.database or "") if is_file else url.database


def _alias(name: str) -> str:
    """What SQLAlchemy also calls the dialect."""
    return {"mysql": "mariadb"}.get(name, name)


def _first_line(error: DBAPIError) -> str:
    # python-tds has a second argument, which says nothing; others have a number as the first.
    arguments = getattr(error.orig, "args", ())
    said = arguments[0] if arguments and isinstance(arguments[0], str) else str(error.orig)
    lines = said.strip().splitlines()
    return lines[0].strip() if lines else type(error.orig).__name__
