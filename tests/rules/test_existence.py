"""Clause 8: what is wrong or can never occur is refused when it is defined, quickly."""

from __future__ import annotations

import sys
import tracemalloc
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from scheduler.errors import InvalidRule
from scheduler.rules import cron, occurrences, rule_from_json
from scheduler.rules.combine import AllOf, AnyOf
from scheduler.rules.series import searching
from tests.steps import calls

if TYPE_CHECKING:
    from .conftest import Instants

START = "2024-01-01T00:00"


def recurs(text: str, dtstart: str = START) -> dict[str, Any]:
    return {"rrule": text, "dtstart": dtstart}


def every(n: int, unit: str, start: str) -> dict[str, Any]:
    return {"every": n, "unit": unit, "start_date": start}


IMPOSSIBLE: list[dict[str, Any]] = [
    {"cron": "0 0 30 2 *"},
    {"cron": "0 0 31 4,6,9,11 *"},
    {"cron": "* * */20 * 1L"},
    {"cron": "0 0 L-30 2 *"},
    {"cron": "0 0 30W 2 *"},
    recurs("FREQ=SECONDLY;BYMONTH=2;BYMONTHDAY=30"),
    recurs("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"),
    recurs("FREQ=YEARLY;INTERVAL=2;BYMONTH=2;BYMONTHDAY=29", "2023-01-01T00:00"),
    recurs("FREQ=MONTHLY;BYDAY=6MO"),
    recurs("FREQ=YEARLY;BYYEARDAY=366;BYMONTH=1"),
    recurs("FREQ=MONTHLY;INTERVAL=12;BYMONTH=3"),
    recurs("FREQ=DAILY;INTERVAL=7;BYDAY=TU"),
    recurs("FREQ=DAILY;BYSECOND=60"),
    recurs("FREQ=HOURLY;INTERVAL=24;BYHOUR=5"),
    recurs("FREQ=HOURLY;INTERVAL=48;BYHOUR=5"),
    recurs("FREQ=MINUTELY;INTERVAL=1440;BYHOUR=3"),
    recurs("FREQ=HOURLY;INTERVAL=168;BYDAY=TU"),
    recurs("FREQ=MINUTELY;INTERVAL=2;BYMINUTE=1"),
    recurs("FREQ=WEEKLY;BYDAY=MO;BYSETPOS=2"),
    recurs("FREQ=DAILY;BYHOUR=1,2;BYSETPOS=3"),
    recurs("FREQ=HOURLY;BYMINUTE=1,2;BYSETPOS=3"),
    recurs("FREQ=MONTHLY;BYDAY=MO;BYSETPOS=6"),
    recurs("FREQ=YEARLY;INTERVAL=4;BYMONTH=2;BYMONTHDAY=29", "2023-01-01T00:00"),
    {"all": [{"cron": "0 9 * * mon"}, {"cron": "0 9 * * tue"}]},
    {"all": [{"cron": "0 9 * * *"}, {"cron": "0 10 * * *"}]},
    {
        "all": [
            every(2, "seconds", "2024-01-01T00:00:00"),
            every(4, "seconds", "2024-01-01T00:00:01"),
        ]
    },
    {"cron": "0 0 * * mon", "only_on": [{"weekdays": ["sun"]}]},
    {"cron": "0 9 * * *", "only_on": [{"times": ["10:00-11:00"]}]},
    {"cron": "0 9 * * *", "except": [{"cron": "0 9 * * *"}]},
    {"cron": "0 9 * * *", "except": [{"weekdays": "mon-sun"}]},
    {"cron": "0 9 * * *", "only_on": [{"dates": ["2024-01-06"], "weekdays": ["mon"]}]},
]


@pytest.mark.parametrize("rule", IMPOSSIBLE, ids=str)
def test_8_4_an_impossible_rule_is_refused_at_once(rule: dict[str, Any]) -> None:
    with calls() as made, pytest.raises(InvalidRule, match=r"never|no occurrence"):
        rule_from_json({"timezone": "UTC"} | rule)
    assert made[0] < 250_000


