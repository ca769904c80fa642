"""Transactions: shared with the caller's own, waited for, and done again when undone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import (
    Connection,
    Engine,
    Integer,
    NullPool,
    bindparam,
    column,
    create_engine,
    table,
    text,
)
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from scheduler import JobQueue, lifecycle
from scheduler.errors import DuplicateJob, InvalidOption, NotSupported, StorageUnavailable
from scheduler.expansion import Expansion
from scheduler.model import Completed, Job, Outcome, Released
from scheduler.storage.memory import MemoryStorage
from scheduler.storage.sql import SQLStorage
from scheduler.testing.contract.acts import lease, settlement, stored, token
from scheduler.testing.values import HOUR, NOON, a_job, a_schedule


@pytest.fixture
def storage(database_url: str) -> Iterator[SQLStorage]:
    with SQLStorage(database_url) as storage:
        storage.upgrade()
        yield storage


@pytest.fixture
def engine(database_url: str, storage: SQLStorage) -> Engine:
    """The caller's own engine, on the same database, with a table of the caller's."""
    engine = create_engine(storage._database.url, poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE orders (id INTEGER)"))
    return engine


# --- shared ---------------------------------------------------------------------------------


def order(connection: Connection | Session, queue: JobQueue) -> str:
    """An order and the job that sends it, in one transaction; the job's id."""
    connection.execute(text("INSERT INTO orders VALUES (1)"))
    return queue.add("send", {"order": 1}, connection=connection).id


@pytest.fixture
def queue(storage: SQLStorage) -> JobQueue:
    queue = JobQueue(storage)
    queue.register("send", lambda order: order)
    return queue


@pytest.mark.parametrize("kind", ["connection", "session"])
def test_a_job_commits_with_its_callers_transaction(
    engine: Engine, queue: JobQueue, kind: str
) -> None:
    """Nobody sees it before, and everybody after."""
    caller: Any = engine.connect() if kind == "connection" else Session(engine)
    with caller:
        job_id = order(caller, queue)
        assert queue.get_job(job_id) is None
        caller.commit()
        stored = queue.get_job(job_id)
    assert stored is not None
    assert stored.data == {"order": 1}


@pytest.mark.parametrize("kind", ["connection", "session"])
def test_a_job_is_rolled_back_with_its_callers_transaction(
    engine: Engine, queue: JobQueue, kind: str
) -> None:
    """It never was."""
    caller: Any = engine.connect() if kind == "connection" else Session(engine)
    with caller:
        job_id = order(caller, queue)
        caller.rollback()
    assert queue.get_job(job_id) is None
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM orders")) == 0


def test_jobs_begin_their_callers_transaction(engine: Engine, queue: JobQueue) -> None:
    """Many as well as one, where nothing was written before: nobody sees them until it commits."""
    for n in (1, 3):
        with engine.connect() as connection:
            jobs = queue.add_many("send", [{"order": 1}] * n, connection=connection)
            assert [queue.get_job(job.id) for job in jobs] == [None] * n
            connection.commit()
        assert [queue.get_job(job.id) for job in jobs] == jobs


def test_a_connection_that_breaks_before_many_jobs_is_told(postgres_database: str) -> None:
    """The store is unavailable, and the caller's connection knows that it is gone."""
    with SQLStorage(postgres_database) as storage:
        storage.upgrade()
        engine = create_engine(storage._database.url, poolclass=NullPool)
        with engine.connect() as connection, engine.connect() as other:
            pid = connection.scalar(text("SELECT pg_backend_pid()"))
            other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
            with pytest.raises(StorageUnavailable, match="postgresql"):
                storage.save_jobs_in(connection, [a_job(), a_job()])
            assert connection.invalidated


def test_a_twin_is_refused_in_the_callers_transaction(storage: SQLStorage, engine: Engine) -> None:
    """As in one of our own; what the caller then does with it is the caller's."""
    job = a_job()
    storage.save_job(job)
    with engine.connect() as connection, pytest.raises(DuplicateJob, match=job.id):
        storage.save_jobs_in(connection, [job])


def test_what_is_refused_leaves_nothing_in_the_callers_transaction(
    storage: SQLStorage, engine: Engine
) -> None:
    """Which may go on, where the database lets it, and still is the caller's to undo."""
    twin = a_job()
    storage.save_job(twin)
    with engine.connect() as connection:
        with pytest.raises(DuplicateJob):
            storage.save_jobs_in(connection, [a_job(), twin])
        connection.commit()
        assert storage.list_jobs() == [twin]
        storage.save_jobs_in(connection, [a_job(), a_job()])
        connection.rollback()
    assert storage.list_jobs() == [twin]


