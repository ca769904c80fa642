"""The schedules' half of the interface in SQL: schedules, what they expand to, and what they skip.

Each function is one verb, on a connection whose transaction SQLStorage opens and ends. A write
holds only if the revision is the one it began from: who lost the race changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
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
from scheduler.model import Schedule, Skip
from scheduler.storage.sql import dialects
from scheduler.storage.sql.rows import (
    job_row,
    only,
    row_schedule,
    row_skip,
    schedule_row,
    skip_row,
)
from scheduler.storage.sql.tables import jobs, schedules, skips

# A literal, not a parameter: a partial index serves only a predicate the planner can read.
_ACTIVE = schedules.c.status == literal_column("'active'")


def save_schedule(connection: Connection, schedule: Schedule) -> None:
    write = (
        dialects.insert_new(connection.dialect, schedules)
        if schedule.revision == 1
        else update(schedules).where(
            schedules.c.id == schedule.id,
            schedules.c.revision == schedule.revision - 1,
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
    connection.execute(delete(skips).where(skips.c.schedule_id == removed))
    return removed is not None


def due_schedules(connection: Connection, now: datetime, *, limit: int) -> list[Schedule]:
    query = (
        select(schedules)
        .where(_ACTIVE, schedules.c.next_at <= now)
        .order_by(schedules.c.next_at, schedules.c.id)
        .limit(limit)
    )
    return _selected(connection, query)


def next_schedule_at(connection: Connection) -> datetime | None:
    query = (
        select(schedules.c.next_at)
        .where(_ACTIVE, schedules.c.next_at.is_not(None))
        .order_by(schedules.c.next_at)
        .limit(1)
    )
    return connection.scalar(query)


def record_expansions(connection: Connection, expansions: Sequence[Expansion]) -> list[bool]:
    revisions = _locked_revisions(connection, expansions)
    won = [revisions.get(each.before.id) == each.before.revision for each in expansions]
    _write(connection, [each for each, is_won in zip(expansions, won, strict=True) if is_won])
    return won


def list_skips(connection: Connection, schedule_id: str) -> list[Skip]:
    query = select(skips).where(skips.c.schedule_id == schedule_id).order_by(skips.c.first_at)
    return [row_skip(row) for row in connection.execute(query).mappings()]


def _selected(connection: Connection, query: Select[Any]) -> list[Schedule]:
    return [row_schedule(row) for row in connection.execute(query).mappings()]


def _locked_revisions(connection: Connection, expansions: Sequence[Expansion]) -> dict[str, int]:
    """The stored revision of each schedule, by id; without those that another holds.

    Who holds a schedule's row is expanding it: no reason to wait for the same work.
    """
    query = (
        select(schedules.c.id, schedules.c.revision)
        .where(schedules.c.id.in_([each.before.id for each in expansions]))
        .order_by(schedules.c.id)
        .with_for_update(skip_locked=True)
    )
    return {row.id: row.revision for row in connection.execute(query)}


# Executed with many rows: the keys of a row beyond the bound ones are what is SET.
_EXPANDED = (
    "cursor_at",
    "next_at",
    "status",
    "error",
    "materialised",
    "revision",
    "updated_at",
)
_EXPAND = update(schedules).where(
    schedules.c.id == bindparam("expanded_id"),
    schedules.c.revision == bindparam("expanded_revision"),
)


def _write(connection: Connection, expansions: Sequence[Expansion]) -> None:
    cursors = [
        {
            "expanded_id": each.before.id,
            "expanded_revision": each.before.revision,
            **only(schedule_row(each.after), _EXPANDED),
        }
        for each in expansions
    ]
    new_jobs = [job_row(job) for each in expansions for job in each.jobs]
    new_skips = [skip_row(skip) for each in expansions for skip in each.skips]
    if cursors:
        connection.execute(_EXPAND, cursors)
    if new_jobs:
        connection.execute(dialects.insert_new(connection.dialect, jobs), new_jobs)
    if new_skips:
        connection.execute(dialects.insert_new(connection.dialect, skips), new_skips)
