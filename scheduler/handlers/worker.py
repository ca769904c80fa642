"""A worker: a process that makes the calls it is sent, one after the other, until its sender ends.

It runs handlers on its main thread, where a signal reaches them: SIGTERM raises SystemExit in a
handler, so that its clean-up runs; SIGINT is left to the parent. When the parent is gone, however
it went, the worker ends, and with it what it started.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from queue import SimpleQueue
from types import FrameType
from typing import Any

from scheduler import logs
from scheduler.context import JobContext
from scheduler.handlers.calls import Call
from scheduler.handlers.elsewhere import perform_order, text_of
from scheduler.handlers.groups import KILL_AFTER
from scheduler.model import Completed

_TERMINATED = 128 + signal.SIGTERM


class Worker:
    """Makes the calls that come over `channel`."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._orders: SimpleQueue[str | None] = SimpleQueue()
        self._context: JobContext | None = None
        self._ending = threading.Event()

    def serve(self) -> None:
        """Make calls until there is nobody left to send any, or SIGTERM says to end."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, self._on_sigterm)
        threading.Thread(target=self._receive, name="scheduler-orders", daemon=True).start()
        while not self._ending.is_set() and (order := self._orders.get()) is not None:
            outcome = perform_order(order, self._around)
            self._context = None
            if self._ending.is_set() and not isinstance(outcome, Completed):
                break  # what the signal made of it is no outcome of the handler's own
            self._channel.sendall(text_of(outcome).encode() + b"\n")
        if self._ending.is_set():
            raise SystemExit(_TERMINATED)

    def _receive(self) -> None:
        """Take in orders; when there can be no more, see to it that the process ends."""
        lines = self._channel.makefile("r", encoding="ascii", newline="\n")
        with suppress(OSError), lines:  # as when the other end is gone
            for line in lines:
                self._orders.put(line)
        self._orders.put(None)
        if self._context is not None:
            os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait(KILL_AFTER)
        os.killpg(os.getpgid(0), signal.SIGKILL)

    def _on_sigterm(self, _: int, __: FrameType | None) -> None:
        self._ending.set()
        if self._context is not None:
            self._context.cancel()
        raise SystemExit(_TERMINATED)

    def _around(self, call: Call, memory_limit: int | None) -> Call:
        self._context = call.context
        if memory_limit is None:
            return call
        function = call.definition.function

        def bounded(**given: Any) -> Any:
            with _memory(memory_limit):
                return function(**given)

        return replace(call, definition=replace(call.definition, function=bounded))


@contextmanager
def _memory(limit: int) -> Iterator[None]:
    """Within it, the process may take at most `limit` bytes more than it has.

    Of address space, which is what the kernel refuses: a handler gets a MemoryError.
    """
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = _address_space() + limit
    bounds = [each for each in (soft, hard) if each != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_AS, (min([most, *bounds]), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _address_space() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def main(descriptor: int, log_settings: tuple[str, str] | None) -> None:
    """Serve the other end of the socket `descriptor`, logging as the parent does."""
    if log_settings is not None:
        logs.configure(*log_settings)
    channel = socket.socket(fileno=descriptor)
    channel.set_inheritable(False)  # what a handler starts must not hold it open
    Worker(channel).serve()
