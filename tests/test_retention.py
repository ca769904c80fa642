"""How long jobs stay, and what of a schedule had a job that is gone."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from scheduler.errors import InvalidOption
from scheduler.expansion import expand
from scheduler.model import Action, JobStatus, Note, Schedule
from scheduler.operations import backfill, edit
from scheduler.retention import FOR_EVER, Removed, Retention
from scheduler.testing.values import HOUR, MINUTE, NOON, SECOND, a_schedule

DAY = timedelta(days=1)


def test_what_failed_stays_longer_than_what_went_well() -> None:
    """Longer than a month, so that a monthly job is still there when the next one runs."""
    assert Retention().periods == {
        JobStatus.COMPLETED: 30 * DAY,
        JobStatus.FAILED: 90 * DAY,
        JobStatus.CANCELLED: 30 * DAY,
    }


def test_what_stays_for_ever_has_no_period() -> None:
    """Of each status, or of all; zero is no time, and not for ever."""
    assert FOR_EVER.periods == {}
    assert Retention(completed=0, failed=None, cancelled=90).periods == {
        JobStatus.COMPLETED: timedelta(0),
        JobStatus.CANCELLED: 90 * SECOND,
    }


@pytest.mark.parametrize("period", [-1, "soon", True, 10**12, float("nan")])
def test_a_period_that_is_none_is_refused(period: Any) -> None:
    """By the name of the status."""
    with pytest.raises(InvalidOption, match="retention: failed"):
        _ = Retention(failed=period).periods


# --- what is gone ---------------------------------------------------------------------------


def an_hourly(**given: Any) -> Schedule:
    """Hourly since NOON, when it was made: expanded three hours later, with all jobs gone."""
    schedule = a_schedule(catch_up="all", created_at=NOON - SECOND, **given)
    return expand(schedule, NOON + 3 * HOUR).after


def test_what_was_decided_and_is_in_no_skip_had_a_job() -> None:
    """Not what came before the schedule, nor what is to come, nor what is no occurrence."""
    removed = Removed(an_hourly(), [], [])
    assert all(NOON + hours * HOUR in removed for hours in range(4))
    for at in (NOON - HOUR, NOON + MINUTE, NOON + 4 * HOUR):
        assert at not in removed


def test_the_first_occurrence_of_an_interval_is_before_its_creation() -> None:
    """By less than a second; it was decided all the same."""
    schedule = a_schedule(created_at=NOON + SECOND / 2, rule={"every": 1, "unit": "hours"})
    decided = expand(schedule, NOON + MINUTE).after
    assert NOON in Removed(decided, [], [])


def test_what_was_skipped_had_none() -> None:
    """From the first to the last of a run, both inclusive."""
    schedule = a_schedule(created_at=NOON - SECOND)
    expansion = expand(schedule, NOON + 5 * HOUR + HOUR / 2)
    removed = Removed(expansion.after, [], expansion.skips)
    assert [NOON + hours * HOUR in removed for hours in range(6)] == [False] * 5 + [True]


def test_what_was_backfilled_had_a_job() -> None:
    """Though it was skipped, or of before the schedule, if it was of the rule by then."""
    schedule = a_schedule(created_at=NOON - SECOND)
    expansion = expand(schedule, NOON + 5 * HOUR + HOUR / 2)
    filled = backfill(
        expansion.after,
        NOON - 2 * HOUR,
        NOON + 2 * HOUR,
        NOON + 6 * HOUR - SECOND,
        taken=[],
        skips=expansion.skips,
    )
    assert filled is not None
    assert filled.note is not None
    later = edit(filled.after, {"rule": {"cron": "*/30 * * * *"}}, NOON + 6 * HOUR - SECOND)
    assert later is not None
    assert later.note is not None
    removed = Removed(later.after, [filled.note, later.note], filled.skips)
    assert [NOON + hours * HOUR in removed for hours in range(-3, 6)] == [
        *[False, True, True],
        *[True, True, False, False, False, True],
    ]
    assert NOON + MINUTE * 30 not in removed


def test_a_rule_that_is_broken_had_none() -> None:
    """It was paused by then."""
    broken = {"every": 0, "unit": "hours"}
    note = Note(
        schedule_id="s",
        revision=2,
        at=NOON + 3 * HOUR,
        action=Action.EDITED,
        detail={
            "rule": [broken, {"cron": "0 * * * *"}],
            "cursor_at": [NOON.isoformat(), (NOON + 3 * HOUR).isoformat()],
        },
    )
    assert NOON + HOUR not in Removed(replace(an_hourly(), revision=2), [note], [])
