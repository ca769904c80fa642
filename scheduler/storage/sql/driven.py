"""What the driver runs itself: saving and settling jobs, saving schedules.

Where a database has it, almost every job goes this way; see also leasing.py and expanding.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Table, Update, func, select, true, update

from scheduler.lifecycle import storable
from scheduler.model import Job, JobStatus, Note, Schedule, Settlement
from scheduler.storage.sql.dialects.on_conflict import OnConflict
from scheduler.storage.sql.driver import Hand, Prepared, Within
from scheduler.storage.sql.expanding import Expanding
from scheduler.storage.sql.insertion import Insertion
from scheduler.storage.sql.records import Records
from scheduler.storage.sql.rows import JOB_VALUES, NOTE_VALUES, SCHEDULE_VALUES
from scheduler.storage.sql.tables import Tables

SETTLED = (
    "status",
    "scheduled_at",
    "started_at",
    "completed_at",
    "retry_count",
    "error",
    "result",
)
"""What of a job its settlement writes, beside that nobody has it any more."""
_settled_of = attrgetter(*SETTLED)


class DrivenJobs:
    """Saving and settling on the table `jobs`."""

    def __init__(self, database: OnConflict, jobs: Table) -> None:
        self._database = database
        self._jobs = jobs
        self._new = Insertion(database, jobs, JOB_VALUES)
        self._settled = [jobs.c[name] for name in SETTLED]
        self._ended = Records(database, "ended", [jobs.c.id, jobs.c.lease_token, *self._settled])
        self._settling: Prepared | None = None

    def load(self, hand: Within, jobs: Sequence[Job]) -> None:
        """Insert `jobs`, of which there are some; nobody is told of them."""
        self._new.load(hand, jobs)

    def save_one(self, hand: Hand, job: Job) -> None:
        """Insert a job, and tell executors of it, by one statement."""
        self._new.announce(hand, job)

    def settle(self, hand: Hand, settlements: Sequence[Settlement]) -> list[bool]:
        """Write the jobs of `settlements`, and nothing beside them, by one statement.

        It may miss a job whose lease was renewed while it waited for the row: see `missed_too`.
        """
        if self._settling is None:
            self._settling = Prepared(self._settle_records(), hand.dialect)
        # By their ids, as who renews leases locks them: else each could wait for the other.
        ordered = sorted(settlements, key=lambda each: each.job.id)
        rows = ((each.job.id, each.token, *_settled_of(each.job)) for each in ordered)
        held = {row[0] for row in hand.run(self._settling, self._ended.parameters(rows))}
        return [storable(each.job.id) in held for each in settlements]

    def _settle_records(self) -> Update:
        """What writes the jobs in the parameter `ended` whose lease still holds; their ids."""
        jobs, ended = self._jobs, self._ended.columns
        if not self._database.has_lateral:
            return self._written(ended).where(*_held(jobs, ended)).returning(jobs.c.id)
        # Each is looked up by its id, whatever the planner believes of how many there are; a row
        # that is locked is found by where it is.
        given = select(*(each.label(name) for name, each in ended.items())).subquery("given")
        mine = jobs.alias("mine")
        place = self._database.place(mine)
        held = select(place).where(*_held(mine, given.c)).with_for_update(of=mine).lateral("held")
        found = select(*given.c, held.c[place.name]).select_from(given.join(held, true()))
        settled = found.cte("settled")
        is_there = self._database.place(jobs) == settled.c[place.name]
        return self._written(settled.c).where(is_there).returning(jobs.c.id)

    def _written(self, ended: Any) -> Update:
        """What writes these values of SETTLED, and that nobody has the job any more."""
        jobs = self._jobs
        values = {column: ended[column.name] for column in self._settled}
        return update(jobs).values(
            {**values, jobs.c.lease_token: None, jobs.c.lease_expires_at: None}
        )


def missed_too(
    held: list[bool],
    settlements: Sequence[Settlement],
    settle: Callable[[list[Settlement]], list[bool]],
) -> list[bool]:
    """`held`, and of those that were not what `settle` says, which looks at the rows anew.

    A row that is written while a statement waits for it moves, and where it is by then the
    statement does not see. That its lease is lost only another statement can say.
    """
    missed = [each for each, is_held in zip(settlements, held, strict=True) if not is_held]
    found = iter(settle(missed) if missed else ())
    return [is_held or next(found) for is_held in held]


def _held(jobs: FromClause, ended: Any) -> Iterator[ColumnElement[bool]]:
    """That a job is one of `ended`, and its lease still holds."""
    yield jobs.c.id == ended["id"]
    yield jobs.c.lease_token == ended["lease_token"]
    # Not so that the index of all that is leased seems the way to it.
    yield func.coalesce(jobs.c.status, "") == JobStatus.PROCESSING.value


class DrivenSchedules:
    """Saving new schedules, with their notes, and expanding them."""

    def __init__(self, database: OnConflict, tables: Tables) -> None:
        self._new = Insertion(database, tables.schedules, SCHEDULE_VALUES)
        self._new_notes = Insertion(database, tables.notes, NOTE_VALUES)
        self.expanding = Expanding(database, tables)

    def load(self, hand: Within, schedules: Sequence[Schedule], notes: Sequence[Note]) -> None:
        """Insert these schedules, of which there are some, and notes."""
        self._new.load(hand, schedules)
        if notes:
            self._new_notes.load(hand, notes)
