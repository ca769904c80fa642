"""Handlers called in simulated time, in the thread that travels.

A `def` is called when its job starts; where it is said to take a while, its outcome arrives that
much later. An `async def` runs on a loop whose clock is simulated. Nothing sleeps.
"""

from __future__ import annotations

import heapq
from asyncio import Task
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import count
from typing import Any

from scheduler import capture
from scheduler.errors import SchedulerError
from scheduler.handlers import Begin, Call, perform, perform_async, prepare
from scheduler.handlers.outcomes import Done
from scheduler.model import Failed, Job, Outcome
from scheduler.registry import Registry
from scheduler.testing.loop import TravelLoop
from scheduler.testing.sleep import Account

_CAUGHT = (Exception, SystemExit)  # not KeyboardInterrupt: that ends the test

StandIn = Callable[[dict[str, Any]], Any]
"""Called with the arguments that are meant for a handler."""


@dataclass
class Staging:
    """What a test says of handlers, by the name of the job."""

    takes: dict[str, timedelta] = field(default_factory=dict)
    functions: dict[str, StandIn] = field(default_factory=dict)
    """What is called in place of a handler."""
    otherwise: StandIn | None = None
    """What is called in place of every other handler; None: itself."""

    def function(self, name: str) -> StandIn | None:
        """What stands in for the handler of `name`; None: itself."""
        return self.functions.get(name, self.otherwise)


@dataclass(frozen=True, slots=True)
class Coroutine:
    """An `async def` under way, and what is told its outcome."""

    call: Call
    task: Task[Outcome]
    done: Done
    account: Account


class InlineRunner:
    """Calls the handlers of `registry` as `staging` says.

    `elapsed` is how much simulated time has passed: a handler takes as long as it takes, however
    the wall clock is set meanwhile.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        begin: Begin,
        elapsed: Callable[[], timedelta],
        staging: Staging,
    ) -> None:
        self._registry = registry
        self._begin_transaction = begin
        self._elapsed = elapsed
        self._staging = staging
        self._numbers = count()
        self._later: list[tuple[timedelta, int, Done, Outcome]] = []
        self._tasks: dict[str, Coroutine] = {}
        self._calls: dict[str, Call] = {}
        self._loop: TravelLoop | None = None
        capture.install()

    # --- what the executor asks ------------------------------------------------------------

    def call(self, job: Job, done: Done) -> None:
        """Call the handler of `job`; `done` is told its outcome, perhaps at once."""
        try:
            call = prepare(self._registry, job, begin=self._begin_transaction)
        except SchedulerError as error:
            done(Failed(str(error)))
            return
        stand_in = self._staging.function(job.name)
        if stand_in is None and call.definition.is_async:
            self._begin(call, done)
        else:
            self._call(call, stand_in, done)

    def cancel(self, job_id: str) -> None:
        """Tell a handler to end: its context says so, and a coroutine is cancelled."""
        if job_id in self._calls:
            self._calls[job_id].context.cancel()
        if job_id in self._tasks:
            coroutine = self._tasks.pop(job_id)
            coroutine.call.context.cancel()
            coroutine.task.cancel()
            self._settle()
            coroutine.done(Failed("cancelled"))

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
    def wait(self) -> timedelta | None:
        """How long until an outcome arrives or a coroutine goes on; None if none is known."""
        due = [self._later[0][0]] if self._later else []
        timer = None if self._loop is None else self._loop.next_timer
        if timer is not None:
            due.append(timedelta(seconds=timer))
        return min(due) - self._elapsed() if due else None

    def arrive(self) -> None:
        """Let everything that is due by now arrive."""
        elapsed = self._elapsed()
        while self._later and self._later[0][0] <= elapsed:
            _, _, done, outcome = heapq.heappop(self._later)
            done(outcome)
        if self._tasks:
            self._settle()

    # --- how -------------------------------------------------------------------------------

    def _call(
        self,
        call: Call,
        stand_in: StandIn | None,
        done: Done,
    ) -> None:
        if stand_in is not None:
            definition = replace(call.definition, function=lambda **given: stand_in(given))
            call = replace(call, definition=definition)
        account = Account(call.context)
        outcome = account.context().run(perform, call, _CAUGHT)
        self._deliver(call, done, outcome, account.slept)

    def _deliver(self, call: Call, done: Done, outcome: Outcome, slept: timedelta) -> None:
        takes = self._staging.takes.get(call.job.name, timedelta(0)) + slept
        if not takes:
            done(outcome)
            return

        def late(outcome: Outcome) -> None:
            self._calls.pop(call.job.id, None)
            done(outcome)

        self._calls[call.job.id] = call
        heapq.heappush(self._later, (self._elapsed() + takes, next(self._numbers), late, outcome))

    def _begin(self, call: Call, done: Done) -> None:
        if self._loop is None:
            self._loop = TravelLoop(lambda: self._elapsed().total_seconds())
        account = Account(call.context)
        task = self._loop.create_task(perform_async(call, _CAUGHT), context=account.context())
        self._tasks[call.job.id] = Coroutine(call, task, done, account)
        self._settle()

    def _settle(self) -> None:
        """Run coroutines as far as they go, and take in those that ended."""
        if self._loop is None:
            return
        self._loop.settle()
        for job_id, ended in list(self._tasks.items()):
            if not ended.task.done():
                continue
            del self._tasks[job_id]
            if ended.task.cancelled():
                ended.done(Failed("cancelled"))
            else:
                self._deliver(ended.call, ended.done, ended.task.result(), ended.account.slept)
