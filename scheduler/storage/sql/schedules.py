"""The schedules' half of the interface in SQL: schedules, what they expand to, and what they skip.

Each method is one verb, on a connection whose transaction SQLStorage opens and ends. A write
holds only if revision and cursor are those it began from: who lost the race changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from itertools import compress
from typing import Any

from sqlalchemy import (
    Connection,
    String,
    bindparam,
    delete,
    insert,
    literal_column,
    select,
    update,
)

from scheduler import faults
from scheduler.errors import StaleSchedule
from scheduler.expansion import Expansion
from scheduler.model import Declaration, Job, Note, Schedule, Skip
from scheduler.storage.sql.dialects import Database
from scheduler.storage.sql.dialects.on_conflict import OnConflict
from scheduler.storage.sql.driven import DrivenSchedules
from scheduler.storage.sql.driver import Within
from scheduler.storage.sql.parts import parts, slices
from scheduler.storage.sql.rows import (
    ScheduleReader,
    declaration_row,
    job_row,
    note_row,
    only,
    row_declaration,
    row_note,
    row_skip,
    schedule_row,
    skip_row,
)
from scheduler.storage.sql.tables import Tables

_EXPANDED = (
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
_CANCELLED = ("status", "completed_at", "lease_token", "lease_expires_at")


class ScheduleVerbs:
    """The verbs of schedules, on the tables of one database."""

    def __init__(self, database: Database, tables: Tables) -> None:
        self._database = database
        self._tables = tables
        self._schedules = schedules = tables.schedules
        self._reader = ScheduleReader(database, schedules)
        self._driven: DrivenSchedules | None = None
        if isinstance(database, OnConflict):
            self._driven = DrivenSchedules(database, tables)
        # A literal, not a parameter: a partial index serves only what the planner can read.
        live = [literal_column("'active'", String), literal_column("'paused'", String)]
        self._live = schedules.c.status.in_(live)
        at = schedules.c.next_at
        self.next = select(at).where(self._live, at.is_not(None)).order_by(at).limit(1)
        due = self._reader.query.where(self._live, at <= bindparam("now"))
        # Of a storm, all are due at one instant: where the index is read in its order, there is
        # nothing to sort for each batch; elsewhere ids make it one order.
        order = [at] if self._driven is not None else [at, schedules.c.id]
        self._due = due.order_by(*order)
        # Executed with many rows: the keys of a row beyond the bound ones are what is SET.
        self._expand = update(schedules).where(
            schedules.c.id == bindparam("expanded_id"),
            schedules.c.revision == bindparam("expanded_revision"),
            schedules.c.cursor_at == bindparam("expanded_cursor_at"),
        )
        self._cancel = update(tables.jobs).where(
            tables.jobs.c.id == bindparam("cancelled_id"),
            tables.jobs.c.status == bindparam("cancelled_from"),
        )

    def save(self, connection: Connection, schedule: Schedule) -> None:
        if schedule.revision == 1:
            connection.execute(insert(self._schedules), [schedule_row(schedule)])
            return
        write = update(self._schedules).where(
            self._schedules.c.id == schedule.id,
            self._schedules.c.revision == schedule.revision - 1,
            self._schedules.c.cursor_at <= schedule.cursor_at,
        )
        if connection.execute(write.values(schedule_row(schedule))).rowcount == 0:
            raise StaleSchedule(f"schedule {schedule.name!r}: written by another meanwhile")

    def add(
        self, connection: Connection, schedules: Sequence[Schedule], notes: Sequence[Note]
    ) -> None:
        """Insert these, which are new."""
        if self._driven is not None:
            self._driven.load(Within(connection), schedules, notes)
            return
        for some in slices(schedules):
            connection.execute(insert(self._schedules), [schedule_row(each) for each in some])
        for few in slices(notes):
            connection.execute(insert(self._tables.notes), [note_row(each) for each in few])

    def get(self, connection: Connection, name: str) -> Schedule | None:
        query = self._reader.query.where(self._schedules.c.name == name)
        found = self._reader.read(connection, query)
        return found[0] if found else None

    def all(self, connection: Connection) -> list[Schedule]:
        found = self._reader.read(connection, self._reader.query)
        return sorted(found, key=lambda schedule: schedule.name)  # the database's order varies

    def named(
        self, connection: Connection, names: Collection[str], *, declared: bool
    ) -> list[Schedule]:
        found: list[Schedule] = []
        if declared:
            of_code = self._schedules.c.module.is_not(None)
            found += self._reader.read(connection, self._reader.query.where(of_code))
        found += self._of_names(connection, names)
        by_name = {schedule.name: schedule for schedule in found}
        return [by_name[name] for name in sorted(by_name)]  # the database's order varies

    def _of_names(self, connection: Connection, names: Collection[str]) -> list[Schedule]:
        name, query = self._schedules.c.name, self._reader.query
        if isinstance(self._database, OnConflict):
            given = {"names": self._database.listed(names)}
            among = self._database.among(name, "names")
            return self._reader.read(connection, query.where(among), given)
        return [
            schedule
            for part in parts(set(names))
            for schedule in self._reader.read(connection, query.where(name.in_(part)))
        ]

    def delete(self, connection: Connection, name: str) -> bool:
        query = select(self._schedules.c.id).where(self._schedules.c.name == name)
        removed = connection.scalar(self._database.locked(query, self._schedules))
        if removed is None:
            return False
        self._remove(connection, [removed])
        return True

    def due(self, connection: Connection, now: datetime, *, limit: int) -> list[Schedule]:
        query = self._due.limit(max(0, limit))
        return self._reader.read(connection, query, {"now": now})

    def next_at(self, connection: Connection) -> datetime | None:
        return connection.scalar(self.next)

    def record(
        self, connection: Connection, expansions: Sequence[Expansion], *, wait: bool
    ) -> list[bool]:
        if self._driven is not None and _are_plain(expansions):
            won, jobs = self._driven.expanding.record(connection, expansions, wait=wait)
            written = list(compress(expansions, won))
        else:
            states = self._locked_states(connection, expansions, wait=wait)
            won = [states.get(each.before.id) == _state(each.before) for each in expansions]
            written = list(compress(expansions, won))
            self._move(connection, written)
            jobs = [job for each in written for job in each.jobs]
        self._write(connection, written, jobs)
        faults.point("sql.record.written")
        return won

    def busy(self, connection: Connection, schedule_ids: Collection[str]) -> Collection[str]:
        """Those of these schedules that may have unfinished jobs."""
        if self._driven is None:
            return schedule_ids
        return self._driven.expanding.busy(connection, schedule_ids)

    def skips(
        self,
        connection: Connection,
        schedule_id: str,
        start: datetime | None,
        end: datetime | None,
        limit: int | None,
    ) -> list[Skip]:
        skips = self._tables.skips
        query = select(skips).where(skips.c.schedule_id == schedule_id)
        if start is not None:
            query = query.where(skips.c.last_at >= start)
        if end is not None:
            query = query.where(skips.c.first_at < end)
        last_first = query.order_by(skips.c.first_at.desc()).limit(limit)
        return [row_skip(row) for row in connection.execute(last_first).mappings()][::-1]

    def notes(self, connection: Connection, schedule_id: str) -> list[Note]:
        notes = self._tables.notes
        query = select(notes).where(notes.c.schedule_id == schedule_id).order_by(notes.c.revision)
        return [row_note(row) for row in connection.execute(query).mappings()]

    def save_declaration(self, connection: Connection, declaration: Declaration) -> None:
        rows = [declaration_row(declaration)]
        self._database.insert_or_replace(connection, self._tables.declarations, rows)

    def renew_declaration(self, connection: Connection, process: str, seen_at: datetime) -> bool:
        declarations = self._tables.declarations
        renew = update(declarations).where(declarations.c.process == process)
        return connection.execute(renew.values(seen_at=seen_at)).rowcount > 0

    def declarations(self, connection: Connection, seen_since: datetime) -> list[Declaration]:
        declarations = self._tables.declarations
        connection.execute(delete(declarations).where(declarations.c.seen_at < seen_since))
        query = select(declarations).order_by(declarations.c.since_at, declarations.c.process)
        return [row_declaration(row) for row in connection.execute(query).mappings()]

    def _locked_states(
        self, connection: Connection, expansions: Sequence[Expansion], *, wait: bool
    ) -> dict[str, tuple[int, datetime]]:
        """The stored state of each schedule, by id; without `wait`, of those nobody holds."""
        schedules = self._schedules
        query = select(schedules.c.id, schedules.c.revision, schedules.c.cursor_at)
        locked = self._database.locked(query.order_by(schedules.c.id), schedules, skip=not wait)
        return {
            row.id: (row.revision, row.cursor_at)
            for part in parts({each.before.id for each in expansions})
            for row in connection.execute(locked.where(schedules.c.id.in_(part)))
        }

    def _move(self, connection: Connection, expansions: Sequence[Expansion]) -> None:
        """Write the schedules, which are locked, as they are after these expansions."""
        columns = self._schedules.columns.keys()
        moved = [_moved(each, _EXPANDED) for each in expansions if each.note is None]
        changed = [_moved(each, columns) for each in expansions if each.note]
        for rows in (moved, changed):
            if rows:
                connection.execute(self._expand, rows)

    def _write(
        self, connection: Connection, expansions: Sequence[Expansion], jobs: Sequence[Job]
    ) -> None:
        """What else was expanded, `jobs` too: each kind of row in one statement; none of none."""
        tables = self._tables
        called_off = [pair for each in expansions for pair in each.cancelled]
        cancelled = [
            {
                "cancelled_id": before.id,
                "cancelled_from": before.status.value,
                **only(job_row(after), _CANCELLED),
            }
            # In the order in which those are locked that are settled or renewed.
            for before, after in sorted(called_off, key=lambda pair: pair[0].id)
        ]
        if cancelled:
            connection.execute(self._cancel, cancelled)
        if skips := [skip_row(skip) for each in expansions for skip in each.skips]:
            self._database.insert_or_replace(connection, tables.skips, skips)
        if notes := [note_row(each.note) for each in expansions if each.note]:
            self._database.insert_new(connection, tables.notes, notes)
        if jobs:
            self._database.insert_new(connection, tables.jobs, [job_row(job) for job in jobs])
        if any(each.jobs for each in expansions):
            self._database.announce(connection)
        if removed := [each.before.id for each in expansions if each.removes]:
            self._remove(connection, removed)

    def _remove(self, connection: Connection, schedule_ids: Sequence[str]) -> None:
        """Remove schedules and their record."""
        for part in parts(schedule_ids):
            connection.execute(delete(self._schedules).where(self._schedules.c.id.in_(part)))
            for table in (self._tables.skips, self._tables.notes):
                connection.execute(delete(table).where(table.c.schedule_id.in_(part)))


def _are_plain(expansions: Sequence[Expansion]) -> bool:
    """Whether each is of a schedule of its own, which is not changed otherwise."""
    is_each_once = len({each.before.id for each in expansions}) == len(expansions)
    return is_each_once and all(each.note is None for each in expansions)


def _state(schedule: Schedule) -> tuple[int, datetime]:
    """What every write changes."""
    return schedule.revision, schedule.cursor_at


def _moved(expansion: Expansion, columns: Sequence[str]) -> dict[str, Any]:
    return {
        "expanded_id": expansion.before.id,
        "expanded_revision": expansion.before.revision,
        "expanded_cursor_at": expansion.before.cursor_at,
        **only(schedule_row(expansion.after), columns),
    }
