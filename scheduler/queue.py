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
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from scheduler import clock
from scheduler.declarations import Change, declare
from scheduler.declarer import Declarer
from scheduler.errors import InvalidOption, NaiveTime, StaleSchedule
from scheduler.events import Event, EventName, Events, Listener
from scheduler.executor import Executor
from scheduler.expander import CLOCK_JUMP_PAUSE, ClockWatch, Expander
from scheduler.handlers import HandlerRunner, Runner
from scheduler.ids import new_id
from scheduler.logs import logger
from scheduler.metronome import Metronome
from scheduler.model import DEFAULT_QUEUE, Job, JsonObject, Outcome, Schedule
from scheduler.polling import Polling
from scheduler.registry import (
    JobDefinition,
    Registry,
    check_duration,
    check_integer,
    check_name,
    define,
    marks,
)
from scheduler.rules import Rule, rule_from_json
from scheduler.rules.zones import zone
from scheduler.schedules import Schedules
from scheduler.storage import JobStorage, open_storage
from scheduler.storage.base import DEFAULT_TTL

log = logger(__name__)

EXPANDER, EXECUTOR, DECLARER = "expander", "executor", "declarer"
MAX_CONCURRENCY = 10_000


class JobQueue:
    """Takes jobs in and runs them.

    `storage` is a JobStorage or the URL of one. `name` is the queue whose jobs it runs and
    adds. Durations are seconds or timedeltas. `max_retries` is for jobs that do not say.
    `processing_interval` is how often an idle queue looks for jobs that nothing announced;
    with `intelligent_polling` it adapts between `min_interval` and `max_interval`, and the
    concurrency between `concurrency` and `max_concurrency`. `prefetch_batch_size` jobs are
    leased ahead of free slots. `ttl` is the life of a lease. With `stand_alone` the queue
    expands schedules itself; without, a service elsewhere does. With `every_queue` it
    runs the jobs of all queues, not only its own. `default_timezone` is for rules that name
    none. Raises InvalidOption naming the option that is out of range.
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
        ttl: float | timedelta = DEFAULT_TTL,
        default_timezone: str = "UTC",
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
        self.storage = open_storage(storage) if isinstance(storage, str) else storage
        self.registry = Registry() if registry is None else registry
        self._events = Events()
        process = process_name()
        self._runner = self._new_runner()
        self.executor = Executor(
            self.storage,
            start=self.process_job,
            cancel=self._runner.cancel,
            handler_names=lambda: self.registry.names,
            emit=self._events.emit,
            wake=lambda: self._wake(EXECUTOR),
            polling=polling,
            queue=None if every_queue else self.name,
            prefetch=prefetch,
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
        )
        self._is_declared = False
        self._metronome: Metronome | None = None

    def _new_runner(self) -> Runner:
        """What calls the handlers of `registry`."""
        # Slots are counted by the executor; the pool only has to be large enough.
        return HandlerRunner(self.registry, threads=MAX_CONCURRENCY)

    # --- handlers --------------------------------------------------------------------------

    def register(self, name: str, handler: Callable[..., Any], **options: Any) -> None:
        """Take in the handler of the jobs called `name`; `options` are those of @job.

        With a `rule` it recurs, once `declare` or `start` has written its schedule. Raises
        InvalidOption if the name is another handler's.
        """
        self.registry.add(define(handler, name=name, **options))

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
    ) -> Job:
        """Enqueue a job, to run at once or at `scheduled_at` (aware; in the past: at once).

        What is left open is the handler's own. Returns the job as stored. Raises UnknownName
        if nobody handles `name`, InvalidData if `data` does not fit the handler, NaiveTime.
        """
        definition = self.registry.get(name)
        values = dict(data or {})
        definition.signature.check(values)
        now = clock.now()
        job = self._new_job(definition, values, now, scheduled_at)
        if priority is not None:
            job = replace(job, priority=check_integer("priority", priority, -(2**31)))
        if max_retries is not None:
            job = replace(job, max_retries=check_integer("max_retries", max_retries, 0))
        if timeout is not None:
            job = replace(job, timeout=check_duration("timeout", timeout))
        self.storage.save_job(job)
        self._events.emit(Event(EventName.SCHEDULED, now, job))
        self._wake(EXECUTOR)
        return job

    def schedule(
        self, name: str, data: JsonObject | None, scheduled_at: datetime, **options: Any
    ) -> Job:
        """Enqueue a job to run at `scheduled_at`; otherwise as `add`."""
        return self.add(name, data, scheduled_at=scheduled_at, **options)

    def schedule_in(
        self, name: str, data: JsonObject | None, delay: float | timedelta, **options: Any
    ) -> Job:
        """Enqueue a job to run in `delay` (seconds or a timedelta) from now; as `add`."""
        due_at = clock.now() + check_duration("delay", delay, zero=True)
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
        data: JsonObject,
        now: datetime,
        scheduled_at: datetime | None,
    ) -> Job:
        if scheduled_at is not None and scheduled_at.tzinfo is None:
            raise NaiveTime("scheduled_at", scheduled_at)
        retries = definition.max_retries
        return Job(
            id=new_id(now),
            name=definition.name,
            data=data,
            created_at=now,
            scheduled_at=now if scheduled_at is None else scheduled_at,
            queue=definition.queue or self.name,
            priority=definition.priority,
            max_retries=self._max_retries if retries is None else retries,
            timeout=definition.timeout,
        )

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
        )

    # --- running ---------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to run jobs, on threads of the queue's own; returns at once.

        The schedules of registered handlers with a rule are written first (`stand_alone`).
        """
        if self._metronome is not None:
            return
        duties: dict[str, Callable[[datetime], datetime | None]] = {EXECUTOR: self._execute}
        if self.stand_alone:
            if not self._is_declared:
                self.declare()
            duties[EXPANDER] = self.expand
            duties[DECLARER] = self.declarer.tick
        self._metronome = Metronome(duties)
        self._metronome.start()

    def stop(self, grace: float | timedelta = 30) -> int:
        """Take no new jobs, wait up to `grace` for running ones, give the rest back.

        Returns how many handlers had to be left running: 0 is a clean stop.
        """
        metronome, self._metronome = self._metronome, None
        if metronome is None:
            return 0
        metronome.stop()
        try:
            left_running = self.executor.drain(check_duration("grace", grace, zero=True))
            self.declarer.stop()
            self._is_declared = False
            return left_running
        finally:
            self._runner.close()

    def process_next_batch(self) -> datetime | None:
        """Acquire what is due, start it, settle what ended; when to be called next.

        The loop's one step, called whenever something may be due. Override it to act before or
        after a batch, or to hold batches back; None leaves the next call to the polling.
        """
        return self.executor.tick(clock.now())

    def process_job(self, job: Job) -> Future[Outcome]:
        """Start the handler of an acquired job; the future of its outcome.

        Override it to wrap every job: act before, call `super().process_job(job)`, add a
        callback to the future for after. What it raises fails the job.
        """
        return self._runner.start(job)

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
        next_at: object = self.process_next_batch()
        return next_at if isinstance(next_at, datetime) else now + self.executor.polling.interval

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
