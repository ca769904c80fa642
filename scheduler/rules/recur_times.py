"""The readings of an RRULE: its dates with their times of day, stepped and chosen from.

DAILY and longer have the same times on every date. HOURLY and shorter step on the wall clock,
so that a day's times depend on where the progression stands that day (recur_steps.py).
BYSETPOS chooses from the whole set of one interval.
"""

from __future__ import annotations

from bisect import bisect_left
from calendar import isleap, monthrange
from collections.abc import Iterable, Sequence
from datetime import datetime

from scheduler.rules.days import (
    DayPattern,
    Days,
    FixedTimes,
    Offsets,
    new_year,
    times_of_day,
    weekday_of,
    year_kind,
    year_of,
)
from scheduler.rules.instants import DAY, HOUR, MINUTE, SECOND, wall_micros
from scheduler.rules.recur import Recur
from scheduler.rules.recur_days import completed, day_phase, filtered_days, has_date_parts
from scheduler.rules.recur_steps import SteppedTimes, Steps, kept_times, times_within
from scheduler.rules.wall import Pattern

_UNIT = {"HOURLY": HOUR, "MINUTELY": MINUTE, "SECONDLY": SECOND}
_KEPT = 64


def recur_pattern(recur: Recur, start: datetime) -> Pattern:
    """The readings of `recur` with the phase and the open fields of `start`, a naive reading.

    Readings before `start` that the progression also has are in it; the caller cuts them off.
    """
    recur = completed(recur, start.date())
    if recur.is_subdaily:
        return _stepped(recur, start)
    days = day_phase(recur, wall_micros(start) // DAY)
    times = times_of_day(*time_sets(recur, start))
    if not recur.bysetpos:
        return FixedTimes(days, times)
    if recur.freq == "DAILY":
        return FixedTimes(days, chosen(times, recur.bysetpos))
    return ChosenPattern(ChosenDays(days, times, recur, start))


def _stepped(recur: Recur, start: datetime) -> Pattern:
    """The readings of HOURLY, MINUTELY or SECONDLY."""
    days = filtered_days(recur)
    hours, minutes, seconds = time_sets(recur, start)
    if recur.interval == 1 and not recur.bysetpos:
        return FixedTimes(days, times_of_day(hours, minutes, seconds))
    within = _within(recur, minutes, seconds)
    if not within:
        return FixedTimes(days, ())
    unit = _UNIT[recur.freq]
    kept = kept_times(unit, hours, minutes, seconds)
    steps = Steps(unit, recur.interval, wall_micros(start) // unit, kept, days)
    if DAY % (recur.interval * unit) == 0:
        return FixedTimes(days, times_within(steps, 0, within))
    return SteppedTimes(days, steps, within, is_daily=not has_date_parts(recur))


def chosen(candidates: Sequence[int], positions: Sequence[int]) -> tuple[int, ...]:
    """The candidates at the positions of BYSETPOS: 1 is the first, -1 the last."""
    length = len(candidates)
    indexes = {at - 1 if at > 0 else length + at for at in positions}
    return tuple(candidates[at] for at in sorted(indexes) if 0 <= at < length)


def time_sets(recur: Recur, start: datetime) -> tuple[Sequence[int], Sequence[int], Sequence[int]]:
    """The hours, minutes and seconds: given, stepped through, or those of the start."""
    sixty = range(60)
    hour = range(24) if recur.is_subdaily else (start.hour,)
    minute = sixty if recur.freq in ("MINUTELY", "SECONDLY") else (start.minute,)
    second = sixty if recur.freq == "SECONDLY" else (start.second,)
    seconds = recur.bysecond or second
    # Second 60 is a leap second, and POSIX time has none.
    return recur.byhour or hour, recur.byminute or minute, [s for s in seconds if s < 60]


def _within(recur: Recur, minutes: Sequence[int], seconds: Sequence[int]) -> Sequence[int]:
    """The times inside one interval of HOURLY or shorter, after BYSETPOS."""
    if recur.freq == "HOURLY":
        times: Sequence[int] = [m * MINUTE + s * SECOND for m in minutes for s in seconds]
    elif recur.freq == "MINUTELY":
        times = [s * SECOND for s in seconds]
    else:
        times = [0]
    return chosen(times, recur.bysetpos) if recur.bysetpos else times


class ChosenDays(Days):
    """The dates of weeks, months or years from which BYSETPOS chose at least one time."""

    __slots__ = ("_days", "_kept", "_recur", "_start", "_times")

    def __init__(self, days: Days, times: Sequence[int], recur: Recur, start: datetime) -> None:
        super().__init__()
        self._start = start.replace(hour=0, minute=0, second=0)
        self._days = days
        self._times = times
        self._recur = recur
        self._kept: dict[object, dict[int, tuple[int, ...]]] = {}

    def offsets(self, year: int) -> Offsets:
        return list(self.times(year))

    def years(self, first: int, last: int) -> Iterable[int]:
        return self._days.years(first, last)

    def times(self, year: int) -> dict[int, tuple[int, ...]]:
        """The times chosen on each day of `year`, by offset, ascending."""
        key = (year_kind(year), self._phase(year))
        found = self._kept.get(key)
        if found is None:
            if len(self._kept) >= _KEPT:
                self._kept.clear()
            found = self._kept[key] = self._choose(year)
        return found

    def _phase(self, year: int) -> int:
        """Where the intervals stand at the beginning of `year`."""
        start, interval = self._start, self._recur.interval
        match self._recur.freq:
            case "YEARLY":
                return (year - start.year) % interval
            case "MONTHLY":
                return ((year - start.year) * 12 - start.month) % interval
            case _:
                return (new_year(year) - wall_micros(start) // DAY) % (7 * interval)

    def _choose(self, year: int) -> dict[int, tuple[int, ...]]:
        found: dict[int, tuple[int, ...]] = {}
        length, base = len(self._times), new_year(year)
        for group in self._groups(year):
            picks: dict[int, list[int]] = {}
            for index in chosen(range(len(group) * length), self._recur.bysetpos):
                day, time = divmod(index, length)
                picks.setdefault(group[day] - base, []).append(self._times[time])
            found.update({day: tuple(times) for day, times in picks.items()})
        end = 366 if isleap(year) else 365
        return {day: found[day] for day in sorted(found) if 0 <= day < end}

    def _groups(self, year: int) -> list[list[int]]:
        """The days of each interval that has any in `year`."""
        base, offsets = new_year(year), self._days.offsets(year)
        if not offsets:
            return []
        if self._recur.freq == "YEARLY":
            return [[base + offset for offset in offsets]]
        if self._recur.freq == "WEEKLY":
            wkst = self._recur.wkst
            starts = {base + o - (weekday_of(base + o) - wkst) % 7 for o in offsets}
            return [list(self._days.ascending(start, start + 7)) for start in sorted(starts)]
        groups, first = [], 0
        for month in range(1, 13):
            last = first + monthrange(year, month)[1]
            cut = slice(bisect_left(offsets, first), bisect_left(offsets, last))
            groups.append([base + offset for offset in offsets[cut]])
            first = last
        return groups


class ChosenPattern(DayPattern):
    """The readings that BYSETPOS chose."""

    __slots__ = ("_chosen",)

    def __init__(self, days: ChosenDays) -> None:
        super().__init__(days)
        self._chosen = days

    def times(self, day: int) -> Sequence[int]:
        year = year_of(day)
        return self._chosen.times(year).get(day - new_year(year), ())
