"""Clause 8.4 for RRULE: steps that never meet their BY parts are refused, all others are found."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.errors import InvalidRule
from scheduler.rules import Rule, occurrences, rule_from_json
from scheduler.rules.recur import WEEKDAYS
from tests.steps import calls

EVEN = "2024-01-01T00:00:00"
UNITS = {"DAILY": 86_400, "HOURLY": 3_600, "MINUTELY": 60, "SECONDLY": 1}
BIGGEST = {"DAILY": 800, "HOURLY": 600, "MINUTELY": 12_000, "SECONDLY": 800_000}


def recurs(text: str, dtstart: str = EVEN) -> dict[str, Any]:
    return {"rrule": text, "dtstart": dtstart, "timezone": "UTC"}


@pytest.mark.parametrize(
    "text",
    [
        "FREQ=SECONDLY;INTERVAL=50000;BYSECOND=1",
        "FREQ=SECONDLY;INTERVAL=86394;BYMINUTE=0,1,2,3,4;BYSECOND=1,3,5,7,9",
        "FREQ=SECONDLY;INTERVAL=86398;BYSECOND=1",
        "FREQ=SECONDLY;INTERVAL=14;BYSECOND=1",
        "FREQ=SECONDLY;INTERVAL=3600;BYMINUTE=1",
        "FREQ=MINUTELY;INTERVAL=1438;BYHOUR=9;BYMINUTE=1",
        "FREQ=MINUTELY;INTERVAL=45;BYHOUR=9;BYMINUTE=20",
        "FREQ=HOURLY;INTERVAL=26;BYHOUR=9",
        "FREQ=HOURLY;INTERVAL=1176;BYDAY=TU",
        "FREQ=SECONDLY;INTERVAL=604800;BYDAY=SA,SU",
        "FREQ=SECONDLY;INTERVAL=86415;BYHOUR=0;BYMINUTE=0;BYSECOND=0;BYDAY=TU",
        "FREQ=MINUTELY;INTERVAL=210378240;BYMONTHDAY=2",
        "FREQ=DAILY;INTERVAL=14;BYDAY=TU",
        "FREQ=DAILY;INTERVAL=7;BYDAY=TU;BYHOUR=1,2;BYSETPOS=1",
        "FREQ=DAILY;INTERVAL=146097;BYMONTHDAY=2",
        "FREQ=WEEKLY;INTERVAL=3;BYDAY=MO,TU;BYSETPOS=3",
        "FREQ=MONTHLY;BYDAY=MO;BYHOUR=1,2;BYSETPOS=-11",
        "FREQ=MONTHLY;INTERVAL=12;BYMONTHDAY=29,30,31;BYSETPOS=4",
        "FREQ=YEARLY;BYMONTH=2;BYDAY=MO;BYSETPOS=6",
        "FREQ=MONTHLY;INTERVAL=609558;BYMONTH=2",
    ],
)
def test_8_4_steps_that_never_meet_their_parts_are_refused_at_once(text: str) -> None:
    with calls() as made, pytest.raises(InvalidRule, match="never meets the BY parts"):
        rule_from_json(recurs(text))
    assert made[0] < 1_000_000


@pytest.mark.parametrize(
    ("text", "dtstart", "first"),
    [
        ("FREQ=SECONDLY;INTERVAL=50000;BYSECOND=0", EVEN, "2024-01-01T00:00:00Z"),
        ("FREQ=SECONDLY;INTERVAL=86398;BYSECOND=1", "2024-01-01T00:00:09Z", "2024-01-05T00:00:01Z"),
        (
            "FREQ=SECONDLY;INTERVAL=86399;BYHOUR=9;BYMINUTE=0;BYSECOND=1",
            EVEN,
            "2171-11-04T09:00:01Z",
        ),
        (
            "FREQ=SECONDLY;INTERVAL=86399;BYHOUR=9;BYMINUTE=0;BYSECOND=1;BYDAY=TH",
            EVEN,
            "2644-12-12T09:00:01Z",
        ),
        ("FREQ=SECONDLY;INTERVAL=604801;BYDAY=TU", EVEN, "3679-11-21T00:00:00Z"),
        (
            "FREQ=HOURLY;INTERVAL=25;BYHOUR=9;BYMONTH=2;BYMONTHDAY=29;BYDAY=TU",
            EVEN,
            "2316-02-29T09:00:00Z",
        ),
        ("FREQ=MINUTELY;INTERVAL=1439;BYMINUTE=1;BYHOUR=0", EVEN, "2027-12-09T00:01:00Z"),
        ("FREQ=DAILY;INTERVAL=27;BYMONTH=2;BYMONTHDAY=29", EVEN, "2236-02-29T00:00:00Z"),
        ("FREQ=MONTHLY;BYDAY=MO;BYHOUR=1,2;BYSETPOS=-10", EVEN, "2024-01-01T01:00:00Z"),
    ],
)
def test_8_4_steps_that_meet_their_parts_only_late_are_accepted(
    text: str, dtstart: str, first: str
) -> None:
    with calls() as made:
        rule = rule_from_json(recurs(text, dtstart))
    assert made[0] < 500_000
    found = rule.next_after(datetime(2023, 1, 1, tzinfo=UTC))
    assert found == datetime.fromisoformat(first)


def some(values: list[str], most: int) -> st.SearchStrategy[list[str]]:
    return st.just([]) | st.lists(st.sampled_from(values), min_size=1, max_size=most, unique=True)


@st.composite
def stepped(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, list[str]], int]:
    """A rule, its BY parts, and its step in seconds; each part as likely absent as given."""
    freq = draw(st.sampled_from(["DAILY", "HOURLY", "MINUTELY", "SECONDLY"]))
    interval = draw(
        st.integers(1, BIGGEST[freq])
        | st.sampled_from([7, 14, 21]).map(lambda weeks: weeks * (86_400 // UNITS[freq]))
        | st.integers(-3, 3).map(lambda off: max(1, 86_400 // UNITS[freq] + off))
    )
    parts = {
        "BYMONTH": draw(some(["1", "2", "6", "12"], 2)),
        "BYMONTHDAY": draw(some(["1", "13", "29", "31"], 2)),
        "BYDAY": draw(some(list(WEEKDAYS), 3)),
    }
    for name, size in (("BYHOUR", 3_600), ("BYMINUTE", 60), ("BYSECOND", 1)):
        if UNITS[freq] <= size:  # what is longer than the unit would expand, not limit
            top = 24 if size == 3_600 else 60
            parts[name] = draw(some([str(number) for number in range(top)], 4))
    given = {name: values for name, values in parts.items() if values}
    text = ";".join(
        [f"FREQ={freq};INTERVAL={interval}", *(f"{k}={','.join(v)}" for k, v in given.items())]
    )
    start = draw(st.datetimes(datetime(1999, 1, 1), datetime(2030, 1, 1)))  # noqa: DTZ001
    rule = recurs(text, start.replace(microsecond=0).isoformat())
    return rule, given, interval * UNITS[freq]


def passes(reading: datetime, parts: dict[str, list[str]]) -> bool:
    has = {
        "BYMONTH": str(reading.month),
        "BYMONTHDAY": str(reading.day),
        "BYDAY": WEEKDAYS[reading.weekday()],
        "BYHOUR": str(reading.hour),
        "BYMINUTE": str(reading.minute),
        "BYSECOND": str(reading.second),
    }
    return all(has[name] in values for name, values in parts.items())


def accepted(rule: dict[str, Any]) -> Rule | None:
    try:
        return rule_from_json(rule)
    except InvalidRule as refused:
        if "never" not in str(refused):
            raise
        return None


@settings(max_examples=250, deadline=None)
@given(stepped())
def test_8_4_what_is_accepted_occurs_and_what_is_refused_does_not(
    case: tuple[dict[str, Any], dict[str, list[str]], int],
) -> None:
    """The oracle takes one step after the other."""
    definition, parts, step = case
    reading = start = datetime.fromisoformat(definition["dtstart"])
    walked = None
    for _ in range(3_000):
        if passes(reading, parts):
            walked = reading
            break
        reading += timedelta(seconds=step)
    rule = accepted(definition)
    if rule is None:
        assert walked is None
        return
    found = rule.next_after((start - timedelta(seconds=1)).replace(tzinfo=UTC))
    assert found is not None
    occurs = found.replace(tzinfo=None)
    assert occurs == walked if walked else occurs > reading - timedelta(seconds=step)
    assert passes(occurs, parts)
    assert (occurs - start) % timedelta(seconds=step) == timedelta(0)


@settings(max_examples=60, deadline=None)
@given(stepped())
def test_8_4_walking_counting_and_walking_back_agree_with_stepping(
    case: tuple[dict[str, Any], dict[str, list[str]], int],
) -> None:
    definition, parts, step = case
    rule = accepted(definition)
    if rule is None:
        return
    start = datetime.fromisoformat(definition["dtstart"])
    steps = [start + timedelta(seconds=step) * k for k in range(2_000)]
    stepped = [reading.replace(tzinfo=UTC) for reading in steps if passes(reading, parts)]
    since, until = (at.replace(tzinfo=UTC) for at in (start, steps[-1]))
    window = since, until + timedelta(seconds=1)
    assert list(rule.between(*window)) == stepped
    assert rule.count(*window) == len(stepped)
    assert rule.latest(len(stepped) + 1, *window) == stepped
    middle = since + (until - since) / 2
    assert rule.count(middle, until) == sum(1 for at in stepped if middle <= at < until)


def extreme(chosen: random.Random) -> dict[str, Any]:
    """A rule by hours or less with a long step and parts of every size."""
    freq = chosen.choice(["HOURLY", "MINUTELY", "SECONDLY"])
    per_day = 86_400 // UNITS[freq]
    interval = chosen.choice(
        [
            chosen.randint(1, per_day),
            chosen.randint(per_day, 2 * per_day),
            per_day * chosen.randint(1, 6_000),
            chosen.choice([7, 21, 773]) * chosen.randint(1, per_day),
            chosen.randint(1, 10**9),
        ]
    )
    parts = [f"FREQ={freq};INTERVAL={interval}"]
    sizes = {"BYMONTH": range(1, 13), "BYMONTHDAY": range(1, 32), "BYYEARDAY": range(1, 367)}
    sizes |= {"BYHOUR": range(24), "BYMINUTE": range(60), "BYSECOND": range(60)}
    for name, values in [*sizes.items(), ("BYDAY", WEEKDAYS)]:
        if chosen.random() < 0.4:
            picked = chosen.sample(values, chosen.choice([1, 2, len(values) // 2]))
            parts.append(f"{name}={','.join(map(str, picked))}")
    since = datetime(1970, 1, 1) + timedelta(seconds=chosen.randrange(10**9))  # noqa: DTZ001
    return recurs(";".join(parts), since.isoformat())


def test_8_2_none_of_many_definitions_takes_long() -> None:
    chosen, slow = random.Random(84), []
    for _ in range(600):
        rule = extreme(chosen)
        with calls() as made:
            found = accepted(rule)
            if found is not None:
                found.next_after(datetime(2099, 1, 1, tzinfo=UTC))
        if made[0] > 600_000:
            slow.append(rule)
    assert slow == []


@pytest.mark.parametrize(
    "text",
    [
        "FREQ=SECONDLY;INTERVAL=86399;BYHOUR=9;BYMINUTE=0;COUNT=1000000",
        "FREQ=SECONDLY;INTERVAL=50001;COUNT=1000000",
        "FREQ=SECONDLY;INTERVAL=50001;BYMONTH=1,7;COUNT=1000000",
        "FREQ=SECONDLY;INTERVAL=7;BYHOUR=9;COUNT=1000000000",
    ],
)
def test_0_5_a_count_over_drifting_steps_is_arithmetic(text: str) -> None:
    rule = rule_from_json(recurs(text, "1970-01-01T00:00:00"))
    with calls() as made:
        listed = occurrences(rule, "2099-01-01T00:00", "9999-12-31T00:00")
        assert next(listed).year >= 2099
    assert made[0] < 30_000
