"""Punctuality: from the instant that an occurrence is due to the start of its handler.

A hundred schedules occur every second, a hundredth of a second apart. The floor is one thread that
sleeps until the next is due, queues it, and leases it, in two statements.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from time import sleep

from scheduler import JobContext, JobQueue, clock
from scheduler.model import CatchUp, Overlap
from scheduler.testing.values import SECOND, a_schedule
from tests.benchmarks.bench import Bench, Figure, Ran, Row, at_most
from tests.benchmarks.floor import JOB_NAME, Floor
from tests.benchmarks.pickup import MILLISECONDS, PATIENCE, percentiles
from tests.benchmarks.stores import KINDS, Store

LEAD = timedelta(seconds=1)
"""How long after they are made the schedules begin."""


def rows(bench: Bench) -> Iterator[Row]:
    schedules = bench.sized(tiny=5, small=20, full=100)
    seconds = bench.sized(tiny=1, small=2, full=60)
    for kind in KINDS:
        yield from bench.compare(
            "punctuality",
            [
                Figure(f"lateness p50, {schedules} a second, {kind}", "ms"),
                Figure(f"lateness p99, {schedules} a second, {kind}", "ms", at_most(20)),
            ],
            floor=partial(by_hand, bench, kind, schedules, seconds),
            ours=partial(ours, bench, kind, schedules, seconds),
        )


def ours(bench: Bench, kind: str, schedules: int, seconds: int) -> Ran:
    late = Lateness(schedules * seconds)

    def handler(ctx: JobContext) -> None:
        assert ctx.occurrence_at is not None
        late.add(ctx.occurrence_at)

    with bench.stores.fresh(kind) as store, JobQueue(store.url) as queue:
        queue.register(JOB_NAME, handler)
        create(store, schedules, seconds)
        queue.start()
        return late.ran(seconds)


def by_hand(bench: Bench, kind: str, schedules: int, seconds: int) -> Ran:
    late = Lateness(schedules * seconds)
    with bench.stores.fresh(kind) as store:
        create(store, schedules, seconds)
        _serve(store.floor, late)
    return late.ran(seconds)


def create(store: Store, schedules: int, seconds: int) -> None:
    """Schedules that occur `seconds` times, once a second."""
    now = clock.now().replace(microsecond=0)
    for place in range(schedules):
        first = now + LEAD + SECOND * place / schedules
        rule = {
            "every": 1,
            "unit": "seconds",
            "start_date": first.isoformat(timespec="microseconds"),
            "limit": seconds,
        }
        store.storage.save_schedule(
            a_schedule(
                f"punctual-{place}",
                rule=rule,
                overlap=Overlap.ALLOW,
                catch_up=CatchUp.ALL,  # every one of them, even if this machine stalls
                created_at=now,
            )
        )


def _serve(floor: Floor, late: Lateness) -> None:
    """Expand, lease and run what is due, as long as some is left to come."""
    ended: list[str] = []
    while late.left:
        next_at = floor.next_schedule_at()
        assert next_at is not None
        sleep(max(0.0, (next_at - clock.now()).total_seconds()))
        now = clock.now()
        floor.expand(now, SECOND)
        taken = floor.cycle(100, ended, "floor", now)
        for each in taken:
            late.add(floor.moment(each.scheduled_at))
        ended = [each.id for each in taken]


class Lateness:
    """How late the handlers of `left` occurrences begin, from any thread."""

    def __init__(self, left: int) -> None:
        self.left = left
        self._lock = threading.Lock()
        self._late: list[float] = []
        self._is_over = threading.Event()

    def add(self, due_at: datetime) -> None:
        """The handler of an occurrence begins."""
        late = (clock.now() - due_at).total_seconds() * MILLISECONDS
        with self._lock:
            if self.left:
                self._late.append(late)
                self.left -= 1
            if not self.left:
                self._is_over.set()

    def ran(self, seconds: int) -> Ran:
        """The figures, when all have begun."""
        assert self._is_over.wait(seconds + PATIENCE), f"{self.left} have not begun"
        return Ran(len(self._late), percentiles(self._late))
