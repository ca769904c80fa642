"""The service as a process: it runs, drains on a signal, and survives being killed."""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import make_url

from scheduler.service import settle_in

EVERY_SECOND = """
from scheduler import every, job

@job(every(seconds=1), overlap="allow", catch_up="all")
def tick(): return {"ok": True}
"""

SLOW = """
import threading
from scheduler import JobContext, job

@job
def short(ctx: JobContext):
    ctx.log.info("begun")
    with open("release") as pipe:  # blocks until the test opens the other end
        return pipe.read()

@job
def endless(ctx: JobContext):
    ctx.log.info("begun")
    threading.Event().wait()
"""


class Process:
    """`scheduler run` in a directory, and its log records as they come."""

    def __init__(self, place: Path, *options: str, **settings: str) -> None:
        environment = {
            **os.environ,
            "SCHEDULER_MODULES": "work",
            "SCHEDULER_PORT": "0",
            "SCHEDULER_LOG_FORMAT": "json",
            **settings,
        }
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "scheduler", "run", *options],
            cwd=place,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def until(self, event: str, count: int = 1) -> dict[str, str]:
        """Read the log until `event` came `count` times; its last record."""
        assert self.popen.stderr is not None
        seen = []
        for line in self.popen.stderr:
            seen.append(line)
            record: dict[str, str] = json.loads(line)
            count -= record["event"] == event
            if not count:
                return record
        raise AssertionError(f"no {event} in:\n{''.join(seen)}")

    def stop(self, number: signal.Signals) -> int:
        self.popen.send_signal(number)
        self.popen.communicate(timeout=30)
        return self.popen.returncode


@contextmanager
def running(place: Path, *options: str, **settings: str) -> Iterator[Process]:
    process = Process(place, *options, **settings)
    try:
        yield process
    finally:
        process.popen.kill()
        process.popen.communicate()


def rows(place: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(place / "scheduler.db")) as database:
        return database.execute(query).fetchall()


def occurrences(place: Path) -> list[datetime]:
    found = rows(place, "SELECT occurrence_at FROM jobs ORDER BY occurrence_at")
    return [datetime.fromisoformat(text) for (text,) in found]


def test_every_second_gives_one_completed_job_a_second(tmp_path: Path) -> None:
    (tmp_path / "work.py").write_text(EVERY_SECOND)

    with running(tmp_path, "--for", "4s") as process:
        process.popen.communicate(timeout=30)

    assert process.popen.returncode == 0
    at = occurrences(tmp_path)
    assert len(at) in (4, 5)
    assert {later - earlier for earlier, later in pairwise(at)} == {timedelta(seconds=1)}
    assert rows(tmp_path, "SELECT DISTINCT status FROM jobs") == [("completed",)]


def test_signals_that_interrupt_each_other_stop_it(tmp_path: Path) -> None:
    """Whatever the main thread is at when one comes, and be it the handler of another."""
    (tmp_path / "work.py").write_text(EVERY_SECOND)

    with running(tmp_path) as process:
        process.until("running")
        for number in (signal.SIGTERM, signal.SIGINT) * 200:
            process.popen.send_signal(number)
        assert process.stop(signal.SIGTERM) == 0


def test_what_is_finished_goes_as_the_settings_say(tmp_path: Path) -> None:
    """In the process that expands schedules, at its start and from then on."""
    (tmp_path / "work.py").write_text(EVERY_SECOND)
    with running(tmp_path, "--for", "3s") as process:
        process.until("stopped")
    old = set(occurrences(tmp_path))

    with running(tmp_path, SCHEDULER_RETENTION_COMPLETED="0") as process:
        removed = process.until("finished jobs removed")

    assert int(removed["count"]) >= len(old) - 1 > 0
    assert len(old & set(occurrences(tmp_path))) <= 1  # the last that ran by then


def test_killed_at_any_moment_every_occurrence_has_exactly_one_row(tmp_path: Path) -> None:
    """SIGKILL after one, two and three finished jobs; the series shows no hole and no double."""
    (tmp_path / "work.py").write_text(EVERY_SECOND)

    for finished in (1, 2, 3):
        with running(tmp_path) as process:
            process.until("completed", finished)
            assert process.stop(signal.SIGKILL) == -signal.SIGKILL
    with running(tmp_path) as process:
        process.until("completed", 2)
        assert process.stop(signal.SIGTERM) == 0

    at = occurrences(tmp_path)
    assert at == [at[0] + timedelta(seconds=k) for k in range(len(at))]
    assert rows(tmp_path, "SELECT * FROM skips") == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_running_jobs_finish_and_gives_the_rest_back(
    tmp_path: Path, number: signal.Signals
) -> None:
    (tmp_path / "work.py").write_text(SLOW)
    os.mkfifo(tmp_path / "release")
    for name in ("short", "endless"):
        subprocess.run(
            [sys.executable, "-m", "scheduler", "enqueue", name, "--modules", "work"],
            cwd=tmp_path,
            check=True,
            capture_output=True,
        )

    with running(tmp_path, SCHEDULER_SHUTDOWN_GRACE="1") as process:
        process.until("begun", 2)
        process.popen.send_signal(number)
        process.until("stopping")
        (tmp_path / "release").write_text("done")
        process.popen.communicate(timeout=30)

    assert process.popen.returncode == 0
    assert rows(tmp_path, "SELECT name, status, retry_count, lease_token FROM jobs ORDER BY 1") == [
        ("endless", "pending", 0, None),
        ("short", "completed", 0, None),
    ]


