"""When things recur: rules, and the instants they denote.

Pure: no clock, no state, and no I/O but the time zone files. `occurrences` is the one entry;
everything else is how a rule is written, stored and checked.
"""

from scheduler.rules.base import Rule
from scheduler.rules.every import every
from scheduler.rules.jitter import jitter_delay
from scheduler.rules.text import rule_from_json
from scheduler.rules.windows import occurrences

__all__ = ["Rule", "every", "jitter_delay", "occurrences", "rule_from_json"]
