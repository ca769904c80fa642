"""Schedules: everything that people do to the schedules of one storage, in one class.

Each verb reads the schedule, decides purely (operations.py), and writes the whole under the
revision check; who loses a race reads again. The command line and HTTP are spellings of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from typing import Any

from scheduler import clock, operations
from scheduler.declarations import declare
from scheduler.errors import InvalidOption, StaleSchedule, UnknownName
from scheduler.events import Event, EventName
from scheduler.expander import tell
from scheduler.expansion import (
    LATEST_INSTANT,
    TICK,
    Expansion,
    begin,
    remaining,
    scheduled,
    series,
)
from scheduler.explanation import Evidence, Explanation, explain_moment, span_of
from scheduler.model import (
    DEFAULT_QUEUE,
    Job,
    JsonObject,
    Note,
    Schedule,
    ScheduleStatus,
    Skip,
    SkipReason,
)
from scheduler.registry import (
    POLICIES,
    JobDefinition,
    Registry,
    check_duration,
    check_integer,
    check_name,
    check_policies,
)
from scheduler.rules import Rule, rule_from_json
from scheduler.rules.moments import parse_stamp
from scheduler.rules.zones import parse_moment, zone
from scheduler.storage import JobStorage

MOST_PREVIEWED = 1000
_TRIES = 20

RuleData = Rule | Mapping[str, Any]
Operation = Callable[[Schedule, datetime, list[Job]], Expansion | None]
OPTIONS = ("queue", "priority", "max_retries", "timeout", *POLICIES)
"""What `add` and `edit` take beside the job, the rule, the zone and the data."""


@dataclass(frozen=True, slots=True)
class Previewed:
    """One instant of a preview; with `dropped`, it makes no job, for that reason."""

    occurrence_at: datetime
    scheduled_at: datetime
    dropped: SkipReason | None = None


class Schedules:
    """The schedules of `storage`.

    `registry` knows the jobs that may be scheduled, and their data. `default_timezone`, `queue`
    and `max_retries` are for what neither the call nor the job says. `emit` is told what
    happened, `wake` that something may be due. Instants are given as datetimes or ISO texts;
    without an offset they are wall clock in the schedule's zone. `actor` is who does it, for
    the record. Every verb with a `name` raises UnknownName if there is no such schedule, and with
    a `revision` StaleSchedule if that is not the stored one.
    """

    def __init__(
        self,
        storage: JobStorage,
        *,
        registry: Registry,
        default_timezone: str = "UTC",
        queue: str = DEFAULT_QUEUE,
        max_retries: int = 3,
        emit: Callable[[Event], None] = lambda event: None,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self._storage = storage
        self._registry = registry
        self._timezone = default_timezone
        self._queue = queue
        self._max_retries = max_retries
        self._emit = emit
        self._wake = wake

    # --- reading ---------------------------------------------------------------------------

    def get(self, name: str) -> Schedule:
        """The schedule of this name."""
        schedule = self._storage.get_schedule(name)
        if schedule is None:
            known = [each.name for each in self._storage.list_schedules()]
            raise UnknownName("schedule", name, known)
        return schedule

    def all(self) -> list[Schedule]:
        """Every schedule, by name."""
        return self._storage.list_schedules()

    def skips(self, name: str) -> list[Skip]:
        """What of a schedule did not run, by first occurrence."""
        return self._storage.list_skips(self.get(name).id)

    def notes(self, name: str) -> list[Note]:
        """What was done to a schedule, oldest first."""
        return self._storage.list_notes(self.get(name).id)

    # --- writing ---------------------------------------------------------------------------

    def add(
        self,
        name: str,
        job: str,
        rule: RuleData,
        *,
        data: JsonObject | None = None,
        timezone: str | None = None,
        allow_past: bool = False,
        **options: Any,
    ) -> Schedule:
        """A new schedule that lets `job` recur by `rule`; as stored.

        `options` are those of @job: queue, priority, max_retries, timeout, catch_up, grace,
        catch_up_window, catch_up_max, overlap, jitter. A rule whose last occurrence is past is
        refused, unless `allow_past`: then that one runs at once. Raises StaleSchedule if the
        name is taken, InvalidRule, InvalidData or InvalidOption.
        """
        definition = self._registry.get(job)
        changes = self._checked(definition, {"data": data, **options})
        now = clock.now()
        schedule = declare(
            replace(definition, **{key: changes[key] for key in changes.keys() - {"data"}}),
            _rule(rule),
            name=check_name("schedule name", name),
            timezone=self._timezone if timezone is None else zone(timezone).key,
            queue=self._queue,
            max_retries=self._max_retries,
            module=None,
            now=now,
            data=changes.get("data"),
        )
        schedule = replace(schedule, declared=None)
        if schedule.status is ScheduleStatus.COMPLETED:
            schedule = _with_its_last(schedule, allowed=allow_past)
        if self._storage.get_schedule(name) is not None:
            raise _taken(name)
        self._storage.save_schedule(schedule)
        self._wake()
        return schedule

    def edit(
        self,
        name: str,
        *,
        revision: int | None = None,
        reset_count: bool = False,
        keep_pending: bool = False,
        actor: str | None = None,
        **changes: Any,
    ) -> Schedule:
        """Change what a schedule is, from now on (clause 10.2); as stored.

        `changes` are any of job, rule, timezone, data and the options of `add`. A new rule
        keeps the phase of the old one unless it has a start_date, and the count goes on unless
        `reset_count`. Jobs of later occurrences that have not started are cancelled unless
        `keep_pending`. Raises InvalidRule, InvalidData or InvalidOption.
        """

        def edited(schedule: Schedule, now: datetime, unfinished: list[Job]) -> Expansion | None:
            return operations.edit(
                schedule,
                self._changes(schedule, changes),
                now,
                reset_count=reset_count,
                keep_pending=keep_pending,
                actor=actor,
                unfinished=unfinished,
            )

        return self._write(name, edited, revision)

    def pause(
        self, name: str, *, revision: int | None = None, actor: str | None = None
    ) -> Schedule:
        """Make no more jobs of it until it is resumed; those that are queued go on.

        Nothing changes if it is paused. Raises InvalidScheduleMove if it has ended.
        """
        return self._write(
            name,
            lambda schedule, now, unfinished: operations.pause(
                schedule, now, actor=actor, unfinished=unfinished
            ),
            revision,
        )

    def resume(
        self,
        name: str,
        *,
        catch_up: bool = False,
        revision: int | None = None,
        actor: str | None = None,
    ) -> Schedule:
        """Go on from now, in the old phase; with `catch_up`, what the pause held counts as missed.

        Nothing changes if it is active. Raises InvalidScheduleMove if it has ended, InvalidRule
        if it was paused by an error that is not mended.
        """
        return self._write(
            name,
            lambda schedule, now, unfinished: operations.resume(
                schedule, now, catch_up=catch_up, actor=actor, unfinished=unfinished
            ),
            revision,
        )

    def run_now(self, name: str, *, data: JsonObject | None = None) -> Job:
        """One extra job, outside the series: no count, no cursor (clause 10.5). The job.

        Raises InvalidData if `data`, in place of the schedule's, does not fit the job.
        """
        schedule = self.get(name)
        if data is not None:
            self._registry.get(schedule.job_name).signature.check(data)
        now = clock.now()
        job = operations.run_now(schedule, now, data=data)
        self._storage.save_job(job)
        self._emit(Event(EventName.SCHEDULED, now, job))
        self._wake()
        return job

    def backfill(
        self,
        name: str,
        start: datetime | str,
        end: datetime | str,
        *,
        revision: int | None = None,
        actor: str | None = None,
    ) -> list[Job]:
        """A job for each occurrence in [start, end) that has none, oldest first (clause 10.3).

        `end` is not later than now; what is neither due nor decided yet is left to the
        schedule. Raises InvalidOption for more than 10 000 of them, or a window that is none.
        """
        made: list[Job] = []

        def filled(schedule: Schedule, now: datetime, unfinished: list[Job]) -> Expansion | None:
            first, last = _window(schedule, start, end)
            there = self._storage.get_occurrences(schedule.id, first, last)
            expansion = operations.backfill(
                schedule,
                first,
                last,
                now,
                taken=[job.occurrence[1] for job in there if job.occurrence],
                skips=self._storage.list_skips(schedule.id, first, last),
                actor=actor,
                unfinished=unfinished,
            )
            made[:] = [] if expansion is None else expansion.jobs
            return expansion

        self._write(name, filled, revision)
        return [job for job in made if job.sequence is None]

    def delete(self, name: str, *, keep_jobs: bool = False, revision: int | None = None) -> None:
        """Remove a schedule and its record; its jobs that have not started are cancelled.

        With `keep_jobs` they stay. What ran stays in any case.
        """
        self._write(
            name,
            lambda schedule, now, unfinished: operations.delete(
                schedule, now, keep_jobs=keep_jobs, unfinished=unfinished
            ),
            revision,
        )

    # --- asking ----------------------------------------------------------------------------

    def preview(
        self,
        schedule: Schedule | str | RuleData,
        n: int | None = None,
        *,
        start: datetime | str | None = None,
        end: datetime | str | None = None,
        timezone: str | None = None,
    ) -> list[Previewed]:
        """What a schedule, or a rule that is stored nowhere, would run; nothing changes.

        The next `n` (10; at most 1000) occurrences, from the cursor or now, or from `start`; or
        those of the window [start, end), and with them what calendars and the limit drop from it.
        """
        if isinstance(schedule, str):
            schedule = self.get(schedule)
        elif not isinstance(schedule, Schedule):
            schedule = self._unsaved(_rule(schedule), timezone)
        count = 10 if n is None else check_integer("n", n, 1, MOST_PREVIEWED)
        place = zone(schedule.timezone)
        first = schedule.cursor_at + TICK
        if start is not None:
            first = max(first, parse_moment(start, place, "start"))
        if end is None:
            return list(islice(_runs(schedule, first, LATEST_INSTANT), count))
        return _windowed(schedule, first, parse_moment(end, place, "end"), n)

    def explain(self, name: str, at: datetime | str) -> Explanation:
        """Why the schedule did, or did not, run at that moment."""
        schedule = self.get(name)
        asked = parse_stamp(at, "at")
        start, end = span_of(schedule, asked)
        evidence = Evidence(
            jobs=self._storage.get_occurrences(schedule.id, start, end),
            skips=self._storage.list_skips(schedule.id, start, end),
            notes=self._storage.list_notes(schedule.id),
            unfinished=self._storage.get_unfinished_jobs([schedule.id]),
        )
        return explain_moment(schedule, asked, evidence, now=clock.now())

    # --- how -------------------------------------------------------------------------------

    def _write(self, name: str, operation: Operation, revision: int | None) -> Schedule:
        """The schedule after `operation`, written; as it is where that has nothing to do."""
        for _ in range(_TRIES):
            schedule = self.get(name)
            if revision is not None and schedule.revision != revision:
                raise StaleSchedule(
                    f"schedule {name!r}: is at revision {schedule.revision}, not {revision}; "
                    "read it again"
                )
            now = clock.now()
            expansion = operation(schedule, now, self._storage.get_unfinished_jobs([schedule.id]))
            if expansion is None:
                return schedule
            [is_written] = self._storage.record_expansions([expansion])
            if is_written:
                tell(expansion, now, self._emit)
                self._wake()
                return expansion.after
        raise StaleSchedule(f"schedule {name!r}: written by others {_TRIES} times meanwhile")

    def _changes(self, schedule: Schedule, given: Mapping[str, Any]) -> dict[str, Any]:
        """`given` as fields of the schedule, checked."""
        rest = dict(given)
        job = rest.pop("job", schedule.job_name)
        changes: dict[str, Any] = {"job_name": job} if job != schedule.job_name else {}
        rule = rest.pop("rule", None)
        timezone = rest.pop("timezone", None)
        if rule is not None:
            parsed = _rule(rule)
            changes |= {"rule": parsed.to_json(), "timezone": parsed.timezone or schedule.timezone}
        if timezone is not None:
            changes["timezone"] = self._zone_for(changes.get("rule", schedule.rule), timezone)
        if changes.keys() & {"rule", "timezone"}:
            # Refused here and not when it is expanded: with another zone a rule may be empty.
            series(begin(replace(schedule, **changes)))
        definition = self._registry.get(job)
        if "data" not in rest and changes.keys() & {"job_name"}:
            rest["data"] = schedule.data
        return changes | self._checked(definition, rest)

    def _zone_for(self, rule: Mapping[str, Any], timezone: str) -> str:
        key = zone(timezone).key
        if rule.get("timezone") not in (None, key):
            hint = "change it in the rule"
            raise InvalidOption("timezone", key, f"is not the rule's {rule['timezone']}", hint)
        return key

    def _checked(self, definition: JobDefinition, given: Mapping[str, Any]) -> dict[str, Any]:
        """The data and the options that are `given`, as a schedule holds them."""
        unknown = given.keys() - {"data", *OPTIONS}
        if unknown:
            raise UnknownName("option", min(unknown), ["job", "rule", "timezone", "data", *OPTIONS])
        said = {name: value for name, value in given.items() if value is not None}
        checked = check_policies(
            "schedule", **{name: said[name] for name in POLICIES & said.keys()}
        )
        for name in given.keys() & {"timeout", "catch_up_window"}:
            checked[name] = None if given[name] is None else check_duration(name, given[name])
        if "queue" in said:
            checked["queue"] = check_name("queue", said["queue"])
        if "priority" in said:
            checked["priority"] = check_integer("priority", said["priority"], -(2**31))
        if "max_retries" in said:
            checked["max_retries"] = check_integer("max_retries", said["max_retries"], 0)
        if "data" in said:
            checked["data"] = dict(said["data"])
            definition.signature.check(checked["data"])
        return checked

    def _unsaved(self, rule: Rule, timezone: str | None) -> Schedule:
        now = clock.now()
        key = rule.timezone or (self._timezone if timezone is None else zone(timezone).key)
        return begin(
            Schedule(
                id="",
                name="",
                job_name="",
                rule=rule.to_json(),
                timezone=key,
                anchor_at=now,
                rule_since=now,
                cursor_at=now,
                created_at=now,
                updated_at=now,
            )
        )


def _rule(given: RuleData) -> Rule:
    return given if isinstance(given, Rule) else rule_from_json(given)


def _taken(name: str) -> StaleSchedule:
    return StaleSchedule(f"schedule {name!r}: is there already; edit it, or delete it first")


def _with_its_last(schedule: Schedule, *, allowed: bool) -> Schedule:
    """A schedule that is past at birth, with its last occurrence due at once (clause 6.1)."""
    last_at = series(schedule).last_before_or_at(LATEST_INSTANT)
    if last_at is None or not allowed:
        shown = "" if last_at is None else last_at.isoformat()
        hint = "give allow_past to run the last one at once" if last_at else ""
        raise InvalidOption("rule", shown, "has no occurrence to come", hint)
    cursor_at = last_at - TICK
    return replace(
        schedule, status=ScheduleStatus.ACTIVE, cursor_at=cursor_at, next_at=last_at,
        rule_since=last_at,
    )  # fmt: skip


def _window(
    schedule: Schedule, start: datetime | str, end: datetime | str
) -> tuple[datetime, datetime]:
    place = zone(schedule.timezone)
    return parse_moment(start, place, "from"), parse_moment(end, place, "to")


def _runs(schedule: Schedule, start: datetime, end: datetime) -> Iterator[Previewed]:
    """What an active schedule runs in [start, end), within what is left of its limit."""
    if schedule.status is not ScheduleStatus.ACTIVE:
        return
    rule, left = series(schedule), remaining(schedule)
    if left is not None:
        left -= rule.count(schedule.cursor_at + TICK, start)
    for at in islice(rule.between(start, end), None if left is None else max(0, left)):
        yield Previewed(at, scheduled(schedule, at))


def _windowed(schedule: Schedule, start: datetime, end: datetime, n: int | None) -> list[Previewed]:
    """The runs of a window, and what is dropped from it, at most `n` (1000) of all."""
    rule = series(schedule)
    runs = {
        each.occurrence_at: each for each in islice(_runs(schedule, start, end), MOST_PREVIEWED)
    }
    idle = SkipReason.PAUSED if schedule.status is not ScheduleStatus.ACTIVE else SkipReason.CAPPED
    bare = replace(rule, kept_on=(), exceptions=())
    found = []
    for at in islice(bare.between(start, end), n or MOST_PREVIEWED):
        kept = runs.get(at)
        if kept is None:
            is_occurrence = rule.last_before_or_at(at) == at
            kept = Previewed(at, at, idle if is_occurrence else SkipReason.EXCLUDED)
        found.append(kept)
    return found
