"""Triggers of APScheduler as rules, where the meaning is the same.

APScheduler's cron counts weekdays from Monday, wants both day fields to match, runs imaginary
times in a gap and repeats in an overlap. What can be said in our words is converted; what would
run at another time is refused, with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any, Final

from scheduler.rules.at import at
from scheduler.rules.base import Rule
from scheduler.rules.combine import all_of, any_of
from scheduler.rules.cron import Cron, compiled
from scheduler.rules.every import every
from scheduler.rules.existence import checked
from scheduler.rules.instants import wall_micros, wall_reading
from scheduler.rules.refusals import refuse
from scheduler.rules.rrule import rrule
from scheduler.rules.timeline import timeline
from scheduler.rules.zones import zone

_FIELD: Final = "trigger"
_FROM, _TO = (wall_micros(datetime.fromisoformat(day)) for day in ("2000-01-01", "2100-01-01"))
_NTH = {"1st": 1, "2nd": 2, "3rd": 3, "4th": 4, "5th": 5}
_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def from_apscheduler(trigger: Any) -> Rule:
    """The rule that means what an APScheduler 3 trigger means.

    Interval, date, cron, calendar-interval, and/or triggers. Raises InvalidRule with the reason
    where some run would be at another time.
    """
    converters: dict[str, Callable[[Any], Rule]] = {
        "IntervalTrigger": _interval,
        "DateTrigger": _date,
        "CronTrigger": _cron,
        "CalendarIntervalTrigger": _calendar_interval,
        "AndTrigger": _and,
        "OrTrigger": _or,
    }
    name = type(trigger).__name__
    if not type(trigger).__module__.startswith("apscheduler.") or name not in converters:
        raise refuse(_FIELD, name, "is not a trigger of APScheduler 3 that is known here")
    if getattr(trigger, "jitter", None):
        hint = "take the jitter off and give it to the schedule"
        raise refuse(_FIELD, name, "has a jitter, which moves runs at random", hint)
    return converters[name](trigger)


def _and(trigger: Any) -> Rule:
    for member in trigger.triggers:
        if type(member).__name__ == "IntervalTrigger":
            reason = "inside an AndTrigger starts anew at each run and keeps no phase"
            raise refuse(_FIELD, "IntervalTrigger", reason, "use all_of() with every()")
    return all_of(*map(from_apscheduler, trigger.triggers))


def _or(trigger: Any) -> Rule:
    return any_of(*map(from_apscheduler, trigger.triggers))


def _interval(trigger: Any) -> Rule:
    length: timedelta = trigger.interval
    seconds = length // timedelta(seconds=1)
    if length % timedelta(seconds=1):
        raise refuse(_FIELD, str(length), "is not a whole number of seconds")
    return every(
        seconds=seconds,
        start_date=trigger.start_date,
        end_date=trigger.end_date,
        timezone=_key(trigger.timezone),
    )


def _date(trigger: Any) -> Rule:
    return at(trigger.run_date.astimezone(UTC))


def _calendar_interval(trigger: Any) -> Rule:
    days = trigger.weeks * 7 + trigger.days
    months = trigger.years * 12 + trigger.months
    if days and months:
        raise refuse(_FIELD, "months and days", "in one interval have no counterpart")
    time = trigger._time
    start: date = trigger.start_date
    first = datetime(start.year, start.month, start.day, time.hour, time.minute, time.second)  # noqa: DTZ001
    key = _key(trigger.timezone)
    end = trigger.end_date and f"{trigger.end_date.isoformat()}T23:59:59.999999"
    if days:
        return every(days=days, start_date=first, end_date=end, timezone=key, gap="skip")
    # Months without the day are skipped, not clipped: the arithmetic of RRULE.
    text = f"FREQ=MONTHLY;INTERVAL={months}"
    return rrule(text, dtstart=first, end_date=end, timezone=key, gap="skip")


def _cron(trigger: Any) -> Rule:
    fields = {field.name: str(field) for field in trigger.fields}
    for name in ("year", "week"):
        if fields[name] != "*":
            raise refuse(_FIELD, f"{name}={fields[name]}", "has no counterpart in cron")
    key = _key(trigger.timezone)
    clock = f"{fields['second']} {fields['minute']} {fields['hour']}"
    day, numbered = _days(fields["day"])
    weekday = _weekdays(fields["day_of_week"])
    members = [part for part in (day, numbered) if part != "*"]
    if numbered != "*" and day != "*":
        raise refuse(_FIELD, fields["day"], "mixes days and weekdays in one field")
    shared: dict[str, Any] = {
        "timezone": key,
        "start_date": trigger.start_date,
        "end_date": trigger.end_date,
    }
    month = fields["month"]
    texts = [f"{clock} {day} {month} {numbered}"]
    if weekday != "*" and members:
        # Both must match: as two rules, since cron takes either.
        texts.append(f"{clock} * {month} {weekday}")
    elif weekday != "*":
        texts = [f"{clock} * {month} {weekday}"]
    for text in texts:
        _refuse_clock_changes(text, key)
    rules = [checked(Cron(cron=text, **shared)) for text in texts]
    return rules[0] if len(rules) == 1 else all_of(*rules)


def _days(text: str) -> tuple[str, str]:
    """The day field as our day of month, and as our day of week for `2nd fri`."""
    days: list[str] = []
    numbered: list[str] = []
    for item in text.split(","):
        words = item.strip().lower().split()
        if words == ["last"]:
            days.append("L")
        elif len(words) == 2 and words[0] == "last":
            numbered.append(f"{words[1].upper()}L")
        elif len(words) == 2 and words[0] in _NTH:
            numbered.append(f"{words[1].upper()}#{_NTH[words[0]]}")
        else:
            days.append(item.strip())
    return ",".join(days) or "*", ",".join(numbered) or "*"


def _weekdays(text: str) -> str:
    """The weekday field with names for its numbers, which count from Monday."""
    found: list[str] = []
    for item in text.split(","):
        span, slash, step = item.strip().lower().partition("/")
        if span == "*" and not slash:
            return "*"
        ends = ["mon", "sun"] if span == "*" else [_weekday(end) for end in span.split("-")]
        first, last = _WEEKDAYS.index(ends[0]), _WEEKDAYS.index(ends[-1])
        found.extend(_WEEKDAYS[first : last + 1 : int(step or 1)])
    return ",".join(sorted(set(found), key=_WEEKDAYS.index))


def _weekday(text: str) -> str:
    return _WEEKDAYS[int(text)] if re.fullmatch(r"[0-6]", text) else text


def _refuse_clock_changes(text: str, key: str) -> None:
    """Refuse an expression with a reading that a change of the zone's clock skips or repeats."""
    _, pattern = compiled(text)
    for stretch in timeline(zone(key)).stretches(_FROM, _TO):
        if stretch.offset is not None:
            continue
        for before, after in pairwise(stretch.segments):
            lo, hi = sorted((after.lo + before.offset, after.lo + after.offset))
            wall = next(pattern.ascending(lo, hi), None)
            if wall is not None:
                shown = wall_reading(wall).isoformat(sep=" ")
                reason = f"is skipped or repeated in {key}, where APScheduler runs at other times"
                raise refuse(_FIELD, shown, reason, "write it as cron() if ours will do")


def _key(tz: Any) -> str:
    key = getattr(tz, "key", None) or getattr(tz, "zone", None) or str(tz)
    return zone(key, f"{_FIELD}: timezone").key
