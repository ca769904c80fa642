"""Acquisition in SQL: which jobs are next, and taking them.

One statement takes the first due rows, locked, those that others hold left out, and repeats the
state predicate in its UPDATE, so that a row is never taken twice even where the lock is ignored.
Where names have limits, it is told which of their jobs it may take: they are chosen before, under
the locks of flows.py. Jobs that have waited too long are a stretch of their own, which goes first.

The index is by priority, then by time. Walked from its start, it would lead through every job of a
low number that is due later. So the hot statement goes from one priority to the next.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    Connection,
    Integer,
    Select,
    Update,
    any_,
    bindparam,
    exists,
    func,
    literal_column,
    or_,
    select,
    true,
    update,
)

from scheduler import lifecycle
from scheduler.flow import FlowKey, Limit, admit, key_of
from scheduler.model import Job, JobStatus, Lease
from scheduler.storage.base import by_acquisition, by_age
from scheduler.storage.sql.dialects import Database
from scheduler.storage.sql.driver import Hand, Prepared, Within
from scheduler.storage.sql.flows import Flows, Running, Starts
from scheduler.storage.sql.parts import LONGEST
from scheduler.storage.sql.rows import JOB_COLUMNS, Convert, JobReader, row_jobs
from scheduler.storage.sql.tables import Tables

UNFINISHED: list[ColumnElement[str]] = [
    literal_column("'pending'"),
    literal_column("'processing'"),
]
"""Literals, not parameters: a partial index serves only a predicate the planner can read."""

_ROUNDS = 10
"""How often it is looked past keys that turned out to be full, before the rest has to wait."""


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
        """What the row of a job says that is leased, by column."""
        return {
            "status": JobStatus.PROCESSING.value,
            "started_at": self.now,
            "completed_at": None,
            "lease_token": self.lease.token,
            "lease_expires_at": self.lease.expires_at,
            "worker": self.worker,
        }

    @property
    def limited(self) -> dict[str, Limit]:
        """The limits of the names that are asked for."""
        names = self.handler_names
        return {n: limit for n, limit in self.limits.items() if names is None or n in names}

    def turn(self, job: Job) -> tuple[bool, tuple[Any, ...]]:
        """What `job` is ordered by."""
        is_aged = self.aged_before is not None and job.scheduled_at < self.aged_before
        return not is_aged, by_age(job) if is_aged else by_acquisition(job)


@dataclass(frozen=True, slots=True)
class _Chosen:
    """Which jobs of limited names may be taken, and what was counted to say so."""

    jobs: Sequence[Job]
    running: Running
    starts: Starts


class Acquisition:
    """Which jobs are next, and taking them, on the tables of one database."""

    def __init__(self, database: Database, tables: Tables) -> None:
        self._database = database
        self._jobs = jobs = tables.jobs
        self._flows = Flows(database, tables)
        self._columns = [jobs.c[name] for name in JOB_COLUMNS]
        self._statements: dict[tuple[bool, bool], Prepared] = {}
        self._asking: Prepared | None = None
        self._askings: dict[tuple[bool, bool], Prepared] = {}
        self._pending = jobs.c.status == literal_column("'pending'")
        earlier = jobs.alias("earlier")
        # Not only by `serial`: what precedes a job may be of a revision that let its jobs overlap.
        self._unblocked = or_(
            ~jobs.c.serial,
            ~exists().where(
                earlier.c.status.in_(UNFINISHED),
                earlier.c.schedule_id == jobs.c.schedule_id,
                earlier.c.occurrence_at < jobs.c.occurrence_at,
                earlier.c.sequence.is_not(None),
            ),
        )

    def next_at(
        self,
        connection: Connection,
        handler_names: Collection[str] | None,
        queue: str | None,
        after: datetime | None,
    ) -> datetime | None:
        at = self._jobs.c.scheduled_at
        matching = self._matching(handler_names, queue)
        query = select(at).where(self._pending, *matching, self._unblocked).order_by(at).limit(1)
        return connection.scalar(query if after is None else query.where(at > after))

    def next_instants(
        self,
        hand: Hand,
        handler_names: Collection[str] | None,
        queue: str | None,
        next_schedule: Select[Any],
    ) -> tuple[datetime | None, datetime | None]:
        """As `next_at`, and what `next_schedule` finds, by one statement of the driver's."""
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
        return self._is_plain(wanted) and self._database.has_lateral

    def is_due(self, hand: Hand, now: datetime) -> bool:
        """Whether any pending job is due; nothing is locked to see it."""
        return bool(self._due_levels(hand, now))

    def acquire(self, connection: Connection, wanted: Wanted) -> list[Job]:
        """Up to `n` due jobs, leased, in order of acquisition."""
        limited = wanted.limited
        if self._is_plain(wanted):
            return self.take(Within(connection), wanted)
        if not limited:
            return self._take(connection, wanted)
        # A statement takes so many parameters; what is beyond is left to the next call.
        chosen = self._choose(connection, min(wanted.n, LONGEST), wanted, limited)
        may_start: ColumnElement[bool] = self._jobs.c.name.not_in(list(limited))
        if chosen.jobs:
            may_start = or_(may_start, self._jobs.c.id.in_([job.id for job in chosen.jobs]))
        taken = self._take(connection, wanted, may_start)
        if self._database.locks_in_passing and len(taken) < wanted.n:
            taken += self._take_rest(connection, wanted, chosen.jobs, taken)
            taken.sort(key=wanted.turn)
        admitted = admit(
            taken,
            wanted.n,
            limits=limited,
            running=chosen.running,
            starts=chosen.starts,
            now=wanted.now,
        )
        self._flows.record(connection, admitted.starts)
        return taken

    def _is_plain(self, wanted: Wanted) -> bool:
        """Whether `take` can do it: nothing has a limit, or has waited too long."""
        return self._database.is_driven and wanted.aged_before is None and not wanted.limited

    # --- taking ----------------------------------------------------------------------------

    def take(self, hand: Hand, wanted: Wanted) -> list[Job]:
        """As `acquire`, by the hot statement: for each priority where it goes through one."""
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
                taken += self._reader.jobs(rows)
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

    @cached_property
    def _reader(self) -> JobReader:
        return JobReader(self._jobs, self._database.from_driver)

    def _statement(self, hand: Hand, wanted: Wanted) -> Prepared:
        shape = wanted.handler_names is not None, wanted.queue is not None
        found = self._statements.get(shape)
        if found is None:
            found = self._statements[shape] = Prepared(self._taking(*shape), hand.dialect)
        return found

    def _taking(self, is_named: bool, is_queued: bool) -> Update:
        """What leases the first due jobs, where a parameter names the handlers, and the queue."""
        jobs, n = self._jobs, bindparam("n", type_=Integer)
        due = select(jobs.c.id).where(
            self._pending,
            jobs.c.scheduled_at <= bindparam("now"),
            *self._shaped(is_named, is_queued),
        )
        due = due.order_by(jobs.c.scheduled_at, jobs.c.id).limit(n)
        take = update(jobs).where(self._pending).values(_LEASED)
        if not self._database.has_lateral:
            due = due.where(jobs.c.priority == bindparam("priority", type_=Integer))
            return take.where(jobs.c.id.in_(due)).returning(*self._columns)
        levels, place = self._levels(), self._database.place(jobs)
        of_level = due.with_only_columns(place).where(jobs.c.priority == levels.c.priority)
        first = self._database.locked(of_level, jobs, skip=True).lateral("first")
        found = select(first.c[place.name]).select_from(levels.join(first, true())).limit(n)
        # By where the rows are, which are locked: there is no join to plan well or badly. The state
        # is repeated so that no index of what is pending seems a way to them.
        places = func.array(found.scalar_subquery())
        take = update(jobs).where(func.coalesce(jobs.c.status, "") == JobStatus.PENDING.value)
        return take.values(_LEASED).where(place == any_(places)).returning(*self._columns)

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

    def _take(
        self, connection: Connection, wanted: Wanted, *among: ColumnElement[bool]
    ) -> list[Job]:
        taken: list[Job] = []
        for stretch in self._stretches(wanted):
            if len(taken) < wanted.n:
                due = stretch.where(*among).limit(wanted.n - len(taken))
                locked = self._database.locked(due, self._jobs, skip=True)
                taken += self._take_these(connection, locked, wanted)
        # RETURNING promises no order.
        return sorted(taken, key=wanted.turn)

    def _take_rest(
        self, connection: Connection, wanted: Wanted, chosen: Sequence[Job], taken: Sequence[Job]
    ) -> list[Job]:
        """Those that were chosen and not taken: who passed them by had them locked for a moment."""
        left = {job.id for job in chosen} - {job.id for job in taken}
        if not left:
            return []
        due = select(*self._columns).where(self._pending, self._jobs.c.id.in_(sorted(left)))
        room = due.order_by(self._jobs.c.id).limit(wanted.n - len(taken))
        return self._take_these(connection, self._database.locked(room, self._jobs), wanted)

    def _take_these(self, connection: Connection, due: Select[Any], wanted: Wanted) -> list[Job]:
        leased = wanted.leased
        if self._database.updates_return:
            ids = due.with_only_columns(self._jobs.c.id).cte("due")
            take = update(self._jobs).where(self._jobs.c.id.in_(select(ids.c.id)), self._pending)
            returning = take.values(leased).returning(*self._columns)
            return row_jobs(connection.execute(returning))
        found = row_jobs(connection.execute(due))
        if found:
            take = update(self._jobs).where(self._jobs.c.id.in_([job.id for job in found]))
            connection.execute(take.where(self._pending).values(leased))
        lease, worker, now = wanted.lease, wanted.worker, wanted.now
        return [lifecycle.acquire(job, lease, worker=worker, now=now) for job in found]

    def _stretches(self, wanted: Wanted) -> Iterator[Select[Any]]:
        """The jobs that are due, in order: those that have waited too long, and then the rest."""
        jobs = self._jobs
        due = select(*self._columns).where(
            self._pending,
            jobs.c.scheduled_at <= wanted.now,
            *self._matching(wanted.handler_names, wanted.queue),
            self._unblocked,
        )
        if wanted.aged_before is not None:
            aged = due.where(jobs.c.scheduled_at < wanted.aged_before)
            yield aged.order_by(jobs.c.scheduled_at, jobs.c.id)
            due = due.where(jobs.c.scheduled_at >= wanted.aged_before)
        yield due.order_by(jobs.c.priority, jobs.c.scheduled_at, jobs.c.id)

    def _matching(
        self, handler_names: Collection[str] | None, queue: str | None
    ) -> Iterator[ColumnElement[bool]]:
        if handler_names is not None:
            yield self._jobs.c.name.in_(handler_names)
        if queue is not None:
            yield self._jobs.c.queue == queue

    # --- limits ----------------------------------------------------------------------------

    def _choose(
        self, connection: Connection, n: int, wanted: Wanted, limits: Mapping[str, Limit]
    ) -> _Chosen:
        """The first `n` jobs of limited names that may start; their keys are held from now on.

        Keys that are full, or that another is busy with, are passed over, and then it is looked
        behind them. What is chosen of a key that is full by that is kept for the next look.
        """
        passed = self._flows.full(connection, limits, wanted.now)
        starts: dict[FlowKey, Sequence[datetime]] = {}
        running: Running = {}
        chosen: Sequence[Job] = ()
        kept: list[Job] = []
        for _ in range(_ROUNDS):
            found = self._first(connection, n, wanted, limits, passed)
            if new := {key_of(job) for job in found} - starts.keys() - passed:
                starts |= self._flows.hold(connection, new)
                passed |= new - starts.keys()
                running = self._flows.running(connection, limits)
                # What was seen before it was held may be another's by now.
                found = self._first(connection, n, wanted, limits, passed)
            ours = [job for job in found if key_of(job) in starts.keys() - passed]
            chosen = admit(
                sorted([*kept, *ours], key=wanted.turn),
                n,
                limits=limits,
                running=running,
                starts=starts,
                now=wanted.now,
            ).jobs
            if len(chosen) == n or len(ours) == len(found) < n:
                break
            taken = {job.id for job in chosen}
            passed |= {key_of(job) for job in ours if job.id not in taken}
            kept = [job for job in chosen if key_of(job) in passed]
        return _Chosen(chosen, running, starts)

    def _first(
        self,
        connection: Connection,
        n: int,
        wanted: Wanted,
        names: Collection[str],
        passed: Collection[FlowKey],
    ) -> list[Job]:
        """The first `n` due jobs of these names, but for those of the keys that are passed over."""
        among = (self._jobs.c.name.in_(list(names)), *self._flows.none_of(passed))
        found: list[Job] = []
        for stretch in self._stretches(wanted):
            if len(found) < n:
                first = stretch.where(*among).limit(n - len(found))
                found += row_jobs(connection.execute(first))
        return found


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
