"""Handlers in processes: what befalls one befalls nobody else, and nothing is left behind."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from datetime import timedelta
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from scheduler import InvalidOption, JobQueue
from scheduler.handlers import HandlerRunner
from scheduler.model import Cancelled, Completed, Failed, Outcome
from scheduler.registry import Registry, define, marks
from scheduler.testing.values import NOON, a_job

from . import hands
from .conftest import started

WAIT = 60
ROOT = str(Path(__file__).parents[2])


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> Iterator[HandlerRunner]:
    monkeypatch.syspath_prepend(ROOT)
    found = [each for value in vars(hands).values() for each in marks(value)]
    runner = HandlerRunner(Registry(found), max_result_bytes=1000)
    yield runner
    runner.close()


Start = Callable[..., Future[Outcome]]


@pytest.fixture
def start(runner: HandlerRunner) -> Start:
    """Start the handler of that name."""

    def start(name: str, /, **data: Any) -> Future[Outcome]:
        job = data.pop("job", None) or a_job(name=name, data=data)
        return started(runner, job)

    return start


def failure(future: Future[Outcome]) -> Failed:
    outcome = future.result(WAIT)
    assert isinstance(outcome, Failed)
    return outcome


def result(future: Future[Outcome]) -> Any:
    outcome = future.result(WAIT)
    assert isinstance(outcome, Completed)
    return outcome.result


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """A named pipe: to read it is to wait until a handler has written."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


