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
# days (Africa/Freetown, 1939); probing more often than that misses none.
_PROBE = 2**18
_CHUNK = 64 * _PROBE
_CHUNK_MICROS = _CHUNK * SECOND
_MARGIN = 2 * _PROBE
_KEPT_CHUNKS = 4096
_LOWEST = FIRST // SECOND + 2 * 86_400
_HIGHEST = END // SECOND - 2 * 86_400


class Segment(NamedTuple):
    """Instants [lo, hi) with one offset (microseconds; wall = instant + offset)."""

    lo: int
    hi: int
    offset: int


class Stretch(NamedTuple):
    """Instants [lo, hi) and the wall readings [wall_lo, wall_hi) that belong to them.

    A plain stretch has one segment; a rough one has two or more.
    """

    lo: int
    hi: int
    wall_lo: int
    wall_hi: int
    segments: tuple[Segment, ...]
    plain: bool


class Timeline:
    """The stretches of one zone, found by asking the zone and remembered."""

    __slots__ = ("_chunks", "_epoch", "zone")

    def __init__(self, zone: ZoneInfo) -> None:
        self.zone = zone
        # UTC fields under this zone's name, as tzinfo.fromutc() wants them.
        self._epoch = EPOCH_WALL.replace(tzinfo=zone)
        self._chunks: dict[int, tuple[list[int], list[Stretch]]] = {}

    def stretches(self, lo: int, hi: int) -> Iterator[Stretch]:
        """The stretches that meet the instants [lo, hi), ascending and unclipped."""
        chunk = lo // _CHUNK_MICROS
        starts, run = self._chunk(chunk)
        if lo < starts[0]:
            chunk -= 1
            starts, run = self._chunk(chunk)
        index = bisect_right(starts, lo) - 1
        while True:
            for stretch in run[index:]:
                if stretch.lo >= hi:
                    return
                yield stretch
            chunk, index = chunk + 1, 0
            _, run = self._chunk(chunk)

    def stretches_down(self, lo: int, hi: int) -> Iterator[Stretch]:
        """The same stretches, newest first."""
        chunk = hi // _CHUNK_MICROS
        while True:
            for stretch in reversed(self._chunk(chunk)[1]):
                if stretch.hi <= lo:
                    return
                if stretch.lo < hi:
                    yield stretch
            chunk -= 1

    def segment(self, instant: int) -> Segment:
        """The segment in force at `instant`; it may end before the offset changes."""
        stretch = next(self.stretches(instant, instant + 1))
        for segment in stretch.segments:
            if instant < segment.hi:
                return segment
        raise AssertionError("a stretch covers its instants")  # pragma: no cover

    def wall(self, instant: int) -> int:
        """What the zone's clock shows at `instant`."""
        return instant + self.segment(instant).offset

    def stretch_of_wall(self, wall: int) -> Stretch:
        """The one stretch whose readings include `wall`."""
        for stretch in self.stretches(wall - 2 * DAY, wall + 2 * DAY):
            if wall < stretch.wall_hi:
                return stretch
        raise AssertionError("stretches are adjacent")  # pragma: no cover

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
            stretches.append(_plain(lo, end * SECOND, self._offset(end - 1) * SECOND))
        return stretches

    def _changes(self, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        """(first second, offset before, offset after) of each change in (start, end]."""
        if self.zone.key == "UTC":
            return
        left, before = start, self._offset(start)
        while left < end:
            right = left + _PROBE
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
        utc = self._epoch + timedelta(seconds=min(max(second, _LOWEST), _HIGHEST))
        shift = self.zone.fromutc(utc) - utc
        return shift.days * 86_400 + shift.seconds


def resolve_in(stretch: Stretch, wall: int, gap: str, fold: str) -> tuple[int, ...]:
    """The instants that `wall`, a reading of `stretch`, means under the policies."""
    if stretch.plain:
        return (wall - stretch.segments[0].offset,)
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
    return Stretch(lo, hi, lo + offset, hi + offset, (Segment(lo, hi, offset),), True)


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
    return Stretch(lo * SECOND, hi * SECOND, wall_lo, wall_hi, segments, False)


@lru_cache(maxsize=1024)
def timeline(zone: ZoneInfo) -> Timeline:
    """The timeline of `zone`, shared by every rule of that zone."""
    return Timeline(zone)
