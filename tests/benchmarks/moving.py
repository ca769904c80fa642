"""Moving house: so many jobs from SQLite to a server and back, by the command, timed and weighed.

python -m tests.benchmarks.moving [jobs] [postgres|mariadb|redis]
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from scheduler.model import Job, JobStatus
from scheduler.storage.sql import SQLStorage
from scheduler.testing.values import NOON, SECOND, a_job, a_schedule
from tests.servers import KINDS, fresh_database, fresh_prefix, mariadb, server_home, server_url

BATCH = 5000
_WEIGHED = (
    "import resource, sys; from scheduler.cli import run; code = run(sys.argv[1:]);"
    "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, file=sys.stderr);"
    "sys.exit(code)"
)


def main(number: int = 100_000, kind: str = "postgres") -> None:
    fresh = {
        "postgres": fresh_database,
        "mariadb": mariadb.fresh_database,
        "redis": fresh_prefix,
    }[kind]
    with (
        tempfile.TemporaryDirectory() as home,
        server_home(KINDS[kind]) as server,
        fresh(server_url(KINDS[kind], server)) as url,
    ):
        first, last = (f"sqlite:///{Path(home) / name}" for name in ("first.db", "last.db"))
        fill(first, number)
        moved("SQLite", first, kind, url, number)
        moved(kind, url, "SQLite", last, number)
        moved("SQLite", first, f"{kind}, all there", url, number)


def fill(url: str, number: int) -> None:
    schedule = a_schedule()
    with SQLStorage(url) as storage:
        storage.upgrade()
        storage.save_schedule(schedule)
        for first in range(0, number, BATCH):
            some = range(first, min(first + BATCH, number))
            storage.save_jobs([done(schedule.id, place) for place in some])


def done(schedule_id: str, place: int) -> Job:
    at = NOON + place * SECOND
    return a_job(
        status=JobStatus.COMPLETED,
        schedule_id=schedule_id,
        occurrence_at=at,
        started_at=at,
        completed_at=at,
        data={"region": "eu", "place": place},
        result={"rows": place, "note": "x" * 100},
        worker="host:1:ab",
    )


def moved(source: str, from_url: str, target: str, to_url: str, number: int) -> None:
    began = time.perf_counter()
    command = [sys.executable, "-c", _WEIGHED, "db", "copy", from_url, to_url, "--json"]
    ended = subprocess.run(command, check=True, text=True, capture_output=True)
    took = time.perf_counter() - began
    print(
        f"{number:,} jobs, {source} to {target}: {took:.1f} s, {number / took:,.0f} jobs/s, "
        f"at most {ended.stderr.strip()} MiB"
    )


if __name__ == "__main__":
    given = sys.argv[1:]
    main(*(int(each) if each.isdigit() else each for each in given))  # type: ignore[arg-type]
