"""The jobs that one executor holds: those that wait for a slot, and those whose handlers run.

A handler that ends gives its slot to the next job that waits, on the thread that it ended on: so
a slot is never empty while the executor asks the store for more. What landed is kept until the
executor takes it in.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import CancelledError, Future
from contextvars import Context
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

from scheduler import faults
from scheduler.errors import described
from scheduler.handlers.outcomes import MAX_RESULT_BYTES, of_result
from scheduler.logs import logger
from scheduler.model import (
    Cancelled,
    Committed,
    Completed,
    Failed,
    Job,
    Outcome,
    Released,
    replace,
)
from scheduler.settling import token_of

log = logger(__name__)


@dataclass(slots=True, eq=False)
class Flight:
    """A job whose handler is called: `future` is None until it has been.

    It is `abandoned` once nobody waits for it any more; its slot stays taken until it lands.
    """

    job: Job
    token: str
    started_at: datetime
    deadline: datetime | None
    future: Future[Outcome] | None = None
    abandoned: bool = False


class Landing(NamedTuple):
    """The end, at `at`, of a handler that had been called."""

    flight: Flight
    outcome: Outcome
    at: datetime


class Slots:
    """Waiting jobs and flights. Every method may be called from any thread.

    `begin` calls a handler, `cancel` tells it to end, `capacity` is how many may run at a time, and
    `clock` the time of starts and landings. `started` is told before a handler is called, `landed`
    after one has ended.
    """

    def __init__(
        self,
        *,
        begin: Callable[[Job], Future[Outcome]],
        cancel: Callable[[str], None],
        capacity: Callable[[], int],
        clock: Callable[[], datetime],
        started: Callable[[Job, datetime], None],
        landed: Callable[[], None],
    ) -> None:
        self._begin = begin
        self._cancel = cancel
        self._capacity = capacity
        self._clock = clock
        self._started = started
        self._was_landed = landed
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._waiting: deque[Job] = deque()
        self._held_until: datetime | None = None
        self._flights: dict[str, Flight] = {}
        self._abandoned: set[Flight] = set()
        self._landed: deque[Landing] = deque()
        self._launching = threading.local()
        """Of each thread: whether it is launching, and the time of the next start."""

    # --- what is there ---------------------------------------------------------------------

    @property
    def running(self) -> int:
        """How many slots are taken: by handlers under way, waited for or not."""
        return len(self._flights) + len(self._abandoned)

    @property
    def free(self) -> int:
        """How many are not, nor will be by the jobs that wait."""
        return max(0, self._capacity() - self.running) - len(self._waiting)

    @property
    def is_empty(self) -> bool:
        """Whether no job waits, and no handler is waited for."""
        return not self._waiting and not self._flights

    @property
    def stocked(self) -> int:
        """How many jobs wait for a slot."""
        return len(self._waiting)

    @property
    def landed(self) -> int:
        """How many landings have not been taken in."""
        return len(self._landed)

    def waiting(self) -> list[Job]:
        """The jobs that are leased and whose handlers have not been called, in their order."""
        with self._lock:
            return list(self._waiting)

    def flights(self) -> list[Flight]:
        """The handlers under way that are waited for."""
        with self._lock:
            return list(self._flights.values())

    def landings(self) -> list[Landing]:
        """What has landed and has not been taken in."""
        with self._lock:
            return list(self._landed)

    def wait(self, seconds: float | None) -> None:
        """Wait until a handler lands, at most `seconds`; returns at once if none is under way."""
        with self._changed:
            if not self._landed and (self._flights or self._abandoned):
                self._changed.wait(seconds)

    # --- in and out ------------------------------------------------------------------------

    def stock(self, jobs: Iterable[Job], until: datetime) -> None:
        """Let jobs that are leased until then wait for slots, behind those that wait already."""
        with self._lock:
            if not self._waiting:
                self._held_until = until
            self._waiting.extend(jobs)

    def renewed(self, until: datetime) -> None:
        """Take in that every job is leased until then."""
        with self._lock:
            self._held_until = until

    def unstock(self, keep: int = 0) -> list[Job]:
        """The jobs that wait, but for the first `keep`: they wait no more."""
        with self._lock:
            return [self._waiting.pop() for _ in range(len(self._waiting) - keep)][::-1]

    def launch(self, now: datetime) -> None:
        """Call the handlers of waiting jobs while there are free slots.

        At `now`; one that follows on a handler that was done at once, when that one was.
        """
        here = self._launching
        here.at = now
        if getattr(here, "is_under_way", False):
            return  # who called the handler that has ended goes on
        here.is_under_way = True
        try:
            while (flight := self._next(here.at)) is not None:
                self._fly(flight)
        finally:
            here.is_under_way = False

    def take_landed(self) -> list[Landing]:
        """What has landed since the last call, in that order."""
        with self._lock:
            return [self._landed.popleft() for _ in range(len(self._landed))]

    def let_go(self, job_id: str) -> Flight | None:
        """Hold a job no more, and tell its handler to end; what was under way, if anything."""
        with self._lock:
            flight = self._flights.pop(job_id, None)
            if flight is None:
                self._waiting = deque(job for job in self._waiting if job.id != job_id)
                return None
            flight.abandoned = True
            self._abandoned.add(flight)
        self._cancel(job_id)
        return flight

    def shift(self, by: timedelta) -> None:
        """Move every deadline: the clock was set by so much."""
        with self._lock:
            for flight in self._flights.values():
                if flight.deadline is not None:
                    flight.deadline += by

    # --- how -------------------------------------------------------------------------------

    def _next(self, at: datetime) -> Flight | None:
        """The next flight, whose slot is taken from now on."""
        with self._lock:
            if not self._waiting or self.running >= self._capacity():
                return None
            if self._held_until is not None and self._held_until <= at:
                return None  # it may be another's by now: the next tick sees
            job = self._waiting.popleft()
            if job.started_at != at:  # leased ahead
                job = replace(job, started_at=at)
            deadline = None if job.timeout is None else at + job.timeout
            flight = Flight(job, token_of(job), at, deadline)
            self._flights[job.id] = flight
            return flight

    def _fly(self, flight: Flight) -> None:
        faults.point("executor.start.before")
        self._started(flight.job, flight.started_at)
        flight.future = future = self._called(flight.job)
        future.add_done_callback(partial(self._land, flight))
        if flight.abandoned:  # before there was anything to tell
            self._cancel(flight.job.id)

    def _called(self, job: Job) -> Future[Outcome]:
        """The future of the handler of `job`; what a `begin` of somebody's own raises fails it."""
        try:
            future: object = self._begin(job)
            if not isinstance(future, Future):
                raise TypeError(f"process_job returned {future!r} in place of a Future")
            return future
        except BaseException as error:
            log.exception("job could not be started", job=job.name, id=job.id)
            refused: Future[Outcome] = Future()
            refused.set_exception(error)
            return refused

    def _land(self, flight: Flight, future: Future[Outcome]) -> None:
        at, outcome = self._clock(), _outcome(future)
        flight.future = None  # which would be kept until the outcome is written
        with self._lock:
            if flight.abandoned:
                self._abandoned.discard(flight)
            else:
                del self._flights[flight.job.id]
            self._landed.append(Landing(flight, outcome, at))
            self._changed.notify_all()
        # In a context of its own: the next handler sees no variable of this one.
        Context().run(self.launch, at)
        self._was_landed()


def _outcome(future: Future[Outcome]) -> Outcome:
    """The outcome of a future that is done; whatever it raised is a failure."""
    try:
        # A subclass's process_job may hand back anything; a bare value is its result.
        outcome: object = future.result()
    except CancelledError:
        return Failed("cancelled")
    except BaseException as error:  # noqa: BLE001 - of a handler, SystemExit included
        return Failed(described(error))
    if isinstance(outcome, Completed):
        if outcome.result is None:
            return outcome
        checked = of_result(outcome.result, max_bytes=sys.maxsize)
        return outcome if isinstance(checked, Completed) else checked
    if isinstance(outcome, (Failed, Cancelled, Committed, Released)):
        return outcome
    return of_result(outcome, max_bytes=MAX_RESULT_BYTES)
