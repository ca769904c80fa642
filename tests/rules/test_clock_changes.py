"""Every change of the clock of awkward zones, thirty years back and thirty ahead."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest

from scheduler.rules import Rule, cron, every, rrule

ZONES = (
    "Australia/Lord_Howe", "Pacific/Chatham", "Pacific/Apia", "America/Sao_Paulo",
    "Africa/Casablanca", "Antarctica/Troll", "America/St_Johns", "Asia/Kathmandu",
)  # fmt: skip
FIRST, LAST = datetime(1996, 1, 1, tzinfo=UTC), datetime(2057, 1, 1, tzinfo=UTC)


def wall(place: ZoneInfo, at: datetime) -> datetime:
    return place.fromutc(at.replace(tzinfo=place)).replace(tzinfo=None)


@cache
def changes(key: str) -> list[tuple[datetime, datetime, datetime]]:
    """(instant, reading before, reading at it) of each change, by hourly probing and bisection."""
    place, found = ZoneInfo(key), []
    at, step = FIRST, timedelta(days=2)
    while at < LAST:
        lo, hi = at, at + step
        before = wall(place, lo) - lo.replace(tzinfo=None)
        if before != wall(place, hi) - hi.replace(tzinfo=None):
            while hi - lo > timedelta(seconds=1):
                middle = (lo + (hi - lo) / 2).replace(microsecond=0)
                if wall(place, middle) - middle.replace(tzinfo=None) == before:
                    lo = middle
                else:
                    hi = middle
            found.append((hi, hi.replace(tzinfo=None) + before, wall(place, hi)))
        at += step
    return found


def around(rule: Rule, at: datetime) -> list[datetime]:
    return list(rule.between(at - timedelta(days=2), at + timedelta(days=2)))


def test_the_zones_have_changes() -> None:
    many = [key for key in ZONES if len(changes(key)) > 20]
    assert many == [key for key in ZONES if key != "Asia/Kathmandu"]
    assert changes("Asia/Kathmandu") == []


@pytest.mark.parametrize("key", ZONES)
def test_2_4_a_daily_rule_runs_once_a_day_through_every_change(key: str) -> None:
    place = ZoneInfo(key)
    for at, before, after in changes(key):
        reading = min(before, after) + abs(after - before) / 2  # inside the gap or the overlap
        rule = every(days=1, start_date=reading - timedelta(days=30), timezone=key)
        found = around(rule, at)
        gap = after - before
        assert len({wall(place, one).date() for one in found}) == len(found) >= 3
        if timedelta(0) < gap < timedelta(hours=20):
            assert at + gap / 2 in found  # forward by the length of the gap
        if gap < timedelta(0):
            assert at + gap / 2 in found  # the first pass
            assert at - gap / 2 not in found
        skipping = every(
            days=1, start_date=reading - timedelta(days=30), timezone=key, gap="skip", fold="both"
        )
        if abs(gap) < timedelta(hours=20):
            assert (at - gap / 2 in around(skipping, at)) == (gap < timedelta(0))


@pytest.mark.parametrize("key", ZONES)
def test_4_12_and_4_13_fixed_times_run_once_through_every_change(key: str) -> None:
    for at, before, after in changes(key):
        lost_or_repeated = min(before, after) + abs(after - before) / 2
        text = f"{lost_or_repeated.minute} {lost_or_repeated.hour} * * *"
        found = around(cron(text, timezone=key), at)
        gap = after - before
        near = [one for one in found if abs(one - at) <= abs(gap)]
        if gap > timedelta(hours=3):
            assert at not in near
        elif gap > timedelta(0):
            assert near == [at]
        else:
            assert near == [at + gap / 2]


@pytest.mark.parametrize("key", ZONES)
def test_4_11_a_wildcard_keeps_the_elapsed_rhythm_through_every_change(key: str) -> None:
    place, rule = ZoneInfo(key), cron("*/15 * * * *", timezone=key)
    for at, _, _ in changes(key):
        start = at - timedelta(hours=6)
        minutes = [start + timedelta(minutes=n) for n in range(12 * 60)]
        expected = [one for one in minutes if wall(place, one).minute % 15 == 0]
        assert list(rule.between(start, at + timedelta(hours=6))) == expected


@pytest.mark.parametrize("key", ZONES)
def test_5_5_an_hourly_recurrence_is_literal_through_every_change(key: str) -> None:
    place = ZoneInfo(key)
    rule = rrule("FREQ=MINUTELY;INTERVAL=20", dtstart="1990-01-01T00:00", timezone=key)
    for at, _, _ in changes(key):
        start = at - timedelta(hours=6)
        minutes = [start + timedelta(minutes=n) for n in range(12 * 60)]
        expected = [one for one in minutes if wall(place, one).minute % 20 == 0]
        assert list(rule.between(start, at + timedelta(hours=6))) == expected


@pytest.mark.parametrize("key", ZONES)
def test_0_4_next_after_agrees_with_the_window_from_every_point_near_a_change(key: str) -> None:
    rules = (
        cron("*/10 * * * *", timezone=key), cron("5,35 0-4 * * *", timezone=key),
        every(days=1, start_date="1990-01-01T02:30", timezone=key, fold="both"),
        rrule("FREQ=DAILY;BYHOUR=0,1,2,3;BYMINUTE=15,45", dtstart="1990-01-01T00:00", timezone=key),
    )  # fmt: skip
    for at, _, _ in changes(key)[:: max(1, len(changes(key)) // 12)]:
        for rule in rules:
            found = around(rule, at)
            assert found == sorted(set(found))
            for n in range(-300, 300, 7):
                moment = at + timedelta(minutes=n, microseconds=n % 2)
                assert rule.next_after(moment) == next(one for one in found if one > moment)
                assert rule.last_before_or_at(moment) == [one for one in found if one <= moment][-1]
