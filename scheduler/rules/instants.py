"""Instants as integers: microseconds since 1970-01-01T00:00:00Z, negative before it.

The arithmetic of this package is on these integers, and on the same count for wall readings
(the reading as if it stood in UTC). Datetimes exist only at its edges. An integer has no
fold, no zone and no overflow, and a frozen test cannot replace it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

from scheduler.errors import NaiveTime
from scheduler.rules.refusals import spoken

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EPOCH_WALL = datetime(1970, 1, 1)  # noqa: DTZ001 - a wall reading, not an instant
EPOCH_ORDINAL = EPOCH_WALL.toordinal()
MICROSECOND = timedelta(microseconds=1)

FIRST = -(EPOCH_ORDINAL - 1) * DAY
"""0001-01-01T00:00:00Z; as a wall reading, the first that a datetime can show."""
END = (3_652_059 - EPOCH_ORDINAL + 1) * DAY
"""The instant after 9999-12-31T23:59:59.999999Z, where every series ends (exclusive)."""


def to_micros(moment: datetime) -> int:
    """The instant of an aware datetime."""
    return (moment - EPOCH) // MICROSECOND


def to_instant(micros: int) -> datetime:
    """The aware UTC datetime of an instant in FIRST..END-1."""
    return EPOCH + timedelta(0, 0, micros)


def to_instants(stream: Iterable[int]) -> Iterator[datetime]:
    """Aware UTC datetimes for a stream of instants, lazily."""
    epoch, length = EPOCH, timedelta
    for micros in stream:
        yield epoch + length(0, 0, micros)


def wall_micros(reading: datetime) -> int:
    """The count for a naive wall reading."""
    return (reading.replace(tzinfo=None) - EPOCH_WALL) // MICROSECOND


def wall_reading(micros: int) -> datetime:
    """The naive datetime of a wall count in FIRST..END-1."""
    return EPOCH_WALL + timedelta(0, 0, micros)


def aware_micros(field: str, moment: object) -> int:
    """The instant of `moment`; raises NaiveTime unless it is an aware datetime."""
    if not isinstance(moment, datetime):
        raise NaiveTime(field, spoken(moment), "is not a datetime")
    if moment.utcoffset() is None:
        raise NaiveTime(field, moment.isoformat())
    return to_micros(moment)
