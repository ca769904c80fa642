"""Every benchmark, by name: a file each, whose `rows` yields what it measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from tests.benchmarks import (
    drain,
    enqueue,
    growth,
    idle,
    imports,
    memory,
    pickup,
    punctuality,
    register,
    retention,
    start,
    storm,
)
from tests.benchmarks.bench import Bench, Row

BENCHMARKS: Mapping[str, Callable[[Bench], Iterator[Row]]] = {
    "drain": drain.rows,
    "enqueue": enqueue.rows,
    "storm": storm.rows,
    "register": register.rows,
    "idle": idle.rows,
    "start": start.rows,
    "pickup": pickup.rows,
    "punctuality": punctuality.rows,
    "growth": growth.rows,
    "imports": imports.rows,
    "memory": memory.rows,
    "retention": retention.rows,
}