@pytest.mark.parametrize(
    ("rule", "first"),
    [
        ({"cron": "0 0 ? 2 MON#5"}, "2044-02-29T00:00Z"),
        (recurs("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29;BYDAY=MO"), "2044-02-29T00:00Z"),
        (recurs("FREQ=DAILY;INTERVAL=2;BYMONTH=2;BYMONTHDAY=29"), "2028-02-29T00:00Z"),
        (recurs("FREQ=SECONDLY;INTERVAL=7;BYHOUR=9;BYMINUTE=0;BYSECOND=0"), "2024-01-05T09:00Z"),
        ({"cron": "0 0 * * sun", "only_on": [{"annual": ["02-29"]}]}, "2032-02-29T00:00Z"),
        ({"all": [{"cron": "0 0 29 2 *"}, {"cron": "0 0 * * sun"}]}, "2032-02-29T00:00Z"),
    ],
    ids=str,
)
def test_8_4_a_rare_rule_is_accepted(rule: dict[str, Any], first: str, instants: Instants) -> None:
    rule_from_json(rule)
    listed = instants(rule, end="2100-01-01T00:00", first=1)
    assert listed == [first]


@pytest.mark.parametrize(
    "rule",
    [
        {"cron": "0 9 * * *", "start_date": "2024-01-01T10:00", "end_date": "2024-01-01T11:00"},
        recurs("FREQ=DAILY;UNTIL=20231231T000000"),
        {"at": ["2024-01-01T00:00"], "end_date": "2023-01-01T00:00"},
        {"rrule": "FREQ=DAILY;COUNT=1", "dtstart": START, "exdate": [START]},
    ],
    ids=str,
)
def test_8_5_a_rule_with_nothing_left_is_refused(rule: dict[str, Any]) -> None:
    with pytest.raises(InvalidRule, match="never occurs"):
        occurrences(rule, START, "2025-01-01T00:00")
    with pytest.raises(InvalidRule, match="never occurs"):
        rule_from_json({"timezone": "UTC"} | rule)


NEVER_MEETING: list[dict[str, Any]] = [
    {"cron": "0 0 1 1 *", "except": [{"cron": "* * * * *"}]},
    {"cron": "0 0 29 2 *", "except": [{"cron": "*/5 * * * *"}]},
    every(1, "seconds", START) | {"except": [{"cron": "* * * * * *"}]},
    {"all": [{"cron": "30 * * * *"}, {"cron": "0 * * * *"}]},
    {"all": [every(24, "hours", START), {"cron": "0 9 * * *"}]},
    {"all": [every(1, "weeks", START), {"cron": "0 0 * * tue"}]},
    {"all": [recurs("FREQ=DAILY;BYHOUR=8;BYMINUTE=5"), {"cron": "*/2 * * * *"}]},
    {"cron": "0 9 * * *", "except": [{"weekdays": "mon-wed"}, {"weekdays": "thu-sun"}]},
    {
        "cron": "* * * * *",
        "only_on": [{"annual": ["02-28"]}, {"annual": ["03-01"]}],
        "except": [{"annual": ["02-28", "03-01"]}],
    },
]


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Australia/Lord_Howe"])
@pytest.mark.parametrize("rule", NEVER_MEETING, ids=str)
def test_8_5_what_never_meets_on_the_wall_clock_is_refused(rule: dict[str, Any], zone: str) -> None:
    with pytest.raises(InvalidRule, match="never occurs"):
        rule_from_json({"timezone": zone} | rule)


