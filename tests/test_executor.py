"""The executor loop, tick by tick: slots, leases, timeouts, retries, rescue and drain.

A Bench is one executor on one storage whose handlers end when the test says so, and whose
`now` is handed in: nothing waits and nothing races.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from freezegun import freeze_time

from scheduler import clock, lifecycle
from scheduler.errors import StorageError, StorageUnavailable
from scheduler.events import Event, EventName, Events
from scheduler.executor import (
    EXPANSION_PATIENCE,
    EXPANSION_PAUSE,
    LONGEST_WAIT_AHEAD,
    LOOK,
    Executor,
)
from scheduler.flow import Limit
from scheduler.handlers.outcomes import by_future
from scheduler.jobs import Jobs
from scheduler.model import (
    Attempt,
    Cancelled,
    Committed,
    Completed,
    Ending,
    Failed,
    Job,
    JobStatus,
    Lease,
    Outcome,
    Settlement,
)
from scheduler.polling import Polling
from scheduler.retries import Exponential, RetryPolicy
from scheduler.storage import JobStorage
from scheduler.storage.memory import MemoryStorage
from scheduler.testing.values import MINUTE, NOON, SECOND, a_job, a_schedule

TTL = timedelta(seconds=30)
INTERVAL = timedelta(seconds=5)


class Bench:
    """One executor, the handlers it called, and the events it told."""

    def __init__(
        self,
        storage: JobStorage | None = None,
        *,
        concurrency: int = 2,
        prefetch: int = 0,
        start: Callable[[Job], Any] | None = None,
        names: Collection[str] = ("work",),
        retries: RetryPolicy = RetryPolicy(backoff=Exponential(jitter=0)),  # noqa: B008 - frozen
        limits: Mapping[str, Limit] | None = None,
        ageing: timedelta | None = None,
        **polling: Any,
    ) -> None:
        self.storage = storage or MemoryStorage()
        self.futures: dict[str, Future[Outcome]] = {}
        self.started: list[Job] = []
        self.cancelled: list[str] = []
        self.woken = threading.Event()
        self.to_settle = threading.Event()
        self.events = Events()
        self.told: list[Event] = []
        for name in EventName:
            self.events.add_listener(name, self.told.append)
        self.executor = Executor(
            self.storage,
            begin=by_future(start or self._start),
            cancel=self.cancelled.append,
            handler_names=lambda: names,
            limits=lambda: limits or {},
            retries=lambda _: retries,
            events=self.events,
            wake=self.woken.set,
            ended=self.to_settle.set,
            clock=clock.now,
            polling=Polling(
                interval=INTERVAL, concurrency=concurrency, **{"max_concurrency": 10, **polling}
            ),
            queue="default",
            prefetch=prefetch,
            ageing=ageing,
            ttl=TTL,
            worker="here:1:ab",
        )

    def _start(self, job: Job) -> Future[Outcome]:
        self.started.append(job)
        self.futures[job.id] = Future()
        return self.futures[job.id]

    def use(self, storage: JobStorage) -> None:
        """Go on with another storage."""
        self.storage = self.executor._storage = self.executor._settler._storage = storage

    def add(self, n: int = 1, **given: Any) -> list[Job]:
        jobs = [a_job(**given) for _ in range(n)]
        self.storage.save_jobs(jobs)
        return jobs

    def tick(self, after: timedelta = timedelta(0)) -> timedelta | None:
        """A tick at NOON and `after`; how long after NOON it wants the next."""
        next_at = self.executor.tick(NOON + after)
        return None if next_at is None else next_at - NOON

    def end(self, job: Job, outcome: Outcome = Completed()) -> None:  # noqa: B008 - frozen
        """The handler of `job` returns."""
        self.futures[job.id].set_result(outcome)

    def stored(self, job: Job) -> Job:
        found = self.storage.get_job(job.id)
        assert found is not None
        return found

    def status(self, *jobs: Job) -> list[str]:
        return [self.stored(job).status.value for job in jobs]

    def events_of(self, job: Job) -> list[str]:
        return [each.name.value for each in self.told if each.job and each.job.id == job.id]


MILLISECOND = timedelta(milliseconds=1)


# --- slots ----------------------------------------------------------------------------------


def test_no_more_handlers_run_than_there_are_slots() -> None:
    """The rest stays pending, for whoever has room."""
    bench = Bench(concurrency=2)
    first, second, third = bench.add(3)
    bench.tick()
    assert [job.id for job in bench.started] == [first.id, second.id]
    assert bench.status(first, second, third) == ["processing", "processing", "pending"]
    bench.tick(SECOND)
    assert len(bench.started) == 2
    bench.end(second)
    bench.tick(SECOND)
    assert [job.id for job in bench.started] == [first.id, second.id, third.id]
    assert bench.status(first, second, third) == ["processing", "completed", "processing"]


def test_a_handler_that_ends_wakes_the_executor() -> None:
    """Its outcome is written at once, not at the next poll."""
    bench = Bench()
    [job] = bench.add()
    bench.tick()
    assert not bench.woken.is_set()
    bench.end(job, Completed({"rows": 3}))
    assert bench.woken.is_set()
    bench.tick(SECOND)
    assert bench.stored(job).status is JobStatus.COMPLETED
    assert bench.stored(job).result == {"rows": 3}


def test_a_job_starts_in_order_of_acquisition() -> None:
    """Priority, then due time."""
    bench = Bench(concurrency=3)
    [late], [low], [urgent] = (
        bench.add(scheduled_at=NOON),
        bench.add(priority=1, scheduled_at=NOON - MINUTE),
        bench.add(priority=-1),
    )
    bench.tick()
    assert [job.id for job in bench.started] == [urgent.id, late.id, low.id]


def test_a_job_carries_its_attempt() -> None:
    """Who runs it, since when, and under which lease."""
    bench = Bench()
    [job] = bench.add()
    bench.tick(SECOND)
    [running] = bench.started
    assert (running.worker, running.started_at) == ("here:1:ab", NOON + SECOND)
    assert running.lease is not None
    assert running.lease.expires_at == NOON + SECOND + TTL
    bench.end(job)
    bench.tick(2 * SECOND)
    assert bench.stored(job).worker == "here:1:ab"
    assert bench.stored(job).lease is None


def test_an_executor_without_handlers_takes_nothing() -> None:
    """Jobs stay for those that can run them."""
    bench = Bench(names=())
    [job] = bench.add()
    assert bench.tick() == INTERVAL
    assert bench.status(job) == ["pending"]


def test_other_queues_and_unknown_names_are_left_alone() -> None:
    """They are other executors' jobs."""
    bench = Bench()
    jobs = bench.add(name="unknown") + bench.add(queue="other")
    bench.tick()
    assert bench.status(*jobs) == ["pending", "pending"]


