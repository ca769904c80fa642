"""Handlers on a Dask cluster: a real one, of two worker processes of this machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import dask
import pytest
from distributed import LocalCluster

from scheduler.handlers import HandlerRunner
from scheduler.handlers import cluster as module
from scheduler.model import Completed, Failed, Outcome
from scheduler.registry import Registry, marks
from scheduler.testing.values import a_job

from . import hands
from .conftest import started

WAIT = 60
ROOT = str(Path(__file__).parents[2])
FOUND = [each for value in vars(hands).values() for each in marks(value)]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The scheduler of a cluster that runs nothing twice."""
    sys.path.insert(0, ROOT)
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        LocalCluster(  # type: ignore[no-untyped-call]
            n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=50
        ) as cluster,
    ):
        yield cluster.scheduler_address
    sys.path.remove(ROOT)


@pytest.fixture
def runner(address: str) -> Iterator[HandlerRunner]:
    runner = HandlerRunner(Registry(FOUND), dask_address=address)
    yield runner
    runner.close()


Start = Callable[..., Future[Outcome]]


@pytest.fixture
def start(runner: HandlerRunner) -> Start:
    """Start the handler of that name."""

    def start(name: str, /, job_id: str | None = None, **data: Any) -> Future[Outcome]:
        named = {} if job_id is None else {"id": job_id}
        return started(runner, a_job(name=name, data=data, **named))

    return start


def failure(future: Future[Outcome]) -> Failed:
    outcome = future.result(WAIT)
    assert isinstance(outcome, Failed)
    return outcome


def result(future: Future[Outcome]) -> Any:
    outcome = future.result(WAIT)
    assert isinstance(outcome, Completed), outcome
    return outcome.result


def test_a_handler_runs_on_a_worker_of_the_cluster(start: Start) -> None:
    """With its data and its context; what it logs comes back."""
    assert result(start("cluster_pid")) != os.getpid()
    outcome = start("cluster_add", a=1, b=2).result(WAIT)
    assert isinstance(outcome, Completed)
    assert outcome.result == 3
    assert [line.partition("Z ")[2] for line in outcome.log] == [
        "warning books.hands: adding",
        "info cluster_add: added attempt_is=1",
    ]


def test_a_failure_comes_back_with_its_traceback(start: Start) -> None:
    """As if it had been raised here."""
    failed = failure(start("cluster_fail"))
    assert (failed.error, failed.is_final) == ("ValueError: no room", False)
    assert failed.traceback is not None
    assert failed.traceback.count("  File ") == 1


def test_the_same_job_runs_once_for_each_attempt(start: Start) -> None:
    """Dask does not give it the result of the last one."""
    pids = {result(start("cluster_pid", job_id="same")) for _ in range(3)}
    assert os.getpid() not in pids


def test_a_worker_that_dies_fails_the_job_and_runs_it_nowhere_else(
    start: Start, tmp_path: Path
) -> None:
    """To try again is the executor's to decide; the cluster goes on."""
    calls = tmp_path / "calls"
    assert failure(start("cluster_leave", path=str(calls))).error.startswith(
        "lost on the dask cluster: KilledWorker"
    )
    assert calls.read_text() == "called\n"
    assert result(start("cluster_add", a=1)) == 2


def test_a_cancelled_job_is_let_go_of(runner: HandlerRunner, start: Start, tmp_path: Path) -> None:
    """What runs goes on there; nobody here waits for it."""
    begun, until = tmp_path / "begun", tmp_path / "until"
    os.mkfifo(begun)
    os.mkfifo(until)
    future = start("cluster_wait", job_id="waiting", begun=str(begun), until=str(until))
    assert begun.read_text() == "begun"
    runner.cancel("waiting")
    assert failure(future).error.startswith("cancelled on the dask cluster: ")
    until.write_text("end")


def test_a_closed_runner_can_begin_again(runner: HandlerRunner, start: Start) -> None:
    """With a new connection."""
    assert result(start("cluster_add", a=1)) == 2
    runner.close()
    assert result(start("cluster_add", a=2)) == 3


# --- without a cluster ----------------------------------------------------------------------


def error_with(address: str | None) -> str:
    runner = HandlerRunner(Registry(FOUND), dask_address=address)
    try:
        return failure(started(runner, a_job(name="cluster_pid"))).error
    finally:
        runner.close()


def test_without_an_address_the_job_fails_with_the_setting_to_set() -> None:
    """Nothing is started in its place."""
    assert error_with(None).endswith("set SCHEDULER_DASK_ADDRESS=tcp://host:8786")


def test_without_the_extra_the_job_fails_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The extra that brings it."""
    monkeypatch.setitem(sys.modules, "distributed", None)
    said = error_with("tcp://127.0.0.1:1")
    assert said == (
        "dask_address: tcp://127.0.0.1:1 needs the package distributed; "
        "pip install 'scheduler-service[dask]'"
    )


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense://x"])
def test_a_cluster_that_cannot_be_reached_fails_the_job(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    """With its address."""
    monkeypatch.setattr(module, "CONNECT_TIMEOUT", 0.5)
    assert error_with(address).startswith(f"dask: {address} cannot be reached: ")
