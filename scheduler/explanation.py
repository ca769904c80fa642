"""Why a schedule did, or did not, run at a moment: one sentence, and its evidence.

The record is asked first, since it is what happened: a job of that occurrence, then a recorded
skip. What neither holds had a job that was removed (retention.py), is not yet decided, or was never
an occurrence: then the rule says why.
Rule and policies are those by which the moment was decided, however they were edited since
(history.py). Pure: no clock, no I/O.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from scheduler.errors import InvalidRule
from scheduler.expansion import LATEST_INSTANT, TICK, remaining, series
from scheduler.history import as_of
from scheduler.model import (
    Action,
    CatchUp,
    Job,
    JobStatus,
    Note,
    Origin,
    Schedule,
    ScheduleStatus,
    Skip,
    SkipReason,
)
from scheduler.retention import Removed
from scheduler.rules import Rule, explain
from scheduler.rules.explain import excluded_by
from scheduler.rules.zones import parse_moment
from scheduler.views import local


class Verdict(StrEnum):
    """What became of the moment."""

    COMPLETED = "completed"
    FAILED = "failed"
    RUNNING = "running"
    QUEUED = "queued"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"
    EXCLUDED = "excluded"
    DUE = "due"
    """Past, and not yet expanded."""
    LATER = "later"
    PAUSED = "paused"
    """To come, but the schedule is paused."""
    ENDED = "ended"
    """It would be to come, but nothing follows any more."""
    BEFORE = "before"
    """Before the schedule began."""
    REMOVED = "removed"
    """It had a job, which ended and is no longer on record."""
    NO_OCCURRENCE = "no occurrence"


@dataclass(frozen=True, slots=True)
class Explanation:
    """`sentence` says why; the rest is what it rests on.

    `at` is the occurrence it speaks of, in UTC: that of the wall clock asked for, or, where the
    clocks skipped that one, what the rule made of it. `previous_at` and `next_at` are the
    occurrences of the rule around it.
    """

    schedule: str
    at: datetime
    verdict: Verdict
    sentence: str
    job: Job | None = None
    skip: Skip | None = None
    note: Note | None = None
    previous_at: datetime | None = None
    next_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is on record of a schedule around a moment.

    `jobs` and `skips` are those of the schedule in `span_of` the moment, `notes` and
    `unfinished` jobs all of them.
    """

    jobs: Sequence[Job] = ()
    skips: Sequence[Skip] = ()
    notes: Sequence[Note] = ()
    unfinished: Sequence[Job] = ()


def span_of(schedule: Schedule, asked: datetime) -> tuple[datetime, datetime]:
    """The instants [start, end) that `asked`, an instant or a naive wall clock, may mean.

    Raises InvalidRule if that is none of the years 1 to 9999 in UTC.
    """
    first, second = _readings(schedule, asked)
    return min(first, second), min(max(first, second), LATEST_INSTANT - TICK) + TICK


def explain_moment(
    schedule: Schedule, asked: datetime, evidence: Evidence, *, now: datetime
) -> Explanation:
    """Why `schedule` did or did not run at `asked`: an instant, or a naive wall clock in its zone.

    Raises InvalidRule if that is no instant of the years 1 to 9999 in UTC.
    """
    first, second = _readings(schedule, asked)
    if first == second:
        return _Asked(schedule, first, evidence, now).explained()
    if first < second:
        return _explain_twice(schedule, (first, second), evidence, now)
    return _explain_skipped_hour(schedule, asked, (second, first), evidence, now)


def _readings(schedule: Schedule, asked: datetime) -> tuple[datetime, datetime]:
    """The first and second reading: later where clocks show it twice, earlier where never."""
    instant = parse_moment(asked, ZoneInfo(schedule.timezone), "at")
    if asked.tzinfo is not None:
        return instant, instant
    there = asked.replace(tzinfo=ZoneInfo(schedule.timezone))
    return there.replace(fold=0).astimezone(UTC), there.replace(fold=1).astimezone(UTC)


