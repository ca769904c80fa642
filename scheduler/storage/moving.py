"""Moving house: all that one store holds, copied to another as it is, and counted.

Made of the verbs of JobStorage, for any two stores. Each page is one transaction at the target, and
what is there already is compared and left alone: a copy that was cut off is completed by the next
one. Jobs go first and schedules last, so that no expander at the target finds a schedule before its
jobs. Declarations stay behind: they say which processes run on a store, and none comes along.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import islice
from typing import Any, TypeVar

from scheduler.errors import shown
from scheduler.model import Attempt, Job, JobStatus, Note, Schedule, Skip
from scheduler.storage.base import JobStorage
from scheduler.storage.records import Record, new_among

T = TypeVar("T")

PAGE = 500
"""How many records are read, held and written at a time."""


class Kind(StrEnum):
    """What is copied, in this order; also what `restore` calls it."""

    JOBS = "jobs"
    ATTEMPTS = "attempts"
    SKIPS = "skips"
    NOTES = "notes"
    SCHEDULES = "schedules"


@dataclass(frozen=True, slots=True)
class Tally:
    """How many records of one kind were written, and how many were there already."""

    copied: int = 0
    there: int = 0

    @property
    def total(self) -> int:
        return self.copied + self.there


@dataclass(frozen=True, slots=True)
class Moved:
    """What a copy did. `faults` are sentences on what does not add up; () if all does."""

    tallies: Mapping[Kind, Tally]
    faults: tuple[str, ...]


Progress = Callable[[Kind, int, int | None], None]
"""Told after each page: of this kind so many are at the target, of so many (None: unknown)."""


def live_leases(storage: JobStorage, now: datetime) -> int:
    """How many jobs are under a lease that has not run out by `now`."""
    leased = storage.count_jobs()[JobStatus.PROCESSING]
    return leased - len(storage.get_expired_jobs(now, limit=leased))


def copy(
    source: JobStorage,
    target: JobStorage,
    *,
    page: int = PAGE,
    progress: Progress = lambda kind, done, total: None,
) -> Moved:
    """Write all that `source` holds to `target`, leases included, then count both.

    What else the target holds stays. Nothing is to run on either meanwhile: a change of the source
    is a fault, where it shows in a count or a schedule. Raises DifferentRecord if the target holds
    something else where a record belongs; where that is a schedule, before anything is written.
    """
    schedules = source.list_schedules()
    new_among(schedules, target.list_schedules())
    number = sum(source.count_jobs().values())
    held = sum(target.count_jobs().values())
    read: Counter[JobStatus] = Counter()

    def counted(jobs: Iterable[Job]) -> Iterator[Job]:
        for job in jobs:
            read[job.status] += 1
            yield job

    def written(kind: Kind, records: Iterable[Record], total: int | None = None) -> Tally:
        tally = Tally()
        for some in _pages(records, page):
            given: dict[str, Any] = {kind.value: some}
            new = target.restore(**given)
            tally = Tally(tally.copied + new, tally.there + len(some) - new)
            progress(kind, tally.total, total)
        return tally

    tallies = {
        Kind.JOBS: written(Kind.JOBS, counted(_jobs(source, page)), number),
        Kind.ATTEMPTS: written(Kind.ATTEMPTS, _attempts(source, _jobs(source, page), page)),
        Kind.SKIPS: written(Kind.SKIPS, _skips(source, schedules, page)),
        Kind.NOTES: written(Kind.NOTES, _notes(source, schedules)),
        Kind.SCHEDULES: written(Kind.SCHEDULES, schedules, len(schedules)),
    }
    faults = [
        *_changes(source, schedules, read),
        *_gaps(source, target, schedules, tallies, held, page),
    ]
    return Moved(tallies, tuple(faults))


def _changes(
    source: JobStorage, schedules: list[Schedule], read: Mapping[JobStatus, int]
) -> Iterator[str]:
    """What is no longer at the source as it was read."""
    for status, number in source.count_jobs().items():
        if number != read[status]:
            yield f"source: {number} jobs are {status.value} now, {read[status]} were when read"
    before, after = (
        {each.name: each for each in some} for some in (schedules, source.list_schedules())
    )
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            yield f"source: schedule {shown(name)!r} changed while it was copied"


def _gaps(
    source: JobStorage,
    target: JobStorage,
    schedules: list[Schedule],
    tallies: Mapping[Kind, Tally],
    held: int,
    page: int,
) -> Iterator[str]:
    """What is not at the target as often as it should be."""
    names = {schedule.name for schedule in schedules}
    expected = {kind: tally.total for kind, tally in tallies.items()}
    # Of jobs the target may hold others, which a count does not tell apart.
    expected[Kind.JOBS] = held + tallies[Kind.JOBS].copied
    found = {
        Kind.JOBS: sum(target.count_jobs().values()),
        Kind.ATTEMPTS: sum(1 for _ in _attempts(target, _jobs(source, page), page)),
        Kind.SKIPS: sum(1 for _ in _skips(target, schedules, page)),
        Kind.NOTES: sum(1 for _ in _notes(target, schedules)),
        Kind.SCHEDULES: len(names.intersection(each.name for each in target.list_schedules())),
    }
    for kind, number in expected.items():
        if found[kind] != number:
            yield f"target: {found[kind]} {kind.value} are there, {number} should be"


def _jobs(storage: JobStorage, page: int) -> Iterator[Job]:
    """Every job, the newest id first."""
    before_id: str | None = None
    while some := storage.list_jobs(limit=page, before_id=before_id):
        yield from some
        before_id = some[-1].id


def _attempts(storage: JobStorage, jobs: Iterable[Job], page: int) -> Iterator[Attempt]:
    """Every recorded attempt of these jobs, in their order."""
    for some in _pages(jobs, page):
        yield from storage.list_attempts([job.id for job in some])


def _skips(storage: JobStorage, schedules: Iterable[Schedule], page: int) -> Iterator[Skip]:
    """Every skip of these schedules, the last of each first."""
    for schedule in schedules:
        end: datetime | None = None
        while some := storage.list_skips(schedule.id, None, end, limit=page):
            yield from reversed(some)
            end = some[0].first_at


def _notes(storage: JobStorage, schedules: Iterable[Schedule]) -> Iterator[Note]:
    for schedule in schedules:
        yield from storage.list_notes(schedule.id)


def _pages(records: Iterable[T], page: int) -> Iterator[list[T]]:
    each = iter(records)
    while some := list(islice(each, page)):
        yield some
