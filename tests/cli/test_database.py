"""`scheduler db copy`: what it answers, and what it refuses."""

from __future__ import annotations

import json
import os
import pty
import sqlite3
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from freezegun import freeze_time

from scheduler.model import JobStatus
from scheduler.storage.sql import SQLStorage
from scheduler.testing.contract.acts import a_skip
from scheduler.testing.contract.attempts import an_attempt
from scheduler.testing.values import HOUR, NOON, a_job, a_schedule
from tests.cli.conftest import Scheduler

OLD, NEW = "sqlite:///old.db", "sqlite:///new.db"


@pytest.fixture
def old(workplace: Path) -> SQLStorage:
    """The store to leave, with a little of everything."""
    with SQLStorage(OLD) as storage:
        storage.upgrade()
        schedule = a_schedule()
        jobs = [a_job() for _ in range(1200)]
        storage.restore(
            schedules=[schedule],
            jobs=jobs,
            attempts=[an_attempt(jobs[0].id)],
            skips=[a_skip(schedule), a_skip(schedule, first_at=NOON + HOUR)],
        )
    return storage


def test_copy_tells_what_it_did(scheduler: Scheduler, old: SQLStorage) -> None:
    """And again, that nothing was left to do."""
    first, second = (scheduler("db", "copy", OLD, NEW) for _ in range(2))
    assert (first.code, first.err) == (second.code, second.err) == (0, "")
    assert first.out.startswith(f"{OLD} to {NEW}\n")
    lines = [line.split() for line in first.out.splitlines()]
    assert ["jobs", "1,200", "0"] in lines
    assert ["skips", "2", "0"] in lines
    assert ["jobs", "0", "1,200"] in [line.split() for line in second.out.splitlines()]
    assert len(scheduler("jobs", "--database", NEW, "-n", "9999", "--json").json) == 1200


def test_copy_as_json_is_one_document(scheduler: Scheduler, old: SQLStorage) -> None:
    answer = scheduler("db", "copy", OLD, NEW, "--json")
    assert (answer.code, answer.err) == (0, "")
    assert answer.json == {
        "from": OLD,
        "to": NEW,
        "copied": {"jobs": 1200, "attempts": 1, "skips": 2, "notes": 0, "schedules": 1},
        "already_there": {"jobs": 0, "attempts": 0, "skips": 0, "notes": 0, "schedules": 0},
        "being_run": 0,
        "faults": [],
    }


@pytest.mark.parametrize("kind", ["postgres_database", "mariadb_database", "redis_url"])
def test_copy_makes_the_tables_of_a_server(
    scheduler: Scheduler, old: SQLStorage, kind: str, request: pytest.FixtureRequest
) -> None:
    """As `db upgrade` does; and the way back finds all of it."""
    server = request.getfixturevalue(kind)
    there, back = (
        scheduler("db", "copy", *urls, "--json") for urls in ((OLD, server), (server, NEW))
    )
    assert (there.code, back.code) == (0, 0), (there.err, back.err)
    assert there.json["copied"] == back.json["copied"]
    copied = (scheduler("schedules", "--database", url, "--json").json for url in (OLD, NEW))
    assert next(copied) == next(copied)


@freeze_time(NOON)
def test_copy_warns_of_jobs_that_are_being_run(scheduler: Scheduler, old: SQLStorage) -> None:
    """They are copied with their leases; those that ran out are nobody's."""
    with old:
        old.acquire_next_jobs(3, now=NOON)
        old.acquire_next_jobs(2, now=NOON - HOUR)
    answer = scheduler("db", "copy", OLD, NEW, "--json")
    assert (answer.code, answer.json["being_run"]) == (0, 3)
    assert answer.err == f"warning: 3 jobs are being run at {OLD}; stop its executors\n"
    with SQLStorage(NEW) as new, old:
        processing = new.get_jobs_by_status(JobStatus.PROCESSING)
        assert processing == old.get_jobs_by_status(JobStatus.PROCESSING)


def test_a_copy_that_does_not_add_up_exits_with_1(
    scheduler: Scheduler, old: SQLStorage, workplace: Path
) -> None:
    """Every fault is told, on stderr and in the document."""
    assert scheduler("db", "upgrade", "--database", NEW).code == 0
    with sqlite3.connect(workplace / "new.db") as new:
        new.execute("CREATE TRIGGER thief AFTER INSERT ON schedules BEGIN DELETE FROM skips; END")
    answer = scheduler("db", "copy", OLD, NEW, "--json")
    fault = "target: 0 skips are there, 2 should be"
    assert (answer.code, answer.json["faults"]) == (1, [fault])
    assert answer.err.splitlines() == [
        f"error: {fault}",
        "error: stop all that runs on either store, and copy again",
    ]


