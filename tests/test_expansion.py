"""Expansion, the pure step: what is due becomes jobs and skips. test_recurrence runs it whole."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from scheduler.expansion import LATEST_INSTANT, advance, begin, expand, remaining, series
from scheduler.ids import occurrence_id
from scheduler.model import CatchUp, Schedule, ScheduleStatus
from scheduler.testing.values import MINUTE, NOON, SECOND, a_schedule, utc

HOUR = timedelta(hours=1)
TICK = timedelta(microseconds=1)


def test_a_job_carries_what_its_schedule_says() -> None:
    """Its name, data, queue and policies, its place in the series, and the rule in force."""
    schedule = a_schedule(
        data={"region": "eu"}, queue="q", priority=3, max_retries=2, timeout=MINUTE
    )
    [job] = expand(schedule, NOON + SECOND).jobs
    assert job.id == occurrence_id(schedule.id, NOON)
    assert (job.name, job.data, job.queue) == ("work", {"region": "eu"}, "q")
    assert (job.priority, job.max_retries, job.timeout) == (3, 2, MINUTE)
    assert (job.schedule_id, job.occurrence_at, job.sequence) == (schedule.id, NOON, 1)
    assert (job.created_at, job.scheduled_at, job.repeat) == (NOON + SECOND, NOON, schedule.rule)


def test_the_schedule_moves_on() -> None:
    """Cursor to now, the count by its jobs; the revision stays."""
    schedule = a_schedule(grace=10 * HOUR)
    now = NOON + 2 * HOUR + SECOND
    after = expand(schedule, now).after
    assert after == replace(
        schedule,
        cursor_at=now,
        next_at=NOON + 3 * HOUR,
        materialised=3,
        last_occurrence_at=NOON + 2 * HOUR,
        updated_at=now,
    )


def test_expanding_again_at_the_same_instant_gives_nothing() -> None:
    """What was decided is decided."""
    once = expand(a_schedule(), NOON)
    again = expand(once.after, NOON)
    assert len(once.jobs) == 1
    assert (again.jobs, again.skips) == ((), ())
    assert again.after.cursor_at == once.after.cursor_at


def test_two_expanders_decide_the_same() -> None:
    """Down to the ids: the table's key then keeps one of them."""
    schedule = a_schedule(grace=10 * HOUR)
    first, second = (expand(schedule, NOON + 5 * HOUR) for _ in range(2))
    assert first == second
    assert len(first.jobs) == 6


@pytest.mark.parametrize(
    "split", [[5], [1, 5], [0, 1, 2, 3, 4, 5], [2.5, 2.6, 5]], ids=lambda hours: str(hours)
)
def test_it_does_not_matter_when_expanders_look(split: list[float]) -> None:
    """With time enough, the same occurrences become the same jobs."""
    schedule = a_schedule(grace=10 * HOUR)
    jobs = []
    for hours in split:
        expansion = expand(schedule, NOON + hours * HOUR)
        jobs += [(job.id, job.occurrence_at, job.sequence) for job in expansion.jobs]
        schedule = expansion.after
    assert jobs == [
        (occurrence_id(schedule.id, NOON + n * HOUR), NOON + n * HOUR, n + 1) for n in range(6)
    ]


def test_a_new_schedule_begins_at_its_creation() -> None:
    """An occurrence at that instant is due; an earlier one never is."""
    at, after = a_schedule(), a_schedule(created_at=NOON + TICK)
    assert (at.next_at, after.next_at) == (NOON, NOON + HOUR)


def test_an_interval_without_a_start_begins_to_the_second() -> None:
    """Occurrence 0 is the second of the creation, and due at once."""
    created_at = NOON + timedelta(milliseconds=700)
    schedule = a_schedule(rule={"every": 7, "unit": "minutes"}, created_at=created_at)
    assert (schedule.anchor_at, schedule.next_at) == (NOON, NOON)
    assert [job.occurrence_at for job in expand(schedule, created_at).jobs] == [NOON]


