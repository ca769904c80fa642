"""An event loop whose clock is simulated, stepped by whoever travels.

A coroutine that sleeps for an hour is asleep until the simulated clock has moved an hour. What
it hands to a thread runs at once, and arrives when it has slept what it sleeps. Only what waits
for a real socket waits for real.
"""

from __future__ import annotations

import asyncio
import heapq
import selectors
from collections.abc import Callable
from contextvars import Context
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar, TypeVarTuple

from scheduler.testing.sleep import apart

Arguments = TypeVarTuple("Arguments")
Result = TypeVar("Result")

_NEVER = timedelta(days=10_000 * 366).total_seconds()
"""So far ahead that no calendar has a date for it."""


class TravelLoop(asyncio.SelectorEventLoop):
    """`seconds` is how many seconds of simulated time have passed: they never go back."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._selector_ = selectors.DefaultSelector()
        self._calls = 0
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        super().__init__(self._selector_)
        # Simulated time moves by whole microseconds: a timer is due at the one nearest to it.
        self._clock_resolution = 1e-6
        self._own_files = len(self._selector_.get_map())

    def time(self) -> float:
        return self._seconds()

    def call_soon(
        self,
        callback: Callable[[*Arguments], object],
        *args: *Arguments,
        context: Context | None = None,
    ) -> asyncio.Handle:
        self._calls += 1
        return super().call_soon(callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[*Arguments], object],
        *args: *Arguments,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        handle = super().call_at(when, callback, *args, context=context)
        heapq.heappush(self._timers, (when, id(handle), handle))
        return handle

    def run_in_executor(
        self, executor: Any, func: Callable[[*Arguments], Result], *args: *Arguments
    ) -> asyncio.Future[Result]:
        """What is meant for a thread runs here and now: simulated time has one thread."""
        future: asyncio.Future[Result] = self.create_future()

        def called() -> Callable[[], None]:
            try:
                return partial(future.set_result, func(*args))
            except Exception as error:  # noqa: BLE001 - handed to whoever awaits it
                return partial(future.set_exception, error)

        arrive, slept = apart(called)
        if slept:
            self.call_later(slept.total_seconds(), lambda: None if future.done() else arrive())
        else:
            arrive()
        return future

    @property
    def next_timer(self) -> float | None:
        """When, by `time`, the next timer is due; None without any that ever is."""
        while self._timers:
            when, _, handle = self._timers[0]
            if not handle.cancelled() and when >= self.time() + self._clock_resolution:
                return when if when < _NEVER else None
            heapq.heappop(self._timers)
        return None

    def settle(self) -> None:
        """Run what is ready, and what that makes ready, until all that is left waits."""
        while True:
            self.call_soon(self.stop)
            self._calls = 0
            self.run_forever()
            if self._calls:
                continue
            if len(self._selector_.get_map()) == self._own_files or self.next_timer is not None:
                return
            self._wait_for_files()

    def _wait_for_files(self) -> None:
        """Let a real socket answer: nothing else can go on."""
        self._selector_.select()
