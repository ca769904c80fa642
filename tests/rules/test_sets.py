"""Clause 6: instants, unions, intersections, calendars and exceptions."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.errors import InvalidRule
from scheduler.rules import Rule, all_of, any_of, at, cron, every, rrule, rule_from_json
from tests.steps import calls

if TYPE_CHECKING:
    from .conftest import Instants

NY = "America/New_York"
MONDAYS = "0 0 * * mon"


def days(listed: list[str]) -> str:
    return " ".join(one[5:10] for one in listed)


def test_6_1_at_is_resolved_like_any_reading(clock: str, instants: Instants) -> None:
    assert instants({"at": ["2024-03-10T02:30"]}, timezone=NY) == ["2024-03-10T07:30Z"]
    both = {"at": ["2024-11-03T01:30"], "fold": "both"}
    assert instants(both, timezone=NY) == ["2024-11-03T05:30Z", "2024-11-03T06:30Z"]


def test_6_1_at_takes_any_order_and_keeps_microseconds(instants: Instants) -> None:
    given_at = ["2024-05-01T00:00:00.000001Z", "2024-02-01T00:00", "2024-02-01T01:00+01:00"]
    assert instants({"at": given_at}) == ["2024-02-01T00:00Z", "2024-05-01T00:00:00.000001Z"]
    assert at(*given_at) == at(given_at) == rule_from_json({"at": given_at})


@pytest.mark.parametrize(
    "value",
    [[], None, "2024-01-01T00:00", {}, 5, [5], ["soon"], ["2024-01-01T00:00"] * 10_001, [None]],
)
def test_6_1_at_is_a_list_of_date_times(value: Any) -> None:
    with pytest.raises(InvalidRule, match=r"^at: "):
        rule_from_json({"at": value})


def test_0_1_a_union_has_equal_instants_once(instants: Instants) -> None:
    union = {"any": [{"cron": "0 9 * * *"}, {"cron": "0 9,10 * * *"}]}
    assert instants(union, first=3) == [
        "2024-01-01T09:00Z",
        "2024-01-01T10:00Z",
        "2024-01-02T09:00Z",
    ]


def test_6_2_an_intersection_has_what_every_member_has(instants: Instants) -> None:
    friday_13th = {"all": [{"cron": "0 0 13 * *"}, {"cron": "0 0 * * 5"}]}
    assert instants(friday_13th, first=3) == [
        "2024-09-13T00:00Z",
        "2024-12-13T00:00Z",
        "2025-06-13T00:00Z",
    ]


def test_6_2_steady_members_meet_by_arithmetic(instants: Instants) -> None:
    start = "1970-01-01T00:00"
    members = [
        {"every": n, "unit": "seconds", "start_date": f"{start}:{shift:02}"}
        for n, shift in ((1_009, 1), (1_013, 2), (1_019, 3))
    ]
    with calls() as made:
        listed = instants({"all": members}, "1970-01-01T00:00", "2200-01-01T00:00", first=2)
    assert made[0] < 2_000
    (first, second) = (datetime.fromisoformat(one) for one in listed)
    assert (second - first).total_seconds() == 1_009 * 1_013 * 1_019
    for n, shift in ((1_009, 1), (1_013, 2), (1_019, 3)):
        assert (first.timestamp() - shift) % n == 0


def test_6_2_members_inherit_the_zone_and_the_anchor(instants: Instants) -> None:
    union = {"any": [{"cron": "0 9 * * *"}, {"every": 1, "unit": "days"}], "timezone": NY}
    listed = instants(union, "2024-01-01T12:00", first=3)
    assert listed == ["2024-01-01T12:00Z", "2024-01-01T14:00Z", "2024-01-02T12:00Z"]
    own = {"any": [{"cron": "0 9 * * *", "timezone": "UTC"}], "timezone": NY}
    assert instants(own, first=1) == ["2024-01-01T09:00Z"]


@pytest.mark.parametrize("kind", ["any", "all"])
@pytest.mark.parametrize(
    "members",
    [[], None, {}, "x", [None], [5], [[]], [{}], [{"cron": "x"}], [{"cron": "0 0 * * *"}] * 51],
)
def test_6_2_members_are_one_to_fifty_rules(kind: str, members: Any) -> None:
    with pytest.raises(InvalidRule):
        rule_from_json({kind: members})


@pytest.mark.parametrize("key", ["any", "all"])
def test_6_2_nesting_is_at_most_five(key: str) -> None:
    nested: dict[str, Any] = {"cron": "0 0 * * *"}
    for _ in range(5):
        nested = {key: [nested]}
    python = rule_from_json(nested)
    for deeper in ({key: [nested]}, {"cron": "0 9 * * *", "except": [nested]}):
        with pytest.raises(InvalidRule, match="nests deeper than 5"):
            rule_from_json(deeper)
    with pytest.raises(InvalidRule, match="nests deeper than 5"):
        any_of(python)
    for _ in range(10_000):
        nested = {key: [nested]}
    with pytest.raises(InvalidRule, match="nests deeper than 5"):
        rule_from_json(nested)


@pytest.mark.parametrize("rest", [3, None, {"cron": "0 0 * * *"}])
def test_6_2_members_are_rules_in_python_too(rest: Any) -> None:
    with pytest.raises(InvalidRule, match="is not a rule"):
        any_of(cron("0 0 * * *"), rest)


def test_3_2_bounds_and_limit_of_a_union_filter(instants: Instants) -> None:
    union = {
        "any": [{"cron": "0 9 * * *"}, {"cron": "30 9 * * *"}],
        "start_date": "2024-01-02T09:15",
        "end_date": "2024-01-05T09:00",
        "limit": 4,
    }
    assert days(instants(union)) == "01-02 01-03 01-03 01-04"


def test_6_3_mondays_except_the_eighth(instants: Instants) -> None:
    for exception in (
        {"dates": ["2024-01-08"]},
        {"cron": "0 0 8 * *"},
        {"at": ["2024-01-08T00:00"]},
    ):
        assert days(instants({"cron": MONDAYS, "except": [exception]}, first=2)) == "01-01 01-15"


def test_6_3_an_exception_rule_removes_equal_instants_only(instants: Instants) -> None:
    listed = instants(
        {"cron": MONDAYS, "except": [{"at": ["2024-01-08T00:00:00.000001"]}]}, first=2
    )
    assert days(listed) == "01-01 01-08"


def test_6_3_kept_is_in_one_of_only_on_and_in_none_of_except(instants: Instants) -> None:
    rule = {
        "cron": "0 0 * * *",
        "only_on": [{"weekdays": ["mon"]}, {"annual": ["01-03"]}],
        "except": [{"dates": ["2024-01-01"]}, {"annual": ["01-15"]}],
    }
    assert days(instants(rule, first=4)) == "01-03 01-08 01-22 01-29"


def test_6_4_business_hours(instants: Instants) -> None:
    hours = {"weekdays": ["mon", "tue", "wed", "thu", "fri"], "times": [["09:00", "17:00"]]}
    listed = instants({"cron": "0 * * * *", "only_on": [hours]}, "2024-01-05T00:00", first=10)
    assert [one[8:16] for one in listed] == [
        *(f"05T{hour:02}:00" for hour in range(9, 17)),
        "08T09:00",
        "08T10:00",
    ]


@pytest.mark.parametrize(
    ("calendar", "expected"),
    [
        ({"dates": ["2024-01-03", "2024-01-05"]}, "01-03 01-05"),
        ({"annual": ["01-03", "02-29"]}, "01-03 02-29 01-03 01-03"),
        ({"weekdays": ["wed"]}, "01-03 01-10"),
        ({"weekdays": "sat-sun"}, "01-06 01-07"),
        ({"weekdays": [0, 6]}, "01-06 01-07"),
        ({"weekdays": ["TUE-wed,Sun"]}, "01-02 01-03 01-07"),
        ({"ranges": [["2024-01-03", "2024-01-05"]]}, "01-03 01-04 01-05"),
        ({"ranges": ["2024-01-03/2024-01-04"]}, "01-03 01-04"),
        ({"ranges": [{"first": "2024-01-09", "last": "2024-01-09"}]}, "01-09"),
        ({"ranges": [["2024-01-03", "2024-01-09"]], "weekdays": ["mon", "thu"]}, "01-04 01-08"),
        ({"weekdays": ["wed"], "annual": ["01-17"]}, "01-17 01-17"),
    ],
)
def test_6_4_keys_are_anded_and_their_values_ored(
    calendar: dict[str, Any], expected: str, instants: Instants
) -> None:
    rule = {"cron": "0 0 * * *", "only_on": [calendar]}
    assert days(instants(rule, first=expected.count(" ") + 1)) == expected


@pytest.mark.parametrize(
    ("times", "hours"),
    [
        ([["22:00", "02:00"]], "00 01 22 23"),
        ([["00:00", "24:00"]], " ".join(f"{h:02}" for h in range(24))),
        (["09:00-11:00", {"from": "10:00", "to": "12:00"}], "09 10 11"),
        (["09:00", "11:00"], "09 10"),
        ("09:00–11:00", "09 10"),
        ([["09:00:00.000001", "10:00:01"]], "10"),
    ],
)
def test_6_4_times_are_half_open_and_may_pass_midnight(
    times: Any, hours: str, instants: Instants
) -> None:
    rule = {"cron": "0 * * * *", "only_on": [{"times": times}]}
    listed = instants(rule, "2024-01-01T00:00", "2024-01-02T00:00")
    assert " ".join(one[11:13] for one in listed) == hours
    stored = rule_from_json(rule)
    assert rule_from_json(stored.to_json()) == stored


@pytest.mark.parametrize(
    "calendar",
    [
        None,
        5,
        "mon",
        {},
        {"tz": "UTC"},
        {"days": ["2024-01-01"]},
        {"dates": []},
        {"dates": "2024-01-01"},
        {"dates": ["2024-02-30"]},
        {"dates": ["01-01"]},
        {"dates": [20240101]},
        {"dates": ["2024-01-01T00:00"]},
        {"annual": ["02-30"]},
        {"annual": ["13-01"]},
        {"annual": ["2-1"]},
        {"annual": [229]},
        {"weekdays": ["monday"]},
        {"weekdays": [8]},
        {"weekdays": [True]},
        {"weekdays": [1.0]},
        {"weekdays": "fri-mon"},
        {"weekdays": []},
        {"ranges": [["2024-01-02", "2024-01-01"]]},
        {"ranges": [["2024-01-02"]]},
        {"ranges": [["2024-01-02", "2024-01-03", "2024-01-04"]]},
        {"times": [["09:00", "09:00"]]},
        {"times": [["24:00", "02:00"]]},
        {"times": [["9:00", "17:00"]]},
        {"times": [["09:00", "25:00"]]},
        {"times": [["09:00", "24:01"]]},
        {"times": [["09:60", "17:00"]]},
        {"times": [[9, 17]]},
        {"times": ["09:00"]},
        {"weekdays": ["mon"], "tz": "Mars"},
        {"dates": ["2024-01-01"] * 10_001},
        {"dates": ["x" * 10_000_000]},
        {"x" * 10_000_000: 1},
        {"weekdays": ["mon"], 5: 1},
        {"times": {"from": "09:00"}},
        {"times": [{"a": 1, "b": 2}]},
    ],
)
@pytest.mark.parametrize("key", ["only_on", "except"])
def test_6_4_what_is_no_calendar_is_refused(key: str, calendar: Any) -> None:
    with pytest.raises(InvalidRule) as caught:
        rule_from_json({"cron": "0 0 * * *", key: [calendar]})
    assert caught.value.field.startswith(key)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("key", ["only_on", "except"])
@pytest.mark.parametrize("value", [5, "x", {"weekdays": ["mon"]}, [{"weekdays": ["mon"]}] * 1001])
def test_6_3_calendars_come_in_a_list(key: str, value: Any) -> None:
    with pytest.raises(InvalidRule, match=f"^{key}: "):
        rule_from_json({"cron": "0 0 * * *", key: value})


def test_6_5_membership_is_on_the_wall_clock_of_the_zone(instants: Instants) -> None:
    nightly = {"cron": "0 22 * * *", "except": [{"annual": ["12-25"]}]}
    assert instants(nightly, "2024-12-24T00:00", "2024-12-27T00:00", NY) == [
        "2024-12-25T03:00Z",
        "2024-12-27T03:00Z",
    ]
    in_utc = {"cron": "0 22 * * *", "except": [{"annual": ["12-25"], "tz": "UTC"}]}
    assert instants(in_utc, "2024-12-24T00:00", "2024-12-27T00:00", NY) == [
        "2024-12-26T03:00Z",
        "2024-12-27T03:00Z",
    ]


def test_6_6_exclusion_never_moves_or_shifts(instants: Instants) -> None:
    rule = {
        "every": 3,
        "unit": "days",
        "start_date": "2024-01-01T00:00",
        "except": [{"dates": ["2024-01-04"]}],
    }
    assert days(instants(rule, first=4)) == "01-01 01-07 01-10 01-13"


def test_3_3_the_limit_counts_what_exclusions_left(instants: Instants) -> None:
    rule = {
        "every": 1,
        "unit": "days",
        "start_date": "2024-01-01T00:00",
        "limit": 3,
        "except": [{"weekdays": ["tue", "wed"]}],
    }
    assert days(instants(rule)) == "01-01 01-04 01-05"
    assert days(instants(rule, "2024-01-05T00:00")) == "01-05"


def test_6_4_dates_of_a_holidays_object_are_a_calendar(instants: Instants) -> None:
    holidays = {date(2024, 1, 1): "New Year", date(2024, 1, 15): "Martin Luther King"}
    for given_dates in (holidays, set(holidays), list(holidays), {"dates": holidays}):
        rule = cron(MONDAYS).except_(given_dates)
        assert days(instants(rule, first=2)) == "01-08 01-22"
        assert rule.to_json()["except"] == [{"dates": ["2024-01-01", "2024-01-15"]}]
    with pytest.raises(InvalidRule, match="dates: the list is empty"):
        cron(MONDAYS).except_(set())


def test_methods_add_to_what_is_there_and_leave_the_rule_alone() -> None:
    plain = cron(MONDAYS)
    kept = (
        plain.only_on({"annual": ["01-01"]})
        .only_on({"annual": ["01-08"]})
        .except_(cron("0 0 1 * *"))
    )
    assert plain == cron(MONDAYS)
    assert kept.to_json() == {
        "cron": MONDAYS,
        "only_on": [{"annual": ["01-01"]}, {"annual": ["01-08"]}],
        "except": [{"cron": "0 0 1 * *"}],
    }
    assert rule_from_json(kept.to_json()) == kept


def test_9_6_ten_years_of_seconds_with_a_calendar_are_counted_by_days() -> None:
    rule = cron("* * * * * *", timezone=NY).only_on({"weekdays": "mon-fri", "times": "09:00-17:00"})
    start, end = datetime(2024, 1, 1, tzinfo=UTC), datetime(2034, 1, 1, tzinfo=UTC)
    with calls() as made:
        total = rule.count(start, end)
        newest = rule.latest(3, start, end)
    assert made[0] < 2_000_000  # 171 a day
    assert total == 28_800 * 2_610
    assert [one.isoformat() for one in newest] == [
        "2033-12-30T21:59:57+00:00",
        "2033-12-30T21:59:58+00:00",
        "2033-12-30T21:59:59+00:00",
    ]


def members() -> st.SearchStrategy[Rule]:
    start = "2024-01-01T00:00"
    return st.sampled_from(
        [
            cron("0 */3 * * *"),
            cron("30 2 * * *"),
            cron("0 0 1,15 * fri"),
            every(hours=5, start_date=start),
            every(days=2, start_date=start),
            every(months=1, start_date="2024-01-31T03:00"),
            rrule("FREQ=HOURLY;INTERVAL=7", dtstart=start),
            rrule("FREQ=WEEKLY;BYDAY=MO,SU", dtstart=start),
            at("2024-03-10T02:30", "2024-11-03T01:30"),
            rrule(
                "FREQ=DAILY", dtstart=start, exdate=["2024-01-05T00:00"], rdate=["2024-01-05T03:00"]
            ),
        ]
    )


calendars = st.sampled_from(
    [
        {"weekdays": "mon-wed"},
        {"times": "00:00-12:00"},
        {"annual": ["03-10", "01-03"]},
        {"ranges": [["2024-02-01", "2024-04-01"]]},
        {"weekdays": ["sun"], "times": "22:00-04:00"},
    ]
)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(members(), min_size=1, max_size=3),
    st.lists(members() | calendars, max_size=2),
    st.booleans(),
)
def test_every_question_about_a_set_gets_the_answer_that_walking_gives(
    given_members: list[Rule], exceptions: list[Any], every_one: bool
) -> None:
    start, end = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 4, 1, tzinfo=UTC)
    try:
        combined = (all_of if every_one else any_of)(*given_members, timezone=NY).except_(
            *exceptions
        )
    except InvalidRule as refused:
        if refused.reason != "never occurs":
            raise
        return
    found = list(combined.between(start, end))
    sets = [set(m.bound(timezone=NY, anchor=start).between(start, end)) for m in given_members]
    expected = set.intersection(*sets) if every_one else set.union(*sets)
    for exception in exceptions:
        if isinstance(exception, Rule):
            expected -= set(exception.bound(timezone=NY, anchor=start).between(start, end))
        else:
            inside = cron("* * * * * *", timezone=NY).only_on(exception).series()
            epoch = datetime(1970, 1, 1, tzinfo=UTC)
            micros = timedelta(microseconds=1)
            expected = {
                one
                for one in expected
                if not inside.count((one - epoch) // micros, (one - epoch) // micros + 1)
            }
    assert found == sorted(expected)
    assert combined.count(start, end) == len(found)
    assert combined.latest(5, start, end) == found[-5:]
    for one in found[:5]:
        assert combined.next_after(one - timedelta(microseconds=1)) == one
        assert combined.last_before_or_at(one) == one
    assert rule_from_json(combined.to_json()) == combined
    if found:
        limited = any_of(combined, start_date="2024-01-01T00:00Z", limit=3, timezone=NY)
        assert list(limited.between(start, end)) == found[:3]


@pytest.mark.parametrize(
    "members",
    [
        [
            {"every": 4, "unit": "seconds"},
            {"every": 6, "unit": "seconds"},
            {"cron": "*/5 * * * * *"},
        ],
        [
            {"every": 7, "unit": "seconds", "end_date": "2024-01-01T00:31:00Z"},
            {"every": 5, "unit": "seconds", "start_date": "2024-01-01T00:10:01Z"},
            {"every": 2, "unit": "minutes", "start_date": "2024-01-01T00:00:30Z"},
        ],
        [{"cron": "*/10 * * * *"}, {"cron": "*/15 * * * *"}, {"cron": "0 9 * * mon"}],
    ],
    ids=str,
)
def test_a_union_is_counted_as_it_is_walked(members: list[dict[str, Any]]) -> None:
    start, end = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, 2, 3, 4, 5, tzinfo=UTC)
    begun = [
        {"start_date": "2024-01-01T00:00Z"} | member if "every" in member else member
        for member in members
    ]
    rule = rule_from_json({"any": begun})
    assert rule.count(start, end) == len(list(rule.between(start, end)))
    later = start + timedelta(minutes=17)
    assert rule.count(later, end) == len(list(rule.between(later, end)))


def test_9_6_a_union_of_dense_rules_is_counted_by_arithmetic() -> None:
    """Ten years: every second is in it, however many others are there too."""
    since = "2024-01-01T00:00Z"
    rule = rule_from_json(
        {
            "any": [
                {"every": 1, "unit": "seconds", "start_date": since},
                {"every": 7, "unit": "seconds", "start_date": since},
                {"cron": "*/5 * * * * *"},
            ]
        }
    )
    start, end = datetime(2024, 1, 1, tzinfo=UTC), datetime(2034, 1, 1, tzinfo=UTC)
    assert rule.count(start, end) == (end - start) // timedelta(seconds=1)
