"""Rows to values and back: the one place that knows both the columns and the model."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from types import NoneType
from typing import Any

from sqlalchemy import Column, Connection, RowMapping, Select, Table, select

from scheduler.model import (
    Action,
    Attempt,
    CatchUp,
    Declaration,
    Ending,
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
    of_columns,
)
from scheduler.storage.sql.dialects import Database
from scheduler.storage.sql.dialects.on_conflict import OnConflict
from scheduler.storage.sql.types import Json, from_json

Convert = Callable[[Any], Any]
Values = Mapping[str, Callable[[Any], Any]]

_JOB_COLUMNS = tuple(field.name for field in fields(Job) if field.name != "lease")
_LEASE = [field.name for field in fields(Job)].index("lease")
JOB_COLUMNS = (*_JOB_COLUMNS[:_LEASE], "lease_token", "lease_expires_at", *_JOB_COLUMNS[_LEASE:])
"""The columns of `jobs` that a Job is made of, in the order of both."""

_ATTEMPT_COLUMNS = tuple(field.name for field in fields(Attempt))
SCHEDULE_COLUMNS = tuple(field.name for field in fields(Schedule))
_SKIP_COLUMNS = tuple(field.name for field in fields(Skip))
NOTE_COLUMNS = tuple(field.name for field in fields(Note))
_DECLARATION_COLUMNS = tuple(field.name for field in fields(Declaration))


JOB_VALUES: Values = {name: attrgetter(name) for name in JOB_COLUMNS} | {
    "status": attrgetter("status.value"),
    "origin": attrgetter("origin.value"),
    "lease_token": lambda job: job.lease and job.lease.token,
    "lease_expires_at": lambda job: job.lease and job.lease.expires_at,
}
"""The column values of a job, each as what gives it."""


def job_row(job: Job) -> dict[str, Any]:
    """The column values of `job`."""
    return {name: value(job) for name, value in JOB_VALUES.items()}


def row_jobs(rows: Iterable[Sequence[Any]]) -> list[Job]:
    """The job in each of `rows`, which have the columns JOB_COLUMNS."""
    return _jobs(list(zip(*rows, strict=True)))


def row_job(row: RowMapping) -> Job:
    """The job in a row of `jobs`."""
    return row_jobs([[row[name] for name in JOB_COLUMNS]])[0]


def _jobs(columns: list[Sequence[Any]]) -> list[Job]:
    """The jobs of which these are the columns, in the order of JOB_COLUMNS."""
    if not columns:
        return []
    columns[_STATUS] = [_STATUSES[status] for status in columns[_STATUS]]
    columns[_ORIGIN] = [_ORIGINS[origin] for origin in columns[_ORIGIN]]
    held = list(zip(*columns[_LEASE : _LEASE + 2], strict=True))
    leases = {each: None if each[0] is None else Lease(*each) for each in set(held)}
    columns[_LEASE : _LEASE + 2] = [[leases[each] for each in held]]
    return of_columns(Job, columns)


_STATUS = JOB_COLUMNS.index("status")
_ORIGIN = JOB_COLUMNS.index("origin")
_STATUSES = {status.value: status for status in JobStatus}
_ORIGINS = {origin.value: origin for origin in Origin}


class JobReader:
    """Makes jobs of rows as the driver returns them, which need not say what is `known` of a job.

    It goes column by column: most are empty, or the same in every row, or need no conversion.
    """

    def __init__(self, database: OnConflict, jobs: Table, known: Collection[str]) -> None:
        self._names = [name for name in JOB_COLUMNS if name not in known]
        self.columns = [database.unread(jobs.c[name]) for name in self._names]
        """What a statement returns."""
        self._converts: dict[str, Convert] = {}
        self._parses: dict[str, Convert] = {}
        for name in self._names:
            convert = database.from_driver(jobs.c[name])
            if isinstance(jobs.c[name].type, Json):
                self._parses[name] = convert or from_json
            elif convert is not None:
                self._converts[name] = convert

    def jobs(self, rows: Sequence[Sequence[Any]], known: Mapping[str, Any]) -> list[Job]:
        """The job in each of `rows`; `known` is the same of all of them, by name of column."""
        if not rows:
            return []
        found: dict[str, Sequence[Any]] = dict(
            zip(self._names, zip(*rows, strict=True), strict=True)
        )
        for name, convert in self._converts.items():
            found[name] = converted(found[name], convert)
        for name, parse in self._parses.items():  # each for itself: a job's JSON is its own
            if found[name].count(None) < len(rows):
                found[name] = [None if each is None else parse(each) for each in found[name]]
        found |= {name: [each] * len(rows) for name, each in known.items()}
        return _jobs([found[name] for name in JOB_COLUMNS])


def converted(values: Sequence[Any], convert: Convert) -> Sequence[Any]:
    """The values of a column, those that are not None converted.

    What every row has is converted once, if what it becomes is that of all that are equal: so are
    instants in UTC, elsewhere two are equal in the hour that comes twice, and no JSON.
    """
    first = values[0]
    is_shared = isinstance(first, _SHARED) or (isinstance(first, datetime) and first.tzinfo is UTC)
    if is_shared and values.count(first) == len(values):
        return [None if first is None else convert(first)] * len(values)
    return [None if each is None else convert(each) for each in values]


_SHARED = (NoneType, str, timedelta)


def attempt_row(attempt: Attempt) -> dict[str, Any]:
    """The column values of `attempt`."""
    row = {name: getattr(attempt, name) for name in _ATTEMPT_COLUMNS}
    row["ending"] = attempt.ending.value
    row["log"] = list(attempt.log)
    return row


def row_attempt(row: RowMapping) -> Attempt:
    """The attempt in a row of `attempts`."""
    values = {name: row[name] for name in _ATTEMPT_COLUMNS}
    values["ending"] = Ending(values["ending"])
    values["log"] = tuple(values["log"])
    return Attempt(**values)


SCHEDULE_VALUES: Values = {name: attrgetter(name) for name in SCHEDULE_COLUMNS} | {
    "status": attrgetter("status.value"),
    "catch_up": attrgetter("catch_up.value"),
    "overlap": attrgetter("overlap.value"),
    "open_skip": lambda schedule: json_skip(schedule.open_skip),
}
"""The column values of a schedule, each as what gives it."""


def schedule_row(schedule: Schedule) -> dict[str, Any]:
    """The column values of `schedule`."""
    return {name: value(schedule) for name, value in SCHEDULE_VALUES.items()}


def row_schedule(row: RowMapping) -> Schedule:
    """The schedule in a row of `schedules`."""
    values = {name: row[name] for name in SCHEDULE_COLUMNS}
    values |= {name: kind(values[name]) for name, kind in _SCHEDULE_KINDS.items()}
    return Schedule(**values)


class ScheduleReader:
    """Schedules from rows as the driver returns them, where they are known to us.

    A column at a time: most values of one are equal, and many are NULL throughout.
    """

    def __init__(self, database: Database, schedules: Table) -> None:
        self._reads: list[Convert | None] | None = None
        self.query: Select[Any] = select(schedules)
        if isinstance(database, OnConflict):
            columns = [schedules.c[name] for name in SCHEDULE_COLUMNS]
            self._reads = [_read(database, column) for column in columns]
            self.query = select(*map(database.unread, columns))

    def read(
        self, connection: Connection, query: Select[Any], values: Mapping[str, Any] | None = None
    ) -> list[Schedule]:
        """What `query`, made of the one above, finds."""
        result = connection.execute(query, values)
        if self._reads is None:
            return [row_schedule(row) for row in result.mappings()]
        rows = result.all()
        if not rows:
            return []
        columns = zip(*rows, strict=True)
        return of_columns(
            Schedule,
            [
                column if read is None else _each(read, column)
                for read, column in zip(self._reads, columns, strict=True)
            ],
        )


def _read(database: OnConflict, column: Column[Any]) -> Convert | None:
    """What makes a field of a schedule of what the driver returns; None if it is that."""
    is_json = isinstance(column.type, Json)
    read = json.loads if is_json else database.from_driver(column)
    made = _SCHEDULE_KINDS.get(column.name)
    if made is None or read is None:
        return made or read
    return lambda stored: made(read(stored))


def _each(convert: Convert, column: Sequence[Any]) -> Sequence[Any]:
    """`convert` of each that is not NULL; equal texts and numbers are converted once."""
    kinds = set(map(type, column)) - {type(None)}
    if kinds in _ALIKE:
        known = {value: None if value is None else convert(value) for value in set(column)}
        return [known[value] for value in column]
    return converted(column, convert)


_ALIKE: tuple[set[type], ...] = ({str}, {float})
"""Kinds of values of which equal ones mean the same."""


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


def json_skip(skip: Skip | None) -> dict[str, Any] | None:
    """`skip` as the JSON in a row of `schedules`."""
    if skip is None:
        return None
    return skip_row(skip) | {name: getattr(skip, name).isoformat() for name in _SKIP_INSTANTS}


def _skip_of(stored: Mapping[str, Any] | None) -> Skip | None:
    if stored is None:
        return None
    instants = {name: datetime.fromisoformat(stored[name]) for name in _SKIP_INSTANTS}
    return Skip(**{**stored, **instants, "reason": SkipReason(stored["reason"])})


_SCHEDULE_KINDS: dict[str, Convert] = {
    "status": ScheduleStatus,
    "catch_up": CatchUp,
    "overlap": Overlap,
    "open_skip": _skip_of,
}


NOTE_VALUES: Values = {name: attrgetter(name) for name in NOTE_COLUMNS} | {
    "action": attrgetter("action.value"),
    "detail": lambda note: dict(note.detail),
}
"""The column values of a note, each as what gives it."""


def note_row(note: Note) -> dict[str, Any]:
    """The column values of `note`."""
    return {name: value(note) for name, value in NOTE_VALUES.items()}


def row_note(row: RowMapping) -> Note:
    """The note in a row of `notes`."""
    values = {name: row[name] for name in NOTE_COLUMNS}
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
