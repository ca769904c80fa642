"""A runner, and one call of a handler by it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from scheduler.handlers import HandlerRunner
from scheduler.model import JsonObject, Outcome
from scheduler.registry import Registry, define
from scheduler.testing.values import a_job

WAIT = 10
"""Seconds after which something that should have happened never will."""

Run = Callable[..., Outcome]


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
        return runner.start(a_job(data=data or {}, **job)).result(timeout=WAIT)

    return run
