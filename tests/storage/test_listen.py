"""Announcements: on PostgreSQL, who commits a job wakes those who listen."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import NullPool, create_engine, make_url, text

from scheduler import JobQueue
from scheduler.expansion import expand
from scheduler.storage.memory import MemoryStorage
from scheduler.storage.sql import SQLStorage
from scheduler.testing.values import HOUR, NOON, a_job, a_schedule

WAIT = 10


class Wakes:
    """Counts the calls of `wake`, and waits for the next."""

    def __init__(self) -> None:
        self._calls = threading.Semaphore(0)

    def __call__(self) -> None:
        self._calls.release()

    def await_one(self, timeout: float = WAIT) -> None:
        assert self._calls.acquire(timeout=timeout), "nothing was announced"
        while self._calls.acquire(blocking=False):  # what came together
            pass


@pytest.fixture
def storage(postgres_database: str) -> Iterator[SQLStorage]:
    with SQLStorage(postgres_database) as storage:
        storage.upgrade()
        yield storage


@pytest.fixture
def wakes(postgres_database: str, storage: SQLStorage) -> Iterator[Wakes]:
    """Somebody who listens, in what might be another process."""
    wakes = Wakes()
    with SQLStorage(postgres_database) as other:
        stop = other.listen(wakes)
        assert stop is not None
        wakes.await_one()  # having begun to listen, one looks
        yield wakes
        stop()


def test_a_saved_job_is_announced(storage: SQLStorage, wakes: Wakes) -> None:
    """One or many, and what an expansion makes."""
    storage.save_job(a_job())
    wakes.await_one()
    storage.save_jobs([a_job() for _ in range(100)])
    wakes.await_one()
    schedule = a_schedule()
    storage.save_schedule(schedule)
    storage.record_expansions([expand(schedule, NOON)])
    wakes.await_one()


def test_a_callers_job_is_announced_by_the_callers_commit(
    storage: SQLStorage, wakes: Wakes
) -> None:
    """Whoever's connection it is."""
    engine = create_engine(storage._database.url, poolclass=NullPool)
    with engine.begin() as connection:
        storage.save_jobs_in(connection, [a_job()])
    wakes.await_one()


def test_a_listener_that_was_cut_off_listens_again(
    postgres_database: str, storage: SQLStorage, wakes: Wakes
) -> None:
    """And looks, for what it missed meanwhile."""
    with create_engine(make_url(postgres_database), poolclass=NullPool).begin() as connection:
        ended = connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND query LIKE 'LISTEN%'"
            )
        )
        assert ended.scalars().all() == [True]
    wakes.await_one()
    storage.save_job(a_job())
    wakes.await_one()


def test_a_listener_that_cannot_connect_can_be_stopped() -> None:
    """At once, whatever its pause has grown to."""
    storage = SQLStorage("postgresql://nobody@127.0.0.1:1/nothing")
    stop = storage.listen(lambda: None)
    assert stop is not None
    stop()
    assert not any(thread.name == "scheduler-listen" for thread in threading.enumerate())


def test_tables_of_another_prefix_are_another_matter(postgres_database: str) -> None:
    """Their executors are not woken."""
    channels = {
        SQLStorage(f"{postgres_database}?{options}")._database._channel  # type: ignore[attr-defined]
        for options in ("", "table_prefix=a_", "table_prefix=b_", "schema=a_")
    }
    assert len(channels) == 4


def test_where_nothing_is_announced_nobody_listens(postgres_database: str) -> None:
    """By the URL's word, or because the store cannot."""
    for options in ("notify=off", "pooler=on"):
        assert SQLStorage(f"{postgres_database}?{options}").listen(lambda: None) is None
    assert MemoryStorage().listen(lambda: None) is None


def test_an_idle_queue_takes_up_a_job_that_another_process_added(
    postgres_database: str, storage: SQLStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long before it would look for itself."""
    monkeypatch.setattr("scheduler.metronome.LONGEST_WAIT", HOUR)
    ran = threading.Event()
    queue = JobQueue(postgres_database, processing_interval=3600)
    queue.register("work", ran.set)
    queue.start()
    try:
        elsewhere = JobQueue(storage)
        elsewhere.register("work", lambda: None)
        elsewhere.add("work")
        assert ran.wait(WAIT)
    finally:
        queue.stop()
        queue.storage.close()
