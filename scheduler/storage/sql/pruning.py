"""Pruning in SQL: removing finished jobs, step by step along the primary key.

No index leads to the jobs that ended: each completion would have to write it. Ids sort by time, so
the oldest jobs lie in front, and a step looks at so many rows of the primary key, whatever they
are. It looks without a lock, and writes only where something is to go: by id, past the rows
that others hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    case,
    delete,
    exists,
    false,
    func,
    literal_column,
    or_,
    select,
)

from scheduler.model import JobStatus
from scheduler.storage.sql.dialects import Database
from scheduler.storage.sql.parts import parts
from scheduler.storage.sql.tables import Tables

EndedBefore = Mapping[JobStatus, datetime]


class Step(NamedTuple):
    """How many jobs a step looks at, how many of them go, and the last one's id."""

    looked_at: int
    going: int
    last_id: str | None


class Pruning:
    """Looking for jobs that may go, and removing them, on the tables of one database."""

    def __init__(self, database: Database, tables: Tables) -> None:
        self._database = database
        self._jobs = jobs = tables.jobs
        self._attempts = tables.attempts
        schedules = tables.schedules
        # As storage.base.can_spare.
        self._is_spared = ~exists().where(
            schedules.c.id == jobs.c.schedule_id,
            or_(
                schedules.c.last_occurrence_at == jobs.c.occurrence_at,
                schedules.c.cursor_at < jobs.c.occurrence_at,
            ),
        )

    def look(
        self,
        connection: Connection,
        ended_before: EndedBefore,
        limit: int,
        after_id: str | None,
        before_id: str | None,
    ) -> Step:
        """What there is to do for a step."""
        if limit < 1:  # which a database takes for no limit, or refuses
            return Step(0, 0, None)
        jobs = self._jobs
        goes = case((self._goes(ended_before), 1), else_=0).label("goes")
        query = select(jobs.c.id, goes).order_by(jobs.c.id).limit(limit)
        if after_id is not None:
            query = query.where(jobs.c.id > after_id)
        if before_id is not None:
            query = query.where(jobs.c.id < before_id)
        page = query.subquery("page")
        found = select(func.count(), func.sum(page.c.goes), func.max(page.c.id)).select_from(page)
        looked_at, going, last_id = connection.execute(found).one()
        return Step(looked_at, int(going or 0), last_id)

    def remove(
        self,
        connection: Connection,
        ended_before: EndedBefore,
        after_id: str | None,
        last_id: str | None,
    ) -> int:
        """Remove what goes of the jobs above `after_id` and up to `last_id`; how many."""
        jobs, attempts = self._jobs, self._attempts
        # What a crash brings back goes the next time; who takes jobs does not wait for the disk.
        self._database.commit_early(connection)
        within = tuple(_between(jobs.c.id, after_id, last_id))
        going = select(jobs.c.id).where(*within, self._goes(ended_before))
        removed = self._remove(connection, self._database.locked(going, jobs, skip=True))
        # Within the step also there: else a plan may begin with all the jobs that there are.
        has_job = exists().where(jobs.c.id == attempts.c.job_id, *within)
        orphans = (*_between(attempts.c.job_id, after_id, last_id), ~has_job)
        connection.execute(delete(attempts).where(*orphans))
        return removed

    def _remove(self, connection: Connection, going: Select[Any]) -> int:
        jobs = self._jobs
        if self._database.updates_return:  # it takes what is locked in the statement that writes
            return connection.execute(delete(jobs).where(jobs.c.id.in_(going))).rowcount
        found = list(connection.scalars(going))
        for part in parts(found):
            connection.execute(delete(jobs).where(jobs.c.id.in_(part)))
        return len(found)

    def _goes(self, ended_before: EndedBefore) -> ColumnElement[bool]:
        """As storage.base.is_prunable."""
        jobs = self._jobs
        ended = [
            and_(jobs.c.status == literal_column(f"'{status.value}'"), jobs.c.completed_at < moment)
            for status, moment in ended_before.items()
        ]
        return and_(or_(false(), *ended), self._is_spared)


def _between(
    column: ColumnElement[str], after: str | None, last: str | None
) -> Iterator[ColumnElement[bool]]:
    """That it is above `after`, and not above `last`; None is no bound."""
    if after is not None:
        yield column > after
    if last is not None:
        yield column <= last
