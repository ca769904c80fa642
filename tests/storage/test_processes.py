"""Laws that must hold between processes, which share nothing but the database."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import Any

from scheduler.storage.sql import SQLStorage
from scheduler.storage.sql.tables import SCHEMA_REVISION
from tests.values import NOON, a_job, a_schedule

SCRIPT = Path(__file__).with_name("process.py")
PROCESSES = 4


def together(act: str, url: str) -> list[Any]:
    """What each of several processes brought, all having begun at one moment."""
    command = [sys.executable, str(SCRIPT), act, url, NOON.isoformat()]
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            for _ in range(PROCESSES)
        ]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        outputs = [process.communicate(timeout=60)[0] for process in processes]
        assert [process.returncode for process in processes] == [0] * PROCESSES
    return [json.loads(output) for output in outputs]


def test_processes_that_start_at_once_upgrade_once(database_url: str) -> None:
    """On a database that has no tables, and for SQLite no file: one works, the others wait."""
    assert together("upgrade", database_url) == [SCHEMA_REVISION] * PROCESSES
    with SQLStorage(database_url) as storage:
        storage.check()


def test_a_job_is_acquired_by_one_of_many_processes(database_url: str) -> None:
    """However they race, each job is handed out once, and all of them are."""
    with SQLStorage(database_url) as storage:
        storage.upgrade()
        saved = [a_job() for _ in range(120)]
        storage.save_jobs(saved)
        taken = together("acquire", database_url)
    assert sorted(chain.from_iterable(taken)) == [job.id for job in saved]


def test_an_occurrence_is_recorded_by_one_of_many_processes(database_url: str) -> None:
    """However they race, each schedule moves once, and each occurrence has one job."""
    with SQLStorage(database_url) as storage:
        storage.upgrade()
        schedules = [a_schedule(f"s{number:02}") for number in range(40)]
        for schedule in schedules:
            storage.save_schedule(schedule)
        won = together("record", database_url)
        assert sum(won) == len(schedules)
        made = [(job.schedule_id, job.occurrence_at) for job in storage.list_jobs(limit=1000)]
        assert sorted(made) == sorted((schedule.id, NOON) for schedule in schedules)
