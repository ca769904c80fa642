"""Sets of dates by year, and patterns that are dates times times of day.

The Gregorian calendar has 21 kinds of year as seen by a rule (first weekday, leap, leap before),
so a set of dates that ignores the year number is worked out once per kind and found by
bisection afterwards. Days are numbers: days since 1970-01-01.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left
from calendar import isleap
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date
from typing import overload

from scheduler.rules.instants import DAY, END, EPOCH_ORDINAL, FIRST, SECOND
from scheduler.rules.marks import Marks, marked, moved, united
from scheduler.rules.series import Search
from scheduler.rules.wall import Pattern

FIRST_DAY = FIRST // DAY
LAST_DAY = END // DAY - 1

YearKind = tuple[int, bool, bool]
Offsets = Sequence[int]
"""Days of a year, counted from 0 at 1 January, ascending."""


def new_year(year: int) -> int:
    """The day number of 1 January."""
    return date(year, 1, 1).toordinal() - EPOCH_ORDINAL


def last_day(year: int) -> int:
    """The day number of 31 December."""
    return new_year(year) + (365 if isleap(year) else 364)


def year_of(day: int) -> int:
    """The year of a day number in FIRST_DAY..LAST_DAY."""
    return date.fromordinal(day + EPOCH_ORDINAL).year


def weekday_of(day: int) -> int:
    """0 for Monday to 6 for Sunday."""
    return (day + 3) % 7


def year_kind(year: int) -> YearKind:
    """What of a year decides the weekday, the month and the week number of its days."""
    return weekday_of(new_year(year)), isleap(year), isleap(year - 1)


class Days(ABC):
    """A set of dates."""

    __slots__ = ("_near",)

    def __init__(self) -> None:
        # (first day, first day of the next, offsets) of the year of the last answer.
        self._near: tuple[int, int, Offsets] = (0, 0, ())

    def first(self, day: int) -> int | None:
        """The first day at or after `day`, or None."""
        base, end, offsets = self._near
        if base <= day < end:
            index = bisect_left(offsets, day - base)
            if index < len(offsets):
                return base + offsets[index]
            day = end
        day = max(day, FIRST_DAY)
        if day > LAST_DAY:
            return None
        for year in self.years(year_of(day), year_of(LAST_DAY)):
            base, offsets = new_year(year), self.offsets(year)
            index = bisect_left(offsets, day - base)
            if index < len(offsets):
                self._near = base, last_day(year) + 1, offsets
                return base + offsets[index]
        return None

    def has(self, day: int) -> bool:
        """Whether `day` is in the set."""
        return next(self.ascending(day, day + 1), None) is not None

    @abstractmethod
    def offsets(self, year: int) -> Offsets:
        """The days of `year` that are in the set."""

    def years(self, first: int, last: int) -> Iterable[int]:
        """The years from `first` to `last`, backwards where it is less, that can have any."""
        return range(first, last + 1) if first <= last else range(first, last - 1, -1)

    def ascending(self, lo: int, hi: int) -> Iterator[int]:
        """The days of [lo, hi), ascending."""
        lo, hi = max(lo, FIRST_DAY), min(hi, LAST_DAY + 1)
        if lo >= hi:
            return
        for year in self.years(year_of(lo), year_of(hi - 1)):
            offsets = self.offsets(year)
            if offsets:
                base = new_year(year)
                skipped = bisect_left(offsets, lo - base) if lo > base else 0
                for offset in offsets[skipped:]:
                    if base + offset >= hi:
                        return
                    yield base + offset

    def descending(self, lo: int, hi: int) -> Iterator[int]:
        """The days of [lo, hi), descending."""
        lo, hi = max(lo, FIRST_DAY), min(hi, LAST_DAY + 1)
        if lo >= hi:
            return
        for year in self.years(year_of(hi - 1), year_of(lo)):
            base = new_year(year)
            offsets = self.offsets(year)
            for offset in reversed(offsets[: bisect_left(offsets, hi - base)]):
                if base + offset < lo:
                    return
                yield base + offset

    def count(self, lo: int, hi: int) -> int:
        """How many days of [lo, hi) are in the set."""
        lo, hi = max(lo, FIRST_DAY), min(hi, LAST_DAY + 1)
        if lo >= hi:
            return 0
        total = 0
        for year in self.years(year_of(lo), year_of(hi - 1)):
            base, offsets = new_year(year), self.offsets(year)
            total += bisect_left(offsets, hi - base) - bisect_left(offsets, lo - base)
        return total


class KindDays(Days):
    """A set of dates that depends on the kind of year only; `find` gives those of one year."""

    __slots__ = ("_found", "find")

    def __init__(self, find: Callable[[int], Offsets]) -> None:
        super().__init__()
        self.find = find
        self._found: dict[YearKind, Offsets] = {}

    def offsets(self, year: int) -> Offsets:
        kind = year_kind(year)
        found = self._found.get(kind)
        if found is None:
            found = self._found[kind] = tuple(self.find(year))
        return found

    def is_empty(self) -> bool:
        """Whether no year has any; the calendar repeats after 400."""
        return not any(self.offsets(year) for year in range(2000, 2400))


class Times(Sequence[int]):
    """Times of day (microseconds), ascending: every second of every minute of every hour given.

    Up to 86,400 of them in the room of the three lists.
    """

    __slots__ = ("_hours", "_minutes", "_seconds")

    def __init__(
        self, hours: Sequence[int], minutes: Sequence[int], seconds: Sequence[int]
    ) -> None:
        self._hours = [hour * 3600 * SECOND for hour in hours]
        self._minutes = [minute * 60 * SECOND for minute in minutes]
        self._seconds = [second * SECOND for second in seconds]

    def __len__(self) -> int:
        return len(self._hours) * len(self._minutes) * len(self._seconds)

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[int]: ...
    def __getitem__(self, index: int | slice) -> int | Sequence[int]:
        if isinstance(index, slice):
            return _Part(self, range(*index.indices(len(self))))
        if not 0 <= index < len(self):
            raise IndexError(index)
        rest, second = divmod(index, len(self._seconds))
        hour, minute = divmod(rest, len(self._minutes))
        return self._hours[hour] + self._minutes[minute] + self._seconds[second]

    def __iter__(self) -> Iterator[int]:
        for hour in self._hours:
            for minute in self._minutes:
                start = hour + minute
                for second in self._seconds:
                    yield start + second


class _Part(Sequence[int]):
    """Some of the times of a day, in their order; none is looked up before it is asked for."""

    __slots__ = ("_places", "_times")

    def __init__(self, times: Times, places: range) -> None:
        self._times = times
        self._places = places

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[int]: ...
    def __getitem__(self, index: int | slice) -> int | Sequence[int]:
        if isinstance(index, slice):
            return _Part(self._times, self._places[index])
        return self._times[self._places[index]]


_TABLE = 1_440


def times_of_day(
    hours: Sequence[int], minutes: Sequence[int], seconds: Sequence[int]
) -> Sequence[int]:
    """The times of day with an hour, a minute and a second of those given, in the least room."""
    times = Times(hours, minutes, seconds)
    if len(times) > 2:
        run = range(times[0], times[len(times) - 1] + 1, times[1] - times[0])
        if len(run) == len(times) and all(a == b for a, b in zip(run, times, strict=True)):
            return run
    return tuple(times) if len(times) <= _TABLE else times


class DayPattern(Pattern):
    """The readings of a set of dates, each with its times of day."""

    __slots__ = ("days",)

    def __init__(self, days: Days) -> None:
        self.days = days

    @abstractmethod
    def times(self, day: int) -> Sequence[int]:
        """The times of `day`, a day of the set; possibly none."""

    def ascending(self, lo: int, hi: int) -> Iterator[int]:
        first, skipped = divmod(lo, DAY)
        search: Search | None = None
        for day in self.days.ascending(first, -(-hi // DAY)):
            times = self.times(day)
            if not times:
                search = search or Search("rrule")
                search.step()
                continue
            search = None
            base = day * DAY
            if day == first and skipped:
                times = times[bisect_left(times, skipped) :]
            if base + DAY > hi:
                times = times[: bisect_left(times, hi - base)]
            for time in times:
                yield base + time

    def descending(self, lo: int, hi: int) -> Iterator[int]:
        first, skipped = divmod(lo, DAY)
        search: Search | None = None
        for day in self.days.descending(first, -(-hi // DAY)):
            times = self.times(day)
            if not times:
                search = search or Search("rrule")
                search.step()
                continue
            search = None
            base = day * DAY
            if base + DAY > hi:
                times = times[: bisect_left(times, hi - base)]
            if day == first and skipped:
                times = times[bisect_left(times, skipped) :]
            for time in reversed(times):
                yield base + time

    def count(self, lo: int, hi: int) -> int:
        if lo >= hi:
            return 0
        whole = self.count_days(lo // DAY, hi // DAY)
        return whole + self._count_before(*divmod(hi, DAY)) - self._count_before(*divmod(lo, DAY))

    def _count_before(self, day: int, time: int) -> int:
        """How many readings `day` has before a time of day."""
        return bisect_left(self.times(day), time) if time and self.days.has(day) else 0

    def marks(self, lo: int, hi: int) -> Marks:
        days = self.days.ascending(lo // DAY, -(-hi // DAY))
        return united([moved(self.day_marks(day), day * DAY, lo, hi) for day in days])

    def day_marks(self, day: int) -> Marks:
        """The times of `day`, a day of the set, as bits."""
        return marked(self.times(day), 0)

    def count_days(self, lo: int, hi: int) -> int:
        """How many readings the whole days [lo, hi) have."""
        return sum(len(self.times(day)) for day in self.days.ascending(lo, hi))


_CYCLE = (new_year(2000), new_year(2400))
"""The days of one cycle of the Gregorian calendar."""


class FixedTimes(DayPattern):
    """The readings of a set of dates with the same times on each."""

    __slots__ = ("_marks", "_times")

    def __init__(self, days: Days, times: Sequence[int]) -> None:
        super().__init__(days)
        self._times = times
        self._marks: Marks | None = None

    def first(self, lo: int, hi: int) -> int | None:
        day, time = divmod(lo, DAY)
        times = self._times
        index = bisect_left(times, time)
        if index == len(times):
            day, index = day + 1, 0
        on = self.days.first(day)
        if on is None or not times:
            return None
        found = on * DAY + times[index if on == day else 0]
        return found if found < hi else None

    def times(self, day: int) -> Sequence[int]:
        return self._times

    def beat(self) -> tuple[int, int] | None:
        """(first time of day, step) where the readings are evenly spaced for ever, else None."""
        times = self._times
        if not isinstance(times, range) or times.step * len(times) != DAY:
            return None
        every_day = self.days.count(*_CYCLE) == _CYCLE[1] - _CYCLE[0]
        return (times.start, times.step) if every_day else None

    @property
    def per_day(self) -> int:
        return len(self._times)

    def day_marks(self, day: int) -> Marks:
        if self._marks is None:
            self._marks = super().day_marks(day)
        return self._marks

    def count_days(self, lo: int, hi: int) -> int:
        return self.days.count(lo, hi) * len(self._times)
