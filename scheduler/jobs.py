"""What a person may do to single jobs: look at one and its attempts, call it off, try it again.

The moves are those of `lifecycle`; the store writes each over the job as it stands, whoever else
writes at that moment. Who runs a job that is called off learns it within a second, and lets go.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from scheduler import clock, lifecycle
from scheduler.errors import UnknownJobId
from scheduler.events import Event, EventName
from scheduler.model import Attempt, Job
from scheduler.storage import JobStorage

BY_HAND = "cancelled by hand"


class Jobs:
    """The jobs of one storage, by id.

    `emit` is told what was done, `wake` is called when there is something to run, and `now` is the
    time that the store is in.
    """

    def __init__(
        self,
        storage: JobStorage,
        *,
        emit: Callable[[Event], None] = lambda event: None,
        wake: Callable[[], None] = lambda: None,
        now: Callable[[], datetime] = clock.now,
    ) -> None:
        self._storage = storage
        self._emit = emit
        self._wake = wake
        self._now = now

    def get(self, job_id: str) -> Job:
        """The job of this id. Raises UnknownJobId."""
        job = self._storage.get_job(job_id)
        if job is None:
            raise UnknownJobId(job_id)
        return job

    def attempts(self, job: str | Job) -> list[Attempt]:
        """Every attempt of a job that is over, the first one first. Raises UnknownJobId."""
        found = self.get(job) if isinstance(job, str) else job
        return lifecycle.attempts(found, self._storage.list_attempts([found.id]))

    def cancel(self, job_id: str, *, reason: str = BY_HAND) -> Job:
        """Call off a job that is pending or processing; the job as it stands then.

        A handler under way is told, and its outcome is dropped. Raises UnknownJobId, and
        InvalidMove if the job has ended.
        """
        now = self._now()
        job = self._storage.move_job(
            job_id, lambda job: lifecycle.cancel(job, now=now, reason=reason)
        )
        self._emit(Event(EventName.CANCELLED, now, job))
        return job

    def retry(self, job_id: str) -> Job:
        """Have a job that failed or was cancelled tried once more, now; the job as it stands then.

        Raises UnknownJobId, and InvalidMove if it is neither.
        """
        now = self._now()
        job = self._storage.move_job(job_id, lambda job: lifecycle.revive(job, now=now))
        self._emit(Event(EventName.RETRYING, now, job))
        self._wake()
        return job
