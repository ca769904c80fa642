"""How much was done, in calls of functions: a measure that is the same on every machine.

A loaded machine takes longer and calls no more often, so that a law of cost is a bound on calls,
about three times what is counted, or a ratio of a far case to a near one. Going on with a
generator is a call. What one function in C does, and a loop that calls nothing, are not seen.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from types import FrameType
from typing import Any

from scheduler.rules import Rule


@contextmanager
def calls() -> Iterator[list[int]]:
    """A list whose one element is how many functions this thread has called in the block."""
    made = [0]

    def count(frame: FrameType, event: str, _: Any) -> None:
        made[0] += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        yield made
    finally:
        sys.setprofile(before)


def steps_at(rule: Rule, moment: datetime) -> int:
    """How many calls it takes to find what comes next after each of 50 minutes from `moment` on.

    What is worked out once and kept, the offsets of the zone for one, is no part of it.
    """
    rule.next_after(moment)
    with calls() as made:
        for minutes in range(50):
            assert rule.next_after(moment + timedelta(minutes=minutes)) is not None
    return made[0]
