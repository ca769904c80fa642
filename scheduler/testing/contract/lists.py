"""Laws of the lists of jobs: what is in them, and in which order."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from scheduler.errors import NaiveTime
from scheduler.model import JobStatus
from scheduler.storage import JobStorage
from scheduler.testing.contract.acts import ids, series
from scheduler.testing.values import AHEAD, HOUR, MINUTE, NOON, SECOND, a_job

NAIVE = datetime(2026, 1, 5, 12)  # noqa: DTZ001


class ListLaws:
    """Each list holds what it says, in its order."""

    def test_lists_are_in_order_of_acquisition(self, storage: JobStorage) -> None:
        """Priority, then scheduled_at, then id: for one status, and for one priority."""
        late = a_job(priority=1, scheduled_at=NOON + SECOND)
        low = a_job(priority=2)
        first, second = a_job(priority=1), a_job(priority=1)
        urgent = a_job(priority=-1, scheduled_at=NOON + MINUTE)
        done = a_job(priority=1, status=JobStatus.COMPLETED)
        storage.save_jobs([done, low, late, second, first, urgent])
        ordered = [urgent, first, second, late, low]
        assert ids(storage.get_jobs_by_status(JobStatus.PENDING)) == ids(ordered)
        assert ids(storage.get_jobs_by_priority(1)) == ids([first, second, late])
        assert ids(storage.get_jobs_by_status(JobStatus.COMPLETED)) == [done.id]

    def test_scheduled_jobs_are_those_of_a_half_open_window(self, storage: JobStorage) -> None:
        """start <= scheduled_at < end, pending only, by time."""
        tick = timedelta(microseconds=1)
        at_end = a_job(scheduled_at=NOON + MINUTE)
        before_end = a_job(scheduled_at=NOON + MINUTE - tick, priority=-9)
        at_start = a_job(scheduled_at=NOON, priority=9)
        before_start = a_job(scheduled_at=NOON - tick)
        running = a_job(scheduled_at=NOON, status=JobStatus.PROCESSING)
        storage.save_jobs([at_end, before_end, at_start, before_start, running])
        window = storage.get_scheduled_jobs(NOON, NOON + MINUTE)
        assert ids(window) == ids([at_start, before_end])
        assert ids(storage.get_scheduled_jobs(NOON)) == ids([at_start, before_end, at_end])
        assert storage.get_scheduled_jobs(NOON, NOON) == []

    def test_a_window_may_be_given_in_any_zone(self, storage: JobStorage) -> None:
        """Instants are compared, not what clocks show."""
        job = a_job(schedule_id="s", occurrence_at=NOON)
        storage.save_job(job)
        start, end = (at.astimezone(AHEAD) for at in (NOON, NOON + SECOND))
        assert storage.get_scheduled_jobs(start, end) == [job]
        assert storage.get_scheduled_jobs(end) == []
        assert storage.get_occurrences("s", start, end) == [job]
        assert storage.get_occurrences("s", end, end + SECOND) == []

    def test_a_window_without_a_zone_is_refused(self, storage: JobStorage) -> None:
        """Whatever is in the store: nobody knows which instant is meant."""
        for occurrence_at in (NOON, NOON + HOUR):
            with pytest.raises(NaiveTime):
                storage.get_scheduled_jobs(NAIVE)
            with pytest.raises(NaiveTime):
                storage.get_scheduled_jobs(NOON, NAIVE)
            with pytest.raises(NaiveTime):
                storage.get_occurrences("s", NAIVE, NOON)
            storage.save_job(a_job(schedule_id="s", occurrence_at=occurrence_at))

    def test_list_jobs_pages_from_the_newest_id(self, storage: JobStorage) -> None:
        """Each page starts below the last id of the one before: none twice, none left out."""
        saved = [a_job() for _ in range(7)]
        storage.save_jobs(saved)
        seen: list[str] = []
        while page := storage.list_jobs(limit=3, before_id=seen[-1] if seen else None):
            assert len(page) <= 3
            seen += ids(page)
        assert seen == ids(saved)[::-1]

    def test_a_page_is_as_long_as_asked_for(self, storage: JobStorage) -> None:
        """A hundred unless told, none at all if told, and what there is if that is less."""
        saved = [a_job() for _ in range(101)]
        storage.save_jobs(saved)
        assert ids(storage.list_jobs()) == ids(saved)[:0:-1]
        assert [storage.list_jobs(limit=limit) for limit in (0, -1)] == [[], []]
        assert len(storage.list_jobs(limit=1000)) == 101
        assert storage.list_jobs(before_id=saved[0].id) == []

    def test_list_jobs_filters_by_all_that_is_given(self, storage: JobStorage) -> None:
        """Status, name and schedule narrow it down together."""
        wanted = a_job(name="a", schedule_id="s", status=JobStatus.FAILED)
        others = [
            a_job(name="b", schedule_id="s", status=JobStatus.FAILED),
            a_job(name="a", schedule_id="t", status=JobStatus.FAILED),
            a_job(name="a", schedule_id="s"),
        ]
        storage.save_jobs([wanted, *others])
        assert storage.list_jobs(name="a", schedule_id="s", status=JobStatus.FAILED) == [wanted]

    def test_every_status_is_counted(self, storage: JobStorage) -> None:
        """Zero is a count too."""
        storage.save_jobs([a_job(), a_job(), a_job(status=JobStatus.FAILED)])
        assert storage.count_jobs() == {
            JobStatus.PENDING: 2,
            JobStatus.PROCESSING: 0,
            JobStatus.COMPLETED: 0,
            JobStatus.FAILED: 1,
            JobStatus.CANCELLED: 0,
        }

    def test_the_next_due_time_is_of_jobs_one_could_take(self, storage: JobStorage) -> None:
        """The earliest pending job that matches handler and queue, whatever its priority."""
        assert storage.next_job_at() is None
        storage.save_jobs(
            [
                a_job(scheduled_at=NOON + MINUTE, priority=9),
                a_job(scheduled_at=NOON + 2 * MINUTE, priority=-9),
                a_job(scheduled_at=NOON, name="other"),
                a_job(scheduled_at=NOON, queue="other"),
                a_job(scheduled_at=NOON, status=JobStatus.COMPLETED),
            ]
        )
        found = storage.next_job_at(handler_names=["work"], queue="default")
        assert found == NOON + MINUTE
        assert storage.next_job_at(handler_names=[]) is None

    def test_the_next_due_time_may_be_asked_for_after_another(self, storage: JobStorage) -> None:
        """Strictly later than that instant, in whatever zone it is given."""
        later = [NOON, NOON + SECOND, NOON + MINUTE]
        storage.save_jobs([a_job(scheduled_at=at) for at in [*later[::-1], NOON]])
        for after, expected in zip(
            [NOON - timedelta(microseconds=1), *later], [*later, None], strict=True
        ):
            assert storage.next_job_at(after=after.astimezone(AHEAD)) == expected
        assert storage.next_job_at(handler_names=["other"], after=NOON) is None
        with pytest.raises(NaiveTime):
            storage.next_job_at(after=NAIVE)

    def test_unfinished_jobs_are_found_by_schedule(self, storage: JobStorage) -> None:
        """Pending and processing ones, by occurrence."""
        made = series(storage, 4)
        for _ in range(2):
            storage.acquire_next_job(now=NOON)
        storage.complete_job(made[0].id)
        tea = a_job(schedule_id="of-tea", occurrence_at=NOON)
        storage.save_job(tea)
        assert ids(storage.get_unfinished_jobs(["of-books", "of-nothing"])) == ids(made[1:])
        both = storage.get_unfinished_jobs(["of-tea", "of-books"])
        assert ids(both) == ids([*made[1:], tea])
        assert storage.get_unfinished_jobs([]) == []

    def test_occurrences_are_found_by_their_window(self, storage: JobStorage) -> None:
        """[start, end), in every status, in order."""
        made = series(storage, 4)
        storage.acquire_next_job(now=NOON)
        found = storage.get_occurrences("of-books", NOON, NOON + 2 * HOUR)
        assert ids(found) == ids(made[:2])