def ended(pid: int) -> bool:
    """Whether a process that is not ours ends in time."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], WAIT)[0])
    finally:
        os.close(descriptor)


# --- a call ---------------------------------------------------------------------------------


def test_a_handler_runs_in_a_process_that_is_kept_for_the_next(start: Start) -> None:
    """Not ours, and warm from then on."""
    pids = [result(start("pid")) for _ in range(3)]
    assert pids[0] != os.getpid()
    assert len(set(pids)) == 1


def test_handlers_run_at_once_in_processes_of_their_own(start: Start, pipe: Path) -> None:
    """None waits for another."""
    looping = start("loop", path=str(pipe))
    pipe.read_text()
    assert result(start("add", a=1, b=2)) == 3
    assert not looping.done()


def test_data_and_defaults_arrive(start: Start) -> None:
    """As on a thread."""
    assert result(start("add", a=1)) == 2
    assert failure(start("add", a="one")).error.startswith('data: a: "one" does not fit job add')


def test_the_context_is_known_there(start: Start) -> None:
    """Job, attempt, deadline, occurrence; what is logged comes back."""
    job = a_job(
        name="tell",
        retry_count=2,
        started_at=NOON,
        timeout=timedelta(hours=9),
        occurrence_at=NOON,
    )
    outcome = start("tell", job=job).result(WAIT)
    assert isinstance(outcome, Completed)
    assert outcome.result == {
        "job": job.id,
        "attempt": 3,
        "deadline": "2026-01-05T21:00:00+00:00",
        "occurrence_at": "2026-01-05T12:00:00+00:00",
        "cancelled": False,
    }
    assert [line.partition("Z ")[2] for line in outcome.log] == [
        "info tell: telling n=1",
        "info tell: progress fraction=0.5 note=half",
        "warning books.hands: standard",
    ]


def test_a_failure_comes_back_with_its_traceback_and_log(start: Start) -> None:
    """As if it had been raised here."""
    failed = failure(start("fail"))
    assert failed.error == "ValueError: no room"
    assert failed.traceback is not None
    assert failed.traceback.count("  File ") == 1
    assert "hands.py" in failed.traceback
    assert not failed.is_final
    assert [line.partition("Z ")[2] for line in failed.log] == ["error books.hands: before"]


def test_its_policy_and_orders_hold_there(start: Start) -> None:
    """What is final, Retry and Cancel."""
    assert failure(start("give_up")).is_final
    assert failure(start("order", what="retry")).retry_in == timedelta(seconds=7)
    assert start("order", what="cancel").result(WAIT) == Cancelled("called off")
    assert failure(start("exit_softly")).error == "SystemExit: 3"


# --- what befalls one -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "data", "error"),
    [
        (
            "crash",
            {},
            "lost: the process of the handler was ended by SIGSEGV before the handler returned",
        ),
        ("leave", {"code": 0}, "ended with exit code 0 before the handler returned"),
        ("leave", {"code": 3}, "ended with exit code 3 before the handler returned"),
        ("fork_and_leave", {}, "ended with exit code 4 before the handler returned"),
        ("hog", {"megabytes": 500}, "MemoryError"),
        ("unserialisable", {}, "InvalidData: result.rows[0]: "),
        ("huge", {"megabytes": 100}, "104857602 bytes of JSON are more than max_result_bytes"),
        ("garble", {}, "said what is no outcome"),
    ],
    ids=str,
)
def test_what_befalls_one_fails_it_and_nobody_else(
    start: Start, pipe: Path, name: str, data: dict[str, Any], error: str
) -> None:
    """A neighbour that ran meanwhile goes on, and the next job has a process."""
    neighbour = start("clean_up", path=str(pipe))
    pipe.read_text()
    assert error in failure(start(name, **data)).error
    assert result(start("add", a=1)) == 2
    assert not neighbour.done()


def test_within_its_limit_a_handler_may_take_memory(start: Start) -> None:
    """The limit is on what it takes itself; it is lifted when it ends."""
    assert result(start("hog", megabytes=50)) == 50 << 20
    assert failure(start("hog", megabytes=150)).error == "MemoryError"
    assert result(start("hog", megabytes=50)) == 50 << 20


@pytest.mark.parametrize("stubborn", [False, True])
def test_a_cancelled_handler_is_killed_with_what_it_started(
    runner: HandlerRunner, pipe: Path, stubborn: bool
) -> None:
    """Also one that ignores SIGTERM; meanwhile others are served."""
    job = a_job(name="loop", data={"path": str(pipe), "stubborn": stubborn})
    future = started(runner, job)
    pids = [int(pid) for pid in pipe.read_text().split()]
    runner.cancel(job.id)
    assert result(started(runner, a_job(name="add", data={"a": 1}))) == 2
    assert failure(future).error.startswith("cancelled: the process of the handler ")
    assert all(ended(pid) for pid in pids)


def test_a_handler_that_is_cancelled_before_it_begins_is_not_called(
    runner: HandlerRunner, pipe: Path
) -> None:
    """As where its lease was lost while it was being started. Nobody writes to the pipe."""
    told: SimpleQueue[Outcome] = SimpleQueue()

    def then(_: Outcome) -> None:  # what follows is made on this thread, once this has returned
        runner.call(a_job(id="next", name="loop", data={"path": str(pipe)}), told.put)
        runner.cancel("next")

    runner.call(a_job(name="add", data={"a": 1}), lambda outcome: None)
    runner.call(a_job(name="pid"), then)
    assert told.get(timeout=WAIT) == Failed("cancelled")


def test_a_handler_that_takes_too_long_is_killed(runner: HandlerRunner, pipe: Path) -> None:
    """At its timeout, whether or not somebody cancels it."""
    result(started(runner, a_job(name="pid")))
    job = a_job(name="loop", data={"path": str(pipe)}, timeout=timedelta(seconds=3))
    future = started(runner, job)
    pids = [int(pid) for pid in pipe.read_text().split()]
    assert failure(future).error == "timed out after 3 s"
    assert all(ended(pid) for pid in pids)


def test_a_cancelled_handler_cleans_up(runner: HandlerRunner, pipe: Path) -> None:
    """SIGTERM raises SystemExit in it."""
    job = a_job(name="clean_up", data={"path": str(pipe)})
    future = started(runner, job)
    pipe.read_text()
    runner.cancel(job.id)
    assert failure(future).error.startswith("cancelled: ")
    assert Path(f"{pipe}.end").read_text() == "cleaned"


def test_a_process_that_was_killed_while_it_waited_fails_no_job(start: Start) -> None:
    """The next has another."""
    pid = result(start("pid"))
    os.kill(pid, signal.SIGKILL)
    assert ended(pid)
    assert result(start("pid")) != pid


def test_a_queue_times_a_process_out(runner: HandlerRunner, pipe: Path) -> None:
    """The executor says so, and the process is gone with all that it started."""
    is_warm, over = threading.Event(), threading.Event()
    with JobQueue("memory://", processing_interval=0.05) as queue:
        queue.register_marked(hands.pid, hands.loop)
        queue.add_event_listener("completed", lambda _: is_warm.set())
        queue.add_event_listener("failed", lambda _: over.set())
        queue.start()
        queue.add("pid")
        assert is_warm.wait(WAIT)
        job = queue.add("loop", {"path": str(pipe)}, timeout=3, max_retries=0)
        pids = [int(pid) for pid in pipe.read_text().split()]
        assert over.wait(WAIT)
        failed = queue.get_job(job.id)
    assert failed is not None
    assert failed.error == "timed out after 3 s"
    assert all(ended(pid) for pid in pids)


# --- nothing is left behind -----------------------------------------------------------------


def test_a_closed_runner_leaves_no_process(runner: HandlerRunner, start: Start, pipe: Path) -> None:
    """Neither those that wait nor those under way; and it can begin again."""
    idle = result(start("pid"))
    start("loop", path=str(pipe), stubborn=True)
    looping = map(int, pipe.read_text().split())
    pids = [idle, result(start("pid")), *looping]
    runner.close()
    assert all(ended(pid) for pid in pids)
    assert result(start("add", a=1)) == 2


PARENT = """
import sys, threading
from scheduler.handlers import HandlerRunner
from scheduler.registry import Registry, marks
from scheduler.testing.values import a_job
from tests.handlers import hands
from tests.handlers.conftest import started
runner = HandlerRunner(Registry([*marks(hands.pid), *marks(hands.loop)]))
print(started(runner, a_job(name="pid")).result(60).result, flush=True)
started(runner, a_job(name="loop", data={"path": sys.argv[1], "stubborn": True}))
started(runner, a_job(name="pid")).result(60)
sys.stdin.readline()
"""


@pytest.mark.parametrize("how", ["exits", "is killed", "is interrupted"])
def test_no_process_outlives_its_parent(pipe: Path, how: str) -> None:
    """However that goes; and a signal to its group is the parent's to handle."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(pipe)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
        text=True,
        start_new_session=True,
    )
    assert parent.stdout is not None
    with parent:
        idle = int(parent.stdout.readline())
        pids = [idle, *map(int, pipe.read_text().split())]
        match how:
            case "exits":
                parent.communicate("\n")
            case "is killed":
                parent.kill()
            case _:
                os.killpg(parent.pid, signal.SIGINT)
    assert all(ended(pid) for pid in pids)