# --- when next ------------------------------------------------------------------------------


def test_an_idle_executor_polls_at_its_interval() -> None:
    """For jobs that nothing announced."""
    assert Bench().tick() == INTERVAL


def test_a_full_batch_asks_again_at_once() -> None:
    """There may be more, but only free slots ask."""
    bench = Bench(concurrency=2)
    bench.add(2)
    assert bench.tick() == LOOK  # full: next is the look whether they are still wanted
    bench.executor.polling = replace(bench.executor.polling, concurrency=3)
    bench.add(1)
    bench.end(bench.started[0])
    bench.end(bench.started[1])
    assert bench.tick() == LOOK


@pytest.mark.parametrize(
    ("due_in", "expected"),
    [
        (timedelta(seconds=2), timedelta(seconds=2)),
        (timedelta(seconds=4.999999), timedelta(seconds=4.999999)),
        (timedelta(seconds=60), INTERVAL),
    ],
)
def test_a_job_starts_when_it_is_due_and_not_at_the_next_poll(
    due_in: timedelta, expected: timedelta
) -> None:
    """The known due time is when the executor wakes."""
    bench = Bench()
    bench.add(scheduled_at=NOON + due_in)
    assert bench.tick() == expected


def test_an_executor_is_awake_when_a_schedule_is_due() -> None:
    """Its job is queued at that instant, by an expander that may be in another process."""
    bench = Bench()
    schedule = replace(a_schedule(), next_at=NOON + 2 * SECOND)
    bench.storage.save_schedule(schedule)
    assert bench.tick() == 2 * SECOND
    assert bench.tick(2 * SECOND) == 2 * SECOND + EXPANSION_PAUSE
    late = 2 * SECOND + EXPANSION_PATIENCE
    assert bench.tick(late) == late + INTERVAL


def test_a_deadline_is_when_the_executor_wakes() -> None:
    """Whatever else is further off."""
    bench = Bench(concurrency=1)
    bench.add(timeout=timedelta(seconds=0.3))
    assert bench.tick() == timedelta(seconds=0.3)


# --- prefetch -------------------------------------------------------------------------------


def test_jobs_are_leased_ahead_of_free_slots() -> None:
    """As many as asked for, and started from the buffer without asking the storage."""
    bench = Bench(concurrency=1, prefetch=3)
    jobs = bench.add(6)
    bench.tick()
    assert bench.status(*jobs) == ["processing"] * 4 + ["pending"] * 2
    assert (bench.executor.running, bench.executor.held) == (1, 4)
    refills = [each for each in bench.told if each.name is EventName.BUFFER_REFILL_SUCCESS]
    assert [dict(each.detail) for each in refills] == [{"acquired": 4, "buffered": 4}]
    bench.end(jobs[0])
    bench.tick()
    assert [job.id for job in bench.started] == [jobs[0].id, jobs[1].id]


@freeze_time(NOON)
def test_the_buffer_is_refilled_when_it_runs_low() -> None:
    """Not for every job that leaves it: a batch is cheaper than its jobs one by one."""
    bench = Bench(concurrency=1, prefetch=3)
    jobs = bench.add(9)
    bench.tick()
    asked = []
    for job in jobs[:4]:
        bench.end(job)
        bench.tick()
        asked.append(bench.storage.count_jobs()[JobStatus.PENDING])
    assert asked == [5, 3, 3, 1]


@freeze_time(NOON)
def test_a_slot_goes_on_to_the_next_job_as_soon_as_it_is_free() -> None:
    """Where the handler ended, without a tick in between."""
    bench = Bench(concurrency=1, prefetch=1)
    first, second = bench.add(2)
    bench.tick()
    bench.end(first)
    assert [job.id for job in bench.started] == [first.id, second.id]
    assert bench.status(first, second) == ["processing", "processing"]


@freeze_time(NOON)
def test_handlers_that_are_done_at_once_are_called_one_after_the_other() -> None:
    """However many of them wait: none is called from within another."""
    bench = Bench(concurrency=1, prefetch=2999, start=_future_of(None))
    jobs = bench.add(3000)
    bench.tick()
    bench.tick()
    assert set(bench.status(*jobs)) == {"completed"}


def test_what_was_let_go_while_it_waited_is_in_nobodys_way() -> None:
    """Nor if the only slot is taken by a handler that was given up, and ends after the lease."""
    bench = Bench(concurrency=1, prefetch=1)
    with freeze_time(NOON) as time:
        [hung] = bench.add(timeout=5 * SECOND)
        bench.executor.tick(clock.now())
        [waiting] = bench.add()
        bench.executor.tick(clock.now())
        jobs = Jobs(bench.storage, emit=bench.events.emit, wake=lambda: None, now=clock.now)
        jobs.cancel(waiting.id)
        bench.executor.ask_leases()
        time.tick(6 * SECOND)
        bench.executor.tick(clock.now())
        time.tick(2 * TTL)
        bench.end(hung)
        [late] = bench.add()
        bench.executor.tick(clock.now())
    assert bench.status(hung, waiting, late) == ["failed", "cancelled", "processing"]


