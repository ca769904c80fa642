"""Idle: many schedules of which none is due. What a tick costs, and what a service costs a core.

The floor of a tick is the one question it has to ask. That of the service is a process that asks
both questions by hand as often as the service looks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from time import perf_counter, sleep

from scheduler import JobQueue, clock
from scheduler.expander import Expander
from tests.benchmarks.bench import Bench, Figure, Ran, Row, at_most
from tests.benchmarks.drain import work
from tests.benchmarks.floor import JOB_NAME
from tests.benchmarks.processes import BY_HAND, SERVICE, idle_process
from tests.benchmarks.stores import KINDS, Store
from tests.benchmarks.storm import DAY, nightly

MILLISECONDS = 1e3


def rows(bench: Bench) -> Iterator[Row]:
    n = bench.sized(tiny=20, small=1_000, full=100_000)
    ticks = bench.sized(tiny=3, small=50, full=500)
    seconds = bench.sized(tiny=1, small=3, full=20)
    for kind in KINDS:
        with bench.stores.fresh(kind) as store:
            store.fill_schedules(nightly(created_at=clock.now()), n)
            yield from bench.compare(
                "idle",
                [Figure(f"tick of an expander, {n:,} not due, {kind}", "ms", at_most(2))],
                floor=partial(timed, ticks, store.floor.next_schedule_at),
                ours=partial(timed, ticks, expanding(store)),
            )
            with JobQueue(store.storage) as queue:
                queue.register(JOB_NAME, work)
                yield from bench.compare(
                    "idle",
                    [Figure(f"tick of an executor, {n:,} not due, {kind}", "ms", at_most(2))],
                    floor=partial(timed, ticks, partial(asked, store)),
                    ours=partial(timed, ticks, queue.process_next_batch),
                )
            yield from bench.compare(
                "idle",
                [Figure(f"an idle service, {n:,} not due, {kind}", "% of a core", at_most(0.5))],
                floor=partial(share, store, BY_HAND, seconds),
                ours=partial(share, store, SERVICE, seconds),
                note=f"over {seconds} s, HTTP included",
            )


def expanding(store: Store) -> Callable[[], object]:
    """A tick that finds nothing due; it says when it will."""
    expander = Expander(store.storage, emit=lambda event: None)

    def tick() -> object:
        next_at = expander.tick(clock.now())
        assert next_at is not None
        assert next_at - clock.now() <= DAY
        return next_at

    return tick


def asked(store: Store) -> object:
    """What an idle executor asks: is there a job, or will there be one."""
    return store.floor.next_job_at() or store.floor.next_schedule_at()


def timed(n: int, tick: Callable[[], object]) -> Ran:
    """Milliseconds of each of `n` calls; the first of all, which prepares, is not counted."""
    tick()
    began = perf_counter()
    for _ in range(n):
        tick()
    return Ran(n, ((perf_counter() - began) / n * MILLISECONDS,))


def share(store: Store, role: str, seconds: int) -> Ran:
    """The share of a core that a process takes, once it runs, over so many seconds."""
    with idle_process(role, store.url) as process:
        before, began = process.seen(), perf_counter()
        sleep(seconds)
        after, took = process.seen(), perf_counter() - began
    return Ran(
        store.floor.count("schedules"), (100 * (after.cpu_seconds - before.cpu_seconds) / took,)
    )
