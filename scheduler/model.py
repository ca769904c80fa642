"""The values that flow through the house: jobs, schedules, leases, outcomes, skips.

Frozen: a change is a new value, made by `replace` in the pure modules (expansion, lifecycle) and
written by a storage. Instants are aware UTC and end in `_at`;
durations are timedeltas; enums in memory, strings only at the edge.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, TypeVar

Value = TypeVar("Value")

JsonObject = Mapping[str, Any]
"""A JSON object: string keys, JSON values."""

DEFAULT_QUEUE = "default"
DEFAULT_GRACE = timedelta(seconds=60)
DEFAULT_CATCH_UP_MAX = 100


def make(kind: type[Value], values: Iterable[Any]) -> Value:
    """A value of the dataclass `kind`, which has slots, from the values of all its fields in order.

    For rows that a store gives back by the thousand: in a tenth of what `__init__` takes.
    """
    made: Value = _ways(kind)[1](values)  # type: ignore[arg-type]  # classes are hashable
    return made


def replace(value: Value, /, **changes: Any) -> Value:
    """A copy of `value`, a dataclass with slots and more than one field, with these changes.

    Each run makes several: in a tenth of what dataclasses.replace takes. Raises TypeError for a
    name that is not a field.
    """
    kind = type(value)
    copy = _ways(kind)[0](value)  # type: ignore[arg-type]  # classes are hashable
    name = ""
    try:
        for name, each in changes.items():
            setattr(copy, name, each)
    except AttributeError:
        raise TypeError(f"{kind.__name__} has no field {name!r}") from None
    copy.__class__ = kind
    made: Value = copy
    return made


def of_columns(kind: type[Value], columns: Sequence[Sequence[Any]]) -> list[Value]:
    """A value of this class, one of `make`, for each row of the columns of its fields."""
    made_of = _ways(kind)[1]  # type: ignore[arg-type]  # classes are hashable
    return [made_of(row) for row in zip(*columns, strict=True)]


def copies(value: Value, /, **columns: Sequence[Any]) -> list[Value]:
    """A copy of `value`, as `replace` makes one, for each row of the columns of these fields."""
    kind: Any = type(value)
    copied = _ways(kind)[0]
    made: list[Value] = []
    for row in zip(*columns.values(), strict=True):
        copy = copied(value)
        for name, each in zip(columns, row, strict=True):
            setattr(copy, name, each)
        copy.__class__ = kind
        made.append(copy)
    return made


@functools.cache
def _ways(kind: Any) -> tuple[Callable[[Any], Any], Callable[[Iterable[Any]], Any]]:
    """What copies a value of the dataclass `kind`, to be changed still, and what makes one.

    A frozen value is written field by field through descriptors. So one of a twin class is written,
    which has the same slots and is not frozen, by plain assignments; then it changes its class.
    """
    names = [each.name for each in fields(kind)]
    twin = type(kind.__name__, (), {"__slots__": tuple(names)})
    copies = "\n".join(f"    copy.{name} = value.{name}" for name in names)
    targets = ", ".join(f"made.{name}" for name in names)
    source = (
        f"def copied(value):\n    copy = twin()\n{copies}\n    return copy\n"
        f"def made_of(values):\n    made = twin()\n    {targets} = values\n"
        "    made.__class__ = kind\n    return made\n"
    )
    known: dict[str, Any] = {"twin": twin, "kind": kind}
    exec(source, known)  # noqa: S102 - of names of fields, as dataclasses does it
    return known["copied"], known["made_of"]


class JobStatus(StrEnum):
    """Where a job stands. Who moves it, and when: `lifecycle.TRANSITIONS`."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class ScheduleStatus(StrEnum):
    """Where a schedule stands; only an active one is expanded."""

    ACTIVE = "active"
    PAUSED = "paused"
    COMPLETED = "completed"
    """No occurrence can follow: the end passed, the limit is used, the set is exhausted."""
    RETIRED = "retired"
    """The code that declared it is gone; its history stays."""


class CatchUp(StrEnum):
    """What happens to occurrences that were missed while nothing expanded (clause 9.5)."""

    SKIP = "skip"
    LATEST = "latest"
    ALL = "all"


class Overlap(StrEnum):
    """What happens to an occurrence that falls due while an earlier job is unfinished (9.10)."""

    SKIP = "skip"
    ALLOW = "allow"
    QUEUE_ONE = "queue_one"
    """It waits for the earlier one; a further one is skipped."""
    CANCEL_PREVIOUS = "cancel_previous"