def test_what_is_no_connection_to_this_database_is_refused(
    storage: SQLStorage, engine: Engine, tmp_path: Path
) -> None:
    """By its kind, its database, or for being none; nothing is written."""
    other = create_engine(f"sqlite:///{tmp_path / 'other.db'}", poolclass=NullPool)
    with other.connect() as elsewhere:
        refused: list[tuple[Any, str]] = [
            (engine, "Engine is not an SQLAlchemy connection or session"),
            (None, "NoneType is not"),
            (
                elsewhere,
                f"is not of this store's {storage._database.name}|is not of this store's d",
            ),
        ]
        for connection, said in refused:
            with pytest.raises(InvalidOption, match=f"connection: .*{said}"):
                storage.save_jobs_in(connection, [a_job()])
    assert storage.list_jobs() == []


def test_a_connection_that_commits_each_statement_is_refused(
    storage: SQLStorage, engine: Engine
) -> None:
    """It has no transaction to share."""
    url = engine.url.render_as_string(hide_password=False)
    always = create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    now = engine.execution_options(isolation_level="AUTOCOMMIT")
    for each in (always, now):
        with each.connect() as connection, pytest.raises(InvalidOption, match="AUTOCOMMIT"):
            storage.save_jobs_in(connection, [a_job()])
    assert storage.list_jobs() == []


def test_a_store_without_sql_shares_no_transaction(engine: Engine) -> None:
    """It says so."""
    queue = JobQueue(MemoryStorage())
    queue.register("send", lambda order: order)
    with engine.connect() as connection, pytest.raises(NotSupported, match="MemoryStorage"):
        queue.add("send", {"order": 1}, connection=connection)


# --- of the store's own ---------------------------------------------------------------------


@pytest.fixture
def leased(storage: SQLStorage) -> Job:
    """A job that runs."""
    storage.save_job(a_job())
    return lease(storage)


@pytest.fixture
def orders(storage: SQLStorage) -> Callable[[], int]:
    """How many orders others see."""
    with storage.transaction() as connection:
        connection.execute(text("CREATE TABLE orders (id INTEGER PRIMARY KEY)"))

    def count() -> int:
        with storage.transaction() as connection:
            counted = connection.scalar(text("SELECT count(*) FROM orders"))
        return int(counted or 0)

    return count


def test_an_outcome_commits_with_what_the_handler_wrote(
    storage: SQLStorage, leased: Job, orders: Callable[[], int]
) -> None:
    """Both are there, once the block ends."""
    ended = settlement(leased, Completed("sent"))
    with storage.transaction() as connection:
        connection.execute(text("INSERT INTO orders VALUES (1)"))
        assert storage.settle_jobs_in(connection, [ended]) == [True]
    assert (stored(storage, leased), orders()) == (ended.job, 1)


def test_an_outcome_is_rolled_back_with_what_the_handler_wrote(
    storage: SQLStorage, leased: Job, orders: Callable[[], int]
) -> None:
    """Neither ever was, and the lease holds as before."""

    def handle() -> None:
        with storage.transaction() as connection:
            connection.execute(text("INSERT INTO orders VALUES (1)"))
            assert storage.settle_jobs_in(connection, [settlement(leased, Completed())]) == [True]
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        handle()
    assert (stored(storage, leased), orders()) == (leased, 0)
    assert storage.settle_jobs([settlement(leased, Completed())]) == [True]


def test_an_outcome_whose_lease_is_lost_is_not_written(storage: SQLStorage, leased: Job) -> None:
    """The transaction goes on, and its holder can tell."""
    storage.settle_jobs([settlement(leased, Released())])
    released = stored(storage, leased)
    with storage.transaction() as connection:
        assert storage.settle_jobs_in(connection, [settlement(leased, Completed())]) == [False]
        assert storage.settle_jobs_in(connection, []) == []
    assert stored(storage, leased) == released


def test_what_goes_wrong_in_a_transaction_is_its_own(
    storage: SQLStorage, orders: Callable[[], int]
) -> None:
    """A handler sees SQLAlchemy's errors, not the store's, and may go by them."""
    twins = text("INSERT INTO orders VALUES (1), (1)")
    with pytest.raises(IntegrityError), storage.transaction() as connection:
        connection.execute(twins)
    with pytest.raises(DBAPIError, match="no_such_table"), storage.transaction() as connection:
        connection.execute(text("SELECT * FROM no_such_table"))
    assert orders() == 0


