"""Counting by arithmetic and by bits gives what walking gives, wherever clocks change."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from scheduler.rules import rule_from_json
from scheduler.rules.instants import DAY, SECOND, to_micros
from scheduler.rules.marks import Marks, marked, marked_count, moved, united
from scheduler.rules.series import Limited, Series
from scheduler.rules.timeline import Timeline
from tests.steps import calls

NY = "America/New_York"
AWKWARD = (NY, "Australia/Lord_Howe", "Pacific/Chatham", "Pacific/Apia", "America/Sao_Paulo")
SINCE = {"start_date": "2009-01-01T00:00:00"}
FRACTION = {"start_date": "2009-01-01T00:00:00.25"}

RULES: list[dict[str, Any]] = [
    {"cron": "*/20 * * * *"},
    {"cron": "15,45 0-3 * * *"},
    {"cron": "0 */6 */10 * 1"},
    {"cron": "30 2 1,15 * *"},
    {"cron": "*/50 */7 2 * * *"},
    {"every": 7, "unit": "minutes", **SINCE},
    {"every": 1, "unit": "days", "fold": "both", **SINCE},
    {"every": 1, "unit": "months", "gap": "skip", "start_date": "2009-01-31T02:30"},
    {"rrule": "FREQ=MINUTELY;INTERVAL=17", "dtstart": "2009-01-01T00:00:00"},
    {"rrule": "FREQ=DAILY;BYHOUR=0,1,2,3;BYMINUTE=0,30", "dtstart": "2009-01-01T00:00:00"},
    {"rrule": "FREQ=MONTHLY;BYDAY=SU;BYHOUR=2;BYSETPOS=2,-1", "dtstart": "2009-01-01T00:30:00"},
]
UNIONS: list[list[dict[str, Any]]] = [
    [{"cron": "*/20 * * * * *"}, {"cron": "*/15 * * * * *"}],
    [{"every": 7, "unit": "seconds", **SINCE}, {"cron": "*/5 * 1-3 * * *"}],
    [
        {"every": 7, "unit": "seconds", **FRACTION},
        {"every": 3, "unit": "seconds", **FRACTION},
        {"cron": "* * * * *"},
    ],
    [
        {"cron": "*/6 * * * * *", "timezone": "Europe/Berlin"},
        {"rrule": "FREQ=SECONDLY;INTERVAL=7", "dtstart": "2009-01-01T00:00:00"},
        {"any": [{"cron": "30 * * * * *"}, {"at": ["2011-12-31T00:00:07.5"]}]},
    ],
    [
        {"cron": "*/6 * * * * *", "only_on": [{"weekdays": "sat-sun", "times": ["01:00-03:00"]}]},
        {"rrule": "FREQ=SECONDLY;INTERVAL=9;COUNT=9000", "dtstart": "2011-10-02T01:59:00"},
        {"cron": "*/4 * * * * *", "start_date": "2010-01-01T00:00", "limit": 3_000},
    ],
]


SIEVES: list[dict[str, Any]] = [
    {"all": [{"every": 1, "unit": "seconds", **SINCE}, {"cron": "*/2 * 1-3 * * 1-5"}]},
    {
        "all": [
            {"cron": "* * * * * *", "except": [{"times": [["02:10", "02:50"]]}]},
            {"cron": "* 5,6,7 * * * *", "timezone": "Asia/Tokyo"},
            {"every": 3, "unit": "seconds", **SINCE},
        ]
    },
    {"cron": "* * * * * *", "except": [{"cron": "0 * * * * *"}, {"weekdays": ["sun"]}]},
    {"cron": "*/2 * * * * *", "only_on": [{"times": [["23:30", "03:30"]]}]},
    {
        "any": [
            {"cron": "*/5 * * * * *", "except": [{"cron": "*/3 * * * * *"}]},
            {"cron": "1 * * * * *"},
        ]
    },
]


def windows(series: Series, key: str, length: int, most: int) -> list[tuple[int, int]]:
    """Windows up to `length` long: some around changes of the clock, and some anywhere."""
    draw = random.Random(f"{key} {length}")
    lo = to_micros(datetime(2009, 1, 1, tzinfo=UTC))
    hi = to_micros(datetime(2019, 1, 1, tzinfo=UTC))
    roughs = [s.lo for s in Timeline(ZoneInfo(key)).stretches(lo, hi) if s.offset is None]
    around = [at - draw.randrange(length // 2) for at in draw.sample(roughs, most // 2)]
    anywhere = [draw.randrange(lo, hi) for _ in range(most - len(around))]
    starts = [series.after(at) or at if draw.randrange(2) else at for at in around + anywhere]
    return [(at, at + draw.randrange(length)) for at in starts]


@pytest.mark.parametrize("key", AWKWARD)
@pytest.mark.parametrize("given", RULES, ids=str)
def test_a_window_is_counted_and_walked_back_as_it_is_walked(
    given: dict[str, Any], key: str
) -> None:
    series = rule_from_json({**given, "timezone": key}).series()
    for lo, hi in windows(series, key, 400 * DAY, 8):
        walked = list(series.ascending(lo, hi))
        assert series.count(lo, hi) == len(walked) <= series.at_most(lo, hi)
        assert list(series.descending(lo, hi)) == walked[::-1]


@pytest.mark.parametrize("key", AWKWARD)
@pytest.mark.parametrize("given", RULES, ids=str)
def test_each_answer_is_the_next_instant_walked_to(given: dict[str, Any], key: str) -> None:
    series = rule_from_json({**given, "timezone": key}).series()
    for lo, _ in windows(series, key, 4 * DAY, 8):
        walked, at = list(islice(series.ascending(lo, lo + 9_000 * DAY), 30)), lo - 1
        for expected in walked:
            # Asked in a row, and by a rule that has not been asked before.
            cold = rule_from_json({**given, "timezone": key}).series()
            assert cold.after(at) == expected
            assert cold.after(at, expected) is None
            at = series.after(at) or at
            assert at == expected


@pytest.mark.parametrize("key", AWKWARD)
@pytest.mark.parametrize("members", UNIONS, ids=str)
def test_a_dense_union_is_counted_as_it_is_walked(members: list[dict[str, Any]], key: str) -> None:
    series = rule_from_json({"any": members, "timezone": key, **SINCE}).series()
    for lo, hi in windows(series, key, 3 * DAY, 4):
        assert series.count(lo, hi) == sum(1 for _ in series.ascending(lo, hi))


@pytest.mark.parametrize("key", AWKWARD)
@pytest.mark.parametrize("given", SIEVES, ids=str)
def test_a_dense_sieve_is_counted_as_it_is_walked(given: dict[str, Any], key: str) -> None:
    series = rule_from_json({**given, "timezone": key, **SINCE}).series()
    for lo, hi in windows(series, key, 3 * DAY, 4):
        assert series.count(lo, hi) == sum(1 for _ in series.ascending(lo, hi))


@pytest.mark.parametrize("key", AWKWARD)
@pytest.mark.parametrize(
    "given", [*RULES, *SIEVES, *({"any": members} for members in UNIONS)], ids=str
)
def test_bits_stand_for_the_instants_walked(given: dict[str, Any], key: str) -> None:
    series = rule_from_json({**given, "timezone": key}).series()
    for lo, hi in windows(series, key, DAY, 6):
        marks = {part: bits for part, bits in series.marks(lo, hi).items() if bits}
        assert marks == marked(series.ascending(lo, hi), lo)


def test_bits_stop_where_a_member_does() -> None:
    bounds = {"start_date": "2009-01-01T06:00:00.5Z", "end_date": "2009-01-01T20:00:00.5Z"}
    for given in ({"every": 7, "unit": "seconds"}, {"cron": "*/5 * * * * *"}):
        series = rule_from_json({**given, **bounds, "timezone": NY}).series()
        lo = to_micros(datetime(2009, 1, 1, tzinfo=UTC))
        for start, end in ((lo, lo + DAY), (lo, lo + DAY // 2), (lo + DAY // 2, lo + DAY)):
            assert series.marks(start, end) == marked(series.ascending(start, end), start)


def test_bits_move_from_window_to_window() -> None:
    draw = random.Random(1)
    for _ in range(300):
        base, lo = draw.randrange(-50 * SECOND, 50 * SECOND), draw.randrange(-50, 50) * SECOND // 4
        hi = lo + draw.randrange(40 * SECOND)
        instants = sorted(base + draw.randrange(60) * SECOND // 2 for _ in range(12))
        kept = [at for at in instants if lo <= at < hi]
        shown = moved(marked(instants, base), base, lo, hi)
        assert {part: bits for part, bits in shown.items() if bits} == marked(kept, lo)
        assert marked_count(shown) == len(set(kept))
        both: Marks = united([shown, marked([], lo), marked(kept[:1], lo)])
        assert both == shown or not kept


def test_a_run_of_instants_has_the_bits_of_a_list() -> None:
    for run in (range(0), range(5, 6 * SECOND, 2 * SECOND), range(0, 3 * SECOND, SECOND // 2)):
        assert marked(run, 0) == marked(list(run), 0)


@pytest.mark.parametrize("limit", [1, 64, 65, 1_000, 20_000])
def test_the_end_of_a_limit_is_found_by_halves(limit: int) -> None:
    given = {"cron": "*/7 * * * *", "timezone": NY, "start_date": "2023-10-30T00:10"}
    series = rule_from_json(given).series()
    start = series.after(0) or 0
    walked = list(islice(series.ascending(start, start + 400 * DAY), limit + 1))
    limited = rule_from_json({**given, "limit": limit}).series()
    assert limited.count(start, start + 400 * DAY) == limit
    assert next(limited.descending(start, start + 400 * DAY)) == walked[limit - 1]
    assert limited.after(walked[limit - 1] - 1) == walked[limit - 1]
    assert limited.after(walked[limit - 1]) is None


@pytest.mark.parametrize(
    "given",
    [
        {"cron": "* * * * *", "limit": 10**9, "start_date": "1970-01-01T00:00"},
        {"rrule": "FREQ=DAILY;INTERVAL=7;COUNT=100000000", "dtstart": "1970-01-01T00:00"},
        {"rrule": "FREQ=HOURLY;INTERVAL=25;COUNT=100000000", "dtstart": "1970-01-01T00:00"},
        {"every": 1, "unit": "months", "limit": 10**7, "start_date": "1970-01-01T00:00"},
    ],
    ids=str,
)
def test_0_5_a_limit_out_of_reach_is_not_counted(
    given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = rule_from_json({**given, "timezone": NY})
    monkeypatch.setattr(Limited, "_used", None)
    assert rule.next_after(datetime(2099, 6, 1, tzinfo=UTC)) is not None


TEN_YEARS: dict[str, tuple[dict[str, Any], int]] = {
    "any": ({"any": [{"cron": "* * * * * *"}, {"cron": "*/7 * * * * *"}]}, 315_532_800),
    "all": ({"all": [{"cron": "* * * * * *"}, {"cron": "* * 9-17 * * 1-5"}]}, 84_499_200),
    "except": ({"cron": "* * * * * *", "except": [{"cron": "0 * * * * *"}]}, 310_273_920),
    "only_on": (
        {"cron": "* * * * * *", "only_on": [{"weekdays": "mon-fri", "times": ["09:00-18:00"]}]},
        84_499_200,
    ),
}


@pytest.mark.parametrize(("given", "expected"), TEN_YEARS.values(), ids=TEN_YEARS)
def test_9_6_ten_years_of_seconds_are_counted_not_walked(
    given: dict[str, Any], expected: int
) -> None:
    rule = rule_from_json({**given, "timezone": NY})
    start, end = (datetime(year, 1, 1, 5, tzinfo=UTC) for year in (2014, 2024))
    with calls() as made:
        assert rule.count(start, end) == expected
    assert made[0] < 6_000_000


def test_wide_probes_of_far_years_miss_no_change() -> None:
    lo = to_micros(datetime(2110, 1, 1, tzinfo=UTC))
    hi = to_micros(datetime(2114, 1, 1, tzinfo=UTC))
    for key in (*AWKWARD, "America/Havana", "Africa/Cairo", "Europe/Dublin", "Asia/Jerusalem"):
        line, step = Timeline(ZoneInfo(key)), 2 * DAY
        for at in range(lo, hi, step):
            shown = datetime.fromtimestamp(at // SECOND, ZoneInfo(key)).utcoffset()
            assert shown == timedelta(microseconds=line.segment(at).offset), (key, at)
