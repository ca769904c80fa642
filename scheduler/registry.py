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
from functools import cached_property, partial
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from string import Formatter
from types import ModuleType
from typing import Any, TypeVar, Unpack, overload

from scheduler.errors import (
    DiscoveryFailed,
    InvalidData,
    InvalidOption,
    UnknownName,
    described,
)
from scheduler.flow import Limit
from scheduler.lifecycle import storable
from scheduler.model import DEFAULT_CATCH_UP_MAX, DEFAULT_GRACE, CatchUp, JsonObject, Overlap
from scheduler.options import (
    POLICIES,
    JobOptions,
    RunnerKind,
    check_choice,
    check_duration,
    check_integer,
    check_key,
    check_limit,
    check_name,
    check_retries,
)
from scheduler.retries import DEFAULT_POLICY, RetryPolicy
from scheduler.rules import Rule, rule_from_json
from scheduler.signature import Signature, to_json

Handler = TypeVar("Handler", bound=Callable[..., Any])
_MARK = "__scheduler_jobs__"
_KEY_LENGTH = 255


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
    retries: RetryPolicy = DEFAULT_POLICY
    runner: RunnerKind = RunnerKind.THREAD
    memory_limit: int | None = None
    limit: Limit | None = None
    concurrency_key: str | None = None
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

    def key_for(self, data: JsonObject) -> str | None:
        """The concurrency key of a job with this `data`; None if the jobs have none.

        Raises InvalidData if it is longer than 255 characters, or cannot be made of the data.
        """
        if self.concurrency_key is None:
            return None
        try:
            key = storable(self.concurrency_key.format_map(self.signature.defaults | dict(data)))
        except (ValueError, TypeError, LookupError) as error:  # as "{account:05d}" of a text
            raise InvalidData("concurrency_key", self.concurrency_key, described(error)) from None
        if len(key) > _KEY_LENGTH:
            raise InvalidData("concurrency_key", key, f"is longer than {_KEY_LENGTH} characters")
        return key


@overload
def job(rule: Handler, /) -> Handler: ...
@overload
def job(
    rule: Rule | Mapping[str, Any] | None = None, /, **options: Unpack[JobOptions]
) -> Callable[[Handler], Handler]: ...
def job(
    rule: Callable[..., Any] | Rule | Mapping[str, Any] | None = None,
    /,
    **options: Unpack[JobOptions],
) -> Any:
    """Declare a function as the handler of a job; with a rule, as a recurring one.

    `@job`, `@job(every(minutes=15))`, `@job(rule, name=…, max_retries=3)`. The function comes
    back unchanged. `name` is the function's own unless given. `data` is what each occurrence
    passes as keyword arguments. Durations are seconds or timedeltas. `queue` and `max_retries`
    None are those of the JobQueue. A lower `priority` number runs first.

    An attempt that fails or runs past its `timeout` is followed by another, `max_retries` times,
    after a `backoff`: seconds, a list of them (the last one goes on), a function of the retry's
    number, or Exponential(…), the default from 1 s to 1 h. With `retry_on`, an exception class or
    a tuple of them, only those are tried again; those of `give_up_on` never.

    A `def` runs on a thread, or, with `runner="process"`, in a process of its own, which a timeout
    kills and `memory_limit` (bytes) bounds; with "dask" on a Dask cluster. An `async def` runs on
    the event loop.

    At most `concurrency` of the job run at a time, on all machines together, and at most `rate`
    ("10/m") are started; with a `concurrency_key` such as "{account}", of each account.

    What was missed while nothing ran, that is more than `grace` ago, runs by `catch_up`: "skip"
    none of it, "latest" the newest, "all" the newest `catch_up_max`; never what is older than
    `catch_up_window`. What falls due while an earlier job is unfinished does by `overlap`: "skip"
    leaves it out, "allow" runs it beside, "queue_one" lets one wait, "cancel_previous" calls the
    earlier one off. `jitter` delays each run by up to so much, always the same for an occurrence.
    A function may carry several @job with different names. Raises InvalidOption, InvalidRule or
    InvalidData.
    """
    if callable(rule) and not isinstance(rule, (Rule, Mapping)):
        return mark(rule, define(rule))
    parsed = rule_from_json(rule) if isinstance(rule, Mapping) else rule

    def declare(function: Handler) -> Handler:
        return mark(function, define(function, parsed, **options))

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
    function: Callable[..., Any], rule: Rule | None = None, /, **options: Unpack[JobOptions]
) -> JobDefinition:
    """A checked definition. Raises InvalidOption or InvalidData, naming what is off."""
    refused = options.keys() - JobOptions.__annotations__.keys()
    if refused:
        raise InvalidOption(
            "job", min(refused), f"is not one of {', '.join(JobOptions.__annotations__)}"
        )
    given: dict[str, Any] = {**options}
    name = given.pop("name", None)
    if name is None:
        name = getattr(function, "__name__", type(function).__name__)
    what = f"job {check_name('job name', name)}"
    if rule is not None and not isinstance(rule, Rule):
        raise InvalidOption(f"{what}: rule", rule, "is no rule", "use every(…) or its JSON form")
    checked = {
        key: check(f"{what}: {key}", given[key])
        for key, check in _CHECKS.items()
        if given.get(key) is not None
    }
    to_json(checked.get("data", {}), f"{what}: data")
    usual = RunnerKind.ASYNCIO if inspect.iscoroutinefunction(function) else RunnerKind.THREAD
    definition = JobDefinition(
        name=name,
        function=function,
        rule=rule,
        retries=check_retries(what, given),
        limit=check_limit(what, given),
        **{"runner": usual, **checked},
    )
    _check_runner(what, definition)
    return definition


