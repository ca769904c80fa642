"""Starts processes quickly: one that has imported everything forks a new one at each request.

`python -m tests.faults.nursery` reads requests from its stdin and says on its stdout which process
it made, and with what code one ended. What it makes is a process as any other: it gets the
environment asked for, runs a module as `python -m` does, and may be killed. A fork costs a
twentieth of what a start from nothing does, and the suite starts hundreds.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

ROOT = Path(__file__).parents[2]

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>

_IMPORTED = (
    "alembic.command",
    "psycopg",
    "scheduler.cli.app",
    "scheduler.cli.display",
    "scheduler.service",
    "scheduler.storage.sql.dialects.postgresql",
    "scheduler.storage.sql.dialects.sqlite",
    "scheduler.storage.sql.storage",
    "tests.faults.tasks",
    "tests.faults.work",
)


class Process(Protocol):
    """What there is of a subprocess.Popen here."""

    @property
    def pid(self) -> int: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, sig: int) -> None: ...
    def terminate(self) -> None: ...
    def kill(self) -> None: ...


class Starter(Protocol):
    """Whoever can start a process."""

    def start(self, command: tuple[str, ...], log: Path, environment: Mapping[str, str]) -> Process:
        """A process that does `python -m` this command, its stderr in `log`."""


class Child:
    """A process that the nursery made; used as a subprocess.Popen."""

    def __init__(self, pid: int, nursery: Nursery) -> None:
        self._pid = pid
        self._nursery = nursery

    @property
    def pid(self) -> int:
        return self._pid

    def poll(self) -> int | None:
        return self._nursery.code(self.pid, 0)

    def wait(self, timeout: float | None = None) -> int:
        code = self._nursery.code(self.pid, timeout)
        if code is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
        return code

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, sig)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Nursery:
    """The test's end of it."""

    def __init__(self, popen: subprocess.Popen[str]) -> None:
        self._popen = popen
        self._made: list[int] = []
        self._codes: dict[int, int] = {}
        self._asking = threading.Lock()  # so that who asks gets what was made for it
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def start(self, command: tuple[str, ...], log: Path, environment: Mapping[str, str]) -> Child:
        """A process that does `python -m` this command, its stderr in `log`."""
        request = {"command": command, "log": str(log), "environment": dict(environment)}
        assert self._popen.stdin is not None
        log.touch()  # there from now on, whenever the process comes to write it
        with self._asking, self._changed:
            self._popen.stdin.write(json.dumps(request) + "\n")
            self._popen.stdin.flush()
            self._changed.wait_for(lambda: self._made)
            return Child(self._made.pop(), self)

    def code(self, pid: int, timeout: float | None) -> int | None:
        """What the process exited with, waiting so long for it; None if it still runs."""
        with self._changed:
            self._changed.wait_for(lambda: pid in self._codes, timeout)
            return self._codes.get(pid)

    def close(self) -> None:
        """Ask for nothing more; what it made ends with it."""
        assert self._popen.stdin is not None
        self._popen.stdin.close()
        self._reader.join()

    def _read(self) -> None:
        for line in self._popen.stdout or ():
            said = json.loads(line)
            with self._changed:
                if "code" in said:
                    self._codes[said["pid"]] = said["code"]
                else:
                    self._made.append(said["pid"])
                self._changed.notify_all()


@contextmanager
def nursery() -> Iterator[Nursery]:
    """A nursery, for the length of the block."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.faults.nursery"],
        cwd=ROOT,
        env={**os.environ, "PYTHONFAULTHANDLER": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as popen:
        made = Nursery(popen)
        try:
            yield made
        finally:
            made.close()


# --- the process itself -------------------------------------------------------------------------


def serve() -> None:
    """Make what is asked for until nobody asks any more."""
    for name in _IMPORTED:
        importlib.import_module(name)
    gc.freeze()
    signal.signal(signal.SIGCHLD, _reap)
    # One at a time: nothing that the next process should read is in a buffer of this one.
    while line := _read_line():
        request = json.loads(line)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        pid = os.fork()
        if not pid:
            _become(request)
            return
        _say(pid=pid)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})


def _read_line() -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            return b""
        line += byte
    return line


def _reap(*_: Any) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        _say(pid=pid, code=os.waitstatus_to_exitcode(status))


def _say(**said: int) -> None:
    os.write(1, json.dumps(said).encode() + b"\n")


def _become(request: dict[str, Any]) -> None:
    """Be the process that was asked for; returns when it is to exit with 0."""
    from scheduler import faults

    # Whoever is left does not outlive the nursery, however that ends.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    nowhere = os.open(os.devnull, os.O_RDWR)
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number, file in enumerate((nowhere, nowhere, log)):
        os.dup2(file, number)
    os.environ.update(request["environment"])
    faults.point = faults.armed(os.environ)
    module, *arguments = request["command"]
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    serve()
