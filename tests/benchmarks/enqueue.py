"""Enqueue: jobs into the table, one by one as an application does, and many in one go.

The floor is one INSERT with its notification per job, and for many COPY or executemany.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from time import perf_counter

from scheduler import JobQueue, clock
from tests.benchmarks.bench import Bench, Figure, Ran, Row, ratio_at_least
from tests.benchmarks.drain import work
from tests.benchmarks.floor import JOB_NAME
from tests.benchmarks.stores import KINDS


def rows(bench: Bench) -> Iterator[Row]:
    for kind in KINDS:
        n = bench.sized(tiny=10, small=200, full=2_000)
        yield from bench.compare(
            "enqueue",
            [Figure(f"enqueue {n:,} one by one, {kind}", "jobs/s", ratio_at_least(0.6))],
            floor=partial(one_by_one_by_hand, bench, kind, n),
            ours=partial(one_by_one, bench, kind, n),
        )
    for kind in KINDS:
        n = bench.sized(tiny=20, small=2_000, full=20_000)
        yield from bench.compare(
            "enqueue",
            [Figure(f"enqueue {n:,} in bulk, {kind}", "jobs/s", ratio_at_least(0.5))],
            floor=partial(in_bulk_by_hand, bench, kind, n),
            ours=partial(in_bulk, bench, kind, n),
        )


def one_by_one_by_hand(bench: Bench, kind: str, n: int) -> Ran:
    with bench.stores.fresh(kind) as store:
        began = perf_counter()
        for place in range(n):
            store.floor.enqueue(f"{place:032x}", clock.now())
        took = perf_counter() - began
        return Ran(store.floor.count("jobs"), (n / took,))


def one_by_one(bench: Bench, kind: str, n: int) -> Ran:
    with bench.stores.fresh(kind) as store, JobQueue(store.url) as queue:
        queue.register(JOB_NAME, work)
        began = perf_counter()
        for _ in range(n):
            queue.add(JOB_NAME)
        took = perf_counter() - began
        return Ran(store.floor.count("jobs"), (n / took,))


def in_bulk_by_hand(bench: Bench, kind: str, n: int) -> Ran:
    with bench.stores.fresh(kind) as store:
        began = perf_counter()
        store.floor.enqueue_all(n, clock.now())
        took = perf_counter() - began
        return Ran(store.floor.count("jobs"), (n / took,))


def in_bulk(bench: Bench, kind: str, n: int) -> Ran:
    with bench.stores.fresh(kind) as store:
        queue = JobQueue(store.storage)
        queue.register(JOB_NAME, work)
        began = perf_counter()
        queue.add_many(JOB_NAME, ({} for _ in range(n)))
        took = perf_counter() - began
        return Ran(store.floor.count("jobs"), (n / took,))
