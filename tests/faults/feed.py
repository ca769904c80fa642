"""A client that adds jobs of its own, and goes on where it was when it is started again.

`python -m tests.faults.feed URL NUMBER`. The ids are its own, so that what it cannot know, whether
a COMMIT whose answer it did not live to hear was made, the store knows.
"""

from __future__ import annotations

import sys

from scheduler import DuplicateJob, Job, clock, open_storage
from tests.faults.tasks import RETRIES

BATCH = 2


def ids(number: int) -> list[str]:
    """The ids of the first `number` batches."""
    return [f"fed-{each:06}" for each in range(number * BATCH)]


def feed(url: str, number: int) -> None:
    """Add so many batches, each whole or not at all, and none twice; every other one of them as
    part of a transaction of the client's own."""
    every = ids(number)
    with open_storage(url) as storage:
        for start in range(0, len(every), BATCH):
            now = clock.now()
            jobs = [
                Job(id=each, name="plain", created_at=now, scheduled_at=now, max_retries=RETRIES)
                for each in every[start : start + BATCH]
            ]
            try:
                if start % (2 * BATCH):
                    storage.save_jobs(jobs)
                else:
                    with storage.transaction() as connection:
                        storage.save_jobs_in(connection, jobs)
            except DuplicateJob:
                continue  # before it died


if __name__ == "__main__":
    feed(sys.argv[1], int(sys.argv[2]))
