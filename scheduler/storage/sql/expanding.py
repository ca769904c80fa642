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
    Column,
    ColumnElement,
    Connection,
    Integer,
    String,
    Update,
    literal_column,
    select,
    update,
)

from scheduler.expansion import Expansion
from scheduler.lifecycle import storable
from scheduler.model import Job, JobStatus, Schedule
from scheduler.storage.sql.acquisition import UNFINISHED
from scheduler.storage.sql.dialects.on_conflict import OnConflict
from scheduler.storage.sql.driver import Prepared, Within
from scheduler.storage.sql.records import Records
from scheduler.storage.sql.rows import json_skip
from scheduler.storage.sql.tables import Tables
from scheduler.storage.sql.types import to_json

_MOVED = (
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
"""What is written of a schedule that moves on."""

_WAS = ("revision", "cursor_at")
"""What a schedule is still to have, so that it is moved on."""

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

_moved = attrgetter(
    "before.id", *(f"before.{name}" for name in _WAS), *(f"after.{name}" for name in _MOVED)
)
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
        self._schedules = schedules = tables.schedules
        self._jobs = tables.jobs
        columns = [
            schedules.c.id,
            *(Column(f"was_{name}", schedules.c[name].type) for name in _WAS),
            *(schedules.c[name] for name in _MOVED),
        ]
        self._moved = Records(
            database, "moved", columns, json=lambda skip: to_json(json_skip(skip))
        )
        self._made = Records(database, "made", [self._jobs.c[name] for name in _MADE])
        self._moves: dict[bool, Prepared] = {}
        self._busy: Prepared | None = None
        self._make: Prepared | None = None

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

    def move(
        self, connection: Connection, expansions: Sequence[Expansion], *, wait: bool
    ) -> list[bool]:
        """Move on each schedule that is stored as it was, and lock it; whether it was.

        Without `wait`, one that another holds stays. The schedules are each once, and none is
        changed otherwise than by being expanded.
        """
        hand = Within(connection)
        if wait not in self._moves:
            self._moves[wait] = Prepared(self._moving(wait=wait), hand.dialect)
        rows = hand.run(self._moves[wait], self._moved.parameters(map(_moved, expansions)))
        moved = {row[0] for row in rows}
        return [storable(each.before.id) in moved for each in expansions]

    def make(self, connection: Connection, expansions: Sequence[Expansion]) -> list[Job]:
        """Make the jobs of schedules that moved on; those that are left to be written whole."""
        copied: list[Job] = []
        left: list[Job] = []
        for each in expansions:
            for job in each.jobs:
                (copied if _is_copied(job, each.before) else left).append(job)
        if copied:
            hand = Within(connection)
            self._make = self._make or Prepared(self._making(), hand.dialect)
            hand.run(self._make, self._made.parameters(map(_made, copied)))
        return left

    # --- statements ------------------------------------------------------------------------

    def _moving(self, *, wait: bool) -> Update:
        schedules, moved = self._schedules, self._moved.columns
        as_it_was = [schedules.c.id == moved["id"]]
        as_it_was += [schedules.c[name] == moved[f"was_{name}"] for name in _WAS]
        values = {name: moved[name] for name in _MOVED}
        if not self._database.has_lateral:  # nor are there locks
            move = update(schedules).where(*as_it_was).values(values)
            return move.returning(schedules.c.id)
        # Locked in the order of their ids, so that two who lock the same do so in the same order;
        # then written by where they are.
        place = self._database.place(schedules)
        named = [value.label(name) for name, value in values.items()]
        found = select(place.label("place"), *named).where(*as_it_was).order_by(schedules.c.id)
        held = self._database.locked(found, schedules, skip=not wait).cte("held")
        move = update(schedules).values({name: held.c[name] for name in _MOVED})
        return move.where(place == held.c.place).returning(schedules.c.id)

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
