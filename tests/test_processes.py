"""A fleet of real processes on one PostgreSQL: every occurrence exactly once, none run twice.

SCHEDULER_TEST_SCALE="200x30" runs it at full size: schedules, times seconds.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from scheduler import JobQueue, JobStatus, clock
from scheduler.model import CatchUp, Job, Overlap
from scheduler.storage.sql import SQLStorage
from scheduler.testing.values import SECOND, a_job, a_schedule

SCRIPT = Path(__file__).with_name("part.py")
SCHEDULES, SECONDS = map(int, os.environ.get("SCHEDULER_TEST_SCALE", "20x4").split("x"))
EXPANDERS = EXECUTORS = 4


@contextmanager
def part(role: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A process of this role, begun; ended in good order at the end of the block."""
    with subprocess.Popen(
        [sys.executable, str(SCRIPT), role, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def end(processes: list[subprocess.Popen[str]]) -> None:
    """Tell all to end, and see that they do, without an error."""
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
    assert {process.wait(timeout=60) for process in processes} == {0}


def create(storage: SQLStorage, start: datetime, seconds: int) -> list[str]:
    """Schedules that occur every second, from `start` for `seconds`; their ids."""
    schedules = [
        a_schedule(
            f"mark-{number:03}",
            job_name="mark",
            overlap=Overlap.ALLOW,
            rule={
                "every": 1,
                "unit": "seconds",
                "start_date": start.isoformat(),
                "limit": seconds,
            },
            # Every occurrence, even if this machine stalls.
            catch_up=CatchUp.ALL,
            catch_up_max=10_000,
            created_at=start - 60 * SECOND,
        )
        for number in range(SCHEDULES)
    ]
    for schedule in schedules:
        storage.save_schedule(schedule)
    return [schedule.id for schedule in schedules]


def all_jobs(storage: SQLStorage) -> list[Job]:
    return storage.list_jobs(limit=10**6)


class Marks:
    """The lines that handlers wrote, of every process, as they arrive."""

    def __init__(self, processes: list[subprocess.Popen[str]]) -> None:
        self.lines: list[str] = []
        self._arrived = threading.Semaphore(0)
        self._readers = [threading.Thread(target=self._read, args=[each]) for each in processes]
        for reader in self._readers:
            reader.start()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.lines.append(line.strip())
            self._arrived.release()

    def wait_for(self, number: int) -> None:
        """Return once there are that many; the test's own time limit is the only bound."""
        for _ in range(number):
            self._arrived.acquire()

    def all(self) -> list[str]:
        """Every line there is, all processes having ended."""
        for reader in self._readers:
            reader.join()
        return self.lines


@pytest.mark.timeout(120 + 2 * SECONDS)
def test_a_fleet_runs_every_occurrence_exactly_once(postgres_database: str) -> None:
    """Four expanders and four executors, each its own process, on one database."""
    with ExitStack() as stack, SQLStorage(postgres_database) as storage:
        storage.upgrade()
        fleet = [
            stack.enter_context(part(role, postgres_database))
            for role in ["expander"] * EXPANDERS + ["executor"] * EXECUTORS
        ]
        assert [read_line(process) for process in fleet] == ["ready"] * len(fleet)
        marks = Marks(fleet)

        start = clock.now().replace(microsecond=0) + 2 * SECOND
        ids = create(storage, start, SECONDS)
        expected = sorted(
            f"{schedule_id} {(start + n * SECOND).isoformat()}"
            for schedule_id in ids
            for n in range(SECONDS)
        )
        marks.wait_for(len(expected))
        end(fleet)

        jobs = all_jobs(storage)
        made = sorted(
            f"{job.schedule_id} {job.occurrence_at.isoformat()}"
            for job in jobs
            if job.occurrence_at
        )
        assert made == expected
        assert sorted(marks.all()) == expected
        assert Counter(job.status for job in jobs) == {JobStatus.COMPLETED: len(expected)}
        assert not any(storage.list_skips(schedule_id) for schedule_id in ids)
        assert len({job.worker for job in jobs}) > 1


def test_the_job_of_a_killed_executor_runs_elsewhere(database_url: str) -> None:
    """SIGKILL in the middle of a job: its lease runs out, and one attempt is counted."""
    with SQLStorage(database_url) as storage:
        storage.upgrade()
        now = clock.now()
        job = replace(a_job(name="mark", max_retries=1), created_at=now, scheduled_at=now)
        storage.save_job(job)
        with part("hung-executor", database_url, "600") as process:
            assert read_line(process) == "running"
            process.send_signal(signal.SIGKILL)
            process.wait(timeout=10)
        held = storage.get_job(job.id)
        assert held is not None
        assert held.lease is not None

        queue = JobQueue(storage)
        queue.register("mark", lambda: "done")
        expired_at = held.lease.expires_at
        queue.executor.tick(expired_at - timedelta(microseconds=1))
        assert storage.get_job(job.id) == held
        queue.executor.tick(expired_at + 10 * SECOND)
        queue.executor.run_until_idle(expired_at + 60 * SECOND)
        queue.stop()
        stored = storage.get_job(job.id)
        assert stored is not None
        assert (stored.status, stored.result, stored.retry_count) == ("completed", "done", 1)
