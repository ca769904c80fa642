"""Handlers in processes of their own: a worker for each call under way, kept warm for the next.

A worker shares nothing with another: it has its own socket, session and process group. So what
happens to it, a segfault, os._exit, an endless loop that ignores SIGTERM, fails the one call it
was making.

Why no library's pool: pebble 5.2 was tried, whose workers share a pipe and the threads that watch
them: os._exit(0) left a call without an end, and killing one worker held up the others for three
seconds. concurrent.futures breaks the whole pool when a worker dies, as documented.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from datetime import timedelta

from scheduler import logs
from scheduler.errors import SchedulerError, described
from scheduler.handlers.calls import Call
from scheduler.handlers.elsewhere import order_of, outcome_of
from scheduler.handlers.groups import Group
from scheduler.model import Failed, Outcome

LOOK_EVERY = 0.5
"""Seconds between two looks at a worker that says nothing: a child of its may hold its socket."""

MOST_CALLS = 1000
"""Calls that a worker makes before it is replaced, so that what handlers leak does not add up."""

_BOOT = """
import json, sys
path, descriptor, log_settings = json.loads(sys.argv[1])
sys.path[:] = path
sys.argv[1:] = []
from scheduler.handlers.worker import main
main(descriptor, log_settings)
"""


class WorkerLost(Exception):  # noqa: N818 - what happened to it
    """A worker ended before it said how its call came out."""


class Child:
    """The parent's side of one worker."""

    def __init__(self) -> None:
        self._channel, other = socket.socketpair()
        with other:
            boot = json.dumps([sys.path, other.fileno(), logs.configured])
            argv = [sys.executable, "-c", _BOOT, boot]
            self._group = Group(argv, pass_fds=[other.fileno()])
        self._channel.settimeout(LOOK_EVERY)
        self._said = b""
        self.calls = 0

    @property
    def is_ready(self) -> bool:
        """Whether it can take another call: it is there, and has said no more than was asked."""
        return not self._group.is_ending and not self._said and self._is_running

    @property
    def _is_running(self) -> bool:
        return self._group.process.poll() is None

    def send(self, order: str) -> None:
        """Have a call made. Raises OSError if the worker is not there."""
        self._channel.sendall(order.encode() + b"\n")
        self.calls += 1

    def reply(self, timeout: timedelta | None) -> str:
        """What the worker says of the call it was sent.

        Raises WorkerLost if it ends first, and TimeoutError, with the worker ended, if it has
        said nothing after so long.
        """
        begun = time.monotonic()
        while b"\n" not in self._said:
            if timeout is not None and time.monotonic() - begun >= timeout.total_seconds():
                self.end()
                raise TimeoutError(f"timed out after {timeout.total_seconds():g} s")
            try:
                received = self._channel.recv(1 << 16)
            except TimeoutError:
                if self._is_running:
                    continue
                received = b""
            except OSError:
                received = b""
            if not received:
                raise WorkerLost(self._fate())
            self._said += received
        said, _, self._said = self._said.partition(b"\n")
        return said.decode()

    def end(self) -> None:
        """Tell the worker to end, and see to it that it does. Returns at once."""
        self._group.end(then=self._channel.close)

    def _fate(self) -> str:
        """How the worker, which hung up, ended."""
        with suppress(subprocess.TimeoutExpired):
            self._group.process.wait(LOOK_EVERY)
        fate = self._group.fate()
        self._group.kill()
        return f"{fate} before the handler returned"


class Processes:
    """Makes calls in processes of their own; of those that wait for the next, keeps `warm`."""

    def __init__(self, *, warm: int | None = None) -> None:
        self._warm = (os.cpu_count() or 1) if warm is None else warm
        self._idle: deque[Child] = deque()
        self._busy: set[Child] = set()
        self._lock = threading.Lock()
        self._is_closed = False

    def perform(self, call: Call) -> Outcome:
        """Make the call and wait for it; its outcome, whatever becomes of the process."""
        try:
            child = self._given(order_of(call))
        except SchedulerError as error:
            return Failed(str(error))
        except OSError as error:
            return Failed(f"no process could be started: {described(error)}")
        with call.context.on_cancel(child.end):
            outcome = _outcome(call, child)
        self._take_back(child)
        return outcome

    def close(self) -> None:
        """End every process; those under way are told, and killed soon after."""
        with self._lock:
            self._is_closed = True
            children = [*self._idle, *self._busy]
            self._idle.clear()
        for child in children:
            child.end()

    def _given(self, order: str) -> Child:
        """A worker that has been sent `order`."""
        while True:
            child = self._taken()
            try:
                child.send(order)
            except OSError:  # it was killed while it waited: nothing has been called
                self._drop(child)
            else:
                return child

    def _taken(self) -> Child:
        """A worker that waits, the last used first, or a new one."""
        with self._lock:
            child = self._idle.pop() if self._idle else None
            if child is not None:
                self._busy.add(child)
        if child is None:
            child = Child()
            with self._lock:
                self._busy.add(child)
                is_closed = self._is_closed
            if is_closed:
                child.end()
        return child

    def _take_back(self, child: Child) -> None:
        is_worn = child.calls >= MOST_CALLS or not child.is_ready
        with self._lock:
            is_kept = not is_worn and not self._is_closed and len(self._idle) < self._warm
            if is_kept:
                self._busy.discard(child)
                self._idle.append(child)
        if not is_kept:
            self._drop(child)

    def _drop(self, child: Child) -> None:
        with self._lock:
            self._busy.discard(child)
        child.end()


def _outcome(call: Call, child: Child) -> Outcome:
    """What the worker says of the call, or what became of the worker."""
    try:
        return outcome_of(child.reply(call.job.timeout))
    except TimeoutError as error:
        return Failed(str(error))
    except WorkerLost as fate:
        what = "cancelled" if call.context.cancelled else "lost"
        return Failed(f"{what}: the process of the handler {fate}")
    except (ValueError, KeyError, TypeError) as error:
        child.end()
        return Failed(f"the process of the handler said what is no outcome: {described(error)}")
