"""Values as JSON documents and back, by the types of their fields; for stores that hold text."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

Value = TypeVar("Value")
_MICROSECOND = timedelta(microseconds=1)


def document(value: Any) -> Any:
    """`value` as JSON: instants as ISO texts, durations as microseconds."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value // _MICROSECOND
    if is_dataclass(value):
        return {field.name: document(getattr(value, field.name)) for field in fields(value)}
    return value


def value_of(kind: type[Value], found: dict[str, Any]) -> Value:
    """The value of this kind that became the document `found`."""
    types = _types(kind)  # type: ignore[arg-type]
    return kind(**{name: _part(type_, found[name]) for name, type_ in types.items()})


@cache
def _types(kind: type) -> dict[str, Any]:
    """The type of each field; for `type | None`, the type; for a tuple of texts, tuple."""
    return {name: _given(hint) for name, hint in get_type_hints(kind).items()}


def _given(hint: Any) -> Any:
    if get_origin(hint) in (Union, UnionType):
        return next(each for each in get_args(hint) if each is not NoneType)
    return tuple if get_origin(hint) is tuple else hint


def _part(type_: Any, found: Any) -> Any:
    if found is None or not isinstance(type_, type):
        return found
    if issubclass(type_, datetime):
        return datetime.fromisoformat(found)
    if issubclass(type_, timedelta):
        return found * _MICROSECOND
    if type_ is tuple:
        return tuple(found)
    if issubclass(type_, StrEnum):
        return type_(found)
    return value_of(type_, found) if is_dataclass(type_) else found
