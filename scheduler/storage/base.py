"""JobStorage: the one interface of every store, documented verb by verb.

Seven verbs are abstract; a storage of your own starts with those. The batch verbs default
to loops over them and are overridden for speed and exactness. Storages persist and decide
nothing: rules, expansion and the life of a job are computed by the pure modules, what must be
compared is compared by the functions below, and what a storage is handed it writes. Errors are
raised, never logged and swallowed. The laws of every verb are tests: scheduler.testing.
"""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from scheduler import clock
from scheduler.errors import (
    DifferentRecord,
    DuplicateJob,
    InvalidOption,
    NaiveTime,
    NotSupported,
    StaleSchedule,
    UnknownJobId,
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
    ScheduleStatus,
    Settlement,
    Skip,
    replace,
)
from scheduler.retention import FINISHED, Pruned
from scheduler.storage.records import new_among

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.orm import Session

DEFAULT_TTL = timedelta(seconds=60)

Value = TypeVar("Value", Job, Lease, Schedule, Skip, Note, Declaration, Attempt)
"""What a storage is handed, and holds."""

_INSTANTS = {
    kind: tuple(
        field.name
        for field in fields(kind)
        if any(part in str(field.type) for part in ("datetime", "Lease", "Skip |"))
    )
    for kind in (Job, Lease, Schedule, Skip, Note, Declaration, Attempt)
}
"""The fields of each kind of value that hold instants, or a value that does."""

_UNFINISHED = (JobStatus.PENDING, JobStatus.PROCESSING)
_TRIES = 20
_LIVE = (ScheduleStatus.ACTIVE, ScheduleStatus.PAUSED)


