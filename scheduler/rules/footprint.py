"""The wall readings at which a rule can occur at all, as bits: what proves that two never meet.

A footprint is a superset of the rule's readings in one zone: the seconds of the day, and the
days by kind of year. A reading that the calendar can show is one day of some kind of year at
one second, so footprints without a common bit have no instant in common, in any year.
"""

from __future__ import annotations

from calendar import isleap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo

from scheduler.rules.calendars import Calendar
from scheduler.rules.days import KindDays, YearKind, new_year, weekday_of, year_kind
from scheduler.rules.instants import DAY, SECOND, wall_micros
from scheduler.rules.moments import parse_stamp
from scheduler.rules.timeline import timeline

_SECONDS = DAY // SECOND
# Where the offsets of a zone are looked up: what its clocks do later, they did before 2040.
_SINCE = wall_micros(parse_stamp("1900-01-01T00:00", "since"))
_UNTIL = wall_micros(parse_stamp("2040-01-01T00:00", "until"))


def _one_year_of_each_kind() -> tuple[int, ...]:
    years: dict[YearKind, int] = {}
    for year in range(2000, 2400):
        years.setdefault(year_kind(year), year)
    return tuple(years.values())


YEARS = _one_year_of_each_kind()
ALL_DAYS = tuple((1 << (366 if isleap(year) else 365)) - 1 for year in YEARS)
ALL_TIMES = (1 << _SECONDS) - 1


@dataclass(frozen=True, slots=True)
class Footprint:
    """Days (a mask for each year of YEARS) times seconds of the day (a mask)."""

    days: tuple[int, ...] = ALL_DAYS
    times: int = ALL_TIMES
    is_whole: bool = False
    """Whether every occurrence is at a whole second."""

    def is_empty(self) -> bool:
        """Whether no reading is left."""
        return not self.times or not any(self.days)

    def both(self, other: Footprint) -> Footprint:
        """The readings that are in this one and in `other`."""
        days = tuple(a & b for a, b in zip(self.days, other.days, strict=True))
        return Footprint(days, self.times & other.times, self.is_whole or other.is_whole)

    def either(self, other: Footprint) -> Footprint:
        """The least footprint that holds this one and `other`."""
        days = tuple(a | b for a, b in zip(self.days, other.days, strict=True))
        return Footprint(days, self.times | other.times, self.is_whole and other.is_whole)

    def without(self, certain: Footprint) -> Footprint:
        """This one less `certain`, whose readings are all removed; as far as days times seconds
        can say it.
        """
        if certain.is_whole and not self.is_whole:
            return self  # what is removed at whole seconds leaves the fractions
        if not self.times & ~certain.times:
            days = tuple(a & ~b for a, b in zip(self.days, certain.days, strict=True))
            return replace(self, days=days)
        if all(not a & ~b for a, b in zip(self.days, certain.days, strict=True)):
            return replace(self, times=self.times & ~certain.times)
        return self


EVERYTHING = Footprint()
NOTHING = Footprint(tuple(0 for _ in YEARS), 0)


def days_mask(days: KindDays) -> tuple[int, ...]:
    """The days of a set that depends on the kind of year."""
    return tuple(_bits(days.offsets(year)) for year in YEARS)


def _bits(places: Iterable[int]) -> int:
    found = 0
    for place in places:
        found |= 1 << place
    return found


def weekdays_mask(wanted: Sequence[int]) -> tuple[int, ...]:
    """The days on the weekdays given, 0 = Monday."""
    return tuple(
        _bits(n for n in range(every.bit_length()) if weekday_of(new_year(year) + n) in wanted)
        for year, every in zip(YEARS, ALL_DAYS, strict=True)
    )


