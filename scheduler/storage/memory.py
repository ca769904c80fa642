"""A store in this process's memory: one lock, dicts. For tests and for trying things.

It keeps every law of the interface, among threads; nothing outlives the process.
"""

from __future__ import annotations

import heapq
import threading
from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from scheduler import clock, lifecycle
from scheduler.errors import DuplicateJob, StaleSchedule, UnknownJobId
from scheduler.expansion import Expansion
from scheduler.flow import FlowKey, Limit, admit, key_of
from scheduler.model import (
    Attempt,
    Declaration,
    Job,
    JobStatus,
    Lease,
    Note,
    Schedule,
    Settlement,
    Skip,
    replace,
)
from scheduler.retention import Pruned
from scheduler.storage.base import (
    DEFAULT_TTL,
    aware,
    by_acquisition,
    by_occurrence,
    cancelled,
    check_ended,
    due_jobs,
    follows,
    holds,
    in_utc,
    is_current,
    is_prunable,
    new_token,
    or_clock,
    reaches,
    turn_at,
)
from scheduler.storage.batches import BatchStorage
from scheduler.storage.records import new_among

_Turn = tuple[datetime, str, str]
"""When a schedule is due, its id and its name."""


class MemoryStorage(BatchStorage):
    """Jobs and schedules in dicts, guarded by one lock."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._jobs: dict[str, Job] = {}
        self._ids: list[str] = []
        self._with_status: dict[JobStatus, dict[str, Job]] = {each: {} for each in JobStatus}
        self._occurrences: set[tuple[str, datetime]] = set()
        self._schedules: dict[str, Schedule] = {}
        self._turns: list[_Turn] = []
        self._skips: dict[str, dict[datetime, Skip]] = {}
        self._notes: dict[str, list[Note]] = {}
        self._declarations: dict[str, Declaration] = {}
        self._attempts: dict[str, dict[tuple[datetime, int], Attempt]] = {}
        self._starts: dict[FlowKey, tuple[datetime, ...]] = {}

    def save_jobs(self, jobs: Sequence[Job]) -> None:
        with self._lock:
            ids = Counter(job.id for job in jobs)
            occurrences = Counter(key for job in jobs if (key := job.occurrence))
            for job in jobs:
                key = job.occurrence
                if job.id in self._jobs or ids[job.id] > 1:
                    raise DuplicateJob(f"job {job.id}: its id is already taken")
                if key is not None and (key in self._occurrences or occurrences[key] > 1):
                    raise _occurrence_taken(job)
            moved = [in_utc(job) for job in jobs]  # all, then written
            for job in moved:
                self._put(job)
            self._occurrences.update(occurrences)

    def _put(self, job: Job) -> None:
        stored = self._jobs.get(job.id)
        if stored is None:
            insort(self._ids, job.id)
        else:
            del self._with_status[stored.status][job.id]
        self._jobs[job.id] = self._with_status[job.status][job.id] = job

    def get_job(self, job_id: str) -> Job | None:
        with self._lock:
            return self._jobs.get(job_id)

    def get_jobs_by_status(self, status: JobStatus) -> list[Job]:
        with self._lock:
            return sorted(self._with_status[status].values(), key=by_acquisition)

    def update_job(self, job: Job) -> None:
        with self._lock:
            stored = self._jobs.get(job.id)
            if stored is None:
                raise UnknownJobId(job.id)
            moved = in_utc(job)
            before, after = stored.occurrence, moved.occurrence
            if after != before and after in self._occurrences:
                raise _occurrence_taken(moved)
            self._occurrences.difference_update([before] if before else [])
            self._occurrences.update([after] if after else [])
            self._put(moved)

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
        lease = Lease(new_token(), at + ttl)
        with self._lock:
            due = due_jobs(
                self._unfinished(),
                at,
                handler_names=handler_names,
                queue=queue,
                aged_before=aged_before,
            )
            running = self._with_status[JobStatus.PROCESSING].values()
            admitted = admit(
                due,
                n,
                limits=limits or {},
                running=Counter(map(key_of, running)) if limits else {},
                starts=self._starts,
                now=at,
            )
            taken = [lifecycle.acquire(job, lease, worker=worker, now=at) for job in admitted.jobs]
            for job in taken:
                self._put(job)
            self._starts.update(admitted.starts)
        return taken

    def _unfinished(self) -> list[Job]:
        return [
            *self._with_status[JobStatus.PENDING].values(),
            *self._with_status[JobStatus.PROCESSING].values(),
        ]

    def get_occurrences(self, schedule_id: str, start: datetime, end: datetime) -> list[Job]:
        aware(start=start, end=end)
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
        self.move_job(job_id, lambda job: lifecycle.complete(job, result, now=clock.now()))

    def fail_job(self, job_id: str, error: str) -> None:
        self.move_job(job_id, lambda job: lifecycle.fail(job, error, now=clock.now()))

    def move_job(self, job_id: str, move: Callable[[Job], Job]) -> Job:
        with self._lock:
            return super().move_job(job_id, move)

    def settle_jobs(self, settlements: Sequence[Settlement]) -> list[bool]:
        with self._lock:
            written = []
            for settlement in settlements:
                stored = self._jobs.get(settlement.job.id)
                held = stored is not None and holds(stored, settlement)
                if held:
                    self._put(settlement.job)
                    if settlement.attempt is not None:
                        self._record(settlement.attempt)
                written.append(held)
            return written

    def _record(self, attempt: Attempt) -> None:
        moved = in_utc(attempt)
        self._attempts.setdefault(moved.job_id, {})[moved.started_at, moved.number] = moved

    def list_attempts(self, job_ids: Collection[str]) -> list[Attempt]:
        with self._lock:
            found = [
                each for job_id in set(job_ids) for each in self._attempts.get(job_id, {}).values()
            ]
        return sorted(found, key=lambda each: (each.job_id, each.started_at, each.number))

    def prune_jobs(
        self,
        ended_before: Mapping[JobStatus, datetime],
        *,
        limit: int = 1000,
        after_id: str | None = None,
        before_id: str | None = None,
        dry_run: bool = False,
    ) -> Pruned:
        check_ended(ended_before)
        with self._lock:
            start = 0 if after_id is None else bisect_right(self._ids, after_id)
            end = len(self._ids) if before_id is None else bisect_left(self._ids, before_id)
            page = self._ids[start : max(start, min(end, start + max(0, limit)))]
            schedules = {each.id: each for each in self._schedules.values()}
            gone = [
                job
                for job in map(self._jobs.__getitem__, page)
                if is_prunable(job, ended_before, schedules.get(job.schedule_id or ""))
            ]
            if not dry_run:
                self._remove(gone)
                self._ids[start : start + len(page)] = filter(self._jobs.__contains__, page)
        is_more = bool(page) and len(page) == limit
        return Pruned(len(page), len(gone), page[-1] if is_more else None)

    def _remove(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            del self._jobs[job.id], self._with_status[job.status][job.id]
            self._occurrences.difference_update([job.occurrence] if job.occurrence else [])
            self._attempts.pop(job.id, None)

    def renew_leases(self, tokens: Mapping[str, str], *, expires_at: datetime) -> set[str]:
        with self._lock:
            return super().renew_leases(tokens, expires_at=expires_at)

    def save_schedule(self, schedule: Schedule) -> None:
        with self._lock:
            if not follows(schedule, self._schedules.get(schedule.name)):
                raise StaleSchedule(f"schedule {schedule.name!r}: written by another meanwhile")
            self._keep(schedule)

    def save_schedules(self, schedules: Sequence[Schedule], *, notes: Sequence[Note] = ()) -> None:
        with self._lock:
            super().save_schedules(schedules, notes=notes)

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
            taken: dict[_Turn, None] = {}  # a schedule that came back to a turn has it twice
            while len(taken) < limit and (turn := self._next_turn()) is not None and turn[0] <= now:
                taken[heapq.heappop(self._turns)] = None
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
            if schedule is not None and (schedule.id, turn_at(schedule)) == (schedule_id, at):
                return turn
            heapq.heappop(self._turns)
        return None

    def _keep(self, schedule: Schedule) -> None:
        stored = self._schedules.get(schedule.name)
        moved = in_utc(schedule)
        self._schedules[schedule.name] = moved
        at = turn_at(moved)
        has_turn = stored is not None and (stored.id, turn_at(stored)) == (moved.id, at)
        if at is not None and not has_turn:
            heapq.heappush(self._turns, (at, moved.id, moved.name))

    def record_expansions(
        self, expansions: Sequence[Expansion], *, wait: bool = True
    ) -> list[bool]:
        with self._lock:
            won = [is_current(each, self._schedules.get(each.before.name)) for each in expansions]
            writable = [each for each, is_won in zip(expansions, won, strict=True) if is_won]
            # The jobs first: only they can be refused, and then nothing has been written.
            self.save_jobs([job for each in writable for job in each.jobs if self._is_new(job)])
            for each in writable:
                self._write(each)
            return won

    def _write(self, expansion: Expansion) -> None:
        schedule = expansion.after
        for before, after in expansion.cancelled:
            job = cancelled(self._jobs.get(before.id), before, after)
            if job is not None:
                self._put(in_utc(job))
        if expansion.removes:
            del self._schedules[schedule.name]
            self._forget(schedule.id)
            return
        self._keep(schedule)
        for skip in map(in_utc, expansion.skips):
            self._skips.setdefault(schedule.id, {})[skip.first_at] = skip
        if expansion.note is not None:
            self._notes.setdefault(schedule.id, []).append(in_utc(expansion.note))

    def _is_new(self, job: Job) -> bool:
        return job.id not in self._jobs and job.occurrence not in self._occurrences

    def list_skips(
        self,
        schedule_id: str,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        limit: int | None = None,
    ) -> list[Skip]:
        with self._lock:
            skips = list(self._skips.get(schedule_id, {}).values())
        within = (skip for skip in skips if reaches(skip, start, end))
        found = sorted(within, key=lambda skip: skip.first_at)
        return found if limit is None else found[max(0, len(found) - limit) :]

    def list_notes(self, schedule_id: str) -> list[Note]:
        with self._lock:
            notes = list(self._notes.get(schedule_id, ()))
        return sorted(notes, key=lambda note: note.revision)

    def save_declaration(self, declaration: Declaration) -> None:
        with self._lock:
            self._declarations[declaration.process] = in_utc(declaration)

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

    def restore(
        self,
        *,
        jobs: Sequence[Job] = (),
        schedules: Sequence[Schedule] = (),
        skips: Sequence[Skip] = (),
        notes: Sequence[Note] = (),
        attempts: Sequence[Attempt] = (),
    ) -> int:
        with self._lock:
            # All of them are looked at before the first is written.
            new_jobs = new_among(jobs, self._beside(jobs))
            known = self._schedules.values() if schedules else ()
            new_schedules = [in_utc(each) for each in new_among(schedules, known)]
            new_skips = [in_utc(each) for each in new_among(skips, self._skips_at(skips))]
            noted = {note.schedule_id for note in notes}
            there = [note for schedule_id in noted for note in self.list_notes(schedule_id)]
            new_notes = [in_utc(each) for each in new_among(notes, there)]
            tried = self.list_attempts([each.job_id for each in attempts])
            new_attempts = [in_utc(each) for each in new_among(attempts, tried)]
            self.save_jobs(new_jobs)
            for schedule in new_schedules:
                self._keep(schedule)
            for skip in new_skips:
                self._skips.setdefault(skip.schedule_id, {})[skip.first_at] = skip
            for note in new_notes:
                self._notes.setdefault(note.schedule_id, []).append(note)
            for attempt in new_attempts:
                self._record(attempt)
        return len([*new_jobs, *new_schedules, *new_skips, *new_notes, *new_attempts])

    def _beside(self, jobs: Sequence[Job]) -> list[Job]:
        """The stored jobs that have the id of one of `jobs`, or its occurrence."""
        found = [self._jobs[job.id] for job in jobs if job.id in self._jobs]
        places = {job.occurrence for job in jobs} & self._occurrences
        if len(places) > len({job.occurrence for job in found if job.occurrence}):
            found += [job for job in self._jobs.values() if job.occurrence in places]
        return found

    def _skips_at(self, skips: Sequence[Skip]) -> list[Skip]:
        """The stored skips that begin where one of `skips` does."""
        found = (self._skips.get(skip.schedule_id, {}).get(skip.first_at) for skip in skips)
        return [skip for skip in found if skip is not None]

    def clear(self) -> None:
        with self._lock:
            self._jobs.clear()
            self._ids.clear()
            for jobs in self._with_status.values():
                jobs.clear()
            self._occurrences.clear()
            self._schedules.clear()
            self._turns.clear()
            self._skips.clear()
            self._notes.clear()
            self._declarations.clear()
            self._attempts.clear()
            self._starts.clear()


def _occurrence_taken(job: Job) -> DuplicateJob:
    return DuplicateJob(f"job {job.id}: its occurrence {job.occurrence_at} has a job already")
