"""A long run, made short: occurrences as fast as it goes, and a service killed every second.

`python -m tests.faults.soak [sqlite|postgresql]` runs SCHEDULER_SOAK of them (60,000: what a
thousand schedules give in an hour of minutes), prints what the checker says of it and how the
memory of the one service that is never killed grew, and fails if anything is not as it must be.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from scheduler import JobStatus
from scheduler.model import ScheduleStatus
from tests.faults.checker import Verdict, Why
from tests.faults.crew import Member
from tests.faults.nursery import Starter, nursery
from tests.faults.scene import Scene, scene
from tests.faults.summary import table
from tests.servers import POSTGRES, fresh_database, server_home, server_url

NUMBER = 60_000
EACH = 500
"""Occurrences of one schedule."""
AHEAD = 40
"""So many schedules are unfinished at a time."""

MOST_GROWTH = 8.0
"""MiB that the survivor may grow by in the second half of the run, by the line that fits best."""

_SETTINGS = {
    "SCHEDULER_MODULES": "tests.faults.tasks",
    "SCHEDULER_CONCURRENCY": "20",
    "SCHEDULER_PREFETCH_BATCH_SIZE": "40",
    "SCHEDULER_LOG_LEVEL": "error",
}


@dataclass
class Soak:
    """What a run came to. `memory` is (jobs done, MiB resident), second by second."""

    verdict: Verdict
    killed: int
    seconds: float
    memory: list[tuple[int, float]] = field(default_factory=list)

    @property
    def growth(self) -> float:
        """By how many MiB the survivor grew in the second half, by the line that fits best."""
        half = self.memory[len(self.memory) // 2 :]
        return slope(half) * (half[-1][0] - half[0][0])

    def lines(self) -> Iterator[str]:
        """It, for people."""
        yield from table([self.verdict.row()])
        first, last = self.memory[0][1], self.memory[-1][1]
        rate = self.verdict.executed / self.seconds
        yield f"{self.seconds:.0f} s, {rate:.0f} calls/s, {self.killed} services killed"
        yield (
            f"survivor: {first:.1f} MiB at first, {last:.1f} at last; in the second half it grew by"
            f" {self.growth:+.2f} MiB (slope x length; at most {MOST_GROWTH:g} is flat)"
        )


def slope(points: list[tuple[int, float]]) -> float:
    """Of the line that fits `points` best, by least squares; 0 where all have one place."""
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


def resident(member: Member) -> float:
    """MiB of memory that the process has."""
    said = Path(f"/proc/{member.pid}/statm").read_text().split()
    return int(said[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def soak(starter: Starter, place: Path, url: str, number: int) -> Soak:
    """Run so many occurrences on the empty store at `url`, with three services."""
    moments = random.Random()
    with scene(starter, place, url, settings=_SETTINGS) as acted:
        survivor = acted.crew.start()
        for _ in range(2):
            acted.crew.start()
        backlog(acted, 0, number)
        acted.crew.until(lambda: done(acted))
        memory: list[tuple[int, float]] = []
        began = time.monotonic()
        while not is_over(acted, number):
            feed(acted, number)
            acted.crew.pass_time(1.0)
            memory.append((done(acted), resident(survivor)))
            acted.crew.kill(moments.choice([m for m in acted.crew.members if m is not survivor]))
        seconds = time.monotonic() - began
        acted.crew.stop()
        fault = f"soak, SIGKILL x {len(acted.crew.dead)}"
        verdict = acted.verdict(fault, Why.KILLED, late=timedelta(hours=1))
        return Soak(verdict, len(acted.crew.dead), seconds, memory)


def done(acted: Scene) -> int:
    return acted.storage.count_jobs()[JobStatus.COMPLETED]


def feed(acted: Scene, number: int) -> None:
    """Add schedules, so that there is always something to do."""
    there = len(acted.storage.list_schedules())
    wanted = min(-(-number // EACH), done(acted) // EACH + AHEAD)
    for each in range(there, wanted):
        backlog(acted, each, number)


def backlog(acted: Scene, each: int, number: int) -> None:
    """Add the schedule of this number, with its part of so many occurrences."""
    acted.backlog(f"backlog-{each:05}", "plain", min(EACH, number - each * EACH))


def is_over(acted: Scene, number: int) -> bool:
    return done(acted) == number and all(
        each.status is ScheduleStatus.COMPLETED for each in acted.storage.list_schedules()
    )


@contextmanager
def empty_store(kind: str) -> Iterator[str]:
    """The URL of an empty database of this kind."""
    if kind == "sqlite":
        with tempfile.TemporaryDirectory() as place:
            yield f"sqlite:///{place}/jobs.db"
        return
    with server_home(POSTGRES) as home, fresh_database(server_url(POSTGRES, home)) as url:
        yield url


def main(kind: str = "postgresql") -> int:
    """Soak a store of this kind; 0 if all is well."""
    number = int(os.environ.get("SCHEDULER_SOAK", NUMBER))
    with (
        tempfile.TemporaryDirectory() as place,
        empty_store(kind) as url,
        nursery() as starter,
    ):
        soaked = soak(starter, Path(place) / "crew", url, number)
    print(*soaked.lines(), sep="\n")
    for what, found in soaked.verdict.wrong.items():
        print(f"{what}: {found[:10]}")
    is_well = soaked.verdict.expected == number and not soaked.verdict.wrong
    return 0 if is_well and soaked.growth <= MOST_GROWTH else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
