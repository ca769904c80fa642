"""A store on plain files: a real one, and proof that the interface suffices for it.

One JSON document a value, in a directory that has transactions; every verb is one. What is to be
decided, storage.base decides: which jobs are due, whose lease holds, whose write came first.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

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
)
from scheduler.retention import Pruned
from scheduler.storage.base import (
    DEFAULT_TTL,
    by_acquisition,
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
from scheduler.storage.records import R, new_among
from tests.storage.directory import Directory
from tests.storage.documents import document, value_of

Value = TypeVar("Value", Job, Schedule, Skip, Note, Declaration, Attempt)


class Occurrence:
    """Names the files that say which job an occurrence has."""


class Starts:
    """Names the files that say when jobs of a name and key were started."""


class FileStorage(BatchStorage):
    """Jobs and schedules in the files of `directory`, which is made if it is missing."""

    def __init__(self, directory: str | Path) -> None:
        self._directory = Directory(Path(directory))
        self._transaction = self._directory.transaction

    # --- values ----------------------------------------------------------------------------

    def _put(self, value: Value) -> None:
        self._directory.write(_name(type(value), *_key(value)), document(in_utc(value)))

    def _drop(self, value: Value) -> None:
        self._directory.write(_name(type(value), *_key(value)), None)

    def _get(self, kind: type[Value], *key: object) -> Value | None:
        found = self._directory.read(_name(kind, *key))
        return None if found is None else value_of(kind, found)

    def _all(self, kind: type[Value]) -> list[Value]:
        return [value_of(kind, found) for found in self._directory.read_all(kind.__name__)]

    # --- jobs ------------------------------------------------------------------------------

    def save_jobs(self, jobs: Sequence[Job]) -> None:
        with self._transaction():
            for job in jobs:
                if not self._is_new(job):
                    raise DuplicateJob(f"job {job.id}: its id or its occurrence is taken")
                self._put(job)
                self._claim(job)

    def _claim(self, job: Job) -> None:
        if job.occurrence is not None:
            self._directory.write(_name(Occurrence, *job.occurrence), job.id)

    def _is_new(self, job: Job) -> bool:
        return self._is_free(job) and self.get_job(job.id) is None

    def _is_free(self, job: Job) -> bool:
        place = job.occurrence
        return place is None or self._directory.read(_name(Occurrence, *place)) is None

    def get_job(self, job_id: str) -> Job | None:
        return self._get(Job, job_id)

    def get_jobs_by_status(self, status: JobStatus) -> list[Job]:
        return sorted((j for j in self._all(Job) if j.status is status), key=by_acquisition)

    def update_job(self, job: Job) -> None:
        self.move_job(job.id, lambda _: job)

    def complete_job(self, job_id: str, result: Any = None) -> None:
        self.move_job(job_id, lambda job: lifecycle.complete(job, result, now=clock.now()))

    def fail_job(self, job_id: str, error: str) -> None:
        self.move_job(job_id, lambda job: lifecycle.fail(job, error, now=clock.now()))

    def move_job(self, job_id: str, move: Callable[[Job], Job]) -> Job:
        with self._transaction():
            job = self._get(Job, job_id)
            if job is None:
                raise UnknownJobId(job_id)
            moved = move(job)
            if moved.occurrence != job.occurrence:
                self._move_claim(job, moved)
            self._put(moved)
        return moved

    def _move_claim(self, job: Job, changed: Job) -> None:
        if not self._is_free(changed):
            raise DuplicateJob(f"job {job.id}: its occurrence is taken")
        if job.occurrence is not None:
            self._directory.write(_name(Occurrence, *job.occurrence), None)
        self._claim(changed)

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
        with self._transaction():
            jobs = self._all(Job)
            due = due_jobs(
                jobs, at, handler_names=handler_names, queue=queue, aged_before=aged_before
            )
            running = (job for job in jobs if job.status is JobStatus.PROCESSING)
            admitted = admit(
                due,
                n,
                limits=limits or {},
                running=Counter(map(key_of, running)),
                starts=self._starts(limits or {}),
                now=at,
            )
            taken = [lifecycle.acquire(job, lease, worker=worker, now=at) for job in admitted.jobs]
            for job in taken:
                self._put(job)
            for key, starts in admitted.starts.items():
                instants = [each.isoformat() for each in starts]
                self._directory.write(_name(Starts, *key), [*key, instants])
        return taken

    def _starts(self, names: Collection[str]) -> dict[FlowKey, list[datetime]]:
        return {
            (name, key): [datetime.fromisoformat(each) for each in instants]
            for name, key, instants in self._directory.read_all(Starts.__name__)
            if name in names
        }

    def settle_jobs(self, settlements: Sequence[Settlement]) -> list[bool]:
        written = []
        with self._transaction():
            for settlement in settlements:
                stored = self._get(Job, settlement.job.id)
                written.append(stored is not None and holds(stored, settlement))
                if written[-1]:
                    self._put(settlement.job)
                    if settlement.attempt is not None:
                        self._put(settlement.attempt)
        return written

    def list_attempts(self, job_ids: Collection[str]) -> list[Attempt]:
        found = [each for each in self._all(Attempt) if each.job_id in job_ids]
        return sorted(found, key=lambda each: (each.job_id, each.started_at, each.number))

    def renew_leases(self, tokens: Mapping[str, str], *, expires_at: datetime) -> set[str]:
        with self._transaction():
            return super().renew_leases(tokens, expires_at=expires_at)

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
        with self._transaction():
            schedules = {each.id: each for each in self._all(Schedule)}
            jobs = sorted(self._all(Job), key=lambda job: job.id)
            within = [
                job
                for job in jobs
                if (after_id is None or after_id < job.id)
                and (before_id is None or job.id < before_id)
            ]
            page = within[: max(0, limit)]
            gone = [
                job
                for job in page
                if is_prunable(job, ended_before, schedules.get(job.schedule_id or ""))
            ]
            if not dry_run:
                self._forget(gone)
        return Pruned(len(page), len(gone), page[-1].id if page and len(page) == limit else None)

    def _forget(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            self._drop(job)
            if job.occurrence is not None:
                self._directory.write(_name(Occurrence, *job.occurrence), None)
        for attempt in self.list_attempts([job.id for job in jobs]):
            self._drop(attempt)

    # --- schedules -------------------------------------------------------------------------

    def save_schedule(self, schedule: Schedule) -> None:
        with self._transaction():
            if not follows(schedule, self.get_schedule(schedule.name)):
                raise StaleSchedule(f"schedule {schedule.name!r}: written by another meanwhile")
            self._put(schedule)

    def save_schedules(self, schedules: Sequence[Schedule], *, notes: Sequence[Note] = ()) -> None:
        with self._transaction():
            super().save_schedules(schedules, notes=notes)

    def get_schedule(self, name: str) -> Schedule | None:
        return self._get(Schedule, name)

    def list_schedules(self) -> list[Schedule]:
        return sorted(self._all(Schedule), key=lambda schedule: schedule.name)

    def delete_schedule(self, name: str) -> bool:
        with self._transaction():
            schedule = self.get_schedule(name)
            if schedule is not None:
                self._remove(schedule)
        return schedule is not None

    def _remove(self, schedule: Schedule) -> None:
        self._drop(schedule)
        for skip in self.list_skips(schedule.id):
            self._drop(skip)
        for note in self.list_notes(schedule.id):
            self._drop(note)

    def _turns(self) -> list[tuple[datetime, str, Schedule]]:
        turns = [(turn_at(each), each.id, each) for each in self._all(Schedule)]
        return sorted((at, id_, each) for at, id_, each in turns if at is not None)

    def due_schedules(self, now: datetime, *, limit: int = 1000) -> list[Schedule]:
        return [schedule for at, _, schedule in self._turns() if at <= now][: max(0, limit)]

    def next_schedule_at(self) -> datetime | None:
        return min((at for at, _, _ in self._turns()), default=None)

    def record_expansions(
        self, expansions: Sequence[Expansion], *, wait: bool = True
    ) -> list[bool]:
        with self._transaction():
            won = [is_current(each, self.get_schedule(each.before.name)) for each in expansions]
            for expansion, is_won in zip(expansions, won, strict=True):
                if is_won:
                    self._record(expansion)
        return won

    def _record(self, expansion: Expansion) -> None:
        self.save_jobs([job for job in expansion.jobs if self._is_new(job)])
        for before, after in expansion.cancelled:
            job = cancelled(self._get(Job, before.id), before, after)
            if job is not None:
                self._put(job)
        if expansion.removes:
            self._remove(expansion.before)
            return
        self._put(expansion.after)
        for skip in expansion.skips:
            self._put(skip)
        if expansion.note is not None:
            self._put(expansion.note)

    def list_skips(
        self,
        schedule_id: str,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        limit: int | None = None,
    ) -> list[Skip]:
        skips = (skip for skip in self._all(Skip) if skip.schedule_id == schedule_id)
        within = (skip for skip in skips if reaches(skip, start, end))
        found = sorted(within, key=lambda skip: skip.first_at)
        return found if limit is None else found[max(0, len(found) - limit) :]

    def list_notes(self, schedule_id: str) -> list[Note]:
        notes = (note for note in self._all(Note) if note.schedule_id == schedule_id)
        return sorted(notes, key=lambda note: note.revision)

    def save_declaration(self, declaration: Declaration) -> None:
        with self._transaction():
            self._put(declaration)

    def renew_declaration(self, process: str, *, seen_at: datetime) -> bool:
        with self._transaction():
            declaration = self._get(Declaration, process)
            if declaration is not None:
                self._put(replace(declaration, seen_at=seen_at))
        return declaration is not None

    def list_declarations(self, *, seen_since: datetime) -> list[Declaration]:
        with self._transaction():
            declarations = self._all(Declaration)
            for each in declarations:
                if each.seen_at < seen_since:
                    self._drop(each)
        seen = [each for each in declarations if each.seen_at >= seen_since]
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
        with self._transaction():
            return (
                self._add(Job, jobs)
                + self._add(Schedule, schedules)
                + self._add(Skip, skips)
                + self._add(Note, notes)
                + self._add(Attempt, attempts)
            )

    def _add(self, kind: type[R], given: Sequence[R]) -> int:
        new = new_among(given, self._all(kind))
        for record in new:
            self._put(record)
            if isinstance(record, Job):
                self._claim(record)
        return len(new)

    def clear(self) -> None:
        self._directory.clear()


def _key(value: Job | Schedule | Skip | Note | Declaration | Attempt) -> tuple[object, ...]:
    """What tells `value` from all others of its kind."""
    match value:
        case Job(id=job_id):
            return (job_id,)
        case Schedule(name=name):
            return (name,)
        case Skip(schedule_id=schedule_id, first_at=first_at):
            return schedule_id, first_at
        case Note(schedule_id=schedule_id, revision=revision):
            return schedule_id, revision
        case Declaration(process=process):
            return (process,)
        case Attempt(job_id=job_id, started_at=started_at, number=number):
            return job_id, started_at, number


def _name(kind: type, *key: object) -> str:
    """The file of a value: keys are any text, and far longer than file names may be."""
    instants = [each.astimezone(UTC) if isinstance(each, datetime) else each for each in key]
    text = json.dumps(instants, default=str)
    return f"{kind.__name__}/{sha256(text.encode()).hexdigest()}"