def test_who_sees_that_a_handler_ended_sees_its_slot_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a tick would not ask for more, and nobody would wake the next."""
    bench = Bench(concurrency=1)
    bench.executor.settles_apart = True
    [job] = bench.add()
    bench.tick()
    landed, seen = threading.Event(), threading.Event()

    def stand_still(*given: Any) -> None:
        landed.set()
        assert seen.wait(10)

    monkeypatch.setattr(bench.executor._slots, "_launch", stand_still)
    ending = threading.Thread(target=bench.end, args=[job])
    ending.start()
    assert landed.wait(10)
    monkeypatch.undo()
    bench.executor.settle(NOON)
    assert bench.tick() == INTERVAL
    assert bench.executor.running == 0
    seen.set()
    ending.join(10)
    assert bench.status(job) == ["completed"]


def test_no_job_that_waits_is_begun_after_its_lease_ran_out() -> None:
    """It may be another's by now."""
    bench = Bench(concurrency=1, prefetch=1)
    first, _ = bench.add(2)
    bench.tick()
    with freeze_time(NOON + TTL):
        bench.end(first)
    assert [job.id for job in bench.started] == [first.id]


def test_nothing_is_leased_ahead_where_there_are_limits() -> None:
    """A start counts from the lease on."""
    bench = Bench(concurrency=2, limits={"other": Limit(concurrency=1)})
    jobs = bench.add(8)
    bench.tick()
    bench.end(jobs[0])
    bench.end(jobs[1])
    bench.tick(MILLISECOND)
    assert bench.executor.held == 2


def test_what_ends_soon_is_leased_ahead_without_being_asked() -> None:
    """And given back when it has to wait all the same."""
    bench = Bench(concurrency=2)
    jobs = bench.add(8)
    bench.tick()
    assert bench.executor.held == 2
    bench.end(jobs[0])
    bench.end(jobs[1])
    bench.tick(MILLISECOND)
    assert bench.status(*jobs) == ["completed"] * 2 + ["processing"] * 4 + ["pending"] * 2
    assert [job.id for job in bench.started] == [job.id for job in jobs[:4]]
    waited = MILLISECOND + LONGEST_WAIT_AHEAD
    assert bench.tick(MILLISECOND) == waited
    bench.tick(waited)
    assert bench.status(*jobs) == ["completed"] * 2 + ["processing"] * 2 + ["pending"] * 4
    assert [bench.stored(job).retry_count for job in jobs[4:6]] == [0, 0]


# --- retries --------------------------------------------------------------------------------


def test_a_failed_attempt_is_tried_again_with_growing_pauses() -> None:
    """1 s, 2 s, …, as the same job, until its retries are used up."""
    bench = Bench()
    [job] = bench.add(max_retries=2)
    with freeze_time(NOON) as clock:
        for due_in in (0, 1, 1 + 2):
            bench.tick(due_in * SECOND - timedelta(microseconds=1))
            bench.tick(due_in * SECOND)
            clock.move_to(NOON + due_in * SECOND)
            bench.end(job, Failed("boom"))
            bench.tick(due_in * SECOND)
    assert [each.started_at for each in bench.started] == [
        NOON + due_in * SECOND for due_in in (0, 1, 3)
    ]
    assert [each.retry_count for each in bench.started] == [0, 1, 2]
    assert bench.status(job) == ["failed"]
    assert bench.stored(job).error == "boom"
    assert bench.events_of(job) == ["started", "retrying"] * 2 + ["started", "failed"]


def test_without_retries_the_first_failure_is_the_last() -> None:
    """max_retries 0 is legal."""
    bench = Bench()
    [job] = bench.add(max_retries=0)
    bench.tick()
    bench.end(job, Failed("boom"))
    bench.tick()
    assert bench.status(job) == ["failed"]
    assert bench.events_of(job) == ["started", "failed"]


def _raise(job: Job) -> Any:
    raise ValueError("no room")


def _not_a_future(job: Job) -> Any:
    return {"rows": 3}


def _future_of(value: Any) -> Callable[[Job], Any]:
    def start(job: Job) -> Any:
        future: Future[Any] = Future()
        future.set_result(value)
        return future

    return start


def _cancelled(job: Job) -> Any:
    future: Future[Any] = Future()
    future.cancel()
    future.set_running_or_notify_cancel()
    return future


@pytest.mark.parametrize(
    ("start", "error"),
    [
        (_raise, "ValueError: no room"),
        (_not_a_future, "TypeError: process_job returned {'rows': 3} in place of a Future"),
        (_future_of({1, 2}), "InvalidData: result: {1, 2} is not JSON"),
        (_future_of(Completed(float("nan"))), "InvalidData: result: nan is not JSON"),
        (_cancelled, "cancelled"),
    ],
    ids=["raises", "no future", "no JSON", "no JSON inside", "cancelled"],
)
def test_a_start_of_somebodys_own_fails_its_job_and_nothing_else(
    start: Callable[[Job], Any], error: str
) -> None:
    """Whatever a subclass's process_job does, the loop goes on, and the job says what it was."""
    bench = Bench(start=start)
    [job] = bench.add()
    bench.executor.run_until_idle(NOON)
    assert bench.status(job) == ["failed"]
    assert str(bench.stored(job).error).startswith(error)


@pytest.mark.parametrize(("value", "result"), [(None, None), ({"rows": 3}, {"rows": 3})])
def test_a_bare_value_is_the_result(value: object, result: object) -> None:
    """A subclass's process_job may hand back what its handler returned."""
    bench = Bench(start=_future_of(value))
    [job] = bench.add()
    bench.executor.run_until_idle(NOON)
    assert bench.status(job) == ["completed"]
    assert bench.stored(job).result == result


# --- timeouts -------------------------------------------------------------------------------


def test_an_attempt_ends_at_its_deadline() -> None:
    """At it and not before it: the handler is told, and the job has failed."""
    bench = Bench()
    [job] = bench.add(timeout=timedelta(seconds=10))
    bench.tick()
    bench.tick(timedelta(seconds=9.999999))
    assert (bench.cancelled, bench.status(job)) == ([], ["processing"])
    bench.tick(timedelta(seconds=10))
    assert (bench.cancelled, bench.status(job)) == ([job.id], ["failed"])
    assert bench.stored(job).error == "timed out after 10 s"