def test_the_api_takes_jobs_and_the_executor_runs_them(tmp_path: Path) -> None:
    (tmp_path / "work.py").write_text(
        "from scheduler import job\n\n@job\ndef greet(name: str): return f'hello {name}'\n"
    )

    with (
        running(tmp_path) as process,
        httpx.Client(base_url=process.until("running")["web"]) as api,
    ):
        added = api.post("/api/v1/jobs", json={"name": "greet", "data": {"name": "Ann"}})
        assert added.status_code == 201
        process.until("completed")
        job = api.get(f"/api/v1/jobs/{added.json()['id']}").json()
        assert job["result"] == "hello Ann"
        assert api.get("/readyz").json() == {"status": "ok", "clock_behind": 0.0}


def test_a_handler_finds_the_store_that_was_named_on_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "work.py").write_text(
        "from scheduler import every, job\n"
        "from scheduler.settings import read_settings\n\n"
        "@job(every(hours=1))\ndef where(): return read_settings().database\n"
    )

    with running(tmp_path, "--database", "sqlite:///elsewhere.db") as process:
        process.until("completed")

    with closing(sqlite3.connect(tmp_path / "elsewhere.db")) as database:
        assert database.execute("SELECT result FROM jobs").fetchall() == [
            ('"sqlite:///elsewhere.db"',)
        ]


def test_the_parts_run_alone_and_meet_in_the_table(tmp_path: Path) -> None:
    """One process expands, another executes, a third serves the API."""
    (tmp_path / "work.py").write_text(EVERY_SECOND)

    with (
        running(tmp_path, "--only", "expander") as expander,
        running(tmp_path, "--only", "executor") as executor,
        running(tmp_path, "--only", "web") as web,
    ):
        expander.until("running")
        executor.until("completed", 2)
        listed = httpx.get(f"{web.until('running')['web']}/api/v1/jobs").json()
        assert {job["name"] for job in listed} == {"tick"}
        assert [each.stop(signal.SIGTERM) for each in (expander, executor, web)] == [0, 0, 0]


class Relay:
    """A way to a server on which, once it is cut, nothing is said and nothing is refused."""

    def __init__(self, host: str, port: int) -> None:
        self._server = host, port
        self._cut = threading.Event()
        self._ends: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        self._cut.set()

    def close(self) -> None:
        for each in (self._listening, *self._ends):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, far = self._listening.accept()[0], socket.create_connection(self._server)
                self._ends += [near, far]
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=self._pass_on, args=pair, daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if not self._cut.is_set():
                    target.sendall(data)
            target.close()


@pytest.mark.parametrize("part", ["all", "expander", "executor"])
def test_a_signal_ends_a_process_whose_store_has_gone_silent(
    tmp_path: Path, postgres_database: str, part: str
) -> None:
    """Soon after the grace, though a handler runs on; the error says why."""
    (tmp_path / "work.py").write_text(EVERY_SECOND + SLOW)
    server = make_url(postgres_database)
    with closing(Relay(server.host or "", server.port or 5432)) as relay:
        database = server.set(host="127.0.0.1", port=relay.port)
        url = database.render_as_string(hide_password=False)
        for command in (["db", "upgrade"], ["enqueue", "endless", "--modules", "work"]):
            subprocess.run(
                [sys.executable, "-m", "scheduler", *command, "--database", url],
                cwd=tmp_path,
                check=True,
                capture_output=True,
            )
        options = [] if part == "all" else ["--only", part]
        settings = {"SCHEDULER_DATABASE": url, "SCHEDULER_SHUTDOWN_GRACE": "1"}
        with running(tmp_path, *options, **settings) as process:
            process.until("running" if part == "expander" else "begun")
            relay.cut()
            process.popen.send_signal(signal.SIGTERM)
            said = process.popen.communicate(timeout=25)[1]
    assert process.popen.returncode == 2
    assert "error: the store has said nothing" in said


@pytest.mark.parametrize(("before", "meanwhile"), [(700, 10_000), (0, 0), (50_000, 50_000)])
def test_the_garbage_collector_is_as_before_once_a_service_has_ended(
    before: int, meanwhile: int
) -> None:
    """And meanwhile, where somebody switched it off, or lets it look less often."""
    found = gc.get_threshold()
    gc.set_threshold(before, *found[1:])
    try:
        undo = settle_in()
        assert gc.get_threshold() == (meanwhile, *found[1:])
        undo()
        assert gc.get_threshold() == (before, *found[1:])
        assert gc.get_freeze_count() == 0
    finally:
        gc.set_threshold(*found)
