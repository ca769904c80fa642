"""Values that tests are made of: jobs and schedules of which only the point need be said."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from itertools import count
from typing import Any

from scheduler.errors import NaiveTime
from scheduler.expansion import begin
from scheduler.model import Job, Schedule

_numbers = count(1)


def utc(text: str) -> datetime:
    """The instant of an ISO text, which says its offset. Raises NaiveTime if it does not."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise NaiveTime("moment", text)
    return moment


NOON = utc("2026-01-05T12:00:00+00:00")
"""Now, in tests that need one instant and do not care which."""

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
AHEAD, BEHIND = timezone(timedelta(hours=14)), timezone(timedelta(hours=-12))
"""The zones whose clocks are furthest from UTC."""

HOURLY: Mapping[str, Any] = {"every": 1, "unit": "hours", "start_date": "2026-01-01T00:00:00Z"}


def a_job(**given: Any) -> Job:
    """A pending job that is due at NOON, with an id of its own that is later than the last."""
    number = next(_numbers)
    return Job(
        **{
            "id": f"{number:012d}",
            "name": "work",
            "created_at": NOON,
            "scheduled_at": NOON,
            **given,
        }
    )


def a_schedule(name: str = "books", **given: Any) -> Schedule:
    """A new schedule, made at NOON, hourly from an earlier day: begun, and not yet stored."""
    created_at = given.pop("created_at", NOON)
    return begin(
        Schedule(
            **{
                "id": f"schedule-of-{name}-{next(_numbers)}",
                "name": name,
                "job_name": "work",
                "rule": dict(HOURLY),
                "timezone": "UTC",
                "anchor_at": created_at,
                "rule_since": created_at,
                "cursor_at": created_at,
                "created_at": created_at,
                "updated_at": created_at,
                **given,
            }
        )
    )
