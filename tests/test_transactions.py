"""What a handler writes through its connection: with its job's completion, or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import text

from scheduler import Job, JobContext, JobQueue, lifecycle
from scheduler.errors import NotSupported
from scheduler.model import JobStatus
from scheduler.storage.sql import SQLStorage


@pytest.fixture
def queue(database_url: str) -> Iterator[JobQueue]:
    """A queue, not started, on a database that also has a ledger."""
    with SQLStorage(database_url) as storage:
        storage.upgrade()
    with JobQueue(database_url, max_retries=1) as queue:
        with queue.storage.transaction() as connection:
            connection.execute(text("CREATE TABLE ledger (job VARCHAR(64), line VARCHAR(64))"))
        yield queue


def book(context: JobContext, line: str) -> None:
    into = text("INSERT INTO ledger VALUES (:job, :line)")
    context.connection.execute(into, {"job": context.job.id, "line": line})


def ledger(queue: JobQueue) -> list[str]:
    with queue.storage.transaction() as connection:
        return list(connection.scalars(text("SELECT line FROM ledger ORDER BY line")))


def run(queue: JobQueue, job: Job) -> Job:
    while queue.jobs.get(job.id).status is JobStatus.PENDING:
        queue.executor.run_until_idle(queue.clock.now())
    return queue.jobs.get(job.id)


def test_what_a_handler_writes_is_committed_with_its_result(queue: JobQueue) -> None:
    """In both kinds of handlers; and told, like any other completion."""
    completed = []
    queue.add_event_listener("completed", lambda event: completed.append(event.job))

    def write(context: JobContext) -> str:
        book(context, "sync")
        context.log.info("booked")
        return "written"

    async def write_async(context: JobContext) -> str:
        book(context, "async")
        return "written"

    queue.register("write", write)
    queue.register("write_async", write_async)
    for name in ("write", "write_async"):
        job = run(queue, queue.add(name))
        assert (job.status, job.result) == (JobStatus.COMPLETED, "written")
        assert completed[-1] == job
    assert ledger(queue) == ["async", "sync"]
    logged = [each.log for job in completed if job for each in queue.jobs.attempts(job)]
    assert [len(lines) for lines in logged] == [1, 0]


def test_what_a_handler_that_raises_wrote_is_rolled_back(queue: JobQueue) -> None:
    """And is there once, when a later attempt succeeds."""

    def write(context: JobContext) -> None:
        book(context, f"attempt {context.attempt}")
        if context.attempt == 1:
            raise ValueError("no")

    queue.register("write", write, backoff=0)
    assert run(queue, queue.add("write")).status is JobStatus.COMPLETED
    assert ledger(queue) == ["attempt 2"]


def test_what_is_written_under_a_lost_lease_is_rolled_back(queue: JobQueue) -> None:
    """The job is somebody else's, and what it stands for is written by them."""

    def write(context: JobContext) -> None:
        queue.storage.move_job(
            context.job.id, lambda job: lifecycle.cancel(job, now=queue.clock.now())
        )
        book(context, "too late")

    queue.register("write", write)
    assert run(queue, queue.add("write")).status is JobStatus.CANCELLED
    assert ledger(queue) == []


def test_a_result_that_cannot_be_stored_takes_what_was_written_back(queue: JobQueue) -> None:
    def write(context: JobContext) -> object:
        book(context, "of no use")
        return object()

    queue.register("write", write)
    assert run(queue, queue.add("write")).status is JobStatus.FAILED
    assert ledger(queue) == []


@pytest.mark.parametrize("verb", ["commit", "rollback", "close"])
def test_a_handler_that_ends_its_transaction_itself_fails(queue: JobQueue, verb: str) -> None:
    """For good: another attempt would do the same again. And what follows is not written."""

    def write(context: JobContext) -> None:
        getattr(context.connection, verb)()
        if verb != "close":
            book(context, "outside")

    queue.register("write", write)
    job = run(queue, queue.add("write"))
    assert (job.status, job.retry_count) == (JobStatus.FAILED, 0)
    assert "leave commit, rollback and close out of it" in str(job.error)
    assert ledger(queue) == []


def test_after_the_attempt_there_is_no_connection(queue: JobQueue) -> None:
    """What a handler left behind would begin a transaction that nobody ends."""
    kept: list[JobContext] = []
    queue.register("write", keep_in(kept))
    run(queue, queue.add("write"))
    with pytest.raises(NotSupported, match="its attempt is over"):
        _ = kept[0].connection


def keep_in(kept: list[JobContext]) -> Callable[[JobContext], None]:
    def keep(context: JobContext) -> None:
        kept.append(context)

    return keep


def test_transactions_under_way_leave_the_executor_its_connections(server_database: str) -> None:
    """However many handlers write in one: leases are renewed meanwhile."""
    with SQLStorage(server_database) as storage, ExitStack() as under_way:
        storage.upgrade()
        for _ in range(20):
            under_way.enter_context(storage.transaction())
        assert storage.acquire_next_jobs(1) == []


def test_without_sql_there_is_no_connection() -> None:
    """Said where it is asked for."""

    def write(context: JobContext) -> None:
        with pytest.raises(NotSupported, match="no transactions that a caller could share"):
            context.connection  # noqa: B018

    queue = JobQueue()
    queue.register("write", write)
    assert run(queue, queue.add("write")).status is JobStatus.COMPLETED
    with pytest.raises(NotSupported, match="there is no connection where it runs"):
        JobContext(queue.add("write")).connection  # noqa: B018


DYING = """
import os, sys
from sqlalchemy import event, text
from sqlalchemy.engine import Engine
from scheduler import JobContext, JobQueue

statements = 0

@event.listens_for(Engine, "after_cursor_execute")
@event.listens_for(Engine, "commit")
def count(*_):
    global statements
    statements += running
    if statements == int(sys.argv[2]):
        os._exit(86)

running = False

def write(context: JobContext):
    global running
    connection = context.connection
    running = True
    for line in ("first", "second"):
        into = text("INSERT INTO ledger VALUES (:job, :line)")
        connection.execute(into, {"job": context.job.id, "line": line})

with JobQueue(sys.argv[1], ttl=0.001) as queue:
    queue.register("write", write, max_retries=99, backoff=0)
    queue.executor.run_until_idle(queue.clock.now())
    running = False
"""


@pytest.mark.parametrize("place", range(1, 5))
def test_killed_between_any_two_statements_it_is_written_exactly_once(
    queue: JobQueue, database_url: str, tmp_path: Path, place: int
) -> None:
    """The next process does what is left: all, or nothing. There are four: two of the handler's,
    the settlement, and the end of the transaction."""

    def write(context: JobContext) -> None:
        book(context, "first")
        book(context, "second")

    queue.register("write", write, max_retries=99, backoff=0)
    queue.add("write")
    script = tmp_path / "dying.py"
    script.write_text(DYING)
    command = [sys.executable, str(script), database_url, str(place)]
    assert subprocess.run(command, check=False, env={**os.environ}).returncode == 86
    while queue.storage.count_jobs()[JobStatus.COMPLETED] == 0:
        queue.executor.run_until_idle(queue.clock.now())
    assert ledger(queue) == ["first", "second"]
