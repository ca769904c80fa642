"""A rule as an English sentence, for people who decide whether it is the one they meant."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from datetime import datetime

from scheduler.rules.at import At
from scheduler.rules.base import Rule
from scheduler.rules.calendars import NAMES, Calendar
from scheduler.rules.combine import AllOf, AnyOf, Combined
from scheduler.rules.cron import Cron, compiled
from scheduler.rules.cron_fields import CronFields, values
from scheduler.rules.every import Interval
from scheduler.rules.recur import Recur, parse_recur
from scheduler.rules.rrule import RRule

MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_WORKDAYS, _WEEKEND = [0, 1, 2, 3, 4], [5, 6]
_UNITS = {
    "YEARLY": "year", "MONTHLY": "month", "WEEKLY": "week", "DAILY": "day", "HOURLY": "hour",
    "MINUTELY": "minute", "SECONDLY": "second",
}  # fmt: skip
_MANY = 6


def explain(rule: Rule) -> str:
    """One sentence that says when `rule` occurs: "every weekday at 09:00, Europe/Berlin"."""
    return ", ".join([_core(rule), *_conditions(rule)])


def _core(rule: Rule) -> str:
    match rule:
        case Interval():
            return _interval(rule)
        case Cron():
            return _cron(compiled(rule.cron)[0])
        case RRule():
            return _rrule(rule)
        case At():
            return f"once at {_some([_moment(at) for at in rule.at])}"
        case AnyOf():
            return _members(rule, "or")
        case AllOf():
            return f"only when all agree: {_members(rule, 'and')}"
    return rule.kind


def _members(rule: Combined, word: str) -> str:
    parts = [explain(member) for member in rule.members]
    return f"; {word} ".join(parts)


def _interval(rule: Interval) -> str:
    unit = rule.unit.removesuffix("s")
    step = f"every {unit}" if rule.every == 1 else f"every {rule.every} {rule.unit}"
    start = rule.start_date
    if start is None or rule.unit in ("seconds", "minutes", "hours"):
        return step
    if unit == "week":
        step += f" on {WEEKDAYS[start.weekday()]}"
    elif unit == "month":
        step += f" on the {ordinal(start.day)}"
    elif unit == "year":
        step += f" on {start.day} {MONTHS[start.month - 1]}"
    return f"{step} at {_time_of(start)}"


def _conditions(rule: Rule) -> list[str]:
    """Zone, bounds, calendars and limit."""
    found: list[str] = []
    if rule.timezone is not None:
        found.append(rule.timezone)
    if rule.start_date is not None:
        found.append(f"from {_moment(rule.start_date)}")
    if rule.end_date is not None:
        found.append(f"until {_moment(rule.end_date)}")
    if rule.kept_on:
        found.append("only on " + " or ".join(_calendar(given) for given in rule.kept_on))
    found += [f"except {_exception(given)}" for given in rule.exceptions]
    if rule.limit is not None:
        found.append("once" if rule.limit == 1 else f"{rule.limit} times")
    return found


def excluded_by(rule: Rule, moment: datetime) -> list[str]:
    """What keeps `rule` from occurring at `moment`, as texts; [] if it is not excluded.

    `rule` is bound. That is: an `only_on` that does not hold it, each `except` and `exdate` that
    does, and what keeps the members of a union or an intersection from it.
    """
    bare = dataclasses.replace(rule.unexcluded(), limit=None)
    found: list[str] = []
    if isinstance(rule, Combined):
        for member in rule.members:
            found += excluded_by(member.within(rule, rule.place()), moment)
    if moment not in bare:
        return found
    if rule.kept_on and moment not in dataclasses.replace(bare, kept_on=rule.kept_on):
        found.append("only on " + " or ".join(_calendar(given) for given in rule.kept_on))
    for given in rule.exceptions:
        if moment not in dataclasses.replace(bare, exceptions=(given,)):
            found.append(f"except {_exception(given)}")
    if isinstance(bare, RRule) and isinstance(rule, RRule):
        for at in rule.exdate:
            if moment not in dataclasses.replace(bare, exdate=(at,)):
                found.append(f"but not {_moment(at)}")
    return found


def _exception(given: Calendar | Rule) -> str:
    return _calendar(given) if isinstance(given, Calendar) else explain(given)


def _calendar(calendar: Calendar) -> str:
    parts: list[str] = []
    if calendar.weekdays:
        parts.append(_weekday_names(calendar.weekdays))
    if calendar.annual:
        parts.append(_some([f"{day} {MONTHS[month - 1]}" for month, day in calendar.annual]))
    if calendar.dates:
        parts.append(_some([day.isoformat() for day in calendar.dates]))
    if calendar.ranges:
        parts.append(_some([f"{first} to {last}" for first, last in calendar.ranges]))
    if calendar.times:
        spans = calendar.to_json()["times"]
        parts.append("between " + _some([f"{start} and {end}" for start, end in spans]))
    if calendar.tz:
        parts.append(f"in {calendar.tz}")
    return " ".join(parts)


def _cron(fields: CronFields) -> str:
    seconds, minutes, hours = (values(m) for m in (fields.seconds, fields.minutes, fields.hours))
    days = _cron_days(fields)
    if len(hours) * len(minutes) * len(seconds) <= _MANY:
        times = [_clock(h, m, s) for h in hours for m in minutes for s in seconds]
        return f"{days} at {_some(times)}"
    often = _often(seconds, minutes, hours)
    return often if days == "every day" else f"{often}, {days}"


def _often(seconds: list[int], minutes: list[int], hours: list[int]) -> str:
    """How often within a day, from the finest field that repeats."""
    parts: list[str] = []
    if seconds != [0]:
        parts.append(_field(seconds, 60, "second"))
    if seconds == [0] or minutes != list(range(60)):
        parts.append(_field(minutes, 60, "minute"))
    if hours != list(range(24)):
        parts.append(_field(hours, 24, "hour"))
    return " of ".join(parts)


def _field(found: list[int], size: int, unit: str) -> str:
    if found == list(range(size)):
        return f"every {unit}"
    step = found[1] - found[0] if len(found) > 1 else 0
    if step and found == list(range(0, size, step)):
        return f"every {step} {unit}s"
    if len(found) > 2 and found == list(range(found[0], found[-1] + 1)):
        return f"every {unit} from {found[0]} to {found[-1]}"
    return f"{unit} {_some([str(value) for value in found])}"


def _cron_days(fields: CronFields) -> str:
    """The dates: a condition on the month's days, on the weekday, or both."""
    day_text, weekday_text = fields.texts[3], fields.texts[5]
    by_day = None if day_text in ("*", "?") else _month_days(fields)
    by_weekday = None if weekday_text in ("*", "?") else _week_days(fields)
    if by_day and by_weekday:
        text = f"{by_day} {'or' if fields.either_day else 'if it is'} {by_weekday}"
    else:
        text = by_day or by_weekday or "every day"
    months = values(fields.months)
    if len(months) == 12:
        return text
    return f"{text} in {_some([MONTHS[month - 1] for month in months])}"


