"""The threads of handlers: reused, ended when closed, and no reason to stay."""

from __future__ import annotations

import contextvars
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from typing import Any

import pytest

from scheduler.handlers.threads import Threads
from scheduler.model import Failed

from .conftest import WAIT

NAME = "scheduler-test"
marker: contextvars.ContextVar[str] = contextvars.ContextVar("marker", default="unset")


@pytest.fixture
def threads() -> Iterator[Threads]:
    threads = Threads(NAME)
    yield threads
    threads.close()


def submitted(threads: Threads, function: Callable[[], Any]) -> Future[Any]:
    """Have `function` called; the future of what is told."""
    future: Future[Any] = Future()
    threads.submit(function, future.set_result)
    return future


def ours() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name.startswith(NAME)]


def test_as_many_calls_run_at_once_as_there_are(threads: Threads) -> None:
    """Each waits here for all the others."""
    together = threading.Barrier(50)
    futures = [submitted(threads, partial(together.wait, WAIT)) for _ in range(50)]
    assert sorted(future.result(WAIT) for future in futures) == list(range(50))


def test_threads_are_used_again(threads: Threads) -> None:
    """Hundreds of calls, one after the other, take a thread, or two where the first is late."""
    used = {submitted(threads, threading.get_ident).result(WAIT) for _ in range(500)}
    assert len(used) <= 5


def test_what_a_call_raises_is_a_failure(threads: Threads) -> None:
    """SystemExit too; the thread goes on."""
    assert submitted(threads, sys.exit).result(WAIT) == Failed("SystemExit")
    assert submitted(threads, lambda: 7).result(WAIT) == 7


def test_context_variables_do_not_leak(threads: Threads) -> None:
    """A call sees those of who submitted it, and what it sets is gone with it."""

    def work() -> str:
        seen = marker.get()
        marker.set("leaked")
        return seen

    assert [submitted(threads, work).result(WAIT) for _ in range(20)] == ["unset"] * 20
    context = contextvars.copy_context()
    context.run(marker.set, "given")
    assert context.run(submitted, threads, work).result(WAIT) == "given"


def test_an_idle_thread_keeps_nothing_alive(threads: Threads) -> None:
    """Neither what was called nor what it returned."""

    class Large: ...

    large = Large()
    gone = threading.Event()
    weakref.finalize(large, gone.set)
    submitted(threads, partial(isinstance, large, Large)).result(WAIT)
    del large
    assert gone.wait(WAIT)


def test_closed_threads_end() -> None:
    """The idle ones at once, the others when their call returns."""
    threads, begun, release = Threads(NAME), threading.Event(), threading.Event()

    def work() -> bool:
        begun.set()
        return release.wait(WAIT)

    busy = submitted(threads, work)
    assert begun.wait(WAIT)
    submitted(threads, lambda: None).result(WAIT)
    found = ours()
    threads.close()
    release.set()
    assert busy.result(WAIT)
    for thread in found:
        thread.join(WAIT)
    assert not [thread for thread in found if thread.is_alive()]


PROGRAM = """
import threading
from scheduler.handlers import HandlerRunner
from scheduler.registry import Registry, define
from scheduler.testing.values import a_job
begun = threading.Event()
def work():
    begun.set()
    threading.Event().wait()
runner = HandlerRunner(Registry([define(work, name="work")]))
runner.call(a_job(), print)
assert begun.wait(30)
runner.close()
print("done")
"""


def test_a_handler_that_hangs_does_not_keep_the_interpreter() -> None:
    """It ends as if the handler were not there."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "done\n"


def test_a_call_that_follows_on_another_is_made_on_its_thread(threads: Threads) -> None:
    """No other has to be woken for it, nor begun."""
    idents: list[int] = []
    over = threading.Event()

    def work() -> None:
        idents.append(threading.get_ident())

    def go_on(_: object) -> None:
        if len(idents) < 50:
            threads.submit(work, go_on)
        else:
            over.set()

    threads.submit(work, go_on)
    assert over.wait(WAIT)
    assert len(set(idents)) == 1
    assert len(ours()) == 1


def test_two_calls_that_follow_on_one_are_made_at_once(threads: Threads) -> None:
    """Each waits here for the other."""
    together = threading.Barrier(2)
    followed: list[Future[Any]] = []
    over = threading.Event()

    def go_on(_: object) -> None:
        followed.extend(submitted(threads, partial(together.wait, WAIT)) for _ in range(2))
        over.set()

    threads.submit(lambda: None, go_on)
    assert over.wait(WAIT)
    assert sorted(each.result(WAIT) for each in followed) == [0, 1]
