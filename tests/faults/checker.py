"""The independent checker: what the rules say, held against the store and the handlers' lines.

It knows nothing of expansion, leases or retries as the service does them. The rules give the
occurrences; the jobs and skips of the store say what became of them; the lines say what ran, each
under a lease; the store's record of its own writes says how each lease began and ended.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from scheduler.model import Job, JobStatus, Schedule
from scheduler.rules import occurrences
from scheduler.storage import JobStorage
from tests.faults.audit import Change
from tests.faults.tasks import FAILURE

TICK = timedelta(microseconds=1)
ROUNDED = timedelta(milliseconds=1)
"""By how much an instant of the store's record may be cut off."""

TURNING = timedelta(seconds=10)
"""Within so long before all had noticed that a clock was set, it was set."""

EVERY_JOB = 10**6

Lease = tuple[str, str]
"""A job and its token: jobs that were acquired together have the same one."""


class Why(StrEnum):
    """Why a handler was called once more than its job was completed."""

    FAILED = "failed"
    """It raised, as it was made to."""
    KILLED = "killed"
    """Its process died, or stood still past the lease, after the side effect."""
    CUT_OFF = "cut off"
    """Its process lived, and could not reach the store to renew or to settle."""
    RELEASED = "released"
    """It was given back when its grace was over."""


@dataclass(frozen=True)
class Line:
    """What one call of a handler left."""

    job: str
    token: str
    worker: str
    attempt: int
    due: datetime

    @property
    def lease(self) -> Lease:
        return self.job, self.token

    @property
    def pid(self) -> int:
        return int(self.worker.split(":")[1])


@dataclass(frozen=True)
class Verdict:
    """One row of the table. All but `expected`, `executed` and `again` are to be 0."""

    fault: str
    store: str
    expected: int
    """Occurrences and added jobs that the rules and the test ask for."""
    executed: int
    """Calls of handlers."""
    again: dict[str, int]
    """Calls beyond one a job, by reason: of those that the fault allows."""
    lost: list[str] = field(default_factory=list)
    """Neither a job nor a skip, or a job that was not completed."""
    twice: list[str] = field(default_factory=list)
    """Enqueued twice, skipped and enqueued, or no occurrence at all."""
    unexplained: list[str] = field(default_factory=list)
    """Calls without a lease, twice under one, or again for a reason that the fault is none."""
    stale: list[str] = field(default_factory=list)
    """Writes by somebody whose lease it no longer was."""
    late: list[str] = field(default_factory=list)
    early: list[str] = field(default_factory=list)

    @property
    def wrong(self) -> dict[str, list[str]]:
        """What should not be; {} if all is well."""
        named = ("lost", "twice", "unexplained", "stale", "late", "early")
        return {name: found for name in named if (found := getattr(self, name))}

    def row(self) -> dict[str, Any]:
        """Itself in numbers, for the table."""
        return {
            name: len(value) if isinstance(value, list) else value
            for name, value in asdict(self).items()
        }


@dataclass(frozen=True)
class Bounds:
    """What a fault allows: which reasons to be called again, and how late a first call may be.

    A job may be called `late` after it fell due, or after `since` if that is later. `gone` are the
    processes that died or stood still.
    """

    since: datetime
    late: timedelta
    again: Collection[Why]
    gone: Collection[int]
    turned_at: datetime | None = None
    """By when, in the new time, a clock that was set back had been noticed by all."""


def read_lines(path: Path) -> list[Line]:
    """The lines that handlers left, in the order they were left."""
    found = []
    for text in path.read_text().splitlines() if path.exists() else ():
        said = json.loads(text)
        found.append(Line(**{**said, "due": datetime.fromisoformat(said["due"])}))
    return found


def check(
    fault: str,
    store: str,
    *,
    storage: JobStorage,
    added: Collection[str],
    lines: list[Line],
    changes: list[Change],
    bounds: Bounds,
) -> Verdict:
    """The verdict on a store in which everything is over; `added` are jobs that no rule made."""
    jobs = storage.list_jobs(limit=EVERY_JOB)
    schedules = storage.list_schedules()
    pure = {each.id: _pure(each) for each in schedules}
    taken = {(each.job, each.taken): each.at for each in changes if each.taken}
    ended = {(each.job, each.token): _ending(each) for each in changes if each.token}
    again, unexplained = _repeated(lines, ended, bounds)
    return Verdict(
        fault=fault,
        store=store,
        expected=sum(map(len, pure.values())) + len(added),
        executed=len(lines),
        again=dict(again),
        lost=[*_lost(storage, schedules, pure, jobs, added)],
        twice=[*_twice(storage, schedules, pure, jobs)],
        unexplained=[*unexplained, *_uncalled(jobs, lines, ended)],
        stale=[*_stale(changes)],
        late=[*_late(jobs, lines, taken, bounds)],
        early=[*_early(lines, taken, bounds)],
    )


# --- occurrences --------------------------------------------------------------------------------


def _pure(schedule: Schedule) -> list[datetime]:
    """What the rule says of the time that is decided."""
    until = schedule.cursor_at + TICK
    every = occurrences(schedule.rule, schedule.rule_since, until, schedule.timezone)
    return list(every)


def _jobs_of(jobs: list[Job]) -> dict[str, Counter[datetime]]:
    found: dict[str, Counter[datetime]] = defaultdict(Counter)
    for job in jobs:
        if job.schedule_id is not None and job.occurrence_at is not None:
            found[job.schedule_id][job.occurrence_at] += 1
    return found


