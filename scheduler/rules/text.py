"""A rule as the JSON that is stored and sent, and the one parser of it.

A rule is an object with exactly one kind key (`every`, `cron`, `rrule`, `at`, `any`, `all`),
the keys of that kind, and the keys every kind may carry. An unknown key is refused; null means
absent where a key is optional, and is refused where it is required. `Rule.to_json` is the
inverse.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from scheduler.rules.at import At
from scheduler.rules.calendars import Calendar, calendar
from scheduler.rules.combine import DEEPEST, MOST_MEMBERS, AllOf, AnyOf
from scheduler.rules.cron import Cron
from scheduler.rules.every import Interval
from scheduler.rules.existence import checked
from scheduler.rules.refusals import missing, refuse
from scheduler.rules.rrule import RRule

if TYPE_CHECKING:
    from scheduler.rules.base import Rule

COMMON = frozenset({"timezone", "start_date", "end_date", "limit", "only_on", "except"})
POLICIES = frozenset({"gap", "fold"})
_SHARED = ("timezone", "start_date", "end_date", "limit")
OWN: dict[str, frozenset[str]] = {
    "every": POLICIES | {"unit"},
    "cron": frozenset(),
    "rrule": POLICIES | {"dtstart", "exdate", "rdate"},
    "at": POLICIES,
    "any": frozenset(),
    "all": frozenset(),
}
# What SEMANTICS caps for each list, capped for the whole: 8.2 holds for any body.
MOST_PARTS = 1_000
"""Rules in all, and calendars of one list."""
MOST_DATES = 20_000
"""Dates and date-times in all, of calendars, exdate, rdate and at."""

Given = dict[str, Any]


class Parser:
    """One definition being read: it counts the rules and the dates in it, so none is endless."""

    def __init__(self) -> None:
        self._rules = 0
        self._dates = 0

    def rule(self, value: object, depth: int = 0) -> Rule:
        """The rule that `value`, a mapping, defines."""
        if not isinstance(value, Mapping):
            raise refuse(
                "rule", value, "is not an object", 'such as {"every": 15, "unit": "minutes"}'
            )
        self._rules += 1
        if self._rules > MOST_PARTS:
            raise refuse("rule", value, f"holds more than {MOST_PARTS} rules")
        kind = _kind(value)
        given = _given(kind, value)
        self._weigh(given, "exdate", "rdate", "at")
        shared: Given = {key: given[key] for key in _SHARED if key in given}
        if "only_on" in given:
            shared["kept_on"] = self._calendars(given["only_on"])
        if "except" in given:
            shared["exceptions"] = self._exceptions(given["except"], depth)
        return self._MAKERS[kind](self, given, shared, depth)

    def _weigh(self, given: object, *keys: str) -> None:
        """Count the dates that `given` lists under `keys`, before any of them is read."""
        if isinstance(given, Mapping):
            listed = (given.get(key) for key in keys)
            self._dates += sum(len(part) for part in listed if isinstance(part, (list, tuple)))
            if self._dates > MOST_DATES:
                raise refuse("rule", "the rule", f"holds more than {MOST_DATES} dates in all")

    def _calendar(self, value: object, field: str) -> Calendar:
        self._weigh(value, "dates", "annual", "ranges", "times", "weekdays")
        return calendar(value, field)

    def _calendars(self, value: object) -> tuple[Calendar, ...]:
        parts = _list("only_on", value, MOST_PARTS)
        found = tuple(self._calendar(part, "only_on") for part in parts)
        if not found:
            raise refuse("only_on", "the list", "is empty", "leave it out to keep every occurrence")
        return found

    def _exceptions(self, value: object, depth: int) -> tuple[Calendar | Rule, ...]:
        return tuple(
            self.rule(part, _deeper("except", depth))
            if _is_rule(part)
            else self._calendar(part, "except")
            for part in _list("except", value, MOST_PARTS)
        )

    def _every(self, given: Given, shared: Given, depth: int) -> Rule:
        if "unit" not in given:
            raise missing("unit", "give seconds, minutes, hours, days, weeks, months or years")
        return Interval(every=given["every"], unit=given["unit"], **_policies(given), **shared)

    def _cron(self, given: Given, shared: Given, depth: int) -> Rule:
        return Cron(cron=given["cron"], **shared)

    def _rrule(self, given: Given, shared: Given, depth: int) -> Rule:
        if "dtstart" not in given:
            raise missing("dtstart", "it gives the phase and the time of day of an rrule")
        for key in ("exdate", "rdate"):
            shared[key] = given.get(key, ())
        return RRule(rrule=given["rrule"], dtstart=given["dtstart"], **_policies(given), **shared)

    def _at(self, given: Given, shared: Given, depth: int) -> Rule:
        return At(at=given["at"], **_policies(given), **shared)

    def _any(self, given: Given, shared: Given, depth: int) -> Rule:
        return AnyOf(members=self._members("any", given, depth), **shared)

    def _all(self, given: Given, shared: Given, depth: int) -> Rule:
        return AllOf(members=self._members("all", given, depth), **shared)

    def _members(self, kind: str, given: Given, depth: int) -> tuple[Rule, ...]:
        deeper = _deeper(kind, depth)
        return tuple(self.rule(member, deeper) for member in _list(kind, given[kind], MOST_MEMBERS))

    _MAKERS: ClassVar[dict[str, Callable[[Parser, Given, Given, int], Rule]]] = {
        "every": _every,
        "cron": _cron,
        "rrule": _rrule,
        "at": _at,
        "any": _any,
        "all": _all,
    }


def rule_from_json(value: Mapping[str, Any]) -> Rule:
    """The rule that `value` defines, completely checked.

    Raises InvalidRule naming the field, the offending part, the reason and the mend.
    """
    return checked(parsed(value))


def parsed(value: Mapping[str, Any]) -> Rule:
    """`rule_from_json`, before it is asked whether the rule can occur at all."""
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


def _deeper(field: str, depth: int) -> int:
    """The depth of the rules inside; refused before anything inside is looked at."""
    if depth == DEEPEST:
        raise refuse(field, "the rule", f"nests deeper than {DEEPEST}")
    return depth + 1


def _list(field: str, value: object, most: int) -> Sequence[object]:
    if not isinstance(value, (list, tuple)):
        raise refuse(field, value, "is not a list")
    if len(value) > most:
        raise refuse(field, "the list", f"has more than {most} members")
    return value


def _is_rule(value: object) -> bool:
    return isinstance(value, Mapping) and any(kind in value for kind in OWN)


def _policies(given: Given) -> Given:
    return {key: given[key] for key in ("gap", "fold") if key in given}
