"""How long jobs stay on record after they have ended, and what is known of those that are gone.

The record of a live schedule is whole (clause 9.11): what was decided is a job or in a skip, and
skips stay. So an occurrence that was decided, and is neither, had a job that was removed: no
trace of its own is left behind, and none is needed. Pure: no clock, no I/O.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta

from scheduler.errors import InvalidRule
from scheduler.expansion import series, starts_at_creation
from scheduler.history import as_of, at_revision
from scheduler.model import Action, JobStatus, Note, Schedule, Skip
from scheduler.options import check_duration

FINISHED = (JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED)
"""The statuses in which nothing more happens to a job by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long jobs stay after they ended so; None: for ever.

    Seconds or timedeltas. The last job of a schedule stays longer: until there is another.
    """

    completed: timedelta | float | None = timedelta(days=30)
    failed: timedelta | float | None = timedelta(days=90)
    cancelled: timedelta | float | None = timedelta(days=30)

    @property
    def periods(self) -> dict[JobStatus, timedelta]:
        """How long jobs stay in each status that they do not stay in for ever.

        Raises InvalidOption if one of the periods is none.
        """
        given = {JobStatus(each.name): getattr(self, each.name) for each in fields(self)}
        return {
            status: check_duration(f"retention: {status.value}", period, zero=True)
            for status, period in given.items()
            if period is not None
        }


FOR_EVER = Retention(completed=None, failed=None, cancelled=None)


@dataclass(frozen=True, slots=True)
class Pruned:
    """What came of one step through the jobs: how many it looked at, how many went.

    The next step begins behind `last_id`; None if nothing is left to look at. `lost` are those that
    would have gone, had not another been at them at that moment.
    """

    looked_at: int
    removed: int
    last_id: str | None
    lost: int = 0


class Removed:
    """The occurrences of a schedule, of those without a job, that had one.

    `notes` are all of the schedule, `skips` those around what is asked about, by `first_at`.
    """

    def __init__(self, schedule: Schedule, notes: Sequence[Note], skips: Sequence[Skip]) -> None:
        self._schedule = schedule
        self._notes = notes
        self._skips = skips
        self._starts = [skip.first_at for skip in skips]
        self._backfills = [
            (datetime.fromisoformat(note.detail["from"]), datetime.fromisoformat(note.detail["to"]),
             at_revision(schedule, notes, note.revision))
            for note in notes
            if note.action is Action.BACKFILLED
        ]  # fmt: skip

    def __contains__(self, at: datetime) -> bool:
        return self._was_backfilled(at) or (self._was_decided(at) and not self._is_skipped(at))

    def _was_backfilled(self, at: datetime) -> bool:
        return any(start <= at < end and _has(then, at) for start, end, then in self._backfills)

    def _was_decided(self, at: datetime) -> bool:
        if at > self._schedule.cursor_at:
            return False
        then = as_of(self._schedule, self._notes, at)
        return _first_due(then) <= at and _has(then, at)

    def _is_skipped(self, at: datetime) -> bool:
        place = bisect_right(self._starts, at)
        return place > 0 and at <= self._skips[place - 1].last_at


def _first_due(then: Schedule) -> datetime:
    """The instant from which on the occurrences of a schedule are decided: see `begin`."""
    created_at = then.created_at
    if starts_at_creation(then.rule):
        created_at = created_at.replace(microsecond=0)
    return min(then.rule_since, created_at)


def _has(then: Schedule, at: datetime) -> bool:
    """Whether `at` is an occurrence of the rule of `then`; of a broken rule none is."""
    try:
        return at in series(then)
    except InvalidRule:
        return False
