"""Calling a handler: a `def` in a thread, an `async def` on one event-loop thread.

Both come back as the same Future of an Outcome, so that the executor never knows which ran.
Whatever a handler raises becomes a Failed outcome; nothing escapes into the loop.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from typing import Any

from scheduler.context import JobContext
from scheduler.errors import SchedulerError, described
from scheduler.logs import logger
from scheduler.model import Completed, Failed, Job, Outcome
from scheduler.registry import JobDefinition, Registry
from scheduler.signature import to_json

log = logger(__name__)


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

        The attempt's deadline counts from `job.started_at`. The future never raises, except
        CancelledError after `cancel`.
        """
        begun = job.started_at
        deadline = begun + job.timeout if begun is not None and job.timeout is not None else None
        context = JobContext(job, deadline)
        try:
            definition = self._registry.get(job.name)
            arguments = definition.signature.arguments(job.data, context)
        except SchedulerError as error:
            refused: Future[Outcome] = Future()
            refused.set_result(Failed(str(error)))
            return refused
        future: Future[Outcome]
        if definition.is_async:
            future = asyncio.run_coroutine_threadsafe(
                self._perform_async(definition, job, arguments), self._loop
            )
        else:
            future = self._pool.submit(_perform, definition, job, arguments)
        with self._lock:
            self._running[job.id] = (context, future)
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

    @staticmethod
    async def _perform_async(
        definition: JobDefinition, job: Job, arguments: dict[str, Any]
    ) -> Outcome:
        try:
            call: Coroutine[Any, Any, Any] = definition.function(**arguments)
            return _outcome(await call)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001  # SystemExit from a handler included
            return _failure(job, error)


def _serve(runner: asyncio.Runner) -> None:
    """Run the loop of `runner` until it is stopped; then end what is left on it, and close it."""
    with runner:
        runner.get_loop().run_forever()


def _perform(definition: JobDefinition, job: Job, arguments: dict[str, Any]) -> Outcome:
    try:
        return _outcome(definition.function(**arguments))
    except BaseException as error:  # noqa: BLE001  # SystemExit from a handler included
        return _failure(job, error)


def _outcome(result: Any) -> Outcome:
    to_json(result, "result")
    return Completed(result)


def _failure(job: Job, error: BaseException) -> Failed:
    log.warning("handler raised", job=job.name, id=job.id, exc_info=error)
    return Failed(described(error))
