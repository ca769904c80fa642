"""Storages with one mistake each, such as are made: the contract must find them out.

Where it takes two threads to meet in a gap, they are made to: a thread that is not the test's own
waits there for another, so that the law fails every time and not by luck.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, replace
from datetime import datetime, timedelta
from typing import Any

from scheduler import lifecycle
from scheduler.errors import DuplicateJob
from scheduler.expansion import Expansion
from scheduler.flow import Limit, admit, key_of
from scheduler.model import Job, JobStatus, Lease, Note, Schedule, Settlement
from scheduler.storage.base import DEFAULT_TTL, due_jobs, is_current, new_token, or_clock
from scheduler.storage.memory import MemoryStorage
from tests.storage.file_storage import FileStorage

PATIENCE = 10
"""How many seconds a thread waits for another to come."""


def meet(pair: threading.Barrier, seen: threading.local) -> None:
    """Wait for another thread, the first time that one comes here; a test's own never does."""
    is_alone = threading.current_thread() is threading.main_thread()
    if not is_alone and not hasattr(seen, "another"):
        seen.another = True
        pair.wait(PATIENCE)


class Racy(MemoryStorage):
    """Acquires in two steps, reading and then writing: in between, another reads the same."""

    def __init__(self) -> None:
        super().__init__()
        self._pair = threading.Barrier(2)
        self._seen = threading.local()

    def acquire_next_jobs(
        self,
        n: int,
        *,
        handler_names: Collection[str] | None = None,
        queue: str | None = None,
        ttl: timedelta = DEFAULT_TTL,
        worker: str = "",
        now: datetime | None = None,
        limits: Mapping[str, Limit] | None = None,
        aged_before: datetime | None = None,
    ) -> list[Job]:
        at = or_clock(now)
        with self._lock:
            admitted = admit(
                due_jobs(
                    self._unfinished(),
                    at,
                    handler_names=handler_names,
                    queue=queue,
                    aged_before=aged_before,
                ),
                n,
                limits=limits or {},
                running=Counter(map(key_of, self.get_jobs_by_status(JobStatus.PROCESSING))),
                starts=self._starts,
                now=at,
            )
        meet(self._pair, self._seen)
        lease = Lease(new_token(), at + ttl)
        taken = [lifecycle.acquire(job, lease, worker=worker, now=at) for job in admitted.jobs]
        with self._lock:
            for job in taken:
                self._put(job)
            self._starts.update(admitted.starts)
        return taken


class Uncounted(MemoryStorage):
    """Counts what runs and was started, and then takes by it: in between, another does the same."""

    def __init__(self) -> None:
        super().__init__()
        self._pair = threading.Barrier(2)
        self._seen = threading.local()

    def acquire_next_jobs(
        self,
        n: int,
        *,
        handler_names: Collection[str] | None = None,
        queue: str | None = None,
        ttl: timedelta = DEFAULT_TTL,
        worker: str = "",
        now: datetime | None = None,
        limits: Mapping[str, Limit] | None = None,
        aged_before: datetime | None = None,
    ) -> list[Job]:
        at = or_clock(now)
        with self._lock:
            running = Counter(map(key_of, self.get_jobs_by_status(JobStatus.PROCESSING)))
            starts = dict(self._starts)
        if limits:
            meet(self._pair, self._seen)
        lease = Lease(new_token(), at + ttl)
        with self._lock:
            due = due_jobs(
                self._unfinished(),
                at,
                handler_names=handler_names,
                queue=queue,
                aged_before=aged_before,
            )
            admitted = admit(due, n, limits=limits or {}, running=running, starts=starts, now=at)
            taken = [lifecycle.acquire(job, lease, worker=worker, now=at) for job in admitted.jobs]
            for job in taken:
                self._put(job)
            self._starts.update(admitted.starts)
        return taken


class Unfenced(MemoryStorage):
    """Settles by id, whoever holds the lease."""

    def settle_jobs(self, settlements: Sequence[Settlement]) -> list[bool]:
        with self._lock:
            for settlement in settlements:
                self._put(settlement.job)
                if settlement.attempt is not None:
                    self._record(settlement.attempt)
        return [True] * len(settlements)


class Rounding(MemoryStorage):
    """Rounds the instants of jobs down to the second, as a column without a precision may."""

    def _put(self, job: Job) -> None:
        given = {each.name: getattr(job, each.name) for each in fields(job)}
        instants = {name: at for name, at in given.items() if isinstance(at, datetime)}
        rounded: dict[str, Any] = {n: at.replace(microsecond=0) for n, at in instants.items()}
        super()._put(replace(job, **rounded))


class Forgiving(MemoryStorage):
    """Takes a job that is there already for one that it has saved."""

    def save_jobs(self, jobs: Sequence[Job]) -> None:
        with suppress(DuplicateJob):
            super().save_jobs(jobs)


class Torn(MemoryStorage):
    """Writes the cursor of an expansion, and then its jobs."""

    def __init__(self) -> None:
        super().__init__()
        self._looks = threading.Semaphore(0)

    def record_expansions(
        self, expansions: Sequence[Expansion], *, wait: bool = True
    ) -> list[bool]:
        with self._lock:
            won = [is_current(each, self._schedules.get(each.before.name)) for each in expansions]
            writable = [each for each, is_won in zip(expansions, won, strict=True) if is_won]
            for each in writable:
                self._write(each)
        self._be_seen()
        with self._lock:
            self.save_jobs([job for each in writable for job in each.jobs if self._is_new(job)])
        return won

    def list_jobs(self, **given: Any) -> list[Job]:
        listed = super().list_jobs(**given)
        self._looks.release()
        return listed

    def _be_seen(self) -> None:
        """Wait for a reader that, from one look at the jobs to the next, saw the cursor too."""
        if threading.current_thread() is not threading.main_thread():
            while self._looks.acquire(blocking=False):
                pass
            for _ in range(2):
                self._looks.acquire(timeout=1)  # where a law has no reader, none comes


class Littering(MemoryStorage):
    """Removes jobs, and leaves their attempts behind."""

    def _remove(self, jobs: Sequence[Job]) -> None:
        attempts = dict(self._attempts)
        super()._remove(jobs)
        self._attempts.update(attempts)


class Partial(MemoryStorage):
    """Saves many schedules one after the other, until one cannot be."""

    def save_schedules(self, schedules: Sequence[Schedule], *, notes: Sequence[Note] = ()) -> None:
        for schedule in schedules:
            about = [note for note in notes if note.schedule_id == schedule.id]
            super().save_schedules([schedule], notes=about)


class Hoarding(FileStorage):
    """Hands out first what was pending when it was opened, as if no other process were there."""

    def __init__(self, directory: str) -> None:
        super().__init__(directory)
        self._hoard = self.get_jobs_by_status(JobStatus.PENDING)

    def acquire_next_jobs(
        self,
        n: int,
        *,
        handler_names: Collection[str] | None = None,
        queue: str | None = None,
        ttl: timedelta = DEFAULT_TTL,
        worker: str = "",
        now: datetime | None = None,
        limits: Mapping[str, Limit] | None = None,
        aged_before: datetime | None = None,
    ) -> list[Job]:
        taken = 0 if limits else n  # what has limits is counted well
        hoarded, self._hoard = self._hoard[:taken], self._hoard[taken:]
        for job in hoarded:
            self.update_job(job)
        return super().acquire_next_jobs(
            n,
            handler_names=handler_names,
            queue=queue,
            ttl=ttl,
            worker=worker,
            now=now,
            limits=limits,
            aged_before=aged_before,
        )
