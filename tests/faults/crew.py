"""The services under test: real processes, and somebody who starts again those that died.

A process may die of the fault that is being tested, and of nothing else: any other end is an error
that shows the end of its log.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from scheduler import faults
from tests.faults.nursery import Process, Starter
from tests.faults.tasks import LOG

TTL = float(os.environ.get("SCHEDULER_FAULTS_TTL", "3"))
"""Seconds. Short, so that a death is noticed soon; but a live process that the machine keeps
waiting for so long loses its jobs, and the verdict then asks why.
"""
POLL_SECONDS = 0.02
PATIENCE = float(os.environ.get("SCHEDULER_FAULTS_PATIENCE", "90"))
"""Seconds that a condition may take to come true; only a failure waits so long."""

MODULES = "tests.faults.tasks,tests.faults.work"
SERVICE = ("scheduler", "run")
KILLED = {faults.EXIT_CODE, -signal.SIGKILL}


class Member:
    """One process, and what it logged."""

    def __init__(self, popen: Process, command: tuple[str, ...], log: Path) -> None:
        self.popen = popen
        self.command = command
        self.log = log

    @property
    def pid(self) -> int:
        return self.popen.pid

    def logged(self, event: str) -> list[dict[str, Any]]:
        """The records of this event, so far."""
        whole = self.log.read_text().rpartition("\n")[0].splitlines()
        records = [json.loads(line) for line in whole if line.startswith("{")]
        return [record for record in records if record["event"] == event]

    def end(self) -> int:
        """What it exits with; if it does not, its threads say in its log where they are."""
        with suppress(subprocess.TimeoutExpired):
            return self.popen.wait(PATIENCE)
        self.popen.send_signal(signal.SIGABRT)  # heeded by Python's faulthandler
        return self.popen.wait()

    def tail(self) -> str:
        return self.log.read_text()[-4000:]


class Crew:
    """Services on the store at `url`, whose lines and logs are in `place`."""

    def __init__(self, nursery: Starter, place: Path, url: str, **settings: str) -> None:
        self.place = place
        self._nursery = nursery
        self.lines = place / "lines"
        self.members: list[Member] = []
        self.dead: list[Member] = []
        self._clients: list[Member] = []
        self._begun = 0
        self.allowed = KILLED
        self._environment = {
            "SCHEDULER_DATABASE": url,
            "SCHEDULER_MODULES": MODULES,
            "SCHEDULER_TTL": str(TTL),
            "SCHEDULER_WEB": "false",
            "SCHEDULER_LOG_FORMAT": "json",
            "SCHEDULER_PROCESSING_INTERVAL": "0.2",
            "SCHEDULER_PREFETCH_BATCH_SIZE": "4",
            "SCHEDULER_SHUTDOWN_GRACE": "10",
            LOG: str(self.lines),
            **settings,
        }

    @property
    def killed(self) -> set[int]:
        """The process ids of those that died."""
        return {member.pid for member in self.dead}

    @property
    def ready_at(self) -> datetime:
        """When the last of them had started."""
        records = [each.logged("running") for each in (*self.members, *self.dead)]
        return max(datetime.fromisoformat(each["timestamp"]) for some in records for each in some)

    def start(self, command: tuple[str, ...] = SERVICE, *, fault: str = "") -> Member:
        """A new member, which runs until it is told to end."""
        member = self._begin(command, fault)
        self.members.append(member)
        return member

    def run(self, command: tuple[str, ...], *, fault: str = "") -> int:
        """What a process that ends by itself exits with."""
        member = self._begin(command, fault)
        self._clients.append(member)
        self.until(lambda: member.popen.poll() is not None)
        return member.popen.wait()

    def _begin(self, command: tuple[str, ...], fault: str) -> Member:
        environment = {**self._environment, faults.VARIABLE: fault}
        self._begun += 1
        log = self.place / f"{self._begun}.log"
        return Member(self._nursery.start(command, log, environment), command, log)

    def start_all(self, number: int = 2, command: tuple[str, ...] = SERVICE) -> None:
        """So many new members; returns when they run."""
        for _ in range(number):
            self.start(command)
        self.until(lambda: all(each.logged("running") for each in self.members))

    def pass_time(self, seconds: float) -> None:
        """Let a fault last so long."""
        over = time.monotonic() + seconds
        self.until(lambda: time.monotonic() >= over)

    def mend(self) -> None:
        """Start a new service for each member that died."""
        for member in list(self.members):
            code = member.popen.poll()
            if code is None:
                continue
            self.members.remove(member)
            self.dead.append(member)
            assert code in self.allowed, f"exit code {code}:\n{member.tail()}"
            self.start(member.command)

    def until(self, condition: Callable[[], object], seconds: float = PATIENCE) -> None:
        """Return once `condition` holds; meanwhile, those that die are replaced."""
        deadline = time.monotonic() + seconds
        while not condition():
            self.mend()
            if time.monotonic() > deadline:
                logs = "\n".join(f"--- {each.log.name}\n{each.tail()}" for each in self.members)
                raise AssertionError(f"{condition} does not hold after {seconds:g} s:\n{logs}")
            time.sleep(POLL_SECONDS)

    def kill(self, member: Member) -> None:
        """SIGKILL; another takes its place."""
        member.popen.kill()
        member.popen.wait()
        self.mend()

    def stop(self) -> None:
        """SIGTERM to all; each drains and exits with 0, dies of its fault, or had not begun yet."""
        for member in self.members:
            member.popen.terminate()
        for member in self.members:
            code = member.end()
            if code == faults.EXIT_CODE:
                self.dead.append(member)
                continue
            has_begun = code != -signal.SIGTERM or member.logged("running")
            assert code == 0 or not has_begun, f"exit code {code}:\n{member.tail()}"
        self.members.clear()

    def end(self) -> None:
        """SIGKILL to whoever is left."""
        for member in (*self.members, *self._clients):
            member.popen.kill()
            member.popen.wait()


@contextmanager
def crew(nursery: Starter, place: Path, url: str, **settings: str) -> Iterator[Crew]:
    """A crew that nobody has joined yet; none of it outlives the block."""
    place.mkdir(exist_ok=True)
    made = Crew(nursery, place, url, **settings)
    try:
        yield made
    finally:
        made.end()
