"""JobQueue: the class people hold and extend.

It takes jobs in, and, once started, runs them: a storage, a registry of handlers, an executor,
and (`stand_alone`) an expander of its own, driven by a metronome. Two methods are made to be
overridden: `process_next_batch` and `process_job`.
"""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from datetime import datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from scheduler.declarations import Change, declare
from scheduler.declarer import Declarer
from scheduler.errors import InvalidOption, NaiveTime, StaleSchedule
from scheduler.events import Event, EventName, Events, Listener
from scheduler.executor import Executor
from scheduler.expander import CLOCK_JUMP_PAUSE, ClockWatch, Expander
from scheduler.handlers import MAX_RESULT_BYTES, HandlerRunner, Runner
from scheduler.handlers.outcomes import Done, by_future
from scheduler.ids import new_ids
from scheduler.jobs import Jobs
from scheduler.logs import logger
from scheduler.metronome import Metronome, Tick, within
from scheduler.model import DEFAULT_QUEUE, Job, JsonObject, Outcome, Schedule, copies, replace
from scheduler.options import check_duration, check_integer, check_name
from scheduler.polling import Polling
from scheduler.pruner import Pruner
from scheduler.registry import JobDefinition, Registry, define, marks
from scheduler.retention import FOR_EVER, Retention
from scheduler.rules import Rule, rule_from_json
from scheduler.rules.zones import zone
from scheduler.schedules import Schedules
from scheduler.storage import JobStorage, open_storage
from scheduler.storage.base import DEFAULT_TTL
from scheduler.store_clock import COMPARED_EVERY, StoreClock
from scheduler.transactions import HandlerTransaction

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.orm import Session

log = logger(__name__)

EXPANDER, EXECUTOR, DECLARER, COMPARER = "expander", "executor", "declarer", "clock"
PRUNER, SETTLER = "pruner", "settler"
MAX_CONCURRENCY = 10_000

STORE_PATIENCE = timedelta(seconds=3)
"""How long a store may take, whatever the grace, for what is written when a queue stops."""

_DEFAULT_RETENTION = Retention()


