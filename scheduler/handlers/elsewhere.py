"""A call that is made elsewhere, in a process of its own or on a cluster, by text.

There goes JSON that says where the handler stands and what its job is; the handler is imported
there by its name. Back comes the outcome as JSON. No object of anybody's is pickled.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import timedelta
from functools import cache, reduce
from typing import Any

from pydantic import TypeAdapter

from scheduler import capture
from scheduler.errors import InvalidOption, SchedulerError
from scheduler.handlers.calls import Call, call_of, perform
from scheduler.model import Cancelled, Completed, Failed, Job, Outcome
from scheduler.registry import JobDefinition, define, import_module, marks
from scheduler.retries import RetryPolicy


def order_of(call: Call) -> str:
    """The text of `call`. Raises InvalidOption if its handler cannot be found elsewhere."""
    _check_findable(call.definition)
    order = {
        "module": call.definition.module,
        "qualname": call.definition.function.__qualname__,
        "job": _jobs().dump_python(call.job, mode="json"),
        "max_result_bytes": call.max_result_bytes,
        "memory_limit": call.definition.memory_limit,
    }
    return json.dumps(order)


def perform_order(
    text: str, around: Callable[[Call, int | None], Call] = lambda call, _: call
) -> Outcome:
    """Make the call that `text` orders; its outcome.

    `around` is what is done about the call before, given the memory it may take.
    """
    capture.install()
    order = json.loads(text)
    job = _jobs().validate_python(order["job"])
    try:
        definition = _found(order["module"], order["qualname"], job.name)
        call = call_of(definition, job, max_result_bytes=order["max_result_bytes"])
    except SchedulerError as error:
        return Failed(str(error))
    return perform(around(call, order["memory_limit"]))


def outcome_of(text: str) -> Outcome:
    """The outcome in `text`. Raises ValueError, KeyError or TypeError if there is none."""
    kind, fields = json.loads(text)
    fields["log"] = tuple(fields["log"])
    if fields.get("retry_in") is not None:
        fields["retry_in"] = timedelta(seconds=fields["retry_in"])
    outcome: Outcome = _KINDS[kind](**fields)
    return outcome


_KINDS: dict[str, type[Any]] = {kind.__name__: kind for kind in (Completed, Failed, Cancelled)}


def text_of(outcome: Outcome) -> str:
    """The text of a handler's outcome."""
    match outcome:
        case Completed():
            fields: dict[str, Any] = {"result": outcome.result}
        case Failed():
            wait = outcome.retry_in
            fields = {
                "error": outcome.error,
                "traceback": outcome.traceback,
                "is_final": outcome.is_final,
                "retry_in": None if wait is None else wait.total_seconds(),
            }
        case Cancelled():
            fields = {"reason": outcome.reason}
        case _:
            raise TypeError(f"{outcome!r} is no outcome of a handler")
    return json.dumps([type(outcome).__name__, fields | {"log": outcome.log}])


@cache
def _jobs() -> TypeAdapter[Job]:
    return TypeAdapter(Job)


def _check_findable(definition: JobDefinition) -> None:
    """Raises InvalidOption if the handler is not what stands under its name, or not known so."""
    what = f"job {definition.name}: runner"
    function = definition.function
    at_place = _at(sys.modules.get(definition.module), function.__qualname__)
    is_marked = any(each.function is function for each in _named(at_place, definition.name))
    if at_place is not function and not is_marked:
        reason = f"cannot find the handler elsewhere: {definition.place} is something else"
        raise InvalidOption(what, definition.runner.value, reason, "declare it there with @job")
    if not is_marked and not _retries_on_anything(definition.retries):
        reason = "cannot know elsewhere what to retry on"
        raise InvalidOption(what, definition.runner.value, reason, "declare the handler with @job")


def _retries_on_anything(policy: RetryPolicy) -> bool:
    return policy.retry_on in (Exception, (Exception,)) and policy.give_up_on == ()


def _found(module: str, qualname: str, name: str) -> JobDefinition:
    """The definition of the job called `name` whose handler stands there."""
    at_place = _at(import_module(module), qualname)
    if at_place is None:
        reason = f"has no {qualname} here"
        raise InvalidOption(f"job {name}: module", module, reason, "bring the same code here")
    named = _named(at_place, name)
    return named[0] if named else define(at_place, name=name)


def _named(at_place: object, name: str) -> list[JobDefinition]:
    return [each for each in marks(at_place) if each.name == name]


def _at(module: object, qualname: str) -> Any:
    """What stands in `module` under this name, which may have dots; None if nothing does."""
    return reduce(lambda found, part: getattr(found, part, None), qualname.split("."), module)
