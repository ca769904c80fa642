"""From a schedule and an instant to jobs, skips and the next cursor.

The window is (cursor, now]: what is on time becomes jobs, what was missed is caught up or
skipped by policy, and every occurrence of the window ends as exactly one of the two. Missed
runs are counted arithmetically and only what becomes a job is listed, so that ten years of
missed seconds cost what one missed hour does. Pure: no clock, no I/O.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from scheduler.errors import SchedulerError
from scheduler.ids import occurrence_id
from scheduler.model import CatchUp, Job, Schedule, ScheduleStatus, Skip, SkipReason
from scheduler.rules import Rule, rule_from_json

_TICK = timedelta(microseconds=1)
LATEST_INSTANT = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Expansion:
    """What one expansion decided: `before` becomes `after`, with these jobs and skips.

    A storage writes it whole or not at all, and only while the stored schedule still is
    `before` (same cursor, same revision).
    """

    before: Schedule
    after: Schedule
    jobs: tuple[Job, ...] = ()
    skips: tuple[Skip, ...] = ()


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
    begun = replace(schedule, anchor_at=anchor_at, cursor_at=first_due - _TICK)
    return advance(begun, begun.cursor_at)


def advance(schedule: Schedule, cursor_at: datetime) -> Schedule:
    """`schedule` with everything up to `cursor_at` decided; completed if nothing can follow."""
    cursor_at = max(cursor_at, schedule.cursor_at)
    next_at = None if remaining(schedule) == 0 else series(schedule).next_after(cursor_at)
    ended = next_at is None and schedule.status is ScheduleStatus.ACTIVE
    return replace(
        schedule,
        cursor_at=cursor_at,
        next_at=next_at,
        status=ScheduleStatus.COMPLETED if ended else schedule.status,
    )


def remaining(schedule: Schedule) -> int | None:
    """How many jobs the schedule may still make; None without a limit."""
    limit = schedule.rule.get("limit")
    return None if limit is None else max(0, limit - schedule.materialised)


def upcoming(schedule: Schedule) -> Iterator[datetime]:
    """The occurrences still to come, ascending, in UTC: from the cursor, within the limit.

    Empty for a schedule that is not active.
    """
    if schedule.status is not ScheduleStatus.ACTIVE:
        return iter(())
    following = series(schedule).between(schedule.cursor_at + _TICK, LATEST_INSTANT)
    return islice(following, remaining(schedule))


def expand(schedule: Schedule, now: datetime) -> Expansion:
    """What is due at `now`, decided: jobs, skips and the next cursor.

    A schedule whose rule cannot be read or searched is paused with the error on it, so that
    one bad row never stops the others.
    """
    try:
        chosen, skipped = _decide(schedule, now)
        jobs = tuple(
            _job(schedule, occurrence_at, schedule.materialised + place, now)
            for place, occurrence_at in enumerate(chosen, start=1)
        )
        counted = replace(
            schedule,
            materialised=schedule.materialised + len(jobs),
            revision=schedule.revision + 1,
            updated_at=now,
        )
        return Expansion(schedule, advance(counted, now), jobs, skipped)
    except SchedulerError as error:
        paused = replace(
            schedule,
            status=ScheduleStatus.PAUSED,
            error=str(error),
            next_at=None,
            revision=schedule.revision + 1,
            updated_at=now,
        )
        return Expansion(schedule, paused)


def _decide(schedule: Schedule, now: datetime) -> tuple[list[datetime], tuple[Skip, ...]]:
    """The due occurrences that run, ascending, and a record of those that do not."""
    rule = series(schedule)
    start = schedule.cursor_at + _TICK
    end = now + _TICK if now < LATEST_INSTANT else now  # half-open, so that `now` is due
    if start >= end:
        return [], ()
    on_time_from = min(end, max(start, now - schedule.grace))
    on_time = list(rule.between(on_time_from, end))
    caught_up = _caught_up(schedule, rule, start, on_time_from, bool(on_time))
    skips = _missed(schedule, rule, start, on_time_from, caught_up, now)
    return (caught_up + on_time)[: remaining(schedule)], skips


def _caught_up(
    schedule: Schedule, rule: Rule, start: datetime, end: datetime, some_on_time: bool
) -> list[datetime]:
    """The missed occurrences in [start, end) that run after all (clause 9.5)."""
    match schedule.catch_up:
        case CatchUp.LATEST if not some_on_time:
            return rule.latest(1, start, end)
        case CatchUp.ALL:
            return rule.latest(schedule.catch_up_max, start, end)
        case _:
            return []


def _missed(
    schedule: Schedule,
    rule: Rule,
    start: datetime,
    end: datetime,
    caught_up: list[datetime],
    now: datetime,
) -> tuple[Skip, ...]:
    """One record for the run of missed occurrences in [start, end) before `caught_up`.

    What is caught up is always the newest, so that what is skipped is one unbroken run.
    """
    skipped_until = caught_up[0] if caught_up else end
    count = rule.count(start, skipped_until)
    if not count:
        return ()
    [last_at] = rule.latest(1, start, skipped_until)
    return (
        Skip(
            schedule_id=schedule.id,
            reason=SkipReason.MISSED,
            first_at=next(rule.between(start, skipped_until)),
            last_at=last_at,
            count=count,
            recorded_at=now,
        ),
    )


def _job(schedule: Schedule, occurrence_at: datetime, sequence: int, now: datetime) -> Job:
    return Job(
        id=occurrence_id(schedule.id, occurrence_at),
        name=schedule.job_name,
        data=schedule.data,
        created_at=now,
        scheduled_at=occurrence_at,
        queue=schedule.queue,
        priority=schedule.priority,
        max_retries=schedule.max_retries,
        timeout=schedule.timeout,
        repeat=schedule.rule,
        schedule_id=schedule.id,
        occurrence_at=occurrence_at,
        sequence=sequence,
    )


def _starts_at_creation(rule: Mapping[str, Any]) -> bool:
    """Whether `rule` is an interval, or holds one, that has no start of its own."""
    if "every" in rule:
        return rule.get("start_date") is None
    members = (*rule.get("any", ()), *rule.get("all", ()))
    return any(_starts_at_creation(member) for member in members)