class JobStorage(ABC):
    """Where jobs and schedules live.

    Every verb may be called from any thread. Verbs raise StorageUnavailable while the store
    cannot be reached; nothing is half written.
    """

    @property
    def exchanges_at_once(self) -> bool:
        """Whether executors settle and lease in one exchange, by `settle_and_acquire`.

        It is best where writers wait for each other, or the store works in this process. Elsewhere
        the two go on side by side, and an expander decides while it writes.
        """
        return False

    # --- the seven -------------------------------------------------------------------------

    @abstractmethod
    def save_job(self, job: Job) -> None:
        """Insert `job`. Raises DuplicateJob if its id, or its occurrence, is there already."""

    @abstractmethod
    def get_job(self, job_id: str) -> Job | None:
        """The job of this id; None if there is none."""

    @abstractmethod
    def get_jobs_by_status(self, status: JobStatus) -> list[Job]:
        """Every job in `status`, in order of acquisition: priority, scheduled_at, id."""

    @abstractmethod
    def update_job(self, job: Job) -> None:
        """Overwrite the stored job of `job.id`, unfenced. Raises UnknownJobId if it is gone.

        Raises DuplicateJob where the store has transactions and the occurrence is another job's.
        """

    @abstractmethod
    def acquire_next_job(
        self,
        ttl: timedelta = DEFAULT_TTL,
        *,
        handler_names: Collection[str] | None = None,
        queue: str | None = None,
        worker: str = "",
        now: datetime | None = None,
    ) -> Job | None:
        """Lease the first job that is due, exclusively; None if there is none.

        Due: pending, `scheduled_at` <= `now` (None: the clock), in `queue` and named in
        `handler_names` (None: any), and not one of `blocked`. First: lowest priority number,
        then `scheduled_at`, then id. The job comes back processing, with a fresh lease token
        that expires at `now` + `ttl`, as `lifecycle.acquire` makes it. No two callers get the
        same job. Raises NaiveTime if `now` has no zone.
        """

    @abstractmethod
    def complete_job(self, job_id: str, result: Any = None) -> None:
        """Write that a processing job is completed, as `lifecycle.complete`; unfenced.

        Raises UnknownJobId if there is none, InvalidMove if it is not processing.
        """

    @abstractmethod
    def fail_job(self, job_id: str, error: str) -> None:
        """Write that an attempt of a processing job failed, as `lifecycle.fail`; unfenced.

        Pending again while retries are left, else failed. Raises UnknownJobId if there is
        none, InvalidMove if it is not processing.
        """

    # --- jobs: reading ---------------------------------------------------------------------

    def get_jobs_by_priority(self, priority: int) -> list[Job]:
        """Every pending job of this priority, in order of acquisition."""
        return [j for j in self.get_jobs_by_status(JobStatus.PENDING) if j.priority == priority]

    def get_scheduled_jobs(self, start: datetime, end: datetime | None = None) -> list[Job]:
        """Every pending job with `start` <= scheduled_at < `end` (None: no end), by that.

        Raises NaiveTime.
        """
        aware(start=start, end=end)
        jobs = self.get_jobs_by_status(JobStatus.PENDING)
        found = (job for job in jobs if start <= job.scheduled_at)
        within = (job for job in found if end is None or job.scheduled_at < end)
        return sorted(within, key=lambda job: (job.scheduled_at, job.id))

    def list_jobs(
        self,
        *,
        status: JobStatus | None = None,
        name: str | None = None,
        schedule_id: str | None = None,
        limit: int = 100,
        before_id: str | None = None,
    ) -> list[Job]:
        """At most `limit` jobs, newest id first, below `before_id` where that is given.

        None of them where `limit` is below 1.
        """
        statuses = list(JobStatus) if status is None else [status]
        jobs = [job for each in statuses for job in self.get_jobs_by_status(each)]
        found = (
            job
            for job in sorted(jobs, key=lambda job: job.id, reverse=True)
            if (name is None or job.name == name)
            and (schedule_id is None or job.schedule_id == schedule_id)
            and (before_id is None or job.id < before_id)
        )
        return [job for job, _ in zip(found, range(limit), strict=False)]

    def count_jobs(self) -> dict[JobStatus, int]:
        """How many jobs stand in each status; every status is a key."""
        return {status: len(self.get_jobs_by_status(status)) for status in JobStatus}

    def next_job_at(
        self,
        *,
        handler_names: Collection[str] | None = None,
        queue: str | None = None,
        after: datetime | None = None,
    ) -> datetime | None:
        """The earliest `scheduled_at` of the pending jobs that match; None without any.

        Only those later than `after`, where that is given. Those that are `blocked` do not count:
        the end of another job frees them, not a time. Raises NaiveTime if `after` has no zone.
        """
        aware(after=after)
        pending = self.get_jobs_by_status(JobStatus.PENDING)
        waiting = blocked([*pending, *self.get_jobs_by_status(JobStatus.PROCESSING)])
        return min(
            (
                job.scheduled_at
                for job in pending
                if job.id not in waiting
                and matches(job, handler_names, queue)
                and (after is None or after < job.scheduled_at)
            ),
            default=None,
        )

    def list_attempts(self, job_ids: Collection[str]) -> list[Attempt]:
        """The recorded attempts of these jobs, by job id, start and number.

        See `lifecycle.attempts` for those that have no record. A store of the seven verbs keeps
        none.
        """
        return []

    def get_unfinished_jobs(self, schedule_ids: Collection[str]) -> list[Job]:
        """The pending and processing jobs of these schedules, by schedule and occurrence."""
        statuses = (JobStatus.PENDING, JobStatus.PROCESSING)
        jobs = [job for status in statuses for job in self.get_jobs_by_status(status)]
        found = [job for job in jobs if job.schedule_id in schedule_ids]
        return sorted(found, key=by_occurrence)

    def get_occurrences(self, schedule_id: str, start: datetime, end: datetime) -> list[Job]:
        """Every job of a schedule with `start` <= occurrence_at < `end`, by occurrence.

        Raises NaiveTime.
        """
        aware(start=start, end=end)
        jobs = [job for status in JobStatus for job in self.get_jobs_by_status(status)]
        found = [job for job in jobs if job.schedule_id == schedule_id]
        within = (job for job in found if job.occurrence_at and start <= job.occurrence_at < end)
        return sorted(within, key=by_occurrence)

    def listen(self, wake: Callable[[], None]) -> Callable[[], None] | None:
        """Call `wake`, from any thread, when there may be new jobs; what comes back ends that.

        It hurries executors and no more: they look for themselves, and what is missed here they
        find then. None, the default, where a store announces nothing.
        """
        return None

    # --- jobs: batches ---------------------------------------------------------------------

    def save_jobs(self, jobs: Sequence[Job]) -> None:
        """Insert all of `jobs`, or none where the store has transactions."""
        for job in jobs:
            self.save_job(job)

    def save_jobs_in(self, connection: Connection | Session, jobs: Sequence[Job]) -> None:
        """Insert all of `jobs` in the caller's own transaction, on this store's database.

        They are there once the caller commits, and never were if it rolls back. Raises
        DuplicateJob, and NotSupported where the store is not an SQL database.
        """
        raise self._no_transactions()

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
        """Lease up to `n` due jobs (below 1: none), in order of acquisition.

        See `acquire_next_job`. Jobs of a name in `limits` are taken as far as `flow.admit` lets
        them, counted in this store, whoever runs them. Jobs that were due before `aged_before` go
        before all others, the longest due first, then by id. Raises NotSupported for either where
        the store cannot count, which is the default; NaiveTime.
        """
        if limits or aged_before is not None:
            raise NotSupported(
                f"{type(self).__name__} cannot count what runs; implement acquire_next_jobs with "
                "limits and aged_before, or leave concurrency, rate and ageing out"
            )
        jobs: list[Job] = []
        while len(jobs) < n:
            job = self.acquire_next_job(
                ttl, handler_names=handler_names, queue=queue, worker=worker, now=now
            )
            if job is None:
                break
            jobs.append(job)
        return jobs

    def settle_jobs(self, settlements: Sequence[Settlement]) -> list[bool]:
        """Write the outcome of each leased job; True where its lease still held.

        Holds: the stored job is processing under `token` (and, with `expired_by`, its lease
        had run out by then). Where it does not, nothing is written for that job; nor where
        `expired_by` is given and the job is being written by another at this moment. With a job
        its `attempt` is written. The default reads, compares and writes the job, which is exact
        for one executor; a store that several share makes this one transaction.
        """
        return [self._settle(settlement) for settlement in settlements]

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
        """What `settle_jobs` and then `acquire_next_jobs` return: a busy executor's one exchange.

        A store that `exchanges_at_once` makes it one transaction: where the second fails, the
        first has not been. The default calls the two.
        """
        held = self.settle_jobs(settlements) if settlements else []
        return held, self.acquire_next_jobs(
            n,
            handler_names=handler_names,
            queue=queue,
            ttl=ttl,
            worker=worker,
            now=now,
            limits=limits,
            aged_before=aged_before,
        )

    def _settle(self, settlement: Settlement) -> bool:
        stored = self.get_job(settlement.job.id)
        if stored is None or not holds(stored, settlement):
            return False
        match settlement.job:
            case Job(status=JobStatus.COMPLETED, id=job_id, result=result):
                self.complete_job(job_id, result)
            case Job(status=JobStatus.FAILED, id=job_id, error=str() as error):
                self.fail_job(job_id, error)
            case job:
                self.update_job(job)
        return True

    def renew_leases(self, tokens: Mapping[str, str], *, expires_at: datetime) -> set[str]:
        """Extend the leases of {job id: token} to `expires_at`; the ids that still held."""
        held = set()
        for job_id, token in tokens.items():
            job = self.get_job(job_id)
            if job is not None and job.lease is not None and job.lease.token == token:
                self.update_job(replace(job, lease=replace(job.lease, expires_at=expires_at)))
                held.add(job_id)
        return held

    def held_leases(self, tokens: Mapping[str, str]) -> set[str]:
        """The ids of {job id: token} that are leased under that token; nothing is written."""
        return {
            job_id
            for job_id, token in tokens.items()
            if (job := self.get_job(job_id)) is not None and job.lease is not None
            if job.lease.token == token
        }

    def move_job(self, job_id: str, move: Callable[[Job], Job]) -> Job:
        """Write `move` of the stored job, and return it; unfenced.

        Whatever `move` raises is raised, and nothing written. The default reads, then writes; a
        store that several share lets nobody write in between. Raises UnknownJobId.
        """
        job = self.get_job(job_id)
        if job is None:
            raise UnknownJobId(job_id)
        moved = move(job)
        self.update_job(moved)
        return moved

    def transaction(self) -> AbstractContextManager[Connection]:
        """A connection of the caller's own to this store's SQL database, in a transaction.

        Committed at the end of the block, rolled back if it raises. Raises NotSupported where the
        store is not an SQL database.
        """
        raise self._no_transactions()

    def settle_jobs_in(
        self, connection: Connection, settlements: Sequence[Settlement]
    ) -> list[bool]:
        """As `settle_jobs`, in the transaction that `connection` of `transaction` is in."""
        raise self._no_transactions()

    def _no_transactions(self) -> NotSupported:
        return NotSupported(f"{type(self).__name__} has no transactions that a caller could share")

    def get_expired_jobs(self, now: datetime, *, limit: int = 100) -> list[Job]:
        """At most `limit` processing jobs whose lease had expired by `now`, longest first.

        None of them where `limit` is below 1.
        """
        expired = [
            (job.lease.expires_at, job.id, job)
            for job in self.get_jobs_by_status(JobStatus.PROCESSING)
            if job.lease is not None and job.lease.expires_at <= now
        ]
        return [job for _, _, job in sorted(expired, key=lambda each: each[:2])[: max(0, limit)]]

    def prune_jobs(
        self,
        ended_before: Mapping[JobStatus, datetime],
        *,
        limit: int = 1000,
        after_id: str | None = None,
        before_id: str | None = None,
        dry_run: bool = False,
    ) -> Pruned:
        """One step through the jobs in order of id, removing what ended long enough ago.

        It looks at the next `limit` (below 1: none) whose ids are above `after_id` and below
        `before_id` (None: no bound), so that a step takes equally long whatever lies in front. Of
        these it removes, each with its attempts, those in a status of `ended_before` whose
        `completed_at` is earlier than the instant given for it, if their schedules `can_spare`
        them; not one that another is writing at this moment (`lost`). In ONE short transaction:
        who takes jobs hardly waits. Any number may prune at once. With `dry_run` it counts what it
        would remove.

        Raises InvalidOption for a status that is not one of FINISHED, NaiveTime, and NotSupported
        where the store cannot remove jobs, which is the default.
        """
        raise NotSupported(f"{type(self).__name__} cannot remove jobs; implement prune_jobs")

    # --- schedules: by default the store keeps none ----------------------------------------

    def save_schedule(self, schedule: Schedule) -> None:
        """Insert a schedule of revision 1, or overwrite revision n-1 with revision n.

        Raises StaleSchedule if the stored revision is another, its cursor is later, or the name
        is taken.
        """
        raise self._no_schedules("save_schedule")

    def save_schedules(self, schedules: Sequence[Schedule], *, notes: Sequence[Note] = ()) -> None:
        """Insert schedules of revision 1, and `notes` about them: all, or none.

        Raises StaleSchedule if a name is taken, or one is not of revision 1.

        The default looks, and saves one after the other, which is exact for one caller.
        """
        new = list(map(in_utc, schedules))
        check_new(new, self.get_schedule)
        for schedule in new:
            self.save_schedule(schedule)
        self._note(notes, {schedule.id: schedule for schedule in new})

    def _note(self, notes: Sequence[Note], schedules: Mapping[str, Schedule]) -> None:
        """Leave `notes` on record, whatever became meanwhile of their schedules, by id."""
        left = [
            Expansion(schedules[n.schedule_id], schedules[n.schedule_id], note=n) for n in notes
        ]
        for _ in range(_TRIES):
            if not left:
                return
            written = self.record_expansions(left)
            lost = [each for each, is_written in zip(left, written, strict=True) if not is_written]
            found = [(each, self.get_schedule(each.before.name)) for each in lost]
            left = [
                Expansion(stored, stored, note=each.note)
                for each, stored in found
                if stored is not None and stored.id == each.before.id
            ]
        name = left[0].before.name
        raise StaleSchedule(f"schedule {name!r}: written by others {_TRIES} times meanwhile")

    def get_schedule(self, name: str) -> Schedule | None:
        """The schedule of this name; None if there is none."""
        return None

    def list_schedules(self) -> list[Schedule]:
        """Every schedule, by name."""
        return []

    def get_schedules(self, names: Collection[str], *, declared: bool = False) -> list[Schedule]:
        """The schedules of these names, by name; with `declared`, all that a module declares too.

        Who declares a few looks at no more than these, however many there are beside.
        """
        if not declared:
            found = map(self.get_schedule, sorted(set(names)))
            return [schedule for schedule in found if schedule is not None]
        return [
            schedule
            for schedule in self.list_schedules()
            if schedule.module is not None or schedule.name in names
        ]

    def delete_schedule(self, name: str) -> bool:
        """Remove a schedule, its skips and notes, its jobs staying; True if it was there."""
        return False

    def due_schedules(self, now: datetime, *, limit: int = 1000) -> list[Schedule]:
        """At most `limit` active or paused schedules with `next_at` <= `now`, longest due first.

        None of them where `limit` is below 1.
        """
        return []

    def next_schedule_at(self) -> datetime | None:
        """The earliest `next_at` of the active and paused schedules; None without any."""
        return None

    def next_instants(
        self, *, handler_names: Collection[str] | None = None, queue: str | None = None
    ) -> tuple[datetime | None, datetime | None]:
        """What `next_job_at` and `next_schedule_at` say: who is idle asks for both."""
        return (
            self.next_job_at(handler_names=handler_names, queue=queue),
            self.next_schedule_at(),
        )

    def record_expansions(
        self, expansions: Sequence[Expansion], *, wait: bool = True
    ) -> list[bool]:
        """Write each expansion whole, in ONE transaction: see `Expansion` for what belongs to it.

        True where it was written; False where the stored schedule is no longer `before`,
        because another was first: then nothing of it is written. Jobs whose id or occurrence is
        there already are left out; a skip overwrites the one with its first instant; a job is
        cancelled only while its status is still the one in the expansion. Without `wait`, who
        finds that another is writing a schedule at this moment may take it for lost.
        """
        raise self._no_schedules("record_expansions")

    def list_skips(
        self,
        schedule_id: str,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        limit: int | None = None,
    ) -> list[Skip]:
        """The recorded skips of a schedule, by `first_at`: those that reach into [start, end).

        The last `limit` of them, where that is given.
        """
        return []

    def list_notes(self, schedule_id: str) -> list[Note]:
        """What was done to a schedule, by revision."""
        return []

    def save_declaration(self, declaration: Declaration) -> None:
        """Write what a process declares, over what it declared before."""
        raise self._no_schedules("save_declaration")

    def renew_declaration(self, process: str, *, seen_at: datetime) -> bool:
        """Write when a process was last seen; False if it declares nothing here."""
        return False

    def list_declarations(self, *, seen_since: datetime) -> list[Declaration]:
        """What processes declare, by `since_at`. Those not seen since then are removed."""
        return []

    def _no_schedules(self, verb: str) -> NotSupported:
        return NotSupported(
            f"{type(self).__name__} does not keep schedules; implement {verb} and the other "
            "schedule verbs of JobStorage, or use a store that does: see the README"
        )

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
        """Insert records as they are, leases and revisions included; how many were new.

        In ONE transaction. What is there already, the same in every field, is left alone, and
        what comes twice counts once: a copy that was cut off can be begun again. Nothing is ever
        overwritten: raises DifferentRecord, naming the record, if something else is there under
        its id, its occurrence, or its name, and then nothing is written.

        The default takes jobs only. It reads, compares and saves, which is exact for one caller.
        """
        if schedules or skips or notes:
            raise self._no_schedules("restore")
        if attempts:
            raise NotSupported(f"{type(self).__name__} keeps no attempts; implement restore")
        found = (self.get_job(job.id) for job in jobs)
        new = new_among(jobs, [job for job in found if job is not None])
        try:
            self.save_jobs(new)
        except DuplicateJob as error:
            raise DifferentRecord(str(error)) from error
        return len(new)

    # --- the store itself ------------------------------------------------------------------

    def clear(self) -> None:
        """Remove every job, attempt, schedule and skip."""
        raise NotSupported(f"{type(self).__name__} cannot be cleared; implement clear")

    def prepare(self) -> None:
        """Make the store ready for use: an embedded one creates or upgrades its tables.

        Raises StorageUnavailable or SchemaMismatch.
        """
        self.check()

    def upgrade(self) -> None:
        """Make the store ready as its administrator would, a server's tables included.

        Raises StorageUnavailable or SchemaMismatch.
        """
        self.prepare()

    def check(self) -> None:
        """Return if the store answers and its tables are of this version, else raise.

        Raises StorageUnavailable or SchemaMismatch.
        """
        self.get_job("")

    def read_clock(self) -> datetime | None:
        """The store's own time, in UTC; None where it has no clock but this machine's."""
        return None

    def close(self) -> None:  # noqa: B027 - many stores hold nothing
        """Let go of connections; the storage is not used afterwards."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


# --- for those who write a storage: what all of them decide alike ---------------------------


def due_jobs(
    jobs: Iterable[Job],
    now: datetime,
    *,
    handler_names: Collection[str] | None = None,
    queue: str | None = None,
    aged_before: datetime | None = None,
) -> list[Job]:
    """Those of `jobs` that may be acquired at `now`, in order of acquisition.

    First those that were due before `aged_before`, the longest due first. `jobs` holds at least
    every pending and processing job of the store. Raises NaiveTime if an instant has no zone.
    """
    aware(now=now, aged_before=aged_before)
    unfinished = [job for job in jobs if job.status in _UNFINISHED]
    waiting = blocked(unfinished)
    due = (
        job
        for job in unfinished
        if job.status is JobStatus.PENDING
        and job.scheduled_at <= now
        and job.id not in waiting
        and matches(job, handler_names, queue)
    )
    if aged_before is None:
        return sorted(due, key=by_acquisition)
    ordered = sorted(due, key=by_acquisition)
    aged = [job for job in ordered if job.scheduled_at < aged_before]
    return sorted(aged, key=by_age) + [job for job in ordered if job.scheduled_at >= aged_before]


def by_acquisition(job: Job) -> tuple[int, datetime, str]:
    """The order of acquisition: priority, scheduled_at, id."""
    return job.priority, job.scheduled_at, job.id


def by_age(job: Job) -> tuple[datetime, str]:
    """The order of the jobs that have waited too long: scheduled_at, id."""
    return job.scheduled_at, job.id


def matches(job: Job, handler_names: Collection[str] | None, queue: str | None) -> bool:
    """Whether an executor of this queue with these handlers may take `job`."""
    return (handler_names is None or job.name in handler_names) and (
        queue is None or job.queue == queue
    )


def blocked(unfinished: Iterable[Job]) -> set[str]:
    """The ids of the serial jobs that wait for an earlier one of their schedule.

    `unfinished` are the pending and processing jobs, at least of the schedules concerned.
    """
    first: dict[str, datetime] = {}
    waiting: set[str] = set()
    series = [job for job in unfinished if job.schedule_id and job.sequence is not None]
    for job in sorted(series, key=by_occurrence):
        schedule_id, occurrence_at = by_occurrence(job)[:2]
        earliest_at = first.setdefault(schedule_id, occurrence_at)
        if job.serial and earliest_at < occurrence_at:
            waiting.add(job.id)
    return waiting


def by_occurrence(job: Job) -> tuple[str, datetime, str]:
    """The order of the jobs of schedules: schedule, occurrence, id."""
    return job.schedule_id or "", job.occurrence_at or job.created_at, job.id


def holds(stored: Job, settlement: Settlement) -> bool:
    """Whether the stored job still is under the lease that `settlement` proves."""
    return stored.status is JobStatus.PROCESSING and proves(settlement, stored.lease)


def proves(settlement: Settlement, lease: Lease | None) -> bool:
    """Whether `lease`, that of a job which is processing, is the one of `settlement`."""
    return (
        lease is not None
        and lease.token == settlement.token
        and (settlement.expired_by is None or lease.expires_at <= settlement.expired_by)
    )


def check_ended(ended_before: Mapping[JobStatus, datetime]) -> None:
    """Raises InvalidOption or NaiveTime if no job may be pruned by that."""
    for status, moment in ended_before.items():
        if status not in FINISHED:
            reason = f"is not one of {', '.join(FINISHED)}"
            raise InvalidOption("status", status.value, reason, "what is unfinished is kept")
        aware(**{status.value: moment})


def is_prunable(
    job: Job, ended_before: Mapping[JobStatus, datetime], schedule: Schedule | None
) -> bool:
    """Whether `job`, of `schedule` if that is there, goes by `ended_before`."""
    until = ended_before.get(job.status)
    if until is None or job.completed_at is None or job.completed_at >= until:
        return False
    return schedule is None or can_spare(schedule, job.occurrence_at)


def can_spare(schedule: Schedule, occurrence_at: datetime | None) -> bool:
    """Whether a finished job of `schedule` may go.

    Not that of its last occurrence, which says how it went last; nor one beyond the cursor, without
    which the occurrence would be decided as if it had none.
    """
    return occurrence_at is None or (
        occurrence_at <= schedule.cursor_at and occurrence_at != schedule.last_occurrence_at
    )


def turn_at(schedule: Schedule) -> datetime | None:
    """When an expander is to look at `schedule`; None if never."""
    return schedule.next_at if schedule.status in _LIVE else None


def follows(schedule: Schedule, stored: Schedule | None) -> bool:
    """Whether `schedule` may be saved over what is `stored` under its name."""
    if stored is None:
        return schedule.revision == 1
    is_next = (schedule.id, schedule.revision - 1) == (stored.id, stored.revision)
    return is_next and stored.cursor_at <= schedule.cursor_at


def check_new(
    schedules: Sequence[Schedule], stored: Callable[[str], Schedule | None] = lambda name: None
) -> None:
    """Raises StaleSchedule unless all may be saved as new ones, each by a name of its own."""
    names: set[str] = set()
    for schedule in schedules:
        is_new = schedule.revision == 1 and stored(schedule.name) is None
        if schedule.name in names or not is_new:
            raise StaleSchedule(f"schedule {schedule.name!r}: is there already")
        names.add(schedule.name)


def is_current(expansion: Expansion, stored: Schedule | None) -> bool:
    """Whether what is `stored` is still the schedule that was expanded."""
    return stored is not None and _state(stored) == _state(expansion.before)


def _state(schedule: Schedule) -> tuple[str, int, datetime]:
    """What every write changes."""
    return schedule.id, schedule.revision, schedule.cursor_at


def cancelled(stored: Job | None, before: Job, after: Job) -> Job | None:
    """The `stored` job as an expansion cancels it; None if it is no longer as it was `before`."""
    if stored is None or stored.status is not before.status:
        return None
    return replace(stored, status=after.status, completed_at=after.completed_at, lease=None)


def reaches(skip: Skip, start: datetime | None, end: datetime | None) -> bool:
    """Whether `skip` reaches into [start, end); None is no bound."""
    return (start is None or start <= skip.last_at) and (end is None or skip.first_at < end)


def in_utc(value: Value) -> Value:
    """`value` with its instants in UTC, as every store gives them back. Raises NaiveTime."""
    moved: dict[str, Any] = {}
    for name in _INSTANTS[type(value)]:
        part = getattr(value, name)
        if isinstance(part, datetime):
            if part.tzinfo is None:
                raise NaiveTime(name, part)
            if part.tzinfo is not UTC:
                moved[name] = part.astimezone(UTC)
        elif part is not None:
            moved[name] = in_utc(part)
    return replace(value, **moved) if moved else value


def aware(**moments: datetime | None) -> None:
    """Raises NaiveTime, naming it, if one of `moments` has no zone."""
    for name, moment in moments.items():
        if moment is not None and moment.tzinfo is None:
            raise NaiveTime(name, moment)


def new_token() -> str:
    """A lease token that nobody else has."""
    return secrets.token_hex(8)


def or_clock(now: datetime | None) -> datetime:
    """`now`, or the clock's where the caller left it open."""
    return clock.now() if now is None else now
