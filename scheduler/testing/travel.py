"""Travel: schedules lived through in simulated time, by the real expander and executor.

Time hops from one wake time to the next: an occurrence, a due job, a deadline, a lease to renew,
the end of a slow handler. At each, the clock is frozen there, and whatever is due is done, on a
real storage, in one thread. Nothing sleeps, so that a year takes as long as its runs do.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import ModuleType, TracebackType
from typing import Any, Self

from freezegun import freeze_time
from freezegun.api import FrozenDateTimeFactory

from scheduler import clock
from scheduler.errors import InvalidOption, SchedulerError, UnknownName
from scheduler.events import Event, EventName
from scheduler.expander import ClockWatch
from scheduler.handlers import Runner
from scheduler.model import Job
from scheduler.options import check_duration, check_integer
from scheduler.queue import EXECUTOR, EXPANDER, JobQueue
from scheduler.registry import JobDefinition, Registry, discover, marks
from scheduler.rules.zones import parse_moment, zone
from scheduler.storage import JobStorage, open_storage
from scheduler.storage.base import DEFAULT_TTL
from scheduler.testing.inline import InlineRunner, Staging, StandIn
from scheduler.testing.runs import Attempt, Run, Skipped, text
from scheduler.testing.sleep import sleepless

START = "2026-01-01T00:00:00Z"
"""Where a test is that did not say."""

_IDLE = timedelta(days=365)
"""How often an idle executor polls: what there is to do is known here, and polls find nothing."""

_FIRST, _END = datetime(2, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
_OUTSIDE = "outside the years 2 to 9998, which can be simulated"

_PARTS = frozenset({EXPANDER, EXECUTOR})

_ENDS = {
    EventName.COMPLETED,
    EventName.FAILED,
    EventName.RETRYING,
    EventName.RELEASED,
    EventName.LEASE_LOST,
    EventName.RESCUED,
    EventName.CANCELLED,
}


@dataclass(frozen=True, slots=True)
class Outage:
    """A window [start, end) in which `parts` of the service are down."""

    start: datetime
    end: datetime
    parts: frozenset[str]


class Travel:
    """Simulated time, and what happens in it.

    `storage` is the URL of a store that holds nothing yet, or a JobStorage with whatever it holds;
    `timezone` the zone of wall clocks without an offset (and of rules that name none);
    `concurrency` how many handlers run at a time. Use it as a context manager: at its end the
    clock is thawed and what it opened is closed.
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
        self._given = storage
        self._storage: JobStorage | None = None
        self._concurrency = concurrency
        self._now = self._instant(start, "start")
        self._definitions: dict[str, JobDefinition] = {}
        self._staging = Staging()
        self._queue: _TravelQueue | None = None
        self._outages: list[Outage] = []
        self._dead: frozenset[str] = frozenset()
        self._wakes: set[datetime] = set()
        self._wanted: list[datetime] = []
        self._elapsed = timedelta(0)
        self._runs: dict[str, Run] = {}
        self._names: dict[str, list[Run]] = {}
        self._frozen: FrozenDateTimeFactory | None = None
        self._undo = ExitStack()
        self.hops = 0
        """How many times the clock has moved on."""
        self.events: list[Event] = []
        """Everything that was told, in order, except that a job was scheduled."""

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            frozen: Any = stack.enter_context(freeze_time(self._now))
            self._frozen = frozen
            stack.enter_context(sleepless())
            stack.enter_context(self._clock_stopped())
            stack.callback(self._close)
            self._undo = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._undo.close()

    @contextmanager
    def _clock_stopped(self) -> Iterator[None]:
        """Let the parts read our instant: freezegun's are slow to reckon with, and are kept."""
        before = clock.now
        vars(clock)["now"] = lambda: self._now
        try:
            yield
        finally:
            vars(clock)["now"] = before

    def _close(self) -> None:
        try:
            self._stop()
        finally:
            if self._storage is not None and self._storage is not self._given:
                self._storage.close()

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
        return self._now

    @property
    def storage(self) -> JobStorage:
        """The store that everything is written to.

        Raises InvalidOption if it was given by its URL and holds schedules or jobs: they would
        run, too.
        """
        if self._storage is None:
            given = self._given
            self._storage = _opened_empty(given) if isinstance(given, str) else given
        return self._storage

    @property
    def queue(self) -> JobQueue:
        """The queue that runs the jobs, for whatever else a test wants of it."""
        return self._started()

    def clear(self) -> Self:
        """Forget what happened, and empty the store; not one that was handed over as an object."""
        self._stop()
        if self._storage is not None and self._storage is not self._given:
            self._storage.clear()
        for each in (self._runs, self._names, self.events):
            each.clear()
        return self

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
        with _unsearched():
            while True:
                self._work()
                next_at = self._next_at()
                if next_at is None or next_at > end:
                    break
                self._hop(next_at)
            self._hop(end)
        return self

    def forward(self, duration: timedelta | float | None = None, **units: float) -> Self:
        """Live on for `duration` (a timedelta or seconds), or for `days=3, hours=1`."""
        passed = _duration("forward", duration, units)
        if passed < timedelta(0):
            raise InvalidOption("forward", str(passed), "is before now", "use jump")
        return self.until(self._after(passed, "forward"))

    def jump(self, to: str | datetime | None = None, **units: float) -> Self:
        """Set the clock `to` a moment, or on by `hours=1`, or back by `hours=-1`.

        No time passes: nothing is lived through, and what measures time notices.
        """
        if to is not None:
            at = self._instant(to, "jump")
        else:
            at = self._after(_duration("jump", None, units), "jump")
        self._started()
        self._freeze(at)
        return self

    def down(self, start: str | datetime, end: str | datetime, *, part: str | None = None) -> Self:
        """Nothing runs in [start, end): the process dies, its handlers with it, and starts again.

        `part` is "expander" or "executor" where only that one is down. Say it before it happens.
        Where outages overlap, whatever one of them says is down.
        """
        if part is not None and part not in _PARTS:
            raise InvalidOption("part", part, "is neither expander nor executor")
        first, last = self._instant(start, "down"), self._instant(end, "down")
        if not self.now <= first < last:
            hint = "give a start from now on, and a later end"
            raise InvalidOption("down", f"{start} to {end}", "is no window to come", hint)
        self._outages.append(Outage(first, last, _PARTS if part is None else frozenset({part})))
        return self

    def restart(self) -> Self:
        """A new process with the jobs known now, as after a deploy; what ran is given back."""
        self._stop()
        self._started()
        return self

    # --- staging ---------------------------------------------------------------------------

    def takes(self, name: str, duration: timedelta | float | None = None, **units: float) -> Self:
        """Let the job `name` take so long from now on: a timedelta, seconds, or `minutes=25`."""
        spent = check_duration("takes", _duration("takes", duration, units), zero=True)
        self._staging.takes[self._known(name)] = spent
        return self

    def fails(
        self, name: str, times: int | None = None, error: Exception | str = "it was told to fail"
    ) -> Self:
        """Let the next `times` attempts of the job `name` fail (None: all), uncalled."""
        raised = RuntimeError(error) if isinstance(error, str) else error
        left = None if times is None else check_integer("times", times, 0)
        if left == 0:
            return self
        before = self._staging.functions.get(self._known(name))

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
        """Do not call the handlers of these jobs, but let them return `returning`.

        Without names: of all jobs of which nothing else is said. Their runs are on record.
        """

        def recorder(_: dict[str, Any]) -> Any:
            return returning

        if not names:
            self._staging.otherwise = recorder
        for name in names:
            self._staging.functions[self._known(name)] = recorder
        return self

    def _stand_in(self, name: str, function: StandIn | None) -> None:
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
        return reachable(parse_moment(moment, self._zone, field), field)

    def _after(self, duration: timedelta, field: str) -> datetime:
        if not _FIRST - self.now <= duration < _END - self.now:
            raise InvalidOption(field, str(duration), f"leads {_OUTSIDE}")
        return self.now + duration

    def _freeze(self, at: datetime) -> None:
        if self._frozen is None:
            raise SchedulerError("travel: it has not begun; use it in a with block")
        self._frozen.move_to(at)
        self._now = at

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
        now = self.now
        died_before, self._dead = self._dead, self._down_at(now)
        if EXECUTOR in self._dead and not self._dead <= died_before:
            self._kill()
        if self._dead == _PARTS:
            return
        queue = self._started()
        queue.runner.arrive()
        wanted = [queue.expand(now) if EXPANDER not in self._dead else None]
        if EXECUTOR not in self._dead:
            # What a handler makes due at this very moment, the executor knows and asks for.
            while (next_at := queue.process_next_batch()) is not None and next_at <= now:
                queue.runner.arrive()
            wanted.append(next_at)
        self._wanted = [at for at in wanted if at is not None]

    def _down_at(self, now: datetime) -> frozenset[str]:
        """The parts that are down, by any of the outages."""
        under_way = [each.parts for each in self._outages if each.start <= now < each.end]
        return frozenset().union(*under_way)

    def _next_at(self) -> datetime | None:
        """The next moment at which something is due; None if nothing ever is."""
        now = self.now
        moments = [at for each in self._outages for at in (each.start, each.end)]
        moments += self._wakes
        if self._queue is not None:
            moments += self._wanted
            wait = self._queue.runner.wait
            if wait is not None and wait < _END - now:
                moments.append(now + wait)
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
        travel = self._travel
        self.runner = InlineRunner(
            self.registry,
            begin=self.begin_transaction,
            elapsed=lambda: travel._elapsed,
            staging=travel._staging,
        )
        return self.runner


