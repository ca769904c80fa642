"""Patterns on the wall clock, and the series they become in a zone.

A pattern knows no zone: it is a set of wall readings. A WallSeries lays it on a zone's
timeline, stretch by stretch; a *landing* says what a rough stretch makes of the readings in it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

from scheduler.rules.instants import DAY, END, FIRST, SECOND
from scheduler.rules.marks import Marks, marked, moved, united
from scheduler.rules.series import Series
from scheduler.rules.timeline import NOWHERE, WIDEST, Stretch, Timeline, resolve_in


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

    def marks(self, lo: int, hi: int) -> Marks:
        """The readings of [lo, hi) as bits (marks.py)."""
        return marked(self.ascending(lo, hi), lo)

    @property
    def per_day(self) -> int:
        """No fewer readings than any day has; no pattern has two in a second."""
        return DAY // SECOND


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
        # Where the last answer was: the next question is mostly there too.
        self._near = NOWHERE

    def after(self, instant: int, hi: int = END) -> int | None:
        lo, stretch = instant + 1, self._near
        if not stretch.lo <= lo < stretch.hi:
            stretch = self._near = self.timeline.stretch(lo)
        if stretch.offset is not None:
            wall = self.pattern.first(lo + stretch.offset, min(hi + WIDEST, END))
            if wall is None:
                return None
            if wall >= stretch.wall_hi:
                stretch = self._near = self.timeline.stretch_of_wall(wall)
            if stretch.offset is not None:
                found = wall - stretch.offset
                return found if found < hi else None
            lo = stretch.lo
        return next(self.ascending(lo, hi), None)

    def ascending(self, lo: int, hi: int) -> Iterator[int]:
        while lo < hi:
            stretch = self.timeline.stretch(lo)
            if stretch.offset is None:
                yield from self._landed(stretch, lo, hi)
                lo = stretch.hi
                continue
            offset, end = stretch.offset, stretch.wall_hi
            for wall in self.pattern.ascending(lo + offset, min(hi + WIDEST, END)):
                if wall >= end:
                    stretch = self.timeline.stretch_of_wall(wall)
                    if stretch.offset is None:
                        break
                    offset, end = stretch.offset, stretch.wall_hi
                instant = wall - offset
                if instant >= hi:
                    return
                yield instant
            else:
                return
            lo = stretch.lo

    def descending(self, lo: int, hi: int) -> Iterator[int]:
        while lo < hi:
            stretch = self.timeline.stretch(hi - 1)
            if stretch.offset is None:
                yield from reversed(self._landed(stretch, lo, hi))
                hi = stretch.lo
                continue
            offset, start = stretch.offset, stretch.wall_lo
            for wall in self.pattern.descending(max(lo - WIDEST, FIRST), hi + offset):
                if wall < start:
                    stretch = self.timeline.stretch_of_wall(wall)
                    if stretch.offset is None:
                        break
                    offset, start = stretch.offset, stretch.wall_lo
                instant = wall - offset
                if instant < lo:
                    return
                yield instant
            else:
                return
            hi = stretch.hi

    def count(self, lo: int, hi: int) -> int:
        if lo >= hi:
            return 0
        # All readings at once, and then what the rough stretches make of theirs.
        stretches = list(self.timeline.stretches(lo, hi))
        first, last = stretches[0], stretches[-1]
        total = self.pattern.count(
            first.wall_lo if first.offset is None else lo + first.offset,
            min(last.wall_hi if last.offset is None else hi + last.offset, END),
        )
        for stretch in stretches:
            if stretch.offset is None and (
                readings := self.pattern.count(stretch.wall_lo, stretch.wall_hi)
            ):
                total += len(self._landed(stretch, lo, hi)) - readings
        return total

    def at_most(self, lo: int, hi: int) -> int:
        # No zone changes its clock as often as every day, and no change shows a reading more
        # than twice.
        return 2 * self.pattern.per_day * ((hi - lo + 2 * WIDEST) // DAY) if lo < hi else 0

    def marks(self, lo: int, hi: int) -> Marks:
        found: list[Marks] = []
        for stretch in self.timeline.stretches(lo, hi):
            if stretch.offset is None:
                found.append(marked(self._landed(stretch, lo, hi), lo))
            else:
                first, last = max(lo, stretch.lo), min(hi, stretch.hi)
                shown = self.pattern.marks(first + stretch.offset, last + stretch.offset)
                found.append(moved(shown, first, lo, hi))
        return united(found)

    def _landed(self, stretch: Stretch, lo: int, hi: int) -> list[int]:
        """The instants of a rough stretch that are in [lo, hi)."""
        return [at for at in self.landing(self.pattern, stretch) if lo <= at < hi]
