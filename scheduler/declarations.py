"""What the code declares against what the table holds: which schedules change, and how.

Idempotent: the same code declares the same schedules, and nothing restarts its phase because
a process restarted. A schedule whose code is gone is retired, not deleted; one that comes
back goes on from now. Only schedules of the modules at hand are retired, so that several
services can share one table. Pure: no clock, no I/O.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from scheduler.expansion import advance, begin
from scheduler.ids import new_id
from scheduler.model import JsonObject, Schedule, ScheduleStatus
from scheduler.operations import DEFINING
from scheduler.registry import JobDefinition
from scheduler.rules import Rule

_DECLARED = (*DEFINING, "module")
"""The fields that code decides; the others are state."""


class ChangeKind(StrEnum):
    ADDED = "added"
    CHANGED = "changed"
    REVIVED = "revived"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class Change:
    """One schedule that has to be written: `before` (None: new) becomes `after`."""

    kind: ChangeKind
    before: Schedule | None
    after: Schedule


def declare(
    definition: JobDefinition,
    rule: Rule,
    *,
    name: str,
    timezone: str,
    queue: str,
    max_retries: int,
    module: str | None,
    now: datetime,
    data: JsonObject | None = None,
) -> Schedule:
    """The schedule that `definition` and `rule` make, as if created at `now`.

    `timezone` is for a rule that names none, `queue` and `max_retries` for a definition that
    leaves them open, `data` in place of the definition's.
    """
    return begin(
        Schedule(
            id=new_id(now),
            name=name,
            job_name=definition.name,
            rule=rule.to_json(),
            timezone=rule.timezone or timezone,
            data=dict(definition.data if data is None else data),
            queue=definition.queue or queue,
            priority=definition.priority,
            max_retries=max_retries if definition.max_retries is None else definition.max_retries,
            timeout=definition.timeout,
            catch_up=definition.catch_up,
            grace=definition.grace,
            catch_up_window=definition.catch_up_window,
            overlap=definition.overlap,
            jitter=definition.jitter,
            catch_up_max=definition.catch_up_max,
            module=module,
            anchor_at=now,
            rule_since=now,
            cursor_at=now,
            created_at=now,
            updated_at=now,
        )
    )


def reconcile(
    declared: Iterable[Schedule],
    stored: Mapping[str, Schedule],
    *,
    modules: Sequence[str],
    now: datetime,
) -> list[Change]:
    """The changes that bring `stored` (by name) to what `declared` says.

    A stored schedule that was declared in one of `modules` (or below it), and no longer is,
    gets retired.
    """
    wanted = {schedule.name: schedule for schedule in declared}
    changes = [
        change
        for name, schedule in wanted.items()
        if (change := _change(schedule, stored.get(name), now)) is not None
    ]
    for name, schedule in stored.items():
        if name not in wanted and _is_retirable(schedule, modules):
            changes.append(Change(ChangeKind.RETIRED, schedule, _retired(schedule, now)))
    return changes


def _change(declared: Schedule, stored: Schedule | None, now: datetime) -> Change | None:
    if stored is None:
        return Change(ChangeKind.ADDED, None, declared)
    defining = {name: getattr(declared, name) for name in _DECLARED}
    is_retired = stored.status is ScheduleStatus.RETIRED
    if not is_retired and all(getattr(stored, name) == defining[name] for name in _DECLARED):
        return None
    edited = replace(stored, **defining, revision=stored.revision + 1, updated_at=now)
    if is_retired or (stored.rule, stored.timezone) != (declared.rule, declared.timezone):
        edited = _restarted(edited, now)
    return Change(ChangeKind.REVIVED if is_retired else ChangeKind.CHANGED, stored, edited)


def _restarted(schedule: Schedule, now: datetime) -> Schedule:
    """`schedule` going on under its new rule: nothing at or before `now`, count unchanged."""
    paused = schedule.status is ScheduleStatus.PAUSED and schedule.error is None
    status = ScheduleStatus.PAUSED if paused else ScheduleStatus.ACTIVE
    return advance(replace(schedule, status=status, error=None), now)


def _is_retirable(schedule: Schedule, modules: Sequence[str]) -> bool:
    module = schedule.module
    return (
        module is not None
        and schedule.status is not ScheduleStatus.RETIRED
        and any(module == root or module.startswith(f"{root}.") for root in modules)
    )


def _retired(schedule: Schedule, now: datetime) -> Schedule:
    return replace(
        schedule,
        status=ScheduleStatus.RETIRED,
        next_at=None,
        revision=schedule.revision + 1,
        updated_at=now,
    )
