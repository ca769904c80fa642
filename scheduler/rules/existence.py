"""Whether a rule can occur at all, asked once, when it is defined.

Dates first: the Gregorian calendar repeats after 400 years, so that no match in a common cycle
of it and the rule's own step means never. What bounds, calendars, exclusions and intersections
leave is then searched for, within a bound; where that shows nothing either way, the rule is
accepted.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from math import gcd
from typing import TYPE_CHECKING, TypeVar

from scheduler.rules.days import DayPattern, FixedTimes, KindDays, new_year, weekday_of
from scheduler.rules.instants import DAY, END, FIRST, wall_micros
from scheduler.rules.recur import Recur
from scheduler.rules.recur_days import completed, filtered_days
from scheduler.rules.recur_times import Strides, recur_pattern
from scheduler.rules.refusals import refuse
from scheduler.rules.series import SEARCH_STEPS, SearchEnded, Series, Unbound

if TYPE_CHECKING:
    from scheduler.rules.base import Rule

_STEPS = 6_400
_DAY_STEPS = 150_000
_CYCLE_YEARS, _CYCLE_DAYS = 400, 146_097
_CYCLE_MONTHS, _CYCLE_WEEKS = 12 * _CYCLE_YEARS, _CYCLE_DAYS // 7
_YEAR = 366 * DAY
_SHOWN = 4 * _YEAR
_SHOWN_ANNUAL = 60 * _YEAR
_RECENT = wall_micros(datetime.fromisoformat("2000-01-01"))
_HINT = "check its dates, bounds and exclusions"

Checked = TypeVar("Checked", bound="Rule")


def checked(rule: Checked) -> Checked:
    """`rule`; InvalidRule where it is shown that it never occurs.

    A rule that leaves its zone open is not searched where the zone could decide.
    """
    bounded = rule.start_date is not None or rule.end_date is not None
    if rule.timezone is None and (bounded or not rule.is_wall_only()):
        return rule
    try:
        series = rule.unlimited().series()
    except Unbound:
        return rule
    if _is_empty(series, rule):
        raise refuse(rule.kind, "the rule", "never occurs", _HINT)
    return rule


def _is_empty(series: Series, rule: Rule) -> bool:
    """Whether a bounded search shows that there is no occurrence."""
    # A step through the calendars of an intersection is itself a search.
    nested = rule.kind == "all" and bool(rule.kept_on or rule.exceptions)
    try:
        with _search_steps(_STEPS // 8 if nested else _STEPS):
            for start in (_RECENT, FIRST):
                if series.after(start - 1) is not None:
                    return False
    except SearchEnded as ended:
        if ended.field == "rrule":
            return False  # steps of a recurrence drift: that they miss for years shows nothing
        return ended.span >= (_SHOWN_ANNUAL if rule.has_annual() else _SHOWN)
    return True


@contextmanager
def _search_steps(most: int) -> Iterator[None]:
    token = SEARCH_STEPS.set(most)
    try:
        yield
    finally:
        SEARCH_STEPS.reset(token)


def refuse_if_impossible(recur: Recur, start: datetime) -> None:
    """Refuse a recurrence from the reading `start` that no date or time of day ever meets."""
    filled = completed(recur, start.date())
    filtered = filtered_days(filled)
    if filtered.is_empty():
        raise refuse(
            "rrule", "the BY parts", "never happen", "no date of the calendar has them all"
        )
    if recur.is_subdaily or recur.bysetpos or recur.bysecond == (60,):
        possible = _is_reached(recur, start)
    else:
        possible = recur.interval == 1 or _is_in_phase(filled, filtered, start)
    if not possible:
        hint = "no interval from dtstart meets its BY parts"
        raise refuse("rrule", f"INTERVAL={recur.interval}", "never meets the BY parts", hint)


def _is_in_phase(recur: Recur, filtered: KindDays, start: datetime) -> bool:
    """Whether the steps of INTERVAL reach a date in one common cycle with the calendar."""
    step, first = recur.interval, new_year(start.year) + start.timetuple().tm_yday - 1
    match recur.freq:
        case "YEARLY":
            years = range(start.year, 10_000, step)[: _CYCLE_YEARS // gcd(step, _CYCLE_YEARS)]
            return any(filtered.offsets(year) for year in years)
        case "MONTHLY":
            month = start.year * 12 + start.month - 1
            months = range(month, 120_000, step)[: _CYCLE_MONTHS // gcd(step, _CYCLE_MONTHS)]
            return any(_has_day(filtered, *_month(number)) for number in months)
        case "WEEKLY":
            week = first - (weekday_of(first) - recur.wkst) % 7
            weeks = range(week, END // DAY, 7 * step)[: _CYCLE_WEEKS // gcd(step, _CYCLE_WEEKS)]
            return any(_has_day(filtered, day, day + 7) for day in weeks)
        case _:
            days = range(first, END // DAY, step)[: _CYCLE_DAYS // gcd(step, _CYCLE_DAYS)]
            return any(_has_day(filtered, day, day + 1) for day in days)


def _has_day(filtered: KindDays, lo: int, hi: int) -> bool:
    return next(filtered.ascending(lo, hi), None) is not None


def _month(number: int) -> tuple[int, int]:
    """The days of a month counted from January of the year 0."""
    year, month = divmod(number, 12)
    first = new_year(year) + sum(monthrange(year, before)[1] for before in range(1, month + 1))
    return first, first + monthrange(year, month + 1)[1]


def _days_per_step(recur: Recur) -> int | None:
    """How many days a step of hours or less takes, where that is a whole number."""
    per_day = {"HOURLY": 24, "MINUTELY": 1_440, "SECONDLY": 86_400}.get(recur.freq, 0)
    return None if not per_day or recur.interval % per_day else recur.interval // per_day


def _week_size(recur: Recur) -> int:
    """How many readings a week can have at most."""
    times = max(1, len(recur.byhour)) * max(1, len(recur.byminute)) * max(1, len(recur.bysecond))
    return times * max(1, len(recur.byday))


def _is_reached(recur: Recur, start: datetime) -> bool:
    """Whether the readings themselves begin, in more days than one cycle of the calendar."""
    pattern = recur_pattern(recur, start)
    if (
        recur.freq == "WEEKLY"
        and recur.bysetpos
        and min(abs(at) for at in recur.bysetpos) > _week_size(recur)
    ):
        return False
    if isinstance(pattern, Strides):
        if not pattern.meets_a_time():
            return False
        step = _days_per_step(recur)
        if step is not None:
            daily = replace(recur, freq="DAILY", interval=step)
            return _is_in_phase(daily, filtered_days(daily), start)
    if isinstance(pattern, FixedTimes):
        # The same times on every date that passes: one day tells.
        return bool(pattern.times(0))
    steps = _DAY_STEPS if isinstance(pattern, DayPattern) else _STEPS
    try:
        with _search_steps(steps):
            return next(pattern.ascending(wall_micros(start), END), None) is not None
    except SearchEnded:
        return steps == _STEPS
