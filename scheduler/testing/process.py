"""One of several processes on one store: what the laws of processes have it do.

It opens the store, by a dotted function of one text, and then acts, each when it is told to, so
that all processes do it at once; it says each thing it did.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from importlib import import_module
from multiprocessing.connection import Connection
from typing import Any

from scheduler import lifecycle
from scheduler.expansion import expand
from scheduler.flow import Limit, Rate
from scheduler.model import Completed, JobStatus, Settlement
from scheduler.storage import JobStorage
from scheduler.testing.values import HOUR, MINUTE, a_job, a_schedule

READY = "ready"
BATCH = 200
"""How many jobs are saved together."""
LIMITS = {"few": Limit(concurrency=3), "slow": Limit(rate=Rate(5, MINUTE))}


def acquire(storage: JobStorage, now: datetime) -> Iterator[Any]:
    """The ids of the jobs this process got, three at a time, until there are none."""
    yield
    while jobs := storage.acquire_next_jobs(3, now=now):
        yield [job.id for job in jobs]


def acquire_limited(storage: JobStorage, now: datetime) -> Iterator[Any]:
    """Name and key of the jobs this process got under LIMITS, until there are none."""
    yield
    while jobs := storage.acquire_next_jobs(2, now=now, limits=LIMITS):
        yield [(job.name, job.concurrency_key) for job in jobs]


def take_turns(storage: JobStorage, now: datetime) -> Iterator[Any]:
    """How many jobs of the name "few" ran at a time as this one saw it, until none is left."""
    yield
    while storage.count_jobs()[JobStatus.PENDING]:
        jobs = storage.acquire_next_jobs(2, now=now, limits=LIMITS)
        running = storage.get_jobs_by_status(JobStatus.PROCESSING)
        yield sum(job.name == "few" for job in running)
        storage.settle_jobs(
            [
                Settlement(lifecycle.settle(job, Completed(), now=now), job.lease.token)
                for job in jobs
                if job.lease is not None
            ]
        )


def settle(storage: JobStorage, now: datetime) -> Iterator[Any]:
    """Which outcomes of the jobs under way this process was first to write."""
    settlements = [
        Settlement(lifecycle.settle(job, Completed(), now=now), job.lease.token)
        for job in storage.get_jobs_by_status(JobStatus.PROCESSING)
        if job.lease is not None
    ]
    yield
    yield storage.settle_jobs(settlements)


def expand_due(storage: JobStorage, now: datetime) -> Iterator[Any]:
    """How many expansions this process was first with, until nothing is due."""
    due = storage.due_schedules(now)
    yield
    while due:
        yield sum(storage.record_expansions([expand(schedule, now) for schedule in due]))
        due = storage.due_schedules(now)


def save_endlessly(storage: JobStorage, now: datetime) -> Iterator[Any]:
    """Batch after batch of new jobs, until the process is killed."""
    yield
    while True:
        jobs = [a_job(scheduled_at=now) for _ in range(BATCH)]
        storage.save_jobs(jobs)
        yield len(jobs)


def expand_endlessly(storage: JobStorage, now: datetime) -> Iterator[Any]:
    """Hour after hour of a new schedule, until the process is killed."""
    schedule = a_schedule()
    storage.save_schedule(schedule)
    yield
    while True:
        expansion = expand(schedule, now)
        storage.record_expansions([expansion])
        schedule, now = expansion.after, now + HOUR
        yield len(expansion.jobs)


ACTS: dict[str, Callable[[JobStorage, datetime], Iterator[Any]]] = {
    each.__name__: each
    for each in (
        acquire,
        acquire_limited,
        take_turns,
        settle,
        expand_due,
        save_endlessly,
        expand_endlessly,
    )
}
"""What a process can do: up to its first `yield` it looks, then it acts."""


def take_part(act: str, factory: str, argument: str, now: datetime, laws: Connection) -> None:
    """What a process does from its first moment to its last; `laws` are told."""
    module, _, name = factory.partition(":")
    open_store = getattr(import_module(module), name)
    _wait(laws)
    with open_store(argument) as storage:
        doing = ACTS[act](storage, now)
        next(doing)
        _wait(laws)
        for done in doing:
            laws.send(done)


def _wait(laws: Connection) -> None:
    laws.send(READY)
    laws.recv()
