"""Cron: dates and times of day on the wall clock, with the clock changes of Debian's cron(8).

The expression is parsed to sets (cron_fields.py); the dates of a kind of year are worked out
once. A *wildcard* rule matches what the clock shows. A *fixed-time* rule runs once where a gap
of at most three hours took its time away, and once where an overlap shows it twice.
"""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from itertools import pairwise, zip_longest
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from scheduler.rules import refusals
from scheduler.rules.base import Rule
from scheduler.rules.cron_fields import (
    LONGEST,
    CronFields,
    DaysOfMonth,
    DaysOfWeek,
    parse_cron,
    values,
)
from scheduler.rules.days import FixedTimes, KindDays, times_of_day
from scheduler.rules.existence import checked
from scheduler.rules.footprint import (
    NOTHING,
    Footprint,
    after_gaps,
    days_mask,
    made_up,
    outside_changes,
    times_mask,
)
from scheduler.rules.instants import FIRST, HOUR
from scheduler.rules.refusals import refuse
from scheduler.rules.series import Series, Steady
from scheduler.rules.timeline import Stretch, timeline
from scheduler.rules.wall import Pattern, WallSeries, literally

LONGEST_CHANGE = 3 * HOUR
"""A longer change of the clock is a correction, and nothing is made up for (Debian cron(8))."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cron(Rule):
    """`{"cron": "0 9 * * mon-fri"}`"""

    cron: str

    kind: ClassVar[str] = "cron"

    def _check(self) -> None:
        compiled(refusals.text("cron", self.cron, LONGEST))
        object.__setattr__(self, "cron", self.cron.strip(" \t"))

    def _to_json(self) -> dict[str, Any]:
        return {"cron": self.cron}

    def _instants(self, place: ZoneInfo) -> Series:
        fields, pattern = compiled(self.cron)
        beat = pattern.beat() if place.key == "UTC" else None
        if beat is not None:
            return Steady(FIRST + beat[0], beat[1])
        landing = literally if fields.wildcard else fixed_time
        return WallSeries(pattern, timeline(place), landing)

    def _footprint(self, place: ZoneInfo) -> Footprint:
        fields, shown = compiled(self.cron)[0], _readings(self.cron)
        return shown if fields.wildcard else after_gaps(shown, place, made_up)

    def certain(self, place: ZoneInfo) -> Footprint:
        narrowed = (self.start_date, self.end_date, self.limit, *self.kept_on, *self.exceptions)
        if self.timezone not in (None, place.key) or any(given is not None for given in narrowed):
            return NOTHING
        shown = _readings(self.cron)
        if compiled(self.cron)[0].wildcard:
            return shown
        return replace(shown, times=outside_changes(shown.times, place))


def cron(
    expression: str,
    *,
    timezone: str | None = None,
    start_date: datetime | str | None = None,
    end_date: datetime | str | None = None,
    limit: int | None = None,
) -> Cron:
    """When a cron expression of five fields, or six with the second first, matches the clock.

    0 and 7 are Sunday. If neither day field starts with `*`, either may match. Bounds are
    inclusive and only filter. Raises InvalidRule.

    >>> from datetime import UTC, datetime
    >>> cron("0 9 * * mon").next_after(datetime(2026, 1, 1, tzinfo=UTC))
    datetime.datetime(2026, 1, 5, 9, 0, tzinfo=datetime.timezone.utc)
    """
    return checked(
        Cron(
            cron=expression,
            timezone=timezone,
            start_date=start_date,  # type: ignore[arg-type]  # text is parsed on the way in
            end_date=end_date,  # type: ignore[arg-type]
            limit=limit,
        )
    )


# Typed, so that a subclass of str or another equal key cannot answer for the text.
@lru_cache(maxsize=1024, typed=True)
def compiled(expression: str) -> tuple[CronFields, FixedTimes]:
    """The sets and the wall pattern of an expression; InvalidRule if no date ever matches."""
    fields = parse_cron(expression)
    days = KindDays(lambda year: _dates(fields, year))
    if days.is_empty():
        hint = "no date of the calendar has this day, month and weekday"
        raise refuse("cron", expression, "never happens", hint)
    times = times_of_day(values(fields.hours), values(fields.minutes), values(fields.seconds))
    return fields, FixedTimes(days, times)


def _readings(expression: str) -> Footprint:
    """The readings that match, exactly."""
    fields, _ = compiled(expression)
    times = times_mask(values(fields.hours), values(fields.minutes), values(fields.seconds))
    return Footprint(days_mask(KindDays(lambda year: _dates(fields, year))), times, is_whole=True)


def _dates(fields: CronFields, year: int) -> list[int]:
    """The days of a year (0 = 1 January) that match."""
    found: list[int] = []
    base = 0
    for month in range(1, 13):
        weekday, length = monthrange(year, month)
        if fields.months >> month & 1:
            first = (weekday + 1) % 7  # 0 = Sunday, as cron counts
            by_day = days_of_month(fields.days, length, first)
            by_weekday = days_of_week(fields.weekdays, length, first)
            mask = by_day | by_weekday if fields.either_day else by_day & by_weekday
            found.extend(base + day - 1 for day in values(mask))
        base += length
    return found


def days_of_month(field: DaysOfMonth, length: int, first: int) -> int:
    """The days (mask) that a day-of-month field means in a month of `length` days.

    `first` is the weekday of the 1st, 0 = Sunday.
    """
    mask = field.mask & (1 << length + 1) - 1
    for before in field.from_last:
        if before < length:
            mask |= 1 << length - before
    for day in field.nearest:
        if day <= length:
            mask |= 1 << _nearest_workday(day, length, first)
    if field.last_workday:
        mask |= 1 << _nearest_workday(length, length, first)
    return mask


def days_of_week(field: DaysOfWeek, length: int, first: int) -> int:
    """The days (mask) that a day-of-week field means in such a month."""
    mask = 0
    for day in range(1, length + 1):
        weekday = (first + day - 1) % 7
        if (
            field.mask >> weekday & 1
            or (day + 7 > length and weekday in field.last)
            or (weekday, (day + 6) // 7) in field.nth
        ):
            mask |= 1 << day
    return mask


def _nearest_workday(day: int, length: int, first: int) -> int:
    """The Monday to Friday nearest to `day` inside the month."""
    weekday = (first + day - 1) % 7
    if weekday == 6:
        return day - 1 if day > 1 else day + 2
    if weekday == 0:
        return day + 1 if day < length else day - 2
    return day


def fixed_time(pattern: Pattern, stretch: Stretch) -> list[int]:
    """The runs of a fixed-time rule around a change of the clock."""
    found: set[int] = set()
    seen = FIRST  # readings before this one have been shown already
    for segment, following in zip_longest(stretch.segments, stretch.segments[1:]):
        lo, hi = segment.lo + segment.offset, segment.hi + segment.offset
        found.update(wall - segment.offset for wall in pattern.ascending(max(lo, seen), hi))
        back = segment.offset - following.offset if following else 0
        seen = hi if 0 < back <= LONGEST_CHANGE else FIRST
    for before, after in pairwise(stretch.segments):
        gap = after.offset - before.offset
        if 0 < gap <= LONGEST_CHANGE:
            lost = pattern.ascending(after.lo + before.offset, after.lo + after.offset)
            if next(lost, None) is not None:
                found.add(after.lo)
    return sorted(found)