@contextmanager
def _unsearched() -> Iterator[None]:
    """What is kept grows with every run, and is no garbage: only what is new is searched for it."""
    before = gc.get_threshold()
    gc.set_threshold(*before[:2], 2**31 - 1)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def reachable(at: datetime, field: str) -> datetime:
    """`at` if it can be simulated; else InvalidOption, naming `field`.

    Not at the very ends of the calendar: what is due some time after a moment has to have a date.
    """
    if not _FIRST <= at < _END:
        raise InvalidOption(field, at.isoformat(), f"is {_OUTSIDE}")
    return at


def _duration(field: str, given: timedelta | float | None, units: dict[str, float]) -> timedelta:
    """What was given as a timedelta, as seconds, or as `hours=1`. Raises InvalidOption."""
    try:
        if isinstance(given, timedelta):
            return given
        return timedelta(**units) if given is None else timedelta(seconds=given)
    except (TypeError, ValueError, OverflowError):
        wrong = units if given is None else given
        hint = "write days=1, hours=2, minutes=3 or seconds=4"
        raise InvalidOption(field, wrong, "is not a duration", hint) from None


def _opened_empty(url: str) -> JobStorage:
    storage = open_storage(url)
    if storage.list_schedules() or storage.list_jobs(limit=1):
        storage.close()
        hint = "give a store of its own; open_storage(…).clear() empties one"
        raise InvalidOption("travel: storage", "", "holds schedules or jobs already", hint)
    return storage


def _roots(modules: Iterable[str]) -> tuple[str, ...]:
    """The modules whose schedules are retired when they no longer declare them."""
    return tuple(sorted(set(modules)))
