"""Date-times as people write them: RFC 3339 / ISO 8601 extended text, and datetimes.

A *stamp* is what a rule stores: a datetime exactly as it was given, naive (a wall reading)
or with its offset. It is not resolved here; zones.py turns a stamp into an instant.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone

from scheduler.rules import refusals
from scheduler.rules.refusals import refuse

LONGEST = 64
FORM = "write it as 2024-03-09T15:00:00, with Z or an offset such as +01:00 for an instant"

# Twelve optional-free fields; \d would also take other scripts' digits.
_STAMP = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt ]"
    r"([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,6}))?)?"
    r"(?:([Zz])|([+-])([0-9]{2}):([0-9]{2}))?"
)
_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")


def parse_stamp(value: object, field: str) -> datetime:
    """The datetime that `value` writes: naive without an offset, else with that fixed offset.

    `value` is text (at most 64 characters) or a datetime. The zone of an aware datetime is
    reduced to its offset: an offset never becomes the zone. Raises InvalidRule for anything
    that is not a date-time of the years 1 to 9999.
    """
    if isinstance(value, datetime):
        return _given(value)
    if isinstance(value, bool) or not isinstance(value, str):
        raise refuse(field, value, "is not a date-time", FORM)
    refusals.text(field, value, LONGEST)
    match = _STAMP.fullmatch(value)
    if match is None:
        raise refuse(field, value, "is not a date-time", FORM)
    year, month, day, hour, minute = (int(part) for part in match.group(1, 2, 3, 4, 5))
    micros = int((match[7] or "").ljust(6, "0"))
    offset = _offset(value, field, match)
    try:
        return datetime(year, month, day, hour, minute, int(match[6] or 0), micros, offset)
    except ValueError as error:
        raise refuse(field, value, f"does not exist ({error})") from None


def parse_date(value: object, field: str) -> date:
    """The date that `value` writes as YYYY-MM-DD; a date object is taken as it is."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    if not isinstance(value, str):
        raise refuse(field, value, "is not a date", "write it as 2024-12-25")
    refusals.text(field, value, LONGEST)
    match = _DATE.fullmatch(value)
    if match is None:
        raise refuse(field, value, "is not a date", "write it as 2024-12-25")
    try:
        return date(int(match[1]), int(match[2]), int(match[3]))
    except ValueError as error:
        raise refuse(field, value, f"does not exist ({error})") from None


def _offset(value: str, field: str, match: re.Match[str]) -> timezone | None:
    if match[8]:
        return UTC
    if not match[9]:
        return None
    hours, minutes = int(match[10]), int(match[11])
    if hours > 23 or minutes > 59:
        raise refuse(field, value, "has an offset that is not in -23:59 to +23:59")
    length = timedelta(hours=hours, minutes=minutes)
    if not length:
        return UTC
    return timezone(-length if match[9] == "-" else length)


def _given(value: datetime) -> datetime:
    offset = value.utcoffset()
    if offset is None:
        # A naive reading names both passes of an overlap; `fold` of the rule chooses.
        return value.replace(tzinfo=None, fold=0)
    if offset.seconds % 60 or offset.microseconds:
        # Local mean time: an offset that the text form cannot say.
        try:
            return value.astimezone(UTC)
        except OverflowError:
            # Within a day of either end of the calendar; its UTC reading cannot be shown.
            return value.replace(tzinfo=timezone(_whole_minutes(offset)), fold=0)
    return value.replace(tzinfo=timezone(offset) if offset else UTC, fold=0)


def _whole_minutes(offset: timedelta) -> timedelta:
    return offset // timedelta(minutes=1) * timedelta(minutes=1)


def stamp_text(stamp: datetime) -> str:
    """The stored text of a stamp; parse_stamp gives the stamp back."""
    text = stamp.isoformat()
    return text.removesuffix("+00:00") + "Z" if text.endswith("+00:00") else text
