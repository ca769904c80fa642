"""What the laws do with a storage, an act to a word."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any, TypeVar

from scheduler import lifecycle
from scheduler.model import (
    Action,
    Job,
    Note,
    Origin,
    Outcome,
    Schedule,
    Settlement,
    Skip,
    SkipReason,
)
from scheduler.storage import JobStorage
from scheduler.testing.values import HOUR, NOON, SECOND, a_job

T = TypeVar("T")
TTL = timedelta(seconds=30)
SMALLEST, LARGEST = -(2**31), 2**31 - 1
"""The range of every number that is not in JSON."""

THREADS = 4
"""How many do a thing at once, where it matters that only one may."""


def lease(storage: JobStorage, now: datetime = NOON, **given: Any) -> Job:
    """The next due job, which must be there."""
    job = storage.acquire_next_job(given.pop("ttl", TTL), now=now, **given)
    assert job is not None
    return job


def stored(storage: JobStorage, job: Job) -> Job:
    """The job of this id as it stands, which must be there."""
    found = storage.get_job(job.id)
    assert found is not None
    return found


def settlement(job: Job, outcome: Outcome, now: datetime = NOON + SECOND) -> Settlement:
    """What the holder of `job` writes when an attempt ended so."""
    return Settlement(lifecycle.settle(job, outcome, now=now), token(job))


def token(job: Job) -> str:
    """The token of a leased job."""
    assert job.lease is not None
    return job.lease.token


def ids(jobs: Sequence[Job]) -> list[str]:
    return [job.id for job in jobs]


def series(storage: JobStorage, n: int, **given: Any) -> list[Job]:
    """So many jobs of one schedule, an hour apart from NOON, all due: saved and pending."""
    made = [
        a_job(
            schedule_id="of-books",
            occurrence_at=NOON + number * HOUR,
            sequence=number + 1,
            origin=Origin.OCCURRENCE,
            **given,
        )
        for number in range(n)
    ]
    storage.save_jobs(made)
    return made


def a_note(schedule: Schedule, **given: Any) -> Note:
    """That `schedule` was edited at NOON."""
    return Note(
        **{
            "schedule_id": schedule.id,
            "revision": schedule.revision,
            "at": NOON,
            "action": Action.EDITED,
            **given,
        }
    )


def a_skip(schedule: Schedule, **given: Any) -> Skip:
    """That `schedule` missed an occurrence at NOON."""
    return Skip(
        **{
            "schedule_id": schedule.id,
            "reason": SkipReason.MISSED,
            "first_at": NOON,
            "last_at": given.get("first_at", NOON),
            "count": 1,
            "recorded_at": NOON,
            **given,
        }
    )


def at_once(calls: Sequence[Callable[[], T]]) -> list[T]:
    """What the calls return, each on a thread of its own, all let go at one moment."""
    gate = threading.Barrier(len(calls))

    def run(call: Callable[[], T]) -> T:
        gate.wait(timeout=10)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))