def _month_days(fields: CronFields) -> str:
    days, parts = fields.days, []
    if days.mask:
        parts.append("the " + _some([ordinal(day) for day in values(days.mask)]))
    parts += [
        "the last day" if not before else f"{before} days before the last day"
        for before in days.from_last
    ]
    parts += [f"the weekday nearest to the {ordinal(day)}" for day in days.nearest]
    if days.last_workday:
        parts.append("the last weekday")
    return "on " + _some(parts) + " of the month"


def _week_days(fields: CronFields) -> str:
    weekdays, parts = fields.weekdays, []
    if weekdays.mask:
        parts.append(_weekday_names(sorted((day - 1) % 7 for day in values(weekdays.mask))))
    parts += [f"the last {WEEKDAYS[(day - 1) % 7]} of the month" for day in weekdays.last]
    parts += [
        f"the {ordinal(number)} {WEEKDAYS[(day - 1) % 7]} of the month"
        for day, number in weekdays.nth
    ]
    return _some(parts)


def _rrule(rule: RRule) -> str:
    recur = parse_recur(rule.rrule)
    unit = _UNITS[recur.freq]
    if _names_weekdays(recur):
        parts = [_weekday_names([day for _, day in recur.byday])]
    else:
        parts = [f"every {unit}" if recur.interval == 1 else f"every {recur.interval} {unit}s"]
        parts += _rrule_weekdays(recur, rule.dtstart)
    parts += _rrule_dates(recur, rule.dtstart)
    if recur.is_subdaily:
        parts += _rrule_clock(recur)
    else:
        hours = recur.byhour or (rule.dtstart.hour,)
        minutes = recur.byminute or (rule.dtstart.minute,)
        seconds = recur.bysecond or (rule.dtstart.second,)
        times = [_clock(h, m, s) for h in hours for m in minutes for s in seconds]
        parts.append(f"at {_some(times)}")
    if recur.bysetpos:
        which = _some([_place(position) for position in recur.bysetpos])
        parts.append(f"({which} of each {unit})")
    parts.append(f"from {_moment(rule.dtstart)}")
    if recur.count is not None:
        parts.append("once" if recur.count == 1 else f"{recur.count} times")
    if recur.until is not None:
        parts.append(f"until {_moment(recur.until)}")
    if rule.rdate:
        parts.append(f"and also {_some([_moment(at) for at in rule.rdate])}")
    if rule.exdate:
        parts.append(f"but not {_some([_moment(at) for at in rule.exdate])}")
    return " ".join(parts)


