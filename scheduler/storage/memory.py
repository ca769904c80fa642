"""A store in this process's memory: one lock, dicts. For tests and for trying things.

It keeps every law of the interface, among threads; nothing outlives the process.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from scheduler import clock, lifecycle
from scheduler.errors import DuplicateJob, NaiveTime, StaleSchedule, UnknownJobId
from scheduler.expansion import Expansion
from scheduler.model import (
    Job,
    JobStatus,
    Lease,
    Schedule,
    ScheduleStatus,
    Settlement,
    Skip,
)
from scheduler.storage.base import (
    DEFAULT_TTL,
    JobStorage,
    holds,
    matches,
    new_token,
    or_clock,
)

Value = TypeVar("Value", Job, Schedule, Skip)


class MemoryStorage(JobStorage):
    """Jobs and schedules in dicts, guarded by one lock."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._jobs: dict[str, Job] = {}
        self._occurrences: set[tuple[str, datetime]] = set()
        self._schedules: dict[str, Schedule] = {}
        self._skips: list[Skip] = []

    def save_job(self, job: Job) -> None:
        self.save_jobs([job])

    def save_jobs(self, jobs: Sequence[Job]) -> None:
        with self._lock:
            ids = Counter(job.id for job in jobs)
            occurrences = Counter(key for job in jobs if (key := _occurrence(job)))
            for job in jobs:
                key = _occurrence(job)
                if job.id in self._jobs or ids[job.id] > 1:
                    raise DuplicateJob(f"job {job.id}: its id is already taken")
                if key is not None and (key in self._occurrences or occurrences[key] > 1):
                    raise DuplicateJob(f"job {job.id}: its occurrence {key[1]} has a job already")
            self._jobs.update({job.id: _in_utc(job) for job in jobs})  # all, then written
            self._occurrences.update(occurrences)

    def get_job(self, job_id: str) -> Job | None:
        with self._lock:
            return self._jobs.get(job_id)

    def get_jobs_by_status(self, status: JobStatus) -> list[Job]:
        with self._lock:
            return sorted((j for j in self._jobs.values() if j.status is status), key=_order)

    def update_job(self, job: Job) -> None:
        with self._lock:
            if job.id not in self._jobs:
                raise UnknownJobId(job.id)
            self._jobs[job.id] = _in_utc(job)

    def acquire_next_job(
        self,
        ttl: timedelta = DEFAULT_TTL,
        *,
        handler_names: Collection[str] | None = None,
        queue: str | None = None,
        worker: str = "",
        now: datetime | None = None,
    ) -> Job | None:
        jobs = self.acquire_next_jobs(
            1, handler_names=handler_names, queue=queue, ttl=ttl, worker=worker, now=now
        )
        return jobs[0] if jobs else None

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
        lease = Lease(new_token(), at + ttl)
        with self._lock:
            due = [
                job
                for job in self.get_jobs_by_status(JobStatus.PENDING)
                if job.scheduled_at <= at and matches(job, handler_names, queue)
            ]
            taken = [lifecycle.acquire(job, lease, worker=worker, now=at) for job in due[:n]]
            self._jobs.update((job.id, job) for job in taken)
        return taken

    def complete_job(self, job_id: str, result: Any = None) -> None:
        self._move(job_id, lambda job: lifecycle.complete(job, result, now=clock.now()))

    def fail_job(self, job_id: str, error: str) -> None:
        self._move(job_id, lambda job: lifecycle.fail(job, error, now=clock.now()))

    def _move(self, job_id: str, move: Callable[[Job], Job]) -> None:
        with self._lock:
            job = self._jobs.get(job_id)
            if job is None:
                raise UnknownJobId(job_id)
            self._jobs[job_id] = move(job)

    def settle_jobs(self, settlements: Sequence[Settlement]) -> list[bool]:
        with self._lock:
            written = []
            for settlement in settlements:
                stored = self._jobs.get(settlement.job.id)
                held = stored is not None and holds(stored, settlement)
                if held:
                    self._jobs[settlement.job.id] = settlement.job
                written.append(held)
            return written

    def renew_leases(self, tokens: Mapping[str, str], *, expires_at: datetime) -> set[str]:
        with self._lock:
            return super().renew_leases(tokens, expires_at=expires_at)

    def save_schedule(self, schedule: Schedule) -> None:
        with self._lock:
            stored = self._schedules.get(schedule.name)
            expected = None if schedule.revision == 1 else (schedule.id, schedule.revision - 1)
            if (stored and (stored.id, stored.revision)) != expected:
                raise StaleSchedule(f"schedule {schedule.name!r}: written by another meanwhile")
            self._schedules[schedule.name] = _in_utc(schedule)

    def get_schedule(self, name: str) -> Schedule | None:
        with self._lock:
            return self._schedules.get(name)

    def list_schedules(self) -> list[Schedule]:
        with self._lock:
            return [schedule for _, schedule in sorted(self._schedules.items())]

    def delete_schedule(self, name: str) -> bool:
        with self._lock:
            removed = self._schedules.pop(name, None)
            if removed is not None:
                self._skips = [skip for skip in self._skips if skip.schedule_id != removed.id]
            return removed is not None

    def due_schedules(self, now: datetime, *, limit: int = 1000) -> list[Schedule]:
        due = [(at, schedule) for at, schedule in self._waiting() if at <= now]
        return [schedule for _, schedule in due[:limit]]

    def next_schedule_at(self) -> datetime | None:
        return next((at for at, _ in self._waiting()), None)

    def _waiting(self) -> list[tuple[datetime, Schedule]]:
        with self._lock:
            waiting = [
                (schedule.next_at, schedule)
                for schedule in self._schedules.values()
                if schedule.status is ScheduleStatus.ACTIVE and schedule.next_at is not None
            ]
        return sorted(waiting, key=lambda each: (each[0], each[1].id))

    def record_expansions(self, expansions: Sequence[Expansion]) -> list[bool]:
        with self._lock:
            won = [self._is_current(each.before) for each in expansions]
            writable = [each for each, is_won in zip(expansions, won, strict=True) if is_won]
            # The jobs first: only they can be refused, and then nothing has been written.
            self.save_jobs([job for each in writable for job in each.jobs if self._is_new(job)])
            for each in writable:
                self._schedules[each.after.name] = _in_utc(each.after)
                self._skips.extend(map(_in_utc, each.skips))
            return won

    def _is_current(self, before: Schedule) -> bool:
        stored = self._schedules.get(before.name)
        return stored is not None and (stored.id, stored.revision) == (before.id, before.revision)

    def _is_new(self, job: Job) -> bool:
        return job.id not in self._jobs and _occurrence(job) not in self._occurrences

    def list_skips(self, schedule_id: str) -> list[Skip]:
        with self._lock:
            skips = [skip for skip in self._skips if skip.schedule_id == schedule_id]
        return sorted(skips, key=lambda skip: skip.first_at)

    def clear(self) -> None:
        with self._lock:
            self._jobs.clear()
            self._occurrences.clear()
            self._schedules.clear()
            self._skips.clear()


def _in_utc(value: Value) -> Value:
    """`value` with its instants in UTC, as every store gives them back. Raises NaiveTime."""
    moved: dict[str, Any] = {}
    for field in fields(value):
        moment = getattr(value, field.name)
        if isinstance(moment, datetime) and moment.tzinfo is not UTC:
            if moment.tzinfo is None:
                raise NaiveTime(field.name, moment)
            moved[field.name] = moment.astimezone(UTC)
    return replace(value, **moved) if moved else value


def _order(job: Job) -> tuple[int, datetime, str]:
    return job.priority, job.scheduled_at, job.id


def _occurrence(job: Job) -> tuple[str, datetime] | None:
    if job.schedule_id is None or job.occurrence_at is None:
        return None
    return job.schedule_id, job.occurrence_at
