"""A copy is all that the source held, as it was, however often it was cut off."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest
from sqlalchemy import Connection, event

from scheduler.errors import DifferentRecord, NotSupported, StorageUnavailable
from scheduler.expansion import expand
from scheduler.model import (
    Attempt,
    Ending,
    Job,
    JobStatus,
    Lease,
    Origin,
    Overlap,
    Schedule,
    ScheduleStatus,
    SkipReason,
)
from scheduler.storage import JobStorage
from scheduler.storage.memory import MemoryStorage
from scheduler.storage.moving import Kind, Moved, Tally, copy, live_leases
from scheduler.storage.open import storage_for
from scheduler.storage.sql import SQLStorage
from scheduler.testing.contract.acts import a_note, a_skip
from scheduler.testing.contract.attempts import an_attempt
from scheduler.testing.contract.names import ALIKE, ASCENDING, HOSTILE_NAMES
from scheduler.testing.contract.saving import JSON_VALUES
from scheduler.testing.values import HOUR, MINUTE, NOON, SECOND, a_job, a_schedule, utc
from tests.readme import shown
from tests.servers import fresh_database, mariadb
from tests.servers.redis import fresh_prefix

FIRST = utc("0001-01-01T00:00:00+00:00")
LAST = utc("9999-12-31T23:59:59.999999+00:00")
MyStorage: type[JobStorage] = shown("mine.py").MyStorage
KINDS = ("memory", "sqlite", "postgres", "mariadb", "redis")


@contextmanager
def a_store(kind: str, request: pytest.FixtureRequest, path: Path) -> Iterator[JobStorage]:
    """An empty store of this kind, ready for use."""
    with ExitStack() as stack:
        match kind:
            case "memory":
                url = "memory://"
            case "sqlite":
                url = f"sqlite:///{path}"
            case "postgres":
                server = request.getfixturevalue("postgres_url")
                url = stack.enter_context(fresh_database(server))
            case "mariadb":
                server = request.getfixturevalue("mariadb_url")
                url = stack.enter_context(mariadb.fresh_database(server))
            case _:
                url = stack.enter_context(fresh_prefix(request.getfixturevalue("redis_server")))
        storage = stack.enter_context(storage_for(url))
        storage.upgrade()
        yield storage


@pytest.fixture(params=KINDS)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[JobStorage]:
    with a_store(request.param, request, tmp_path / "source.db") as storage:
        furnish(storage)
        yield storage


@pytest.fixture(params=KINDS)
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[JobStorage]:
    with a_store(request.param, request, tmp_path / "target.db") as storage:
        yield storage


def furnish(storage: JobStorage) -> None:
    """Fill a store with what can be hard to carry."""
    busy = replace(
        a_schedule("O'Hara's 🐎", overlap=Overlap.ALLOW, data={"values": JSON_VALUES}),
        revision=9,
        materialised=7,
        last_occurrence_at=NOON,
        error="why\nnot",
        next_at=LAST,
    )
    busy = replace(busy, open_skip=a_skip(busy, count=3))
    others = [
        replace(a_schedule(status), status=status, revision=2, paused_at=NOON, paused_by="ada")
        for status in ScheduleStatus
    ]
    idle = a_schedule("without a record", catch_up_window=MINUTE, jitter=SECOND)
    skips = [a_skip(busy, first_at=NOON + hours * HOUR) for hours in range(17)]
    skips += [a_skip(others[0], reason=each, first_at=at, last_at=LAST) for each, at in _ENDS]
    notes = [
        a_note(busy, revision=number, at=at, detail={"value": JSON_VALUES[-number]})
        for number, at in enumerate([FIRST, NOON, LAST], start=1)
    ]
    jobs = list(some_jobs(busy))
    storage.restore(
        schedules=[busy, *others, idle],
        skips=skips,
        notes=notes,
        jobs=jobs,
        attempts=list(some_attempts(jobs)),
    )


_ENDS = [(SkipReason.PAUSED, FIRST), (SkipReason.EXPIRED, NOON)]


def some_jobs(schedule: Schedule) -> Iterator[Job]:
    for status in JobStatus:
        yield a_job(status=status, error="'\"\\ 🐎", retry_count=2, worker="host:1:ab")
    for value in JSON_VALUES:
        yield a_job(data={"value": value}, result=value, repeat=schedule.rule)
    for name in HOSTILE_NAMES:
        yield a_job(name=name, queue=name, priority=-7)
    for id_ in (*ALIKE, *ASCENDING):
        yield a_job(id=id_)
    for at in (FIRST, LAST):
        yield a_job(created_at=at, scheduled_at=at, started_at=at, completed_at=at)
        yield a_job(status=JobStatus.PROCESSING, started_at=NOON, lease=Lease("t" * 16, at))
    for number in range(9):
        yield a_job(
            schedule_id=schedule.id,
            occurrence_at=NOON + number * MINUTE,
            previous_occurrence_at=NOON - MINUTE,
            sequence=number,
            missed_before=3,
            serial=True,
            origin=Origin.CATCH_UP,
            timeout=timedelta(seconds=90, microseconds=1),
        )
        yield a_job(schedule_id=schedule.id, occurrence_at=NOON, origin=Origin.RUN_NOW)


def some_attempts(jobs: Sequence[Job]) -> Iterator[Attempt]:
    """One for each job, and the most that can be said of an early and of a late one."""
    for number, job in enumerate(jobs, start=1):
        yield an_attempt(job.id, number=number, ending=list(Ending)[number % len(Ending)])
    for at in (FIRST, LAST):
        yield an_attempt(
            jobs[0].id,
            started_at=at,
            ended_at=LAST,
            worker="host:1:ab",
            error="'\"\\ 🐎",
            traceback="line 1\nline 2",
            log=("'\"\\ 🐎", "", "\u2028"),
        )


def contents(storage: JobStorage) -> dict[str, list[Any]]:
    """All that a store holds."""
    schedules = storage.list_schedules()
    jobs = storage.list_jobs(limit=10**6)
    return {
        "schedules": schedules,
        "jobs": jobs,
        "attempts": storage.list_attempts([job.id for job in jobs]),
        "skips": [skip for each in schedules for skip in storage.list_skips(each.id)],
        "notes": [note for each in schedules for note in storage.list_notes(each.id)],
    }


def totals(moved: Moved) -> dict[str, int]:
    return {kind.value: tally.total for kind, tally in moved.tallies.items()}


# --- what arrives ---------------------------------------------------------------------------


def test_a_copy_is_what_the_source_was(source: JobStorage, target: JobStorage) -> None:
    """Between any two stores, to the last field; a second copy finds all of it there."""
    house = contents(source)
    moved = copy(source, target, page=7)
    assert moved.faults == ()
    assert {kind.value: tally.copied for kind, tally in moved.tallies.items()} == {
        kind: len(records) for kind, records in house.items()
    }
    assert contents(target) == house
    again = copy(source, target, page=10)
    assert again.faults == ()
    assert {tally.copied for tally in again.tallies.values()} == {0}
    assert totals(again) == totals(moved)
    assert contents(source) == contents(target) == house


def test_what_was_copied_goes_on(target: JobStorage) -> None:
    """A lease is renewed by its holder, and the next occurrence follows the last."""
    source = MemoryStorage()
    schedule = a_schedule()
    source.save_schedule(schedule)
    source.record_expansions([expand(schedule, NOON)])
    [leased] = source.acquire_next_jobs(1, now=NOON)
    assert leased.lease is not None
    copy(source, target)
    assert target.renew_leases({leased.id: leased.lease.token}, expires_at=NOON) == {leased.id}
    [due] = target.due_schedules(NOON + HOUR)
    assert target.record_expansions([expand(due, NOON + HOUR)]) == [True]
    made = [job.occurrence_at for job in target.list_jobs()]
    assert made == [NOON + HOUR, NOON]


def test_what_else_the_target_holds_stays() -> None:
    """Two stores can become one."""
    source, target, other = MemoryStorage(), MemoryStorage(), MemoryStorage()
    furnish(source)
    there, named = a_job(), a_schedule("of another name")
    for storage in (target, other):
        storage.save_job(there)
        storage.save_schedule(named)
    assert copy(source, target).faults == ()
    assert copy(other, source).faults == ()
    assert contents(source) == contents(target)


def test_a_store_without_schedules_can_be_left_and_entered() -> None:
    """Its jobs are all it has; a schedule it cannot take, and says so."""
    source, target, full = MyStorage(), MyStorage(), MemoryStorage()
    saved = [a_job() for _ in range(5)]
    source.save_jobs(saved)
    assert copy(source, target, page=2).tallies[Kind.JOBS] == Tally(copied=5)
    assert copy(source, target, page=2).tallies[Kind.JOBS] == Tally(there=5)
    assert target.list_jobs() == saved[::-1]
    full.save_schedule(a_schedule())
    with pytest.raises(NotSupported, match="MyStorage does not keep schedules"):
        copy(full, target)


def test_an_empty_store_is_copied_too(target: JobStorage) -> None:
    moved = copy(MemoryStorage(), target)
    assert (set(totals(moved).values()), moved.faults) == ({0}, ())


def test_the_progress_is_told_page_by_page() -> None:
    """What is at the target, and of how many where that is known."""
    source = MemoryStorage()
    jobs = [a_job() for _ in range(5)]
    schedule = a_schedule()
    attempts = [an_attempt(job.id) for job in jobs[:3]]
    source.restore(jobs=jobs, attempts=attempts, skips=[a_skip(schedule)], schedules=[schedule])
    told: list[tuple[Kind, int, int | None]] = []
    copy(source, MemoryStorage(), page=2, progress=lambda *news: told.append(news))
    assert told == [
        (Kind.JOBS, 2, 5),
        (Kind.JOBS, 4, 5),
        (Kind.JOBS, 5, 5),
        (Kind.ATTEMPTS, 2, None),
        (Kind.ATTEMPTS, 3, None),
        (Kind.SKIPS, 1, None),
        (Kind.SCHEDULES, 1, 1),
    ]


def test_live_leases_are_those_that_have_not_run_out() -> None:
    """A processing job without one is nobody's."""
    storage = MemoryStorage()
    for seconds in (-1, 0, 1, 2):
        lease = Lease("t", NOON + seconds * SECOND)
        storage.save_job(a_job(status=JobStatus.PROCESSING, lease=lease))
    storage.save_job(a_job())
    assert live_leases(storage, NOON) == 2


