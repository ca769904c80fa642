"""The runner of an executor: starts a handler where it is to run, and tells it to end.

A `def` runs on a thread, an `async def` on one event-loop thread, what is to be killed when it
takes too long in a process, and what outgrows the machine on a cluster. Each is begun when the
first job needs it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import cached_property, partial
from typing import TYPE_CHECKING, Protocol

from scheduler import capture
from scheduler.errors import SchedulerError
from scheduler.handlers.calls import (
    Begin,
    Call,
    perform,
    perform_async,
    prepare,
)
from scheduler.handlers.outcomes import MAX_RESULT_BYTES, Done
from scheduler.handlers.threads import Threads
from scheduler.model import Failed, Job, Outcome
from scheduler.options import RunnerKind
from scheduler.registry import Registry

if TYPE_CHECKING:
    from scheduler.handlers.cluster import Cluster
    from scheduler.handlers.processes import Processes


class Runner(Protocol):
    """What calls the handlers for an executor."""

    def call(self, job: Job, done: Done) -> None:
        """Have the handler of `job`, which has been leased, called; `done` is told its outcome."""

    def cancel(self, job_id: str) -> None:
        """Tell a running handler to end; nothing happens if there is none."""

    def close(self) -> None:
        """Let go of what handlers run on; nobody waits for those under way."""


class HandlerRunner:
    """Runs the handlers of a registry, as many at a time as are started.

    A result of more than `max_result_bytes` of JSON fails its job. `begin` makes the transactions
    of handlers that ask for a connection. `dask_address` is that of the cluster's scheduler.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        begin: Begin | None = None,
        max_result_bytes: int = MAX_RESULT_BYTES,
        dask_address: str | None = None,
    ) -> None:
        self._registry = registry
        self._dask_address = dask_address
        self._begin = begin
        self._max_result_bytes = max_result_bytes
        self._running: dict[Call, None] = {}
        capture.install()

    @cached_property
    def _threads(self) -> Threads:
        return Threads("scheduler-handler")

    @cached_property
    def _processes(self) -> Processes:
        from scheduler.handlers.processes import Processes

        return Processes()

    @cached_property
    def _cluster(self) -> Cluster:
        from scheduler.handlers.cluster import Cluster

        return Cluster(self._dask_address)

    @cached_property
    def _loop(self) -> asyncio.AbstractEventLoop:
        runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        loop = runner.get_loop()
        thread = threading.Thread(
            target=_serve, args=[runner], name="scheduler-asyncio", daemon=True
        )
        thread.start()
        return loop

    def call(self, job: Job, done: Done) -> None:
        """Have the handler of `job`, which has been leased, called; `done` is told its outcome.

        Once, when the handler has ended, on the thread where it did. One that is cancelled before
        it has begun, or an `async def` that ends by it, has failed by "cancelled".
        """
        try:
            call = prepare(
                self._registry,
                job,
                begin=self._begin,
                max_result_bytes=self._max_result_bytes,
            )
        except SchedulerError as error:
            done(Failed(str(error)))
            return

        def ended(outcome: Outcome) -> None:
            del self._running[call]
            done(outcome)

        self._running[call] = None
        try:
            self._make(call, ended)
        except BaseException:
            self._running.pop(call, None)
            raise

    def _make(self, call: Call, ended: Done) -> None:
        """Make a call on what its handler runs on."""
        match call.definition.runner:
            case RunnerKind.THREAD:
                self._threads.submit(partial(perform, call), ended)
            case RunnerKind.ASYNCIO:
                asyncio.run_coroutine_threadsafe(_made(call, ended), self._loop)
            case RunnerKind.PROCESS:
                self._threads.submit(partial(_elsewhere, self._processes.perform, call), ended)
            case RunnerKind.DASK:
                self._threads.submit(partial(_elsewhere, self._cluster.perform, call), ended)

    def cancel(self, job_id: str) -> None:
        """Tell a running handler to end: its context says so, and a coroutine is cancelled."""
        for call in list(self._running):
            if call.job.id == job_id:
                call.context.cancel()

    def close(self) -> None:
        """Let go of what handlers run on, and wait for none of them.

        Coroutines are cancelled and processes killed; functions on threads go on.

        A later `start` begins with new ones.
        """
        processes: Processes | None = self.__dict__.pop("_processes", None)
        if processes is not None:
            processes.close()
        cluster: Cluster | None = self.__dict__.pop("_cluster", None)
        if cluster is not None:
            cluster.close()
        threads: Threads | None = self.__dict__.pop("_threads", None)
        if threads is not None:
            threads.close()
        loop: asyncio.AbstractEventLoop | None = self.__dict__.pop("_loop", None)
        if loop is not None:
            loop.call_soon_threadsafe(loop.stop)


def _elsewhere(perform: Callable[[Call], Outcome], call: Call) -> Outcome:
    """The outcome of a call that is made elsewhere, unless it has been cancelled before."""
    return Failed("cancelled") if call.context.cancelled else perform(call)


async def _made(call: Call, ended: Done) -> None:
    """Make a call on this loop. It is cancelled once its context is, and over once it has ended."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None  # noqa: S101 - a coroutine runs in one
    outcome: Outcome
    with call.context.on_cancel(lambda: loop.call_soon_threadsafe(task.cancel)):
        try:
            outcome = await perform_async(call)
        except asyncio.CancelledError:
            outcome = Failed("cancelled")
    ended(outcome)


def _serve(runner: asyncio.Runner) -> None:
    """Run the loop of `runner` until it is stopped; then end what is left on it, and close it."""
    with runner:
        runner.get_loop().run_forever()
