"""Job data against a handler's signature: checked when enqueued, converted when called.

Each parameter is read strictly as JSON by pydantic: an `int` takes 7 and not "7", a `date`
takes "2026-03-29". Adapters are built on first use, so that declaring a job costs nothing.
"""

from __future__ import annotations

import functools
import inspect
import json
import operator
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from types import UnionType
from typing import Any, get_args, get_origin

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from scheduler.context import JobContext
from scheduler.errors import InvalidData, InvalidOption, shown
from scheduler.model import JsonObject

MAX_DEPTH = 100
"""How deep lists and objects may nest. Readers recurse, and not all as deep as the writer did."""

_KEYWORD = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class Signature:
    """The parameters of one handler, by what job data may say to them."""

    def __init__(self, job_name: str, function: Callable[..., Any]) -> None:
        self._job_name = job_name
        self._function = function

    @cached_property
    def _parameters(self) -> dict[str, inspect.Parameter]:
        try:
            parameters = inspect.signature(self._function, eval_str=True).parameters
        except NameError as error:
            raise InvalidOption(
                f"job {self._job_name}",
                str(error),
                "is an annotation that cannot be read",
                "import the name at run time, not only under TYPE_CHECKING",
            ) from error
        for name, parameter in parameters.items():
            if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
                raise InvalidOption(
                    f"job {self._job_name}",
                    name,
                    "is positional-only, and data is passed by keyword",
                    "remove the / from the signature",
                )
        return dict(parameters)

    @cached_property
    def _context_name(self) -> str | None:
        names = (n for n, p in self._parameters.items() if p.annotation is JobContext)
        return next(names, None)

    @property
    def takes_context(self) -> bool:
        """Whether the handler asks for a JobContext."""
        return self._context_name is not None

    @cached_property
    def _from_data(self) -> dict[str, inspect.Parameter]:
        return {
            name: parameter
            for name, parameter in self._parameters.items()
            if parameter.kind in _KEYWORD and name != self._context_name
        }

    @property
    def names(self) -> list[str]:
        """The parameters that data fills."""
        return list(self._from_data)

    @cached_property
    def defaults(self) -> dict[str, Any]:
        """What parameters are where data does not say, by name."""
        return {
            name: parameter.default
            for name, parameter in self._from_data.items()
            if parameter.default is not inspect.Parameter.empty
        }

    @cached_property
    def _takes_any(self) -> bool:
        kinds = {parameter.kind for parameter in self._parameters.values()}
        return inspect.Parameter.VAR_KEYWORD in kinds

    @cached_property
    def _adapters(self) -> dict[str, TypeAdapter[Any]]:
        adapters = {}
        for name, parameter in self._from_data.items():
            if parameter.annotation is inspect.Parameter.empty:
                continue
            try:
                adapters[name] = TypeAdapter(_true_type(parameter.annotation))
            except PydanticUserError as error:
                raise InvalidOption(
                    f"job {self._job_name}: {name}",
                    parameter.annotation,
                    "cannot be read from JSON",
                    "annotate it with a JSON type, a dataclass or a pydantic model",
                ) from error
        return adapters

    def check(self, data: JsonObject) -> None:
        """Return if `data` fits; else raise InvalidData naming the field and the reason."""
        given: object = data
        if not isinstance(given, Mapping):
            raise InvalidData("data", given, "is not a JSON object")
        self._bind(data)

    def arguments(self, data: JsonObject, context: JobContext) -> dict[str, Any]:
        """The keyword arguments for a call: `data` converted, and the context where asked for.

        Raises InvalidData if `data` no longer fits, because the handler changed since.
        """
        arguments = self._bind(data)
        if self._context_name is not None:
            arguments[self._context_name] = context
        return arguments

    @cached_property
    def _required(self) -> list[str]:
        return [name for name in self._from_data if name not in self.defaults]

    def _bind(self, data: JsonObject) -> dict[str, Any]:
        if data:
            self._refuse_unknown(data)
        for name in self._required:
            if name not in data:
                raise InvalidData(
                    f"data: {name}", "", f"is missing, and job {self._job_name} needs it"
                )
        return {name: self._read(name, value) for name, value in data.items()}

    def _refuse_unknown(self, data: JsonObject) -> None:
        names: Iterable[object] = data
        for name in names:
            if not isinstance(name, str):
                raise InvalidData("data", name, "is not text, as the keys of a JSON object are")
        unknown = [name for name in data if name not in self._from_data]
        if unknown and not self._takes_any:
            allowed = ", ".join(self._from_data) or "none"
            raise InvalidData(
                "data",
                unknown[0],
                f"is not a parameter of job {self._job_name}",
                f"allowed: {allowed}",
            )

    def _read(self, name: str, value: Any) -> Any:
        text = to_json(value, f"data: {name}")
        adapter = self._adapters.get(name)
        if adapter is None:
            return json.loads(text)  # a copy: what a handler does to it stays its own
        try:
            return adapter.validate_json(text, strict=True)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(str(part) for part in (name, *first["loc"]))
            raise InvalidData(
                f"data: {place}",
                to_json(first["input"], place) if first["loc"] else text,
                f"does not fit job {self._job_name}",
                first["msg"],
            ) from None


def _true_type(annotation: Any) -> Any:
    """`annotation` with a frozen clock's stand-ins for date and datetime undone.

    A test that freezes the clock swaps these classes wherever a module names them, and
    pydantic reads only the true ones.
    """
    if isinstance(annotation, type) and annotation.__module__ == "freezegun.api":
        return annotation.__mro__[1]
    parts = get_args(annotation)
    true = tuple(_true_type(part) for part in parts)
    if all(part is before for part, before in zip(true, parts, strict=True)):
        return annotation
    if isinstance(annotation, UnionType):
        return functools.reduce(operator.or_, true)
    origin: Any = get_origin(annotation)
    return origin[true]


def to_json(value: Any, field: str) -> str:
    """`value` as JSON text, in ASCII.

    Raises InvalidData if it is none (a set, NaN, an object), naming where in it that stands, or
    if it nests deeper than MAX_DEPTH.
    """
    if value is None:
        return "null"
    if _is_deeper(value, MAX_DEPTH):
        raise InvalidData(field, "", f"nests deeper than {MAX_DEPTH} levels")
    try:
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        place, culprit = _not_json(value)
        raise InvalidData(f"{field}{place}", culprit, "is not JSON", str(error)) from None


def _not_json(value: Any) -> tuple[str, Any]:
    """Where in `value`, which is not JSON, the first part that is not stands; and that part."""
    match value:
        case dict():
            inner: Iterable[tuple[str, Any]] = ((f".{key}", each) for key, each in value.items())
        case list() | tuple():
            inner = ((f"[{index}]", each) for index, each in enumerate(value))
        case _:
            return "", value
    for place, each in inner:
        try:
            json.dumps(each, allow_nan=False)
        except (TypeError, ValueError):
            further, culprit = _not_json(each)
            return shown(place) + further, culprit
    return "", value


def _is_deeper(value: Any, levels: int) -> bool:
    """Whether lists and objects nest in `value` on more than so many levels."""
    match value:
        case dict():
            inner: Iterable[Any] = value.values()
        case list() | tuple():
            inner = value
        case _:
            return False
    return levels == 0 or any(_is_deeper(each, levels - 1) for each in inner)
