"""Clause 4: cron, its grammar, its dates and its clock changes."""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim, CronSimError
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st

from scheduler.errors import InvalidRule
from scheduler.rules import cron, rule_from_json
from tests.steps import calls, steps_at

if TYPE_CHECKING:
    from .conftest import Instants

NY = "America/New_York"
FOUND = (Phase.explicit, Phase.reuse, Phase.generate)
SPRING = ("2024-03-10T00:00", "2024-03-11T00:00", NY)
AUTUMN = ("2024-11-03T00:00", "2024-11-04T00:00", NY)


def rule(text: str, **more: Any) -> dict[str, Any]:
    return {"cron": text, **more}


def dates(listed: list[str]) -> str:
    return " ".join(at[5:10] for at in listed)


def test_4_1_six_fields_have_the_second_first(instants: Instants) -> None:
    assert instants(rule("*/15 * * * * *"), first=3) == [
        "2024-01-01T00:00Z",
        "2024-01-01T00:00:15Z",
        "2024-01-01T00:00:30Z",
    ]
    assert instants(rule("\t30 9  *\t* *  "), first=1) == ["2024-01-01T09:30Z"]


@pytest.mark.parametrize("text", ["", " ", "*", "* * * *", "* * * * * * *", "0 0 * * * * 2024"])
def test_4_1_other_numbers_of_fields_are_refused(text: str) -> None:
    with pytest.raises(InvalidRule, match="fields"):
        rule_from_json(rule(text))


@pytest.mark.parametrize(
    "text", ["0 9 * * *\n", "0 9\n* * *", "0 9 * * *\r", "0\x0b9 * * *", "0 9 * *\xa0*"]
)
def test_4_1_only_blanks_and_tabs_separate(text: str) -> None:
    with pytest.raises(InvalidRule):
        rule_from_json(rule(text))


def test_4_2_seven_is_sunday_too(instants: Instants) -> None:
    assert dates(instants(rule("0 9 * * 5-7"), first=4)) == "01-05 01-06 01-07 01-12"
    assert instants(rule("0 9 * * 0"), first=9) == instants(rule("0 9 * * 7"), first=9)
    assert instants(rule("0 9 * * sUn,MON-wed"), first=9) == instants(rule("0 9 * * 0-3"), first=9)
    assert instants(rule("0 0 1 JAN-mar *"), first=4)[3] == "2025-01-01T00:00Z"


@pytest.mark.parametrize(
    ("text", "field", "part"),
    [
        ("60 * * * *", "minute", "60"),
        ("60 * * * * *", "second", "60"),
        ("* 24 * * *", "hour", "24"),
        ("* * 0 * *", "day of month", "0"),
        ("* * 32 * *", "day of month", "32"),
        ("* * * 13 *", "month", "13"),
        ("* * * 0 *", "month", "0"),
        ("* * * * 8", "day of week", "8"),
    ],
)
def test_4_2_a_value_out_of_range_is_named(text: str, field: str, part: str) -> None:
    with pytest.raises(InvalidRule, match=rf"^cron: {field}: {part} is not in ") as caught:
        rule_from_json(rule(text))
    assert caught.value.value == part


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("5/10 * * * *", "5 15 25 35 45 55"),
        ("5-5 * * * *", "5"),
        ("10-20/5 * * * *", "10 15 20"),
        ("*/25 * * * *", "0 25 50"),
        ("1,3-5,*/30 * * * *", "0 1 3 4 5 30"),
        ("07 * * * *", "7"),
        ("59/59 * * * *", "59"),
    ],
)
def test_4_3_steps_count_from_the_first_value(text: str, minutes: str, instants: Instants) -> None:
    listed = instants(rule(text), "2024-01-01T00:00", "2024-01-01T01:00")
    assert " ".join(str(int(at[14:16])) for at in listed) == minutes


@pytest.mark.parametrize(
    ("text", "mend"),
    [
        ("* * * * fri-mon", "fri-sat,sun-mon"),
        ("* * * * FRI-MON", "FRI-SAT,SUN-MON"),
        ("* * * * sat-sun", "write sat,sun$"),
        ("* * * * 5-1", "5-7,1$"),
        ("* * * * 6-0", "6-7$"),
        ("* 22-2 * * *", "22-23,0-2"),
        ("* * * nov-feb *", "nov-dec,jan-feb"),
        ("*/90 * * * *", "every: 90 minutes"),
        ("*/60 * * * *", "every: 60 minutes"),
        ("* */24 * * *", "every: 24 hours"),
        ("*/0 * * * *", "step of 1 or more"),
        ("0 0 * * monday", "three letters"),
        ("0 0 * january *", "three letters"),
        ("H * * * *", "jitter"),
        ("0~30 * * * *", "jitter"),
    ],
)
def test_4_4_what_is_refused_says_how_to_mend_it(text: str, mend: str) -> None:
    with pytest.raises(InvalidRule, match=mend):
        rule_from_json(rule(text))


