"""Memory: what an idle service holds, alone and with many schedules in its table.

The floor is a process that has the driver, a connection, and the two questions.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from scheduler import clock
from tests.benchmarks.bench import Bench, Figure, Ran, Row, at_most
from tests.benchmarks.processes import BY_HAND, SERVICE, idle_process
from tests.benchmarks.stores import KINDS, Store
from tests.benchmarks.storm import nightly


def rows(bench: Bench) -> Iterator[Row]:
    many = bench.sized(tiny=20, small=1_000, full=100_000)
    for kind in KINDS:
        for n, most in ((0, 90), (many, 120)):
            with bench.stores.fresh(kind) as store:
                if n:
                    store.fill_schedules(nightly(created_at=clock.now()), n)
                yield from bench.compare(
                    "memory",
                    [Figure(f"an idle service, {n:,} schedules, {kind}", "MiB", at_most(most))],
                    floor=partial(held, store, BY_HAND),
                    ours=partial(held, store, SERVICE),
                    note="HTTP included",
                )


def held(store: Store, role: str) -> Ran:
    """MiB resident, once it runs."""
    with idle_process(role, store.url) as process:
        resident = process.seen().resident
    return Ran(store.floor.count("schedules"), (resident,))
