"""The life of a job: every state, and every move between them.

All moves live in TRANSITIONS; storages persist results and decide nothing.
Pure: no clock, no I/O.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Any, assert_never

from scheduler.errors import InvalidMove, shortened
from scheduler.model import (
    Attempt,
    Cancelled,
    Committed,
    Completed,
    Ending,
    Expired,
    Failed,
    Job,
    JobStatus,
    Lease,
    Outcome,
    Released,
    replace,
)
from scheduler.retries import DEFAULT_POLICY, RetryPolicy


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
    """A person, an edit of its schedule, or its own handler calls it off."""
    REVIVE = "revive"
    """A person has it tried once more."""


TRANSITIONS = MappingProxyType(
    {
        (JobStatus.PENDING, Move.ACQUIRE): JobStatus.PROCESSING,
        (JobStatus.PENDING, Move.CANCEL): JobStatus.CANCELLED,
        (JobStatus.PROCESSING, Move.COMPLETE): JobStatus.COMPLETED,
        (JobStatus.PROCESSING, Move.RETRY): JobStatus.PENDING,
        (JobStatus.PROCESSING, Move.FAIL): JobStatus.FAILED,
        (JobStatus.PROCESSING, Move.RELEASE): JobStatus.PENDING,
        (JobStatus.PROCESSING, Move.CANCEL): JobStatus.CANCELLED,
        (JobStatus.FAILED, Move.REVIVE): JobStatus.PENDING,
        (JobStatus.CANCELLED, Move.REVIVE): JobStatus.PENDING,
    }
)
"""Every legal move. What is not here is refused with InvalidMove."""

LATEST_INSTANT = datetime.max.replace(tzinfo=UTC)


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


def settle(
    job: Job, outcome: Outcome, *, now: datetime, retries: RetryPolicy = DEFAULT_POLICY
) -> Job:
    """`job` after an attempt that ended with `outcome` at `now`."""
    match outcome:
        case Completed(result):
            return complete(job, result, now=now)
        case Committed(written):
            return written
        case Failed(error):
            return fail(job, error, now=now, failed=outcome, retries=retries)
        case Cancelled(reason):
            return cancel(job, now=now, reason=reason)
        case Released():
            return replace(job, status=_moved(job, Move.RELEASE), lease=None, started_at=None)
        case Expired():
            return fail(job, _expired(job), now=now, retries=retries)
        case _:
            assert_never(outcome)


def attempt(job: Job, outcome: Outcome, *, started_at: datetime, now: datetime) -> Attempt | None:
    """The record of an attempt of `job`, which was leased, that ended with `outcome` at `now`.

    None where the job itself will say all there is: it was completed, and nothing was logged.
    """
    said: dict[str, Any]
    match outcome:
        case Completed() if not outcome.log:
            return None
        case Committed():
            return None  # it was written with the outcome
        case Completed():
            said = {"ending": Ending.COMPLETED, "log": outcome.log}
        case Failed():
            trace = None if outcome.traceback is None else storable(outcome.traceback)
            said = {"ending": Ending.FAILED, "error": outcome.error, "log": outcome.log}
            said["traceback"] = trace
        case Cancelled():
            said = {"ending": Ending.CANCELLED, "error": outcome.reason, "log": outcome.log}
        case Released():
            said = {"ending": Ending.RELEASED}
        case Expired():
            said = {"ending": Ending.EXPIRED, "error": _expired(job)}
        case _:
            assert_never(outcome)
    if "error" in said:
        said["error"] = _kept(said["error"])
    said["log"] = tuple(map(storable, said.get("log", ())))
    return Attempt(
        job_id=job.id,
        number=job.retry_count + 1,
        started_at=started_at,
        ended_at=now,
        worker=job.worker,
        **said,
    )


def attempts(job: Job, recorded: Sequence[Attempt]) -> list[Attempt]:
    """Every attempt of `job` that is over: those `recorded`, and the one it tells of itself.

    That is the last one, where it was completed, or called off while it ran.
    """
    found = sorted(recorded, key=lambda each: (each.started_at, each.number))
    ending = _TOLD.get(job.status)
    number = job.retry_count + 1
    is_recorded = any(each.number == number and each.ending is ending for each in found)
    is_begun = job.status is JobStatus.COMPLETED or _is_begun(job)
    if ending is None or is_recorded or not is_begun or job.completed_at is None:
        return found
    last = Attempt(
        job_id=job.id,
        number=number,
        started_at=job.started_at or job.completed_at,
        ended_at=job.completed_at,
        worker=job.worker,
        ending=ending,
        error=job.error,
    )
    return [*found, last]


_TOLD = {JobStatus.COMPLETED: Ending.COMPLETED, JobStatus.CANCELLED: Ending.CANCELLED}


def _is_begun(job: Job) -> bool:
    """Whether its present attempt was begun: a job that waits has the start of the one before."""
    return job.started_at is not None and job.started_at >= job.scheduled_at


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


def fail(
    job: Job,
    error: str,
    *,
    now: datetime,
    failed: Failed | None = None,
    retries: RetryPolicy = DEFAULT_POLICY,
) -> Job:
    """`job` after a failed attempt: pending again after a wait, or failed for good.

    `failed` may say that it is final, or how long to wait; else `retries` does.
    """
    error = _kept(error)
    is_final = failed is not None and failed.is_final
    if is_final or job.retry_count >= job.max_retries:
        return replace(
            job, status=_moved(job, Move.FAIL), error=error, completed_at=now, lease=None
        )
    retry_count = job.retry_count + 1
    wait = failed.retry_in if failed is not None else None
    if wait is None:
        wait = retries.wait(retry_count, job.id)
    return replace(
        job,
        status=_moved(job, Move.RETRY),
        error=error,
        retry_count=retry_count,
        scheduled_at=_after(now, wait),
        lease=None,
    )


def revive(job: Job, *, now: datetime) -> Job:
    """`job`, failed or cancelled, due once more at `now`.

    Its attempts go on being counted, and it gets at least one.
    """
    retry_count = job.retry_count + _is_begun(job)
    return replace(
        job,
        status=_moved(job, Move.REVIVE),
        retry_count=retry_count,
        max_retries=max(job.max_retries, retry_count),
        scheduled_at=now,
        started_at=None,
        completed_at=None,
    )


def storable(text: str) -> str:
    """`text` as every store can hold it: NUL and lone surrogates, as in file names, escaped."""
    if text.isascii() and "\x00" not in text:
        return text
    return text.encode(errors="backslashreplace").decode().replace("\x00", "\\x00")


def _kept(text: str) -> str:
    """`text`, which says why a job stands as it does, as it is put on record."""
    return storable(shortened(text))


def cancel(job: Job, *, now: datetime, reason: str | None = None) -> Job:
    """`job` called off, for a `reason` that stands where an error would."""
    error = job.error if reason is None else _kept(reason)
    status = _moved(job, Move.CANCEL)
    return replace(job, status=status, error=error, completed_at=now, lease=None)


def _expired(job: Job) -> str:
    return f"lease expired: {job.worker} stopped renewing it"


def _after(now: datetime, wait: timedelta) -> datetime:
    """`now` and so much later, or the last instant there is."""
    return now + wait if wait < LATEST_INSTANT - now else LATEST_INSTANT


def _moved(job: Job, move: Move) -> JobStatus:
    try:
        return TRANSITIONS[job.status, move]
    except KeyError:
        allowed = [source for source, name in TRANSITIONS if name is move]
        raise InvalidMove(job.id, move, job.status, allowed) from None
