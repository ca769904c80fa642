"""A rule as the JSON that is stored and sent, and the one parser of it.

A rule is an object with exactly one kind key (`every`, `cron`, `rrule`, `at`, `any`, `all`),
the keys of that kind, and the keys every kind may carry. An unknown key is refused; null means
absent where a key is optional, and is refused where it is required. `Rule.to_json` is the
inverse.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from scheduler.rules.every import Interval
from scheduler.rules.refusals import missing, refuse

if TYPE_CHECKING:
    from scheduler.rules.base import Rule

COMMON = frozenset({"timezone", "start_date", "end_date", "limit", "only_on", "except"})
POLICIES = frozenset({"gap", "fold"})
_SHARED = ("timezone", "start_date", "end_date", "limit")
OWN: dict[str, frozenset[str]] = {
    "every": POLICIES | {"unit"},
}
DEEPEST = 5
MOST_RULES = 1_000

Given = dict[str, Any]


class Parser:
    """One definition being read: it counts the rules in it, so that none is endless."""

    def __init__(self) -> None:
        self._rules = 0

    def rule(self, value: object, depth: int = 0) -> Rule:
        """The rule that `value`, a mapping, defines."""
        if not isinstance(value, Mapping):
            raise refuse(
                "rule", value, "is not an object", 'such as {"every": 15, "unit": "minutes"}'
            )
        self._rules += 1
        if self._rules > MOST_RULES:
            raise refuse("rule", value, f"holds more than {MOST_RULES} rules")
        kind = _kind(value)
        given = _given(kind, value)
        shared: Given = {key: given[key] for key in _SHARED if key in given}
        return self._MAKERS[kind](self, given, shared, depth)

    def _every(self, given: Given, shared: Given, depth: int) -> Rule:
        if "unit" not in given:
            raise missing("unit", "give seconds, minutes, hours, days, weeks, months or years")
        return Interval(every=given["every"], unit=given["unit"], **_policies(given), **shared)

    _MAKERS: ClassVar[dict[str, Callable[[Parser, Given, Given, int], Rule]]] = {"every": _every}


def rule_from_json(value: Mapping[str, Any]) -> Rule:
    """The rule that `value` defines, completely checked.

    Raises InvalidRule naming the field, the offending part, the reason and the mend.
    """
    return Parser().rule(value)


def _kind(value: Mapping[object, object]) -> str:
    """The one kind key of `value`."""
    kinds = [kind for kind in OWN if kind in value]
    if not kinds:
        raise missing("rule", f"give one of {', '.join(OWN)}")
    if len(kinds) > 1:
        raise refuse("rule", " and ".join(kinds), "are kinds of rule, and a rule has one")
    return kinds[0]


def _given(kind: str, value: Mapping[object, object]) -> Given:
    """The keys of `value` that are not null, every one of them known to `kind`."""
    allowed = OWN[kind] | COMMON
    given: Given = {}
    for key, part in value.items():
        if not isinstance(key, str) or (key != kind and key not in allowed):
            known = ", ".join(sorted(allowed))
            raise refuse(f"rule: {kind}", key, "is not a key of this rule", f"known are {known}")
        if part is not None:
            given[key] = part
        elif key == kind:
            raise missing(kind, "null is not a value here")
    return given


def _policies(given: Given) -> Given:
    return {key: given[key] for key in ("gap", "fold") if key in given}
