"""Handlers called in simulated time, in the thread that travels.

A `def` is called when its job starts; where it is said to take a while, its outcome arrives that
much later. An `async def` runs on a loop whose clock is simulated. Nothing sleeps.
"""

from __future__ import annotations

import heapq
import threading
import time
from asyncio import Task
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, SupportsIndex

from scheduler.errors import SchedulerError
from scheduler.handlers import Call, perform, perform_async, prepare, refused
from scheduler.model import Job, Outcome
from scheduler.registry import Registry
from scheduler.testing.loop import TravelLoop

_CAUGHT = (Exception, SystemExit)  # not KeyboardInterrupt: that ends the test
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_REAL_SLEEP = time.sleep


@dataclass
class Staging:
    """What a test says of handlers, by the name of the job."""

    takes: dict[str, timedelta] = field(default_factory=dict)
    functions: dict[str, Callable[[dict[str, Any]], Any]] = field(default_factory=dict)
    """What is called in place of the handler, with its arguments."""
    recorded: bool = False
    """Whether every handler without a function of its own is left uncalled."""

    def function(self, name: str) -> Callable[[dict[str, Any]], Any] | None:
        """What stands in for the handler of `name`; None: itself."""
        return self.functions.get(name, _nothing if self.recorded else None)


def _nothing(arguments: dict[str, Any]) -> None:
    """A recorder: the run is on record, and nothing else happens."""


class InlineRunner:
    """Calls the handlers of `registry` at the simulated `now`, as `staging` says."""

    def __init__(
        self, registry: Registry, *, now: Callable[[], datetime], staging: Staging
    ) -> None:
        self._registry = registry
        self._now = now
        self._staging = staging
        self._numbers = count()
        self._later: list[tuple[datetime, int, Future[Outcome], Outcome]] = []
        self._tasks: dict[str, tuple[Call, Task[Outcome], Future[Outcome]]] = {}
        self._calls: dict[str, Call] = {}
        self._loop: TravelLoop | None = None
        self._slept = timedelta(0)

    # --- what the executor asks ------------------------------------------------------------

    def start(self, job: Job) -> Future[Outcome]:
        """Call the handler of `job`; the future of its outcome, which may be done already."""
        try:
            call = prepare(self._registry, job)
        except SchedulerError as error:
            return refused(error)
        future: Future[Outcome] = Future()
        stand_in = self._staging.function(job.name)
        if stand_in is None and call.definition.is_async:
            self._begin(call, future)
        else:
            self._call(call, stand_in, future)
        return future

    def cancel(self, job_id: str) -> None:
        """Tell a handler to end: its context says so, and a coroutine is cancelled."""
        if job_id in self._calls:
            self._calls[job_id].context.cancel()
        if job_id in self._tasks:
            call, task, future = self._tasks.pop(job_id)
            call.context.cancel()
            task.cancel()
            self._settle()
            future.cancel()

    def close(self) -> None:
        """End every coroutine under way, and drop what would have arrived."""
        for job_id in list(self._tasks):
            self.cancel(job_id)
        self._later.clear()
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.close()

    # --- what the traveller asks -----------------------------------------------------------

    @property
    def next_at(self) -> datetime | None:
        """When an outcome arrives or a coroutine goes on; None if none is known."""
        moments = [self._later[0][0]] if self._later else []
        timer = None if self._loop is None else self._loop.next_timer
        if timer is not None:
            moments.append(_EPOCH + timedelta(microseconds=round(timer * 1e6)))
        return min(moments, default=None)

    def arrive(self) -> None:
        """Let everything that is due by now arrive."""
        now = self._now()
        while self._later and self._later[0][0] <= now:
            _, _, future, outcome = heapq.heappop(self._later)
            future.set_result(outcome)
        if self._tasks:
            self._settle()

    # --- how -------------------------------------------------------------------------------

    def _call(
        self,
        call: Call,
        stand_in: Callable[[dict[str, Any]], Any] | None,
        future: Future[Outcome],
    ) -> None:
        if stand_in is not None:
            definition = replace(call.definition, function=lambda **given: stand_in(given))
            call = replace(call, definition=definition)
        self._slept = timedelta(0)
        with self._sleepless():
            outcome = perform(call, _CAUGHT)
        self._deliver(call, future, outcome, self._slept)

    def _deliver(
        self, call: Call, future: Future[Outcome], outcome: Outcome, slept: timedelta
    ) -> None:
        takes = self._staging.takes.get(call.job.name, timedelta(0)) + slept
        if not takes:
            future.set_result(outcome)
            return
        self._calls[call.job.id] = call
        future.add_done_callback(lambda _: self._calls.pop(call.job.id, None))
        item = (self._now() + takes, next(self._numbers), future, outcome)
        heapq.heappush(self._later, item)

    def _begin(self, call: Call, future: Future[Outcome]) -> None:
        if self._loop is None:
            self._loop = TravelLoop(lambda: (self._now() - _EPOCH).total_seconds())
        task = self._loop.create_task(perform_async(call, _CAUGHT))
        self._tasks[call.job.id] = (call, task, future)
        self._settle()

    def _settle(self) -> None:
        """Run coroutines as far as they go, and take in those that ended."""
        if self._loop is None:
            return
        self._loop.settle()
        for job_id, (call, task, future) in list(self._tasks.items()):
            if task.done():
                del self._tasks[job_id]
                if task.cancelled():
                    future.cancel()
                else:
                    self._deliver(call, future, task.result(), timedelta(0))

    @contextmanager
    def _sleepless(self) -> Iterator[None]:
        """time.sleep in a handler makes it take so much longer, and returns at once."""
        here = threading.get_ident()

        def sleep(seconds: float | SupportsIndex) -> None:
            if threading.get_ident() == here:
                self._slept += timedelta(seconds=float(seconds))
            else:
                _REAL_SLEEP(seconds)

        before = time.sleep
        time.sleep = sleep
        try:
            yield
        finally:
            time.sleep = before
