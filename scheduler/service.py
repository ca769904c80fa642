"""Wires settings, storage, discovery, queue, expander and web into one process.

The only place that reads the settings' meaning and handles signals. SIGTERM and SIGINT drain:
running handlers get their grace, the rest is given back; a second signal cuts the grace. A store
that says nothing any more does not keep the process from ending.
"""

from __future__ import annotations

import gc
import math
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from datetime import timedelta
from enum import StrEnum
from queue import Empty, SimpleQueue
from types import FrameType
from typing import TYPE_CHECKING

from scheduler.declarations import Change
from scheduler.logs import logger
from scheduler.metronome import Metronome, within
from scheduler.queue import EXPANDER, STORE_PATIENCE, JobQueue
from scheduler.registry import Registry, discover
from scheduler.settings import Settings
from scheduler.storage import JobStorage, open_storage

if TYPE_CHECKING:
    from scheduler.web.server import WebServer

log = logger(__name__)


SLICE = 0.5
"""Seconds within which a signal is heeded, whenever it comes."""


class Role(StrEnum):
    """A part of the service that can be run alone."""

    EXPANDER = "expander"
    EXECUTOR = "executor"
    WEB = "web"


class Service:
    """One process of the service: all of its parts, or the `only` one.

    Building it imports the job modules, opens the storage and binds the port, so that
    whatever is wrong is raised before anything runs: DiscoveryFailed, InvalidOption,
    StorageUnavailable, SchemaMismatch.
    """

    def __init__(self, settings: Settings, *, only: Role | None = None) -> None:
        self.settings = settings
        self.roles = frozenset(Role) if only is None else frozenset([only])
        # Not an Event: a handler that sets one may have interrupted the thread that holds its lock.
        self._signals: SimpleQueue[int] = SimpleQueue()
        self._is_stopping = False
        self._grace = timedelta(seconds=settings.shutdown_grace)
        self._alone: Metronome | None = None
        self._settled: Callable[[], None] = lambda: None
        registry = discover(settings.modules)
        storage = open_storage(settings.database)
        try:
            self.queue = self._queue(storage, registry)
            self.web = self._web_server()
        except BaseException:
            storage.close()
            raise

    def _queue(self, storage: JobStorage, registry: Registry) -> JobQueue:
        settings = self.settings
        return JobQueue(
            storage,
            registry=registry,
            name=settings.queue or "default",
            every_queue=settings.queue is None,
            concurrency=settings.concurrency,
            max_retries=settings.max_retries,
            processing_interval=settings.processing_interval,
            prefetch_batch_size=settings.prefetch_batch_size,
            ageing=settings.ageing,
            ttl=settings.ttl,
            stand_alone=Role.EXPANDER in self.roles,
            default_timezone=settings.default_timezone,
            max_result_bytes=settings.max_result_bytes,
            dask_address=settings.dask_address,
            retention=settings.retention,
        )

    @property
    def web_url(self) -> str | None:
        """Where the HTTP API answers; None if it is not served."""
        return None if self.web is None else self.web.url

    def run(
        self, *, duration: timedelta | None = None, started: Callable[[list[Change]], None]
    ) -> int:
        """Run until a signal, or for `duration`, then drain.

        `started` is called once, when everything runs, with the schedules that changed.
        Returns how many handlers had to be left running: 0 is a clean stop. Raises
        StorageUnavailable, with everything stopped, if the store did not take what was to be
        written. Only on the main thread, which receives the signals.
        """
        until = None if duration is None else time.monotonic() + duration.total_seconds()
        previous = {each: signal.signal(each, self._on_signal) for each in _SIGNALS}
        try:
            started(self._start())
            self._wait(math.inf if until is None else until - time.monotonic())
            return self._stop()
        finally:
            for each, handler in previous.items():
                signal.signal(each, handler)

    def _wait(self, seconds: float) -> None:
        """Wait for a signal, at most so long.

        In slices: a signal that comes just before a wait begins is handled after it only.
        """
        while seconds > 0:
            with suppress(Empty):
                self._signals.get(timeout=min(SLICE, seconds))
                return
            seconds -= SLICE

    def _start(self) -> list[Change]:
        changes: list[Change] = []
        self.queue.clock.compare()
        if Role.EXPANDER in self.roles:
            changes = self.queue.declare(self.settings.modules)
        if Role.EXECUTOR in self.roles:
            self.queue.start()
        elif Role.EXPANDER in self.roles:
            self._alone = self.queue.metronome(EXPANDER)
            self._alone.start()
        if self.web is not None:
            self.web.start()
        running = self.roles if self.web is not None else self.roles - {Role.WEB}
        self._settled = settle_in()
        log.info("running", roles=sorted(role.value for role in running), web=self.web_url)
        return changes

    def _stop(self) -> int:
        log.info("stopping", grace=self._grace.total_seconds())
        with ExitStack() as rest:  # done whatever the store does, the last first
            rest.callback(lambda: within(STORE_PATIENCE, self.queue.storage.close))
            if self.web is not None:
                rest.callback(self.web.stop)  # so that health checks are answered until then
            if self._alone is not None:
                self._alone.stop(max(self._grace, STORE_PATIENCE))
                within(STORE_PATIENCE, self.queue.declarer.stop)
            left_running = self.queue.stop(self._grace)
            if left_running:
                log.warning("handlers left running; their jobs were given back", count=left_running)
        self._settled()
        log.info("stopped")
        return left_running

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if self._is_stopping:
            self.queue.executor.hurry()
        self._is_stopping = True
        self._signals.put(number)

    def _web_server(self) -> WebServer | None:
        if Role.WEB not in self.roles or not (self.settings.web or self.roles == {Role.WEB}):
            return None
        from scheduler.web.app import create_app
        from scheduler.web.server import WebServer

        return WebServer(create_app(self.queue), host=self.settings.host, port=self.settings.port)


NEW_VALUES = 10_000
"""How many new values there are before the garbage collector looks through them."""


def settle_in() -> Callable[[], None]:
    """Take what is loaded by now for what stays until the end of the process; what undoes it.

    The garbage collector would look through all of it again and again: while jobs come and go by
    the thousand, that takes a third of the time. And of what is new it looks at more at once: most
    of a batch of jobs is gone by then.
    """
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    if 0 < before[0] < NEW_VALUES:  # who has switched it off, or asked for more, has reasons
        gc.set_threshold(NEW_VALUES, *before[1:])

    def undo() -> None:
        gc.set_threshold(*before)
        gc.unfreeze()

    return undo


_SIGNALS = (signal.SIGTERM, signal.SIGINT)
