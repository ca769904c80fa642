"""JobQueue: the class people hold and extend."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextvars import ContextVar
from datetime import datetime, timedelta
from typing import Any

import pytest
from freezegun import freeze_time

from scheduler import (
    InvalidData,
    InvalidOption,
    InvalidRule,
    Job,
    JobContext,
    JobQueue,
    JobStatus,
    NaiveTime,
    UnknownName,
    clock,
    every,
    job,
)
from scheduler.errors import StaleSchedule, StorageUnavailable
from scheduler.events import Event
from scheduler.model import Outcome, Schedule, ScheduleStatus
from scheduler.storage.memory import MemoryStorage
from scheduler.testing.values import HOUR, MINUTE, NOON, SECOND, utc

WAIT = 10


def work(n: int = 0) -> int:
    return n * n


@pytest.fixture
def queue() -> Iterator[JobQueue]:
    queue = JobQueue()
    queue.register("work", work)
    yield queue
    queue.stop(grace=0)
    queue.storage.close()


@pytest.fixture(params=["memory://", "sqlite"])
def running(request: pytest.FixtureRequest, sqlite_url: str) -> Iterator[JobQueue]:
    """A queue to be started, in real time."""
    queue = JobQueue(sqlite_url if request.param == "sqlite" else request.param)
    yield queue
    queue.stop(grace=0)
    queue.storage.close()


def outcomes(queue: JobQueue, *names: str) -> Callable[[], Job]:
    """The next job that ends by one of these events, waited for."""
    arrived: list[Job] = []
    ready = threading.Semaphore(0)

    def hear(event: Event) -> None:
        assert event.job is not None
        arrived.append(event.job)
        ready.release()

    for name in names or ("completed", "failed"):
        queue.add_event_listener(name, hear)

    def next_one() -> Job:
        assert ready.acquire(timeout=WAIT)
        return arrived.pop(0)

    return next_one


# --- jobs in --------------------------------------------------------------------------------


def test_many_jobs_are_added_together_or_not_at_all(queue: JobQueue) -> None:
    """One of whose data do not fit refuses all; those that fit are one batch, in their order."""
    queue.register("greet", lambda name: name)
    told: list[Event] = []
    queue.add_event_listener("scheduled", told.append)
    with pytest.raises(InvalidData, match="name: is missing"):
        queue.add_many("greet", [{"name": "Ada"}, {}])
    with pytest.raises(InvalidData, match="not a JSON object"):
        queue.add_many("greet", [["Ada"]])  # type: ignore[list-item]
    assert queue.storage.list_jobs() == []
    added = queue.add_many("greet", ({"name": name} for name in "abc"), priority=7)
    assert [(job.data["name"], job.priority) for job in added] == [("a", 7), ("b", 7), ("c", 7)]
    assert queue.storage.list_jobs() == added[::-1]
    assert [event.job for event in told] == added
    assert queue.add_many("greet", []) == []


@freeze_time(NOON)
def test_add_enqueues_a_job_for_now(queue: JobQueue) -> None:
    """It comes back as stored, and is told."""
    told: list[Event] = []
    queue.add_event_listener("scheduled", told.append)
    added = queue.add("work", {"n": 3}, priority=-1, max_retries=0, timeout=1.5)
    assert queue.get_job(added.id) == added
    assert (added.status, added.data, added.priority) == (JobStatus.PENDING, {"n": 3}, -1)
    assert (added.created_at, added.scheduled_at) == (NOON, NOON)
    assert (added.max_retries, added.timeout) == (0, timedelta(seconds=1.5))
    assert [event.job for event in told] == [added]


@freeze_time(NOON)
def test_what_is_left_open_is_the_handlers_own() -> None:
    """Then the queue's: its name, its retries."""
    queue = JobQueue(name="reports", max_retries=7)
    queue.register("plain", work)
    queue.register("set", work, queue="q", priority=4, max_retries=0, timeout=9)
    plain, settled = queue.add("plain"), queue.add("set")
    assert (plain.queue, plain.priority, plain.max_retries, plain.timeout) == (
        "reports",
        0,
        7,
        None,
    )
    assert (settled.queue, settled.priority) == ("q", 4)
    assert (settled.max_retries, settled.timeout) == (0, timedelta(seconds=9))