def test_a_transaction_of_sqlite_is_a_writing_one(sqlite_url: str) -> None:
    """What it reads, nobody changes before it writes."""
    with SQLStorage(sqlite_url) as storage, SQLStorage(sqlite_url) as other:
        storage.upgrade()
        storage.save_job(a_job())
        with ThreadPoolExecutor(1) as pool:
            with storage.transaction() as connection:
                assert connection.scalar(text("SELECT count(*) FROM jobs")) == 1
                written = pool.submit(other.save_job, a_job())
                connection.execute(text("DELETE FROM jobs"))
                assert not written.done()
            written.result(timeout=10)
        assert len(storage.list_jobs()) == 1


def test_a_store_that_cannot_be_reached_begins_no_transaction() -> None:
    """The block is not entered, and the error is the store's."""
    entered = []
    with (
        SQLStorage("postgresql://someone@127.0.0.1:1/jobs") as storage,
        pytest.raises(StorageUnavailable),
        storage.transaction(),
    ):
        entered.append(True)
    assert entered == []


def test_a_store_without_sql_has_no_transaction() -> None:
    """It says so."""
    with pytest.raises(NotSupported, match="MemoryStorage"):
        MemoryStorage().transaction()


# --- waited for -----------------------------------------------------------------------------


@pytest.fixture
def held(server_database: str) -> Iterator[tuple[SQLStorage, Expansion, Connection]]:
    """A change of a schedule whose row another transaction holds."""
    with SQLStorage(server_database) as storage:
        storage.upgrade()
        schedule = a_schedule()
        storage.save_schedule(schedule)
        with storage._engine.connect() as connection:
            connection.execute(text("SELECT id FROM schedules FOR UPDATE"))
            yield storage, Expansion(schedule, replace(schedule, revision=2)), connection


def test_a_schedule_that_another_holds_is_waited_for(
    held: tuple[SQLStorage, Expansion, Connection],
) -> None:
    """A person's change is no lost race because an expander is at work."""
    storage, change, holder = held
    with ThreadPoolExecutor(1) as pool:
        written = pool.submit(storage.record_expansions, [change])
        wait_until_blocked(storage)
        assert not written.done()
        holder.rollback()
        assert written.result(timeout=10) == [True]


def test_an_expander_passes_over_what_another_holds(
    held: tuple[SQLStorage, Expansion, Connection],
) -> None:
    """Who holds it is expanding it."""
    storage, change, holder = held
    assert storage.record_expansions([change], wait=False) == [False]
    holder.rollback()
    assert storage.record_expansions([change], wait=False) == [True]


@pytest.mark.parametrize("outcome", [Completed(), Released()])
def test_who_settles_a_job_whose_lease_is_being_renewed_still_holds_it(
    postgres_database: str, outcome: Outcome
) -> None:
    """The row is another than the one it waited for; the lease is the same."""
    with SQLStorage(postgres_database) as storage, ThreadPoolExecutor(1) as pool:
        storage.upgrade()
        storage.save_jobs([a_job(), a_job()])
        renewed, other = lease(storage), lease(storage)
        with storage._engine.begin() as connection:
            storage._jobs.renew(connection, {renewed.id: token(renewed)}, NOON + HOUR)
            settlements = [settlement(renewed, outcome), settlement(other, outcome)]
            written = pool.submit(storage.settle_jobs, settlements)
            wait_until_blocked(storage)
        assert written.result(timeout=10) == [True, True]
        assert stored(storage, renewed) == settlements[0].job


@pytest.mark.parametrize("verb", ["settle", "cancel"])
def test_who_writes_jobs_waits_for_one_before_taking_a_later_one(
    postgres_database: str, verb: str
) -> None:
    """So does who renews leases: else each might wait for the other, and one were undone."""
    with SQLStorage(postgres_database) as storage, ThreadPoolExecutor(1) as pool:
        storage.upgrade()
        schedule = a_schedule()
        storage.save_schedule(schedule)
        storage.save_jobs([a_job(), a_job()])
        first, second = sorted((lease(storage), lease(storage)), key=lambda job: job.id)
        act: Callable[[], list[bool]]
        if verb == "settle":
            settlements = [settlement(job, Completed()) for job in (second, first)]
            act = partial(storage.settle_jobs, settlements)
        else:
            called_off = tuple((job, lifecycle.cancel(job, now=NOON)) for job in (second, first))
            after = replace(schedule, revision=2)
            expansion = Expansion(schedule, after, cancelled=called_off)
            act = partial(storage.record_expansions, [expansion])
        row = text("SELECT id FROM jobs WHERE id = :id FOR UPDATE NOWAIT")
        with storage._engine.begin() as connection:
            connection.execute(row, {"id": first.id})
            written = pool.submit(act)
            wait_until_blocked(storage)
            connection.execute(row, {"id": second.id})
        assert all(written.result(timeout=10))


