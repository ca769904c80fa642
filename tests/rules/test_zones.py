"""Clause 1: zones by key, date-times as written, wall readings resolved."""

from __future__ import annotations

import builtins
import io
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from scheduler.errors import InvalidRule
from scheduler.rules import every, occurrences, rule_from_json
from scheduler.rules.instants import HOUR, to_instant, wall_micros
from scheduler.rules.moments import parse_stamp, stamp_text
from scheduler.rules.timeline import timeline
from scheduler.rules.zones import parse_moment, zone

if TYPE_CHECKING:
    from .conftest import Instants

NY = "America/New_York"


@pytest.mark.parametrize("key", ["UTC", NY, "Etc/GMT+5", "America/Argentina/Buenos_Aires"])
def test_1_1_a_zone_is_an_iana_key(key: str) -> None:
    assert zone(key).key == key


@pytest.mark.parametrize(
    "key",
    [
        "america/new_york", "America/New York", " UTC", "UTC ", "UTC\n", "utc", "", "Z", "+02:00",
        "-0500", "UTC+2", "GMT+2:00", "EST5EDT,M3.2.0,M11.1.0", "localtime", "posixrules",
        "Factory", "../UTC", "/etc/localtime", "Europe/../Europe/Berlin", "Europe/", "Europe",
        "posix/Europe/Berlin", "right/UTC", "Europe\\Berlin", "Europe/Berlin\0", "zone.tab",
        "Europe/Berlin" + "x" * 60, "x" * 10_000_000, None, True, 2, 2.5, [], {}, b"UTC",
    ],
)  # fmt: skip
def test_1_1_anything_else_is_no_zone(key: object) -> None:
    with pytest.raises(InvalidRule) as caught:
        zone(key)
    assert caught.value.field == "timezone"
    assert len(caught.value.value) <= 80


def test_1_1_the_refusal_names_the_zone_and_the_spelling_that_exists() -> None:
    with pytest.raises(InvalidRule, match=r"america/new_york is not a time zone.*America/New_York"):
        zone("america/new_york")


def test_1_1_a_refused_zone_opens_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    zone("UTC")  # the key list is read once
    opened: list[Any] = []
    monkeypatch.setattr(builtins, "open", lambda *a, **_: opened.append(a))
    monkeypatch.setattr(io, "open", lambda *a, **_: opened.append(a))
    for key in ("../../etc/passwd", "localtime", "posixrules", "Factory", "Europe/Nowhere"):
        with pytest.raises(InvalidRule):
            zone(key)
    assert opened == []


def test_1_2_a_rule_without_a_zone_is_in_utc_wherever_it_runs(
    monkeypatch: pytest.MonkeyPatch, instants: Instants
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    rule = {"every": 1, "unit": "days", "start_date": "2024-01-01T09:00"}
    assert instants(rule, first=1) == ["2024-01-01T09:00Z"]


def test_1_3_the_offset_never_becomes_the_zone(instants: Instants) -> None:
    rule = {"every": 1, "unit": "days", "start_date": "2024-03-09T15:00+01:00", "timezone": NY}
    assert instants(rule, first=3) == [
        "2024-03-09T14:00Z", "2024-03-10T13:00Z", "2024-03-11T13:00Z",
    ]  # fmt: skip


def test_1_3_a_date_time_without_offset_is_wall_clock_in_the_zone() -> None:
    assert parse_moment("2024-07-01T09:00", ZoneInfo(NY)) == datetime(2024, 7, 1, 13, tzinfo=UTC)
    assert parse_moment("2024-07-01T09:00Z", ZoneInfo(NY)) == datetime(2024, 7, 1, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("2024-03-09T15:00", "2024-03-09T15:00:00"),
        ("2024-03-09T15:00:30", "2024-03-09T15:00:30"),
        ("2024-03-09 15:00:30.5", "2024-03-09T15:00:30.500000"),
        ("2024-03-09t15:00:30.123456z", "2024-03-09T15:00:30.123456Z"),
        ("2024-03-09T15:00+01:00", "2024-03-09T15:00:00+01:00"),
        ("2024-03-09T15:00:00-05:30", "2024-03-09T15:00:00-05:30"),
        ("2024-03-09T15:00+00:00", "2024-03-09T15:00:00Z"),
        ("0001-01-01T00:00", "0001-01-01T00:00:00"),
        ("9999-12-31T23:59:59.999999", "9999-12-31T23:59:59.999999"),
    ],
)
def test_1_4_extended_text_up_to_microseconds(text: str, stored: str) -> None:
    stamp = parse_stamp(text, "start_date")
    assert stamp_text(stamp) == stored
    assert parse_stamp(stored, "start_date") == stamp