def _explain_twice(
    schedule: Schedule, passes: tuple[datetime, datetime], evidence: Evidence, now: datetime
) -> Explanation:
    """A reading that the clocks showed twice: the passes that are on record, or in the rule."""
    found = [_Asked(schedule, at, evidence, now).explained() for at in passes]
    told = [each for each in found if each.verdict is not Verdict.NO_OCCURRENCE] or found[:1]
    shown = f"{local(passes[0], schedule.timezone)} and {local(passes[1], schedule.timezone)}"
    preface = f"The clocks of {schedule.timezone} showed this twice, {shown}."
    return replace(told[0], sentence=" ".join([preface, *(each.sentence for each in told)]))


def _explain_skipped_hour(
    schedule: Schedule,
    asked: datetime,
    around: tuple[datetime, datetime],
    evidence: Evidence,
    now: datetime,
) -> Explanation:
    """A reading that the clocks skipped: what the rule made of it (clauses 1.6 and 4.12)."""
    before, moved = around
    gap_at = _gap_end(ZoneInfo(schedule.timezone), before, moved)
    preface = (
        f"{asked:%Y-%m-%d %H:%M:%S} did not exist in {schedule.timezone}: the clocks went "
        f"forward to {local(gap_at, schedule.timezone)}."
    )
    found = [_Asked(schedule, at, evidence, now).explained() for at in (gap_at, moved)]
    told = next((each for each in found if each.verdict is not Verdict.NO_OCCURRENCE), found[1])
    return replace(told, sentence=f"{preface} {told.sentence}")


def _gap_end(zone: ZoneInfo, before: datetime, after: datetime) -> datetime:
    """The instant in (before, after] from which `zone` has another offset."""
    old = before.astimezone(zone).utcoffset()
    while after - before > TICK:
        middle = before + (after - before) / 2
        if middle.astimezone(zone).utcoffset() == old:
            before = middle
        else:
            after = middle
    return after