def _names_weekdays(recur: Recur) -> bool:
    """Whether the weekdays alone say it: "every Sunday" and not "every week on Sunday"."""
    every_one = recur.freq in ("DAILY", "WEEKLY") and recur.interval == 1
    return every_one and bool(recur.byday) and all(not n for n, _ in recur.byday)


def _rrule_weekdays(recur: Recur, start: datetime) -> list[str]:
    if recur.byday:
        names = [(f"{_place(n)} " if n else "") + WEEKDAYS[day] for n, day in recur.byday]
        plain = all(not n for n, _ in recur.byday) and recur.freq != "WEEKLY"
        return [f"on {_weekday_names([day for _, day in recur.byday]) if plain else _some(names)}"]
    return [f"on {WEEKDAYS[start.weekday()]}"] if recur.freq == "WEEKLY" else []


def _rrule_dates(recur: Recur, start: datetime) -> list[str]:
    parts: list[str] = []
    if recur.bymonthday:
        parts.append(f"on {_some([_place(day) for day in recur.bymonthday])} of the month")
    elif recur.freq == "MONTHLY" and not recur.byday:
        parts.append(f"on the {ordinal(start.day)}")
    if recur.byyearday:
        parts.append(f"on day {_some([str(day) for day in recur.byyearday])} of the year")
    if recur.byweekno:
        parts.append(f"in week {_some([str(week) for week in recur.byweekno])}")
    if recur.bymonth:
        parts.append(f"in {_some([MONTHS[month - 1] for month in recur.bymonth])}")
    elif recur.freq == "YEARLY" and not (parts or recur.byday):
        parts.append(f"on {start.day} {MONTHS[start.month - 1]}")
    return parts


def _rrule_clock(recur: Recur) -> list[str]:
    lists = (("hour", recur.byhour), ("minute", recur.byminute), ("second", recur.bysecond))
    return [f"in {unit} {_some([str(at) for at in given])}" for unit, given in lists if given]


def _weekday_names(weekdays: Iterable[int]) -> str:
    found = sorted(set(weekdays))
    if found == _WORKDAYS:
        return "every weekday"
    if found == _WEEKEND:
        return "every Saturday and Sunday"
    if len(found) == len(NAMES):
        return "every day"
    return "every " + _some([WEEKDAYS[day] for day in found])


def _some(parts: Sequence[str]) -> str:
    """A list in words; a long one is cut to its first and counted."""
    if len(parts) > _MANY:
        return f"{', '.join(parts[: _MANY - 1])} and {len(parts) - _MANY + 1} more"
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th, …"""
    suffix = (
        "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    )
    return f"{number}{suffix}"


def _place(position: int) -> str:
    if position > 0:
        return f"the {ordinal(position)}"
    return "the last" if position == -1 else f"the {ordinal(-position)} to last"


def _clock(hour: int, minute: int, second: int) -> str:
    return f"{hour:02}:{minute:02}" + (f":{second:02}" if second else "")


def _time_of(stamp: datetime) -> str:
    text = stamp.time().isoformat()
    text = text.removesuffix(":00") if len(text) == 8 else text
    if stamp.tzinfo is None:
        return text
    offset = stamp.isoformat()[-6:]
    return f"{text} UTC" if offset == "+00:00" else f"{text} UTC{offset}"


def _moment(stamp: datetime) -> str:
    return f"{stamp.date()} {_time_of(stamp)}"
