"""Records put back as they are, in SQL: what a copy writes at its target.

Each kind looks up what is there under the keys it is given, compares, and inserts the rest. The
inserts are plain ones: who comes second with a key gets an IntegrityError, and looks again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, Table, and_, insert, or_, select

from scheduler.model import Attempt, Job, Note, Schedule, Skip
from scheduler.storage.records import R, new_among
from scheduler.storage.sql.rows import (
    attempt_row,
    job_row,
    note_row,
    row_attempt,
    row_job,
    row_note,
    row_schedule,
    row_skip,
    schedule_row,
    skip_row,
)
from scheduler.storage.sql.tables import Tables


class Restorer:
    """The verb `restore`, on the tables of one database; each method returns how many were new."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def jobs(self, connection: Connection, jobs: Sequence[Job], *, closely: bool) -> int:
        """With `closely`, those are found too that have the occurrence of one of `jobs`."""
        table = self._tables.jobs
        beside: ColumnElement[bool] = table.c.id.in_([job.id for job in jobs])
        if closely:
            # Only then: it asks for every schedule at every instant.
            places = [place for job in jobs if (place := job.occurrence)]
            in_place = and_(
                table.c.schedule_id.in_({schedule_id for schedule_id, _ in places}),
                table.c.occurrence_at.in_({occurrence_at for _, occurrence_at in places}),
            )
            beside = or_(beside, in_place)
        return _add(connection, table, jobs, beside, row_job, job_row)

    def schedules(self, connection: Connection, schedules: Sequence[Schedule]) -> int:
        table = self._tables.schedules
        beside = or_(
            table.c.id.in_([schedule.id for schedule in schedules]),
            table.c.name.in_([schedule.name for schedule in schedules]),
        )
        return _add(connection, table, schedules, beside, row_schedule, schedule_row)

    def skips(self, connection: Connection, skips: Sequence[Skip]) -> int:
        table = self._tables.skips
        beside = and_(
            table.c.schedule_id.in_({skip.schedule_id for skip in skips}),
            table.c.first_at.in_({skip.first_at for skip in skips}),
        )
        return _add(connection, table, skips, beside, row_skip, skip_row)

    def notes(self, connection: Connection, notes: Sequence[Note]) -> int:
        table = self._tables.notes
        beside = and_(
            table.c.schedule_id.in_({note.schedule_id for note in notes}),
            table.c.revision.in_({note.revision for note in notes}),
        )
        return _add(connection, table, notes, beside, row_note, note_row)

    def attempts(self, connection: Connection, attempts: Sequence[Attempt]) -> int:
        table = self._tables.attempts
        beside = and_(
            table.c.job_id.in_({attempt.job_id for attempt in attempts}),
            table.c.started_at.in_({attempt.started_at for attempt in attempts}),
        )
        return _add(connection, table, attempts, beside, row_attempt, attempt_row)


def _add(
    connection: Connection,
    table: Table,
    records: Sequence[R],
    beside: ColumnElement[bool],
    value_of: Callable[[RowMapping], R],
    row_of: Callable[[R], Mapping[str, Any]],
) -> int:
    """Insert those of `records` that are not among the rows that are `beside` them."""
    if not records:
        return 0
    found = connection.execute(select(table).where(beside)).mappings()
    new = new_among(records, map(value_of, found))
    if new:
        connection.execute(insert(table), [row_of(record) for record in new])
    return len(new)
