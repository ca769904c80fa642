"""The values that flow through the house: jobs, schedules, leases, outcomes, skips.

Frozen: a change is a new value, made by `dataclasses.replace` in the pure modules
(expansion, lifecycle) and written by a storage. Instants are aware UTC and end in `_at`;
durations are timedeltas; enums in memory, strings only at the edge.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

JsonObject = Mapping[str, Any]
"""A JSON object: string keys, JSON values."""

DEFAULT_QUEUE = "default"
DEFAULT_GRACE = timedelta(seconds=60)
DEFAULT_CATCH_UP_MAX = 100


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


class SkipReason(StrEnum):
    """Why an occurrence did not become a job."""

    MISSED = "missed"


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
    it stands for (`occurrence_at`, the nominal instant), its place in the series
    (`sequence`, from 1) and `repeat`, the rule in force when it was made. Low `priority` runs
    first. `timeout` bounds one attempt. `worker` is who ran it last.
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
    lease: Lease | None = None
    worker: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A stored rule, its policies, and how far it has been expanded.

    `rule` is the JSON as given (`rules.rule_from_json` reads it); `timezone` is the zone of a
    rule that names none; `anchor_at` is the creation instant, occurrence 0 of an interval
    without a start. `cursor_at` is the greatest nominal instant already decided: it only
    grows. `next_at` is the next occurrence, None when none can follow. `materialised` counts
    the jobs made by expansion, for `limit`. Every write raises `revision`; a writer whose
    revision is stale is refused. `module` is the module that declares it, None if it was
    added by hand.
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
    catch_up_max: int = DEFAULT_CATCH_UP_MAX
    module: str | None = None
    status: ScheduleStatus = ScheduleStatus.ACTIVE
    error: str | None = None
    anchor_at: datetime
    cursor_at: datetime
    next_at: datetime | None = None
    materialised: int = 0
    revision: int = 1
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Skip:
    """A run of occurrences of one schedule that did not become jobs, for one reason.

    `first_at` and `last_at` are the nominal instants of the run, both inclusive; `count` is
    how many occurrences it holds.
    """

    schedule_id: str
    reason: SkipReason
    first_at: datetime
    last_at: datetime
    count: int
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class Completed:
    """The handler returned; `result` is a JSON value."""

    result: Any = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The handler raised, ran past its timeout, or could not be called."""

    error: str


@dataclass(frozen=True, slots=True)
class Released:
    """The job is given back undone: no attempt is counted."""


@dataclass(frozen=True, slots=True)
class Expired:
    """The lease ran out: its executor died or hung. Counts as one attempt."""


Outcome = Completed | Failed | Released | Expired
"""How one attempt ended."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """The state a leased job moves to, and the token that proves the right to write it.

    With `expired_by`, the write holds only if the lease had run out by that instant: a lease
    renewed in between stays with its holder.
    """

    job: Job
    token: str
    expired_by: datetime | None = None
