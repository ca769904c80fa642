"""Register: so many new schedules into the table, each with the note of who made it.

The floor loads the rows that the product would have written, in one transaction for each table.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from time import perf_counter

from scheduler import JobQueue, clock, every
from scheduler.declarations import ChangeKind
from scheduler.registry import Registry, define
from tests.benchmarks.bench import Bench, Figure, Ran, Row, at_least
from tests.benchmarks.drain import work
from tests.benchmarks.stores import KINDS, Store

NOTE = "by JobQueue.declare, which saves them in batches"


def rows(bench: Bench) -> Iterator[Row]:
    n = bench.sized(tiny=10, small=200, full=100_000)
    registry = recurring(n)
    for kind in KINDS:
        yield from bench.compare(
            "register",
            [Figure(f"register {n:,} schedules, {kind}", "schedules/s", at_least(20_000))],
            floor=partial(by_hand, bench, kind, n),
            ours=partial(ours, bench, kind, registry, n),
            note=NOTE,
        )


def by_hand(bench: Bench, kind: str, n: int) -> Ran:
    with bench.stores.fresh(kind) as store:
        with JobQueue(store.url, registry=recurring(1)) as queue:
            queue.declare()
        schedules, notes = columns_and_row(store, "schedules"), columns_and_row(store, "notes")
        for table in ("schedules", "notes"):
            store.floor.execute(f"DELETE FROM {table}")
        began = perf_counter()
        for table, (columns, model) in (("schedules", schedules), ("notes", notes)):
            store.floor.load(
                table,
                columns,
                [
                    tuple(_numbered(name, value, place) for name, value in model.items())
                    for place in range(n)
                ],
            )
        took = perf_counter() - began
        return Ran(store.floor.count("schedules"), (n / took,))


def columns_and_row(store: Store, table: str) -> tuple[list[str], dict[str, object]]:
    """The names of the columns, and the one row, of `table`, as its columns take it."""
    columns = store.columns(table)
    as_text = [store.as_loaded(table, each) for each in columns]
    [row] = store.floor.execute(f"SELECT {', '.join(as_text)} FROM {table}")
    return columns, dict(zip(columns, row, strict=True))


def _numbered(column: str, value: object, place: int) -> object:
    return f"schedule-{place:010d}" if column in ("id", "name", "schedule_id") else value


def ours(bench: Bench, kind: str, registry: Registry, n: int) -> Ran:
    with bench.stores.fresh(kind) as store:
        with JobQueue(store.url, registry=registry) as queue:
            began = perf_counter()
            changes = queue.declare()
            took = perf_counter() - began
        assert {change.kind for change in changes} == {ChangeKind.ADDED}
        return Ran(store.floor.count("schedules"), (n / took,))


def recurring(n: int) -> Registry:
    """Handlers that recur hourly, each by a name of its own."""
    registry, rule = Registry(), every(hours=1, start_date=clock.now().replace(microsecond=0))
    for place in range(n):
        registry.add(define(work, rule, name=f"schedule-{place:010d}"))
    return registry