@pytest.mark.parametrize(
    "text",
    [
        "1,,2 * * * *",
        ",1 * * * *",
        "1, * * * *",
        "+5 * * * *",
        "-5 * * * *",
        "1.5 * * * *",
        "1- * * * *",
        "/5 * * * *",
        "*/ * * * *",
        "*/-1 * * * *",
        "1-2-3 * * * *",
        "1/2/3 * * * *",
        "** * * * *",
        "*5 * * * *",
        "x * * * *",
        "0x5 * * * *",
        "1e1 * * * *",
        "٥ * * * *",
        "² * * * *",
        "* * * * mo",
        "* * mon * *",
        "0 0 * * 1-L",
        "0 0 1-L * *",
        "0 0 1-15W * *",
        "0 0 L/2 * *",
        "0 0 W * *",
        "0 0 WL * *",
        "0 0 L-3W * *",
        "0 0 0W * *",
        "0 0 32W * *",
        "0 0 L-31 * *",
        "0 0 L-x * *",
        "0 0 L+1 * *",
        "0 0 * * L",
        "0 0 * * l",
        "0 0 * * L5",
        "0 0 * * 8L",
        "0 0 * * 1#0",
        "0 0 * * 1#6",
        "0 0 * * #1",
        "0 0 * * 1#",
        "0 0 * * 1-5#1",
        "0 0 * * 1#1/2",
        "0 0 * * 5L/2",
        "? * * * *",
        "* ? * * *",
        "* * * ? *",
        "? 0 0 * * *",
        "99999999999999999999 * * * *",
        "*/99999999999999999999 * * * *",
        "'; DROP TABLE jobs; --",
        "\x00 * * * *",
        "\x1b[31m * * * *",
        "{{7*7}} * * * *",
        "$(id) * * * *",
    ],
)
def test_4_4_what_is_not_in_the_grammar_is_refused(text: str) -> None:
    with pytest.raises(InvalidRule) as caught:
        rule_from_json(rule(text))
    assert caught.value.field.startswith("cron")
    assert str(caught.value).isprintable()


def test_4_5_a_question_mark_is_a_star_in_the_day_fields(instants: Instants) -> None:
    assert dates(instants(rule("0 0 ? * 1"), first=3)) == "01-01 01-08 01-15"
    assert instants(rule("0 0 13 * ?"), first=5) == instants(rule("0 0 13 * *"), first=5)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0 0 L * *", "01-31 02-29 03-31 04-30"),
        ("0 0 L-0 2 *", "02-29 02-28"),
        ("0 0 L-3 * *", "01-28 02-26 03-28"),
        ("0 0 L-30 * *", "01-01 03-01 05-01 07-01"),
        ("0 0 LW * *", "01-31 02-29 03-29 04-30 05-31 06-28"),
        ("0 0 lw 3 *", "03-29 03-31"),
        ("0 0 1W 6 *", "06-03 06-02 06-01"),
        ("0 0 15W * *", "01-15 02-15 03-15 04-15 05-15 06-14"),
        ("0 0 31W * *", "01-31 03-29 05-31"),
        ("0 0 30W 6 *", "06-28 06-30"),
        ("0 0 1,15,L 2 *", "02-01 02-15 02-29 02-01"),
    ],
)
def test_4_6_days_that_depend_on_the_month(text: str, expected: str, instants: Instants) -> None:
    assert dates(instants(rule(text), first=expected.count(" ") + 1)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0 0 * * MON#1,FRIL", "01-01 01-26 02-05 02-23"),
        ("0 0 * * 5L", "01-26 02-23"),
        ("0 0 * * 0L", "01-28 02-25"),
        ("0 0 * * 7l", "01-28 02-25"),
        ("0 0 * * 1#5", "01-29 04-29"),
        ("0 0 * * sun#2", "01-14 02-11"),
        ("0 0 * * 2,FRI#1", "01-02 01-05 01-09"),
    ],
)
def test_4_7_weekdays_that_depend_on_the_month(
    text: str, expected: str, instants: Instants
) -> None:
    assert dates(instants(rule(text), first=expected.count(" ") + 1)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0 0 13 * 5", "01-05 01-12 01-13 01-19"),
        ("0 0 1-7 * */7", "01-07 02-04 03-03"),
        ("0 0 */2 * 1", "01-01 01-15 01-29 02-05"),
        ("0 0 13 * ?", "01-13 02-13"),
        ("0 0 *,13 * 5", "01-05 01-12 01-19"),
        ("0 0 1-31 * 5", "01-01 01-02 01-03"),
        ("0 0 L * MON", "01-01 01-08 01-15 01-22 01-29 01-31"),
    ],
)
def test_4_8_either_day_unless_one_starts_with_a_star(
    text: str, expected: str, instants: Instants
) -> None:
    assert dates(instants(rule(text), first=expected.count(" ") + 1)) == expected


