"""The executor loop: acquires due jobs into free slots, starts them, writes how they ended.

One tick is a pipeline of named steps: settle what ended, give up what ran past its deadline,
renew leases, rescue what others abandoned, refill, start. Every write is fenced by the lease
token: who lost a lease learns it from the store and its outcome is dropped. The tick
never waits; it returns when it next needs to run.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from concurrent import futures
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

from scheduler import clock, lifecycle
from scheduler.errors import InvalidData, StorageError, StorageUnavailable, described
from scheduler.events import Event, EventName
from scheduler.logs import logger
from scheduler.model import (
    Completed,
    Expired,
    Failed,
    Job,
    JobStatus,
    Outcome,
    Released,
    Settlement,
)
from scheduler.polling import Polling
from scheduler.signature import to_json
from scheduler.storage import JobStorage

log = logger(__name__)

EXPANSION_PAUSE = timedelta(milliseconds=10)
"""How soon to look again for the job of an occurrence that is due and not yet queued."""

EXPANSION_PATIENCE = timedelta(seconds=1)
"""How long to look that often; after it, expansion is late and ordinary polling goes on."""

LONGEST_DRAIN_WAIT = 0.5
"""Seconds between two looks at a drain: how soon a second signal is heeded."""

_SETTLED_EVENT = {
    JobStatus.COMPLETED: EventName.COMPLETED,
    JobStatus.FAILED: EventName.FAILED,
}


@dataclass(frozen=True, slots=True)
class Flight:
    """A job whose handler has been called."""

    job: Job
    token: str
    future: Future[Outcome]
    started_at: datetime
    deadline: datetime | None


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt that is over, and not yet written."""

    job: Job
    token: str
    outcome: Outcome
    at: datetime


