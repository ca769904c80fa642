"""Wires settings, storage, discovery, queue, expander and web into one process.

The only place that reads the settings' meaning and handles signals. SIGTERM and SIGINT drain:
running handlers get their grace, the rest is given back; a second signal cuts the grace.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from enum import StrEnum
from types import FrameType
from typing import TYPE_CHECKING

from scheduler.declarations import Change
from scheduler.logs import logger
from scheduler.metronome import Metronome
from scheduler.queue import DECLARER, EXPANDER, JobQueue
from scheduler.registry import Registry, discover
from scheduler.settings import Settings
from scheduler.storage import JobStorage, open_storage

if TYPE_CHECKING:
    from scheduler.web.server import WebServer

log = logger(__name__)


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
        self._stopping = threading.Event()
        self._grace = timedelta(seconds=settings.shutdown_grace)
        self._alone: Metronome | None = None
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
            ttl=settings.ttl,
            stand_alone=Role.EXPANDER in self.roles,
            default_timezone=settings.default_timezone,
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
        Returns how many handlers had to be left running: 0 is a clean stop. Only on the main
        thread, which receives the signals.
        """
        until = None if duration is None else time.monotonic() + duration.total_seconds()
        previous = {each: signal.signal(each, self._on_signal) for each in _SIGNALS}
        try:
            started(self._start())
            self._stopping.wait(None if until is None else until - time.monotonic())
            return self._stop()
        finally:
            for each, handler in previous.items():
                signal.signal(each, handler)

    def _start(self) -> list[Change]:
        changes: list[Change] = []
        if Role.EXPANDER in self.roles:
            changes = self.queue.declare(self.settings.modules)
        if Role.EXECUTOR in self.roles:
            self.queue.start()
        elif Role.EXPANDER in self.roles:
            duties = {EXPANDER: self.queue.expand, DECLARER: self.queue.declarer.tick}
            self._alone = Metronome(duties)
            self._alone.start()
        if self.web is not None:
            self.web.start()
        log.info("running", roles=sorted(role.value for role in self.roles), web=self.web_url)
        return changes

    def _stop(self) -> int:
        log.info("stopping", grace=self._grace.total_seconds())
        if self._alone is not None:
            self._alone.stop()
            self.queue.declarer.stop()
        left_running = self.queue.stop(self._grace)
        if self.web is not None:
            self.web.stop()  # last, so that health checks are answered while jobs finish
        if left_running:
            log.warning("handlers left running; their jobs were given back", count=left_running)
        self.queue.storage.close()
        log.info("stopped")
        return left_running

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if self._stopping.is_set():
            self.queue.executor.hurry()
        self._stopping.set()

    def _web_server(self) -> WebServer | None:
        if Role.WEB not in self.roles or not (self.settings.web or self.roles == {Role.WEB}):
            return None
        from scheduler.web.app import create_app
        from scheduler.web.server import WebServer

        return WebServer(create_app(self.queue), host=self.settings.host, port=self.settings.port)


_SIGNALS = (signal.SIGTERM, signal.SIGINT)