class JobQueue:
    """Takes jobs in and runs them.

    `storage` is a JobStorage or the URL of one. `name` is the queue whose jobs it runs and
    adds. Durations are seconds or timedeltas. `max_retries` is for jobs that do not say.
    `processing_interval` is how often an idle queue looks for jobs that nothing announced;
    with `intelligent_polling` it adapts between `min_interval` and `max_interval`, and the
    concurrency between `concurrency` and `max_concurrency`. `prefetch_batch_size` jobs are
    leased ahead of free slots. `ttl` is the life of a lease. With `ageing`, jobs that have been due
    for so long go before all others, whatever their priority. With `stand_alone` the queue
    expands schedules itself; without, a service elsewhere does. With `every_queue` it
    runs the jobs of all queues, not only its own. `default_timezone` is for rules that name
    none. A job whose result is more than `max_result_bytes` of JSON fails. `dask_address` is the
    scheduler of the Dask cluster for jobs with runner="dask", such as tcp://host:8786.
    `retention` is how long jobs stay after they have ended (None: for ever); what expands
    schedules removes them. Raises InvalidOption naming the option that is out of range.

    In a `with` it is closed at the end: see `close`.
    """

    def __init__(
        self,
        storage: JobStorage | str = "memory://",
        *,
        registry: Registry | None = None,
        name: str = DEFAULT_QUEUE,
        concurrency: int = 10,
        max_concurrency: int | None = None,
        max_retries: int = 3,
        processing_interval: float | timedelta = 1.0,
        prefetch_batch_size: int = 0,
        intelligent_polling: bool = False,
        min_interval: float | timedelta = 0.1,
        max_interval: float | timedelta = 5.0,
        max_empty_polls: int = 5,
        load_factor: float = 0.5,
        stand_alone: bool = True,
        every_queue: bool = False,
        ageing: float | timedelta | None = None,
        ttl: float | timedelta = DEFAULT_TTL,
        default_timezone: str = "UTC",
        max_result_bytes: int = MAX_RESULT_BYTES,
        dask_address: str | None = None,
        retention: Retention | None = _DEFAULT_RETENTION,
    ) -> None:
        self.name = check_name("queue: name", name)
        self.stand_alone = stand_alone
        self.default_timezone = zone(default_timezone).key
        self._max_retries = check_integer("queue: max_retries", max_retries, 0)
        polling = _polling(
            concurrency=concurrency,
            max_concurrency=max_concurrency,
            processing_interval=processing_interval,
            intelligent_polling=intelligent_polling,
            min_interval=min_interval,
            max_interval=max_interval,
            max_empty_polls=max_empty_polls,
            load_factor=load_factor,
        )
        prefetch = check_integer("queue: prefetch_batch_size", prefetch_batch_size, 0)
        lease_ttl = check_duration("queue: ttl", ttl)
        longest_wait = None if ageing is None else check_duration("queue: ageing", ageing)
        self._opened_storage = isinstance(storage, str)
        self.storage = open_storage(storage) if isinstance(storage, str) else storage
        self.registry = Registry() if registry is None else registry
        self.clock = StoreClock(self.storage.read_clock)
        self._events = Events()
        process = process_name()
        self._dask_address = dask_address
        self._max_result_bytes = check_integer("queue: max_result_bytes", max_result_bytes, 1)
        self._runner = self._new_runner()
        self.executor = Executor(
            self.storage,
            begin=self._begin,
            cancel=self._runner.cancel,
            handler_names=lambda: self.registry.names,
            limits=lambda: self.registry.limits,
            retries=self.registry.retries,
            events=self._events,
            wake=lambda: self._wake(EXECUTOR),
            ended=lambda: self._wake(SETTLER),
            clock=self.clock.now,
            polling=polling,
            queue=None if every_queue else self.name,
            prefetch=prefetch,
            ageing=longest_wait,
            ttl=lease_ttl,
            worker=process,
        )
        self._events.add_listener(EventName.CANCELLED, lambda _: self.executor.ask_leases())
        self.expander = Expander(self.storage, emit=self._events.emit)
        # Through the module: a frozen test freezes both clocks, and no time passes on either.
        self.watch = ClockWatch(lambda: time.monotonic())
        self.declarer = Declarer(
            self.storage,
            declared=self._declared_schedules,
            process=process,
            emit=self._events.emit,
            now=self.clock.now,
        )
        self.pruner = Pruner(
            self.storage, retention or FOR_EVER, monotonic=lambda: time.monotonic()
        )
        self._is_declared = False
        self._metronome: Metronome | None = None
        self._stop_listening: Callable[[], None] | None = None

    def _new_runner(self) -> Runner:
        """What calls the handlers of `registry`."""
        return HandlerRunner(
            self.registry,
            begin=self.begin_transaction,
            max_result_bytes=self._max_result_bytes,
            dask_address=self._dask_address,
        )

    def begin_transaction(self, job: Job) -> HandlerTransaction:
        """The transaction of an attempt of `job`: what `JobContext.connection` writes in."""
        return HandlerTransaction(self.storage, job, self.clock.now)

    # --- handlers --------------------------------------------------------------------------

    def register(self, name: str, handler: Callable[..., Any], **options: Any) -> None:
        """Take in the handler of the jobs called `name`; `options` are those of @job.

        With a `rule` it recurs, once `declare` or `start` has written its schedule. Raises
        InvalidOption if the name is another handler's.
        """
        self.registry.add(define(handler, options.pop("rule", None), name=name, **options))

    def register_marked(self, *handlers: Callable[..., Any]) -> None:
        """Take in functions that carry @job."""
        for handler in handlers:
            for definition in marks(handler):
                self.registry.add(definition)

    # --- jobs in ---------------------------------------------------------------------------

    def add(
        self,
        name: str,
        data: JsonObject | None = None,
        *,
        priority: int | None = None,
        max_retries: int | None = None,
        timeout: float | timedelta | None = None,
        scheduled_at: datetime | None = None,
        connection: Connection | Session | None = None,
    ) -> Job:
        """Enqueue a job, to run at once or at `scheduled_at` (aware; in the past: at once).

        What is left open is the handler's own. With `connection`, an SQLAlchemy connection or
        session on the queue's own SQL database, the job is part of the caller's transaction: it
        is there once that is committed, and never was if it is rolled back; no event tells of
        it. Returns the job as stored. Raises UnknownName if nobody handles `name`, InvalidData if
        `data` does not fit the handler, NaiveTime, and NotSupported if there is a `connection`
        and the storage has no SQL.
        """
        [job] = self.add_many(
            name,
            [data or {}],
            priority=priority,
            max_retries=max_retries,
            timeout=timeout,
            scheduled_at=scheduled_at,
            connection=connection,
        )
        return job

    def add_many(
        self,
        name: str,
        data: Iterable[JsonObject],
        *,
        priority: int | None = None,
        max_retries: int | None = None,
        timeout: float | timedelta | None = None,
        scheduled_at: datetime | None = None,
        connection: Connection | Session | None = None,
    ) -> list[Job]:
        """Enqueue a job for each of `data`, all or none where the store has transactions.

        Otherwise as `add`; the jobs as stored, in the order of `data`.
        """
        definition = self.registry.get(name)
        given: dict[str, Any] = {}
        if priority is not None:
            given["priority"] = check_integer("priority", priority, -(2**31))
        if max_retries is not None:
            given["max_retries"] = check_integer("max_retries", max_retries, 0)
        if timeout is not None:
            given["timeout"] = check_duration("timeout", timeout)
        now = self.clock.now()
        like = self._new_job(definition, now, scheduled_at, given)
        jobs = self._filled(definition, like, data)
        if connection is not None:
            self.storage.save_jobs_in(connection, jobs)
            return jobs
        self.storage.save_jobs(jobs)
        self._events.tell_each(EventName.SCHEDULED, now, jobs)
        self._wake(EXECUTOR)
        return jobs

    def schedule(
        self, name: str, data: JsonObject | None, scheduled_at: datetime, **options: Any
    ) -> Job:
        """Enqueue a job to run at `scheduled_at`; otherwise as `add`."""
        return self.add(name, data, scheduled_at=scheduled_at, **options)

    def schedule_in(
        self, name: str, data: JsonObject | None, delay: float | timedelta, **options: Any
    ) -> Job:
        """Enqueue a job to run in `delay` (seconds or a timedelta) from now; as `add`."""
        due_at = self.clock.now() + check_duration("delay", delay, zero=True)
        return self.add(name, data, scheduled_at=due_at, **options)

    def add_repeatable(
        self,
        name: str,
        data: JsonObject | None,
        repeat: Rule | Mapping[str, Any],
        *,
        schedule_name: str | None = None,
    ) -> Schedule:
        """Let the job `name` recur by the rule `repeat`; the schedule as stored.

        The schedule is called `schedule_name`, by default as the job. The same call again
        changes nothing; another rule or data edits the schedule, its phase and count going
        on. Raises UnknownName, InvalidData or InvalidRule.
        """
        definition = self.registry.get(name)
        values = dict(data or {})
        definition.signature.check(values)
        rule = repeat if isinstance(repeat, Rule) else rule_from_json(repeat)
        called = check_name("schedule name", schedule_name or name)
        self.declarer.write(
            lambda now: [self._declared(definition, rule, called, now, module=None, data=values)]
        )
        self._wake(EXPANDER)
        stored = self.storage.get_schedule(called)
        if stored is None:
            raise StaleSchedule(f"schedule {called!r}: deleted by another meanwhile")
        return stored

    def declare(self, modules: tuple[str, ...] = ()) -> list[Change]:
        """Write the schedules of every registered handler that has a rule; what changed.

        Idempotent. Schedules that were declared in `modules` and no longer are get retired.
        """
        changes = self.declarer.declare(modules)
        self._is_declared = True
        self._wake(EXPANDER)
        return changes

    def _declared_schedules(self, now: datetime) -> list[Schedule]:
        return [
            self._declared(each, each.rule, each.name, now, module=each.module)
            for each in self.registry
            if each.rule is not None
        ]

    def _declared(
        self,
        definition: JobDefinition,
        rule: Rule,
        name: str,
        now: datetime,
        *,
        module: str | None,
        data: JsonObject | None = None,
    ) -> Schedule:
        return declare(
            definition,
            rule,
            name=name,
            timezone=self.default_timezone,
            queue=self.name,
            max_retries=self._max_retries,
            module=module,
            now=now,
            data=data,
        )

    def _new_job(
        self,
        definition: JobDefinition,
        now: datetime,
        scheduled_at: datetime | None,
        given: Mapping[str, Any],
    ) -> Job:
        """A job of `definition` without data, but for the fields that are `given`."""
        if scheduled_at is not None and scheduled_at.tzinfo is None:
            raise NaiveTime("scheduled_at", scheduled_at)
        retries = definition.max_retries
        fields: dict[str, Any] = {
            "id": "",
            "name": definition.name,
            "created_at": now,
            "scheduled_at": now if scheduled_at is None else scheduled_at,
            "queue": definition.queue or self.name,
            "priority": definition.priority,
            "max_retries": self._max_retries if retries is None else retries,
            "timeout": definition.timeout,
        }
        return Job(**{**fields, **given})

    @staticmethod
    def _filled(definition: JobDefinition, like: Job, data: Iterable[JsonObject]) -> list[Job]:
        """A new job like that one for each of `data`, with it. Raises InvalidData."""
        check, key_for = definition.signature.check, definition.key_for
        values: list[JsonObject] = []
        keys: list[str | None] = []
        for each in data:
            check(each)
            values.append(dict(each))
            keys.append(key_for(values[-1]))
        ids = new_ids(like.created_at, len(values))
        return copies(like, id=ids, data=values, concurrency_key=keys)

    # --- what is there ---------------------------------------------------------------------

    def get_job(self, job_id: str) -> Job | None:
        """The job of this id; None if there is none."""
        return self.storage.get_job(job_id)

    @property
    def is_running(self) -> bool:
        """Whether the queue has been started and not yet stopped."""
        return self._metronome is not None

    @property
    def problems(self) -> dict[str, str]:
        """What keeps each duty from its work now: {duty: error}; empty when all is well."""
        duties = self._metronome.duties if self._metronome else {}
        return {name: str(duty.error) for name, duty in duties.items() if duty.error is not None}

    def add_event_listener(self, event: str, listener: Listener) -> None:
        """Call `listener(event)` on every event of this name, after it was committed.

        Listeners run on the queue's own threads: keep them short. What they raise is logged.
        Raises UnknownName, naming the events there are.
        """
        self._events.add_listener(event, listener)

    def remove_event_listener(self, event: str, listener: Listener) -> None:
        """Call `listener` no more."""
        self._events.remove_listener(event, listener)

    @property
    def jobs(self) -> Jobs:
        """What may be done to single jobs of this queue's storage."""
        return Jobs(
            self.storage,
            emit=self._events.emit,
            wake=lambda: self._wake(EXECUTOR),
            now=self.clock.now,
        )

    @property
    def schedules(self) -> Schedules:
        """What may be done to the schedules of this queue's storage."""
        return Schedules(
            self.storage,
            registry=self.registry,
            default_timezone=self.default_timezone,
            queue=self.name,
            max_retries=self._max_retries,
            emit=self._events.emit,
            wake=self._wake_all,
            now=self.clock.now,
        )

    # --- running ---------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to run jobs, on threads of the queue's own; returns at once.

        The schedules of registered handlers with a rule are written first (`stand_alone`).
        """
        if self._metronome is not None:
            return
        self.clock.compare()
        if self.stand_alone and not self._is_declared:
            self.declare()
        # First what can fail: nothing runs then.
        self._stop_listening = self.storage.listen(lambda: self._wake(EXECUTOR))
        parts = (EXECUTOR, EXPANDER) if self.stand_alone else (EXECUTOR,)
        self._metronome = self.metronome(*parts)
        self.executor.settles_apart = SETTLER in self._metronome.duties
        self._metronome.start()

    def metronome(self, *parts: str) -> Metronome:
        """What calls the duties of these parts of the queue, in the store's time; not started."""
        duties: dict[str, Tick] = {COMPARER: self._compare}
        if EXECUTOR in parts:
            duties[EXECUTOR] = self._in_store_time(self._execute)
            if not self.storage.exchanges_at_once:
                duties[SETTLER] = self._in_store_time(self.executor.settle)
        if EXPANDER in parts:
            duties[EXPANDER] = self._in_store_time(self.expand)
            duties[DECLARER] = self._in_store_time(self.declarer.tick)
            if not self.pruner.is_idle:
                duties[PRUNER] = self._in_store_time(self.pruner.tick)
        return Metronome(duties, was_set=self._was_set)

    def _in_store_time(self, tick: Tick) -> Tick:
        return lambda _: self.clock.here(tick(self.clock.now()))

    def _compare(self, now: datetime) -> datetime:
        """Compare the clocks. Where the time that ticks are in moves by it, it is as if set."""
        if moved := self.clock.compare():
            self.executor.shift(moved)
        return now + COMPARED_EVERY

    def _was_set(self, by: timedelta) -> None:
        """This machine's clock was set: what is measured by it goes on as before."""
        self.executor.shift(self.clock.was_set(by))

    def stop(self, grace: float | timedelta = 30) -> int:
        """Take no new jobs, wait up to `grace` for running ones, give the rest back.

        Returns how many handlers had to be left running: 0 is a clean stop. Raises InvalidOption,
        and nothing is stopped, if `grace` is none; and StorageUnavailable if the store cannot be
        reached, or has said nothing three seconds after the grace: the jobs are then rescued
        when their leases run out.
        """
        allowed = check_duration("grace", grace, zero=True)
        metronome, self._metronome = self._metronome, None
        if metronome is None:
            return 0
        until = time.monotonic() + allowed.total_seconds()
        metronome.stop(max(allowed, STORE_PATIENCE))
        left = timedelta(seconds=max(0.0, until - time.monotonic()))
        # A call that was left behind may hold what the drain needs: it is not waited for, either.
        return within(left + STORE_PATIENCE, lambda: self._drain(left))

    def _drain(self, grace: timedelta) -> int:
        """End what a started queue has under way; how many handlers were left running."""
        stop_listening, self._stop_listening = self._stop_listening, None
        try:
            left_running = self.executor.drain(grace)
            self.declarer.stop()
            self._is_declared = False
            return left_running
        finally:
            self._runner.close()
            if stop_listening is not None:
                stop_listening()

    def close(self, grace: float | timedelta = 30) -> int:
        """Stop, and close the storage if the queue was given its URL; otherwise as `stop`.

        The queue is not used afterwards; to close it once more is no error.
        """
        try:
            return self.stop(grace)
        finally:
            if self._opened_storage and not self.is_running:
                within(STORE_PATIENCE, self.storage.close)

    def __enter__(self) -> Self:
        """The queue itself; it is not started by this."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def process_next_batch(self) -> datetime | None:
        """Acquire what is due, start it, settle what ended; when to be called next.

        The loop's one step, called whenever something may be due. Override it to act before or
        after a batch, or to hold batches back; None leaves the next call to the polling. Where a
        store can do both at once, a started queue settles beside it.
        """
        return self.executor.tick(self.clock.now())

    def process_job(self, job: Job) -> Future[Outcome]:
        """Start the handler of an acquired job; the future of its outcome.

        Override it to wrap every job: act before, call `super().process_job(job)`, add a
        callback to the future for after. What it raises fails the job. The future cannot be
        cancelled: to call a job off, see `jobs`.
        """
        future: Future[Outcome] = Future()
        future.set_running_or_notify_cancel()
        self._runner.call(job, future.set_result)
        return future

    def _begin(self, job: Job, done: Done) -> None:
        """Have a handler called, as `process_job` does; without a Future where that is ours."""
        if getattr(self.process_job, "__func__", None) is _OURS:
            self._runner.call(job, done)
        else:
            by_future(self.process_job)(job, done)

    def set_concurrency(self, level: int) -> None:
        """Run at most `level` handlers at a time from now on."""
        level = check_integer("concurrency", level, 1, MAX_CONCURRENCY)
        polling = self.executor.polling
        self.executor.polling = replace(
            polling,
            concurrency=level,
            least_concurrency=level,
            max_concurrency=max(level, polling.max_concurrency),
        )
        self._wake(EXECUTOR)

    def set_processing_interval(self, interval: float | timedelta) -> None:
        """Look for unannounced jobs every `interval` from now on."""
        checked = check_duration("processing_interval", interval)
        self.executor.polling = replace(self.executor.polling, interval=checked)
        self._wake(EXECUTOR)

    def _execute(self, now: datetime) -> datetime | None:
        # A subclass may hand back anything; what is no instant leaves it to the polling.
        next_at: object = self.process_next_batch()
        if isinstance(next_at, datetime) and next_at.tzinfo is not None:
            return next_at
        return now + self.executor.polling.interval

    def expand(self, now: datetime) -> datetime | None:
        """Expand what is due; when to be called next. A clock that jumped is looked at twice."""
        ahead = self.watch.jump(now)
        if ahead is not None:
            log.warning("the clock is ahead; looking again", by=ahead.total_seconds())
            detail = {"ahead": ahead.total_seconds()}
            self._events.emit(Event(EventName.CLOCK_JUMPED, now, detail=detail))
            return now + CLOCK_JUMP_PAUSE
        next_at = self.expander.tick(now)
        self._wake(EXECUTOR)
        return next_at

    def _wake_all(self) -> None:
        for duty in (EXPANDER, EXECUTOR):
            self._wake(duty)

    def _wake(self, duty: str) -> None:
        if self._metronome is not None:
            self._metronome.wake(duty)


_OURS = JobQueue.process_job
"""Which somebody may put another in the place of, in a subclass or in the class."""


def _polling(
    *,
    concurrency: int,
    max_concurrency: int | None,
    processing_interval: float | timedelta,
    intelligent_polling: bool,
    min_interval: float | timedelta,
    max_interval: float | timedelta,
    max_empty_polls: int,
    load_factor: float,
) -> Polling:
    level = check_integer("queue: concurrency", concurrency, 1, MAX_CONCURRENCY)
    highest = level if max_concurrency is None else max_concurrency
    if isinstance(load_factor, bool) or not 0 < load_factor <= 1:
        raise InvalidOption("queue: load_factor", load_factor, "is not above 0 and at most 1")
    shortest = check_duration("queue: min_interval", min_interval)
    longest = check_duration("queue: max_interval", max_interval)
    if longest < shortest:
        raise InvalidOption(
            "queue: max_interval", max_interval, f"is below min_interval {min_interval}"
        )
    return Polling(
        interval=check_duration("queue: processing_interval", processing_interval),
        concurrency=level,
        intelligent=intelligent_polling,
        min_interval=shortest,
        max_interval=longest,
        max_empty_polls=check_integer("queue: max_empty_polls", max_empty_polls, 1),
        load_factor=load_factor,
        least_concurrency=level,
        max_concurrency=check_integer("queue: max_concurrency", highest, level, MAX_CONCURRENCY),
    )


def process_name() -> str:
    """This process as jobs record it: host, pid, and a part that tells restarts apart."""
    return f"{socket.gethostname()[:100]}:{os.getpid()}:{secrets.token_hex(3)}"
