"""The one pure entry: the occurrences of a rule in a window of time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from scheduler.rules.base import DEFAULT_ZONE, Rule
from scheduler.rules.existence import checked
from scheduler.rules.instants import END, FIRST, to_instant, to_instants
from scheduler.rules.moments import parse_stamp
from scheduler.rules.text import parsed
from scheduler.rules.zones import stamp_micros, zone


def occurrences(
    rule: Rule | Mapping[str, Any],
    start: datetime | str,
    end: datetime | str,
    timezone: str | None = DEFAULT_ZONE,
) -> Iterator[datetime]:
    """The occurrences of `rule` in [start, end), ascending, aware UTC, lazily.

    `timezone` is the zone of a rule that names none, and of a `start` or `end` without offset;
    None is UTC.
    A rule without a start of its own begins at `start`. Everything is checked before the first
    occurrence is asked for; raises InvalidRule.

    >>> [at.day for at in occurrences({"every": 1, "unit": "days"}, "2024-01-01T09:00",
    ...                               "2024-01-03T09:00")]
    [1, 2]
    """
    timezone = DEFAULT_ZONE if timezone is None else timezone
    place = zone(timezone)
    lo, hi = (
        # A window may reach past the years that exist; the rule does not.
        min(max(stamp_micros(parse_stamp(bound, field), place), FIRST), END)
        for field, bound in (("start", start), ("end", end))
    )
    definition = rule if isinstance(rule, Rule) else parsed(rule)
    anchor = to_instant(min(lo, END - 1))
    bound = definition.bound(timezone=timezone, anchor=anchor)
    # Checked only now: the zone can decide whether a rule that leaves it open ever occurs.
    series = (checked(bound) if isinstance(rule, Mapping) else bound).series()
    return to_instants(series.ascending(lo, hi))
