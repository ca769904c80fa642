"""Job data against a handler's signature: what fits, what does not, and what is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

import pytest
from pydantic import BaseModel

from scheduler.context import JobContext
from scheduler.errors import InvalidData, InvalidOption
from scheduler.model import JsonObject
from scheduler.signature import MAX_DEPTH, Signature, to_json
from scheduler.testing.values import a_job

if TYPE_CHECKING:
    from fractions import Fraction


class Colour(Enum):
    RED = "red"


@dataclass
class Address:
    street: str
    number: int


class Order(BaseModel):
    id: int
    lines: list[str]


def bare(a, b=2): ...  # type: ignore[no-untyped-def]
def no_parameters() -> None: ...
def number(n: int) -> None: ...
def optional(n: int | None = None) -> None: ...
def keyword_only(*, n: int) -> None: ...
def anything(**rest: Any) -> None: ...
def rest_and_one(n: int, **rest: Any) -> None: ...
def varied(*values: int, n: int = 0) -> None: ...
def with_context(ctx: JobContext, n: int) -> None: ...
def context_last(n: int, context: JobContext) -> None: ...
def typed(
    flag: bool = False,
    ratio: float = 0.0,
    day: date = date.min,
    at: datetime = datetime.min,  # noqa: DTZ901
    every: timedelta = timedelta(0),
    id: UUID = UUID(int=0),  # noqa: A002, B008
    price: Decimal = Decimal(0),
    kind: Literal["a", "b"] = "a",
    colour: Colour = Colour.RED,
    path: Path = Path(),
    address: Address | None = None,
    order: Order | None = None,
    pairs: dict[str, list[int]] | None = None,
) -> None: ...


FITS: list[tuple[Callable[..., Any], JsonObject, JsonObject]] = [
    (bare, {"a": [1, {"x": None}]}, {"a": [1, {"x": None}]}),
    (bare, {"a": None, "b": "x"}, {"a": None, "b": "x"}),
    (no_parameters, {}, {}),
    (number, {"n": -7}, {"n": -7}),
    (number, {"n": 2**80}, {"n": 2**80}),
    (optional, {}, {}),
    (optional, {"n": None}, {"n": None}),
    (keyword_only, {"n": 1}, {"n": 1}),
    (anything, {"any": "thing", "at": ["all"]}, {"any": "thing", "at": ["all"]}),
    (rest_and_one, {"n": 1, "more": 2}, {"n": 1, "more": 2}),
    (varied, {"n": 1}, {"n": 1}),
    (typed, {"flag": True}, {"flag": True}),
    (typed, {"ratio": 1}, {"ratio": 1.0}),
    (typed, {"day": "2026-03-29"}, {"day": date(2026, 3, 29)}),
    (typed, {"at": "2026-03-29T01:30:00Z"}, {"at": datetime(2026, 3, 29, 1, 30, tzinfo=UTC)}),
    (typed, {"every": "PT90S"}, {"every": timedelta(seconds=90)}),
    (typed, {"id": str(UUID(int=5))}, {"id": UUID(int=5)}),
    (typed, {"price": "1.10"}, {"price": Decimal("1.10")}),
    (typed, {"kind": "b"}, {"kind": "b"}),
    (typed, {"colour": "red"}, {"colour": Colour.RED}),
    (typed, {"path": "/tmp/x"}, {"path": Path("/tmp/x")}),  # noqa: S108
    (typed, {"address": {"street": "Hill", "number": 1}}, {"address": Address("Hill", 1)}),
    (typed, {"order": {"id": 1, "lines": ["a"]}}, {"order": Order(id=1, lines=["a"])}),
    (typed, {"pairs": {"a": [1, 2]}}, {"pairs": {"a": [1, 2]}}),
]


@pytest.mark.parametrize(("handler", "data", "arguments"), FITS)
def test_data_that_fit_are_converted(
    handler: Callable[..., Any], data: JsonObject, arguments: JsonObject
) -> None:
    """By the handler's annotations; the call gets what it asked for."""
    signature = Signature("work", handler)
    signature.check(data)
    assert signature.arguments(data, JobContext(a_job())) == arguments


