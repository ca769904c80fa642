"""APScheduler's triggers: converted where the meaning is the same, refused where it is not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from apscheduler.triggers.calendarinterval import CalendarIntervalTrigger
from apscheduler.triggers.combining import AndTrigger, OrTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger

from scheduler.errors import InvalidRule
from scheduler.rules import from_apscheduler

BERLIN = ZoneInfo("Europe/Berlin")
START = datetime(2024, 1, 1, tzinfo=UTC)


def theirs(trigger: Any, count: int) -> list[datetime]:
    """The fire times as its scheduler would ask for them."""
    found: list[datetime] = []
    previous, now = None, START
    while len(found) < count:
        at = trigger.get_next_fire_time(previous, now)
        if at is None:
            break
        found.append(at.astimezone(UTC))
        previous, now = at, at + timedelta(microseconds=1)
    return found


@pytest.mark.parametrize(
    "trigger",
    [
        CronTrigger(hour=9, timezone=BERLIN),
        CronTrigger(hour=9, day_of_week="0-4", timezone=BERLIN),
        CronTrigger(hour=9, day_of_week="sun", timezone=BERLIN),
        CronTrigger(day="1st mon", hour=9, timezone=BERLIN),
        CronTrigger(day="last", hour=9, timezone=BERLIN),
        CronTrigger(day="last fri", hour=9, timezone=BERLIN),
        CronTrigger(day="1-7", day_of_week="mon", hour=9, timezone=BERLIN),
        CronTrigger(day="*/2", day_of_week="*/2", hour=9, timezone=BERLIN),
        CronTrigger(month="jan-mar,7", day="3,5", hour="8-10/2", minute=30, timezone=BERLIN),
        CronTrigger(minute="*/15", timezone="UTC"),
        CronTrigger(second="*/20", timezone="Asia/Kolkata"),
        CronTrigger(
            hour=9,
            start_date="2024-03-01T00:00:00",
            end_date="2024-03-05T09:00:00",
            timezone=BERLIN,
        ),
        IntervalTrigger(minutes=7, start_date="2024-01-01 00:00:30", timezone=BERLIN),
        IntervalTrigger(days=1, start_date="2024-01-01 09:00:00", timezone=BERLIN),
        DateTrigger("2024-05-01 09:00:00", timezone=BERLIN),
        CalendarIntervalTrigger(
            days=3, hour=2, minute=30, start_date="2024-01-02", timezone=BERLIN
        ),
        CalendarIntervalTrigger(months=1, hour=9, start_date="2024-01-31", timezone=BERLIN),
        CalendarIntervalTrigger(years=1, hour=9, start_date="2024-02-29", timezone=BERLIN),
        OrTrigger([CronTrigger(hour=9, timezone="UTC"), CronTrigger(hour=10, timezone="UTC")]),
        # APScheduler's own loops for ever where members differ by more than the day.
        AndTrigger([CronTrigger(hour=10, timezone="UTC"), CronTrigger(hour="10", timezone="UTC")]),
    ],
    ids=str,
)
def test_a_converted_trigger_runs_when_it_did(trigger: Any) -> None:
    expected = theirs(trigger, 1 if isinstance(trigger, DateTrigger) else 120)
    rule = from_apscheduler(trigger)
    far = datetime(2900, 1, 1, tzinfo=UTC)
    assert list(islice(rule.between(START, far), len(expected))) == expected


@pytest.mark.parametrize(
    ("trigger", "reason"),
    [
        (
            CronTrigger(hour=2, minute=30, timezone=BERLIN),
            "2000-03-26 02:30:00 is skipped or repeated in Europe/Berlin",
        ),
        (CronTrigger(minute="*/15", timezone=BERLIN), "skipped or repeated"),
        (CronTrigger(year=2025, timezone="UTC"), "year=2025 has no counterpart"),
        (CronTrigger(week=5, timezone="UTC"), "week=5 has no counterpart"),
        (CronTrigger(hour=9, jitter=5, timezone="UTC"), "moves runs at random"),
        (CronTrigger(day="1st mon,15", hour=9, timezone="UTC"), "mixes days and weekdays"),
        (IntervalTrigger(seconds=1, jitter=5, timezone="UTC"), "moves runs at random"),
        (CalendarIntervalTrigger(months=1, days=1, timezone="UTC"), "months and days"),
        (AndTrigger([IntervalTrigger(hours=1, timezone="UTC")]), "starts anew at each run"),
        (3, "int is not a trigger"),
        (type, "is not a trigger"),
    ],
    ids=str,
)
def test_another_meaning_is_refused_with_the_reason(trigger: Any, reason: str) -> None:
    with pytest.raises(InvalidRule, match=reason) as caught:
        from_apscheduler(trigger)
    assert caught.value.field == "trigger"