# --- what is cut off ------------------------------------------------------------------------


class Fragile(MemoryStorage):
    """A store that is there for so many pages."""

    def __init__(self, pages: int) -> None:
        super().__init__()
        self.pages = pages

    def restore(self, **given: Any) -> int:
        if self.pages == 0:
            raise StorageUnavailable("gone")
        self.pages -= 1
        return super().restore(**given)


def test_a_copy_is_completed_after_any_page() -> None:
    """What arrived is left alone, and no schedule arrives before all of the rest."""
    source = MemoryStorage()
    furnish(source)
    house = contents(source)
    pages = 0
    while True:
        target = Fragile(pages)
        try:
            copy(source, target, page=7)
            break
        except StorageUnavailable:
            if target.list_schedules():
                assert target.list_jobs(limit=10**6) == house["jobs"]
        target.pages = 10**6
        moved = copy(source, target, page=11)
        assert moved.faults == ()
        assert totals(moved) == {kind: len(records) for kind, records in house.items()}
        assert sum(tally.there for tally in moved.tallies.values()) >= pages
        assert contents(target) == house
        pages += 1
    assert pages > 10


JOBS = 20_000


@pytest.mark.timeout(300)
def test_a_killed_copy_is_completed(database_url: str, tmp_path: Path) -> None:
    """Killed in the middle of 20,000 jobs, and begun again: all are there, each once."""
    source_url = f"sqlite:///{tmp_path / 'source.db'}"
    with SQLStorage(source_url) as source, SQLStorage(database_url) as target:
        source.upgrade()
        target.upgrade()
        schedule = a_schedule()
        source.restore(
            schedules=[schedule],
            skips=[a_skip(schedule, first_at=NOON + hours * HOUR) for hours in range(100)],
            jobs=[
                a_job(
                    schedule_id=schedule.id,
                    occurrence_at=NOON + number * SECOND,
                    data={"n": number},
                )
                for number in range(JOBS)
            ],
        )
        command = [sys.executable, "-m", "scheduler", "db", "copy", source_url, database_url]
        with subprocess.Popen(command) as killed:
            while number(target) < JOBS // 10:
                assert killed.poll() is None
            killed.send_signal(signal.SIGKILL)
        assert killed.returncode == -signal.SIGKILL
        assert JOBS // 10 <= (arrived := number(target)) < JOBS
        assert target.list_schedules() == []
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert f"{JOBS - arrived:,}" in done.stdout
        assert number(target) == JOBS
        assert contents(target) == contents(source)


