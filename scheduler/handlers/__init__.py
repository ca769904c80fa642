"""Calling a handler: a `def` on a thread, an `async def` on one event-loop thread.

However it ends, its Outcome is told the same way: the executor never knows where it ran.
"""

from scheduler.handlers.calls import Begin, Call, perform, perform_async, prepare
from scheduler.handlers.outcomes import MAX_RESULT_BYTES
from scheduler.handlers.runner import HandlerRunner, Runner

__all__ = [
    "MAX_RESULT_BYTES",
    "Begin",
    "Call",
    "HandlerRunner",
    "Runner",
    "perform",
    "perform_async",
    "prepare",
]
