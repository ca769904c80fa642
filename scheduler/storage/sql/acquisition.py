"""Acquisition in SQL: which jobs are next, and taking them.

One statement takes the first due rows, locked, those that others hold left out, and repeats the
state predicate in its UPDATE, so that a row is never taken twice even where the lock is ignored.
Where names have limits, it is told which of their jobs it may take: they are chosen before, under
the locks of flows.py. Jobs that have waited too long are a stretch of their own, which goes first.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    literal_column,
    or_,
    select,
    update,
)

from scheduler import lifecycle
from scheduler.flow import FlowKey, Limit, admit, key_of
from scheduler.model import Job
from scheduler.storage.sql.dialects import Database
from scheduler.storage.sql.dialects.on_conflict import OnConflict
from scheduler.storage.sql.driver import Within
from scheduler.storage.sql.flows import Flows, Running, Starts
from scheduler.storage.sql.leasing import Leasing
from scheduler.storage.sql.parts import LONGEST
from scheduler.storage.sql.rows import JOB_COLUMNS, row_jobs
from scheduler.storage.sql.tables import Tables
from scheduler.storage.sql.wanted import Wanted, unblocked

_ROUNDS = 10
"""How often it is looked past keys that turned out to be full, before the rest has to wait."""


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
        self._pending = jobs.c.status == literal_column("'pending'")
        self._unblocked = unblocked(jobs)
        self.leasing: Leasing | None = None
        if isinstance(database, OnConflict):
            self.leasing = Leasing(database, jobs)

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

    def acquire(self, connection: Connection, wanted: Wanted) -> list[Job]:
        """Up to `n` due jobs, leased, in order of acquisition."""
        if self.leasing is not None and wanted.is_plain:
            return self.leasing.take(Within(connection), wanted)
        limited = wanted.limited
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

    # --- taking ----------------------------------------------------------------------------

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