def number(storage: JobStorage) -> int:
    return sum(storage.count_jobs().values())


# --- what does not add up -------------------------------------------------------------------


def test_another_schedule_of_the_same_name_is_refused_first(target: JobStorage) -> None:
    """The target is in use: the error says how to mend that, and nothing was written."""
    source, there = MemoryStorage(), a_schedule()
    furnish(source)
    source.save_schedule(a_schedule())
    target.save_schedule(there)
    mend = (
        r"schedule 'books': another of this name is there, of id .*; remove that, or use an empty"
    )
    with pytest.raises(DifferentRecord, match=mend):
        copy(source, target)
    assert contents(target) == {
        "schedules": [there],
        "jobs": [],
        "attempts": [],
        "skips": [],
        "notes": [],
    }


def test_a_schedule_that_went_on_at_the_target_is_not_set_back() -> None:
    """Once the target is in use, the source is history."""
    source, target = MemoryStorage(), MemoryStorage()
    source.save_schedule(a_schedule())
    copy(source, target)
    [schedule] = target.list_schedules()
    expansion = expand(schedule, NOON)
    target.record_expansions([expansion])
    with pytest.raises(DifferentRecord, match=r"'books': .* differs in cursor_at, next_at"):
        copy(source, target)
    assert target.list_schedules() == [expansion.after]


