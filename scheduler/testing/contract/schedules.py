"""Laws of schedules: names, revisions, what is due, declarations; and of an empty store."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import pytest

from scheduler.errors import NaiveTime, StaleSchedule
from scheduler.expansion import expand
from scheduler.model import (
    CatchUp,
    Declaration,
    Overlap,
    Schedule,
    ScheduleStatus,
    Skip,
    SkipReason,
)
from scheduler.storage import JobStorage
from scheduler.testing.contract.acts import LARGEST, SMALLEST, THREADS, a_note, a_skip, at_once
from scheduler.testing.contract.names import ALIKE, ASCENDING, HOSTILE_NAMES, brief
from scheduler.testing.contract.saving import JSON_VALUES
from scheduler.testing.values import (
    BEHIND,
    HOUR,
    HOURLY,
    MINUTE,
    NOON,
    SECOND,
    a_job,
    a_schedule,
    utc,
)


class ScheduleLaws:
    """A schedule is written by who read it last."""

    def test_a_schedule_comes_back_as_it_was_saved(self, storage: JobStorage) -> None:
        """Every field survives, to the microsecond."""
        schedule = a_schedule(
            "O'Hara's 🐎 %s",
            rule={"every": 2, "unit": "days", "start_date": "2026-01-31T09:00", "limit": 7},
            timezone="Europe/Berlin",
            data={"region": "\x00eu"},
            queue="q",
            priority=-3,
            max_retries=2,
            timeout=timedelta(seconds=1.5),
            catch_up=CatchUp.ALL,
            grace=timedelta(milliseconds=1),
            catch_up_max=9,
            concurrency_key="account 7",
            module="jobs.books",
            created_at=utc("2026-01-05T12:00:00.000001+00:00"),
        )
        stamped = replace(schedule, status=ScheduleStatus.PAUSED, error="why", materialised=3)
        storage.save_schedule(stamped)
        assert storage.get_schedule(stamped.name) == stamped

    def test_what_became_of_a_schedule_comes_back(self, storage: JobStorage) -> None:
        """Its pause, its declaration, and the run of skips that is still open."""
        run = Skip(
            schedule_id="s",
            reason=SkipReason.OVERLAP,
            first_at=NOON,
            last_at=NOON + MINUTE,
            count=2,
            recorded_at=NOON + SECOND,
            backfilled=1,
        )
        schedule = a_schedule(
            paused_at=NOON,
            paused_by="ada",
            last_occurrence_at=NOON,
            open_skip=run,
            declared="d",
        )
        storage.save_schedule(schedule)
        assert storage.get_schedule(schedule.name) == schedule

    @pytest.mark.parametrize("field", ["status", "catch_up", "overlap"])
    def test_every_choice_of_a_schedule_comes_back(self, storage: JobStorage, field: str) -> None:
        """Where it stands, and how it is expanded."""
        kinds: dict[str, type[StrEnum]]
        kinds = {"status": ScheduleStatus, "catch_up": CatchUp, "overlap": Overlap}
        choices: list[Any] = list(kinds[field])
        saved = [replace(a_schedule(each), **{field: each}) for each in choices]
        for schedule in saved:
            storage.save_schedule(schedule)
        assert [storage.get_schedule(each.name) for each in saved] == saved

    @pytest.mark.parametrize("priority", [SMALLEST, LARGEST])
    def test_the_numbers_of_a_schedule_are_of_32_bits(
        self, storage: JobStorage, priority: int
    ) -> None:
        """Those that count, and those that say how often or how soon."""
        schedule = a_schedule(
            priority=priority, max_retries=LARGEST, catch_up_max=LARGEST, materialised=LARGEST
        )
        storage.save_schedule(schedule)
        assert storage.get_schedule(schedule.name) == schedule

    @pytest.mark.parametrize(
        "duration", [timedelta(microseconds=1), timedelta(days=36500, microseconds=-1)], ids=str
    )
    def test_the_durations_of_a_schedule_are_kept_to_the_microsecond(
        self, storage: JobStorage, duration: timedelta
    ) -> None:
        """However short, and as long as a century."""
        schedule = a_schedule(
            timeout=duration, grace=duration, catch_up_window=duration, jitter=duration
        )
        storage.save_schedule(schedule)
        assert storage.get_schedule(schedule.name) == schedule

    def test_any_json_survives_in_a_schedule(self, storage: JobStorage) -> None:
        """As its data, and as what its rule says."""
        values: dict[str, Any] = {"values": JSON_VALUES}
        schedule = replace(a_schedule(data=values), rule=values)
        storage.save_schedule(schedule)
        found = storage.get_schedule(schedule.name)
        assert found == schedule
        assert found is not None
        assert json.dumps(found.data, sort_keys=True) == json.dumps(values, sort_keys=True)

    def test_schedules_are_found_by_their_names(self, storage: JobStorage) -> None:
        """Those there are, in order; and, if asked, those that a module declares."""
        by_hand, declared = a_schedule("by hand"), a_schedule("declared", module="jobs.books")
        hostile = [
            replace(a_schedule(name), id=f"id {place}") for place, name in enumerate(HOSTILE_NAMES)
        ]
        for schedule in (declared, by_hand, a_schedule("other"), *hostile):
            storage.save_schedule(schedule)
        assert storage.get_schedules(["none", "by hand"]) == [by_hand]
        assert storage.get_schedules(["declared", "by hand"]) == [by_hand, declared]
        assert storage.get_schedules(["by hand"], declared=True) == [by_hand, declared]
        assert storage.get_schedules([], declared=True) == [declared]
        assert storage.get_schedules([]) == []
        found = storage.get_schedules([*HOSTILE_NAMES, *(f"none {n}" for n in range(1500))])
        assert found == sorted(hostile, key=lambda schedule: schedule.name)

    def test_many_new_schedules_are_saved_with_their_notes(self, storage: JobStorage) -> None:
        """In one go, and each in every field as it would be alone."""
        run = a_skip(a_schedule("fourth"), reason=SkipReason.OVERLAP)
        century = timedelta(days=36500, microseconds=-1)
        values: dict[str, Any] = {"values": JSON_VALUES, "text": "\x00 'é🐎"}
        schedules = [
            *(replace(a_schedule(n), id=f"id {place}") for place, n in enumerate(HOSTILE_NAMES)),
            a_schedule("second", timeout=century, grace=century, jitter=timedelta(microseconds=1)),
            replace(a_schedule("third", data=values), rule=values, concurrency_key="k"),
            replace(a_schedule("fourth"), open_skip=run, error="why", paused_at=NOON, next_at=None),
            a_schedule("fifth", catch_up_window=timedelta(seconds=0.1), priority=SMALLEST),
        ]
        notes = [a_note(each, detail=values) for each in schedules]
        storage.save_schedules(schedules, notes=notes)
        found = [storage.get_schedule(each.name) for each in schedules]
        assert found == schedules
        assert json.dumps([each and each.data for each in found]) == json.dumps(
            [each.data for each in schedules]
        )
        assert [storage.list_notes(each.id) for each in schedules] == [[note] for note in notes]
        storage.save_schedules([])

    @pytest.mark.parametrize("taken", ["stored", "twice", "old"])
    def test_new_schedules_are_saved_all_or_none(self, storage: JobStorage, taken: str) -> None:
        """Not if a name is another's, or one is no new schedule."""
        there = a_schedule("there")
        storage.save_schedule(there)
        wrong = {
            "stored": replace(a_schedule("other"), name="there"),
            "twice": replace(a_schedule("other"), name="new"),
            "old": replace(there, revision=2),
        }[taken]
        new = a_schedule("new")
        with pytest.raises(StaleSchedule):
            storage.save_schedules([new, wrong], notes=[a_note(new)])
        assert storage.list_schedules() == [there]
        assert storage.list_notes(new.id) == []

    @pytest.mark.parametrize(
        "field", ["created_at", "cursor_at", "next_at", "paused_at", "last_occurrence_at"]
    )
    def test_a_naive_instant_of_a_schedule_is_refused(
        self, storage: JobStorage, field: str
    ) -> None:
        """And nothing is written."""
        given: dict[str, Any] = {field: datetime(2026, 1, 5, 12)}  # noqa: DTZ001
        with pytest.raises(NaiveTime):
            storage.save_schedule(replace(a_schedule(), **given))
        assert storage.list_schedules() == []

    @pytest.mark.parametrize("name", HOSTILE_NAMES, ids=brief)
    def test_any_name_is_only_the_name_of_a_schedule(self, storage: JobStorage, name: str) -> None:
        """It is found, moved and deleted by it, and nothing else is."""
        decoy, schedule = a_schedule("decoy"), replace(a_schedule(name), id=name[:64])
        for each in (decoy, schedule):
            storage.save_schedule(each)
        assert storage.get_schedule(name) == schedule
        expansion = expand(schedule, NOON)
        assert storage.record_expansions([expansion]) == [True]
        assert storage.list_jobs() == list(expansion.jobs)
        assert storage.delete_schedule(name) is True
        assert storage.list_schedules() == [decoy]

    def test_schedules_that_look_alike_are_different_schedules(self, storage: JobStorage) -> None:
        """By name and by id: each has its own cursor, jobs and record."""
        saved = [replace(a_schedule(name, catch_up=CatchUp.SKIP), id=name) for name in ALIKE]
        for schedule in saved:
            storage.save_schedule(schedule)
        assert [storage.get_schedule(name) for name in ALIKE] == saved
        expansion = expand(saved[0], NOON + 5 * MINUTE)
        noted = replace(expansion, note=a_note(saved[0]))
        assert storage.record_expansions([noted]) == [True]
        assert [storage.get_schedule(name) for name in ALIKE] == [expansion.after, *saved[1:]]
        assert [bool(storage.list_skips(id_)) for id_ in ALIKE] == [True] + [False] * 7
        assert [bool(storage.list_notes(id_)) for id_ in ALIKE] == [True] + [False] * 7
        assert storage.delete_schedule(ALIKE[1]) is True
        assert [storage.get_schedule(name) is None for name in ALIKE].index(True) == 1
        assert len(storage.list_schedules()) == len(ALIKE) - 1

    def test_schedules_are_listed_by_name(self, storage: JobStorage) -> None:
        """In order of code points, whatever the database's collation."""
        for name in reversed(ASCENDING):
            storage.save_schedule(a_schedule(name))
        assert [each.name for each in storage.list_schedules()] == ASCENDING

    def test_an_unknown_schedule_is_none(self, storage: JobStorage) -> None:
        """Reading what is not there is no error; nor is deleting it."""
        assert storage.get_schedule("nobody") is None
        assert storage.delete_schedule("nobody") is False

    def test_a_name_is_taken_once(self, storage: JobStorage) -> None:
        """A second new schedule of the same name is refused, and the first stays."""
        first = a_schedule()
        storage.save_schedule(first)
        with pytest.raises(StaleSchedule, match="books"):
            storage.save_schedule(a_schedule())
        assert storage.list_schedules() == [first]

    def test_a_schedule_is_written_by_who_read_it_last(self, storage: JobStorage) -> None:
        """Revision n overwrites n-1 and nothing else."""
        first = a_schedule()
        storage.save_schedule(first)
        second = replace(first, revision=2, priority=1)
        storage.save_schedule(second)
        for stale in (replace(first, revision=2, priority=9), replace(first, revision=4)):
            with pytest.raises(StaleSchedule, match="books"):
                storage.save_schedule(stale)
        assert storage.get_schedule("books") == second

    def test_a_deleted_schedule_cannot_be_edited(self, storage: JobStorage) -> None:
        """Nor can its successor of the same name, by who read the old one."""
        old = a_schedule()
        storage.save_schedule(old)
        storage.delete_schedule(old.name)
        with pytest.raises(StaleSchedule):
            storage.save_schedule(replace(old, revision=2))
        successor = a_schedule()
        storage.save_schedule(successor)
        with pytest.raises(StaleSchedule):
            storage.save_schedule(replace(old, revision=2))
        assert storage.get_schedule(old.name) == successor

    def test_one_of_many_writers_of_a_revision_wins(self, storage: JobStorage) -> None:
        """The others learn that they read an older one."""
        first = a_schedule()
        storage.save_schedule(first)

        def write(priority: int) -> bool:
            try:
                storage.save_schedule(replace(first, revision=2, priority=priority))
            except StaleSchedule:
                return False
            return True

        won = at_once([lambda n=n: write(n) for n in range(THREADS)])  # type: ignore[misc]
        assert sum(won) == 1
        found = storage.get_schedule("books")
        assert found is not None
        assert found.priority == won.index(True)

    def test_a_new_name_is_taken_by_one_of_many_threads(self, storage: JobStorage) -> None:
        """The others learn that it is there."""
        wanted = [a_schedule() for _ in range(THREADS)]

        def write(schedule: Schedule) -> bool:
            try:
                storage.save_schedule(schedule)
            except StaleSchedule:
                return False
            return True

        won = at_once([lambda each=each: write(each) for each in wanted])  # type: ignore[misc]
        assert sum(won) == 1
        assert storage.list_schedules() == [wanted[won.index(True)]]

    def test_deleting_a_schedule_leaves_its_jobs(self, storage: JobStorage) -> None:
        """Its skips and notes go with it."""
        schedule = a_schedule(catch_up=CatchUp.SKIP)
        storage.save_schedule(schedule)
        expansion = replace(expand(schedule, NOON + 3 * MINUTE), note=a_note(schedule))
        storage.record_expansions([expansion])
        storage.save_job(a_job(schedule_id=schedule.id))
        assert storage.list_skips(schedule.id)
        assert storage.list_notes(schedule.id)
        assert storage.delete_schedule(schedule.name) is True
        assert storage.delete_schedule(schedule.name) is False
        assert storage.get_schedule(schedule.name) is None
        assert storage.list_skips(schedule.id) == []
        assert storage.list_notes(schedule.id) == []
        assert len(storage.list_jobs(schedule_id=schedule.id)) == 1

    def test_due_schedules_are_live_and_longest_due_first(self, storage: JobStorage) -> None:
        """next_at <= now, only active and paused ones, at most as many as asked."""
        second = replace(a_schedule("b"), next_at=NOON)
        first = replace(a_schedule("c", status=ScheduleStatus.PAUSED), next_at=NOON - SECOND)
        later = replace(a_schedule("a"), next_at=NOON + timedelta(microseconds=1))
        idle = [
            replace(a_schedule(status), status=status, next_at=NOON)
            for status in ScheduleStatus
            if status not in (ScheduleStatus.ACTIVE, ScheduleStatus.PAUSED)
        ]
        spent = replace(a_schedule("spent"), next_at=None)
        assert storage.next_schedule_at() is None
        for schedule in (later, second, first, *idle, spent):
            storage.save_schedule(schedule)
        assert storage.due_schedules(NOON) == [first, second]
        assert storage.due_schedules(NOON, limit=1) == [first]
        assert [storage.due_schedules(NOON, limit=limit) for limit in (0, -1)] == [[], []]
        assert storage.next_schedule_at() == first.next_at
        assert storage.due_schedules(NOON.astimezone(BEHIND)) == [first, second]

    def test_a_schedule_that_comes_back_to_its_turn_is_due_once(self, storage: JobStorage) -> None:
        """Moved later and back again, it is still one schedule."""
        first = replace(a_schedule(), next_at=NOON)
        later = replace(first, revision=2, next_at=NOON + MINUTE)
        back = replace(first, revision=3)
        for schedule in (first, later, back):
            storage.save_schedule(schedule)
        assert storage.due_schedules(NOON) == [back]
        assert storage.due_schedules(NOON) == [back]

    def test_schedules_due_at_one_instant_are_all_found(self, storage: JobStorage) -> None:
        """Each once, in whatever order; with a limit, as many of them."""
        for id_ in reversed(ASCENDING):
            storage.save_schedule(replace(a_schedule(f"named {id_}"), id=id_))
        assert sorted(each.id for each in storage.due_schedules(NOON)) == sorted(ASCENDING)
        some = {each.id for each in storage.due_schedules(NOON, limit=3)}
        assert len(some) == 3
        assert some < set(ASCENDING)

    def test_declarations_are_kept_while_they_are_seen(self, storage: JobStorage) -> None:
        """By the age of their version; what has not been seen for long is removed."""
        old = Declaration(
            process="a",
            code="1",
            since_at=NOON,
            seen_at=NOON,
            schedules={"s": "x"},
        )
        new = replace(old, process="b", code="2", since_at=NOON + SECOND, schedules={})
        for each in (new, old):
            storage.save_declaration(each)
        assert storage.list_declarations(seen_since=NOON) == [old, new]
        assert storage.renew_declaration("b", seen_at=NOON + MINUTE)
        assert not storage.renew_declaration("c", seen_at=NOON)
        renewed = replace(new, seen_at=NOON + MINUTE)
        assert storage.list_declarations(seen_since=NOON + SECOND) == [renewed]
        assert not storage.renew_declaration("a", seen_at=NOON)

    def test_a_declaration_overwrites_that_of_its_process(self, storage: JobStorage) -> None:
        """Whatever the schedules in it are called."""
        first = Declaration(process="a", code="1", since_at=NOON, seen_at=NOON, schedules={})
        second = replace(first, code="2", schedules=dict.fromkeys(HOSTILE_NAMES, "digest"))
        for each in (first, second):
            storage.save_declaration(each)
        assert storage.list_declarations(seen_since=NOON) == [second]

    def test_clear_removes_everything(self, storage: JobStorage) -> None:
        """And what was taken up can be taken again."""
        schedule = a_schedule(rule=dict(HOURLY))
        expansion = replace(expand(schedule, NOON + 2 * HOUR), note=a_note(schedule))
        declared = Declaration(process="a", code="1", since_at=NOON, seen_at=NOON, schedules={})
        for _ in range(2):
            storage.save_schedule(schedule)
            storage.save_declaration(declared)
            assert storage.record_expansions([expansion]) == [True]
            assert storage.list_jobs() == list(expansion.jobs)
            storage.clear()
            assert (storage.list_jobs(), storage.list_schedules()) == ([], [])
            assert (storage.list_skips(schedule.id), storage.list_notes(schedule.id)) == ([], [])
            assert storage.list_declarations(seen_since=NOON) == []
            assert (storage.next_job_at(), storage.next_schedule_at()) == (None, None)
