"""RRULE (RFC 5545) with exdate and rdate, on the wall clock of a zone.

The text is read strictly (recur.py), the dates and times are closed forms (recur_days.py,
recur_times.py). Here is what needs the zone: where the series is cut, UNTIL, COUNT, and the
instants taken out and put in.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, ClassVar, Final, Self
from zoneinfo import ZoneInfo

from scheduler.rules import refusals
from scheduler.rules.base import Rule
from scheduler.rules.every import check_policies, policies_json
from scheduler.rules.existence import checked
from scheduler.rules.footprint import (
    EVERYTHING,
    Footprint,
    after_gaps,
    days_mask,
    forward,
    times_mask,
)
from scheduler.rules.instants import END, SECOND, wall_reading
from scheduler.rules.moments import parse_stamp, stamp_text
from scheduler.rules.recur import LONGEST, Recur, parse_recur
from scheduler.rules.recur_days import completed, filtered_days
from scheduler.rules.recur_existence import refuse_if_impossible
from scheduler.rules.recur_times import recur_pattern, time_sets
from scheduler.rules.refusals import missing, refuse
from scheduler.rules.series import Clipped, Including, Limited, Listed, Series, Without
from scheduler.rules.timeline import Timeline, timeline
from scheduler.rules.wall import Pattern, WallSeries, by_policy, literally
from scheduler.rules.zones import anchored, stamp_micros

MOST_DATES: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RRule(Rule):
    """`{"rrule": "FREQ=MONTHLY;BYDAY=1FR", "dtstart": "2024-01-05T09:00"}`"""

    rrule: str
    dtstart: datetime
    exdate: tuple[datetime, ...] = ()
    rdate: tuple[datetime, ...] = ()
    gap: str = "forward"
    fold: str = "first"

    kind: ClassVar[str] = "rrule"

    def _check(self) -> None:
        _recur(refusals.text("rrule", self.rrule, LONGEST))
        if self.dtstart is None:
            raise missing("dtstart", "it gives the phase and the time of day")
        start = parse_stamp(self.dtstart, "dtstart").replace(microsecond=0)
        object.__setattr__(self, "dtstart", start)
        for field in ("exdate", "rdate"):
            object.__setattr__(self, field, stamps(field, getattr(self, field), MOST_DATES))
        check_policies(self.gap, self.fold)

    def _to_json(self) -> dict[str, Any]:
        stored: dict[str, Any] = {"rrule": self.rrule, "dtstart": stamp_text(self.dtstart)}
        for field in ("exdate", "rdate"):
            if given := getattr(self, field):
                stored[field] = [stamp_text(stamp) for stamp in given]
        return stored | policies_json(self.gap, self.fold)

    def is_wall_only(self) -> bool:
        until = _recur(self.rrule).until
        given = (self.dtstart, *self.exdate, *self.rdate, *([until] if until else []))
        return Rule.is_wall_only(self) and all(stamp.tzinfo is None for stamp in given)

    def unexcluded(self) -> Self:
        return dataclasses.replace(Rule.unexcluded(self), exdate=())

    def starts_itself(self) -> bool:
        return True

    def _instants(self, place: ZoneInfo) -> Series:
        recur, line = _recur(self.rrule), timeline(place)
        fold = "last" if self.fold == "last" else "first"
        lo, hi = stamp_micros(self.dtstart, place, fold), END
        if recur.until is not None:
            hi = min(END, stamp_micros(recur.until, place, fold) + SECOND)
        series: Series = Clipped(self._readings(recur, line), lo, hi)
        if recur.count is not None:
            series = Limited(series, lo, recur.count)
        if self.rdate:
            series = Including(series, Listed([stamp_micros(at, place, fold) for at in self.rdate]))
        if self.exdate:
            series = Without(series, Listed([stamp_micros(at, place, fold) for at in self.exdate]))
        return series

    def _footprint(self, place: ZoneInfo) -> Footprint:
        if self.rdate:
            return EVERYTHING
        recur = _recur(self.rrule)
        start = wall_reading(anchored(self.dtstart, place, "dtstart")[0])
        days = days_mask(filtered_days(completed(recur, start.date())))
        hours, minutes, seconds = time_sets(recur, start)
        shown = Footprint(days, times_mask(hours, minutes, seconds), is_whole=True)
        return shown if recur.is_subdaily else after_gaps(shown, place, forward)

    def _readings(self, recur: Recur, line: Timeline) -> Series:
        """The recurrence in its zone, from before dtstart where it steps by hours or less."""
        # A zone whose offset has seconds puts no fraction into the reading.
        wall, exact = anchored(self.dtstart, line.zone, "dtstart")
        pattern = _pattern(recur, wall)
        if recur.is_subdaily:
            return WallSeries(pattern, line, literally)
        return WallSeries(From(pattern, wall), line, by_policy(self.gap, self.fold, exact))


class From(Pattern):
    """The readings of `inner` from `start` on: a gap must not carry an earlier one past it."""

    __slots__ = ("_inner", "_start")

    def __init__(self, inner: Pattern, start: int) -> None:
        self._inner = inner
        self._start = start

    @property
    def per_day(self) -> int:
        return self._inner.per_day

    def first(self, lo: int, hi: int) -> int | None:
        return self._inner.first(max(lo, self._start), hi)

    def ascending(self, lo: int, hi: int) -> Iterator[int]:
        return self._inner.ascending(max(lo, self._start), hi)

    def descending(self, lo: int, hi: int) -> Iterator[int]:
        return self._inner.descending(max(lo, self._start), hi)

    def count(self, lo: int, hi: int) -> int:
        lo = max(lo, self._start)
        return self._inner.count(lo, hi) if lo < hi else 0


def rrule(
    text: str,
    *,
    dtstart: datetime | str,
    exdate: Iterable[datetime | str] = (),
    rdate: Iterable[datetime | str] = (),
    timezone: str | None = None,
    start_date: datetime | str | None = None,
    end_date: datetime | str | None = None,
    limit: int | None = None,
    gap: str = "forward",
    fold: str = "first",
) -> RRule:
    """What an RFC 5545 recurrence gives, with `dtstart` as its phase, to the second.

    `dtstart`, and UNTIL without Z, are wall clock in the zone. `exdate` takes equal instants
    out and beats `rdate`, which puts instants in. `gap` and `fold` act on FREQ=DAILY and
    longer; shorter steps follow the clock literally. Raises InvalidRule.

    >>> from datetime import UTC, datetime
    >>> rule = rrule("FREQ=MONTHLY;BYDAY=1FR", dtstart="2024-01-01T09:00")
    >>> rule.next_after(datetime(2024, 1, 31, tzinfo=UTC))
    datetime.datetime(2024, 2, 2, 9, 0, tzinfo=datetime.timezone.utc)
    """
    return checked(
        RRule(
            rrule=text,
            dtstart=dtstart,  # type: ignore[arg-type]  # text is parsed on the way in
            exdate=exdate,  # type: ignore[arg-type]
            rdate=rdate,  # type: ignore[arg-type]
            timezone=timezone,
            start_date=start_date,  # type: ignore[arg-type]
            end_date=end_date,  # type: ignore[arg-type]
            limit=limit,
            gap=gap,
            fold=fold,
        )
    )


def stamps(field: str, values: object, most: int) -> tuple[datetime, ...]:
    """The stamps of a list of at most `most` date-times, in the order given."""
    if isinstance(values, (str, bytes, dict)) or not isinstance(values, Iterable):
        raise refuse(field, values, "is not a list of date-times")
    found: list[datetime] = []
    for value in values:
        if len(found) == most:
            raise refuse(field, "the list", f"has more than {most} date-times")
        found.append(parse_stamp(value, field))
    return tuple(found)


@lru_cache(maxsize=1024, typed=True)
def _recur(text: str) -> Recur:
    return parse_recur(text)


@lru_cache(maxsize=512)
def _pattern(recur: Recur, wall: int) -> Pattern:
    start = wall_reading(wall)
    refuse_if_impossible(recur, start)
    return recur_pattern(recur, start)
