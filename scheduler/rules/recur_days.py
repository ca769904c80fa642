"""The dates of an RRULE: the BY parts as a filter on the days of a year, INTERVAL as a phase.

Whether a part expands or limits (the table of RFC 5545, 3.3.10) comes to the same thing when
the days of a whole year are filtered by all of them together: what is left is the set.
"""

from __future__ import annotations

from calendar import isleap, monthrange
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date

from scheduler.rules.days import Days, KindDays, Offsets, last_day, new_year, weekday_of, year_of
from scheduler.rules.instants import EPOCH_ORDINAL
from scheduler.rules.recur import Recur

_KEPT_YEARS = 64


def completed(recur: Recur, start: date) -> Recur:
    """`recur` with the date fields that no BY part gives, taken from `start`."""
    given = recur.bymonthday or recur.byyearday or recur.byday
    if recur.freq == "WEEKLY" and not recur.byday:
        return replace(recur, byday=((0, start.weekday()),))
    if recur.freq == "MONTHLY" and not given:
        return replace(recur, bymonthday=(start.day,))
    if recur.freq == "YEARLY" and not given:
        if recur.byweekno:
            return replace(recur, byday=((0, start.weekday()),))
        month = recur.bymonth or (start.month,)
        return replace(recur, bymonth=month, bymonthday=(start.day,))
    return recur


def has_date_parts(recur: Recur) -> bool:
    """Whether any BY part chooses dates."""
    return bool(
        recur.bymonth or recur.bymonthday or recur.byyearday or recur.byweekno or recur.byday
    )


def filtered_days(recur: Recur) -> KindDays:
    """The dates that pass every BY part of a completed `recur`, whatever INTERVAL says."""
    return KindDays(lambda year: _matching(recur, year))


def _matching(recur: Recur, year: int) -> list[int]:
    found: list[int] = []
    first = new_year(year)
    length = 366 if isleap(year) else 365
    weeks = _weeks(recur, year) if recur.byweekno else set()
    in_month = recur.freq == "MONTHLY" or bool(recur.bymonth)
    weekdays = frozenset(recur.byday)
    base = 0
    for month in range(1, 13):
        month_length = monthrange(year, month)[1]
        if not recur.bymonth or month in recur.bymonth:
            for offset in range(base, base + month_length):
                day = offset - base + 1
                weekday = weekday_of(first + offset)
                place = (day, month_length) if in_month else (offset + 1, length)
                if (
                    (not recur.bymonthday or _either_end(recur.bymonthday, day, month_length))
                    and (not recur.byyearday or _either_end(recur.byyearday, offset + 1, length))
                    and (not recur.byweekno or offset in weeks)
                    and (not weekdays or _on(weekdays, weekday, *place))
                ):
                    found.append(offset)
        base += month_length
    return found


def _either_end(wanted: Sequence[int], number: int, length: int) -> bool:
    return number in wanted or number - length - 1 in wanted


def _on(wanted: frozenset[tuple[int, int]], weekday: int, number: int, length: int) -> bool:
    """Whether BYDAY has this weekday, by its number in the month or the year where it has one.

    The day is the `number`th of `length`.
    """
    nth, last = (number + 6) // 7, -((length - number) // 7) - 1
    return not wanted.isdisjoint(((0, weekday), (nth, weekday), (last, weekday)))


def _weeks(recur: Recur, year: int) -> set[int]:
    """The days of `year` in the weeks of BYWEEKNO, of its own weeks or a neighbour's."""
    found: set[int] = set()
    first, length = new_year(year), 366 if isleap(year) else 365
    for of in (year - 1, year, year + 1):
        start, end = _week_1(of, recur.wkst), _week_1(of + 1, recur.wkst)
        weeks = (end - start) // 7
        for number in range(1, weeks + 1):
            if _either_end(recur.byweekno, number, weeks):
                monday = start + 7 * (number - 1) - first
                found.update(range(max(0, monday), min(length, monday + 7)))
    return found


def _week_1(year: int, wkst: int) -> int:
    """The first day of week 1: the first week with at least four days in `year`."""
    ordinal = 365 * (year - 1) + (year - 1) // 4 - (year - 1) // 100 + (year - 1) // 400 + 1
    january_4 = ordinal - EPOCH_ORDINAL + 3
    return january_4 - (weekday_of(january_4) - wkst) % 7


