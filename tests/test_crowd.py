"""A crowd of executors on one store: every job once, and none lost when one of them dies.

SCHEDULER_TEST_JOBS=20000 runs it at full size.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta

import pytest

from scheduler import JobStatus, clock
from scheduler.storage import JobStorage, open_storage
from scheduler.testing.values import a_job
from tests.test_processes import end, part, read_line

JOBS = int(os.environ.get("SCHEDULER_TEST_JOBS", "200"))
PROCESSES = 4
BATCH = 1000
LOOK_SECONDS = 0.01
"""How often a test looks whether something has come about, and leaves the machine to others."""

pytestmark = pytest.mark.timeout(120 + JOBS // 20)


@pytest.fixture
def store(store_url: str) -> Iterator[tuple[str, JobStorage]]:
    """The URL of a store and the store, with as many jobs as are to be run."""
    with open_storage(store_url) as opened:
        now = clock.now() - timedelta(seconds=1)
        for start in range(0, JOBS, BATCH):
            opened.save_jobs(
                [
                    a_job(name="mark", max_retries=5, created_at=now, scheduled_at=now)
                    for _ in range(start, min(JOBS, start + BATCH))
                ]
            )
        yield store_url, opened


class Ran:
    """What the executors say they ran: (job id, attempt), as the lines arrive."""

    def __init__(self, processes: list[subprocess.Popen[str]]) -> None:
        self.calls = Counter[str]()
        self._changed = threading.Condition()
        self._readers = [threading.Thread(target=self._read, args=[each]) for each in processes]
        for reader in self._readers:
            reader.start()

    def _read(self, process: subprocess.Popen[str]) -> None:
        for line in process.stdout or ():
            job_id, _attempt = line.split()
            with self._changed:
                self.calls[job_id] += 1
                self._changed.notify_all()

    def wait_for(self, number: int) -> None:
        """Return once that many jobs have run; the test's own time limit is the only bound."""
        with self._changed:
            self._changed.wait_for(lambda: len(self.calls) >= number)

    def join(self) -> None:
        for reader in self._readers:
            reader.join()


def run_all(
    store: tuple[str, JobStorage],
    ttl: float,
    meanwhile: Callable[[list[subprocess.Popen[str]], Ran], list[subprocess.Popen[str]]],
) -> Ran:
    """Four executors run every job; `meanwhile` says which of them have yet to be told to end."""
    url, storage = store
    with ExitStack() as stack:
        crowd = [stack.enter_context(part("marker", url, str(ttl))) for _ in range(PROCESSES)]
        assert [read_line(process) for process in crowd] == ["ready"] * PROCESSES
        ran = Ran(crowd)
        running = meanwhile(crowd, ran)
        ran.wait_for(JOBS)
        while storage.get_jobs_by_status(JobStatus.PROCESSING) or storage.next_job_at():
            threading.Event().wait(LOOK_SECONDS)
        end(running)
        ran.join()
    assert storage.count_jobs()[JobStatus.COMPLETED] == JOBS
    return ran


def test_a_crowd_runs_every_job_exactly_once(store: tuple[str, JobStorage]) -> None:
    """Nobody dies: no handler is called twice."""
    ran = run_all(store, 60, lambda crowd, ran: crowd)
    assert (len(ran.calls), set(ran.calls.values())) == (JOBS, {1})


def test_a_killed_executor_loses_no_job(store: tuple[str, JobStorage]) -> None:
    """SIGKILL in the middle: what it held runs again elsewhere, and nothing else does."""
    held: list[str] = []

    def kill_one(crowd: list[subprocess.Popen[str]], ran: Ran) -> list[subprocess.Popen[str]]:
        ran.wait_for(JOBS // 2)
        crowd[0].send_signal(signal.SIGKILL)
        crowd[0].wait()
        held.extend(job.id for job in store[1].get_jobs_by_status(JobStatus.PROCESSING))
        return crowd[1:]

    ran = run_all(store, 2, kill_one)
    twice = {job_id for job_id, calls in ran.calls.items() if calls > 1}
    assert len(ran.calls) == JOBS
    assert twice <= set(held)


def test_an_executor_that_comes_back_from_the_dead_writes_nothing(
    store: tuple[str, JobStorage],
) -> None:
    """It stands still with a job past its lease and goes on: its late outcome is refused."""
    url, storage = store
    with part("marker", url, "1", "1") as zombie:
        assert read_line(zombie) == "ready"
        os.waitid(os.P_PID, zombie.pid, os.WSTOPPED | os.WNOWAIT)
        [stale] = storage.get_jobs_by_status(JobStatus.PROCESSING)

        def go_on(crowd: list[subprocess.Popen[str]], ran: Ran) -> list[subprocess.Popen[str]]:
            while (job := storage.get_job(stale.id)) is None or job.completed_at is None:
                threading.Event().wait(LOOK_SECONDS)
            zombie.send_signal(signal.SIGCONT)
            end([zombie])
            assert (job.status, job.retry_count) == (JobStatus.COMPLETED, 1)
            assert job.worker != stale.worker
            assert storage.get_job(stale.id) == job
            return crowd

        run_all(store, 60, go_on)
