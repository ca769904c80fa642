"""Pick-up: from the moment a job is enqueued to the start of its handler, on an idle executor.

On PostgreSQL the job comes from a queue that does not run it, and the server tells of it. On SQLite
it comes from the queue itself, in one process. The floor is a thread that is woken the same
way and leases the job in the statement that settles the last.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from queue import SimpleQueue
from statistics import quantiles
from time import perf_counter, sleep
from typing import Any

from scheduler import JobQueue, clock
from tests.benchmarks.bench import Bench, Figure, Ran, Row, Target, at_most
from tests.benchmarks.floor import JOB_NAME, Floor
from tests.benchmarks.floor_postgres import PostgresFloor
from tests.benchmarks.stores import POSTGRESQL, SQLITE, Store

TARGETS: dict[str, tuple[Target | None, Target]] = {
    POSTGRESQL: (at_most(2), at_most(4)),
    SQLITE: (None, at_most(3)),
}
PAUSE = 0.01
"""Seconds between two jobs, so that the executor is idle again."""
PATIENCE = 30
MILLISECONDS = 1e3


def rows(bench: Bench) -> Iterator[Row]:
    n = bench.sized(tiny=5, small=50, full=500)
    for kind, (median, worst) in TARGETS.items():
        yield from bench.compare(
            "pickup",
            [
                Figure(f"pick-up p50, {kind}", "ms", median),
                Figure(f"pick-up p99, {kind}", "ms", worst),
            ],
            floor=partial(by_hand, bench, kind, n),
            ours=partial(ours, bench, kind, n),
        )


def ours(bench: Bench, kind: str, n: int) -> Ran:
    with bench.stores.fresh(kind) as store, running(store) as (enqueue, started):
        return waits(n, enqueue, started)


@contextmanager
def running(
    store: Store, **options: Any
) -> Iterator[tuple[Callable[[], object], SimpleQueue[float]]]:
    """What enqueues a job to a queue that runs, and where the starts of its handler come out.

    `options` are those of the queue that runs.
    """
    started: SimpleQueue[float] = SimpleQueue()

    def stamp() -> None:
        started.put(perf_counter())

    with JobQueue(store.url, **options) as queue, JobQueue(store.url) as elsewhere:
        for each in (queue, elsewhere):
            each.register(JOB_NAME, stamp)
        queue.start()
        enqueues = elsewhere if store.name == POSTGRESQL else queue
        yield partial(enqueues.add, JOB_NAME), started


def by_hand(bench: Bench, kind: str, n: int) -> Ran:
    with bench.stores.fresh(kind) as store:
        started: SimpleQueue[float] = SimpleQueue()
        woken: SimpleQueue[bool] = SimpleQueue()
        executor = store.another_floor()
        serve = partial(_serve, executor, woken, started, n)
        thread = threading.Thread(target=serve, daemon=True)
        numbers = iter(range(n))

        def enqueue() -> None:
            store.floor.enqueue(f"{next(numbers):032x}", clock.now())
            woken.put(True)

        if isinstance(executor, PostgresFloor):
            executor.listen()
        thread.start()
        try:
            return waits(n, enqueue, started)
        finally:
            thread.join(PATIENCE)
            executor.close()


def _serve(floor: Floor, woken: SimpleQueue[bool], started: SimpleQueue[float], left: int) -> None:
    """Run jobs as they are announced, until so many have run."""
    ended: list[str] = []
    while left:
        if isinstance(floor, PostgresFloor):
            floor.await_notification()
        else:
            woken.get()
        taken = floor.cycle(10, ended, "floor", clock.now())
        for _ in taken:
            started.put(perf_counter())
        ended = [each.id for each in taken]
        left -= len(taken)


def waits(n: int, enqueue: Callable[[], object], started: SimpleQueue[float]) -> Ran:
    """Enqueue `n` jobs, each when the one before has begun; p50 and p99 of how long it took."""
    took = []
    for _ in range(n):
        sleep(PAUSE)
        began = perf_counter()
        enqueue()
        took.append((started.get(timeout=PATIENCE) - began) * MILLISECONDS)
    return Ran(len(took), percentiles(took))


def percentiles(values: Sequence[float]) -> tuple[float, float]:
    """The median, and what 99 of 100 do not exceed."""
    cuts = quantiles(values, n=100, method="inclusive")
    return cuts[49], cuts[98]
