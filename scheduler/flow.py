"""How many jobs of one name, or of one key, may run and start: limits, and what they let through.

A limit is declared with a job, and counted by the store for all executors together: those that
are processing, and the instants at which the latest were started. Here is decided, from these
counts, which of the waiting jobs may be taken; the store asks and writes in one transaction.
Pure: no clock, no I/O.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from scheduler.errors import InvalidOption
from scheduler.model import Job

FlowKey = tuple[str, str | None]
"""What shares a limit: a job's name, and its concurrency key."""

MOST_STARTS = 1000
"""The largest number in a rate: so many instants are kept for each key."""

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_RATE = re.compile(r"\s*(\d{1,9})\s*/\s*(\d{0,9})\s*([smhd])\s*")


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `count` starts within any stretch of time of length `per`."""

    count: int
    per: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """At most `concurrency` at a time, started at most at `rate`; None: no such limit.

    Jobs of a name that have a concurrency key are counted by key, each on its own.
    """

    concurrency: int | None = None
    rate: Rate | None = None


@dataclass(frozen=True, slots=True)
class Admitted:
    """The jobs that may be taken now, in their order, and what the keys' starts become by it."""

    jobs: tuple[Job, ...]
    starts: Mapping[FlowKey, tuple[datetime, ...]]


def rate_of(what: str, text: object) -> Rate:
    """The rate in `text`: `10/s`, `100/m`, `5/2h`, `1000/d`.

    Raises InvalidOption, naming `what`.
    """
    found = _RATE.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise InvalidOption(what, text, "is not a rate", 'write it as "10/m": s, m, h or d')
    count, length = int(found[1]), int(found[2] or 1)
    if not 1 <= count <= MOST_STARTS:
        raise InvalidOption(what, text, f"does not allow 1 to {MOST_STARTS}", "take another unit")
    per = length * _UNITS[found[3]]
    if not 1 <= per <= 366 * 86_400:
        raise InvalidOption(what, text, "is not for a time of 1 s to 366 days")
    return Rate(count, timedelta(seconds=per))


def key_of(job: Job) -> FlowKey:
    """What `job` shares its limit with."""
    return job.name, job.concurrency_key


def recent(starts: Sequence[datetime], rate: Rate, now: datetime) -> tuple[datetime, ...]:
    """Those of `starts` that count at `now`: those nearer than the rate's time.

    Some are later where clocks differ a little; far later, where the clock was set back since.
    """
    return tuple(at for at in starts if abs(now - at) < rate.per)


def room(limit: Limit, *, running: int, starts: Sequence[datetime], now: datetime) -> int | None:
    """How many more jobs of a key may be started at `now`; None: any number."""
    left = []
    if limit.concurrency is not None:
        left.append(limit.concurrency - running)
    if limit.rate is not None:
        left.append(limit.rate.count - len(recent(starts, limit.rate, now)))
    return max(0, min(left)) if left else None


def admit(
    candidates: Iterable[Job],
    n: int,
    *,
    limits: Mapping[str, Limit],
    running: Mapping[FlowKey, int],
    starts: Mapping[FlowKey, Sequence[datetime]],
    now: datetime,
) -> Admitted:
    """The first `n` of `candidates`, which are due and in order, that their limits let start.

    `running` is how many of each key are processing, `starts` the instants at which those with a
    rate were started. A job whose name is not in `limits` has none.
    """
    taken: list[Job] = []
    rooms: dict[FlowKey, int | None] = {}
    begun: dict[FlowKey, tuple[datetime, ...]] = {}
    for job in candidates:
        if len(taken) >= n:
            break
        key, limit = key_of(job), limits.get(job.name)
        if limit is not None:
            if key not in rooms:
                rooms[key] = room(
                    limit, running=running.get(key, 0), starts=starts.get(key, ()), now=now
                )
            left = rooms[key]
            if left == 0:
                continue
            rooms[key] = None if left is None else left - 1
            if limit.rate is not None:
                before = begun.get(key) or recent(starts.get(key, ()), limit.rate, now)
                begun[key] = (*before, now)
        taken.append(job)
    return Admitted(tuple(taken), begun)
