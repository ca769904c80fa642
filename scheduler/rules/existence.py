"""Whether a rule can occur at all, asked once, when it is defined.

Dates first: the Gregorian calendar repeats after 400 years, so that no match in a common cycle
of it and the rule's own step means never. What bounds, calendars, exclusions and intersections
leave is then searched for, within a bound, and compared on the wall clock (footprint.py); where
that shows nothing either way, the rule is accepted.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

from scheduler.rules.instants import FIRST, wall_micros
from scheduler.rules.refusals import refuse
from scheduler.rules.series import SearchEnded, Unbound, searching

if TYPE_CHECKING:
    from scheduler.rules.base import Rule

_FEW_STEPS, _STEPS = 40, 400
_RECENT = wall_micros(datetime.fromisoformat("2000-01-01"))
_HINT = "check its dates, bounds and exclusions"

Checked = TypeVar("Checked", bound="Rule")


def checked(rule: Checked) -> Checked:
    """`rule`; InvalidRule where it is shown that it never occurs.

    A rule that leaves its zone open is not searched where the zone could decide.
    """
    bounded = rule.start_date is not None or rule.end_date is not None
    if rule.timezone is None and (bounded or not rule.is_wall_only()):
        return rule
    try:
        never = _is_empty(rule) and _is_empty(rule.forgiving())
    except Unbound:
        return rule
    if never:
        raise refuse(rule.kind, "the rule", "never occurs", _HINT)
    return rule


def _is_empty(rule: Rule) -> bool:
    """Whether it is shown that there is no occurrence.

    A search that runs out shows nothing. What never meets on the wall clock is shown by that
    alone, and sooner than by a long search.
    """
    series = rule.unlimited().series()
    for steps in (_FEW_STEPS, _STEPS):
        try:
            with searching(steps):
                return all(series.after(start - 1) is None for start in (_RECENT, FIRST))
        except SearchEnded:
            if rule.footprint(rule.place()).is_empty():
                return True
    return False
