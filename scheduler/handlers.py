"""Calling a handler: a `def` in a thread, an `async def` on one event-loop thread.

Both come back as the same Future of an Outcome, so that the executor never knows which ran.
Whatever a handler raises becomes a Failed outcome; nothing escapes into the loop. A call is
made ready by `prepare` and made by `perform`, whoever runs it: threads here, or the one thread
of simulated time.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from scheduler.context import JobContext
from scheduler.errors import SchedulerError, described
from scheduler.logs import logger
from scheduler.model import Completed, Failed, Job, Outcome
from scheduler.registry import JobDefinition, Registry
from scheduler.signature import to_json

log = logger(__name__)

Caught = type[BaseException] | tuple[type[BaseException], ...]


@dataclass(frozen=True, slots=True)
class Call:
    """One attempt, ready to be made."""

    job: Job
    definition: JobDefinition
    arguments: dict[str, Any]
    context: JobContext


def prepare(registry: Registry, job: Job) -> Call:
    """The call of the handler of `job`, which has been leased.

    The attempt's deadline counts from `job.started_at`. Raises UnknownName or InvalidData if
    the handler is gone, or no longer takes the data.
    """
    begun = job.started_at
    deadline = begun + job.timeout if begun is not None and job.timeout is not None else None
    context = JobContext(job, deadline)
    definition = registry.get(job.name)
    return Call(job, definition, definition.signature.arguments(job.data, context), context)


def perform(call: Call, caught: Caught = BaseException) -> Outcome:
    """Call a `def`; its outcome. What it raises that is not `caught` is raised on."""
    try:
        return _outcome(call.definition.function(**call.arguments))
    except caught as error:  # SystemExit from a handler included
        return _failure(call.job, error)


async def perform_async(call: Call, caught: Caught = BaseException) -> Outcome:
    """Call an `async def`; its outcome. CancelledError, and what is not `caught`, is raised on."""
    try:
        awaited: Coroutine[Any, Any, Any] = call.definition.function(**call.arguments)
        return _outcome(await awaited)
    except asyncio.CancelledError:
        raise
    except caught as error:  # SystemExit from a handler included
        return _failure(call.job, error)


class Runner(Protocol):
    """What calls the handlers for an executor."""

    def start(self, job: Job) -> Future[Outcome]:
        """Call the handler of `job`, which has been leased; the future of its outcome."""

    def cancel(self, job_id: str) -> None:
        """Tell a running handler to end; nothing happens if there is none."""

    def close(self) -> None:
        """Let go of what handlers run on; nobody waits for those under way."""


class HandlerRunner:
    """Runs the handlers of a registry, at most `threads` of the sync ones at a time."""

    def __init__(self, registry: Registry, *, threads: int) -> None:
        self._registry = registry
        self._threads = threads
        self._lock = threading.Lock()
        self._running: dict[str, tuple[JobContext, Future[Outcome]]] = {}

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._threads, thread_name_prefix="scheduler-handler")

    @cached_property
    def _loop(self) -> asyncio.AbstractEventLoop:
        runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        loop = runner.get_loop()
        thread = threading.Thread(
            target=_serve, args=[runner], name="scheduler-asyncio", daemon=True
        )
        thread.start()
        return loop

    def start(self, job: Job) -> Future[Outcome]:
        """Call the handler of `job`, which has been leased; the future of its outcome.

        The future never raises, except CancelledError after `cancel`.
        """
        try:
            call = prepare(self._registry, job)
        except SchedulerError as error:
            return refused(error)
        future: Future[Outcome]
        if call.definition.is_async:
            future = asyncio.run_coroutine_threadsafe(perform_async(call), self._loop)
        else:
            future = self._pool.submit(perform, call)
        with self._lock:
            self._running[job.id] = (call.context, future)
        future.add_done_callback(lambda done: self._forget(job.id, done))
        return future

    def cancel(self, job_id: str) -> None:
        """Tell a running handler to end: its context says so, and a coroutine is cancelled."""
        with self._lock:
            running = self._running.get(job_id)
        if running is not None:
            context, future = running
            context.cancel()
            future.cancel()

    def close(self) -> None:
        """Let go of the threads: coroutines are cancelled, functions go on; nobody waits.

        A later `start` begins with new ones.
        """
        pool: ThreadPoolExecutor | None = self.__dict__.pop("_pool", None)
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)
        loop: asyncio.AbstractEventLoop | None = self.__dict__.pop("_loop", None)
        if loop is not None:
            loop.call_soon_threadsafe(loop.stop)

    def _forget(self, job_id: str, done: Future[Outcome]) -> None:
        with self._lock:
            running = self._running.get(job_id)
            if running is not None and running[1] is done:
                del self._running[job_id]


def refused(error: SchedulerError) -> Future[Outcome]:
    """The future of a call that could not be made ready."""
    future: Future[Outcome] = Future()
    future.set_result(Failed(str(error)))
    return future


def _serve(runner: asyncio.Runner) -> None:
    """Run the loop of `runner` until it is stopped; then end what is left on it, and close it."""
    with runner:
        runner.get_loop().run_forever()


def _outcome(result: Any) -> Outcome:
    to_json(result, "result")
    return Completed(result)


def _failure(job: Job, error: BaseException) -> Failed:
    log.warning("handler raised", job=job.name, id=job.id, exc_info=error)
    return Failed(described(error))
