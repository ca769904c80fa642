"""The text of an RRULE (RFC 5545, 3.3.10), read strictly.

Every part of the grammar, each at most once, in any order. What the RFC's tables forbid is
refused here, as is what a lenient reader would drop in silence.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from scheduler.rules import refusals
from scheduler.rules.refusals import missing, refuse

LONGEST = 2_000
FREQUENCIES: Final = ("YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY", "MINUTELY", "SECONDLY")
WEEKDAYS: Final = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")

# name: lowest, highest, whether a sign may count from the end
_LISTS: Final = {
    "BYSECOND": (0, 60, False),
    "BYMINUTE": (0, 59, False),
    "BYHOUR": (0, 23, False),
    "BYMONTHDAY": (1, 31, True),
    "BYYEARDAY": (1, 366, True),
    "BYWEEKNO": (1, 53, True),
    "BYMONTH": (1, 12, False),
    "BYSETPOS": (1, 366, True),
}
_PARTS: Final = ("FREQ", "INTERVAL", "COUNT", "UNTIL", "WKST", "BYDAY", *_LISTS)
_FORBIDDEN: Final = {
    "BYWEEKNO": ("MONTHLY", "WEEKLY", "DAILY", "HOURLY", "MINUTELY", "SECONDLY"),
    "BYYEARDAY": ("MONTHLY", "WEEKLY", "DAILY"),
    "BYMONTHDAY": ("WEEKLY",),
}
_UNTIL = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})T([0-9]{2})([0-9]{2})([0-9]{2})(Z?)")
_BYDAY = re.compile(r"([+-]?[0-9]{1,2})?(MO|TU|WE|TH|FR|SA|SU)")
_NUMBER = re.compile(r"[+-]?[0-9]{1,3}")


@dataclass(frozen=True, slots=True)
class Recur:
    """One RECUR value. The lists are ascending and without duplicates; () where not given."""

    freq: str
    interval: int = 1
    count: int | None = None
    until: datetime | None = None
    """Naive for a wall clock, aware for UTC."""
    bysecond: tuple[int, ...] = ()
    byminute: tuple[int, ...] = ()
    byhour: tuple[int, ...] = ()
    byday: tuple[tuple[int, int], ...] = ()
    """(n, weekday) with 0 = Monday; n = 0 means every one."""
    bymonthday: tuple[int, ...] = ()
    byyearday: tuple[int, ...] = ()
    byweekno: tuple[int, ...] = ()
    bymonth: tuple[int, ...] = ()
    bysetpos: tuple[int, ...] = ()
    wkst: int = 0

    @property
    def is_subdaily(self) -> bool:
        """Whether it steps by hours or less."""
        return self.freq in ("HOURLY", "MINUTELY", "SECONDLY")


def parse_recur(text: object) -> Recur:
    """The RECUR value that `text` writes, with or without the `RRULE:` prefix.

    Raises InvalidRule naming the part.
    """
    written = refusals.text("rrule", text, LONGEST)
    if not written.isascii():
        # Before the case is folded: other scripts have letters that fold to ours.
        raise refuse("rrule", written, "has a character that is not ASCII")
    parts = _parts(written.upper().removeprefix("RRULE:"), written)
    if "FREQ" not in parts:
        raise missing("rrule: FREQ", f"give one of {', '.join(FREQUENCIES)}")
    freq = refusals.choice("rrule: FREQ", parts["FREQ"], FREQUENCIES)
    _check_table(freq, parts)
    lists = {name.lower(): _numbers(name, parts[name]) for name in _LISTS if name in parts}
    return Recur(
        freq=freq,
        interval=_positive("INTERVAL", parts.get("INTERVAL", "1")),
        count=_positive("COUNT", parts["COUNT"]) if "COUNT" in parts else None,
        until=_until(parts["UNTIL"]) if "UNTIL" in parts else None,
        byday=_weekdays(freq, parts) if "BYDAY" in parts else (),
        wkst=_weekday(parts["WKST"]) if "WKST" in parts else 0,
        **lists,
    )


def _parts(text: str, written: str) -> dict[str, str]:
    parts: dict[str, str] = {}
    for part in text.split(";"):
        name, equals, value = part.partition("=")
        if not part:
            raise refuse("rrule", written, "has an empty part", "separate parts with one semicolon")
        if name not in _PARTS:
            raise refuse("rrule", part, "is not a part of a recurrence", _unknown(name))
        if not equals or not value:
            raise refuse(f"rrule: {name}", part, "has no value")
        if name in parts:
            raise refuse(f"rrule: {name}", part, "is given twice")
        parts[name] = value
    return parts


def _unknown(name: str) -> str:
    hints = {
        "DTSTART": "give dtstart beside rrule",
        "EXDATE": "give exdate beside rrule",
        "RDATE": "give rdate beside rrule",
        "EXRULE": "use except with another rule",
        "RSCALE": "only the Gregorian calendar is known",
        "BYEASTER": "give the dates themselves, as rdate or at",
    }
    return hints.get(name.split(":")[0].split(";")[0], f"known are {', '.join(_PARTS)}")


def _check_table(freq: str, parts: dict[str, str]) -> None:
    """Refuse the combinations that RFC 5545 forbids."""
    if "COUNT" in parts and "UNTIL" in parts:
        raise refuse("rrule", "COUNT and UNTIL", "exclude each other", "keep one of them")
    for name, frequencies in _FORBIDDEN.items():
        if name in parts and freq in frequencies:
            raise refuse(f"rrule: {name}", parts[name], f"may not stand with FREQ={freq}")
    if "BYSETPOS" in parts and not any(p in parts for p in ("BYDAY", *_LISTS) if p != "BYSETPOS"):
        hint = "it chooses from what another BY part gives"
        raise refuse("rrule: BYSETPOS", parts["BYSETPOS"], "stands alone", hint)


def _positive(name: str, text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise refuse(f"rrule: {name}", text, "is not a whole number of at least 1")
    return refusals.count(f"rrule: {name}", int(text))


def _numbers(name: str, text: str) -> tuple[int, ...]:
    lowest, highest, signed = _LISTS[name]
    found: set[int] = set()
    for item in text.split(","):
        if not _NUMBER.fullmatch(item) or (item[0] in "+-" and not signed):
            raise refuse(f"rrule: {name}", item or text, "is not a number of this part")
        value = int(item)
        if not lowest <= (abs(value) if signed else value) <= highest:
            span = f"{lowest}–{highest}" + (f" or -{highest}–-{lowest}" if signed else "")
            raise refuse(f"rrule: {name}", item, f"is not in {span}")
        found.add(value)
    return tuple(sorted(found))


def _weekdays(freq: str, parts: dict[str, str]) -> tuple[tuple[int, int], ...]:
    found: set[tuple[int, int]] = set()
    for item in parts["BYDAY"].split(","):
        match = _BYDAY.fullmatch(item)
        if match is None:
            raise refuse(
                "rrule: BYDAY", item or parts["BYDAY"], "is not a weekday", "such as MO or -1FR"
            )
        number = int(match[1]) if match[1] else 0
        if match[1] and not 1 <= abs(number) <= 53:
            raise refuse("rrule: BYDAY", item, "has a number that is not in 1–53 or -53–-1")
        if number and (freq not in ("MONTHLY", "YEARLY") or "BYWEEKNO" in parts):
            where = "BYWEEKNO" if freq == "YEARLY" else f"FREQ={freq}"
            raise refuse("rrule: BYDAY", item, f"has a number, which may not stand with {where}")
        found.add((number, WEEKDAYS.index(match[2])))
    return tuple(sorted(found))


def _weekday(text: str) -> int:
    return WEEKDAYS.index(refusals.choice("rrule: WKST", text, WEEKDAYS))


def _until(text: str) -> datetime:
    if re.fullmatch(r"[0-9]{8}", text):
        hint = f"say when on that day it ends: {text}T235959 or {text}T000000Z"
        raise refuse("rrule: UNTIL", text, "is a date without a time", hint)
    match = _UNTIL.fullmatch(text)
    if match is None:
        hint = "write it as 20241231T235959, with Z for UTC"
        raise refuse("rrule: UNTIL", text, "is not a date-time", hint)
    try:
        until = datetime(*(int(part) for part in match.groups()[:6]))  # type: ignore[arg-type]  # noqa: DTZ001
    except ValueError as error:
        raise refuse("rrule: UNTIL", text, f"does not exist ({error})") from None
    return until.replace(tzinfo=UTC) if match[7] else until