@freeze_time(NOON)
def test_a_job_may_be_for_later(queue: JobQueue) -> None:
    """At an instant, in whatever zone it is given, or after a delay."""
    at = utc("2026-01-05T14:00:00.000001+01:00")
    assert queue.add("work", scheduled_at=at).scheduled_at == at
    assert queue.schedule("work", {"n": 1}, at, priority=2).priority == 2
    assert queue.schedule_in("work", {}, 90).scheduled_at == NOON + 90 * SECOND
    assert queue.schedule_in("work", {}, MINUTE).scheduled_at == NOON + MINUTE
    assert queue.schedule_in("work", {}, 0).scheduled_at == NOON


Refused = Callable[[JobQueue], object]

REFUSALS: list[tuple[Refused, type[Exception], str]] = [
    (lambda q: q.add("wrok"), UnknownName, "did you mean 'work'"),
    (lambda q: q.add("work", {"n": "3"}), InvalidData, "data: n"),
    (lambda q: q.add("work", {"m": 3}), InvalidData, "allowed: n"),
    (lambda q: q.add("work", {"n": {1}}), InvalidData, "is not JSON"),
    (lambda q: q.add("work", priority=2**31), InvalidOption, "priority"),
    (lambda q: q.add("work", priority=True), InvalidOption, "priority"),
    (lambda q: q.add("work", max_retries=-1), InvalidOption, "max_retries"),
    (lambda q: q.add("work", timeout=0), InvalidOption, "timeout"),
    (lambda q: q.add("work", timeout=float("nan")), InvalidOption, "timeout"),
    (lambda q: q.add("work", timeout=1e300), InvalidOption, "timeout"),
    (lambda q: q.add("work", timeout=timedelta.max), InvalidOption, "100 years"),
    (lambda q: q.add("work", scheduled_at=datetime(2026, 1, 5)), NaiveTime, "scheduled_at"),  # noqa: DTZ001
    (lambda q: q.schedule_in("work", {}, -1), InvalidOption, "delay"),
    (lambda q: q.schedule_in("work", {}, 10**11), InvalidOption, "delay"),
    (lambda q: q.add_repeatable("wrok", {}, every(hours=1)), UnknownName, "work"),
    (lambda q: q.add_repeatable("work", {"m": 1}, every(hours=1)), InvalidData, "m"),
    (lambda q: q.add_repeatable("work", {}, {"every": 0, "unit": "hours"}), InvalidRule, "every"),
    (
        lambda q: q.add_repeatable("work", {}, every(hours=1), schedule_name="a\nb"),
        InvalidOption,
        "schedule name",
    ),
    (lambda q: q.register("work", lambda: None), InvalidOption, "is taken twice"),
    (lambda q: q.register("", work), InvalidOption, "job name"),
    (lambda q: q.add_event_listener("complete", print), UnknownName, "completed"),
    (lambda q: q.set_concurrency(0), InvalidOption, "concurrency"),
    (lambda q: q.set_processing_interval(0), InvalidOption, "processing_interval"),
]


@pytest.mark.parametrize(("act", "error", "said"), REFUSALS, ids=[each[2] for each in REFUSALS])
def test_what_is_refused_writes_nothing(
    queue: JobQueue, act: Refused, error: type[Exception], said: str
) -> None:
    """The error names the field, and there is no half of a job or a schedule."""
    with pytest.raises(error, match=said):
        act(queue)
    assert queue.storage.list_jobs() == []
    assert queue.storage.list_schedules() == []


@pytest.mark.parametrize(
    "options",
    [
        {"concurrency": 0},
        {"concurrency": 10_001},
        {"concurrency": 5, "max_concurrency": 4},
        {"max_retries": -1},
        {"processing_interval": 0},
        {"processing_interval": "1"},
        {"prefetch_batch_size": -1},
        {"min_interval": 2, "max_interval": 1},
        {"max_empty_polls": 0},
        {"load_factor": 0},
        {"load_factor": 1.1},
        {"load_factor": True},
        {"ttl": 0},
        {"name": ""},
        {"default_timezone": "Mars/Olympus"},
    ],
    ids=str,
)
def test_an_option_out_of_range_is_refused(options: dict[str, Any]) -> None:
    """Naming it."""
    name = [*options][-1] if "min_interval" not in options else "max_interval"
    with pytest.raises((InvalidOption, InvalidRule), match=name.replace("default_", "")):
        JobQueue(**options)


