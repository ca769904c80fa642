"""Why did it not run? One sentence for each answer, from what is on record."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from freezegun import freeze_time

from scheduler import clock
from scheduler.errors import InvalidRule
from scheduler.expander import Expander
from scheduler.explanation import Explanation, Verdict
from scheduler.model import JobStatus
from scheduler.operations import retire, revive
from scheduler.registry import Registry, define
from scheduler.schedules import Schedules
from scheduler.storage.memory import MemoryStorage

BERLIN = "Europe/Berlin"
TENS = {"every": 10, "unit": "minutes", "start_date": "2026-03-01T00:00:00Z"}
NIGHTLY = {"cron": "30 2 * * *", "timezone": BERLIN}
Move = Callable[[str], None]


@pytest.fixture
def storage() -> MemoryStorage:
    return MemoryStorage()


@pytest.fixture
def schedules(storage: MemoryStorage) -> Schedules:
    return Schedules(storage, registry=Registry([define(lambda: None, name="work")]))


@pytest.fixture
def at(storage: MemoryStorage) -> Iterator[Move]:
    """Sets the clock, and expands what is due then."""
    with freeze_time("2026-03-10T12:00:00Z") as frozen:

        def move(moment: str) -> None:
            frozen.move_to(moment)
            Expander(storage, emit=lambda event: None).tick(clock.now())

        yield move


def said(found: Explanation, verdict: Verdict, *words: str) -> None:
    assert found.verdict is verdict, found.sentence
    for word in words:
        assert word in found.sentence
    assert found.sentence.endswith((".", "?"))


def test_what_ran_is_told_with_its_outcome(
    schedules: Schedules, storage: MemoryStorage, at: Move
) -> None:
    schedules.add("tens", "work", TENS, overlap="allow", max_retries=1)
    at("2026-03-10T12:00:00Z")
    said(schedules.explain("tens", "2026-03-10T12:00"), Verdict.QUEUED, "no executor has taken it")
    [job] = storage.acquire_next_jobs(1, worker="host:1")
    said(schedules.explain("tens", "2026-03-10T12:00"), Verdict.RUNNING, "on host:1", job.id)
    storage.fail_job(job.id, "ValueError: no")
    said(
        schedules.explain("tens", "2026-03-10T12:00"),
        Verdict.QUEUED,
        "attempt 2 of 2 is due 2026-03-10 12:00:01",
        "ValueError: no",
    )
    at("2026-03-10T12:01:00Z")
    storage.fail_job(storage.acquire_next_jobs(1)[0].id, "ValueError: no")
    found = schedules.explain("tens", "2026-03-10T12:00")
    said(found, Verdict.FAILED, "attempt 2 of 2: ValueError: no")
    assert found.job is not None
    assert found.job.id == job.id
    at("2026-03-10T12:10:00Z")
    storage.complete_job(storage.acquire_next_jobs(1)[0].id)
    said(schedules.explain("tens", "2026-03-10T12:10"), Verdict.COMPLETED, "attempt 1 of 2")


def test_what_waits_for_an_earlier_job_says_for_which(
    schedules: Schedules, storage: MemoryStorage, at: Move
) -> None:
    schedules.add("tens", "work", TENS, overlap="queue_one")
    for moment in ("2026-03-10T12:00:00Z", "2026-03-10T12:10:00Z", "2026-03-10T12:20:00Z"):
        at(moment)
    [first] = storage.acquire_next_jobs(9)
    waiting = schedules.explain("tens", "2026-03-10T12:10")
    said(waiting, Verdict.QUEUED, f"waits for the earlier job {first.id}")
    skipped = schedules.explain("tens", "2026-03-10T12:20")
    said(skipped, Verdict.SKIPPED, "skipped as overlap", "overlap is queue_one")


def test_what_was_missed_paused_or_over_the_limit_says_so(schedules: Schedules, at: Move) -> None:
    schedules.add("tens", "work", {**TENS, "limit": 2}, catch_up_window=3600, overlap="allow")
    schedules.pause("tens", actor="ada")
    at("2026-03-10T13:00:00Z")
    said(
        schedules.explain("tens", "2026-03-10T12:30"),
        Verdict.PAUSED,
        "is due at",
        "paused by ada at 2026-03-10 12:00:00 UTC",
    )
    schedules.resume("tens")
    paused = schedules.explain("tens", "2026-03-10T12:30")
    said(paused, Verdict.SKIPPED, "paused by ada", "one of a run of 6")
    assert paused.note is not None
    assert paused.skip is not None
    said(
        schedules.explain("tens", "2026-03-10T18:00"),
        Verdict.ENDED,
        "its limit of 2 leaves 1 more",
    )
    at("2026-03-10T16:05:00Z")
    said(schedules.explain("tens", "2026-03-10T14:00"), Verdict.SKIPPED, "catch_up_window of 1 h")
    said(schedules.explain("tens", "2026-03-10T15:40"), Verdict.SKIPPED, "catch_up is latest")
    said(schedules.explain("tens", "2026-03-10T16:00"), Verdict.QUEUED, "caught up")
    said(schedules.explain("tens", "2026-03-10T17:00"), Verdict.ENDED, "it is completed")


def test_what_nobody_expanded_asks_for_a_scheduler(schedules: Schedules, at: Move) -> None:
    schedules.add("tens", "work", TENS)
    with freeze_time("2026-03-10T15:00:00Z"):
        said(schedules.explain("tens", "2026-03-10T14:00"), Verdict.DUE, "is a scheduler running")


def test_what_is_to_come_says_when(schedules: Schedules, at: Move) -> None:
    schedules.add("tens", "work", TENS)
    said(schedules.explain("tens", "2026-03-11T12:30:00"), Verdict.LATER, "in 1 d 30 min")
    said(schedules.explain("tens", "2026-03-01T12:30:00"), Verdict.BEFORE, "only fix its phase")


@pytest.mark.parametrize(
    ("rule", "moment", "calendar"),
    [
        ({**NIGHTLY, "except": [{"dates": ["2026-03-12"]}]}, "2026-03-12T02:30", "2026-03-12"),
        (
            {**NIGHTLY, "except": [{"cron": "30 2 12 * *"}]},
            "2026-03-12T02:30",
            "on the 12th of the month",
        ),
        (
            {**NIGHTLY, "only_on": [{"weekdays": ["mon"]}]},
            "2026-03-12T02:30",
            "only on every Monday",
        ),
        (
            {
                "rrule": "FREQ=DAILY",
                "dtstart": "2026-03-01T02:30:00",
                "exdate": ["2026-03-11T02:30:00", "2026-03-12T02:30:00"],
            },
            "2026-03-12T02:30",
            "but not 2026-03-12 02:30",
        ),
        (
            {"any": [{**NIGHTLY, "except": [{"annual": ["03-12"]}]}, {"cron": "0 5 * * *"}]},
            "2026-03-12T02:30",
            "12 March",
        ),
    ],
)
def test_what_a_calendar_excludes_names_it(
    schedules: Schedules, at: Move, rule: dict[str, Any], moment: str, calendar: str
) -> None:
    schedules.add("nights", "work", rule, timezone=BERLIN)
    found = schedules.explain("nights", moment)
    said(found, Verdict.EXCLUDED, "is excluded by", calendar)
    assert found.previous_at is None or found.previous_at < found.at
    assert found.next_at is not None
    assert found.next_at > found.at


@pytest.mark.parametrize(
    ("moment", "bound"),
    [("2026-03-11T12:00", "before its start_date"), ("2026-03-20T12:00", "after its end_date")],
)
def test_what_is_outside_the_bounds_names_the_bound(
    schedules: Schedules, at: Move, moment: str, bound: str
) -> None:
    bounds = {"start_date": "2026-03-12T00:00:00", "end_date": "2026-03-15T00:00:00"}
    schedules.add("hourly", "work", {"cron": "0 * * * *", **bounds})
    said(schedules.explain("hourly", moment), Verdict.NO_OCCURRENCE, bound, "2026-03-1")


def test_what_is_not_in_the_rule_names_what_is_around_it(schedules: Schedules, at: Move) -> None:
    schedules.add("nights", "work", NIGHTLY)
    said(
        schedules.explain("nights", "2026-03-12T04:00"),
        Verdict.NO_OCCURRENCE,
        "every day at 02:30",
        "the one before is 2026-03-12 02:30:00 CET and the next 2026-03-13 02:30:00 CET",
    )


@pytest.mark.parametrize(
    ("rule", "ran_at"),
    [
        (NIGHTLY, "2026-03-29 03:00:00 CEST"),
        (
            {
                "every": 1,
                "unit": "days",
                "start_date": "2026-03-01T02:30:00",
                "timezone": BERLIN,
            },
            "2026-03-29 03:30:00 CEST",
        ),
        (
            {"rrule": "FREQ=DAILY", "dtstart": "2026-03-01T02:30:00", "timezone": BERLIN},
            "2026-03-29 03:30:00 CEST",
        ),
    ],
)
def test_the_hour_that_was_skipped_tells_what_ran_instead(
    schedules: Schedules, at: Move, rule: dict[str, Any], ran_at: str
) -> None:
    schedules.add("nights", "work", rule)
    at("2026-03-30T00:00:00Z")
    found = schedules.explain("nights", "2026-03-29T02:30")
    said(found, Verdict.QUEUED, "did not exist in Europe/Berlin", "forward to 2026-03-29 03:00:00")
    assert f"for {ran_at}" in found.sentence


def test_the_hour_that_was_skipped_may_have_nothing(schedules: Schedules, at: Move) -> None:
    rule = {"every": 1, "unit": "days", "start_date": "2026-03-01T02:30:00", "gap": "skip"}
    schedules.add("nights", "work", {**rule, "timezone": BERLIN})
    found = schedules.explain("nights", "2026-03-29T02:30")
    said(found, Verdict.NO_OCCURRENCE, "did not exist", "the next 2026-03-30 02:30:00 CEST")


def test_the_hour_that_came_twice_tells_of_both(schedules: Schedules, at: Move) -> None:
    schedules.add("halves", "work", {"cron": "*/30 * * * *", "timezone": BERLIN})
    found = schedules.explain("halves", "2026-10-25T02:30")
    said(found, Verdict.LATER, "showed this twice", "02:30:00 CEST, in", "02:30:00 CET, in")


def test_a_moment_of_before_an_edit_is_held_against_the_rule_of_then(
    schedules: Schedules, at: Move
) -> None:
    schedules.add("tens", "work", TENS)
    at("2026-03-10T12:10:00Z")
    schedules.edit("tens", rule={"cron": "0 3 * * *"})
    found = schedules.explain("tens", "2026-03-10T12:05")
    said(found, Verdict.NO_OCCURRENCE, "not in its rule of then: every 10 minutes")


def test_what_was_cancelled_backfilled_or_run_by_hand_says_so(
    schedules: Schedules, storage: MemoryStorage, at: Move
) -> None:
    schedules.add("tens", "work", TENS)
    schedules.backfill("tens", "2026-03-09T12:00", "2026-03-09T12:10")
    said(schedules.explain("tens", "2026-03-09T12:00"), Verdict.QUEUED, "backfilled")
    at("2026-03-10T12:03:00Z")
    schedules.run_now("tens")
    said(schedules.explain("tens", "2026-03-10T12:03"), Verdict.QUEUED, "run by hand")
    schedules.edit("tens", overlap="cancel_previous")
    at("2026-03-10T12:10:00Z")
    said(schedules.explain("tens", "2026-03-10T12:00"), Verdict.CANCELLED, "was cancelled")
    assert storage.get_jobs_by_status(JobStatus.CANCELLED) != []


def test_an_instant_with_an_offset_is_itself(schedules: Schedules, at: Move) -> None:
    schedules.add("nights", "work", NIGHTLY)
    said(schedules.explain("nights", "2026-03-12T01:30:00Z"), Verdict.LATER, "02:30:00 CET")


def test_what_an_edit_changed_is_taken_back_field_by_field(schedules: Schedules, at: Move) -> None:
    """The zone by the first edit, the rule by the second."""
    schedules.add("daily", "work", {"cron": "0 9 * * *"}, overlap="allow")
    schedules.pause("daily")
    at("2026-03-11T12:00:00Z")
    schedules.edit("daily", timezone="America/New_York")
    at("2026-03-12T15:00:00Z")
    schedules.edit("daily", rule={"cron": "0 18 * * *"})
    for moment in ("2026-03-11T09:00Z", "2026-03-11T13:00Z", "2026-03-12T13:00Z"):
        said(schedules.explain("daily", moment), Verdict.SKIPPED, "paused by somebody")
    for moment in ("2026-03-12T09:00Z", "2026-03-11T18:00Z"):
        said(schedules.explain("daily", moment), Verdict.NO_OCCURRENCE, "not in its rule of then")


def test_the_anchor_of_then_is_that_of_the_rule_of_then(schedules: Schedules, at: Move) -> None:
    """Other rules have moved it since, and the clock was set back between."""
    schedules.add("tens", "work", {"every": 10, "unit": "minutes"})
    schedules.pause("tens")
    at("2026-03-10T12:55:00Z")
    schedules.resume("tens")
    at("2026-03-10T12:30:00Z")
    start = "2026-03-10T13:03:00Z"
    schedules.edit("tens", rule={"every": 1, "unit": "hours", "start_date": start})
    schedules.edit("tens", rule={"any": [{"every": 2, "unit": "hours"}]})
    said(schedules.explain("tens", "2026-03-10T12:20"), Verdict.SKIPPED, "one of a run of 5")
    said(schedules.explain("tens", "2026-03-10T12:50"), Verdict.SKIPPED)
    said(schedules.explain("tens", "2026-03-10T12:23"), Verdict.NO_OCCURRENCE, "of then: every 10")
    said(schedules.explain("tens", "2026-03-10T13:03"), Verdict.LATER)


def test_a_skip_is_explained_by_the_policies_it_was_decided_by(
    schedules: Schedules, storage: MemoryStorage, at: Move
) -> None:
    """Though an edit at the same instant, and one run of skips over it, changed them all."""
    rule = {**TENS, "limit": 1}
    schedules.add("tens", "work", rule, catch_up="skip", catch_up_window=1800)
    at("2026-03-10T13:05:00Z")
    schedules.edit("tens", catch_up="latest", grace=1, catch_up_window=None, rule=TENS)
    schedules.edit("tens", catch_up="latest", grace=2)
    with freeze_time("2026-03-10T13:35:00Z"):
        Expander(storage, emit=lambda event: None).tick(clock.now())
    expired = schedules.explain("tens", "2026-03-10T12:30")
    said(expired, Verdict.SKIPPED, "catch_up_window of 30 min")
    missed = schedules.explain("tens", "2026-03-10T12:40")
    said(missed, Verdict.SKIPPED, "its grace of 1 min, and catch_up is skip")
    said(schedules.explain("tens", "2026-03-10T13:20"), Verdict.SKIPPED, "its grace of 2 s")
    schedules.edit("tens", rule={**TENS, "limit": 1})
    schedules.edit("tens", rule={**TENS, "limit": 8})
    assert schedules.get("tens").materialised == 1
    schedules.edit("tens", rule={**TENS, "limit": 1})
    at("2026-03-10T13:45:00Z")
    schedules.edit("tens", rule={**TENS, "limit": 9})
    said(schedules.explain("tens", "2026-03-10T13:40"), Verdict.SKIPPED, "limit of 1 was used up")


def test_what_was_retired_is_held_against_the_rule_that_it_had(
    schedules: Schedules, storage: MemoryStorage, at: Move
) -> None:
    """And not that of the code that brought it back."""
    daily = schedules.add("daily", "work", {"cron": "0 9 * * *"})
    retired = retire(daily, clock.now(), actor="deploy")
    assert retired is not None
    assert storage.record_expansions([retired]) == [True]
    at("2026-03-13T12:00:00Z")
    revived = revive(retired.after, {"rule": {"cron": "0 18 * * *"}}, clock.now(), actor="deploy")
    assert storage.record_expansions([revived]) == [True]
    said(schedules.explain("daily", "2026-03-12T09:00"), Verdict.SKIPPED, "retired by deploy")
    said(schedules.explain("daily", "2026-03-12T18:00"), Verdict.NO_OCCURRENCE, "of then")


def test_a_broken_rule_is_said_to_be_broken(
    schedules: Schedules, storage: MemoryStorage, at: Move
) -> None:
    """While it is, and after it was mended."""
    tens = schedules.add("tens", "work", TENS)
    storage.save_schedule(replace(tens, rule={"cron": "bad"}, revision=2))
    at("2026-03-10T12:10:00Z")
    said(schedules.explain("tens", "2026-03-10T12:05"), Verdict.PAUSED, "its rule is broken")
    at("2026-03-10T12:40:00Z")
    schedules.edit("tens", rule=TENS)
    said(schedules.explain("tens", "2026-03-10T12:20"), Verdict.PAUSED, "rule of then is broken")


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00", "9999-12-31T23:59:59.999999-01:00"])
def test_a_moment_beyond_the_calendar_is_refused(
    schedules: Schedules, at: Move, moment: str
) -> None:
    schedules.add("nights", "work", NIGHTLY)
    with pytest.raises(InvalidRule, match=r"at: .* is outside the years 1 to 9999"):
        schedules.explain("nights", moment)


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"])
def test_the_ends_of_the_calendar_have_an_answer(
    schedules: Schedules, at: Move, moment: str
) -> None:
    """Though a clock in Berlin shows no such year."""
    schedules.add("nights", "work", NIGHTLY)
    said(schedules.explain("nights", moment), Verdict.NO_OCCURRENCE, "is not in its rule")


def test_what_had_a_job_that_is_gone_says_so(
    schedules: Schedules, storage: MemoryStorage, at: Move
) -> None:
    """It is not taken for lost, nor for what was never asked for: run, caught up or backfilled."""
    schedules.add("tens", "work", TENS, overlap="allow")
    at("2026-03-10T12:10:00Z")
    at("2026-03-10T13:05:00Z")
    schedules.backfill("tens", "2026-03-10T12:20", "2026-03-10T12:40")
    schedules.backfill("tens", "2026-03-09T12:00", "2026-03-09T12:10")
    for job in storage.acquire_next_jobs(100, now=clock.now()):
        storage.complete_job(job.id)
    at("2026-04-20T12:00:00Z")
    removed = storage.prune_jobs({JobStatus.COMPLETED: clock.now()}).removed

    gone = ["10T12:10", "10T13:00", "10T12:20", "10T12:30", "09T12:00"]
    assert removed == len(gone)
    for moment in gone:
        found = schedules.explain("tens", f"2026-03-{moment}")
        said(found, Verdict.REMOVED, f"{moment[3:]}:00 UTC", "no longer on record", "backfill does")
    said(schedules.explain("tens", "2026-03-10T12:40"), Verdict.SKIPPED, "missed")
    said(schedules.explain("tens", "2026-03-09T12:10"), Verdict.BEFORE, "only fix its phase")
    said(schedules.explain("tens", "2026-03-10T12:25"), Verdict.NO_OCCURRENCE)