@pytest.mark.parametrize(
    "value",
    [
        "2023-02-29T00:00:00", "2024-04-31T00:00", "2024-13-01T00:00", "2024-00-01T00:00",
        "2024-01-00T00:00", "2024-01-01T24:00", "2024-01-01T00:60", "2024-01-01T00:00:60",
        "2024-01-01T23:59:60Z", "0000-01-01T00:00", "10000-01-01T00:00", "+02024-01-01T00:00",
        "-2024-01-01T00:00", "2024-W01-1T00:00", "2024-001T00:00", "20240101T000000",
        "2024-01-01", "2024-01-01T00", "00:00", "tomorrow", "now", "", " ", "1704067200",
        "2024-01-01T00:00:00.1234567", "2024-01-01T00:00:00.", "2024-01-01T00:00:00,5",
        "2024-01-01T00:00+1", "2024-01-01T00:00+0100", "2024-01-01T00:00+24:00",
        "2024-01-01T00:00+01:60", "2024-01-01T00:00+01:00:00", "2024-01-01T00:00 Z",
        "2024-01-01T00:00[Europe/Berlin]", "2024-01-01T00:00 Europe/Berlin",
        " 2024-01-01T00:00", "2024-01-01T00:00\n", "2024-1-1T00:00", "２０２４-01-01T00:00",
        "2024-01-01T00:00" + "0" * 60, "9" * 10_000_000, 1704067200, 1704067200000, 1.5, 0,
        True, False, [], {}, b"2024-01-01T00:00",
    ],
)  # fmt: skip
def test_1_4_everything_else_is_refused(value: object) -> None:
    with pytest.raises(InvalidRule) as caught:
        rule_from_json({"every": 1, "unit": "days", "start_date": value})
    assert caught.value.field == "start_date"


@pytest.mark.parametrize("value", ["1", 1.0, 0.5, True, False, float("nan"), 0, -1, [1], {}])
@pytest.mark.parametrize("field", ["every", "limit"])
def test_1_5_counts_are_integers_of_at_least_one(field: str, value: object) -> None:
    rule = {"every": 1, "unit": "days", field: value}
    with pytest.raises(InvalidRule) as caught:
        rule_from_json(rule)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("wall", "instant"),
    [
        ("2024-03-10T01:59:59", "2024-03-10T06:59:59Z"),
        ("2024-03-10T02:30", "2024-03-10T07:30:00Z"),
        ("2024-03-10T03:00", "2024-03-10T07:00:00Z"),
        ("2024-11-03T01:30", "2024-11-03T05:30:00Z"),
        ("2024-11-03T02:00", "2024-11-03T07:00:00Z"),
    ],
)
def test_1_6_a_gap_goes_forward_and_an_overlap_is_its_first_pass(
    wall: str, instant: str, clock: str
) -> None:
    assert stamp_text(parse_moment(wall, ZoneInfo(NY))) == instant


