"""One of several processes on one database: run as a script by the tests of storages.

Prints one JSON document: what the act brought. Starts when a line arrives on stdin, so that
all processes act at once.
"""

from __future__ import annotations

import json
import sys
from datetime import datetime
from typing import Any

from scheduler.expansion import expand
from scheduler.storage import open_storage
from scheduler.storage.base import JobStorage
from scheduler.storage.sql import SQLStorage


def acquire(storage: JobStorage, now: datetime) -> list[str]:
    """The ids of all jobs this process got, three at a time."""
    taken: list[str] = []
    while jobs := storage.acquire_next_jobs(3, now=now):
        taken += [job.id for job in jobs]
    return taken


def record(storage: JobStorage, now: datetime) -> int:
    """How many expansions this process was first with, until nothing is due."""
    won = 0
    while due := storage.due_schedules(now):
        won += sum(storage.record_expansions([expand(schedule, now) for schedule in due]))
    return won


def main() -> None:
    act, url, now = sys.argv[1:]
    print("ready", flush=True)
    sys.stdin.readline()
    result: Any
    if act == "upgrade":
        storage = SQLStorage(url)
        storage.upgrade()
        result = storage.current_revision()
    else:
        storage = open_storage(url)  # type: ignore[assignment]
        result = {"acquire": acquire, "record": record}[act](storage, datetime.fromisoformat(now))
    storage.close()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
