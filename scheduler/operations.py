"""What people and deploys do to a live schedule, as pure functions of it and an instant.

Each operation first decides everything that was due until now under the rule and the policies
as they stood, then changes the schedule, and comes back as one Expansion: so no occurrence is
lost between an old rule and a new one, and the whole is written or nothing. None means that
there is nothing to do. Pure: no clock, no I/O.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from scheduler import lifecycle
from scheduler.errors import InvalidOption, InvalidRule, InvalidScheduleMove
from scheduler.expansion import (
    NOTHING,
    TICK,
    Expansion,
    Made,
    advance,
    decide,
    occurrence_job,
    series,
)
from scheduler.history import as_of, difference
from scheduler.ids import new_id
from scheduler.model import (
    Action,
    Job,
    JobStatus,
    JsonObject,
    Note,
    Origin,
    Schedule,
    ScheduleStatus,
    Skip,
)
from scheduler.retention import Removed
from scheduler.rules import rule_from_json

ACTIVE, PAUSED = ScheduleStatus.ACTIVE, ScheduleStatus.PAUSED
COMPLETED, RETIRED = ScheduleStatus.COMPLETED, ScheduleStatus.RETIRED

MOST_BACKFILLED = 10_000

_TIMING = {"rule", "timezone"}


def created(schedule: Schedule, *, actor: str | None = None) -> Note:
    """The note that a schedule, which is new, was made, and by whom."""
    return Note(
        schedule_id=schedule.id,
        revision=schedule.revision,
        at=schedule.created_at,
        action=Action.CREATED,
        actor=actor,
    )


def pause(
    schedule: Schedule, now: datetime, *, actor: str | None = None, made: Made = NOTHING
) -> Expansion | None:
    """Nothing more is materialised; queued jobs go on. None if it is paused already (10.1)."""
    if schedule.status is PAUSED and schedule.paused_at is not None:
        return None
    _allow(schedule, "paused", ACTIVE, PAUSED)
    decided = _decided(schedule, now, made)
    after = decided.after
    if after.status is not COMPLETED:
        after = replace(after, status=PAUSED, paused_at=now, paused_by=actor)
    if after.error is None:
        after = advance(after, after.cursor_at)
    return _noted(decided, after, Action.PAUSED, actor)


def resume(
    schedule: Schedule,
    now: datetime,
    *,
    catch_up: bool = False,
    actor: str | None = None,
    made: Made = NOTHING,
) -> Expansion | None:
    """Go on from now; with `catch_up`, what fell due in the pause counts as missed (10.1).

    None if it is active. Raises InvalidRule while the rule that paused it is not mended.
    """
    if schedule.status is ACTIVE:
        return None
    _allow(schedule, "resumed", PAUSED)
    awake = replace(schedule, status=ACTIVE, next_at=None) if catch_up else schedule
    decided = decide(awake, now, made)
    after = replace(decided.after, error=None, paused_at=None, paused_by=None)
    if after.status is PAUSED:
        after = replace(after, status=ACTIVE)
    after = advance(after, after.cursor_at)
    detail = {"catch_up": True} if catch_up else {}
    return _noted(replace(decided, before=schedule), after, Action.RESUMED, actor, detail)


def edit(
    schedule: Schedule,
    changes: Mapping[str, Any],
    now: datetime,
    *,
    reset_count: bool = False,
    keep_pending: bool = False,
    actor: str | None = None,
    made: Made = NOTHING,
) -> Expansion | None:
    """Change what the schedule is, from now on (10.2); None if nothing changes.

    `changes` are fields of Schedule: those of DEFINING, `module` and `declared`. The phase
    stays: a new rule without a start goes on from the old one's. The count goes on unless
    `reset_count`. Jobs that have not started and whose occurrence is later than now are cancelled
    with the rule that made them, unless `keep_pending`. Raises InvalidRule.
    """
    changes = _in_phase(schedule, changes)
    changed = {name for name in changes if changes[name] != getattr(schedule, name)}
    if not changed and not reset_count:
        return None
    # A new rule or count leaves what is due to the old one; a new policy is for what is due, too.
    is_decided = reset_count or bool(_TIMING & changed)
    decided = _decided(schedule, now, made) if is_decided else _undecided(schedule, now)
    after = _changed(schedule, decided.after, changes, now)
    counted = {"materialised": [after.materialised, 0]} if reset_count else {}
    if reset_count:
        after = replace(after, materialised=0)
    if after.status is COMPLETED or (schedule.error and not after.error and not after.paused_at):
        after = replace(after, status=ACTIVE, paused_at=None, paused_by=None)
    after = advance(after, now if is_decided else after.cursor_at)
    detail = {**difference(schedule, after), **counted}
    is_kept = keep_pending or not _TIMING & changed or _is_same_set(schedule, after)
    early = [] if is_kept else [job for job in made.unfinished if _is_early(job, now)]
    return replace(
        _noted(decided, after, Action.EDITED, actor, detail),
        cancelled=(*decided.cancelled, *_called_off(early, now)),
    )


def retire(schedule: Schedule, now: datetime, *, actor: str | None = None) -> Expansion | None:
    """Stop, the record staying; None if it is retired already.

    Nothing due is decided: nobody is left to run it.
    """
    if schedule.status is RETIRED:
        return None
    after = replace(schedule, status=RETIRED, next_at=None)
    if schedule.status is not PAUSED:
        after = replace(after, paused_at=None, paused_by=None)
    return _noted(_undecided(schedule, now), after, Action.RETIRED, actor)


def revive(
    schedule: Schedule,
    changes: Mapping[str, Any],
    now: datetime,
    *,
    actor: str | None = None,
    made: Made = NOTHING,
) -> Expansion:
    """A retired schedule, with `changes` as of `edit`, goes on from now.

    What fell due meanwhile is on record as paused. One that somebody had paused stays so.
    """
    _allow(schedule, "revived", RETIRED)
    decided = _decided(schedule, now, made)
    changed = _changed(schedule, decided.after, _in_phase(schedule, changes), now)
    status = ACTIVE if changed.paused_at is None else PAUSED
    after = advance(replace(changed, status=status, error=None), now)
    return _noted(decided, after, Action.REVIVED, actor, difference(schedule, after))


def run_now(schedule: Schedule, now: datetime, *, data: JsonObject | None = None) -> Job:
    """One extra job, outside the series: no count, no cursor, no overlap (10.5)."""
    return occurrence_job(
        schedule,
        now,
        now,
        job_id=new_id(now),
        data=data,
        origin=Origin.RUN_NOW,
    )


def backfill(
    schedule: Schedule,
    start: datetime,
    end: datetime,
    now: datetime,
    *,
    taken: Collection[datetime],
    skips: Sequence[Skip],
    notes: Sequence[Note] = (),
    actor: str | None = None,
    made: Made = NOTHING,
) -> Expansion | None:
    """A job for each occurrence of the current rule in [start, end) that never had one (10.3).

    What had one that was removed since gets no other: it would run twice. `taken` are the
    occurrences in the window that have a job, `skips` and `notes` the record. Oldest first; None
    if every one has, or had, its job. Raises InvalidOption if the window ends later than now, or
    holds more than 10 000 occurrences without a job.
    """
    if end > now:
        hint = "occurrences to come are not backfilled"
        raise InvalidOption("to", end.isoformat(), "is later than now", hint)
    if start >= end:
        raise InvalidOption("to", end.isoformat(), f"is not after {start.isoformat()}")
    rule = series(schedule)
    _refuse_many(rule.count(start, end) - len(set(taken)), start)
    # What a pause holds is left to its end, which may catch up on it.
    is_at_rest = schedule.status in (PAUSED, RETIRED)
    decided = _undecided(schedule, now) if is_at_rest else _decided(schedule, now, made)
    there = {job.occurrence_at for job in decided.jobs} | set(taken)
    removed = Removed(schedule, notes, skips)
    missing = [at for at in rule.between(start, end) if at not in there and at not in removed]
    if not missing:
        return None
    _refuse_many(len(missing), start)
    jobs = tuple(
        occurrence_job(
            schedule,
            at,
            now,
            origin=Origin.BACKFILL,
            previous_occurrence_at=rule.last_before_or_at(at - TICK),
        )
        for at in missing
    )
    detail = {"from": start.isoformat(), "to": end.isoformat(), "jobs": len(jobs)}
    # Of two about one run, the later.
    latest = {skip.first_at: skip for skip in (*skips, *decided.skips)}
    filled = {
        first_at: _filled(skip, missing, as_of(schedule, notes, first_at))
        for first_at, skip in latest.items()
    }
    return replace(
        _noted(decided, _reopened(decided.after, filled), Action.BACKFILLED, actor, detail),
        jobs=(*decided.jobs, *jobs),
        skips=tuple(filled.values()),
    )


def _refuse_many(wanted: int, start: datetime) -> None:
    if wanted > MOST_BACKFILLED:
        reason = f"begins a window of {wanted} occurrences without a job"
        hint = f"backfill at most {MOST_BACKFILLED} at a time"
        raise InvalidOption("from", start.isoformat(), reason, hint)


def _filled(skip: Skip, missing: Sequence[datetime], then: Schedule) -> Skip:
    """`skip` after what of `missing`, ascending, belongs to it got its jobs.

    That is what the rule of `then`, when it was skipped, gives: today's may give more between.
    """
    first, last = bisect_left(missing, skip.first_at), bisect_right(missing, skip.last_at)
    if first == last:
        return skip
    rule = series(then)
    here = sum(at in rule for at in missing[first:last])
    return replace(skip, backfilled=skip.backfilled + here)


def _reopened(schedule: Schedule, filled: Mapping[datetime, Skip]) -> Schedule:
    run = schedule.open_skip
    return schedule if run is None else replace(schedule, open_skip=filled.get(run.first_at, run))


def delete(
    schedule: Schedule, now: datetime, *, keep_jobs: bool = False, made: Made = NOTHING
) -> Expansion:
    """Remove the schedule and its record; jobs that have not started are cancelled (10.6)."""
    idle = [] if keep_jobs else [job for job in made.unfinished if _is_untouched(job)]
    return Expansion(schedule, schedule, cancelled=_called_off(idle, now), removes=True)


def _decided(schedule: Schedule, now: datetime, made: Made) -> Expansion:
    """Everything due until now, decided as the schedule stands; nothing if its rule is broken."""
    if schedule.error is not None:
        return _undecided(schedule, now)
    return decide(schedule, now, made)


def _undecided(schedule: Schedule, now: datetime) -> Expansion:
    return Expansion(schedule, replace(schedule, updated_at=now))


def _noted(
    expansion: Expansion,
    after: Schedule,
    action: Action,
    actor: str | None,
    detail: JsonObject | None = None,
) -> Expansion:
    now = expansion.after.updated_at
    after = replace(after, revision=expansion.before.revision + 1, updated_at=now)
    note = Note(
        schedule_id=after.id,
        revision=after.revision,
        at=now,
        action=action,
        actor=actor,
        detail=detail or {},
    )
    return replace(expansion, after=after, note=note)


def _allow(schedule: Schedule, move: str, *statuses: ScheduleStatus) -> None:
    if schedule.status not in statuses:
        allowed = [status.value for status in statuses]
        raise InvalidScheduleMove(schedule.name, move, schedule.status.value, allowed)


def _anchor(schedule: Schedule, after: Schedule) -> datetime:
    """Where a rule without a start begins: at the old rule's start if it had one (10.2a)."""
    if schedule.error is not None:
        return after.anchor_at
    old = rule_from_json(schedule.rule)
    started_at = old.bound(timezone=schedule.timezone, anchor=schedule.anchor_at).starts_at()
    return after.anchor_at if started_at is None else started_at