def test_a_handler_past_its_deadline_keeps_its_slot() -> None:
    """A thread cannot be stopped: what it does is still load. Its late outcome is dropped."""
    bench = Bench(concurrency=1)
    hung, waiting = bench.add(2, timeout=timedelta(seconds=10))
    bench.tick()
    bench.tick(timedelta(seconds=10))
    assert bench.executor.running == 1
    assert bench.status(hung, waiting) == ["failed", "pending"]
    bench.end(hung, Completed("too late"))
    bench.tick(timedelta(seconds=11))
    assert bench.status(hung, waiting) == ["failed", "processing"]
    assert bench.stored(hung).result is None


def test_a_timed_out_attempt_is_retried_beside_the_one_that_hangs() -> None:
    """Each attempt has its own deadline, and only the current one can settle the job."""
    bench = Bench()
    [job] = bench.add(timeout=timedelta(seconds=10), max_retries=1)
    bench.tick()
    hung = bench.futures[job.id]
    bench.tick(timedelta(seconds=10))
    bench.tick(timedelta(seconds=11))
    assert bench.executor.running == 2
    hung.set_result(Completed("of the first attempt"))
    bench.tick(timedelta(seconds=12))
    assert bench.status(job) == ["processing"]
    bench.end(job, Completed("of the second"))
    bench.tick(timedelta(seconds=13))
    assert bench.stored(job).result == "of the second"


# --- leases ---------------------------------------------------------------------------------


def test_leases_are_renewed_at_a_third_of_their_life() -> None:
    """Those of running and of waiting jobs, together."""
    bench = Bench(concurrency=1, prefetch=1)
    running, waiting = bench.add(2)
    bench.tick()
    bench.tick(TTL / 3 - SECOND)
    assert [_expiry(bench, job) for job in (running, waiting)] == [TTL, TTL]
    bench.tick(TTL / 3)
    assert [_expiry(bench, job) for job in (running, waiting)] == [TTL / 3 + TTL] * 2


def _expiry(bench: Bench, job: Job) -> timedelta:
    lease = bench.stored(job).lease
    assert lease is not None
    return lease.expires_at - NOON


def test_a_handler_may_run_longer_than_a_lease() -> None:
    """As long as its executor lives, nobody else gets the job."""
    bench, other = Bench(), Bench()
    other.use(bench.storage)
    [job] = bench.add()
    at = timedelta(0)
    while at < 5 * TTL:
        next_in = bench.tick(at)
        other.tick(at)
        assert next_in is not None
        at = next_in
    assert (len(bench.started), len(other.started)) == (1, 0)
    bench.end(job)
    bench.tick(at)
    assert bench.status(job) == ["completed"]


def take_over(bench: Bench, job: Job) -> Job:
    """`job`, which by now another executor runs."""
    lease = Lease("of-another", NOON + 10 * TTL)
    taken = replace(bench.stored(job), lease=lease, worker="elsewhere")
    bench.storage.update_job(taken)
    return taken


def test_a_lease_found_lost_ends_the_attempt() -> None:
    """The handler is told, its slot stays taken, its outcome is dropped, the job is not touched."""
    bench = Bench(concurrency=1)
    [job] = bench.add()
    bench.tick()
    taken = take_over(bench, job)
    bench.tick(TTL / 3)
    assert bench.cancelled == [job.id]
    assert bench.events_of(job) == ["started", "lease-lost"]
    assert (bench.executor.running, bench.executor.held) == (1, 0)
    bench.end(job)
    bench.tick(TTL / 3)
    assert bench.executor.running == 0
    assert bench.stored(job) == taken


def test_a_waiting_job_whose_lease_is_lost_is_not_started() -> None:
    """It runs elsewhere."""
    bench = Bench(concurrency=1, prefetch=1)
    first, second = bench.add(2)
    bench.tick()
    take_over(bench, second)
    bench.tick(TTL / 3)
    bench.end(first)
    bench.tick(TTL / 3)
    assert [job.id for job in bench.started] == [first.id]


def called_off_and_tried_again(bench: Bench, job: Job) -> None:
    """By somebody elsewhere, of whom this executor hears nothing."""
    jobs = Jobs(bench.storage, now=lambda: NOON)
    jobs.cancel(job.id)
    jobs.retry(job.id)


def test_a_job_tried_again_ends_the_attempt_that_still_runs_here() -> None:
    """Its handler is told, and keeps its slot until it ends."""
    bench = Bench(concurrency=2)
    [job] = bench.add()
    bench.tick()
    old = bench.futures[job.id]
    called_off_and_tried_again(bench, job)
    bench.tick()
    assert [each.id for each in bench.started] == [job.id, job.id]
    assert bench.cancelled == [job.id]
    assert (bench.executor.running, bench.executor.held) == (2, 1)
    old.set_result(Completed("old"))
    bench.end(job, Completed("new"))
    bench.tick()
    assert bench.stored(job).result == "new"


def test_a_job_tried_again_while_it_waits_here_runs_once() -> None:
    """The lease that it was first taken under is of no use any more."""
    bench = Bench(concurrency=1, prefetch=2)
    first, second = bench.add(2)
    bench.tick()
    called_off_and_tried_again(bench, second)
    for job in (first, second):
        bench.tick(LOOK)
        bench.end(job)
    bench.tick(LOOK)
    assert [each.id for each in bench.started] == [first.id, second.id]
    assert bench.status(first, second) == ["completed", "completed"]


def test_a_waiting_job_that_was_called_off_is_not_started() -> None:
    """That is seen within a second, long before its lease is renewed."""
    bench = Bench(concurrency=1, prefetch=1)
    first, second = bench.add(2)
    bench.tick()
    Jobs(bench.storage, now=lambda: NOON).cancel(second.id)
    assert bench.tick() == LOOK
    bench.tick(LOOK)
    bench.end(first)
    bench.tick(LOOK)
    assert [job.id for job in bench.started] == [first.id]


