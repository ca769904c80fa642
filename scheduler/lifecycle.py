"""The life of a job: every state, and every move between them.

All moves live in TRANSITIONS; storages persist results and decide nothing.
Pure: no clock, no I/O.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Any, assert_never

from scheduler.errors import InvalidMove
from scheduler.model import (
    Completed,
    Expired,
    Failed,
    Job,
    JobStatus,
    Lease,
    Outcome,
    Released,
)


class Move(StrEnum):
    """What can happen to a job, and who does it."""

    ACQUIRE = "acquire"
    """An executor leases it, at or after `scheduled_at`."""
    COMPLETE = "complete"
    """Its handler returned."""
    RETRY = "retry"
    """An attempt failed or its lease expired, and retries are left."""
    FAIL = "fail"
    """An attempt failed or its lease expired, and no retry is left."""
    RELEASE = "release"
    """Its executor gives it back undone, on shutdown."""
    CANCEL = "cancel"
    """A person or an edit of its schedule calls it off."""


TRANSITIONS = MappingProxyType(
    {
        (JobStatus.PENDING, Move.ACQUIRE): JobStatus.PROCESSING,
        (JobStatus.PENDING, Move.CANCEL): JobStatus.CANCELLED,
        (JobStatus.PROCESSING, Move.COMPLETE): JobStatus.COMPLETED,
        (JobStatus.PROCESSING, Move.RETRY): JobStatus.PENDING,
        (JobStatus.PROCESSING, Move.FAIL): JobStatus.FAILED,
        (JobStatus.PROCESSING, Move.RELEASE): JobStatus.PENDING,
        (JobStatus.PROCESSING, Move.CANCEL): JobStatus.CANCELLED,
    }
)
"""Every legal move. What is not here is refused with InvalidMove."""

FIRST_BACKOFF = timedelta(seconds=1)
LONGEST_BACKOFF = timedelta(hours=1)


def backoff(retry_count: int) -> timedelta:
    """How long retry number `retry_count` (from 1) waits: 1 s, 2 s, 4 s, … at most 1 hour."""
    doublings = min(retry_count - 1, 12)  # 2**12 s is past the hour; the cap does the rest
    return min(FIRST_BACKOFF * (1 << doublings), LONGEST_BACKOFF)


def acquire(job: Job, lease: Lease, *, worker: str, now: datetime) -> Job:
    """`job` leased to `worker`. `started_at` is now, until the attempt's own start is known."""
    return replace(
        job,
        status=_moved(job, Move.ACQUIRE),
        lease=lease,
        worker=worker,
        started_at=now,
        completed_at=None,
    )


def settle(job: Job, outcome: Outcome, *, now: datetime, started_at: datetime | None = None) -> Job:
    """`job` after an attempt that ended with `outcome` at `now`.

    `started_at` is when the attempt began, where that is later than the acquisition.
    """
    is_later = started_at is not None and started_at != job.started_at
    ended = replace(job, started_at=started_at) if is_later else job
    match outcome:
        case Completed(result):
            return complete(ended, result, now=now)
        case Failed(error):
            return fail(ended, error, now=now)
        case Released():
            return replace(job, status=_moved(job, Move.RELEASE), lease=None, started_at=None)
        case Expired():
            return fail(ended, f"lease expired: {job.worker} stopped renewing it", now=now)
        case _:
            assert_never(outcome)


def complete(job: Job, result: Any, *, now: datetime) -> Job:
    """`job` done, with its handler's result."""
    return replace(
        job,
        status=_moved(job, Move.COMPLETE),
        result=result,
        error=None,
        completed_at=now,
        lease=None,
    )


def fail(job: Job, error: str, *, now: datetime) -> Job:
    """`job` after a failed attempt: pending again after a backoff, or failed for good."""
    error = storable(error)
    if job.retry_count < job.max_retries:
        retry_count = job.retry_count + 1
        return replace(
            job,
            status=_moved(job, Move.RETRY),
            error=error,
            retry_count=retry_count,
            scheduled_at=now + backoff(retry_count),
            lease=None,
        )
    return replace(job, status=_moved(job, Move.FAIL), error=error, completed_at=now, lease=None)


def storable(text: str) -> str:
    """`text` as every store can hold it: NUL and lone surrogates, as in file names, escaped."""
    return text.encode(errors="backslashreplace").decode().replace("\x00", "\\x00")


def cancel(job: Job, *, now: datetime) -> Job:
    """`job` called off."""
    return replace(job, status=_moved(job, Move.CANCEL), completed_at=now, lease=None)


def _moved(job: Job, move: Move) -> JobStatus:
    try:
        return TRANSITIONS[job.status, move]
    except KeyError:
        allowed = [source for source, name in TRANSITIONS if name is move]
        raise InvalidMove(job.id, move, job.status, allowed) from None
