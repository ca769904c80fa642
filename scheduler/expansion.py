"""From a schedule and an instant to jobs, skips and the next cursor.

The window is (cursor, now]. Every occurrence in it is decided in five steps: too old, missed,
overlapping, beyond the limit, or else a job; each ends as a job or in one record of a run of
skips. Runs are counted arithmetically and only what becomes a job is listed, so that ten years
of missed seconds cost what one missed hour does. Pure: no clock, no I/O.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from scheduler import lifecycle
from scheduler.errors import SchedulerError
from scheduler.ids import occurrence_id
from scheduler.model import (
    CatchUp,
    Job,
    Note,
    Origin,
    Overlap,
    Schedule,
    ScheduleStatus,
    Skip,
    SkipReason,
)
from scheduler.rules import Rule, jitter_delay, rule_from_json
from scheduler.rules.series import SearchEnded

TICK = timedelta(microseconds=1)
MOST_AT_ONCE = 10_000
"""How many occurrences that are on time one expansion makes jobs of."""

FIRST_INSTANT = datetime.min.replace(tzinfo=UTC)
LATEST_INSTANT = datetime.max.replace(tzinfo=UTC)
_LIVE = (ScheduleStatus.ACTIVE, ScheduleStatus.PAUSED)


@dataclass(frozen=True, slots=True)
class Expansion:
    """What was decided of one schedule: `before` becomes `after`, or with `removes` is gone.

    `jobs` are new; `cancelled` are (as it stands, as it becomes), and hold only for those that
    still stand as they did. `skips` are written over those with the same first instant. A
    storage writes it whole or not at all, and only while the stored schedule still is `before`
    (same id, revision and cursor).
    """

    before: Schedule
    after: Schedule
    jobs: tuple[Job, ...] = ()
    skips: tuple[Skip, ...] = ()
    cancelled: tuple[tuple[Job, Job], ...] = ()
    note: Note | None = None
    removes: bool = False


def series(schedule: Schedule) -> Rule:
    """The schedule's rule with its zone and anchor filled in, without its limit.

    A live schedule's limit counts jobs made, not instants of the set (clause 3.4).
    Raises InvalidRule if the stored rule cannot be read.
    """
    text = json.dumps(schedule.rule, sort_keys=True)
    return _series(text, schedule.timezone, schedule.anchor_at)


@functools.lru_cache(maxsize=4096)
def _series(text: str, timezone: str, anchor_at: datetime) -> Rule:
    return rule_from_json(json.loads(text)).unlimited().bound(timezone=timezone, anchor=anchor_at)


def begin(schedule: Schedule) -> Schedule:
    """A new schedule with its anchor, first cursor and first `next_at` set.

    Occurrences before the creation only fix the phase (clause 3.5); an interval without a
    start has occurrence 0 at the anchor, due at once (clause 2.2).
    """
    anchor_at = schedule.created_at.replace(microsecond=0)
    first_due = anchor_at if _starts_at_creation(schedule.rule) else schedule.created_at
    begun = replace(schedule, anchor_at=anchor_at, rule_since=first_due, cursor_at=first_due - TICK)
    return advance(begun, begun.cursor_at)


def advance(schedule: Schedule, cursor_at: datetime) -> Schedule:
    """`schedule` with everything up to `cursor_at` decided; completed if nothing can follow."""
    cursor_at = max(cursor_at, schedule.cursor_at)
    rule = series(schedule) if schedule.status in _LIVE else None
    return replace(schedule, **_advanced(schedule, rule, cursor_at, schedule.materialised))


def _advanced(
    schedule: Schedule, rule: Rule | None, cursor_at: datetime, materialised: int
) -> dict[str, Any]:
    """The cursor, and what follows from it, of a `schedule` of `rule` after so many jobs."""
    status, next_at = schedule.status, None
    if rule is not None and status in _LIVE:
        if _remaining(schedule, materialised) != 0:
            next_at = rule.next_after(cursor_at)
        if next_at is None:
            status = ScheduleStatus.COMPLETED
        elif status is ScheduleStatus.PAUSED:
            next_at = _last(rule)
    return {"cursor_at": cursor_at, "next_at": next_at, "status": status}


def _last(rule: Rule) -> datetime | None:
    """The last occurrence there is; None where finding it takes too long.

    Only a schedule that is paused asks: it then stays paused after its end, until it is resumed.
    """
    try:
        return rule.last_before_or_at(LATEST_INSTANT)
    except SearchEnded:
        return None


def remaining(schedule: Schedule) -> int | None:
    """How many jobs the schedule may still make; None without a limit."""
    return _remaining(schedule, schedule.materialised)


def _remaining(schedule: Schedule, materialised: int) -> int | None:
    limit = schedule.rule.get("limit")
    return None if limit is None else max(0, limit - materialised)


def upcoming(schedule: Schedule) -> Iterator[datetime]:
    """The occurrences still to come, ascending, in UTC: from the cursor, within the limit.

    Empty for a schedule that is not active.
    """
    if schedule.status is not ScheduleStatus.ACTIVE:
        return iter(())
    following = series(schedule).between(schedule.cursor_at + TICK, LATEST_INSTANT)
    return islice(following, remaining(schedule))


def scheduled(schedule: Schedule, occurrence_at: datetime) -> datetime:
    """When the job of an occurrence may start: the nominal instant and its jitter."""
    if not schedule.jitter:
        return occurrence_at
    following = series(schedule).next_after(occurrence_at)
    gap = None if following is None else following - occurrence_at
    return occurrence_at + jitter_delay(schedule.id, occurrence_at, schedule.jitter, gap)


def expand(schedule: Schedule, now: datetime, unfinished: Sequence[Job] = ()) -> Expansion:
    """What is due at `now`, decided: jobs, skips and the next cursor.

    `unfinished` are the pending and processing jobs of the schedule. What fell due while it
    was paused or retired, or after its limit was used up, is skipped. A schedule whose rule
    cannot be read or searched is paused with the error on it, so that one bad row never stops
    the others.
    """
    try:
        return decide(schedule, now, unfinished)
    except SchedulerError as error:
        return Expansion(schedule, _broken(schedule, str(error), now))


def decide(schedule: Schedule, now: datetime, unfinished: Sequence[Job] = ()) -> Expansion:
    """`expand`, raising what is wrong with the rule."""
    window = _Window.due(schedule, now)
    if window is None:
        after = advance(schedule, schedule.cursor_at)
        return Expansion(schedule, replace(after, updated_at=now))
    match schedule.status:
        case ScheduleStatus.ACTIVE:
            series_jobs = [job for job in unfinished if job.sequence is not None]
            return _decided(schedule, window, series_jobs)
        case ScheduleStatus.PAUSED | ScheduleStatus.RETIRED:
            runs = window.runs((SkipReason.PAUSED, window.end))
        case ScheduleStatus.COMPLETED:
            runs = window.runs((SkipReason.CAPPED, window.end))
    return _recorded(schedule, window, [], runs)


@dataclass(frozen=True, slots=True)
class _Window:
    """The undecided instants [start, end) of a schedule at `now`, and where they turn."""

    schedule_id: str
    rule: Rule
    start: datetime
    end: datetime
    now: datetime
    expired_until: datetime
    """Older than `catch_up_window`."""
    missed_until: datetime
    """Longer ago than `grace`."""

    @classmethod
    def due(cls, schedule: Schedule, now: datetime) -> _Window | None:
        start = schedule.cursor_at + TICK
        if schedule.status is ScheduleStatus.ACTIVE and schedule.next_at is not None:
            start = schedule.next_at  # nothing lies before it
        end = now + TICK if now < LATEST_INSTANT else now  # half-open, so that `now` is due
        if start >= end:
            return None
        missed_until = min(end, max(start, _before(now, schedule.grace)))
        kept = schedule.catch_up_window
        expired_until = start if kept is None else max(start, _before(now, kept))
        rule = series(schedule)
        expired_until = min(expired_until, missed_until)
        return cls(schedule.id, rule, start, end, now, expired_until, missed_until)

    def runs(self, *ends: tuple[SkipReason, datetime]) -> list[Skip]:
        """One run for each (reason, until): from where the last ended, if anything is in it."""
        found: list[Skip] = []
        start = self.start
        for reason, until in ends:
            count = self.rule.count(start, until) if start < until else 0
            if count:
                [last_at] = self.rule.latest(1, start, until)
                first_at = next(self.rule.between(start, until))
                found.append(self.run(reason, first_at, last_at, count))
            start = max(start, until)
        return found

    def run(self, reason: SkipReason, first_at: datetime, last_at: datetime, count: int) -> Skip:
        return Skip(
            schedule_id=self.schedule_id,
            reason=reason,
            first_at=first_at,
            last_at=last_at,
            count=count,
            recorded_at=self.now,
        )


def _decided(schedule: Schedule, window: _Window, unfinished: Sequence[Job]) -> Expansion:
    """The five steps for an active schedule."""
    on_time = list(islice(window.rule.between(window.missed_until, window.end), MOST_AT_ONCE + 1))
    if len(on_time) > MOST_AT_ONCE:  # a long grace after a long outage: the rest at the next look
        window = replace(window, end=on_time.pop())
    chosen = _caught_up(schedule, window, bool(on_time)) + on_time
    dropped_until = chosen[0] if chosen else window.missed_until
    runs = window.runs(
        (SkipReason.EXPIRED, min(window.expired_until, dropped_until)),
        (SkipReason.MISSED, dropped_until),
    )
    kept, cut, cancelled = _overlapping(schedule, chosen, unfinished, window.now)
    limit = remaining(schedule)
    capped = kept[limit:] if limit is not None else []
    kept = kept[: len(kept) - len(capped)]
    for reason, run in ((SkipReason.OVERLAP, cut), (SkipReason.CAPPED, capped)):
        if run:
            runs.append(window.run(reason, run[0], run[-1], len(run)))
    runs.sort(key=lambda skip: skip.first_at)
    return _recorded(schedule, window, kept, runs, cancelled)


def _caught_up(schedule: Schedule, window: _Window, some_on_time: bool) -> list[datetime]:
    """The missed and unexpired occurrences that run after all, always the newest (9.5)."""
    missed = window.expired_until, window.missed_until
    match schedule.catch_up:
        case CatchUp.LATEST if not some_on_time:
            return window.rule.latest(1, *missed)
        case CatchUp.ALL:
            return window.rule.latest(schedule.catch_up_max, *missed)
        case _:
            return []


def _overlapping(
    schedule: Schedule, chosen: list[datetime], unfinished: Sequence[Job], now: datetime
) -> tuple[list[datetime], list[datetime], tuple[tuple[Job, Job], ...]]:
    """What of `chosen` runs, what an unfinished job keeps from it, what is cancelled (9.10).

    Judged by the jobs that were there before: what falls due together, after an outage, is
    not an overlap. It runs one after the other (`Job.serial`).
    """
    if not chosen or not unfinished:
        return chosen, [], ()
    match schedule.overlap:
        case Overlap.ALLOW:
            return chosen, [], ()
        case Overlap.SKIP:
            return [], chosen, ()
        case Overlap.QUEUE_ONE:
            room = 1 if len(unfinished) == 1 else 0
            return chosen[:room], chosen[room:], ()
        case Overlap.CANCEL_PREVIOUS:
            called_off = tuple((job, lifecycle.cancel(job, now=now)) for job in unfinished)
            return chosen[-1:], chosen[:-1], called_off


def _recorded(
    schedule: Schedule,
    window: _Window,
    kept: list[datetime],
    runs: list[Skip],
    cancelled: tuple[tuple[Job, Job], ...] = (),
) -> Expansion:
    """The expansion with jobs for `kept` and a record of `runs`, ascending and disjoint."""
    jobs = tuple(_jobs(schedule, kept, runs, window))
    runs = _prolonged(schedule.open_skip, runs, kept)
    last_at = kept[-1] if kept else schedule.last_occurrence_at
    is_open = runs and (not kept or runs[-1].first_at > kept[-1])
    open_skip = runs[-1] if is_open else (None if kept else schedule.open_skip)
    materialised = schedule.materialised + len(kept)
    after = replace(
        schedule,
        materialised=materialised,
        last_occurrence_at=last_at,
        open_skip=open_skip,
        updated_at=window.now,
        **_advanced(schedule, window.rule, window.end - TICK, materialised),
    )
    return Expansion(schedule, after, jobs, tuple(runs), cancelled)


def _prolonged(open_skip: Skip | None, runs: list[Skip], kept: list[datetime]) -> list[Skip]:
    """`runs`, the first of them joined to the open run if that is of its kind."""
    if not runs or open_skip is None or open_skip.reason is not runs[0].reason:
        return runs
    if kept and kept[0] < runs[0].first_at:
        return runs
    joined = replace(
        runs[0],
        first_at=open_skip.first_at,
        count=open_skip.count + runs[0].count,
        backfilled=open_skip.backfilled,
    )
    return [joined, *runs[1:]]


def _jobs(
    schedule: Schedule, kept: list[datetime], runs: list[Skip], window: _Window
) -> Iterator[Job]:
    previous_at = schedule.last_occurrence_at
    is_gapless = not runs and schedule.open_skip is None
    for place, occurrence_at in enumerate(kept, start=1):
        missed_before = 0
        if not is_gapless:
            missed_from = max(previous_at or FIRST_INSTANT, schedule.rule_since - TICK) + TICK
            missed_before = window.rule.count(missed_from, occurrence_at)
        yield occurrence_job(
            schedule,
            occurrence_at,
            window.now,
            scheduled_at=scheduled(schedule, occurrence_at),
            sequence=schedule.materialised + place,
            origin=Origin.CATCH_UP if occurrence_at < window.missed_until else Origin.OCCURRENCE,
            previous_occurrence_at=previous_at,
            missed_before=missed_before,
            serial=schedule.overlap is not Overlap.ALLOW,
        )
        previous_at = occurrence_at


def occurrence_job(schedule: Schedule, occurrence_at: datetime, now: datetime, **given: Any) -> Job:
    """The job of an occurrence, due at once unless `given` says more of it.

    Its id is the same whoever makes it.
    """
    made: dict[str, Any] = {
        "id": occurrence_id(schedule.id, occurrence_at),
        "name": schedule.job_name,
        "data": schedule.data,
        "created_at": now,
        "scheduled_at": now,
        "queue": schedule.queue,
        "priority": schedule.priority,
        "max_retries": schedule.max_retries,
        "timeout": schedule.timeout,
        "repeat": schedule.rule,
        "schedule_id": schedule.id,
        "occurrence_at": occurrence_at,
    }
    return Job(**(made | given))


def _broken(schedule: Schedule, error: str, now: datetime) -> Schedule:
    """`schedule` paused for what is wrong with its rule; nothing looks at it by itself."""
    return replace(
        schedule,
        status=ScheduleStatus.PAUSED,
        error=error,
        next_at=None,
        revision=schedule.revision + 1,
        updated_at=now,
    )


def _before(now: datetime, duration: timedelta) -> datetime:
    """`now` less `duration`, or the first instant there is."""
    return now - duration if duration < now - FIRST_INSTANT else FIRST_INSTANT


def _starts_at_creation(rule: Mapping[str, Any]) -> bool:
    """Whether `rule` is an interval, or holds one, that has no start of its own."""
    if "every" in rule:
        return rule.get("start_date") is None
    members = (*rule.get("any", ()), *rule.get("all", ()))
    return any(_starts_at_creation(member) for member in members)
