"""The scheduler component: turns due schedules into queued jobs.

Decide purely, then write: due schedules are read, expanded, and each expansion is written
whole, in one transaction, by whoever is first. Any number of expanders may do this on one
table; what another was first with is simply not written again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future
from datetime import datetime, timedelta
from functools import partial

from scheduler import faults
from scheduler.beside import beside
from scheduler.events import Event, EventName
from scheduler.expansion import LATEST_INSTANT, NOTHING, TICK, Expansion, Made, expand
from scheduler.logs import logger
from scheduler.model import Job, Overlap, Schedule, ScheduleStatus
from scheduler.storage import JobStorage

log = logger(__name__)

READ = 10_000
"""How many schedules are read at once."""

BATCH = 2_000
"""How many of them one transaction expands."""

MOST_JOBS = 5_000
"""A transaction that has made so many jobs takes no further schedule.

All of them are in memory, and those of the transaction before.
"""

LOST_RACE_PAUSE = timedelta(milliseconds=20)
"""How long an expander that another was ahead of waits before it looks again."""

_AT_REST = (ScheduleStatus.PAUSED, ScheduleStatus.RETIRED)

CLOCK_JUMP = timedelta(hours=1)
"""A wall clock that gains more than this on monotonic time is believed at the second look."""

CLOCK_JUMP_PAUSE = timedelta(seconds=1)
"""How long until that second look."""

CLOCK_STANDS = timedelta(minutes=1)
"""By how much two looks at a clock that was set once may differ."""


class ClockWatch:
    """Tells a clock that was set forward from time that passed (clause 9.4).

    A clock that is wrong for a moment, far ahead, would decide years of occurrences. `monotonic`
    gives seconds that no one sets.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._seen: tuple[datetime, float] | None = None
        self._doubted: timedelta | None = None

    def jump(self, now: datetime) -> timedelta | None:
        """How far `now` is ahead of the time that passed; None if it may be believed.

        It may, if it is no jump, or one of the same size is there when asked again.
        """
        monotonic = self._monotonic()
        wall, before = self._seen or (now, monotonic)
        ahead = now - wall - timedelta(seconds=monotonic - before)
        doubted, self._doubted = self._doubted, ahead
        is_there_again = doubted is not None and abs(ahead - doubted) <= CLOCK_STANDS
        if ahead > CLOCK_JUMP and not is_there_again:
            return ahead
        self._seen, self._doubted = (now, monotonic), None
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
        is_first = self._expand(now)
        next_at = self._storage.next_schedule_at()
        if not is_first and next_at is not None:
            return max(next_at, now + LOST_RACE_PAUSE)
        return next_at

    def _expand(self, now: datetime) -> bool:
        """Expand all that is due; False, and the rest stays, once another was first with any.

        While some are being written, the next are read and decided, unless the store works in this
        process.
        """
        writing: Future[bool] | None = None
        written: set[str] = set()
        try:
            for expansions, is_last in self._batches(now, written):
                ended, writing = writing, None
                if ended is not None and not ended.result():
                    return False
                written.clear()
                write = partial(self._write, expansions, now)
                if not is_last and not self._storage.exchanges_at_once:
                    written.update(each.before.id for each in expansions)
                    writing = beside(write, name="scheduler-write")
                elif not write():
                    return False
            ended, writing = writing, None
            return ended is None or ended.result()
        except BaseException:
            if writing is not None and (error := writing.exception()) is not None:
                log.error("a batch before it was not written, either", exc_info=error)
            raise

    def _batches(
        self, now: datetime, written: Collection[str]
    ) -> Iterator[tuple[list[Expansion], bool]]:
        """What becomes of all that is due, in parts of one transaction; whether it is the last.

        The schedules that are being `written`, by their ids, are left out.
        """
        is_more = True
        while is_more:
            limit = READ + len(written)
            found = self._storage.due_schedules(now, limit=limit)
            if found:
                faults.point("expander.due.read")
            due = [each for each in found if each.id not in written]
            is_more = len(found) == limit
            while due:
                expansions = self._decided(due[:BATCH], now)
                due = due[len(expansions) :]
                yield expansions, not due and not is_more

    def _decided(self, due: Sequence[Schedule], now: datetime) -> list[Expansion]:
        """What becomes of the first of `due`: of as many as one transaction takes."""
        made = made_of(self._storage, [each for each in due if _looks_at_jobs(each)])
        return _first(expand(each, now, made.get(each.id, NOTHING)) for each in due)

    def _write(self, expansions: Sequence[Expansion], now: datetime) -> bool:
        """Write and tell; False if another was first with any."""
        faults.point("expander.record.before")
        written = self._storage.record_expansions(expansions, wait=False)
        faults.point("expander.record.after")
        for expansion, is_written in zip(expansions, written, strict=True):
            if is_written:
                tell(expansion, now, self._emit)
        return all(written)


def _first(expansions: Iterable[Expansion]) -> list[Expansion]:
    """As many of them as one transaction takes; the others are not made."""
    taken: list[Expansion] = []
    jobs = 0
    for each in expansions:
        taken.append(each)
        jobs += len(each.jobs)
        if jobs >= MOST_JOBS:
            break
    return taken


def _looks_at_jobs(schedule: Schedule) -> bool:
    return schedule.overlap is not Overlap.ALLOW or schedule.status is not ScheduleStatus.ACTIVE


def made_of(storage: JobStorage, schedules: Sequence[Schedule]) -> dict[str, Made]:
    """What of `schedules` has jobs already, by their ids; those without any are left out."""
    ids = [each.id for each in schedules]
    unfinished: dict[str, list[Job]] = {}
    for job in storage.get_unfinished_jobs(ids) if ids else ():
        unfinished.setdefault(job.schedule_id or "", []).append(job)
    made = {schedule_id: Made(jobs) for schedule_id, jobs in unfinished.items()}
    for each in schedules:
        if each.status in _AT_REST and (ahead := _ahead(storage, each)):
            made[each.id] = Made(unfinished.get(each.id, ()), ahead)
    return made


def _ahead(storage: JobStorage, schedule: Schedule) -> list[datetime]:
    """The occurrences later than the cursor that have a job: only one at rest has any."""
    jobs = storage.get_occurrences(schedule.id, schedule.cursor_at + TICK, LATEST_INSTANT)
    return [job.occurrence[1] for job in jobs if job.occurrence]


def tell(expansion: Expansion, now: datetime, emit: Callable[[Event], None]) -> None:
    """Log and emit what an expansion that was written did."""
    schedule = expansion.after
    if schedule.error and schedule.error != expansion.before.error:
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
