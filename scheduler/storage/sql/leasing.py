"""Leasing by prepared statements, where nothing has a limit: the way of almost every job.

The index is by priority, then by time. Walked from its start, it would lead through every job of a
low number that is due later. So the statement goes from one priority to the next, or there is one
for each.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    Integer,
    Select,
    Table,
    Update,
    any_,
    bindparam,
    exists,
    func,
    literal_column,
    select,
    true,
    update,
)

from scheduler.model import Job, JobStatus
from scheduler.storage.base import by_acquisition
from scheduler.storage.sql.dialects.on_conflict import OnConflict
from scheduler.storage.sql.driver import Convert, Hand, Prepared
from scheduler.storage.sql.rows import JobReader
from scheduler.storage.sql.wanted import Wanted, unblocked


class Leasing:
    """Which of `jobs` are next, and taking them; handlers and queue are parameters."""

    def __init__(self, database: OnConflict, jobs: Table) -> None:
        self._database = database
        self._jobs = jobs
        self._reader = JobReader(database, jobs, known=_LEASED)
        self._pending = jobs.c.status == literal_column("'pending'")
        self._unblocked = unblocked(jobs)
        self._statements: dict[tuple[bool, bool], Prepared] = {}
        self._asking: Prepared | None = None
        self._askings: dict[tuple[bool, bool], Prepared] = {}

    def next_instants(
        self,
        hand: Hand,
        handler_names: Collection[str] | None,
        queue: str | None,
        next_schedule: Select[Any],
    ) -> tuple[datetime | None, datetime | None]:
        """When the next pending job is due, and what `next_schedule` finds; None for neither."""
        shape = handler_names is not None, queue is not None
        asking = self._askings.get(shape)
        if asking is None:
            job = self._next(*shape).scalar_subquery()
            both = select(job, next_schedule.scalar_subquery())
            asking = self._askings[shape] = Prepared(both, hand.dialect)
        names = self._database.listed(handler_names or ())
        [[job_at, schedule_at]] = hand.run(asking, {"names": names, "queue": queue})
        convert = self._database.from_driver(self._jobs.c.scheduled_at)
        return _instant(job_at, convert), _instant(schedule_at, convert)

    def _next(self, is_named: bool, is_queued: bool) -> Select[Any]:
        at = self._jobs.c.scheduled_at
        query = select(at).where(self._pending, *self._shaped(is_named, is_queued))
        return query.order_by(at).limit(literal_column("1"))

    def _shaped(self, is_named: bool, is_queued: bool) -> Iterator[ColumnElement[bool]]:
        """What a job has to be where parameters name the handlers, and the queue."""
        yield self._unblocked
        if is_named:
            yield self._database.among(self._jobs.c.name, "names")
        if is_queued:
            yield self._jobs.c.queue == bindparam("queue")

    def is_one_statement(self, wanted: Wanted) -> bool:
        """Whether `take` is all there is to do, by one statement."""
        return wanted.is_plain and self._database.has_lateral

    def is_due(self, hand: Hand, now: datetime) -> bool:
        """Whether any pending job is due; nothing is locked to see it."""
        return bool(self._due_levels(hand, now))

    def take(self, hand: Hand, wanted: Wanted) -> list[Job]:
        """Up to `n` due jobs, leased, in order of acquisition. The jobs wanted are plain."""
        values = {
            **wanted.leased,
            "now": wanted.now,
            "names": self._database.listed(wanted.handler_names or ()),
            "queue": wanted.queue,
        }
        levels: Sequence[int | None] = [None]
        if not self._database.has_lateral:
            levels = self._due_levels(hand, wanted.now)
        statement = self._statement(hand, wanted)
        taken: list[Job] = []
        for level in levels:
            if len(taken) < wanted.n:
                left = wanted.n - len(taken)
                rows = hand.run(statement, {**values, "priority": level, "n": left})
                taken += self._reader.jobs(rows, wanted.leased)
        return sorted(taken, key=by_acquisition)  # RETURNING promises no order

    def _due_levels(self, hand: Hand, now: datetime) -> list[int]:
        """The priorities of the jobs that are due, ascending."""
        if self._asking is None:
            levels, jobs = self._levels(), self._jobs
            is_due = exists().where(
                self._pending,
                jobs.c.priority == levels.c.priority,
                jobs.c.scheduled_at <= bindparam("now"),
            )
            self._asking = Prepared(select(levels.c.priority).where(is_due), hand.dialect)
        return [row[0] for row in hand.run(self._asking, {"now": now})]

    def _statement(self, hand: Hand, wanted: Wanted) -> Prepared:
        shape = wanted.handler_names is not None, wanted.queue is not None
        found = self._statements.get(shape)
        if found is None:
            found = self._statements[shape] = Prepared(self._taking(*shape), hand.dialect)
        return found

    def _taking(self, is_named: bool, is_queued: bool) -> Update:
        """What leases the first due jobs, where a parameter names the handlers, and the queue."""
        jobs, n = self._jobs, bindparam("n", type_=Integer)
        place = self._database.place(jobs)
        due = select(jobs.c.id).where(
            self._pending,
            jobs.c.scheduled_at <= bindparam("now"),
            *self._shaped(is_named, is_queued),
        )
        due = due.order_by(jobs.c.scheduled_at, jobs.c.id).limit(n)
        take = update(jobs).where(self._pending).values(_LEASED)
        if not self._database.has_lateral:
            due = due.where(jobs.c.priority == bindparam("priority", type_=Integer))
            return take.where(place.in_(due.with_only_columns(place))).returning(
                *self._reader.columns
            )
        levels = self._levels()
        of_level = due.with_only_columns(place).where(jobs.c.priority == levels.c.priority)
        first = self._database.locked(of_level, jobs, skip=True).lateral("first")
        found = select(first.c[place.name]).select_from(levels.join(first, true())).limit(n)
        # By where the rows are, which are locked: there is no join to plan well or badly. The state
        # is repeated so that no index of what is pending seems a way to them.
        places = func.array(found.scalar_subquery())
        take = update(jobs).where(func.coalesce(jobs.c.status, "") == JobStatus.PENDING.value)
        return take.values(_LEASED).where(place == any_(places)).returning(*self._reader.columns)

    def _levels(self) -> CTE:
        """The priorities of the pending jobs, ascending, found one from the other."""
        jobs = self._jobs
        levels = (
            select(func.min(jobs.c.priority).label("priority"))
            .where(self._pending)
            .cte("levels", recursive=True)
        )
        higher = jobs.alias("higher")
        following = select(func.min(higher.c.priority)).where(
            higher.c.status == literal_column("'pending'"), higher.c.priority > levels.c.priority
        )
        return levels.union_all(
            select(following.scalar_subquery()).where(levels.c.priority.is_not(None))
        )


def _instant(stored: Any, convert: Convert | None) -> datetime | None:
    at: datetime | None = stored if stored is None or convert is None else convert(stored)
    return at


_LEASED: dict[str, Any] = {
    "status": JobStatus.PROCESSING.value,
    "started_at": bindparam("started_at"),
    "completed_at": None,
    "lease_token": bindparam("lease_token"),
    "lease_expires_at": bindparam("lease_expires_at"),
    "worker": bindparam("worker"),
}
"""What `Wanted.leased` says, as the hot statement sets it."""
