"""BatchStorage: for stores whose own verbs are the batches; one at a time is a batch of one."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

from scheduler.flow import Limit
from scheduler.model import Job
from scheduler.storage.base import DEFAULT_TTL, JobStorage


class BatchStorage(JobStorage):
    """A storage that saves and acquires many jobs in one go."""

    def save_job(self, job: Job) -> None:
        self.save_jobs([job])

    @abstractmethod
    def save_jobs(self, jobs: Sequence[Job]) -> None:
        """Insert all of `jobs`, or none."""

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

    @abstractmethod
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
        """Lease up to `n` due jobs, in order of acquisition."""
