"""Every N units from an anchor, in closed form: occurrence k is anchor + k·N·unit.

Seconds, minutes and hours are elapsed time on the UTC line. Days, weeks, months and years are
calendar arithmetic on the anchor's wall clock, resolved afterwards, so that the time of day
never drifts. Nothing is computed from the occurrence before, a run, or now.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from math import gcd
from typing import Any, ClassVar, Final
from zoneinfo import ZoneInfo

from scheduler.rules import refusals
from scheduler.rules.base import Rule
from scheduler.rules.days import weekday_of
from scheduler.rules.footprint import (
    ALL_DAYS,
    Footprint,
    after_gaps,
    forward,
    steady_mask,
    weekdays_mask,
)
from scheduler.rules.instants import (
    DAY,
    END,
    EPOCH_ORDINAL,
    FIRST,
    HOUR,
    MINUTE,
    SECOND,
)
from scheduler.rules.refusals import refuse
from scheduler.rules.series import Series, Steady, Unbound
from scheduler.rules.timeline import Timeline, timeline
from scheduler.rules.wall import Pattern, WallSeries, by_policy
from scheduler.rules.zones import anchored, stamp_micros

ELAPSED: Final = {"seconds": SECOND, "minutes": MINUTE, "hours": HOUR}
WALL_DAYS: Final = {"days": DAY, "weeks": 7 * DAY}
WALL_MONTHS: Final = {"months": 1, "years": 12}
UNITS: Final = (*ELAPSED, *WALL_DAYS, *WALL_MONTHS)

_CENTURY_DAYS = 36_525
_LONGEST: Final = {
    **{unit: _CENTURY_DAYS * DAY // length for unit, length in (ELAPSED | WALL_DAYS).items()},
    **{unit: 1200 // months for unit, months in WALL_MONTHS.items()},
}

GAPS: Final = ("forward", "skip")
FOLDS: Final = ("first", "last", "both")


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval(Rule):
    """`{"every": 15, "unit": "minutes"}`"""

    every: int
    unit: str
    gap: str = "forward"
    fold: str = "first"

    kind: ClassVar[str] = "every"

    def _check(self) -> None:
        refusals.choice("unit", self.unit, UNITS)
        most = _LONGEST[self.unit]
        hint = f"give 1 to {most} {self.unit} (at most 100 years)"
        refusals.count("every", self.every, most, hint)
        check_policies(self.gap, self.fold)
        if self.unit in ELAPSED and (self.gap, self.fold) != ("forward", "first"):
            field, value = ("gap", self.gap) if self.gap != "forward" else ("fold", self.fold)
            reason = f"has no meaning for {self.unit}, which count elapsed time"
            raise refuse(field, value, reason, "it is for days and longer")

    def _to_json(self) -> dict[str, Any]:
        return {"every": self.every, "unit": self.unit} | policies_json(self.gap, self.fold)

    def is_wall_only(self) -> bool:
        return self.unit not in ELAPSED and Rule.is_wall_only(self)

    def starts_itself(self) -> bool:
        return True

    def _leans_on_anchor(self) -> bool:
        return self.start_date is None or Rule._leans_on_anchor(self)

    def _instants(self, place: ZoneInfo) -> Series:
        if self.unit in ELAPSED:
            return Steady(self._first(place), self.every * ELAPSED[self.unit])
        line = timeline(place)
        wall, exact = self._anchor(line)
        landing = by_policy(self.gap, self.fold, exact)
        return WallSeries(self._pattern(wall), line, landing)

    def _footprint(self, place: ZoneInfo) -> Footprint:
        if self.unit in ELAPSED:
            first, step = self._first(place), self.every * ELAPSED[self.unit]
            is_whole = not first % SECOND
            beat = gcd(step, DAY) // SECOND
            return Footprint(times=steady_mask(first // SECOND, beat, place), is_whole=is_whole)
        wall, _ = self._anchor(timeline(place))
        day, time = divmod(wall, DAY)
        days = weekdays_mask((weekday_of(day),)) if self.unit == "weeks" else ALL_DAYS
        shown = Footprint(days, 1 << time // SECOND, not time % SECOND)
        return after_gaps(shown, place, forward)

    def _pattern(self, wall: int) -> Pattern:
        if self.unit in WALL_DAYS:
            return SteadyReadings(wall, self.every * WALL_DAYS[self.unit])
        return Months(wall, self.every * WALL_MONTHS[self.unit])

    def _start(self) -> datetime:
        """What occurrence 0 stands on: the start given, else the anchor, to the second."""
        if self.start_date is not None:
            return self.start_date
        if self.anchor is None:
            hint = "give a start_date, or bind the rule to an anchor"
            raise Unbound("start_date", "nothing", "was given, so the interval has no phase", hint)
        return self.anchor.replace(microsecond=0)

    def _first(self, place: ZoneInfo) -> int:
        return stamp_micros(self._start(), place)

    def _anchor(self, line: Timeline) -> tuple[int, dict[int, int]]:
        """The anchor's wall reading, and the instant of occurrence 0 where it is fixed."""
        return anchored(self._start(), line.zone, "start_date")