class PhasedDays(Days):
    """Filtered days in every INTERVALth year, month, week or day from the start."""

    __slots__ = ("_filter", "_freq", "_interval", "_kept", "_start", "_wkst")

    def __init__(self, filtered: KindDays, recur: Recur, start: int) -> None:
        super().__init__()
        self._filter = filtered
        self._freq = recur.freq
        self._interval = recur.interval
        self._start = start
        self._wkst = recur.wkst
        self._kept: dict[int, Offsets] = {}

    def offsets(self, year: int) -> Offsets:
        found = self._kept.get(year)
        if found is None:
            if len(self._kept) >= _KEPT_YEARS:
                self._kept.clear()
            found = self._kept[year] = self._in_phase(year)
        return found

    def years(self, first: int, last: int) -> Iterable[int]:
        if self._is_dense:
            return super().years(first, last)
        within = self._years(min(first, last), max(first, last))
        return within if first <= last else reversed(within)

    @property
    def _is_dense(self) -> bool:
        """Whether to ask year by year: the intervals are no further apart than ten years."""
        per_year = {"YEARLY": 1, "MONTHLY": 12, "WEEKLY": 53, "DAILY": 366}[self._freq]
        return self._interval <= 10 * per_year

    def _years(self, first: int, last: int) -> list[int]:
        """The years that an interval touches."""
        start = date.fromordinal(self._start + EPOCH_ORDINAL)
        match self._freq:
            case "YEARLY":
                return list(_every(self._interval, start.year, first, last))
            case "MONTHLY":
                phase = start.year * 12 + start.month - 1
                months = _every(self._interval, phase, first * 12, last * 12 + 11)
                return [month // 12 for month in months]
            case _:
                length = 7 if self._freq == "WEEKLY" else 1
                begin = self._start - (weekday_of(self._start) - self._wkst) % length
                lo, hi = new_year(first), last_day(last)
                runs = _every(self._interval * length, begin, lo - length + 1, hi)
                ends = (day for run in runs for day in (run, run + length - 1))
                return sorted({year_of(min(max(day, lo), hi)) for day in ends})

    def _in_phase(self, year: int) -> Offsets:
        start = date.fromordinal(self._start + EPOCH_ORDINAL)
        filtered = self._filter.offsets(year)
        if not filtered:
            return ()
        match self._freq:
            case "YEARLY":
                return () if (year - start.year) % self._interval else filtered
            case "MONTHLY":
                return self._months(year, (year - start.year) * 12 - start.month, filtered)
            case "WEEKLY":
                week = self._start - (weekday_of(self._start) - self._wkst) % 7
                return _stepped(filtered, week - new_year(year), self._interval * 7, 7)
            case _:
                return _stepped(filtered, self._start - new_year(year), self._interval, 1)

    def _months(self, year: int, before: int, filtered: Offsets) -> Offsets:
        """`before` is how many months `year` starts after the start, less one for January."""
        found: list[int] = []
        base = 0
        for month in range(1, 13):
            length = monthrange(year, month)[1]
            if (before + month) % self._interval == 0:
                found.extend(offset for offset in filtered if base <= offset < base + length)
            base += length
        return found


def _every(step: int, phase: int, first: int, last: int) -> range:
    """The numbers from `first` to `last` that are whole steps from `phase`."""
    return range(first + (phase - first) % step, last + 1, step)


def _stepped(filtered: Offsets, start: int, step: int, length: int) -> Offsets:
    """The days of `filtered` in runs of `length` days, every `step` days from `start`."""
    if step <= 8 * length:
        return [offset for offset in filtered if (offset - start) % step < length]
    wanted = set(filtered)
    first = start % step - (step if start % step + length > step else 0)
    runs = range(first, 366, step)
    return [day for run in runs for day in range(max(0, run), run + length) if day in wanted]


def day_phase(recur: Recur, start: int) -> Days:
    """The dates of a completed `recur` whose dtstart is on day `start`, INTERVAL included."""
    filtered = filtered_days(recur)
    if recur.interval == 1 or recur.is_subdaily:
        return filtered
    return PhasedDays(filtered, recur, start)