class _Asked:
    """One instant of one schedule, and the record around it."""

    def __init__(self, schedule: Schedule, at: datetime, evidence: Evidence, now: datetime) -> None:
        self.schedule = schedule
        self.then = as_of(schedule, evidence.notes, at)
        self.at = at
        self.evidence = evidence
        self.now = now
        self.name = schedule.name
        self.shown = self._local(at)

    def explained(self) -> Explanation:
        job = self._job()
        if job is not None:
            return self._of_job(job)
        if self.at in Removed(self.schedule, self.evidence.notes, self.evidence.skips):
            return self._removed()
        skip = next(
            (each for each in self.evidence.skips if each.first_at <= self.at <= each.last_at), None
        )
        if skip is not None and self.at in (skip.first_at, skip.last_at):
            return self._of_skip(skip)
        try:
            rule = series(self.then)
            is_occurrence = self.at in rule
        except InvalidRule as error:
            return self._of_broken(error)
        if skip is not None and is_occurrence:
            return self._of_skip(skip)
        if is_occurrence:
            return self._undecided(rule)
        return self._no_occurrence(rule)

    # --- on record -------------------------------------------------------------------------

    def _job(self) -> Job | None:
        """The job of this occurrence; one that was run by hand only where there is no other."""
        here = [job for job in self.evidence.jobs if job.occurrence_at == self.at]
        return min(here, key=lambda job: job.origin is Origin.RUN_NOW, default=None)

    def _of_job(self, job: Job) -> Explanation:
        how = {
            Origin.CATCH_UP: ", caught up",
            Origin.BACKFILL: ", backfilled",
            Origin.RUN_NOW: ", run by hand",
        }.get(job.origin, "")
        attempt = f"attempt {job.retry_count + 1} of {job.max_retries + 1}"
        match job.status:
            case JobStatus.COMPLETED:
                verdict, outcome = Verdict.COMPLETED, f"completed {self._took(job)}, {attempt}"
            case JobStatus.FAILED:
                verdict, outcome = Verdict.FAILED, f"failed, {attempt}: {job.error}"
            case JobStatus.PROCESSING:
                started = self._local(job.started_at)
                verdict = Verdict.RUNNING
                outcome = f"is running on {job.worker} since {started}, {attempt}"
            case JobStatus.CANCELLED:
                verdict = Verdict.CANCELLED
                outcome = f"was cancelled at {self._local(job.completed_at)}"
            case JobStatus.PENDING:
                verdict, outcome = Verdict.QUEUED, f"is queued: {self._waits(job, attempt)}"
        sentence = f"{self.name} has job {job.id} for {self.shown}{how}: it {outcome}."
        return self._told(verdict, sentence, job=job)

    def _took(self, job: Job) -> str:
        at = self._local(job.completed_at)
        if job.started_at is None or job.completed_at is None:
            return f"at {at}"
        return f"at {at} after {(job.completed_at - job.started_at).total_seconds():g} s"

    def _waits(self, job: Job, attempt: str) -> str:
        earlier = [
            each
            for each in self.evidence.unfinished
            if each.sequence is not None
            and each.occurrence_at is not None
            and each.occurrence_at < self.at
        ]
        if job.serial and earlier:
            return f"it waits for the earlier job {earlier[0].id} of the schedule to end"
        if job.retry_count:
            again = self._local(job.scheduled_at)
            return f"{attempt} is due {again}, after this error: {job.error}"
        if job.scheduled_at > self.now:
            return f"it is due {self._local(job.scheduled_at)}"
        return "no executor has taken it yet"

    def _of_skip(self, skip: Skip) -> Explanation:
        schedule = self.then
        note: Note | None = None
        match skip.reason:
            case SkipReason.MISSED:
                kept = {
                    CatchUp.SKIP: "catch_up is skip",
                    CatchUp.LATEST: "catch_up is latest, which makes up for one",
                    CatchUp.ALL: f"catch_up makes up for the newest {schedule.catch_up_max}",
                }[schedule.catch_up]
                why = f"nothing expanded it within its grace of {_span(schedule.grace)}, and {kept}"
            case SkipReason.EXPIRED:
                why = f"it was missed by more than the catch_up_window of {_window(schedule)}"
            case SkipReason.PAUSED:
                note = self._note_before(Action.PAUSED, Action.RETIRED)
                why = f"the schedule was {self._put_to_rest(note)}"
            case SkipReason.OVERLAP:
                why = f"an earlier job was unfinished, and overlap is {schedule.overlap.value}"
            case SkipReason.CAPPED:
                why = f"its limit of {schedule.rule.get('limit')} was used up"
            case SkipReason.EXCLUDED:
                why = "a calendar excludes it"
        others = ""
        if skip.count > 1:
            first, last = self._local(skip.first_at), self._local(skip.last_at)
            others = f", one of a run of {skip.count} from {first} to {last}"
        sentence = (
            f"{self.name} did not run for {self.shown}: skipped as {skip.reason.value}, because "
            f"{why} (recorded {self._local(skip.recorded_at)}{others})."
        )
        return self._told(Verdict.SKIPPED, sentence, skip=skip, note=note)

    def _removed(self) -> Explanation:
        sentence = (
            f"{self.name} had a job for {self.shown}, which ended and is no longer on record: "
            "jobs that ended long enough ago are removed (scheduler config shows after how long). "
            "How it ended is not known any more; backfill does not run it again."
        )
        return self._told(Verdict.REMOVED, sentence)

    # --- not on record ---------------------------------------------------------------------

    def _undecided(self, rule: Rule) -> Explanation:
        schedule, said = self.schedule, f"{self.name} is due at {self.shown}"
        if self.at <= schedule.cursor_at:
            sentence = (
                f"{self.name} was not asked for {self.shown}: it began at "
                f"{self._local(schedule.created_at)}, and earlier occurrences only fix its phase "
                "(backfill runs them)."
            )
            return self._told(Verdict.BEFORE, sentence)
        match schedule.status:
            case ScheduleStatus.PAUSED | ScheduleStatus.RETIRED:
                note = self._note_before(Action.PAUSED, Action.RETIRED)
                sentence = f"{said}, but is {self._put_to_rest(note)}."
                return self._told(Verdict.PAUSED, sentence, note=note)
            case ScheduleStatus.COMPLETED:
                sentence = f"{self.name} will not run at {self.shown}: it is completed."
                return self._told(Verdict.ENDED, sentence)
            case _:
                return self._of_active(rule, said)

    def _of_active(self, rule: Rule, said: str) -> Explanation:
        schedule = self.schedule
        left = remaining(schedule)
        ahead = rule.count(schedule.cursor_at + TICK, self.at)
        if left is not None and ahead >= left:
            sentence = (
                f"{self.name} will not run at {self.shown}: its limit of "
                f"{schedule.rule['limit']} leaves {left} more, and they are used up before."
            )
            return self._told(Verdict.ENDED, sentence)
        if self.at > self.now:
            sentence = f"{said}, in {_span(self.at - self.now)}: {explain(rule)}."
            return self._told(Verdict.LATER, sentence)
        sentence = (
            f"{said} and has not been expanded: nothing has looked at the schedule since "
            f"{self._local(schedule.cursor_at)}; is a scheduler running on this table?"
        )
        return self._told(Verdict.DUE, sentence)

    def _of_broken(self, error: InvalidRule) -> Explanation:
        is_past = self.at <= self.schedule.cursor_at
        so = "did not run" if is_past else "does not run"
        sentence = (
            f"{self.name} {so} at {self.shown}: it {'was' if is_past else 'is'} paused since its "
            f"rule {'of then ' if is_past else ''}is broken: {error}."
        )
        return self._told(Verdict.PAUSED, sentence)

    def _no_occurrence(self, rule: Rule) -> Explanation:
        previous_at, next_at = rule.last_before_or_at(self.at), rule.next_after(self.at)
        around = " and ".join(
            f"{word} {self._local(moment)}"
            for word, moment in (("the one before is", previous_at), ("the next", next_at))
            if moment is not None
        )
        around = f"; {around}" if around else ""
        calendars = excluded_by(rule, self.at)
        if calendars:
            verdict = Verdict.EXCLUDED
            why = f"is excluded by its rule ({'; '.join(calendars)})"
        else:
            verdict = Verdict.NO_OCCURRENCE
            is_same = (self.then.rule, self.then.timezone) == (
                self.schedule.rule,
                self.schedule.timezone,
            )
            of_then = "" if is_same else " of then"
            why = self._outside(rule) or f"is not in its rule{of_then}: {explain(rule)}"
        sentence = f"{self.name} does not run at {self.shown}, which {why}{around}."
        return replace(self._told(verdict, sentence), previous_at=previous_at, next_at=next_at)

    def _outside(self, rule: Rule) -> str:
        """Which bound of the rule the moment is beyond; "" if it is within them."""
        starts_at = rule.starts_at()
        if starts_at is not None and self.at < starts_at:
            return f"is before its start_date, {self._local(starts_at)}"
        endless = replace(rule, end_date=None)
        if rule.end_date is not None and self.at in endless:
            return f"is after its end_date, {rule.end_date.isoformat(' ')}"
        return ""

    # --- what the sentences are made of ----------------------------------------------------

    def _note_before(self, *actions: Action) -> Note | None:
        """The last such note about the moment: from before it, or else the last before now."""
        notes = [note for note in self.evidence.notes if note.action in actions]
        before = [note for note in notes if note.at <= self.at]
        found = before or notes
        return found[-1] if found else None

    def _put_to_rest(self, note: Note | None) -> str:
        if note is None:
            return "paused"
        return f"{note.action.value} by {note.actor or 'somebody'} at {self._local(note.at)}"

    def _local(self, moment: datetime | None) -> str:
        return local(moment, self.schedule.timezone)

    def _told(
        self,
        verdict: Verdict,
        sentence: str,
        *,
        job: Job | None = None,
        skip: Skip | None = None,
        note: Note | None = None,
    ) -> Explanation:
        return Explanation(self.name, self.at, verdict, sentence, job, skip, note)


def _window(schedule: Schedule) -> str:
    return "then" if schedule.catch_up_window is None else _span(schedule.catch_up_window)


def _span(duration: timedelta) -> str:
    """`duration` in its two largest units: `90 s`, `2 h 30 min`, `12 d`."""
    minutes, seconds = divmod(duration.total_seconds(), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s")]
    told = [f"{amount:g} {unit}" for amount, unit in parts if amount]
    return " ".join(told[:2]) or "0 s"