@pytest.mark.parametrize(
    ("alias", "same"),
    [
        ("@yearly", "0 0 1 1 *"),
        ("@Annually", "0 0 1 1 *"),
        ("@monthly", "0 0 1 * *"),
        ("@weekly", "0 0 * * 0"),
        ("@DAILY", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        (" @hourly ", "0 * * * *"),
    ],
)
def test_4_9_aliases(alias: str, same: str, instants: Instants) -> None:
    assert instants(rule(alias), first=9) == instants(rule(same), first=9)


@pytest.mark.parametrize(
    ("text", "mend"),
    [
        ("@reboot", "enqueue a job at start"),
        ("@every 90m", '"every": 90'),
        ("@fortnightly", "known are"),
        ("CRON_TZ=UTC 0 9 * * *", "timezone"),
        ("TZ=UTC 0 9 * * *", "timezone"),
        ("@daily 5", "known are"),
    ],
)
def test_4_9_what_is_no_alias_is_refused_with_a_hint(text: str, mend: str) -> None:
    with pytest.raises(InvalidRule, match=mend):
        rule_from_json(rule(text))


@pytest.mark.parametrize(
    "text", ["* 2 * * *", "0 * * * *", "*/59 2 * * *", "0 */2 * * *", "0 0 * * * *"]
)
def test_4_10_a_star_in_minute_or_hour_makes_a_wildcard(text: str, instants: Instants) -> None:
    """A wildcard gets nothing made up at 03:00 unless the clock shows a match there."""
    at_three = "2024-03-10T07:00Z" in instants(rule(text), *SPRING)
    assert at_three == (text.split()[-4] == "*")


@pytest.mark.parametrize("text", ["0-59 2 * * *", "59 0 2 * * *", "* 0 2 * * *"])
def test_4_10_without_one_it_is_fixed_time(text: str, instants: Instants) -> None:
    assert instants(rule(text), *SPRING) == ["2024-03-10T07:00Z"]


def test_4_11_a_wildcard_matches_the_clock_literally(clock: str, instants: Instants) -> None:
    half_hours = instants(rule("*/30 * * * *"), "2024-11-03T05:00Z", "2024-11-03T07:30Z", NY)
    assert half_hours == [
        "2024-11-03T05:00Z",
        "2024-11-03T05:30Z",
        "2024-11-03T06:00Z",
        "2024-11-03T06:30Z",
        "2024-11-03T07:00Z",
    ]
    assert instants(rule("*/15 2 * * *"), *SPRING) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30 2 * * *", ["2024-03-10T07:00Z"]),
        ("0,30 2 * * *", ["2024-03-10T07:00Z"]),
        ("0 2,3 * * *", ["2024-03-10T07:00Z"]),
        ("30 2,3 * * *", ["2024-03-10T07:00Z", "2024-03-10T07:30Z"]),
        ("59 1 * * *", ["2024-03-10T06:59Z"]),
        ("15 45 2 * * *", ["2024-03-10T07:00Z"]),
    ],
)
def test_4_12_a_fixed_time_lost_in_a_gap_runs_once_after_it(
    text: str, expected: list[str], clock: str, instants: Instants
) -> None:
    assert instants(rule(text), *SPRING) == expected


def test_4_12_a_jump_of_more_than_three_hours_makes_up_nothing(instants: Instants) -> None:
    listed = instants(rule("0 9 * * *"), "2011-12-29T00:00", "2012-01-01T00:00", "Pacific/Apia")
    assert listed == ["2011-12-29T19:00Z", "2011-12-30T19:00Z"]


