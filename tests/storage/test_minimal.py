"""A storage of somebody's own needs seven methods, and then everything works with it."""

from __future__ import annotations

import pytest
from freezegun import freeze_time

from scheduler.errors import NotSupported, SchedulerError
from scheduler.expansion import expand
from scheduler.model import JobStatus
from scheduler.queue import JobQueue
from scheduler.storage import JobStorage
from scheduler.testing import JobContract
from scheduler.testing.values import MINUTE, NOON, a_schedule
from tests.readme import shown

MyStorage: type[JobStorage] = shown("mine.py").MyStorage


class TestMinimal(JobContract, processes=False):
    """The defaults, on the seven methods that the README shows."""

    @pytest.fixture
    def storage(self) -> JobStorage:
        return MyStorage()


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
    storage = MyStorage()
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
    storage = MyStorage()
    schedule = a_schedule()
    with pytest.raises(NotSupported, match=r"MyStorage.*save_schedule"):
        storage.save_schedule(schedule)
    with pytest.raises(NotSupported, match=r"MyStorage.*record_expansions"):
        storage.record_expansions([expand(schedule, NOON + MINUTE)])
    with pytest.raises(NotSupported, match=r"MyStorage.*clear"):
        storage.clear()
    with pytest.raises(NotSupported, match=r"MyStorage.*prune_jobs"):
        storage.prune_jobs({JobStatus.COMPLETED: NOON})
    assert issubclass(NotSupported, SchedulerError)
    assert storage.list_schedules() == []
    assert storage.get_schedule("books") is None
    assert storage.due_schedules(NOON) == []
    assert storage.next_schedule_at() is None
    assert storage.list_skips("s") == []
    assert storage.delete_schedule("books") is False
