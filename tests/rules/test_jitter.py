"""Clause 7: jitter delays only, and says the same every time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest

from scheduler.errors import InvalidOption, NaiveTime
from scheduler.rules import jitter_delay

AT = datetime(2024, 1, 1, 12, tzinfo=UTC)
TEN = timedelta(minutes=10)


def test_7_1_the_delay_stays_short_of_the_next_occurrence() -> None:
    delays = [jitter_delay(str(n), AT, timedelta(seconds=600), TEN) for n in range(2_000)]
    assert min(delays) >= timedelta(0)
    assert max(delays) <= TEN - timedelta(microseconds=1)
    assert max(delays) > timedelta(seconds=590)


def test_7_2_the_delay_is_a_hash_of_schedule_and_occurrence() -> None:
    digest = sha256(b"abc|2024-01-01T12:00:00.000000Z").digest()
    widest = 599_999_999
    expected = int.from_bytes(digest[:8], "big") * (widest + 1) // 2**64
    assert jitter_delay("abc", AT, TEN, TEN) == timedelta(microseconds=expected)


def test_7_2_the_same_instant_in_another_zone_has_the_same_delay() -> None:
    from zoneinfo import ZoneInfo

    there = AT.astimezone(ZoneInfo("Asia/Kathmandu"))
    assert jitter_delay("abc", AT, TEN, None) == jitter_delay("abc", there, TEN, None)


def test_7_2_years_have_four_digits() -> None:
    early = datetime(33, 4, 3, 15, tzinfo=UTC)
    digest = sha256(b"abc|0033-04-03T15:00:00.000000Z").digest()
    expected = int.from_bytes(digest[:8], "big") * (10**6 + 1) // 2**64
    assert jitter_delay("abc", early, timedelta(seconds=1), None) == timedelta(
        microseconds=expected
    )


def test_7_3_no_jitter_is_no_delay() -> None:
    assert jitter_delay("abc", AT, timedelta(0), TEN) == timedelta(0)
    assert jitter_delay("abc", AT, TEN, timedelta(microseconds=1)) == timedelta(0)


def test_7_1_a_negative_jitter_is_refused() -> None:
    with pytest.raises(InvalidOption, match="jitter"):
        jitter_delay("abc", AT, timedelta(seconds=-1), TEN)
    with pytest.raises(NaiveTime, match="occurrence_at"):
        jitter_delay("abc", datetime.fromisoformat("2024-01-01"), TEN, TEN)