def annual_mask(wanted: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    """The days of the year given as (month, day); 29 February where there is one."""
    return tuple(
        _bits(
            date(year, month, day).timetuple().tm_yday - 1
            for month, day in wanted
            if (month, day) != (2, 29) or isleap(year)
        )
        for year in YEARS
    )


def of_calendar(given: Calendar) -> tuple[Footprint, bool]:
    """Readings that hold those of a calendar, and whether they are exactly its own."""
    found = EVERYTHING
    if given.weekdays:
        found = found.both(Footprint(days=weekdays_mask(given.weekdays)))
    if given.annual:
        found = found.both(Footprint(days=annual_mask(given.annual)))
    if given.times:
        times = 0
        for start, end in given.times:
            times |= span_mask(start // SECOND, -(-end // SECOND))
        found = found.both(Footprint(times=times))
    cuts_a_second = any(at % SECOND for span in given.times for at in span)
    return found, not (given.dates or given.ranges or cuts_a_second)


def times_mask(hours: Sequence[int], minutes: Sequence[int], seconds: Sequence[int]) -> int:
    """The seconds of the day with an hour, a minute and a second of those given."""
    minute = _spread(1, 1, seconds)
    return _spread(_spread(minute, 60, minutes), 3600, hours)


def _spread(mask: int, width: int, at: Sequence[int]) -> int:
    spread = 0
    for place in at:
        spread |= mask << place * width
    return spread


def span_mask(start: int, end: int) -> int:
    """The seconds [start, end) of the day; end <= start passes midnight."""
    if start < end:
        return (1 << end) - (1 << start)
    return ALL_TIMES & ~((1 << start) - (1 << end))


def steady_mask(first: int, step: int, place: ZoneInfo) -> int:
    """The seconds of the day at which a steady series (seconds, from the epoch) can be read.

    `step` divides a day.
    """
    on_utc = ALL_TIMES // ((1 << step) - 1) << first % step
    found = 0
    for offset in _clock(place)[0]:
        turned = on_utc << offset % _SECONDS
        found |= turned | turned >> _SECONDS
    return found & ALL_TIMES


def after_gaps(
    found: Footprint, place: ZoneInfo, landed: Callable[[int, int, int], int]
) -> Footprint:
    """`found` and where a gap of `place` carries what it takes away.

    `landed(lost, end, length)` is the seconds of the day at which the `lost` ones of a gap of
    `length` seconds that ends at `end` occur.
    """
    times, days = found.times, found.days
    for start, length in _clock(place)[1]:
        end = (start + length) % _SECONDS
        lost = found.times & span_mask(start, end)
        if lost:
            times |= landed(lost, end, length)
            if end <= start:
                days = ALL_DAYS  # on the day after
    return replace(found, days=days, times=times)


def made_up(lost: int, end: int, length: int) -> int:
    """Once, at the end of the gap."""
    return 1 << end


def forward(lost: int, end: int, length: int) -> int:
    """Each by the length of the gap later."""
    turned = lost << length
    return (turned | turned >> _SECONDS) & ALL_TIMES


def outside_changes(times: int, place: ZoneInfo) -> int:
    """`times` without those that a change of the clock of `place` can touch."""
    for start, length in (*_clock(place)[1], *_clock(place)[2]):
        times &= ~span_mask(start, (start + length) % _SECONDS)
    return times


Changes = frozenset[tuple[int, int]]


@lru_cache(maxsize=64)
def _clock(place: ZoneInfo) -> tuple[frozenset[int], Changes, Changes]:
    """The offsets of a zone (seconds), and its gaps and overlaps as (second of the day, length)."""
    offsets: set[int] = set()
    gaps: set[tuple[int, int]] = set()
    overlaps: set[tuple[int, int]] = set()
    for stretch in timeline(place).stretches(_SINCE, _UNTIL):
        offsets.update(segment.offset // SECOND for segment in stretch.segments)
        for before, after in pairwise(stretch.segments):
            change = (after.offset - before.offset) // SECOND
            wall = (after.lo + min(before.offset, after.offset)) // SECOND % _SECONDS
            if change > 0:
                gaps.add((wall, min(change, _SECONDS - 1)))
            elif change < 0:
                overlaps.add((wall, min(-change, _SECONDS - 1)))
    return frozenset(offsets), frozenset(gaps), frozenset(overlaps)
