"""Retention: pick-up while the queue removes finished rows. Here the floor is pick-up without.

The queue prunes by itself, in the process that runs the jobs. There are enough rows that it is at
it all the while.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from time import perf_counter, sleep

from scheduler import Retention
from tests.benchmarks.bench import Bench, Figure, Ran, Row, ratio_at_most
from tests.benchmarks.growth import finished
from tests.benchmarks.pickup import PATIENCE, PAUSE, running, waits
from tests.benchmarks.stores import KINDS, Store

AN_HOUR = Retention(completed=timedelta(hours=1))
"""Less than how long ago the rows were finished."""

PREFIX = "0-finished-"
"""Of the ids of these rows: as those that the product makes, they sort before all later ones."""


def rows(bench: Bench) -> Iterator[Row]:
    n = bench.sized(tiny=5, small=50, full=500)
    rows = bench.sized(tiny=50, small=5_000, full=1_000_000)
    for kind in KINDS:
        yield from bench.compare(
            "retention",
            [
                Figure(f"pick-up p50, {rows:,} rows being pruned, {kind}", "ms"),
                Figure(f"pick-up p99, {rows:,} rows being pruned, {kind}", "ms", ratio_at_most(2)),
            ],
            floor=partial(picked_up, bench, kind, n, rows, retention=None),
            ours=partial(picked_up, bench, kind, n, rows, retention=AN_HOUR),
            note="the floor is ours that keeps them for ever",
        )


def picked_up(bench: Bench, kind: str, n: int, rows: int, *, retention: Retention | None) -> Ran:
    with bench.stores.fresh(kind) as store:
        store.fill_jobs(finished(), rows, prefix=PREFIX)
        with running(store, retention=retention) as (enqueue, started):
            if retention is not None:
                _await_pruning(store)
            return waits(n, enqueue, started)


def _await_pruning(store: Store) -> None:
    """Returns when the first of the rows is gone."""
    until = perf_counter() + PATIENCE
    while store.floor.count("jobs", f"id = '{PREFIX}{1:010}'"):
        assert perf_counter() < until
        sleep(PAUSE)
