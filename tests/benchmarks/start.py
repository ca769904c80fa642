"""Start: a queue whose handlers recur, and whose schedules are in the table, unchanged.

The floor reads what was last declared of each, compares, and leaves the record that it is there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from time import perf_counter

from scheduler import JobQueue, clock
from scheduler.registry import Registry
from tests.benchmarks.bench import Bench, Figure, Ran, Row, at_most
from tests.benchmarks.register import recurring
from tests.benchmarks.stores import KINDS, Store


def rows(bench: Bench) -> Iterator[Row]:
    n = bench.sized(tiny=10, small=200, full=10_000)
    for kind in KINDS:
        with bench.stores.fresh(kind) as store:
            registry = recurring(n)
            with JobQueue(store.storage, registry=registry) as queue:
                queue.declare()
            store.analyse()
            yield from bench.compare(
                "start",
                [Figure(f"start with {n:,} schedules, {kind}", "s", at_most(2))],
                floor=partial(by_hand, store),
                ours=partial(ours, store, registry),
                note="JobQueue.start, handlers imported",
            )


def by_hand(store: Store) -> Ran:
    stored = dict(store.floor.execute("SELECT name, declared FROM schedules"))
    parameter = store.floor.key.format
    began = perf_counter()
    found = dict(store.floor.execute("SELECT name, declared FROM schedules"))
    unchanged = sum(found.get(name) == digest for name, digest in stored.items())
    at = store.floor.at(clock.now())
    store.floor.execute("DELETE FROM declarations WHERE process = 'by hand'")
    store.floor.execute(
        "INSERT INTO declarations (process, code, since_at, seen_at, schedules) "
        f"VALUES ('by hand', 'code', {parameter('at')}, {parameter('at')}, {parameter('said')})",
        {"at": at, "said": json.dumps(found)},
    )
    return Ran(unchanged, (perf_counter() - began,))


def ours(store: Store, registry: Registry) -> Ran:
    with JobQueue(store.storage, registry=registry) as queue:
        began = perf_counter()
        queue.start()
        took = perf_counter() - began
        unchanged = len(queue.registry.names) - len(queue.declare())
        return Ran(unchanged, (took,))
