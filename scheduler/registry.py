"""@job, and the registry of what was declared.

The decorator only marks a function; nothing is global. Discovery imports the job modules and
collects the marks, so that importing a module twice, or in a test, declares nothing twice.
"""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from functools import cached_property, partial
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any, TypeVar, overload

from scheduler.errors import DiscoveryFailed, InvalidOption, UnknownName
from scheduler.model import DEFAULT_CATCH_UP_MAX, DEFAULT_GRACE, CatchUp, JsonObject, Overlap
from scheduler.rules import Rule, rule_from_json
from scheduler.signature import Signature, to_json

Handler = TypeVar("Handler", bound=Callable[..., Any])
Choice = TypeVar("Choice", bound=StrEnum)
_MARK = "__scheduler_jobs__"
_NAME_LENGTH = 255
_CENTURY = timedelta(days=36_525)


@dataclass(frozen=True)
class JobDefinition:
    """A handler, its options, and the rule by which it recurs (None: enqueued by hand)."""

    name: str
    function: Callable[..., Any]
    rule: Rule | None = None
    data: JsonObject = field(default_factory=dict)
    queue: str | None = None
    priority: int = 0
    max_retries: int | None = None
    timeout: timedelta | None = None
    catch_up: CatchUp = CatchUp.LATEST
    grace: timedelta = DEFAULT_GRACE
    catch_up_window: timedelta | None = None
    catch_up_max: int = DEFAULT_CATCH_UP_MAX
    overlap: Overlap = Overlap.SKIP
    jitter: timedelta = timedelta(0)

    @cached_property
    def signature(self) -> Signature:
        """The handler's parameters, as job data sees them."""
        return Signature(self.name, self.function)

    @property
    def module(self) -> str:
        return self.function.__module__

    @property
    def is_async(self) -> bool:
        return inspect.iscoroutinefunction(self.function)

    @property
    def place(self) -> str:
        """Where the handler stands: `jobs.books.sync_accounts`."""
        return f"{self.module}.{self.function.__qualname__}"


@overload
def job(rule: Handler, /) -> Handler: ...
@overload
def job(
    rule: Rule | Mapping[str, Any] | None = None,
    /,
    *,
    name: str | None = None,
    data: JsonObject | None = None,
    queue: str | None = None,
    priority: int = 0,
    max_retries: int | None = None,
    timeout: float | timedelta | None = None,
    catch_up: str | CatchUp = CatchUp.LATEST,
    grace: float | timedelta = DEFAULT_GRACE,
    catch_up_window: float | timedelta | None = None,
    catch_up_max: int = DEFAULT_CATCH_UP_MAX,
    overlap: str | Overlap = Overlap.SKIP,
    jitter: float | timedelta = 0,
) -> Callable[[Handler], Handler]: ...
def job(
    rule: Callable[..., Any] | Rule | Mapping[str, Any] | None = None,
    /,
    *,
    name: str | None = None,
    data: JsonObject | None = None,
    queue: str | None = None,
    priority: int = 0,
    max_retries: int | None = None,
    timeout: float | timedelta | None = None,
    catch_up: str | CatchUp = CatchUp.LATEST,
    grace: float | timedelta = DEFAULT_GRACE,
    catch_up_window: float | timedelta | None = None,
    catch_up_max: int = DEFAULT_CATCH_UP_MAX,
    overlap: str | Overlap = Overlap.SKIP,
    jitter: float | timedelta = 0,
) -> Any:
    """Declare a function as the handler of a job; with a rule, as a recurring one.

    `@job`, `@job(every(minutes=15))`, `@job(rule, name=…, max_retries=3)`. The function comes
    back unchanged. `name` is the function's own unless given. `data` is what each occurrence
    passes as keyword arguments. Durations are seconds or timedeltas. `queue` and `max_retries`
    None are those of the JobQueue. A lower `priority` number runs first.

    What was missed while nothing ran, that is more than `grace` ago, runs by `catch_up`: "skip"
    none of it, "latest" the newest, "all" the newest `catch_up_max`; never what is older than
    `catch_up_window`. What falls due while an earlier job is unfinished does by `overlap`: "skip"
    leaves it out, "allow" runs it beside, "queue_one" lets one wait, "cancel_previous" calls the
    earlier one off. `jitter` delays each run by up to so much, always the same for an occurrence.
    A function may carry several @job with different names. Raises InvalidOption, InvalidRule or
    InvalidData.
    """
    if callable(rule) and not isinstance(rule, (Rule, Mapping)):
        return mark(rule, define(rule, name=None))
    parsed = rule_from_json(rule) if isinstance(rule, Mapping) else rule

    def declare(function: Handler) -> Handler:
        return mark(
            function,
            define(
                function,
                name=name,
                rule=parsed,
                data=dict(data or {}),
                queue=queue,
                priority=priority,
                max_retries=max_retries,
                timeout=timeout,
                catch_up=catch_up,
                grace=grace,
                catch_up_window=catch_up_window,
                catch_up_max=catch_up_max,
                overlap=overlap,
                jitter=jitter,
            ),
        )

    return declare