def test_4_13_a_fixed_time_in_an_overlap_runs_in_the_first_pass(
    clock: str, instants: Instants
) -> None:
    assert instants(rule("30 1 * * *"), *AUTUMN) == ["2024-11-03T05:30Z"]
    assert instants(rule("0,30 1,2 * * *"), *AUTUMN) == [
        "2024-11-03T05:00Z",
        "2024-11-03T05:30Z",
        "2024-11-03T07:00Z",
        "2024-11-03T07:30Z",
    ]


def test_4_13_a_setback_of_more_than_three_hours_runs_again(instants: Instants) -> None:
    """Kwajalein crossed the date line: 30 September 1969 was shown twice, 23 hours apart."""
    listed = instants(
        rule("0 9 * * *"), "1969-09-29T00:00Z", "1969-10-02T00:00Z", "Pacific/Kwajalein"
    )
    assert listed == ["1969-09-29T22:00Z", "1969-09-30T21:00Z", "1969-10-01T21:00Z"]


def test_4_12_half_an_hour_and_three_quarters_of_an_hour(instants: Instants) -> None:
    lord_howe = instants(
        rule("15 2 * * *"), "2024-10-05T12:00Z", "2024-10-06T12:00Z", "Australia/Lord_Howe"
    )
    assert lord_howe == ["2024-10-05T15:30Z"]
    chatham = instants(
        rule("*/15 3 * * *"), "2024-04-06T12:00Z", "2024-04-07T00:00Z", "Pacific/Chatham"
    )
    # At 03:45 the clock goes back to 02:45: the first pass has no 03:45.
    assert chatham == [
        "2024-04-06T13:15Z",
        "2024-04-06T13:30Z",
        "2024-04-06T13:45Z",
        "2024-04-06T14:15Z",
        "2024-04-06T14:30Z",
        "2024-04-06T14:45Z",
        "2024-04-06T15:00Z",
    ]


def test_3_2_the_start_filters_and_does_not_shift(instants: Instants) -> None:
    listed = instants(rule("0 9 * * *", start_date="2024-01-03T09:00:01"), first=1)
    assert listed == ["2024-01-04T09:00Z"]


def test_3_3_a_limit_without_a_start_counts_from_where_the_rule_is_bound(
    instants: Instants,
) -> None:
    limited = rule("0 9 * * *", limit=2)
    assert instants(limited, "2024-01-03T09:00") == ["2024-01-03T09:00Z", "2024-01-04T09:00Z"]
    started = rule("0 9 * * *", limit=2, start_date="2024-01-02T00:00")
    assert instants(started, "2024-01-03T09:00") == ["2024-01-03T09:00Z"]
    with pytest.raises(InvalidRule, match="limit: 2 has no start to count from"):
        cron("0 9 * * *", limit=2).next_after(datetime(2024, 1, 1, tzinfo=UTC))


def test_0_5_far_in_the_future_costs_no_more() -> None:
    every_second = cron("* * * * * *", timezone=NY, start_date="1970-01-01T00:00", limit=10**12)
    leap = cron("0 0 29 2 MON#5", timezone=NY)
    for one in (every_second, leap):
        near, far = (steps_at(one, datetime(year, 6, 1, tzinfo=UTC)) for year in (1971, 2099))
        assert far < 3 * near


def test_9_6_ten_years_of_missed_seconds_are_counted_not_walked() -> None:
    one = cron("* * * * * *", timezone=NY)
    start, end = datetime(2024, 1, 1, tzinfo=UTC), datetime(2034, 1, 1, tzinfo=UTC)
    with calls() as made:
        assert one.count(start, end) == (end - start) // timedelta(seconds=1)
        assert one.latest(2, start, end) == [end - timedelta(seconds=2), end - timedelta(seconds=1)]
    assert made[0] < 400_000


numbers = st.integers(0, 59)


@st.composite
def expressions(draw: st.DrawFn) -> str:
    def field(low: int, high: int) -> str:
        kind = draw(st.integers(0, 4))
        first = draw(st.integers(low, high))
        last = draw(st.integers(first, high))
        step = draw(st.integers(1, high))
        return ("*", f"{first}", f"{first}-{last}", f"*/{step}", f"{first}-{last}/{step},{low}")[
            kind
        ]

    return " ".join((field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 6)))