class SkipReason(StrEnum):
    """Why an occurrence did not become a job."""

    EXCLUDED = "excluded"
    """Removed by a calendar or an exception: never an occurrence, so shown and not recorded."""
    MISSED = "missed"
    """Nothing expanded at the time, and `catch_up` leaves it out."""
    EXPIRED = "expired"
    """Missed, and older than `catch_up_window`."""
    PAUSED = "paused"
    """It fell due while the schedule was paused or retired."""
    OVERLAP = "overlap"
    """An earlier job of the schedule was unfinished."""
    CAPPED = "capped"
    """The limit was used up."""


class Origin(StrEnum):
    """How a job came to be."""

    ADDED = "added"
    """By hand, by code or over HTTP; no schedule made it."""
    OCCURRENCE = "occurrence"
    CATCH_UP = "catch_up"
    """An occurrence that was missed, and made up for."""
    BACKFILL = "backfill"
    RUN_NOW = "run_now"


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to run one job and to write its outcome, until `expires_at`.

    The token fences every write: who lost the lease cannot settle the job.
    """

    token: str
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One row, one unit of work.

    `scheduled_at` is when it may start; a retry is the same job, pending again with a later
    `scheduled_at` and a higher `retry_count`. A job of a schedule carries the occurrence
    it stands for (`occurrence_at`, the nominal instant) and `repeat`, the rule in force when it
    was made; `sequence` is its place in the series, from 1, and None if it is outside of it, run
    by hand or backfilled. Low `priority` runs first. `timeout` bounds one attempt. `worker` is
    who ran it last. Jobs of one name and one `concurrency_key` share the name's limits.

    A handler that works on an interval of data takes [`previous_occurrence_at`,
    `occurrence_at`): the occurrence of the series' previous job, None for the first.
    `missed_before` counts the occurrences in between that were skipped. A `serial` job starts
    only when no earlier job of its schedule's series is pending or processing.
    """

    id: str
    name: str
    data: JsonObject = field(default_factory=dict)
    status: JobStatus = JobStatus.PENDING
    created_at: datetime
    scheduled_at: datetime
    started_at: datetime | None = None
    completed_at: datetime | None = None
    queue: str = DEFAULT_QUEUE
    priority: int = 0
    max_retries: int = 0
    retry_count: int = 0
    timeout: timedelta | None = None
    error: str | None = None
    result: Any = None
    repeat: JsonObject | None = None
    schedule_id: str | None = None
    occurrence_at: datetime | None = None
    sequence: int | None = None
    origin: Origin = Origin.ADDED
    previous_occurrence_at: datetime | None = None
    missed_before: int = 0
    serial: bool = False
    concurrency_key: str | None = None
    lease: Lease | None = None
    worker: str | None = None

    @property
    def occurrence(self) -> tuple[str, datetime] | None:
        """The schedule's id and the occurrence that no other job may have; None if it has none.

        What was run by hand is outside the series, though its instant may be an occurrence.
        """
        if self.schedule_id is None or self.occurrence_at is None:
            return None
        return None if self.origin is Origin.RUN_NOW else (self.schedule_id, self.occurrence_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Skip:
    """A run of occurrences of one schedule that did not become jobs, for one reason.

    `first_at` and `last_at` are the nominal instants of the run, both inclusive; `count` is
    how many occurrences it holds. No job of the series lies between them. `backfilled` of them
    have got a job since.
    """

    schedule_id: str
    reason: SkipReason
    first_at: datetime
    last_at: datetime
    count: int
    recorded_at: datetime
    backfilled: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A stored rule, its policies, and how far it has been expanded.

    `rule` is the JSON as given (`rules.rule_from_json` reads it); `timezone` is the zone of a
    rule that names none; `anchor_at` is the creation instant, occurrence 0 of an interval
    without a start; the rule is in force from `rule_since`. `cursor_at` is the instant up to
    which everything is decided: it only grows. `next_at` is when the expander looks at it next:
    an active one's next occurrence; a paused one's last, with which it completes; None when
    none can follow. `materialised` counts the jobs made by expansion, for `limit`, and
    `last_occurrence_at` is the occurrence of the last of them. `open_skip` is the recorded run
    that the next skip of the same reason prolongs. Every change but an expansion raises
    `revision`; a writer whose revision or cursor is stale is refused. `module` is the module that
    declares it, None if it was added by hand; `declared` is a digest of what was last declared,
    so that what was edited by hand stays until the code says something new. `concurrency_key` is
    that of its jobs.
    """

    id: str
    name: str
    job_name: str
    rule: JsonObject
    timezone: str
    data: JsonObject = field(default_factory=dict)
    queue: str = DEFAULT_QUEUE
    priority: int = 0
    max_retries: int = 0
    timeout: timedelta | None = None
    catch_up: CatchUp = CatchUp.LATEST
    grace: timedelta = DEFAULT_GRACE
    catch_up_window: timedelta | None = None
    catch_up_max: int = DEFAULT_CATCH_UP_MAX
    overlap: Overlap = Overlap.SKIP
    jitter: timedelta = timedelta(0)
    concurrency_key: str | None = None
    module: str | None = None
    declared: str | None = None
    status: ScheduleStatus = ScheduleStatus.ACTIVE
    error: str | None = None
    paused_at: datetime | None = None
    paused_by: str | None = None
    anchor_at: datetime
    rule_since: datetime
    cursor_at: datetime
    next_at: datetime | None = None
    materialised: int = 0
    last_occurrence_at: datetime | None = None
    open_skip: Skip | None = None
    revision: int = 1
    created_at: datetime
    updated_at: datetime


class Action(StrEnum):
    """What was done to a schedule, as a note tells it."""

    CREATED = "created"
    EDITED = "edited"
    PAUSED = "paused"
    RESUMED = "resumed"
    BACKFILLED = "backfilled"
    RETIRED = "retired"
    REVIVED = "revived"


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What a person or a deploy did to a schedule: the evidence behind an explanation.

    It made revision `revision` at `at`. `actor` is who, None if nobody said. `detail` is for an
    edit and a revival {field: [from, to]}, the cursor among them; for a backfill its window and
    number of jobs.
    """

    schedule_id: str
    revision: int
    at: datetime
    action: Action
    actor: str | None = None
    detail: JsonObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """One process, and the schedules that its code declares.

    `code` is a digest of all of them: equal for processes of one version. `since_at` is when
    that version was first seen, `seen_at` when the process last showed that it is there.
    `schedules` is {name: digest of what is declared}; empty once the process has stopped.
    """

    process: str
    code: str
    since_at: datetime
    seen_at: datetime
    schedules: Mapping[str, str]


class Ending(StrEnum):
    """How an attempt ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    """Its handler raised Cancel, or somebody called the job off."""
    RELEASED = "released"
    """Given back undone, on shutdown; it does not count."""
    EXPIRED = "expired"
    """Its executor stopped renewing the lease."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One call of a handler, from start to end.

    `number` counts from 1; an attempt that was released leaves its number to the next. `error` is
    one line, `traceback` what Python has to say of it; `log` are the lines that the handler
    logged, the last of them where there were too many.
    """

    job_id: str
    number: int
    started_at: datetime
    ended_at: datetime
    worker: str | None = None
    ending: Ending
    error: str | None = None
    traceback: str | None = None
    log: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Completed:
    """The handler returned; `result` is a JSON value."""

    result: Any = None
    log: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Committed:
    """The handler returned, and its outcome was written together with what it wrote itself."""

    job: Job


@dataclass(frozen=True, slots=True)
class Failed:
    """The handler raised, ran past its timeout, or could not be called.

    With `is_final` it is not tried again; with `retry_in` it is, after so long and not after the
    backoff.
    """

    error: str
    traceback: str | None = None
    log: tuple[str, ...] = ()
    is_final: bool = False
    retry_in: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The handler called its job off; `reason` is why."""

    reason: str
    log: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Released:
    """The job is given back undone: no attempt is counted."""


@dataclass(frozen=True, slots=True)
class Expired:
    """The lease ran out: its executor died or hung. Counts as one attempt."""


Outcome = Completed | Committed | Failed | Cancelled | Released | Expired
"""How one attempt ended."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """The state a leased job moves to, and the token that proves the right to write it.

    With `expired_by`, the write holds only if the lease had run out by that instant: a lease
    renewed in between stays with its holder. `attempt` is put on record with it; None where the
    job itself says all there is.
    """

    job: Job
    token: str
    expired_by: datetime | None = None
    attempt: Attempt | None = None
