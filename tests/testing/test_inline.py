"""Handlers in simulated time: whatever they are to run on, they run in the thread that travels."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from scheduler.handlers import MAX_RESULT_BYTES
from scheduler.model import Completed, Failed, Job, Outcome
from scheduler.options import RunnerKind
from scheduler.registry import Registry, define
from scheduler.storage.memory import MemoryStorage
from scheduler.testing.inline import InlineRunner, Staging
from scheduler.testing.values import NOON, a_job
from scheduler.transactions import HandlerTransaction


def thread() -> int:
    return threading.get_ident()


def large() -> str:
    return "x" * MAX_RESULT_BYTES


def inline(registry: Registry) -> InlineRunner:
    def begin(job: Job) -> HandlerTransaction:
        return HandlerTransaction(MemoryStorage(), job, lambda: NOON)

    return InlineRunner(registry, elapsed=lambda: timedelta(0), staging=Staging(), begin=begin)


def outcome_of(runner: InlineRunner) -> Outcome:
    told: list[Outcome] = []
    runner.call(a_job(), told.append)
    [outcome] = told
    return outcome


@pytest.mark.parametrize("kind", [RunnerKind.THREAD, RunnerKind.PROCESS, RunnerKind.DASK])
def test_a_function_runs_in_the_thread_that_travels(kind: RunnerKind) -> None:
    """Its time is the simulated one: no process and no cluster knows that."""
    runner = inline(Registry([define(thread, name="work", runner=kind)]))
    assert outcome_of(runner) == Completed(threading.get_ident())


def test_a_large_result_is_refused_as_for_real() -> None:
    """Above the default of the service."""
    outcome = outcome_of(inline(Registry([define(large, name="work")])))
    assert isinstance(outcome, Failed)
    assert "max_result_bytes" in outcome.error
