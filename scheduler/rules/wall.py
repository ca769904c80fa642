"""Patterns on the wall clock, and the series they become in a zone.

A pattern knows no zone: it is a set of wall readings. A WallSeries lays it on a zone's
timeline, stretch by stretch; a *landing* says what a rough stretch makes of the readings in it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

from scheduler.rules.instants import DAY, END, FIRST
from scheduler.rules.series import Series
from scheduler.rules.timeline import Stretch, Timeline, resolve_in

_WIDEST = 2 * DAY
"""More than any wall clock differs from UTC."""


class Pattern(ABC):
    """A set of wall readings (microseconds), strictly ascending; windows are half-open."""

    __slots__ = ()

    @abstractmethod
    def ascending(self, lo: int, hi: int) -> Iterator[int]:
        """The readings of [lo, hi), earliest first."""

    @abstractmethod
    def descending(self, lo: int, hi: int) -> Iterator[int]:
        """The readings of [lo, hi), latest first."""

    @abstractmethod
    def count(self, lo: int, hi: int) -> int:
        """How many readings lie in [lo, hi)."""

    def first(self, lo: int, hi: int) -> int | None:
        """The first reading of [lo, hi), or None."""
        return next(self.ascending(lo, hi), None)


Landing = Callable[[Pattern, Stretch], list[int]]
"""The instants of a pattern in a rough stretch, ascending and distinct."""


def by_policy(gap: str, fold: str, exact: dict[int, int] | None = None) -> Landing:
    """The landing that resolves each reading by the policies of a rule.

    `exact` fixes the instant of single readings: that of an anchor given with an offset.
    """
    fixed = exact or {}

    def land(pattern: Pattern, stretch: Stretch) -> list[int]:
        found: set[int] = set()
        for wall in pattern.ascending(stretch.wall_lo, stretch.wall_hi):
            if wall in fixed:
                found.add(fixed[wall])
            else:
                found.update(resolve_in(stretch, wall, gap, fold))
        return sorted(found)

    return land


def literally(pattern: Pattern, stretch: Stretch) -> list[int]:
    """What the clock shows: lost readings do not happen, repeated ones happen twice."""
    return [
        wall - offset
        for lo, hi, offset in stretch.segments
        for wall in pattern.ascending(lo + offset, hi + offset)
    ]


class WallSeries(Series):
    """The instants of a wall pattern in one zone."""

    __slots__ = ("_near", "landing", "pattern", "timeline")

    def __init__(self, pattern: Pattern, timeline: Timeline, landing: Landing) -> None:
        self.pattern = pattern
        self.timeline = timeline
        self.landing = landing
        # Where the last question was: the next one is mostly there too.
        self._near = next(timeline.stretches(0, 1))

    def after(self, instant: int, hi: int = END) -> int | None:
        lo = instant + 1
        near = self._near
        if not near.lo <= lo < near.hi:
            near = self._near = next(self.timeline.stretches(lo, lo + 1))
        if near.plain:
            offset = near.segments[0].offset
            wall = self.pattern.first(lo + offset, near.wall_hi)
            if wall is not None:
                return wall - offset if wall - offset < hi else None
        return next(self.ascending(lo, hi), None)

    def ascending(self, lo: int, hi: int) -> Iterator[int]:
        while lo < hi:
            for stretch in self.timeline.stretches(lo, hi):
                first, last = max(lo, stretch.lo), min(hi, stretch.hi)
                found = False
                if stretch.plain:
                    offset = stretch.segments[0].offset
                    for wall in self.pattern.ascending(first + offset, last + offset):
                        found = True
                        yield wall - offset
                else:
                    for instant in self.landing(self.pattern, stretch):
                        if first <= instant < last:
                            found = True
                            yield instant
                if not found:
                    break
            else:
                return
            lo = self._leap(stretch, hi)

    def descending(self, lo: int, hi: int) -> Iterator[int]:
        while lo < hi:
            for stretch in self.timeline.stretches_down(lo, hi):
                first, last = max(lo, stretch.lo), min(hi, stretch.hi)
                found = False
                if stretch.plain:
                    offset = stretch.segments[0].offset
                    for wall in self.pattern.descending(first + offset, last + offset):
                        found = True
                        yield wall - offset
                else:
                    for instant in reversed(self.landing(self.pattern, stretch)):
                        if first <= instant < last:
                            found = True
                            yield instant
                if not found:
                    break
            else:
                return
            hi = self._leap_down(stretch, lo)

    def count(self, lo: int, hi: int) -> int:
        total = 0
        while lo < hi:
            for stretch in self.timeline.stretches(lo, hi):
                first, last = max(lo, stretch.lo), min(hi, stretch.hi)
                if stretch.plain:
                    offset = stretch.segments[0].offset
                    here = self.pattern.count(first + offset, last + offset)
                else:
                    landed = self.landing(self.pattern, stretch)
                    here = sum(1 for instant in landed if first <= instant < last)
                if not here:
                    break
                total += here
            else:
                return total
            lo = self._leap(stretch, hi)
        return total

    def _leap(self, empty: Stretch, hi: int) -> int:
        """Where to go on after a stretch without readings: past every other such stretch."""
        wall = next(self.pattern.ascending(empty.wall_hi, min(hi + _WIDEST, END)), None)
        if wall is None:
            return hi
        return max(empty.hi, self.timeline.stretch_of_wall(wall).lo)

    def _leap_down(self, empty: Stretch, lo: int) -> int:
        wall = next(self.pattern.descending(max(lo - _WIDEST, FIRST), empty.wall_lo), None)
        if wall is None:
            return lo
        return min(empty.lo, self.timeline.stretch_of_wall(wall).hi)
