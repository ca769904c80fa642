"""A runner, and one call of a handler by it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from scheduler.handlers import HandlerRunner, Runner
from scheduler.model import Job, JsonObject, Outcome
from scheduler.registry import Registry, define
from scheduler.testing.values import a_job

WAIT = 10
"""Seconds after which something that should have happened never will."""

Run = Callable[..., Outcome]


def started(runner: Runner, job: Job) -> Future[Outcome]:
    """Have the handler of `job` called; the future of what is told."""
    future: Future[Outcome] = Future()
    runner.call(job, future.set_result)
    return future


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def runner(registry: Registry) -> Iterator[HandlerRunner]:
    runner = HandlerRunner(registry)
    yield runner
    runner.close()


@pytest.fixture
def run(runner: HandlerRunner, registry: Registry) -> Run:
    """The outcome of one call of a handler, declared with `options`."""

    def run(
        handler: Callable[..., Any],
        data: JsonObject | None = None,
        options: dict[str, Any] | None = None,
        **job: Any,
    ) -> Outcome:
        registry.add(define(handler, name="work", **(options or {})))
        return started(runner, a_job(data=data or {}, **job)).result(timeout=WAIT)

    return run
