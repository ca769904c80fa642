"""One call of a handler: made ready by `prepare`, made by `perform`, whoever runs it.

Threads and the event loop do, processes and clusters, and the one thread of simulated time.
Whatever a handler raises becomes an outcome; nothing escapes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from scheduler import capture
from scheduler.context import JobContext
from scheduler.errors import SchedulerError, described
from scheduler.handlers.outcomes import MAX_RESULT_BYTES, of_error, of_result, with_log
from scheduler.logs import logger
from scheduler.model import Failed, Job, Outcome
from scheduler.options import RunnerKind
from scheduler.registry import JobDefinition, Registry
from scheduler.transactions import HandlerTransaction

log = logger(__name__)

Caught = type[BaseException] | tuple[type[BaseException], ...]


@dataclass(slots=True, eq=False)
class Call:
    """One attempt, ready to be made."""

    job: Job
    definition: JobDefinition
    arguments: dict[str, Any]
    context: JobContext
    max_result_bytes: int = MAX_RESULT_BYTES
    transaction: HandlerTransaction | None = None
    """That of `context.connection`; None where nobody can ask for it."""


Begin = Callable[[Job], HandlerTransaction]
"""What makes the transaction of an attempt, for a handler that may ask for its connection."""


def prepare(
    registry: Registry,
    job: Job,
    *,
    begin: Begin | None = None,
    max_result_bytes: int = MAX_RESULT_BYTES,
) -> Call:
    """The call of the handler of `job`, which has been leased.

    Raises UnknownName or InvalidData if the handler is gone, or no longer takes the data.
    """
    definition = registry.get(job.name)
    return call_of(definition, job, begin=begin, max_result_bytes=max_result_bytes)


def call_of(
    definition: JobDefinition, job: Job, *, begin: Begin | None = None, max_result_bytes: int
) -> Call:
    """The call of the handler of `definition` for `job`.

    The attempt's deadline counts from `job.started_at`. Raises InvalidData if the handler does
    not take the data.
    """
    begun = job.started_at
    deadline = begun + job.timeout if begun is not None and job.timeout is not None else None
    is_asked = definition.signature.takes_context and definition.runner in _HERE
    transaction = begin(job) if begin is not None and is_asked else None
    context = JobContext(job, deadline, _transaction=transaction)
    arguments = definition.signature.arguments(job.data, context)
    return Call(job, definition, arguments, context, max_result_bytes, transaction)


_HERE = (RunnerKind.THREAD, RunnerKind.ASYNCIO)
"""Where a handler runs that may write in the transaction of its outcome: in this process."""


def perform(call: Call, caught: Caught = BaseException) -> Outcome:
    """Call a `def`; its outcome. What it raises that is not `caught` is raised on.

    It is not called if it has been cancelled before.
    """
    if call.context.cancelled:
        return Failed("cancelled")
    lines, token = capture.begin()
    try:
        try:
            result = call.definition.function(**call.arguments)
        finally:
            capture.end(token)
    except caught as error:  # SystemExit from a handler included
        outcome = _raised(call, error)
    except BaseException:
        _ended(call, Failed("interrupted"))
        raise
    else:
        outcome = of_result(result, max_bytes=call.max_result_bytes)
    return _ended(call, with_log(outcome, lines))


async def perform_async(call: Call, caught: Caught = BaseException) -> Outcome:
    """Call an `async def`; its outcome. CancelledError, and what is not `caught`, is raised on."""
    lines, token = capture.begin()
    try:
        try:
            awaited: Coroutine[Any, Any, Any] = call.definition.function(**call.arguments)
            result = await awaited
        finally:
            capture.end(token)
    except asyncio.CancelledError:
        _ended(call, Failed("cancelled"))
        raise
    except caught as error:  # SystemExit from a handler included
        outcome = _raised(call, error)
    except BaseException:
        _ended(call, Failed("interrupted"))
        raise
    else:
        outcome = of_result(result, max_bytes=call.max_result_bytes)
    return _ended(call, with_log(outcome, lines))


def _ended(call: Call, outcome: Outcome) -> Outcome:
    """`outcome`, with what the handler wrote through its context's connection: both, or neither."""
    if call.transaction is None:
        return outcome
    try:
        return call.transaction.end(outcome)
    except SchedulerError as error:  # whether a commit took place, the lease will tell
        return Failed(described(error))


def _raised(call: Call, error: BaseException) -> Outcome:
    outcome = of_error(error, call.definition.retries)
    if isinstance(outcome, Failed):
        log.warning("handler raised", job=call.job.name, id=call.job.id, exc_info=error)
    return outcome
