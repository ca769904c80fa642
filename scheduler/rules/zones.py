"""Zones by key, and what a date-time means in one.

A key is checked against the key list of the time zone database before any file is opened, so
no input reaches the file system as a path. The list is the `tzdata` package's, the same on
every host.
"""

from __future__ import annotations

import zoneinfo
from datetime import datetime
from functools import lru_cache
from importlib import resources
from zoneinfo import ZoneInfo

from scheduler.rules.instants import END, FIRST, to_instant, to_micros, wall_micros
from scheduler.rules.moments import parse_stamp
from scheduler.rules.refusals import refuse
from scheduler.rules.timeline import timeline

LONGEST = 64
# Names of the host or of nothing: valid files, but not places.
_NOT_PLACES = frozenset({"localtime", "posixrules", "Factory"})


def zone(key: object, field: str = "timezone") -> ZoneInfo:
    """The zone of an IANA key, spelt exactly ("Europe/Berlin").

    Raises InvalidRule for any other name: offsets, POSIX strings, paths, another case.
    """
    if not isinstance(key, str):
        raise refuse(field, key, "is not a time zone", "give an IANA key such as Europe/Berlin")
    if len(key) > LONGEST:
        raise refuse(field, key, f"is longer than {LONGEST} characters")
    if key not in _keys():
        near = _folded().get(key.strip().casefold(), "")
        hint = f"did you mean {near}?" if near else "give an IANA key such as Europe/Berlin"
        raise refuse(field, key, "is not a time zone", hint)
    return ZoneInfo(key)


@lru_cache(maxsize=1)
def _keys() -> frozenset[str]:
    try:
        listed = (resources.files("tzdata") / "zones").read_text(encoding="utf-8").split()
    except (ModuleNotFoundError, FileNotFoundError):  # pragma: no cover - tzdata is required
        listed = [*zoneinfo.available_timezones()]
    return frozenset(listed) - _NOT_PLACES


@lru_cache(maxsize=1)
def _folded() -> dict[str, str]:
    return {key.casefold(): key for key in sorted(_keys())}


def stamp_micros(stamp: datetime, place: ZoneInfo, fold: str = "first") -> int:
    """The instant that a stamp means in `place`, which a zone can put outside FIRST..END-1.

    A stamp with an offset is its own instant. A wall reading is resolved: in a gap forward by
    its length, in an overlap to the `fold` ("first" or "last") pass.
    """
    if stamp.tzinfo is not None:
        return to_micros(stamp)
    (instant,) = timeline(place).resolve(wall_micros(stamp), fold=fold)
    return instant


def anchored(stamp: datetime, place: ZoneInfo, field: str) -> tuple[int, dict[int, int]]:
    """The wall reading of an anchor in `place`, and its instant where it was given as one.

    Raises InvalidRule where the zone's clock shows a year that does not exist.
    """
    if stamp.tzinfo is None:
        return wall_micros(stamp), {}
    instant = to_micros(stamp)
    wall = timeline(place).wall(instant)
    if not FIRST <= wall < END:
        reason = f"is outside the years 1 to 9999 in {place.key}"
        raise refuse(field, stamp.isoformat(), reason)
    return wall, {wall: instant}


def in_years(instant: int, field: str, value: object) -> int:
    """`instant` if a UTC datetime can show it; else InvalidRule for `value`."""
    if FIRST <= instant < END:
        return instant
    shown = value.isoformat() if isinstance(value, datetime) else value
    raise refuse(field, shown, "is outside the years 1 to 9999 in UTC")


def parse_moment(value: object, place: ZoneInfo, field: str = "moment") -> datetime:
    """The aware UTC instant that `value` writes; without an offset, a wall clock in `place`.

    `value` is text or a datetime. Raises InvalidRule, naming `field`.
    """
    instant = stamp_micros(parse_stamp(value, field), place)
    return to_instant(in_years(instant, field, value))
