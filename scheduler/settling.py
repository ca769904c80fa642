"""How attempts end on record: outcomes become states of jobs, written in batches and then told.

Every write is fenced by the lease token: who lost a lease learns it from the store and its outcome
is dropped. An outcome that the store cannot hold fails its own job and holds up no other.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple

from scheduler import faults, lifecycle
from scheduler.errors import StorageError, StorageUnavailable, described
from scheduler.events import EventName, Events
from scheduler.logs import logger
from scheduler.model import (
    Committed,
    Expired,
    Failed,
    Job,
    JobStatus,
    Outcome,
    Settlement,
    replace,
)
from scheduler.retries import RetryPolicy
from scheduler.storage import JobStorage

log = logger(__name__)

_EVENTS = {
    JobStatus.COMPLETED: EventName.COMPLETED,
    JobStatus.FAILED: EventName.FAILED,
    JobStatus.CANCELLED: EventName.CANCELLED,
}


Write = Callable[[Sequence[Settlement]], list[bool]]
"""What writes settlements as `JobStorage.settle_jobs` does."""


class Ended(NamedTuple):
    """An attempt that is over at `at`, and not yet written.

    `started_at` is when its handler was called; None if it never was.
    """

    job: Job
    token: str
    outcome: Outcome
    at: datetime
    started_at: datetime | None = None


class Settler:
    """Writes how the attempts of one executor ended, and rescues those that others abandoned.

    `retries` gives the policy of the jobs of a name.
    """

    def __init__(
        self,
        storage: JobStorage,
        *,
        retries: Callable[[str], RetryPolicy],
        events: Events,
    ) -> None:
        self._storage = storage
        self._retries = retries
        self._events = events
        self._ended: list[Ended] = []
        self._settling = threading.Lock()

    def __len__(self) -> int:
        """How many outcomes are not yet written."""
        return len(self._ended)

    def tokens(self) -> dict[str, str]:
        """The leases of the jobs whose outcomes are not yet written, by their ids."""
        return {each.job.id: each.token for each in self._ended[:]}

    def add(self, ended: Ended) -> None:
        """Take in an attempt that is over, for the next `settle`."""
        self._ended.append(ended)

    def settle(self, now: datetime, write: Write | None = None) -> None:
        """Write what ended, in one batch; drop the outcomes of leases that were lost.

        `write` is tried in place of `storage.settle_jobs`, with all of them. Raises
        StorageUnavailable; what was not written then is kept for the next call.
        """
        with self._settling:
            one_by_one = 0
            while self._ended:
                batch = self._ended[:1] if one_by_one else self._ended[:]
                try:
                    self._write(batch, now, write or self._storage.settle_jobs)
                except (StorageUnavailable, OSError):
                    raise
                except Exception as error:  # noqa: BLE001 - whatever a store refuses a value with
                    if write is not None:
                        write = None
                    elif len(batch) > 1:  # which of them is it?
                        one_by_one = len(batch)
                    else:
                        self._ended[0] = _refused(batch[0], error)
                else:
                    one_by_one = max(0, one_by_one - 1)

    def _write(self, ended: Sequence[Ended], now: datetime, write: Write) -> None:
        """Write, tell, and forget the first of what ended."""
        settlements = [self._settlement(each) for each in ended]
        # What a handler committed itself is written already.
        done = [isinstance(each.outcome, Committed) for each in ended]
        wanting = [each for each, is_done in zip(settlements, done, strict=True) if not is_done]
        faults.point("executor.settle.before")
        held = iter(write(wanting) if wanting else ())
        faults.point("executor.settle.after")
        del self._ended[: len(ended)]
        for settlement, is_done in zip(settlements, done, strict=True):
            job = settlement.job
            if is_done or next(held):
                self._tell(job, now)
            else:
                log.warning("outcome dropped: the lease was lost", job=job.name, id=job.id)
                self._events.tell(EventName.LEASE_LOST, now, job)

    def _settlement(self, ended: Ended) -> Settlement:
        job, outcome, at = ended.job, ended.outcome, ended.at
        settled = lifecycle.settle(job, outcome, now=at, retries=self._retries(job.name))
        tried = None
        if ended.started_at is not None:
            tried = lifecycle.attempt(job, outcome, started_at=ended.started_at, now=at)
        return Settlement(settled, ended.token, attempt=tried)

    def rescue(self, now: datetime) -> None:
        """Settle as failed attempts all jobs whose executor stopped renewing their lease."""
        # Batch by batch, as long as it is this executor that rescues them.
        while self._rescue_some(now):
            pass

    def _rescue_some(self, now: datetime) -> bool:
        """Rescue a batch; whether any of it was there to be rescued."""
        settlements = [
            replace(
                self._settlement(Ended(job, token_of(job), Expired(), now, job.started_at)),
                expired_by=now,
            )
            for job in self._storage.get_expired_jobs(now)
        ]
        if not settlements:
            return False
        faults.point("executor.rescue.before")
        written = self._storage.settle_jobs(settlements)
        faults.point("executor.rescue.after")
        for settlement, is_written in zip(settlements, written, strict=True):
            if is_written:
                job = settlement.job
                log.warning("job rescued", job=job.name, id=job.id, worker=job.worker)
                self._events.tell(EventName.RESCUED, now, job)
                self._tell(job, now)
        return any(written)

    def _tell(self, job: Job, now: datetime) -> None:
        if job.status is JobStatus.PENDING:
            name = EventName.RELEASED if job.started_at is None else EventName.RETRYING
        else:
            name = _EVENTS[job.status]
        self._events.tell(name, now, job)


def token_of(job: Job) -> str:
    """The lease token of an acquired job. Raises StorageError if it has none."""
    if job.lease is None:
        raise StorageError(f"job {job.id}: the storage handed it out without a lease")
    return job.lease.token


def _refused(ended: Ended, error: Exception) -> Ended:
    """`ended` with, in the place of an outcome that the store cannot hold, that it cannot.

    Raises `error` where that is refused, too.
    """
    if isinstance(ended.outcome, Failed) and ended.outcome.error.startswith(_REFUSED):
        raise error
    log.error("outcome refused by the store", job=ended.job.name, id=ended.job.id, exc_info=error)
    failed = Failed(f"{_REFUSED}: {described(error)}", is_final=True)
    return ended._replace(outcome=failed)


_REFUSED = "the store refused the outcome"
