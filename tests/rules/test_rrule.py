"""Clause 5: RRULE on the wall clock of a zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

import pytest
from dateutil.rrule import rrulestr
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st

from scheduler.errors import InvalidRule
from scheduler.rules import rrule, rule_from_json
from tests.steps import steps_at

if TYPE_CHECKING:
    from .conftest import Instants

NY = "America/New_York"
FOUND = (Phase.explicit, Phase.reuse, Phase.generate)
"""Without shrinking: a failure against an oracle is small enough to read."""
MONDAY = "2024-01-01T00:00"


def recurs(text: str, dtstart: str = MONDAY, **more: Any) -> dict[str, Any]:
    return {"rrule": text, "dtstart": dtstart, **more}


@pytest.mark.parametrize(
    "text",
    [
        "FREQ=DAILY", "RRULE:FREQ=DAILY", "rrule:freq=daily;interval=2", "COUNT=2;FREQ=DAILY",
        "FREQ=MONTHLY;BYDAY=+1MO,-1FR", "FREQ=YEARLY;BYWEEKNO=1,-1;BYDAY=MO;WKST=SU",
        "FREQ=YEARLY;BYYEARDAY=+1,-1", "FREQ=SECONDLY;BYYEARDAY=1", "FREQ=DAILY;BYSECOND=0,60",
    ],
)  # fmt: skip
def test_5_1_the_grammar_is_accepted(text: str) -> None:
    assert rule_from_json(recurs(text)).to_json()["rrule"] == text


@pytest.mark.parametrize(
    "text",
    [
        "", "DAILY", "FREQ", "FREQ=", "FREQ=FORTNIGHTLY", "FREQ=DAILY;", ";FREQ=DAILY",
        "FREQ=DAILY;;COUNT=1", "FREQ=DAILY;FREQ=DAILY", "FREQ=DAILY;COUNT=1;COUNT=1", "COUNT=1",
        "FREQ=DAILY;COUNT=0", "FREQ=DAILY;COUNT=-1", "FREQ=DAILY;COUNT=1.5", "FREQ=DAILY;COUNT= 1",
        "FREQ=DAILY;INTERVAL=0", "FREQ=DAILY;INTERVAL=-1", "FREQ=DAILY;INTERVAL=x",
        "FREQ=DAILY;COUNT=2;UNTIL=20240101T000000", "FREQ=DAILY;UNTIL=20240230T000000",
        "FREQ=DAILY;UNTIL=2024-01-01T00:00:00", "FREQ=DAILY;UNTIL=20240101T000060",
        "FREQ=DAILY;BYHOUR=24", "FREQ=DAILY;BYHOUR=-1", "FREQ=DAILY;BYMINUTE=60",
        "FREQ=DAILY;BYSECOND=61", "FREQ=DAILY;BYMONTH=0", "FREQ=DAILY;BYMONTH=13",
        "FREQ=MONTHLY;BYMONTHDAY=0", "FREQ=MONTHLY;BYMONTHDAY=32", "FREQ=MONTHLY;BYMONTHDAY=-32",
        "FREQ=YEARLY;BYYEARDAY=367", "FREQ=YEARLY;BYWEEKNO=54", "FREQ=YEARLY;BYWEEKNO=0",
        "FREQ=MONTHLY;BYDAY=0MO", "FREQ=MONTHLY;BYDAY=54MO", "FREQ=MONTHLY;BYDAY=XX",
        "FREQ=MONTHLY;BYDAY=MONDAY", "FREQ=MONTHLY;BYDAY=MO,", "FREQ=MONTHLY;BYDAY=1 MO",
        "FREQ=WEEKLY;BYDAY=1MO", "FREQ=DAILY;BYDAY=-1MO", "FREQ=YEARLY;BYWEEKNO=1;BYDAY=1MO",
        "FREQ=WEEKLY;BYMONTHDAY=1", "FREQ=DAILY;BYYEARDAY=1", "FREQ=WEEKLY;BYYEARDAY=1",
        "FREQ=MONTHLY;BYYEARDAY=1", "FREQ=MONTHLY;BYWEEKNO=1", "FREQ=HOURLY;BYWEEKNO=1",
        "FREQ=MONTHLY;BYSETPOS=1", "FREQ=MONTHLY;BYDAY=MO;BYSETPOS=0", "FREQ=WEEKLY;WKST=1",
        "FREQ=YEARLY;BYEASTER=0", "FREQ=YEARLY;RSCALE=HEBREW", "EXRULE:FREQ=DAILY",
        "FREQ=DAILY;SKIP=OMIT", "FREQ=DAILY;X-NAME=1", "FREQ=DAILY\nCOUNT=1", "FREQ = DAILY",
        "DTSTART:20240101T000000\nRRULE:FREQ=DAILY", "RRULE:RRULE:FREQ=DAILY",
        "FREQ=DAILY;BYHOUR=٥", "FREQ=DAILY;BYHOUR=" + "1," * 1000, "x" * 10_000_000, None, 5, [],
    ],
)  # fmt: skip
def test_5_1_everything_else_is_refused(text: object) -> None:
    with pytest.raises(InvalidRule) as caught:
        rule_from_json({"rrule": text, "dtstart": MONDAY})
    assert caught.value.field.startswith("rrule")


@pytest.mark.parametrize("dtstart", [None, "", "2024-02-30T00:00", 20240101, "20240101T000000"])
def test_5_2_dtstart_is_required_and_a_date_time(dtstart: object) -> None:
    with pytest.raises(InvalidRule, match="dtstart"):
        rule_from_json({"rrule": "FREQ=DAILY", "dtstart": dtstart})
    with pytest.raises(InvalidRule, match="dtstart"):
        rule_from_json({"rrule": "FREQ=DAILY"})


def test_5_2_dtstart_occurs_only_if_the_rule_produces_it(instants: Instants) -> None:
    assert instants(recurs("FREQ=WEEKLY;BYDAY=TU;COUNT=2")) == [
        "2024-01-02T00:00Z",
        "2024-01-09T00:00Z",
    ]


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("FREQ=YEARLY", "2025-05-15T09:10:11Z"),
        ("FREQ=YEARLY;BYMONTH=7", "2024-07-15T09:10:11Z"),
        ("FREQ=YEARLY;BYWEEKNO=30", "2024-07-24T09:10:11Z"),
        ("FREQ=YEARLY;BYMONTHDAY=3", "2024-06-03T09:10:11Z"),
        ("FREQ=MONTHLY", "2024-06-15T09:10:11Z"),
        ("FREQ=WEEKLY", "2024-05-22T09:10:11Z"),
        ("FREQ=DAILY;BYHOUR=8", "2024-05-16T08:10:11Z"),
        ("FREQ=HOURLY;BYMINUTE=5", "2024-05-15T10:05:11Z"),
        ("FREQ=MINUTELY;BYSECOND=5", "2024-05-15T09:11:05Z"),
    ],
)
def test_5_2_what_no_part_gives_comes_from_dtstart(
    text: str, first: str, instants: Instants
) -> None:
    wednesday = "2024-05-15T09:10:11"
    assert instants(recurs(text, wednesday), "2024-05-15T09:10:12", first=1) == [first]


def test_5_3_dates_that_do_not_exist_are_skipped(instants: Instants) -> None:
    listed = instants(recurs("FREQ=MONTHLY;COUNT=3", "2024-01-31T00:00"))
    assert listed == ["2024-01-31T00:00Z", "2024-03-31T00:00Z", "2024-05-31T00:00Z"]
    leap = instants(recurs("FREQ=YEARLY;COUNT=2", "2024-02-29T00:00"))
    assert leap == ["2024-02-29T00:00Z", "2028-02-29T00:00Z"]


def test_5_4_daily_and_longer_resolve_their_readings(clock: str, instants: Instants) -> None:
    daily = recurs("FREQ=DAILY;COUNT=3", "2024-03-09T02:30")
    assert instants(daily, timezone=NY) == [
        "2024-03-09T07:30Z", "2024-03-10T07:30Z", "2024-03-11T06:30Z",
    ]  # fmt: skip
    skipping = instants({**daily, "gap": "skip"}, timezone=NY)
    assert skipping == ["2024-03-09T07:30Z", "2024-03-11T06:30Z", "2024-03-12T06:30Z"]


@pytest.mark.parametrize(
    ("fold", "expected"),
    [
        ("first", ["2024-11-02T05:30Z", "2024-11-03T05:30Z", "2024-11-04T06:30Z"]),
        ("last", ["2024-11-02T05:30Z", "2024-11-03T06:30Z", "2024-11-04T06:30Z"]),
        ("both", ["2024-11-02T05:30Z", "2024-11-03T05:30Z", "2024-11-03T06:30Z"]),
    ],
)
def test_5_4_fold_chooses_the_pass(
    fold: str, expected: list[str], clock: str, instants: Instants
) -> None:
    rule = recurs("FREQ=DAILY;COUNT=3", "2024-11-02T01:30", fold=fold)
    assert instants(rule, timezone=NY) == expected


def test_5_4_a_gap_carries_no_earlier_reading_past_dtstart(instants: Instants) -> None:
    rule = recurs("FREQ=DAILY;BYHOUR=2,3;BYMINUTE=30;COUNT=2", "2024-03-10T03:00")
    assert instants(rule, timezone=NY) == ["2024-03-10T07:30Z", "2024-03-11T06:30Z"]
    only_three = recurs("FREQ=DAILY;BYHOUR=2,3;BYMINUTE=15,45;COUNT=3", "2024-03-10T03:30")
    assert instants(only_three, timezone=NY) == [
        "2024-03-10T07:45Z", "2024-03-11T06:15Z", "2024-03-11T06:45Z",
    ]  # fmt: skip


def test_5_5_hourly_and_shorter_follow_the_clock_literally(clock: str, instants: Instants) -> None:
    hourly = instants(recurs("FREQ=HOURLY", "2024-11-03T00:00"), timezone=NY, first=4)
    assert hourly == [
        "2024-11-03T04:00Z",
        "2024-11-03T05:00Z",
        "2024-11-03T06:00Z",
        "2024-11-03T07:00Z",
    ]
    quarter = recurs("FREQ=MINUTELY;INTERVAL=15", "2024-11-03T01:30")
    assert instants(quarter, timezone=NY, first=4) == [
        "2024-11-03T05:30Z", "2024-11-03T05:45Z", "2024-11-03T06:00Z", "2024-11-03T06:15Z",
    ]  # fmt: skip
    gap = recurs("FREQ=MINUTELY;INTERVAL=30;BYHOUR=1,2,3", "2024-03-10T01:00")
    assert instants(gap, timezone=NY, first=4) == [
        "2024-03-10T06:00Z", "2024-03-10T06:30Z", "2024-03-10T07:00Z", "2024-03-10T07:30Z",
    ]  # fmt: skip


def test_5_6_count_counts_before_exdate_and_rdate(instants: Instants) -> None:
    rule = recurs("FREQ=DAILY;COUNT=3", exdate=["2024-01-02T00:00"])
    assert instants(rule) == ["2024-01-01T00:00Z", "2024-01-03T00:00Z"]
    added = recurs("FREQ=DAILY;COUNT=3", rdate=["2024-01-01T12:00"])
    assert len(instants(added)) == 4


@pytest.mark.parametrize(
    ("until", "count"),
    [
        ("20240103T000000", 3),
        ("20240102T235959", 2),
        ("20240103T050000Z", 3),
        ("20240103T045959Z", 2),
    ],
)
def test_5_7_until_is_an_inclusive_instant(until: str, count: int, instants: Instants) -> None:
    assert len(instants(recurs(f"FREQ=DAILY;UNTIL={until}"), timezone=NY)) == count


def test_5_7_a_date_only_until_is_refused() -> None:
    with pytest.raises(InvalidRule, match="rrule: UNTIL: 20240103 is a date without a time"):
        rule_from_json(recurs("FREQ=DAILY;UNTIL=20240103"))


def test_5_8_exdate_beats_rdate_and_duplicates_are_one(instants: Instants) -> None:
    rule = recurs(
        "FREQ=DAILY;UNTIL=20240102T000000",
        rdate=["2024-01-02T00:00", "2024-01-05T00:00", "2024-01-05T00:00Z", "2024-01-06T00:00"],
        exdate=["2024-01-06T01:00+01:00", "2024-01-01T00:00"],
    )
    assert instants(rule) == ["2024-01-02T00:00Z", "2024-01-05T00:00Z"]


def test_5_9_bysetpos_chooses_from_the_whole_interval(instants: Instants) -> None:
    last = recurs("FREQ=DAILY;BYHOUR=8,12,18;BYSETPOS=-1")
    assert instants(last, first=2) == ["2024-01-01T18:00Z", "2024-01-02T18:00Z"]
    # The week of a Wednesday dtstart is a whole week: its first weekday is Monday.
    week = recurs("FREQ=WEEKLY;BYDAY=MO,WE,FR;BYSETPOS=1", "2024-01-03T00:00")
    assert instants(week, first=1) == ["2024-01-08T00:00Z"]
    month = recurs("FREQ=MONTHLY;BYDAY=MO,TU;BYHOUR=9,17;BYSETPOS=2,-1")
    assert instants(month, first=2) == ["2024-01-01T17:00Z", "2024-01-30T17:00Z"]
    hour = recurs("FREQ=HOURLY;BYMINUTE=10,20,30;BYSETPOS=2")
    assert instants(hour, first=2) == ["2024-01-01T00:20Z", "2024-01-01T01:20Z"]


def test_5_9_weeks_start_at_wkst(instants: Instants) -> None:
    tuesdays = recurs("FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,SU;WKST=MO", "1997-08-05T09:00")
    assert instants(tuesdays, "1997-08-01T00:00", first=2) == [
        "1997-08-05T09:00Z",
        "1997-08-10T09:00Z",
    ]


def test_1_9_rrule_is_whole_seconds(instants: Instants) -> None:
    assert instants(recurs("FREQ=DAILY", "2024-01-01T09:00:00.75"), first=1) == [
        "2024-01-01T09:00Z"
    ]


def test_2_5_a_dtstart_with_an_offset_is_that_instant(instants: Instants) -> None:
    rule = recurs("FREQ=DAILY", "2024-11-03T01:30-05:00")
    assert instants(rule, timezone=NY, first=2) == ["2024-11-03T06:30Z", "2024-11-04T06:30Z"]


@pytest.mark.parametrize(
    "text",
    [
        "FREQ=SECONDLY", "FREQ=MINUTELY;INTERVAL=7", "FREQ=HOURLY;INTERVAL=5;BYDAY=MO",
        "FREQ=SECONDLY;INTERVAL=100003", "FREQ=DAILY;INTERVAL=3", "FREQ=WEEKLY;INTERVAL=5",
        "FREQ=MONTHLY;BYDAY=-1FR", "FREQ=YEARLY;BYWEEKNO=53;BYDAY=SU",
        "FREQ=MONTHLY;BYDAY=MO,TU,WE;BYSETPOS=-1", "FREQ=DAILY;COUNT=100000",
    ],
)  # fmt: skip
def test_0_5_far_from_dtstart_costs_no_more(text: str) -> None:
    rule = rrule(text, dtstart="1970-01-01T00:00", timezone=NY)
    near, far = (steps_at(rule, datetime(year, 6, 1, tzinfo=UTC)) for year in (1971, 2099))
    assert far < 12 * near  # most for a COUNT that is nearly spent: 4.3


@st.composite
def recurrences(draw: st.DrawFn) -> str:
    freq = draw(
        st.sampled_from(("YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY", "MINUTELY", "SECONDLY"))
    )
    parts = [f"FREQ={freq}", f"INTERVAL={draw(st.integers(1, 40))}"]

    def some(name: str, *values: int | str) -> None:
        if draw(st.integers(0, 3)) == 0:
            chosen = draw(st.lists(st.sampled_from(values), min_size=1, max_size=4, unique=True))
            parts.append(f"{name}={','.join(map(str, chosen))}")

    some("BYMONTH", *range(1, 13))
    if freq == "YEARLY":
        # Without -53: dateutil does not know next year's week 1 by that name.
        some("BYWEEKNO", 1, 2, 20, 52, 53, -1, -2)
    if freq in ("YEARLY", "HOURLY"):
        some("BYYEARDAY", 1, 60, 100, 366, -1, -366)
    if freq != "WEEKLY":
        some("BYMONTHDAY", 1, 13, 15, 29, 31, -1, -31)
    weekdays = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"]
    numbered = freq == "MONTHLY" or (freq == "YEARLY" and "BYWEEKNO" not in "".join(parts))
    if numbered and draw(st.booleans()):
        # Not mixed with plain ones: dateutil wants both to match, RFC 5545 either.
        some("BYDAY", "1MO", "-1FR", "5SU", "2WE", "-2TU")
    else:
        some("BYDAY", *weekdays)
    some("BYHOUR", 0, 2, 9, 23)
    some("BYMINUTE", 0, 7, 30, 59)
    some("BYSECOND", 0, 30, 59)
    if draw(st.booleans()):
        parts.append(f"WKST={draw(st.sampled_from(weekdays))}")
    return ";".join(parts)


@settings(max_examples=200, deadline=None, phases=FOUND)
@given(
    recurrences(),
    st.datetimes(datetime.fromisoformat("1990-01-01"), datetime.fromisoformat("2030-01-01")),
)
def test_dateutil_gives_the_same_on_a_clock_without_changes(text: str, start: datetime) -> None:
    # There dateutil takes every weekday, and RFC 5545 (and clause 5.2) that of dtstart.
    assume(
        "BYWEEKNO" not in text or any(part in text for part in ("BYDAY", "BYMONTHDAY", "BYYEARDAY"))
    )
    start = start.replace(microsecond=0)
    try:
        rule = rrule(text, dtstart=start)
    except InvalidRule as refused:
        if "never" not in refused.reason:
            raise
        return
    # dateutil steps through what the filters drop: a window that it can walk.
    days = {"HOURLY": 300, "MINUTELY": 12, "SECONDLY": 1}.get(text[5:].split(";")[0], 2_000)
    end = start + timedelta(days=days)
    ours = [
        at.replace(tzinfo=None)
        for at in islice(rule.between(start.replace(tzinfo=UTC), end.replace(tzinfo=UTC)), 40)
    ]
    theirs = []
    for at in rrulestr(f"{text};UNTIL={end - timedelta(seconds=1):%Y%m%dT%H%M%S}", dtstart=start):
        theirs.append(at)
        if len(theirs) == 40:
            break
    assert ours == theirs