def test_a_signal_to_the_group_does_not_reach_a_handler(pipe: Path) -> None:
    """It goes on: what becomes of it is for the parent to say."""
    runner = HandlerRunner(Registry(marks(hands.pid)))
    pid = result(started(runner, a_job(name="pid")))
    assert os.getpgid(pid) == pid != os.getpgid(0)
    os.kill(pid, signal.SIGINT)
    assert result(started(runner, a_job(name="pid"))) == pid
    runner.close()


# --- what cannot run there ------------------------------------------------------------------


def local() -> Callable[[], None]:
    def work() -> None: ...

    return work


def of_main() -> None: ...


of_main.__module__ = "__main__"


@pytest.mark.parametrize("kind", ["process", "dask"])
@pytest.mark.parametrize(
    "function", [lambda: None, local(), of_main, map], ids=["lambda", "local", "main", "builtin"]
)
def test_what_cannot_be_imported_is_refused(kind: str, function: Callable[..., Any]) -> None:
    """Where it is declared, with what to do."""
    if function is map:
        function = callable_object()
    with pytest.raises(InvalidOption, match=rf"runner: {kind} .*top of a module"):
        define(function, name="work", runner=kind)


def callable_object() -> Callable[..., Any]:
    class Work:
        def __call__(self) -> None: ...

    return Work()


def test_a_plain_function_may_be_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without @job; but not with exceptions that only the decorator can bring there."""
    monkeypatch.syspath_prepend(ROOT)
    registry = Registry(
        [
            define(hands.plain, name="plain", runner="process"),
            define(hands.plain, name="picky", runner="process", retry_on=ValueError),
            define(hands.original, name="original", runner="process"),
        ]
    )
    runner = HandlerRunner(registry)
    assert result(started(runner, a_job(name="plain"))) == "plain"
    assert "declare the handler with @job" in failure(started(runner, a_job(name="picky"))).error
    assert (
        "hands.replaced is something else" in failure(started(runner, a_job(name="original"))).error
    )
    runner.close()
