"""JobStorage: the one interface of every store, documented verb by verb.

Seven verbs are abstract; a storage of your own starts with those. The batch verbs default
to loops over them and are overridden for speed and exactness. Storages persist and decide
nothing: rules, expansion and the life of a job are computed by the pure modules, and what a
storage is handed it writes. Errors are raised, never logged and swallowed.
"""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self

from scheduler import clock
from scheduler.errors import NotSupported
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

DEFAULT_TTL = timedelta(seconds=60)


class JobStorage(ABC):
    """Where jobs and schedules live.

    Every verb may be called from any thread. Verbs raise StorageUnavailable while the store
    cannot be reached; nothing is half written.
    """

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
        """Overwrite the stored job of `job.id`, unfenced. Raises UnknownJobId if it is gone."""

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
        same job.
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
        """Every pending job with `start` <= scheduled_at < `end` (None: no end), by that."""
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
        """At most `limit` jobs, newest id first, below `before_id` where that is given."""
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
        self, *, handler_names: Collection[str] | None = None, queue: str | None = None
    ) -> datetime | None:
        """The earliest `scheduled_at` of the pending jobs that match; None without any.

        Those that are `blocked` do not count: the end of another job frees them, not a time.
        """
        pending = self.get_jobs_by_status(JobStatus.PENDING)
        waiting = blocked([*pending, *self.get_jobs_by_status(JobStatus.PROCESSING)])
        return min(
            (
                job.scheduled_at
                for job in pending
                if job.id not in waiting and matches(job, handler_names, queue)
            ),
            default=None,
        )

    def get_unfinished_jobs(self, schedule_ids: Collection[str]) -> list[Job]:
        """The pending and processing jobs of these schedules, by schedule and occurrence."""
        statuses = (JobStatus.PENDING, JobStatus.PROCESSING)
        jobs = [job for status in statuses for job in self.get_jobs_by_status(status)]
        found = [job for job in jobs if job.schedule_id in schedule_ids]
        return sorted(found, key=by_occurrence)

    def get_occurrences(self, schedule_id: str, start: datetime, end: datetime) -> list[Job]:
        """Every job of a schedule with `start` <= occurrence_at < `end`, by occurrence."""
        jobs = [job for status in JobStatus for job in self.get_jobs_by_status(status)]
        found = [job for job in jobs if job.schedule_id == schedule_id]
        within = (job for job in found if job.occurrence_at and start <= job.occurrence_at < end)
        return sorted(within, key=by_occurrence)

    # --- jobs: batches ---------------------------------------------------------------------

    def save_jobs(self, jobs: Sequence[Job]) -> None:
        """Insert all of `jobs`, or none where the store has transactions."""
        for job in jobs:
            self.save_job(job)

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
        """Lease up to `n` due jobs, in order of acquisition; see `acquire_next_job`."""
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
        had run out by then). Where it does not, nothing is written for that job. The
        default reads, compares and writes, which is exact for one executor; a store that
        several share makes this one transaction.
        """
        return [self._settle(settlement) for settlement in settlements]

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

    def get_expired_jobs(self, now: datetime, *, limit: int = 100) -> list[Job]:
        """At most `limit` processing jobs whose lease had expired by `now`, longest first."""
        expired = [
            (job.lease.expires_at, job.id, job)
            for job in self.get_jobs_by_status(JobStatus.PROCESSING)
            if job.lease is not None and job.lease.expires_at <= now
        ]
        return [job for _, _, job in sorted(expired, key=lambda each: each[:2])[:limit]]

    # --- schedules: by default the store keeps none ----------------------------------------

    def save_schedule(self, schedule: Schedule) -> None:
        """Insert a schedule of revision 1, or overwrite revision n-1 with revision n.

        Raises StaleSchedule if the stored revision is another, its cursor is later, or the name
        is taken.
        """
        raise self._no_schedules("save_schedule")

    def get_schedule(self, name: str) -> Schedule | None:
        """The schedule of this name; None if there is none."""
        return None

    def list_schedules(self) -> list[Schedule]:
        """Every schedule, by name."""
        return []

    def delete_schedule(self, name: str) -> bool:
        """Remove a schedule, its skips and notes, its jobs staying; True if it was there."""
        return False

    def due_schedules(self, now: datetime, *, limit: int = 1000) -> list[Schedule]:
        """At most `limit` active or paused schedules with `next_at` <= `now`, longest due first."""
        return []

    def next_schedule_at(self) -> datetime | None:
        """The earliest `next_at` of the active and paused schedules; None without any."""
        return None

    def record_expansions(self, expansions: Sequence[Expansion]) -> list[bool]:
        """Write each expansion whole, in ONE transaction: see `Expansion` for what belongs to it.

        True where it was written; False where the stored schedule is no longer `before`,
        because another was first: then nothing of it is written. Jobs whose id or occurrence is
        there already are left out; a skip overwrites the one with its first instant; a job is
        cancelled only while its status is still the one in the expansion.
        """
        raise self._no_schedules("record_expansions")

    def list_skips(
        self, schedule_id: str, start: datetime | None = None, end: datetime | None = None
    ) -> list[Skip]:
        """The recorded skips of a schedule, by `first_at`: those that reach into [start, end)."""
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
            "schedule verbs of JobStorage, or use SQLite, PostgreSQL or memory"
        )

    # --- the store itself ------------------------------------------------------------------

    def clear(self) -> None:
        """Remove every job, schedule and skip."""
        raise NotSupported(f"{type(self).__name__} cannot be cleared; implement clear")

    def prepare(self) -> None:
        """Make the store ready for use: an embedded one creates or upgrades its tables.

        Raises StorageUnavailable or SchemaMismatch.
        """
        self.check()

    def check(self) -> None:
        """Return if the store answers and its tables are of this version, else raise.

        Raises StorageUnavailable or SchemaMismatch.
        """
        self.get_job("")

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
    lease = stored.lease
    return (
        stored.status is JobStatus.PROCESSING
        and lease is not None
        and lease.token == settlement.token
        and (settlement.expired_by is None or lease.expires_at <= settlement.expired_by)
    )


def new_token() -> str:
    """A lease token that nobody else has."""
    return secrets.token_hex(8)


def or_clock(now: datetime | None) -> datetime:
    """`now`, or the clock's where the caller left it open."""
    return clock.now() if now is None else now
