"""An independent checker of clause 9.11: what is on record is what the rules say.

It knows nothing of expansion: it walks the set of each rule over the time that the rule was in
force, and holds every instant against the jobs and the skips, one by one.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from scheduler.model import Job, Origin, Skip
from scheduler.rules import rule_from_json

TICK = timedelta(microseconds=1)


@dataclass(frozen=True)
class Era:
    """A rule, and the time (after, until] in which a schedule was expanded by it."""

    rule: Mapping[str, Any]
    timezone: str
    anchor_at: datetime
    after: datetime
    until: datetime

    def is_of(self, rule: Mapping[str, Any], timezone: str) -> bool:
        """Whether another rule gives the same set: a live limit, which counts jobs, is no part."""
        return (_unlimited(self.rule), self.timezone) == (_unlimited(rule), timezone)

    def occurrences(self) -> list[datetime]:
        """Every instant of the set."""
        bound = rule_from_json(_unlimited(self.rule)).bound(
            timezone=self.timezone, anchor=self.anchor_at
        )
        return list(bound.between(self.after + TICK, self.until + TICK))


def faults(eras: Sequence[Era], jobs: Iterable[Job], skips: Sequence[Skip]) -> list[str]:
    """What is missing, doubled or invented in the record of one schedule; [] if it is right.

    Each instant has one job of the series or is in one skip; or it has a backfilled job, made
    before anything was decided of it. A skip counts what of it got a job later.
    """
    found: list[str] = []
    pure = [at for era in eras for at in era.occurrences()]  # eras follow each other
    series = Counter[datetime]()
    taken = Counter[datetime]()
    for job in jobs:
        if job.occurrence_at is None or job.origin is Origin.RUN_NOW:
            continue
        taken[job.occurrence_at] += 1
        if job.sequence is not None:
            series[job.occurrence_at] += 1
    skipped = Counter[datetime]()
    for skip in skips:
        run = pure[bisect_left(pure, skip.first_at) : bisect_right(pure, skip.last_at)]
        skipped.update(run)
        if not run or (run[0], run[-1], len(run)) != (skip.first_at, skip.last_at, skip.count):
            found.append(f"{_named(skip)} holds {len(run)} occurrences")
        filled = sum(1 for at in run if taken[at])
        if skip.backfilled != filled:
            found.append(f"{_named(skip)} says {skip.backfilled} of it were backfilled: {filled}")
    found += [f"{at} has {count} jobs" for at, count in taken.items() if count > 1]
    found += [f"{at} is no occurrence and has a job" for at in series.keys() - set(pure)]
    for at in pure:
        is_backfilled_alone = taken[at] == 1 and not series[at] and not skipped[at]
        if series[at] + skipped[at] != 1 and not is_backfilled_alone:
            found.append(f"{at} has {series[at]} jobs of the series and {skipped[at]} skips")
    return found


def _unlimited(rule: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in rule.items() if key != "limit"}


def _named(skip: Skip) -> str:
    return f"skip {skip.reason.value} {skip.first_at} to {skip.last_at} ({skip.count})"