def wait_until_blocked(storage: SQLStorage) -> None:
    """Return when a transaction of the database waits for another's lock."""
    asked, column = {
        "postgresql": ("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'", 0),
        # Of the whole server, but true at once: innodb_trx is a picture that grows old.
        "mysql": ("SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_current_waits'", 1),
    }[storage._database.name]
    with storage._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        while not int(connection.execute(text(asked)).one()[column]):
            pass


def test_a_server_ends_a_transaction_that_stands_still(server_database: str) -> None:
    """So that a process that was stopped does not hold on to its rows for ever."""
    asked = {
        "postgresql": "SHOW idle_in_transaction_session_timeout",
        "mysql": "SELECT @@SESSION.idle_transaction_timeout",
    }
    with SQLStorage(server_database) as storage, storage._engine.connect() as connection:
        assert connection.scalar(text(asked[storage._database.name])) in ("15s", 15)


@pytest.mark.parametrize("verb", ["insert", "update"])
def test_postgresql_ends_it_whatever_was_written_last(postgres_database: str, verb: str) -> None:
    """Of many rows, too: after psycopg has sent those, the server does not count the time."""
    told = text("SET LOCAL idle_in_transaction_session_timeout = '2s'")
    there = text("SELECT count(*) FROM pg_stat_activity WHERE pid = :pid")
    with SQLStorage(postgres_database) as storage, storage._engine.connect() as connection:
        storage.upgrade()
        pid = connection.scalar(text("SELECT pg_backend_pid()"))
        connection.execute(text("CREATE TEMPORARY TABLE kept (a INTEGER)"))
        connection.execute(told)
        kept = table("kept", column("a", Integer))
        connection.execute(kept.insert(), [{"a": each} for each in range(20)])
        if verb == "update":
            write = kept.update().where(kept.c.a == bindparam("was")).values(a=0)
            written = connection.execute(write, [{"was": each} for each in range(20)])
            assert written.rowcount == 20
        with storage._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as other:
            deadline = time.monotonic() + 30
            while other.scalar(there, {"pid": pid}):
                assert time.monotonic() < deadline
        connection.invalidate()


def test_a_pooler_ends_such_a_transaction_too(pooled_postgres: str) -> None:
    """By a word in each transaction, since there are no sessions."""
    with (
        SQLStorage(pooled_postgres) as storage,
        storage._engine.begin() as connection,
    ):
        shown = connection.exec_driver_sql("SHOW idle_in_transaction_session_timeout")
        assert shown.scalar_one() == "15s"


def test_who_waits_too_long_for_another_is_told(server_database: str) -> None:
    """The store is unavailable, for that row; nobody waits for ever."""
    asked = {"postgresql": "SHOW lock_timeout", "mysql": "SELECT @@innodb_lock_wait_timeout"}
    with SQLStorage(server_database) as storage, storage._engine.connect() as connection:
        assert connection.scalar(text(asked[storage._database.name])) in ("20s", 20)


# --- done again -----------------------------------------------------------------------------


def test_a_deadlock_is_tried_again(server_database: str) -> None:
    """Of two transactions that wait for each other, one is undone, and then done."""
    with SQLStorage(server_database) as storage:
        storage.upgrade()
        jobs = [a_job(), a_job()]
        storage.save_jobs(jobs)
        meeting = threading.Barrier(2, timeout=30)
        tries = [0, 0]

        def cross(number: int) -> None:
            def work(connection: Connection) -> None:
                tries[number] += 1
                for place, job in enumerate(jobs[:: 1 if number else -1]):
                    storage._jobs.update(connection, replace(job, priority=number))
                    if place == 0 and tries[number] == 1:
                        meeting.wait()

            storage._write(work)

        with ThreadPoolExecutor(2) as pool:
            for done in [pool.submit(cross, number) for number in (0, 1)]:
                done.result(timeout=60)
        assert sorted(tries) == [1, 2]
        assert len({job.priority for job in storage.list_jobs()}) == 1
