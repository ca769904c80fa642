"""A store in this process's memory: one lock, dicts. For tests and for trying things.

It keeps every law of the interface, among threads; nothing outlives the process.
"""

from __future__ import annotations

import heapq
import threading
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from scheduler import clock, lifecycle
from scheduler.errors import DuplicateJob, NaiveTime, StaleSchedule, UnknownJobId
from scheduler.expansion import Expansion
from scheduler.model import (
    Declaration,
    Job,
    JobStatus,
    Lease,
    Note,
    Schedule,
    ScheduleStatus,
    Settlement,
    Skip,
)
from scheduler.storage.base import (
    DEFAULT_TTL,
    JobStorage,
    blocked,
    by_occurrence,
    holds,
    matches,
    new_token,
    or_clock,
)

Value = TypeVar("Value", Job, Schedule, Skip, Note, Declaration)

_INSTANTS = {
    kind: tuple(field.name for field in fields(kind) if "datetime" in str(field.type))
    for kind in (Job, Schedule, Skip, Note, Declaration)
}
"""The fields of each kind of value that hold instants."""

_Turn = tuple[datetime, str, str]
"""When a schedule is due, its id and its name."""

_LIVE = (ScheduleStatus.ACTIVE, ScheduleStatus.PAUSED)


class MemoryStorage(JobStorage):
    """Jobs and schedules in dicts, guarded by one lock."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._jobs: dict[str, Job] = {}
        self._with_status: dict[JobStatus, dict[str, Job]] = {each: {} for each in JobStatus}
        self._occurrences: set[tuple[str, datetime]] = set()
        self._schedules: dict[str, Schedule] = {}
        self._turns: list[_Turn] = []
        self._skips: dict[str, dict[datetime, Skip]] = {}
        self._notes: dict[str, list[Note]] = {}
        self._declarations: dict[str, Declaration] = {}

    def save_job(self, job: Job) -> None:
        self.save_jobs([job])

    def save_jobs(self, jobs: Sequence[Job]) -> None:
        with self._lock:
            ids = Counter(job.id for job in jobs)
            occurrences = Counter(key for job in jobs if (key := job.occurrence))
            for job in jobs:
                key = job.occurrence
                if job.id in self._jobs or ids[job.id] > 1:
                    raise DuplicateJob(f"job {job.id}: its id is already taken")
                if key is not None and (key in self._occurrences or occurrences[key] > 1):
                    raise DuplicateJob(f"job {job.id}: its occurrence {key[1]} has a job already")
            moved = [_in_utc(job) for job in jobs]  # all, then written
            for job in moved:
                self._put(job)
            self._occurrences.update(occurrences)

    def _put(self, job: Job) -> None:
        stored = self._jobs.get(job.id)
        if stored is not None:
            del self._with_status[stored.status][job.id]
        self._jobs[job.id] = self._with_status[job.status][job.id] = job

    def get_job(self, job_id: str) -> Job | None:
        with self._lock:
            return self._jobs.get(job_id)

    def get_jobs_by_status(self, status: JobStatus) -> list[Job]:
        with self._lock:
            return sorted(self._with_status[status].values(), key=_order)

    def update_job(self, job: Job) -> None:
        with self._lock:
            if job.id not in self._jobs:
                raise UnknownJobId(job.id)
            self._put(_in_utc(job))

    def acquire_next_job(
        self,
        ttl: timedelta = DEFAULT_TTL,
        *,
        handler_names: Collection[str] | None = None,
        queue: str | None = None,
        worker: str = "",
        now: datetime | None = None,
    ) -> Job | None:
        jobs = self.acquire_next_jobs(
            1, handler_names=handler_names, queue=queue, ttl=ttl, worker=worker, now=now
        )
        return jobs[0] if jobs else None

    def acquire_next_jobs(
        self,
        n: int,
        *,
        handler_names: Collection[str] | None = None,
        queue: str | None = None,
        ttl: timedelta = DEFAULT_TTL,
        worker: str = "",
        now: datetime | None = None,
    ) -> list[Job]:
        at = or_clock(now)
        lease = Lease(new_token(), at + ttl)
        with self._lock:
            waiting = blocked(self._unfinished())
            due = sorted(
                (
                    job
                    for job in self._with_status[JobStatus.PENDING].values()
                    if job.scheduled_at <= at
                    and job.id not in waiting
                    and matches(job, handler_names, queue)
                ),
                key=_order,
            )
            taken = [lifecycle.acquire(job, lease, worker=worker, now=at) for job in due[:n]]
            for job in taken:
                self._put(job)
        return taken

    def _unfinished(self) -> list[Job]:
        return [
            *self._with_status[JobStatus.PENDING].values(),
            *self._with_status[JobStatus.PROCESSING].values(),
        ]

    def get_occurrences(self, schedule_id: str, start: datetime, end: datetime) -> list[Job]:
        with self._lock:
            found = [
                job
                for job in self._jobs.values()
                if job.schedule_id == schedule_id
                and job.occurrence_at is not None
                and start <= job.occurrence_at < end
            ]
        return sorted(found, key=by_occurrence)

    def complete_job(self, job_id: str, result: Any = None) -> None:
        self._move(job_id, lambda job: lifecycle.complete(job, result, now=clock.now()))

    def fail_job(self, job_id: str, error: str) -> None:
        self._move(job_id, lambda job: lifecycle.fail(job, error, now=clock.now()))

    def _move(self, job_id: str, move: Callable[[Job], Job]) -> None:
        with self._lock:
            job = self._jobs.get(job_id)
            if job is None:
                raise UnknownJobId(job_id)
            self._put(move(job))

    def settle_jobs(self, settlements: Sequence[Settlement]) -> list[bool]:
        with self._lock:
            written = []
            for settlement in settlements:
                stored = self._jobs.get(settlement.job.id)
                held = stored is not None and holds(stored, settlement)
                if held:
                    self._put(settlement.job)
                written.append(held)
            return written

    def renew_leases(self, tokens: Mapping[str, str], *, expires_at: datetime) -> set[str]:
        with self._lock:
            return super().renew_leases(tokens, expires_at=expires_at)

    def save_schedule(self, schedule: Schedule) -> None:
        with self._lock:
            stored = self._schedules.get(schedule.name)
            expected = None if schedule.revision == 1 else (schedule.id, schedule.revision - 1)
            is_behind = stored is not None and stored.cursor_at > schedule.cursor_at
            if (stored and (stored.id, stored.revision)) != expected or is_behind:
                raise StaleSchedule(f"schedule {schedule.name!r}: written by another meanwhile")
            self._keep(schedule)

    def get_schedule(self, name: str) -> Schedule | None:
        with self._lock:
            return self._schedules.get(name)

    def list_schedules(self) -> list[Schedule]:
        with self._lock:
            return [schedule for _, schedule in sorted(self._schedules.items())]

    def delete_schedule(self, name: str) -> bool:
        with self._lock:
            removed = self._schedules.pop(name, None)
            if removed is not None:
                self._forget(removed.id)
            return removed is not None

    def _forget(self, schedule_id: str) -> None:
        self._skips.pop(schedule_id, None)
        self._notes.pop(schedule_id, None)

    def due_schedules(self, now: datetime, *, limit: int = 1000) -> list[Schedule]:
        with self._lock:
            taken: list[_Turn] = []
            while len(taken) < limit and (turn := self._next_turn()) is not None and turn[0] <= now:
                taken.append(heapq.heappop(self._turns))
            for turn in taken:
                heapq.heappush(self._turns, turn)
            return [self._schedules[name] for _, _, name in taken]

    def next_schedule_at(self) -> datetime | None:
        with self._lock:
            turn = self._next_turn()
            return None if turn is None else turn[0]

    def _next_turn(self) -> _Turn | None:
        """The first turn that stands; turns of a schedule that has moved on are dropped."""
        while self._turns:
            at, schedule_id, name = turn = self._turns[0]
            schedule = self._schedules.get(name)
            if schedule is not None and (schedule.id, _turn_at(schedule)) == (schedule_id, at):
                return turn
            heapq.heappop(self._turns)
        return None

    def _keep(self, schedule: Schedule) -> None:
        stored = self._schedules.get(schedule.name)
        moved = _in_utc(schedule)
        self._schedules[schedule.name] = moved
        at = _turn_at(moved)
        has_turn = stored is not None and (stored.id, _turn_at(stored)) == (moved.id, at)
        if at is not None and not has_turn:
            heapq.heappush(self._turns, (at, moved.id, moved.name))

    def record_expansions(self, expansions: Sequence[Expansion]) -> list[bool]:
        with self._lock:
            won = [self._is_current(each.before) for each in expansions]
            writable = [each for each, is_won in zip(expansions, won, strict=True) if is_won]
            # The jobs first: only they can be refused, and then nothing has been written.
            self.save_jobs([job for each in writable for job in each.jobs if self._is_new(job)])
            for each in writable:
                self._write(each)
            return won

    def _write(self, expansion: Expansion) -> None:
        schedule = expansion.after
        for before, after in expansion.cancelled:
            stored = self._jobs.get(before.id)
            if stored is not None and stored.status is before.status:
                cancelled = replace(
                    stored, status=after.status, completed_at=after.completed_at, lease=None
                )
                self._put(_in_utc(cancelled))
        if expansion.removes:
            del self._schedules[schedule.name]
            self._forget(schedule.id)
            return
        self._keep(schedule)
        for skip in map(_in_utc, expansion.skips):
            self._skips.setdefault(schedule.id, {})[skip.first_at] = skip
        if expansion.note is not None:
            self._notes.setdefault(schedule.id, []).append(_in_utc(expansion.note))

    def _is_current(self, before: Schedule) -> bool:
        stored = self._schedules.get(before.name)
        return stored is not None and _state(stored) == _state(before)

    def _is_new(self, job: Job) -> bool:
        return job.id not in self._jobs and job.occurrence not in self._occurrences

    def list_skips(
        self, schedule_id: str, start: datetime | None = None, end: datetime | None = None
    ) -> list[Skip]:
        with self._lock:
            skips = list(self._skips.get(schedule_id, {}).values())
        within = (
            skip
            for skip in skips
            if (start is None or skip.last_at >= start) and (end is None or skip.first_at < end)
        )
        return sorted(within, key=lambda skip: skip.first_at)

    def list_notes(self, schedule_id: str) -> list[Note]:
        with self._lock:
            return list(self._notes.get(schedule_id, ()))

    def save_declaration(self, declaration: Declaration) -> None:
        with self._lock:
            self._declarations[declaration.process] = _in_utc(declaration)

    def renew_declaration(self, process: str, *, seen_at: datetime) -> bool:
        with self._lock:
            declaration = self._declarations.get(process)
            if declaration is not None:
                self.save_declaration(replace(declaration, seen_at=seen_at))
            return declaration is not None

    def list_declarations(self, *, seen_since: datetime) -> list[Declaration]:
        with self._lock:
            seen = [each for each in self._declarations.values() if each.seen_at >= seen_since]
            self._declarations = {each.process: each for each in seen}
        return sorted(seen, key=lambda each: (each.since_at, each.process))

    def clear(self) -> None:
        with self._lock:
            self._jobs.clear()
            for jobs in self._with_status.values():
                jobs.clear()
            self._occurrences.clear()
            self._schedules.clear()
            self._turns.clear()
            self._skips.clear()
            self._notes.clear()
            self._declarations.clear()


def _in_utc(value: Value) -> Value:
    """`value` with its instants in UTC, as every store gives them back. Raises NaiveTime."""
    moved: dict[str, Any] = {}
    for name in _INSTANTS[type(value)]:
        moment = getattr(value, name)
        if moment is not None and moment.tzinfo is not UTC:
            if moment.tzinfo is None:
                raise NaiveTime(name, moment)
            moved[name] = moment.astimezone(UTC)
    return replace(value, **moved) if moved else value


def _turn_at(schedule: Schedule) -> datetime | None:
    return schedule.next_at if schedule.status in _LIVE else None


def _state(schedule: Schedule) -> tuple[str, int, datetime]:
    """What every write changes."""
    return schedule.id, schedule.revision, schedule.cursor_at


def _order(job: Job) -> tuple[int, datetime, str]:
    return job.priority, job.scheduled_at, job.id
