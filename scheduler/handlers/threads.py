"""The threads that handlers run on: started when needed, kept for the next job, never waited for.

They are daemons, unlike those of ThreadPoolExecutor: a handler that hangs does not keep the
interpreter from ending. How many may run is the executor's to say. Each call runs in a copy of
the context it was submitted in, as asyncio's do, so that no context variable leaks into the next.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import Context, copy_context
from itertools import count
from queue import SimpleQueue
from typing import TypeVar

from scheduler.logs import logger

log = logger(__name__)

Result = TypeVar("Result")

_Order = tuple[Future[object], Context, Callable[[], object]]


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

    def submit(self, function: Callable[[], Result]) -> Future[Result]:
        """Call `function` on a thread; the future of what it returns or raises.

        Who is told of a call's end, on its thread, and submits the next, has it made there.
        """
        future: Future[Result] = Future()
        order: _Order = (future, copy_context(), function)  # type: ignore[assignment]
        if getattr(self._here, "is_ending", False):
            self._here.is_ending = False
            self._here.order = order
            return future
        try:
            self._idle.pop()
        except IndexError:
            name = f"{self._name}_{next(self._numbers)}"
            threading.Thread(target=self._serve, name=name, daemon=True).start()
        self._orders.put(order)
        return future

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
                    # SystemExit of somebody's own, who is told of the end of a call.
                    log.exception("a callback of a handler's future raised")
                order, here.order = here.order, None
            self._idle.append(None)
            if self._is_closed:
                self._end_idle()

    def _call(
        self, future: Future[object], context: Context, function: Callable[[], object]
    ) -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            result = context.run(function)
        except BaseException as error:  # noqa: BLE001 - the future raises it
            self._here.is_ending = True
            future.set_exception(error)
        else:
            self._here.is_ending = True
            future.set_result(result)
        self._here.is_ending = False
