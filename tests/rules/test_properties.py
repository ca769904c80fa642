"""Laws that hold for every rule, checked on rules nobody chose."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.rules import Rule, every, rule_from_json

ZONES = (
    "UTC", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Pacific/Chatham",
    "Pacific/Apia", "America/Sao_Paulo", "Africa/Casablanca", "Antarctica/Troll",
    "America/St_Johns", "Asia/Kathmandu",
)  # fmt: skip
moments = st.datetimes(datetime.fromisoformat("1995-01-01"), datetime.fromisoformat("2045-01-01"))


@st.composite
def intervals(draw: st.DrawFn) -> Rule:
    unit = draw(
        st.sampled_from(("seconds", "minutes", "hours", "days", "weeks", "months", "years"))
    )
    elapsed = unit in ("seconds", "minutes", "hours")
    n = draw(st.integers(1, 100_000 if elapsed else 40))
    start = draw(moments)
    if draw(st.booleans()):
        start = start.replace(tzinfo=UTC)
    return every(
        **{unit: n},  # type: ignore[arg-type]
        start_date=start,
        timezone=draw(st.sampled_from(ZONES)),
        limit=draw(st.none() | st.integers(1, 300)),
        gap="forward" if elapsed else draw(st.sampled_from(("forward", "skip"))),
        fold="first" if elapsed else draw(st.sampled_from(("first", "last", "both"))),
    )


@settings(max_examples=150, deadline=None)
@given(intervals(), moments)
def test_a_window_ascends_without_duplicates_and_next_after_agrees(
    rule: Rule, moment: datetime
) -> None:
    at = moment.replace(tzinfo=UTC)
    end = at + timedelta(days=40_000)
    found = list(islice(rule.between(at, end), 40))
    assert all(a < b for a, b in pairwise(found))
    assert all(at <= one < end for one in found)
    chained: list[datetime] = []
    cursor = at - timedelta(microseconds=1)
    while len(chained) < len(found) and (after := rule.next_after(cursor)) is not None:
        chained.append(after)
        cursor = after
    assert chained == found


@settings(max_examples=100, deadline=None)
@given(intervals(), moments, moments)
def test_counting_and_walking_back_agree_with_walking(
    rule: Rule, one: datetime, other: datetime
) -> None:
    start, end = sorted((one.replace(tzinfo=UTC), other.replace(tzinfo=UTC)))
    end = min(end, start + timedelta(days=3_000) * (1 if rule.limit else 10))
    total = rule.count(start, end)
    if total <= 5_000:
        walked = list(rule.between(start, end))
        assert total == len(walked)
        assert rule.latest(25, start, end) == walked[-25:]


@settings(max_examples=100, deadline=None)
@given(intervals())
def test_a_rule_survives_being_stored(rule: Rule) -> None:
    assert rule_from_json(rule.to_json()) == rule


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(ZONES), moments, st.integers(1, 9))
def test_daily_rules_agree_with_stepping_a_naive_clock(key: str, start: datetime, n: int) -> None:
    """The oracle: add days to a naive datetime, take the zone's offset of fold 0."""
    start = start.replace(microsecond=0)
    place = ZoneInfo(key)
    rule = every(days=n, start_date=start, timezone=key)
    oracle: list[datetime] = []
    for k in range(300):
        wall = (start + timedelta(days=n * k)).replace(tzinfo=place)
        at = wall.astimezone(UTC)
        if not oracle or at != oracle[-1]:
            oracle.append(at)
    assert list(islice(rule.between(oracle[0], oracle[-1] + timedelta(seconds=1)), 300)) == oracle
