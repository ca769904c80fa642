"""Calendars: sets of wall-clock time, given as plain data, that keep or remove occurrences.

The keys of one calendar are ANDed, the values of a key ORed, several calendars ORed. Membership
is asked of the nominal instant's wall clock. A calendar changes only at midnights and at the
ends of its times, so occurrences are kept or dropped by whole runs.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from scheduler.rules import refusals
from scheduler.rules.days import weekday_of
from scheduler.rules.instants import (
    DAY,
    END,
    EPOCH_ORDINAL,
    FIRST,
    HOUR,
    MINUTE,
    SECOND,
    wall_reading,
)
from scheduler.rules.marks import Marks, moved, united
from scheduler.rules.moments import parse_date
from scheduler.rules.refusals import refuse
from scheduler.rules.series import Search, Series, Union, Without
from scheduler.rules.timeline import timeline
from scheduler.rules.zones import zone

if TYPE_CHECKING:
    from scheduler.rules.base import Rule

KEYS: Final = ("dates", "annual", "weekdays", "ranges", "times")
MOST_DATES: Final = 10_000
MOST_TIMES: Final = 1_000
NAMES: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_ANNUAL = re.compile(r"([0-9]{2})-([0-9]{2})")
_TIME = re.compile(r"([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,6}))?)?")
_DASH = re.compile(r"[-–]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """One calendar; a key that is () does not restrict."""

    dates: tuple[date, ...] = ()
    annual: tuple[tuple[int, int], ...] = ()
    """(month, day) of every year."""
    weekdays: tuple[int, ...] = ()
    """0 = Monday."""
    ranges: tuple[tuple[date, date], ...] = ()
    """First and last date, inclusive."""
    times: tuple[tuple[int, int], ...] = ()
    """[from, to) in microseconds from midnight; to < from passes midnight."""
    tz: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The plain data of this calendar."""
        stored: dict[str, Any] = {
            "dates": [day.isoformat() for day in self.dates],
            "annual": [f"{month:02}-{day:02}" for month, day in self.annual],
            "weekdays": [NAMES[weekday] for weekday in self.weekdays],
            "ranges": [[first.isoformat(), last.isoformat()] for first, last in self.ranges],
            "times": [[_time_text(start), _time_text(end)] for start, end in self.times],
        }
        stored = {key: values for key, values in stored.items() if values}
        return stored if self.tz is None else stored | {"tz": self.tz}


def calendar(value: object, field: str) -> Calendar:
    """The calendar that `value` gives: an object with calendar keys, or dates.

    Dates are any iterable or mapping of date objects, such as one of the holidays package;
    `field` is where a refusal says it stood.
    """
    if isinstance(value, Calendar):
        return value
    if isinstance(value, Mapping) and not _is_dates(value):
        return _calendar(value, field)
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        hint = 'such as {"weekdays": ["mon", "tue"]}'
        raise refuse(field, value, "is not a calendar", hint)
    return Calendar(dates=_dates(value, f"{field}: dates"))


def admitted(series: Series, rule: Rule, place: ZoneInfo) -> Series:
    """`series` as the calendars and exceptions of `rule` leave it."""
    kept = [_Clock(given, place) for given in rule.kept_on]
    dropped = [_Clock(given, place) for given in rule.exceptions if isinstance(given, Calendar)]
    if kept or dropped:
        series = Kept(series, kept, dropped)
    removed = [
        given.within(rule, place).series()
        for given in rule.exceptions
        if not isinstance(given, Calendar)
    ]
    if removed:
        series = Without(series, removed[0] if len(removed) == 1 else Union(removed))
    return series


