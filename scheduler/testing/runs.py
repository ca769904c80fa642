"""What happened, in a shape that a test compares with what it expects.

A run equals the wall clock at which it started, written as ISO text: in the zone that the test
travels in, or with an offset. So a list of runs equals a list of texts.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from scheduler.errors import InvalidRule
from scheduler.model import Job, JobStatus
from scheduler.rules.moments import parse_stamp


@dataclass(eq=False, slots=True)
class Attempt:
    """One call of a handler. `outcome` is None while it is under way, else an event's name.

    completed, failed, retrying (failed, and tried again), released, lease-lost, rescued or
    cancelled. `number` counts from 1; instants are UTC.
    """

    job: Job
    zone: ZoneInfo
    number: int
    started_at: datetime
    ended_at: datetime | None = None
    outcome: str | None = None
    error: str | None = None

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str):
            return is_at(self.started_at, other, self.zone)
        return self is other

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return shown(self.started_at, self.zone, self.outcome or "running")


class Run:
    """One job that has started; `attempts` are its calls, at least one."""

    __slots__ = ("attempts", "zone")

    def __init__(self, first: Attempt) -> None:
        self.attempts = [first]
        self.zone = first.zone

    @property
    def job(self) -> Job:
        """The job as it last was."""
        return self.attempts[-1].job

    @property
    def occurrence_at(self) -> datetime | None:
        """The nominal instant, in UTC; None if no schedule made the job."""
        return self.job.occurrence_at

    @property
    def started_at(self) -> datetime:
        """When its first attempt began, in UTC."""
        return self.attempts[0].started_at

    @property
    def ended_at(self) -> datetime | None:
        """When its last attempt ended, in UTC; None while it is under way."""
        return self.attempts[-1].ended_at

    @property
    def status(self) -> str:
        """completed, failed, processing, pending (it will be tried again) or cancelled."""
        return self.job.status.value

    @property
    def data(self) -> dict[str, Any]:
        return dict(self.job.data)

    @property
    def result(self) -> Any:
        return self.job.result

    @property
    def error(self) -> str | None:
        return self.job.error

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str):
            return is_at(self.started_at, other, self.zone)
        return self is other

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        said = "" if self.job.status is JobStatus.COMPLETED else self.status
        return shown(self.started_at, self.zone, said)


class Skipped(NamedTuple):
    """A run of occurrences that made no job; `first` and `last` are wall clock texts."""

    reason: str
    first: str
    last: str
    occurrences: int


def is_at(instant: datetime, text: str, zone: ZoneInfo) -> bool:
    """Whether `text`, a wall clock in `zone` or one with an offset, is what showed at `instant`."""
    try:
        stamp = parse_stamp(text, "run")
    except InvalidRule:
        return False
    if stamp.tzinfo is not None:
        return instant == stamp
    return wall(instant, zone).replace(tzinfo=None, fold=0) == stamp


def wall(instant: datetime, zone: ZoneInfo) -> datetime:
    """`instant` on the clocks of `zone`; with its fold, which frozen datetimes would forget."""
    return zone.fromutc(instant.astimezone(UTC).replace(tzinfo=zone))


def text(instant: datetime, zone: ZoneInfo) -> str:
    """`instant` as its shortest ISO text in `zone`; with the offset where clocks show it twice."""
    there = wall(instant, zone)
    naive = there.replace(tzinfo=None, fold=0)
    parts = "minutes" if not (naive.second or naive.microsecond) else "auto"
    written = naive.isoformat(timespec=parts)
    twice = there.replace(fold=0).utcoffset() != there.replace(fold=1).utcoffset()
    return written + there.isoformat()[-6:] if twice else written


def shown(instant: datetime, zone: ZoneInfo, said: str) -> str:
    """`instant` as a failed assertion shows it beside expected texts."""
    return f"{text(instant, zone)!r}" + (f" ({said})" if said else "")
