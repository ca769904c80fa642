"""Named points at which a test makes the process die, to see what its death leaves behind.

Unless SCHEDULER_FAULT is set, a point is a call of an empty function. With
SCHEDULER_FAULT=executor.settle.before:3 the process ends the third time it comes to that point,
at once, as if by SIGKILL: no handler runs, nothing is flushed, no transaction is ended.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from typing import Literal, get_args

from scheduler.errors import InvalidOption, UnknownName

VARIABLE = "SCHEDULER_FAULT"

EXIT_CODE = 86
"""What the process exits with; nothing else of the service does."""

Point = Literal[
    # The expander: schedules are read, then each expansion is written.
    "expander.due.read",
    "expander.record.before",
    "expander.record.after",
    # The executor, in the order of a job's life.
    "executor.acquire.before",
    "executor.acquire.after",
    "executor.start.before",
    "executor.landed",
    "executor.settle.before",
    "executor.settle.after",
    "executor.renew.before",
    "executor.renew.after",
    "executor.rescue.before",
    "executor.rescue.after",
    "executor.drain.before",
    "executor.drain.release",
    # The SQL storage: the statements are executed, the transaction is committed.
    "sql.save.written",
    "sql.save.committed",
    "sql.record.written",
    "sql.record.committed",
    "sql.acquire.written",
    "sql.acquire.committed",
    "sql.settle.written",
    "sql.settle.committed",
]
"""Every point there is: the one place where they are declared."""

POINTS: tuple[Point, ...] = get_args(Point)

Fault = Callable[[Point], None]


def nothing(_: Point) -> None:
    """What a point does."""


def death(given: str, end: Callable[[int], object] = os._exit) -> Fault:
    """What every point does once `given`, as "executor.settle.before:3", is asked for.

    `end` is called with the exit code. Raises UnknownName for a point that is none, and
    InvalidOption if the hit is no number from 1.
    """
    name, _, hit = given.partition(":")
    if name not in POINTS:
        raise UnknownName(VARIABLE, name, POINTS)
    if not hit.isdecimal() or int(hit) < 1:
        raise InvalidOption(VARIABLE, given, "is not POINT:HIT, the hit a number from 1")
    lock, left = threading.Lock(), int(hit)

    def die(point: Point) -> None:
        nonlocal left
        if point != name:
            return
        with lock:
            left -= 1
            if left == 0:
                end(EXIT_CODE)

    return die


def armed(environment: Mapping[str, str]) -> Fault:
    """What a point does in a process with this `environment`. Raises as `death`."""
    given = environment.get(VARIABLE)
    return death(given) if given else nothing


point = armed(os.environ)
"""Where a test may make the process die: `faults.point("executor.landed")`."""
