"""Rows to values and back: the one place that knows both the columns and the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from sqlalchemy import RowMapping

from scheduler.model import (
    CatchUp,
    Job,
    JobStatus,
    Lease,
    Schedule,
    ScheduleStatus,
    Skip,
    SkipReason,
)

_JOB_COLUMNS = tuple(field.name for field in fields(Job) if field.name != "lease")
_SCHEDULE_COLUMNS = tuple(field.name for field in fields(Schedule))
_SKIP_COLUMNS = tuple(field.name for field in fields(Skip))


def job_row(job: Job) -> dict[str, Any]:
    """The column values of `job`."""
    row = {name: getattr(job, name) for name in _JOB_COLUMNS}
    row["status"] = job.status.value
    row["lease_token"] = job.lease.token if job.lease else None
    row["lease_expires_at"] = job.lease.expires_at if job.lease else None
    return row


def row_job(row: RowMapping) -> Job:
    """The job in a row of `jobs`."""
    values = {name: row[name] for name in _JOB_COLUMNS}
    values["status"] = JobStatus(values["status"])
    if row["lease_token"] is not None:
        values["lease"] = Lease(row["lease_token"], row["lease_expires_at"])
    return Job(**values)


def schedule_row(schedule: Schedule) -> dict[str, Any]:
    """The column values of `schedule`."""
    row = {name: getattr(schedule, name) for name in _SCHEDULE_COLUMNS}
    row["status"] = schedule.status.value
    row["catch_up"] = schedule.catch_up.value
    return row


def row_schedule(row: RowMapping) -> Schedule:
    """The schedule in a row of `schedules`."""
    values = {name: row[name] for name in _SCHEDULE_COLUMNS}
    values["status"] = ScheduleStatus(values["status"])
    values["catch_up"] = CatchUp(values["catch_up"])
    return Schedule(**values)


def skip_row(skip: Skip) -> dict[str, Any]:
    """The column values of `skip`."""
    row = {name: getattr(skip, name) for name in _SKIP_COLUMNS}
    row["reason"] = skip.reason.value
    return row


def row_skip(row: RowMapping) -> Skip:
    """The skip in a row of `skips`."""
    values = {name: row[name] for name in _SKIP_COLUMNS}
    values["reason"] = SkipReason(values["reason"])
    return Skip(**values)


def only(row: Mapping[str, Any], columns: Sequence[str]) -> dict[str, Any]:
    """What `row` says of these columns."""
    return {name: row[name] for name in columns}
