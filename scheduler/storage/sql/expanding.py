"""Many expansions at once: who won, their schedules moved on, and their jobs.

A storm is as many schedules as there are, all due at one instant. Of each, a row of what is new
goes to the database, and no more: what the job has from its schedule is copied there.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from operator import attrgetter
from typing import Any

from sqlalchemy import (
    ClauseElement,
    ColumnElement,
    Connection,
    Integer,
    Select,
    String,
    Update,
    literal_column,
    select,
    update,
)

from scheduler.expansion import Expansion
from scheduler.lifecycle import storable
from scheduler.model import Job, JobStatus, Schedule
from scheduler.storage.sql.dialects.on_conflict import OnConflict
from scheduler.storage.sql.driver import Prepared, Within
from scheduler.storage.sql.records import Records
from scheduler.storage.sql.rows import converted, json_skip
from scheduler.storage.sql.tables import Tables
from scheduler.storage.sql.types import to_json
from scheduler.storage.sql.wanted import UNFINISHED

_MOVED = (
    "id",
    "cursor_at",
    "next_at",
    "status",
    "error",
    "materialised",
    "last_occurrence_at",
    "open_skip",
    "revision",
    "updated_at",
)
"""What a row says of a schedule that moves on."""

_MADE = (
    "schedule_id",
    "id",
    "created_at",
    "scheduled_at",
    "occurrence_at",
    "sequence",
    "origin",
    "previous_occurrence_at",
    "missed_before",
    "serial",
)
"""What a row says of the job of a schedule."""

_COPIED = {
    "name": "job_name",
    "data": "data",
    "queue": "queue",
    "priority": "priority",
    "max_retries": "max_retries",
    "timeout": "timeout",
    "repeat": "rule",
    "concurrency_key": "concurrency_key",
}
"""What a job has from its schedule: its columns, and those of the schedule."""

_moved = attrgetter(*_MOVED)
_made = attrgetter(*_MADE)
_of_job = attrgetter("schedule_id", *_COPIED)
_of_schedule = attrgetter("id", *_COPIED.values())

_FRESH = {
    "status": JobStatus.PENDING,
    "started_at": None,
    "completed_at": None,
    "retry_count": 0,
    "error": None,
    "result": None,
    "lease": None,
    "worker": None,
}
"""What is the same of every job that is new."""

_state_of = attrgetter(*_FRESH)
_fresh = tuple(_FRESH.values())


class Expanding:
    """On the tables of one database, which reads JSON."""

    def __init__(self, database: OnConflict, tables: Tables) -> None:
        self._database = database
        self._schedules = tables.schedules
        self._jobs = tables.jobs
        self._moved = Records(database, "moved", [self._schedules.c[name] for name in _MOVED])
        self._made = Records(database, "made", [self._jobs.c[name] for name in _MADE])
        self._holds: dict[bool, Prepared] = {}
        self._busy: Prepared | None = None
        self._move: Prepared | None = None
        self._make: Prepared | None = None

    def holds(
        self, connection: Connection, schedules: Sequence[Schedule], *, wait: bool
    ) -> list[bool]:
        """Whether each is stored as it is here, and locked now; without `wait`, if nobody has it.

        Its lock is held until the transaction ends.
        """
        if wait not in self._holds:
            self._holds[wait] = Prepared(self._holding(wait=wait), connection.dialect)
        ids = [storable(each.id) for each in schedules]
        rows = Within(connection).run(self._holds[wait], {"ids": to_json(ids)})
        cursors = self._read_cursors([row[2] for row in rows])
        stored = {row[0]: (row[1], cursor) for row, cursor in zip(rows, cursors, strict=True)}
        return [
            stored.get(schedule_id) == (each.revision, each.cursor_at)
            for schedule_id, each in zip(ids, schedules, strict=True)
        ]

    def _read_cursors(self, stored: Sequence[Any]) -> Sequence[Any]:
        convert = self._database.from_driver(self._schedules.c.cursor_at)
        return stored if convert is None or not stored else converted(stored, convert)

    def busy(self, connection: Connection, schedule_ids: Collection[str]) -> list[str]:
        """Those of these schedules that have unfinished jobs."""
        if self._busy is None:
            jobs = self._jobs
            query = select(jobs.c.schedule_id).distinct()
            among = jobs.c.schedule_id.in_(self._database.texts_in("ids"))
            self._busy = Prepared(
                query.where(jobs.c.status.in_(UNFINISHED), among), connection.dialect
            )
        ids = to_json([storable(each) for each in schedule_ids])
        return [row[0] for row in Within(connection).run(self._busy, {"ids": ids})]

    def write(self, connection: Connection, expansions: Sequence[Expansion]) -> list[Job]:
        """Move the schedules on and make their jobs; the jobs that are left to be written whole.

        The schedules are held, each once, and none is changed otherwise than by being expanded.
        """
        if not expansions:
            return []
        hand = Within(connection)
        if self._move is None or self._make is None:
            self._move = Prepared(self._moving(), hand.dialect)
            self._make = Prepared(self._making(), hand.dialect)
        hand.run(self._move, self._moved.parameters(_values(each.after) for each in expansions))
        made = [(job, each.before) for each in expansions for job in each.jobs]
        copied = [job for job, schedule in made if _is_copied(job, schedule)]
        if copied:
            hand.run(self._make, self._made.parameters(map(_made, copied)))
        return [job for job, schedule in made if not _is_copied(job, schedule)]

    # --- statements ------------------------------------------------------------------------

    def _holding(self, *, wait: bool) -> Select[Any]:
        """In the order of their ids, so that two who lock the same do so in the same order."""
        schedules = self._schedules
        query = (
            select(schedules.c.id, schedules.c.revision, schedules.c.cursor_at)
            .where(schedules.c.id.in_(self._database.texts_in("ids")))
            .order_by(schedules.c.id)
        )
        return self._database.locked(query, schedules, skip=not wait)

    def _moving(self) -> Update:
        moved = self._moved.columns
        values = {name: moved[name] for name in _MOVED if name != "id"}
        return update(self._schedules).where(self._schedules.c.id == moved["id"]).values(values)

    def _making(self) -> ClauseElement:
        values: dict[str, ColumnElement[Any]] = {
            column: self._schedules.c[each] for column, each in _COPIED.items()
        }
        values |= self._made.columns
        values["status"] = literal_column(f"'{JobStatus.PENDING}'", String)
        values["retry_count"] = literal_column("0", Integer)
        of_schedule = self._schedules.c.id == self._made.columns["schedule_id"]
        made = select(*values.values()).where(of_schedule)
        insert: ClauseElement = (
            type(self._database)
            .insert(self._jobs)
            .from_select(list(values), made)
            .on_conflict_do_nothing()
        )
        return insert


def _values(after: Schedule) -> tuple[Any, ...]:
    """What is written of a schedule that moved on, in the order of _MOVED."""
    values: tuple[Any, ...] = _moved(after)
    if after.open_skip is None:
        return values
    return tuple(
        json_skip(after.open_skip) if name == "open_skip" else value
        for name, value in zip(_MOVED, values, strict=True)
    )


def _is_copied(job: Job, schedule: Schedule) -> bool:
    """Whether what `job` does not have from being made now, it has from `schedule`.

    Of JSON, the same object: equal ones may differ in how they are written.
    """
    return (
        job.data is schedule.data
        and job.repeat is schedule.rule
        and _of_job(job) == _of_schedule(schedule)
        and _state_of(job) == _fresh
    )
