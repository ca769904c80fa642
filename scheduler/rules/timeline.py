"""One zone's wall clock against the UTC line, cut into stretches.

A *plain* stretch has one offset, and in it wall readings and instants are one to one. A
*rough* stretch surrounds a change of offset: the gap and the equal length after it, or both
passes of an overlap. Stretches are adjacent on both axes and ascend on both, so a series of
wall readings becomes a series of instants stretch by stretch: by subtraction in the plain
ones, by policy in the rough ones.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from datetime import timedelta
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

from scheduler.rules.instants import DAY, END, EPOCH_WALL, FIRST, SECOND

# The shortest time after which any zone of the database undoes a change of offset is 3.99
# days (Africa/Freetown, 1939); probing more often than that misses none. What still changes
# after 2106 does so by a rule, twice a year, and undoes nothing within 126 days (America/Havana).
_PROBE = 2**18
_FAR, _FAR_PROBE = 2**32, 2**22
_CHUNK = 128 * _PROBE
_CHUNK_MICROS = _CHUNK * SECOND
_MARGIN = 2 * _PROBE
_KEPT_CHUNKS = 2048
_ENDLESS = 400 * 366 * DAY
_LOWEST = FIRST // SECOND + 2 * 86_400
_HIGHEST = END // SECOND - 2 * 86_400

WIDEST = 2 * DAY
"""More than any wall clock differs from UTC."""


class Segment(NamedTuple):
    """Instants [lo, hi) with one offset (microseconds; wall = instant + offset)."""

    lo: int
    hi: int
    offset: int


class Stretch(NamedTuple):
    """Instants [lo, hi) and the wall readings [wall_lo, wall_hi) that belong to them.

    A plain stretch has one segment; a rough one has two or more, and no offset of its own.
    """

    lo: int
    hi: int
    wall_lo: int
    wall_hi: int
    segments: tuple[Segment, ...]
    offset: int | None


NOWHERE = Stretch(0, 0, 0, 0, (), None)
"""A stretch without instants."""


class Timeline:
    """The stretches of one zone, found by asking the zone and remembered."""

    __slots__ = ("_chunks", "_epoch", "_only", "zone")

    def __init__(self, zone: ZoneInfo) -> None:
        self.zone = zone
        # UTC fields under this zone's name, as tzinfo.fromutc() wants them.
        self._epoch = EPOCH_WALL.replace(tzinfo=zone)
        self._chunks: dict[int, tuple[list[int], list[Stretch]]] = {}
        # UTC is one stretch from end to end, and asked more than any zone.
        self._only = _plain(FIRST - _ENDLESS, END + _ENDLESS, 0) if zone.key == "UTC" else None

    def stretch(self, instant: int) -> Stretch:
        """The stretch that `instant` is in."""
        if self._only is not None:
            return self._only
        chunk = instant // _CHUNK_MICROS
        starts, run = self._chunk(chunk)
        if instant < starts[0]:
            starts, run = self._chunk(chunk - 1)
        return run[bisect_right(starts, instant) - 1]

    def stretches(self, lo: int, hi: int) -> Iterator[Stretch]:
        """The stretches that meet the instants [lo, hi), ascending and unclipped."""
        while lo < hi:
            stretch = self.stretch(lo)
            yield stretch
            lo = stretch.hi

    def segment(self, instant: int) -> Segment:
        """The segment in force at `instant`; it may end before the offset changes."""
        for segment in self.stretch(instant).segments:
            if instant < segment.hi:
                return segment
        raise AssertionError("a stretch covers its instants")  # pragma: no cover

    def wall(self, instant: int) -> int:
        """What the zone's clock shows at `instant`."""
        return instant + self.segment(instant).offset

    def stretch_of_wall(self, wall: int) -> Stretch:
        """The one stretch whose readings include `wall`."""
        stretch = self.stretch(wall - WIDEST)
        while wall >= stretch.wall_hi:
            stretch = self.stretch(stretch.hi)
        return stretch

    def resolve(self, wall: int, gap: str = "forward", fold: str = "first") -> tuple[int, ...]:
        """The instants that the reading `wall` means: none, one, or both passes of an overlap."""
        return resolve_in(self.stretch_of_wall(wall), wall, gap, fold)

    def _chunk(self, index: int) -> tuple[list[int], list[Stretch]]:
        found = self._chunks.get(index)
        if found is None:
            if len(self._chunks) >= _KEPT_CHUNKS:
                self._chunks.clear()
            stretches = self._cut(index * _CHUNK)
            found = self._chunks[index] = ([stretch.lo for stretch in stretches], stretches)
        return found

    def _cut(self, start: int) -> list[Stretch]:
        """The stretches that begin in the chunk of seconds from `start`."""
        end = start + _CHUNK
        changes = list(self._changes(start - _MARGIN, end + _MARGIN))
        roughs = [
            rough
            for rough in _roughs(changes)
            if rough.hi > start * SECOND and rough.lo < end * SECOND
        ]
        lo = start * SECOND
        stretches: list[Stretch] = []
        for rough in roughs:
            if rough.lo < lo:
                lo = rough.hi  # it began in the chunk before, and belongs there
                continue
            if lo < rough.lo:
                stretches.append(_plain(lo, rough.lo, rough.segments[0].offset))
            stretches.append(rough)
            lo = rough.hi
        if lo < end * SECOND:
            stretches.append(_plain(lo, end * SECOND, self._offset(_in_years(end - 1)) * SECOND))
        return stretches

    def _changes(self, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        """(first second, offset before, offset after) of each change in (start, end]."""
        left, end = _in_years(start), _in_years(end)
        probe = _PROBE if start < _FAR else _FAR_PROBE
        before = self._offset(left)
        while left < end:
            right = min(left + probe, end)
            after = self._offset(right)
            if before != after:
                yield from self._bisect(left, before, right, after)
            left, before = right, after

    def _bisect(
        self, left: int, before: int, right: int, after: int
    ) -> Iterator[tuple[int, int, int]]:
        if before == after:
            return
        if right - left == 1:
            yield right, before, after
            return
        middle = (left + right) // 2
        between = self._offset(middle)
        yield from self._bisect(left, before, middle, between)
        yield from self._bisect(middle, between, right, after)

    def _offset(self, second: int) -> int:
        """The offset in seconds, as wall minus UTC: frozen clocks keep no fold elsewhere."""
        utc = self._epoch + timedelta(0, second)
        shift = self.zone.fromutc(utc) - utc
        return shift.days * 86_400 + shift.seconds


def _in_years(second: int) -> int:
    """`second`, or the nearest one at which a datetime can show every offset."""
    return min(max(second, _LOWEST), _HIGHEST)


def resolve_in(stretch: Stretch, wall: int, gap: str, fold: str) -> tuple[int, ...]:
    """The instants that `wall`, a reading of `stretch`, means under the policies."""
    if stretch.offset is not None:
        return (wall - stretch.offset,)
    passes = tuple(wall - offset for lo, hi, offset in stretch.segments if lo <= wall - offset < hi)
    if not passes:
        return () if gap == "skip" else (wall - _offset_before_gap(stretch, wall),)
    if fold == "both":
        return passes
    return passes[-1:] if fold == "last" else passes[:1]


def _offset_before_gap(stretch: Stretch, wall: int) -> int:
    for before, after in pairwise(stretch.segments):
        if after.lo + before.offset <= wall < after.lo + after.offset:
            return before.offset
    raise AssertionError("a reading without a pass is in a gap")  # pragma: no cover


def _plain(lo: int, hi: int, offset: int) -> Stretch:
    return Stretch(lo, hi, lo + offset, hi + offset, (Segment(lo, hi, offset),), offset)


def _roughs(changes: list[tuple[int, int, int]]) -> list[Stretch]:
    """The rough stretches around `changes`; changes so close that they touch share one."""
    groups: list[tuple[int, int, list[tuple[int, int, int]]]] = []
    for second, before, after in changes:
        length = abs(after - before)
        lo = second if after > before else second - length
        hi = second + length
        if groups and lo <= groups[-1][1]:
            first, last, members = groups.pop()
            groups.append((min(first, lo), max(last, hi), [*members, (second, before, after)]))
        else:
            groups.append((lo, hi, [(second, before, after)]))
    return [_rough(*group) for group in groups]


def _rough(lo: int, hi: int, changes: list[tuple[int, int, int]]) -> Stretch:
    bounds = [lo, *(second for second, _, _ in changes), hi]
    offsets = [changes[0][1], *(after for _, _, after in changes)]
    segments = tuple(
        Segment(left * SECOND, right * SECOND, offset * SECOND)
        for left, right, offset in zip(bounds, bounds[1:], offsets, strict=False)
    )
    wall_lo, wall_hi = (lo + offsets[0]) * SECOND, (hi + offsets[-1]) * SECOND
    return Stretch(lo * SECOND, hi * SECOND, wall_lo, wall_hi, segments, None)


@lru_cache(maxsize=1024)
def timeline(zone: ZoneInfo) -> Timeline:
    """The timeline of `zone`, shared by every rule of that zone."""
    return Timeline(zone)