def test_what_a_handler_committed_is_told_though_its_lease_is_gone() -> None:
    """It is gone by that, and a look between the commit and its return finds so."""
    bench = Bench()
    [job] = bench.add()
    bench.tick()
    done = lifecycle.complete(bench.stored(job), "written", now=NOON)
    bench.storage.update_job(done)
    bench.tick(LOOK)
    bench.end(job, Committed(done))
    bench.tick(LOOK)
    assert bench.events_of(job) == ["started", "lease-lost", "completed"]


def test_an_outcome_under_a_lost_lease_is_dropped() -> None:
    """And told."""
    bench = Bench()
    [job] = bench.add()
    bench.tick()
    taken = take_over(bench, job)
    bench.end(job, Completed("late"))
    bench.tick(SECOND)
    assert bench.stored(job) == taken
    assert bench.events_of(job) == ["started", "lease-lost"]


@pytest.mark.parametrize(("max_retries", "status"), [(1, "pending"), (0, "failed")])
def test_a_job_whose_executor_died_is_rescued_as_a_failed_attempt(
    max_retries: int, status: str
) -> None:
    """One attempt is counted, so that a job that kills its executor does not go on for ever."""
    bench = Bench()
    lease = Lease("of-the-dead", NOON + SECOND)
    [job] = bench.add(
        status=JobStatus.PROCESSING,
        started_at=NOON,
        lease=lease,
        worker="dead:1",
        max_retries=max_retries,
    )
    bench.tick()
    assert bench.status(job) == ["processing"]
    bench.tick(TTL)
    rescued = bench.stored(job)
    assert (rescued.status, rescued.retry_count) == (status, max_retries)
    assert rescued.error == "lease expired: dead:1 stopped renewing it"
    assert bench.events_of(job) == ["rescued", "retrying" if max_retries else "failed"]


def test_a_rescued_job_runs_again() -> None:
    """After its backoff, here or elsewhere."""
    bench = Bench()
    lease = Lease("of-the-dead", NOON)
    [job] = bench.add(status=JobStatus.PROCESSING, lease=lease, worker="dead:1", max_retries=1)
    bench.tick()
    assert bench.tick(SECOND) is not None
    assert [each.retry_count for each in bench.started] == [1]
    bench.end(job)
    bench.tick(2 * SECOND)
    assert bench.status(job) == ["completed"]


def test_a_job_whose_lease_was_renewed_meanwhile_is_not_rescued() -> None:
    """Its executor was only slow: it keeps its job."""

    class Slow(MemoryStorage):
        def get_expired_jobs(self, now: datetime, *, limit: int = 100) -> list[Job]:
            expired = super().get_expired_jobs(now, limit=limit)
            tokens = {job.id: job.lease.token for job in expired if job.lease}
            self.renew_leases(tokens, expires_at=now + TTL)
            return expired

    bench = Bench(Slow())
    lease = Lease("of-the-slow", NOON)
    [job] = bench.add(status=JobStatus.PROCESSING, lease=lease, started_at=NOON)
    bench.tick()
    assert bench.stored(job) == replace(job, lease=Lease("of-the-slow", NOON + TTL))
    assert bench.events_of(job) == []


def test_all_abandoned_jobs_are_rescued_at_once() -> None:
    """However many: a whole fleet may die, and batches are only how it is written."""
    bench = Bench(names=())
    lease = Lease("of-the-dead", NOON)
    bench.add(350, status=JobStatus.PROCESSING, lease=lease, worker="dead:1")
    bench.tick()
    assert bench.storage.count_jobs()[JobStatus.FAILED] == 350


# --- a store that goes away -----------------------------------------------------------------


class ShakyStorage(MemoryStorage):
    """A memory storage that cannot be reached for a number of calls of one verb."""

    def __init__(self, verb: str, outages: int) -> None:
        super().__init__()
        self.verb, self.outages = verb, outages

    def _reach(self, verb: str) -> None:
        if verb == self.verb and self.outages:
            self.outages -= 1
            raise StorageUnavailable(f"{verb}: connection refused")

    def settle_jobs(self, settlements: Sequence[Settlement]) -> list[bool]:
        self._reach("settle_jobs" if settlements else "nothing to settle")
        return super().settle_jobs(settlements)

    def renew_leases(self, tokens: Mapping[str, str], *, expires_at: datetime) -> set[str]:
        self._reach("renew_leases")
        return super().renew_leases(tokens, expires_at=expires_at)

    def acquire_next_jobs(self, n: int, **given: Any) -> list[Job]:
        self._reach("acquire_next_jobs")
        return super().acquire_next_jobs(n, **given)


def test_an_outcome_survives_an_outage() -> None:
    """What could not be written is written by a later tick, once, as it ended."""
    bench = Bench(ShakyStorage("settle_jobs", outages=2))
    [job] = bench.add()
    bench.tick()
    bench.end(job, Completed("kept"))
    for _ in range(2):
        with pytest.raises(StorageUnavailable):
            bench.tick(SECOND)
        assert bench.executor.held == 1
        assert bench.events_of(job) == ["started"]
    bench.tick(2 * SECOND)
    assert bench.stored(job).result == "kept"
    assert bench.events_of(job) == ["started", "completed"]
    assert len(bench.started) == 1


@pytest.mark.parametrize("verb", ["renew_leases", "acquire_next_jobs"])
def test_running_jobs_survive_an_outage(verb: str) -> None:
    """Nothing is forgotten and nothing runs twice."""
    storage = ShakyStorage(verb, outages=0)
    bench = Bench(storage)
    [job] = bench.add()
    bench.tick()
    storage.outages = 1
    with pytest.raises(StorageUnavailable):
        bench.tick(TTL / 3)
    bench.tick(TTL / 3)
    bench.end(job)
    bench.tick(TTL / 3)
    assert bench.status(job) == ["completed"]
    assert len(bench.started) == 1


