"""The options of a job: what each may be, and the check that says so.

Each check takes the name of the thing and the value, and gives the value as the model holds it,
or raises InvalidOption with what is allowed. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from enum import StrEnum
from functools import partial
from string import Formatter
from typing import Any, TypedDict, TypeVar

from scheduler.errors import InvalidOption
from scheduler.flow import Limit, rate_of
from scheduler.model import CatchUp, JsonObject, Overlap
from scheduler.retries import DEFAULT_BACKOFF, Backoff, Exponential, Kinds, RetryPolicy

Choice = TypeVar("Choice", bound=StrEnum)
_NAME_LENGTH = 255
_CENTURY = timedelta(days=36_525)


class RunnerKind(StrEnum):
    """What a handler runs on."""

    THREAD = "thread"
    """A thread of the executor; the default of a `def`."""
    ASYNCIO = "asyncio"
    """The executor's event loop; the only one of an `async def`."""
    PROCESS = "process"
    """A process of its own, which can be killed."""
    DASK = "dask"
    """A worker of a Dask cluster."""


class JobOptions(TypedDict, total=False):
    """What @job takes beside the rule; what is left out has the default of JobDefinition.

    Durations are seconds or timedeltas.
    """

    name: str | None
    data: JsonObject | None
    queue: str | None
    priority: int
    max_retries: int | None
    timeout: float | timedelta | None
    backoff: Backoff | float | Sequence[float | timedelta] | None
    retry_on: Kinds
    give_up_on: Kinds
    runner: str | RunnerKind | None
    memory_limit: int | None
    concurrency: int | None
    concurrency_key: str | None
    rate: str | None
    catch_up: str | CatchUp
    grace: float | timedelta
    catch_up_window: float | timedelta | None
    catch_up_max: int
    overlap: str | Overlap
    jitter: float | timedelta


def check_name(what: str, name: object) -> str:
    """`name` if it can name a job, a schedule or a queue: 1 to 255 printable characters."""
    if not isinstance(name, str) or not 1 <= len(name) <= _NAME_LENGTH or not name.isprintable():
        raise InvalidOption(what, name, "is not 1 to 255 printable characters")
    return name


def check_integer(what: str, value: object, low: int, high: int = 2**31 - 1) -> int:
    """`value` if it is an integer from `low` to `high`, both inclusive."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InvalidOption(what, value, f"is not an integer from {low} to {high}")
    return value


def check_duration(what: str, value: object, *, zero: bool = False) -> timedelta:
    """`value`, seconds or a timedelta, as a timedelta above zero (with `zero`: or zero).

    At most 100 years, so that it can be added to an instant.
    """
    try:
        duration = value if isinstance(value, timedelta) else timedelta(seconds=value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        duration = timedelta(-1)
    is_refused = isinstance(value, bool) or duration < timedelta(0) or duration > _CENTURY
    if is_refused or (not zero and not duration):
        least = "from 0" if zero else "above 0"
        given = f"{value.total_seconds():g}" if isinstance(value, timedelta) else value
        raise InvalidOption(what, given, f"is not a number of seconds {least} to 100 years")
    return duration


def check_choice(what: str, value: object, choices: type[Choice]) -> Choice:
    """`value` as one of `choices`."""
    try:
        return choices(str(value))
    except ValueError:
        raise InvalidOption(what, value, f"is not one of {', '.join(choices)}") from None


def check_policies(what: str, **given: Any) -> dict[str, Any]:
    """The `given` policies of a schedule, each as the model holds it."""
    return {name: POLICIES[name](f"{what}: {name}", value) for name, value in given.items()}


POLICIES: Mapping[str, Callable[[str, Any], Any]] = {
    "catch_up": partial(check_choice, choices=CatchUp),
    "grace": partial(check_duration, zero=True),
    "catch_up_window": lambda what, value: None if value is None else check_duration(what, value),
    "catch_up_max": partial(check_integer, low=1),
    "overlap": partial(check_choice, choices=Overlap),
    "jitter": partial(check_duration, zero=True),
}


def check_retries(what: str, options: Mapping[str, Any]) -> RetryPolicy:
    """The policy that `backoff`, `retry_on` and `give_up_on` make."""
    return RetryPolicy(
        backoff=check_backoff(f"{what}: backoff", options.get("backoff")),
        retry_on=_kinds(f"{what}: retry_on", options.get("retry_on", Exception)),
        give_up_on=_kinds(f"{what}: give_up_on", options.get("give_up_on", ())),
    )


def check_backoff(what: str, value: object) -> Backoff:
    """`value` as a backoff: None for the default, a number for the same wait every time."""
    match value:
        case None:
            return DEFAULT_BACKOFF
        case Exponential():
            return _exponential(what, value)
        case bool() | str() | bytes():
            pass
        case int() | float() | timedelta():
            return (check_duration(what, value, zero=True),)
        case Sequence() if value:
            return tuple(check_duration(what, each, zero=True) for each in value)
        case _ if callable(value):
            return value
    reason = "is no backoff"
    hint = "give seconds, a list of seconds, a function of the retry's number, or Exponential(…)"
    raise InvalidOption(what, value, reason, hint)


def _exponential(what: str, formula: Exponential) -> Exponential:
    """`formula` with its durations as timedeltas: whoever rescues a job must be able to use it."""
    for name, low, high in (("factor", 1, 1000), ("jitter", 0, 1)):
        given = getattr(formula, name)
        if not isinstance(given, int | float) or not low <= given <= high:
            raise InvalidOption(f"{what}: {name}", given, f"is not a number from {low} to {high}")
    return replace(
        formula,
        first=check_duration(f"{what}: first", formula.first, zero=True),
        longest=check_duration(f"{what}: longest", formula.longest, zero=True),
    )


def _kinds(what: str, value: object) -> Kinds:
    kinds = value if isinstance(value, tuple) else (value,)
    for kind in kinds:
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            raise InvalidOption(what, kind, "is not an exception class")
    return kinds


def check_limit(what: str, options: Mapping[str, Any]) -> Limit | None:
    """The limit that `concurrency` and `rate` make; None if there is none.

    A `concurrency_key` alone is a concurrency of 1 for each key.
    """
    concurrency, rate = options.get("concurrency"), options.get("rate")
    if concurrency is None and rate is None:
        if options.get("concurrency_key") is None:
            return None
        concurrency = 1
    return Limit(
        concurrency=None
        if concurrency is None
        else check_integer(f"{what}: concurrency", concurrency, 1),
        rate=None if rate is None else rate_of(f"{what}: rate", rate),
    )


def check_key(what: str, template: object) -> str:
    """`template` if it is text with fields of data in it: `"{account}"`, `"{region}/{shop}"`."""
    text = template if isinstance(template, str) else ""
    try:
        fields = [name for _, name, _, _ in Formatter().parse(text) if name is not None]
    except ValueError:  # a brace that is not closed
        fields = []
    if not fields or not all(name.isidentifier() for name in fields):
        reason, hint = "names no parameter of the job", 'write it as "{account}"'
        raise InvalidOption(what, template, reason, hint)
    return text
