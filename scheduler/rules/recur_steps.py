"""The steps of HOURLY, MINUTELY and SECONDLY, and the days on which the BY parts keep any.

A progression that does not divide a day comes back to the same times of day after a fixed
number of steps. One byte for each step of such a turn says whether the BY parts keep it, and
the next kept step is found in those bytes, never by stepping. A step and a date are brought
together by leaps: from the step to the next date of the set, from there to the next step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import compress
from math import gcd

from scheduler.rules.days import (
    LAST_DAY,
    DayPattern,
    Days,
    KindDays,
    Offsets,
    YearKind,
    last_day,
    new_year,
    year_kind,
)
from scheduler.rules.instants import DAY, HOUR, MINUTE, SECOND
from scheduler.rules.series import Search

CYCLE_YEARS, CYCLE_DAYS = 400, 146_097
"""The Gregorian calendar repeats, weekdays included, after so many years and days."""

_KEPT = 64
_ONE = b"\x01"
_OPPOSITE = bytes.maketrans(b"\x00\x01", b"\x01\x00")
_FROM_DIGITS = bytes.maketrans(b"01", b"\x00\x01")


class Steps:
    """A two-sided progression, every `interval` units, and what of it the BY parts keep.

    `times` has one byte for each unit of a day: whether a step at that time is kept. `days`
    are the dates that are kept. Numbers are units since 1970-01-01, `phase` is one of them.
    """

    __slots__ = ("_flags", "_interval", "_per_day", "_phase", "unit")

    def __init__(self, unit: int, interval: int, phase: int, times: bytes, days: KindDays) -> None:
        self.unit = unit
        self._interval = interval
        self._phase = phase % interval
        self._per_day = DAY // unit
        self._flags = self._turn(times, days)

    def first(self, number: int) -> int | None:
        """The first kept step at or after `number`; None if no time of day is ever kept."""
        index = self._index(number)
        place = index % len(self._flags)
        found = self._flags.find(_ONE, place)
        if found < 0:
            found = self._flags.find(_ONE) + len(self._flags)
            if found < len(self._flags):
                return None
        return self._phase + (index - place + found) * self._interval

    def last(self, number: int) -> int | None:
        """The last kept step at or before `number`."""
        index = self._index(number + 1) - 1
        place = index % len(self._flags)
        found = self._flags.rfind(_ONE, 0, place + 1)
        if found < 0:
            found = self._flags.rfind(_ONE)
            if found < 0:
                return None
            found -= len(self._flags)
        return self._phase + (index - place + found) * self._interval

    def count(self, lo: int, hi: int) -> int:
        """How many kept steps lie in [lo, hi)."""
        first, last = self._index(lo), self._index(hi)
        turns, rest = divmod(last - first, len(self._flags))
        place = first % len(self._flags)
        ends = place + rest
        kept = self._flags.count(_ONE, place, ends)
        if ends > len(self._flags):
            kept += self._flags.count(_ONE, 0, ends - len(self._flags))
        return kept + (turns * self._flags.count(_ONE) if turns else 0)

    def on(self, day: int) -> Sequence[int]:
        """The times of `day` (microseconds) at which a step is kept, if its date is."""
        midnight = day * self._per_day
        first, last = self._index(midnight), self._index(midnight + self._per_day)
        start = (self._phase + first * self._interval - midnight) * self.unit
        step = self._interval * self.unit
        times = range(start, start + (last - first) * step, step)
        if self._flags == _ONE:
            return times
        place = first % len(self._flags)
        turns = -(-(place + len(times)) // len(self._flags))
        flags = self._flags * turns if turns > 1 else self._flags
        return list(compress(times, flags[place : place + len(times)]))

    @property
    def per_day(self) -> int:
        """How many steps a day has at most."""
        return -(-self._per_day // self._interval)

    def residue(self, day: int) -> int:
        """Where on `day` the first step is: days where it is the same have the same times."""
        return (self._phase - day * self._per_day) % self._interval

    def day_of(self, number: int) -> int:
        """The day of a step."""
        return number // self._per_day

    def midnight(self, day: int) -> int:
        """The number of the first unit of a day."""
        return day * self._per_day

    def _index(self, number: int) -> int:
        """How manieth step is the first at or after `number`."""
        return -((self._phase - number) // self._interval)

    def _turn(self, times: bytes, days: KindDays) -> bytes:
        """Whether each step is kept, until the times of day come back.

        That is after a whole number of days. What this number has in common with the cycle of
        the calendar decides, for each step of the turn, on which dates it can ever fall.
        """
        common = gcd(self._interval, self._per_day)
        dates = _residues(days, gcd(self._interval // common, CYCLE_DAYS))
        if 0 not in times and (0 not in dates or self._interval <= self._per_day):
            return _ONE
        apart = common * len(dates)
        reached = b"".join(
            times[offset::apart] if kept else bytes(len(range(offset, self._per_day, apart)))
            for day, kept in enumerate(dates)
            for offset in ((self._phase - day * self._per_day) % apart,)
        )
        size, start = len(reached), self._phase % (self._per_day * len(dates)) // apart
        # Step k is at place start + k * (interval // apart); here from the place to k.
        stride = pow(self._interval // apart, -1, size)
        rarer = 1 if 2 * reached.count(_ONE) <= size else 0
        turn = bytearray([1 - rarer]) * size
        for place in compress(range(size), reached if rarer else reached.translate(_OPPOSITE)):
            turn[(place - start) * stride % size] = rarer
        return bytes(turn)


def _residues(days: KindDays, cycle: int) -> bytes:
    """For each remainder by `cycle`, whether a day number of the set leaves it; one if all do.

    `cycle` divides that of the calendar.
    """
    masks: dict[YearKind, int] = {}
    folded: set[tuple[YearKind, int]] = set()
    found, full = 0, (1 << cycle) - 1
    for year in range(2000, 2000 + CYCLE_YEARS):
        kind, base = year_kind(year), new_year(year) % cycle
        if found == full or cycle == 1:
            return _ONE
        if (kind, base) in folded:
            continue
        folded.add((kind, base))
        if kind not in masks:
            masks[kind] = sum(1 << offset for offset in days.offsets(year))
        mask = masks[kind] << base
        while mask:
            found |= mask & full
            mask >>= cycle
    # Not by shifting out each bit, which takes a second for the longest cycle.
    digits = f"{found:0{cycle}b}".encode().translate(_FROM_DIGITS)
    return digits[::-1]


def kept_times(
    unit: int, hours: Sequence[int], minutes: Sequence[int], seconds: Sequence[int]
) -> bytes:
    """One byte for each `unit` of a day: whether a step there passes BYHOUR and shorter.

    Only what the unit steps through limits it; what an hour or a minute holds is expanded.
    """
    hour = _ONE
    if unit < HOUR:
        minute = _ONE
        if unit < MINUTE:
            minute = bytes(second in seconds for second in range(MINUTE // SECOND))
        hour = _chosen(minute, minutes, HOUR // MINUTE)
    return _chosen(hour, hours, DAY // HOUR)


def _chosen(part: bytes, wanted: Sequence[int], length: int) -> bytes:
    none = bytes(len(part))
    return b"".join(part if number in wanted else none for number in range(length))


class ReachedDays(Days):
    """The days of a set on which there is a kept step."""

    __slots__ = ("_days", "_steps")

    def __init__(self, days: Days, steps: Steps) -> None:
        super().__init__()
        self._days = days
        self._steps = steps

    def first(self, day: int) -> int | None:
        return next(self.ascending(day, LAST_DAY + 1), None)

    def ascending(self, lo: int, hi: int) -> Iterator[int]:
        steps, search = self._steps, Search("rrule")
        day: int | None = lo
        while day is not None and day < hi:
            step = steps.first(steps.midnight(day))
            if step is None:
                return
            reached = steps.day_of(step)
            day = self._days.first(reached)
            if day == reached < hi:
                yield day
                search.found()
                day += 1
            else:
                search.step()

    def descending(self, lo: int, hi: int) -> Iterator[int]:
        steps, search = self._steps, Search("rrule")
        day: int | None = hi - 1
        while day is not None and day >= lo:
            step = steps.last(steps.midnight(day + 1) - 1)
            if step is None:
                return
            reached = steps.day_of(step)
            day = next(self._days.descending(lo, reached + 1), None)
            if day == reached:
                yield day
                search.found()
                day -= 1
            else:
                search.step()

    def offsets(self, year: int) -> Offsets:
        base = new_year(year)
        return [day - base for day in self.ascending(base, last_day(year) + 1)]


class SteppedTimes(DayPattern):
    """Steps that do not divide a day: a day's times depend on its place in the progression.

    `within` are the times inside one interval, from its step; `is_daily` says that `days` are
    all days.
    """

    __slots__ = ("_is_daily", "_kept", "_steps", "_within")

    def __init__(
        self, days: Days, steps: Steps, within: Sequence[int], *, is_daily: bool = False
    ) -> None:
        super().__init__(ReachedDays(days, steps))
        self._steps = steps
        self._within = within
        self._is_daily = is_daily
        self._kept: dict[int, Sequence[int]] = {}

    @property
    def per_day(self) -> int:
        return self._steps.per_day * len(self._within)

    def times(self, day: int) -> Sequence[int]:
        residue = self._steps.residue(day)
        found = self._kept.get(residue)
        if found is None:
            if len(self._kept) >= _KEPT:
                self._kept.clear()
            found = self._kept[residue] = times_within(self._steps, day, self._within)
        return found

    def count_days(self, lo: int, hi: int) -> int:
        steps = self._steps
        if self._is_daily:
            kept = steps.count(steps.midnight(lo), steps.midnight(hi))
        else:
            kept = sum(
                steps.count(steps.midnight(day), steps.midnight(day + 1))
                for day in self.days.ascending(lo, hi)
            )
        return kept * len(self._within)


def times_within(steps: Steps, day: int, within: Sequence[int]) -> Sequence[int]:
    """The times of `day`: those `within` each interval that begins on it."""
    starts = steps.on(day)
    if tuple(within) == (0,):
        return _compact(starts)
    return _compact([start + time for start in starts for time in within])


def _compact(times: Sequence[int]) -> Sequence[int]:
    if isinstance(times, range):
        return times
    if len(times) > 2:
        run = range(times[0], times[-1] + 1, times[1] - times[0])
        if len(run) == len(times) and all(a == b for a, b in zip(run, times, strict=True)):
            return run
    return tuple(times)
