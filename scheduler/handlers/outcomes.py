"""What an attempt comes to: a handler's result, or what it raised, as an Outcome.

A result is stored as JSON, so one that is none, or too much of it, fails the job. What is raised
is a failure, on record with its traceback, but for the two orders that a handler can give: Retry
and Cancel.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from datetime import timedelta
from types import TracebackType
from typing import Any

from scheduler.capture import Lines
from scheduler.errors import InvalidData, InvalidOption, described
from scheduler.model import (
    Cancelled,
    Committed,
    Completed,
    Failed,
    Job,
    Outcome,
    Released,
    replace,
)
from scheduler.options import check_duration
from scheduler.retries import Cancel, Retry, RetryPolicy
from scheduler.signature import to_json

MAX_RESULT_BYTES = 256 * 1024
LONGEST_TRACEBACK = 16 * 1024

Done = Callable[[Outcome], object]
"""What is told, once, how a call ended, on the thread where it did."""

_OURS = os.path.join(os.path.dirname(os.path.dirname(__file__)), "")


_NOTHING = Completed(None)


def of_result(result: Any, *, max_bytes: int) -> Outcome:
    """The outcome of a handler that returned.

    Where its result cannot be stored the failure is final: the handler has done its work, and
    another attempt would do it twice to return the same.
    """
    if result is None:
        return _NOTHING
    try:
        size = len(to_json(result, "result"))  # ASCII: a character is a byte
    except InvalidData as refusal:
        return Failed(described(refusal), is_final=True)
    if size > max_bytes:
        excess = InvalidData(
            "result",
            f"{size} bytes of JSON",
            f"are more than max_result_bytes, {max_bytes}",
            "store it elsewhere and return a reference to it",
        )
        return Failed(described(excess), is_final=True)
    return Completed(result)


def of_error(error: BaseException, retries: RetryPolicy) -> Outcome:
    """The outcome of a handler that raised."""
    match error:
        case Cancel():
            return Cancelled(described(error).removeprefix("Cancel: "))
        case Retry():
            return _retry(error)
        case _:
            return Failed(
                described(error),
                traceback=traceback_of(error),
                is_final=retries.is_final(error),
            )


def _retry(order: Retry) -> Failed:
    """The failure that `order` makes of an attempt. Without a cause it has no traceback to tell."""
    has_cause = order.__cause__ is not None or order.__context__ is not None
    trace = traceback_of(order) if has_cause else None
    try:
        wait = _wait(order.in_)
    except InvalidOption as refusal:
        return Failed(f"{described(order)} ({refusal})", traceback=trace)
    return Failed(described(order), traceback=trace, retry_in=wait)


def _wait(in_: float | timedelta | None) -> timedelta | None:
    return None if in_ is None else check_duration("Retry: in_", in_, zero=True)


def traceback_of(error: BaseException) -> str | None:
    """What Python says of `error`, without the frames that called the handler.

    None where nobody else's code was called. Of a long one the end is kept, 16 KiB.
    """
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_OURS):
        trace = trace.tb_next
    if trace is None:
        return None
    return _shortened(_formatted(error, trace))


def _formatted(error: BaseException, trace: TracebackType) -> str:
    try:
        return "".join(traceback.format_exception(type(error), error, trace))
    except Exception as broken:  # noqa: BLE001 - somebody's own __str__ or __cause__
        frames = "".join(traceback.format_tb(trace))
        return f"{frames}{described(error)} (it cannot be shown: {described(broken)})\n"


def _shortened(text: str) -> str:
    if len(text) <= LONGEST_TRACEBACK:
        return text
    return f"… {len(text) - LONGEST_TRACEBACK} characters left out\n{text[-LONGEST_TRACEBACK:]}"


def with_log(outcome: Outcome, lines: Lines) -> Outcome:
    """`outcome` with what was logged on the way to it."""
    text = lines.text()
    if not text or not isinstance(outcome, (Completed, Failed, Cancelled)):
        return outcome
    return replace(outcome, log=text)


def by_future(start: Callable[[Job], Future[Outcome]]) -> Callable[[Job, Done], None]:
    """What has a job called as `start`, of somebody's own, does, and tells how its future ends.

    Raises what `start` raises, and TypeError if what it gives is no future.
    """

    def call(job: Job, done: Done) -> None:
        future: object = start(job)
        if not isinstance(future, Future):
            raise TypeError(f"process_job returned {future!r} in place of a Future")
        future.add_done_callback(lambda each: done(_of_future(each)))

    return call


def _of_future(future: Future[Any]) -> Outcome:
    """The outcome of a future that is done; whatever it raised is a failure.

    A bare value is the result.
    """
    try:
        outcome: object = future.result()
    except CancelledError:
        return Failed("cancelled")
    except BaseException as error:  # noqa: BLE001 - of a handler, SystemExit included
        return Failed(described(error))
    if isinstance(outcome, Completed):
        if outcome.result is None:
            return outcome
        checked = of_result(outcome.result, max_bytes=sys.maxsize)
        return outcome if isinstance(checked, Completed) else checked
    if isinstance(outcome, (Failed, Cancelled, Committed, Released)):
        return outcome
    return of_result(outcome, max_bytes=MAX_RESULT_BYTES)
