"""time.sleep in simulated time: it returns at once, and makes the handler take so much longer.

While anyone travels, a stand-in is in its place, also where a module has bound it by name. It
charges the account of the call in whose context it runs; a thread of a handler's own and the test
itself have none, and really sleep.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass
from datetime import timedelta
from typing import SupportsIndex, TypeVar

from scheduler import clock
from scheduler.context import JobContext

Result = TypeVar("Result")


@dataclass(slots=True)
class Account:
    """How long one call of a handler has slept. Past its deadline, the handler is told so."""

    job: JobContext
    slept: timedelta = timedelta(0)

    def context(self) -> Context:
        """A context in which sleeping is charged to this account."""
        context = copy_context()
        context.run(_account.set, self)
        return context

    def charge(self, duration: timedelta) -> None:
        self.slept += duration
        deadline = self.job.deadline
        if deadline is not None and clock.now() + self.slept > deadline:
            self.job.cancel()


_account: ContextVar[Account | None] = ContextVar("account", default=None)
_real_sleep = time.sleep


def apart(function: Callable[[], Result]) -> tuple[Result, timedelta]:
    """What `function` returns, and how long it slept: charged to nobody."""
    account = _account.get()
    if account is None:
        return function(), timedelta(0)
    before = account.slept
    try:
        result = function()
        return result, account.slept - before
    finally:
        account.slept = before


@contextmanager
def sleepless() -> Iterator[None]:
    """The stand-in is in place, here and in every module that has bound time.sleep as `sleep`."""
    found = [each for each in list(sys.modules.values()) if _sleep_of(each) is _real_sleep]
    for module in found:
        vars(module)["sleep"] = _sleep
    try:
        yield
    finally:
        for module in found:
            vars(module)["sleep"] = _real_sleep


def _sleep_of(module: object) -> object:
    return getattr(module, "__dict__", {}).get("sleep")


def _sleep(seconds: float | SupportsIndex, /) -> None:
    account = _account.get()
    if account is None:
        _real_sleep(seconds)
        return
    duration = timedelta(seconds=float(seconds))
    if duration < timedelta(0):
        raise ValueError("sleep length must be non-negative")
    account.charge(duration)
