"""One process of a small fleet: an expander or an executor, run as a script by test_processes.

An executor's handler writes a line for every call, so that what ran is known from outside the
database. Ends when its stdin does.
"""

from __future__ import annotations

import os
import sys
import threading

from scheduler import JobContext, JobQueue, open_storage
from scheduler.metronome import Metronome

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
        case "expander":
            expand()
        case "hung-executor":
            hang()
