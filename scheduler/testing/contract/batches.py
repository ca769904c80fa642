"""Laws that the defaults cannot keep: batches that are whole, and writes exact among many.

A storage that several executors share makes each batch verb one transaction.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

import pytest

from scheduler import lifecycle
from scheduler.errors import DuplicateJob, InvalidMove, NaiveTime
from scheduler.model import Completed, Expired, JobStatus, Settlement
from scheduler.storage import JobStorage
from scheduler.testing.contract.acts import (
    THREADS,
    TTL,
    at_once,
    ids,
    lease,
    series,
    settlement,
    stored,
    token,
)
from scheduler.testing.values import HOUR, NOON, SECOND, a_job

THOUSANDS = 2500


class BatchLaws:
    """A batch is one transaction."""

    def test_a_batch_is_saved_whole_or_not_at_all(self, storage: JobStorage) -> None:
        """One job that cannot be saved keeps the others out."""
        taken = a_job()
        storage.save_job(taken)
        with pytest.raises(DuplicateJob):
            storage.save_jobs([a_job(), replace(taken), a_job()])
        twin = a_job()
        with pytest.raises(DuplicateJob):
            storage.save_jobs([twin, twin])
        naive = a_job(scheduled_at=datetime(2026, 1, 5, 12))  # noqa: DTZ001
        with pytest.raises(NaiveTime):
            storage.save_jobs([a_job(), naive, a_job()])
        assert ids(storage.list_jobs()) == [taken.id]

    def test_an_occurrence_is_taken_once_within_a_batch(self, storage: JobStorage) -> None:
        """And then none of it is saved."""
        twins = [a_job(schedule_id="s", occurrence_at=NOON) for _ in range(2)]
        with pytest.raises(DuplicateJob):
            storage.save_jobs([a_job(), *twins])
        assert storage.list_jobs() == []

    def test_what_jobs_of_a_batch_have_in_common_is_told_from_what_they_have_not(
        self, storage: JobStorage
    ) -> None:
        """1, 1.0 and true are three values, and nothing is one, too."""
        numbers: list[Any] = [1, 1.0, True, 0, -0.0, False, None, 2**63]
        values = [*numbers, "", "1", "\U0001f600", "\0", [], {}]
        jobs = [a_job(data={"value": each}) for each in values]
        jobs += [a_job(timeout=SECOND), a_job(concurrency_key="k"), a_job(serial=True)]
        storage.save_jobs(jobs)
        found = {job.id: job for job in storage.list_jobs()}
        for job in jobs:
            assert found[job.id] == job
            assert json.dumps(found[job.id].data) == json.dumps(job.data)

    def test_what_ended_is_settled_and_what_is_due_is_leased(self, storage: JobStorage) -> None:
        """In one call, and each as alone: whose lease is another's writes nothing."""
        held, lost, due = a_job(), a_job(), a_job()
        storage.save_jobs([held, lost])
        first, second = (lease(storage), lease(storage))
        storage.save_job(due)
        ended = [settlement(job, Completed(1)) for job in (first, second)]
        ended[1] = replace(ended[1], token=token(first))
        written, acquired = storage.settle_and_acquire(ended, 5, ttl=TTL, now=NOON)
        assert written == [True, False]
        assert ids(acquired) == [due.id]
        assert [stored(storage, job).status for job in (held, lost, due)] == [
            JobStatus.COMPLETED,
            JobStatus.PROCESSING,
            JobStatus.PROCESSING,
        ]
        assert storage.settle_and_acquire([], 0, now=NOON) == ([], [])

    def test_what_is_settled_makes_way_for_what_waited_for_it(self, storage: JobStorage) -> None:
        """The next job of a series that runs one after the other is leased by the same call."""
        _, second = series(storage, 2, serial=True)
        ended = [settlement(lease(storage), Completed())]
        _, acquired = storage.settle_and_acquire(ended, 5, ttl=TTL, now=NOON)
        assert ids(acquired) == [second.id]

    def test_results_of_a_batch_are_told_apart(self, storage: JobStorage) -> None:
        """As they were returned, to the digit."""
        results = [1, 1.0, True, None, 0, -0.0, False, "", "1", [1.0], {"a": None}, 2**63, 0.1]
        storage.save_jobs([a_job() for _ in results])
        leased = storage.acquire_next_jobs(len(results), ttl=TTL, now=NOON)
        outcomes = zip(leased, results, strict=True)
        storage.settle_jobs([settlement(job, Completed(result)) for job, result in outcomes])
        found = [stored(storage, job).result for job in leased]
        assert [json.dumps(each) for each in found] == [json.dumps(each) for each in results]

    def test_nobody_writes_a_job_while_it_is_moved(self, storage: JobStorage) -> None:
        """Of many threads that count it up, each counts from what the last one wrote."""
        job = a_job()
        storage.save_job(job)

        def count_up() -> None:
            for _ in range(10):
                storage.move_job(job.id, lambda found: replace(found, priority=found.priority + 1))

        at_once([count_up] * THREADS)
        assert stored(storage, job).priority == 10 * THREADS

    def test_a_job_is_cancelled_or_completed_by_one_of_many(self, storage: JobStorage) -> None:
        """Whoever is first; the others are refused, and write nothing."""
        storage.save_jobs([a_job() for _ in range(5)])
        for job in storage.acquire_next_jobs(5, now=NOON):

            def end(number: int, job_id: str = job.id) -> bool:
                done = partial(lifecycle.complete, result=number, now=NOON)
                try:
                    storage.move_job(job_id, done)
                except InvalidMove:
                    return False
                return True

            ended = at_once([partial(end, number) for number in range(THREADS)])
            assert sum(ended) == 1
            assert stored(storage, job).result == ended.index(True)

    def test_an_update_takes_no_occurrence_of_another(self, storage: JobStorage) -> None:
        """It is refused, and changes nothing; one that is free it takes, and leaves its own."""
        first, second = (a_job(schedule_id="s", occurrence_at=NOON + n * HOUR) for n in range(2))
        storage.save_jobs([first, second])
        with pytest.raises(DuplicateJob, match=second.id):
            storage.update_job(replace(second, occurrence_at=NOON, priority=7))
        assert stored(storage, second) == second
        storage.update_job(replace(first, priority=7))
        storage.update_job(moved := replace(second, occurrence_at=NOON + 2 * HOUR))
        with pytest.raises(DuplicateJob):
            storage.save_job(a_job(schedule_id="s", occurrence_at=moved.occurrence_at))
        storage.save_job(a_job(schedule_id="s", occurrence_at=second.occurrence_at))
        assert len(storage.list_jobs(schedule_id="s")) == 3

    def test_a_batch_may_have_thousands(self, storage: JobStorage) -> None:
        """Of jobs, leases and outcomes: more than some database takes parameters."""
        storage.save_jobs([a_job() for _ in range(THOUSANDS)])
        names = ["work", *(f"name {number}" for number in range(THOUSANDS))]
        leased = storage.acquire_next_jobs(THOUSANDS, handler_names=names, ttl=TTL, now=NOON)
        tokens = {job.id: token(job) for job in leased}
        assert storage.renew_leases(tokens, expires_at=NOON + 2 * TTL) == tokens.keys()
        settlements = [settlement(job, Completed()) for job in leased]
        assert storage.settle_jobs(settlements) == [True] * THOUSANDS
        assert len(storage.get_jobs_by_status(JobStatus.COMPLETED)) == THOUSANDS

    def test_an_id_is_taken_by_one_of_many_threads(self, storage: JobStorage) -> None:
        """The others learn it, and nothing of their batches is saved."""
        wanted = a_job()
        batches = [[a_job(), replace(wanted, name=f"of {n}"), a_job()] for n in range(THREADS)]

        def save(number: int) -> bool:
            try:
                storage.save_jobs(batches[number])
            except DuplicateJob:
                return False
            return True

        won = at_once([lambda n=n: save(n) for n in range(THREADS)])  # type: ignore[misc]
        assert sum(won) == 1
        assert set(ids(storage.list_jobs())) == set(ids(batches[won.index(True)]))
        assert stored(storage, wanted).name == f"of {won.index(True)}"

    def test_one_of_many_threads_settles(self, storage: JobStorage) -> None:
        """An outcome is written once, however many hold the same token."""
        storage.save_job(a_job())
        job = lease(storage)
        written = at_once([lambda: storage.settle_jobs([settlement(job, Completed())])] * THREADS)
        assert sorted(written) == [[False], [False], [False], [True]]

    def test_either_the_holder_or_who_rescues_it_settles_a_job(self, storage: JobStorage) -> None:
        """When a lease has run out and its holder ends in that moment, one outcome is written."""
        storage.save_jobs([a_job() for _ in range(10)])
        leased = storage.acquire_next_jobs(10, ttl=TTL, now=NOON)
        ended = [settlement(job, Completed(), NOON + TTL) for job in leased]
        expired = [
            Settlement(settlement(job, Expired(), NOON + TTL).job, token(job), NOON + TTL)
            for job in reversed(leased)
        ]
        held, rescued = at_once(
            [lambda: storage.settle_jobs(ended), lambda: storage.settle_jobs(expired)]
        )
        assert held == [not each for each in reversed(rescued)]
        statuses = [JobStatus.COMPLETED if each else JobStatus.FAILED for each in held]
        assert [stored(storage, job).status for job in leased] == statuses