# --- recurring ------------------------------------------------------------------------------


@freeze_time(NOON)
def test_add_repeatable_twice_changes_nothing(queue: JobQueue) -> None:
    """The first call made the schedule; the second finds it as it should be."""
    first = queue.add_repeatable("work", {"n": 2}, every(hours=1))
    with freeze_time(NOON + MINUTE):
        again = queue.add_repeatable("work", {"n": 2}, {"every": 1, "unit": "hours"})
    assert again == first
    assert (first.name, first.job_name, first.data) == ("work", "work", {"n": 2})


@freeze_time(NOON)
def test_add_repeatable_edits_what_is_there(queue: JobQueue) -> None:
    """Another rule or other data: the anchor and the count go on."""
    first = queue.add_repeatable("work", {"n": 2}, every(hours=1))
    queue.expander.tick(NOON)
    with freeze_time(NOON + MINUTE):
        edited = queue.add_repeatable("work", {"n": 3}, every(hours=2))
    assert (edited.id, edited.anchor_at) == (first.id, first.anchor_at)
    assert (edited.data, edited.materialised) == ({"n": 3}, 1)
    assert edited.next_at == NOON + timedelta(hours=2)


@freeze_time(NOON)
def test_one_job_may_have_several_schedules(queue: JobQueue) -> None:
    """Each with its name, rule and data."""
    queue.add_repeatable("work", {"n": 1}, every(hours=1), schedule_name="hourly")
    queue.add_repeatable("work", {"n": 2}, every(days=1), schedule_name="daily")
    queue.expander.tick(NOON)
    assert sorted(job.data["n"] for job in queue.storage.list_jobs()) == [1, 2]
    assert [each.name for each in queue.storage.list_schedules()] == ["daily", "hourly"]


@freeze_time(NOON)
def test_declare_is_idempotent_and_retires_what_is_gone(queue: JobQueue) -> None:
    """And says what changed."""

    @job(every(hours=1))
    def books() -> None: ...

    queue.register_marked(books)
    assert [change.kind.value for change in queue.declare()] == ["added"]
    assert queue.declare() == []
    successor = JobQueue(queue.storage)
    assert [each.kind.value for each in successor.declare((books.__module__,))] == ["retired"]
    assert [each.kind.value for each in queue.declare()] == ["revived"]
    stored = queue.storage.get_schedule("books")
    assert stored is not None
    assert stored.status is ScheduleStatus.ACTIVE


def test_declaring_while_another_declares_ends_in_one_schedule() -> None:
    """Who comes second sees what the first wrote."""

    class Raced(MemoryStorage):
        raced = False

        def save_schedule(self, schedule: Schedule) -> None:
            if not self.raced:
                self.raced = True
                rival = JobQueue(self)
                rival.register("work", work, rule=every(hours=1))
                assert len(rival.declare()) == 1
            super().save_schedule(schedule)

    queue = JobQueue(Raced())
    queue.register("work", work, rule=every(hours=1))
    assert queue.declare() == []
    assert len(queue.storage.list_schedules()) == 1


def test_a_declaration_that_never_wins_says_so() -> None:
    """Two versions of the code that overwrite each other do not spin for ever."""

    class Contested(MemoryStorage):
        def save_schedule(self, schedule: Schedule) -> None:
            raise StaleSchedule("written by another meanwhile")

    queue = JobQueue(Contested())
    queue.register("work", work, rule=every(hours=1))
    with pytest.raises(StaleSchedule, match="declare"):
        queue.declare()


# --- running --------------------------------------------------------------------------------


