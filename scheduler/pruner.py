"""The pruner: removes jobs that ended long enough ago, a little at a time.

A sweep goes through the jobs step by step, and after each step rests for several times as long as
that took: whatever the store, the pruner takes a small share of its time. Ids sort by time, so a
sweep passes over the stretch of those that were made since the first job that may go. Several
processes may sweep at once: who finds another at what is next to go leaves the rest to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta

from scheduler.errors import NotSupported
from scheduler.ids import first_id
from scheduler.logs import logger
from scheduler.model import JobStatus
from scheduler.retention import Pruned, Retention
from scheduler.storage import JobStorage

log = logger(__name__)

STEP = 1000
"""How many jobs a step looks at."""

REST = 9
"""How many times as long as a step took the pruner rests: it takes a tenth of the time."""

LEAST_REST = timedelta(milliseconds=5)
OFTEN, SELDOM = timedelta(minutes=1), timedelta(hours=1)
"""The shortest and the longest time from one sweep to the next."""

LATENESS = 10
"""A job stays at most by this part of its period too long, within these bounds."""

SHARE = 200
"""How many times as long as a sweep spent on steps that removed nothing it is until the next."""

_AHEAD = timedelta(days=1)
"""By how much a clock that made ids may be ahead of this one."""


class Pruner:
    """Removes jobs of `storage` as `retention` says. Raises InvalidOption if that is none.

    `monotonic` gives seconds that no one sets.
    """

    def __init__(
        self, storage: JobStorage, retention: Retention, *, monotonic: Callable[[], float]
    ) -> None:
        self._storage = storage
        self._periods = retention.periods
        self._monotonic = monotonic
        self._sweep: Iterator[Pruned] | None = None
        self._removed = 0
        self._in_vain = timedelta(0)
        self._next_at: datetime | None = None
        self._wait = timedelta(0)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is ever to be removed."""
        return not self._periods

    def tick(self, now: datetime) -> datetime | None:
        """Do the next step, if it is time for it; when to be called next, None if never.

        Raises StorageUnavailable if the store cannot be reached: the next sweep does it all.
        """
        if self.is_idle:
            return None
        # A clock that was set back further than that must not make it wait for the old hour.
        if self._next_at is not None and self._next_at - self._wait <= now < self._next_at:
            return self._next_at
        began = self._monotonic()
        try:
            step = self._step(now)
        except NotSupported as error:
            log.warning("finished jobs stay for ever", reason=str(error))
            self._periods = {}
            return None
        self._wait = self._pause(step, timedelta(seconds=self._monotonic() - began))
        self._next_at = now + self._wait
        return self._next_at

    def _step(self, now: datetime) -> Pruned | None:
        """What came of the next step; None where the sweep is over."""
        self._sweep = self._sweep or self._begun(now)
        try:
            return next(self._sweep, None)
        except BaseException:
            self._sweep = None
            raise

    def _pause(self, step: Pruned | None, took: timedelta) -> timedelta:
        """How long after the begin of `step` it is time for the next one."""
        removed = step.removed if step else 0
        self._removed += removed
        self._in_vain += timedelta(0) if removed else took
        if step is None or (step.lost and not removed):
            self._end()
            return max(self._between(), SHARE * self._in_vain)
        return took + max(LEAST_REST, REST * took)

    def _begun(self, now: datetime) -> Iterator[Pruned]:
        ended_before = {status: now - period for status, period in self._periods.items()}
        self._removed, self._in_vain = 0, timedelta(0)
        return steps(self._storage, ended_before, stretches=_old(ended_before, now))

    def _end(self) -> None:
        self._sweep = None
        if self._removed:
            log.info("finished jobs removed", count=self._removed)

    def _between(self) -> timedelta:
        """The time from one sweep to the next, as the shortest period asks for it."""
        return min(SELDOM, max(OFTEN, min(self._periods.values()) / LATENESS))


Stretch = tuple[str | None, str | None]
"""The ids between two, both exclusive; None is no bound."""

ALL: tuple[Stretch, ...] = ((None, None),)


def _old(ended_before: Mapping[JobStatus, datetime], now: datetime) -> tuple[Stretch, ...]:
    """All ids but those of the jobs that the product made since the first instant that matters.

    What was made later has not ended earlier. An id that is none of ours may stand among them, and
    is passed over until the stretch has moved on.
    """
    since, until = max(ended_before.values()), now + _AHEAD
    return (None, first_id(since)), (first_id(until), None)


def steps(
    storage: JobStorage,
    ended_before: Mapping[JobStatus, datetime],
    *,
    stretches: tuple[Stretch, ...] = ALL,
    dry_run: bool = False,
) -> Iterator[Pruned]:
    """What came of each step through the ids of these stretches, one step a turn."""
    for after_id, before_id in stretches:
        last_id = after_id
        while True:
            step = storage.prune_jobs(
                ended_before, limit=STEP, after_id=last_id, before_id=before_id, dry_run=dry_run
            )
            yield step
            if step.last_id is None:
                break
            last_id = step.last_id