class SteadyReadings(Pattern):
    """Every `step` of wall clock from `first`."""

    __slots__ = ("_steady",)

    def __init__(self, first: int, step: int) -> None:
        self._steady = Steady(first, step)

    @property
    def per_day(self) -> int:
        return 1

    def first(self, lo: int, hi: int) -> int | None:
        found = self._steady.after(lo - 1)
        return found if found is not None and found < hi else None

    def ascending(self, lo: int, hi: int) -> Iterator[int]:
        return self._steady.ascending(lo, min(hi, END))

    def descending(self, lo: int, hi: int) -> Iterator[int]:
        return self._steady.descending(lo, min(hi, END))

    def count(self, lo: int, hi: int) -> int:
        return self._steady.count(lo, min(hi, END))


class Months(Pattern):
    """The anchor's day and time every `step` months; the last day where a month is shorter."""

    __slots__ = ("day", "month", "step", "time")

    def __init__(self, first: int, step: int) -> None:
        ordinal, self.time = divmod(first, DAY)
        on = date.fromordinal(ordinal + EPOCH_ORDINAL)
        self.month = on.year * 12 + on.month - 1
        self.day = on.day
        self.step = step

    def reading(self, k: int) -> int:
        """Reading k, from the anchor; END or later where the calendar has ended."""
        year, month = divmod(self.month + k * self.step, 12)
        if year > 9999:
            return END
        day = self.day
        if day > 28:
            day = min(day, monthrange(year, month + 1)[1])
        return (date(year, month + 1, day).toordinal() - EPOCH_ORDINAL) * DAY + self.time

    def first_at_or_after(self, wall: int) -> int:
        """The least k >= 0 whose reading is at or after `wall`."""
        if wall >= END:
            return -((self.month - 10_000 * 12) // self.step)
        on = date.fromordinal(max(wall, FIRST) // DAY + EPOCH_ORDINAL)
        k = max(0, (on.year * 12 + on.month - 1 - self.month) // self.step)
        return k if self.reading(k) >= wall else k + 1

    @property
    def per_day(self) -> int:
        return 1

    def first(self, lo: int, hi: int) -> int | None:
        found = self.reading(self.first_at_or_after(lo))
        return found if found < min(hi, END) else None

    def ascending(self, lo: int, hi: int) -> Iterator[int]:
        k, hi = self.first_at_or_after(lo), min(hi, END)
        while (reading := self.reading(k)) < hi:
            yield reading
            k += 1

    def descending(self, lo: int, hi: int) -> Iterator[int]:
        k = self.first_at_or_after(min(hi, END)) - 1
        while k >= 0 and (reading := self.reading(k)) >= lo:
            yield reading
            k -= 1

    def count(self, lo: int, hi: int) -> int:
        hi = min(hi, END)
        return max(0, self.first_at_or_after(hi) - self.first_at_or_after(lo))


def check_policies(gap: object, fold: object) -> None:
    """Refuse a `gap` or `fold` that is not a policy."""
    refusals.choice("gap", gap, GAPS)
    refusals.choice("fold", fold, FOLDS)


def policies_json(gap: str, fold: str) -> dict[str, str]:
    """The policies that are not the default, as stored."""
    given = {"gap": gap, "fold": fold}
    return {key: value for key, value in given.items() if value not in ("forward", "first")}


def every(
    *,
    seconds: int | None = None,
    minutes: int | None = None,
    hours: int | None = None,
    days: int | None = None,
    weeks: int | None = None,
    months: int | None = None,
    years: int | None = None,
    start_date: datetime | str | None = None,
    end_date: datetime | str | None = None,
    limit: int | None = None,
    timezone: str | None = None,
    gap: str = "forward",
    fold: str = "first",
) -> Interval:
    """Every N of exactly one unit, counted from `start_date`.

    Seconds, minutes and hours are elapsed time; days, weeks, months and years keep the wall
    clock of `timezone`. Without `start_date`, occurrence 0 is when the schedule is created.
    Bounds are inclusive; naive ones are wall clock in the zone. `gap` and `fold` choose what
    days and longer do where the clock changes. Raises InvalidRule.

    >>> from datetime import UTC, datetime
    >>> rule = every(months=1, start_date="2024-01-31T09:00")
    >>> rule.next_after(datetime(2024, 1, 31, 9, tzinfo=UTC))
    datetime.datetime(2024, 2, 29, 9, 0, tzinfo=datetime.timezone.utc)
    """
    units = (seconds, minutes, hours, days, weeks, months, years)
    given = {unit: n for unit, n in zip(UNITS, units, strict=True) if n is not None}
    if len(given) != 1:
        names = ", ".join(UNITS)
        what = " and ".join(given) or "no unit"
        raise refuse("every", what, "was given", f"give exactly one of {names}")
    ((unit, n),) = given.items()
    return Interval(
        every=n,
        unit=unit,
        start_date=start_date,  # type: ignore[arg-type]  # text is parsed on the way in
        end_date=end_date,  # type: ignore[arg-type]
        limit=limit,
        timezone=timezone,
        gap=gap,
        fold=fold,
    )
