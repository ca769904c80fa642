"""How a rule is refused: one error type, one form, and a bounded cost whatever came in.

Every check of the rules package ends here. A refusal never prints a container or a number of
thousands of digits: both can be as large as a request body allows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from scheduler.errors import InvalidRule

LONGEST_COUNT = 2**63 - 1
"""The greatest count a rule may carry: what a signed 64-bit column holds."""


def refuse(field: str, value: object, reason: str, hint: str = "") -> InvalidRule:
    """The refusal of `value` at `field`; raise it. Containers are named by kind, not printed."""
    return InvalidRule(field, spoken(value), reason, hint)


def missing(field: str, hint: str) -> InvalidRule:
    """The refusal of a required `field` that is absent or null."""
    return refuse(field, "nothing", "was given, and it is required", hint)


def spoken(value: object) -> str:
    """`value` as a refusal shows it, in constant time and memory."""
    if isinstance(value, str):
        return value[:200] if value else '""'
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if value.bit_length() < 256 else "an integer of more than 75 digits"
    if isinstance(value, float):
        return str(value) if math.isfinite(value) else ("NaN" if math.isnan(value) else "Infinity")
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, (bytes, bytearray)):
        return "bytes"
    if isinstance(value, Iterable):
        return "a list"
    return f"a {type(value).__name__}"


def count(field: str, value: object, highest: int = LONGEST_COUNT, hint: str = "") -> int:
    """`value` if it is an integer in 1..`highest`; booleans, floats and text are refused."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise refuse(field, value, "is not an integer", hint or "give a whole number, at least 1")
    if value < 1:
        raise refuse(field, value, "is less than 1", hint)
    if value > highest:
        raise refuse(field, value, f"is more than {highest}", hint)
    return value


def choice(field: str, value: object, allowed: tuple[str, ...]) -> str:
    """`value` if it is one of `allowed`, spelt exactly."""
    if isinstance(value, str) and value in allowed:
        return value
    raise refuse(field, value, f"is not one of {', '.join(allowed)}")


def text(field: str, value: object, longest: int) -> str:
    """`value` if it is text of at most `longest` characters; nothing else of it is looked at."""
    if not isinstance(value, str):
        raise refuse(field, value, "is not text")
    if len(value) > longest:
        raise refuse(field, value, f"is longer than {longest} characters")
    return value
