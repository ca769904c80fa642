"""The text of a cron expression, read into sets.

Each field becomes a bit mask of its values; the day fields can also hold days that depend on
the month (`L`, `LW`, `15W`, `FRIL`, `MON#1`). Everything that is not in the grammar is refused
here, by field.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from scheduler.rules import refusals
from scheduler.rules.refusals import refuse

LONGEST = 255
_MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
_WEEKDAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]


@dataclass(frozen=True, slots=True)
class Field:
    """One field of the grammar: its range, and the names of its values."""

    name: str
    lowest: int
    highest: int
    unit: str
    names: dict[str, int]


SECOND: Final = Field("second", 0, 59, "seconds", {})
MINUTE: Final = Field("minute", 0, 59, "minutes", {})
HOUR: Final = Field("hour", 0, 23, "hours", {})
DAY: Final = Field("day of month", 1, 31, "days", {})
MONTH: Final = Field("month", 1, 12, "months", {m: n for n, m in enumerate(_MONTHS, 1)})
WEEKDAY: Final = Field("day of week", 0, 7, "days", {d: n for n, d in enumerate(_WEEKDAYS)})
FIELDS: Final = (SECOND, MINUTE, HOUR, DAY, MONTH, WEEKDAY)

ALIASES: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}

_ITEM = re.compile(r"(?:(\*|\?)|([0-9]+|[A-Za-z]{3})(?:-([0-9]+|[A-Za-z]{3}))?)(?:/([0-9]+))?")
_LAST = re.compile(r"[Ll](?:-([0-9]+))?")
_NEAREST = re.compile(r"([0-9]+)[Ww]")
_LAST_WEEKDAY = re.compile(r"([0-9]|[A-Za-z]{3})[Ll]")
_NTH_WEEKDAY = re.compile(r"([0-9]|[A-Za-z]{3})#([0-9]+)")


@dataclass(frozen=True, slots=True)
class DaysOfMonth:
    """The day-of-month field: a mask of days, and the days that depend on the month."""

    mask: int = 0
    from_last: tuple[int, ...] = ()
    """n for `L-n`, 0 for `L`."""
    nearest: tuple[int, ...] = ()
    """n for `nW`."""
    last_workday: bool = False


@dataclass(frozen=True, slots=True)
class DaysOfWeek:
    """The day-of-week field, 0 = Sunday: a mask, the last ones and the numbered ones."""

    mask: int = 0
    last: tuple[int, ...] = ()
    nth: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class CronFields:
    """A cron expression as sets."""

    seconds: int
    minutes: int
    hours: int
    days: DaysOfMonth
    months: int
    weekdays: DaysOfWeek
    either_day: bool
    """Whether a date may match one of the two day fields, as cron(8) has it, instead of both."""
    wildcard: bool
    """Whether the minute or the hour starts with `*`: then the clock is matched literally."""
    texts: tuple[str, ...]
    """The six fields as written."""


def parse_cron(text: object) -> CronFields:
    """The sets that a cron expression of five or six fields, or an alias, means.

    Raises InvalidRule naming the field, the part and the mend.
    """
    written = refusals.text("cron", text, LONGEST)
    texts = _split(written)
    second, minute, hour, day, month, weekday = texts
    return CronFields(
        seconds=_plain(SECOND, second),
        minutes=_plain(MINUTE, minute),
        hours=_plain(HOUR, hour),
        days=_days(day),
        months=_plain(MONTH, month),
        weekdays=_weekdays(weekday),
        either_day=day[0] not in "*?" and weekday[0] not in "*?",
        wildcard=minute[0] == "*" or hour[0] == "*",
        texts=texts,
    )


def values(mask: int) -> list[int]:
    """The values of a mask, ascending."""
    return [value for value in range(mask.bit_length()) if mask >> value & 1]


def _split(written: str) -> tuple[str, ...]:
    if "\n" in written or "\r" in written:
        raise refuse("cron", written, "has a line break", "write the fields on one line")
    text = written.strip(" \t")
    if text[:1] == "@":
        text = _alias(text)
    elif "=" in text:
        hint = "name the zone in timezone"
        raise refuse("cron", written, "sets a variable, and a rule has none", hint)
    fields = re.split(r"[ \t]+", text) if text else []
    if len(fields) == 5:
        return ("0", *fields)
    if len(fields) == 6:
        return tuple(fields)
    hint = "minute hour day-of-month month day-of-week, with an optional second first"
    raise refuse("cron", written, f"has {len(fields)} fields and not 5 or 6", hint)


def _alias(text: str) -> str:
    found = ALIASES.get(text.lower()) if text.isascii() else None
    if found is not None:
        return found
    word = text.split(None, 1)[0].lower()
    hints = {
        "@reboot": "a schedule does not know of restarts; enqueue a job at start instead",
        "@every": 'write {"every": 90, "unit": "minutes"}',
    }
    hint = hints.get(word, f"known are {', '.join(ALIASES)}")
    raise refuse("cron", text, "is not an alias", hint)


def _plain(field: Field, text: str) -> int:
    """The mask of a field whose items are values, ranges and steps only."""
    mask = 0
    for item in _items(field, text):
        mask |= _mask(field, item)
    return mask


def _days(text: str) -> DaysOfMonth:
    mask, from_last, nearest, last_workday = 0, set(), set(), False
    for item in _items(DAY, text):
        if match := _LAST.fullmatch(item):
            before = int(match[1] or 0)
            if before > 30:
                raise _refuse(DAY, item, "counts more than 30 days from the last")
            from_last.add(before)
        elif item.upper() == "LW":
            last_workday = True
        elif match := _NEAREST.fullmatch(item):
            nearest.add(_value(DAY, match[1]))
        else:
            mask |= _mask(DAY, item)
    return DaysOfMonth(mask, tuple(sorted(from_last)), tuple(sorted(nearest)), last_workday)


def _weekdays(text: str) -> DaysOfWeek:
    mask, last, nth = 0, set(), set()
    for item in _items(WEEKDAY, text):
        if item.upper() == "L" or re.fullmatch(r"[Ll][0-9]", item):
            hint = "write 6 or SAT for every Saturday, FRIL for the last Friday of the month"
            raise _refuse(WEEKDAY, item, "is ambiguous", hint)
        if match := _LAST_WEEKDAY.fullmatch(item):
            last.add(_value(WEEKDAY, match[1]) % 7)
        elif match := _NTH_WEEKDAY.fullmatch(item):
            number = int(match[2])
            if not 1 <= number <= 5:
                raise _refuse(WEEKDAY, item, "has a number that is not in 1–5")
            nth.add((_value(WEEKDAY, match[1]) % 7, number))
        else:
            mask |= _mask(WEEKDAY, item)
    mask = (mask | mask >> 7) & 0b1111111  # 7 is Sunday too
    return DaysOfWeek(mask, tuple(sorted(last)), tuple(sorted(nth)))


def _items(field: Field, text: str) -> list[str]:
    items = text.split(",")
    if "" in items:
        raise _refuse(field, text, "has an empty item")
    return items


def _mask(field: Field, item: str) -> int:
    """The bits of one item: `*`, `a`, `a-b`, each optionally with `/n`."""
    match = _ITEM.fullmatch(item)
    if match is None:
        raise _malformed(field, item)
    star, first, last, step = match.groups()
    if star == "?" and field not in (DAY, WEEKDAY):
        raise _refuse(field, item, "is for the day fields only", "write *")
    if star:
        low, high = field.lowest, field.highest
    else:
        low = _value(field, first)
        high = _value(field, last) if last else (field.highest if step else low)
    if low > high:
        hint = f"write {_split_range(field, first, last)}"
        raise _refuse(field, item, "runs backwards, and a range does not wrap round", hint)
    stride = _step(field, item, step) if step else 1
    return sum(1 << value for value in range(low, high + 1, stride))


def _step(field: Field, item: str, text: str) -> int:
    step = int(text)
    if step == 0:
        raise _refuse(field, item, "has a step of 0", "give a step of 1 or more")
    if step > field.highest:
        hint = f"a step restarts in each unit; use every: {step} {field.unit}"
        raise _refuse(field, item, f"has a step of more than {field.highest}", hint)
    return step


def _value(field: Field, text: str) -> int:
    if text[0].isdigit():
        value = int(text)
        if not field.lowest <= value <= field.highest:
            raise _refuse(field, text, f"is not in {field.lowest}–{field.highest}")
        return value
    named = field.names.get(text.upper())
    if named is None:
        raise _malformed(field, text)
    return named


def _split_range(field: Field, first: str, last: str) -> str:
    """The list that means what a backwards range wanted: `22-23,0-2`, `fri-sat,sun-mon`."""
    names = sorted(field.names, key=field.names.__getitem__)
    if first[0].isdigit():
        top, bottom = str(field.highest), "1" if field is WEEKDAY else str(field.lowest)
    elif first.islower():
        top, bottom = names[-1].lower(), names[0].lower()
    else:
        top, bottom = names[-1], names[0]
    runs = [(first, top), (bottom, last)]
    if field is WEEKDAY and last == "0":
        runs.pop()
    return ",".join(low if low == high else f"{low}-{high}" for low, high in runs)


def _malformed(field: Field, item: str) -> Exception:
    if field.names and re.fullmatch(r"[A-Za-z]{4,}", item):
        return _refuse(field, item, "is not a name", "names have three letters, such as MON or JAN")
    if item[:1] in "Hh~" or "~" in item:
        hint = "give the value itself; jitter spreads the load"
        return _refuse(field, item, "asks for a chosen value, and a rule has none", hint)
    span = f"{field.lowest}–{field.highest}"
    names = f" or {min(field.names, key=field.names.__getitem__)}…" if field.names else ""
    return _refuse(field, item, "is not a value, a range or a step", f"values are {span}{names}")


def _refuse(field: Field, item: str, reason: str, hint: str = "") -> Exception:
    return refuse(f"cron: {field.name}", item, reason, hint)
