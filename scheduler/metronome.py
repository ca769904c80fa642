"""Calls each periodic duty at the instant it asked for. The only place that waits.

APScheduler's BackgroundScheduler keeps the time. A duty is a function of `now` that returns
when it wants to be called next; it may be woken earlier, from any thread, and is never
called twice at once. A duty that raises is logged, remembered, and called again after a
growing pause: an unreachable database stops nothing for good.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from scheduler.logs import logger
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.date import DateTrigger

from scheduler import clock
from scheduler.errors import StorageError

log = logger(__name__)

Tick = Callable[[datetime], datetime | None]

LONGEST_WAIT = timedelta(seconds=5)
"""A duty is called at least this often: a wall clock that jumps forward is noticed by then."""

_FIRST_PAUSE = timedelta(milliseconds=200)


class Duty:
    """One periodic duty, and when it is called next."""

    def __init__(self, name: str, tick: Tick, scheduler: BackgroundScheduler) -> None:
        self.name = name
        self.error: Exception | None = None
        """What the last call raised; None if it went well."""
        self._tick = tick
        self._scheduler = scheduler
        self._lock = threading.Lock()
        self._running = False
        self._woken = False
        self._stopped = False
        self._pause = _FIRST_PAUSE

    def wake(self) -> None:
        """Call the duty now, or once more as soon as the call under way returns."""
        with self._lock:
            if self._stopped:
                return
            self._woken = True
            if not self._running:
                self._call_at(clock.now())

    def stop(self) -> None:
        """Do not call the duty again."""
        with self._lock:
            self._stopped = True

    def run(self) -> None:
        """Call the duty until it has nothing more to do now, then arrange the next call."""
        with self._lock:
            if self._running or self._stopped:
                return
            self._running = True
        while True:
            with self._lock:
                self._woken = False
            next_at = self._called(clock.now())
            with self._lock:
                now = clock.now()
                due = next_at is not None and next_at <= now
                if self._stopped or not (due or self._woken):
                    self._running = False
                    if not self._stopped:
                        latest = now + LONGEST_WAIT
                        self._call_at(latest if next_at is None else min(next_at, latest))
                    return

    def _called(self, now: datetime) -> datetime | None:
        try:
            next_at = self._tick(now)
        except Exception as error:
            # The one place where whatever a duty raises stops: it is logged, shown by the
            # health check, and the duty is tried again.
            self.error = error
            if isinstance(error, StorageError):
                log.error("duty failed", duty=self.name, error=str(error))
            else:
                log.exception("duty failed", duty=self.name)
            pause, self._pause = self._pause, min(self._pause * 2, LONGEST_WAIT)
            return clock.now() + pause
        if self.error is not None:
            log.info("duty recovered", duty=self.name)
        self.error, self._pause = None, _FIRST_PAUSE
        return next_at

    def _call_at(self, moment: datetime) -> None:
        self._scheduler.add_job(
            self.run,
            DateTrigger(moment, timezone=UTC),
            id=self.name,
            replace_existing=True,
            misfire_grace_time=None,
            max_instances=2,  # the next call may be handed over while this one returns
        )


class Metronome:
    """A set of duties, called from a pool of as many threads."""

    def __init__(self, duties: dict[str, Tick]) -> None:
        self._scheduler = BackgroundScheduler(
            executors={"default": ThreadPoolExecutor(2 * max(1, len(duties)))},
            timezone=UTC,
            daemon=True,
        )
        self.duties = {name: Duty(name, tick, self._scheduler) for name, tick in duties.items()}

    def start(self) -> None:
        """Call every duty now, and from then on when it asks to be."""
        self._scheduler.start()
        for duty in self.duties.values():
            duty.wake()

    def wake(self, name: str) -> None:
        """Call the duty of this name now; nothing happens if there is none."""
        duty = self.duties.get(name)
        if duty is not None:
            duty.wake()

    def stop(self) -> None:
        """Call nothing more; returns when every call under way has returned."""
        for duty in self.duties.values():
            duty.stop()
        self._scheduler.shutdown(wait=True)
