"""What an executor asks a SQL database for, and which jobs may be started at all."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Table, exists, literal_column, or_

from scheduler.flow import Limit
from scheduler.lifecycle import storable
from scheduler.model import Job, JobStatus, Lease
from scheduler.storage.base import by_acquisition, by_age

UNFINISHED: list[ColumnElement[str]] = [
    literal_column("'pending'"),
    literal_column("'processing'"),
]
"""Literals, not parameters: a partial index serves only a predicate the planner can read."""


def unblocked(jobs: Table) -> ColumnElement[bool]:
    """That no earlier job of its series holds a job up."""
    earlier = jobs.alias("earlier")
    # Not only by `serial`: what precedes a job may be of a revision that let its jobs overlap.
    return or_(
        ~jobs.c.serial,
        ~exists().where(
            earlier.c.status.in_(UNFINISHED),
            earlier.c.schedule_id == jobs.c.schedule_id,
            earlier.c.occurrence_at < jobs.c.occurrence_at,
            earlier.c.sequence.is_not(None),
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What an executor asks for: `n` due jobs, by queue and by handlers, leased to `worker`."""

    n: int
    now: datetime
    handler_names: Collection[str] | None
    queue: str | None
    worker: str
    lease: Lease
    limits: Mapping[str, Limit]
    aged_before: datetime | None

    @property
    def leased(self) -> dict[str, Any]:
        """What the row of a job says that is leased, by column, as it comes back."""
        return {
            "status": JobStatus.PROCESSING.value,
            "started_at": self.now.astimezone(UTC),
            "completed_at": None,
            "lease_token": self.lease.token,
            "lease_expires_at": self.lease.expires_at.astimezone(UTC),
            "worker": storable(self.worker),
        }

    @property
    def limited(self) -> dict[str, Limit]:
        """The limits of the names that are asked for."""
        names = self.handler_names
        return {n: limit for n, limit in self.limits.items() if names is None or n in names}

    @property
    def is_plain(self) -> bool:
        """Whether nothing has a limit, or may have waited too long."""
        return self.aged_before is None and not self.limited

    def turn(self, job: Job) -> tuple[bool, tuple[Any, ...]]:
        """What `job` is ordered by."""
        is_aged = self.aged_before is not None and job.scheduled_at < self.aged_before
        return not is_aged, by_age(job) if is_aged else by_acquisition(job)
