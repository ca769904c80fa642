"""Many expansions at once: who won, their schedules moved on, and their jobs.

A storm is as many schedules as there are, all due at one instant. Of each, a row of what is new
goes to the database, and no more: what the job has from its schedule is copied there.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import compress
from operator import attrgetter
from typing import Any

from sqlalchemy import (
    ClauseElement,
    Column,
    ColumnElement,
    Connection,
    Insert,
    Integer,
    Select,
    String,
    literal_column,
    select,
    true,
    update,
)

from scheduler.expansion import Expansion
from scheduler.lifecycle import storable
from scheduler.model import Job, JobStatus, Schedule
from scheduler.storage.sql.dialects.on_conflict import OnConflict
from scheduler.storage.sql.driver import Prepared, Within
from scheduler.storage.sql.records import Records
from scheduler.storage.sql.rows import json_skip
from scheduler.storage.sql.tables import Tables
from scheduler.storage.sql.types import to_json
from scheduler.storage.sql.wanted import UNFINISHED

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
"""What is new of a job of a schedule."""

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
_OF_JOB = tuple(f"job_{name}" for name in _MADE)
_STAYS = (None,) * (len(_WAS) + len(_MOVED))
_NO_JOB = (None,) * len(_MADE)
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
    """On the tables of one database, which reads JSON.

    A record is of one schedule, and of a job of it: the first, which most have and no other.
    """

    def __init__(self, database: OnConflict, tables: Tables) -> None:
        self._database = database
        self._schedules = schedules = tables.schedules
        self._jobs = jobs = tables.jobs
        columns = [
            schedules.c.id,
            *(Column(f"was_{name}", schedules.c[name].type) for name in _WAS),
            *(schedules.c[name] for name in _MOVED),
            *(Column(f"job_{name}", jobs.c[name].type) for name in _MADE),
        ]
        self._records = Records(
            database, "moved", columns, json=lambda skip: to_json(json_skip(skip))
        )
        self._moves: dict[bool, Prepared] = {}
        self._busy: Prepared | None = None
        self._make: Prepared | None = None

    def busy(self, connection: Connection, schedule_ids: Collection[str]) -> list[str]:
        """Those of these schedules that have unfinished jobs."""
        if self._busy is None:
            self._busy = Prepared(self._asking_busy(), connection.dialect)
        ids = to_json([storable(each) for each in schedule_ids])
        return [row[0] for row in Within(connection).run(self._busy, {"ids": ids})]

    def record(
        self, connection: Connection, expansions: Sequence[Expansion], *, wait: bool
    ) -> tuple[list[bool], list[Job]]:
        """Move on each schedule that is stored as it was, lock it, and make its jobs.

        Whether each was, and those jobs that are left to be written whole. Without `wait`, a
        schedule that another holds stays. They are each once, and none is changed otherwise than
        by being expanded.
        """
        hand = Within(connection)
        if wait not in self._moves or self._make is None:
            self._moves[wait] = Prepared(self._moving(wait=wait), hand.dialect)
            self._make = Prepared(self._making(), hand.dialect)
        firsts = [_first(each) for each in expansions]
        rows: list[tuple[Any, ...]] = [
            (*_moved(each), *(_NO_JOB if first is None else _made(first)))
            for each, first in zip(expansions, firsts, strict=True)
        ]
        given = self._records.parameters(rows)
        moved = {row[0] for row in hand.run(self._moves[wait], given)}
        won = [storable(each.before.id) in moved for each in expansions]
        if moved and not self._database.writes_within:
            if not all(won):
                given = self._records.parameters(list(compress(rows, won)))
            hand.run(self._make, given)
        rest = [
            (job, each.before)
            for each, first in compress(zip(expansions, firsts, strict=True), won)
            for job in (each.jobs if first is None else each.jobs[1:])
        ]
        copied = [job for job, schedule in rest if _is_copied(job, schedule)]
        if copied:
            rows = [(job.schedule_id, *_STAYS, *_made(job)) for job in copied]
            hand.run(self._make, self._records.parameters(rows))
        return won, [job for job, schedule in rest if not _is_copied(job, schedule)]

    # --- statements ------------------------------------------------------------------------

    def _asking_busy(self) -> Select[Any]:
        """Which of the schedules in the parameter `ids` have unfinished jobs."""
        jobs = self._jobs
        unfinished = jobs.c.status.in_(UNFINISHED)
        ids = self._database.texts_in("ids")
        if not self._database.has_lateral:
            return (
                select(jobs.c.schedule_id).distinct().where(unfinished, jobs.c.schedule_id.in_(ids))
            )
        # Each is looked up, whatever the planner believes of how many jobs there are: it would
        # rather walk through all that are unfinished, in a storm ever more.
        given = ids.subquery("given")
        [schedule_id] = given.c
        one: ColumnElement[int] = literal_column("1")
        first = select(one).where(unfinished, jobs.c.schedule_id == schedule_id)
        found = first.limit(one).lateral("first")
        return select(schedule_id).select_from(given.join(found, true()))

    def _moving(self, *, wait: bool) -> ClauseElement:
        """Moves schedules on, and makes their jobs where it can; the ids of those that moved."""
        schedules, moved = self._schedules, self._records.columns
        as_it_was = [schedules.c.id == moved["id"]]
        as_it_was += [schedules.c[name] == moved[f"was_{name}"] for name in _WAS]
        move = update(schedules)
        if not self._database.writes_within:  # nor are there locks
            values = {name: moved[name] for name in _MOVED}
            return move.where(*as_it_was).values(values).returning(schedules.c.id)
        # Locked in the order of their ids, so that two who lock the same do so in the same order;
        # then written by where they are.
        place = self._database.place(schedules)
        found = select(
            place.label("place"), *(moved[name].label(name) for name in (*_MOVED, *_OF_JOB))
        )
        ordered = found.where(*as_it_was).order_by(schedules.c.id)
        held = self._database.locked(ordered, schedules, skip=not wait).cte("held")
        there = move.where(place == held.c.place).values({name: held.c[name] for name in _MOVED})
        of_schedule = (schedules.c[name] for name in ("id", *_COPIED.values()))
        gone = there.returning(*of_schedule, *(held.c[name] for name in _OF_JOB)).cte("gone")
        return select(gone.c.id).add_cte(self._insert(gone.c, gone.c).cte("made"))

    def _making(self) -> Insert:
        schedules, moved = self._schedules, self._records.columns
        return self._insert(schedules.c, moved, schedules.c.id == moved["id"])

    def _insert(self, schedules: Any, records: Any, *where: ColumnElement[bool]) -> Insert:
        """Inserts the jobs of `records`, each with what it has from its schedule."""
        values: dict[str, ColumnElement[Any]] = {
            "schedule_id": schedules["id"],
            **{column: schedules[each] for column, each in _COPIED.items()},
            **{name: records[each] for name, each in zip(_MADE, _OF_JOB, strict=True)},
            "status": literal_column(f"'{JobStatus.PENDING}'", String),
            "retry_count": literal_column("0", Integer),
        }
        made = select(*values.values()).where(records["job_id"].is_not(None), *where)
        new = type(self._database).insert(self._jobs).from_select(list(values), made)
        insert: Insert = new.on_conflict_do_nothing()
        return insert


def _first(expansion: Expansion) -> Job | None:
    """The first job of an expansion, if it is one that its schedule is copied to."""
    if expansion.jobs and _is_copied(expansion.jobs[0], expansion.before):
        return expansion.jobs[0]
    return None


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
