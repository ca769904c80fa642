"""Whether a recurrence occurs at all, decided by residues: nothing is walked but dates.

The Gregorian calendar repeats after 400 years, so that no match in a common cycle of it and
INTERVAL means never. Steps of hours or less meet their BY parts or do not by what they leave
when divided by a day, and by the cycle of the calendar (recur_steps.py).
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Sequence
from datetime import datetime
from math import gcd

from scheduler.rules.days import (
    KindDays,
    last_day,
    new_year,
    times_of_day,
    weekday_of,
    year_kind,
)
from scheduler.rules.instants import DAY, END, wall_micros
from scheduler.rules.recur import Recur
from scheduler.rules.recur_days import completed, filtered_days
from scheduler.rules.recur_steps import CYCLE_DAYS, CYCLE_YEARS, ReachedDays, Steps
from scheduler.rules.recur_times import recur_pattern, time_sets
from scheduler.rules.refusals import refuse
from scheduler.rules.series import SearchEnded, searching

_STEPS = 6_400
_CYCLE_MONTHS, _CYCLE_WEEKS = 12 * CYCLE_YEARS, CYCLE_DAYS // 7


def refuse_if_impossible(recur: Recur, start: datetime) -> None:
    """Refuse a recurrence from the reading `start` that no date or time of day ever meets."""
    recur = completed(recur, start.date())
    days = filtered_days(recur)
    if days.is_empty():
        reason = "never happen"
        raise refuse("rrule", "the BY parts", reason, "no date of the calendar has them all")
    occurs = _steps_meet if recur.is_subdaily else _has_interval
    if not occurs(recur, days, start):
        hint = "no interval from dtstart meets its BY parts"
        raise refuse("rrule", f"INTERVAL={recur.interval}", "never meets the BY parts", hint)


def _steps_meet(recur: Recur, days: KindDays, start: datetime) -> bool:
    """Whether a step of HOURLY or shorter is on a date and at a time of day that is kept."""
    pattern = recur_pattern(recur, start)
    try:
        with searching(_STEPS):
            return pattern.first(wall_micros(start), END) is not None
    except SearchEnded:
        return True  # residues allow it, so that one day it does


def _has_interval(recur: Recur, days: KindDays, start: datetime) -> bool:
    """Whether an interval of DAILY or longer has a reading, or enough of them for BYSETPOS."""
    times = len(times_of_day(*time_sets(recur, start)))
    position = min((abs(at) for at in recur.bysetpos), default=1)
    if not times:
        return False
    wanted = -(-position // times)
    if recur.interval == wanted == 1:
        return True
    if recur.freq == "DAILY":
        return wanted == 1 and _days_meet(recur, days, start)
    if recur.freq == "WEEKLY" and wanted > len(recur.byday):
        return False
    return any(len(list(days.ascending(*span))) >= wanted for span in _intervals(recur, start))


def _days_meet(recur: Recur, days: KindDays, start: datetime) -> bool:
    """Whether a date of the set is a whole number of steps after `start`."""
    first = wall_micros(start) // DAY
    steps = Steps(DAY, recur.interval, first, b"\x01", days)
    try:
        with searching(_STEPS):
            return ReachedDays(days, steps).first(first) is not None
    except SearchEnded:
        return True


def _intervals(recur: Recur, start: datetime) -> Sequence[tuple[int, int]]:
    """The days [lo, hi) of each year, month or week that a common cycle with INTERVAL has.

    Of those that are alike, one.
    """
    step = recur.interval
    match recur.freq:
        case "YEARLY":
            years = range(start.year, 10_000, step)[: CYCLE_YEARS // gcd(step, CYCLE_YEARS)]
            alike = {year_kind(year): year for year in years}
            return [(new_year(year), last_day(year) + 1) for year in alike.values()]
        case "MONTHLY":
            first = start.year * 12 + start.month - 1
            months = range(first, 120_000, step)[: _CYCLE_MONTHS // gcd(step, _CYCLE_MONTHS)]
            kinds = {(year_kind(month // 12), month % 12): month for month in months}
            return [_month(month) for month in kinds.values()]
        case _:
            day = wall_micros(start) // DAY
            week = day - (weekday_of(day) - recur.wkst) % 7
            weeks = range(week, END // DAY, 7 * step)[: _CYCLE_WEEKS // gcd(step, _CYCLE_WEEKS)]
            return [(first, first + 7) for first in weeks]


def _month(number: int) -> tuple[int, int]:
    """The days of a month counted from January of the year 0."""
    year, month = divmod(number, 12)
    first = new_year(year) + sum(monthrange(year, before)[1] for before in range(1, month + 1))
    return first, first + monthrange(year, month + 1)[1]