def test_a_started_queue_runs_what_is_added(running: JobQueue) -> None:
    """Sync and async, with their results."""

    async def later(n: int) -> int:
        await asyncio.sleep(0)
        return n + 1

    running.register("work", work)
    running.register("later", later)
    ended = outcomes(running)
    running.start()
    running.start()  # once more is no error
    assert running.is_running
    added = [running.add("work", {"n": 7}), running.add("later", {"n": 7})]
    results = {each.id: each.result for each in (ended(), ended())}
    assert [results[each.id] for each in added] == [49, 8]
    assert running.problems == {}
    assert running.stop() == 0
    assert not running.is_running


@pytest.fixture
def no_polls(running: JobQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is done is done for a cause: the call that comes in any case is an hour away."""
    monkeypatch.setattr("scheduler.metronome.LONGEST_WAIT", HOUR)
    running.set_processing_interval(HOUR.total_seconds())


@pytest.mark.usefixtures("no_polls")
def test_a_job_is_started_when_it_is_added_not_at_the_next_poll(running: JobQueue) -> None:
    """However long the interval."""
    running.register("work", work)
    ended = outcomes(running)
    running.start()
    for _ in range(2):
        added = running.add("work")
        assert ended().id == added.id


@pytest.mark.usefixtures("no_polls")
def test_a_schedule_added_to_a_running_queue_begins_at_once(running: JobQueue) -> None:
    """Its expander is awake, and its executor when the job is there."""
    running.register("work", work)
    ended = outcomes(running)
    running.start()
    schedule = running.add_repeatable("work", {"n": 2}, every(hours=1))
    first = ended()
    assert (first.schedule_id, first.result, first.sequence) == (schedule.id, 4, 1)


@pytest.mark.usefixtures("no_polls")
def test_a_recurring_job_runs_on_its_instants(running: JobQueue) -> None:
    """Consecutive ones, each once, and none before it is due."""
    running.register("tick", work, rule=every(seconds=1, limit=3))
    ended = outcomes(running)
    running.start()
    jobs = [ended() for _ in range(3)]
    first = jobs[0].occurrence_at
    assert first is not None
    assert [each.occurrence_at for each in jobs] == [first + n * SECOND for n in range(3)]
    assert [each.sequence for each in jobs] == [1, 2, 3]
    for each in jobs[1:]:
        assert each.started_at is not None
        assert each.started_at >= each.scheduled_at


def test_a_queue_that_does_not_stand_alone_expands_nothing(running: JobQueue) -> None:
    """A service elsewhere does, and declares."""
    queue = JobQueue(running.storage, stand_alone=False)
    queue.register("work", work, rule=every(hours=1))
    ended = outcomes(queue)
    queue.start()
    queue.add("work")
    ended()
    queue.stop()
    assert running.storage.list_schedules() == []


def test_a_stopped_queue_can_be_started_again(running: JobQueue) -> None:
    """With the same handlers."""
    running.register("work", work)
    ended = outcomes(running)
    for _ in range(2):
        running.start()
        running.add("work")
        assert ended().status is JobStatus.COMPLETED
        assert running.stop() == 0


def test_stop_gives_back_what_outlives_its_grace(running: JobQueue) -> None:
    """The handler is told; the job is pending again, no attempt counted."""
    begun, told = threading.Event(), threading.Event()

    def hang(ctx: JobContext) -> None:
        begun.set()
        while not ctx.cancelled:
            threading.Event().wait(0.01)
        told.set()

    running.register("hang", hang)
    running.start()
    added = running.add("hang")
    assert begun.wait(WAIT)
    assert running.stop(grace=0) == 1
    assert told.wait(WAIT)
    stored = running.get_job(added.id)
    assert stored is not None
    assert (stored.status, stored.retry_count) == (JobStatus.PENDING, 0)


def test_a_grace_that_is_none_stops_nothing(running: JobQueue) -> None:
    """It is refused before anything is touched, and the queue goes on."""
    running.register("work", work)
    ended = outcomes(running)
    running.start()
    for grace in (-1, float("nan")):
        with pytest.raises(InvalidOption, match="grace"):
            running.stop(grace=grace)
    assert running.is_running
    running.add("work")
    assert ended().status is JobStatus.COMPLETED
    assert running.stop() == 0


class Deaf(MemoryStorage):
    """Cannot be listened to the first time, nor ever be told to stop it."""

    def __init__(self) -> None:
        super().__init__()
        self.listened = 0

    def listen(self, wake: Callable[[], None]) -> Callable[[], None] | None:
        self.listened += 1
        if self.listened == 1:
            raise StorageUnavailable("no ear")
        return self._end

    def _end(self) -> None:
        raise StorageUnavailable("no end")


def test_a_queue_that_cannot_listen_has_not_started() -> None:
    """Nothing is left running, and it can be started when the store is there."""
    queue = JobQueue(Deaf())
    with pytest.raises(StorageUnavailable, match="no ear"):
        queue.start()
    assert not queue.is_running
    assert [each.name for each in threading.enumerate() if each.name == "APScheduler"] == []
    assert queue.stop() == 0


def test_stop_drains_whatever_the_listener_does() -> None:
    """What runs is given back; the error is told, and told once."""
    storage = Deaf()
    storage.listened = 1
    queue = JobQueue(storage)
    begun, go_on = threading.Event(), threading.Event()

    def hang() -> None:
        begun.set()
        assert go_on.wait(WAIT)

    queue.register("hang", hang)
    queue.start()
    added = queue.add("hang")
    assert begun.wait(WAIT)
    with pytest.raises(StorageUnavailable, match="no end"):
        queue.stop(grace=0)
    go_on.set()
    stored = queue.get_job(added.id)
    assert stored is not None
    assert stored.status is JobStatus.PENDING
    assert queue.stop() == 0


class Silent(MemoryStorage):
    """A store that, once it has gone silent, never answers a verb."""

    def __init__(self, verb: str) -> None:
        self._verb = verb
        super().__init__()
        self.asked, self.answer = threading.Event(), threading.Event()

    def __getattribute__(self, name: str) -> Any:
        if name == object.__getattribute__(self, "_verb"):
            self.asked.set()
            assert self.answer.wait(WAIT)
        return object.__getattribute__(self, name)


@pytest.mark.parametrize("verb", ["next_job_at", "due_schedules"])
def test_stop_does_not_wait_for_a_silent_store(
    verb: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A duty that hangs there is left behind. Who holds up the drain is a store that is gone."""
    monkeypatch.setattr("scheduler.queue.STORE_PATIENCE", SECOND / 5)
    storage = Silent(verb)
    queue = JobQueue(storage)
    queue.register("work", lambda: None)
    queue.start()
    assert storage.asked.wait(WAIT)
    if verb == "next_job_at":  # in the middle of a tick of the executor
        with pytest.raises(StorageUnavailable, match="said nothing"):
            queue.stop(grace=0)
    else:
        assert queue.stop(grace=0) == 0
    assert not queue.is_running
    assert "left behind" in caplog.text
    storage.answer.set()


def test_a_coroutine_past_its_timeout_is_cancelled(running: JobQueue) -> None:
    """Its job fails, or is retried, and its slot is free."""
    cleaned = threading.Event()

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.set()

    running.register("hang", hang, timeout=0.05, max_retries=0)
    running.register("next", lambda: None)
    running.set_concurrency(1)
    ended = outcomes(running)
    running.start()
    running.add("hang")
    assert ended().error == "timed out after 0.05 s"
    assert cleaned.wait(WAIT)
    running.add("next")
    assert ended().status is JobStatus.COMPLETED


def test_concurrency_can_be_changed_while_running(running: JobQueue) -> None:
    """Two handlers meet as soon as there are two slots."""
    begun, together = threading.Event(), threading.Barrier(2)

    def meet() -> bool:
        begun.set()
        return together.wait(WAIT) >= 0

    running.register("meet", meet)
    running.set_concurrency(1)
    ended = outcomes(running)
    running.start()
    running.add("meet")
    running.add("meet")
    assert begun.wait(WAIT)
    assert together.n_waiting <= 1
    running.set_concurrency(2)
    assert {ended().status, ended().status} == {JobStatus.COMPLETED}


def test_every_queue_runs_the_jobs_of_all() -> None:
    """Where one process serves them all; else each queue its own."""
    for every_queue, expected in ((False, ["work"]), (True, ["other", "work"])):
        queue = JobQueue(every_queue=every_queue)
        queue.register("work", work)
        queue.register("other", lambda: None, queue="elsewhere")
        queue.add("work")
        queue.add("other")
        queue.executor.run_until_idle(clock.now())
        done = queue.storage.get_jobs_by_status(JobStatus.COMPLETED)
        assert sorted(each.name for each in done) == expected
        queue.stop()


# --- extending ------------------------------------------------------------------------------


class Wrapping(JobQueue):
    """Does something of its own around every job and every batch."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.trail: list[str] = []
        self.batches = 0

    def process_job(self, job: Job) -> Future[Outcome]:
        self.trail.append(f"before {job.name}")
        future = super().process_job(job)
        future.add_done_callback(lambda _: self.trail.append(f"after {job.name}"))
        return future

    def process_next_batch(self) -> datetime | None:
        self.batches += 1
        return super().process_next_batch()


def test_a_subclass_may_wrap_every_job() -> None:
    """Before it, and after it."""
    queue = Wrapping()
    queue.register("work", work)
    ended = outcomes(queue)
    queue.start()
    queue.add("work")
    assert ended().status is JobStatus.COMPLETED
    queue.stop()
    assert queue.trail == ["before work", "after work"]
    assert queue.batches >= 2


@pytest.mark.parametrize("answer", ["soon", datetime(2026, 1, 5), 0.02], ids=str)  # noqa: DTZ001
def test_a_subclass_that_returns_no_instant_is_called_again(answer: Any) -> None:
    """As if it had returned None: the loop goes on."""

    class Vague(JobQueue):
        def process_next_batch(self) -> Any:
            super().process_next_batch()
            return answer

    queue = Vague(processing_interval=0.02)
    queue.register("work", work)
    ended = outcomes(queue)
    queue.start()
    for _ in range(2):
        queue.add("work")
        assert ended().status is JobStatus.COMPLETED
    queue.stop()


def test_a_subclass_may_hold_batches_back() -> None:
    """None leaves the next call to the polling interval."""

    class Gated(JobQueue):
        def __init__(self) -> None:
            super().__init__(processing_interval=0.02)
            self.open = threading.Event()
            self.held_back = threading.Event()

        def process_next_batch(self) -> datetime | None:
            if self.open.is_set():
                return super().process_next_batch()
            self.held_back.set()
            return None

    queue = Gated()
    queue.register("work", work)
    ended = outcomes(queue)
    queue.start()
    added = queue.add("work")
    assert queue.held_back.wait(WAIT)
    assert queue.storage.get_job(added.id) == added
    queue.open.set()
    assert ended().status is JobStatus.COMPLETED
    queue.stop()


def test_a_batch_by_hand_settles_what_ended(queue: JobQueue) -> None:
    """Also where there is a metronome, as long as it is not the queue's own."""
    queue.metronome("executor")
    added = queue.add("work", {"n": 2})
    for _ in range(2):
        queue.process_next_batch()
        queue.executor.wait(WAIT)
    assert queue.jobs.get(added.id).result == 4


def test_a_subclass_that_refuses_a_job_fails_it() -> None:
    """What process_job raises is the job's error, and the loop goes on."""

    class Picky(JobQueue):
        def process_job(self, job: Job) -> Future[Outcome]:
            if job.data["n"] == 13:
                raise ValueError("unlucky")
            return super().process_job(job)

    queue = Picky(max_retries=0)
    queue.register("work", work)
    bad, good = queue.add("work", {"n": 13}), queue.add("work", {"n": 2})
    queue.executor.run_until_idle(clock.now())
    stored = [queue.get_job(each.id) for each in (bad, good)]
    assert [each and each.error for each in stored] == ["ValueError: unlucky", None]
    assert [each and each.result for each in stored] == [None, 4]
    queue.stop()


def test_a_process_job_in_the_place_of_ours_is_called(
    queue: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As tools that trace everything put one into the class."""
    ours, seen = JobQueue.process_job, []

    def traced(self: JobQueue, job: Job) -> Future[Outcome]:
        seen.append(job.name)
        return ours(self, job)

    monkeypatch.setattr(JobQueue, "process_job", traced)
    added = queue.add("work", {"n": 2})
    queue.executor.run_until_idle(clock.now())
    assert seen == ["work"]
    assert queue.jobs.get(added.id).result == 4


def test_a_removed_listener_hears_nothing(queue: JobQueue) -> None:
    """Nor is removing it twice an error."""
    told: list[Event] = []
    queue.add_event_listener("scheduled", told.append)
    queue.remove_event_listener("scheduled", told.append)
    queue.remove_event_listener("scheduled", told.append)
    queue.add("work")
    assert told == []


# --- opening and closing --------------------------------------------------------------------


class Closing(MemoryStorage):
    """Counts how often it was closed; to end what listens to it fails."""

    closed = 0

    def listen(self, wake: Callable[[], None]) -> Callable[[], None]:
        def end() -> None:
            raise StorageUnavailable("no end")

        return end

    def close(self) -> None:
        self.closed += 1


def test_a_queue_closes_the_store_that_it_opened(sqlite_url: str) -> None:
    """At the end of a `with`, stopped first; another then finds what was there."""
    with JobQueue(sqlite_url) as queue:
        queue.register("work", work)
        assert not queue.is_running
        added = queue.add("work", {"n": 3})
        ended = outcomes(queue)
        queue.start()
        assert ended().id == added.id
    assert not queue.is_running
    assert queue.close() == 0
    with JobQueue(sqlite_url) as again:
        stored = again.get_job(added.id)
    assert stored is not None
    assert stored.result == 9


def test_a_store_that_a_queue_was_given_stays_open() -> None:
    """Others may use it: who opened it closes it."""
    storage = Closing()
    with JobQueue(storage) as queue:
        queue.register("work", work)
        queue.add("work")
    assert storage.closed == 0


def test_a_store_is_closed_whatever_stopping_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """But not while the queue still runs, as when the grace is none."""
    storage = Closing()
    monkeypatch.setattr("scheduler.queue.open_storage", lambda _: storage)
    queue = JobQueue("memory://")
    queue.start()
    with pytest.raises(InvalidOption, match="grace"):
        queue.close(grace=-1)
    assert (queue.is_running, storage.closed) == (True, 0)
    with pytest.raises(StorageUnavailable, match="no end"):
        queue.close(grace=0)
    assert (queue.is_running, storage.closed) == (False, 1)


class Minded(MemoryStorage):
    """A store with a clock of its own, as far ahead of this machine's as is said."""

    ahead = timedelta(0)

    def read_clock(self) -> datetime:
        return clock.now() + self.ahead


def test_attempts_take_as_long_as_they_take_when_the_stores_clock_is_set() -> None:
    """As when a standby whose clock differs takes over from its database."""
    storage = Minded()
    queue = JobQueue(storage)
    going_on = threading.Event()
    queue.register("work", lambda: going_on.wait(WAIT), timeout=30, max_retries=0)
    with freeze_time(NOON):
        compare = queue.metronome().duties["clock"]
        job = queue.add("work")
        queue.process_next_batch()
        storage.ahead = HOUR
        compare.call()
        assert queue.clock.now() == NOON + HOUR
        queue.process_next_batch()
        assert queue.jobs.get(job.id).status is JobStatus.PROCESSING
        going_on.set()
        queue.executor.run_until_idle(queue.clock.now())
    assert queue.jobs.get(job.id).status is JobStatus.COMPLETED


@pytest.mark.parametrize("kind", ["thread", "asyncio"])
def test_no_context_variable_goes_on_to_the_next_job(running: JobQueue, kind: str) -> None:
    """Though a handler is called where the one before it ended."""
    tenant: ContextVar[str] = ContextVar("tenant", default="nobody")
    seen: list[str] = []

    def note() -> None:
        seen.append(tenant.get())
        tenant.set("somebody")

    async def note_on_the_loop() -> None:
        note()

    running.register("note", note if kind == "thread" else note_on_the_loop)
    running.set_concurrency(1)
    ended = outcomes(running)
    running.add_many("note", [{} for _ in range(20)])
    running.start()
    assert {ended().status for _ in range(20)} == {JobStatus.COMPLETED}
    assert seen == ["nobody"] * 20