def test_a_storage_that_leases_nothing_is_an_error() -> None:
    """A custom storage that forgets the lease is told so."""

    class Forgetful(MemoryStorage):
        def acquire_next_jobs(self, n: int, **given: Any) -> list[Job]:
            return [replace(job, lease=None) for job in super().acquire_next_jobs(n, **given)]

    bench = Bench(Forgetful())
    bench.add()
    with pytest.raises(StorageError, match="without a lease"):
        bench.tick()


# --- drain ----------------------------------------------------------------------------------


def test_a_drain_waits_for_what_runs_and_gives_the_rest_back() -> None:
    """Waiting jobs are pending at once, without an attempt counted; running ones end."""
    bench = Bench(concurrency=1, prefetch=2)
    running, *waiting = bench.add(3, max_retries=1)
    bench.tick()
    given_back = threading.Event()
    bench.events.add_listener("released", lambda event: given_back.set())
    drained: Future[int] = Future()
    thread = threading.Thread(
        target=lambda: drained.set_result(bench.executor.drain(timedelta(seconds=20)))
    )
    thread.start()
    assert given_back.wait(timeout=10)
    bench.end(running, Completed("in time"))
    assert drained.result(timeout=10) == 0
    thread.join(timeout=10)
    assert bench.status(running, *waiting) == ["completed", "pending", "pending"]
    assert [bench.stored(job).retry_count for job in waiting] == [0, 0]
    assert [bench.stored(job).scheduled_at for job in waiting] == [NOON, NOON]


def test_what_outlives_the_grace_is_given_back() -> None:
    """Its handler is told, its late outcome is dropped, and no attempt is counted."""
    bench = Bench()
    hung, ended = bench.add(2, max_retries=1)
    bench.tick()
    bench.end(ended)
    assert bench.executor.drain(timedelta(0)) == 1
    assert bench.cancelled == [hung.id]
    assert bench.status(hung, ended) == ["pending", "completed"]
    assert bench.stored(hung).retry_count == 0
    bench.end(hung)
    bench.executor.tick(NOON + SECOND, acquiring=False)
    assert bench.status(hung) == ["pending"]


def test_what_ends_at_the_last_moment_of_the_grace_counts() -> None:
    """Its handler has run: to give the job back would run it again."""
    bench = Bench()
    first, second = bench.add(2)

    class Meanwhile(MemoryStorage):
        def settle_jobs(self, settlements: Sequence[Settlement]) -> list[bool]:
            if not bench.futures[second.id].done():
                bench.end(second, Completed("just in time"))
            return super().settle_jobs(settlements)

    storage = Meanwhile()
    storage.save_jobs([first, second])
    bench.use(storage)
    bench.tick()
    bench.end(first)
    assert bench.executor.drain(timedelta(0)) == 0
    assert bench.status(first, second) == ["completed", "completed"]
    assert bench.stored(second).result == "just in time"


def test_a_second_signal_ends_the_grace() -> None:
    """Somebody is in a hurry."""
    bench = Bench()
    [hung] = bench.add()
    bench.tick()
    bench.executor.hurry()
    assert bench.executor.drain(timedelta(hours=1)) == 1
    assert bench.status(hung) == ["pending"]


def test_a_drain_outlives_an_outage() -> None:
    """Within its grace it tries again: an outcome that is there is worth a second."""
    bench = Bench(ShakyStorage("settle_jobs", outages=1))
    [job] = bench.add()
    bench.tick()
    bench.end(job, Completed("kept"))
    assert bench.executor.drain(timedelta(seconds=20)) == 0
    assert bench.stored(job).result == "kept"


def test_a_drain_that_cannot_write_says_so() -> None:
    """When the grace is over: the leases expire and others rescue the jobs."""
    bench = Bench(ShakyStorage("settle_jobs", outages=100))
    [job] = bench.add()
    bench.tick()
    bench.end(job)
    with pytest.raises(StorageUnavailable):
        bench.executor.drain(timedelta(0))


# --- events ---------------------------------------------------------------------------------


def test_an_event_is_told_after_it_was_committed() -> None:
    """A listener that looks into the storage finds it there."""
    bench = Bench()
    seen: list[tuple[str, Job]] = []

    def look(event: Event) -> None:
        assert event.job is not None
        seen.append((event.name.value, bench.stored(event.job)))

    for name in ("completed", "failed", "retrying"):
        bench.events.add_listener(name, look)
    good, bad, again = bench.add() + bench.add() + bench.add(max_retries=1)
    bench.executor.polling = replace(bench.executor.polling, concurrency=3)
    bench.tick()
    bench.end(good)
    bench.end(bad, Failed("x"))
    bench.end(again, Failed("x"))
    bench.tick()
    assert [(name, job.status.value) for name, job in seen] == [
        ("completed", "completed"),
        ("failed", "failed"),
        ("retrying", "pending"),
    ]


def test_a_listener_that_raises_does_no_harm() -> None:
    """Not to the job, not to the loop, not to other listeners."""
    bench = Bench()
    heard: list[Event] = []

    def broken(event: Event) -> None:
        raise RuntimeError("listener")

    for name in ("started", "completed"):
        bench.events.add_listener(name, broken)
        bench.events.add_listener(name, heard.append)
    [job] = bench.add()
    bench.tick()
    bench.end(job)
    bench.tick()
    assert bench.status(job) == ["completed"]
    assert [event.name.value for event in heard] == ["started", "completed"]


# --- intelligent polling --------------------------------------------------------------------


def test_polling_adapts_and_tells() -> None:
    """Empty polls lengthen the interval; the event says what it is now."""
    bench = Bench(intelligent=True, max_empty_polls=2)
    bench.executor.polling = replace(bench.executor.polling, interval=timedelta(seconds=1))
    assert bench.tick() == SECOND
    assert bench.tick() == 1.5 * SECOND
    [told] = [each for each in bench.told if each.name is EventName.POLLING_INTERVAL_UPDATED]
    assert dict(told.detail) == {"interval": 1.5, "concurrency": 1}


