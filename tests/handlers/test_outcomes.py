"""What an attempt comes to: results, failures, and the orders a handler can give."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from scheduler import Cancel, Retry
from scheduler.handlers import HandlerRunner
from scheduler.model import Cancelled, Completed, Failed
from scheduler.registry import Registry, define
from scheduler.testing.values import a_job

from .conftest import WAIT, Run, started

# --- what is raised -------------------------------------------------------------------------


def raises(error: BaseException) -> Callable[[], None]:
    def work() -> None:
        raise error

    return work


def raises_async(error: BaseException) -> Callable[[], Any]:
    async def work() -> None:
        raise error

    return work


@pytest.mark.parametrize("making", [raises, raises_async])
@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("no room"), "ValueError: no room"),
        (ValueError(), "ValueError"),
        (KeyError("k"), "KeyError: 'k'"),
        (SystemExit(3), "SystemExit: 3"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (ExceptionGroup("two", [ValueError("a")]), "ExceptionGroup: two (1 sub-exception)"),
    ],
    ids=repr,
)
def test_whatever_a_handler_raises_is_its_outcome(
    run: Run, making: Callable[[BaseException], Any], error: BaseException, text: str
) -> None:
    """SystemExit too: no handler ends the process."""
    outcome = run(making(error))
    assert isinstance(outcome, Failed)
    assert outcome.error == text


def test_an_error_that_cannot_be_shown_is_still_an_outcome(run: Run) -> None:
    """Its text raises: the outcome says at least its kind."""

    class Mute(Exception):  # noqa: N818
        def __str__(self) -> str:
            raise RuntimeError("cannot say")

    outcome = run(raises(Mute()))
    assert isinstance(outcome, Failed)
    assert outcome.error.startswith("Mute")


def fails(run: Run, handler: Callable[..., Any], **options: Any) -> Failed:
    """The failure that one call of `handler` comes to."""
    outcome = run(handler, options=options)
    assert isinstance(outcome, Failed)
    return outcome


def test_a_failure_has_the_traceback_of_the_handler() -> None:
    """From the handler's own frame on: ours say nothing to who reads it."""
    # No fixture: its function would be a frame of somebody else's.
    runner = HandlerRunner(Registry([define(raises(ValueError("no room")), name="work")]))
    outcome = started(runner, a_job()).result(timeout=WAIT)
    runner.close()
    assert isinstance(outcome, Failed)
    assert outcome.traceback is not None
    lines = outcome.traceback.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert [line for line in lines if line.startswith("  File")] == [lines[1]]
    assert lines[1].startswith(f'  File "{__file__}"')
    assert lines[1].endswith("in work")
    assert lines[-1] == "ValueError: no room"


def test_a_failure_tells_its_cause(run: Run) -> None:
    """As Python does."""

    def work() -> None:
        try:
            dict[str, int]()["k"]
        except KeyError as error:
            raise ValueError("no room") from error

    trace = fails(run, work).traceback
    assert trace is not None
    assert trace.index("KeyError: 'k'") < trace.index("ValueError: no room")


def test_of_a_long_traceback_the_end_is_kept(run: Run) -> None:
    """The error stands there."""
    trace = fails(run, raises(ValueError("x" * 100_000 + "end"))).traceback
    assert trace is not None
    assert trace.startswith("… ")
    assert trace.endswith("xend\n")
    assert len(trace) < 17_000


@pytest.mark.parametrize(
    ("options", "is_final"),
    [
        ({}, False),
        ({"retry_on": ValueError}, False),
        ({"retry_on": KeyError}, True),
        ({"give_up_on": ValueError}, True),
        ({"retry_on": ValueError, "give_up_on": UnicodeError}, False),
    ],
    ids=str,
)
def test_the_job_says_which_failures_are_final(
    run: Run, options: dict[str, Any], is_final: bool
) -> None:
    """By `retry_on` and `give_up_on`."""
    assert fails(run, raises(ValueError()), **options).is_final is is_final


