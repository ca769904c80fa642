"""Drain: one process runs jobs that do nothing, until every outcome is durable.

The floor is one statement a cycle that settles the last batch and leases the next, at the best
of three sizes of batch. Ours is a JobQueue as it comes, in a process that settled in as the
service's does.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from time import perf_counter

from scheduler import JobQueue, clock
from scheduler.events import Event
from tests.benchmarks.bench import Bench, Figure, Ran, Row, as_a_service, ratio_at_least
from tests.benchmarks.floor import JOB_NAME, Floor
from tests.benchmarks.stores import POSTGRESQL, SQLITE, Store

BATCHES = (10, 100, 1000)
TARGETS = {POSTGRESQL: ratio_at_least(0.5), SQLITE: ratio_at_least(0.1)}
COMPLETED = "status = 'completed'"
PATIENCE = 600


def rows(bench: Bench) -> Iterator[Row]:
    n = bench.sized(tiny=20, small=1_000, full=20_000)
    for kind, target in TARGETS.items():
        yield from bench.compare(
            "drain",
            [Figure(f"drain {n:,} jobs, {kind}", "jobs/s", target)],
            floor=partial(by_hand, bench, kind, n),
            ours=partial(ours, bench, kind, n),
            note="default settings; the floor at its best batch of 10, 100 and 1,000",
        )


def by_hand(bench: Bench, kind: str, n: int) -> Ran:
    rates = []
    for batch in BATCHES:
        with bench.stores.fresh(kind) as store:
            prepare(store, n)
            began = perf_counter()
            cycle_all(store.floor, batch)
            rates.append(n / (perf_counter() - began))
            done = store.floor.count("jobs", COMPLETED)
    return Ran(done, (max(rates),))


def cycle_all(floor: Floor, batch: int) -> None:
    """Run what is due, `batch` jobs at a time."""
    handlers = {JOB_NAME: work}
    ended: list[str] = []
    while True:
        taken = floor.cycle(batch, ended, "floor", clock.now())
        if not taken and not ended:
            return
        for each in taken:
            handlers[each.name]()
        ended = [each.id for each in taken]


def ours(bench: Bench, kind: str, n: int) -> Ran:
    with bench.stores.fresh(kind) as store:
        prepare(store, n)
        with JobQueue(store.url) as queue, as_a_service():
            queue.register(JOB_NAME, work)
            completed = Countdown(n)
            queue.add_event_listener("completed", completed.tell)
            began = perf_counter()
            queue.start()
            completed.wait()
            took = perf_counter() - began
        return Ran(store.floor.count("jobs", COMPLETED), (n / took,))


def prepare(store: Store, n: int) -> None:
    store.floor.enqueue_all(n, clock.now())
    store.analyse()


def work() -> None:
    """Nothing."""


class Countdown:
    """Waits for the n-th event, which is emitted once it is durable."""

    def __init__(self, n: int) -> None:
        self._left = n
        self._is_over = threading.Event()

    def tell(self, _: Event) -> None:
        self._left -= 1  # one thread alone, that settles
        if self._left == 0:
            self._is_over.set()

    def wait(self) -> None:
        assert self._is_over.wait(PATIENCE), f"{self._left} jobs have not ended in {PATIENCE} s"
