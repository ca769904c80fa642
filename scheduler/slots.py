"""The jobs that one executor holds: those that wait for a slot, and those whose handlers run.

A handler that ends gives its slot to the next job that waits, on the thread that it ended on: so
a slot is never empty while the executor asks the store for more. What landed is kept until the
executor takes it in.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

from scheduler import faults
from scheduler.errors import described
from scheduler.handlers.outcomes import Done
from scheduler.logs import logger
from scheduler.model import Failed, Job, Outcome, replace
from scheduler.settling import token_of

log = logger(__name__)


@dataclass(slots=True, eq=False)
class Flight:
    """A leased job that waits for a slot or, from `started_at` on, is in one.

    It has `landed` once its handler has ended. It is `abandoned` once nobody waits for that any
    more; its slot stays taken until it lands.
    """

    job: Job
    token: str
    started_at: datetime | None = None
    deadline: datetime | None = None
    landed: bool = False
    abandoned: bool = False


class Landing(NamedTuple):
    """The end, at `at`, of a handler that had been called."""

    flight: Flight
    outcome: Outcome
    at: datetime


class Slots:
    """Waiting jobs and flights. Every method may be called from any thread.

    `begin` has a handler called, `cancel` tells it to end, `capacity` is how many may run at a
    time, and `clock` the time of starts and landings. `started` is told before a handler is called,
    `landed` after one has ended.

    A thread whose handler has ended goes on with the next job in the same slot, and locks nothing:
    threads that take turns at a lock, a few microseconds each, spend most of them in waking one
    another. What they share are deques and a dict, of which each step is one whole: who gets a
    flight out of `_waiting` starts it, and who gets it out of `_leased` says how it ended. Slots
    are counted under a lock, and only where one is taken or left.
    """

    def __init__(
        self,
        *,
        begin: Callable[[Job, Done], object],
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
        self._waiting: deque[Flight] = deque()
        self._held_until: datetime | None = None
        """Until when every job that waits is leased; it only grows."""
        self._leased: dict[Flight, None] = {}
        """In their order: what waits, flies, or has landed and not been taken in."""
        self._landed: deque[Landing] = deque()
        self._counting = threading.Lock()
        self._running = 0
        self._changed = threading.Condition()
        self._waiters = 0
        self._launching = threading.local()
        """Of each thread: whether it is launching, and the time of the next start."""

    # --- what is there ---------------------------------------------------------------------

    @property
    def running(self) -> int:
        """How many slots are taken: by handlers under way, waited for or not."""
        return self._running

    @property
    def free(self) -> int:
        """How many are not, nor will be by the jobs that wait."""
        return max(0, self._capacity() - self._running) - len(self._waiting)

    @property
    def stocked(self) -> int:
        """How many jobs wait for a slot."""
        return len(self._waiting)

    @property
    def landed(self) -> int:
        """How many landings have not been taken in."""
        return len(self._landed)

    def leased(self) -> list[Flight]:
        """What waits, flies, or has landed and not been taken in, in the order it was leased in."""
        return list(self._leased)

    def held(self) -> list[Flight]:
        """What waits or flies, in the order it was leased in."""
        return [each for each in self.leased() if not each.landed]

    def flights(self) -> list[Flight]:
        """The handlers under way that are waited for."""
        return [each for each in self.held() if each.started_at is not None]

    def waiting_since(self, after: int) -> datetime | None:
        """Since when the first job waits that has so many before it; None if there is none."""
        try:
            return self._waiting[after].job.started_at
        except IndexError:
            return None

    def wait(self, seconds: float | None) -> None:
        """Wait until a handler lands, at most `seconds`; returns at once if none is under way."""
        with self._changed:
            self._waiters += 1
            if not self._landed and self._running:
                self._changed.wait(seconds)
            self._waiters -= 1

    # --- in and out ------------------------------------------------------------------------

    def stock(self, jobs: Iterable[Job], until: datetime) -> None:
        """Let jobs that are leased until then wait for slots, behind those that wait already."""
        flights = [Flight(job, token_of(job)) for job in jobs]
        if not self._waiting:
            self._held_until = until
        self._leased.update(dict.fromkeys(flights))
        self._waiting.extend(flights)

    def renewed(self, until: datetime) -> None:
        """Take in that every job is leased until then."""
        self._held_until = until

    def unstock(self, keep: int = 0) -> list[Flight]:
        """The jobs that wait, but for the first `keep`: they wait no more."""
        out: deque[Flight] = deque()
        while len(self._waiting) > keep:
            try:
                flight = self._waiting.pop()
            except IndexError:  # the last one has just begun
                break
            if self._is_taken(flight):
                out.appendleft(flight)
        return list(out)

    def launch(self, now: datetime) -> None:
        """Call the handlers of waiting jobs while there are free slots.

        At `now`; one that follows on a handler that was done at once, when that one was.
        """
        self._launch(now, None)

    def take_landed(self) -> list[Landing]:
        """What has landed since the last call, in that order."""
        landings = [self._landed.popleft() for _ in range(len(self._landed))]
        for landing in landings:
            if not self._is_taken(landing.flight):
                landing.flight.abandoned = True
        return landings

    def let_go(self, flight: Flight) -> bool:
        """Hold a job no more, and tell its handler to end; False if that has ended already."""
        if flight.landed or not self._is_taken(flight):
            return False
        flight.abandoned = True
        if flight.started_at is not None:
            self._cancel(flight.job.id)
        else:
            with suppress(ValueError):  # it is just being begun
                self._waiting.remove(flight)
        return True

    def shift(self, by: timedelta) -> None:
        """Move every deadline: the clock was set by so much."""
        for flight in self.flights():
            if flight.deadline is not None:
                flight.deadline += by

    # --- how -------------------------------------------------------------------------------

    def _is_taken(self, flight: Flight) -> bool:
        """Take a flight out of what is leased; False if somebody has."""
        try:
            del self._leased[flight]
        except KeyError:
            return False
        return True

    def _launch(self, at: datetime, flight: Flight | None) -> None:
        """Call the handler of `flight`, which has a slot, if there is one; then fill free slots."""
        here = self._launching
        here.at = at
        if self._is_launching:
            return  # who called the handler that has ended goes on
        here.is_under_way = True
        try:
            flight = flight or self._in_free_slot(at)
            while flight is not None:
                self._fly(flight)
                flight = self._in_free_slot(here.at)
        finally:
            here.is_under_way = False

    @property
    def _is_launching(self) -> bool:
        """Whether this thread is about to look for the next job anyway."""
        return getattr(self._launching, "is_under_way", False)

    def _in_same_slot(self, at: datetime) -> Flight | None:
        """The next job, begun in the slot that this thread has; None if that is to be left."""
        if self._is_launching or self._running > self._capacity():
            return None
        return self._next(at)

    def _in_free_slot(self, at: datetime) -> Flight | None:
        """The next job, begun in a slot that was free; None where there are not both."""
        while self._takes_slot(at):
            flight = self._next(at)
            if flight is not None:
                return flight
            self._leave_slot()  # and look again: more may have come before it was left
        return None

    def _takes_slot(self, at: datetime) -> bool:
        """Take a slot, if one is free and a job waits for it."""
        if not self._waiting or self._running >= self._capacity() or not self._is_held(at):
            return False
        with self._counting:
            if self._running >= self._capacity():
                return False
            self._running += 1
            return True

    def _leave_slot(self) -> None:
        with self._counting:
            self._running -= 1

    def _is_held(self, at: datetime) -> bool:
        """Whether what waits is not another's by then; if it may be, the next tick sees."""
        return self._held_until is None or at < self._held_until

    def _next(self, at: datetime) -> Flight | None:
        """The next job that waits, begun at `at`."""
        flight = None
        while flight is None or flight.abandoned:
            if not self._is_held(at):  # asked before each pop: for whom waits now, it only grows
                return None
            try:
                flight = self._waiting.popleft()
            except IndexError:
                return None
        job = flight.job
        if job.started_at != at:  # leased ahead
            flight.job = replace(job, started_at=at)
        if job.timeout is not None:
            flight.deadline = at + job.timeout
        flight.started_at = at
        return flight

    def _fly(self, flight: Flight) -> None:
        faults.point("executor.start.before")
        assert flight.started_at is not None  # noqa: S101 - by `_next`
        self._started(flight.job, flight.started_at)
        try:
            self._begin(flight.job, partial(self._land, flight))
        except BaseException as error:
            log.exception("job could not be started", job=flight.job.name, id=flight.job.id)
            if not flight.landed:
                self._land(flight, Failed(described(error)))
        if flight.abandoned:  # before there was anything to tell
            self._cancel(flight.job.id)

    def _land(self, flight: Flight, outcome: Outcome) -> None:
        at = self._clock()
        following = self._in_same_slot(at)
        if following is None:
            self._leave_slot()
        # Only now: who takes it in is to see what became of its slot.
        self._landed.append(Landing(flight, outcome, at))
        flight.landed = True  # after it: so it is never neither under way nor landed
        if self._waiters:
            with self._changed:
                self._changed.notify_all()
        # In a context of its own: the next handler sees no variable of this one.
        Context().run(self._launch, at, following)
        self._was_landed()