def _check_runner(what: str, definition: JobDefinition) -> None:
    """Raises InvalidOption if the handler cannot run on what it is to run on."""
    runner = definition.runner
    if (runner is RunnerKind.ASYNCIO) != definition.is_async:
        kind = "an async def" if definition.is_async else "a def"
        reason = f"is not for {kind}"
        raise InvalidOption(f"{what}: runner", runner.value, reason, "leave it out")
    if definition.memory_limit is not None and runner is not RunnerKind.PROCESS:
        reason = "bounds a process"
        hint = 'add runner="process"'
        raise InvalidOption(f"{what}: memory_limit", definition.memory_limit, reason, hint)
    if runner in (RunnerKind.PROCESS, RunnerKind.DASK) and not _is_importable(definition.function):
        reason = "runs elsewhere, where the handler is imported by name, and this one cannot be"
        hint = "make it a function at the top of a module other than the one that is run"
        raise InvalidOption(f"{what}: runner", runner.value, reason, hint)


def _is_importable(function: Callable[..., Any]) -> bool:
    """Whether another process may find `function` by its module and name."""
    name = getattr(function, "__qualname__", "<none>")
    return "<" not in name and function.__module__ not in (None, "__main__")


_CHECKS: Mapping[str, Callable[[str, Any], Any]] = {
    "data": lambda _, value: dict(value),
    "queue": check_name,
    "priority": partial(check_integer, low=-(2**31)),
    "max_retries": partial(check_integer, low=0),
    "timeout": check_duration,
    "runner": partial(check_choice, choices=RunnerKind),
    "memory_limit": partial(check_integer, low=1, high=2**62),
    "concurrency_key": check_key,
    **POLICIES,
}


def _check_key(definition: JobDefinition) -> None:
    """Raises InvalidOption if the key names what is no parameter."""
    for _, name, _, _ in Formatter().parse(definition.concurrency_key or ""):
        if name and name not in definition.signature.names:
            raise InvalidOption(
                f"job {definition.name}: concurrency_key",
                name,
                "is not a parameter of the job",
                f"allowed: {', '.join(definition.signature.names) or 'none'}",
            )


class Registry:
    """The definitions an executor can run, by name."""

    def __init__(self, definitions: Iterable[JobDefinition] = ()) -> None:
        self._definitions: dict[str, JobDefinition] = {}
        self._names: frozenset[str] = frozenset()
        self._limits: dict[str, Limit] = {}
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
        if definition.concurrency_key is not None:
            _check_key(definition)
        self._definitions[definition.name] = definition
        self._limits.pop(definition.name, None)
        if definition.limit is not None:
            self._limits[definition.name] = definition.limit

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
        names = self._names
        if len(names) < len(self._definitions):  # which only grow
            names = self._names = frozenset(self._definitions)
        return names

    def retries(self, name: str) -> RetryPolicy:
        """When the jobs of this name are tried again; as usual, where nobody handles them here."""
        definition = self._definitions.get(name)
        return DEFAULT_POLICY if definition is None else definition.retries

    @property
    def limits(self) -> Mapping[str, Limit]:
        """The limits of the jobs that have one, by name."""
        return self._limits


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
    module = import_module(name)
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


def import_module(name: str) -> ModuleType:
    """The job module of this name. Raises DiscoveryFailed if it cannot be imported."""
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
