"""Processes that do nothing but be there: what they weigh, and what they take of a core.

`python -m tests.benchmarks.processes ROLE URL` is one of them: the service as it comes, on a store
with its schedules and no job modules, or a loop that asks the store the same by hand. For every
line on stdin it answers with what it has used so far; it ends when stdin does.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from tests.benchmarks.floor import Floor

ROOT = Path(__file__).parents[2]
SERVICE, BY_HAND = "service", "by-hand"
INTERVAL = 1.0
"""Seconds between two looks of an idle executor, as it comes."""
MEBIBYTE = 2**20


@dataclass(frozen=True)
class Use:
    """What a process has used so far, and the MiB that it holds now."""

    cpu_seconds: float
    resident: float


class IdleProcess:
    """The parent's end of one."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._asking: IO[str] = process.stdin
        self._answers: IO[str] = process.stdout

    def seen(self) -> Use:
        """What it has used by now."""
        self._asking.write("\n")
        self._asking.flush()
        return Use(**json.loads(self._answers.readline()))


@contextmanager
def idle_process(role: str, url: str) -> Iterator[IdleProcess]:
    """One that runs, for the length of the block."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.processes", role, url],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            idle = IdleProcess(process)
            idle.seen()  # it runs
            yield idle
        finally:
            process.kill()  # it does nothing that could be left half done


def _answer(is_running: threading.Event) -> None:
    """Answer what comes on stdin, once the process does what it is there for; end it with that."""
    for _ in sys.stdin:
        is_running.wait()
        print(json.dumps(asdict(Use(time.process_time(), _resident()))), flush=True)
    os._exit(0)


def _resident() -> float:
    """MiB of memory that the process has now (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MEBIBYTE


def _serve(url: str, is_running: threading.Event) -> None:
    """The service as `scheduler run` starts it, on any free port."""
    from scheduler.service import Service
    from scheduler.settings import read_settings

    # A module that is loaded anyway, and declares nothing.
    settings = read_settings(database=url, modules="scheduler.errors", port=0)
    Service(settings).run(started=lambda changes: is_running.set())


def _ask_by_hand(url: str, is_running: threading.Event) -> None:
    """The two questions of an idle service, every second."""
    floor = _floor(url)
    while True:
        floor.next_job_at()
        floor.next_schedule_at()
        is_running.set()
        time.sleep(INTERVAL)


def _floor(url: str) -> Floor:
    """On a connection of its own; only its own driver is imported, which is all it is to weigh."""
    if url.startswith("sqlite"):
        from tests.benchmarks.floor_sqlite import SQLiteFloor

        return SQLiteFloor(url)
    from tests.benchmarks.floor_postgres import PostgresFloor

    return PostgresFloor(url)


def _main(role: str, url: str) -> None:
    is_running = threading.Event()
    threading.Thread(target=_answer, args=[is_running], daemon=True).start()
    {SERVICE: _serve, BY_HAND: _ask_by_hand}[role](url, is_running)


if __name__ == "__main__":
    _main(*sys.argv[1:])