class _Clock:
    """One calendar on one zone's clock."""

    __slots__ = ("_annual", "_bounds", "_calendar", "_dates", "_first", "_last", "_line")

    def __init__(self, given: Calendar, place: ZoneInfo) -> None:
        self._calendar = given
        self._line = timeline(zone(given.tz, "tz") if given.tz else place)
        self._dates = frozenset(day.toordinal() - EPOCH_ORDINAL for day in given.dates)
        self._annual = frozenset(given.annual)
        self._bounds = sorted({at for span in given.times for at in span} | {0, DAY})
        days = [(day.toordinal(), day.toordinal()) for day in given.dates]
        spans = [(first.toordinal(), last.toordinal()) for first, last in given.ranges]
        firsts = [min(run)[0] for run in (days, spans) if run]
        lasts = [max(last for _, last in run) for run in (days, spans) if run]
        self._first = max(firsts) - EPOCH_ORDINAL if firsts else FIRST // DAY
        self._last = min(lasts) - EPOCH_ORDINAL if lasts else END // DAY

    def state(self, instant: int) -> tuple[bool, int, int]:
        """Whether `instant` is in the calendar, and instants [since, until) where that holds."""
        segment = self._line.segment(instant)
        day, time = divmod(instant + segment.offset, DAY)
        # A day more on either side: instants are not readings.
        if day > self._last + 1:
            return False, (self._last + 2) * DAY - segment.offset, END
        if day < self._first - 1:
            return False, FIRST, (self._first - 1) * DAY - segment.offset
        inside = self._has_day(day)
        since, until = 0, DAY
        if inside and self._calendar.times:
            index = bisect_right(self._bounds, time)
            since, until = self._bounds[index - 1], self._bounds[index]
            inside = self._has_time(time)
        midnight = day * DAY - segment.offset
        return inside, max(segment.lo, midnight + since), min(segment.hi, midnight + until)

    def _has_day(self, day: int) -> bool:
        given = self._calendar
        if given.weekdays and weekday_of(day) not in given.weekdays:
            return False
        if self._dates and day not in self._dates:
            return False
        if not given.annual and not given.ranges:
            return True
        on = date.fromordinal(min(day, END // DAY - 1) + EPOCH_ORDINAL)
        if given.annual and (on.month, on.day) not in self._annual:
            return False
        return not given.ranges or any(first <= on <= last for first, last in given.ranges)

    def _has_time(self, time: int) -> bool:
        return any(
            start <= time < end if start < end else time >= start or time < end
            for start, end in self._calendar.times
        )


class Kept(Series):
    """The instants of `inner` that are in one of `kept` (if any) and in none of `dropped`."""

    __slots__ = ("dropped", "inner", "kept")

    def __init__(self, inner: Series, kept: Sequence[_Clock], dropped: Sequence[_Clock]) -> None:
        self.inner = inner
        self.kept = kept
        self.dropped = dropped

    def _state(self, instant: int) -> tuple[bool, int, int]:
        inside, since, until = not self.kept, FIRST, END
        for number, clock in enumerate((*self.kept, *self.dropped)):
            within, lo, hi = clock.state(instant)
            since, until = max(since, lo), min(until, hi)
            if number < len(self.kept):
                inside = inside or within
            elif within:
                inside = False
        return inside, since, until

    def _runs(self, lo: int, hi: int) -> Iterator[tuple[int, int]]:
        """Windows [at, until) inside [lo, hi) whose instants are all kept; the first is `at`."""
        search = Search("only_on" if self.kept else "except")
        at = self.inner.after(lo - 1, hi)
        while at is not None:
            inside, _, until = self._state(at)
            if inside:
                search.found()
                yield at, min(until, hi)
            else:
                search.step()
            at = self.inner.after(until - 1, hi)

    def ascending(self, lo: int, hi: int) -> Iterator[int]:
        for start, end in self._runs(lo, hi):
            yield from self.inner.ascending(start, end)

    def descending(self, lo: int, hi: int) -> Iterator[int]:
        search = Search("only_on" if self.kept else "except")
        at = next(self.inner.descending(lo, hi), None)
        while at is not None:
            inside, since, _ = self._state(at)
            if inside:
                search.found()
                yield from self.inner.descending(max(since, lo), at + 1)
            else:
                search.step()
            at = next(self.inner.descending(lo, since), None) if since > lo else None

    def count(self, lo: int, hi: int) -> int:
        return sum(self.inner.count(start, end) for start, end in self._runs(lo, hi))

    def at_most(self, lo: int, hi: int) -> int:
        return self.inner.at_most(lo, hi)

    def marks(self, lo: int, hi: int) -> Marks:
        runs = list(self._runs(lo, hi))
        return united([moved(self.inner.marks(*run), run[0], lo, hi) for run in runs])


def _is_dates(value: Mapping[Any, Any]) -> bool:
    return type(value).__module__.startswith("holidays") or any(
        isinstance(key, date) for key in list(value)[:1]
    )


def _calendar(value: Mapping[object, object], field: str) -> Calendar:
    given: dict[str, object] = {}
    for key, part in value.items():
        if not isinstance(key, str) or key not in (*KEYS, "tz"):
            known = ", ".join((*KEYS, "tz"))
            raise refuse(field, key, "is not a key of a calendar", f"known are {known}")
        if part is not None:
            given[key] = part
    if not any(key in given for key in KEYS):
        raise refuse(field, value, "restricts nothing", f"give one of {', '.join(KEYS)}")
    tz = given.get("tz")
    return Calendar(
        dates=_dates(given["dates"], f"{field}: dates") if "dates" in given else (),
        annual=_annual(given["annual"], f"{field}: annual") if "annual" in given else (),
        weekdays=_weekdays(given["weekdays"], f"{field}: weekdays") if "weekdays" in given else (),
        ranges=_ranges(given["ranges"], f"{field}: ranges") if "ranges" in given else (),
        times=_times(given["times"], f"{field}: times") if "times" in given else (),
        tz=zone(tz, f"{field}: tz").key if tz is not None else None,
    )


def _listed(value: object, field: str, most: int) -> list[object]:
    """The values of a key: a list, not empty, of at most `most`."""
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise refuse(field, value, "is not a list")
    found: list[object] = []
    for item in value:
        if len(found) == most:
            raise refuse(field, "the list", f"has more than {most} values")
        found.append(item)
    if not found:
        raise refuse(field, "the list", "is empty")
    return found


def _dates(value: object, field: str) -> tuple[date, ...]:
    return tuple(sorted({parse_date(day, field) for day in _listed(value, field, MOST_DATES)}))


def _annual(value: object, field: str) -> tuple[tuple[int, int], ...]:
    found: set[tuple[int, int]] = set()
    for item in _listed(value, field, MOST_DATES):
        match = _ANNUAL.fullmatch(refusals.text(field, item, 64))
        if match is None:
            raise refuse(field, item, "is not a day of the year", "write it as 12-25")
        month, day = int(match[1]), int(match[2])
        try:
            date(2000, month, day)
        except ValueError as error:
            raise refuse(field, item, f"does not exist ({error})") from None
        found.add((month, day))
    return tuple(sorted(found))


def _weekdays(value: object, field: str) -> tuple[int, ...]:
    found: set[int] = set()
    for item in [value] if isinstance(value, str) else _listed(value, field, MOST_TIMES):
        if isinstance(item, int) and not isinstance(item, bool):
            if not 0 <= item <= 7:
                raise refuse(field, item, "is not in 0–7", "0 and 7 are Sunday")
            found.add((item - 1) % 7)
            continue
        for part in refusals.text(field, item, 64).split(","):
            first, *rest = _DASH.split(part, maxsplit=1)
            low = _weekday(first, field)
            high = _weekday(rest[0], field) if rest else low
            if low > high:
                hint = f"write {NAMES[low]}-sun and mon-{NAMES[high]}"
                raise refuse(field, part, "runs backwards, and a range does not wrap round", hint)
            found.update(range(low, high + 1))
    return tuple(sorted(found))


def _weekday(name: str, field: str) -> int:
    folded = name.strip(" ").lower()
    if folded not in NAMES:
        raise refuse(field, name, "is not a weekday", f"known are {', '.join(NAMES)}")
    return NAMES.index(folded)


def _ranges(value: object, field: str) -> tuple[tuple[date, date], ...]:
    found: set[tuple[date, date]] = set()
    for first_text, last_text in _pairs(value, field, MOST_DATES, "/", ("first", "last")):
        first, last = parse_date(first_text, field), parse_date(last_text, field)
        if last < first:
            raise refuse(field, last.isoformat(), f"is before {first.isoformat()}")
        found.add((first, last))
    return tuple(sorted(found))


def _times(value: object, field: str) -> tuple[tuple[int, int], ...]:
    found: set[tuple[int, int]] = set()
    for start_text, end_text in _pairs(value, field, MOST_TIMES, "-–", ("from", "to")):
        start, end = _time(start_text, field), _time(end_text, field)
        if start == DAY:
            raise refuse(field, start_text, "is not a time to begin at", "write 00:00")
        if start == end:
            raise refuse(field, start_text, "begins and ends a time of no length")
        found.add((start, end))
    return tuple(sorted(found))


def _pairs(
    value: object, field: str, most: int, dashes: str, names: tuple[str, str]
) -> list[tuple[object, object]]:
    """Pairs, each a list of two, a text with a dash, or an object; one alone, or a list."""
    alone = isinstance(value, (str, Mapping)) or _is_pair(value)
    items = [value] if alone else _listed(value, field, most)
    return [_pair(item, field, dashes, names) for item in items]


def _is_pair(value: object) -> bool:
    """Whether `value` is itself a pair of ends, not a list of pairs."""
    return (
        isinstance(value, Sequence)
        and len(value) == 2
        and all(isinstance(v, date) or (isinstance(v, str) and _is_end(v)) for v in value)
    )


def _is_end(text: str) -> bool:
    return len(text) <= 16 and bool(_TIME.fullmatch(text) or re.fullmatch(r"[0-9-]{10}", text))


def _pair(item: object, field: str, dashes: str, names: tuple[str, str]) -> tuple[object, object]:
    if isinstance(item, str):
        ends = re.split(f"[{dashes}]", refusals.text(field, item, 64))
        if len(ends) == 2:
            return ends[0], ends[1]
    elif isinstance(item, Mapping):
        if set(item) == set(names):
            return item[names[0]], item[names[1]]
    elif isinstance(item, Sequence) and len(item) == 2 and not isinstance(item, bytes):
        return item[0], item[1]
    raise refuse(field, item, "is not a pair", f"give a list of two: {names[0]} and {names[1]}")


def _time(value: object, field: str) -> int:
    match = _TIME.fullmatch(refusals.text(field, value, 64))
    if match is None:
        raise refuse(field, value, "is not a time of day", "write it as 09:00")
    hour, minute, second = int(match[1]), int(match[2]), int(match[3] or 0)
    micros = int((match[4] or "").ljust(6, "0"))
    time = hour * HOUR + minute * MINUTE + second * SECOND + micros
    if hour > 24 or minute > 59 or second > 59 or time > DAY:
        raise refuse(field, value, "is not a time of day", "from 00:00 to 24:00")
    return time


def _time_text(time: int) -> str:
    if time == DAY:
        return "24:00"
    text = wall_reading(time).time().isoformat()
    return text.removesuffix(":00") if len(text) == 8 else text
