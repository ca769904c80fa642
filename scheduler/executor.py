"""The executor loop: acquires due jobs into free slots, starts them, writes how they ended.

One tick is a pipeline of named steps: take in what ended, give up what ran past its deadline, renew
leases, rescue what others abandoned, settle and lease in one exchange, start. The tick never waits;
it returns when it next needs to run. Where a store can do both at once, what ended is settled by a
duty of its own while the tick leases.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from scheduler import faults
from scheduler.errors import StorageUnavailable
from scheduler.events import EventName, Events
from scheduler.flow import Limit
from scheduler.handlers.outcomes import Done
from scheduler.logs import logger
from scheduler.model import (
    Committed,
    Failed,
    Job,
    Outcome,
    Released,
    Settlement,
)
from scheduler.polling import Ahead, Polling
from scheduler.retries import RetryPolicy
from scheduler.settling import Ended, Settler
from scheduler.slots import Flight, Slots
from scheduler.storage import JobStorage

log = logger(__name__)

EXPANSION_PAUSE = timedelta(milliseconds=10)
"""How soon to look again for the job of an occurrence that is due and not yet queued."""

LOST_RACE_PAUSE = timedelta(milliseconds=10)
"""How soon to look again for a job that is due and was not handed out: another holds its row."""

EXPANSION_PATIENCE = timedelta(seconds=1)
"""How long to look that often; after it, expansion is late and ordinary polling goes on."""

LONGEST_DRAIN_WAIT = 0.5
"""Seconds between two looks at a drain: how soon a second signal is heeded."""

LONGEST_WAIT_AHEAD = timedelta(milliseconds=250)
"""How long a job that was leased ahead of free slots, without being asked to, waits for one."""

LOOK = timedelta(seconds=1)
"""How often is looked whether a job that runs on has been cancelled meanwhile."""


class Executor:
    """Runs the jobs of one storage: those of `queue` that `handler_names` can handle.

    `begin` has a handler called and its outcome told; `cancel` tells it to end.
    `wake` is called, from any thread, when a tick is needed sooner than the last one said, and
    `ended` when `settle` is, if it is a duty of its own (`settles_apart`).
    `retries` gives the policy of the jobs of a name, `limits` those of each name that has any.
    Jobs that have been due for `ageing` go before all others. `clock` is the time that ticks are
    in.
    """

    def __init__(
        self,
        storage: JobStorage,
        *,
        begin: Callable[[Job, Done], object],
        cancel: Callable[[str], None],
        handler_names: Callable[[], Collection[str]],
        limits: Callable[[], Mapping[str, Limit]],
        retries: Callable[[str], RetryPolicy],
        events: Events,
        wake: Callable[[], None],
        ended: Callable[[], None],
        clock: Callable[[], datetime],
        polling: Polling,
        queue: str | None,
        prefetch: int,
        ageing: timedelta | None,
        ttl: timedelta,
        worker: str,
    ) -> None:
        self._storage = storage
        self._handler_names = handler_names
        self._limits = limits
        self._events = events
        self._wake = wake
        self._ended = ended
        self._clock = clock
        self.polling = polling
        self._ahead = Ahead()
        self._queue = queue
        self._prefetch = prefetch
        self._ageing = ageing
        self._ttl = ttl
        self._worker = worker
        self._slots = Slots(
            begin=begin,
            cancel=cancel,
            capacity=lambda: self.polling.concurrency,
            clock=clock,
            started=lambda job, at: events.tell(EventName.STARTED, at, job),
            landed=self._landed,
        )
        self._settler = Settler(storage, retries=retries, events=events)
        self._look_at: datetime | None = None
        self._renew_at: datetime | None = None
        self._rescue_at: datetime | None = None
        self._refilled_all = False
        self._has_more = False
        self._ticking = threading.Lock()
        self.settles_apart = False
        """Whether `settle` is called beside the ticks; until a drain, they leave it to that."""
        self._is_hurried = False  # no Event: a signal's handler sets it, whatever it interrupts

    @property
    def running(self) -> int:
        """How many slots are taken, by handlers under way or past their deadline."""
        return self._slots.running

    @property
    def held(self) -> int:
        """How many jobs are leased and not yet settled."""
        return len(self._slots.leased()) + len(self._settler)

    @property
    def _unwritten(self) -> int:
        """How many attempts have ended and are not yet settled."""
        return self._slots.landed + len(self._settler)

    def tick(self, now: datetime, *, acquiring: bool = True) -> datetime | None:
        """Do everything due at `now`; when to be called next, None if nothing is known.

        Raises StorageUnavailable if the store cannot be reached: outcomes not yet written are
        kept and written by a later tick.
        """
        with self._ticking:
            if not self.settles_apart:
                self._collect()
            self._give_up(now)
            self._renew(now)
            self._look(now)
            if acquiring:
                self._rescue(now)
                self._give_back(now)
                self._refill(now)
                self._slots.launch(now)
            else:
                self._settle_here(now)
            return self._next_tick_at(now, acquiring=acquiring)

    def settle(self, now: datetime) -> None:
        """Write how handlers ended, if `settles_apart`: the duty beside the ticks.

        Raises StorageUnavailable; what was not written then is by a later call.
        """
        if self.settles_apart and self._unwritten:
            self._collect()
            self._settler.settle(now)
            self._wake()  # what was in the way of other jobs is no more

    def _landed(self) -> None:
        """A handler has ended; called on its thread."""
        if self.settles_apart:
            self._ended()
            if not (self._has_more and self._is_low()):
                return
        self._wake()

    # --- the steps of a tick ---------------------------------------------------------------

    def _collect(self) -> None:
        """Take in the handlers that returned."""
        for landing in self._slots.take_landed():
            faults.point("executor.landed")
            # Given up before it landed, it counts only if it is written already.
            if not landing.flight.abandoned or isinstance(landing.outcome, Committed):
                self._end(landing.flight, landing.outcome, landing.at)

    def _end(self, flight: Flight, outcome: Outcome, at: datetime) -> None:
        self._settler.add(Ended(flight.job, flight.token, outcome, at, flight.started_at))

    def _give_up(self, now: datetime) -> None:
        """End the attempts that ran past their deadline. Their slots stay taken until they stop."""
        for flight in self._slots.flights():
            timeout = flight.job.timeout
            if timeout is None or flight.deadline is None or now < flight.deadline:
                continue
            seconds = timeout.total_seconds()
            if self._slots.let_go(flight):  # else it has just landed
                log.warning("job timed out", job=flight.job.name, id=flight.job.id, seconds=seconds)
                self._end(flight, Failed(f"timed out after {seconds:g} s"), now)
                self._ended()

    def _renew(self, now: datetime) -> None:
        """Renew every lease at a third of its life: of what runs, waits, or is to be settled."""
        if not self.held:
            self._renew_at = None
            return
        if self._renew_at is not None and now < self._renew_at:
            return
        leased = {each.job.id: each for each in self._slots.leased()}
        tokens = self._settler.tokens() | {job_id: each.token for job_id, each in leased.items()}
        faults.point("executor.renew.before")
        held = self._storage.renew_leases(tokens, expires_at=now + self._ttl)
        faults.point("executor.renew.after")
        self._renew_at = now + self._ttl / 3
        for job_id in leased.keys() - held:
            self._lose(leased[job_id], now)
        self._slots.renewed(now + self._ttl)

    def _look(self, now: datetime) -> None:
        """Let go of the jobs, running or waiting, whose lease is gone: they were called off."""
        if self._look_at is not None and now < self._look_at:
            return
        self._look_at = now + LOOK
        since = now - LOOK
        held = {
            each.job.id: each
            for each in self._slots.held()
            if each.job.started_at is not None and each.job.started_at <= since
        }
        if held:
            tokens = {job_id: each.token for job_id, each in held.items()}
            for job_id in tokens.keys() - self._storage.held_leases(tokens):
                self._lose(held[job_id], now)

    def ask_leases(self) -> None:
        """Look at the next tick which leases still hold: a job under way may be cancelled."""
        self._renew_at = None
        self._wake()

    def _lose(self, flight: Flight, now: datetime) -> None:
        """Let go of a job, if it is held, that was cancelled or leased to somebody anew."""
        if self._slots.let_go(flight) and flight.started_at is not None:
            log.warning("lease lost", job=flight.job.name, id=flight.job.id)
            self._events.tell(EventName.LEASE_LOST, now, flight.job)

    def _rescue(self, now: datetime) -> None:
        """Settle as failed attempts the jobs whose executor stopped renewing their lease."""
        if self._rescue_at is not None and now < self._rescue_at:
            return
        self._rescue_at = now + self._ttl / 12
        self._settler.rescue(now)

    def shift(self, by: timedelta) -> None:
        """Go on as before after the clock was set by so much: attempts take as long as they take.

        Leases are renewed at once, and nobody is rescued until all others could do so, too.
        """
        with self._ticking:
            self._slots.shift(by)
            self._renew_at = self._look_at = None
            self._rescue_at = self._clock() + self._ttl / 3
        self._wake()

    def _give_back(self, now: datetime) -> None:
        """Let others have what was leased ahead, by a guess, and has waited for too long."""
        since = self._slots.waiting_since(self._prefetch)
        if since is not None and since <= now - LONGEST_WAIT_AHEAD:
            for flight in self._slots.unstock(keep=self._prefetch):
                self._end(flight, Released(), now)
            self._ended()
            self._ahead = Ahead()

    def _refill(self, now: datetime) -> None:
        """Settle what ended, unless another does, and lease due jobs for the slots, and ahead."""
        wanted = self._wanted(now)
        names = self._handler_names() if wanted else ()
        self._refilled_all = False
        if not names or not self._storage.exchanges_at_once:
            self._settle_here(now)
        if not names:
            return
        asked = {
            "handler_names": names,
            "queue": self._queue,
            "ttl": self._ttl,
            "worker": self._worker,
            "now": now,
            **self._flow(now),
        }
        if self._storage.exchanges_at_once:
            acquired = self._exchanged(wanted, asked, now)
        else:
            faults.point("executor.acquire.before")
            acquired = self._storage.acquire_next_jobs(wanted, **asked)
            faults.point("executor.acquire.after")
        self._take_in(acquired, wanted, now)

    def _settle_here(self, now: datetime) -> None:
        """Settle what ended, if no other duty does."""
        if not self.settles_apart:
            self._settler.settle(now)

    def _exchanged(self, wanted: int, asked: Mapping[str, Any], now: datetime) -> list[Job]:
        """Settle what ended, and lease jobs in the same exchange."""
        acquired: list[Job] | None = None

        def exchange(settlements: Sequence[Settlement]) -> list[bool]:
            nonlocal acquired
            faults.point("executor.acquire.before")
            held, acquired = self._storage.settle_and_acquire(settlements, wanted, **asked)
            faults.point("executor.acquire.after")
            return held

        self._settler.settle(now, exchange)
        if acquired is None:  # nothing was to be settled, or not together with this
            exchange(())
        return acquired or []

    def _wanted(self, now: datetime) -> int:
        """How many jobs to ask for: those for free slots, and those ahead, once they run low."""
        if not self._is_low() or self._is_behind():
            return 0
        waiting, free = self._slots.stocked, self._slots.free
        self._ahead = self._ahead.at(now, waiting=waiting, slots=self.polling.concurrency)
        if self._limits():  # which count from the lease on: what waits would hold others up
            self._ahead = Ahead()
        return max(0, free + self._most_ahead)

    def _is_low(self) -> bool:
        """Whether there are free slots, or soon will be with nothing to fill them."""
        return self._slots.free > 0 or self._slots.stocked <= self._most_ahead // 2

    def _is_behind(self) -> bool:
        """Whether more has ended than is held at a time, and is not yet settled by its own duty.

        Else a store that is slow to take outcomes would be ever further behind.
        """
        most = self.polling.concurrency + self._most_ahead
        return self.settles_apart and self._unwritten > most

    @property
    def _most_ahead(self) -> int:
        """How many jobs are leased beyond the free slots."""
        return max(self._prefetch, self._ahead.size)

    def _take_in(self, jobs: Sequence[Job], wanted: int, now: datetime) -> None:
        # One that was called off and tried again is here already, as it was.
        held = {each.job.id: each for each in self._slots.held()} if jobs else {}
        for job_id in held.keys() & {job.id for job in jobs}:
            self._lose(held[job_id], now)
        self._slots.stock(jobs, now + self._ttl)
        if jobs and self._renew_at is None:
            self._renew_at = now + self._ttl / 3
        self._refilled_all = self._has_more = len(jobs) == wanted
        stock = self._slots.stocked
        self._ahead = self._ahead.asked(now, stock=stock, was_full=self._refilled_all)
        if jobs and self._prefetch:
            detail: dict[str, Any] = {"acquired": len(jobs), "buffered": stock}
            self._events.tell(EventName.BUFFER_REFILL_SUCCESS, now, **detail)
        self._adapt(len(jobs), now)

    def _flow(self, now: datetime) -> dict[str, Any]:
        """What of limits and ageing there is to ask the store for."""
        flow: dict[str, Any] = {}
        if limits := self._limits():
            flow["limits"] = limits
        if self._ageing is not None:
            flow["aged_before"] = now - self._ageing
        return flow

    def _adapt(self, acquired: int, now: datetime) -> None:
        before = self.polling
        self.polling = before.after(acquired=acquired, running=self.running + acquired)
        if self.polling.interval != before.interval:
            detail: dict[str, Any] = {
                "interval": self.polling.interval.total_seconds(),
                "concurrency": self.polling.concurrency,
            }
            self._events.tell(EventName.POLLING_INTERVAL_UPDATED, now, **detail)

    # --- when next -------------------------------------------------------------------------

    def _next_tick_at(self, now: datetime, *, acquiring: bool) -> datetime | None:
        held = self._slots.held()
        moments = [each.deadline for each in held if each.deadline is not None]
        if self._renew_at is not None:
            moments.append(self._renew_at)
        if held and self._look_at is not None:
            moments.append(self._look_at)
        since = self._slots.waiting_since(self._prefetch)
        if since is not None:
            moments.append(since + LONGEST_WAIT_AHEAD)
        if self._slots.landed and not self.settles_apart:
            moments.append(now)
        if acquiring and self.running < self.polling.concurrency:
            moments.append(now if self._refilled_all else self._next_poll_at(now))
        return min(moments, default=None)

    def _next_poll_at(self, now: datetime) -> datetime:
        """When to ask for jobs again: the polling interval, or a known due time before it."""
        if self._is_behind():  # and woken once it is not
            return now + self.polling.interval
        job_at, schedule_at = self._next_instants(now)
        moments = [now + self.polling.interval]
        if job_at is not None:
            moments.append(job_at if job_at > now else now + LOST_RACE_PAUSE)
        if schedule_at is not None and schedule_at > now:
            moments.append(schedule_at)
        elif schedule_at is not None and now - schedule_at < EXPANSION_PATIENCE:
            moments.append(now + EXPANSION_PAUSE)
        return min(moments)

    def _next_instants(self, now: datetime) -> tuple[datetime | None, datetime | None]:
        """When the next job that no limit holds back is due, and the next schedule."""
        names, limited = self._handler_names(), list(self._limits())
        if names and not limited:
            return self._storage.next_instants(handler_names=names, queue=self._queue)
        free = [name for name in names if name not in limited]
        found = [self._storage.next_job_at(handler_names=free, queue=self._queue)] if free else []
        if limited:  # what of these is due now and was not taken waits for others to end
            found.append(
                self._storage.next_job_at(handler_names=limited, queue=self._queue, after=now)
            )
        job_at = min((at for at in found if at is not None), default=None)
        return job_at, self._storage.next_schedule_at()

    # --- stopping, and driving by hand -----------------------------------------------------

    def drain(self, grace: timedelta) -> int:
        """Acquire nothing more, wait up to `grace` for what runs, give the rest back.

        Returns how many handlers were still running; their jobs are pending again and their
        outcomes, should they end, are dropped. While the store cannot be reached, what is to
        be written is tried again; raises StorageUnavailable if it still cannot when the grace
        is over.
        """
        until = time.monotonic() + grace.total_seconds()
        self.settles_apart = False
        for flight in self._slots.unstock():
            self._end(flight, Released(), self._clock())
        faults.point("executor.drain.before")
        while self._is_unsettled():
            left = until - time.monotonic()
            if left <= 0 or self._is_hurried:
                break
            self._pause(min(left, LONGEST_DRAIN_WAIT, self._ttl.total_seconds() / 6))
        self._is_hurried = False
        left_running = self._let_go(self._clock())
        faults.point("executor.drain.release")
        self._settler.settle(self._clock())
        return left_running

    def _is_unsettled(self) -> bool:
        """Whether handlers run, or outcomes could not be written, after a tick without new jobs."""
        try:
            self.tick(self._clock(), acquiring=False)
        except StorageUnavailable as error:
            log.warning("the store cannot be reached; trying again", error=str(error))
            return True
        return bool(self._slots.held())

    def _pause(self, seconds: float) -> None:
        if self._slots.held():
            self.wait(seconds)
        else:
            time.sleep(seconds)

    def _let_go(self, now: datetime) -> int:
        """Take in the handlers that returned, give back the jobs of the others; their number."""
        left_running = 0
        self._collect()
        for flight in self._slots.held():
            if self._slots.let_go(flight):  # else it has just landed
                self._end(flight, Released(), now)
                left_running += 1
        self._collect()
        return left_running

    def hurry(self) -> None:
        """End the grace of a drain under way."""
        self._is_hurried = True

    def wait(self, seconds: float | None = None) -> None:
        """Wait until a handler ends, at most `seconds`; returns at once if none is running."""
        self._slots.wait(seconds)

    def run_until_idle(self, now: datetime) -> None:
        """Tick at `now`, waiting for handlers, until nothing due is left. For tests and scripts."""
        while True:
            self.tick(now)
            if not self.held:
                return
            self.wait()
