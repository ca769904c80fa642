"""Unions and intersections of rules.

A member without a zone has that of the whole, and a member without a start begins where the
whole was bound.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from typing import Any, ClassVar, Final, Self
from zoneinfo import ZoneInfo

from scheduler.rules.base import Rule
from scheduler.rules.existence import checked
from scheduler.rules.footprint import Footprint
from scheduler.rules.instants import END, FIRST
from scheduler.rules.refusals import refuse
from scheduler.rules.series import (
    Clipped,
    Intersection,
    Listed,
    Series,
    Steady,
    Union,
    unclipped,
)

MOST_MEMBERS: Final = 50
DEEPEST: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Combined(Rule):
    """A rule made of rules."""

    members: tuple[Rule, ...]

    def _check(self) -> None:
        if not self.members:
            raise refuse(self.kind, "the list", "is empty", "give at least one rule")
        if len(self.members) > MOST_MEMBERS:
            raise refuse(self.kind, "the list", f"has more than {MOST_MEMBERS} rules")
        if self.depth() > DEEPEST:
            raise refuse(self.kind, "the rule", f"nests deeper than {DEEPEST}")

    def depth(self) -> int:
        excepted = (x.depth() for x in self.exceptions if isinstance(x, Rule))
        return 1 + max([*(member.depth() for member in self.members), *excepted])

    def is_wall_only(self) -> bool:
        members = (member.is_wall_only() for member in self.members)
        return Rule.is_wall_only(self) and all(members)

    def unexcluded(self) -> Self:
        members = tuple(member.unexcluded() for member in self.members)
        return dataclasses.replace(Rule.unexcluded(self), members=members)

    def _leans_on_anchor(self) -> bool:
        members = (member.leans_on_anchor() for member in self.members)
        return Rule._leans_on_anchor(self) or any(members)

    def _to_json(self) -> dict[str, Any]:
        return {self.kind: [member.to_json() for member in self.members]}

    def member_series(self, place: ZoneInfo) -> list[Series]:
        """What each member denotes in `place`."""
        return [member.within(self, place).series() for member in self.members]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnyOf(Combined):
    """`{"any": [rule, …]}`"""

    kind: ClassVar[str] = "any"

    def starts_itself(self) -> bool:
        bounded = self.start_date is not None
        return bounded or all(member.starts_itself() for member in self.members)

    def _instants(self, place: ZoneInfo) -> Series:
        return Union(self.member_series(place))

    def _footprint(self, place: ZoneInfo) -> Footprint:
        return reduce(Footprint.either, (member.footprint(place) for member in self.members))


@dataclass(frozen=True, slots=True, kw_only=True)
class AllOf(Combined):
    """`{"all": [rule, …]}`"""

    kind: ClassVar[str] = "all"

    def starts_itself(self) -> bool:
        bounded = self.start_date is not None
        return bounded or any(member.starts_itself() for member in self.members)

    def _instants(self, place: ZoneInfo) -> Series:
        members = _without_steady(self.member_series(place))
        return members[0] if len(members) == 1 else Intersection(members)

    def _footprint(self, place: ZoneInfo) -> Footprint:
        return reduce(Footprint.both, (member.footprint(place) for member in self.members))


def _without_steady(members: list[Series]) -> list[Series]:
    """The members with all steady ones joined to one, by the Chinese remainder theorem."""
    rest: list[Series] = []
    joined: Steady | None = None
    lo, hi = FIRST, END
    for member in members:
        inner, since, until = unclipped(member)
        lo, hi = max(lo, since), min(hi, until)
        if not isinstance(inner, Steady):
            rest.append(inner)
        else:
            joined = inner if joined is None else joined.common(inner)
            if joined is None:
                return [Listed(())]
    if joined is not None:
        rest.append(joined)
    # Every instant of an intersection is inside the bounds of each member.
    return [Clipped(member, lo, hi) for member in rest]


def any_of(
    *rules: Rule,
    timezone: str | None = None,
    start_date: datetime | str | None = None,
    end_date: datetime | str | None = None,
    limit: int | None = None,
) -> AnyOf:
    """The occurrences of any of the rules; equal instants are one. Raises InvalidRule."""
    return checked(
        AnyOf(
            members=_rules("any", rules),
            timezone=timezone,
            start_date=start_date,  # type: ignore[arg-type]  # text is parsed on the way in
            end_date=end_date,  # type: ignore[arg-type]
            limit=limit,
        )
    )


def all_of(
    *rules: Rule,
    timezone: str | None = None,
    start_date: datetime | str | None = None,
    end_date: datetime | str | None = None,
    limit: int | None = None,
) -> AllOf:
    """The instants at which every one of the rules occurs. Raises InvalidRule."""
    return checked(
        AllOf(
            members=_rules("all", rules),
            timezone=timezone,
            start_date=start_date,  # type: ignore[arg-type]  # text is parsed on the way in
            end_date=end_date,  # type: ignore[arg-type]
            limit=limit,
        )
    )


def _rules(field: str, rules: Sequence[object]) -> tuple[Rule, ...]:
    for rule in rules:
        if not isinstance(rule, Rule):
            raise refuse(
                field, rule, "is not a rule", "make it with every(), cron(), rrule(), at()"
            )
    return tuple(rules)  # type: ignore[arg-type]
