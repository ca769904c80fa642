"""Schedules: everything that people do to the schedules of one storage, in one class.

Each verb reads the schedule, decides purely (operations.py), and writes the whole under the
revision check; who loses a race reads again. The command line and HTTP are spellings of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import islice
from typing import Any

from scheduler import clock, operations
from scheduler.declarations import begun
from scheduler.errors import InvalidOption, StaleSchedule, UnknownName
from scheduler.events import Event, EventName
from scheduler.expander import made_of, tell
from scheduler.expansion import (
    FIRST_INSTANT,
    LATEST_INSTANT,
    NOTHING,
    TICK,
    Expansion,
    Made,
    begin,
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
)
from scheduler.operations import created
from scheduler.options import POLICIES, check_duration, check_integer, check_name, check_policies
from scheduler.previews import MOST_PREVIEWED, Previewed, runs, window
from scheduler.registry import JobDefinition, Registry
from scheduler.rules import Rule, rule_from_json
from scheduler.rules.moments import parse_stamp
from scheduler.rules.zones import parse_moment, zone
from scheduler.storage import JobStorage

_TRIES = 20

RuleData = Rule | Mapping[str, Any]
Operation = Callable[[Schedule, datetime, Made], Expansion | None]
OPTIONS = ("queue", "priority", "max_retries", "timeout", *POLICIES)
"""What `add` and `edit` take beside the job, the rule, the zone and the data."""


class Schedules:
    """The schedules of `storage`.

    `registry` knows the jobs that may be scheduled, and their data. `default_timezone`, `queue`
    and `max_retries` are for what neither the call nor the job says. `emit` is told what
    happened, `wake` that something may be due; `now` is the time that the store is in. Instants
    are given as datetimes or ISO texts; without an offset they are wall clock in the schedule's
    zone. `actor` is who does it, for the record. Every verb with a `name` raises UnknownName if
    there is no such schedule, and with a `revision` StaleSchedule if that is not the stored one;
    InvalidOption for what is no name.
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
        now: Callable[[], datetime] = clock.now,
    ) -> None:
        self._storage = storage
        self._registry = registry
        self._timezone = default_timezone
        self._queue = queue
        self._max_retries = max_retries
        self._emit = emit
        self._wake = wake
        self._now = now

    # --- reading ---------------------------------------------------------------------------

    def get(self, name: str) -> Schedule:
        """The schedule of this name."""
        schedule = self._storage.get_schedule(check_name("schedule name", name))
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
        actor: str | None = None,
        **options: Any,
    ) -> Schedule:
        """A new schedule that lets `job` recur by `rule`; as stored.

        `options` are those of @job: queue, priority, max_retries, timeout, catch_up, grace,
        catch_up_window, catch_up_max, overlap, jitter. A rule whose last occurrence is past is
        refused, unless `allow_past`: then that one runs at once. Raises StaleSchedule if the
        name is taken, InvalidRule, InvalidData or InvalidOption.
        """
        new = self._new(
            self._now(),
            name,
            job,
            rule,
            timezone=timezone,
            data=data,
            allow_past=allow_past,
            **options,
        )
        self._save([new], actor)
        return new

    def add_many(
        self, schedules: Iterable[Mapping[str, Any]], *, actor: str | None = None
    ) -> list[Schedule]:
        """Many schedules at once, all or none, each given as what `add` takes; as stored.

        In one transaction, and in a fraction of the time. Raises as `add`, for the first that is
        wrong.
        """
        now = self._now()
        new = [self._new(now, **given) for given in schedules]
        self._save(new, actor)
        return new

    def _new(
        self,
        now: datetime,
        name: str,
        job: str,
        rule: RuleData,
        *,
        timezone: str | None = None,
        data: JsonObject | None = None,
        allow_past: bool = False,
        **options: Any,
    ) -> Schedule:
        definition = self._registry.get(check_name("job", job))
        given = definition.data if data is None else data
        is_open = {key for key in ("queue", "max_retries") if options.get(key) is None}
        said = {key: value for key, value in options.items() if key not in is_open}
        changes = self._checked(definition, {"data": given, **said})
        values = changes.pop("data")
        parsed = _rule(rule)
        schedule = begun(
            replace(definition, **changes) if changes else definition,
            parsed,
            name=check_name("schedule name", name),
            timezone=self._zone(parsed.timezone, timezone),
            queue=self._queue,
            max_retries=self._max_retries,
            module=None,
            now=now,
            data=values,
        )
        if schedule.status is ScheduleStatus.COMPLETED:
            schedule = _with_its_last(schedule, allowed=allow_past)
        return schedule

    def _save(self, new: Sequence[Schedule], actor: str | None) -> None:
        """Store `new`, and who made them. Raises StaleSchedule for the first name that is taken."""
        notes = [created(each, actor=_known(actor)) for each in new]
        self._check_free(new)
        try:
            self._storage.save_schedules(new, notes=notes)
        except StaleSchedule as error:  # another was first with a name, just now
            lost: StaleSchedule | None = error
        else:
            lost = None
        if lost is not None:
            self._check_free(new)
            raise lost
        self._wake()

    def _check_free(self, new: Sequence[Schedule]) -> None:
        names = {schedule.name for schedule in new}
        taken = {each.name for each in self._storage.get_schedules(names)}
        for schedule in new:
            if schedule.name in taken or schedule.name not in names:
                raise _taken(schedule.name)
            names.remove(schedule.name)

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

        def edited(schedule: Schedule, now: datetime, made: Made) -> Expansion | None:
            return operations.edit(
                schedule,
                self._changes(schedule, changes),
                now,
                reset_count=reset_count,
                keep_pending=keep_pending,
                actor=_known(actor),
                made=made,
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
            lambda schedule, now, made: operations.pause(
                schedule, now, actor=_known(actor), made=made
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
            lambda schedule, now, made: operations.resume(
                schedule, now, catch_up=catch_up, actor=_known(actor), made=made
            ),
            revision,
        )

    def run_now(self, name: str, *, data: JsonObject | None = None) -> Job:
        """One extra job, outside the series: no count, no cursor (clause 10.5). The job.

        Raises InvalidData if `data`, in place of the schedule's, does not fit the job.
        """
        schedule = self.get(name)
        if data is not None:
            definition = self._registry.get(schedule.job_name)
            definition.signature.check(data)
            schedule = replace(schedule, concurrency_key=definition.key_for(data))
        now = self._now()
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
        filled_in: list[Job] = []

        def filled(schedule: Schedule, now: datetime, made: Made) -> Expansion | None:
            first, last = _window(schedule, start, end)
            there = self._storage.get_occurrences(schedule.id, first, last)
            expansion = operations.backfill(
                schedule,
                first,
                last,
                now,
                taken=[job.occurrence[1] for job in there if job.occurrence],
                skips=self._storage.list_skips(schedule.id, first, last),
                notes=self._storage.list_notes(schedule.id),
                actor=_known(actor),
                made=made,
            )
            filled_in[:] = [] if expansion is None else expansion.jobs
            return expansion

        self._write(name, filled, revision)
        return [job for job in filled_in if job.sequence is None]

    def delete(self, name: str, *, keep_jobs: bool = False, revision: int | None = None) -> None:
        """Remove a schedule and its record; its jobs that have not started are cancelled.

        With `keep_jobs` they stay. What ran stays in any case.
        """
        self._write(
            name,
            lambda schedule, now, made: operations.delete(
                schedule, now, keep_jobs=keep_jobs, made=made
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

        The next `n` (10; at most 1000) runs, from `start` if that is later than the cursor; or
        with `end` what lies in the window [start, end), at most `n` (1000), and with it what is
        dropped, and why. What is overdue is decided as it would be now. A rule is taken as if it
        were added now, or at `start` if that is earlier. Raises InvalidRule or InvalidOption.
        """
        most = 10 if end is None else MOST_PREVIEWED
        count = most if n is None else check_integer("n", n, 1, MOST_PREVIEWED)
        now, made = self._now(), NOTHING
        if isinstance(schedule, str):
            schedule = self.get(schedule)
        if isinstance(schedule, Schedule):
            made = made_of(self._storage, [schedule]).get(schedule.id, NOTHING)
            first = _moment(schedule, start, "from")
        else:
            draft = self._draft(_rule(schedule), timezone, now)
            first = _moment(draft, start, "from")
            now = min(now, first or now)
            schedule = begin(replace(draft, created_at=now))
        last = _moment(schedule, end, "to")
        if last is None:
            return list(islice(runs(schedule, now, made, start=first or FIRST_INSTANT), count))
        return list(islice(window(schedule, now, made, first, last), count))

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
        return explain_moment(schedule, asked, evidence, now=self._now())

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
            now = self._now()
            made = made_of(self._storage, [schedule]).get(schedule.id, NOTHING)
            expansion = operation(schedule, now, made)
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
        job = check_name("job", rest.pop("job", schedule.job_name))
        changes: dict[str, Any] = {"job_name": job} if job != schedule.job_name else {}
        if "rule" in rest:
            parsed = _rule(rest.pop("rule"))
            changes |= {"rule": parsed.to_json(), "timezone": parsed.timezone or schedule.timezone}
        if "timezone" in rest:
            key = zone(rest.pop("timezone")).key
            changes["timezone"] = self._zone(
                changes.get("rule", schedule.rule).get("timezone"), key
            )
        if changes.keys() & {"rule", "timezone"}:
            # Refused here and not when it is expanded: with another zone a rule may be empty.
            series(begin(replace(schedule, **changes)))
        definition = self._registry.get(job)
        if "data" not in rest and changes.keys() & {"job_name"}:
            rest["data"] = schedule.data
        changes |= self._checked(definition, rest)
        if "data" in changes:
            changes["concurrency_key"] = definition.key_for(changes["data"])
        return changes

    def _zone(self, of_rule: str | None, timezone: str | None) -> str:
        """The zone of a schedule: that of its rule, the one given, or the default."""
        if timezone is None:
            return of_rule or self._timezone
        key = zone(timezone).key
        if of_rule not in (None, key):
            raise InvalidOption(
                "timezone", key, f"is not the rule's {of_rule}", "change it in the rule"
            )
        return key

    def _checked(self, definition: JobDefinition, given: Mapping[str, Any]) -> dict[str, Any]:
        """The data and the options that are `given`, as a schedule holds them."""
        unknown = given.keys() - {"data", *OPTIONS}
        if unknown:
            raise UnknownName("option", min(unknown), ["job", "rule", "timezone", "data", *OPTIONS])
        policies = {name: given[name] for name in POLICIES & given.keys()}
        checked = check_policies("schedule", **policies)
        if "timeout" in given:
            timeout = given["timeout"]
            checked["timeout"] = None if timeout is None else check_duration("timeout", timeout)
        if "queue" in given:
            checked["queue"] = check_name("queue", given["queue"])
        if "priority" in given:
            checked["priority"] = check_integer("priority", given["priority"], -(2**31))
        if "max_retries" in given:
            checked["max_retries"] = check_integer("max_retries", given["max_retries"], 0)
        if "data" in given:
            definition.signature.check(given["data"])
            checked["data"] = dict(given["data"])
        return checked

    def _draft(self, rule: Rule, timezone: str | None, now: datetime) -> Schedule:
        """A schedule of `rule` that is stored nowhere, not yet begun."""
        return Schedule(
            id="",
            name="",
            job_name="",
            rule=rule.to_json(),
            timezone=self._zone(rule.timezone, timezone),
            anchor_at=now,
            rule_since=now,
            cursor_at=now,
            created_at=now,
            updated_at=now,
        )


def _known(actor: str | None) -> str | None:
    return None if actor is None else check_name("actor", actor)


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


def _moment(schedule: Schedule, given: datetime | str | None, field: str) -> datetime | None:
    return None if given is None else parse_moment(given, zone(schedule.timezone), field)