DOES_NOT_FIT: list[tuple[Callable[..., Any], JsonObject, str]] = [
    (bare, {}, "data: a: is missing, and job work needs it"),
    (bare, {"a": 1, "c": 2}, "data: c is not a parameter of job work; allowed: a, b"),
    (no_parameters, {"n": 1}, "data: n is not a parameter of job work; allowed: none"),
    (number, {"n": "7"}, 'data: n: "7" does not fit job work; Input should be a valid integer'),
    (number, {"n": 7.0}, "data: n: 7.0 does not fit"),
    (number, {"n": True}, "data: n: true does not fit"),
    (number, {"n": None}, "data: n: null does not fit"),
    (number, {"n": {1}}, "data: n: {1} is not JSON"),
    (number, {"n": float("nan")}, "data: n: nan is not JSON"),
    (keyword_only, {}, "data: n: is missing"),
    (anything, {"n": object}, "is not JSON"),
    (anything, {"n": 10**5000}, "data: n: a value of type int is not JSON"),
    (varied, {"values": [1]}, "data: values is not a parameter"),
    (with_context, {"n": 1, "ctx": {}}, "data: ctx is not a parameter of job work; allowed: n"),
    (typed, {"flag": 1}, "data: flag: 1 does not fit"),
    (typed, {"day": "29.3.2026"}, "data: day: "),
    (typed, {"day": "2026-02-30"}, "data: day: "),
    (typed, {"kind": "c"}, "data: kind: "),
    (typed, {"colour": "blue"}, "data: colour: "),
    (typed, {"address": {"street": "Hill"}}, "data: address.number"),
    (typed, {"pairs": {"a": [1, "2"]}}, "data: pairs."),
]


@pytest.mark.parametrize(("handler", "data", "said"), DOES_NOT_FIT)
def test_data_that_do_not_fit_are_refused(
    handler: Callable[..., Any], data: JsonObject, said: str
) -> None:
    """Naming the parameter, the value, and what would fit."""
    with pytest.raises(InvalidData) as caught:
        Signature("work", handler).check(data)
    assert said in str(caught.value)


def test_a_name_that_is_no_text_is_refused() -> None:
    """JSON objects have text keys: it would come back as another one."""
    with pytest.raises(InvalidData, match="data: 1 is not text"):
        Signature("work", anything).check({1: "one"})  # type: ignore[dict-item]


def test_a_refusal_shows_little_of_a_large_value() -> None:
    """At most 80 characters of it."""
    with pytest.raises(InvalidData) as caught:
        Signature("work", number).check({"n": "x" * 10_000})
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("handler", [with_context, context_last])
def test_the_context_goes_where_it_is_asked_for(handler: Callable[..., Any]) -> None:
    """By its annotation, whatever the parameter is called."""
    context = JobContext(a_job())
    arguments = Signature("work", handler).arguments({"n": 1}, context)
    assert arguments["n"] == 1
    assert context in arguments.values()


def positional(n: int, /) -> None: ...
def unreadable(n: Fraction) -> None: ...
def not_json(n: threading_lock) -> None: ...  # type: ignore[name-defined]  # noqa: F821
def no_schema(n: Signature) -> None: ...


@pytest.mark.parametrize(
    ("handler", "said"),
    [
        (positional, "n is positional-only"),
        (unreadable, "import the name at run time"),
        (not_json, "import the name at run time"),
        (no_schema, "cannot be read from JSON"),
    ],
)
def test_a_signature_that_data_can_never_fit_is_refused(
    handler: Callable[..., Any], said: str
) -> None:
    """It is the handler's author who is told, with the mend."""
    with pytest.raises(InvalidOption, match=said):
        Signature("work", handler).check({"n": 1})


def test_to_json_is_what_it_says() -> None:
    """Text that any JSON reader takes."""
    assert to_json({"a": [1, None, "ž"]}, "x") == '{"a": [1, null, "\\u017e"]}'


@pytest.mark.parametrize("wrap", [lambda v: [v], lambda v: (v,), lambda v: {"k": v}])
def test_what_nests_too_deep_is_no_data(wrap: Callable[[Any], Any]) -> None:
    """Somebody could not read it: Python, the database and terminals recurse, each so far."""
    value: Any = None
    for _ in range(MAX_DEPTH):
        value = wrap(value)
    assert json.loads(to_json(value, "x"))
    with pytest.raises(InvalidData, match=f"x: nests deeper than {MAX_DEPTH} levels"):
        to_json(wrap(value), "x")