def test_a_job_that_differs_is_named_and_not_overwritten(target: JobStorage) -> None:
    """It has been run at the target since, say."""
    source, job = MemoryStorage(), a_job()
    source.save_job(job)
    copy(source, target)
    run = replace(job, status=JobStatus.COMPLETED, result=1)
    target.update_job(run)
    with pytest.raises(DifferentRecord, match=rf"{job.id}: .* differs in status, result;"):
        copy(source, target)
    assert target.list_jobs() == [run]


CHANGES: list[tuple[Callable[[JobStorage], object], list[str]]] = [
    (
        lambda source: source.acquire_next_job(now=NOON),
        [
            "source: 1 jobs are pending now, 2 were when read",
            "source: 1 jobs are processing now, 0 were when read",
        ],
    ),
    (
        lambda source: source.save_job(a_job()),
        ["source: 3 jobs are pending now, 2 were when read"],
    ),
    (
        lambda source: source.save_schedule(a_schedule("new")),
        ["source: schedule 'new' changed while it was copied"],
    ),
    (
        lambda source: source.delete_schedule("books"),
        ["source: schedule 'books' changed while it was copied"],
    ),
    (
        lambda source: source.record_expansions(
            [expand(each, NOON) for each in source.list_schedules()]
        ),
        [
            "source: 3 jobs are pending now, 2 were when read",
            "source: schedule 'books' changed while it was copied",
        ],
    ),
]


@pytest.mark.parametrize(("change", "faults"), CHANGES)
def test_a_change_of_the_source_meanwhile_is_told(
    change: Callable[[JobStorage], object], faults: list[str]
) -> None:
    """Whatever was read of it may be of before or after."""
    source = MemoryStorage()
    source.save_jobs([a_job(), a_job()])
    source.save_schedule(a_schedule())

    def meddle(kind: Kind, done: int, total: int | None) -> None:
        if kind is Kind.JOBS:
            change(source)

    assert list(copy(source, MemoryStorage(), progress=meddle).faults) == faults


def test_what_is_missing_at_the_target_is_told() -> None:
    """Somebody removed it, or added to it, before it was counted."""
    source, target = MemoryStorage(), MemoryStorage()
    schedule = a_schedule()
    source.restore(
        schedules=[schedule], jobs=[a_job()], skips=[a_skip(schedule)], notes=[a_note(schedule)]
    )

    def meddle(kind: Kind, done: int, total: int | None) -> None:
        if kind is Kind.SCHEDULES:
            target.delete_schedule(schedule.name)
            target.save_job(a_job())

    assert copy(source, target, progress=meddle).faults == (
        "target: 2 jobs are there, 1 should be",
        "target: 0 skips are there, 1 should be",
        "target: 0 notes are there, 1 should be",
        "target: 0 schedules are there, 1 should be",
    )


def test_two_copies_at_once_double_nothing(database_url: str, tmp_path: Path) -> None:
    """Each may find more at the target than it counted on; the next one finds all in order."""
    source_url = f"sqlite:///{tmp_path / 'source.db'}"
    with SQLStorage(source_url) as source, SQLStorage(database_url) as target:
        source.upgrade()
        furnish(source)
        source.save_jobs([a_job() for _ in range(3000)])
        command = [sys.executable, "-m", "scheduler", "db", "copy", source_url, database_url]
        copies = [subprocess.Popen(command, stdout=PIPE, stderr=PIPE) for _ in range(2)]
        said = [each.communicate(timeout=100)[1].decode() for each in copies]
        assert {each.returncode for each in copies} <= {0, 1}, said
        assert contents(target) == contents(source)
        assert subprocess.run(command, stdout=PIPE, check=False).returncode == 0


def test_what_postgresql_fills_it_plans_for_as_it_is(postgres_database: str) -> None:
    """Not as it was while it was small; and only in a restore."""
    with SQLStorage(postgres_database) as target:
        target.upgrade()
        modes: list[str] = []

        @event.listens_for(target._engine, "commit")
        def look(connection: Connection) -> None:
            modes.append(connection.exec_driver_sql("SHOW plan_cache_mode").scalar_one())

        job = a_job()
        target.restore(jobs=[job])
        target.update_job(job)
    assert modes == ["force_custom_plan", "auto"]
