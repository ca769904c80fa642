"""A storage of somebody's own needs seven methods, and then everything works with it."""

from __future__ import annotations

import pytest
from freezegun import freeze_time

from scheduler.errors import NotSupported, SchedulerError
from scheduler.expansion import expand
from scheduler.model import JobStatus
from scheduler.queue import JobQueue
from scheduler.storage import JobStorage
from tests.storage.contract import JobContract
from tests.storage.minimal import MinimalStorage
from tests.values import MINUTE, NOON, a_schedule


class TestMinimal(JobContract):
    """The default batch verbs, on seven methods that keep no key but the id."""

    test_an_occurrence_has_at_most_one_job = None  # type: ignore[assignment]
    test_a_naive_instant_is_refused = None  # type: ignore[assignment]
    test_a_batch_is_saved_whole_or_not_at_all = None  # type: ignore[assignment]
    test_one_of_many_threads_settles = None  # type: ignore[assignment]
    test_a_job_comes_back_as_it_was_saved = None  # type: ignore[assignment]

    @pytest.fixture
    def storage(self) -> JobStorage:
        return MinimalStorage()


def test_the_seven_verbs_are_the_abstract_ones() -> None:
    """No more are asked of a storage, and no fewer."""
    assert JobStorage.__abstractmethods__ == {
        "save_job",
        "get_job",
        "get_jobs_by_status",
        "update_job",
        "acquire_next_job",
        "complete_job",
        "fail_job",
    }


@freeze_time(NOON, real_asyncio=True)
def test_a_queue_runs_on_seven_verbs() -> None:
    """Jobs are taken in, run, retried and settled."""
    storage = MinimalStorage()
    queue = JobQueue(storage, max_retries=0)
    seen: list[int] = []

    def work(n: int) -> int:
        seen.append(n)
        if n == 2:
            raise ValueError("two")
        return n * n

    queue.register("work", work)
    jobs = [queue.add("work", {"n": n}) for n in (1, 2, 3)]
    queue.executor.run_until_idle(NOON)
    assert sorted(seen) == [1, 2, 3]
    stored = [storage.get_job(job.id) for job in jobs]
    assert [job.status if job else None for job in stored] == [
        JobStatus.COMPLETED,
        JobStatus.FAILED,
        JobStatus.COMPLETED,
    ]
    assert [job.result if job else None for job in stored] == [1, None, 9]


def test_a_storage_without_schedules_says_so() -> None:
    """The error names the storage, the verb to implement and the way out; reading finds none."""
    storage = MinimalStorage()
    schedule = a_schedule()
    with pytest.raises(NotSupported, match=r"MinimalStorage.*save_schedule"):
        storage.save_schedule(schedule)
    with pytest.raises(NotSupported, match=r"MinimalStorage.*record_expansions"):
        storage.record_expansions([expand(schedule, NOON + MINUTE)])
    with pytest.raises(NotSupported, match=r"MinimalStorage.*clear"):
        storage.clear()
    assert issubclass(NotSupported, SchedulerError)
    assert storage.list_schedules() == []
    assert storage.get_schedule("books") is None
    assert storage.due_schedules(NOON) == []
    assert storage.next_schedule_at() is None
    assert storage.list_skips("s") == []
    assert storage.delete_schedule("books") is False
