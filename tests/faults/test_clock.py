"""The wall clock of real processes is set, forward and back by hours (Debian's libfaketime).

Waits and leases go by time that nobody sets. Where the store has no clock of its own, schedules
follow the machine's (clauses 9.3 and 9.4); where it has one, they follow that.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from scheduler import JobStatus, Schedule, clock
from scheduler.model import SkipReason
from tests.faults.checker import Verdict
from tests.faults.nursery import ROOT
from tests.faults.scene import Scene, scene

HOUR, MINUTE, SECOND = timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)
DECLARED = ("hourly", "ticking")
SETTINGS = {"SCHEDULER_MODULES": "tests.faults.tasks,tests.faults.hours"}

pytestmark = pytest.mark.timeout(300)


class Clock:
    """The wall clock of the processes that it starts, which are ordinary ones otherwise."""

    def __init__(self, place: Path) -> None:
        self._file = place / "clock"
        self.shifted = timedelta(0)
        self.shift(timedelta(0))

    def shift(self, by: timedelta) -> None:
        """Set it to so much later, or earlier, than it really is."""
        self.shifted = by
        new = self._file.with_suffix(".new")
        new.write_text(f"{by.total_seconds():+.0f}\n")
        new.replace(self._file)  # never half of it

    def now(self) -> datetime:
        """What it says."""
        return clock.now() + self.shifted

    def start(
        self, command: tuple[str, ...], log: Path, environment: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        """A process that does `python -m` this command, by this clock."""
        faked = {
            "LD_PRELOAD": str(library()),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            "PYTHONFAULTHANDLER": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        with log.open("wb") as stderr:
            return subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=ROOT,
                env={**os.environ, **environment, **faked},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
            )


def library() -> Path:
    """That of Debian's package libfaketime."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    assert found, "no libfaketime to test with: install Debian's package libfaketime"
    return found[0]


def schedule(acted: Scene, name: str) -> Schedule:
    found = acted.storage.get_schedule(name)
    assert found is not None
    return found


def has_decided(acted: Scene, until: datetime) -> bool:
    """Whether every schedule is decided up to there."""
    return all(
        each.cursor_at >= until or (each.next_at or until) > until
        for each in acted.storage.list_schedules()
    )


def ticks(acted: Scene) -> int:
    """How many jobs the schedules have."""
    return sum(each.materialised for each in acted.storage.list_schedules())


def begin(acted: Scene, tmp_path: Path) -> str:
    """Two services that run, one of them a job with a timeout; its id."""
    acted.crew.start_all()
    [patient] = acted.add(
        "held", 1, data={"until": str(tmp_path / "enough")}, timeout=MINUTE, max_retries=0
    )
    acted.crew.until(lambda: acted.storage.get_jobs_by_status(JobStatus.PROCESSING))
    acted.crew.until(lambda: ticks(acted) >= 2)
    return patient.id


def set_clock(acted: Scene, wall: Clock, by: timedelta) -> None:
    """Set the clock; returns when both processes have noticed."""
    before = [len(each.logged(_SET)) for each in acted.crew.members]
    wall.shift(by)
    acted.crew.until(
        lambda: all(
            len(each.logged(_SET)) > times
            for each, times in zip(acted.crew.members, before, strict=True)
        )
    )


_SET = "the clock was set"


def finish(acted: Scene, tmp_path: Path, patient: str) -> None:
    """Let the job with the timeout end in its own time, and what is queued; then stop."""
    (tmp_path / "enough").touch()
    schedules = acted.schedules()
    for name in DECLARED:
        schedules.pause(name)
    acted.crew.until(lambda: not acted.unfinished())
    acted.crew.stop()
    job = acted.storage.get_job(patient)
    assert job is not None
    assert (job.status, job.retry_count) == (JobStatus.COMPLETED, 0)


def test_a_machines_clock_is_set_forward_and_back(
    sqlite_url: str, tmp_path: Path, hold: Callable[[Verdict], None]
) -> None:
    """What was jumped over is made up for once; set back, nothing is due until it comes again."""
    wall = Clock(tmp_path)
    with scene(wall, tmp_path / "crew", sqlite_url, settings=SETTINGS) as acted:
        patient = begin(acted, tmp_path)

        set_clock(acted, wall, 3 * HOUR)
        acted.crew.until(lambda: has_decided(acted, wall.now() - SECOND))
        ahead_until = schedule(acted, "ticking").cursor_at
        assert schedule(acted, "hourly").materialised >= 3

        acted.crew.until(lambda: acted.unfinished() == 1)  # the one with the timeout
        set_clock(acted, wall, -2 * HOUR)
        turned_at = wall.now()
        made = ticks(acted)
        [plain] = acted.add("plain", 1, at=wall.now())
        acted.crew.until(lambda: is_completed(acted, plain.id))
        acted.crew.pass_time(3)
        assert ticks(acted) == made

        set_clock(acted, wall, 3 * HOUR)
        acted.crew.until(lambda: schedule(acted, "ticking").cursor_at > ahead_until + 3 * SECOND)
        finish(acted, tmp_path, patient)
        hold(acted.verdict("clock +3 h, -5 h, +5 h", late=3 * HOUR + MINUTE, turned_at=turned_at))


def is_completed(acted: Scene, job_id: str) -> bool:
    job = acted.storage.get_job(job_id)
    return job is not None and job.status is JobStatus.COMPLETED


def test_a_machines_clock_is_set_and_the_stores_is_not(
    postgres_database: str, tmp_path: Path, hold: Callable[[Verdict], None]
) -> None:
    """Every occurrence at its own time by the store's clock, as if nothing had happened."""
    wall = Clock(tmp_path)
    with scene(wall, tmp_path / "crew", postgres_database, settings=SETTINGS) as acted:
        patient = begin(acted, tmp_path)
        for by in (3 * HOUR, -2 * HOUR, timedelta(0)):
            set_clock(acted, wall, by)
            until = clock.now() + 2 * SECOND
            acted.crew.until(partial(has_decided, acted, until))
            assert schedule(acted, "ticking").cursor_at < clock.now() + SECOND
        finish(acted, tmp_path, patient)
        skips = acted.storage.list_skips(schedule(acted, "ticking").id)
        assert [each for each in skips if each.reason is not SkipReason.PAUSED] == []
        hold(acted.verdict("clock +3 h, -5 h, +2 h"))
