"""Clause 2: intervals are counted from their anchor and keep what they were written with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from scheduler.errors import InvalidRule
from scheduler.rules import Rule, every, rule_from_json
from tests.steps import steps_at

if TYPE_CHECKING:
    from .conftest import Instants

NY = "America/New_York"
LONDON = "Europe/London"


def interval(n: int, unit: str, start: str | None, **more: Any) -> dict[str, Any]:
    return {"every": n, "unit": unit, "start_date": start, **more}


def days_of(listed: list[str]) -> list[str]:
    return [at[:10] for at in listed]


@pytest.mark.parametrize(
    ("unit", "most"),
    [
        ("seconds", 3_155_760_000), ("minutes", 52_596_000), ("hours", 876_600),
        ("days", 36_525), ("weeks", 5_217), ("months", 1_200), ("years", 100),
    ],
)  # fmt: skip
def test_2_an_interval_is_one_unit_to_a_hundred_years(unit: str, most: int) -> None:
    assert rule_from_json(interval(most, unit, None)).to_json() == {"every": most, "unit": unit}
    with pytest.raises(InvalidRule, match=rf"every: {most + 1} is more than {most}"):
        rule_from_json(interval(most + 1, unit, None))


@pytest.mark.parametrize(
    "unit",
    ["minute", "Minutes", "MINUTES", "min", "fortnights", "", 1, None, [], True, "x" * 10**7],
)
def test_2_an_unknown_unit_is_refused(unit: object) -> None:
    with pytest.raises(InvalidRule) as caught:
        rule_from_json({"every": 1, "unit": unit})
    assert caught.value.field == "unit"


def test_2_1_occurrences_are_counted_from_the_anchor(instants: Instants) -> None:
    listed = instants(interval(1, "months", "2024-01-31T00:00"), first=5)
    assert days_of(listed) == ["2024-01-31", "2024-02-29", "2024-03-31", "2024-04-30", "2024-05-31"]


def test_2_2_without_a_start_the_creation_is_occurrence_0_to_the_second() -> None:
    created = datetime(2024, 1, 1, 12, 0, 0, 700_000, tzinfo=UTC)
    rule = every(hours=1).bound(timezone="UTC", anchor=created)
    first = rule.last_before_or_at(created)
    assert first == datetime(2024, 1, 1, 12, tzinfo=UTC)
    assert rule.next_after(created) == datetime(2024, 1, 1, 13, tzinfo=UTC)


def test_2_2_an_unbound_interval_without_a_start_has_no_phase() -> None:
    with pytest.raises(InvalidRule, match="start_date: nothing was given"):
        every(hours=1).next_after(datetime(2024, 1, 1, tzinfo=UTC))


def test_2_3_elapsed_units_ignore_the_clock_change(instants: Instants) -> None:
    daily = interval(24, "hours", "2024-03-09T09:00")
    assert instants(daily, timezone=NY, first=2) == ["2024-03-09T14:00Z", "2024-03-10T14:00Z"]
    hourly = interval(1, "hours", "2024-11-03T01:00")
    assert instants(hourly, timezone=NY, first=3) == [
        "2024-11-03T05:00Z", "2024-11-03T06:00Z", "2024-11-03T07:00Z",
    ]  # fmt: skip


def test_2_4_the_time_of_day_never_drifts(clock: str, instants: Instants) -> None:
    rule = interval(1, "days", "2024-03-09T02:30")
    assert instants(rule, timezone=NY, first=3) == [
        "2024-03-09T07:30Z", "2024-03-10T07:30Z", "2024-03-11T06:30Z",
    ]  # fmt: skip


def test_2_5_an_anchor_in_a_gap_keeps_its_reading(clock: str, instants: Instants) -> None:
    rule = interval(1, "days", "2024-03-10T02:30")
    assert instants(rule, timezone=NY, first=2) == ["2024-03-10T07:30Z", "2024-03-11T06:30Z"]


@pytest.mark.parametrize("fold", ["first", "last", "both"])
def test_2_5_an_anchor_with_an_offset_is_that_instant(
    fold: str, clock: str, instants: Instants
) -> None:
    rule = interval(1, "days", "2024-11-03T01:30-05:00", fold=fold)
    assert instants(rule, timezone=NY, first=2) == ["2024-11-03T06:30Z", "2024-11-04T06:30Z"]


def test_2_6_months_clip_and_the_day_returns(instants: Instants) -> None:
    listed = instants(interval(3, "months", "2023-11-30T00:00"), first=4)
    assert days_of(listed) == ["2024-02-29", "2024-05-30", "2024-08-30", "2024-11-30"]


def test_2_7_years_are_twelve_months(instants: Instants) -> None:
    rule = interval(1, "years", "2024-02-29T00:00")
    listed = days_of(instants(rule, end="2101-01-01T00:00"))
    assert listed[:5] == ["2024-02-29", "2025-02-28", "2026-02-28", "2027-02-28", "2028-02-29"]
    assert listed[-1] == "2100-02-28"


def test_2_8_weeks_are_seven_wall_clock_days(instants: Instants) -> None:
    rule = interval(1, "weeks", "2024-10-21T09:00")
    assert instants(rule, timezone=LONDON, first=2) == ["2024-10-21T08:00Z", "2024-10-28T09:00Z"]


@pytest.mark.parametrize("gap", ["forward", "skip"])
def test_2_9_two_readings_of_one_instant_are_one_occurrence(gap: str, instants: Instants) -> None:
    rule = interval(1, "days", "2011-12-28T09:00", gap=gap)
    listed = instants(rule, "2011-12-29T00:00", "2012-01-01T00:00", "Pacific/Apia")
    assert listed == ["2011-12-29T19:00Z", "2011-12-30T19:00Z"]


@pytest.mark.parametrize("unit", ["seconds", "minutes", "hours"])
@pytest.mark.parametrize("policy", [{"gap": "skip"}, {"fold": "last"}, {"fold": "both"}])
def test_1_7_policies_are_for_days_and_longer(unit: str, policy: dict[str, str]) -> None:
    with pytest.raises(InvalidRule, match="has no meaning for"):
        rule_from_json(interval(1, unit, None, **policy))


@pytest.mark.parametrize(
    "unit", ["seconds", "minutes", "hours", "days", "weeks", "months", "years"]
)
def test_0_5_far_from_the_anchor_costs_no_more(unit: str) -> None:
    rule = rule_from_json(interval(1, unit, "1970-01-01T00:00:00", timezone=NY, limit=10**10))
    near, far = (steps_at(rule, datetime(year, 6, 1, tzinfo=UTC)) for year in (1971, 2099))
    assert far < 3 * near


@pytest.mark.parametrize("unit", ["days", "months", "years"])
@pytest.mark.parametrize("gap", ["forward", "skip"])
@pytest.mark.parametrize("fold", ["first", "both"])
def test_counting_and_walking_back_agree_with_walking(unit: str, gap: str, fold: str) -> None:
    rule = every(**{unit: 1}, start_date="1995-01-31T02:30", timezone=NY, gap=gap, fold=fold)  # type: ignore[arg-type]
    start, end = datetime(1990, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC)
    walked = list(rule.between(start, end))
    assert rule.count(start, end) == len(walked)
    assert rule.latest(7, start, end) == walked[-7:]
    assert rule.latest(10**6, start, end) == walked
    assert [rule.last_before_or_at(at) for at in walked] == walked
    assert rule.last_before_or_at(walked[0] - timedelta(microseconds=1)) is None


def test_a_rule_is_a_value() -> None:
    def make() -> Rule:
        return every(days=2, start_date="2024-01-01T09:00", timezone=NY, limit=3)

    assert make() == make()
    assert hash(make()) == hash(make())
    used = make()
    used.next_after(datetime(2024, 1, 1, tzinfo=UTC))
    assert used == make()
    assert make() != every(days=3, start_date="2024-01-01T09:00", timezone=NY, limit=3)
    with pytest.raises(AttributeError):
        make().limit = 4  # type: ignore[misc]


@pytest.mark.parametrize("units", [{}, {"days": 1, "hours": 1}, {"seconds": 0}, {"days": True}])
def test_every_takes_exactly_one_unit(units: dict[str, int]) -> None:
    with pytest.raises(InvalidRule, match="every"):
        every(**units)  # type: ignore[arg-type]
