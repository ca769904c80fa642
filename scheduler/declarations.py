"""What the code declares against what the table holds: which schedules change, and how.

Idempotent: the same code declares the same schedules, and nothing restarts its phase because
a process restarted. A schedule whose code is gone is retired, not deleted; one that comes
back goes on from now. Only schedules of the modules at hand are retired, so that several
services can share one table; and where two versions of the code run side by side, the one seen
first last decides, and nothing is retired that any of them declares. Pure: no clock, no I/O.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from operator import attrgetter
from typing import Any

from scheduler.expansion import NOTHING, Expansion, Made, begin
from scheduler.history import DEFINING
from scheduler.ids import new_id
from scheduler.model import Declaration, JsonObject, Schedule, ScheduleStatus, replace
from scheduler.operations import edit, retire, revive
from scheduler.registry import JobDefinition
from scheduler.rules import Rule

_DECLARED = (*DEFINING, "module")
"""The fields that code decides; the others are state."""

_DURATIONS = ("timeout", "grace", "catch_up_window", "jitter")
"""Those of them that are timedeltas, or None."""

_declared_of = attrgetter(*_DECLARED)
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"))

DEPLOY = "deploy"
"""The actor of what a declaration changes."""


class ChangeKind(StrEnum):
    ADDED = "added"
    CHANGED = "changed"
    REVIVED = "revived"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class Change:
    """One schedule that has to be written: `before` (None: new) becomes `after`.

    `expansion` is what writes it; None for a new one, which is saved as it is.
    """

    kind: ChangeKind
    before: Schedule | None
    after: Schedule
    expansion: Expansion | None = None


def declare(definition: JobDefinition, rule: Rule, **given: Any) -> Schedule:
    """The schedule that `begun` makes of the same, as what code declares."""
    schedule = begun(definition, rule, **given)
    return replace(schedule, declared=_digest(_said(schedule)))


def begun(
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
    values = dict(definition.data if data is None else data)
    schedule = Schedule(
        id=new_id(now),
        name=name,
        job_name=definition.name,
        rule=rule.to_json(),
        timezone=rule.timezone or timezone,
        data=values,
        queue=definition.queue or queue,
        priority=definition.priority,
        max_retries=max_retries if definition.max_retries is None else definition.max_retries,
        timeout=definition.timeout,
        catch_up=definition.catch_up,
        grace=definition.grace,
        catch_up_window=definition.catch_up_window,
        catch_up_max=definition.catch_up_max,
        overlap=definition.overlap,
        jitter=definition.jitter,
        concurrency_key=definition.key_for(values),
        module=module,
        anchor_at=now,
        rule_since=now,
        cursor_at=now,
        created_at=now,
        updated_at=now,
    )
    return begin(schedule)


def declaration(
    declared: Iterable[Schedule],
    *,
    process: str,
    seen: Iterable[Declaration],
    now: datetime,
) -> Declaration:
    """What `process` declares; as old as its version, if that is among those `seen`."""
    schedules = {each.name: each.declared or "" for each in declared}
    code = _digest(schedules)
    ages = [each.since_at for each in seen if each.code == code]
    return Declaration(
        process=process, code=code, since_at=min([now, *ages]), seen_at=now, schedules=schedules
    )


def alive(
    seen: Iterable[Declaration], own: Declaration, *, now: datetime, grace: timedelta
) -> list[Declaration]:
    """The declarations of other processes that have shown themselves within `grace`."""
    return [
        each
        for each in seen
        if each.process != own.process and each.schedules and now - each.seen_at <= grace
    ]


def reconcile(
    declared: Iterable[Schedule],
    stored: Mapping[str, Schedule],
    *,
    modules: Sequence[str],
    now: datetime,
    own: Declaration | None = None,
    others: Sequence[Declaration] = (),
    made: Mapping[str, Made] | None = None,
) -> list[Change]:
    """The changes that bring `stored` (by name) to what `declared` says.

    A stored schedule that was declared in one of `modules` (or below it), and no longer is,
    gets retired. What a newer version among `others` says differently is left to it, and what
    any of them declares is not retired. `made` is what has jobs already, by schedule id.
    """
    jobs = made or {}
    wanted = {schedule.name: schedule for schedule in declared}
    newer = [each.schedules for each in others if own is not None and each.since_at > own.since_at]
    found: list[Change | None] = [
        _change(schedule, stored.get(name), now, jobs)
        for name, schedule in wanted.items()
        if all(said.get(name, schedule.declared) == schedule.declared for said in newer)
    ]
    found += [
        _retirement(schedule, now)
        for name, schedule in stored.items()
        if name not in wanted
        and _is_retirable(schedule, modules)
        and not any(name in each.schedules for each in others)
    ]
    return [change for change in found if change is not None]


def is_edited_by_hand(declared: Schedule, stored: Schedule, now: datetime) -> bool:
    """Whether somebody changed what the code, which is still the same, declares."""
    is_said = stored.declared == declared.declared and stored.status is not ScheduleStatus.RETIRED
    return is_said and edit(stored, _fields(declared), now) is not None


def _change(
    declared: Schedule,
    stored: Schedule | None,
    now: datetime,
    made: Mapping[str, Made],
) -> Change | None:
    if stored is None:
        return Change(ChangeKind.ADDED, None, declared)
    said = _fields(declared)
    if stored.status is ScheduleStatus.RETIRED:
        revived = revive(stored, said, now, actor=DEPLOY, made=made.get(stored.id, NOTHING))
        return Change(ChangeKind.REVIVED, stored, revived.after, revived)
    if stored.declared == declared.declared and stored.error is None:
        return None
    edited = edit(stored, said, now, actor=DEPLOY, made=made.get(stored.id, NOTHING))
    return None if edited is None else Change(ChangeKind.CHANGED, stored, edited.after, edited)


def _fields(declared: Schedule) -> dict[str, Any]:
    """What code decides of a schedule, as an edit."""
    return {name: getattr(declared, name) for name in (*_DECLARED, "declared")}


def _retirement(schedule: Schedule, now: datetime) -> Change | None:
    retired = retire(schedule, now, actor=DEPLOY)
    if retired is None:
        return None
    return Change(ChangeKind.RETIRED, schedule, retired.after, retired)


def _is_retirable(schedule: Schedule, modules: Sequence[str]) -> bool:
    module = schedule.module
    return (
        module is not None
        and schedule.status is not ScheduleStatus.RETIRED
        and any(module == root or module.startswith(f"{root}.") for root in modules)
    )


def _said(schedule: Schedule) -> dict[str, Any]:
    """The declared fields, as JSON."""
    values = dict(zip(_DECLARED, _declared_of(schedule), strict=True))
    if schedule.concurrency_key is None:  # which earlier versions did not have, nor digest
        del values["concurrency_key"]
    for name in _DURATIONS:
        if values[name] is not None:
            values[name] = values[name].total_seconds()
    return values


def _digest(value: JsonObject) -> str:
    return sha256(_ENCODER.encode(value).encode("ascii")).hexdigest()