def test_a_cursor_never_goes_back() -> None:
    """Whatever the clock says."""
    schedule = advance(a_schedule(), NOON + 5 * HOUR)
    assert advance(schedule, NOON).cursor_at == NOON + 5 * HOUR
    assert expand(schedule, NOON).after.cursor_at == NOON + 5 * HOUR


@pytest.mark.parametrize(
    "rule",
    [
        {"every": 1, "unit": "hours", "start_date": "2026-01-05T12:00Z", "limit": 1},
        {"every": 1, "unit": "hours", "start_date": "2026-01-05T12:00Z"}
        | {"end_date": "2026-01-05T12:00Z"},
    ],
    ids=["limit", "end"],
)
def test_the_last_occurrence_completes_the_schedule(rule: dict[str, Any]) -> None:
    """With its job, not with the job's outcome."""
    expansion = expand(a_schedule(rule=rule), NOON)
    assert len(expansion.jobs) == 1
    assert expansion.after.status is ScheduleStatus.COMPLETED
    assert expansion.after.next_at is None


def test_a_rule_that_is_over_is_completed_at_birth() -> None:
    """And says so."""
    rule = {"every": 1, "unit": "hours", "start_date": "2025-01-01T00:00Z"}
    schedule = a_schedule(rule=rule | {"end_date": "2025-01-02T00:00Z"})
    assert (schedule.status, schedule.next_at) == (ScheduleStatus.COMPLETED, None)


def test_the_calendar_ends_without_an_error() -> None:
    """8.6: nothing occurs after 9999, and nothing overflows."""
    rule = {"every": 1, "unit": "hours", "start_date": "9999-12-31T22:00Z"}
    schedule = a_schedule(rule=rule, grace=10 * HOUR, created_at=utc("9999-12-31T00:00+00:00"))
    expansion = expand(schedule, LATEST_INSTANT)
    assert [job.occurrence_at for job in expansion.jobs] == [
        utc("9999-12-31T22:00+00:00"),
        utc("9999-12-31T23:00+00:00"),
    ]
    assert expansion.after.status is ScheduleStatus.COMPLETED


@pytest.mark.parametrize(
    ("rule", "timezone"),
    [
        ({"every": 0, "unit": "hours"}, "UTC"),
        ({"sundial": "noon"}, "UTC"),
        ({"every": 1, "unit": "days"}, "Mars/Olympus"),
    ],
)
def test_a_rule_that_cannot_be_read_pauses_its_schedule(
    rule: dict[str, Any], timezone: str
) -> None:
    """With the error on it: one bad row does not stop the others."""
    good = a_schedule()
    bad: Schedule = replace(good, rule=rule, timezone=timezone)
    expansion = expand(bad, NOON)
    assert (expansion.jobs, expansion.skips) == ((), ())
    assert expansion.after.status is ScheduleStatus.PAUSED
    assert expansion.after.next_at is None
    assert expansion.after.error
    assert (expansion.after.cursor_at, expansion.after.revision) == (good.cursor_at, 2)


def test_remaining_is_of_the_limit() -> None:
    """None without one, and never below zero: a limit may be edited down."""
    assert remaining(a_schedule()) is None
    limited = a_schedule(rule={"every": 1, "unit": "hours", "limit": 3})
    assert remaining(limited) == 3
    assert remaining(replace(limited, materialised=5)) == 0


def test_a_series_has_no_limit_of_its_own() -> None:
    """A live limit counts jobs; the set goes on."""
    limited = a_schedule(rule={"every": 1, "unit": "hours", "limit": 1})
    assert series(limited).next_after(NOON + 5 * HOUR) == NOON + 6 * HOUR


def test_a_grace_of_zero_is_only_this_very_instant() -> None:
    """On time is now - t <= grace, inclusive."""
    schedule = a_schedule(grace=timedelta(0), catch_up=CatchUp.SKIP)
    assert len(expand(schedule, NOON).jobs) == 1
    late = expand(schedule, NOON + TICK)
    assert (len(late.jobs), late.skips[0].count) == (0, 1)


def test_begin_is_idempotent() -> None:
    """A schedule begun again is the same."""
    schedule = a_schedule()
    assert begin(schedule) == schedule
