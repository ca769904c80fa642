"""Laws of pruning: what ended long enough ago goes with its attempts, and nothing else does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from scheduler.errors import InvalidOption, NaiveTime
from scheduler.model import Failed, Job, JobStatus, Lease, Origin
from scheduler.retention import FINISHED, Pruned
from scheduler.storage import JobStorage
from scheduler.testing.contract.acts import (
    THREADS,
    TTL,
    at_once,
    ids,
    lease,
    settlement,
    stored,
)
from scheduler.testing.contract.attempts import an_attempt
from scheduler.testing.values import AHEAD, HOUR, MINUTE, NOON, SECOND, a_job, a_schedule

ALL = dict.fromkeys(FINISHED, NOON)
"""Whatever ended before NOON."""


def ended(status: JobStatus = JobStatus.COMPLETED, at: datetime = NOON - HOUR, **given: Any) -> Job:
    """A job that ended so, by default an hour before NOON."""
    return a_job(**{"status": status, "completed_at": at, **given})


def occurrence(schedule_id: str, at: datetime, **given: Any) -> Job:
    """The completed job of an occurrence."""
    return ended(schedule_id=schedule_id, occurrence_at=at, origin=Origin.OCCURRENCE, **given)


def pruned(
    storage: JobStorage, ended_before: Mapping[JobStatus, datetime] = ALL, **given: Any
) -> int:
    """How many jobs went, step by step to the end."""
    return sum(step.removed for step in steps(storage, ended_before, **given))


def steps(
    storage: JobStorage, ended_before: Mapping[JobStatus, datetime], **given: Any
) -> Iterator[Pruned]:
    step = storage.prune_jobs(ended_before, **given)
    yield step
    while step.last_id is not None:
        step = storage.prune_jobs(ended_before, **{**given, "after_id": step.last_id})
        yield step


def left(storage: JobStorage) -> list[str]:
    """The ids of all jobs there are, ascending."""
    return ids(storage.list_jobs(limit=10_000))[::-1]


class PruningLaws:
    """Finished jobs are removed step by step, in order of id."""

    def test_what_ended_before_an_instant_goes(self, storage: JobStorage) -> None:
        """Not what ended at it or later, nor in another status; each status has its own."""
        old, late, failed, new = (
            ended(at=NOON - SECOND),
            ended(at=NOON),
            ended(JobStatus.FAILED),
            ended(JobStatus.CANCELLED, at=NOON - SECOND),
        )
        storage.save_jobs([old, late, failed, new])
        before = {JobStatus.COMPLETED: NOON, JobStatus.CANCELLED: (NOON - SECOND).astimezone(AHEAD)}
        assert storage.prune_jobs(before) == Pruned(4, 1, None)
        assert left(storage) == [late.id, failed.id, new.id]
        assert storage.get_job(old.id) is None
        assert storage.prune_jobs({}) == Pruned(3, 0, None)

    def test_when_a_job_ended_is_compared_to_the_microsecond(self, storage: JobStorage) -> None:
        """An instant is compared as it is."""
        tick = NOON.resolution
        first, second = ended(at=NOON), ended(at=NOON + tick)
        storage.save_jobs([first, second])
        assert pruned(storage, {JobStatus.COMPLETED: NOON + tick}) == 1
        assert left(storage) == [second.id]

    def test_what_is_unfinished_stays(self, storage: JobStorage) -> None:
        """Also a retry, which has the end of no attempt; and what is said to have no end."""
        kept = [
            a_job(),
            a_job(retry_count=1, error="no", completed_at=NOON - HOUR),
            a_job(
                status=JobStatus.PROCESSING,
                lease=Lease("t", NOON + TTL),
                started_at=NOON - HOUR,
                completed_at=NOON - HOUR,
            ),
            a_job(status=JobStatus.COMPLETED),
        ]
        storage.save_jobs(kept)
        assert pruned(storage) == 0
        assert left(storage) == ids(kept)

    @pytest.mark.parametrize("status", [JobStatus.PENDING, JobStatus.PROCESSING])
    def test_what_is_unfinished_cannot_be_asked_for(
        self, storage: JobStorage, status: JobStatus
    ) -> None:
        """It is refused, and nothing is removed."""
        storage.save_job(ended())
        with pytest.raises(InvalidOption, match=f"{status} is not one of completed, failed, canc"):
            storage.prune_jobs({JobStatus.COMPLETED: NOON, status: NOON})
        with pytest.raises(NaiveTime):
            storage.prune_jobs({JobStatus.COMPLETED: NOON.replace(tzinfo=None)})
        assert len(left(storage)) == 1

    def test_a_step_looks_at_so_many_jobs(self, storage: JobStorage) -> None:
        """In order of id, whatever they are; the next step goes on behind the last of them."""
        jobs = [a_job(), ended(), a_job(), a_job(), ended(), ended(), a_job()]
        storage.save_jobs(jobs[::-1])
        first = storage.prune_jobs(ALL, limit=3)
        assert first == Pruned(3, 1, jobs[2].id)
        second = storage.prune_jobs(ALL, limit=3, after_id=first.last_id)
        assert second == Pruned(3, 2, jobs[5].id)
        assert storage.prune_jobs(ALL, limit=3, after_id=second.last_id) == Pruned(1, 0, None)
        assert left(storage) == [jobs[0].id, jobs[2].id, jobs[3].id, jobs[6].id]

    @pytest.mark.parametrize("limit", [0, -1])
    def test_a_step_may_look_at_nothing(self, storage: JobStorage, limit: int) -> None:
        """A limit below 1 is none at all, and not no limit."""
        storage.save_job(ended())
        assert storage.prune_jobs(ALL, limit=limit) == Pruned(0, 0, None)
        assert len(left(storage)) == 1

    def test_a_step_stays_between_two_ids(self, storage: JobStorage) -> None:
        """Both exclusive, whether or not there are jobs of these ids."""
        jobs = [ended(id=each) for each in ("a", "b", "c", "d", "ž")]
        storage.save_jobs(jobs)
        assert storage.prune_jobs(ALL, after_id="a", before_id="c") == Pruned(1, 1, None)
        assert left(storage) == ["a", "c", "d", "ž"]
        assert pruned(storage, after_id="bb", before_id="dd", limit=1) == 2
        assert left(storage) == ["a", "ž"]
        assert pruned(storage, after_id="x") == 1
        assert pruned(storage, after_id="c", before_id="b") == 0
        assert pruned(storage, before_id="b") == 1
        assert left(storage) == []

    def test_attempts_go_with_their_job(self, storage: JobStorage) -> None:
        """All of them, and those of no other job, however alike its id."""
        jobs = [ended(id="a"), ended(id="ab", at=NOON), ended(id="b")]
        attempts = [an_attempt(job.id, number=number) for job in jobs for number in (1, 2)]
        storage.restore(jobs=jobs, attempts=attempts)
        assert pruned(storage) == 2
        assert storage.list_attempts(["a", "ab", "b"]) == attempts[2:4]

    def test_a_dry_run_counts_and_removes_nothing(self, storage: JobStorage) -> None:
        """It comes to what a pruning comes to."""
        jobs = [ended(), a_job(), ended()]
        storage.restore(jobs=jobs, attempts=[an_attempt(jobs[0].id)])
        counted = list(steps(storage, ALL, limit=2, dry_run=True))
        assert left(storage) == ids(jobs)
        assert len(storage.list_attempts(ids(jobs))) == 1
        assert list(steps(storage, ALL, limit=2)) == counted

    def test_a_removed_job_is_nowhere(self, storage: JobStorage) -> None:
        """Its id and its occurrence are free, and no count or list has it."""
        schedule = replace(a_schedule(), cursor_at=NOON)
        storage.save_schedule(schedule)
        job = occurrence(schedule.id, NOON - HOUR, name="books", concurrency_key="k", result=1)
        storage.save_job(job)
        assert pruned(storage) == 1
        assert storage.list_jobs(name="books") == storage.list_jobs(schedule_id=schedule.id) == []
        assert storage.get_jobs_by_status(JobStatus.COMPLETED) == []
        assert storage.get_occurrences(schedule.id, NOON - HOUR, NOON) == []
        assert set(storage.count_jobs().values()) == {0}
        again = replace(job, id=f"{job.id}-again")
        storage.save_jobs([job])
        assert pruned(storage) == 1
        storage.save_jobs([again])
        assert left(storage) == [again.id]

    def test_the_last_job_of_a_schedule_stays(self, storage: JobStorage) -> None:
        """It says how the schedule went last; when there is another, or no schedule, it goes."""
        schedule = replace(a_schedule(), cursor_at=NOON, last_occurrence_at=NOON - HOUR)
        storage.save_schedule(schedule)
        first, last = (occurrence(schedule.id, NOON - hours * HOUR) for hours in (2, 1))
        other = occurrence("of-no-schedule", NOON - HOUR)
        storage.save_jobs([first, last, other])
        assert pruned(storage) == 2
        assert left(storage) == [last.id]
        later = replace(schedule, revision=2, last_occurrence_at=NOON)
        storage.save_schedule(later)
        assert pruned(storage) == 1
        storage.save_job(occurrence(schedule.id, NOON))
        assert pruned(storage) == 0
        storage.delete_schedule(schedule.name)
        assert pruned(storage) == 1

    def test_what_lies_beyond_the_cursor_stays(self, storage: JobStorage) -> None:
        """Backfilled in a pause, it would be decided anew; once it is decided, it goes."""
        schedule = replace(a_schedule(), cursor_at=NOON)
        storage.save_schedule(schedule)
        jobs = [occurrence(schedule.id, NOON + minutes * MINUTE) for minutes in (0, 1)]
        by_hand = ended(schedule_id=schedule.id)
        storage.save_jobs([*jobs, by_hand])
        assert pruned(storage) == 2
        assert left(storage) == [jobs[1].id]
        storage.save_schedule(replace(schedule, revision=2, cursor_at=NOON + MINUTE))
        assert pruned(storage) == 1

    def test_jobs_are_taken_and_settled_all_the_while(self, storage: JobStorage) -> None:
        """A retry after a pruning finds its attempts; what failed by then goes at the next."""
        storage.save_jobs([a_job(max_retries=1), *(ended() for _ in range(20))])
        failing = lease(storage)
        assert pruned(storage, limit=7) == 20
        once = replace(settlement(failing, Failed("no")), attempt=an_attempt(failing.id))
        assert storage.settle_jobs([once]) == [True]
        assert pruned(storage) == 0
        again = lease(storage, now=stored(storage, failing).scheduled_at)
        assert storage.settle_jobs([settlement(again, Failed("no"))]) == [True]
        assert storage.list_attempts([again.id]) == [an_attempt(failing.id)]
        assert pruned(storage, {JobStatus.FAILED: NOON + HOUR}) == 1
        assert storage.list_attempts([again.id]) == []

    def test_many_threads_prune_at_once(self, storage: JobStorage) -> None:
        """Each job goes once, and no more than there were are counted."""
        storage.save_jobs([ended() if number % 3 else a_job() for number in range(300)])
        counts = at_once([lambda: pruned(storage, limit=20)] * THREADS)
        assert sum(counts) + pruned(storage) == 200
        assert len(left(storage)) == 100

    def test_a_step_may_be_of_thousands(self, storage: JobStorage) -> None:
        """More than one statement takes as parameters."""
        jobs = [ended() for _ in range(2_500)]
        storage.restore(jobs=jobs, attempts=[an_attempt(job.id) for job in jobs])
        assert storage.prune_jobs(ALL, limit=5_000) == Pruned(2_500, 2_500, None)
        assert left(storage) == []
        assert storage.list_attempts(ids(jobs)) == []
