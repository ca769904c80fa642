"""Growth: what it costs to lease jobs as the table grows. Here the floor is the small table.

Either side leases the same number of jobs, from a table with few or with many rows that are none of
its business: finished ones, or jobs of a better priority that are due tomorrow.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from statistics import median
from time import perf_counter

from scheduler import JobStatus, clock
from scheduler.model import Job
from scheduler.testing.values import a_job
from tests.benchmarks.bench import Bench, Figure, Ran, Row, ratio_at_most
from tests.benchmarks.floor import JOB_NAME
from tests.benchmarks.pickup import MILLISECONDS
from tests.benchmarks.stores import KINDS, Store
from tests.benchmarks.storm import DAY

FEW = 1_000
BATCH = 10


def rows(bench: Bench) -> Iterator[Row]:
    many = bench.sized(tiny=2_000, small=20_000, full=1_000_000)
    for kind in KINDS:
        for what, model in (("finished", finished()), ("future pending", future())):
            yield from _grown(bench, kind, what, model, many)


def _grown(bench: Bench, kind: str, what: str, model: Job, many: int) -> Iterator[Row]:
    batches = bench.sized(tiny=3, small=20, full=100)
    due = (batches + 1) * BATCH * bench.runs
    with bench.stores.fresh(kind) as small, bench.stores.fresh(kind) as large:
        for store, n in ((small, FEW), (large, many)):
            store.fill_jobs(model, n, prefix="other-")
            now = clock.now()
            store.fill_jobs(
                a_job(created_at=now, scheduled_at=now, priority=10), due, prefix="due-"
            )
        yield from bench.compare(
            "growth",
            [Figure(f"lease {BATCH} among {many:,} {what}, {kind}", "ms", ratio_at_most(1.3))],
            floor=partial(leased, small, batches),
            ours=partial(leased, large, batches),
            note=f"the floor is ours among {FEW:,}",
        )


def leased(store: Store, batches: int) -> Ran:
    """The median of leasing a batch, once the statement is known to both ends."""
    acquire = partial(store.storage.acquire_next_jobs, BATCH, handler_names=[JOB_NAME])
    acquire()
    took, count = [], 0
    for _ in range(batches):
        began = perf_counter()
        jobs = acquire()
        took.append((perf_counter() - began) * MILLISECONDS)
        count += len(jobs)
    return Ran(count, (median(took),))


def finished() -> Job:
    yesterday = clock.now() - DAY
    return a_job(
        status=JobStatus.COMPLETED,
        created_at=yesterday,
        scheduled_at=yesterday,
        started_at=yesterday,
        completed_at=yesterday,
    )


def future() -> Job:
    now = clock.now()
    return a_job(created_at=now, scheduled_at=now + DAY, priority=0)
