"""Laws of moving house: records are put back as they were, once, and over nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from scheduler.errors import DifferentRecord, NaiveTime
from scheduler.expansion import expand
from scheduler.model import Action, JobStatus, Lease, Schedule
from scheduler.storage import JobStorage
from scheduler.testing.contract.acts import THREADS, TTL, a_note, a_skip, at_once, stored
from scheduler.testing.contract.attempts import an_attempt
from scheduler.testing.contract.saving import JSON_VALUES
from scheduler.testing.values import HOUR, MINUTE, NOON, SECOND, a_job, a_schedule


class JobRestoringLaws:
    """Jobs are restored as they are, one by one at least."""

    def test_jobs_are_restored_as_they_are(self, storage: JobStorage) -> None:
        """Whatever their state, with lease and outcome; those that are there count for nothing."""
        there = a_job(status=JobStatus.FAILED, error="no", completed_at=NOON, retry_count=3)
        leased = a_job(status=JobStatus.PROCESSING, lease=Lease("t" * 16, NOON + TTL), worker="w")
        done = a_job(status=JobStatus.COMPLETED, result=JSON_VALUES[1:], data={"a": (1, 2)})
        storage.save_job(there)
        given = [leased, there, done]
        assert storage.restore(jobs=given) == 2
        assert storage.restore(jobs=[*given, leased]) == 0
        assert storage.restore() == 0
        assert [stored(storage, job) for job in (there, leased)] == [there, leased]
        found = stored(storage, done)
        assert (found.result, list(found.data["a"])) == (done.result, [1, 2])
        assert storage.renew_leases({leased.id: "t" * 16}, expires_at=NOON) == {leased.id}

    @pytest.mark.parametrize(
        ("edit", "field"),
        [
            ({"status": JobStatus.FAILED}, "status"),
            ({"lease": Lease("t", NOON)}, "lease"),
            ({"scheduled_at": NOON + SECOND}, "scheduled_at"),
            ({"data": {"a": 1.0}}, "data"),
            ({"data": {"a": True}}, "data"),
            ({"result": 0}, "result"),
            ({"error": ""}, "error"),
        ],
    )
    def test_a_restored_job_replaces_no_other(
        self, storage: JobStorage, edit: dict[str, Any], field: str
    ) -> None:
        """One field of a job that is there differs: the error names both, the job stays."""
        there = a_job(data={"a": 1})
        storage.save_job(there)
        with pytest.raises(DifferentRecord, match=rf"{there.id}: .* differs in {field}\b"):
            storage.restore(jobs=[replace(there, **edit)])
        assert stored(storage, there) == there


def a_house() -> tuple[Schedule, dict[str, Any]]:
    """A schedule of a later revision; it, a job of it and its record, by kind, the latest first."""
    schedule = replace(a_schedule(), revision=7, materialised=3)
    schedule = replace(schedule, open_skip=a_skip(schedule, count=9))
    return schedule, {
        "schedules": [schedule],
        "jobs": [a_job(schedule_id=schedule.id, occurrence_at=NOON, sequence=3)],
        "skips": [a_skip(schedule, first_at=NOON + HOUR), a_skip(schedule)],
        "notes": [
            a_note(schedule, action=Action.PAUSED),
            a_note(schedule, revision=2, actor="ada", detail={"priority": [0, 1]}),
        ],
        "attempts": [
            an_attempt("tried", number=2, error="no", log=("a", "ž")),
            an_attempt("tried", worker="w"),
        ],
    }


def contents(storage: JobStorage, schedule: Schedule) -> dict[str, Any]:
    """All that the store holds, of this schedule and its kinds, the latest first."""
    return {
        "schedules": storage.list_schedules(),
        "jobs": storage.list_jobs(),
        "skips": storage.list_skips(schedule.id)[::-1],
        "notes": storage.list_notes(schedule.id)[::-1],
        "attempts": storage.list_attempts(["tried"])[::-1],
    }


EMPTY: dict[str, Any] = {kind: [] for kind in ("schedules", "jobs", "skips", "notes", "attempts")}


class RestoringLaws:
    """A page of records is restored whole, or not at all."""

    def test_what_is_restored_is_as_it_was(self, storage: JobStorage) -> None:
        """Of every kind, whatever its revision; and it goes on from there."""
        schedule, house = a_house()
        for new in (8, 0):
            assert storage.restore(**house) == new
            assert contents(storage, schedule) == house
        expansion = expand(schedule, NOON + HOUR)
        assert storage.due_schedules(NOON + HOUR) == [schedule]
        assert storage.record_expansions([expansion]) == [True]
        assert storage.get_schedule(schedule.name) == expansion.after

    @pytest.mark.parametrize(
        ("kind", "edit", "named"),
        [
            ("jobs", {"priority": 1}, r"job \d+: .* differs in priority"),
            ("jobs", {"id": "other"}, r"job other: its occurrence has another job there, \d+"),
            ("schedules", {"cursor_at": NOON + SECOND}, r"'books': .* differs in cursor_at"),
            ("schedules", {"id": "other"}, r"'books': another of this name is there"),
            ("schedules", {"name": "other"}, r"'other': .* differs in name"),
            ("skips", {"count": 9}, r"skip of schedule .* at 2026-01-05T13:.* differs in count"),
            ("notes", {"actor": "bob"}, r"note 7 of schedule .* differs in actor"),
            ("attempts", {"error": "yes"}, r"attempt 2 of job tried: .* differs in error"),
            ("attempts", {"log": ("a",)}, r"attempt 2 of job tried: .* differs in log"),
        ],
    )
    def test_what_differs_from_what_is_there_restores_nothing(
        self, storage: JobStorage, kind: str, edit: dict[str, Any], named: str
    ) -> None:
        """Under the same id, occurrence, name, first instant or revision; not even the rest."""
        schedule, house = a_house()
        first, *rest = house[kind]
        storage.restore(**{kind: [first]})
        with pytest.raises(DifferentRecord, match=named):
            storage.restore(**house | {kind: [replace(first, **edit), *rest]})
        assert contents(storage, schedule) == EMPTY | {kind: [first]}

    @pytest.mark.parametrize(
        ("kind", "field"),
        [
            ("jobs", "created_at"),
            ("schedules", "updated_at"),
            ("skips", "recorded_at"),
            ("notes", "at"),
            ("attempts", "ended_at"),
        ],
    )
    def test_a_naive_instant_restores_nothing(
        self, storage: JobStorage, kind: str, field: str
    ) -> None:
        """It keeps out all that came with it."""
        schedule, house = a_house()
        *rest, last = house[kind]
        naive: dict[str, Any] = {field: datetime(2026, 1, 5, 12)}  # noqa: DTZ001
        with pytest.raises(NaiveTime):
            storage.restore(**house | {kind: [*rest, replace(last, **naive)]})
        assert contents(storage, schedule) == EMPTY

    def test_of_many_that_restore_at_once_none_doubles(self, storage: JobStorage) -> None:
        """Each record is new to one of them."""
        schedule, house = a_house()
        house["jobs"] += [a_job() for _ in range(50)]
        new = at_once([lambda: storage.restore(**house)] * THREADS)
        assert sorted(new) == [*[0] * (THREADS - 1), 58]
        assert len(contents(storage, schedule)["jobs"]) == 51

    def test_skips_page_from_the_last(self, storage: JobStorage) -> None:
        """At most so many, the last of those that begin before an instant, in order."""
        schedule, other = a_schedule("a"), a_schedule("b")
        starts = [NOON + hours * HOUR for hours in range(7)]
        skips = [a_skip(schedule, first_at=at, last_at=at + MINUTE, count=2) for at in starts]
        storage.restore(skips=[*skips, a_skip(other, first_at=starts[3])])

        def listed(*window: datetime | None, limit: int) -> list[Any]:
            return list(storage.list_skips(schedule.id, *window, limit=limit))

        assert listed(limit=3) == skips[4:]
        assert listed(None, starts[4], limit=3) == skips[1:4]
        assert listed(starts[5] + MINUTE, limit=3) == skips[5:]
        assert listed(limit=99) == skips
        assert listed(limit=0) == []