class Executor:
    """Runs the jobs of one storage: those of `queue` that `handler_names` can handle.

    `start` calls a handler and gives the future of its outcome; `cancel` tells it to end.
    `wake` is called, from any thread, when a tick is needed sooner than the last one said.
    """

    def __init__(
        self,
        storage: JobStorage,
        *,
        start: Callable[[Job], Future[Outcome]],
        cancel: Callable[[str], None],
        handler_names: Callable[[], Collection[str]],
        emit: Callable[[Event], None],
        wake: Callable[[], None],
        polling: Polling,
        queue: str | None,
        prefetch: int,
        ttl: timedelta,
        worker: str,
    ) -> None:
        self._storage = storage
        self._start = start
        self._cancel = cancel
        self._handler_names = handler_names
        self._emit = emit
        self._wake = wake
        self.polling = polling
        self._queue = queue
        self._prefetch = prefetch
        self._ttl = ttl
        self._worker = worker
        self._buffer: deque[Job] = deque()
        self._flights: dict[str, Flight] = {}
        self._overrunning: set[Future[Outcome]] = set()
        self._landed: deque[tuple[Flight, datetime]] = deque()
        self._ended: list[Ended] = []
        self._renew_at: datetime | None = None
        self._rescue_at: datetime | None = None
        self._refilled_all = False
        self._ticking = threading.Lock()
        self._hurried = threading.Event()

    @property
    def running(self) -> int:
        """How many slots are taken, by handlers under way or past their deadline."""
        return len(self._flights) + len(self._overrunning)

    @property
    def held(self) -> int:
        """How many jobs are leased and not yet settled."""
        return len(self._flights) + len(self._buffer) + len(self._ended) + len(self._landed)

    def tick(self, now: datetime, *, acquiring: bool = True) -> datetime | None:
        """Do everything due at `now`; when to be called next, None if nothing is known.

        Raises StorageUnavailable if the store cannot be reached: outcomes not yet written are
        kept and written by a later tick.
        """
        with self._ticking:
            self._collect(now)
            self._give_up(now)
            self._settle(now)
            self._renew(now)
            if acquiring:
                self._rescue(now)
                self._refill(now)
                self._launch(now)
            return self._next_tick_at(now, acquiring=acquiring)

    # --- the steps of a tick ---------------------------------------------------------------

    def _collect(self, now: datetime) -> None:
        """Take in the handlers that returned."""
        self._overrunning = {future for future in self._overrunning if not future.done()}
        while self._landed:
            flight, at = self._landed.popleft()
            if self._flights.get(flight.job.id) is flight:
                del self._flights[flight.job.id]
                self._ended.append(Ended(flight.job, flight.token, _outcome(flight.future), at))

    def _give_up(self, now: datetime) -> None:
        """End the attempts that ran past their deadline. Their slots stay taken until they stop."""
        for job_id, flight in list(self._flights.items()):
            if flight.deadline is None or now < flight.deadline:
                continue
            seconds = (flight.deadline - flight.started_at).total_seconds()
            log.warning("job timed out", job=flight.job.name, id=job_id, seconds=seconds)
            self._abandon(flight)
            failed = Failed(f"timed out after {seconds:g} s")
            self._ended.append(Ended(flight.job, flight.token, failed, now))

    def _abandon(self, flight: Flight) -> None:
        """Stop waiting for a handler, tell it so, and account for the slot it still holds."""
        del self._flights[flight.job.id]
        self._cancel(flight.job.id)
        if not flight.future.done():
            self._overrunning.add(flight.future)

    def _settle(self, now: datetime) -> None:
        """Write what ended, in one batch, fenced; drop the outcomes of leases that were lost."""
        if not self._ended:
            return
        settled = [lifecycle.settle(each.job, each.outcome, now=each.at) for each in self._ended]
        written = self._storage.settle_jobs(
            [Settlement(job, each.token) for job, each in zip(settled, self._ended, strict=True)]
        )
        self._ended.clear()
        for job, is_written in zip(settled, written, strict=True):
            if is_written:
                self._tell_settled(job, now)
            else:
                log.warning("outcome dropped: the lease was lost", job=job.name, id=job.id)
                self._emit(Event(EventName.LEASE_LOST, now, job))

    def _tell_settled(self, job: Job, now: datetime) -> None:
        if job.status is JobStatus.PENDING:
            name = EventName.RELEASED if job.started_at is None else EventName.RETRYING
        else:
            name = _SETTLED_EVENT[job.status]
        self._emit(Event(name, now, job))

    def _renew(self, now: datetime) -> None:
        """Renew every lease, running or waiting, at a third of its life."""
        tokens = {job.id: _token(job) for job in self._buffer}
        tokens |= {job_id: flight.token for job_id, flight in self._flights.items()}
        if not tokens:
            self._renew_at = None
            return
        if self._renew_at is not None and now < self._renew_at:
            return
        held = self._storage.renew_leases(tokens, expires_at=now + self._ttl)
        self._renew_at = now + self._ttl / 3
        for job_id in tokens.keys() - held:
            self._lose(job_id, now)

    def ask_leases(self) -> None:
        """Look at the next tick which leases still hold: a job under way may be cancelled."""
        self._renew_at = None
        self._wake()

    def _lose(self, job_id: str, now: datetime) -> None:
        """Let go of a job that was cancelled, or that another executor has taken over."""
        self._buffer = deque(job for job in self._buffer if job.id != job_id)
        flight = self._flights.get(job_id)
        if flight is not None:
            log.warning("lease lost", job=flight.job.name, id=job_id)
            self._abandon(flight)
            self._emit(Event(EventName.LEASE_LOST, now, flight.job))

    def _rescue(self, now: datetime) -> None:
        """Settle as failed attempts the jobs whose executor stopped renewing their lease."""
        if self._rescue_at is not None and now < self._rescue_at:
            return
        self._rescue_at = now + self._ttl / 12
        # All of them, batch by batch, as long as it is this executor that rescues them.
        while self._rescue_some(now):
            pass

    def _rescue_some(self, now: datetime) -> bool:
        """Rescue a batch; whether any of it was there to be rescued."""
        settlements = [
            Settlement(lifecycle.settle(job, Expired(), now=now), _token(job), expired_by=now)
            for job in self._storage.get_expired_jobs(now)
        ]
        written = self._storage.settle_jobs(settlements) if settlements else []
        for settlement, is_written in zip(settlements, written, strict=True):
            if is_written:
                job = settlement.job
                log.warning("job rescued", job=job.name, id=job.id, worker=job.worker)
                self._emit(Event(EventName.RESCUED, now, job))
                self._tell_settled(job, now)
        return any(written)

    def _refill(self, now: datetime) -> None:
        """Lease due jobs for the free slots and, where asked for, a few ahead of them."""
        free = max(0, self.polling.concurrency - self.running) - len(self._buffer)
        wanted = free + self._prefetch
        self._refilled_all = False
        is_stocked = free <= 0 and len(self._buffer) > self._prefetch // 3
        if wanted <= 0 or (self._prefetch and is_stocked):
            return
        names = self._handler_names()
        jobs = (
            self._storage.acquire_next_jobs(
                wanted,
                handler_names=names,
                queue=self._queue,
                ttl=self._ttl,
                worker=self._worker,
                now=now,
            )
            if names
            else []
        )
        self._buffer.extend(jobs)
        if jobs and self._renew_at is None:
            self._renew_at = now + self._ttl / 3
        self._refilled_all = len(jobs) == wanted
        if jobs and self._prefetch:
            detail = {"acquired": len(jobs), "buffered": len(self._buffer)}
            self._emit(Event(EventName.BUFFER_REFILL_SUCCESS, now, detail=detail))
        self._adapt(len(jobs), now)

    def _adapt(self, acquired: int, now: datetime) -> None:
        before = self.polling
        self.polling = before.after(acquired=acquired, running=self.running + acquired)
        if self.polling.interval != before.interval:
            detail = {
                "interval": self.polling.interval.total_seconds(),
                "concurrency": self.polling.concurrency,
            }
            self._emit(Event(EventName.POLLING_INTERVAL_UPDATED, now, detail=detail))

    def _launch(self, now: datetime) -> None:
        """Call the handlers of leased jobs while there are free slots."""
        while self._buffer and self.running < self.polling.concurrency:
            job = self._buffer.popleft()
            if job.started_at != now:  # leased ahead
                job = replace(job, started_at=now)
            self._emit(Event(EventName.STARTED, now, job))
            future = self._begin(job)
            deadline = None if job.timeout is None else now + job.timeout
            flight = Flight(job, _token(job), future, now, deadline)
            self._flights[job.id] = flight
            future.add_done_callback(partial(self._land, flight))

    def _begin(self, job: Job) -> Future[Outcome]:
        """The future of the handler of `job`; what a `start` of somebody's own raises fails it."""
        try:
            future: object = self._start(job)
            if not isinstance(future, Future):
                raise TypeError(f"process_job returned {future!r} in place of a Future")
            return future
        except Exception as error:
            log.exception("job could not be started", job=job.name, id=job.id)
            refused: Future[Outcome] = Future()
            refused.set_exception(error)
            return refused

    def _land(self, flight: Flight, _: Future[Outcome]) -> None:
        self._landed.append((flight, clock.now()))
        self._wake()

    # --- when next -------------------------------------------------------------------------

    def _next_tick_at(self, now: datetime, *, acquiring: bool) -> datetime | None:
        moments = [flight.deadline for flight in self._flights.values() if flight.deadline]
        if self._renew_at is not None:
            moments.append(self._renew_at)
        if self._landed:
            moments.append(now)
        if acquiring and self.running < self.polling.concurrency:
            moments.append(now if self._refilled_all else self._next_poll_at(now))
        return min(moments, default=None)

    def _next_poll_at(self, now: datetime) -> datetime:
        """When to ask for jobs again: the polling interval, or a known due time before it."""
        poll_at = now + self.polling.interval
        job_at = self._storage.next_job_at(handler_names=self._handler_names(), queue=self._queue)
        known = [] if job_at is None else [max(job_at, now)]
        schedule_at = self._storage.next_schedule_at()
        if schedule_at is not None and schedule_at > now:
            known.append(schedule_at)
        elif schedule_at is not None and now - schedule_at < EXPANSION_PATIENCE:
            known.append(now + EXPANSION_PAUSE)
        return min([poll_at, *known])

    # --- stopping, and driving by hand -----------------------------------------------------

    def drain(self, grace: timedelta) -> int:
        """Acquire nothing more, wait up to `grace` for what runs, give the rest back.

        Returns how many handlers were still running; their jobs are pending again and their
        outcomes, should they end, are dropped. While the store cannot be reached, what is to
        be written is tried again; raises StorageUnavailable if it still cannot when the grace
        is over.
        """
        until = time.monotonic() + grace.total_seconds()
        now = clock.now()
        self._ended.extend(Ended(job, _token(job), Released(), now) for job in self._buffer)
        self._buffer.clear()
        while self._is_unsettled():
            left = until - time.monotonic()
            if left <= 0 or self._hurried.is_set():
                break
            self._pause(min(left, LONGEST_DRAIN_WAIT, self._ttl.total_seconds() / 6))
        self._hurried.clear()
        left_running = self._let_go(clock.now())
        self._settle(clock.now())
        return left_running

    def _is_unsettled(self) -> bool:
        """Whether handlers run, or outcomes could not be written, after a tick without new jobs."""
        try:
            self.tick(clock.now(), acquiring=False)
        except StorageUnavailable as error:
            log.warning("the store cannot be reached; trying again", error=str(error))
            return True
        return bool(self._flights)

    def _pause(self, seconds: float) -> None:
        if self._flights:
            self.wait(seconds)
        else:
            self._hurried.wait(seconds)

    def _let_go(self, now: datetime) -> int:
        """Take in the handlers that returned, give back the jobs of the others; their number."""
        left_running = 0
        for flight in list(self._flights.values()):
            if flight.future.done():
                del self._flights[flight.job.id]
                outcome = _outcome(flight.future)
            else:
                self._abandon(flight)
                outcome = Released()
                left_running += 1
            self._ended.append(Ended(flight.job, flight.token, outcome, now))
        return left_running

    def hurry(self) -> None:
        """End the grace of a drain under way."""
        self._hurried.set()

    def wait(self, seconds: float | None = None) -> None:
        """Wait until a handler ends, at most `seconds`; returns at once if none is running."""
        under_way = [flight.future for flight in self._flights.values()]
        # Where every slot is held by a handler past its deadline, its end is what frees one.
        under_way += [] if under_way else self._overrunning
        if under_way and not self._landed:
            futures.wait(under_way, timeout=seconds, return_when=futures.FIRST_COMPLETED)

    def run_until_idle(self, now: datetime) -> None:
        """Tick at `now`, waiting for handlers, until nothing due is left. For tests and scripts."""
        while True:
            self.tick(now)
            if not self.held:
                return
            self.wait()


def _token(job: Job) -> str:
    if job.lease is None:
        raise StorageError(f"job {job.id}: the storage handed it out without a lease")
    return job.lease.token


def _outcome(future: Future[Outcome]) -> Outcome:
    """The outcome of a future that is done; whatever it raised is a failure."""
    if future.cancelled():
        return Failed("cancelled")
    error = future.exception()
    if error is not None:
        return Failed(described(error))
    # A subclass's process_job may hand back anything; a bare value is its result.
    outcome: object = future.result()
    if isinstance(outcome, (Failed, Released)):
        return outcome
    result = outcome.result if isinstance(outcome, Completed) else outcome
    try:
        to_json(result, "result")
    except InvalidData as refusal:
        return Failed(described(refusal))
    return Completed(result)
