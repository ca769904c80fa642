"""What every rule is: an immutable definition, and the set of instants it denotes in a zone.

A rule is data and can be compared, hashed and stored. Asked for occurrences it becomes a
Series once (series.py): the kind's own instants, then the bounds, the calendars and the limit,
in this order.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import reduce
from itertools import islice
from typing import Any, ClassVar, NamedTuple, Self
from zoneinfo import ZoneInfo

from scheduler.rules import refusals
from scheduler.rules.calendars import Calendar, admitted, calendar
from scheduler.rules.existence import checked
from scheduler.rules.footprint import EVERYTHING, NOTHING, Footprint, of_calendar
from scheduler.rules.instants import END, FIRST, aware_micros, to_instant, to_instants, to_micros
from scheduler.rules.moments import parse_stamp, stamp_text
from scheduler.rules.refusals import refuse
from scheduler.rules.series import Clipped, Limited, Series, Unbound
from scheduler.rules.zones import in_years, stamp_micros, zone

DEFAULT_ZONE = "UTC"
CalendarData = Mapping[Any, Any] | Iterable[date]


class _Remembered:
    """Room for what a rule has worked out, outside its fields: not compared, copied or pickled."""

    __slots__ = ("_followed", "_leans", "_series")
    _series: Series
    _leans: bool
    _followed: tuple[_Followed, ...]


class _Followed(NamedTuple):
    """What is next after every instant from `start` until `next_at`; None: nothing is."""

    start: datetime
    next_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule(_Remembered, ABC):
    """When something recurs. Make one with every(), cron(), rrule(), at(), any_of(), all_of().

    `timezone` is an IANA key, or None where the rule leaves it to whoever binds it; asked
    unbound, it is UTC. `start_date` and `end_date` are inclusive and stand as they were
    given: naive is a wall clock in the zone. `limit` is how many occurrences there are.
    """

    timezone: str | None = None
    start_date: datetime | None = None
    end_date: datetime | None = None
    limit: int | None = None
    kept_on: tuple[Calendar, ...] = ()
    exceptions: tuple[Calendar | Rule, ...] = ()
    anchor: datetime | None = None
    """Where a rule without start_date begins; set by bound(), never stored."""

    kind: ClassVar[str]

    def __post_init__(self) -> None:
        place = None if self.timezone is None else zone(self.timezone)
        if self.limit is not None:
            refusals.count("limit", self.limit)
        for field in ("start_date", "end_date"):
            given = getattr(self, field)
            if given is not None:
                object.__setattr__(self, field, parse_stamp(given, field))
        self._check_bounds(place)
        self._check()

    def _check(self) -> None:
        """Refuse what is wrong in the fields of this kind."""

    def next_after(self, moment: datetime) -> datetime | None:
        """The first occurrence strictly later than `moment`, aware UTC; None when spent.

        The cost does not depend on the distance from the start of the rule. Raises NaiveTime
        if `moment` has no zone, InvalidRule if an interval has no start_date.
        """
        try:
            followed = self._followed
        except AttributeError:
            followed = ()
        is_utc = getattr(moment, "tzinfo", None) is UTC
        if is_utc:
            for start, next_at in followed:
                if start <= moment and (next_at is None or moment < next_at):
                    return next_at
        at = max(aware_micros("moment", moment), FIRST - 1)
        found = self.series().after(at)
        answer = None if found is None else to_instant(found)
        if is_utc:
            # Many schedules of one rule fall due together: each asks what is due, and what is next.
            known = _Followed(moment, answer)
            object.__setattr__(self, "_followed", (known, *followed[:1]))
        return answer

    def between(self, start: datetime, end: datetime) -> Iterator[datetime]:
        """The occurrences of [start, end), ascending, aware UTC, lazily.

        Both are aware, else NaiveTime.
        """
        return to_instants(self.series().ascending(*_window(start, end)))

    def last_before_or_at(self, moment: datetime) -> datetime | None:
        """The last occurrence no later than `moment`; None if there is none."""
        at = aware_micros("moment", moment)
        found = next(self.series().descending(FIRST, min(at + 1, END)), None)
        return None if found is None else to_instant(found)

    def __contains__(self, moment: datetime) -> bool:
        """Whether `moment`, which is aware, is an occurrence."""
        return self.last_before_or_at(moment) == moment

    def count(self, start: datetime, end: datetime) -> int:
        """How many occurrences lie in [start, end); arithmetic wherever the kind allows it."""
        return self.series().count(*_window(start, end))

    def latest(self, n: int, start: datetime, end: datetime) -> list[datetime]:
        """The newest `n` occurrences of [start, end), ascending."""
        newest = list(islice(self.series().descending(*_window(start, end)), max(0, n)))
        return [to_instant(at) for at in reversed(newest)]

    def bound(self, *, timezone: str, anchor: datetime) -> Self:
        """This rule with what it leaves open filled in; a bound rule comes back unchanged.

        `timezone` is taken where the rule names none. `anchor`, an aware instant, is where a
        rule without start_date begins: occurrence 0 of an interval, the point from which a
        `limit` of any other kind counts. The anchor is not part of what is stored.
        """
        changes: dict[str, Any] = {}
        if self.timezone is None:
            changes["timezone"] = timezone
        if self.anchor is None:
            aware_micros("anchor", anchor)
            changes["anchor"] = anchor.astimezone(UTC)
        return dataclasses.replace(self, **changes) if changes else self

    def within(self, outer: Rule, place: ZoneInfo) -> Self:
        """This rule as a part of `outer`, whose zone and anchor it has where it lacks its own."""
        return dataclasses.replace(
            self, timezone=self.timezone or place.key, anchor=self.anchor or outer.anchor
        )

    def only_on(self, *calendars: CalendarData) -> Self:
        """This rule, kept to the calendars given here or before: an instant must be in one.

        A calendar is plain data such as {"weekdays": ["mon", "tue"], "times": [["09:00",
        "17:00"]]}, or dates (those of a `holidays` object are). Raises InvalidRule.
        """
        added = tuple(calendar(given, "only_on") for given in calendars)
        return checked(dataclasses.replace(self, kept_on=self.kept_on + added))

    def except_(self, *given: CalendarData | Rule) -> Self:
        """This rule without the instants in any of the calendars, or of any of the rules, given.

        Removal never moves another occurrence. Raises InvalidRule.
        """
        added = tuple(x if isinstance(x, Rule) else calendar(x, "except") for x in given)
        return checked(dataclasses.replace(self, exceptions=self.exceptions + added))

    def depth(self) -> int:
        """How many rules deep this one is made of rules; 0 for a plain one."""
        return max((1 + x.depth() for x in self.exceptions if isinstance(x, Rule)), default=0)

    def leans_on_anchor(self) -> bool:
        """Whether what it denotes depends on the anchor that it is bound to."""
        try:
            return self._leans
        except AttributeError:
            leans = self._leans_on_anchor()
            object.__setattr__(self, "_leans", leans)
            return leans

    def _leans_on_anchor(self) -> bool:
        is_counted = self.limit is not None and not self.starts_itself()
        return is_counted or any(
            given.leans_on_anchor() for given in self.exceptions if isinstance(given, Rule)
        )

    def starts_at(self) -> datetime | None:
        """The instant of `start_date`, in UTC; None without one."""
        return None if self.start_date is None else to_instant(self._span(self.place())[0])

    def unlimited(self) -> Self:
        """This rule without its limit: who counts jobs applies the limit itself."""
        return self if self.limit is None else dataclasses.replace(self, limit=None)

    def unexcluded(self) -> Self:
        """This rule with what calendars, exceptions and `exdate` take out of it."""
        return dataclasses.replace(self, kept_on=(), exceptions=())

    def to_json(self) -> dict[str, Any]:
        """What is stored and sent: rule_from_json() of it equals this rule, unbound.

        Date-times stand as they were given, a wall reading without offset. What has its
        default value is left out.
        """
        stored = self._to_json()
        if self.timezone is not None:
            stored["timezone"] = self.timezone
        if self.start_date is not None:
            stored["start_date"] = stamp_text(self.start_date)
        if self.end_date is not None:
            stored["end_date"] = stamp_text(self.end_date)
        if self.limit is not None:
            stored["limit"] = self.limit
        if self.kept_on:
            stored["only_on"] = [calendar.to_json() for calendar in self.kept_on]
        if self.exceptions:
            stored["except"] = [exception.to_json() for exception in self.exceptions]
        return stored

    @abstractmethod
    def _to_json(self) -> dict[str, Any]:
        """The keys of this kind."""

    @abstractmethod
    def _instants(self, place: ZoneInfo) -> Series:
        """The instants of this kind in `place`, before bounds, calendars and limit."""

    def starts_itself(self) -> bool:
        """Whether the series has a first occurrence of its own, from which a limit counts."""
        return self.start_date is not None

    def is_wall_only(self) -> bool:
        """Whether everything in it is wall clock, so that any zone gives much the same set."""
        stamps = (self.start_date, self.end_date)
        return all(stamp is None or stamp.tzinfo is None for stamp in stamps) and all(
            given.is_wall_only() if isinstance(given, Rule) else given.tz is None
            for given in (*self.kept_on, *self.exceptions)
        )

    def forgiving(self) -> Self:
        """This rule without a policy that leaves out what a clock change takes away."""
        policy: dict[str, Any] = {"gap": "forward"} if hasattr(self, "gap") else {}
        return dataclasses.replace(self, **policy)

    def footprint(self, place: ZoneInfo) -> Footprint:
        """A superset of the readings that `place` shows when this rule occurs."""
        if self.timezone not in (None, place.key):
            return EVERYTHING
        found = self._footprint(place)
        if self.kept_on:
            found = found.both(reduce(Footprint.either, (_kept(on, place) for on in self.kept_on)))
        for exception in self.exceptions:
            found = found.without(
                exception.certain(place)
                if isinstance(exception, Rule)
                else _removed(exception, place)
            )
        return found

    def certain(self, place: ZoneInfo) -> Footprint:
        """Readings of `place` at which this rule always occurs."""
        return NOTHING

    def _footprint(self, place: ZoneInfo) -> Footprint:
        """The footprint of this kind, before calendars and exceptions."""
        return EVERYTHING

    def series(self) -> Series:
        """The set of instants this rule denotes."""
        try:
            return self._series
        except AttributeError:
            series = self._compose(self.place())
            object.__setattr__(self, "_series", series)
            return series

    def place(self) -> ZoneInfo:
        """The zone of this rule; UTC where it names none and nobody has bound it."""
        return zone(self.timezone or DEFAULT_ZONE)

    def _compose(self, place: ZoneInfo) -> Series:
        lo, hi = self._span(place)
        series: Series = self._instants(place)
        if lo > FIRST or hi < END:
            series = Clipped(series, lo, hi)
        if self.kept_on or self.exceptions:
            series = admitted(series, self, place)
        if self.limit is not None:
            series = Limited(series, self._limit_start(lo), self.limit)
        return series

    def _span(self, place: ZoneInfo) -> tuple[int, int]:
        """The bounds as instants [lo, hi)."""
        fold = "last" if getattr(self, "fold", "first") == "last" else "first"
        lo, hi = FIRST, END
        if self.start_date is not None:
            lo = stamp_micros(self.start_date, place, fold)
            in_years(lo, "start_date", self.start_date)
        if self.end_date is not None:
            hi = min(END, stamp_micros(self.end_date, place, fold) + 1)
        return lo, hi

    def _limit_start(self, lo: int) -> int:
        if self.starts_itself():
            return lo
        if self.anchor is None:
            hint = "give a start_date from which it counts"
            raise Unbound("limit", self.limit, "has no start to count from", hint)
        return to_micros(self.anchor)

    def _check_bounds(self, place: ZoneInfo | None) -> None:
        start, end = self.start_date, self.end_date
        if place is not None:
            lo, hi = self._span(place)
            wrong = lo >= hi
        elif start is None or end is None or (start.tzinfo is None) != (end.tzinfo is None):
            return
        else:
            wrong = end < start
        if wrong and start is not None and end is not None:
            hint = "end the rule at its start or later"
            reason = f"is before start_date {stamp_text(start)}"
            raise refuse("end_date", stamp_text(end), reason, hint)


def _kept(given: Calendar, place: ZoneInfo) -> Footprint:
    return of_calendar(given)[0] if given.tz in (None, place.key) else EVERYTHING


def _removed(given: Calendar, place: ZoneInfo) -> Footprint:
    found, exactly = of_calendar(given)
    return found if exactly and given.tz in (None, place.key) else NOTHING


def _window(start: datetime, end: datetime) -> tuple[int, int]:
    return max(FIRST, aware_micros("start", start)), min(END, aware_micros("end", end))
