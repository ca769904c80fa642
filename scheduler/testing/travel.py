"""Travel: schedules lived through in simulated time, by the real expander and executor.

Time hops from one wake time to the next: an occurrence, a due job, a deadline, a lease to renew,
the end of a slow handler. At each, the clock is frozen there, and whatever is due is done, on a
real storage, in one thread. Nothing sleeps, so that a year takes as long as its runs do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import ModuleType, TracebackType
from typing import Any, Self

from freezegun import freeze_time
from freezegun.api import FrozenDateTimeFactory

from scheduler import clock
from scheduler.errors import InvalidOption, UnknownName
from scheduler.events import Event, EventName
from scheduler.expander import ClockWatch
from scheduler.handlers import Runner
from scheduler.model import Job
from scheduler.queue import JobQueue
from scheduler.registry import JobDefinition, Registry, check_duration, discover, marks
from scheduler.rules.zones import parse_moment, zone
from scheduler.storage import JobStorage, open_storage
from scheduler.storage.base import DEFAULT_TTL
from scheduler.testing.inline import InlineRunner, Staging
from scheduler.testing.runs import Attempt, Run, Skipped, text

START = "2026-01-01T00:00:00Z"
"""Where a test is that did not say."""

_IDLE = timedelta(days=365)
"""How often an idle executor polls: what there is to do is known here, and polls find nothing."""

_ENDS = {
    EventName.COMPLETED,
    EventName.FAILED,
    EventName.RETRYING,
    EventName.RELEASED,
    EventName.LEASE_LOST,
    EventName.RESCUED,
    EventName.CANCELLED,
}


@dataclass(frozen=True)
class Outage:
    """A window [start, end) in which a part of the service is down; None: all of it."""

    start: datetime
    end: datetime
    part: str | None


class Travel:
    """Simulated time, and what happens in it.

    `storage` is a JobStorage or the URL of one, `timezone` the zone of wall clocks without an
    offset (and of rules that name none), `concurrency` how many handlers run at a time. Use it
    as a context manager: at its end the clock is thawed and what it opened is closed.
    """

    def __init__(
        self,
        *,
        storage: JobStorage | str = "sqlite://",
        timezone: str = "UTC",
        start: str | datetime = START,
        concurrency: int = 1000,
    ) -> None:
        self._zone = zone(timezone)
        self._url = storage
        self._storage: JobStorage | None = None
        self._concurrency = concurrency
        self._start = parse_moment(start, self._zone, "start")
        self._definitions: dict[str, JobDefinition] = {}
        self._staging = Staging()
        self._queue: _TravelQueue | None = None
        self._outages: list[Outage] = []
        self._wakes: set[datetime] = set()
        self._wanted: list[datetime] = []
        self._elapsed = timedelta(0)
        self._runs: dict[str, Run] = {}
        self._names: dict[str, list[Run]] = {}
        self._freezer: Any = None
        self._frozen: FrozenDateTimeFactory | None = None
        self.hops = 0
        """How many times the clock has moved on."""
        self.events: list[Event] = []
        """Everything that was told, in order, except that a job was scheduled."""

    def __enter__(self) -> Self:
        self._freezer = freeze_time(self._start)
        self._frozen = self._freezer.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._stop()
            if self._storage is not None:
                self._storage.close()
        finally:
            self._freezer.stop()

    # --- what is there ---------------------------------------------------------------------

    def know(self, *given: ModuleType | Callable[..., Any]) -> Self:
        """Take in functions that carry @job, and those of modules."""
        for each in given:
            found = vars(each).values() if isinstance(each, ModuleType) else [each]
            for function in found:
                for definition in marks(function):
                    self._definitions[definition.name] = definition
        self._reload()
        return self

    def add(self, definition: JobDefinition) -> Self:
        """Take in a job that is defined elsewhere."""
        self._definitions[definition.name] = definition
        self._reload()
        return self

    def modules(self, *names: str) -> Self:
        """Take in the jobs of modules, packages with all of their modules, by name."""
        self._definitions |= {each.name: each for each in discover(names)}
        self._reload()
        return self

    def only(self, *names: str) -> Self:
        """Know these jobs and no other."""
        for name in names:
            self._known(name)
        self._definitions = {name: self._definitions[name] for name in names}
        self._reload()
        return self

    def forget(self, name: str) -> Self:
        """Take a job out, as a deploy does whose code no longer has it; then `restart`."""
        self._known(name)
        del self._definitions[name]
        return self

    @property
    def now(self) -> datetime:
        """The simulated instant, in UTC."""
        return clock.now()

    @property
    def storage(self) -> JobStorage:
        """The store that everything is written to."""
        if self._storage is None:
            given = self._url
            self._storage = given if isinstance(given, JobStorage) else open_storage(given)
        return self._storage

    @property
    def queue(self) -> JobQueue:
        """The queue that runs the jobs, for whatever else a test wants of it."""
        return self._started()

    # --- moving ----------------------------------------------------------------------------

    def to(self, moment: str | datetime, *, timezone: str | None = None) -> Self:
        """Be at `moment`, before anything has happened; and, with `timezone`, live there.

        Later: the same as `until`.
        """
        if timezone is not None:
            self._zone = zone(timezone)
        at = self._instant(moment, "to")
        if self._queue is not None:
            return self.until(at)
        self._freeze(at)
        return self

    def until(self, moment: str | datetime) -> Self:
        """Live on until `moment`; what is due then is done, too."""
        end = self._instant(moment, "until")
        if end < self.now:
            at = text(self.now, self._zone)
            raise InvalidOption("until", moment, f"is before {at}, which is now", "use jump")
        self._started()
        while True:
            self._work()
            next_at = self._next_at()
            if next_at is None or next_at > end:
                break
            self._hop(next_at)
        self._hop(end)
        return self

    def forward(self, duration: timedelta | None = None, **units: float) -> Self:
        """Live on for `duration`, or for `days=3, hours=1`."""
        return self.until(self.now + (duration or timedelta(**units)))

    def jump(self, to: str | datetime | None = None, **units: float) -> Self:
        """Set the clock `to` a moment, or on by `hours=1`, or back by `hours=-1`.

        No time passes: nothing is lived through, and what measures time notices.
        """
        at = self.now + timedelta(**units) if to is None else self._instant(to, "jump")
        self._started()
        self._freeze(at)
        return self

    def down(self, start: str | datetime, end: str | datetime, *, part: str | None = None) -> Self:
        """Nothing runs in [start, end): the process dies, its handlers with it, and starts again.

        `part` is "expander" or "executor" where only that one is down. Say it before it happens.
        """
        if part not in (None, "expander", "executor"):
            raise InvalidOption("part", part, "is neither expander nor executor")
        first, last = self._instant(start, "down"), self._instant(end, "down")
        if not self.now <= first < last:
            hint = "give a start from now on, and a later end"
            raise InvalidOption("down", f"{start} to {end}", "is no window to come", hint)
        self._outages.append(Outage(first, last, part))
        return self

    def restart(self) -> Self:
        """A new process with the jobs known now, as after a deploy; what ran is given back."""
        self._stop()
        self._started()
        return self

    # --- staging ---------------------------------------------------------------------------

    def takes(self, name: str, duration: timedelta | None = None, **units: float) -> Self:
        """Let the job `name` take so long from now on, such as `minutes=25`."""
        spent = duration or timedelta(**units)
        self._staging.takes[self._known(name)] = check_duration("takes", spent, zero=True)
        return self

    def fails(
        self, name: str, times: int | None = None, error: Exception | str = "it was told to fail"
    ) -> Self:
        """Let the next `times` attempts of the job `name` fail (None: all), uncalled."""
        raised = RuntimeError(error) if isinstance(error, str) else error
        before = self._staging.functions.get(self._known(name))
        left = times

        def fail(_: dict[str, Any]) -> None:
            nonlocal left
            if left is not None:
                left -= 1
                if left <= 0:
                    self._stand_in(name, before)
            raise raised

        self._staging.functions[name] = fail
        return self

    def record(self, *names: str, returning: Any = None) -> Self:
        """Do not call the handlers of these jobs (none given: of any); their runs are on record."""
        if not names:
            self._staging.recorded = True
        for name in names:
            self._staging.functions[self._known(name)] = lambda _: returning
        return self

    def _stand_in(self, name: str, function: Callable[[dict[str, Any]], Any] | None) -> None:
        if function is None:
            self._staging.functions.pop(name, None)
        else:
            self._staging.functions[name] = function

    # --- what happened ---------------------------------------------------------------------

    def runs(self, name: str | None = None) -> list[Run]:
        """The jobs that have started, of this name (None: all), in the order they did.

        A run equals the ISO text of the wall clock at its start.
        """
        if name is None:
            return list(self._runs.values())
        return list(self._names.get(self._known(name), ()))

    def attempts(self, name: str) -> list[Attempt]:
        """Every call of the handler of `name`, in order; equal to the text of its start."""
        found = [attempt for run in self.runs(name) for attempt in run.attempts]
        return sorted(found, key=lambda attempt: attempt.started_at)

    def outcomes(self, name: str) -> dict[str, int]:
        """How many runs of `name` stand in each status."""
        return dict(Counter(run.status for run in self.runs(name)))

    def occurrences(self, name: str) -> list[str]:
        """The nominal instants that runs of `name` stood for, as wall clock texts."""
        found = [run.occurrence_at for run in self.runs(name)]
        return [text(at, self._zone) for at in found if at is not None]

    def skips(self, schedule: str) -> list[Skipped]:
        """What of a schedule made no job, and why, in order."""
        return [
            Skipped(
                skip.reason.value,
                text(skip.first_at, self._zone),
                text(skip.last_at, self._zone),
                skip.count,
            )
            for skip in self.queue.schedules.skips(schedule)
        ]

    def explain(self, schedule: str, at: str | datetime) -> str:
        """Why a schedule did, or did not, run at a moment: one sentence."""
        return self.queue.schedules.explain(schedule, self._instant(at, "at")).sentence

    # --- how -------------------------------------------------------------------------------

    def _known(self, name: str) -> str:
        if name not in self._definitions and name not in self.queue.registry:
            raise UnknownName("job", name, {*self._definitions, *self.queue.registry.names})
        return name

    def _instant(self, moment: str | datetime, field: str) -> datetime:
        """`moment`, a text or a datetime; without an offset by the clocks of the zone."""
        if isinstance(moment, str) and len(moment) == len("2026-03-29"):
            moment = f"{moment}T00:00:00"
        return parse_moment(moment, self._zone, field)

    def _freeze(self, at: datetime) -> None:
        assert self._frozen is not None, "travel in a with block, or by the fixture"  # noqa: S101
        self._frozen.move_to(at)

    def _hop(self, at: datetime) -> None:
        """Let time pass until `at`."""
        passed = at - self.now
        if passed > timedelta(0):
            self.hops += 1
            self._elapsed += passed
            self._freeze(at)

    def _started(self) -> _TravelQueue:
        """The process that runs: started, and with everything declared."""
        if self._queue is None:
            self._queue = _TravelQueue(self)
            for name in EventName:
                self._queue.add_event_listener(name, self._note)
            self._queue.declare(_roots(each.module for each in self._definitions.values()))
        return self._queue

    def _reload(self) -> None:
        if self._queue is not None:
            self.restart()

    def _stop(self) -> None:
        """End the process as a signal does: what runs is given back."""
        queue, self._queue = self._queue, None
        if queue is not None:
            queue.executor.drain(timedelta(0))
            queue.declarer.stop()
            queue.runner.close()

    def _kill(self) -> None:
        """End the process as SIGKILL does: what runs is lost, and its leases run out."""
        queue, self._queue = self._queue, None
        if queue is not None:
            queue.runner.close()
            self._wakes.add(self.now + DEFAULT_TTL)

    # --- one moment ------------------------------------------------------------------------

    def _work(self) -> None:
        """Do everything that is due now."""
        self._wakes = {at for at in self._wakes if at > self.now}
        outage = self._outage()
        if outage is not None and outage.part is None:
            self._kill()
            return
        queue, part = self._started(), outage and outage.part
        queue.runner.arrive()
        now = self.now
        wanted = [queue.expand(now) if part != "expander" else None]
        if part != "executor":
            # What a handler makes due at this very moment, the executor knows and asks for.
            while (next_at := queue.process_next_batch()) is not None and next_at <= now:
                queue.runner.arrive()
            wanted.append(next_at)
        self._wanted = [at for at in wanted if at is not None]

    def _outage(self) -> Outage | None:
        now = self.now
        return next((each for each in self._outages if each.start <= now < each.end), None)

    def _next_at(self) -> datetime | None:
        """The next moment at which something is due; None if nothing ever is."""
        now = self.now
        moments = [at for each in self._outages for at in (each.start, each.end)]
        moments += self._wakes
        if self._queue is not None:
            moments += self._wanted
            arrives_at = self._queue.runner.next_at
            moments += [] if arrives_at is None else [arrives_at]
        return min((at for at in moments if at > now), default=None)

    # --- what the record is made of --------------------------------------------------------

    def _note(self, event: Event) -> None:
        job = event.job
        if event.name is EventName.SCHEDULED:
            return
        self.events.append(event)
        if job is None:
            return
        if event.name is EventName.STARTED:
            self._began(job, event.at)
        elif event.name in _ENDS and job.id in self._runs:
            self._ended(self._runs[job.id].attempts[-1], event, job)

    def _began(self, job: Job, at: datetime) -> None:
        attempt = Attempt(job, self._zone, job.retry_count + 1, at)
        run = self._runs.get(job.id)
        if run is not None:
            run.attempts.append(attempt)
            return
        self._runs[job.id] = run = Run(attempt)
        self._names.setdefault(job.name, []).append(run)

    @staticmethod
    def _ended(attempt: Attempt, event: Event, job: Job) -> None:
        attempt.job = job
        if attempt.outcome is None:
            attempt.outcome = event.name.value
            attempt.ended_at = event.at
            attempt.error = job.error


class _TravelQueue(JobQueue):
    """A JobQueue whose handlers are called by the traveller, and whose waits are his hops."""

    def __init__(self, travel: Travel) -> None:
        self._travel = travel
        super().__init__(
            travel.storage,
            registry=Registry(travel._definitions.values()),
            concurrency=travel._concurrency,
            processing_interval=_IDLE,
            every_queue=True,
            default_timezone=travel._zone.key,
        )
        self.watch = ClockWatch(lambda: travel._elapsed.total_seconds())

    def _new_runner(self) -> Runner:
        self.runner = InlineRunner(self.registry, now=clock.now, staging=self._travel._staging)
        return self.runner


def _roots(modules: Iterable[str]) -> tuple[str, ...]:
    """The modules whose schedules are retired when they no longer declare them."""
    return tuple(sorted(set(modules)))