@pytest.mark.parametrize(
    ("start", "policies", "expected"),
    [
        ("2024-03-09T02:30", {}, ["2024-03-09T07:30Z", "2024-03-10T07:30Z", "2024-03-11T06:30Z"]),
        ("2024-03-09T02:30", {"gap": "skip"}, ["2024-03-09T07:30Z", "2024-03-11T06:30Z"]),
        ("2024-11-02T01:30", {}, ["2024-11-02T05:30Z", "2024-11-03T05:30Z", "2024-11-04T06:30Z"]),
        (
            "2024-11-02T01:30",
            {"fold": "last"},
            ["2024-11-02T05:30Z", "2024-11-03T06:30Z", "2024-11-04T06:30Z"],
        ),
        (
            "2024-11-02T01:30",
            {"fold": "both"},
            ["2024-11-02T05:30Z", "2024-11-03T05:30Z", "2024-11-03T06:30Z", "2024-11-04T06:30Z"],
        ),
    ],
)
def test_1_7_the_policies_of_a_rule_decide_in_a_gap_and_an_overlap(
    start: str, policies: dict[str, str], expected: list[str], clock: str, instants: Instants
) -> None:
    rule = {"every": 1, "unit": "days", "start_date": start, **policies}
    assert instants(rule, start, start[:7] + "-12T00:00", NY)[: len(expected)] == expected


def test_1_8_the_anchor_and_the_zone_are_stored_as_given() -> None:
    rule = every(days=1, start_date="2024-01-01T09:00", timezone=NY)
    assert rule.to_json() == {
        "every": 1, "unit": "days", "start_date": "2024-01-01T09:00:00", "timezone": NY,
    }  # fmt: skip
    given = every(days=1, start_date=datetime(2024, 1, 1, 9, tzinfo=timezone(timedelta(hours=1))))
    assert given.to_json()["start_date"] == "2024-01-01T09:00:00+01:00"


def test_1_9_intervals_keep_microseconds(instants: Instants) -> None:
    rule = {"every": 1, "unit": "days", "start_date": "2024-01-01T09:00:00.123456"}
    assert instants(rule, first=2) == ["2024-01-01T09:00:00.123456Z", "2024-01-02T09:00:00.123456Z"]


def test_1_9_no_leap_second_occurs() -> None:
    rule = {"every": 1, "unit": "seconds", "start_date": "2016-12-31T23:59:59Z"}
    found = list(occurrences(rule, "2016-12-31T23:59:59Z", "2017-01-01T00:00:01Z"))
    assert found == [
        datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC),
        datetime(2017, 1, 1, tzinfo=UTC),
    ]


AWKWARD = (
    "Australia/Lord_Howe", "Pacific/Chatham", "Pacific/Apia", "America/Sao_Paulo",
    "Africa/Casablanca", "Antarctica/Troll", "America/St_Johns", "Asia/Kathmandu",
)  # fmt: skip


@pytest.mark.parametrize("key", [*AWKWARD, NY, "Africa/Freetown"])
def test_the_timeline_says_what_the_zone_says(key: str) -> None:
    """Every three hours around every change of offset that hourly probing finds."""
    place = ZoneInfo(key)
    line = timeline(place)
    for first, last in ((1939, 1945), (1996, 2027), (2050, 2055)):
        at = datetime(first, 1, 1, tzinfo=UTC)
        while at.year < last:
            wall = place.fromutc(at.replace(tzinfo=place)).replace(tzinfo=None)
            micros = wall_micros(at.replace(tzinfo=None))
            assert line.wall(micros) == wall_micros(wall), at
            assert micros in line.resolve(wall_micros(wall), fold="both"), at
            at += timedelta(hours=3 if at.year != 2011 else 1)


def test_stretches_are_adjacent_on_both_axes() -> None:
    line = timeline(ZoneInfo("Pacific/Apia"))
    lo = wall_micros(datetime.fromisoformat("2009-01-01"))
    run = list(line.stretches(lo, wall_micros(datetime.fromisoformat("2013-01-01"))))
    assert sum(stretch.offset is None for stretch in run) >= 5
    for before, after in pairwise(run):
        assert (before.hi, before.wall_hi) == (after.lo, after.wall_lo)


def test_a_reading_of_a_day_that_never_was_goes_forward_by_the_day() -> None:
    line = timeline(ZoneInfo("Pacific/Apia"))
    lost = wall_micros(datetime.fromisoformat("2011-12-30T09:00"))
    assert line.resolve(lost, gap="skip") == ()
    assert line.resolve(lost) == line.resolve(lost + 24 * HOUR)
    assert to_instant(line.resolve(lost)[0]) == datetime(2011, 12, 30, 19, tzinfo=UTC)