def test_a_target_in_use_is_refused(scheduler: Scheduler, old: SQLStorage) -> None:
    """In one line, with the mend."""
    with SQLStorage(NEW) as new:
        new.upgrade()
        new.save_schedule(a_schedule())
    answer = scheduler("db", "copy", OLD, NEW)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("error: schedule 'books': another of this name is there, of id ")
    assert answer.err.endswith("; remove that, or use an empty store\n")


SERVER = "postgresql://me:hunter2@127.0.0.1:1/jobs?password=hunter2"
SHOWN = "postgresql+psycopg://me:***@127.0.0.1:1/jobs?password=%2A%2A%2A"

BAD_URLS = [
    ([OLD, OLD], f"TO_URL: {OLD} is the same as FROM_URL"),
    ([OLD, "memory://"], "TO_URL: memory:// is in the memory of this process; give a lasting one"),
    (["memory://", NEW], "FROM_URL: memory:// is in the memory of this process"),
    (["sqlite://", NEW], "FROM_URL: sqlite:// is in the memory of this process"),
    ([OLD, "sqlite:///:memory:"], "TO_URL: sqlite:///:memory: is in the memory of this process"),
    (["sqlite:///odl.db", NEW], "FROM_URL: sqlite:///odl.db is not there"),
    ([OLD, "mongodb://me:hunter2@host/x"], "database: mongodb is not a kind of store"),
    (["hunter2", NEW], "database: hunter2 is not a kind of store"),
    ([OLD, "postgresql://me:hunter2@host:port/x"], "database: the URL cannot be read"),
    (
        [SERVER, SERVER],
        "TO_URL: postgresql://me:***@127.0.0.1:1/jobs?password=%2A%2A%2A is the same",
    ),
    (["redis://me:hunter2@127.0.0.1:port", NEW], "database: the URL cannot be read"),
    ([OLD], "Missing argument 'TO_URL'"),
]


@pytest.mark.parametrize(("urls", "said"), BAD_URLS)
def test_bad_urls_are_refused_in_one_line(
    scheduler: Scheduler, old: SQLStorage, workplace: Path, urls: list[str], said: str
) -> None:
    """Before anything is made, and with no password."""
    answer = scheduler("db", "copy", *urls)
    assert (answer.code, answer.out, answer.err.count("\n")) == (2, "", 1)
    assert said in answer.err
    assert urls == ["hunter2", NEW] or "hunter2" not in answer.err
    assert {each.name for each in workplace.glob("*.db")} == {"old.db"}


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize(
    ("server", "said"),
    [
        (SERVER, f"database {SHOWN}: connection failed"),
        ("redis://me:hunter2@127.0.0.1:1", "database redis://me:***@127.0.0.1:1: "),
    ],
)
def test_a_store_that_does_not_answer_is_named(
    scheduler: Scheduler, old: SQLStorage, place: int, server: str, said: str
) -> None:
    """Without its password, wherever that stands."""
    urls = [OLD, OLD]
    urls[place] = server
    answer = scheduler("db", "copy", *urls)
    assert (answer.code, answer.out, answer.err.count("\n")) == (2, "", 1)
    assert said in answer.err
    assert "hunter2" not in answer.err


def test_an_empty_place_in_redis_is_no_source(scheduler: Scheduler, redis_url: str) -> None:
    """Nothing was ever prepared there: a mistyped prefix, say. Nothing is now."""
    for _ in range(2):
        answer = scheduler("db", "copy", redis_url, NEW)
        assert answer.code == 2
        assert f"FROM_URL {redis_url}: database" in answer.err
        assert "nothing is prepared there yet" in answer.err


def test_a_source_is_never_changed(scheduler: Scheduler, workplace: Path) -> None:
    """One without tables gets none, and is told from the target."""
    (workplace / "old.db").touch()
    answer = scheduler("db", "copy", OLD, NEW)
    assert answer.code == 2
    assert f"FROM_URL {OLD}: database: it has no tables yet" in answer.err
    with sqlite3.connect(workplace / "old.db") as file:
        assert file.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    assert not (workplace / "new.db").exists()


def test_a_terminal_sees_the_progress(old: SQLStorage, workplace: Path) -> None:
    """On stderr, and stdout is the answer alone."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "scheduler", "db", "copy", OLD, NEW, "--json"]
    seen = b""
    with subprocess.Popen(command, cwd=workplace, stdout=subprocess.PIPE, stderr=theirs) as copy:
        os.close(theirs)
        with suppress(OSError):  # so Linux says that nobody writes any more
            while some := os.read(ours, 4096):
                seen += some
        answer, _ = copy.communicate(timeout=60)
    os.close(ours)
    assert (copy.returncode, json.loads(answer)["faults"]) == (0, [])
    assert b"jobs" in seen
    assert b"1200/1200" in seen


def test_a_store_without_tables_has_nothing_to_upgrade(
    scheduler: Scheduler, redis_url: str
) -> None:
    for command in ("upgrade", "current"):
        said = scheduler("db", command, "--database", redis_url)
        assert (said.code, said.out) == (0, "This store has no tables, and is ready.\n")