def _called_off(jobs: Sequence[Job], now: datetime) -> tuple[tuple[Job, Job], ...]:
    return tuple((job, lifecycle.cancel(job, now=now)) for job in jobs)


def _is_untouched(job: Job) -> bool:
    """Whether no attempt of the job has begun."""
    return job.status is JobStatus.PENDING and job.retry_count == 0


def _is_early(job: Job, now: datetime) -> bool:
    late = job.occurrence_at is not None and job.occurrence_at > now
    return late and _is_untouched(job)


def _in_phase(schedule: Schedule, changes: Mapping[str, Any]) -> Mapping[str, Any]:
    """`changes`, in which an interval without a start has the old rule's, as it was written.

    As written, and not the instant it means: that of a start inside a gap reads otherwise, and
    the rhythm would be shifted for ever (2.5).
    """
    rule, start = changes.get("rule"), schedule.rule.get("start_date")
    if rule is None or start is None or "every" not in rule or "start_date" in rule:
        return changes
    started = {**rule, "start_date": start}
    try:
        rule_from_json(started)
    except InvalidRule:  # it ends before it would start: nothing is to come either way
        return changes
    return {**changes, "rule": started}


def _changed(
    before: Schedule, after: Schedule, changes: Mapping[str, Any], now: datetime
) -> Schedule:
    """`after` with `changes`; a rule of another set is in force from now, in the old phase."""
    changed = replace(after, **changes)
    if not any(name in changes and changes[name] != getattr(before, name) for name in _TIMING):
        return changed
    if _is_same_set(before, changed):
        return changed
    anchor_at = _anchor(before, changed)
    since = max(now, after.cursor_at)
    return replace(changed, anchor_at=anchor_at, rule_since=since, open_skip=None, error=None)


def _is_same_set(before: Schedule, after: Schedule) -> bool:
    """Whether another rule gives the same instants: a live limit counts jobs, not instants."""
    return before.error is None and series(before) == series(after)
