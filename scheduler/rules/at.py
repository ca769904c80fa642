"""Given instants, once each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Final
from zoneinfo import ZoneInfo

from scheduler.rules.base import Rule
from scheduler.rules.every import check_policies, policies_json
from scheduler.rules.existence import checked
from scheduler.rules.instants import to_micros, wall_micros
from scheduler.rules.moments import stamp_text
from scheduler.rules.refusals import refuse
from scheduler.rules.rrule import stamps
from scheduler.rules.series import Listed, Series
from scheduler.rules.timeline import timeline
from scheduler.rules.zones import in_years

MOST_INSTANTS: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class At(Rule):
    """`{"at": ["2024-12-24T18:00", "2024-12-31T23:59:50Z"]}`"""

    at: tuple[datetime, ...]
    gap: str = "forward"
    fold: str = "first"

    kind: ClassVar[str] = "at"

    def _check(self) -> None:
        object.__setattr__(self, "at", stamps("at", self.at, MOST_INSTANTS))
        if not self.at:
            raise refuse("at", "the list", "is empty", "give at least one date-time")
        check_policies(self.gap, self.fold)

    def _to_json(self) -> dict[str, Any]:
        stored = {"at": [stamp_text(stamp) for stamp in self.at]}
        return stored | policies_json(self.gap, self.fold)

    def is_wall_only(self) -> bool:
        return Rule.is_wall_only(self) and all(stamp.tzinfo is None for stamp in self.at)

    def starts_itself(self) -> bool:
        return True

    def _instants(self, place: ZoneInfo) -> Series:
        line = timeline(place)
        found: list[int] = []
        for stamp in self.at:
            if stamp.tzinfo is None:
                means = line.resolve(wall_micros(stamp), self.gap, self.fold)
            else:
                means = (to_micros(stamp),)
            found.extend(in_years(instant, "at", stamp) for instant in means)
        return Listed(found)


def at(
    *instants: datetime | str | Iterable[datetime | str],
    timezone: str | None = None,
    start_date: datetime | str | None = None,
    end_date: datetime | str | None = None,
    limit: int | None = None,
    gap: str = "forward",
    fold: str = "first",
) -> At:
    """The instants given, singly or as one list; in any order, each once.

    Naive ones are wall clock in the zone, where `gap` and `fold` decide. Raises InvalidRule.
    """
    given: Any = instants
    if len(instants) == 1 and not isinstance(instants[0], (datetime, str)):
        given = instants[0]
    return checked(
        At(
            at=given,
            timezone=timezone,
            start_date=start_date,  # type: ignore[arg-type]  # text is parsed on the way in
            end_date=end_date,  # type: ignore[arg-type]
            limit=limit,
            gap=gap,
            fold=fold,
        )
    )
