"""Laws of recording expansions: whole or not at all, and only by who was first."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from scheduler import lifecycle
from scheduler.errors import NaiveTime, StaleSchedule
from scheduler.expansion import Expansion, expand
from scheduler.model import (
    Action,
    CatchUp,
    Completed,
    JobStatus,
    Overlap,
    SkipReason,
)
from scheduler.storage import JobStorage
from scheduler.testing.contract.acts import (
    LARGEST,
    THREADS,
    a_note,
    a_skip,
    at_once,
    settlement,
    token,
)
from scheduler.testing.contract.names import HOSTILE_NAMES
from scheduler.testing.contract.saving import JSON_VALUES
from scheduler.testing.values import AHEAD, BEHIND, HOUR, MINUTE, NOON, a_job, a_schedule


class ExpansionLaws:
    """The jobs, skips and the next cursor of a schedule are written together, once."""

    def test_an_expansion_is_written_whole(self, storage: JobStorage) -> None:
        """Jobs, skips and the next cursor together."""
        schedule = a_schedule(catch_up=CatchUp.LATEST)
        storage.save_schedule(schedule)
        expansion = expand(schedule, NOON + 3 * HOUR + 5 * MINUTE)
        assert len(expansion.jobs) == 1
        assert len(expansion.skips) == 1
        assert storage.record_expansions([expansion]) == [True]
        assert storage.get_schedule(schedule.name) == expansion.after
        assert storage.list_jobs() == list(expansion.jobs)
        assert storage.list_skips(schedule.id) == list(expansion.skips)

    def test_an_expansion_of_what_has_changed_writes_nothing(self, storage: JobStorage) -> None:
        """Another expander, an edit or a deletion was first."""
        expanded, edited, deleted = (a_schedule(name) for name in ("a", "b", "c"))
        for schedule in (expanded, edited, deleted):
            storage.save_schedule(schedule)
        now = NOON + 2 * HOUR
        expansions = [expand(schedule, now) for schedule in (expanded, edited, deleted)]
        assert storage.record_expansions(expansions[:1]) == [True]
        storage.save_schedule(replace(edited, revision=2, priority=5))
        storage.delete_schedule(deleted.name)
        written = {job.id for job in storage.list_jobs()}
        assert storage.record_expansions(expansions) == [False, False, False]
        assert {job.id for job in storage.list_jobs()} == written
        assert [each.name for each in storage.list_schedules()] == ["a", "b"]
        assert storage.list_skips(edited.id) == []

    def test_expansions_of_one_call_stand_for_themselves(self, storage: JobStorage) -> None:
        """One that came second does not keep the others from being written, and makes no job."""
        stale, fresh = (a_schedule(name, catch_up=CatchUp.ALL) for name in ("a", "b"))
        storage.save_schedule(stale)
        storage.save_schedule(fresh)
        storage.save_schedule(replace(stale, revision=2))
        expansions = [expand(each, NOON + HOUR) for each in (stale, fresh)]
        assert storage.record_expansions(expansions) == [False, True]
        assert storage.get_schedule("b") == expansions[1].after
        made = expansions[1].jobs
        assert len(made) == 2
        assert {job.id for job in storage.list_jobs()} == {job.id for job in made}

    def test_a_failed_expansion_leaves_nothing(self, storage: JobStorage) -> None:
        """Not the cursor without the jobs, and not the jobs of a neighbour without theirs."""
        good, bad = a_schedule("a"), a_schedule("b")
        storage.save_schedule(good)
        storage.save_schedule(bad)
        fine = expand(good, NOON + HOUR)
        broken = expand(bad, NOON + HOUR)
        naive = datetime(2026, 1, 5, 12)  # noqa: DTZ001
        jobs = tuple(replace(job, scheduled_at=naive) for job in broken.jobs)
        with pytest.raises(NaiveTime):
            storage.record_expansions([fine, replace(broken, jobs=jobs)])
        assert storage.list_schedules() == [good, bad]
        assert storage.list_jobs() == []

    def test_jobs_are_written_as_they_were_decided(self, storage: JobStorage) -> None:
        """What one has from its schedule, and what it does not have from there, each digit."""
        schedules = [
            a_schedule(
                name,
                job_name="O'Hara's 🐎 %s",
                data={"number": 1, "text": "\x00"},
                queue="q:1",
                priority=-3,
                max_retries=2,
                timeout=timedelta(days=36500, microseconds=-1),
                concurrency_key="k",
                jitter=timedelta(minutes=5),
            )
            for name in ("copied", "other", "late")
        ]
        for schedule in schedules:
            storage.save_schedule(schedule)
        copied, other, late = (expand(each, NOON) for each in schedules)
        changed = replace(other.jobs[0], data={"number": 1.0, "text": "\x00"}, priority=1)
        other = replace(other, jobs=(changed,))
        started = replace(late.jobs[0], retry_count=1, error="why", queue="another")
        late = replace(late, jobs=(started,))
        expansions = [copied, other, late]
        assert storage.record_expansions(expansions, wait=False) == [True] * 3
        for each in expansions:
            [job] = each.jobs
            found = storage.get_job(job.id)
            assert found == job
            assert found is not None
            assert json.dumps(found.data) == json.dumps(job.data)
            assert storage.get_schedule(each.after.name) == each.after

    def test_an_occurrence_that_has_a_job_keeps_it(self, storage: JobStorage) -> None:
        """The cursor moves on; the job that was there, made by a backfill, say, is not touched."""
        schedule = a_schedule()
        storage.save_schedule(schedule)
        there = a_job(schedule_id=schedule.id, occurrence_at=NOON, data={"by": "hand"})
        storage.save_job(there)
        expansion = expand(schedule, NOON)
        assert [job.occurrence_at for job in expansion.jobs] == [NOON]
        assert storage.record_expansions([expansion]) == [True]
        assert storage.list_jobs() == [there]
        assert storage.get_schedule(schedule.name) == expansion.after

    def test_an_id_that_has_a_job_keeps_it(self, storage: JobStorage) -> None:
        """Whatever that job stands for; the other jobs of the expansion are made."""
        schedule = a_schedule(catch_up=CatchUp.ALL)
        storage.save_schedule(schedule)
        expansion = expand(schedule, NOON + HOUR)
        first, second = expansion.jobs
        there = a_job(id=first.id, name="other")
        storage.save_job(there)
        assert storage.record_expansions([expansion]) == [True]
        assert storage.get_job(first.id) == there
        assert storage.get_job(second.id) == second
        assert storage.get_schedule(schedule.name) == expansion.after

    def test_no_expansions_are_no_work(self, storage: JobStorage) -> None:
        """No error and no effect."""
        assert storage.record_expansions([]) == []

    def test_who_sees_a_cursor_sees_its_jobs(self, storage: JobStorage) -> None:
        """At no moment is one there without the other."""
        schedule = a_schedule()
        storage.save_schedule(schedule)

        is_written = threading.Event()

        def write() -> int:
            standing = schedule
            try:
                for number in range(20):
                    expansion = expand(standing, NOON + number * HOUR)
                    assert storage.record_expansions([expansion]) == [True]
                    standing = expansion.after
            finally:
                is_written.set()
            return standing.materialised

        def lacking() -> int:
            most = 0
            # A moment between looks: on one connection, who never pauses keeps others waiting.
            while not is_written.wait(0.001):
                seen = storage.get_schedule(schedule.name)
                assert seen is not None
                most = max(most, seen.materialised - len(storage.list_jobs()))
            return most

        assert at_once([write, lacking]) == [20, 0]

    def test_one_of_many_expanders_writes(self, storage: JobStorage) -> None:
        """Each occurrence has one job, and each schedule moved once."""
        schedules = [a_schedule(f"s{n:02}") for n in range(10)]
        for schedule in schedules:
            storage.save_schedule(schedule)
        expansions = [expand(schedule, NOON) for schedule in schedules]
        won = at_once([lambda: storage.record_expansions(expansions)] * THREADS)
        # Who finds a row locked leaves it to the one that holds it: nobody wins twice.
        assert [sum(column) for column in zip(*won, strict=True)] == [1] * 10
        assert len(storage.list_jobs()) == 10
        assert {each.materialised for each in storage.list_schedules()} == {1}

    def test_skips_are_kept_by_schedule_and_in_order(self, storage: JobStorage) -> None:
        """Each as it was recorded."""
        schedule, other = a_schedule("a"), a_schedule("b")
        for each in (schedule, other):
            storage.save_schedule(each)

        later, earlier = (
            a_skip(schedule, first_at=NOON + hours * HOUR, count=2) for hours in (2, 1)
        )
        storage.record_expansions(
            [
                Expansion(schedule, replace(schedule, revision=2), skips=(later, earlier)),
                Expansion(other, replace(other, revision=2), skips=(a_skip(other),)),
            ]
        )
        assert storage.list_skips(schedule.id) == [earlier, later]

    def test_every_skip_comes_back_as_it_was_recorded(self, storage: JobStorage) -> None:
        """Whatever its reason, to the microsecond, and however many occurrences it holds."""
        schedule = a_schedule()
        storage.save_schedule(schedule)
        recorded = tuple(
            a_skip(
                schedule,
                reason=reason,
                first_at=NOON + number * timedelta(microseconds=1),
                last_at=(NOON + HOUR).astimezone(AHEAD),
                count=LARGEST,
                backfilled=LARGEST,
            )
            for number, reason in enumerate(SkipReason)
        )
        after = replace(schedule, revision=2)
        storage.record_expansions([Expansion(schedule, after, skips=recorded)])
        assert storage.list_skips(schedule.id) == list(recorded)
        window = ((NOON + HOUR).astimezone(BEHIND), None)
        assert storage.list_skips(schedule.id, *window) == list(recorded)

    def test_every_note_comes_back_as_it_was_written(self, storage: JobStorage) -> None:
        """By revision, whatever was done and however much there is to tell of it."""
        standing = a_schedule()
        storage.save_schedule(standing)
        notes = []
        for action in Action:
            edited = replace(standing, revision=standing.revision + 1)
            detail = {"values": JSON_VALUES, "by": HOSTILE_NAMES}
            notes.append(a_note(edited, action=action, actor="Ada 🐎", detail=detail))
            edit = Expansion(standing, edited, note=notes[-1])
            assert storage.record_expansions([edit]) == [True]
            standing = edited
        assert storage.list_notes(standing.id) == notes

    def test_a_skip_overwrites_the_one_it_prolongs(self, storage: JobStorage) -> None:
        """The same first instant is the same run; windows find what reaches into them."""
        schedule = a_schedule()
        storage.save_schedule(schedule)
        run = a_skip(schedule, reason=SkipReason.PAUSED)
        longer = replace(run, last_at=NOON + MINUTE, count=2, backfilled=1)
        for number, each in enumerate((run, longer), start=1):
            before = replace(schedule, revision=number)
            assert storage.record_expansions(
                [Expansion(before, replace(schedule, revision=number + 1), skips=(each,))]
            ) == [True]
        assert storage.list_skips(schedule.id) == [longer]
        assert storage.list_skips(schedule.id, NOON + MINUTE, NOON + 2 * MINUTE) == [longer]
        assert storage.list_skips(schedule.id, NOON + 2 * MINUTE) == []
        assert storage.list_skips(schedule.id, None, NOON) == []

    def test_a_cancellation_holds_only_for_jobs_as_they_were(self, storage: JobStorage) -> None:
        """One that has started, or ended, in between is left alone."""
        schedule = a_schedule()
        storage.save_schedule(schedule)
        waiting, started = a_job(), a_job(priority=-1)
        storage.save_jobs([waiting, started])
        cancelled = tuple((job, lifecycle.cancel(job, now=NOON)) for job in (waiting, started))
        storage.acquire_next_job(now=NOON)
        after = replace(schedule, revision=2)
        storage.record_expansions([Expansion(schedule, after, cancelled=cancelled)])
        assert storage.get_jobs_by_status(JobStatus.CANCELLED) == [cancelled[0][1]]
        assert [job.id for job in storage.get_jobs_by_status(JobStatus.PROCESSING)] == [started.id]

    def test_a_cancelled_job_has_lost_its_lease(self, storage: JobStorage) -> None:
        """Its executor learns it at the next renewal, and its outcome is not written."""
        schedule = a_schedule()
        storage.save_schedule(schedule)
        storage.save_job(a_job())
        [job] = storage.acquire_next_jobs(1, now=NOON)
        cancelled = ((job, lifecycle.cancel(job, now=NOON)),)
        storage.record_expansions(
            [Expansion(schedule, replace(schedule, revision=2), cancelled=cancelled)]
        )
        assert storage.renew_leases({job.id: token(job)}, expires_at=NOON) == set()
        assert storage.settle_jobs([settlement(job, Completed(1))]) == [False]

    def test_an_operation_is_written_with_its_note(self, storage: JobStorage) -> None:
        """And what it edited; what removes the schedule removes its record."""
        schedule = a_schedule()
        storage.save_schedule(schedule)
        edited = replace(
            schedule, revision=2, priority=7, rule={"cron": "@daily"}, overlap=Overlap.ALLOW
        )
        note = a_note(edited, actor="ada", detail={"priority": [0, 7]})
        assert storage.record_expansions([Expansion(schedule, edited, note=note)]) == [True]
        assert storage.get_schedule(schedule.name) == edited
        assert storage.list_notes(schedule.id) == [note]
        assert storage.record_expansions([Expansion(edited, edited, removes=True)]) == [True]
        assert (storage.list_schedules(), storage.list_notes(schedule.id)) == ([], [])

    def test_an_expansion_of_a_cursor_that_moved_is_refused(self, storage: JobStorage) -> None:
        """Though the revision is the same; and so is an overwriting that would set it back."""
        schedule = a_schedule()
        storage.save_schedule(schedule)
        first, second = expand(schedule, NOON), expand(schedule, NOON + HOUR)
        assert first.after.revision == second.after.revision == schedule.revision
        assert storage.record_expansions([first]) == [True]
        assert storage.record_expansions([second]) == [False]
        with pytest.raises(StaleSchedule):
            storage.save_schedule(replace(schedule, revision=2))
