"""Calls each periodic duty at the instant it asked for. The only place that waits.

APScheduler's BackgroundScheduler keeps the time. A duty is a function of `now` that returns
when it wants to be called next; it may be woken earlier, from any thread, and is never
called twice at once. A duty that raises is logged, remembered, and called again after a
growing pause: an unreachable database stops nothing for good. A duty that never returns, as
when a store says nothing any more, holds up neither who stops it nor the end of the process.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from apscheduler.executors.base import BaseExecutor, run_job
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.date import DateTrigger

from scheduler import clock
from scheduler.beside import beside
from scheduler.errors import StorageError, StorageUnavailable
from scheduler.logs import logger

log = logger(__name__)

Tick = Callable[[datetime], datetime | None]
T = TypeVar("T")

LONGEST_WAIT = timedelta(seconds=5)
"""A duty is called at least this often: a wall clock that jumps forward is noticed by then."""

JUMP = timedelta(milliseconds=500)
"""How far the wall clock may drift from monotonic time in a second before it was set."""

LATEST_INSTANT = datetime.max.replace(tzinfo=UTC)

_WATCH_SECONDS = 1.0
_FIRST_PAUSE = timedelta(milliseconds=200)


class Duty:
    """One periodic duty, on a thread of its own, and when it is called next.

    `look` is called before each call. `alarm` is told when to `wake` it.
    """

    def __init__(
        self,
        name: str,
        tick: Tick,
        *,
        alarm: Callable[[Duty, datetime], None],
        look: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self.error: Exception | None = None
        """What the last call raised; None if it went well."""
        self._tick = tick
        self._alarm = alarm
        self._alarm_at: datetime | None = None
        self._look = look
        self._changed = threading.Condition()
        self._idle = threading.Event()
        self._idle.set()
        self._woken = False
        self._stopped = False
        self._pause = _FIRST_PAUSE

    def start(self) -> None:
        """Begin to call the duty: at once, and then when it asks to be."""
        self._woken = True
        threading.Thread(target=self._serve, name=f"scheduler-{self.name}", daemon=True).start()

    def wake(self) -> None:
        """Call the duty now, or once more as soon as the call under way returns."""
        if self._woken:
            return
        with self._changed:
            self._woken = True
            self._changed.notify()

    def ring(self) -> None:
        """The alarm: `wake`."""
        self._alarm_at = None
        self.wake()

    def stop(self) -> None:
        """Do not call the duty again."""
        with self._changed:
            self._stopped = True
            self._changed.notify()

    def wait(self, seconds: float | None) -> bool:
        """Wait, at most `seconds`, for the call under way to return; whether none is any more."""
        return self._idle.wait(seconds)

    def _serve(self) -> None:
        while self._is_called():
            next_at, now = self.call(), clock.now()
            if next_at is not None and next_at <= now:
                self._woken = True
            else:
                self._set_alarm(now, min(next_at or LATEST_INSTANT, now + LONGEST_WAIT))

    def _is_called(self) -> bool:
        """Wait for a call to be due; False once none is made any more."""
        with self._changed:
            self._idle.set()
            while not (self._woken or self._stopped):
                self._changed.wait()
            if self._stopped:
                return False
            self._woken = False
            self._idle.clear()
            return True

    def _set_alarm(self, now: datetime, at: datetime) -> None:
        """See to it that the duty is called at `at`, or before: a call too many does no harm."""
        if self._alarm_at is None or not now < self._alarm_at <= at:
            self._alarm_at = at
            self._alarm(self, at)

    def call(self) -> datetime | None:
        """Call the duty on this thread; when it is to be called next. Nothing is raised."""
        try:
            self._look()
            next_at = self._tick(clock.now())
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


class _Inline(BaseExecutor):  # type: ignore[misc]  # APScheduler is untyped
    """Calls on the scheduler's own thread: an alarm wakes a duty, which has one for itself."""

    def _do_submit_job(self, job: Any, run_times: list[datetime]) -> None:
        events = run_job(job, job._jobstore_alias, run_times, self._logger.name)
        self._run_job_success(job.id, events)


