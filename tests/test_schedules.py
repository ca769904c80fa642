"""What people do to schedules: clauses 10.1 to 10.6, through the class they call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from freezegun import freeze_time

from scheduler import clock
from scheduler.errors import (
    InvalidData,
    InvalidOption,
    InvalidRule,
    InvalidScheduleMove,
    StaleSchedule,
    UnknownName,
)
from scheduler.expander import Expander
from scheduler.model import Action, JobStatus, Origin, Overlap, ScheduleStatus, SkipReason
from scheduler.registry import Registry, define
from scheduler.schedules import Schedules
from scheduler.storage import JobStorage, open_storage

from .values import utc

TENS = {"every": 10, "unit": "minutes", "start_date": "2026-01-01T00:00:00Z"}
DAILY = {"every": 1, "unit": "days", "start_date": "2026-01-01T09:00:00Z"}


def books(region: str = "eu") -> None: ...


@pytest.fixture(params=["memory://", "sqlite"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[JobStorage]:
    url = request.param if request.param != "sqlite" else f"sqlite:///{tmp_path / 'jobs.db'}"
    with open_storage(url) as opened:
        yield opened


@pytest.fixture
def schedules(storage: JobStorage) -> Schedules:
    return Schedules(storage, registry=Registry([define(books, name="books")]))


@pytest.fixture
def at(storage: JobStorage) -> Iterator[Callable[[str], None]]:
    """Sets the clock, and expands what is due then."""
    with freeze_time("2026-01-10T12:00:00Z") as frozen:

        def move(moment: str) -> None:
            frozen.move_to(utc(f"{moment}+00:00"))
            Expander(storage, emit=lambda event: None).tick(clock.now())

        yield move


def made(storage: JobStorage, origin: Origin | None = None) -> list[str]:
    jobs = [job for status in JobStatus for job in storage.get_jobs_by_status(status)]
    kept = [job for job in jobs if origin is None or job.origin is origin]
    return sorted(f"{job.occurrence_at:%d %H:%M}" for job in kept)


def finish(storage: JobStorage) -> None:
    for job in storage.acquire_next_jobs(100):
        storage.complete_job(job.id)


Move = Callable[[str], None]


def test_10_1_a_pause_keeps_the_phase_and_is_not_missed(
    schedules: Schedules, storage: JobStorage, at: Move
) -> None:
    schedules.add("tens", "books", TENS, overlap="allow", catch_up="all")
    at("2026-01-10T12:05:00")
    paused = schedules.pause("tens", actor="ada")
    assert (paused.status, paused.paused_by) == (ScheduleStatus.PAUSED, "ada")
    assert schedules.pause("tens").revision == paused.revision
    at("2026-01-10T12:47:00")
    assert made(storage) == ["10 12:00"]
    resumed = schedules.resume("tens")
    assert resumed.next_at == utc("2026-01-10T12:50:00+00:00")
    [skip] = schedules.skips("tens")
    assert (skip.reason, skip.count) == (SkipReason.PAUSED, 4)
    assert [note.action for note in schedules.notes("tens")] == [Action.PAUSED, Action.RESUMED]


def test_10_1_a_resume_may_catch_up(schedules: Schedules, storage: JobStorage, at: Move) -> None:
    schedules.add("tens", "books", TENS, overlap="allow", catch_up="all", catch_up_max=2)
    at("2026-01-10T12:05:00")
    schedules.pause("tens")
    at("2026-01-10T12:47:00")
    schedules.resume("tens", catch_up=True)
    assert made(storage, Origin.CATCH_UP) == ["10 12:00", "10 12:30", "10 12:40"]
    assert [(skip.reason, skip.count) for skip in schedules.skips("tens")] == [
        (SkipReason.MISSED, 2)
    ]


def test_10_1_an_end_that_passes_in_a_pause_completes(schedules: Schedules, at: Move) -> None:
    schedules.add("tens", "books", {**TENS, "end_date": "2026-01-10T12:30:00Z"})
    schedules.pause("tens")
    at("2026-01-10T13:00:00")
    assert schedules.get("tens").status is ScheduleStatus.COMPLETED
    with pytest.raises(InvalidScheduleMove, match="only while paused"):
        schedules.resume("tens")


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"every": 2, "unit": "days"}, ["11 09:00", "13 09:00"]),
        (
            {"every": 2, "unit": "days", "start_date": "2026-01-12T08:00:00Z"},
            ["12 08:00", "14 08:00"],
        ),
    ],
)
def test_10_2_an_edit_keeps_the_anchor(
    schedules: Schedules, at: Move, rule: dict[str, Any], expected: list[str]
) -> None:
    schedules.add("daily", "books", DAILY)
    edited = schedules.edit("daily", rule=rule)
    assert edited.revision == 2
    assert [f"{run.occurrence_at:%d %H:%M}" for run in schedules.preview("daily", 2)] == expected


def test_10_2_the_count_goes_on_unless_it_is_reset(schedules: Schedules, at: Move) -> None:
    schedules.add("tens", "books", {**TENS, "limit": 5}, overlap="allow")
    at("2026-01-10T12:00:00")
    at("2026-01-10T12:10:00")
    assert schedules.edit("tens", rule={**TENS, "limit": 2}).status is ScheduleStatus.COMPLETED
    at("2026-01-10T13:05:00")
    again = schedules.edit("tens", reset_count=True)
    assert (again.status, again.materialised) == (ScheduleStatus.ACTIVE, 0)
    assert again.next_at == utc("2026-01-10T13:10:00+00:00")
    assert [(skip.reason, skip.count) for skip in schedules.skips("tens")] == [
        (SkipReason.CAPPED, 5)
    ]


def test_10_2_what_is_queued_for_later_is_cancelled(
    schedules: Schedules, storage: JobStorage, at: Move
) -> None:
    """Later than now: only where the clock was set back."""
    schedules.add("tens", "books", TENS, overlap="allow")
    at("2026-01-10T12:00:00")
    at("2026-01-10T12:10:00")
    at("2026-01-10T12:05:00")
    schedules.edit("tens", rule={**TENS, "every": 20}, keep_pending=True)
    assert made(storage) == ["10 12:00", "10 12:10"]
    assert storage.get_jobs_by_status(JobStatus.CANCELLED) == []
    schedules.edit("tens", rule={**TENS, "every": 30})
    [cancelled] = storage.get_jobs_by_status(JobStatus.CANCELLED)
    assert cancelled.occurrence_at == utc("2026-01-10T12:10:00+00:00")


def test_10_2_a_stale_writer_is_refused(schedules: Schedules, at: Move) -> None:
    """By its revision, which an expansion does not raise."""
    read = schedules.add("tens", "books", TENS)
    at("2026-01-10T12:30:00")
    schedules.edit("tens", priority=1, revision=read.revision)
    with pytest.raises(StaleSchedule, match="at revision 2, not 1"):
        schedules.edit("tens", priority=2, revision=read.revision)
    assert schedules.get("tens").priority == 1


def test_10_2_policies_are_for_what_is_due(
    schedules: Schedules, storage: JobStorage, at: Move
) -> None:
    schedules.add("tens", "books", TENS, catch_up="skip")
    before = schedules.get("tens")
    edited = schedules.edit("tens", catch_up="all", overlap="allow", data={"region": "us"})
    assert edited.cursor_at == before.cursor_at
    at("2026-01-10T12:30:00")
    assert made(storage) == ["10 12:00", "10 12:10", "10 12:20", "10 12:30"]
    assert {job.data["region"] for job in storage.list_jobs()} == {"us"}
    detail = schedules.notes("tens")[0].detail
    assert detail["overlap"] == ["skip", "allow"]


def test_10_3_a_backfill_makes_what_has_no_job_once(
    schedules: Schedules, storage: JobStorage, at: Move
) -> None:
    schedules.add("tens", "books", TENS, catch_up="latest")
    at("2026-01-10T13:02:00")
    assert made(storage) == ["10 13:00"]
    filled = schedules.backfill("tens", "2026-01-10T11:30", "2026-01-10T13:02")
    times = ["11:30", "11:40", "11:50", "12:00", "12:10", "12:20", "12:30", "12:40", "12:50"]
    assert [f"{job.occurrence_at:%H:%M}" for job in filled] == times
    assert {job.origin for job in filled} == {Origin.BACKFILL}
    assert filled[0].previous_occurrence_at == utc("2026-01-10T11:20:00+00:00")
    assert schedules.backfill("tens", "2026-01-10T11:30", "2026-01-10T13:02") == []
    assert [(skip.count, skip.backfilled) for skip in schedules.skips("tens")] == [(6, 6)]
    assert schedules.get("tens").materialised == 1


@pytest.mark.parametrize(
    ("window", "message"),
    [
        (("2026-01-10T00:00", "2026-01-11T00:00"), "is later than now"),
        (("2026-01-10T10:00", "2026-01-10T10:00"), "is not after"),
        (("2000-01-01T00:00", "2026-01-10T00:00"), "at most 10000 at a time"),
    ],
)
def test_10_3_a_window_that_cannot_be_is_refused(
    schedules: Schedules, storage: JobStorage, at: Move, window: tuple[str, str], message: str
) -> None:
    start = "1999-01-01T00:00:00Z"
    schedules.add("seconds", "books", {"every": 1, "unit": "seconds", "start_date": start})
    with pytest.raises(InvalidOption, match=message):
        schedules.backfill("seconds", *window)
    assert storage.list_jobs() == []


def test_10_4_a_preview_of_a_window_says_what_is_dropped(schedules: Schedules, at: Move) -> None:
    rule = {**DAILY, "except": [{"dates": ["2026-01-12"]}], "limit": 2}
    schedules.add("daily", "books", rule)
    found = schedules.preview("daily", start="2026-01-01T00:00", end="2026-01-15T00:00")
    assert [(f"{each.occurrence_at:%d}", each.dropped) for each in found] == [
        ("11", None),
        ("12", SkipReason.EXCLUDED),
        ("13", None),
        ("14", SkipReason.CAPPED),
    ]
    assert schedules.get("daily").revision == 1


def test_10_4_a_preview_shows_the_jitter_that_will_be(
    schedules: Schedules, storage: JobStorage, at: Move
) -> None:
    schedules.add("tens", "books", TENS, jitter=600)
    [first] = schedules.preview("tens", 1)
    at("2026-01-10T12:00:00")
    [job] = storage.list_jobs()
    assert (job.occurrence_at, job.scheduled_at) == (first.occurrence_at, first.scheduled_at)
    assert first.scheduled_at > first.occurrence_at


def test_10_5_running_now_is_outside_the_series(
    schedules: Schedules, storage: JobStorage, at: Move
) -> None:
    """Even at an instant of it, and twice."""
    schedules.add("tens", "books", TENS)
    before = schedules.get("tens")
    extra = [schedules.run_now("tens"), schedules.run_now("tens", data={"region": "us"})]
    assert schedules.get("tens") == before
    assert [job.sequence for job in extra] == [None, None]
    at("2026-01-10T12:00:00")
    assert made(storage, Origin.OCCURRENCE) == ["10 12:00"]
    with pytest.raises(InvalidData):
        schedules.run_now("tens", data={"nope": 1})


@pytest.mark.parametrize(("keep_jobs", "status"), [(True, "pending"), (False, "cancelled")])
def test_10_6_a_deletion_cancels_what_has_not_started(
    schedules: Schedules, storage: JobStorage, at: Move, keep_jobs: bool, status: str
) -> None:
    old = schedules.add("tens", "books", TENS)
    at("2026-01-10T12:00:00")
    schedules.pause("tens")
    schedules.delete("tens", keep_jobs=keep_jobs)
    [job] = storage.list_jobs()
    assert job.status == status
    with pytest.raises(UnknownName):
        schedules.get("tens")
    assert (storage.list_skips(old.id), storage.list_notes(old.id)) == ([], [])
    new = schedules.add("tens", "books", TENS)
    assert new.id != old.id
    at("2026-01-10T12:10:00")
    assert len(storage.list_jobs()) == 2


def test_9_10_cancel_previous_calls_off_what_runs(
    schedules: Schedules, storage: JobStorage, at: Move
) -> None:
    schedules.add("tens", "books", TENS, overlap=Overlap.CANCEL_PREVIOUS)
    at("2026-01-10T12:00:00")
    [running] = storage.acquire_next_jobs(5)
    at("2026-01-10T12:10:00")
    stored = storage.get_job(running.id)
    assert stored is not None
    assert (stored.status, stored.lease) == (JobStatus.CANCELLED, None)
    assert [job.occurrence_at for job in storage.acquire_next_jobs(5)] == [
        utc("2026-01-10T12:10:00+00:00")
    ]


def test_9_10_what_is_queued_behind_starts_when_the_earlier_ends(
    schedules: Schedules, storage: JobStorage, at: Move
) -> None:
    schedules.add("tens", "books", TENS, overlap="queue_one")
    for minute in ("00", "10", "20"):
        at(f"2026-01-10T12:{minute}:00")
    first, *others = storage.acquire_next_jobs(5)
    assert (others, storage.next_job_at()) == ([], None)
    storage.complete_job(first.id)
    [second] = storage.acquire_next_jobs(5)
    assert second.previous_occurrence_at == first.occurrence_at
    assert [skip.reason for skip in schedules.skips("tens")] == [SkipReason.OVERLAP]


def test_6_1_a_one_off_in_the_past_runs_only_if_it_may(
    schedules: Schedules, storage: JobStorage, at: Move
) -> None:
    past = {"at": ["2020-01-01T00:00:00Z", "2021-01-01T00:00:00Z"]}
    with pytest.raises(InvalidOption, match="allow_past"):
        schedules.add("once", "books", past)
    schedules.add("once", "books", past, allow_past=True)
    at("2026-01-10T12:00:01")
    assert made(storage) == ["01 00:00"]
    assert schedules.get("once").status is ScheduleStatus.COMPLETED


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"job": "nope"}, UnknownName),
        ({"rule": {"cron": "61 * * * *"}}, InvalidRule),
        ({"data": {"nope": 1}}, InvalidData),
        ({"overlap": "sometimes"}, InvalidOption),
        ({"catch_up": "some"}, InvalidOption),
        ({"jitter": -1}, InvalidOption),
        ({"priority": "high"}, InvalidOption),
        ({"queue": ""}, InvalidOption),
        ({"timezone": "Mars/Base"}, InvalidRule),
        ({"grape": 1}, UnknownName),
    ],
    ids=str,
)
def test_bad_input_is_refused_and_nothing_is_written(
    schedules: Schedules, at: Move, given: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        schedules.add("new", **{"job": "books", "rule": TENS, **given})
    stored = schedules.add("old", "books", TENS)
    with pytest.raises(error):
        schedules.edit("old", **given)
    assert schedules.all() == [stored]


def test_a_name_is_taken_once(schedules: Schedules, at: Move) -> None:
    schedules.add("tens", "books", TENS)
    with pytest.raises(StaleSchedule, match="edit it, or delete it first"):
        schedules.add("tens", "books", DAILY)


def test_a_zone_is_edited_and_the_wall_clock_stays(schedules: Schedules, at: Move) -> None:
    schedules.add("nights", "books", {"cron": "30 2 * * *"}, timezone="Europe/Berlin")
    schedules.edit("nights", timezone="Asia/Tokyo")
    [run] = schedules.preview("nights", 1)
    assert run.occurrence_at == utc("2026-01-11T02:30:00+09:00")


def test_nothing_is_lost_between_two_rules(
    schedules: Schedules, storage: JobStorage, at: Move
) -> None:
    """What was due under the old rule is decided by it, in the same write."""
    schedules.add("tens", "books", TENS, catch_up="all", overlap="allow")
    with freeze_time("2026-01-10T12:25:00Z"):
        schedules.edit("tens", rule={"cron": "0 * * * *"})
    assert made(storage) == ["10 12:00", "10 12:10", "10 12:20"]
    assert isinstance(schedules.get("tens").rule_since, datetime)
