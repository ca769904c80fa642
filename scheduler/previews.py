"""What a schedule will run, and what of a window it will not, and why.

What is overdue is decided as the expander would decide it now (expansion.py); from then on it is
taken to be on time. So what a preview says is what runs. Pure: no clock, no I/O.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby, islice, takewhile

from scheduler.errors import InvalidOption
from scheduler.expansion import (
    FIRST_INSTANT,
    LATEST_INSTANT,
    NOTHING,
    TICK,
    Expansion,
    Made,
    decide,
    remaining,
    scheduled,
    series,
)
from scheduler.model import Schedule, ScheduleStatus, SkipReason
from scheduler.rules import Rule

MOST_PREVIEWED = 1000


@dataclass(frozen=True, slots=True)
class Previewed:
    """One instant of a preview, which people read in `timezone`; with `dropped`, it makes no job.

    Then for that reason, and else the job may start at `scheduled_at`.
    """

    occurrence_at: datetime
    scheduled_at: datetime
    timezone: str
    dropped: SkipReason | None = None


def runs(
    schedule: Schedule, now: datetime, made: Made = NOTHING, *, start: datetime = FIRST_INSTANT
) -> Iterator[Previewed]:
    """What an active schedule runs from the cursor on, and not before `start`; ascending, lazily.

    Within its limit. Nothing if it is not active. Raises InvalidRule if its rule is broken.
    """
    if schedule.status is ScheduleStatus.ACTIVE:
        yield from _running(decide(schedule, now, made), start)


def window(
    schedule: Schedule, now: datetime, made: Made, start: datetime | None, end: datetime
) -> Iterator[Previewed]:
    """The instants of [start, end), ascending: what runs, and what is dropped, with the reason.

    Of what lies before the cursor, nothing: it is on record. `start` None is the cursor. At most
    1000. Raises InvalidOption for a window that ends before it starts, InvalidRule.
    """
    cursor_at = schedule.cursor_at + TICK
    first = cursor_at if start is None else start
    if end <= first:
        raise InvalidOption("to", end.isoformat(), f"is not after {first.isoformat()}")
    first = max(first, cursor_at)
    rule, is_active = series(schedule), schedule.status is ScheduleStatus.ACTIVE
    decided = decide(schedule, now, made) if is_active else None
    found = _running(decided, first) if decided else iter(())
    within = takewhile(lambda each: each.occurrence_at < end, islice(found, MOST_PREVIEWED))
    running = {each.occurrence_at: each for each in within}
    # Beside the rule as it is: what calendars take out, and what a limit inside it lets in for it.
    both = heapq.merge(rule.between(first, end), rule.unexcluded().between(first, end))
    for at, _ in islice(groupby(both), MOST_PREVIEWED):
        yield running.get(at) or Previewed(
            at, at, schedule.timezone, _reason(schedule, rule, at, decided)
        )


def _running(decided: Expansion, start: datetime) -> Iterator[Previewed]:
    """The jobs of an expansion, then what follows it, from `start` on."""
    after = decided.after
    for job in decided.jobs:
        if job.occurrence_at is not None and job.occurrence_at >= start:
            yield Previewed(job.occurrence_at, job.scheduled_at, after.timezone)
    if after.status is not ScheduleStatus.ACTIVE:
        return
    rule, left, cursor_at = series(after), remaining(after), after.cursor_at + TICK
    first = max(start, cursor_at)
    if left is not None:
        left = max(0, left - rule.count(cursor_at, first))
    for at in islice(rule.between(first, LATEST_INSTANT), left):
        yield Previewed(at, scheduled(after, at), after.timezone)


def _reason(schedule: Schedule, rule: Rule, at: datetime, decided: Expansion | None) -> SkipReason:
    """Why an instant that does not run is dropped."""
    if at not in rule:
        return SkipReason.EXCLUDED
    if schedule.status in (ScheduleStatus.PAUSED, ScheduleStatus.RETIRED):
        return SkipReason.PAUSED
    skips = decided.skips if decided else ()
    return next(
        (skip.reason for skip in skips if skip.first_at <= at <= skip.last_at), SkipReason.CAPPED
    )
