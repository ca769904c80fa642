"""One process of a small fleet: an expander or an executor, run as a script by test_processes.

An executor's handler writes a line for every call, so that what ran is known from outside the
database. Ends when its stdin does.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from concurrent.futures import Future
from itertools import count
from typing import Any

from scheduler import Job, JobContext, JobQueue, JobStorage, open_storage
from scheduler.metronome import Metronome
from scheduler.model import Outcome

CONCURRENCY = 20


def execute() -> None:
    """Run the jobs called "mark" until stdin ends."""

    def handler(ctx: JobContext) -> None:
        assert ctx.occurrence_at is not None
        # One write per line: handlers run on many threads.
        os.write(1, f"{ctx.job.schedule_id} {ctx.occurrence_at.isoformat()}\n".encode())

    queue = JobQueue(
        open_storage(sys.argv[2]), concurrency=CONCURRENCY, stand_alone=False, max_retries=0
    )
    queue.register("mark", handler)
    queue.start()
    print("ready", flush=True)
    sys.stdin.read()
    assert queue.stop(grace=20) == 0
    queue.storage.close()


class StandingStill(JobQueue):
    """Stands still before the job of a number, in no transaction, until told to go on."""

    def __init__(self, storage: JobStorage, number: int, **options: Any) -> None:
        super().__init__(storage, concurrency=1, **options)
        self._number = number
        self._jobs = count(1)

    def process_job(self, job: Job) -> Future[Outcome]:
        if next(self._jobs) == self._number:
            os.kill(os.getpid(), signal.SIGSTOP)
        return super().process_job(job)


def mark_each() -> None:
    """Run jobs called "mark", each leaving its id and attempt, until stdin ends.

    With a number, one at a time, and standing still before that one.
    """

    def handler(ctx: JobContext) -> None:
        os.write(1, f"{ctx.job.id} {ctx.attempt}\n".encode())

    storage, number = open_storage(sys.argv[2]), sys.argv[4:]
    options: dict[str, Any] = {
        "stand_alone": False,
        "processing_interval": 0.2,
        "ttl": float(sys.argv[3]),
    }
    queue = (
        StandingStill(storage, int(number[0]), **options)
        if number
        else JobQueue(storage, concurrency=CONCURRENCY, **options)
    )
    queue.register("mark", handler)
    print("ready", flush=True)  # before the first line of a handler
    queue.start()
    sys.stdin.read()
    assert queue.stop(grace=20) == 0
    queue.storage.close()


def expand() -> None:
    """Expand schedules until stdin ends."""
    queue = JobQueue(open_storage(sys.argv[2]))
    metronome = Metronome({"expander": queue.expander.tick})
    metronome.start()
    print("ready", flush=True)
    sys.stdin.read()
    metronome.stop()
    queue.storage.close()


def hang() -> None:
    """Take a job whose handler never returns, say so, and wait to be killed."""
    queue = JobQueue(open_storage(sys.argv[2]), stand_alone=False, ttl=float(sys.argv[3]))

    def handler() -> None:
        print("running", flush=True)
        threading.Event().wait()

    queue.register("mark", handler)
    queue.start()
    threading.Event().wait()


if __name__ == "__main__":
    match sys.argv[1]:
        case "executor":
            execute()
        case "marker":
            mark_each()
        case "expander":
            expand()
        case "hung-executor":
            hang()
