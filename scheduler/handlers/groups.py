"""A process that we start, with all that it starts itself: one group, ended together.

It is a session of its own, so that what a terminal sends to us does not reach it. It is ended by
SIGTERM and, when its time for cleaning up is over, SIGKILL. None outlives an interpreter that ends,
unless that is killed itself: a program then goes on, beside the one that takes up its job.
"""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any
from weakref import WeakSet

KILL_AFTER = 3.0
"""Seconds that a process has for its clean-up."""

LOOK_EVERY = 0.05


class Group:
    """The process `argv`, begun with the `options` of Popen. Raises OSError if it cannot be."""

    def __init__(self, argv: Sequence[str], **options: Any) -> None:
        self.process = subprocess.Popen(  # noqa: S603 - what it is for
            argv, stdin=subprocess.DEVNULL, start_new_session=True, **options
        )
        self._parent = os.getpid()
        self._is_ending = False
        _groups.add(self)

    @property
    def is_ending(self) -> bool:
        """Whether it has been told to end."""
        return self._is_ending

    def end(self, then: Callable[[], object] = lambda: None) -> None:
        """Tell it to end, and see to it that it does; `then` is called. Returns at once."""
        self._is_ending = True
        self._signal(signal.SIGTERM)

        def reap() -> None:
            self._await_end()
            self.kill()
            then()

        threading.Thread(target=reap, name="scheduler-reaper", daemon=True).start()

    def kill(self) -> None:
        """End it, and what it started, now."""
        self._signal(signal.SIGKILL)
        self.process.wait()

    def fate(self) -> str:
        """How it ended, if it has."""
        code = self.process.poll()
        if code is None:
            return "is still running"
        return f"was ended by {_name(-code)}" if code < 0 else f"ended with exit code {code}"

    def _await_end(self) -> None:
        """Wait until the whole group has ended, or its time is over."""
        until = time.monotonic() + KILL_AFTER
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(KILL_AFTER)
        while self._signal(0) and time.monotonic() < until:
            time.sleep(LOOK_EVERY)

    def _signal(self, number: int) -> bool:
        """Send a signal to the group, also where its first process is gone; whether it is there."""
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            return False
        except PermissionError:  # it runs as somebody else, or is a zombie
            return self.process.poll() is None
        return True

    def kill_if_ours(self) -> None:
        """Kill it if it runs, and was not started by the process that this one is a fork of."""
        if self._parent == os.getpid() and self.process.poll() is None:
            self.kill()


_groups: WeakSet[Group] = WeakSet()


@atexit.register
def _kill_all() -> None:
    for group in list(_groups):
        group.kill_if_ours()


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"
