"""Jitter: how long a job waits after its nominal instant, without any random state.

The delay is a hash of the schedule and the occurrence, so that replicas, restarts and previews
agree. It moves when a job runs and never what the series is.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from hashlib import sha256

from scheduler.errors import InvalidOption
from scheduler.rules.instants import MICROSECOND, aware_micros, to_instant

_NONE = timedelta(0)


def jitter_delay(
    schedule_id: str, occurrence_at: datetime, jitter: timedelta, gap_to_next: timedelta | None
) -> timedelta:
    """The delay of one occurrence, between zero and `jitter`, both inclusive.

    It stays a microsecond short of `gap_to_next`, the time to the next nominal occurrence (None
    for the last one), so that occurrences keep their order. Raises InvalidOption for a negative
    jitter and NaiveTime for an occurrence without a zone.
    """
    if jitter < _NONE:
        raise InvalidOption("jitter", jitter, "is negative", "give zero or more seconds")
    instant = to_instant(aware_micros("occurrence_at", occurrence_at))
    widest = jitter if gap_to_next is None else min(jitter, gap_to_next - MICROSECOND)
    if widest <= _NONE:
        return _NONE
    written = instant.strftime("%m-%dT%H:%M:%S.%fZ")
    # strftime("%Y") does not pad the years before 1000 on every platform.
    digest = sha256(f"{schedule_id}|{instant.year:04}-{written}".encode()).digest()
    draw = int.from_bytes(digest[:8], "big")
    return timedelta(microseconds=draw * (widest // MICROSECOND + 1) >> 64)
