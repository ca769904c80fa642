"""Laws of acquisition: which job is next, for whom, and that it is handed out once."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import chain
from typing import Any

import pytest
from freezegun import freeze_time

from scheduler import lifecycle
from scheduler.errors import NaiveTime
from scheduler.model import JobStatus, Lease, Origin
from scheduler.storage import JobStorage
from scheduler.storage.base import DEFAULT_TTL
from scheduler.testing.contract.acts import THREADS, TTL, at_once, ids, lease, series
from scheduler.testing.values import AHEAD, BEHIND, MINUTE, NOON, SECOND, a_job


class AcquisitionLaws:
    """The first job that is due goes to one caller."""

    def test_acquisition_is_by_priority_then_time_then_id(self, storage: JobStorage) -> None:
        """One after the other and as a batch, in the same order."""
        late = a_job(scheduled_at=NOON)
        low = a_job(scheduled_at=NOON - MINUTE, priority=1)
        first = a_job(scheduled_at=NOON - SECOND)
        second = a_job(scheduled_at=NOON - SECOND)
        urgent = a_job(scheduled_at=NOON, priority=-1)
        storage.save_jobs([late, low, second, first, urgent])
        one = lease(storage)
        rest = storage.acquire_next_jobs(10, ttl=TTL, now=NOON)
        assert ids([one, *rest]) == ids([urgent, first, second, late, low])

    def test_an_acquired_job_is_as_the_life_cycle_says(self, storage: JobStorage) -> None:
        """Processing, leased until now + ttl, started now, by this worker; stored like that."""
        job = a_job(error="earlier", retry_count=1)
        storage.save_job(job)
        acquired = lease(storage, worker="host:1")
        assert acquired.lease is not None
        assert acquired.lease.token
        assert acquired == lifecycle.acquire(
            job, Lease(acquired.lease.token, NOON + TTL), worker="host:1", now=NOON
        )
        assert storage.get_job(job.id) == acquired

    def test_both_next_instants_are_those_of_the_verbs(self, storage: JobStorage) -> None:
        """Asked for together, with and without a queue and names."""
        storage.save_jobs([a_job(scheduled_at=NOON + MINUTE), a_job(queue="q", name="other")])
        given: list[dict[str, Any]] = [{}, {"queue": "q"}, {"handler_names": ["work", "none"]}]
        for asked in given:
            job_at = storage.next_job_at(**asked)
            assert storage.next_instants(**asked) == (job_at, storage.next_schedule_at())

    def test_the_first_and_the_last_priority_are_those_of_32_bits(
        self, storage: JobStorage
    ) -> None:
        """Numbers are compared, not their texts."""
        priorities = [2**31 - 1, 10, 9, 0, -9, -10, -(2**31)]
        storage.save_jobs([a_job(priority=number) for number in priorities])
        taken = storage.acquire_next_jobs(9, now=NOON)
        assert [job.priority for job in taken] == priorities[::-1]

    def test_a_job_is_due_from_its_instant_on(self, storage: JobStorage) -> None:
        """A microsecond early is early."""
        storage.save_job(a_job())
        assert storage.acquire_next_job(TTL, now=NOON - timedelta(microseconds=1)) is None
        assert storage.acquire_next_job(TTL, now=NOON) is not None

    def test_now_may_be_given_in_any_zone(self, storage: JobStorage) -> None:
        """Instants are compared, not what clocks show."""
        storage.save_job(a_job())
        early = NOON - timedelta(microseconds=1)
        assert storage.acquire_next_job(TTL, now=early.astimezone(AHEAD)) is None
        job = lease(storage, NOON.astimezone(BEHIND))
        assert job.lease is not None
        assert job.lease.expires_at == NOON + TTL
        assert storage.get_expired_jobs((NOON + TTL).astimezone(BEHIND)) == [job]

    def test_now_without_a_zone_is_refused(self, storage: JobStorage) -> None:
        """And nothing is leased."""
        storage.save_job(job := a_job())
        naive = datetime(2026, 1, 5, 12)  # noqa: DTZ001
        with pytest.raises(NaiveTime):
            storage.acquire_next_job(TTL, now=naive)
        with pytest.raises(NaiveTime):
            storage.acquire_next_jobs(1, now=naive)
        assert storage.get_job(job.id) == job

    def test_without_now_the_clock_decides(self, storage: JobStorage) -> None:
        """The clock is the one that tests freeze."""
        storage.save_job(a_job())
        with freeze_time("2026-01-05T11:59:59Z"):
            assert storage.acquire_next_job() is None
        with freeze_time("2026-01-05T12:00:00Z"):
            job = storage.acquire_next_job()
        assert job is not None
        assert job.lease is not None
        assert job.lease.expires_at == NOON + DEFAULT_TTL

    @pytest.mark.parametrize("status", [s for s in JobStatus if s is not JobStatus.PENDING])
    def test_only_pending_jobs_are_acquired(self, storage: JobStorage, status: JobStatus) -> None:
        """What runs or has ended is nobody's next job."""
        storage.save_job(a_job(status=status))
        assert storage.acquire_next_jobs(5, now=NOON) == []

    def test_an_executor_takes_only_what_it_can_handle(self, storage: JobStorage) -> None:
        """Of its queue, and among its handlers; an executor without handlers takes nothing."""
        mine = a_job(name="mine", queue="q")
        storage.save_jobs([a_job(name="mine"), a_job(name="other", queue="q"), mine])
        taken = storage.acquire_next_jobs(9, handler_names=["mine", "more"], queue="q", now=NOON)
        assert ids(taken) == [mine.id]
        assert storage.acquire_next_jobs(9, handler_names=[], now=NOON) == []

    def test_no_more_than_asked_for_is_acquired(self, storage: JobStorage) -> None:
        """A batch is at most n, and the rest stays pending."""
        storage.save_jobs([a_job() for _ in range(5)])
        assert [storage.acquire_next_jobs(n, now=NOON) for n in (0, -1, -4)] == [[], [], []]
        assert len(storage.acquire_next_jobs(3, now=NOON)) == 3
        assert storage.count_jobs()[JobStatus.PENDING] == 2

    def test_a_job_is_acquired_by_one_of_many_threads(self, storage: JobStorage) -> None:
        """However they race, each job is handed out once, and all of them are."""
        saved = [a_job() for _ in range(40)]
        storage.save_jobs(saved)

        def take_all() -> list[str]:
            taken: list[str] = []
            while jobs := storage.acquire_next_jobs(3, now=NOON):
                taken += ids(jobs)
            return taken

        taken = at_once([take_all] * THREADS)
        assert sorted(chain.from_iterable(taken)) == ids(saved)

    def test_the_first_job_is_acquired_by_one_of_many_threads(self, storage: JobStorage) -> None:
        """One at a time they are handed out as in a batch: once."""
        saved = [a_job() for _ in range(THREADS)]
        storage.save_jobs(saved)
        taken = at_once([lambda: storage.acquire_next_job(TTL, now=NOON)] * THREADS)
        assert sorted(job.id for job in taken if job) == ids(saved)

    def test_a_serial_job_waits_for_the_earlier_ones(self, storage: JobStorage) -> None:
        """Pending or processing; it is neither acquired nor announced before they ended."""
        first, second, third = series(storage, 3, serial=True)
        [taken] = storage.acquire_next_jobs(9, now=NOON)
        assert (taken.id, storage.next_job_at()) == (first.id, None)
        assert storage.acquire_next_jobs(9, now=NOON) == []
        storage.complete_job(first.id)
        assert storage.next_job_at() == NOON
        assert [job.id for job in storage.acquire_next_jobs(9, now=NOON)] == [second.id]
        storage.fail_job(second.id, "no")
        assert [job.id for job in storage.acquire_next_jobs(9, now=NOON)] == [third.id]

    def test_a_serial_job_waits_for_nothing_else(self, storage: JobStorage) -> None:
        """Not for later ones, other schedules, or what is outside of its series."""
        [job] = series(storage, 1, serial=True)
        early = NOON - timedelta(hours=5)
        others = [
            a_job(schedule_id="of-books", occurrence_at=early, origin=Origin.BACKFILL),
            a_job(schedule_id="of-books", occurrence_at=early, origin=Origin.RUN_NOW),
            a_job(schedule_id="of-tea", occurrence_at=early, sequence=1),
            a_job(),
        ]
        storage.save_jobs(others)
        assert job.id in {each.id for each in storage.acquire_next_jobs(9, now=NOON)}

    def test_jobs_that_may_overlap_do(self, storage: JobStorage) -> None:
        """All at once."""
        series(storage, 3)
        assert len(storage.acquire_next_jobs(9, now=NOON)) == 3
