"""When things recur: rules, and the instants they denote.

Pure: no clock, no state, and no I/O but the time zone files. `occurrences` is the one entry;
everything else is how a rule is written, stored and checked.
"""

from scheduler.rules.at import at
from scheduler.rules.base import Rule
from scheduler.rules.calendars import Calendar
from scheduler.rules.combine import all_of, any_of
from scheduler.rules.cron import cron
from scheduler.rules.every import every
from scheduler.rules.explain import explain
from scheduler.rules.foreign import from_apscheduler
from scheduler.rules.jitter import jitter_delay
from scheduler.rules.rrule import rrule
from scheduler.rules.text import rule_from_json
from scheduler.rules.windows import occurrences

__all__ = [
    "Calendar",
    "Rule",
    "all_of",
    "any_of",
    "at",
    "cron",
    "every",
    "explain",
    "from_apscheduler",
    "jitter_delay",
    "occurrences",
    "rrule",
    "rule_from_json",
]
