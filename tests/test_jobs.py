"""What a person may do to single jobs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from scheduler import JobQueue
from scheduler.errors import InvalidMove, UnknownJobId
from scheduler.events import Event
from scheduler.model import Ending, JobStatus
from scheduler.testing.values import NOON, SECOND


@pytest.fixture
def queue(store_url: str) -> Iterator[JobQueue]:
    """A queue, not started, whose job `work` fails once it runs."""
    with JobQueue(store_url) as queue:
        queue.storage.upgrade()
        queue.register("work", lambda: 1 / 0, max_retries=0)
        yield queue


def test_a_job_that_waits_is_called_off(queue: JobQueue) -> None:
    """With the reason, and told so; once is enough."""
    told: list[Event] = []
    queue.add_event_listener("cancelled", told.append)
    job = queue.jobs.cancel(queue.add("work").id, reason="no longer wanted")
    assert (job.status, job.error) == (JobStatus.CANCELLED, "no longer wanted")
    assert queue.get_job(job.id) == job
    assert [event.job for event in told] == [job]
    with pytest.raises(InvalidMove, match="cannot cancel while cancelled; only while pending"):
        queue.jobs.cancel(job.id)


def test_a_job_that_runs_loses_its_lease_when_it_is_called_off(queue: JobQueue) -> None:
    """What its handler does then is not written."""
    queue.add("work")
    [taken] = queue.storage.acquire_next_jobs(1, worker="here")
    assert taken.lease is not None
    queue.jobs.cancel(taken.id)
    assert queue.storage.held_leases({taken.id: taken.lease.token}) == set()


def test_an_attempt_that_was_called_off_is_on_record(queue: JobQueue) -> None:
    """With who ran it, and why it ended; a job that only waited had none."""
    queue.add("work")
    [taken] = queue.storage.acquire_next_jobs(1, worker="here", now=queue.clock.now())
    ended = queue.jobs.cancel(taken.id, reason="enough")
    [attempt] = queue.jobs.attempts(ended)
    assert (attempt.number, attempt.ending, attempt.error) == (1, Ending.CANCELLED, "enough")
    assert (attempt.worker, attempt.started_at) == ("here", taken.started_at)
    assert attempt.ended_at == ended.completed_at
    waiting = queue.jobs.cancel(queue.add("work").id)
    assert queue.jobs.attempts(waiting) == []


def test_a_failed_job_is_tried_once_more(queue: JobQueue) -> None:
    """Its attempts go on being counted."""
    job = queue.add("work")
    queue.executor.run_until_idle(queue.clock.now())
    assert queue.jobs.get(job.id).status is JobStatus.FAILED
    revived = queue.jobs.retry(job.id)
    assert (revived.status, revived.retry_count, revived.max_retries) == ("pending", 1, 1)
    queue.executor.run_until_idle(queue.clock.now())
    assert queue.jobs.get(job.id).status is JobStatus.FAILED
    first, second = queue.jobs.attempts(job.id)
    assert [first.number, second.number] == [1, 2]
    assert first.ending is second.ending is Ending.FAILED
    assert second.error == "ZeroDivisionError: division by zero"


def test_a_job_that_never_ran_keeps_its_first_attempt(queue: JobQueue) -> None:
    job = queue.add("work", scheduled_at=NOON + SECOND)
    queue.jobs.cancel(job.id)
    assert queue.jobs.retry(job.id).retry_count == 0


def test_what_is_not_there_is_said_so(queue: JobQueue) -> None:
    for act in (queue.jobs.get, queue.jobs.cancel, queue.jobs.retry, queue.jobs.attempts):
        with pytest.raises(UnknownJobId, match="job nothing: not in the store"):
            act("nothing")
    with pytest.raises(InvalidMove, match="cannot revive while pending; only while failed"):
        queue.jobs.retry(queue.add("work").id)
