"""What people do to schedules: clauses 10.1 to 10.6, through the class they call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from freezegun import freeze_time

from scheduler import clock
from scheduler.errors import (
    InvalidData,
    InvalidInput,
    InvalidOption,
    InvalidRule,
    InvalidScheduleMove,
    SchedulerError,
    StaleSchedule,
    UnknownName,
)
from scheduler.expander import Expander
from scheduler.expansion import expand
from scheduler.model import (
    Action,
    JobStatus,
    Origin,
    Overlap,
    Schedule,
    ScheduleStatus,
    SkipReason,
)
from scheduler.operations import edit
from scheduler.registry import Registry, define
from scheduler.rules import every
from scheduler.schedules import Schedules
from scheduler.storage import JobStorage, open_storage
from scheduler.storage.memory import MemoryStorage
from scheduler.testing.values import NOON, utc

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
    while jobs := storage.acquire_next_jobs(100):
        for job in jobs:
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
    assert [note.action for note in schedules.notes("tens")] == [
        Action.CREATED,
        Action.PAUSED,
        Action.RESUMED,
    ]


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
    detail = schedules.notes("tens")[1].detail
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


def test_10_3_a_backfill_does_not_make_again_what_was_removed(
    schedules: Schedules, storage: JobStorage, at: Move
) -> None:
    """Whoever made it: the second time is nothing, though no job of the first is left."""
    schedules.add("tens", "books", TENS, catch_up="latest", overlap="allow")
    at("2026-01-10T13:02:00")
    schedules.backfill("tens", "2026-01-10T11:30", "2026-01-10T12:30")
    at("2026-01-10T13:30:00")
    for job in storage.acquire_next_jobs(100, now=clock.now()):
        storage.complete_job(job.id)
    at("2026-03-10T13:30:00")
    storage.prune_jobs({JobStatus.COMPLETED: clock.now()})
    assert made(storage) == ["10 13:30"]
    filled = schedules.backfill("tens", "2026-01-10T11:20", "2026-01-10T13:40")
    times = ["11:20", "12:30", "12:40", "12:50", "13:10", "13:20"]
    assert [f"{job.occurrence_at:%H:%M}" for job in filled] == times


def test_10_1_a_pause_that_was_backfilled_and_pruned_is_not_caught_up_on(
    schedules: Schedules, storage: JobStorage, at: Move
) -> None:
    """What lies beyond the cursor has to be there when it is decided."""
    schedules.add("tens", "books", TENS, overlap="allow")
    at("2026-01-10T12:00:00")
    schedules.pause("tens")
    at("2026-01-10T13:02:00")
    schedules.backfill("tens", "2026-01-10T12:10", "2026-01-10T13:00")
    for job in storage.acquire_next_jobs(100, now=clock.now()):
        storage.complete_job(job.id)
    at("2026-01-10T13:03:00")
    storage.prune_jobs({JobStatus.COMPLETED: clock.now()})
    schedules.resume("tens", catch_up=True)
    waiting = storage.get_jobs_by_status(JobStatus.PENDING)
    assert [f"{job.occurrence_at:%H:%M}" for job in waiting] == ["13:00"]


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
        ({"job": None}, InvalidOption),
        ({"job": 5}, InvalidOption),
        ({"rule": None}, InvalidRule),
        ({"rule": 5}, InvalidRule),
        ({"priority": None}, InvalidOption),
        ({"grace": None}, InvalidOption),
        ({"data": [1]}, InvalidData),
        ({"data": "x"}, InvalidData),
        ({"data": 5}, InvalidData),
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


@pytest.mark.parametrize("changes", [{"data": None}, {"queue": None}, {"timezone": None}])
def test_8_3_an_edit_sets_nothing_to_null_that_must_be_there(
    schedules: Schedules, at: Move, changes: dict[str, Any]
) -> None:
    """What may be open, is set so."""
    stored = schedules.add("tens", "books", TENS, timeout=5, catch_up_window=60)
    with pytest.raises(InvalidInput):
        schedules.edit("tens", **changes)
    assert schedules.all() == [stored]
    edited = schedules.edit("tens", timeout=None, catch_up_window=None)
    assert (edited.timeout, edited.catch_up_window) == (None, None)


@pytest.mark.parametrize("actor", ["a\0b", "a" * 256, "\ud800", "", 5])
def test_an_actor_is_a_name(schedules: Schedules, at: Move, actor: Any) -> None:
    """Whatever it is that somebody does."""
    stored = schedules.add("tens", "books", TENS)
    for act in (
        lambda: schedules.pause("tens", actor=actor),
        lambda: schedules.resume("tens", actor=actor),
        lambda: schedules.edit("tens", priority=3, actor=actor),
        lambda: schedules.backfill("tens", "2026-01-09T00:00", "2026-01-09T01:00", actor=actor),
    ):
        with pytest.raises(InvalidOption, match="actor: "):
            act()
    assert schedules.all() == [stored]


@pytest.mark.parametrize("name", [5, None, "", "a\0b", "a" * 256])
def test_what_is_no_name_is_refused(schedules: Schedules, at: Move, name: Any) -> None:
    with pytest.raises(InvalidOption, match="schedule name: "):
        schedules.get(name)


def test_a_duration_that_is_refused_is_shown_in_seconds(schedules: Schedules, at: Move) -> None:
    with pytest.raises(InvalidOption, match="timeout: 0 is not a number of seconds above 0"):
        schedules.add("tens", "books", TENS, timeout=timedelta(0))


def test_who_made_a_schedule_is_on_record(schedules: Schedules, at: Move) -> None:
    made = schedules.add("tens", "books", TENS, actor="ada")
    [note] = schedules.notes("tens")
    assert (note.action, note.actor, note.revision) == (Action.CREATED, "ada", 1)
    assert note.at == made.created_at
    with pytest.raises(InvalidOption, match="actor: "):
        schedules.add("third", "books", TENS, actor="")
    assert schedules.all() == [made]


class Hurried(MemoryStorage):
    """A storage in which others expand and edit a schedule as soon as it is there."""

    def save_schedule(self, schedule: Schedule) -> None:
        super().save_schedule(schedule)
        expansion = expand(schedule, clock.now())
        edited = edit(expansion.after, {"priority": 5}, clock.now(), actor="bob")
        assert edited is not None
        self.record_expansions([expansion])
        self.record_expansions([edited])


def test_who_made_a_schedule_is_on_record_though_others_were_at_it_at_once(at: Move) -> None:
    registry = Registry([define(books, name="books")])
    schedules = Schedules(Hurried(), registry=registry)
    schedules.add("tens", "books", TENS, actor="ada")
    assert sorted((note.revision, note.actor) for note in schedules.notes("tens")) == [
        (1, "ada"),
        (2, "bob"),
    ]


class Raced(MemoryStorage):
    """A storage in which another is first with each name."""

    def save_schedule(self, schedule: Schedule) -> None:
        super().save_schedule(replace(schedule, id="another"))
        super().save_schedule(schedule)


@pytest.mark.parametrize("made", [MemoryStorage, Raced])
def test_a_name_is_taken_once(made: type[MemoryStorage], at: Move) -> None:
    """By whoever is first, at the same moment too."""
    schedules = Schedules(made(), registry=Registry([define(books, name="books")]))
    if made is MemoryStorage:
        schedules.add("tens", "books", TENS)
    with pytest.raises(StaleSchedule, match="is there already; edit it, or delete it first"):
        schedules.add("tens", "books", DAILY)


def test_many_schedules_are_added_at_once(schedules: Schedules, at: Move) -> None:
    """Each as it would be alone, with who made it on record."""
    given: list[dict[str, Any]] = [
        {"name": "tens", "job": "books", "rule": TENS, "priority": 3},
        {"name": "daily", "job": "books", "rule": DAILY, "timezone": "Europe/Berlin"},
    ]
    added = schedules.add_many(given, actor="ada")
    assert [each.name for each in added] == ["tens", "daily"]
    assert sorted(added, key=lambda each: each.name) == schedules.all()
    assert [note.actor for each in added for note in schedules.notes(each.name)] == ["ada"] * 2
    alone = schedules.add(**{**given[0], "name": "alone"})
    assert alone == replace(added[0], id=alone.id, name="alone")
    assert schedules.add_many([]) == []


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"name": "there"}, "schedule 'there': is there already"),
        ({"name": "new"}, "schedule 'new': is there already"),
        ({"name": "bad", "rule": {"cron": "61 * * * *"}}, "minute: 61 is not in"),
        ({"name": "bad", "colour": "red"}, "option: colour is not known"),
    ],
)
def test_many_schedules_are_added_all_or_none(
    schedules: Schedules, at: Move, wrong: dict[str, Any], why: str
) -> None:
    there = schedules.add("there", "books", TENS)
    good = {"name": "new", "job": "books", "rule": TENS}
    with pytest.raises(SchedulerError, match=why):
        schedules.add_many([good, {**good, **wrong}])
    assert schedules.all() == [there]


def test_a_zone_beside_that_of_the_rule_is_refused(schedules: Schedules, at: Move) -> None:
    """When it is added as when it is edited: one of them would be ignored."""
    rule = {"cron": "0 9 * * *", "timezone": "Europe/Berlin"}
    with pytest.raises(InvalidOption, match="UTC is not the rule's Europe/Berlin"):
        schedules.add("daily", "books", rule, timezone="UTC")
    schedules.add("daily", "books", rule, timezone="Europe/Berlin")
    with pytest.raises(InvalidOption, match="UTC is not the rule's Europe/Berlin"):
        schedules.edit("daily", timezone="UTC")


def test_a_broken_rule_is_logged_once(
    schedules: Schedules, storage: JobStorage, at: Move, caplog: pytest.LogCaptureFixture
) -> None:
    """And not again when somebody pauses the schedule."""
    tens = schedules.add("tens", "books", TENS)
    storage.save_schedule(replace(tens, rule={"cron": "bad"}, revision=2))
    at("2026-01-10T12:00:00")
    schedules.pause("tens")
    assert [record.getMessage() for record in caplog.records] == ["schedule paused"]


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


def test_9_11_a_backfill_fills_what_was_skipped_before_an_edit(
    schedules: Schedules, storage: JobStorage, at: Move
) -> None:
    """Whether the edit touched the limit alone, or gave a rule that has some of it too."""
    schedules.add("tens", "books", TENS, overlap="allow")
    at("2026-01-10T12:00:00")
    schedules.pause("tens")
    at("2026-01-10T12:47:00")
    resumed = schedules.resume("tens")
    limited = schedules.edit("tens", rule={**TENS, "limit": 50})
    assert limited.rule_since == resumed.rule_since
    at("2026-01-10T12:48:00")
    schedules.backfill("tens", "2026-01-10T12:00", "2026-01-10T12:15")
    assert [(skip.count, skip.backfilled) for skip in schedules.skips("tens")] == [(4, 1)]
    schedules.edit("tens", rule={**TENS, "every": 5})
    assert schedules.edit("tens", rule={**TENS, "every": 15}).rule_since > limited.rule_since
    filled = schedules.backfill("tens", "2026-01-10T12:00", "2026-01-10T12:48")
    assert [f"{job.occurrence_at:%H:%M}" for job in filled] == ["12:15", "12:30", "12:45"]
    assert [(skip.count, skip.backfilled) for skip in schedules.skips("tens")] == [(4, 2)]


def test_10_2_a_limit_keeps_anchor_and_queued_jobs(
    schedules: Schedules, storage: JobStorage, at: Move
) -> None:
    """And so does what is no rule: only a new set calls off what the old one queued."""
    either = {"any": [{"every": 20, "unit": "minutes"}], "start_date": "2026-01-10T12:10:00Z"}
    schedules.add("twenties", "books", either, overlap="allow", catch_up="all")
    at("2026-01-10T12:30:00")
    before = schedules.get("twenties")
    at("2026-01-10T12:05:00")
    schedules.edit("twenties", priority=3)
    edited = schedules.edit("twenties", rule={**either, "limit": 9})
    assert (edited.anchor_at, edited.next_at) == (before.anchor_at, before.next_at)
    assert storage.get_jobs_by_status(JobStatus.CANCELLED) == []


def test_10_2_an_edit_keeps_a_start_as_it_was_written(schedules: Schedules, at: Move) -> None:
    """2.5: one inside a gap stands for the days after it, too; the code may leave it out."""
    rule = {"every": 1, "unit": "days", "start_date": "2026-03-08T02:30:00"}
    schedules.add("nights", "books", rule, timezone="America/New_York")
    edited = schedules.edit("nights", rule={"every": 1, "unit": "days", "limit": 100})
    assert edited.rule["start_date"] == "2026-03-08T02:30:00"
    runs = schedules.preview("nights", 2)
    assert [run.occurrence_at.isoformat() for run in runs] == [
        "2026-03-08T07:30:00+00:00",
        "2026-03-09T06:30:00+00:00",
    ]
    again = schedules.edit("nights", rule={"every": 1, "unit": "days", "limit": 100})
    assert again.revision == edited.revision
    ended = {"every": 1, "unit": "days", "end_date": "2026-02-01T00:00:00"}
    assert schedules.edit("nights", rule=ended).status is ScheduleStatus.COMPLETED


def test_10_1_what_is_active_again_is_paused_by_nobody(schedules: Schedules, at: Move) -> None:
    """A schedule that completed in its pause, and was given more to do."""
    schedules.add("tens", "books", {**TENS, "end_date": "2026-01-10T12:30:00Z"})
    schedules.pause("tens", actor="ada")
    at("2026-01-10T13:00:00")
    edited = schedules.edit("tens", rule=TENS)
    assert (edited.status, edited.paused_at) == (ScheduleStatus.ACTIVE, None)
    assert edited.paused_by is None


@pytest.mark.parametrize(
    ("catch_up", "caught_up", "skipped"),
    [
        ("all", ["10 12:20", "10 12:40"], []),
        ("latest", ["10 12:40"], [("missed", "12:10", "12:30", 3, 2)]),
        ("skip", [], [("missed", "12:10", "12:40", 4, 2)]),
        (None, [], [("paused", "12:10", "12:40", 4, 2)]),
    ],
)
def test_10_3_a_backfill_leaves_a_pause_to_its_end(
    schedules: Schedules,
    storage: JobStorage,
    at: Move,
    catch_up: str | None,
    caught_up: list[str],
    skipped: list[tuple[str, str, str, int, int]],
) -> None:
    """It ignores cursor and pause; what it made is made once, and in no limit."""
    rule = {**TENS, "limit": 3}
    schedules.add("tens", "books", rule, overlap="allow", catch_up=catch_up or "all")
    at("2026-01-10T12:00:00")
    paused = schedules.pause("tens")
    at("2026-01-10T12:47:00")
    schedules.backfill("tens", "2026-01-10T12:10", "2026-01-10T12:11")
    schedules.backfill("tens", "2026-01-10T12:30", "2026-01-10T12:31")
    assert schedules.get("tens").cursor_at == paused.cursor_at
    schedules.resume("tens", catch_up=catch_up is not None)
    assert made(storage, Origin.BACKFILL) == ["10 12:10", "10 12:30"]
    assert made(storage, Origin.CATCH_UP) == caught_up
    assert schedules.get("tens").materialised == 1 + len(caught_up)
    assert [
        (
            str(run.reason),
            f"{run.first_at:%H:%M}",
            f"{run.last_at:%H:%M}",
            run.count,
            run.backfilled,
        )
        for run in schedules.skips("tens")
    ] == skipped


def test_10_3_what_was_backfilled_in_a_pause_stays_when_it_ends_otherwise(
    schedules: Schedules, storage: JobStorage, at: Move
) -> None:
    """By an end that passes, by another rule, or under a clock that is set back."""
    schedules.add("ends", "books", {**TENS, "end_date": "2026-01-10T12:30:00Z"})
    schedules.add("tens", "books", TENS, overlap="allow", catch_up="all")
    schedules.add("back", "books", TENS, overlap="allow", catch_up="all")
    at("2026-01-10T12:00:00")
    for name in ("ends", "tens", "back"):
        schedules.pause(name)
    with freeze_time("2026-01-10T12:47:00Z"):
        for name in ("ends", "tens", "back"):
            schedules.backfill(name, "2026-01-10T12:20", "2026-01-10T12:31")
        schedules.edit("tens", rule={"cron": "0 * * * *"})
    at("2026-01-10T12:12:00")
    assert schedules.resume("back", catch_up=True).cursor_at == utc("2026-01-10T12:30:00+00:00")
    at("2026-01-10T12:48:00")
    assert schedules.get("ends").status is ScheduleStatus.COMPLETED

    def runs(name: str) -> list[tuple[int, int]]:
        return [(run.count, run.backfilled) for run in schedules.skips(name)]

    assert (runs("ends"), runs("tens"), runs("back")) == ([(3, 2)], [(4, 2)], [(2, 2)])
    assert made(storage, Origin.CATCH_UP) == ["10 12:10", "10 12:40"]
    assert made(storage, Origin.OCCURRENCE) == ["10 12:00"] * 3


@pytest.mark.parametrize("unfinished", [True, False])
@pytest.mark.parametrize("overlap", Overlap)
@pytest.mark.parametrize("catch_up", ["skip", "latest", "all"])
def test_10_4_what_a_preview_says_is_what_runs(
    schedules: Schedules,
    storage: JobStorage,
    at: Move,
    catch_up: str,
    overlap: Overlap,
    unfinished: bool,
) -> None:
    """Of a schedule that is overdue, too, and within its limit."""
    rule = {**TENS, "limit": 5}
    options: dict[str, Any] = {"catch_up": catch_up, "overlap": overlap}
    schedules.add("tens", "books", rule, catch_up_max=3, **options)
    at("2026-01-10T12:00:00")
    if not unfinished:
        finish(storage)
    with freeze_time("2026-01-10T15:02:00Z") as frozen:
        said = schedules.preview("tens", 4)
        window = schedules.preview("tens", start="2026-01-10T14:30", end="2026-01-10T16:00")
        assert [each for each in window if not each.dropped] == said[: len(window)]
        while (schedule := schedules.get("tens")).next_at is not None:
            frozen.move_to(max(clock.now(), schedule.next_at))
            Expander(storage, emit=lambda event: None).tick(clock.now())
            finish(storage)
            if len(storage.list_jobs()) > 4:
                break
    jobs = sorted(storage.list_jobs(), key=lambda job: job.occurrence_at or NOON)[1:]
    assert [(job.occurrence_at, job.scheduled_at) for job in jobs] == [
        (each.occurrence_at, each.scheduled_at) for each in said
    ]


def test_10_4_a_window_says_what_becomes_of_what_is_overdue(schedules: Schedules, at: Move) -> None:
    """With nothing of before the cursor, which is on record."""
    schedules.add("tens", "books", TENS, catch_up_window=1200, overlap="allow")
    at("2026-01-10T12:00:00")
    with freeze_time("2026-01-10T12:32:00Z"):
        found = schedules.preview("tens", start="2026-01-10T11:00", end="2026-01-10T12:41")
    assert [(f"{each.occurrence_at:%H:%M}", each.dropped) for each in found] == [
        ("12:10", SkipReason.EXPIRED),
        ("12:20", SkipReason.MISSED),
        ("12:30", None),
        ("12:40", None),
    ]


def test_10_4_a_rule_that_is_stored_nowhere_has_a_past(schedules: Schedules, at: Move) -> None:
    """As if it had been added at the start, or now if that is earlier."""
    nine = {"cron": "0 9 * * *", "limit": 3}

    def days(**given: Any) -> list[str]:
        return [f"{each.occurrence_at:%y-%m-%d}" for each in schedules.preview(nine, **given)]

    assert days() == ["26-01-11", "26-01-12", "26-01-13"]
    assert days(start="2020-01-01T00:00", n=2) == ["20-01-01", "20-01-02"]
    assert days(start="2020-01-01T00:00", end="2020-01-02T09:00") == ["20-01-01"]
    assert days(start="2026-01-12T10:00") == ["26-01-13"]
    [first, *_] = schedules.preview({"every": 1, "unit": "days"}, start="0001-01-01T00:00")
    assert first.occurrence_at.year == 1


def test_10_4_a_window_shows_what_is_excluded_wherever_it_is(
    schedules: Schedules, at: Move
) -> None:
    """By an exdate, and inside of a union."""
    dates = {"rrule": "FREQ=DAILY", "dtstart": "2026-01-10T09:00", "exdate": ["2026-01-12T09:00"]}
    inner = {"cron": "0 10 * * *", "except": [{"dates": ["2026-01-11"]}]}
    found = schedules.preview({"any": [dates, inner]}, end="2026-01-13T00:00")
    assert [(f"{each.occurrence_at:%d %H}", each.dropped) for each in found] == [
        ("11 09", None),
        ("11 10", SkipReason.EXCLUDED),
        ("12 09", SkipReason.EXCLUDED),
        ("12 10", None),
    ]


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (ScheduleStatus.COMPLETED, SkipReason.CAPPED),
        (ScheduleStatus.PAUSED, SkipReason.PAUSED),
    ],
)
def test_10_4_a_window_of_what_does_not_run_says_why(
    schedules: Schedules, at: Move, status: ScheduleStatus, reason: SkipReason
) -> None:
    is_paused = status is ScheduleStatus.PAUSED
    schedules.add("tens", "books", TENS if is_paused else {**TENS, "limit": 1})
    if is_paused:
        schedules.pause("tens")
    at("2026-01-10T12:05:00")
    assert schedules.get("tens").status is status
    assert schedules.preview("tens") == []
    found = schedules.preview("tens", end="2026-01-10T12:31")
    assert [each.dropped for each in found] == [reason] * 3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"start": "2026-02-03T00:00", "end": "2026-02-01T00:00"},
            "to: .* is not after 2026-02-03",
        ),
        ({"end": "2026-01-01T00:00"}, "to: .* is not after 2026-01-10"),
        ({"start": "soon"}, "from: soon is not a date-time"),
        ({"end": "soon"}, "to: soon is not a date-time"),
        ({"n": 1001}, "n: 1001 is not an integer from 1 to 1000"),
    ],
)
@pytest.mark.parametrize("subject", ["tens", TENS])
def test_10_4_a_preview_that_cannot_be_is_refused(
    schedules: Schedules, at: Move, subject: Any, given: dict[str, Any], message: str
) -> None:
    schedules.add("tens", "books", TENS)
    with pytest.raises(InvalidInput, match=message):
        schedules.preview(subject, **given)


def test_10_4_a_preview_has_at_most_a_thousand(schedules: Schedules, at: Move) -> None:
    seconds = {"cron": "* * * * * *", "except": [{"times": [["12:00", "12:05"]]}]}
    assert len(schedules.preview(seconds, end="2026-01-11T00:00")) == 1000


# --- what shares a limit --------------------------------------------------------------------


def test_the_key_of_a_schedules_jobs_follows_its_data() -> None:
    """From its creation, through every edit, to a run by hand with data of its own."""

    def sync(account: str = "acme") -> None: ...

    registry = Registry([define(sync, name="sync", concurrency_key="of {account}")])
    schedules = Schedules(MemoryStorage(), registry=registry)
    assert schedules.add("s", "sync", every(hours=1)).concurrency_key == "of acme"
    edited = schedules.edit("s", data={"account": "zeta"})
    assert edited.concurrency_key == "of zeta"
    assert schedules.run_now("s").concurrency_key == "of zeta"
    assert schedules.run_now("s", data={"account": "x"}).concurrency_key == "of x"
    assert schedules.edit("s", priority=1).concurrency_key == "of zeta"


def test_a_key_that_cannot_be_made_of_the_data_is_refused() -> None:
    """As the data, not as a fault of ours."""

    def sync(account: str) -> None: ...

    definition = define(sync, name="sync", concurrency_key="{account:05d}")
    with pytest.raises(InvalidData, match="Unknown format code 'd'"):
        definition.key_for({"account": "acme"})
