"""Midnight storm: so many schedules due at one instant, one expander, all of it durable.

The floor queues every occurrence and moves every cursor in one transaction, inside the database.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from time import perf_counter

from scheduler.expander import Expander
from scheduler.model import Schedule
from scheduler.testing.values import a_schedule, utc
from tests.benchmarks.bench import Bench, Figure, Ran, Row, as_a_service, ratio_at_least
from tests.benchmarks.stores import POSTGRESQL, SQLITE, Store

TARGETS = {POSTGRESQL: ratio_at_least(0.35), SQLITE: ratio_at_least(0.11)}
DAY = timedelta(days=1)
MIDNIGHT = utc("2026-01-06T00:00:00+00:00")


def rows(bench: Bench) -> Iterator[Row]:
    largest = bench.sized(tiny=20, small=1_000, full=100_000)
    for kind, target in TARGETS.items():
        for n in sorted({largest, *(each for each in (1_000, 10_000) if each < largest)}):
            yield from bench.compare(
                "storm",
                [Figure(f"storm of {n:,} schedules, {kind}", "jobs/s", target)],
                floor=partial(by_hand, bench, kind, n),
                ours=partial(ours, bench, kind, n),
            )


def by_hand(bench: Bench, kind: str, n: int) -> Ran:
    with bench.stores.fresh(kind) as store:
        store.fill_schedules(nightly(), n)
        began = perf_counter()
        store.floor.expand(MIDNIGHT, DAY)
        return ran(store, n, perf_counter() - began)


def ours(bench: Bench, kind: str, n: int) -> Ran:
    with bench.stores.fresh(kind) as store:
        store.fill_schedules(nightly(), n)
        expander = Expander(store.storage, emit=lambda event: None)
        with as_a_service():
            began = perf_counter()
            next_at = expander.tick(MIDNIGHT)
            took = perf_counter() - began
        assert next_at == MIDNIGHT + DAY, next_at
        return ran(store, n, took)


def nightly(*, created_at: datetime = MIDNIGHT - DAY / 2) -> Schedule:
    """One that is due every midnight, as it is at noon."""
    return a_schedule(rule={"cron": "0 0 * * *"}, created_at=created_at)


def ran(store: Store, n: int, took: float) -> Ran:
    """What is queued counts once its schedule has moved on."""
    assert store.floor.next_schedule_at() == MIDNIGHT + DAY
    return Ran(store.floor.count("jobs", "status = 'pending'"), (n / took,))
