"""From a schedule and an instant to jobs, skips and the next cursor.

The window is (cursor, now]. Every occurrence in it is decided in five steps: too old, missed,
overlapping, beyond the limit, or else a job; each ends as a job or in one record of a run of
skips. Runs are counted arithmetically and only what becomes a job is listed, so that ten years
of missed seconds cost what one missed hour does. Pure: no clock, no I/O.
"""

from __future__ import annotations

import functools
import json
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, NamedTuple

from scheduler import lifecycle
from scheduler.errors import SchedulerError
from scheduler.ids import occurrence_id
from scheduler.model import (
    CatchUp,
    Job,
    JsonObject,
    Note,
    Origin,
    Overlap,
    Schedule,
    ScheduleStatus,
    Skip,
    SkipReason,
    make,
    replace,
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


@dataclass(frozen=True, slots=True)
class Made:
    """What of a schedule has jobs already, as far as it matters to what is decided next.

    `unfinished` are its pending and processing jobs. `ahead` are the occurrences later than the
    cursor that have a job, ascending: what was backfilled while the schedule was at rest.
    """

    unfinished: Sequence[Job] = ()
    ahead: Sequence[datetime] = ()


NOTHING = Made()


def series(schedule: Schedule) -> Rule:
    """The schedule's rule with its zone and anchor filled in, without its limit.

    A live schedule's limit counts jobs made, not instants of the set (clause 3.4).
    Raises InvalidRule if the stored rule cannot be read.
    """
    text = json.dumps(schedule.rule)
    anchor_at = schedule.anchor_at if _read(text).leans_on_anchor() else FIRST_INSTANT
    return _series(text, schedule.timezone, anchor_at)


@functools.lru_cache(maxsize=4096)
def _read(text: str) -> Rule:
    return rule_from_json(json.loads(text)).unlimited()


@functools.lru_cache(maxsize=4096)
def _series(text: str, timezone: str, anchor_at: datetime) -> Rule:
    return _read(text).bound(timezone=timezone, anchor=anchor_at)


def begin(schedule: Schedule) -> Schedule:
    """A new schedule with its anchor, first cursor and first `next_at` set.

    Occurrences before the creation only fix the phase (clause 3.5); an interval without a
    start has occurrence 0 at the anchor, due at once (clause 2.2).
    """
    anchor_at = schedule.created_at.replace(microsecond=0)
    first_due = anchor_at if starts_at_creation(schedule.rule) else schedule.created_at
    begun = replace(
        schedule, anchor_at=anchor_at, rule_since=first_due, cursor_at=_before(first_due, TICK)
    )
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


def scheduled(schedule: Schedule, occurrence_at: datetime) -> datetime:
    """When the job of an occurrence may start: the nominal instant and its jitter."""
    if not schedule.jitter:
        return occurrence_at
    following = series(schedule).next_after(occurrence_at)
    gap = None if following is None else following - occurrence_at
    return occurrence_at + jitter_delay(schedule.id, occurrence_at, schedule.jitter, gap)


def expand(schedule: Schedule, now: datetime, made: Made = NOTHING) -> Expansion:
    """What is due at `now`, decided: jobs, skips and the next cursor.

    What fell due while the schedule was paused or retired, or after its limit was used up, is
    skipped. What has a job already, as `made` says, gets no other. A schedule whose rule cannot
    be read or searched is paused with the error on it, so that one bad row never stops the others.
    """
    try:
        return decide(schedule, now, made)
    except SchedulerError as error:
        return Expansion(schedule, _broken(schedule, str(error), now))


def decide(schedule: Schedule, now: datetime, made: Made = NOTHING) -> Expansion:
    """`expand`, raising what is wrong with the rule."""
    window = _Window.due(schedule, now, made.ahead)
    if window is None:
        after = advance(schedule, schedule.cursor_at)
        return Expansion(schedule, replace(after, updated_at=now))
    match schedule.status:
        case ScheduleStatus.ACTIVE:
            series_jobs = [job for job in made.unfinished if job.sequence is not None]
            return _decided(schedule, window, series_jobs)
        case ScheduleStatus.PAUSED | ScheduleStatus.RETIRED:
            window = window.prolonged()
            runs = window.runs((SkipReason.PAUSED, window.end))
        case ScheduleStatus.COMPLETED:
            runs = window.runs((SkipReason.CAPPED, window.end))
    return _recorded(schedule, window, runs)


class _Window(NamedTuple):
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
    ahead: Sequence[datetime]
    """What has a job already, ascending."""

    @classmethod
    def due(cls, schedule: Schedule, now: datetime, ahead: Sequence[datetime]) -> _Window | None:
        start = schedule.cursor_at + TICK
        if schedule.status is ScheduleStatus.ACTIVE and schedule.next_at is not None:
            start = schedule.next_at  # nothing lies before it
        end = now + TICK if now < LATEST_INSTANT else now  # half-open, so that `now` is due
        if start >= end and not ahead:
            return None
        end = max(start, end)
        missed_until = min(end, max(start, _before(now, schedule.grace)))
        kept = schedule.catch_up_window
        expired_until = start if kept is None else max(start, _before(now, kept))
        rule = series(schedule)
        expired_until = min(expired_until, missed_until)
        return cls(schedule.id, rule, start, end, now, expired_until, missed_until, ahead)

    def prolonged(self) -> _Window:
        """This window up to the last that has a job: it was past before the clock was set back."""
        return self._replace(end=max([self.end, *(at + TICK for at in self.ahead[-1:])]))

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
            backfilled=len(_within(self.ahead, first_at, last_at)),
        )