# --- what is ordered ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("in_", "wait"),
    [
        (None, None),
        (5, timedelta(seconds=5)),
        (0.5, timedelta(seconds=0.5)),
        (0, timedelta(0)),
        (timedelta(hours=1), timedelta(hours=1)),
    ],
    ids=str,
)
def test_a_handler_may_ask_to_be_tried_again(
    run: Run, in_: float | timedelta | None, wait: timedelta | None
) -> None:
    """After so long, whatever its policy says; without it, after its backoff."""
    outcome = run(raises(Retry("busy", in_=in_)), options={"retry_on": KeyError})
    assert outcome == Failed("Retry: busy", retry_in=wait)


@pytest.mark.parametrize("in_", [-1, "5", True, float("nan"), timedelta(days=50_000)], ids=repr)
def test_an_impossible_wait_is_said(run: Run, in_: Any) -> None:
    """And the job is tried again after its backoff."""
    failed = fails(run, raises(Retry("busy", in_=in_)))
    assert failed.error.startswith("Retry: busy (Retry: in_: ")
    assert "is not a number of seconds from 0 to 100 years" in failed.error
    assert (failed.retry_in, failed.is_final) == (None, False)


def test_a_retry_keeps_what_it_was_ordered_for(run: Run) -> None:
    """The traceback of what was being handled."""

    def work() -> None:
        try:
            raise ConnectionError("no route")
        except ConnectionError:
            raise Retry("later") from None

    trace = fails(run, work).traceback
    assert trace is not None
    assert "Retry: later" in trace


@pytest.mark.parametrize("making", [raises, raises_async])
@pytest.mark.parametrize(
    ("order", "reason"),
    [(Cancel("no such account"), "no such account"), (Cancel(), "called off by its handler")],
)
def test_a_handler_may_call_its_job_off(
    run: Run, making: Callable[..., Any], order: Cancel, reason: str
) -> None:
    """With its reason."""
    assert run(making(order)) == Cancelled(reason)


# --- what is returned -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("result", "place"),
    [
        ({"rows": [1, {"at": datetime(2026, 1, 1, tzinfo=UTC)}]}, "result.rows[1].at: "),
        ([0.5, float("nan")], "result[1]: nan "),
        ({"a": {("k",): 1}}, "result.a: "),
        ({"a\nb": {1}}, "result.a\\nb: "),
    ],
    ids=str,
)
def test_what_is_no_json_in_a_result_is_found(run: Run, result: object, place: str) -> None:
    """The error says where it stands; another attempt would return the same."""
    failed = fails(run, lambda: result)
    assert failed.error.startswith(f"InvalidData: {place}")
    assert failed.is_final


@pytest.mark.parametrize("size", [100, 101])
def test_a_result_is_at_most_so_large(registry: Registry, size: int) -> None:
    """Counted in bytes of its JSON; the error says how many, the limit and the mend."""
    runner = HandlerRunner(registry, max_result_bytes=100)
    registry.add(define(lambda: "é" + "x" * (size - 8), name="work"))
    outcome = started(runner, a_job()).result(timeout=WAIT)
    runner.close()
    if size == 100:
        assert isinstance(outcome, Completed)
    else:
        error = (
            "InvalidData: result: 101 bytes of JSON are more than max_result_bytes, 100; "
            "store it elsewhere and return a reference to it"
        )
        assert outcome == Failed(error, is_final=True)


@pytest.mark.parametrize(
    "result",
    [{1, 2}, complex(1, 2), float("nan"), float("inf"), b"bytes", {("a", "b"): 1}],
    ids=repr,
)
def test_a_result_that_is_no_json_fails_the_job(run: Run, result: object) -> None:
    """With the reason: the next reader could not read it."""
    outcome = run(lambda: result)
    assert isinstance(outcome, Failed)
    assert outcome.error.startswith("InvalidData: result: ")
    assert "is not JSON" in outcome.error


def test_a_result_that_contains_itself_fails_the_job(run: Run) -> None:
    """Nothing that is stored nests without end."""
    knot: list[Any] = []
    knot.append(knot)
    outcome = run(lambda: knot)
    assert isinstance(outcome, Failed)
    assert "result: nests deeper than" in outcome.error
