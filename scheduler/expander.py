"""The scheduler component: turns due schedules into queued jobs.

Decide purely, then write: due schedules are read, expanded, and each expansion is written
whole, in one transaction, by whoever is first. Any number of expanders may do this on one
table; what another was first with is simply not written again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from scheduler.events import Event, EventName
from scheduler.expansion import Expansion, expand
from scheduler.logs import logger
from scheduler.model import Job, Overlap, Schedule, ScheduleStatus
from scheduler.storage import JobStorage

log = logger(__name__)

BATCH = 500
"""How many schedules one transaction expands."""

LOST_RACE_PAUSE = timedelta(milliseconds=20)
"""How long an expander that another was ahead of waits before it looks again."""


CLOCK_JUMP = timedelta(hours=1)
"""A wall clock that gains more than this on monotonic time is believed at the second look."""

CLOCK_JUMP_PAUSE = timedelta(seconds=1)
"""How long until that second look."""


class ClockWatch:
    """Tells a clock that was set forward from time that passed (clause 9.4).

    A clock that is wrong for a moment, far ahead, would decide years of occurrences. `monotonic`
    gives seconds that no one sets.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._seen: tuple[datetime, float] | None = None
        self._doubted = False

    def jump(self, now: datetime) -> timedelta | None:
        """How far `now` is ahead of the time that passed; None if it may be believed.

        It may, if it is no jump or is still there when asked again.
        """
        monotonic = self._monotonic()
        wall, before = self._seen or (now, monotonic)
        ahead = now - wall - timedelta(seconds=monotonic - before)
        if ahead > CLOCK_JUMP and not self._doubted:
            self._doubted = True
            return ahead
        self._seen, self._doubted = (now, monotonic), False
        return None


class Expander:
    """Expands the due schedules of one storage."""

    def __init__(self, storage: JobStorage, *, emit: Callable[[Event], None]) -> None:
        self._storage = storage
        self._emit = emit

    def tick(self, now: datetime) -> datetime | None:
        """Expand everything due at `now`; when to be called next, None if nothing is waiting.

        Raises StorageUnavailable if the store cannot be reached; whatever was not written is
        due again at the next tick.
        """
        lost = False
        while due := self._storage.due_schedules(now, limit=BATCH):
            unfinished = self._unfinished(due)
            expansions = [expand(each, now, unfinished.get(each.id, ())) for each in due]
            written = self._storage.record_expansions(expansions)
            for expansion, is_written in zip(expansions, written, strict=True):
                if is_written:
                    tell(expansion, now, self._emit)
            if not all(written):
                lost = True
                break
            if len(due) < BATCH:
                break
        next_at = self._storage.next_schedule_at()
        if lost and next_at is not None:
            return max(next_at, now + LOST_RACE_PAUSE)
        return next_at

    def _unfinished(self, due: Sequence[Schedule]) -> dict[str, list[Job]]:
        """The unfinished jobs of those schedules that look at them, by schedule."""
        looking = [each.id for each in due if each.overlap is not Overlap.ALLOW]
        found: dict[str, list[Job]] = {}
        for job in self._storage.get_unfinished_jobs(looking) if looking else ():
            found.setdefault(job.schedule_id or "", []).append(job)
        return found


def tell(expansion: Expansion, now: datetime, emit: Callable[[Event], None]) -> None:
    """Log and emit what an expansion that was written did."""
    schedule = expansion.after
    if schedule.status is ScheduleStatus.PAUSED and schedule.error:
        log.error("schedule paused", schedule=schedule.name, error=schedule.error)
    for skip in expansion.skips:
        detail = {
            "schedule": schedule.name,
            "reason": skip.reason.value,
            "count": skip.count,
            "first_at": skip.first_at.isoformat(),
            "last_at": skip.last_at.isoformat(),
        }
        log.warning("occurrences skipped", **detail)
        emit(Event(EventName.SKIPPED, now, detail=detail))
    for _, job in expansion.cancelled:
        emit(Event(EventName.CANCELLED, now, job))
    for job in expansion.jobs:
        emit(Event(EventName.SCHEDULED, now, job))
