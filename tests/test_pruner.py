"""The pruner removes what ended long enough ago, rests in between, and costs nothing when idle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from freezegun import freeze_time

from scheduler import JobQueue
from scheduler.errors import InvalidOption, StorageUnavailable
from scheduler.ids import occurrence_id
from scheduler.model import Job, JobStatus
from scheduler.pruner import OFTEN, REST, SELDOM, SHARE, STEP, Pruner
from scheduler.queue import EXECUTOR, EXPANDER, PRUNER
from scheduler.retention import FOR_EVER, Pruned, Retention
from scheduler.storage import JobStorage
from scheduler.storage.memory import MemoryStorage
from scheduler.testing.contract.acts import at_once
from scheduler.testing.values import HOUR, MINUTE, NOON, SECOND, a_job
from tests.readme import shown

DAY = timedelta(days=1)
MONTH = Retention(completed=30 * DAY, failed=90 * DAY, cancelled=None)


class Watched(MemoryStorage):
    """Remembers each step, which takes so many seconds; fails, or is beaten, when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[dict[str, Any]] = []
        self.takes = 0.0
        self.now = 0.0
        self.fails = False
        self.is_beaten = False

    def prune_jobs(
        self, ended_before: Mapping[JobStatus, datetime], *, limit: int = 1000, **given: Any
    ) -> Pruned:
        self.asked.append({"ended_before": ended_before, "limit": limit, **given})
        self.now += self.takes
        if self.fails:
            raise StorageUnavailable("gone")
        if self.is_beaten:
            given["dry_run"] = True
        step = super().prune_jobs(ended_before, limit=limit, **given)
        return replace(step, removed=0, lost=step.removed) if self.is_beaten else step


@pytest.fixture
def storage() -> Watched:
    return Watched()


def a_pruner(storage: Watched, retention: Retention = MONTH) -> Pruner:
    return Pruner(storage, retention, monotonic=lambda: storage.now)


def ended(at: datetime, status: JobStatus = JobStatus.COMPLETED, **given: Any) -> Job:
    """A job that was made and ended then, with an id as the product gives it."""
    job = a_job(status=status, created_at=at, completed_at=at)
    return replace(job, **{"id": occurrence_id(job.id, at), **given})


def swept(pruner: Pruner, now: datetime) -> datetime:
    """Do a whole sweep from `now` on; when the next one begins."""
    while True:
        next_at = pruner.tick(now)
        assert next_at is not None
        if next_at - now >= OFTEN:
            return next_at
        now = next_at


def left(storage: JobStorage) -> set[str]:
    return {job.id for job in storage.list_jobs(limit=10_000)}


def test_each_status_has_its_period(storage: Watched) -> None:
    """What has none stays for ever, and so does what is unfinished."""
    old = [ended(NOON - 31 * DAY, status) for status in JobStatus]
    older = [ended(NOON - 91 * DAY, status) for status in JobStatus]
    new = [ended(NOON - 29 * DAY, status) for status in JobStatus]
    storage.save_jobs([*old, *older, *new])
    swept(a_pruner(storage), NOON)
    gone = {job.id for job in [*old, *older, *new]} - left(storage)
    assert gone == {old[2].id, older[2].id, older[3].id}


def test_ids_of_any_kind_are_found(storage: Watched) -> None:
    """Those that sort before and behind all that the product makes."""
    jobs = [ended(NOON - 31 * DAY, id=each) for each in ("", "0", "finished-1", "ž")]
    storage.save_jobs(jobs)
    swept(a_pruner(storage), NOON)
    assert left(storage) == set()


def test_what_is_too_young_to_go_is_not_looked_at(storage: Watched) -> None:
    """However much of it there is: it costs an idle sweep nothing."""
    storage.save_jobs([ended(NOON - number * MINUTE) for number in range(3 * STEP)])
    swept(a_pruner(storage), NOON)
    assert len(storage.asked) == 2
    assert len(left(storage)) == 3 * STEP


def test_a_sweep_goes_step_by_step_and_rests_in_between(storage: Watched) -> None:
    """Several times as long as the step took; one sweep has one idea of what is old."""
    storage.save_jobs([ended(NOON - 31 * DAY) for _ in range(3 * STEP - 1)])
    storage.takes = 2.0
    pruner, now = a_pruner(storage), NOON
    for number in range(1, 4):
        next_at = pruner.tick(now)
        assert next_at == now + timedelta(seconds=2 + 2 * REST)
        assert len(storage.asked) == number
        assert pruner.tick(next_at - SECOND) == next_at
        assert len(storage.asked) == number
        now = next_at
    assert left(storage) == set()
    assert len({str(each["ended_before"]) for each in storage.asked}) == 1


@pytest.mark.parametrize(
    ("retention", "wait"),
    [
        (MONTH, SELDOM),
        (Retention(completed=0), OFTEN),
        (Retention(completed=HOUR), HOUR / 10),
        (Retention(failed=20 * MINUTE), 2 * MINUTE),
    ],
)
def test_the_next_sweep_is_as_soon_as_the_periods_ask_for(
    storage: Watched, retention: Retention, wait: timedelta
) -> None:
    """A tenth of the shortest, within bounds; until then nobody asks the store."""
    pruner = a_pruner(storage, retention)
    pruner.tick(NOON)
    pruner.tick(NOON + SECOND)
    next_at = pruner.tick(NOON + 2 * SECOND)
    assert next_at == NOON + 2 * SECOND + wait
    asked = len(storage.asked)
    assert pruner.tick(next_at - SECOND) == next_at
    assert len(storage.asked) == asked
    pruner.tick(next_at)
    assert len(storage.asked) == asked + 1


