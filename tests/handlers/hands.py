"""Handlers that run elsewhere: what is called there is found by its module and name."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from scheduler import Cancel, JobContext, Retry, job

logger = logging.getLogger("books.hands")

in_process = job(runner="process")


@in_process
def pid() -> int:
    return os.getpid()


@in_process
def add(a: int, b: int = 1) -> int:
    return a + b


@in_process
def tell(ctx: JobContext) -> dict[str, Any]:
    """Everything that a context knows."""
    ctx.log.info("telling", n=1)
    ctx.progress(0.5, "half")
    logger.warning("standard")
    assert ctx.deadline is not None
    assert ctx.occurrence_at is not None
    return {
        "job": ctx.job.id,
        "attempt": ctx.attempt,
        "deadline": ctx.deadline.isoformat(),
        "occurrence_at": ctx.occurrence_at.isoformat(),
        "cancelled": ctx.cancelled,
    }


@in_process
def fail() -> None:
    logger.error("before")
    raise ValueError("no room")


@job(runner="process", give_up_on=ValueError)
def give_up() -> None:
    raise ValueError("for good")


@in_process
def order(what: str) -> None:
    raise Cancel("called off") if what == "cancel" else Retry("busy", in_=timedelta(seconds=7))


@in_process
def leave(code: int) -> None:
    os._exit(code)


@in_process
def crash() -> None:
    ctypes.string_at(0)


@in_process
def exit_softly() -> None:
    sys.exit(3)


@in_process
def loop(path: str, stubborn: bool = False) -> None:
    """Run for ever; say in the pipe `path` that it has begun, and who began."""
    if stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
    Path(path).write_text(f"{os.getpid()} {child.pid}")
    while True:
        pass


@in_process
def clean_up(path: str) -> None:
    """Run for ever; say in the pipe `path` that it has begun, and in a file beside it the end."""
    try:
        Path(path).write_text("begun")
        time.sleep(3600)
    finally:
        Path(f"{path}.end").write_text("cleaned")


@job(runner="process", memory_limit=100 << 20)
def hog(megabytes: int) -> int:
    return len(bytearray(megabytes << 20))


@in_process
def unserialisable() -> Any:
    return {"rows": [object()]}


@in_process
def huge(megabytes: int) -> str:
    return "x" * (megabytes << 20)


@in_process
def garble() -> None:
    """Write nonsense to everything that is open but the standard streams."""
    for descriptor in range(3, 64):
        try:
            os.write(descriptor, b"nonsense\n")
        except OSError:
            continue


@in_process
def fork_and_leave() -> None:
    """End while a child of it holds all that it had open."""
    if os.fork() == 0:
        os.setsid()
        time.sleep(30)
    os._exit(4)


def plain() -> str:
    return "plain"


def replaced() -> None: ...


original = replaced


def replaced() -> None: ...  # type: ignore[no-redef]


on_cluster = job(runner="dask")


@on_cluster
def cluster_pid() -> int:
    return os.getpid()


@on_cluster
def cluster_add(ctx: JobContext, a: int, b: int = 1) -> int:
    logger.warning("adding")
    ctx.log.info("added", attempt_is=ctx.attempt)
    return a + b


@on_cluster
def cluster_fail() -> None:
    raise ValueError("no room")


@on_cluster
def cluster_leave(path: str) -> None:
    """End the worker, and note each call."""
    with Path(path).open("a") as file:
        file.write("called\n")
    os._exit(1)


@on_cluster
def cluster_wait(begun: str, until: str) -> None:
    """Say in the pipe `begun` that it has begun, and end when the pipe `until` says so."""
    Path(begun).write_text("begun")
    Path(until).read_text()