class Metronome:
    """A set of duties, each called on a thread of its own.

    `was_set` is told by how much the wall clock was set, before any duty is called at its new time.
    """

    def __init__(
        self,
        duties: Mapping[str, Tick],
        *,
        was_set: Callable[[timedelta], None] = lambda by: None,
    ) -> None:
        self._scheduler = BackgroundScheduler(
            executors={"default": _Inline()},
            timezone=UTC,
            daemon=True,
        )
        self.duties = {
            name: Duty(name, tick, alarm=self._set_alarm, look=self._look)
            for name, tick in duties.items()
        }
        self._was_set = was_set
        self._looking = threading.Lock()
        self._seen = clock.now(), time.monotonic()
        self._stopped = threading.Event()

    def start(self) -> None:
        """Call every duty now, and from then on when it asks to be."""
        self._scheduler.start()
        self._seen = clock.now(), time.monotonic()
        threading.Thread(target=self._watch, name="scheduler-clock-watch", daemon=True).start()
        for duty in self.duties.values():
            duty.start()

    def wake(self, name: str) -> None:
        """Call the duty of this name now; nothing happens if there is none."""
        duty = self.duties.get(name)
        if duty is not None:
            duty.wake()

    def stop(self, patience: timedelta | None = None) -> list[str]:
        """Call nothing more; returns when every call under way has returned.

        At most `patience` (None: however long it takes) is waited for them. What comes back are
        the names of the duties whose calls are left behind then, with a warning in the log.
        """
        until = None if patience is None else time.monotonic() + patience.total_seconds()
        self._stopped.set()
        for duty in self.duties.values():
            duty.stop()
        # First what it may be handing over: shut down in the middle of that, its thread dies of it.
        self._scheduler.remove_all_jobs()
        self._scheduler.shutdown()
        left_behind = [
            name
            for name, duty in self.duties.items()
            if not duty.wait(None if until is None else max(0.0, until - time.monotonic()))
        ]
        for name in left_behind:
            log.warning("duty does not return; it is left behind", duty=name)
        return left_behind

    def _set_alarm(self, duty: Duty, at: datetime) -> None:
        if self._stopped.is_set():
            return
        self._scheduler.add_job(
            duty.ring,
            DateTrigger(at, timezone=UTC),
            id=duty.name,
            replace_existing=True,
            misfire_grace_time=None,
            max_instances=1000,  # one that has rung is not waited for
        )

    def _watch(self) -> None:
        """Look at the clock once a second, whatever the duties do."""
        while not self._stopped.wait(_WATCH_SECONDS):
            self._look()

    def _look(self) -> None:
        """Tell of it, and wake every duty, if the wall clock was set since the last look.

        APScheduler waits for an hour of the wall clock: after it is set back, a duty would
        sleep until that hour comes again.
        """
        with self._looking:
            (wall, monotonic), self._seen = self._seen, (clock.now(), time.monotonic())
            passed = timedelta(seconds=self._seen[1] - monotonic)
            jump = self._seen[0] - wall - passed
            if abs(jump) <= JUMP:
                return
            log.warning("the clock was set", by=jump.total_seconds())
            self._was_set(jump)
        for duty in self.duties.values():
            duty.ring()  # its alarm is set for another hour now


def within(patience: timedelta, act: Callable[[], T]) -> T:
    """What `act`, which asks a store, returns or raises, if it does so within `patience`.

    Otherwise it is left to itself, on a thread that nobody waits for. Raises StorageUnavailable.
    """
    future = beside(act, name="scheduler-stop")
    try:
        return future.result(patience.total_seconds())
    except TimeoutError:
        if future.done():  # it is what `act` raised
            raise
        seconds = patience.total_seconds()
        raise StorageUnavailable(f"the store has said nothing for {seconds:g} s") from None