@pytest.mark.parametrize(
    ("rule", "start", "zone", "first"),
    [
        (
            {"all": [every(86399, "seconds", "2024-01-01T00:00Z"), {"cron": "0 9 * * *"}]},
            START,
            "UTC",
            "2171-11-05T09:00Z",
        ),
        (
            {
                "all": [
                    {"cron": "0 12 * * *", "timezone": "Europe/London"},
                    {"cron": "0 10 * * *", "timezone": "UTC"},
                ]
            },
            "1940-01-01T00:00",
            "UTC",
            "1941-05-04T10:00Z",
        ),
        (
            {"all": [{"cron": "30 2 * * *"}, {"cron": "0 3 * * *"}]},
            START,
            "America/New_York",
            "2024-03-10T07:00Z",
        ),
        (
            {"cron": "30 2 * * *", "only_on": [{"times": ["03:00-03:01"]}]},
            START,
            "America/New_York",
            "2024-03-10T07:00Z",
        ),
        (
            {
                "all": [
                    {"any": [{"cron": "0 0 29 2 *"}, {"cron": "0 1 * * *"}]},
                    {"any": [{"cron": "0 0 ? * MON#5"}, {"cron": "0 2 * * *"}]},
                ]
            },
            "2040-01-01T00:00",
            "UTC",
            "2044-02-29T00:00Z",
        ),
        (
            {"rrule": "FREQ=DAILY;UNTIL=20240101T000000Z", "dtstart": "2024-01-01T09:00"},
            "2023-12-01T00:00",
            "Asia/Tokyo",
            "2024-01-01T00:00Z",
        ),
        (
            {
                "any": [
                    {"cron": "0 9 * * *"},
                    {"cron": "0 9 * * 1", "only_on": [{"dates": ["2024-01-02"]}]},
                ]
            },
            START,
            "UTC",
            "2024-01-01T09:00Z",
        ),
    ],
    ids=str,
)
def test_8_5_a_rule_that_may_occur_is_accepted(
    rule: dict[str, Any], start: str, zone: str, first: str, instants: Instants
) -> None:
    rule_from_json({"timezone": zone} | rule)
    assert instants(rule, start, "2200-01-01T00:00", zone, first=1) == [first]


def test_1_7_what_a_gap_policy_leaves_empty_is_no_mistake(instants: Instants) -> None:
    rule = {"at": ["2024-03-10T02:30"], "gap": "skip", "timezone": "America/New_York"}
    assert instants(rule) == []


def test_8_7_a_rare_rule_is_not_searched_through_what_is_removed(instants: Instants) -> None:
    """Yearly, less every seventh second: each year asks once, whatever lies between."""
    rule = {"cron": "0 9 1 1 *", "except": [every(7, "seconds", "1970-01-01T00:00Z")]}
    assert len(instants(rule, end="2124-01-01T00:00")) == 86


@pytest.mark.parametrize("kind", ["rrule", "days", "months", "years"])
@pytest.mark.parametrize(
    ("start", "zone"),
    [("9999-12-31T23:00Z", "Asia/Tokyo"), ("0001-01-01T00:00Z", "America/New_York")],
)
def test_8_6_an_anchor_that_its_zone_cannot_show_is_refused(
    kind: str, start: str, zone: str
) -> None:
    rule = recurs("FREQ=DAILY", start) if kind == "rrule" else every(1, kind, start)
    with pytest.raises(InvalidRule, match=f"outside the years 1 to 9999 in {zone}"):
        rule_from_json({"timezone": zone} | rule)


def test_8_6_a_window_may_begin_before_the_calendar_does() -> None:
    start = datetime(1, 1, 1, tzinfo=ZoneInfo("Asia/Tokyo"))
    found = occurrences({"cron": "0 0 * * *"}, start, "0001-01-02T00:00Z")
    assert [at.isoformat() for at in found] == ["0001-01-01T00:00:00+00:00"]


def test_8_2_dates_are_capped_for_the_whole_definition() -> None:
    dates = [f"{year}-06-{day:02}" for year in range(1700, 2033) for day in range(1, 31)]
    rule = {"cron": "0 9 * * *", "except": [{"dates": dates}] * 49}
    with pytest.raises(InvalidRule, match="more than 20000 dates in all"):
        rule_from_json(rule)


def test_6_3_a_rule_may_have_many_exceptions(instants: Instants) -> None:
    """The cap of 50 is on members of a union or an intersection only (6.2)."""
    removed = [{"dates": [f"2024-01-{day:02}"]} for day in range(1, 31)] * 3
    rule = {"cron": "0 9 * * *", "except": removed}
    assert instants(rule, end="2024-02-01T00:00") == ["2024-01-31T09:00Z"]


