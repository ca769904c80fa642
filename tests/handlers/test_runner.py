"""Calling handlers: the outcome of sync and async is told the same way, and nothing escapes."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest

from scheduler.context import JobContext
from scheduler.handlers import HandlerRunner, perform, prepare
from scheduler.model import Completed, Failed
from scheduler.registry import Registry, define
from scheduler.testing.values import NOON, a_job

from .conftest import WAIT, Run, started


def sync_thread() -> str:
    return threading.current_thread().name


async def async_thread() -> str:
    await asyncio.sleep(0)
    return threading.current_thread().name


@pytest.mark.parametrize(
    ("handler", "thread"),
    [(sync_thread, "scheduler-handler"), (async_thread, "scheduler-asyncio")],
)
def test_a_handler_runs_on_its_own_thread(
    run: Run, handler: Callable[..., Any], thread: str
) -> None:
    """A `def` in a pool, an `async def` on the one event loop; both complete with their result."""
    outcome = run(handler)
    assert isinstance(outcome, Completed)
    assert outcome.result.startswith(thread)


def test_data_are_converted_to_what_the_handler_asks_for(run: Run) -> None:
    """By its annotations; what is left out has its default."""
    seen: list[Any] = []

    def work(day: date, n: int, tags: list[str], note: str = "none") -> None:
        seen.extend([day, n, tags, note])

    assert run(work, {"day": "2026-03-29", "n": 7, "tags": ["a"]}) == Completed(None)
    assert seen == [date(2026, 3, 29), 7, ["a"], "none"]


def test_a_handler_gets_data_of_its_own(run: Run) -> None:
    """What it does to them does not reach the job, whose next attempt gets the same."""
    data = {"rows": [1, 2]}

    def work(rows) -> None:  # type: ignore[no-untyped-def]
        rows.clear()

    assert run(work, data) == Completed(None)
    assert data == {"rows": [1, 2]}


def test_a_handler_may_ask_for_its_context(run: Run) -> None:
    """The job, the attempt, the occurrence, the deadline."""
    seen: list[JobContext] = []

    def work(ctx: JobContext, n: int) -> None:
        seen.append(ctx)

    run(
        work,
        {"n": 1},
        retry_count=2,
        occurrence_at=NOON,
        started_at=NOON,
        timeout=timedelta(seconds=9),
    )
    [ctx] = seen
    assert (ctx.attempt, ctx.occurrence_at, ctx.cancelled) == (3, NOON, False)
    assert ctx.deadline == NOON + timedelta(seconds=9)
    assert ctx.job.name == "work"
    ctx.progress(0.5, "half way")


def test_a_job_without_a_handler_fails(runner: HandlerRunner) -> None:
    """It names what is known."""
    outcome = started(runner, a_job(name="gone")).result(timeout=WAIT)
    assert outcome == Failed("job: gone is not known; known: none")


def test_data_that_no_longer_fit_fail_the_job(run: Run) -> None:
    """The handler changed since the job was enqueued: it is not called with half of them."""

    def work(n: int) -> None:
        raise AssertionError

    outcome = run(work, {"n": "seven"})
    assert isinstance(outcome, Failed)
    assert outcome.error.startswith('data: n: "seven" does not fit job work')


def test_a_cancelled_coroutine_ends(runner: HandlerRunner, registry: Registry) -> None:
    """At its next await; its clean-up runs."""
    begun, cleaned = threading.Event(), threading.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.set()

    registry.add(define(work, name="work"))
    job = a_job()
    future = started(runner, job)
    assert begun.wait(WAIT)
    runner.cancel(job.id)
    assert future.result(timeout=WAIT) == Failed("cancelled")
    assert cleaned.wait(WAIT)


def test_a_cancelled_coroutine_is_under_way_until_it_ends(
    runner: HandlerRunner, registry: Registry
) -> None:
    """It may clean up for long, and holds its slot until then."""
    begun, told, done = threading.Event(), threading.Event(), threading.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            told.set()
            await asyncio.to_thread(done.wait, WAIT)

    registry.add(define(work, name="work"))
    job = a_job()
    future = started(runner, job)
    assert begun.wait(WAIT)
    runner.cancel(job.id)
    assert told.wait(WAIT)
    assert not future.done()
    done.set()
    assert future.result(timeout=WAIT) == Failed("cancelled")


def test_a_cancelled_function_is_told(runner: HandlerRunner, registry: Registry) -> None:
    """A thread cannot be stopped: its context says that nobody waits any more."""
    begun, told = threading.Event(), threading.Event()

    def work(ctx: JobContext) -> str:
        begun.set()
        assert told.wait(WAIT)
        return "stopped early" if ctx.cancelled else "ran on"

    registry.add(define(work, name="work"))
    job = a_job()
    future = started(runner, job)
    assert begun.wait(WAIT)
    runner.cancel(job.id)
    told.set()
    assert future.result(timeout=WAIT) == Completed("stopped early")


def test_a_function_that_is_cancelled_before_it_begins_is_not_called(registry: Registry) -> None:
    """As where its lease was lost while it was being started."""
    called: list[bool] = []
    registry.add(define(lambda: called.append(True), name="work"))
    call = prepare(registry, a_job())
    call.context.cancel()
    assert perform(call) == Failed("cancelled")
    assert not called


def test_cancelling_what_is_not_running_does_nothing(runner: HandlerRunner) -> None:
    """It may have ended in between."""
    runner.cancel("ghost")


def test_a_closed_runner_leaves_nothing_behind(registry: Registry) -> None:
    """Coroutines are ended, the loop is closed, and closing twice is no error."""
    begun, ended = threading.Event(), threading.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    before = threading.enumerate()  # a loop of an earlier test may be about to end
    runner = HandlerRunner(registry)
    registry.add(define(work, name="work"))
    future = started(runner, a_job())
    assert begun.wait(WAIT)
    begun_since = [each for each in threading.enumerate() if each not in before]
    [loop] = [each for each in begun_since if each.name == "scheduler-asyncio"]
    runner.close()
    runner.close()
    assert ended.wait(WAIT)
    loop.join(timeout=WAIT)
    assert not loop.is_alive()
    assert future.result(timeout=WAIT) == Failed("cancelled")


def test_a_closed_runner_can_begin_again(runner: HandlerRunner, registry: Registry) -> None:
    """A queue may be started, stopped and started."""
    registry.add(define(sync_thread, name="sync"))
    registry.add(define(async_thread, name="async"))
    for _ in range(2):
        for name in ("sync", "async"):
            outcome = started(runner, a_job(name=name)).result(timeout=WAIT)
            assert isinstance(outcome, Completed)
        runner.close()


def test_many_handlers_run_at_once(registry: Registry) -> None:
    """As many as are started: each waits here for all the others."""
    together = threading.Barrier(20)
    registry.add(define(lambda: together.wait(WAIT) >= 0, name="work"))
    runner = HandlerRunner(registry)
    futures = [started(runner, a_job()) for _ in range(20)]
    assert [future.result(timeout=WAIT) for future in futures] == [Completed(True)] * 20
    runner.close()


def test_recursion_to_the_limit_is_an_outcome(run: Run) -> None:
    """And leaves the thread as it was."""

    def deep() -> None:
        deep()

    assert sys.getrecursionlimit() < 100_000
    outcome = run(deep)
    assert isinstance(outcome, Failed)
    assert outcome.error.startswith("RecursionError")
