"""Where the time goes: `python -m tests.benchmarks.profiles drain|storm PostgreSQL|SQLite n`.

First, without a profiler, what holds whatever else the machine does: how often each thing is done
per job, and the processor's time it takes. Then the same again under cProfile, counted in the
thread's own processor time: shares, not sums, since the profiler makes calls dearer than what they
do.
"""

from __future__ import annotations

import cProfile
import io
import pstats
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

from sqlalchemy import Engine, event

from scheduler import JobQueue
from scheduler.expander import Expander
from tests.benchmarks.drain import Countdown, prepare, work
from tests.benchmarks.floor import JOB_NAME
from tests.benchmarks.stores import Store, Stores
from tests.benchmarks.storm import MIDNIGHT, nightly
from tests.servers import POSTGRES, server_home, throwaway_server

SHOWN = 45
MICROSECONDS = 1e6
Around = Callable[[Callable[[], Any]], Any]
"""Makes a call that is to be measured, and hands on what it returns."""


class Watched(JobQueue):
    """A queue whose steps are measured: they are called one after another, each on any thread."""

    around: Around

    def process_next_batch(self) -> datetime | None:
        next_at: datetime | None = self.around(super().process_next_batch)
        return next_at


def drained(store: Store, n: int, around: Around) -> None:
    prepare(store, n)
    with Watched(store.url) as queue:
        queue.around = around
        queue.register(JOB_NAME, work)
        completed = Countdown(n)
        queue.add_event_listener("completed", completed.tell)
        with counted(n):
            queue.start()
            completed.wait()


def stormed(store: Store, n: int, around: Around) -> None:
    store.fill_schedules(nightly(), n)
    expander = Expander(store.storage, emit=lambda event: None)
    with counted(n):
        around(lambda: expander.tick(MIDNIGHT))


class Steps:
    """Calls, and the processor's time of the threads that make them."""

    def __init__(self) -> None:
        self.calls, self.seconds = 0, 0.0

    def __call__(self, call: Callable[[], Any]) -> Any:
        began = time.thread_time()
        try:
            return call()
        finally:
            self.calls += 1
            self.seconds += time.thread_time() - began


class Profiled:
    """Calls under one profile, counted in processor's time."""

    def __init__(self) -> None:
        self.profile = cProfile.Profile(time.thread_time)

    def __call__(self, call: Callable[[], Any]) -> Any:
        self.profile.enable()
        try:
            return call()
        finally:
            self.profile.disable()

    def report(self) -> str:
        printed = io.StringIO()
        pstats.Stats(self.profile, stream=printed).sort_stats("cumulative").print_stats(SHOWN)
        return printed.getvalue()


@contextmanager
def counted(n: int) -> Iterator[None]:
    """Print, after the block, what it did for each of `n` jobs."""
    counts: Counter[str] = Counter()

    def statement(*given: Any) -> None:
        counts["statements"] += 1
        counts["rows sent one by one"] += len(given[3]) if given[5] else 0

    def ended(_: Any) -> None:
        counts["transactions"] += 1

    begin = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        counts["threads started"] += 1
        begin(thread)

    event.listen(Engine, "before_cursor_execute", statement)
    event.listen(Engine, "commit", ended)
    event.listen(Engine, "rollback", ended)
    cpu, began = time.process_time(), time.perf_counter()
    try:
        with patch.object(threading.Thread, "start", start):
            yield
    finally:
        took = time.perf_counter() - began
        cpu = time.process_time() - cpu
        event.remove(Engine, "before_cursor_execute", statement)
        event.remove(Engine, "commit", ended)
        event.remove(Engine, "rollback", ended)
    for name, count in counts.items():
        print(f"{count / n:10.3f} {name} per job")
    print(f"{cpu / n * MICROSECONDS:10.0f} µs of processor per job, the process in all")
    print(f"{took / n * MICROSECONDS:10.0f} µs of time per job")


def main(what: str, kind: str, n: int) -> None:
    act = {"drain": drained, "storm": stormed}[what]
    with server_home(POSTGRES) as home, tempfile.TemporaryDirectory() as directory:
        stores = Stores(throwaway_server(POSTGRES, home), Path(directory))
        print(f"{what} of {n:,}, {kind}")
        steps, profiled = Steps(), Profiled()
        with stores.fresh(kind) as store:
            act(store, n, steps)
        print(f"{steps.seconds / n * MICROSECONDS:10.0f} µs of processor per job, in ticks")
        print(f"{steps.calls / n:10.3f} ticks per job")
        print("\nunder cProfile:")
        with stores.fresh(kind) as store:
            act(store, n, profiled)
        print(profiled.report())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