# --- on record, called off, set clocks ------------------------------------------------------


def test_each_attempt_that_fails_is_on_record() -> None:
    """With its number, who ran it, from when to when, and what was said."""
    bench = Bench()
    [job] = bench.add(max_retries=1)
    bench.tick()
    trace = "Traceback: boom"
    with freeze_time(NOON + 2 * SECOND):
        bench.end(job, Failed("boom", trace, log=("trying",)))
    bench.tick(2.5 * SECOND)
    bench.tick(4 * SECOND)
    with freeze_time(NOON + 5 * SECOND):
        bench.end(job, Completed("done"))
    bench.tick(6 * SECOND)
    stored = bench.stored(job)
    first, second = lifecycle.attempts(stored, bench.storage.list_attempts([job.id]))
    assert first == Attempt(
        job_id=job.id,
        number=1,
        started_at=NOON,
        ended_at=NOON + 2 * SECOND,
        worker="here:1:ab",
        ending=Ending.FAILED,
        error="boom",
        traceback=trace,
        log=("trying",),
    )
    assert (second.number, second.ending, second.error) == (2, Ending.COMPLETED, None)
    assert (second.started_at, second.ended_at) == (NOON + 4 * SECOND, NOON + 5 * SECOND)


def test_a_completed_attempt_is_told_by_its_job_unless_it_logged() -> None:
    """Nothing is written twice."""
    bench = Bench()
    silent, loud = bench.add(2)
    bench.tick()
    bench.end(silent)
    bench.end(loud, Completed(log=("a line",)))
    bench.tick(SECOND)
    [recorded] = bench.storage.list_attempts([silent.id, loud.id])
    assert (recorded.job_id, recorded.log) == (loud.id, ("a line",))
    for job in (silent, loud):
        stored = bench.stored(job)
        [tried] = lifecycle.attempts(stored, bench.storage.list_attempts([job.id]))
        assert (tried.number, tried.ending) == (1, Ending.COMPLETED)


def test_an_attempt_that_is_given_back_or_abandoned_is_on_record() -> None:
    """What never started is none."""
    bench, other = Bench(concurrency=1, prefetch=1), Bench()
    other.use(bench.storage)
    running, waiting = bench.add(2, max_retries=1)
    bench.tick()
    with freeze_time(NOON + SECOND):
        assert bench.executor.drain(timedelta(0)) == 1
    [released] = bench.storage.list_attempts([running.id, waiting.id])
    assert (released.job_id, released.ending) == (running.id, Ending.RELEASED)
    bench.tick(2 * SECOND)
    other.tick(2 * SECOND + TTL)
    endings = {each.ending for each in bench.storage.list_attempts([running.id])}
    assert endings == {Ending.RELEASED, Ending.EXPIRED}


def test_a_handler_that_calls_its_job_off_is_not_tried_again() -> None:
    """Cancelled, with the reason, and told so."""
    bench = Bench()
    [job] = bench.add(max_retries=3)
    bench.tick()
    bench.end(job, Cancelled("the account is closed"))
    bench.tick(SECOND)
    stored = bench.stored(job)
    assert (stored.status, stored.error) == (JobStatus.CANCELLED, "the account is closed")
    assert EventName.CANCELLED in [event.name for event in bench.told]


@pytest.mark.parametrize(
    ("failed", "status", "after"),
    [
        (Failed("no", is_final=True), "failed", None),
        (Failed("later", retry_in=timedelta(minutes=7)), "pending", timedelta(minutes=7)),
    ],
)
def test_a_failure_may_say_what_follows(
    failed: Failed, status: str, after: timedelta | None
) -> None:
    """That it is final, or how long to wait."""
    bench = Bench()
    [job] = bench.add(max_retries=3)
    bench.tick()
    with freeze_time(NOON):
        bench.end(job, failed)
    bench.tick(SECOND)
    stored = bench.stored(job)
    assert stored.status == status
    assert after is None or stored.scheduled_at == NOON + after


def test_a_backoff_that_raises_loses_no_outcome() -> None:
    """The usual one is taken."""

    def broken(_: int) -> float:
        raise ZeroDivisionError

    bench = Bench(retries=RetryPolicy(backoff=broken))
    [job] = bench.add(max_retries=1)
    bench.tick()
    bench.end(job, Failed("boom"))
    bench.tick(SECOND)
    assert bench.status(job) == ["pending"]


def test_a_job_called_off_elsewhere_is_let_go_within_a_second() -> None:
    """Its handler is told, and its outcome dropped."""
    bench = Bench()
    job, _ = bench.add(2)
    bench.tick()
    bench.storage.move_job(job.id, lambda job: lifecycle.cancel(job, now=NOON))
    bench.tick(LOOK)
    assert bench.cancelled == [job.id]
    assert bench.executor.running == 2  # the handler holds its slot until it ends
    bench.end(job)
    bench.tick(2 * LOOK)
    assert bench.executor.running == 1
    assert bench.status(job) == ["cancelled"]


@pytest.mark.parametrize("by", [timedelta(hours=3), timedelta(hours=-3)])
def test_a_clock_that_is_set_leaves_an_attempt_its_time(by: timedelta) -> None:
    """It times out when it has run for so long, and nobody is rescued meanwhile."""
    bench = Bench()
    [job] = bench.add(timeout=MINUTE)
    bench.tick()
    bench.executor.shift(by)
    bench.tick(by + 59 * SECOND)
    assert bench.status(job) == ["processing"]
    bench.tick(by + MINUTE)
    assert bench.status(job) == ["failed"]


class Picky(MemoryStorage):
    """Refuses a result."""

    def settle_jobs(self, settlements: Sequence[Settlement]) -> list[bool]:
        if any(each.job.result == "unspeakable" for each in settlements):
            raise StorageError("no such value")
        return super().settle_jobs(settlements)


