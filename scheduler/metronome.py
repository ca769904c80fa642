"""Calls each periodic duty at the instant it asked for. The only place that waits.

APScheduler's BackgroundScheduler keeps the time. A duty is a function of `now` that returns
when it wants to be called next; it may be woken earlier, from any thread, and is never
called twice at once. A duty that raises is logged, remembered, and called again after a
growing pause: an unreachable database stops nothing for good.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.date import DateTrigger

from scheduler import clock
from scheduler.errors import StorageError
from scheduler.logs import logger

log = logger(__name__)

Tick = Callable[[datetime], datetime | None]

LONGEST_WAIT = timedelta(seconds=5)
"""A duty is called at least this often: a wall clock that jumps forward is noticed by then."""

JUMP = timedelta(milliseconds=500)
"""How far the wall clock may drift from monotonic time in a second before it was set."""

_WATCH_SECONDS = 1.0
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
            self._woken = False
        while not self._is_over(self._called(clock.now())):
            pass

    def _is_over(self, next_at: datetime | None) -> bool:
        """Whether there is nothing more to do now; then the next call is arranged."""
        with self._lock:
            now = clock.now()
            is_due = next_at is not None and next_at <= now
            if (is_due or self._woken) and not self._stopped:
                self._woken = False
                return False
            self._running = False
            if not self._stopped:
                latest = now + LONGEST_WAIT
                self._call_at(latest if next_at is None else min(next_at, latest))
            return True

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
            max_instances=1000,  # it is `run` that refuses a second call, and never loses one
        )


class Metronome:
    """A set of duties, called from a pool of as many threads."""

    def __init__(self, duties: Mapping[str, Tick]) -> None:
        self._scheduler = BackgroundScheduler(
            executors={"default": ThreadPoolExecutor(2 * max(1, len(duties)))},
            timezone=UTC,
            daemon=True,
        )
        self.duties = {name: Duty(name, tick, self._scheduler) for name, tick in duties.items()}
        self._stopped = threading.Event()

    def start(self) -> None:
        """Call every duty now, and from then on when it asks to be."""
        self._scheduler.start()
        threading.Thread(target=self._watch, name="scheduler-clock-watch", daemon=True).start()
        for duty in self.duties.values():
            duty.wake()

    def wake(self, name: str) -> None:
        """Call the duty of this name now; nothing happens if there is none."""
        duty = self.duties.get(name)
        if duty is not None:
            duty.wake()

    def stop(self) -> None:
        """Call nothing more; returns when every call under way has returned."""
        self._stopped.set()
        for duty in self.duties.values():
            duty.stop()
        # First what it may be handing over: shut down in the middle of that, its thread dies of it.
        self._scheduler.remove_all_jobs()
        self._scheduler.shutdown(wait=True)

    def _watch(self) -> None:
        """Wake every duty when the wall clock is set.

        APScheduler waits for an hour of the wall clock: after it is set back, a duty would
        sleep until that hour comes again.
        """
        wall, monotonic = clock.now(), time.monotonic()
        while not self._stopped.wait(_WATCH_SECONDS):
            passed = timedelta(seconds=time.monotonic() - monotonic)
            jump = clock.now() - wall - passed
            wall, monotonic = clock.now(), time.monotonic()
            if abs(jump) > JUMP:
                log.warning("the clock was set", by=jump.total_seconds())
                for duty in self.duties.values():
                    duty.wake()