def test_8_5_where_the_open_zone_could_decide_the_rule_waits_for_it(instants: Instants) -> None:
    rule = {"cron": "0 9 * * *", "start_date": "2024-01-01T13:30Z", "end_date": "2024-01-01T14:30Z"}
    open_zone = rule_from_json(rule)
    assert open_zone.timezone is None
    assert instants(rule, timezone="America/New_York") == ["2024-01-01T14:00Z"]
    with pytest.raises(InvalidRule, match="never occurs"):
        instants(rule, timezone="UTC")


def test_8_1_a_refusal_names_field_part_reason_and_hint() -> None:
    with pytest.raises(InvalidRule, match=r"^cron: minute: 60 is not in 0–59$") as caught:
        cron("60 * * * *")
    refused = caught.value
    assert (refused.field, refused.value, refused.reason) == (
        "cron: minute",
        "60",
        "is not in 0–59",
    )
    assert isinstance(refused, ValueError)


HUGE = 10_000_000
DEEP: list[Any] = []
for _ in range(100_000):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    "rule",
    [
        {"cron": "*" * HUGE},
        {"cron": "1," * (HUGE // 2)},
        {"rrule": "FREQ=DAILY;" * (HUGE // 11), "dtstart": START},
        {"rrule": "FREQ=DAILY", "dtstart": "2" * HUGE},
        {"at": ["2" * HUGE]},
        {"at": [START] * 1_000_000},
        {"rrule": "FREQ=DAILY", "dtstart": START, "exdate": [START] * 1_001},
        {"rrule": "FREQ=DAILY", "dtstart": START, "rdate": [START] * 1_000_000},
        {"every": 1, "unit": "s" * HUGE},
        {"every": "1" * HUGE, "unit": "days"},
        {"every": 10**100_000, "unit": "days"},
        {"every": 1, "unit": "days", "timezone": "U" * HUGE},
        {"every": 1, "unit": "days", "start_date": "2" * HUGE},
        {"every": 1, "unit": "days", "limit": 10**100_000},
        {"every": DEEP, "unit": "days"},
        {"cron": DEEP},
        {"any": DEEP},
        {"all": [DEEP]},
        {"k" * HUGE: 1},
        {"any": [{"cron": "0 9 * * *"}] * 100_000},
        {"cron": "0 9 * * *", "only_on": DEEP},
        {"cron": "0 9 * * *", "except": [{"weekdays": DEEP}]},
        {"cron": "0 9 * * *", "except": [{"dates": ["2024-01-01"] * 1_000_000}]},
        {"cron": "0 9 * * *", "only_on": [{"times": [["09:00", "1" * HUGE]]}]},
        {"any": [{"any": [{"any": [{"cron": "0 9 * * *"}] * 50}] * 50}] * 50},
    ],
    ids=lambda rule: str(list(rule))[:40],
)
def test_8_2_a_huge_rule_is_refused_before_it_is_looked_at(rule: dict[str, Any]) -> None:
    tracemalloc.start()
    try:
        with calls() as made, pytest.raises(InvalidRule) as caught:
            rule_from_json(rule)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert made[0] < 130_000
    assert most < 400_000
    assert sys.getsizeof(str(caught.value)) < 4_000


def test_8_7_a_fruitless_search_ends_with_an_error() -> None:
    """Both members are dense and never meet; unchecked, the search is cut off."""
    never = AllOf(members=(cron("0 9 * * *"), cron("0 10 * * *")))
    with searching(1_000), pytest.raises(InvalidRule, match="gave no occurrence"):
        never.next_after(datetime(2024, 1, 1, tzinfo=UTC))


def test_8_7_a_window_is_searched_no_further_than_its_end() -> None:
    """A union of what is dense with what never comes again still lists its window."""
    never = AllOf(members=(cron("0 9 * * *"), cron("0 10 * * *")))
    rule = AnyOf(members=(cron("0 12 * * *"), never), exceptions=(never,), timezone="UTC")
    start, end = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 3, 1, tzinfo=UTC)
    with searching(1_000):
        assert len(list(rule.between(start, end))) == rule.count(start, end) == 60
        assert len(rule.latest(3, start, end)) == 3
