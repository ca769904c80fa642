"""The life of a job: which moves there are, and what each makes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from scheduler import lifecycle
from scheduler.errors import InvalidMove
from scheduler.lifecycle import TRANSITIONS, Move
from scheduler.model import (
    Completed,
    Expired,
    Failed,
    Job,
    JobStatus,
    Lease,
    Released,
)
from scheduler.retries import DEFAULT_BACKOFF
from scheduler.testing.values import MINUTE, NOON, SECOND, a_job

LEASE = Lease("token", NOON + MINUTE)
LATER = NOON + SECOND

MOVES: dict[Move, Callable[[Job], Job]] = {
    Move.ACQUIRE: lambda job: lifecycle.acquire(job, LEASE, worker="w", now=LATER),
    Move.COMPLETE: lambda job: lifecycle.complete(job, 1, now=LATER),
    Move.RETRY: lambda job: lifecycle.fail(replace(job, max_retries=1), "boom", now=LATER),
    Move.FAIL: lambda job: lifecycle.fail(job, "boom", now=LATER),
    Move.RELEASE: lambda job: lifecycle.settle(job, Released(), now=LATER),
    Move.CANCEL: lambda job: lifecycle.cancel(job, now=LATER),
    Move.REVIVE: lambda job: lifecycle.revive(job, now=LATER),
}


def running(**given: object) -> Job:
    """A job under way."""
    return lifecycle.acquire(a_job(**given), LEASE, worker="host:1", now=NOON)


@pytest.mark.parametrize("move", Move)
@pytest.mark.parametrize("status", JobStatus)
def test_the_table_is_what_happens(status: JobStatus, move: Move) -> None:
    """Every move of the table leads where it says; every other is refused, naming both."""
    job = a_job(status=status)
    target = TRANSITIONS.get((status, move))
    if target is None:
        with pytest.raises(InvalidMove, match=f"cannot {move} while {status}; only while"):
            MOVES[move](job)
    else:
        assert MOVES[move](job).status is target


def test_what_has_ended_stays_ended_unless_a_person_revives_it() -> None:
    """What completed is final; what failed or was cancelled may be tried once more."""
    final = {JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED}
    left = {(source, move) for source, move in TRANSITIONS if source in final}
    assert left == {(JobStatus.FAILED, Move.REVIVE), (JobStatus.CANCELLED, Move.REVIVE)}


def test_every_move_is_in_the_table() -> None:
    """And every state can be reached, or is where a job begins."""
    assert {move for _, move in TRANSITIONS} == set(Move)
    assert {*TRANSITIONS.values(), JobStatus.PENDING} == set(JobStatus)


def test_an_acquired_job_is_leased() -> None:
    """To its worker, since now; what an earlier attempt left behind stays readable."""
    job = a_job(error="earlier", retry_count=1)
    assert lifecycle.acquire(job, LEASE, worker="w", now=LATER) == replace(
        job, status=JobStatus.PROCESSING, lease=LEASE, worker="w", started_at=LATER
    )


def test_a_completed_job_has_its_result_and_no_error() -> None:
    """The error of an attempt that failed before is gone."""
    job = running(error="earlier", retry_count=1)
    assert lifecycle.settle(job, Completed({"n": 1}), now=LATER) == replace(
        job,
        status=JobStatus.COMPLETED,
        result={"n": 1},
        error=None,
        completed_at=LATER,
        lease=None,
    )


def test_a_failed_attempt_with_retries_left_waits() -> None:
    """Pending, later by the backoff, one retry more, and why."""
    job = running(max_retries=3, retry_count=1)
    assert lifecycle.settle(job, Failed("boom"), now=LATER) == replace(
        job,
        status=JobStatus.PENDING,
        error="boom",
        retry_count=2,
        scheduled_at=LATER + DEFAULT_BACKOFF.wait(2, job.id),
        lease=None,
    )


@pytest.mark.parametrize("retries", [0, 3])
def test_a_failed_attempt_without_retries_left_is_the_end(retries: int) -> None:
    """Its instants stay; its retries are not counted past the limit."""
    job = running(max_retries=retries, retry_count=retries)
    assert lifecycle.settle(job, Failed("boom"), now=LATER) == replace(
        job, status=JobStatus.FAILED, error="boom", completed_at=LATER, lease=None
    )


def test_a_released_job_is_as_if_never_taken() -> None:
    """No attempt is counted, and it is due as it was."""
    job = a_job(max_retries=3, retry_count=1, error="earlier")
    taken = lifecycle.acquire(job, LEASE, worker="host:1", now=NOON)
    assert lifecycle.settle(taken, Released(), now=LATER) == replace(job, worker="host:1")


@pytest.mark.parametrize(("max_retries", "status"), [(0, "failed"), (1, "pending")])
def test_an_expired_lease_counts_as_an_attempt(max_retries: int, status: str) -> None:
    """And the error names who stopped renewing it."""
    job = lifecycle.settle(running(max_retries=max_retries), Expired(), now=LATER)
    assert (job.status, job.retry_count) == (status, max_retries)
    assert job.error == "lease expired: host:1 stopped renewing it"


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("plain\ntwo lines ž 🐎", "plain\ntwo lines ž 🐎"),
        ("a\x00b", r"a\x00b"),
        ("file \udce4", r"file \udce4"),
    ],
)
def test_an_error_is_text_that_every_store_can_hold(text: str, stored: str) -> None:
    """NUL and lone surrogates are escaped, the rest stays as it is."""
    assert lifecycle.fail(running(), text, now=LATER).error == stored


@pytest.mark.parametrize("length", [5_000, 50_000_000])
def test_of_a_long_error_the_start_is_kept(length: int) -> None:
    """As of a reason: an exception may repeat all it was given, and whoever lists jobs reads it."""
    text = "x" * length
    cut = f"{'x' * 4096}… {length - 4096} characters left out"
    assert lifecycle.fail(running(), text, now=LATER).error == cut
    assert lifecycle.cancel(running(), reason=text, now=LATER).error == cut
    tried = lifecycle.attempt(running(), Failed(text), started_at=NOON, now=LATER)
    assert tried is not None
    assert tried.error == cut


def test_a_revived_job_has_the_attempts_that_it_had() -> None:
    """One that was called off while it waited for its second has that one still before it."""
    failed = lifecycle.fail(running(max_retries=3), "boom", now=LATER)
    revived = lifecycle.revive(lifecycle.cancel(failed, now=LATER), now=LATER)
    assert (revived.retry_count, revived.max_retries) == (1, 3)
    again = lifecycle.acquire(revived, LEASE, worker="host:1", now=LATER)
    revived = lifecycle.revive(lifecycle.cancel(again, now=LATER), now=LATER)
    assert (revived.retry_count, revived.max_retries) == (2, 3)