def test_a_sweep_that_takes_long_is_the_more_seldom(storage: Watched) -> None:
    """As when there are many that are kept for ever."""
    storage.takes = 60.0
    pruner, now = a_pruner(storage), NOON
    for _ in range(2):
        now = pruner.tick(now) or now
    assert pruner.tick(now) == now + SHARE * 2 * MINUTE
    assert len(storage.asked) == 2


def test_one_of_several_goes_on(storage: Watched) -> None:
    """Who finds that another has just removed all that he was about to remove leaves off."""
    storage.save_jobs([ended(NOON - 31 * DAY) for _ in range(3 * STEP)])
    pruner = a_pruner(storage)
    pruner.tick(NOON)
    storage.is_beaten = True
    next_at = pruner.tick(NOON + SECOND)
    assert next_at == NOON + SECOND + SELDOM
    storage.is_beaten = False
    swept(pruner, next_at)
    assert left(storage) == set()


def test_a_clock_set_back_does_not_put_it_off(storage: Watched) -> None:
    """It would else wait until the old hour comes again."""
    pruner = a_pruner(storage)
    swept(pruner, NOON)
    asked = len(storage.asked)
    pruner.tick(NOON - 365 * DAY)
    assert len(storage.asked) == asked + 1


def test_a_store_that_is_away_is_asked_again(storage: Watched) -> None:
    """The error is the duty's to tell; the next tick begins anew."""
    storage.save_jobs([ended(NOON - 31 * DAY)])
    storage.fails = True
    pruner = a_pruner(storage)
    for _ in range(2):
        with pytest.raises(StorageUnavailable):
            pruner.tick(NOON)
    storage.fails = False
    swept(pruner, NOON)
    assert left(storage) == set()


def test_a_store_that_cannot_remove_jobs_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    """That is said once, and is no error of the duty."""
    pruner = Pruner(shown("mine.py").MyStorage(), MONTH, monotonic=lambda: 0.0)
    assert pruner.tick(NOON) is None
    assert pruner.tick(NOON + DAY) is None
    assert len([each for each in caplog.records if "stay for ever" in each.message]) == 1


def test_who_keeps_everything_asks_nothing(storage: Watched) -> None:
    pruner = a_pruner(storage, FOR_EVER)
    assert pruner.is_idle
    assert pruner.tick(NOON) is None
    assert storage.asked == []


# --- in a queue -----------------------------------------------------------------------------


@pytest.fixture
def queue(store_url: str) -> Iterator[JobQueue]:
    with JobQueue(store_url, retention=Retention(completed=0, failed=None)) as queue:
        yield queue


def test_a_queue_prunes_beside_its_work(queue: JobQueue) -> None:
    """What completes is removed, what failed stays, and what is to come runs."""
    now = queue.clock.now()
    old = [ended(now - DAY) for _ in range(2 * STEP)]
    failed = ended(now - DAY, JobStatus.FAILED)
    queue.storage.save_jobs([*old, failed])
    queue.register("work", lambda: "done")
    done: list[Job | None] = []
    queue.add_event_listener("completed", lambda event: done.append(event.job))
    job = queue.add("work")
    queue.executor.run_until_idle(queue.clock.now())
    assert [each.id for each in done if each] == [job.id]
    swept(queue.pruner, queue.clock.now() + SECOND)
    assert left(queue.storage) == {failed.id}


def test_several_processes_remove_each_job_once(store_url: str) -> None:
    """Those who meet another leave it the rest; the last one gets to the end."""
    with JobQueue(store_url) as queue:
        now = queue.clock.now()
        kept = ended(now - DAY)
        jobs = [ended(now - 31 * DAY) for _ in range(4 * STEP)]
        queue.storage.restore(jobs=[*jobs, kept])

        def prune() -> None:
            with JobQueue(store_url) as other:
                swept(other.pruner, now)

        at_once([prune] * 3)
        assert left(queue.storage) == {kept.id}


def test_what_expands_schedules_prunes() -> None:
    """Not an executor alone, of which there may be hundreds; nor who keeps everything."""
    assert PRUNER in JobQueue().metronome(EXPANDER).duties
    assert PRUNER not in JobQueue().metronome(EXECUTOR).duties
    assert PRUNER not in JobQueue(retention=None).metronome(EXPANDER, EXECUTOR).duties


def test_a_retention_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(InvalidOption, match="retention: completed: -1 is not"):
        JobQueue(retention=Retention(completed=-1))


@freeze_time(NOON)
def test_a_duty_of_a_started_queue() -> None:
    """The metronome calls it; nothing else has to."""
    storage = MemoryStorage()
    storage.save_jobs([ended(NOON - 31 * DAY)])
    queue = JobQueue(storage)
    duty = queue.metronome(EXPANDER).duties[PRUNER]
    duty.call()
    assert duty.error is None
    assert left(storage) == set()