def _within(instants: Sequence[datetime], first_at: datetime, last_at: datetime) -> list[datetime]:
    """Those of `instants`, ascending, from `first_at` to `last_at`, both inclusive."""
    return list(instants[bisect_left(instants, first_at) : bisect_right(instants, last_at)])


def _decided(schedule: Schedule, window: _Window, unfinished: Sequence[Job]) -> Expansion:
    """The five steps for an active schedule."""
    on_time = _on_time(window)
    if len(on_time) > MOST_AT_ONCE:  # a long grace after a long outage: the rest at the next look
        window = window._replace(end=on_time.pop())
    is_late = window.start < window.missed_until
    chosen = _caught_up(schedule, window, bool(on_time)) + on_time if is_late else on_time
    dropped_until = chosen[0] if chosen else window.missed_until
    runs: list[Skip] = []
    if window.start < dropped_until:
        runs = window.runs(
            (SkipReason.EXPIRED, min(window.expired_until, dropped_until)),
            (SkipReason.MISSED, dropped_until),
        )
    has_job = set(window.ahead)
    wanting = [at for at in chosen if at not in has_job] if has_job else chosen
    kept, cut, cancelled = _overlapping(schedule, wanting, unfinished, window.now)
    limit = remaining(schedule)
    capped = kept[limit:] if limit is not None else []
    kept = kept[: len(kept) - len(capped)]
    for reason, run in ((SkipReason.OVERLAP, cut), (SkipReason.CAPPED, capped)):
        if run:
            count = len(_within(chosen, run[0], run[-1])) if has_job else len(run)
            runs.append(window.run(reason, run[0], run[-1], count))
    runs.sort(key=lambda skip: skip.first_at)
    if has_job and window.end > window.now:
        later = window.prolonged()._replace(start=window.end)
        window = window._replace(end=later.end)
        runs += later.runs((SkipReason.PAUSED, later.end))
    return _recorded(schedule, window, runs, kept, has_job, cancelled)


def _on_time(window: _Window) -> list[datetime]:
    """Those of the window that were not missed: one more than MOST_AT_ONCE, if there are more.

    Mostly there is one, and `next_after` remembers what followed the last.
    """
    rule, start, end = window.rule, window.missed_until, window.end
    if start > FIRST_INSTANT:
        with suppress(SearchEnded):  # beyond the window, it may be
            first = rule.next_after(start - TICK)
            if first is None or first >= end:
                return []
            following = rule.next_after(first)
            if following is None or following >= end:
                return [first]
    return list(islice(rule.between(start, end), MOST_AT_ONCE + 1))


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
    runs: list[Skip],
    kept: list[datetime] | None = None,
    has_job: Collection[datetime] = (),
    cancelled: tuple[tuple[Job, Job], ...] = (),
) -> Expansion:
    """The expansion with jobs for `kept` and a record of `runs`, ascending and disjoint.

    What `has_job` already is in one of the runs, or ends it as a job of `kept` does.
    """
    kept = kept or []
    jobs = tuple(_jobs(schedule, kept, runs, window))
    ended = _ended(kept, runs, has_job) if has_job else kept
    runs = _joined(schedule.open_skip, runs, ended)
    last_at = kept[-1] if kept else schedule.last_occurrence_at
    is_open = runs and (not ended or runs[-1].first_at > ended[-1])
    open_skip = runs[-1] if is_open else (None if ended else schedule.open_skip)
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


def _ended(kept: list[datetime], runs: list[Skip], has_job: Collection[datetime]) -> list[datetime]:
    """What ends as a job and not in one of `runs`, ascending."""
    alone = (at for at in has_job if not any(run.first_at <= at <= run.last_at for run in runs))
    return sorted({*kept, *alone})


def _joined(open_skip: Skip | None, runs: list[Skip], ended: list[datetime]) -> list[Skip]:
    """`runs`, the first of them joined to the open run if that is of its kind and goes on."""
    if not runs or open_skip is None or open_skip.reason is not runs[0].reason:
        return runs
    if ended and ended[0] < runs[0].first_at:
        return runs
    joined = replace(
        runs[0],
        first_at=open_skip.first_at,
        count=open_skip.count + runs[0].count,
        backfilled=open_skip.backfilled + runs[0].backfilled,
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


def occurrence_job(
    schedule: Schedule,
    occurrence_at: datetime,
    now: datetime,
    *,
    job_id: str | None = None,
    data: JsonObject | None = None,
    scheduled_at: datetime | None = None,
    **given: Any,
) -> Job:
    """The job of an occurrence, due at once unless `scheduled_at` says later.

    Its id is the same whoever makes it, unless `job_id` is another.
    """
    values = {
        **_NEW,
        "id": job_id or occurrence_id(schedule.id, occurrence_at),
        "name": schedule.job_name,
        "data": schedule.data if data is None else data,
        "created_at": now,
        "scheduled_at": scheduled_at or now,
        "queue": schedule.queue,
        "priority": schedule.priority,
        "max_retries": schedule.max_retries,
        "timeout": schedule.timeout,
        "concurrency_key": schedule.concurrency_key,
        "repeat": schedule.rule,
        "schedule_id": schedule.id,
        "occurrence_at": occurrence_at,
        **given,
    }
    return make(Job, values.values())


_NEW = {each.name: each.default for each in fields(Job)}
"""What a job is unless something else is said, in the order of its fields."""


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


def starts_at_creation(rule: Mapping[str, Any]) -> bool:
    """Whether `rule` is an interval, or holds one, that has no start of its own."""
    if "every" in rule:
        return rule.get("start_date") is None
    members = (*rule.get("any", ()), *rule.get("all", ()))
    return any(starts_at_creation(member) for member in members)
