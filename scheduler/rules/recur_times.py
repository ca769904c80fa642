"""The readings of an RRULE: its dates with their times of day, stepped and chosen from.

DAILY and longer have the same times on every date. HOURLY and shorter step on the wall clock,
so that a day's times depend on where the progression stands that day; steps longer than a day
are walked themselves. BYSETPOS chooses from the whole set of one interval.
"""

from __future__ import annotations

from bisect import bisect_left
from calendar import isleap, monthrange
from collections.abc import Iterator, Sequence
from datetime import datetime
from math import gcd

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
from scheduler.rules.instants import DAY, END, HOUR, MINUTE, SECOND, wall_micros
from scheduler.rules.recur import Recur
from scheduler.rules.recur_days import completed, day_phase
from scheduler.rules.series import Search
from scheduler.rules.wall import Pattern

_UNIT = {"HOURLY": HOUR, "MINUTELY": MINUTE, "SECONDLY": SECOND}
_KEPT = 64


def recur_pattern(recur: Recur, start: datetime) -> Pattern:
    """The readings of `recur` with the phase and the open fields of `start`, a naive reading.

    Readings before `start` that the progression also has are in it; the caller cuts them off.
    """
    recur = completed(recur, start.date())
    start_wall = wall_micros(start)
    days = day_phase(recur, start_wall // DAY)
    hours, minutes, seconds = _clock(recur, start)
    if not recur.is_subdaily:
        times = times_of_day(hours, minutes, seconds)
        if recur.bysetpos and recur.freq == "DAILY":
            return FixedTimes(days, chosen(times, recur.bysetpos))
        if recur.bysetpos:
            return ChosenPattern(ChosenDays(days, times, recur, start))
        return FixedTimes(days, times)
    within = _within(recur, minutes, seconds)
    if recur.interval == 1 and not recur.bysetpos:
        return FixedTimes(days, times_of_day(hours, minutes, seconds))
    steps = _Steps(recur, start_wall, hours, minutes, seconds, within)
    if recur.interval * steps.unit > DAY:
        return Strides(days, steps)
    if DAY % (recur.interval * steps.unit) == 0:
        return FixedTimes(days, _compact(steps.on(0)))
    return SteppedTimes(days, steps)


def chosen(candidates: Sequence[int], positions: Sequence[int]) -> tuple[int, ...]:
    """The candidates at the positions of BYSETPOS: 1 is the first, -1 the last."""
    length = len(candidates)
    indexes = {at - 1 if at > 0 else length + at for at in positions}
    return tuple(candidates[at] for at in sorted(indexes) if 0 <= at < length)


def _clock(recur: Recur, start: datetime) -> tuple[Sequence[int], Sequence[int], Sequence[int]]:
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


class _Steps:
    """A two-sided progression of hours, minutes or seconds, and what of it the BY parts keep."""

    __slots__ = ("_hours", "_minutes", "_phase", "_seconds", "interval", "unit", "within")

    def __init__(
        self,
        recur: Recur,
        start: int,
        hours: Sequence[int],
        minutes: Sequence[int],
        seconds: Sequence[int],
        within: Sequence[int],
    ) -> None:
        self.unit = _UNIT[recur.freq]
        self.interval = recur.interval
        self.within = within
        self._phase = start // self.unit % recur.interval
        self._hours = hours
        # What the unit steps through is a limit; what it holds is in `within`.
        self._minutes = frozenset(minutes if self.unit < HOUR else range(60))
        self._seconds = frozenset(seconds if self.unit < MINUTE else range(60))

    def residue(self, day: int) -> int:
        """The first step of `day`, in units from midnight; the rest follow by the interval."""
        return (self._phase - day * (DAY // self.unit)) % self.interval

    def on(self, day: int) -> list[int]:
        """The times of `day`."""
        residue = self.residue(day)
        per_hour = HOUR // self.unit
        return [
            step * self.unit + time
            for hour in self._hours
            for step in self._run(residue, hour * per_hour, per_hour)
            if self._keeps(step * self.unit)
            for time in self.within
        ]

    def _run(self, residue: int, start: int, length: int) -> range:
        first = start + (residue - start) % self.interval
        return range(first, start + length, self.interval)

    def _keeps(self, time: int) -> bool:
        return time // MINUTE % 60 in self._minutes and time // SECOND % 60 in self._seconds

    def keeps(self, time: int) -> bool:
        """Whether the BY parts keep a step at this time of day."""
        return time // HOUR in self._hours and self._keeps(time)

    def meets_a_time(self) -> bool:
        """Whether the BY parts keep one of the times of day that the steps reach in the end."""
        per_day = DAY // self.unit
        divisor = gcd(self.interval, per_day)
        return any(
            self.keeps(step * self.unit) for step in range(self._phase % divisor, per_day, divisor)
        )

    def first_step(self, wall: int) -> int:
        """The first step at or after the reading `wall`."""
        number = -(-wall // self.unit)
        return (number + (self._phase - number) % self.interval) * self.unit


class SteppedTimes(DayPattern):
    """Steps that do not divide a day: each day's times depend on its place in the progression."""

    __slots__ = ("_kept", "_steps")

    def __init__(self, days: Days, steps: _Steps) -> None:
        super().__init__(days)
        self._steps = steps
        self._kept: dict[int, Sequence[int]] = {}

    def times(self, day: int) -> Sequence[int]:
        residue = self._steps.residue(day)
        found = self._kept.get(residue)
        if found is None:
            if len(self._kept) >= _KEPT:
                self._kept.clear()
            found = self._kept[residue] = _compact(self._steps.on(day))
        return found


class Strides(Pattern):
    """Steps longer than a day."""

    __slots__ = ("_days", "_steps")

    def __init__(self, days: Days, steps: _Steps) -> None:
        self._days = days
        self._steps = steps

    def ascending(self, lo: int, hi: int) -> Iterator[int]:
        steps, length = self._steps, self._steps.interval * self._steps.unit
        first = steps.first_step(lo) - (length if steps.within else 0)
        return self._kept(range(first, min(hi, END), length), lo, hi, 1)

    def descending(self, lo: int, hi: int) -> Iterator[int]:
        steps, length = self._steps, self._steps.interval * self._steps.unit
        last = steps.first_step(hi)
        return self._kept(range(last, lo - steps.unit, -length), lo, hi, -1)

    def count(self, lo: int, hi: int) -> int:
        return sum(1 for _ in self.ascending(lo, hi))

    def meets_a_time(self) -> bool:
        """Whether any time of day that the steps can reach is one that the BY parts keep."""
        return bool(self._steps.within) and self._steps.meets_a_time()

    def _kept(self, run: range, lo: int, hi: int, sign: int) -> Iterator[int]:
        search = Search("rrule")
        for step in run:
            day, time = divmod(step, DAY)
            if (
                not self._steps.keeps(time)
                or next(self._days.ascending(day, day + 1), None) is None
            ):
                search.step(step)
                continue
            search.found()
            for inner in self._steps.within[::sign]:
                if lo <= step + inner < hi:
                    yield step + inner


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


def _compact(times: list[int]) -> Sequence[int]:
    if len(times) > 2:
        run = range(times[0], times[-1] + 1, times[1] - times[0])
        if len(run) == len(times) and all(a == b for a, b in zip(run, times, strict=True)):
            return run
    return tuple(times)