def mark(function: Handler, definition: JobDefinition) -> Handler:
    """`function`, carrying `definition` beside those it has."""
    setattr(function, _MARK, (*marks(function), definition))
    return function


def marks(function: object) -> tuple[JobDefinition, ...]:
    """The definitions that `function` carries."""
    found: tuple[JobDefinition, ...] = getattr(function, _MARK, ())
    return found


def define(
    function: Callable[..., Any],
    *,
    name: str | None,
    rule: Rule | None = None,
    data: JsonObject | None = None,
    queue: str | None = None,
    priority: int = 0,
    max_retries: int | None = None,
    timeout: float | timedelta | None = None,
    catch_up: str | CatchUp = CatchUp.LATEST,
    grace: float | timedelta = DEFAULT_GRACE,
    catch_up_window: float | timedelta | None = None,
    catch_up_max: int = DEFAULT_CATCH_UP_MAX,
    overlap: str | Overlap = Overlap.SKIP,
    jitter: float | timedelta = 0,
) -> JobDefinition:
    """A checked definition. Raises InvalidOption or InvalidData, naming what is off."""
    if name is None:
        name = getattr(function, "__name__", type(function).__name__)
    what = f"job {check_name('job name', name)}"
    if rule is not None and not isinstance(rule, Rule):
        raise InvalidOption(f"{what}: rule", rule, "is no rule", "use every(…) or its JSON form")
    to_json(dict(data or {}), f"{what}: data")
    return JobDefinition(
        name=name,
        function=function,
        rule=rule,
        data=dict(data or {}),
        queue=None if queue is None else check_name(f"{what}: queue", queue),
        priority=check_integer(f"{what}: priority", priority, -(2**31), 2**31 - 1),
        max_retries=None
        if max_retries is None
        else check_integer(f"{what}: max_retries", max_retries, 0),
        timeout=None if timeout is None else check_duration(f"{what}: timeout", timeout),
        **check_policies(
            what,
            catch_up=catch_up,
            grace=grace,
            catch_up_window=catch_up_window,
            catch_up_max=catch_up_max,
            overlap=overlap,
            jitter=jitter,
        ),
    )


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
        raise InvalidOption(what, value, f"is not a number of seconds {least} to 100 years")
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


