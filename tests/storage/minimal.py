"""A storage of somebody's own: the seven verbs of JobStorage, and nothing else."""

from __future__ import annotations

import threading
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from scheduler import clock, lifecycle
from scheduler.errors import DuplicateJob, UnknownJobId
from scheduler.model import Job, JobStatus, Lease
from scheduler.storage import JobStorage
from scheduler.storage.base import DEFAULT_TTL, matches, new_token


class MinimalStorage(JobStorage):
    """Jobs in a dict, as a first version of a custom storage has them."""

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self._lock = threading.RLock()

    def save_job(self, job: Job) -> None:
        with self._lock:
            if job.id in self.jobs:
                raise DuplicateJob(f"job {job.id}: there already")
            self.jobs[job.id] = job

    def get_job(self, job_id: str) -> Job | None:
        return self.jobs.get(job_id)

    def get_jobs_by_status(self, status: JobStatus) -> list[Job]:
        with self._lock:
            found = [job for job in self.jobs.values() if job.status is status]
        return sorted(found, key=lambda job: (job.priority, job.scheduled_at, job.id))

    def update_job(self, job: Job) -> None:
        with self._lock:
            if job.id not in self.jobs:
                raise UnknownJobId(job.id)
            self.jobs[job.id] = job

    def acquire_next_job(
        self,
        ttl: timedelta = DEFAULT_TTL,
        *,
        handler_names: Collection[str] | None = None,
        queue: str | None = None,
        worker: str = "",
        now: datetime | None = None,
    ) -> Job | None:
        at = now or clock.now()
        with self._lock:
            for job in self.get_jobs_by_status(JobStatus.PENDING):
                if job.scheduled_at <= at and matches(job, handler_names, queue):
                    lease = Lease(new_token(), at + ttl)
                    self.jobs[job.id] = lifecycle.acquire(job, lease, worker=worker, now=at)
                    return self.jobs[job.id]
        return None

    def complete_job(self, job_id: str, result: Any = None) -> None:
        self._end(job_id, lambda job: lifecycle.complete(job, result, now=clock.now()))

    def fail_job(self, job_id: str, error: str) -> None:
        self._end(job_id, lambda job: lifecycle.fail(job, error, now=clock.now()))

    def _end(self, job_id: str, move: Any) -> None:
        with self._lock:
            if job_id not in self.jobs:
                raise UnknownJobId(job_id)
            self.jobs[job_id] = move(self.jobs[job_id])
