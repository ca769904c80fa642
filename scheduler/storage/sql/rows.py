"""Rows to values and back: the one place that knows both the columns and the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping

from scheduler.model import (
    Action,
    CatchUp,
    Declaration,
    Job,
    JobStatus,
    Lease,
    Note,
    Origin,
    Overlap,
    Schedule,
    ScheduleStatus,
    Skip,
    SkipReason,
)

_JOB_COLUMNS = tuple(field.name for field in fields(Job) if field.name != "lease")
_SCHEDULE_COLUMNS = tuple(field.name for field in fields(Schedule))
_SKIP_COLUMNS = tuple(field.name for field in fields(Skip))
_NOTE_COLUMNS = tuple(field.name for field in fields(Note))
_DECLARATION_COLUMNS = tuple(field.name for field in fields(Declaration))


def job_row(job: Job) -> dict[str, Any]:
    """The column values of `job`."""
    row = {name: getattr(job, name) for name in _JOB_COLUMNS}
    row["status"] = job.status.value
    row["origin"] = job.origin.value
    row["lease_token"] = job.lease.token if job.lease else None
    row["lease_expires_at"] = job.lease.expires_at if job.lease else None
    return row


def row_job(row: RowMapping) -> Job:
    """The job in a row of `jobs`."""
    values = {name: row[name] for name in _JOB_COLUMNS}
    values["status"] = JobStatus(values["status"])
    values["origin"] = Origin(values["origin"])
    if row["lease_token"] is not None:
        values["lease"] = Lease(row["lease_token"], row["lease_expires_at"])
    return Job(**values)


def schedule_row(schedule: Schedule) -> dict[str, Any]:
    """The column values of `schedule`."""
    row = {name: getattr(schedule, name) for name in _SCHEDULE_COLUMNS}
    row["status"] = schedule.status.value
    row["catch_up"] = schedule.catch_up.value
    row["overlap"] = schedule.overlap.value
    row["open_skip"] = _json_skip(schedule.open_skip)
    return row


def row_schedule(row: RowMapping) -> Schedule:
    """The schedule in a row of `schedules`."""
    values = {name: row[name] for name in _SCHEDULE_COLUMNS}
    values["status"] = ScheduleStatus(values["status"])
    values["catch_up"] = CatchUp(values["catch_up"])
    values["overlap"] = Overlap(values["overlap"])
    values["open_skip"] = _skip_of(values["open_skip"])
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


_SKIP_INSTANTS = ("first_at", "last_at", "recorded_at")


def _json_skip(skip: Skip | None) -> dict[str, Any] | None:
    """`skip` as the JSON in a row of `schedules`."""
    if skip is None:
        return None
    return skip_row(skip) | {name: getattr(skip, name).isoformat() for name in _SKIP_INSTANTS}


def _skip_of(stored: Mapping[str, Any] | None) -> Skip | None:
    if stored is None:
        return None
    instants = {name: datetime.fromisoformat(stored[name]) for name in _SKIP_INSTANTS}
    return Skip(**{**stored, **instants, "reason": SkipReason(stored["reason"])})


def note_row(note: Note) -> dict[str, Any]:
    """The column values of `note`."""
    row = {name: getattr(note, name) for name in _NOTE_COLUMNS}
    row["action"] = note.action.value
    row["detail"] = dict(note.detail)
    return row


def row_note(row: RowMapping) -> Note:
    """The note in a row of `notes`."""
    values = {name: row[name] for name in _NOTE_COLUMNS}
    values["action"] = Action(values["action"])
    return Note(**values)


def declaration_row(declaration: Declaration) -> dict[str, Any]:
    """The column values of `declaration`."""
    row = {name: getattr(declaration, name) for name in _DECLARATION_COLUMNS}
    row["schedules"] = dict(declaration.schedules)
    return row


def row_declaration(row: RowMapping) -> Declaration:
    """The declaration in a row of `declarations`."""
    return Declaration(**{name: row[name] for name in _DECLARATION_COLUMNS})


def only(row: Mapping[str, Any], columns: Sequence[str]) -> dict[str, Any]:
    """What `row` says of these columns."""
    return {name: row[name] for name in columns}