def oracle(text: str, key: str, start: datetime, minutes: int) -> list[datetime]:
    """Every minute of the UTC line, asked whether the clock shows a match; the plain reading."""
    fields = [set(expand(part, *span)) for part, span in zip(text.split(), SPANS, strict=True)]
    place, found = ZoneInfo(key), []
    parts = text.split()
    either = parts[2][0] != "*" and parts[4][0] != "*"
    for n in range(minutes):
        at = start + timedelta(minutes=n)
        wall = place.fromutc(at.replace(tzinfo=place))
        by_day, by_weekday = wall.day in fields[2], wall.isoweekday() % 7 in fields[4]
        day = by_day or by_weekday if either else by_day and by_weekday
        if wall.minute in fields[0] and wall.hour in fields[1] and day and wall.month in fields[3]:
            found.append(at)
    return found


SPANS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))


def expand(part: str, low: int, high: int) -> list[int]:
    found: list[int] = []
    for item in part.split(","):
        span, _, step = item.partition("/")
        first, _, last = span.partition("-")
        lowest = low if span == "*" else int(first)
        highest = high if span == "*" else int(last or first)
        found.extend(range(lowest, highest + 1, int(step or 1)))
    return found


@settings(max_examples=60, deadline=None, phases=FOUND)
@given(
    expressions(),
    st.datetimes(datetime.fromisoformat("2000-01-01"), datetime.fromisoformat("2037-01-01")),
)
def test_utc_agrees_with_looking_at_every_minute(text: str, start: datetime) -> None:
    start = start.replace(second=0, microsecond=0, tzinfo=UTC)
    try:
        one = cron(text)
    except InvalidRule as refused:
        if "never happens" not in refused.reason:
            raise
        return
    minutes = 6_000
    assert list(one.between(start, start + timedelta(minutes=minutes))) == oracle(
        text, "UTC", start, minutes
    )


@settings(max_examples=60, deadline=None, phases=FOUND)
@given(
    expressions(),
    st.sampled_from(["Europe/Berlin", NY, "Australia/Lord_Howe", "America/Sao_Paulo"]),
    st.integers(0, 49),
)
def test_a_wildcard_agrees_with_looking_at_every_minute_of_a_clock_change(
    text: str, key: str, half: int
) -> None:
    fields = text.split()
    text = " ".join(["*/7", *fields[1:2], "*", "*", "*"])
    start = datetime(2000 + half // 2, 3 if half % 2 else 10, 24, tzinfo=UTC)
    minutes = 14 * 1440
    found = list(cron(text, timezone=key).between(start, start + timedelta(minutes=minutes)))
    assert found == oracle(text, key, start, minutes)


@settings(max_examples=150, deadline=None, phases=FOUND)
@given(
    expressions(),
    st.sampled_from(["UTC", "Europe/Berlin", NY, "America/Sao_Paulo"]),
    st.integers(0, 300),
)
def test_cronsim_agrees_where_it_follows_debian(text: str, key: str, months: int) -> None:
    stars = [part.startswith("*") for part in text.split()[:2]]
    assume(stars[0] == stars[1])  # cronsim makes up for `*/30 0` too
    assume(not re.search(r"\b(\d+)-\1\b", text))  # cronsim reads 5-5/2 as 5/2
    start = datetime(2000 + months // 12, months % 12 + 1, 20, tzinfo=UTC)
    place = ZoneInfo(key)
    try:
        sim = CronSim(text, start.astimezone(place))
        theirs = [at.astimezone(UTC) for at in islice(sim, 30)]
    except CronSimError:
        return
    if theirs:
        ours = list(
            islice(
                cron(text, timezone=key).between(
                    start + timedelta(seconds=1), datetime(2200, 1, 1, tzinfo=UTC)
                ),
                30,
            )
        )
        assert ours == theirs


def test_the_weekday_nearest_is_never_outside_the_month_or_on_a_weekend() -> None:
    for day in range(1, 32):
        one = cron(f"0 0 {day}W * *")
        found = {
            at.date()
            for at in one.between(
                datetime(2000, 1, 1, tzinfo=UTC), datetime(2028, 1, 1, tzinfo=UTC)
            )
        }
        expected = set()
        for year in range(2000, 2028):
            for month in range(1, 13):
                length = monthrange(year, month)[1]
                if day <= length:
                    workdays = [
                        date(year, month, d)
                        for d in range(1, length + 1)
                        if date(year, month, d).weekday() < 5
                    ]
                    expected.add(min(workdays, key=lambda d: abs(d.day - day)))
        assert found == expected