def test_an_outcome_that_the_store_refuses_fails_its_own_job_only() -> None:
    """For good: the handler has done its work."""
    bench = Bench(Picky(), concurrency=3)
    jobs = bench.add(3, max_retries=3)
    bench.tick()
    for job, result in zip(jobs, ("a", "unspeakable", "c"), strict=True):
        bench.end(job, Completed(result))
    bench.tick(SECOND)
    assert bench.status(*jobs) == ["completed", "failed", "completed"]
    assert bench.stored(jobs[1]).error == (
        "the store refused the outcome: StorageError: no such value"
    )
    assert not bench.executor.held


# --- limits ---------------------------------------------------------------------------------


def test_what_a_limit_holds_back_does_not_keep_the_executor_awake() -> None:
    """The end of another job frees it; what is due later is still started on time."""
    bench = Bench(concurrency=3, limits={"work": Limit(concurrency=1)})
    first, second = bench.add(2)
    assert bench.tick() == LOOK
    assert [job.id for job in bench.started] == [first.id]
    bench.add(scheduled_at=NOON + SECOND / 2)
    assert bench.tick() == SECOND / 2
    bench.end(first)
    bench.tick(SECOND / 4)
    assert [job.id for job in bench.started] == [first.id, second.id]


def test_jobs_that_waited_too_long_go_first() -> None:
    """Whatever their priority."""
    bench = Bench(concurrency=1, ageing=MINUTE)
    [old] = bench.add(priority=9, scheduled_at=NOON - 2 * MINUTE)
    bench.add(priority=0)
    bench.tick()
    assert [job.id for job in bench.started] == [old.id]


# --- settling beside the ticks ---------------------------------------------------------------


def test_beside_the_ticks_what_ended_is_settled_by_a_duty_of_its_own() -> None:
    bench = Bench()
    bench.executor.settles_apart = True
    [job] = bench.add()
    bench.tick()
    bench.woken.clear()
    bench.end(job)
    assert (bench.to_settle.is_set(), bench.woken.is_set()) == (True, False)
    bench.tick()
    assert (bench.status(job), bench.executor.held) == (["processing"], 1)
    bench.executor.settle(NOON)
    assert (bench.status(job), bench.executor.held) == (["completed"], 0)
    assert bench.woken.is_set()  # another may have waited for that


def test_beside_the_ticks_a_freed_slot_is_filled_before_what_ended_is_settled() -> None:
    bench = Bench(concurrency=1)
    bench.executor.settles_apart = True
    first, second = bench.add(2)
    bench.tick()
    bench.woken.clear()
    bench.end(first)
    assert bench.woken.is_set()  # there was more than the one that was asked for
    bench.tick()
    assert [job.id for job in bench.started] == [first.id, second.id]
    assert bench.status(first, second) == ["processing", "processing"]


def test_beside_the_ticks_an_attempt_past_its_deadline_is_settled_soon() -> None:
    bench = Bench()
    bench.executor.settles_apart = True
    [job] = bench.add(timeout=SECOND)
    bench.tick()
    bench.tick(after=SECOND)
    assert bench.to_settle.is_set()
    bench.executor.settle(NOON + SECOND)
    assert bench.status(job) == ["failed"]


def test_beside_the_ticks_the_slot_of_a_handler_that_was_given_up_is_filled_when_it_ends() -> None:
    bench = Bench(concurrency=2)
    bench.executor.settles_apart = True
    [given_up] = bench.add(timeout=SECOND)
    bench.tick()
    bench.executor.polling = replace(bench.executor.polling, concurrency=1)
    bench.tick(after=SECOND)
    bench.executor.settle(NOON + SECOND)
    bench.add()
    assert bench.tick(after=SECOND) is None  # nothing is known that would free the slot
    bench.woken.clear()
    bench.end(given_up)
    bench.executor.settle(NOON + SECOND)
    assert bench.woken.is_set()


def test_beside_the_ticks_nothing_more_is_leased_while_what_ended_is_not_settled() -> None:
    """Else a store that is slow to take outcomes would be ever further behind."""
    bench = Bench(concurrency=2)
    bench.executor.settles_apart = True
    bench.add(9)
    bench.tick()
    for _ in range(4):
        for job in bench.started:
            if not bench.futures[job.id].done():
                bench.end(job)
        next_at = bench.tick()
    assert len(bench.started) == 4
    assert next_at == INTERVAL  # unless woken before
    bench.woken.clear()
    bench.executor.settle(NOON)
    assert bench.woken.is_set()
    bench.tick()
    assert len(bench.started) == 6


def test_a_drain_settles_by_itself() -> None:
    bench = Bench()
    bench.executor.settles_apart = True
    [job] = bench.add()
    bench.tick()
    bench.end(job)
    assert bench.executor.drain(timedelta(0)) == 0
    assert bench.status(job) == ["completed"]


def test_beside_the_ticks_what_ended_keeps_its_lease_until_it_is_settled() -> None:
    """However long the store takes to write it, nobody runs it again."""
    bench = Bench()
    bench.executor.settles_apart = True
    [job] = bench.add()
    bench.tick()
    bench.end(job)
    for third in range(1, 6):
        bench.tick(third * TTL / 3)
    assert bench.status(job) == ["processing"]
    bench.executor.settle(NOON + 2 * TTL)
    assert (bench.status(job), bench.stored(job).retry_count) == (["completed"], 0)


def test_a_handler_that_was_given_up_does_not_cost_the_next_attempt_its_lease() -> None:
    """Though it ends after that one, and neither is settled yet."""
    bench = Bench()
    bench.executor.settles_apart = True
    [job] = bench.add(timeout=SECOND, max_retries=1)
    bench.tick()
    given_up = bench.futures[job.id]
    bench.tick(SECOND)
    bench.executor.settle(NOON + SECOND)
    bench.tick(MINUTE)
    assert len(bench.started) == 2
    bench.end(job)
    given_up.set_result(Completed())
    for third in range(1, 6):
        bench.tick(MINUTE + third * TTL / 3)
    bench.executor.settle(NOON + 2 * MINUTE)
    assert (bench.status(job), bench.stored(job).error) == (["completed"], None)
