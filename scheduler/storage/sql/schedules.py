"""The schedules' half of the interface in SQL: schedules, what they expand to, and what they skip.

Each function is one verb, on a connection whose transaction SQLStorage opens and ends. A write
holds only if revision and cursor are those it began from: who lost the race changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import (
    Connection,
    Select,
    bindparam,
    delete,
    literal_column,
    select,
    update,
)

from scheduler.errors import StaleSchedule
from scheduler.expansion import Expansion
from scheduler.model import Declaration, Job, Note, Schedule, Skip
from scheduler.storage.sql import dialects
from scheduler.storage.sql.rows import (
    declaration_row,
    job_row,
    note_row,
    only,
    row_declaration,
    row_job,
    row_note,
    row_schedule,
    row_skip,
    schedule_row,
    skip_row,
)
from scheduler.storage.sql.tables import declarations, jobs, notes, schedules, skips

# A literal, not a parameter: a partial index serves only a predicate the planner can read.
_LIVE = schedules.c.status.in_([literal_column("'active'"), literal_column("'paused'")])
UNFINISHED = jobs.c.status.in_([literal_column("'pending'"), literal_column("'processing'")])


def save_schedule(connection: Connection, schedule: Schedule) -> None:
    write = (
        dialects.insert_new(connection.dialect, schedules)
        if schedule.revision == 1
        else update(schedules).where(
            schedules.c.id == schedule.id,
            schedules.c.revision == schedule.revision - 1,
            schedules.c.cursor_at <= schedule.cursor_at,
        )
    )
    # RETURNING, because not every driver counts the rows of such an INSERT.
    written = connection.scalar(write.values(schedule_row(schedule)).returning(schedules.c.id))
    if written is None:
        raise StaleSchedule(f"schedule {schedule.name!r}: written by another meanwhile")


def get_schedule(connection: Connection, name: str) -> Schedule | None:
    found = _selected(connection, select(schedules).where(schedules.c.name == name))
    return found[0] if found else None


def list_schedules(connection: Connection) -> list[Schedule]:
    found = _selected(connection, select(schedules))
    return sorted(found, key=lambda schedule: schedule.name)  # the database's order varies


def delete_schedule(connection: Connection, name: str) -> bool:
    removed = connection.scalar(
        delete(schedules).where(schedules.c.name == name).returning(schedules.c.id)
    )
    _delete_record(connection, [removed])
    return removed is not None


def due_schedules(connection: Connection, now: datetime, *, limit: int) -> list[Schedule]:
    query = (
        select(schedules)
        .where(_LIVE, schedules.c.next_at <= now)
        .order_by(schedules.c.next_at, schedules.c.id)
        .limit(limit)
    )
    return _selected(connection, query)


def next_schedule_at(connection: Connection) -> datetime | None:
    query = (
        select(schedules.c.next_at)
        .where(_LIVE, schedules.c.next_at.is_not(None))
        .order_by(schedules.c.next_at)
        .limit(1)
    )
    return connection.scalar(query)


def record_expansions(connection: Connection, expansions: Sequence[Expansion]) -> list[bool]:
    states = _locked_states(connection, expansions)
    won = [states.get(each.before.id) == _state(each.before) for each in expansions]
    _write(connection, [each for each, is_won in zip(expansions, won, strict=True) if is_won])
    return won


def list_skips(
    connection: Connection, schedule_id: str, start: datetime | None, end: datetime | None
) -> list[Skip]:
    query = select(skips).where(skips.c.schedule_id == schedule_id).order_by(skips.c.first_at)
    if start is not None:
        query = query.where(skips.c.last_at >= start)
    if end is not None:
        query = query.where(skips.c.first_at < end)
    return [row_skip(row) for row in connection.execute(query).mappings()]


def list_notes(connection: Connection, schedule_id: str) -> list[Note]:
    query = select(notes).where(notes.c.schedule_id == schedule_id).order_by(notes.c.revision)
    return [row_note(row) for row in connection.execute(query).mappings()]


def get_occurrences(
    connection: Connection, schedule_id: str, start: datetime, end: datetime
) -> list[Job]:
    query = (
        select(jobs)
        .where(
            jobs.c.schedule_id == schedule_id,
            jobs.c.occurrence_at >= start,
            jobs.c.occurrence_at < end,
        )
        .order_by(jobs.c.occurrence_at, jobs.c.id)
    )
    return [row_job(row) for row in connection.execute(query).mappings()]


def get_unfinished_jobs(connection: Connection, schedule_ids: Collection[str]) -> list[Job]:
    query = (
        select(jobs)
        .where(UNFINISHED, jobs.c.schedule_id.in_(schedule_ids))
        .order_by(jobs.c.schedule_id, jobs.c.occurrence_at, jobs.c.id)
    )
    return [row_job(row) for row in connection.execute(query).mappings()]


def save_declaration(connection: Connection, declaration: Declaration) -> None:
    insert = dialects.insert_or_replace(connection.dialect, declarations)
    connection.execute(insert, [declaration_row(declaration)])


def renew_declaration(connection: Connection, process: str, seen_at: datetime) -> bool:
    renew = update(declarations).where(declarations.c.process == process).values(seen_at=seen_at)
    return connection.execute(renew).rowcount > 0


def list_declarations(connection: Connection, seen_since: datetime) -> list[Declaration]:
    connection.execute(delete(declarations).where(declarations.c.seen_at < seen_since))
    query = select(declarations).order_by(declarations.c.since_at, declarations.c.process)
    return [row_declaration(row) for row in connection.execute(query).mappings()]


def _selected(connection: Connection, query: Select[Any]) -> list[Schedule]:
    return [row_schedule(row) for row in connection.execute(query).mappings()]


def _state(schedule: Schedule) -> tuple[int, datetime]:
    """What every write changes."""
    return schedule.revision, schedule.cursor_at


def _locked_states(
    connection: Connection, expansions: Sequence[Expansion]
) -> dict[str, tuple[int, datetime]]:
    """The stored state of each schedule, by id; without those that another holds.

    Who holds a schedule's row is expanding it: no reason to wait for the same work.
    """
    query = (
        select(schedules.c.id, schedules.c.revision, schedules.c.cursor_at)
        .where(schedules.c.id.in_([each.before.id for each in expansions]))
        .order_by(schedules.c.id)
        .with_for_update(skip_locked=True)
    )
    return {row.id: (row.revision, row.cursor_at) for row in connection.execute(query)}


# Executed with many rows: the keys of a row beyond the bound ones are what is SET.
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
_EXPAND = update(schedules).where(
    schedules.c.id == bindparam("expanded_id"),
    schedules.c.revision == bindparam("expanded_revision"),
    schedules.c.cursor_at == bindparam("expanded_cursor_at"),
)
_CANCELLED = ("status", "completed_at", "lease_token", "lease_expires_at")
_CANCEL = update(jobs).where(
    jobs.c.id == bindparam("cancelled_id"), jobs.c.status == bindparam("cancelled_from")
)


def _write(connection: Connection, expansions: Sequence[Expansion]) -> None:
    """Each kind of row in one statement; an empty list is none."""
    moved = [_moved(each, _EXPANDED) for each in expansions if each.note is None]
    changed = [_moved(each, schedules.columns.keys()) for each in expansions if each.note]
    cancelled = [
        {
            "cancelled_id": before.id,
            "cancelled_from": before.status.value,
            **only(job_row(after), _CANCELLED),
        }
        for each in expansions
        for before, after in each.cancelled
    ]
    new = partial(dialects.insert_new, connection.dialect)
    for statement, rows in (
        (_EXPAND, moved),
        (_EXPAND, changed),
        (_CANCEL, cancelled),
        (new(jobs), [job_row(job) for each in expansions for job in each.jobs]),
        (
            dialects.insert_or_replace(connection.dialect, skips),
            [skip_row(skip) for each in expansions for skip in each.skips],
        ),
        (new(notes), [note_row(each.note) for each in expansions if each.note]),
    ):
        if rows:
            connection.execute(statement, rows)
    if removed := [each.before.id for each in expansions if each.removes]:
        connection.execute(delete(schedules).where(schedules.c.id.in_(removed)))
        _delete_record(connection, removed)


def _moved(expansion: Expansion, columns: Sequence[str]) -> dict[str, Any]:
    return {
        "expanded_id": expansion.before.id,
        "expanded_revision": expansion.before.revision,
        "expanded_cursor_at": expansion.before.cursor_at,
        **only(schedule_row(expansion.after), columns),
    }


def _delete_record(connection: Connection, schedule_ids: Sequence[str | None]) -> None:
    for table in (skips, notes):
        connection.execute(delete(table).where(table.c.schedule_id.in_(schedule_ids)))
