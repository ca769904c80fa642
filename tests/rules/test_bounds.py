"""Clauses 0 and 3: the set of instants, its window, its bounds and its limit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

import pytest

from scheduler.errors import InvalidRule, NaiveTime
from scheduler.rules import every, occurrences, rule_from_json

if TYPE_CHECKING:
    from .conftest import Instants

NY = "America/New_York"
DAILY: dict[str, Any] = {"every": 1, "unit": "days", "start_date": "2024-01-01T09:00"}
HOURLY: dict[str, Any] = {"every": 1, "unit": "hours", "start_date": "2024-01-01T00:00"}


def test_0_4_the_window_is_half_open(instants: Instants) -> None:
    assert instants(DAILY, "2024-01-01T09:00", "2024-01-03T09:00") == [
        "2024-01-01T09:00Z", "2024-01-02T09:00Z",
    ]  # fmt: skip


def test_0_4_next_after_is_strictly_later() -> None:
    rule = rule_from_json(DAILY)
    assert rule.next_after(datetime(2024, 1, 1, 9, tzinfo=UTC)) == datetime(
        2024, 1, 2, 9, tzinfo=UTC
    )
    just_before = datetime(2024, 1, 1, 8, 59, 59, 999_999, tzinfo=UTC)
    assert rule.next_after(just_before) == datetime(2024, 1, 1, 9, tzinfo=UTC)


def test_0_4_a_moment_without_a_zone_is_refused() -> None:
    rule = rule_from_json(DAILY)
    naive = datetime.fromisoformat("2024-01-01")
    for ask in (rule.next_after, rule.last_before_or_at):
        with pytest.raises(NaiveTime, match="moment"):
            ask(naive)
    with pytest.raises(NaiveTime, match="end"):
        rule.between(datetime(2024, 1, 1, tzinfo=UTC), naive)


def test_0_4_everything_is_checked_before_the_first_occurrence_is_asked_for() -> None:
    with pytest.raises(InvalidRule, match=r"^end: soon"):
        occurrences(DAILY, "2024-01-01T00:00", "soon")
    with pytest.raises(InvalidRule, match=r"^timezone"):
        occurrences(DAILY, "2024-01-01T00:00", "2024-01-02T00:00", "Mars/Olympus")
    with pytest.raises(InvalidRule, match=r"^unit"):
        occurrences({"every": 1, "unit": "eons"}, "2024-01-01T00:00", "2024-01-02T00:00")


def test_a_window_may_reach_past_the_years_that_exist(instants: Instants) -> None:
    rule = {"every": 1, "unit": "days", "start_date": "9999-12-29T20:00"}
    listed = instants(rule, "0001-01-01T00:00", "9999-12-31T23:59:59", NY)
    assert listed == ["9999-12-30T01:00Z", "9999-12-31T01:00Z"]


@pytest.mark.parametrize(("end", "count"), [("03:00", 4), ("02:59:59.999999", 3), ("00:00", 1)])
def test_3_1_both_bounds_are_inclusive(end: str, count: int, instants: Instants) -> None:
    assert len(instants({**HOURLY, "end_date": f"2024-01-01T{end}"})) == count


@pytest.mark.parametrize(
    "end", ["2024-01-01T08:59:59.999999", "2023-01-01T09:00", "2024-01-01T10:00+02:00"]
)
def test_3_1_an_end_before_the_start_is_refused(end: str) -> None:
    with pytest.raises(InvalidRule) as caught:
        occurrences({**DAILY, "end_date": end}, "2024-01-01T00:00", "2024-01-02T00:00")
    assert caught.value.field == "end_date"


@pytest.mark.parametrize("fold", ["first", "last"])
def test_3_1_an_end_equal_to_the_start_is_one_occurrence(fold: str, instants: Instants) -> None:
    reading = "2024-11-03T01:30"
    rule = {"every": 1, "unit": "days", "start_date": reading, "end_date": reading, "fold": fold}
    assert len(instants(rule, timezone=NY)) == 1


def test_3_3_the_limit_counts_from_the_start_and_not_from_the_window(instants: Instants) -> None:
    rule = {"every": 1, "unit": "days", "start_date": "2024-01-01T00:00", "limit": 3}
    assert instants(rule, "2024-01-03T00:00", "2024-02-01T00:00") == ["2024-01-03T00:00Z"]


def test_3_3_a_spent_rule_has_no_next() -> None:
    rule = every(days=1, start_date="2024-01-01T09:00", limit=2)
    assert rule.next_after(datetime(2024, 1, 2, 9, tzinfo=UTC)) is None
    last = rule.last_before_or_at(datetime(2030, 1, 1, tzinfo=UTC))
    assert last == datetime(2024, 1, 2, 9, tzinfo=UTC)
    span = datetime(2023, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC)
    assert rule.count(*span) == 2
    assert rule.latest(5, *span) == list(rule.between(*span))


def test_3_4_a_live_schedule_takes_the_limit_off_and_counts_itself() -> None:
    rule = every(days=1, start_date="2024-01-01T09:00", limit=2)
    assert rule.unlimited().limit is None
    assert rule.unlimited() == every(days=1, start_date="2024-01-01T09:00")
    assert rule.unlimited().unlimited() is rule.unlimited() or rule.unlimited().limit is None


def test_binding_fills_in_what_is_open_and_is_not_stored() -> None:
    anchor = datetime(2024, 1, 1, 12, 0, 0, 5, tzinfo=UTC)
    rule = every(days=1, limit=5)
    bound = rule.bound(timezone=NY, anchor=anchor)
    assert (bound.timezone, bound.start_date, bound.limit) == (NY, None, 5)
    assert bound.bound(timezone="UTC", anchor=datetime(2020, 1, 1, tzinfo=UTC)) == bound
    assert "start_date" not in bound.to_json()
    assert "anchor" not in bound.to_json()
    with pytest.raises(NaiveTime):
        rule.bound(timezone=NY, anchor=datetime.fromisoformat("2024-01-01"))


@pytest.mark.parametrize(
    "rule",
    [
        DAILY,
        {**DAILY, "end_date": "2024-02-01T09:00:00Z", "limit": 7, "timezone": NY},
        {"every": 15, "unit": "minutes"},
        {"every": 2, "unit": "weeks", "gap": "skip", "fold": "both"},
        {**DAILY, "start_date": "2024-01-01T09:00:00.000001+05:45"},
    ],
)
def test_a_rule_survives_being_stored(rule: dict[str, Any]) -> None:
    parsed = rule_from_json(rule)
    stored = parsed.to_json()
    assert rule_from_json(stored) == parsed
    assert rule_from_json(stored).to_json() == stored


@pytest.mark.parametrize(
    "rule",
    [
        None, True, 1, 1.5, "every 15 minutes", "", b"{}", [], [DAILY], {}, {"unit": "days"},
        {"every": None, "unit": "days"}, {"every": 1}, {"every": 1, "unit": None},
        {**DAILY, "retries": 3}, {**DAILY, "Every": 1}, {**DAILY, "tz": "UTC"}, {**DAILY, "": 2},
        {**DAILY, "gap": "jump"}, {**DAILY, "fold": "second"}, {**DAILY, "gap": 1},
        {**DAILY, "timezone": "Mars/Olympus"}, {**DAILY, "limit": 2**63},
        {**DAILY, "every": 10**5000},
        {**DAILY, "x" * 10**7: 1},
    ],
)  # fmt: skip
def test_8_3_what_is_not_a_rule_is_refused(rule: Any) -> None:
    with pytest.raises(InvalidRule) as caught:
        rule_from_json(rule)
    assert len(str(caught.value)) < 400


def test_8_3_null_is_absent_where_a_key_is_optional() -> None:
    nulls = dict.fromkeys(("end_date", "limit", "timezone", "gap", "fold", "only_on", "except"))
    assert rule_from_json({**DAILY, **nulls}) == rule_from_json(DAILY)


def test_8_6_the_series_ends_silently_with_the_year_9999() -> None:
    for unit in ("seconds", "days", "months", "years"):
        rule = rule_from_json(
            {"every": 1, "unit": unit, "start_date": "9999-12-31T23:59:59Z", "timezone": NY}
        )
        assert rule.next_after(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)) is None


def test_8_6_a_start_after_the_last_instant_is_refused() -> None:
    with pytest.raises(InvalidRule, match="outside the years 1 to 9999") as caught:
        every(days=1, start_date="9999-12-31T23:59:59", timezone=NY)
    assert caught.value.field == "start_date"


def test_8_6_before_1970_and_after_2038_arithmetic_is_the_same(instants: Instants) -> None:
    rule = {"every": 1, "unit": "months", "start_date": "1901-01-31T09:00"}
    assert instants(rule, "1901-02-01T00:00", first=1) == ["1901-02-28T09:00Z"]
    assert instants(rule, "2040-02-01T00:00", "2041-01-01T00:00", first=1) == ["2040-02-29T09:00Z"]
    assert instants(rule, "9999-12-01T00:00", "9999-12-31T23:59") == ["9999-12-31T09:00Z"]


LIMITED: list[dict[str, Any]] = [
    {"cron": "*/20 * * * *", "only_on": [{"weekdays": "mon-fri", "times": ["09:00-17:00"]}]},
    {"cron": "0 9 * * *", "except": [{"cron": "0 9 * * mon"}]},
    {"any": [{"cron": "0 9 * * *"}, {"cron": "30 */6 * * *"}]},
    {"every": 36, "unit": "hours"},
    {"rrule": "FREQ=MONTHLY;BYDAY=MO,FR;BYSETPOS=-1,1", "dtstart": "2024-01-01T09:00"},
]


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Australia/Lord_Howe"])
@pytest.mark.parametrize("limit", [1, 7, 500, 10**12])
@pytest.mark.parametrize("given", LIMITED, ids=str)
def test_3_3_a_limit_is_the_same_from_wherever_it_is_asked(
    given: dict[str, Any], limit: int, zone: str
) -> None:
    """Counted by walking, and asked cold from near, from far, backwards and by count."""
    bounds = {"timezone": zone, "start_date": "2024-01-01T00:00"}
    start, end = datetime(2023, 12, 31, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    far = end + timedelta(days=800)
    limited = [
        rule_from_json(given | bounds | {"limit": limit}) for _ in range(5)
    ]  # each counts anew
    walked = list(islice(rule_from_json(given | bounds).between(start, end), limit))

    assert list(limited[0].between(start, end)) == walked
    assert limited[1].last_before_or_at(end - timedelta(microseconds=1)) == walked[-1]
    assert limited[2].count(start, end) == len(walked)
    assert limited[3].latest(3, start, end) == walked[-3:]
    is_spent = limit <= rule_from_json(given | bounds).count(start, far)
    assert (limited[4].next_after(far) is None) == is_spent
    assert limited[4].next_after(walked[0] - timedelta(microseconds=1)) == walked[0]