def _skipped(storage: JobStorage, schedule: Schedule, pure: list[datetime]) -> Counter[datetime]:
    return Counter(
        at
        for skip in storage.list_skips(schedule.id)
        for at in pure
        if skip.first_at <= at <= skip.last_at
    )


def _lost(
    storage: JobStorage,
    schedules: list[Schedule],
    pure: dict[str, list[datetime]],
    jobs: list[Job],
    added: Collection[str],
) -> Iterator[str]:
    made = _jobs_of(jobs)
    for schedule in schedules:
        skipped = _skipped(storage, schedule, pure[schedule.id])
        for at in pure[schedule.id]:
            if not made[schedule.id][at] and not skipped[at]:
                yield f"{schedule.name} {at}"
    yield from set(added) - {job.id for job in jobs}
    for job in jobs:
        if job.status is not JobStatus.COMPLETED:
            yield f"{job.id} {job.name} is {job.status}: {job.error}"


def _twice(
    storage: JobStorage,
    schedules: list[Schedule],
    pure: dict[str, list[datetime]],
    jobs: list[Job],
) -> Iterator[str]:
    made = _jobs_of(jobs)
    for schedule in schedules:
        named, occurred = made[schedule.id], set(pure[schedule.id])
        skipped = _skipped(storage, schedule, pure[schedule.id])
        for at in named.keys() | skipped.keys():
            if named[at] + skipped[at] > 1:
                yield f"{schedule.name} {at}: {named[at]} jobs, {skipped[at]} skips"
            if at not in occurred:
                yield f"{schedule.name} {at} is no occurrence"


# --- calls and writes ---------------------------------------------------------------------------


def _ending(change: Change) -> str:
    """How the write ended the lease: completed, failed, expired or released."""
    if change.after == JobStatus.COMPLETED:
        return "completed"
    if change.error is not None and change.error.startswith("lease expired"):
        # The error of an earlier attempt stays where a job is only given back.
        return "expired" if change.retries or change.after == JobStatus.FAILED else "released"
    return "failed" if change.retries or change.after == JobStatus.FAILED else "released"


def _repeated(
    lines: list[Line], ended: dict[Lease, str], bounds: Bounds
) -> tuple[Counter[str], list[str]]:
    """Calls that did not complete their job, by reason; and those that nothing explains."""
    again, unexplained = Counter[str](), []
    for line in lines:
        match ended.get(line.lease):
            case "completed":
                continue
            case "failed":
                why = Why.FAILED
            case "released":
                why = Why.RELEASED
            case "expired":
                why = Why.KILLED if line.pid in bounds.gone else Why.CUT_OFF
            case _:
                unexplained.append(f"{line.job} was called under {line.token}, which never ended")
                continue
        if why in bounds.again:
            again[why.value] += 1
        else:
            unexplained.append(f"{line.job} was called again by {line.worker}: {why}")
    for lease, count in Counter(line.lease for line in lines).items():
        if count > 1:
            unexplained.append(f"{count} calls of {lease}")
    return again, unexplained


def _uncalled(jobs: list[Job], lines: list[Line], ended: dict[Lease, str]) -> Iterator[str]:
    """Completed jobs of which not exactly one call was under the lease that completed them."""
    calls = Counter(line.job for line in lines if ended.get(line.lease) == "completed")
    for job in jobs:
        if job.status is JobStatus.COMPLETED and calls[job.id] != 1:
            yield f"{job.id} was completed by {calls[job.id]} calls"


def _stale(changes: list[Change]) -> Iterator[str]:
    """Writes to a finished job, leases taken from a holder, and outcomes of another lease."""
    for each in changes:
        is_over = each.before not in (JobStatus.PENDING, JobStatus.PROCESSING)
        is_taken = each.token is not None and each.taken is not None
        if is_over or is_taken:
            yield f"{each.job} was {each.before} and became {each.after}"
        elif each.after == JobStatus.COMPLETED and each.result != each.token:
            yield f"{each.job} was completed under {each.token} with {each.result}"
        elif each.retries and FAILURE in (each.error or "") and not _says(each):
            yield f"{each.job} failed under {each.token}: {each.error}"


def _says(change: Change) -> bool:
    return (change.error or "").endswith(f"{FAILURE}{change.token}")


def _early(lines: list[Line], taken: dict[Lease, datetime], bounds: Bounds) -> Iterator[str]:
    """Calls of jobs that were taken before they were due.

    Not of those that somebody was taking, by the old time, when the clock was set back.
    """
    for line in lines:
        at = taken.get(line.lease, line.due)
        is_turning = bounds.turned_at is not None and (
            timedelta(0) <= bounds.turned_at - at < TURNING
        )
        early = line.due - at
        if early > ROUNDED and not is_turning:
            yield f"{line.job} {early} early"


def _late(
    jobs: list[Job], lines: list[Line], taken: dict[Lease, datetime], bounds: Bounds
) -> Iterator[str]:
    """Jobs that were called for the first time long after they were due."""
    first: dict[str, datetime] = {}
    for line in lines:
        at = taken.get(line.lease, line.due)
        first[line.job] = min(at, first.get(line.job, at))
    for job in jobs:
        due = max(job.occurrence_at or job.created_at, bounds.since)
        if job.id in first and first[job.id] - due > bounds.late:
            yield f"{job.id} {job.name} {first[job.id] - due} after it was due"
