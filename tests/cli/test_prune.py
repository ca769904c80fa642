"""`scheduler jobs prune`: finished jobs go by hand, and it is seen how many."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from freezegun import freeze_time

from scheduler.model import JobStatus
from scheduler.storage import open_storage
from scheduler.testing.values import HOUR, NOON, a_job
from tests.cli.conftest import Scheduler

DAY = timedelta(days=1)
URL = "sqlite:///scheduler.db"


@pytest.fixture
def filled(workplace: Path) -> None:
    """A store of 1,200 old jobs of each status, and one of each that ended just now."""
    jobs = [
        a_job(status=status, completed_at=at)
        for status in JobStatus
        for at in [NOON - 40 * DAY] * 1200 + [NOON - HOUR]
    ]
    with open_storage(URL) as storage:
        storage.save_jobs(jobs)


def counted() -> list[int]:
    """How many jobs are pending, processing, completed, failed and cancelled."""
    with open_storage(URL) as storage:
        return list(storage.count_jobs().values())


@pytest.mark.usefixtures("filled")
@freeze_time(NOON)
def test_what_ended_longer_ago_goes(scheduler: Scheduler) -> None:
    """Of every status in which jobs end; once more, and there is nothing left to do."""
    first = scheduler("jobs", "prune", "--older-than", "30d")
    assert (first.code, first.err) == (0, "")
    assert first.out == "3,600 jobs removed, which had ended before 2025-12-06 12:00:00 UTC\n"
    assert counted() == [1201, 1201, 1, 1, 1]
    assert "0 jobs removed" in scheduler("jobs", "prune", "--older-than", "30d").out
    assert scheduler("jobs", "prune", "--older-than", "0").code == 0
    assert counted() == [1201, 1201, 0, 0, 0]


@pytest.mark.usefixtures("filled")
@freeze_time(NOON)
def test_a_status_may_be_named_or_several(scheduler: Scheduler) -> None:
    answer = scheduler(
        "jobs", "prune", "--older-than", "30d", "--status", "failed", "--status", "cancelled",
        "--json",
    )  # fmt: skip
    assert answer.code == 0
    assert answer.json == {
        "ended_before": "2025-12-06T12:00:00Z",
        "jobs": 2400,
        "dry_run": False,
    }
    assert counted() == [1201, 1201, 1201, 1, 1]


@pytest.mark.usefixtures("filled")
@freeze_time(NOON)
def test_a_dry_run_says_how_many_would_go(scheduler: Scheduler) -> None:
    said = scheduler("jobs", "prune", "--older-than", "30d", "--dry-run")
    assert said.out.startswith("3,600 jobs would be removed, which had ended before 2025-12-06")
    as_json = scheduler("jobs", "prune", "--older-than", "30d", "--dry-run", "--json").json
    assert (as_json["jobs"], as_json["dry_run"]) == (3600, True)
    assert counted() == [1201] * 5


@pytest.mark.usefixtures("filled")
def test_a_terminal_sees_the_progress(workplace: Path) -> None:
    """On stderr, and stdout is the answer alone."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "scheduler", "jobs", "prune", "--older-than", "1d", "--json"]
    seen = b""
    with subprocess.Popen(command, cwd=workplace, stdout=subprocess.PIPE, stderr=theirs) as prune:
        os.close(theirs)
        with suppress(OSError):  # so Linux says that nobody writes any more
            while some := os.read(ours, 4096):
                seen += some
        answer, _ = prune.communicate(timeout=60)
    os.close(ours)
    assert (prune.returncode, json.loads(answer)["jobs"]) == (0, 3603)
    assert b"6005/6005" in seen
