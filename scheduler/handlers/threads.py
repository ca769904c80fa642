"""The threads that handlers run on: started when needed, kept for the next job, never waited for.

They are daemons, unlike those of ThreadPoolExecutor: a handler that hangs does not keep the
interpreter from ending. How many may run is the executor's to say. Each call runs in a copy of
the context it was submitted in, as asyncio's do, so that no context variable leaks into the next.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from itertools import count
from queue import SimpleQueue
from typing import Any, TypeVar

from scheduler.errors import described
from scheduler.logs import logger
from scheduler.model import Failed

log = logger(__name__)

Result = TypeVar("Result")

_Order = tuple[Context, Callable[[], object], Callable[[Any], object]]


class Threads:
    """Threads called `name`; where none is idle, a call gets a new one."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._numbers = count()
        self._orders: SimpleQueue[_Order | None] = SimpleQueue()
        self._idle: deque[None] = deque()
        """One for each idle thread; to pop it is to have that thread's promise, atomically."""
        self._here = threading.local()
        """Of each thread: whether its call is over and it may take another, and which it took."""
        self._is_closed = False

    def submit(
        self, function: Callable[[], Result], done: Callable[[Result | Failed], object]
    ) -> None:
        """Call `function` on a thread, and `done` there with what it returns.

        What it raises is a failure. Where `done` submits the next call, that is made on its thread.
        """
        order: _Order = (copy_context(), function, done)
        if getattr(self._here, "is_ending", False):
            self._here.is_ending = False
            self._here.order = order
            return
        try:
            self._idle.pop()
        except IndexError:
            name = f"{self._name}_{next(self._numbers)}"
            threading.Thread(target=self._serve, name=name, daemon=True).start()
        self._orders.put(order)

    def close(self) -> None:
        """End the idle threads now, the others when their call returns."""
        self._is_closed = True
        self._end_idle()

    def _end_idle(self) -> None:
        while True:
            try:
                self._idle.pop()
            except IndexError:
                return
            self._orders.put(None)

    def _serve(self) -> None:
        here = self._here
        here.order = None
        while (order := self._orders.get()) is not None:
            while order is not None:
                try:
                    self._call(*order)
                except BaseException:
                    # Of somebody's own, who is told of the end of a call; SystemExit included.
                    log.exception("what is told of a handler's end raised")
                order, here.order = here.order, None
            self._idle.append(None)
            if self._is_closed:
                self._end_idle()

    def _call(
        self, context: Context, function: Callable[[], object], done: Callable[[Any], object]
    ) -> None:
        try:
            result = context.run(function)
        except BaseException as error:  # noqa: BLE001 - whoever waits for it is told
            result = Failed(described(error))
        self._here.is_ending = True
        try:
            done(result)
        finally:
            self._here.is_ending = False