class Registry:
    """The definitions an executor can run, by name."""

    def __init__(self, definitions: Iterable[JobDefinition] = ()) -> None:
        self._definitions: dict[str, JobDefinition] = {}
        self._names: frozenset[str] = frozenset()
        for definition in definitions:
            self.add(definition)

    def add(self, definition: JobDefinition) -> None:
        """Take in a definition. Raises InvalidOption if its name is another's."""
        taken = self._definitions.get(definition.name)
        if taken is not None and taken.function is not definition.function:
            raise InvalidOption(
                "job name",
                definition.name,
                f"is taken twice, by {taken.place} and {definition.place}",
                "give one of them name=…",
            )
        if definition.rule is not None:
            definition.signature.check(definition.data)
        self._definitions[definition.name] = definition
        self._names |= {definition.name}

    def get(self, name: str) -> JobDefinition:
        """The definition of this name. Raises UnknownName, naming what is known."""
        try:
            return self._definitions[name]
        except KeyError:
            raise UnknownName("job", name, self._definitions) from None

    def __contains__(self, name: object) -> bool:
        return name in self._definitions

    def __iter__(self) -> Iterator[JobDefinition]:
        return iter(self._definitions.values())

    def __len__(self) -> int:
        return len(self._definitions)

    @property
    def names(self) -> frozenset[str]:
        return self._names


def discover(modules: Sequence[str]) -> Registry:
    """Import `modules`, packages recursively, and collect what they declare.

    What stands in the working directory is found first. Raises DiscoveryFailed naming the
    file and line of what cannot be imported, InvalidOption for two jobs of one name.
    """
    here = os.getcwd()
    if sys.path[:1] != [here]:
        sys.path.insert(0, here)
    registry = Registry()
    for name in modules:
        for module in _walk(name):
            for definition in _declared_in(module):
                registry.add(definition)
    return registry


def _walk(name: str) -> Iterator[ModuleType]:
    module = _import(name)
    yield module
    for found in pkgutil.iter_modules(getattr(module, "__path__", ()), f"{name}."):
        if not found.name.endswith(".__main__"):
            yield from _walk(found.name)


def _declared_in(module: ModuleType) -> Iterator[JobDefinition]:
    """What `module` itself declares, not what it imports from elsewhere, in its order."""
    for value in vars(module).values():
        for definition in marks(value):
            if definition.module == module.__name__:
                yield definition


def _import(name: str) -> ModuleType:
    if not name or not all(part.isidentifier() for part in name.split(".")):
        raise DiscoveryFailed(
            f"module {name!r}: not a module name; write it as Python imports it, such as jobs.books"
        )
    _prefer_folder_here(name)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise DiscoveryFailed(
                f"module {name}: not found in {os.getcwd()} nor among the installed packages; "
                "give --modules or SCHEDULER_MODULES"
            ) from None
        raise _import_failed(name, error) from error
    except (Exception, SystemExit) as error:  # whatever a module may raise
        raise _import_failed(name, error) from error


def _prefer_folder_here(name: str) -> None:
    """Let the working directory's folder be the package that `name` stands in.

    Python prefers a package that has an `__init__.py`, wherever on its path, to a folder that
    has none. So this project's own `jobs`, installed editable, would hide the user's.
    """
    top, here = name.partition(".")[0], os.getcwd()
    if top in sys.modules:
        return
    folder, preferred = PathFinder.find_spec(top, [here]), find_spec(top)
    if folder is None or preferred is None or preferred.origin is None or folder.origin:
        return  # only a folder has no origin
    path = os.path.join(here, *name.split("."))
    if os.path.isfile(f"{path}.py") or any(pkgutil.iter_modules([path])):
        sys.modules[top] = module_from_spec(folder)


def _import_failed(name: str, error: BaseException) -> DiscoveryFailed:
    """The error with the file and line that it comes from, as near to the module as can be."""
    if isinstance(error, SyntaxError) and error.filename:
        return DiscoveryFailed(
            f"module {name}: {error.filename}:{error.lineno}: {type(error).__name__}: {error.msg}"
        )
    ours = os.path.dirname(__file__)
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith((ours, "<")) and "importlib" not in frame.filename
    ]
    place = f"{frames[-1].filename}:{frames[-1].lineno}: " if frames else ""
    return DiscoveryFailed(f"module {name}: {place}{type(error).__name__}: {error}")
